//! `ga4`: Google Analytics 4. With an API secret by the Measurement Protocol, without one as forwarded `/g/collect` hits.

mod collect;
mod consent;
mod limits;
mod measurement_protocol;

use tagfleet_crds::destination as crd;

use self::{collect::Collect, measurement_protocol::MeasurementProtocol};
use super::{Built, Resolve, with_endpoint};

/// Where GA4 takes events; `endpoint` replaces it, by `https://region1.google-analytics.com` for the EU.
const HOST: &str = "https://www.google-analytics.com";

/// Builds the vendor of a manifest.
pub(super) fn build(block: &crd::Ga4, resolve: &mut dyn Resolve) -> Option<Built> {
    let path = if block.api_secret.is_some() {
        "/mp/collect"
    } else {
        "/g/collect"
    };
    let url = with_endpoint(&format!("{HOST}{path}"), "endpoint", block.endpoint.as_deref(), resolve);
    let mapping = resolve.mapping(&block.event_names, &block.parameters);
    let (measurement_id, debug) = (block.measurement_id.clone(), block.debug);
    match &block.api_secret {
        Some(source) => {
            let secret = resolve.secret("apiSecret", source);
            let mut url = url?;
            url.query_pairs_mut()
                .append_pair("measurement_id", &measurement_id)
                .append_pair("api_secret", secret?.expose());
            Some(Built::without_tokens(MeasurementProtocol {
                url,
                debug,
                mapping: mapping?,
            }))
        }
        None => Some(Built::without_tokens(Collect {
            url: url?,
            measurement_id,
            debug,
            mapping: mapping?,
        })),
    }
}

#[cfg(test)]
mod tests;
