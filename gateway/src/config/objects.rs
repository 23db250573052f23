//! From trees to objects: what each document is, and what it is called.

use std::{collections::BTreeMap, sync::Arc};

use tagfleet_crds::validate;

use super::{
    finding::{Finding, ObjectRef, Position, Severity},
    manifests::{self, Parsed},
    secrets::{self, Data},
    suggest::did_you_mean,
    tree::{Node, Value},
};

/// The group and version of Tagfleet's two kinds.
pub const API_VERSION: &str = "tagfleet.dev/v1alpha1";
/// The kind of a container.
pub const CONTAINER: &str = "TaggingContainer";
/// The kind of a destination.
pub const DESTINATION: &str = "Destination";
/// The kind of a Secret.
pub const SECRET: &str = "Secret";
/// The kind of a ConfigMap.
pub const CONFIG_MAP: &str = "ConfigMap";

/// The fields that metadata may have.
const METADATA: [&str; 15] = [
    "name",
    "namespace",
    "labels",
    "annotations",
    "generateName",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "finalizers",
    "managedFields",
    "selfLink",
];

/// An object of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What it is called.
    pub reference: ObjectRef,
    /// The file that it stands in; empty when it comes from the API server.
    pub file: Arc<str>,
    /// Where its document starts.
    pub at: Position,
    /// What it holds.
    pub body: Body,
    /// The mistakes found so far.
    pub findings: Vec<Finding>,
}

/// What an object holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// One of Tagfleet's own kinds: the whole document.
    Own(Node),
    /// A Secret's or ConfigMap's keys.
    Data(Data),
}

/// All that was read of one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileObjects {
    /// Its objects.
    pub objects: Vec<Object>,
    /// Mistakes outside of objects.
    pub findings: Vec<Finding>,
    /// Whether the file could be read to its end. If not, objects that it had before are taken to be there still.
    pub whole: bool,
}

impl Object {
    /// An object of one of Tagfleet's own kinds, as the API server gives it.
    #[must_use]
    pub fn from_api(reference: ObjectRef, json: &serde_json::Value) -> Self {
        Self {
            reference,
            file: Arc::default(),
            at: Position::START,
            body: Body::Own(Node::from_json(json)),
            findings: Vec::new(),
        }
    }

    /// `metadata.uid`: tells the object from an earlier one of its name. Only the API server gives it.
    #[must_use]
    pub fn uid(&self) -> Option<&str> {
        self.tree()?.get("metadata")?.get("uid")?.as_text()
    }

    /// `metadata.generation`: the API server counts changes of the specification in it.
    #[must_use]
    pub fn generation(&self) -> Option<i64> {
        match self.tree()?.get("metadata")?.get("generation")?.value {
            Value::Int(generation, _) => Some(generation),
            _ => None,
        }
    }

    /// A finding about a field of this object.
    #[must_use]
    pub fn finding(&self, at: Position, field: impl Into<String>, message: impl Into<String>) -> Finding {
        finding(&self.file, at, &self.reference, field.into(), message.into())
    }

    /// An error about a field, placed where the field stands, or the deepest part of its path that is written.
    #[must_use]
    pub fn error(&self, field: &str, message: impl Into<String>) -> Finding {
        let at = match &self.body {
            Body::Own(tree) => tree.locate(field),
            Body::Data(_) => self.at,
        };
        self.finding(at, field, message)
    }

    /// What validation found, with the place of its field.
    #[must_use]
    pub fn located(&self, finding: &validate::Finding) -> Finding {
        Finding {
            severity: finding.severity.into(),
            reason: Some(finding.reason),
            ..self.error(&finding.path.to_string(), finding.message.clone())
        }
    }

    /// The document, of Tagfleet's own kinds.
    #[must_use]
    pub fn tree(&self) -> Option<&Node> {
        match &self.body {
            Body::Own(tree) => Some(tree),
            Body::Data(_) => None,
        }
    }

    /// Whether a mistake refuses it.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.findings.iter().any(Finding::is_error)
    }
}

fn finding(file: &Arc<str>, at: Position, object: &ObjectRef, field: String, message: String) -> Finding {
    Finding {
        file: Arc::clone(file),
        at: (!file.is_empty()).then_some(at),
        object: Some(object.clone()),
        field,
        message,
        severity: Severity::Error,
        reason: None,
    }
}

/// Reads the objects of a file. Kinds that are not Tagfleet's business are passed over.
#[must_use]
pub fn read(file: &Arc<str>, bytes: &[u8]) -> FileObjects {
    let Parsed { documents, error } = manifests::parse_bytes(bytes);
    let mut read = FileObjects {
        whole: error.is_none(),
        ..FileObjects::default()
    };
    for document in documents {
        read_document(file, document, &mut read);
    }
    if let Some(error) = error {
        read.findings
            .push(Finding::in_file(file, Some(error.at), error.message));
    }
    read
}

/// Reads a document, or each item of a `List` (what `kubectl get -o yaml` prints of several objects).
fn read_document(file: &Arc<str>, document: Node, read: &mut FileObjects) {
    match classify(&document) {
        Ok(Some(Class::List)) => {
            let items = document.get("items").map(Node::elements).unwrap_or_default();
            for item in items {
                match classify(item) {
                    Ok(Some(Class::Object(kind))) => read_object(file, item.clone(), kind, read),
                    Ok(_) => {}
                    Err(finding) => read.findings.push(finding.into_finding(file)),
                }
            }
        }
        Ok(Some(Class::Object(kind))) => read_object(file, document, kind, read),
        Ok(None) => {}
        Err(finding) => read.findings.push(finding.into_finding(file)),
    }
}

/// What a document is.
#[derive(Debug)]
enum Class {
    Object(&'static str),
    List,
}

/// Why a document is no object.
struct NoObject {
    at: Position,
    message: String,
}

impl NoObject {
    fn into_finding(self, file: &Arc<str>) -> Finding {
        Finding::in_file(file, Some(self.at), self.message)
    }
}

/// What a document is by its `apiVersion` and `kind`; none if it is a kind of somebody else's.
fn classify(document: &Node) -> Result<Option<Class>, NoObject> {
    let no = |at: Position, message: String| Err(NoObject { at, message });
    if !matches!(document.value, Value::Map(_)) {
        return no(
            document.at,
            "not a Kubernetes object: apiVersion, kind and metadata are needed".into(),
        );
    }
    let text = |name: &str| document.get(name).and_then(Node::as_text);
    let (Some(version), Some(kind)) = (text("apiVersion"), text("kind")) else {
        let missing = if text("apiVersion").is_none() {
            "apiVersion"
        } else {
            "kind"
        };
        return no(document.at, format!("not a Kubernetes object: {missing} is required"));
    };
    let place = |name: &str| document.get(name).map_or(document.at, |node| node.at);
    let own = [CONTAINER, DESTINATION];
    let group = version.split_once('/').map_or("", |(group, _)| group);
    match (version, kind) {
        (API_VERSION, CONTAINER) => Ok(Some(Class::Object(CONTAINER))),
        (API_VERSION, DESTINATION) => Ok(Some(Class::Object(DESTINATION))),
        (API_VERSION, _) => {
            let meant = did_you_mean(kind, own.into_iter()).map_or_else(
                || format!("; known: {}", own.join(", ")),
                |meant| format!("; did you mean {meant}?"),
            );
            no(place("kind"), format!("unknown kind {kind}{meant}"))
        }
        ("v1", SECRET) => Ok(Some(Class::Object(SECRET))),
        ("v1", CONFIG_MAP) => Ok(Some(Class::Object(CONFIG_MAP))),
        ("v1", "List") => Ok(Some(Class::List)),
        _ if group == "tagfleet.dev" || own.contains(&kind) && near_our_group(version, group) => no(
            place("apiVersion"),
            format!("unknown apiVersion {version}; must be {API_VERSION}"),
        ),
        _ => Ok(None),
    }
}

/// Whether a group (or an apiVersion without one) was most likely meant to be ours.
fn near_our_group(version: &str, group: &str) -> bool {
    let named = if group.is_empty() { version } else { group };
    group.is_empty() || named.contains("tagfleet") || did_you_mean(named, ["tagfleet.dev"].into_iter()).is_some()
}

fn read_object(file: &Arc<str>, document: Node, kind: &'static str, read: &mut FileObjects) {
    let metadata = document.get("metadata");
    let name = metadata.and_then(|metadata| metadata.get("name"));
    let Some(name_text) = name.and_then(Node::as_text).filter(|name| !name.is_empty()) else {
        let at = name.or(metadata).map_or(document.at, |node| node.at);
        let mut finding = Finding::in_file(file, Some(at), format!("{kind}: metadata.name is required"));
        if name.is_some_and(|name| !name.is_null()) {
            finding.message = format!("{kind}: metadata.name must be text: put it in quotes");
        }
        read.findings.push(finding);
        return;
    };
    let namespace = metadata
        .and_then(|metadata| metadata.get("namespace"))
        .and_then(Node::as_text);
    let reference = ObjectRef::new(kind, namespace.unwrap_or("default"), name_text);
    let mut findings = Vec::new();
    let mut report = |at: Position, field: String, message: String| {
        findings.push(finding(file, at, &reference, field, message));
    };
    check_metadata(&document, kind, &mut report);
    let at = document.at;
    let body = match kind {
        CONTAINER | DESTINATION => Body::Own(document),
        _ => Body::Data(secrets::read(kind, &document, &mut report)),
    };
    read.objects.push(Object {
        reference,
        file: Arc::clone(file),
        at,
        body,
        findings,
    });
}

/// Checks what the API server checks of metadata and what is meant for Tagfleet in it.
fn check_metadata(document: &Node, kind: &str, report: &mut dyn FnMut(Position, String, String)) {
    let Some(metadata) = document.get("metadata") else {
        return;
    };
    for field in metadata.fields() {
        if !METADATA.contains(&field.name.as_str()) {
            let meant = did_you_mean(&field.name, METADATA.into_iter());
            let meant = meant
                .map(|meant| format!("; did you mean `{meant}`?"))
                .unwrap_or_default();
            report(
                field.at,
                format!("metadata.{}", field.name),
                format!("unknown field{meant}"),
            );
        }
    }
    let longest = if matches!(kind, CONTAINER | DESTINATION) {
        63
    } else {
        253
    };
    for (field, longest) in [("name", longest), ("namespace", 63)] {
        let Some(node) = metadata.get(field).filter(|node| !node.is_null()) else {
            continue;
        };
        let message = match node.as_text() {
            None => "must be text: put it in quotes".to_owned(),
            Some(text) if text.len() > longest => format!("must have at most {longest} characters, has {}", text.len()),
            Some(text) if !is_dns_name(text) => {
                format!(
                    "\"{text}\" is no name: lower-case letters, digits, `-` and `.`, a letter or digit at both ends"
                )
            }
            Some(_) => continue,
        };
        report(node.at, format!("metadata.{field}"), message);
    }
    for map in ["labels", "annotations"] {
        for field in metadata.get(map).map(Node::fields).unwrap_or_default() {
            if field.node.as_text().is_none() {
                let message = "must be text: put it in quotes".to_owned();
                report(field.node.at, format!("metadata.{map}[\"{}\"]", field.name), message);
            }
        }
    }
}

/// A DNS subdomain as RFC 1123 has it, what Kubernetes wants of names.
fn is_dns_name(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.split('.').all(|label| {
        label.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
            && label.bytes().next().is_some_and(alphanumeric)
            && label.bytes().next_back().is_some_and(alphanumeric)
    })
}

/// Names the second of two objects that are called the same, and leaves it out.
#[must_use]
pub fn without_duplicates(objects: Vec<Object>) -> (Vec<Object>, Vec<Finding>) {
    let mut first: BTreeMap<ObjectRef, (Arc<str>, Position)> = BTreeMap::new();
    let mut findings = Vec::new();
    let mut unique = Vec::with_capacity(objects.len());
    for object in objects {
        if let Some((file, at)) = first.get(&object.reference) {
            let message = format!("is already there at {file}:{}", at.line);
            findings.push(object.finding(object.at, "metadata.name", message));
            continue;
        }
        first.insert(object.reference.clone(), (Arc::clone(&object.file), object.at));
        unique.push(object);
    }
    (unique, findings)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn read_text(text: &str) -> FileObjects {
        read(&"shop.yaml".into(), text.as_bytes())
    }

    fn findings(text: &str) -> Vec<String> {
        let read = read_text(text);
        let of_objects = read.objects.iter().flat_map(|object| &object.findings);
        read.findings.iter().chain(of_objects).map(Finding::to_string).collect()
    }

    #[test]
    fn documents_of_other_kinds_are_passed_over() {
        let read = read_text(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n---\n\
             apiVersion: tagfleet.dev/v1alpha1\nkind: Destination\nmetadata: {name: orders, namespace: shop}\n---\n\
             apiVersion: example.com/v1\nkind: Destination\nmetadata: {name: y}\n",
        );
        assert!(read.findings.is_empty());
        assert_eq!(read.objects.len(), 1);
        assert_eq!(
            read.objects[0].reference,
            ObjectRef::new("Destination", "shop", "orders")
        );
        assert_eq!(read.objects[0].at.line, 5);
    }

    #[test]
    fn a_list_is_read_item_by_item() {
        let read = read_text(
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: stock}\n",
        );
        assert_eq!(read.objects[0].reference.to_string(), "ConfigMap/stock");
    }

    #[test]
    fn what_is_no_object_is_named() {
        assert_eq!(
            findings("just text\n---\nkind: Secret\n---\napiVersion: v1\n"),
            [
                "shop.yaml:1:1: not a Kubernetes object: apiVersion, kind and metadata are needed",
                "shop.yaml:3:1: not a Kubernetes object: apiVersion is required",
                "shop.yaml:5:1: not a Kubernetes object: kind is required",
            ]
        );
    }

    #[test]
    fn misspelt_kinds_and_versions_of_ours_are_named() {
        assert_eq!(
            findings("apiVersion: tagfleet.dev/v1alpha1\nkind: Destinaton\nmetadata: {name: x}\n"),
            ["shop.yaml:2:7: unknown kind Destinaton; did you mean Destination?"]
        );
        assert_eq!(
            findings("apiVersion: tagfleet.dev/v1\nkind: Destination\nmetadata: {name: x}\n"),
            ["shop.yaml:1:13: unknown apiVersion tagfleet.dev/v1; must be tagfleet.dev/v1alpha1"]
        );
        assert_eq!(
            findings("apiVersion: tagflet.dev/v1alpha1\nkind: Destination\nmetadata: {name: x}\n"),
            ["shop.yaml:1:13: unknown apiVersion tagflet.dev/v1alpha1; must be tagfleet.dev/v1alpha1"]
        );
    }

    #[test]
    fn metadata_is_checked() {
        assert_eq!(
            findings("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Stock_1, label: {}, labels: {a: 1}}\n"),
            [
                "shop.yaml:3:27: ConfigMap/Stock_1: metadata.label: unknown field; did you mean `labels`?",
                "shop.yaml:3:18: ConfigMap/Stock_1: metadata.name: \"Stock_1\" is no name: lower-case letters, digits, \
                 `-` and `.`, a letter or digit at both ends",
                "shop.yaml:3:50: ConfigMap/Stock_1: metadata.labels[\"a\"]: must be text: put it in quotes",
            ]
        );
        assert_eq!(
            findings("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 12}\n"),
            ["shop.yaml:3:18: ConfigMap: metadata.name must be text: put it in quotes"]
        );
    }

    #[test]
    fn the_second_of_one_name_is_refused_with_the_place_of_the_first() {
        let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stock}\n";
        let (unique, findings) = without_duplicates(read_text(&format!("{twice}---\n{twice}")).objects);
        assert_eq!(unique.len(), 1);
        assert_eq!(
            findings[0].to_string(),
            "shop.yaml:5:1: ConfigMap/stock: metadata.name: is already there at shop.yaml:1"
        );
    }
}
