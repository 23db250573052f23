//! What one connection, and all of them together, may take of the gateway: bytes, time, and files.

use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Bounds of the public listener. The body has its own: `limits.requestBytes` of the container.
///
/// HTTP/1 requests may carry 100 headers, the number for which hyper keeps room on the stack.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections of all workers together.
    pub connections: usize,
    /// Bytes of request line and headers; more is answered with 431.
    pub head_bytes: usize,
    /// Bytes of the URL in the request line; more is answered with 414.
    pub uri_bytes: usize,
    /// From the first byte of a request to the end of its headers; then the connection is closed.
    pub head_time: Duration,
    /// Bytes of all bodies together that arrive in pieces; while it is used up such bodies are answered with 503.
    pub body_memory: usize,
    /// From the headers to the end of the body; then the request is answered with 408.
    pub body_time: Duration,
    /// How long a connection may stay open without a request.
    pub idle_time: Duration,
    /// How long a connection may stay open without a request while no other is to be had.
    pub idle_time_when_full: Duration,
    /// How long a sender may leave its answers unread.
    pub write_time: Duration,
    /// Requests under way on one HTTP/2 connection.
    pub streams: u32,
    /// How often connections are looked at: the times above are kept to within one such interval.
    pub interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            // As nginx's four buffers of 8 KiB: cookies and a long page URL fit.
            head_bytes: 32 * 1024,
            // GA4's library moves to POST beyond 2 KiB; 16 KiB is what a payload of it may measure.
            uri_bytes: 16 * 1024,
            head_time: Duration::from_secs(10),
            body_memory: 64 * 1024 * 1024,
            body_time: Duration::from_secs(30),
            // Above the 60 s for which load balancers commonly keep a connection, so that they close first and no
            // request meets a closing connection.
            idle_time: Duration::from_secs(75),
            idle_time_when_full: Duration::from_secs(1),
            write_time: Duration::from_secs(30),
            streams: 256,
            interval: Duration::from_secs(1),
        }
    }
}

/// Files that the gateway keeps for everything but visitors: log segments, destinations, the admin listener.
const OTHER_FILES: u64 = 256;

/// Raises the soft limit of open files to the hard one, and returns how many connections that allows at the most.
///
/// Distributions keep the soft limit at 1,024 for programs that use `select`, which this one does not.
#[must_use]
pub fn raise_open_files() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        let raised = rustix::process::Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit.current = limit.maximum,
            Err(error) => tracing::debug!(%error, "the limit of open files stays as it is"),
        }
    }
    let files = limit.current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(OTHER_FILES).max(files / 2)).unwrap_or(usize::MAX)
}
