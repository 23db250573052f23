//! From an object to its typed spec: schema, fields that are in force, types.

use serde::de::DeserializeOwned;

use super::{
    finding::{Finding, Severity},
    not_in_force,
    objects::Object,
    schema,
};

/// A spec, if the object has one that can be used, and every mistake in it (those of reading it included).
#[derive(Debug)]
pub struct Typed<T> {
    /// The spec with defaults filled in; none when it is refused.
    pub spec: Option<T>,
    /// The mistakes.
    pub findings: Vec<Finding>,
}

/// Checks one of Tagfleet's own objects and gives its spec.
#[must_use]
pub fn typed<T: DeserializeOwned>(object: &Object) -> Typed<T> {
    let Typed { spec, mut findings } = described(object);
    findings.extend(not_in_force::check(object));
    let spec = spec.filter(|_| !findings.iter().any(Finding::is_error));
    Typed { spec, findings }
}

/// The spec of one of Tagfleet's own objects as it is written, whether or not this version acts on all of it.
#[must_use]
pub fn described<T: DeserializeOwned>(object: &Object) -> Typed<T> {
    let mut findings = object.findings.clone();
    let Some(tree) = object.tree() else {
        return Typed { spec: None, findings };
    };
    let schema = match schema::of_kind(&object.reference.kind) {
        Ok(schema) => schema,
        Err(error) => {
            findings.push(object.error("", format!("the schema of this kind cannot be used: {error}")));
            return Typed { spec: None, findings };
        }
    };
    let (mut json, mistakes) = schema.check(tree);
    findings.extend(mistakes.into_iter().map(|mistake| Finding {
        severity: mistake.severity,
        ..object.finding(mistake.at, mistake.field, mistake.message)
    }));
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Typed { spec: None, findings };
    }
    // What the schema cannot say (text or Secret in a header) is said by the type.
    let spec = json.get_mut("spec").map(serde_json::Value::take).unwrap_or_default();
    match serde_path_to_error::deserialize(spec) {
        Ok(spec) => Typed {
            spec: Some(spec),
            findings,
        },
        Err(error) => {
            let field = format!("spec.{}", error.path());
            findings.push(object.error(&field, error.into_inner().to_string()));
            Typed { spec: None, findings }
        }
    }
}
