//! Requests as RFC 9112 writes them, or as editors' `.http` files do: the target may be a whole URL, the version may be
//! left out, `###` stands between requests, and lines before the first that begin with `#` or `//` are comments.

use bytes::Bytes;
use http::{HeaderMap, Method, header::HOST};

use super::{GivenRequest, RequestError, add_header, split_target};

pub(super) fn read(text: &str) -> Result<Vec<GivenRequest>, RequestError> {
    let mut requests = Vec::new();
    let mut part: Vec<(usize, &str)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with("###") {
            requests.extend(request(&part)?);
            part.clear();
        } else {
            part.push((number, line));
        }
    }
    requests.extend(request(&part)?);
    Ok(requests)
}

/// One request; none where there are comments and empty lines only.
fn request(lines: &[(usize, &str)]) -> Result<Option<GivenRequest>, RequestError> {
    let is_nothing = |line: &str| line.trim().is_empty() || line.starts_with('#') || line.starts_with("//");
    let mut lines = lines.iter().skip_while(|(_, line)| is_nothing(line));
    let Some((number, start)) = lines.next() else {
        return Ok(None);
    };
    let at = |number: usize| format!("line {number}");
    let (method, path, query, host) = start_line(start).ok_or_else(|| {
        let message = "a request begins with method and target, such as `POST /g/collect?v=2`";
        RequestError::new(at(*number), message)
    })?;
    let mut headers = HeaderMap::new();
    for (number, line) in lines.by_ref() {
        if line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| {
            let message = "a header is `Name: value`; an empty line ends the headers";
            RequestError::new(at(*number), message)
        })?;
        add_header(&mut headers, name, value).map_err(|message| RequestError::new(at(*number), message))?;
    }
    if let Some(host) = host.filter(|_| !headers.contains_key(HOST)) {
        add_header(&mut headers, "host", &host).map_err(|message| RequestError::new(at(*number), message))?;
    }
    let body: Vec<&str> = lines.map(|(_, line)| *line).collect();
    // The line break behind a body is the file's.
    let body = body.join("\n").trim_end_matches('\n').to_owned();
    Ok(Some(GivenRequest {
        method,
        path,
        query,
        headers,
        body: Bytes::from(body),
    }))
}

/// `POST /path?query HTTP/1.1`.
fn start_line(line: &str) -> Option<(Method, String, String, Option<String>)> {
    let mut words = line.split_whitespace();
    let method = words.next()?;
    let target = words.next()?;
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    let method = Method::from_bytes(method.as_bytes()).ok().filter(|_| is_method)?;
    let (host, path, query) = split_target(target)?;
    Some((method, path, query, host))
}
