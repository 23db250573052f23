//! A real browser on two subdomains of one site: the cookies that the gateway sets, as the browser keeps them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::BTreeMap, process::Command, time::Duration};

use serde_json::{Value, json};
use tagfleet_tests::{gateway::Setup, manifests::Manifests, process, sink::Sink, skip, wait};

const PATIENCE: Duration = Duration::from_secs(20);

const SPEC: &str =
    "  identity: {cookie: {}, clickIds: true, linker: {key: {secretKeyRef: {name: shop-secrets, key: linker}}}}";
const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: shop-secrets}\nstringData: {linker: \
                      0123456789abcdef0123456789abcdef}\n";

#[test]
fn chromium_keeps_the_cookies_with_their_flags_and_lives_and_none_for_a_visitor_who_refused() {
    let browser = process::repository().join("tests/browser");
    if !browser.join("node_modules/playwright-core").exists() {
        return skip::skip("browser_cookies", "tests/browser/node_modules is missing (npm ci)");
    }
    let orders = Sink::start();
    let manifests = Manifests::new()
        .container(SPEC)
        .file("secrets.yaml", SECRET)
        .webhook("orders", &orders.url(), "");
    let gateway = Setup::new(manifests.path()).start();
    let port = gateway.address().port();

    let output = Command::new("node")
        .arg(browser.join("cookies.mjs"))
        .args(["--shop", &format!("http://www.shop.example:{port}")])
        .args(["--gateway", &format!("http://metrics.shop.example:{port}")])
        .args(["--map", "MAP *.shop.example 127.0.0.1"])
        .output()
        .expect("node");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let seen: Value = serde_json::from_slice(&output.stdout).expect("the visit's report");
    assert_eq!(seen["statuses"], json!([204, 204, 204]));

    // Nothing for who refused.
    assert_eq!(seen["denied"], json!([]));

    // Each as Chromium keeps it: name, readable by scripts, life in days.
    let cookies: BTreeMap<&str, &Value> = seen["granted"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cookie| (cookie["name"].as_str().unwrap(), cookie))
        .collect();
    let expected = [
        ("FPID", false, 400.0),
        ("FPLC", true, 20.0 / 24.0),
        ("_fbc", true, 90.0),
        ("_fbp", true, 90.0),
        ("_gcl_aw", true, 90.0),
        ("_scid", true, 395.0),
        ("_ttp", true, 395.0),
        ("twclid", false, 90.0),
    ];
    let names: Vec<_> = cookies.keys().copied().collect();
    assert_eq!(names, expected.map(|(name, ..)| name));
    let before = seen["before"].as_f64().unwrap();
    let sent = seen["sent"].as_str().unwrap();
    let readable = seen["readable"].as_str().unwrap();
    for (name, is_readable, days) in expected {
        let cookie = cookies[name];
        assert_eq!(cookie["domain"], ".shop.example", "{cookie}");
        assert_eq!(cookie["path"], "/", "{cookie}");
        assert_eq!(cookie["secure"], true, "{cookie}");
        assert_eq!(cookie["sameSite"], "Lax", "{cookie}");
        assert_eq!(cookie["httpOnly"], !is_readable, "{cookie}");
        let life = cookie["expires"].as_f64().unwrap() - before;
        assert!((life - days * 86_400.0).abs() < 60.0, "{days} days: {cookie}");
        // The other subdomain gets it, and a script there sees it if it may.
        let pair = format!(
            "{name}={}",
            if name == "FPLC" {
                ""
            } else {
                cookie["value"].as_str().unwrap()
            }
        );
        assert!(sent.contains(&pair), "{pair} in {sent}");
        assert_eq!(
            readable.contains(&format!("{name}=")),
            is_readable,
            "{name} in {readable}"
        );
    }

    // The first event has the cookies that it set; the second, without an id of its own, is FPID's.
    let events = wait::until("three events", PATIENCE, || {
        Some(orders.events()).filter(|events| events.len() >= 3)
    });
    let event = |id: &str| events.iter().find(|event| event["event_id"] == id).expect(id);
    assert_eq!(event("denied").get("cookies"), None);
    let first = event("first");
    assert_eq!(first["client_id"], "1506821430.1730448757");
    for name in ["FPID", "_fbc", "_fbp", "_gcl_aw", "twclid"] {
        assert_eq!(first["cookies"][name], cookies[name]["value"], "{name}");
    }
    let second = event("second");
    assert_eq!(second["cookies"]["FPID"], cookies["FPID"]["value"]);
    let id = second["client_id"].as_str().unwrap();
    assert!(id.ends_with("=.1730448757"), "made of the first hit's client id: {id}");
}
