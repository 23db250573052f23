//! Bad input: what is wrong is said with its place and how to mend it, and nothing breaks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{
    fs,
    net::TcpListener,
    path::Path,
    time::{Duration, Instant},
};

use tagfleet_tests::{
    gateway::{self, Setup},
    http,
    manifests::{self, Manifests},
    sink::Sink,
    skip, wait,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `check` and returns its exit code and all that it wrote.
fn check(path: &Path, more: &[&str]) -> (Option<i32>, String) {
    let arguments: Vec<&str> = ["check", path.to_str().unwrap()]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    let output = gateway::run(&arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

/// A webhook Destination with one piece of its text replaced.
fn webhook_with(old: &str, new: &str) -> String {
    let good = manifests::webhook(
        "orders",
        "https://orders.example/hook",
        "  trigger: {events: [purchase], when: \"true\"}",
    );
    assert!(good.contains(old));
    good.replace(old, new)
}

/// Each mistake: what it is, the Destination's text, the text on the line to be named, the field to be named.
fn mistakes() -> Vec<(&'static str, String, &'static str, &'static str)> {
    vec![
        (
            "an unknown field",
            webhook_with("events: [purchase]", "event: [purchase]"),
            "event: [",
            "spec.trigger.event",
        ),
        (
            "two vendor blocks",
            webhook_with("  webhook:", "  pubSub: {project: demo, topic: orders}\n  webhook:"),
            "",
            "spec",
        ),
        (
            "a wrong type",
            webhook_with("[purchase]", "7"),
            "events: 7",
            "spec.trigger.events",
        ),
        (
            "CEL that does not compile",
            webhook_with("\"true\"", "\"event.value >\""),
            "event.value >",
            "spec.trigger.when",
        ),
        (
            "CEL that is no bool",
            webhook_with("\"true\"", "\"size(event.items)\""),
            "size(",
            "spec.trigger.when",
        ),
        (
            "a container that is not there",
            webhook_with("{name: shop}]", "{name: shoe}]"),
            "shoe",
            "spec.containerRefs",
        ),
        (
            "a key that the Secret lacks",
            webhook_with(
                "https://orders.example/hook\"",
                "https://orders.example/hook\", hmac: {secretKeyRef: {name: given, key: absent}}",
            ),
            "absent",
            "spec.webhook.hmac",
        ),
    ]
}

const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: given}\nstringData: {present: x}\n";

#[test]
fn each_mistake_is_named_with_file_line_and_field() {
    for (what, text, on_line, field) in mistakes() {
        let manifests = Manifests::new()
            .container("")
            .file("secret.yaml", SECRET)
            .file("orders.yaml", &text);
        let (code, said) = check(manifests.path(), &[]);
        assert_eq!(code, Some(1), "{what}: {said}");
        let line = text
            .lines()
            .position(|line| !on_line.is_empty() && line.contains(on_line));
        let place = line.map_or_else(|| "orders.yaml:".to_owned(), |line| format!("orders.yaml:{}", line + 1));
        assert!(said.contains(&place), "{what}: {place} is not in\n{said}");
        assert!(said.contains(field), "{what}: {field} is not in\n{said}");
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let mut manifests = Manifests::new().container("").file("secret.yaml", SECRET);
    let mistakes = mistakes();
    for (number, (_, text, ..)) in mistakes.iter().enumerate() {
        manifests = manifests.file(
            &format!("mistake-{number}.yaml"),
            &text.replace(
                "metadata: {name: orders}",
                &format!("metadata: {{name: orders-{number}}}"),
            ),
        );
    }
    let (code, said) = check(manifests.path(), &[]);
    assert_eq!(code, Some(1));
    for (number, (what, ..)) in mistakes.iter().enumerate() {
        assert!(
            said.contains(&format!("mistake-{number}.yaml:")),
            "{what} is not in\n{said}"
        );
    }
}

#[test]
fn a_secret_that_is_nowhere_is_a_warning_unless_strict() {
    let text = webhook_with(
        "https://orders.example/hook\"",
        "https://orders.example/hook\", hmac: {secretKeyRef: {name: elsewhere, key: hmac}}",
    );
    let manifests = Manifests::new().container("").file("orders.yaml", &text);
    let (code, said) = check(manifests.path(), &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("elsewhere"), "{said}");
    let (code, said) = check(manifests.path(), &["--strict"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("elsewhere") && said.contains("orders.yaml:"), "{said}");
}

#[test]
fn serve_refuses_to_start_with_a_mistake_and_names_it() {
    let manifests = Manifests::new().container("  bufer: {memory: {}}");
    let (code, log) = Setup::new(manifests.path()).start_and_fail();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("shop.yaml:") && log.contains("spec.bufer"), "{log}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    assert_eq!(gateway::run(&["serve", "--no-such-flag"]).status.code(), Some(2));
    assert_eq!(gateway::run(&["check"]).status.code(), Some(2));
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let manifests = Manifests::new().container("");
    let (code, log) = Setup::new(manifests.path()).listen(address).start_and_fail();
    assert_ne!(code, Some(0), "{log}");
    assert!(log.contains(&address.to_string()), "{log}");
    assert!(log.contains("in use"), "{log}");
}

#[test]
fn a_second_gateway_on_the_same_port_or_data_folder_is_refused() {
    let manifests = Manifests::new().container("");
    let first = Setup::new(manifests.path()).start();
    let (code, log) = Setup::new(manifests.path()).listen(first.address()).start_and_fail();
    assert_ne!(code, Some(0), "two gateways share a port: {log}");
    let (code, log) = Setup::new(manifests.path()).data(first.data()).start_and_fail();
    assert_ne!(code, Some(0), "two gateways share a log: {log}");
    assert!(log.contains(first.data().to_str().unwrap()), "{log}");
    assert_eq!(first.hit("page_view", "undisturbed", ""), 204);
}

#[test]
fn a_data_folder_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("not-a-folder");
    fs::write(&file, "").unwrap();
    let manifests = Manifests::new().container("");
    let (code, log) = Setup::new(manifests.path()).data(&file.join("data")).start_and_fail();
    assert_ne!(code, Some(0), "{log}");
    assert!(log.contains("not-a-folder"), "{log}");
}

#[test]
fn an_oversized_body_is_413_and_hits_go_on() {
    let manifests = Manifests::new().container("");
    let gateway = Setup::new(manifests.path()).start();
    let target = "/g/collect?v=2&tid=G-TEST1&cid=1.2";

    let ten_megabytes = vec![b'x'; 10_000_000];
    assert_eq!(gateway.post(target, &[], &ten_megabytes).status, 413);

    // The same without a Content-Length: it counts what comes in, not what was announced.
    let mut chunked =
        format!("POST {target} HTTP/1.1\r\nHost: metrics.shop.example\r\nTransfer-Encoding: chunked\r\n\r\n")
            .into_bytes();
    for chunk in ten_megabytes.chunks(65_536) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let answer = http::parse(&http::raw(gateway.address(), &chunked).unwrap()).unwrap();
    assert_eq!(answer.status, 413);

    assert_eq!(gateway.hit("page_view", "still-here", ""), 204);
}

#[test]
fn a_million_parameters_are_answered_quickly() {
    let manifests = Manifests::new().container("");
    let gateway = Setup::new(manifests.path()).start();

    let in_body = "en=a&".to_owned() + &"a=1&".repeat(1_000_000);
    assert_eq!(
        gateway
            .post("/g/collect?v=2&tid=G-TEST1&cid=1.2", &[], in_body.as_bytes())
            .status,
        413
    );

    let in_query = format!(
        "GET /g/collect?v=2&tid=G-TEST1&en=a&{} HTTP/1.1\r\nHost: x\r\n\r\n",
        "a&".repeat(1_000_000)
    );
    // Refused before it is read to its end, so that the sender may find the connection reset.
    if let Ok(answer) = http::raw(gateway.address(), in_query.as_bytes()) {
        let status = http::parse(&answer).unwrap().status;
        assert!([400, 414, 431].contains(&status), "{status}");
    }

    // As many as the limit of 128 KiB lets in, all different: nothing in their handling may be quadratic. More than an
    // event may have are refused, with a word; as many as it may have, over and over in a batch, are taken.
    let start = Instant::now();
    let parameters = |count: u32| -> String { (0..count).map(|number| format!("&ep.{number:x}=1")).collect() };
    let target = "/g/collect?v=2&tid=G-TEST1&cid=1.2";
    let one = gateway.post(target, &[], format!("en=many{}", parameters(12_000)).as_bytes());
    assert_eq!(one.status, 400);
    assert!(one.text().contains("parameters"), "{}", one.text());
    let line = format!("en=many{}\n", parameters(900));
    assert_eq!(gateway.post(target, &[], line.repeat(14).as_bytes()).status, 204);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(gateway.hit("page_view", "still-here", ""), 204);
}

#[test]
fn invalid_utf8_is_taken_and_arrives_as_valid_json() {
    let sink = Sink::start();
    let manifests = Manifests::new().container("").webhook("orders", &sink.url(), "");
    let gateway = Setup::new(manifests.path()).start();

    assert_eq!(gateway.hit("page_view", "percent", "ep.note=a%ff%feb&ep.%c3=1"), 204);
    let body = b"en=page_view&ep.event_id=raw&ep.note=a\xff\xfeb&\xff\xff=\xc3\x28";
    assert_eq!(
        gateway.post("/g/collect?v=2&tid=G-TEST1&cid=1.2", &[], body).status,
        204
    );

    sink.wait_for_ids(2, PATIENCE);
    for event in sink.events() {
        let note = event["note"].as_str().unwrap();
        assert!(note.starts_with('a') && note.ends_with('b'), "{note:?}");
    }
}

#[test]
fn requests_that_are_no_hits_are_refused_with_one_line_that_says_why() {
    let manifests = Manifests::new().container("");
    let gateway = Setup::new(manifests.path()).start();
    for (target, status) in [
        ("/g/collect?tid=G-TEST1&en=page_view", 400),
        ("/g/collect?v=2&en=page_view", 400),
        ("/g/collect?v=2&tid=G-TEST1", 400),
        ("/g/collect?v=2&tid=G-OTHER&en=page_view", 403),
        ("/no/such/path", 404),
    ] {
        let answer = gateway.get(target);
        assert_eq!(answer.status, status, "{target}: {}", answer.text());
        assert!(
            answer.text().trim_end().lines().count() <= 1,
            "{target}: {}",
            answer.text()
        );
        if status == 400 {
            assert!(!answer.text().trim().is_empty(), "{target} is refused without a word");
        }
    }
}

/// A clock that the test sets, by libfaketime; the monotonic clock is left alone, as when an administrator sets the time.
#[test]
fn a_clock_set_back_loses_nothing() {
    let library = ["x86_64", "aarch64"]
        .map(|machine| format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1"))
        .into_iter()
        .find(|path| Path::new(path).exists());
    let Some(library) = library else {
        return skip::skip(
            "a clock set back",
            "libfaketime is not installed (apt-get install faketime)",
        );
    };
    let dir = tempfile::tempdir().unwrap();
    let clock = dir.path().join("clock");
    fs::write(&clock, "+1d").unwrap();
    let mut sink = Sink::start();
    let manifests = Manifests::new().container("").webhook(
        "orders",
        &sink.url(),
        "  delivery: {batch: {maxDelay: 100ms}, retry: {initialBackoff: 100ms, maxBackoff: 500ms}}",
    );
    let mut gateway = Setup::new(manifests.path())
        .env("LD_PRELOAD", &library)
        .env("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap())
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start();

    // Tomorrow: one event is delivered, ten wait.
    assert_eq!(gateway.hit("page_view", "tomorrow-delivered", ""), 204);
    sink.wait_for_ids(1, PATIENCE);
    sink.kill();
    for number in 0..10 {
        assert_eq!(gateway.hit("page_view", &format!("tomorrow-{number}"), ""), 204);
    }
    // Today again, while it runs, and once more after a kill.
    fs::write(&clock, "+0").unwrap();
    assert_eq!(gateway.hit("page_view", "today-running", ""), 204);
    gateway.kill();
    gateway.restart();
    assert_eq!(gateway.hit("page_view", "today-restarted", ""), 204);
    let lag = gateway
        .metrics()
        .count("tagfleet_delivery_lag_seconds", &[("destination", "orders")]);
    assert!((0.0..90_000.0).contains(&lag), "{lag}");
    sink.restart();
    sink.wait_for_ids(13, PATIENCE);
    wait::until_true("the books are closed", PATIENCE, || gateway.imbalance("orders") == 0.0);

    let seconds = |id: &str| {
        let event = sink.events().into_iter().find(|event| event["event_id"] == id).unwrap();
        event["timestamp_ms"].as_i64().unwrap() / 1000
    };
    let set_back = seconds("tomorrow-0") - seconds("today-running");
    assert!(
        (86_000..87_000).contains(&set_back),
        "the test did set the clock back: {set_back}"
    );
}
