//! What a step changed: two states of an event, compared field by field.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value as Json;

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Its path, `user_data.email_address[0]`.
    pub path: String,
    /// What it was; nothing where it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Json>,
    /// What it is; nothing where it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Json>,
}

/// What differs between two events, in the order of names.
#[must_use]
pub fn between(before: &Json, after: &Json) -> Vec<Change> {
    let mut changes = Vec::new();
    compare("", Some(before), Some(after), &mut changes);
    changes
}

fn compare(path: &str, before: Option<&Json>, after: Option<&Json>, changes: &mut Vec<Change>) {
    match (before, after) {
        (Some(Json::Object(before)), Some(Json::Object(after))) => {
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for name in names {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                compare(&path, before.get(name), after.get(name), changes);
            }
        }
        (Some(Json::Array(before)), Some(Json::Array(after))) => {
            for index in 0..before.len().max(after.len()) {
                compare(
                    &format!("{path}[{index}]"),
                    before.get(index),
                    after.get(index),
                    changes,
                );
            }
        }
        (before, after) if before == after => {}
        (before, after) => changes.push(Change {
            path: path.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_came_went_or_changed_are_named() {
        let before = json!({"a": 1, "user": {"mail": ["x", "y"], "name": "Jo"}, "gone": true});
        let after = json!({"a": 1, "user": {"mail": ["x"], "name": "J."}, "new": null});
        let shown: Vec<String> = between(&before, &after)
            .iter()
            .map(|change| format!("{}: {:?} -> {:?}", change.path, change.before, change.after))
            .collect();
        assert_eq!(
            shown,
            [
                "gone: Some(Bool(true)) -> None",
                "new: None -> Some(Null)",
                "user.mail[1]: Some(String(\"y\")) -> None",
                "user.name: Some(String(\"Jo\")) -> Some(String(\"J.\"))",
            ]
        );
        assert!(between(&before, &before).is_empty());
    }
}
