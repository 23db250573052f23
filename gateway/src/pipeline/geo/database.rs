//! Places from a database in MaxMind's format (<https://maxmind.github.io/MaxMind-DB/>), swapped as a whole while hits read it.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use maxminddb::{MaxMindDbError, Metadata, Reader};
use serde::Deserialize;
use url::Url;

use super::Place;

/// The largest database that is taken.
pub const MAX_BYTES: usize = 256 * 1024 * 1024;
/// What a compressed file begins with (RFC 1952).
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Where a database comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file of this machine or pod.
    File(PathBuf),
    /// An address.
    Url {
        /// The address. Its path or query may be a secret.
        url: Url,
        /// How often it is fetched.
        refresh: Duration,
    },
}

/// A database. Empty until it is given one, which whoever runs the gateway does: no step of the pipeline reads files.
#[derive(Debug)]
pub struct Database {
    origin: Origin,
    reader: ArcSwapOption<Reader<Bytes>>,
}

/// Why bytes are no database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Too many of them.
    #[error("it has more than the {} MiB that are taken", MAX_BYTES / 1024 / 1024)]
    TooLarge,
    /// They are packed.
    #[error("it is compressed: give the .mmdb file itself")]
    Compressed,
    /// They are something else, or damaged.
    #[error("it is no database in MaxMind's format: {0}")]
    Invalid(#[from] MaxMindDbError),
}

impl Database {
    /// An empty one.
    #[must_use]
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            reader: ArcSwapOption::empty(),
        }
    }

    /// Where it comes from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Takes these bytes from now on; says what they are.
    ///
    /// # Errors
    /// When they are no database: the last one stays.
    pub fn replace(&self, bytes: Bytes) -> Result<Metadata, DatabaseError> {
        if bytes.len() > MAX_BYTES {
            return Err(DatabaseError::TooLarge);
        }
        if bytes.starts_with(GZIP) {
            return Err(DatabaseError::Compressed);
        }
        let reader = Reader::from_source(bytes)?;
        let metadata = reader.metadata().clone();
        self.reader.store(Some(Arc::new(reader)));
        Ok(metadata)
    }

    /// The place of an address; none while there is no database, or when it does not know, or is damaged there.
    #[must_use]
    pub fn locate(&self, address: IpAddr) -> Option<Place> {
        let reader = self.reader.load();
        let found = reader.as_ref()?.lookup(address.to_canonical()).ok()?;
        let record: Record<'_> = found.decode().ok()??;
        Place::of(
            record.continent.code,
            record.country.iso_code,
            record.subdivisions.0,
            record.city.names.en,
        )
    }
}

/// What is read of a record (<https://dev.maxmind.com/geoip/docs/databases/city-and-country/>); everything else is passed over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Record<'d> {
    #[serde(borrow)]
    continent: Continent<'d>,
    #[serde(borrow)]
    country: Division<'d>,
    #[serde(borrow)]
    subdivisions: First<'d>,
    #[serde(borrow)]
    city: City<'d>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Continent<'d> {
    code: Option<&'d str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Division<'d> {
    iso_code: Option<&'d str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct City<'d> {
    #[serde(borrow)]
    names: Names<'d>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Names<'d> {
    en: Option<&'d str>,
}

/// The code of the first subdivision, which is the largest.
#[derive(Default)]
struct First<'d>(Option<&'d str>);

impl<'de: 'd, 'd> Deserialize<'de> for First<'d> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = First<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a list of subdivisions")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<First<'de>, A::Error> {
                let first = list.next_element::<Division<'de>>()?.unwrap_or_default();
                while list.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                Ok(First(first.iso_code))
            }
        }

        deserializer.deserialize_seq(Visitor)
    }
}
