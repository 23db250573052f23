//! Hits over real sockets into a log in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod repeats;

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read, Write},
    net::TcpStream as Socket,
    num::NonZeroUsize,
};

use tagfleet_crds::tagging_container::ConsentSignal;
use tokio::sync::{Notify, watch};

use super::*;
use crate::{
    ingest::{
        ClientKind, Ga4, Pixel, cors::Cors, json::Json, measurement_protocol::MeasurementProtocol, server::Server,
    },
    log::{DestinationId, Ledger, Log, LogError, Position, Reader, Usage, WhenFull, codec, memory::MemoryLog},
    metrics::Sources,
    pipeline::{
        consent::{ConsentPolicy, HoldPolicy},
        identity::IdentityPolicy,
        policies::Policies,
    },
    secret::{Secret, Secrets},
    status::Totals,
    testing,
};

/// Long enough for any busy machine; every wait for the server ends here, and the test with it.
const PATIENCE: Duration = Duration::from_secs(20);

const HIT: &str = "/g/collect?v=2&tid=G-TEST1&cid=1.2&en=page_view";

fn clients() -> Vec<Client> {
    let secret = Secrets::new(Secret::new("s3cret"));
    [
        (
            "web",
            ClientKind::Ga4(Ga4 {
                measurement_ids: vec!["G-TEST1".into()],
            }),
        ),
        (
            "server",
            ClientKind::MeasurementProtocol(MeasurementProtocol {
                api_secret: Some(secret),
                measurement_ids: Vec::new(),
            }),
        ),
        (
            "app",
            ClientKind::Json(Json {
                path: "/v1/events".into(),
                auth: None,
            }),
        ),
        (
            "mail",
            ClientKind::Pixel(Pixel {
                path: "/open.gif".into(),
            }),
        ),
    ]
    .map(|(name, kind)| Client {
        name: name.into(),
        kind,
    })
    .into()
}

struct Gateway {
    server: Server,
    plan: Arc<ArcSwap<Plan>>,
    log: SharedLog,
    metrics: Arc<Metrics>,
    board: Arc<Board>,
}

/// A gateway into this log, its one destination `orders` taking every event. `change` has the last word on the plan.
fn gateway_into(log: SharedLog, limits: Limits, change: impl FnOnce(&mut Plan)) -> Gateway {
    gateway_with(log, limits, Arc::new(Deduplication::in_memory()), change)
}

fn gateway_with(
    log: SharedLog,
    limits: Limits,
    deduplication: Arc<Deduplication>,
    change: impl FnOnce(&mut Plan),
) -> Gateway {
    let orders = testing::destination("orders", log.register("orders").unwrap(), &[]);
    let mut plan = testing::plan("v1", clients(), vec![orders]);
    change(&mut plan);
    let plan = Arc::new(ArcSwap::from_pointee(plan));
    let metrics = Arc::new(Metrics::new("shop").unwrap());
    let board = Arc::new(Board::new());
    let intake = Arc::new(Intake::new(
        Arc::clone(&plan),
        Arc::clone(&log),
        deduplication,
        Tracer::new(metrics.trace_spans_dropped()).0,
        Arc::clone(&metrics),
        Arc::clone(&board),
        &limits,
    ));
    let workers = NonZeroUsize::new(2).unwrap();
    let server = Server::start(([127, 0, 0, 1], 0).into(), workers, limits, move || intake.worker()).unwrap();
    Gateway {
        server,
        plan,
        log,
        metrics,
        board,
    }
}

fn gateway() -> Gateway {
    let log = Arc::new(MemoryLog::open(1024 * 1024, WhenFull::Refuse));
    gateway_into(log, Limits::default(), |_| {})
}

/// An answer as it came over the wire.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn line(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap().trim_end()
    }
}

impl Gateway {
    /// Why the buffer refuses hits, as `/status` tells it.
    fn refusal(&self) -> Option<String> {
        let plan = self.plan.load();
        let status = self
            .board
            .status(&testing::sources(&plan, clock::now_ms()), Totals::default(), true);
        status.buffer.refusal.map(|refusal| refusal.message)
    }

    fn connect(&self) -> Socket {
        let socket = Socket::connect(self.server.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// Sends these bytes on a connection of their own and reads to its end.
    fn send(&self, request: &[u8]) -> Reply {
        let mut socket = self.connect();
        socket.write_all(request).unwrap();
        read_reply(&mut socket)
    }

    /// Asks by HTTP/1.1; `headers` are lines without their ends.
    fn ask(&self, method: &str, target: &str, headers: &[&str], body: &str) -> Reply {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: metrics.shop.example\r\nConnection: close\r\n");
        for header in headers {
            request += header;
            request += "\r\n";
        }
        if !body.is_empty() {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        self.send(format!("{request}\r\n{body}").as_bytes())
    }

    fn get(&self, target: &str, headers: &[&str]) -> Reply {
        self.ask("GET", target, headers, "")
    }

    /// One field of every event in the log, in order.
    fn stored(&self, field: &str) -> Vec<String> {
        let id = self.log.register("orders").unwrap();
        let chunk = self.log.reader(id).unwrap().read(1_000, 1_000_000).unwrap();
        chunk
            .events
            .iter()
            .map(|stored| {
                let record = codec::decode(&stored.payload).unwrap();
                record.event.text(field).unwrap_or_default().to_owned()
            })
            .collect()
    }

    fn metrics(&self) -> String {
        self.metrics
            .scrape(&Sources {
                usage: self.log.usage(),
                ..testing::sources(&self.plan.load(), 0)
            })
            .unwrap()
    }

    fn assert_metric(&self, line: &str) {
        let text = self.metrics();
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

fn read_reply(socket: &mut Socket) -> Reply {
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the server keeps the connection: {error}"),
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let headers = String::from_utf8(bytes[..end].to_vec()).unwrap();
    Reply {
        status: headers[9..12].parse().unwrap(),
        headers,
        body: bytes[end + 4..].to_vec(),
    }
}

#[tokio::test]
async fn a_hit_is_stored_and_answered_with_204() {
    let gateway = gateway();
    let reply = gateway.get(HIT, &[]);
    assert_eq!((reply.status, reply.body.len()), (204, 0));
    assert_eq!(
        reply.header("cache-control"),
        Some("no-cache, no-store, must-revalidate")
    );
    assert_eq!(reply.header("cross-origin-resource-policy"), Some("cross-origin"));
    assert_eq!(reply.header("access-control-allow-origin"), None);
    assert_eq!(gateway.stored("event_name"), ["page_view"]);
    gateway.assert_metric(r#"tagfleet_requests_total{client="web",code="204",tagging_container="shop"} 1"#);
    gateway.assert_metric(r#"tagfleet_events_total{client="web",outcome="accepted",tagging_container="shop"} 1"#);
    gateway.assert_metric(r#"tagfleet_request_duration_seconds_count{client="web",tagging_container="shop"} 1"#);
}

#[tokio::test]
async fn an_image_element_gets_an_image() {
    let gateway = gateway();
    for (target, header) in [
        (HIT, "Sec-Fetch-Dest: image"),
        (HIT, "Accept: image/avif,image/webp,*/*"),
        ("/open.gif?en=open", "Accept: */*"),
    ] {
        let reply = gateway.get(target, &[header]);
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some("image/gif")),
            "{target} {header}"
        );
        assert!(reply.body.starts_with(b"GIF89a"));
    }
    let fetched = gateway.get(HIT, &["Sec-Fetch-Dest: empty", "Accept: */*"]);
    assert_eq!(fetched.status, 204);
}

#[tokio::test]
async fn head_counts_as_get_and_has_no_body() {
    let gateway = gateway();
    let reply = gateway.ask("HEAD", HIT, &["Sec-Fetch-Dest: image"], "");
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    assert_eq!(reply.header("content-length"), Some("43"));
    assert_eq!(gateway.stored("event_name"), ["page_view"]);
}

#[tokio::test]
async fn a_page_of_the_own_site_may_read_the_answer_with_credentials() {
    let gateway = gateway();
    let reply = gateway.get(HIT, &["Origin: https://www.shop.example"]);
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("https://www.shop.example")
    );
    assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(reply.header("vary"), Some("Origin"));
    let refused = gateway.get("/g/collect?en=page_view", &["Origin: https://www.shop.example"]);
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.header("access-control-allow-origin"),
        Some("https://www.shop.example")
    );
}

#[tokio::test]
async fn a_hit_of_another_site_counts_but_its_page_may_not_read_the_answer() {
    let gateway = gateway();
    let reply = gateway.get(HIT, &["Origin: https://elsewhere.test"]);
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, None));
    assert_eq!(gateway.stored("event_name"), ["page_view"]);
}

/// A gateway into this log that keeps its own client id, and no click ids.
fn gateway_with_identity(log: SharedLog) -> Gateway {
    gateway_into(log, Limits::default(), |plan| {
        let identity = serde_json::from_value(serde_json::json!({"cookie": {}, "readCookies": ["visitor"]})).unwrap();
        plan.policies = Arc::new(Policies {
            identity: IdentityPolicy::new(&identity, None),
            ..Policies::default()
        });
    })
}

#[tokio::test]
async fn an_answer_sets_the_visitors_cookies_once_the_hit_is_stored() {
    let log = Arc::new(MemoryLog::open(1024 * 1024, WhenFull::Refuse));
    let gateway = gateway_with_identity(log);
    let granted = format!("{HIT}&gcs=G111");
    let reply = gateway.get(&granted, &["Cookie: visitor=v; session=s"]);
    assert_eq!(reply.status, 204);
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.starts_with("FPID=FPID2.2."), "{cookie}");
    assert!(
        cookie.ends_with("; Secure; HttpOnly; SameSite=Lax; Domain=shop.example"),
        "{cookie}"
    );
    let image = gateway.get(&granted, &["Sec-Fetch-Dest: image"]);
    assert!(image.header("set-cookie").is_some());

    let denied = gateway.get(&format!("{HIT}&gcs=G100"), &[]);
    assert_eq!((denied.status, denied.header("set-cookie")), (204, None));
    let refused = gateway.get("/g/collect?v=2&tid=G-OTHER&en=page_view&gcs=G111", &[]);
    assert_eq!((refused.status, refused.header("set-cookie")), (403, None));
    assert_eq!(gateway.stored("client_id"), ["1.2", "1.2", "1.2"]);
}

#[tokio::test]
async fn a_hit_that_is_not_stored_sets_no_cookie() {
    let gateway = gateway_with_identity(Arc::new(MemoryLog::open(10, WhenFull::Refuse)));
    let reply = gateway.get(&format!("{HIT}&gcs=G111"), &[]);
    assert_eq!((reply.status, reply.header("set-cookie")), (503, None));
}

#[tokio::test]
async fn further_cookies_enter_events_where_the_container_wants_them() {
    let log: SharedLog = Arc::new(MemoryLog::open(1024 * 1024, WhenFull::Refuse));
    let gateway = gateway_with_identity(Arc::clone(&log));
    gateway.get(HIT, &["Cookie: visitor=v; session=s"]);
    let body = r#"{"event_name": "page_view", "cookies": {"visitor": "w", "session": "s"}}"#;
    gateway.ask("POST", "/v1/events", &[], body);
    let id = log.register("orders").unwrap();
    let chunk = log.reader(id).unwrap().read(1_000, 1_000_000).unwrap();
    let cookies = |at: usize| {
        let record = codec::decode(&chunk.events[at].payload).unwrap();
        serde_json::to_value(record.event).unwrap()["cookies"].clone()
    };
    assert_eq!(
        [cookies(0), cookies(1)],
        [serde_json::json!({"visitor": "v"}), serde_json::json!({"visitor": "w"})]
    );
}

#[test]
fn the_host_of_http_2_is_where_that_of_http_1_is() {
    let parts = |version, host: Option<&str>| {
        let mut request = Request::builder()
            .version(version)
            .uri("https://t.shop.example:8443/g/collect");
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        name_host(&mut parts);
        parts.headers.get(HOST).map(|host| host.to_str().unwrap().to_owned())
    };
    assert_eq!(parts(Version::HTTP_2, None).as_deref(), Some("t.shop.example:8443"));
    assert_eq!(parts(Version::HTTP_2, Some("a.test")).as_deref(), Some("a.test"));
    assert_eq!(parts(Version::HTTP_11, None), None);
}

#[tokio::test]
async fn a_preflight_is_answered_for_the_paths_of_clients() {
    let gateway = gateway();
    let headers = [
        "Origin: https://shop.example",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: content-type,x-api-key",
    ];
    let reply = gateway.ask("OPTIONS", "/v1/events", &headers, "");
    assert_eq!(reply.status, 204);
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("https://shop.example")
    );
    assert_eq!(
        reply.header("access-control-allow-methods"),
        Some("GET, HEAD, POST, OPTIONS")
    );
    assert_eq!(
        reply.header("access-control-allow-headers"),
        Some("content-type,x-api-key")
    );
    assert_eq!(reply.header("access-control-max-age"), Some("86400"));
    assert_eq!(gateway.ask("OPTIONS", "/nowhere", &headers, "").status, 404);
    assert_eq!(gateway.stored("event_name"), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_with_one_line() {
    let gateway = gateway();
    for (method, target, body, status) in [
        ("GET", "/g/collect?tid=G-TEST1&en=page_view", "", 400),
        ("GET", "/g/collect?v=2&en=page_view", "", 400),
        ("GET", "/g/collect?v=2&tid=G-TEST1", "", 400),
        ("GET", "/g/collect?v=2&tid=G-OTHER&en=page_view", "", 403),
        ("POST", "/mp/collect?measurement_id=G-TEST1&api_secret=wrong", "{}", 403),
        ("POST", "/v1/events", "{", 400),
        ("DELETE", HIT, "", 405),
        ("GET", "/mp/collect", "", 405),
        ("POST", "/open.gif?en=open", "x", 405),
        ("GET", "/nowhere", "", 404),
        ("GET", "/g/collect/", "", 404),
        ("POST", "/healthz", "x", 405),
    ] {
        let reply = gateway.ask(method, target, &[], body);
        assert_eq!(reply.status, status, "{method} {target}");
        assert_eq!(reply.line().lines().count(), 1, "{method} {target}: {reply:?}");
        assert_eq!(reply.header("allow").is_some(), status == 405, "{method} {target}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
    assert_eq!(gateway.stored("event_name"), Vec::<String>::new());
    gateway.assert_metric(r#"tagfleet_requests_total{client="web",code="400",tagging_container="shop"} 3"#);
    gateway.assert_metric(r#"tagfleet_requests_total{client="web",code="403",tagging_container="shop"} 1"#);
    gateway.assert_metric(r#"tagfleet_requests_total{client="",code="404",tagging_container="shop"} 2"#);
}

#[tokio::test]
async fn probes_are_answered_on_the_public_listener() {
    let gateway = gateway();
    for path in ["/healthz", "/healthy"] {
        let reply = gateway.get(path, &[]);
        assert_eq!((reply.status, reply.line()), (200, "ok"));
    }
}

#[tokio::test]
async fn a_batch_is_stored_as_its_events() {
    let gateway = gateway();
    let reply = gateway.ask(
        "POST",
        "/g/collect?v=2&tid=G-TEST1&cid=1.2",
        &[],
        "en=add_to_cart\r\nen=purchase\n",
    );
    assert_eq!(reply.status, 204);
    assert_eq!(gateway.stored("event_name"), ["add_to_cart", "purchase"]);
    gateway.assert_metric(r#"tagfleet_events_total{client="web",outcome="accepted",tagging_container="shop"} 2"#);
}

#[tokio::test]
async fn a_body_that_arrives_in_pieces_is_put_together() {
    let gateway = gateway();
    let mut socket = gateway.connect();
    let head = "POST /g/collect?v=2&tid=G-TEST1&cid=1.2 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n";
    write!(socket, "{head}Transfer-Encoding: chunked\r\n\r\n7\r\nen=purc\r\n").unwrap();
    // The first piece goes alone: the second is sent once another request was answered meanwhile.
    gateway.get("/healthz", &[]);
    write!(socket, "4\r\nhase\r\n0\r\n\r\n").unwrap();
    assert_eq!(read_reply(&mut socket).status, 204);
    assert_eq!(gateway.stored("event_name"), ["purchase"]);
}

#[tokio::test]
async fn ten_megabytes_are_refused_and_the_sender_gets_to_know() {
    let gateway = gateway();
    let body = "x".repeat(10 * 1024 * 1024);
    let reply = gateway.ask("POST", "/v1/events", &[], &body);
    assert_eq!(reply.status, 413);
    assert_eq!(
        reply.line(),
        "the body is larger than 131072 bytes (limits.requestBytes)"
    );

    let chunked = format!(
        "POST /v1/events HTTP/1.1\r\nHost: t\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert_eq!(gateway.send(chunked.as_bytes()).status, 413);
    assert_eq!(gateway.stored("event_name"), Vec::<String>::new());
}

#[tokio::test]
async fn a_sender_that_asks_first_is_refused_before_it_sends() {
    let gateway = gateway();
    let head = b"POST /v1/events HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 10485760\r\n\r\n";
    let reply = gateway.send(head);
    assert_eq!(reply.status, 413, "and no 100 before it");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_answered_with_408() {
    let limits = Limits {
        body_time: Duration::from_millis(20),
        ..Limits::default()
    };
    let log = Arc::new(MemoryLog::open(1024 * 1024, WhenFull::Refuse));
    let gateway = gateway_into(log, limits, |_| {});
    let reply = gateway.send(b"POST /v1/events HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{");
    assert_eq!((reply.status, reply.header("connection")), (408, Some("close")));
}

#[tokio::test]
async fn bodies_in_pieces_share_a_bounded_memory() {
    let limits = Limits {
        body_memory: 4,
        ..Limits::default()
    };
    let log = Arc::new(MemoryLog::open(1024 * 1024, WhenFull::Refuse));
    let gateway = gateway_into(log, limits, |_| {});
    let chunked = "Transfer-Encoding: chunked\r\n\r\n3\r\n[{}\r\n3\r\n,{}\r\n1\r\n]\r\n0\r\n\r\n";
    let request = format!("POST /v1/events HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{chunked}");
    let reply = gateway.send(request.as_bytes());
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
}

#[tokio::test]
async fn a_url_beyond_the_limit_is_answered_with_414() {
    let gateway = gateway();
    let reply = gateway.get(&format!("{HIT}&ep.long={}", "x".repeat(16 * 1024)), &[]);
    assert_eq!(
        (reply.status, reply.line()),
        (414, "the URL is longer than 16384 bytes")
    );
}

#[tokio::test]
async fn http_1_1_needs_one_host_and_http_1_0_none() {
    let gateway = gateway();
    let reply = gateway.get(HIT, &["Host: metrics.other.example"]);
    assert_eq!((reply.status, reply.line()), (400, "more than one Host header"));
    let reply = gateway.send(format!("GET {HIT} HTTP/1.1\r\nConnection: close\r\n\r\n").as_bytes());
    assert_eq!((reply.status, reply.line()), (400, "no Host header"));
    assert_eq!(
        gateway.send(format!("GET {HIT} HTTP/1.0\r\n\r\n").as_bytes()).status,
        204
    );
}

#[tokio::test]
async fn the_visitor_behind_a_trusted_proxy_is_the_event_s_address() {
    let log = Arc::new(MemoryLog::open(1024 * 1024, WhenFull::Refuse));
    let gateway = gateway_into(log, Limits::default(), |plan| {
        plan.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    gateway.get(HIT, &["X-Forwarded-For: 203.0.113.9, 192.0.2.1"]);
    gateway.get(HIT, &[]);
    assert_eq!(gateway.stored("ip_override"), ["192.0.2.1", "127.0.0.1"]);
}

#[tokio::test]
async fn a_new_plan_judges_the_next_hit() {
    let gateway = gateway();
    assert_eq!(gateway.get(HIT, &[]).status, 204);
    let mut next = testing::plan("v2", clients(), vec![]);
    next.clients.truncate(0);
    next.cors = Cors::default();
    gateway.plan.store(Arc::new(next));
    assert_eq!(gateway.get(HIT, &[]).status, 404);
}

#[tokio::test]
async fn a_full_buffer_is_answered_with_503_and_when_to_come_again() {
    let log = Arc::new(MemoryLog::open(200, WhenFull::Refuse));
    let gateway = gateway_into(log, Limits::default(), |_| {});
    let replies: Vec<_> = (0..10).map(|_| gateway.get(HIT, &[])).collect();
    let last = replies.last().unwrap();
    assert_eq!((last.status, last.line()), (503, "the buffer is full"));
    assert!(gateway.refusal().unwrap().starts_with("the buffer is full (200 bytes)"));
    assert_eq!(last.header("retry-after"), Some("5"));
    let taken = replies.iter().filter(|reply| reply.status == 204).count();
    gateway.assert_metric(&format!(
        r#"tagfleet_events_total{{client="web",outcome="accepted",tagging_container="shop"}} {taken}"#
    ));
}

/// A log whose commits wait until they are let go.
#[derive(Default)]
struct Gated {
    appended: Arc<Notify>,
    gate: watch::Sender<Option<Result<(), AppendError>>>,
}

impl Appender for Gated {
    fn append(&mut self, _: &[Accepted<'_, '_>]) -> Result<Commit, AppendError> {
        self.appended.notify_one();
        let mut gate = self.gate.subscribe();
        Ok(Box::pin(async move {
            let outcome = gate.wait_for(Option::is_some).await;
            outcome.map_or(Err(AppendError::Closed), |outcome| outcome.clone().unwrap())
        }))
    }
}

impl Log for Gated {
    fn register(&self, _: &str) -> Result<DestinationId, LogError> {
        Ok(DestinationId(0))
    }
    fn appender(&self) -> Box<dyn Appender> {
        Box::new(Self {
            appended: Arc::clone(&self.appended),
            gate: self.gate.clone(),
        })
    }
    fn reader(&self, _: DestinationId) -> Result<Box<dyn Reader>, LogError> {
        Err(LogError::TooManyDestinations("none".into()))
    }
    fn head(&self) -> watch::Receiver<Position> {
        watch::Sender::default().subscribe()
    }
    fn ledgers(&self) -> Vec<(String, DestinationId, Ledger)> {
        Vec::new()
    }
    fn usage(&self) -> Usage {
        Usage::default()
    }
    fn expire_before(&self) -> Option<Position> {
        None
    }
    fn forget(&self, _: DestinationId) -> Result<(), LogError> {
        Ok(())
    }
    fn close(&self) {}
}

#[tokio::test]
async fn the_answer_waits_for_the_commit_also_while_stopping() {
    let log = Arc::new(Gated::default());
    let gateway = gateway_into(Arc::clone(&log) as SharedLog, Limits::default(), |_| {});
    let mut socket = gateway.connect();
    write!(socket, "GET {HIT} HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    log.appended.notified().await;
    gateway.assert_metric(r#"tagfleet_events_total{client="web",outcome="accepted",tagging_container="shop"} 0"#);
    let Gateway { server, metrics, .. } = gateway;
    let stopping = tokio::spawn(server.stop(PATIENCE));
    log.gate.send_replace(Some(Ok(())));
    assert_eq!(stopping.await.unwrap(), 0);
    assert_eq!(read_reply(&mut socket).status, 204);
    assert_eq!(metrics.client(Some("web")).accepted.get(), 1);
}

#[tokio::test]
async fn a_commit_that_fails_is_answered_with_503_and_accepts_nothing() {
    let log = Arc::new(Gated::default());
    log.gate
        .send_replace(Some(Err(AppendError::Device("no space left on device".into()))));
    let gateway = gateway_into(log, Limits::default(), |_| {});
    let reply = gateway.get(HIT, &[]);
    assert_eq!((reply.status, reply.line()), (503, "the buffer cannot be written"));
    assert_eq!(
        gateway.refusal().as_deref(),
        Some("the buffer cannot be written: no space left on device")
    );
    gateway.assert_metric(r#"tagfleet_events_total{client="web",outcome="accepted",tagging_container="shop"} 0"#);
}

#[tokio::test]
async fn an_event_counts_when_its_sender_went_away_before_the_answer() {
    let log = Arc::new(Gated::default());
    let gateway = gateway_into(Arc::clone(&log) as SharedLog, Limits::default(), |_| {});
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let sending = tokio::spawn(client.get(format!("http://{}{HIT}", gateway.server.address())).send());
    log.appended.notified().await;
    // Resets the stream; the answer to a second request on the connection comes after that was seen.
    sending.abort();
    assert!(sending.await.unwrap_err().is_cancelled());
    let probe = client
        .get(format!("http://{}/healthz", gateway.server.address()))
        .send()
        .await;
    assert_eq!(probe.unwrap().status(), 200);
    log.gate.send_replace(Some(Ok(())));
    let accepted = gateway.metrics.client(Some("web")).accepted;
    let counted = async {
        while accepted.get() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("the event counts");
}

#[tokio::test]
async fn ten_thousand_hits_with_random_names_add_no_series() {
    let log = Arc::new(MemoryLog::open(64 * 1024 * 1024, WhenFull::Refuse));
    let gateway = gateway_into(log, Limits::default(), |_| {});
    let series = || -> BTreeSet<String> {
        let text = gateway.metrics();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
            .collect()
    };
    // One of each kind first, so that what it may make is there.
    let send = |name: &str| {
        let hit = format!("{HIT}{name}&cid={name}.1&ep.{name}={name}&epn.{name}=1&dl=https%3A%2F%2F{name}.example");
        let app = format!(r#"{{"event_name": "{name}", "client_id": "{name}", "{name}": "{name}"}}"#);
        let path = format!("/{name}?{name}={name}");
        [
            gateway
                .get(&hit, &[&format!("X-{name}: {name}"), &format!("User-Agent: {name}")])
                .status,
            gateway.ask("POST", "/v1/events", &[], &app).status,
            gateway.get(&path, &[]).status,
            gateway.get(&format!("/g/collect?v=2&tid={name}&en={name}"), &[]).status,
        ]
    };
    assert_eq!(send("first"), [204, 204, 404, 403]);
    let before = series();
    for number in 0..2_500_u64 {
        // Spread over all 64 bits: no two names alike.
        send(&format!("n{:016x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    }
    assert_eq!(series(), before);
    gateway.assert_metric(r#"tagfleet_requests_total{client="web",code="204",tagging_container="shop"} 2501"#);
}

#[tokio::test]
async fn an_event_waits_for_its_visitors_decision_and_every_decision_is_counted() {
    let log = Arc::new(MemoryLog::open(1024 * 1024, WhenFull::Refuse));
    let gateway = gateway_into(log, Limits::default(), |plan| {
        let mut orders = testing::destination("orders", plan.destinations[0].id, &[]);
        orders.requires = vec![ConsentSignal::AnalyticsStorage];
        plan.destinations = vec![Arc::new(orders)];
        plan.policies = Arc::new(Policies {
            consent: ConsentPolicy {
                hold: Some(HoldPolicy {
                    max_age: PATIENCE,
                    max_events: 10,
                }),
                ..ConsentPolicy::default()
            },
            ..Policies::default()
        });
    });
    assert_eq!(gateway.get(HIT, &["Sec-GPC: 1"]).status, 204);
    gateway.assert_metric(r#"tagfleet_held_events{tagging_container="shop"} 1"#);
    assert!(gateway.stored("event_name").is_empty());

    assert_eq!(gateway.get(&format!("{HIT}&gcs=G101"), &[]).status, 204);
    gateway.assert_metric(r#"tagfleet_held_events{tagging_container="shop"} 0"#);
    assert_eq!(gateway.stored("event_name"), ["page_view"]);
    gateway.assert_metric(r#"tagfleet_events_total{client="web",outcome="accepted",tagging_container="shop"} 2"#);
    for (source, signal, state) in [
        ("gpc", "ad_storage", "denied"),
        ("nobody", "analytics_storage", "unset"),
        ("gcs", "analytics_storage", "granted"),
    ] {
        gateway.assert_metric(&format!(
            "tagfleet_consent_decisions_total{{signal=\"{signal}\",source=\"{source}\",state=\"{state}\",\
             tagging_container=\"shop\"}} 1"
        ));
    }
}
