//! A HAR archive (HTTP Archive 1.2), as browsers' developer tools save a visit.

use bytes::Bytes;
use http::{HeaderMap, Method, header::HOST};
use serde_json::Value as Json;

use super::{GivenRequest, RequestError, add_header, split_target};

/// Headers that are about the connection, and those of HTTP/2 that begin with a colon.
fn is_of_connection(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("connection")
}

pub(super) fn read(text: &str) -> Result<Vec<GivenRequest>, RequestError> {
    let archive: Json = serde_json::from_str(text)
        .map_err(|error| RequestError::new(format!("line {}", error.line()), error.to_string()))?;
    let entries = archive
        .pointer("/log/entries")
        .and_then(Json::as_array)
        .ok_or_else(|| RequestError::new("log.entries", "is missing: this is no HAR archive"))?;
    (0..).zip(entries).map(|(index, entry)| request(index, entry)).collect()
}

fn request(index: usize, entry: &Json) -> Result<GivenRequest, RequestError> {
    let at = |field: &str| format!("log.entries[{index}].request.{field}");
    let text = |field: &str| {
        entry
            .pointer(&format!("/request/{field}"))
            .and_then(Json::as_str)
            .ok_or_else(|| RequestError::new(at(field), "is missing"))
    };
    let method = text("method")?;
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| RequestError::new(at("method"), format!("`{method}` is no method")))?;
    let url = text("url")?;
    // What a browser loads from elsewhere (data:, blob:, chrome-extension:) stands in an archive too, and goes nowhere.
    let (host, path, query) = split_target(url).unwrap_or((None, "/".to_owned(), String::new()));
    let mut headers = HeaderMap::new();
    for header in entry
        .pointer("/request/headers")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
    {
        let member = |name: &str| header.get(name).and_then(Json::as_str).unwrap_or_default();
        if !is_of_connection(member("name")) {
            add_header(&mut headers, member("name"), member("value"))
                .map_err(|message| RequestError::new(at("headers"), message))?;
        }
    }
    if let Some(host) = host.filter(|_| !headers.contains_key(HOST)) {
        add_header(&mut headers, "host", &host).map_err(|message| RequestError::new(at("url"), message))?;
    }
    let body = entry
        .pointer("/request/postData/text")
        .and_then(Json::as_str)
        .unwrap_or_default();
    Ok(GivenRequest {
        method,
        path,
        query,
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
    })
}
