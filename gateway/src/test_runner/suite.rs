//! The form of a file of tests.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::config::manifests;

/// When hits arrive, unless a test says otherwise: 2026-01-15T11:27:00Z.
pub const USUAL_TIME: Timestamp = Timestamp::constant(1_768_476_420, 0);
/// Who sends them: an address of the documentation (RFC 5737).
pub const USUAL_VISITOR: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));

/// A file of tests.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Suite {
    /// Files and folders with manifests, seen from the file's own folder. Default: that folder.
    #[serde(default = "own_folder")]
    pub manifests: Vec<String>,
    /// The TaggingContainer; needed where the manifests have several.
    pub container: Option<String>,
    /// When hits arrive (RFC 3339). Default: 2026-01-15T11:27:00Z.
    pub at: Option<Timestamp>,
    /// Who sends them. Default: 203.0.113.7.
    pub visitor: Option<IpAddr>,
    /// The tests.
    pub tests: Vec<Case>,
}

/// A test: given these hits, this is expected.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The hits, as `simulate --request` reads them.
    pub request: Option<String>,
    /// A file with them, seen from the file's own folder.
    pub request_file: Option<String>,
    /// When they arrive (RFC 3339).
    pub at: Option<Timestamp>,
    /// Who sends them.
    pub visitor: Option<IpAddr>,
    /// What is expected. What is not stated is not looked at.
    pub expect: Expectation,
}

/// What is expected of hits.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expectation {
    /// The status of the answers.
    pub status: Option<u16>,
    /// The events, each with at least these fields.
    pub events: Option<Vec<Json>>,
    /// Signals of consent and their states.
    pub consent: Option<Json>,
    /// Destinations by name.
    #[serde(default)]
    pub destinations: BTreeMap<String, Expected>,
}

/// What is expected of a destination.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expected {
    /// The requests: method, url, headers, body, of each what is stated.
    pub requests: Option<Vec<Json>>,
    /// Nothing is sent, and this is part of the reason.
    pub not_sent: Option<String>,
}

fn own_folder() -> Vec<String> {
    vec![".".to_owned()]
}

/// Reads a file of tests.
///
/// # Errors
/// What is wrong, with file and line or field.
pub fn read(file: &str, text: &str) -> Result<Suite, Vec<String>> {
    let parsed = manifests::parse(text);
    if let Some(error) = parsed.error {
        return Err(vec![format!(
            "{file}:{}:{}: {}",
            error.at.line, error.at.column, error.message
        )]);
    }
    let [document] = parsed.documents.as_slice() else {
        return Err(vec![format!("{file}: one document with `tests` is wanted")]);
    };
    let json = document.to_json();
    serde_path_to_error::deserialize(json).map_err(|error| {
        let field = error.path().to_string();
        let at = document.locate(&field);
        vec![format!("{file}:{}:{}: {field}: {}", at.line, at.column, error.inner())]
    })
}
