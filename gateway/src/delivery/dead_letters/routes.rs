//! `/dead-letters` on the admin listener: what `tagfleet-gateway dead-letters` asks while the gateway runs.
//!
//! ```text
//! GET    /dead-letters                      what is shelved, by destination
//! GET    /dead-letters/<destination>?from=  letters from that id on, one JSON object a line; empty: there are no more
//! POST   /dead-letters/<destination>/replay puts them back into the log
//! DELETE /dead-letters/<destination>        removes them
//! ```
//!
//! What changes something asks for the header `Tagfleet-Command`, which a web page cannot send here.

use std::{future::Future, pin::Pin, sync::Arc};

use http::{HeaderName, Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use tagfleet_process::admin::{text, with_type};
use tokio::runtime::Handle;

use super::{DeadLetter, DeadLetters, ReplayError, Shelved, replay};
use crate::{
    admin::{AdminAnswer, AdminRequest, AdminRoutes},
    clock,
    log::{SharedLog, codec},
};

/// The header without which nothing is changed.
pub const COMMAND: HeaderName = HeaderName::from_static("tagfleet-command");
/// Letters of one answer; the next begins behind the last id.
const LETTERS_AT_ONCE: usize = 100;

/// Answers for the dead letters of this gateway.
pub struct Routes {
    letters: Arc<DeadLetters>,
    log: SharedLog,
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
enum Question<'p> {
    List,
    Show(&'p str),
    Replay(&'p str),
    Purge(&'p str),
    /// Another method than the path has.
    Method,
}

impl Routes {
    /// Routes to these letters, replayed into this log.
    #[must_use]
    pub fn new(letters: Arc<DeadLetters>, log: SharedLog) -> Self {
        Self { letters, log }
    }

    async fn respond(&self, request: &AdminRequest) -> Option<AdminAnswer> {
        let question = question(request.method(), request.uri().path())?;
        let changes = matches!(question, Question::Replay(_) | Question::Purge(_));
        if changes && !request.headers().contains_key(COMMAND) {
            let line = format!("the header {COMMAND} is missing: use tagfleet-gateway dead-letters");
            return Some(text(StatusCode::FORBIDDEN, line));
        }
        let (letters, log) = (Arc::clone(&self.letters), Arc::clone(&self.log));
        let work: Box<dyn FnOnce() -> AdminAnswer + Send> = match question {
            Question::Method => return Some(text(StatusCode::METHOD_NOT_ALLOWED, "not by this method")),
            Question::List => Box::new(move || json_answer(&list(&letters))),
            Question::Show(name) => {
                let (name, from) = (name.to_owned(), from(request.uri().query()));
                Box::new(move || show(&letters, &name, from))
            }
            Question::Replay(name) => {
                let (name, runtime) = (name.to_owned(), Handle::current());
                Box::new(
                    move || match replay(&letters, &*log, &name, clock::now_ms(), &runtime) {
                        Ok(replayed) => json_answer(&json!({"replayed": replayed})),
                        Err(error @ ReplayError::Unknown(_)) => text(StatusCode::NOT_FOUND, error.to_string()),
                        Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
                    },
                )
            }
            Question::Purge(name) => {
                let name = name.to_owned();
                Box::new(move || match letters.purge(&name) {
                    Ok(purged) => json_answer(&json!({"purged": purged})),
                    Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
                })
            }
        };
        // The disk, and the log's commits, are waited for: not on a thread that others need.
        let answered = tokio::task::spawn_blocking(work).await;
        Some(answered.unwrap_or_else(|error| text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())))
    }
}

impl AdminRoutes for Routes {
    fn answer<'r>(
        &'r self,
        request: &'r AdminRequest,
    ) -> Pin<Box<dyn Future<Output = Option<AdminAnswer>> + Send + 'r>> {
        Box::pin(self.respond(request))
    }
}

fn question<'p>(method: &Method, path: &'p str) -> Option<Question<'p>> {
    let rest = path.strip_prefix("/dead-letters")?;
    let name = rest.strip_prefix('/');
    Some(match (method, name.and_then(|name| name.split_once('/')), name) {
        (&Method::GET, None, None) if rest.is_empty() => Question::List,
        (_, None, None) if !rest.is_empty() => return None,
        (&Method::GET, None, Some(name)) if !name.is_empty() => Question::Show(name),
        (&Method::DELETE, None, Some(name)) if !name.is_empty() => Question::Purge(name),
        (&Method::POST, Some((name, "replay")), _) if !name.is_empty() => Question::Replay(name),
        (_, Some((_, other)), _) if other != "replay" => return None,
        _ => Question::Method,
    })
}

fn from(query: Option<&str>) -> u64 {
    let pairs = query.unwrap_or_default().split('&');
    pairs
        .filter_map(|pair| pair.strip_prefix("from="))
        .find_map(|from| from.parse().ok())
        .unwrap_or_default()
}

fn show(letters: &DeadLetters, name: &str, from: u64) -> AdminAnswer {
    match letters.show(name, from, LETTERS_AT_ONCE) {
        Ok(found) => {
            let lines: String = found.iter().map(|dead| view(dead).to_string() + "\n").collect();
            with_type(StatusCode::OK, "application/x-ndjson", lines)
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// What is shelved, as lists show it.
#[must_use]
pub fn list(letters: &DeadLetters) -> Vec<Value> {
    let views = letters.list().into_iter().map(
        |Shelved {
             destination,
             letters,
             bytes,
         }| json!({"destination": destination, "letters": letters, "bytes": bytes}),
    );
    views.collect()
}

/// A letter as people read it; `event` is `null` when its record cannot be read.
#[must_use]
pub fn view(dead: &DeadLetter) -> Value {
    let letter = &dead.letter;
    let time = jiff::Timestamp::from_millisecond(letter.time_ms).map(|time| time.to_string());
    let record = codec::decode(&letter.payload).ok();
    json!({
        "id": dead.id,
        "time": time.ok(),
        "reason": letter.reason.as_str(),
        "message": letter.message,
        "code": letter.code,
        "attempts": letter.attempts,
        "event": record.map(|record| json!(record.event)),
    })
}

fn json_answer(body: &impl Serialize) -> AdminAnswer {
    match serde_json::to_vec(body) {
        Ok(body) => with_type(StatusCode::OK, "application/json", body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use bytes::Bytes;
    use http_body_util::BodyExt;

    use super::*;
    use crate::{
        delivery::dead_letters::{Letter, Reason},
        event::Event,
        log::{Log, WhenFull, memory::MemoryLog},
        record::Record,
    };

    fn routes(letters: usize) -> Routes {
        let log = MemoryLog::open(1 << 20, WhenFull::Refuse);
        log.register("orders").unwrap();
        let store = DeadLetters::in_memory(1 << 20);
        let shelved: Vec<Letter> = (0..letters)
            .map(|number| {
                let mut event = Event::new();
                event.set("event_id", format!("e{number}"));
                let record = Record {
                    accepted_ms: 0,
                    event,
                    ..Record::default()
                };
                let mut payload = Vec::new();
                codec::encode(&record, &mut payload);
                Letter {
                    time_ms: 1_767_225_600_000,
                    reason: Reason::Refused,
                    message: "400: no".to_owned(),
                    code: "400".to_owned(),
                    attempts: 1,
                    payload,
                }
            })
            .collect();
        store.append("orders", &shelved).unwrap();
        Routes::new(Arc::new(store), Arc::new(log))
    }

    async fn ask(routes: &Routes, method: Method, path: &str, command: bool) -> Option<(u16, String)> {
        let mut request = http::Request::builder().method(method).uri(path);
        if command {
            request = request.header(COMMAND, "1");
        }
        let answer = routes.respond(&request.body(Bytes::new()).unwrap()).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        Some((status, String::from_utf8(body.to_vec()).unwrap()))
    }

    #[tokio::test]
    async fn letters_are_listed_and_shown() {
        let routes = routes(150);
        let (status, body) = ask(&routes, Method::GET, "/dead-letters", false).await.unwrap();
        let listed: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (status, &listed[0]["destination"], &listed[0]["letters"]),
            (200, &json!("orders"), &json!(150))
        );

        let (_, first) = ask(&routes, Method::GET, "/dead-letters/orders", false).await.unwrap();
        assert_eq!(first.lines().count(), LETTERS_AT_ONCE);
        assert_eq!(
            serde_json::from_str::<Value>(first.lines().next().unwrap()).unwrap(),
            json!({"id": 0, "time": "2026-01-01T00:00:00Z", "reason": "refused", "message": "400: no", "code": "400",
                   "attempts": 1, "event": {"event_id": "e0"}})
        );
        let (_, rest) = ask(&routes, Method::GET, "/dead-letters/orders?from=100", false)
            .await
            .unwrap();
        assert_eq!(rest.lines().count(), 50);
    }

    #[tokio::test]
    async fn letters_are_replayed_and_purged_by_command_only() {
        let routes = routes(3);
        for (method, path) in [
            (Method::POST, "/dead-letters/orders/replay"),
            (Method::DELETE, "/dead-letters/orders"),
        ] {
            let (status, _) = ask(&routes, method, path, false).await.unwrap();
            assert_eq!(status, 403);
        }
        assert_eq!(routes.letters.count("orders"), 3);
        let replayed = ask(&routes, Method::POST, "/dead-letters/orders/replay", true).await;
        assert_eq!(replayed, Some((200, r#"{"replayed":3}"#.to_owned())));
        assert_eq!(routes.log.usage().events, 3);
        let purged = ask(&routes, Method::DELETE, "/dead-letters/orders", true).await;
        assert_eq!(purged, Some((200, r#"{"purged":0}"#.to_owned())));
        let unknown = ask(&routes, Method::POST, "/dead-letters/nobody/replay", true).await;
        assert_eq!(unknown.unwrap().0, 404);
    }

    #[test]
    fn paths_ask_what_they_say() {
        let of = |method: Method, path| question(&method, path);
        assert_eq!(of(Method::GET, "/dead-letters"), Some(Question::List));
        assert_eq!(of(Method::GET, "/dead-letters/a"), Some(Question::Show("a")));
        assert_eq!(of(Method::DELETE, "/dead-letters/a"), Some(Question::Purge("a")));
        assert_eq!(of(Method::POST, "/dead-letters/a/replay"), Some(Question::Replay("a")));
        assert_eq!(of(Method::GET, "/dead-letters/a/replay"), Some(Question::Method));
        assert_eq!(of(Method::DELETE, "/dead-letters"), Some(Question::Method));
        assert_eq!(of(Method::GET, "/dead-letters/"), Some(Question::Method));
        assert_eq!(of(Method::GET, "/dead-lettersx"), None);
        assert_eq!(of(Method::GET, "/dead-letters/a/b"), None);
        assert_eq!(of(Method::GET, "/other"), None);
    }
}
