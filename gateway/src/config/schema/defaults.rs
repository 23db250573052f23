//! The defaults of a schema.

use serde_json::Value as Json;

use super::Schema;

impl Schema {
    /// Fills in the defaults, as the API server does: of every object that is there, the fields that are not, and of
    /// what was filled in the same again.
    pub fn fill_in_defaults(&self, json: &mut Json) {
        match json {
            Json::Object(fields) => {
                for (name, property) in &self.properties {
                    if let Some(default) = &property.default
                        && !fields.contains_key(name)
                    {
                        fields.insert(name.clone(), default.clone());
                    }
                }
                for (name, value) in fields {
                    if let Some(schema) = self.properties.get(name).or(self.values.as_deref()) {
                        schema.fill_in_defaults(value);
                    }
                }
            }
            Json::Array(elements) => {
                for element in elements {
                    if let Some(schema) = &self.items {
                        schema.fill_in_defaults(element);
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_filled_in_where_their_object_is() {
        let schema = Schema::compile(&json!({"type": "object", "properties": {
            "buffer": {"type": "object", "default": {}, "properties": {"whenFull": {"type": "string", "default": "Refuse"}}},
            "clients": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}}},
            "retry": {"type": "object", "properties": {"max": {"type": "string", "default": "5m"}}},
        }}))
        .unwrap();
        let mut json = json!({"clients": [{}, {"n": 2}]});
        schema.fill_in_defaults(&mut json);
        assert_eq!(
            json,
            json!({"buffer": {"whenFull": "Refuse"}, "clients": [{"n": 1}, {"n": 2}]})
        );
    }
}
