//! The admin listener: `/livez`, `/readyz`, `/metrics`, `/status`, and what other parts add under paths of their own.
//!
//! It is meant for the machine or the pod's own network, so it asks for no credentials and never listens on the public
//! port.

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use tagfleet_process::admin::{self, text, with_type};
pub use tagfleet_process::admin::{AdminError, Answer as AdminAnswer};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    clock,
    log::SharedLog,
    metrics::{Metrics, Sources},
    plan::Plan,
    status::Board,
};

/// Connections at a time: probes, scrapes, an operator, a person.
const CONNECTIONS: usize = 256;

/// The longest body that is read.
const BODY_BYTES: usize = 64 * 1024;

/// A request that another part may answer, its body whole.
pub type AdminRequest = Request<Bytes>;

/// A part that answers paths of its own, as `/dead-letters`.
pub trait AdminRoutes: Send + Sync {
    /// The answer, or `None` when the path is not this part's.
    fn answer<'r>(
        &'r self,
        request: &'r AdminRequest,
    ) -> Pin<Box<dyn Future<Output = Option<AdminAnswer>> + Send + 'r>>;
}

/// What there is to tell once the gateway serves.
pub struct Serving {
    /// The plan in force.
    pub plan: Arc<ArcSwap<Plan>>,
    /// The log.
    pub log: SharedLog,
    /// Counts the dead letters of each destination.
    pub dead_letters: Box<dyn Fn() -> BTreeMap<String, u64> + Send + Sync>,
    /// Paths of other parts, asked in order.
    pub routes: Vec<Arc<dyn AdminRoutes>>,
}

/// What the admin listener tells.
pub struct Admin {
    container: String,
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    serving: OnceLock<Serving>,
    stopping: AtomicBool,
}

impl Admin {
    /// Alive, and not ready. `container` is the name of the container that is to be served.
    #[must_use]
    pub fn new(container: &str, board: Arc<Board>, metrics: Arc<Metrics>) -> Self {
        Self {
            container: container.to_owned(),
            board,
            metrics,
            serving: OnceLock::new(),
            stopping: AtomicBool::new(false),
        }
    }

    /// The plan is loaded and the log is open: `/readyz` says 200 from now on, whatever becomes of vendors and buffer.
    /// Only the first call counts.
    pub fn set_serving(&self, serving: Serving) {
        if self.serving.set(serving).is_err() {
            tracing::debug!("the admin listener serves already");
        }
    }

    /// The gateway is stopping: `/readyz` says 503, so that no new visitors are sent here.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn ready(&self) -> bool {
        self.serving.get().is_some() && !self.stopping.load(Ordering::Relaxed)
    }

    /// Answers a request.
    pub async fn answer(&self, request: &AdminRequest) -> AdminAnswer {
        let reading = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/livez" if reading => text(StatusCode::OK, "ok"),
            "/readyz" if reading && self.ready() => text(StatusCode::OK, "ok"),
            "/readyz" if reading && self.stopping.load(Ordering::Relaxed) => {
                text(StatusCode::SERVICE_UNAVAILABLE, "stopping")
            }
            "/readyz" if reading => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the configuration is not loaded or the log is not open yet",
            ),
            path => match self.serving.get() {
                Some(serving) => self.answer_serving(serving, path, reading, request).await,
                // Why it does not serve yet is told to whoever asks.
                None if path == "/status" && reading => json(&self.board.waiting(&self.container)),
                None => text(StatusCode::SERVICE_UNAVAILABLE, "the gateway is starting"),
            },
        }
    }

    async fn answer_serving(
        &self,
        serving: &Serving,
        path: &str,
        reading: bool,
        request: &AdminRequest,
    ) -> AdminAnswer {
        match path {
            "/metrics" if reading => {
                admin::metrics(self.metrics.scrape(&serving.sources(&serving.plan.load(), &self.board)))
            }
            "/status" if reading => {
                let status = self.board.status(
                    &serving.sources(&serving.plan.load(), &self.board),
                    self.metrics.totals(),
                    self.ready(),
                );
                json(&status)
            }
            "/livez" | "/readyz" | "/metrics" | "/status" => text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD only"),
            _ => {
                for routes in &serving.routes {
                    if let Some(answer) = routes.answer(request).await {
                        return answer;
                    }
                }
                text(StatusCode::NOT_FOUND, "not found")
            }
        }
    }
}

impl Serving {
    fn sources<'p>(&self, plan: &'p Plan, board: &Board) -> Sources<'p> {
        let ledgers = self.log.ledgers().into_iter();
        Sources {
            plan,
            ledgers: ledgers.map(|(name, _, ledger)| (name, ledger)).collect(),
            usage: self.log.usage(),
            dead_letters: (self.dead_letters)(),
            deliveries: board.deliveries(),
            now_ms: clock::now_ms(),
            now: Instant::now(),
        }
    }
}

fn json(document: &impl Serialize) -> AdminAnswer {
    match serde_json::to_vec_pretty(document) {
        Ok(document) => with_type(StatusCode::OK, "application/json", document),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// A running admin listener; it ends when this is dropped.
pub struct AdminServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl AdminServer {
    /// Listens on `address` (port 0 takes a free one), on the runtime that this is called on.
    ///
    /// # Errors
    /// When the address is in use or not ours.
    pub async fn start(address: SocketAddr, admin: Arc<Admin>) -> Result<Self, AdminError> {
        let failed = |source| AdminError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let task = tokio::spawn(admin::accept(listener, CONNECTIONS, move |request| {
            answer(Arc::clone(&admin), request)
        }));
        Ok(Self { address, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(admin: Arc<Admin>, request: Request<Incoming>) -> AdminAnswer {
    let (parts, body) = request.into_parts();
    let body = tokio::time::timeout(Duration::from_secs(10), Limited::new(body, BODY_BYTES).collect()).await;
    match body {
        Ok(Ok(body)) => admin.answer(&Request::from_parts(parts, body.to_bytes())).await,
        Ok(Err(error)) => text(StatusCode::BAD_REQUEST, error.to_string()),
        Err(_) => text(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use super::*;
    use crate::{log::memory::MemoryLog, status::Refusal, testing};

    fn serving(routes: Vec<Arc<dyn AdminRoutes>>) -> Serving {
        Serving {
            plan: Arc::new(ArcSwap::from_pointee(testing::plan("v1", vec![], vec![]))),
            log: Arc::new(MemoryLog::open(1_000, crate::log::WhenFull::Refuse)),
            dead_letters: Box::new(BTreeMap::new),
            routes,
        }
    }

    fn admin() -> Admin {
        Admin::new("shop", Arc::new(Board::new()), Arc::new(Metrics::new("shop").unwrap()))
    }

    async fn get(admin: &Admin, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Bytes::new()).unwrap();
        let answer = admin.answer(&request).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn ready_is_from_the_plan_in_force_to_the_stop() {
        let admin = admin();
        assert_eq!(get(&admin, "/livez").await, (200, "ok\n".into()));
        assert_eq!(get(&admin, "/readyz").await.0, 503);
        assert_eq!(get(&admin, "/metrics").await.0, 503);
        admin.set_serving(serving(vec![]));
        assert_eq!(get(&admin, "/readyz").await, (200, "ok\n".into()));
        admin.set_stopping();
        assert_eq!(get(&admin, "/readyz").await, (503, "stopping\n".into()));
        assert_eq!(get(&admin, "/livez").await, (200, "ok\n".into()));
    }

    #[tokio::test]
    async fn what_is_refused_is_told_while_there_is_nothing_to_serve() {
        let admin = admin();
        admin.board.set_refusals(vec![Refusal {
            object: "TaggingContainer/shop".into(),
            generation: Some(1),
            reason: None,
            field: "spec.priority".into(),
            message: "is not in force in this version yet: take it out".into(),
            location: None,
        }]);
        let (code, body) = get(&admin, "/status").await;
        let status: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (code, &status["container"], &status["ready"]),
            (200, &"shop".into(), &false.into())
        );
        assert_eq!(status["configuration"]["objects"], serde_json::json!([]));
        assert_eq!(status["refusals"][0]["field"], "spec.priority");
    }

    #[tokio::test]
    async fn metrics_and_status_are_answered_over_a_socket() {
        let admin = Arc::new(admin());
        admin.set_serving(serving(vec![]));
        let server = AdminServer::start(([127, 0, 0, 1], 0).into(), admin).await.unwrap();
        drop(rustls::crypto::ring::default_provider().install_default());
        let get = async |path: &str| {
            let answer = reqwest::get(format!("http://{}{path}", server.address()))
                .await
                .unwrap();
            (
                answer.headers()["content-type"].to_str().unwrap().to_owned(),
                answer.text().await.unwrap(),
            )
        };
        let (content_type, metrics) = get("/metrics").await;
        assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
        assert!(
            metrics.contains("\ntagfleet_buffer_bytes{tagging_container=\"shop\"} 0\n"),
            "{metrics}"
        );
        assert!(metrics.contains("\nprocess_resident_memory_bytes{"), "{metrics}");
        let (content_type, status) = get("/status").await;
        assert_eq!(content_type, "application/json");
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["configuration"]["version"], "v1");
    }

    #[tokio::test]
    async fn other_parts_answer_their_own_paths() {
        struct Letters;
        impl AdminRoutes for Letters {
            fn answer<'r>(
                &'r self,
                request: &'r AdminRequest,
            ) -> Pin<Box<dyn Future<Output = Option<AdminAnswer>> + Send + 'r>> {
                let own = request.uri().path() == "/dead-letters";
                Box::pin(async move { own.then(|| text(StatusCode::OK, "none")) })
            }
        }
        let admin = admin();
        admin.set_serving(serving(vec![Arc::new(Letters)]));
        assert_eq!(get(&admin, "/dead-letters").await, (200, "none\n".into()));
        assert_eq!(get(&admin, "/elsewhere").await, (404, "not found\n".into()));
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = AdminServer::start(([127, 0, 0, 1], 0).into(), Arc::new(admin()))
            .await
            .unwrap();
        let again = AdminServer::start(first.address(), Arc::new(admin())).await;
        let error = again.err().expect("the port is taken").to_string();
        assert!(
            error.contains(&first.address().to_string()) && error.contains("--admin"),
            "{error}"
        );
    }
}
