//! Whether something holds at least what is expected of it: objects may have further members, lists may not have further
//! elements, `any` stands for any value that is there, and `absent` for none.

use serde_json::Value as Json;

/// Stands for any value.
const ANY: &str = "any";
/// Stands for no value.
const ABSENT: &str = "absent";

/// Compares two lists, element by element.
pub(super) fn list(path: &str, wanted: &[Json], actual: &[&Json], failures: &mut Vec<String>) {
    if wanted.len() != actual.len() {
        failures.push(format!("{path}: expected {}, got {}", wanted.len(), actual.len()));
    }
    for (index, (wanted, actual)) in wanted.iter().zip(actual).enumerate() {
        part(&format!("{path}[{index}]"), wanted, actual, failures);
    }
}

/// Compares what is expected with what there is, and names each difference by its path.
pub(super) fn part(path: &str, wanted: &Json, actual: &Json, failures: &mut Vec<String>) {
    match (wanted, actual) {
        (Json::Object(wanted), Json::Object(actual)) => {
            for (name, wanted) in wanted {
                let path = format!("{path}.{name}");
                match (wanted.as_str(), actual.get(name)) {
                    (Some(ABSENT), None) => {}
                    (Some(ABSENT), Some(actual)) => failures.push(format!("{path}: expected nothing, got {actual}")),
                    (_, None) => failures.push(format!("{path}: expected {wanted}, got nothing")),
                    (_, Some(actual)) => part(&path, wanted, actual, failures),
                }
            }
        }
        (Json::Array(wanted), Json::Array(actual)) => {
            let actual: Vec<&Json> = actual.iter().collect();
            list(path, wanted, &actual, failures);
        }
        (Json::String(any), _) if any == ANY => {}
        (wanted, actual) if alike(wanted, actual) => {}
        (wanted, actual) => failures.push(format!("{path}: expected {wanted}, got {actual}")),
    }
}

/// Equal; numbers by value, as YAML writes 72 where JSON has 72.0.
fn alike(wanted: &Json, actual: &Json) -> bool {
    match (wanted.as_f64(), actual.as_f64()) {
        (Some(wanted), Some(actual)) => wanted.total_cmp(&actual).is_eq(),
        _ => wanted == actual,
    }
}
