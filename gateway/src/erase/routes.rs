//! `POST /erase` on the admin listener: what `tagfleet-gateway erase` asks while the gateway runs.
//!
//! The body is `{"client_id": "..."}` or `{"user_id": "..."}`: an id in a URL would end up in logs. As with the dead
//! letters, the header `Tagfleet-Command` is asked for, which a web page cannot send here.

use std::{future::Future, pin::Pin, sync::Arc};

use http::{Method, StatusCode};
use serde::Deserialize;
use tagfleet_process::admin::{text, with_type};

use super::{EraseError, Erased, Erasures, Forget, Visitor, erase};
use crate::{
    admin::{AdminAnswer, AdminRequest, AdminRoutes},
    clock,
    delivery::dead_letters::routes::COMMAND,
    log::SharedLog,
};

/// The path.
pub const PATH: &str = "/erase";
/// The longest id.
const MAX_ID_BYTES: usize = 1_024;

/// Erases in this gateway.
pub struct Routes {
    erasures: Arc<Erasures>,
    log: SharedLog,
    places: Vec<Arc<dyn Forget>>,
}

impl Routes {
    /// Routes to this list, this log and these places.
    #[must_use]
    pub fn new(erasures: Arc<Erasures>, log: SharedLog, places: Vec<Arc<dyn Forget>>) -> Self {
        Self { erasures, log, places }
    }

    async fn respond(&self, request: &AdminRequest) -> Option<AdminAnswer> {
        if request.uri().path() != PATH {
            return None;
        }
        if request.method() != Method::POST {
            return Some(text(StatusCode::METHOD_NOT_ALLOWED, "POST only"));
        }
        if !request.headers().contains_key(COMMAND) {
            let line = format!("the header {COMMAND} is missing: use tagfleet-gateway erase");
            return Some(text(StatusCode::FORBIDDEN, line));
        }
        let Some(visitor) = visitor(request.body()) else {
            let line = r#"the body must be {"client_id": "..."} or {"user_id": "..."}"#;
            return Some(text(StatusCode::BAD_REQUEST, line));
        };
        let (erasures, log, places) = (Arc::clone(&self.erasures), Arc::clone(&self.log), self.places.clone());
        // The disk is waited for: not on a thread that others need.
        let work = move || erase(&visitor, &erasures, &*log, &places, clock::now_ms());
        Some(match tokio::task::spawn_blocking(work).await {
            Ok(result) => answer(result),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        })
    }
}

fn answer(result: Result<Erased, EraseError>) -> AdminAnswer {
    match result.map(|erased| serde_json::to_vec(&erased)) {
        Ok(Ok(body)) => with_type(StatusCode::OK, "application/json", body),
        Ok(Err(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Whom a body is about.
fn visitor(body: &[u8]) -> Option<Visitor> {
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Asked {
        ClientId(String),
        UserId(String),
    }
    let (id, visitor) = match serde_json::from_slice(body).ok()? {
        Asked::ClientId(id) => (id.len(), Visitor::ClientId(id)),
        Asked::UserId(id) => (id.len(), Visitor::UserId(id)),
    };
    (1..=MAX_ID_BYTES).contains(&id).then_some(visitor)
}

impl AdminRoutes for Routes {
    fn answer<'r>(
        &'r self,
        request: &'r AdminRequest,
    ) -> Pin<Box<dyn Future<Output = Option<AdminAnswer>> + Send + 'r>> {
        Box::pin(self.respond(request))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;

    use super::*;
    use crate::{
        delivery::dead_letters::DeadLetters,
        log::{WhenFull, memory::MemoryLog},
    };

    async fn status(method: Method, path: &str, command: bool, body: &'static str) -> Option<u16> {
        let routes = Routes::new(
            Arc::default(),
            Arc::new(MemoryLog::open(1 << 20, WhenFull::Refuse)),
            vec![Arc::new(DeadLetters::in_memory(1 << 20))],
        );
        let mut request = http::Request::builder().method(method).uri(path);
        if command {
            request = request.header(COMMAND, "1");
        }
        let answer = routes
            .respond(&request.body(Bytes::from_static(body.as_bytes())).unwrap())
            .await?;
        Some(answer.status().as_u16())
    }

    #[tokio::test]
    async fn it_is_asked_by_command_only_and_about_one_id() {
        let body = r#"{"client_id": "1.2"}"#;
        assert_eq!(status(Method::POST, "/erase", true, body).await, Some(200));
        assert_eq!(
            status(Method::POST, "/erase", true, r#"{"user_id": "u"}"#).await,
            Some(200)
        );
        assert_eq!(status(Method::POST, "/erase", false, body).await, Some(403));
        assert_eq!(status(Method::GET, "/erase", true, body).await, Some(405));
        assert_eq!(status(Method::POST, "/erased", true, body).await, None);
        for wrong in [
            "",
            "{}",
            r#"{"client_id": ""}"#,
            r#"{"client_id": "1", "user_id": "2"}"#,
            r#"{"id": "1"}"#,
        ] {
            assert_eq!(status(Method::POST, "/erase", true, wrong).await, Some(400), "{wrong}");
        }
    }
}
