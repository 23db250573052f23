//! Google's error answers, alike for both interfaces: `{"error": {"code", "status", "message", "details": [...]}}`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::destinations::{Response, answer::one_line};

/// What an answer says is wrong. Members that are absent, or of another kind than expected, are empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    /// The canonical code's name, as `INVALID_ARGUMENT`.
    pub(super) status: String,
    pub(super) message: String,
    pub(super) details: Vec<Detail>,
}

/// One of `details`, whichever its `@type`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Detail {
    /// `ErrorInfo`: why, as `INVALID_HEX_ENCODING`.
    pub(super) reason: Option<String>,
    /// `BadRequest`: which fields are wrong.
    pub(super) field_violations: Vec<FieldViolation>,
    /// `GoogleAdsFailure`: the errors of the Google Ads API.
    pub(super) errors: Vec<GoogleAdsError>,
}

/// A field that is wrong.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FieldViolation {
    /// Its path, as `events[0].user_data`.
    pub(super) field: String,
    pub(super) description: String,
    pub(super) reason: Option<String>,
}

/// An error of the Google Ads API.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct GoogleAdsError {
    /// One member: the kind of error, and its code.
    pub(super) error_code: BTreeMap<String, String>,
    pub(super) message: String,
    pub(super) location: Location,
}

/// Where the error is.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Location {
    pub(super) field_path_elements: Vec<FieldPathElement>,
}

/// A step of the path: a field, and of a list which element.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct FieldPathElement {
    pub(super) field_name: String,
    pub(super) index: Option<usize>,
}

impl Status {
    /// That of an answer other than 200; empty when its body is not Google's JSON.
    pub(super) fn of(response: &Response) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Body {
            error: Status,
        }
        serde_json::from_slice::<Body>(&response.body).unwrap_or_default().error
    }

    /// All reasons and codes that it names.
    pub(super) fn reasons(&self) -> impl Iterator<Item = &str> {
        let details = self.details.iter();
        details.flat_map(|detail| {
            let violations = detail.field_violations.iter().filter_map(|it| it.reason.as_deref());
            let errors = detail.errors.iter().map(GoogleAdsError::code);
            detail.reason.as_deref().into_iter().chain(violations).chain(errors)
        })
    }

    /// Whether it names this reason.
    pub(super) fn names(&self, reason: &str) -> bool {
        self.reasons().any(|named| named == reason)
    }

    /// The whole in one line: the first reason, or the canonical code, and what Google says of it.
    pub(super) fn told(&self) -> String {
        let reason = self.reasons().next().unwrap_or(&self.status);
        let errors = self.details.iter().flat_map(|detail| &detail.errors);
        let message = errors.map(|error| error.message.as_str()).find(|text| !text.is_empty());
        one_line(&format!("{reason}: {}", message.unwrap_or(&self.message)))
    }
}

impl GoogleAdsError {
    /// The code, as `CLICK_NOT_FOUND`.
    pub(super) fn code(&self) -> &str {
        self.error_code.values().next().map_or("", String::as_str)
    }

    /// The kind, as `conversionUploadError`.
    pub(super) fn kind(&self) -> &str {
        self.error_code.keys().next().map_or("", String::as_str)
    }

    /// The place of the conversion that is wrong, if it is about one.
    pub(super) fn conversion(&self) -> Option<usize> {
        let first = self.location.field_path_elements.first()?;
        (first.field_name == "conversions").then_some(first.index).flatten()
    }

    /// The whole in one line.
    pub(super) fn told(&self) -> String {
        one_line(&format!("{}: {}", self.code(), self.message))
    }
}
