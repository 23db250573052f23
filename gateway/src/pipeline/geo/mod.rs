//! Where a visitor is, from the address before it is truncated, or from headers of the network in front.

mod database;
mod headers;
#[cfg(test)]
pub(crate) mod mmdb;

use tagfleet_expressions::{Map, Value};

pub use self::{
    database::{Database, DatabaseError, MAX_BYTES, Origin},
    headers::PlaceHeaders,
};
use crate::{
    event::{Event, field},
    ingest::{Connection, HitRequest},
};

/// The longest name of a city that is kept.
const MAX_CITY_BYTES: usize = 128;

/// A place as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// `EU`, `NA`, ...
    pub continent: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// The second part of ISO 3166-2.
    pub region: Option<String>,
    /// In English.
    pub city: Option<String>,
}

impl Place {
    /// From what a source says, as far as that is what it should be. None when nothing is known.
    fn of(continent: Option<&str>, country: Option<&str>, region: Option<&str>, city: Option<&str>) -> Option<Self> {
        let country = country.and_then(country_code);
        let place = Self {
            continent: continent.and_then(letters),
            region: region.and_then(|region| region_code(region, country.as_deref())),
            city: city.and_then(city_name),
            country,
        };
        (place != Self::default()).then_some(place)
    }
}

/// Two letters, in capitals.
fn letters(code: &str) -> Option<String> {
    let fits = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    fits.then(|| code.to_ascii_uppercase())
}

/// An alpha-2 code; `XX` and `ZZ` (ISO 3166-1, user-assigned) are how networks say that they do not know, and Cloudflare's
/// `T1` is Tor.
fn country_code(code: &str) -> Option<String> {
    letters(code.trim()).filter(|code| code != "XX" && code != "ZZ")
}

/// The second part of a code: one to three letters or digits. Some networks give the whole of it, `US-CA`.
fn region_code(code: &str, country: Option<&str>) -> Option<String> {
    let code = code.trim().to_ascii_uppercase();
    let part = country
        .and_then(|country| code.strip_prefix(country)?.strip_prefix('-'))
        .unwrap_or(&code);
    let fits = (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| part.to_owned())
}

fn city_name(name: &str) -> Option<String> {
    let name = name.trim();
    let fits = (1..=MAX_CITY_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
    fits.then(|| name.to_owned())
}

/// Where places come from.
#[derive(Debug)]
pub enum GeoSource {
    /// A database in MaxMind's format.
    Database(Database),
    /// Headers of the network in front.
    Headers(PlaceHeaders),
}

impl GeoSource {
    /// The visitor's place.
    #[must_use]
    pub fn locate(&self, request: &HitRequest<'_>) -> Option<Place> {
        match self {
            Self::Database(database) => database.locate(request.visitor),
            Self::Headers(headers) if request.by_trusted_proxy => headers.locate(request.headers),
            Self::Headers(_) => None,
        }
    }
}

/// Sets `event.geo` on an event of a visitor's own request. What the hit itself says of the visitor's place is kept as
/// `x_geo`, so that `geo` can be relied on; a server's word for its visitors stays.
pub fn enrich(event: &mut Event<'_>, place: Option<&Place>, connection: Connection) {
    if connection == Connection::Server {
        return;
    }
    if let Some(stated) = event.remove(field::GEO) {
        event.set("x_geo", stated);
    }
    let Some(place) = place else { return };
    let members = [
        ("continent", &place.continent),
        ("country", &place.country),
        ("region", &place.region),
        ("city", &place.city),
    ];
    let members = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.into(), Value::from(value.clone()?))));
    event.set(field::GEO, Map::from_unique(members.collect()));
}

#[cfg(test)]
mod tests;
