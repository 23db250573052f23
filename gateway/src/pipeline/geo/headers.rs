//! Places from headers that a content delivery network sets, such as `CF-IPCountry` or `CloudFront-Viewer-Country`.

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode;

use super::Place;

/// The names of the headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceHeaders {
    /// Holds the country.
    pub country: HeaderName,
    /// Holds the region.
    pub region: Option<HeaderName>,
    /// Holds the city.
    pub city: Option<HeaderName>,
}

impl PlaceHeaders {
    /// The place by these headers. A header that is there twice counts as absent: one of the two is not the network's.
    #[must_use]
    pub fn locate(&self, headers: &HeaderMap) -> Option<Place> {
        let text = |name: &HeaderName| {
            let mut values = headers.get_all(name).iter();
            let value = values.next().filter(|_| values.next().is_none())?;
            // CloudFront percent-encodes what is not ASCII, Cloudflare sends UTF-8.
            percent_decode(value.as_bytes()).decode_utf8().ok()
        };
        let country = text(&self.country);
        let region = self.region.as_ref().and_then(text);
        let city = self.city.as_ref().and_then(text);
        Place::of(None, country.as_deref(), region.as_deref(), city.as_deref())
    }
}
