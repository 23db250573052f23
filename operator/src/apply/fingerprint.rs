//! Fingerprints of objects, and the comparison of what is wished with what is there: by them a child that is as wished is
//! not written again, across restarts of the operator too.

use std::fmt;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// The annotation on a child that holds the fingerprint of the wish that was last applied. With it, what a newer
/// operator no longer wishes for is seen, which a comparison of the fields that it does wish for would not show.
pub const ANNOTATION: &str = "tagfleet.dev/fingerprint";

/// The first half of a SHA-256: an accidental clash is out of the question, and nobody gains by making one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The fingerprint of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        let mut half = [0; 16];
        half.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self(half)
    }

    /// The fingerprint of an object as it is wished. Maps are in the order of their keys, so equal objects are equal here.
    #[must_use]
    pub fn of_value(value: &Value) -> Self {
        Self::of(value.to_string().as_bytes())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Takes out what changes without anybody's wish: the status, and the API server's own bookkeeping.
pub fn strip(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    fields.remove("status");
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in [
            "managedFields",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "uid",
            "selfLink",
        ] {
            metadata.remove(name);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            // The Deployment controller counts here.
            annotations.remove("deployment.kubernetes.io/revision");
        }
    }
}

/// Adds the annotation to an object as it is wished.
pub fn annotate(object: &mut Value, fingerprint: Fingerprint) {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata
        && let Some(annotations) = metadata
            .entry("annotations")
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()
    {
        annotations.insert(ANNOTATION.to_owned(), Value::String(fingerprint.to_string()));
    }
}

/// Whether all that is wished is there. What is there beside it is defaulted by the API server or set by others, and
/// theirs; but a list with more elements than wished is not what is wished.
#[must_use]
pub fn is_fulfilled(wish: &Value, there: &Value) -> bool {
    match (wish, there) {
        (Value::Object(wish), Value::Object(there)) => wish
            .iter()
            .all(|(name, wish)| there.get(name).is_some_and(|there| is_fulfilled(wish, there))),
        (Value::Array(wish), Value::Array(there)) => {
            wish.len() == there.len() && wish.iter().zip(there).all(|(wish, there)| is_fulfilled(wish, there))
        }
        (Value::Number(wish), Value::Number(there)) => wish.as_f64() == there.as_f64(),
        (wish, there) => wish == there,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_api_server_adds_does_not_count() {
        let wish = json!({"spec": {"ports": [{"name": "http", "port": 80}], "selector": {"a": "b"}}});
        let there = json!({
            "metadata": {"uid": "1"},
            "spec": {"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}], "selector": {"a": "b"}},
        });
        assert!(is_fulfilled(&wish, &there));
    }

    #[test]
    fn a_changed_a_missing_and_an_added_element_count() {
        let wish = json!({"spec": {"rules": [{"host": "a"}], "paused": false}});
        assert!(!is_fulfilled(
            &wish,
            &json!({"spec": {"rules": [{"host": "b"}], "paused": false}})
        ));
        assert!(!is_fulfilled(&wish, &json!({"spec": {"rules": [{"host": "a"}]}})));
        assert!(!is_fulfilled(
            &wish,
            &json!({"spec": {"rules": [{"host": "a"}, {"host": "b"}], "paused": false}})
        ));
    }

    #[test]
    fn equal_objects_have_equal_fingerprints_whatever_their_order_and_bookkeeping() {
        let mut one = json!({"metadata": {"name": "a", "resourceVersion": "7", "uid": "1"}, "spec": {"a": 1, "b": 2}, "status": {"x": 1}});
        let mut other = json!({"spec": {"b": 2, "a": 1}, "metadata": {"generation": 2, "name": "a"}});
        strip(&mut one);
        strip(&mut other);
        assert_eq!(Fingerprint::of_value(&one), Fingerprint::of_value(&other));
        other["spec"]["b"] = json!(3);
        assert_ne!(Fingerprint::of_value(&one), Fingerprint::of_value(&other));
    }
}
