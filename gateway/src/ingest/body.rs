//! Reading a request's body within bounds of bytes and time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// Bytes of refused bodies that are read on to nowhere, so that the sender gets to read its answer.
const DISCARDED_BYTES: usize = 16 * 1024 * 1024;

/// For how long they are.
const DISCARDED_TIME: Duration = Duration::from_secs(5);

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// It is longer than `limits.requestBytes`.
    #[error("the body is larger than {max} bytes (limits.requestBytes)")]
    TooLarge {
        /// What it may have.
        max: usize,
    },
    /// It did not arrive in time.
    #[error("the body did not arrive in time")]
    Slow,
    /// The connection broke, or its framing is not HTTP's.
    #[error("the body is cut short")]
    Broken,
    /// All that is set aside for bodies that arrive in pieces is in use.
    #[error("too many bodies are arriving")]
    Busy,
}

/// Memory for bodies that arrive in pieces, shared by all workers; a body in one piece costs the connection's own
/// buffer only.
#[derive(Clone, Debug)]
pub(super) struct BodyMemory {
    left: Arc<AtomicUsize>,
}

impl BodyMemory {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(bytes)),
        }
    }

    fn take(&self, bytes: usize) -> Option<Taken<'_>> {
        let taken = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        taken.ok().map(|_| Taken { memory: self, bytes })
    }
}

struct Taken<'m> {
    memory: &'m BodyMemory,
    bytes: usize,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.memory.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// Reads a body of `max` bytes at the most.
///
/// A longer one is refused as soon as that is known: by Content-Length, or when the bytes read pass it. What is left
/// of it is read to nowhere for a while unless the sender waits for `100 Continue` (`expects`): closing at once would
/// make the system reset the connection and the answer be lost.
pub(super) async fn read(
    mut body: Incoming,
    expects: bool,
    max: usize,
    time: Duration,
    memory: &BodyMemory,
) -> Result<Bytes, BodyError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let result = if body.size_hint().lower() > u64::try_from(max).unwrap_or(u64::MAX) {
        Err(BodyError::TooLarge { max })
    } else {
        // The timer is set only when the body has to be waited for.
        tokio::time::timeout(time, collect(&mut body, max, memory))
            .await
            .unwrap_or(Err(BodyError::Slow))
    };
    if matches!(result, Err(BodyError::TooLarge { .. })) && !expects {
        tokio::task::spawn_local(discard(body));
    }
    result
}

async fn collect(body: &mut Incoming, max: usize, memory: &BodyMemory) -> Result<Bytes, BodyError> {
    let first = match data(body).await? {
        Some(first) if first.len() > max => return Err(BodyError::TooLarge { max }),
        Some(first) if body.is_end_stream() => return Ok(first),
        Some(first) => first,
        None => return Ok(Bytes::new()),
    };
    let mut taken = vec![memory.take(first.len()).ok_or(BodyError::Busy)?];
    let mut whole = BytesMut::from(first);
    while let Some(piece) = data(body).await? {
        if whole.len() + piece.len() > max {
            return Err(BodyError::TooLarge { max });
        }
        taken.push(memory.take(piece.len()).ok_or(BodyError::Busy)?);
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// The next bytes; trailers are passed over.
async fn data(body: &mut Incoming) -> Result<Option<Bytes>, BodyError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        if let Ok(bytes) = frame.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

async fn discard(mut body: Incoming) {
    let reading = async {
        let mut read = 0;
        while let Ok(Some(bytes)) = data(&mut body).await {
            read += bytes.len();
            if read > DISCARDED_BYTES {
                break;
            }
        }
    };
    if tokio::time::timeout(DISCARDED_TIME, reading).await.is_err() {
        tracing::trace!("a refused body was not sent to its end in time");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_a_body_is_done() {
        let memory = BodyMemory::new(10);
        let first = memory.take(6);
        assert!(first.is_some());
        assert!(memory.take(6).is_none());
        drop(first);
        assert!(memory.take(6).is_some());
    }
}
