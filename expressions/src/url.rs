//! `url(text)`: the parts of a URL as a map.

use std::borrow::Cow;

use url::Url;

use crate::{EvaluateError, Map, Steps, Value};

/// The most query parameters that are read; a longer query is cut, so that a hostile URL costs no more.
const MAX_PARAMETERS: usize = 256;

/// `{scheme, host, path, query, fragment}` of an absolute URL, by the rules of the WHATWG URL standard. `host` and
/// `fragment` are empty where the URL has none. Of a query parameter that comes more than once, the first counts.
pub(crate) fn parts<'v>(text: &str, steps: &mut Steps) -> Result<Value<'v>, EvaluateError> {
    let url = Url::parse(text).map_err(|_| EvaluateError::BadConversion("url"))?;
    let mut query = Map::new();
    for (name, value) in url.query_pairs().take(MAX_PARAMETERS) {
        steps.take(1)?;
        if !query.contains(&name) {
            query.insert(name.into_owned(), value.into_owned());
        }
    }
    let mut parts = Map::with_capacity(5);
    for (name, part) in [
        ("scheme", url.scheme()),
        ("host", url.host_str().unwrap_or_default()),
        ("path", url.path()),
        ("fragment", url.fragment().unwrap_or_default()),
    ] {
        parts.insert(name, Cow::Owned(part.to_owned()));
    }
    parts.insert("query", query);
    Ok(Value::Map(parts))
}
