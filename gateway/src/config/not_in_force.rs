//! What each field of the contract does in this version. A field that nothing acts on yet is refused, so that nobody
//! believes in protection that is not there.

use super::{
    finding::{Finding, Severity},
    objects::{CONTAINER, DESTINATION, Object},
    tree::{Node, Path},
};

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// The gateway acts on it.
    Acts,
    /// The operator acts on it; a gateway has nothing to do for it.
    ClusterOnly,
    /// Nothing acts on it yet.
    NotYet,
}

use Effect::{Acts, ClusterOnly, NotYet};

/// The fields of a TaggingContainer. `[]` is any element of a list; the longest path that fits a field counts.
const CONTAINER_FIELDS: &[(&str, Effect)] = &[
    ("spec.hostnames", Acts),
    ("spec.ingress", ClusterOnly),
    ("spec.gatewayRefs", ClusterOnly),
    ("spec.replicas", ClusterOnly),
    ("spec.clients", Acts),
    ("spec.clients[].scripts", NotYet),
    ("spec.trustedProxies", Acts),
    ("spec.cors", Acts),
    ("spec.identity", Acts),
    ("spec.consent", Acts),
    ("spec.privacy", Acts),
    ("spec.enrich", Acts),
    ("spec.deduplication", Acts),
    ("spec.validation", Acts),
    ("spec.lookupTables", Acts),
    ("spec.variables", Acts),
    ("spec.transformations", Acts),
    ("spec.buffer", Acts),
    ("spec.buffer.disk.volume", ClusterOnly),
    ("spec.buffer.jetStream", NotYet),
    ("spec.limits", Acts),
    ("spec.limits.perAddress", NotYet),
    ("spec.limits.total", NotYet),
    ("spec.priority", NotYet),
    ("spec.image", ClusterOnly),
    ("spec.resources", ClusterOnly),
    ("spec.pod", ClusterOnly),
    ("spec.networkPolicy", ClusterOnly),
    ("spec.monitoring", ClusterOnly),
    ("spec.telemetry", NotYet),
    ("spec.preview", NotYet),
    ("spec.paused", ClusterOnly),
];

/// The fields of a Destination, but for the vendors' blocks: the vendors answer for those themselves.
const DESTINATION_FIELDS: &[(&str, Effect)] = &[
    ("spec.containerRefs", Acts),
    ("spec.trigger", Acts),
    ("spec.consent", Acts),
    ("spec.samplePercent", Acts),
    ("spec.receives", Acts),
    ("spec.paused", Acts),
    ("spec.delivery", Acts),
];

fn table(kind: &str) -> &'static [(&'static str, Effect)] {
    match kind {
        CONTAINER => CONTAINER_FIELDS,
        DESTINATION => DESTINATION_FIELDS,
        _ => &[],
    }
}

/// Names every field that is written and that nothing acts on yet.
#[must_use]
pub fn check(object: &Object) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some((tree, spec)) = object.tree().and_then(|tree| Some((tree, tree.get("spec")?))) {
        let table = table(&object.reference.kind);
        walk(
            object,
            tree,
            spec,
            &Path::Field(&Path::Root, "spec"),
            table,
            &mut findings,
        );
    }
    findings
}

fn walk(
    object: &Object,
    tree: &Node,
    node: &Node,
    path: &Path<'_>,
    table: &[(&str, Effect)],
    findings: &mut Vec<Finding>,
) {
    let pattern = pattern(path);
    let entry = table.iter().find(|(field, _)| *field == pattern);
    if entry.is_some_and(|(_, force)| *force == NotYet) && !node.is_null() {
        let field = path.to_string();
        let at = tree.locate(&field);
        let mut finding = object.finding(at, field, "is not in force in this version yet: take it out");
        finding.severity = Severity::Error;
        findings.push(finding);
        return;
    }
    // Only what the table goes into is walked.
    if !table.iter().any(|(field, _)| is_below(field, &pattern)) {
        return;
    }
    for field in node.fields() {
        walk(
            object,
            tree,
            &field.node,
            &Path::Field(path, &field.name),
            table,
            findings,
        );
    }
    for (index, element) in node.elements().iter().enumerate() {
        walk(object, tree, element, &Path::Index(path, index), table, findings);
    }
}

/// The path as the table writes it.
fn pattern(path: &Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Field(Path::Root, name) => (*name).to_owned(),
        Path::Field(parent, name) => format!("{}.{name}", pattern(parent)),
        Path::Index(parent, _) => format!("{}[]", pattern(parent)),
    }
}

/// Whether a field of the table stands below another.
fn is_below(field: &str, above: &str) -> bool {
    field
        .strip_prefix(above)
        .is_some_and(|rest| rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use serde_json::Value as Json;
    use tagfleet_crds::destination::VENDORS;

    use super::*;
    use crate::config::objects;

    fn findings(manifest: &str) -> Vec<String> {
        let read = objects::read(&"shop.yaml".into(), manifest.as_bytes());
        assert!(read.findings.is_empty(), "{:?}", read.findings);
        check(&read.objects[0]).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn fields_that_nothing_acts_on_yet_are_named_where_they_stand() {
        assert_eq!(
            findings(
                "apiVersion: tagfleet.dev/v1alpha1\nkind: TaggingContainer\nmetadata: {name: shop}\nspec:\n  \
                 clients:\n  - name: gtag\n    scripts: {ids: [G-1]}\n  privacy: {ipAddress: Remove, bots: Drop}\n  \
                 telemetry: {}\n  priority: \"1\"\n  identity:\n"
            ),
            [
                "shop.yaml:7:5: TaggingContainer/shop: spec.clients[0].scripts: is not in force in this version yet: \
                 take it out",
                "shop.yaml:9:3: TaggingContainer/shop: spec.telemetry: is not in force in this version yet: take it \
                 out",
                "shop.yaml:10:13: TaggingContainer/shop: spec.priority: is not in force in this version yet: take it \
                 out",
            ]
        );
    }

    #[test]
    fn fields_of_the_cluster_are_fine_in_files() {
        assert!(
            findings(
                "apiVersion: tagfleet.dev/v1alpha1\nkind: TaggingContainer\nmetadata: {name: shop}\nspec:\n  \
                 ingress: {className: nginx}\n  replicas: {min: 2}\n  monitoring: {rules: false}\n  \
                 buffer: {disk: {volume: {size: 1Gi}}}\n"
            )
            .is_empty()
        );
    }

    /// Every field of the schema has its line above: a new one cannot be ignored in silence.
    #[test]
    fn the_tables_know_every_field_of_the_schema_and_no_other() {
        for (kind, crd) in [
            (CONTAINER, tagfleet_crds::schema::tagging_container()),
            (DESTINATION, tagfleet_crds::schema::destination()),
        ] {
            let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
            let spec = &schema["openAPIV3Schema"]["properties"]["spec"];
            let table = table(kind);
            for field in spec["properties"].as_object().unwrap().keys() {
                let path = format!("spec.{field}");
                if VENDORS.contains(&field.as_str()) {
                    continue;
                }
                assert!(table.iter().any(|(known, _)| *known == path), "{kind}: {path}");
            }
            for (path, _) in table {
                let mut schema = spec;
                for step in path.split('.').skip(1) {
                    let name = step.trim_end_matches("[]");
                    schema = &schema["properties"][name];
                    assert_ne!(schema, &Json::Null, "{kind}: {path}");
                    if step.ends_with("[]") {
                        schema = &schema["items"];
                    }
                }
            }
        }
    }
}
