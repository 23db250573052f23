//! The schemas of Tagfleet's two kinds.

use std::sync::OnceLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value as Json, json};

use super::{Schema, SchemaError};
use crate::config::objects::CONTAINER;

/// The schema of a kind, compiled when it is first asked for.
///
/// # Errors
/// When the CRD of this build has something that the checker cannot check; a test sees to it that it has not.
pub fn of_kind(kind: &str) -> Result<&'static Schema, &'static SchemaError> {
    static CONTAINERS: OnceLock<Result<Schema, SchemaError>> = OnceLock::new();
    static DESTINATIONS: OnceLock<Result<Schema, SchemaError>> = OnceLock::new();
    let compiled = match kind {
        CONTAINER => CONTAINERS.get_or_init(|| compile(&tagfleet_crds::schema::tagging_container())),
        _ => DESTINATIONS.get_or_init(|| compile(&tagfleet_crds::schema::destination())),
    };
    compiled.as_ref()
}

fn compile(crd: &CustomResourceDefinition) -> Result<Schema, SchemaError> {
    let schema = crd.spec.versions.first().and_then(|version| version.schema.as_ref());
    let schema = schema.and_then(|schema| serde_json::to_value(&schema.open_api_v3_schema).ok());
    let mut schema = schema.unwrap_or(Json::Null);
    // The API server adds these to every kind; metadata has a check of its own, and the status is not the writer's.
    if let Some(properties) = schema.get_mut("properties").and_then(Json::as_object_mut) {
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        properties.insert("apiVersion".to_owned(), json!({"type": "string"}));
        properties.insert("kind".to_owned(), json!({"type": "string"}));
        properties.insert("metadata".to_owned(), open.clone());
        properties.insert("status".to_owned(), open);
    }
    Schema::compile(&schema)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::config::{manifests::parse, objects::DESTINATION};

    fn mistakes(kind: &str, spec: &str) -> Vec<String> {
        let manifest = format!("apiVersion: x\nkind: {kind}\nmetadata: {{name: shop}}\nspec: {spec}\n");
        let parsed = parse(&manifest);
        assert_eq!(parsed.error, None);
        let (_, mistakes) = of_kind(kind).unwrap().check(&parsed.documents[0]);
        let line = |mistake: &super::super::Mistake| format!("{}: {}", mistake.field, mistake.message);
        mistakes.iter().map(line).collect()
    }

    #[test]
    fn the_schemas_of_both_kinds_compile() {
        for kind in [CONTAINER, DESTINATION] {
            assert!(of_kind(kind).is_ok(), "{}", of_kind(kind).unwrap_err());
        }
    }

    #[test]
    fn a_destination_has_exactly_one_vendor() {
        let two = "{containerRefs: [{name: shop}], ga4: {measurementId: G-1}, webhook: {url: 'https://a.example'}}";
        let none = "{containerRefs: [{name: shop}]}";
        for spec in [two, none] {
            let mistakes = mistakes(DESTINATION, spec);
            assert_eq!(mistakes.len(), 1, "{mistakes:?}");
            assert!(
                mistakes[0].starts_with("spec: set exactly one vendor: ga4, "),
                "{mistakes:?}"
            );
        }
        assert!(
            mistakes(
                DESTINATION,
                "{containerRefs: [{name: shop}], ga4: {measurementId: G-1}}"
            )
            .is_empty()
        );
    }

    #[test]
    fn rules_on_durations_and_ranges_hold() {
        assert_eq!(
            mistakes(
                DESTINATION,
                "{containerRefs: [{name: shop}], ga4: {measurementId: G-1}, delivery: {timeout: 10m}}"
            ),
            ["spec.delivery.timeout: must be longer than 0s and at most 5m"]
        );
        assert_eq!(
            mistakes(CONTAINER, "{trustedProxies: [10.0.0.0]}"),
            ["spec.trustedProxies[0]: must be a range of addresses in CIDR notation, such as 10.0.0.0/8 or fd00::/8"]
        );
    }
}
