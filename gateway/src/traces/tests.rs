//! Hits over real sockets, through a log, to a webhook, with a collector that reads what it gets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use prometheus::IntCounter;
use prost::Message;
use tagfleet_crds::tagging_container::OtlpProtocol;
use tokio::{net::TcpListener, runtime::Handle, sync::mpsc};

use super::{
    otlp::{Any, ExportRequest, KeyValue, SpanKind},
    *,
};
use crate::{
    clock,
    deduplication::Deduplication,
    delivery::{
        Parts as DeliveryParts, Supervisor,
        addresses::AddressPolicy,
        client::{HttpClient, Transport},
        dead_letters::DeadLetters,
        grpc::unframed,
    },
    destinations::{
        Authentication, Destination, Protocol,
        webhook::{Format, Options, Webhook},
    },
    ingest::{ClientKind, Pixel, intake::Intake, limits::Limits, server::Server},
    log::{Log, WhenFull, memory::MemoryLog},
    metrics::Metrics,
    plan::Plan,
    status::Board,
    testing,
};

const GRACE: Duration = Duration::from_secs(10);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A server that takes everything with this status, by HTTP or gRPC, and remembers it.
struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Receiver {
    async fn answering(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let remembered = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&remembered);
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let seen = Arc::clone(&seen);
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        seen.lock().unwrap().push((parts.headers, body));
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", HeaderValue::from_static("0"));
                        let body = Full::new(Bytes::new()).with_trailers(async { Some(Ok::<_, Infallible>(trailers)) });
                        Ok::<_, Infallible>(http::Response::builder().status(status).body(body).unwrap())
                    }
                });
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ended = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, seen }
    }

    fn requests(&self) -> Vec<(HeaderMap, Bytes)> {
        self.seen.lock().unwrap().clone()
    }

    /// The spans of all requests, read as a collector reads them, with the resource of the first.
    fn spans(&self, protocol: OtlpProtocol) -> Vec<Span> {
        let messages = self.requests().into_iter().map(|(headers, body)| {
            assert_eq!(headers["api-key"], "hunter2");
            let message = match protocol {
                OtlpProtocol::Http => &body,
                OtlpProtocol::Grpc => unframed(&body).unwrap(),
            };
            ExportRequest::decode(message).unwrap()
        });
        let resources = messages.flat_map(|message| message.resource_spans);
        let scopes = resources.flat_map(|resource| {
            assert_eq!(
                attribute(&resource.resource.unwrap().attributes, "tagfleet.container"),
                "shop"
            );
            resource.scope_spans
        });
        scopes.flat_map(|scope| scope.spans).collect()
    }
}

/// A gateway with a pixel and a webhook, traced to a collector.
struct Gateway {
    server: Server,
    delivery: Supervisor,
    exporter: Exporter,
    plan: Arc<ArcSwap<Plan>>,
    dropped: IntCounter,
}

struct Site<'s> {
    collector: SocketAddr,
    protocol: OtlpProtocol,
    percent: f64,
    webhook: SocketAddr,
    vendor: Option<&'s Arc<dyn Destination>>,
}

impl<'s> Site<'s> {
    fn new(collector: SocketAddr, webhook: SocketAddr) -> Self {
        Self {
            collector,
            protocol: OtlpProtocol::Http,
            percent: 0.0,
            webhook,
            vendor: None,
        }
    }

    fn start(&self) -> Gateway {
        let log = Arc::new(MemoryLog::open(1 << 20, WhenFull::Refuse));
        let mut orders = testing::destination("orders", log.register("orders").unwrap(), &[]);
        orders.delivery.max_delay = Duration::from_millis(300);
        orders.vendor = self.vendor.cloned().unwrap_or_else(|| Arc::new(webhook(self.webhook)));
        let client = Client {
            name: "mail".into(),
            kind: ClientKind::Pixel(Pixel {
                path: "/open.gif".into(),
            }),
        };
        let mut headers = HeaderMap::new();
        headers.insert("api-key", HeaderValue::from_static("hunter2"));
        let endpoint = format!("http://{}", self.collector).parse().unwrap();
        let mut plan = testing::plan("v1", vec![client], vec![orders]);
        plan.traces = Some(Arc::new(Settings {
            collector: Collector::new(endpoint, self.protocol, headers),
            share: Share::of_percent(self.percent),
        }));

        let metrics = Arc::new(Metrics::new("shop").unwrap());
        let dropped = metrics.trace_spans_dropped();
        let (tracer, queue) = Tracer::new(dropped.clone());
        tracer.apply(plan.traces.as_ref());
        let open: Open = Box::new(|| Ok(Arc::new(HttpClient::new(AddressPolicy::AllowAll)?) as _));
        let resource = resource("shop", None, None);
        let exporter = Exporter::start(tracer.clone(), queue, resource, open, &Handle::current());
        let board = Arc::new(Board::new());
        let delivery = Supervisor::start(
            DeliveryParts {
                log: Arc::clone(&log) as _,
                transport: Arc::new(HttpClient::new(AddressPolicy::AllowAll).unwrap()),
                dead_letters: Arc::new(DeadLetters::in_memory(1 << 20)),
                erasures: Arc::default(),
                metrics: Arc::clone(&metrics),
                tracer: tracer.clone(),
                board: Arc::clone(&board),
                state_dir: None,
                now_ms: clock::now_ms,
            },
            &Handle::current(),
        );
        delivery.apply(&plan);
        let plan = Arc::new(ArcSwap::from_pointee(plan));
        let limits = Limits::default();
        let deduplication = Arc::new(Deduplication::in_memory());
        let intake = Intake::new(Arc::clone(&plan), log, deduplication, tracer, metrics, board, &limits);
        let intake = Arc::new(intake);
        let one = NonZeroUsize::MIN;
        let server = Server::start(([127, 0, 0, 1], 0).into(), one, limits, move || intake.worker()).unwrap();
        Gateway {
            server,
            delivery,
            exporter,
            plan,
            dropped,
        }
    }
}

fn webhook(address: SocketAddr) -> Webhook {
    Webhook::new(Options {
        url: format!("http://{address}/hook?token=hunter2").parse().unwrap(),
        hmac: Vec::new(),
        headers: HeaderMap::new(),
        format: Format::Events,
        mapping: testing::mapping(&[], &[]),
    })
}

impl Gateway {
    /// Sends a hit with these headers, and expects that it is taken.
    async fn hit(&self, client: &HttpClient, headers: &[(&'static str, &str)]) {
        let (method, query) = (Method::GET, "en=open&cid=1.2&email=jane@shop.example");
        let url = format!("http://{}/open.gif?{query}", self.server.address());
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let request = Request {
            method,
            url: url.parse().unwrap(),
            headers: headers.collect(),
            body: Bytes::new(),
            authentication: Authentication::None,
            protocol: Protocol::Http,
        };
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.status, 200);
    }

    /// Sends hits and lets everything end: answers, deliveries, and the last spans.
    async fn hits(self, hits: &[&[(&'static str, &str)]]) -> u64 {
        let client = HttpClient::new(AddressPolicy::AllowAll).unwrap();
        for headers in hits {
            self.hit(&client, headers).await;
        }
        drop(client);
        self.server.stop(GRACE).await;
        self.delivery.shutdown(GRACE).await;
        self.exporter.stop(GRACE).await;
        self.dropped.get()
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.clone()?.value) {
        Some(Any::Text(text)) => text,
        Some(Any::Int(number)) => number.to_string(),
        None => "absent".to_owned(),
    }
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    let keys = span.attributes.iter().map(|attribute| attribute.key.clone());
    keys.map(|key| (key.clone(), attribute(&span.attributes, &key)))
        .collect()
}

fn shown(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn of_kind(spans: &[Span], kind: SpanKind) -> Vec<Span> {
    spans.iter().filter(|span| span.kind() == kind).cloned().collect()
}

fn traceparent(trace: &str, span: &str, flags: &str) -> String {
    format!("00-{trace}-{span}-{flags}")
}

async fn one_hit_of_a_trace(protocol: OtlpProtocol) {
    let (collector, receiver) = (Receiver::answering(200).await, Receiver::answering(200).await);
    let mut site = Site::new(collector.address, receiver.address);
    site.protocol = protocol;
    let parent = traceparent(TRACE, PARENT, "01");
    let user_agent = "Mozilla/5.0 (X11; Linux x86_64)";
    let headers: &[(_, &str)] = &[
        ("traceparent", &parent),
        ("tracestate", "rum=7"),
        ("user-agent", user_agent),
    ];
    assert_eq!(site.start().hits(&[headers]).await, 0);

    let spans = collector.spans(protocol);
    let (hits, deliveries) = (of_kind(&spans, SpanKind::Server), of_kind(&spans, SpanKind::Client));
    let ([hit], [delivery]) = (hits.as_slice(), deliveries.as_slice()) else {
        panic!("{spans:?}");
    };
    assert_eq!(hit.name, "GET /open.gif");
    assert_eq!(hex::encode(&hit.trace_id), TRACE);
    assert_eq!(hex::encode(&hit.parent_span_id), PARENT);
    assert_eq!((hit.trace_state.as_str(), hit.flags), ("rum=7", 0x301));
    assert_eq!(
        attributes(hit),
        shown(&[
            ("http.request.method", "GET"),
            ("http.route", "/open.gif"),
            ("url.path", "/open.gif"),
            ("http.response.status_code", "200"),
            ("tagfleet.client", "mail"),
            ("tagfleet.events", "1"),
        ])
    );

    // The only traced hit of the request: one trace shows the whole way.
    assert_eq!(delivery.name, "deliver orders");
    assert_eq!(delivery.trace_id, hit.trace_id);
    assert_eq!(delivery.parent_span_id, hit.span_id);
    assert_eq!(delivery.links.len(), 1);
    assert_eq!(delivery.links[0].span_id, hit.span_id);
    let port = receiver.address.port().to_string();
    assert_eq!(
        attributes(delivery),
        shown(&[
            ("http.request.method", "POST"),
            ("server.address", "127.0.0.1"),
            ("server.port", &port),
            ("http.response.status_code", "200"),
            ("tagfleet.destination", "orders"),
            ("tagfleet.events", "1"),
            ("tagfleet.attempts", "1"),
        ])
    );
    for span in [hit, delivery] {
        assert!(0 < span.start_time_unix_nano && span.start_time_unix_nano <= span.end_time_unix_nano);
        assert_eq!(span.status, None);
    }

    // The receiver goes on from the delivery.
    let (headers, _) = receiver.requests().remove(0);
    let passed = traceparent(TRACE, &hex::encode(&delivery.span_id), "01");
    assert_eq!(
        (headers["traceparent"].to_str().unwrap(), &headers["tracestate"]),
        (passed.as_str(), &HeaderValue::from_static("rum=7"))
    );

    let exported: Vec<u8> = collector
        .requests()
        .iter()
        .flat_map(|(_, body)| body.to_vec())
        .collect();
    let exported = String::from_utf8_lossy(&exported);
    for personal in ["jane", "cid=", "1.2", "Mozilla", "hunter2", "/hook"] {
        assert!(!exported.contains(personal), "{personal} is in {exported}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_on_through_the_gateway_to_a_webhook() {
    one_hit_of_a_trace(OtlpProtocol::Http).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_go_by_grpc_too() {
    one_hit_of_a_trace(OtlpProtocol::Grpc).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_links_to_each_of_its_traced_hits_in_a_trace_of_its_own() {
    let (collector, receiver) = (Receiver::answering(200).await, Receiver::answering(200).await);
    let site = Site::new(collector.address, receiver.address);
    let (first, second) = (
        traceparent(TRACE, PARENT, "01"),
        traceparent(&TRACE.replace('4', "5"), PARENT, "03"),
    );
    let unsampled = traceparent(TRACE, PARENT, "00");
    let hits: [&[(_, &str)]; 4] = [
        &[("traceparent", &first)],
        &[],
        &[("traceparent", &second)],
        &[("traceparent", &unsampled)],
    ];
    assert_eq!(site.start().hits(&hits).await, 0);

    let spans = collector.spans(OtlpProtocol::Http);
    let (hits, deliveries) = (of_kind(&spans, SpanKind::Server), of_kind(&spans, SpanKind::Client));
    let (2, [delivery]) = (hits.len(), deliveries.as_slice()) else {
        panic!("{spans:?}");
    };
    assert_eq!(attribute(&delivery.attributes, "tagfleet.events"), "4");
    assert!(delivery.parent_span_id.is_empty());
    assert!(hits.iter().all(|hit| hit.trace_id != delivery.trace_id));
    let mut linked: Vec<_> = delivery.links.iter().map(|link| &link.span_id).collect();
    let mut expected: Vec<_> = hits.iter().map(|hit| &hit.span_id).collect();
    linked.sort();
    expected.sort();
    assert_eq!(linked, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_sampled_parent_the_share_decides() {
    for (percent, spans) in [(0.0, 0), (100.0, 4)] {
        let (collector, receiver) = (Receiver::answering(200).await, Receiver::answering(200).await);
        let mut site = Site::new(collector.address, receiver.address);
        site.percent = percent;
        let hits: [&[(_, &str)]; 3] = [&[], &[("traceparent", "00-hostile")], &[("tracestate", "a=1")]];
        assert_eq!(site.start().hits(&hits).await, 0);
        assert_eq!(
            collector.spans(OtlpProtocol::Http).len(),
            spans,
            "three hits and a batch"
        );
        let (headers, body) = receiver.requests().remove(0);
        assert_eq!(headers.contains_key("traceparent"), percent > 0.0);
        assert!(
            !headers.contains_key("tracestate"),
            "it is nothing without a traceparent"
        );
        assert!(
            !String::from_utf8_lossy(&body).contains("trace"),
            "the context is no part of the event"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_advertising_vendor_gets_no_trace_context_and_a_failed_request_is_an_error() {
    /// As a webhook, but for what a receiver of one's own may know.
    struct Advertiser(Webhook);

    impl Destination for Advertiser {
        fn limits(&self) -> crate::destinations::Limits {
            self.0.limits()
        }
        fn encode(&self, records: &[crate::record::Record<'_>], now_ms: i64) -> crate::destinations::Encoding {
            self.0.encode(records, now_ms)
        }
        fn classify(&self, response: &crate::destinations::Response) -> crate::destinations::Outcome {
            self.0.classify(response)
        }
    }

    let (collector, receiver) = (Receiver::answering(200).await, Receiver::answering(400).await);
    let vendor: Arc<dyn Destination> = Arc::new(Advertiser(webhook(receiver.address)));
    let mut site = Site::new(collector.address, receiver.address);
    site.vendor = Some(&vendor);
    let parent = traceparent(TRACE, PARENT, "01");
    assert_eq!(site.start().hits(&[&[("traceparent", &parent)]]).await, 0);
    assert!(!receiver.requests()[0].0.contains_key("traceparent"));
    let deliveries = of_kind(&collector.spans(OtlpProtocol::Http), SpanKind::Client);
    assert_eq!(deliveries[0].status.as_ref().unwrap().code, 2);
    assert_eq!(attribute(&deliveries[0].attributes, "error.type"), "400");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_never_answers_delays_no_hit() {
    let receiver = Receiver::answering(200).await;
    // Connections are made by the kernel and never looked at.
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut site = Site::new(dead.local_addr().unwrap(), receiver.address);
    site.percent = 100.0;
    let gateway = site.start();
    let client = HttpClient::new(AddressPolicy::AllowAll).unwrap();
    let begun = Instant::now();
    // More than one batch: the exporter sits in its first request.
    for _ in 0..700 {
        gateway.hit(&client, &[]).await;
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    drop(client);
    gateway.server.stop(GRACE).await;
    gateway.delivery.shutdown(GRACE).await;
    gateway.exporter.stop(Duration::from_millis(100)).await;
    let delivered: usize = receiver.requests().len();
    assert!(delivered > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_settings_nothing_is_traced_even_if_the_sender_asks() {
    let (collector, receiver) = (Receiver::answering(200).await, Receiver::answering(200).await);
    let gateway = Site::new(collector.address, receiver.address).start();
    let mut off = testing::plan("v2", Vec::new(), Vec::new());
    let plan = gateway.plan.load_full();
    off.clients = plan.clients.clone();
    off.destinations = plan.destinations.clone();
    gateway.plan.store(Arc::new(off));
    let parent = traceparent(TRACE, PARENT, "01");
    assert_eq!(gateway.hits(&[&[("traceparent", &parent)]]).await, 0);
    assert_eq!(collector.requests().len(), 0);
    assert_eq!(receiver.requests().len(), 1);
}

#[test]
fn a_span_links_to_at_most_128_hits_and_counts_the_others() {
    let mut hits: Vec<Traced> = (0..200)
        .map(|_| Traced {
            context: context::SpanContext::root(),
            state: "".into(),
        })
        .collect();
    // Several events of one hit are one link.
    hits.extend(hits.clone());
    let carrier = Carrier {
        destination: "orders",
        events: hits.len(),
        attempt: 1,
    };
    let request = Request {
        method: Method::POST,
        url: "https://vendor.example/".parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        authentication: Authentication::None,
        protocol: Protocol::Http,
    };
    let attempt = Attempt {
        outcome: crate::destinations::Outcome::Delivered,
        code: crate::metrics::CallCode::Grpc(0),
        answered: true,
        took: Duration::ZERO,
    };
    let span = DeliverySpan::begin(&hits, carrier, &request).unwrap().end(&attempt);
    assert_eq!((span.links.len(), span.dropped_links_count), (128, 72));
    assert_eq!(attribute(&span.attributes, "rpc.grpc.status_code"), "0");
    assert!(DeliverySpan::begin(&[], carrier, &request).is_none());
}

mod export {
    //! The exporter alone, on a clock that the tests move.

    use http::StatusCode;

    use super::*;
    use crate::{
        delivery::client::{Sending, TransportError},
        destinations::Response,
    };

    /// What the collector answers to each request, the last one for ever; 0 is no answer at all.
    struct Script(Mutex<Vec<u16>>, Mutex<Vec<Request>>);

    impl Script {
        fn new(statuses: &[u16]) -> Arc<Self> {
            Arc::new(Self(Mutex::new(statuses.to_vec()), Mutex::default()))
        }

        /// The number of spans in each request.
        fn batches(&self) -> Vec<usize> {
            let count = |request: &Request| {
                let message = ExportRequest::decode(&*request.body).unwrap();
                message.resource_spans[0].scope_spans[0].spans.len()
            };
            self.1.lock().unwrap().iter().map(count).collect()
        }

        fn hosts(&self) -> Vec<String> {
            let requests = self.1.lock().unwrap();
            requests
                .iter()
                .map(|request| request.url.host_str().unwrap().to_owned())
                .collect()
        }
    }

    impl Transport for Script {
        fn send(&self, request: Request) -> Sending<'_> {
            self.1.lock().unwrap().push(request);
            let mut statuses = self.0.lock().unwrap();
            let status = if statuses.len() > 1 {
                statuses.remove(0)
            } else {
                statuses[0]
            };
            Box::pin(async move {
                match status {
                    0 => std::future::pending().await,
                    1 => Err(TransportError::Connect {
                        target: "http://otel.example".into(),
                        reason: "refused".into(),
                    }),
                    status => Ok::<Response, _>(testing::answer(status, "")),
                }
            })
        }
    }

    fn settings(host: &str) -> Arc<Settings> {
        let endpoint = format!("http://{host}:4318").parse().unwrap();
        Arc::new(Settings {
            collector: Collector::new(endpoint, OtlpProtocol::Http, HeaderMap::new()),
            share: Share::of_percent(0.0),
        })
    }

    fn start(script: &Arc<Script>) -> (Tracer, Exporter, IntCounter) {
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let (tracer, queue): (_, mpsc::Receiver<_>) = Tracer::new(dropped.clone());
        tracer.apply(Some(&settings("otel.example")));
        let transport = Arc::clone(script);
        let open: Open = Box::new(move || Ok(transport as _));
        let exporter = Exporter::start(
            tracer.clone(),
            queue,
            resource("shop", None, None),
            open,
            &Handle::current(),
        );
        (tracer, exporter, dropped)
    }

    fn record(tracer: &Tracer, spans: usize) {
        for _ in 0..spans {
            tracer.record(Span::default());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn spans_go_when_they_are_512_or_after_five_seconds() {
        let script = Script::new(&[200]);
        let (tracer, _exporter, dropped) = start(&script);
        record(&tracer, 600);
        tokio::time::sleep(Duration::from_millis(4_900)).await;
        assert_eq!(script.batches(), [512]);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(script.batches(), [512, 88]);
        assert_eq!(dropped.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_taken_now_is_tried_again_for_a_minute() {
        let script = Script::new(&[503, 1, 0, 429, 200]);
        let (tracer, _exporter, dropped) = start(&script);
        record(&tracer, 3);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(script.batches(), [3; 5]);
        assert_eq!(dropped.get(), 0);

        let script = Script::new(&[503]);
        let (tracer, _exporter, dropped) = start(&script);
        record(&tracer, 3);
        tokio::time::sleep(Duration::from_secs(70)).await;
        assert!(script.batches().len() > 4);
        assert_eq!(dropped.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_dropped_at_once() {
        let script = Script::new(&[401]);
        let (tracer, _exporter, dropped) = start(&script);
        record(&tracer, 3);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((script.batches(), dropped.get()), (vec![3], 3));
    }

    #[tokio::test(start_paused = true)]
    async fn what_finds_no_room_is_dropped_and_counted() {
        let script = Script::new(&[0]);
        let (tracer, _exporter, dropped) = start(&script);
        record(&tracer, 512);
        tokio::time::sleep(Duration::from_secs(1)).await;
        record(&tracer, 5_000);
        assert_eq!(dropped.get(), 5_000 - 4_096);
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_moved_is_found_without_a_restart() {
        let script = Script::new(&[503, 200]);
        let (tracer, _exporter, dropped) = start(&script);
        record(&tracer, 1);
        // In its first wait.
        tokio::time::sleep(Duration::from_millis(5_001)).await;
        tracer.apply(Some(&settings("new.example")));
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(script.hosts().last().unwrap(), "new.example");
        tracer.apply(None);
        record(&tracer, 1);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!((script.batches().len(), dropped.get()), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_spans_are_sent_before_the_end_and_a_dead_collector_does_not_hold_it_up() {
        let script = Script::new(&[200]);
        let (tracer, exporter, dropped) = start(&script);
        record(&tracer, 700);
        exporter.stop(Duration::from_secs(2)).await;
        assert_eq!((script.batches(), dropped.get()), (vec![512, 188], 0));

        let script = Script::new(&[StatusCode::SERVICE_UNAVAILABLE.as_u16()]);
        let (tracer, exporter, dropped) = start(&script);
        record(&tracer, 700);
        let begun = tokio::time::Instant::now();
        exporter.stop(Duration::from_secs(2)).await;
        assert_eq!((script.batches(), dropped.get()), (vec![512, 188], 700));
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}
