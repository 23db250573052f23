//! Secret `<name>-credentials`: the referenced keys of the referenced Secrets and nothing else of them, mounted as files.
//!
//! It is there even without a key, so that the pods' template is the same whether a Destination needs a credential or not.

use std::collections::BTreeMap;

use serde_json::json;

use super::{child, metadata, names};
use crate::{
    child::{Child, ChildKind},
    fleet::Fleet,
};

/// The most characters of a key of a Secret (`<secret>..<key>`). Of a name and a key that are longer together, the
/// reference cannot be resolved.
pub const LONGEST_KEY: usize = 253;

/// The key under which the gateway finds a value: `<secret>..<key>`.
#[must_use]
pub fn key(secret: &str, key: &str) -> String {
    format!("{secret}..{key}")
}

/// Opaque, with a key for each referenced one. A value past the API server's bounds must not take the others with it, so a
/// key that is too long is left out; its Destination is told by its condition.
pub(super) fn build(fleet: &Fleet) -> Vec<Child> {
    let metadata = metadata::of(fleet, names::credentials(&fleet.name));
    let data: BTreeMap<_, _> = fleet
        .credentials
        .iter()
        .filter(|(key, _)| key.len() <= LONGEST_KEY)
        .collect();
    let fields = if data.is_empty() {
        json!({"type": "Opaque"})
    } else {
        json!({"type": "Opaque", "data": data})
    };
    vec![child(ChildKind::Secret, metadata, fields)]
}
