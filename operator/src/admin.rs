//! The admin listener: `/livez`, `/readyz`, `/metrics` and `/debug/state`, on a thread and a runtime of its own, so that
//! neither a busy reconciler nor an API server in trouble keeps a probe waiting.
//!
//! It asks for no credentials: what it tells is names and counts, never the content of a Secret.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::ready,
    net::{SocketAddr, TcpListener as StdTcpListener},
    sync::{Arc, Mutex, PoisonError},
};

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tagfleet_process::admin::{self, AdminError, Answer, text, with_type};
use tokio::{net::TcpListener, sync::oneshot};

use crate::{metrics::Metrics, readiness::Readiness};

/// Connections at a time: probes, scrapes, a person.
const CONNECTIONS: usize = 64;

type Teller = Box<dyn Fn() -> Value + Send + Sync>;

/// What the admin listener tells.
pub struct Admin {
    readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
    state: Mutex<BTreeMap<&'static str, Teller>>,
}

impl Admin {
    /// Tells of these two, and of what is added with [`Admin::show`].
    #[must_use]
    pub fn new(readiness: Arc<Readiness>, metrics: Arc<Metrics>) -> Self {
        Self {
            readiness,
            metrics,
            state: Mutex::default(),
        }
    }

    /// Shows what `tell` returns under `name` in `/debug/state`. It is called on the admin thread at each request, so it
    /// does not wait, and tells no secret.
    pub fn show(&self, name: &'static str, tell: impl Fn() -> Value + Send + Sync + 'static) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.insert(name, Box::new(tell));
    }

    fn answer(&self, method: &Method, path: &str) -> Answer {
        if !matches!(path, "/livez" | "/readyz" | "/metrics" | "/debug/state") {
            return text(StatusCode::NOT_FOUND, "not found");
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD only");
        }
        match path {
            "/readyz" => match self.readiness.missing() {
                missing if missing.is_empty() => text(StatusCode::OK, "ok"),
                missing => text(StatusCode::SERVICE_UNAVAILABLE, missing.join("\n")),
            },
            "/metrics" => admin::metrics(self.metrics.scrape(&self.readiness)),
            "/debug/state" => with_type(StatusCode::OK, "application/json", format!("{:#}\n", self.state())),
            _ => text(StatusCode::OK, "ok"),
        }
    }

    fn state(&self) -> Value {
        let watches = self.readiness.watches().into_iter().map(|(kind, watch)| {
            let watch = json!({"listed": watch.has_listed, "objects": watch.objects, "error": watch.error});
            (kind, watch)
        });
        let mut state = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "missing": self.readiness.missing(),
            "watches": watches.collect::<serde_json::Map<_, _>>(),
        });
        let tellers = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = state.as_object_mut() {
            state.extend(tellers.iter().map(|(name, tell)| ((*name).to_owned(), tell())));
        }
        state
    }
}

/// A running admin listener; it ends when this is dropped.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    _stop: oneshot::Sender<Infallible>,
}

impl AdminServer {
    /// Listens on `address` (port 0 takes a free one).
    ///
    /// # Errors
    /// When the address is in use or not ours, or the system gives no thread.
    pub fn start(address: SocketAddr, admin: Arc<Admin>) -> Result<Self, AdminError> {
        let failed = |source| AdminError { address, source };
        let listener = StdTcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let (listener, bound) = {
            let _entered = runtime.enter();
            let listener = TcpListener::from_std(listener).map_err(failed)?;
            let bound = listener.local_addr().map_err(failed)?;
            (listener, bound)
        };
        // A body is not read: the connection is closed after the answer.
        let answer = move |request: Request<Incoming>| ready(admin.answer(request.method(), request.uri().path()));
        let (stop, stopped) = oneshot::channel();
        std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = stopped => {}
                        () = admin::accept(listener, CONNECTIONS, answer) => {}
                    }
                });
            })
            .map_err(failed)?;
        Ok(Self {
            address: bound,
            _stop: stop,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use http_body_util::BodyExt;

    use super::*;

    fn admin() -> Admin {
        let (readiness, metrics) = (Readiness::new(), Metrics::new().unwrap());
        readiness.set_missing_crds(vec![]);
        Admin::new(Arc::new(readiness), Arc::new(metrics))
    }

    async fn get(admin: &Admin, path: &str) -> (u16, String) {
        let answer = admin.answer(&Method::GET, path);
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readyz_names_what_is_missing_a_line_each_while_livez_stays_ok() {
        let admin = admin();
        let (services, deployments) = (admin.readiness.watch("Service"), admin.readiness.watch("Deployment"));
        assert_eq!(
            get(&admin, "/readyz").await,
            (
                503,
                "waiting for the first list of Deployment\nwaiting for the first list of Service\n".to_owned()
            )
        );
        assert_eq!(get(&admin, "/livez").await, (200, "ok\n".to_owned()));
        services.listed();
        deployments.listed();
        assert_eq!(get(&admin, "/readyz").await, (200, "ok\n".to_owned()));
    }

    #[tokio::test]
    async fn the_state_shows_watches_and_what_others_tell() {
        let admin = admin();
        admin.readiness.watch("Service").set_objects(2);
        admin.show("leader", || json!({"leads": true}));
        let (status, body) = get(&admin, "/debug/state").await;
        assert_eq!(status, 200);
        let state: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            state["watches"]["Service"],
            json!({"listed": false, "objects": 2, "error": null})
        );
        assert_eq!(state["leader"], json!({"leads": true}));
    }

    #[tokio::test]
    async fn metrics_are_answered_over_a_socket() {
        let server = AdminServer::start(([127, 0, 0, 1], 0).into(), Arc::new(admin())).unwrap();
        let mut stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer)
            .await
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("text/plain; version=0.0.4"), "{answer}");
        assert!(answer.contains("\ntagfleet_operator_leader 0\n"), "{answer}");
    }

    #[test]
    fn only_reading_is_allowed_and_only_these_paths_are_there() {
        let admin = admin();
        assert_eq!(admin.answer(&Method::POST, "/metrics").status(), 405);
        assert_eq!(admin.answer(&Method::GET, "/elsewhere").status(), 404);
    }

    #[test]
    fn a_port_in_use_is_named() {
        let first = AdminServer::start(([127, 0, 0, 1], 0).into(), Arc::new(admin())).unwrap();
        let error = AdminServer::start(first.address(), Arc::new(admin()))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&first.address().to_string()) && error.contains("--admin"),
            "{error}"
        );
    }
}
