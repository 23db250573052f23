//! `telemetry` of a container: from the spec to what traces are recorded by.

use http::{HeaderMap, HeaderName, HeaderValue};
use tagfleet_crds::{HeaderValue as ManifestHeader, TaggingContainerSpec};
use url::Url;

use super::{finding::Finding, objects::Object, rules::Rules, world::World};
use crate::{
    delivery::addresses::AddressPolicy,
    secret::Secret,
    traces::{Settings, collector::Collector, sampling::Share},
};

/// The field that all of it stands in.
const FIELD: &str = "spec.telemetry.otlp";

/// Compiles what validation has let pass; none where no collector is named.
///
/// # Errors
/// The mistakes that validation cannot see. None are told of what validation has told already, such as a Secret that is
/// missing.
pub(super) fn compile(
    object: &Object,
    spec: &TaggingContainerSpec,
    world: &World,
    rules: &Rules,
) -> Result<Option<Settings>, Vec<Finding>> {
    let Some(otlp) = spec.telemetry.as_ref().and_then(|telemetry| telemetry.otlp.as_ref()) else {
        return Ok(None);
    };
    let endpoint: Url = otlp.endpoint.parse().map_err(|_| Vec::new())?;
    if rules.in_cluster() && !AddressPolicy::NoMetadataServer.allows_host_of(&endpoint) {
        let message = "is a link-local address, where metadata servers are: name the collector's Service";
        return Err(vec![object.error(&format!("{FIELD}.endpoint"), message)]);
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &otlp.headers {
        let (text, is_secret) = match value {
            ManifestHeader::Text(text) => (Secret::new(text.as_str()), false),
            ManifestHeader::Secret(source) => {
                let secret = world.secret(&object.reference.namespace, &source.secret_key_ref);
                (secret.ok_or_else(Vec::new)?, true)
            }
        };
        let name_and_value = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .zip(HeaderValue::from_str(text.expose().trim_end_matches(['\r', '\n'])).ok());
        let Some((name, mut value)) = name_and_value else {
            let message = "its value has characters that no header may hold";
            return Err(vec![object.error(&format!("{FIELD}.headers.{name}"), message)]);
        };
        value.set_sensitive(is_secret);
        headers.insert(name, value);
    }
    Ok(Some(Settings {
        collector: Collector::new(endpoint, otlp.protocol, headers),
        share: Share::of_percent(otlp.sample_percent),
    }))
}
