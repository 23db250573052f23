//! Secrets in what is shown: each stands as the name of its place, `[shop-secrets/meta]`.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::secret::Secret;

/// A text this short could be anything, and hiding it would tear up what is shown.
const SHORTEST: usize = 4;

/// The secrets that a configuration refers to, and what is shown in their places.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    /// Value and place; the longest first, as one may be part of another.
    values: Vec<(Secret, String)>,
}

impl Hidden {
    /// From Secrets by name and key.
    #[must_use]
    pub(super) fn new(secrets: impl IntoIterator<Item = (String, Secret)>) -> Self {
        let mut values = Vec::new();
        for (place, secret) in secrets {
            let value = secret.expose().trim();
            if value.len() < SHORTEST {
                continue;
            }
            let encoded = utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
            let form_encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
            let shown = format!("[{place}]");
            for spelled in [value, encoded.as_str(), form_encoded.as_str()] {
                values.push((Secret::new(spelled), shown.clone()));
            }
        }
        values.sort_by_key(|(value, _)| std::cmp::Reverse(value.expose().len()));
        Self { values }
    }

    /// The text without any of them.
    #[must_use]
    pub(super) fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (value, shown) in &self.values {
            if text.contains(value.expose()) {
                text = text.replace(value.expose(), shown);
            }
        }
        text
    }
}

/// What stands for a Secret that is not among the files: manifests in a repository rarely have theirs beside them.
/// Never shorter than a key of `identity.linker` must be.
#[must_use]
pub(super) fn stand_in(name: &str, key: &str, wants_google_key: bool) -> String {
    let text = format!("stands in for the value of {key} in Secret {name}");
    if !wants_google_key {
        return text.replace(' ', "-");
    }
    serde_json::json!({
        "type": "service_account", "project_id": text, "private_key_id": text, "private_key": text, "client_email": text,
    })
    .to_string()
}
