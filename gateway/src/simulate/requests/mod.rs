//! Requests to simulate, from a file: as HTTP writes them, as a browser's "copy as cURL" does, or as a HAR archive.

mod curl;
mod har;
mod http_file;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// How many requests of one file are looked at; an archive of a whole visit has some hundreds.
const MAX_REQUESTS: usize = 10_000;

/// A request as it would arrive.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenRequest {
    /// The method.
    pub method: Method,
    /// The path, still encoded.
    pub path: String,
    /// The query behind `?`, still encoded.
    pub query: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why a file holds no requests: what is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct RequestError {
    /// `line 3`, `word 5`, `log.entries[2].request.url`.
    pub place: String,
    /// What is wrong, and what is wanted.
    pub message: String,
}

impl RequestError {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            message: message.into(),
        }
    }
}

/// Reads the requests of a file. Its form is told from its beginning: `curl` is a command line, `{` an archive, anything
/// else requests as HTTP writes them, `###` between them.
///
/// # Errors
/// What is wrong with the first that cannot be read.
pub fn read(text: &str) -> Result<Vec<GivenRequest>, RequestError> {
    let text = text.trim_start_matches('\u{feff}');
    let begin = text.trim_start();
    let requests = if begin.starts_with('{') {
        har::read(begin)?
    } else if begin.starts_with("curl ") || begin.starts_with("curl\t") {
        vec![curl::read(begin)?]
    } else {
        http_file::read(text)?
    };
    match requests.len() {
        0 => Err(RequestError::new("line 1", "there is no request in it")),
        1..=MAX_REQUESTS => Ok(requests),
        more => Err(RequestError::new(
            "the file",
            format!("holds {more} requests; {MAX_REQUESTS} are looked at in one file at the most"),
        )),
    }
}

/// Path and query of a target, whether that is a whole URL or a path.
fn split_target(target: &str) -> Option<(Option<String>, String, String)> {
    let (host, rest) = match target.split_once("://") {
        Some(("http" | "https", rest)) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (host, rest) = rest.split_at_checked(end)?;
            (Some(host.to_owned()), rest)
        }
        Some(_) => return None,
        None => (None, target),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if host.is_none() && !path.starts_with('/') {
        return None;
    }
    let path = if path.is_empty() { "/" } else { path };
    Some((host, path.to_owned(), query.to_owned()))
}

/// Adds a header, if it is one.
fn add_header(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), String> {
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| format!("`{name}` is no header's name"))?;
    let value = HeaderValue::from_str(value.trim())
        .map_err(|_| format!("the value of {name} has characters that no header may hold"))?;
    headers.append(name, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    const AS_HTTP: &str = "POST /g/collect?v=2&tid=G-TEST1 HTTP/1.1\nHost: metrics.shop.example\nUser-Agent: Mozilla/5.0\n\n\
                           en=purchase&epn.value=72.05\n";

    #[test]
    fn a_request_as_http_writes_it() {
        let requests = read(AS_HTTP).unwrap();
        assert_eq!(requests.len(), 1);
        let request = &requests[0];
        assert_eq!(request.method, Method::POST);
        assert_eq!(
            (request.path.as_str(), request.query.as_str()),
            ("/g/collect", "v=2&tid=G-TEST1")
        );
        assert_eq!(request.headers["host"], "metrics.shop.example");
        assert_eq!(request.body, "en=purchase&epn.value=72.05");
    }

    #[test]
    fn the_same_as_a_command_line_and_as_an_archive() {
        let expected = read(AS_HTTP).unwrap();
        let curl = "curl 'https://metrics.shop.example/g/collect?v=2&tid=G-TEST1' \\\n  -H 'User-Agent: Mozilla/5.0' \\\n  \
                    --data-raw 'en=purchase&epn.value=72.05'";
        let mut from_curl = read(curl).unwrap();
        from_curl[0].headers.remove("content-type");
        assert_eq!(from_curl, expected);
        let har = r#"{"log": {"entries": [{"request": {"method": "POST",
            "url": "https://metrics.shop.example/g/collect?v=2&tid=G-TEST1",
            "headers": [{"name": "user-agent", "value": "Mozilla/5.0"}],
            "postData": {"text": "en=purchase&epn.value=72.05"}}}]}}"#;
        assert_eq!(read(har).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let error = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(error(""), "line 1: there is no request in it");
        assert_eq!(
            error("g/collect"),
            "line 1: a request begins with method and target, such as `POST /g/collect?v=2`"
        );
        assert_eq!(
            error("GET /x\nHost\n\n"),
            "line 2: a header is `Name: value`; an empty line ends the headers"
        );
        assert_eq!(
            error("curl --upload-file x https://shop.example/"),
            "word 2: --upload-file is not understood here; a request is made of --request, --header, --cookie, \
             --user-agent, --referer, --data and its like, --json, --get and --url"
        );
        assert_eq!(
            error("curl 'https://shop.example/"),
            "the end: a quotation mark is not closed"
        );
        assert_eq!(error("{}"), "log.entries: is missing: this is no HAR archive");
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(curl |\\{\"log\":)?[ -~\n]{0,200}") {
            if let Ok(requests) = read(&text) {
                prop_assert!(!requests.is_empty());
            }
        }
    }
}
