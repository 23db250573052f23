//! Where commands find what a gateway keeps: behind its admin listener while it runs, in its data folder while it does not.

use std::{net::SocketAddr, path::Path};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use url::{ParseError, Url};

use crate::{
    delivery::dead_letters::routes::COMMAND,
    destinations::{Authentication, Protocol, Request, Response},
    log::{
        LogError, WhenFull,
        disk::{DiskLog, OpenOptions},
    },
};

/// A request of the command `command` to an admin listener.
///
/// # Errors
/// When path and address make no URL.
pub(super) fn request(
    command: &'static str,
    method: Method,
    admin: SocketAddr,
    path: &str,
    body: impl Into<Bytes>,
) -> Result<Request, ParseError> {
    Ok(Request {
        method,
        url: Url::parse(&format!("http://{admin}{path}"))?,
        headers: HeaderMap::from_iter([(COMMAND, HeaderValue::from_static(command))]),
        body: body.into(),
        authentication: Authentication::None,
        protocol: Protocol::Http,
    })
}

/// What an admin listener says in its answer.
pub(super) fn words(answer: &Response) -> String {
    String::from_utf8_lossy(&answer.body).trim().to_owned()
}

/// The body of an answer, or how the listener refused.
pub(super) fn accepted(answer: Response) -> Result<Bytes, String> {
    if answer.status.is_success() {
        return Ok(answer.body);
    }
    Err(format!("{}: {}", answer.status, words(&answer)))
}

/// The log of a gateway that is stopped. The manifests say how large it may be: what commands put into it is bounded
/// already.
///
/// # Errors
/// When it cannot be opened, or a gateway uses it.
pub(super) fn open_log(data_dir: &Path) -> Result<DiskLog, LogError> {
    let (log, _) = DiskLog::open(&OpenOptions {
        dir: data_dir.to_owned(),
        max_bytes: u64::MAX / 2,
        when_full: WhenFull::Refuse,
    })?;
    Ok(log)
}
