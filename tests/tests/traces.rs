//! OpenTelemetry's own messages from PyPI read what the gateway sends to a collector.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout
)]

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tagfleet_tests::{gateway::Setup, http, process, sink::Sink, skip, wait};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The Python with the library installed: scripts/test makes it.
fn python() -> PathBuf {
    let venv = || process::repository().join("target/venv/bin/python");
    env::var_os("TAGFLEET_PYTHON").map_or_else(venv, PathBuf::from)
}

/// The requests as the library reads them.
fn by_the_library(bodies: &[Vec<u8>]) -> Value {
    let mut script = Command::new(python())
        .arg(process::repository().join("tests/clients/traces.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python");
    let bodies: Vec<String> = bodies.iter().map(hex::encode).collect();
    let given = json!({"bodies": bodies}).to_string();
    script.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
    let ended = script.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// A collector that takes everything; the bodies of its requests.
fn collector() -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&bodies);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let body = take(&mut stream.unwrap());
            taken.lock().unwrap().push(body);
        }
    });
    (address, bodies)
}

/// Reads one request, answers it, and gives its body.
fn take(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "it broke off");
        request.extend_from_slice(&chunk[..read]);
        let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(head.contains("\r\ncontent-type: application/x-protobuf"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.expect("a length").trim().parse().unwrap();
        if request.len() >= end + 4 + length {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .unwrap();
            return request.split_off(end + 4);
        }
    }
}

#[test]
fn opentelemetrys_own_library_reads_the_spans_of_a_hit_and_its_delivery() {
    if !python().exists() {
        skip::skip(
            "traces",
            "no Python with opentelemetry-proto (scripts/test makes target/venv)",
        );
        return;
    }
    let (collector, bodies) = collector();
    let sink = Sink::start();
    let manifests = tempfile::tempdir().unwrap();
    fs::write(
        manifests.path().join("shop.yaml"),
        format!(
            "apiVersion: tagfleet.dev/v1alpha1\nkind: TaggingContainer\nmetadata: {{name: shop}}\nspec:\n  hostnames: \
             [metrics.shop.example]\n  clients: [{{name: web, ga4: {{}}}}]\n  telemetry: {{otlp: {{endpoint: \
             \"http://{collector}\", samplePercent: 0}}}}\n---\napiVersion: tagfleet.dev/v1alpha1\nkind: \
             Destination\nmetadata: {{name: orders}}\nspec:\n  containerRefs: [{{name: shop}}]\n  delivery: {{batch: \
             {{maxDelay: 10ms}}}}\n  webhook: {{url: \"{}\"}}\n",
            sink.url()
        ),
    )
    .unwrap();
    let gateway = Setup::new(manifests.path()).start();
    let hit = "/g/collect?v=2&tid=G-TEST1&cid=1.2&en=page_view";
    for headers in [&[][..], &[("traceparent", TRACEPARENT), ("tracestate", "rum=7")][..]] {
        let answer = http::request(gateway.address(), "POST", hit, headers, b"").unwrap();
        assert_eq!(answer.status, 204, "{}", gateway.log());
    }
    let spans = wait::until("both spans", Duration::from_secs(30), || {
        let bodies = bodies.lock().unwrap().clone();
        let requests = by_the_library(&bodies);
        let resources = requests
            .as_array()?
            .iter()
            .flat_map(|request| request["resourceSpans"].as_array());
        let scopes = resources
            .flatten()
            .flat_map(|resource| resource["scopeSpans"].as_array());
        let spans = scopes.flatten().flat_map(|scope| scope["spans"].as_array());
        let spans: Vec<Value> = spans.flatten().cloned().collect();
        (spans.len() >= 2).then_some(spans)
    });
    let by_name = |name: &str| {
        spans
            .iter()
            .find(|span| span["name"] == name)
            .unwrap_or_else(|| panic!("{spans:#?}"))
    };
    let (hit, delivery) = (by_name("POST /g/collect"), by_name("deliver orders"));
    assert_eq!(spans.len(), 2, "the hit that did not ask is not traced");
    assert_eq!(hit["kind"], "SPAN_KIND_SERVER");
    // Base64 of the ids in the header.
    assert_eq!(hit["traceId"], "S/kvNXezTaajzpKdDg5HNg==");
    assert_eq!(hit["parentSpanId"], "APBnqgupArc=");
    assert_eq!(hit["traceState"], "rum=7");
    assert_eq!(attribute(hit, "http.response.status_code"), json!({"intValue": "204"}));
    assert_eq!(attribute(hit, "tagfleet.client"), json!({"stringValue": "web"}));
    assert_eq!(delivery["kind"], "SPAN_KIND_CLIENT");
    assert_eq!(delivery["links"][0]["spanId"], hit["spanId"]);
    assert_eq!(delivery["parentSpanId"], hit["spanId"]);
    assert_eq!(
        attribute(delivery, "tagfleet.destination"),
        json!({"stringValue": "orders"})
    );
    let nanos = |span: &Value, field: &str| -> u64 { span[field].as_str().unwrap().parse().unwrap() };
    assert!(nanos(hit, "startTimeUnixNano") <= nanos(delivery, "endTimeUnixNano"));

    let passed = sink
        .requests()
        .into_iter()
        .find_map(|request| request.headers.get("traceparent").cloned());
    let passed = passed.expect("a webhook gets the context");
    assert_eq!(&passed[..36], &TRACEPARENT[..36]);
    assert_ne!(passed, TRACEPARENT);
}

fn attribute(span: &Value, key: &str) -> Value {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    found.map(|attribute| attribute["value"].clone()).unwrap_or_default()
}
