//! How much work a schema can make: what it comes to when every `$ref` is replaced by what it names.
//!
//! A few lines whose references double forty times over would keep a gateway busy for days, and a schema that refers to
//! itself is followed as deep as the sender nests. Both are refused when the schema is applied, so that checking an event
//! takes time in proportion to event and schema.

use std::collections::HashMap;

use serde_json::Value;

/// Objects and arrays of a schema with its references followed.
const MAX_PARTS: u64 = 20_000;
/// How deep they stand in each other, references followed.
const MAX_DEPTH: usize = 128;
/// Keywords by which a reference leads to a place that only evaluation tells.
const DYNAMIC: [&str; 2] = ["$dynamicRef", "$recursiveRef"];

/// Checks that a schema stays within bounds.
///
/// # Errors
/// Why not, in words.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    let draft = schema.get("$schema").and_then(Value::as_str).unwrap_or_default();
    let mut extent = Extent {
        schema,
        id: if draft.contains("draft-04") { "id" } else { "$id" },
        parts: HashMap::new(),
    };
    let parts = extent.of(schema, 0)?;
    if parts > MAX_PARTS {
        return Err(format!(
            "with its references followed the schema has more than {MAX_PARTS} parts: refer to less, or split it into several \
             rules"
        ));
    }
    Ok(())
}

struct Extent<'s> {
    schema: &'s Value,
    /// The keyword that would change what a reference is relative to.
    id: &'static str,
    /// What each reference comes to; none while it is being found out.
    parts: HashMap<&'s str, Option<u64>>,
}

impl<'s> Extent<'s> {
    /// The parts of a value. Data among the keywords (`enum`, `examples`) counts along, which is on the safe side.
    fn of(&mut self, value: &'s Value, depth: usize) -> Result<u64, String> {
        if depth > MAX_DEPTH {
            return Err(format!(
                "its parts stand more than {MAX_DEPTH} deep in each other, references followed"
            ));
        }
        let mut parts: u64 = 1;
        match value {
            Value::Object(keywords) => {
                for (keyword, value) in keywords {
                    let more = match value {
                        Value::String(target) if keyword == "$ref" => self.of_reference(target, depth)?,
                        Value::String(_) if depth > 0 && keyword == self.id => {
                            return Err(format!("`{}` can only stand at the top of a schema", self.id));
                        }
                        Value::String(_) if DYNAMIC.contains(&keyword.as_str()) => {
                            return Err(format!("`{keyword}` is not supported: use `$ref`"));
                        }
                        value => self.of(value, depth + 1)?,
                    };
                    parts = parts.saturating_add(more);
                }
            }
            Value::Array(elements) => {
                for element in elements {
                    parts = parts.saturating_add(self.of(element, depth + 1)?);
                }
            }
            _ => return Ok(0),
        }
        Ok(parts)
    }

    fn of_reference(&mut self, target: &'s str, depth: usize) -> Result<u64, String> {
        match self.parts.get(target) {
            Some(Some(parts)) => return Ok(*parts),
            Some(None) => return Err(format!("`$ref: {target}` leads back to itself")),
            None => {}
        }
        let Some(pointer) = target.strip_prefix('#').filter(|pointer| !pointer.contains('%')) else {
            return Err(format!(
                "`$ref: {target}` is not followed: it must name a place in the schema itself, such as #/$defs/price"
            ));
        };
        let Some(place) = self.schema.pointer(pointer) else {
            return Err(format!("`$ref: {target}` names nothing in the schema"));
        };
        self.parts.insert(target, None);
        let parts = self.of(place, depth + 1)?;
        self.parts.insert(target, Some(parts));
        Ok(parts)
    }
}
