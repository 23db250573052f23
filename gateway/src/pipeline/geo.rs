//! Where a visitor is, from the address before it is truncated.

use crate::ingest::HitRequest;

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

/// Where places come from.
#[derive(Debug)]
pub struct GeoSource {}

impl GeoSource {
    /// The visitor's place.
    #[must_use]
    pub fn locate(&self, _request: &HitRequest<'_>) -> Option<Place> {
        None
    }
}
