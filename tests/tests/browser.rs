//! A real browser, a page of another subdomain, and GA4 client libraries from npm.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{net::SocketAddr, process::Command, time::Duration};

use serde_json::Value;
use tagfleet_tests::{process, quickstart::Quickstart, shop::Shop, skip, wait};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn hits_of_a_page_on_another_subdomain_arrive_with_their_tracking_cookies_only() {
    let browser = process::repository().join("tests/browser");
    if !browser.join("node_modules/playwright-core").exists() {
        return skip::skip("browser", "tests/browser/node_modules is missing (npm ci)");
    }
    let demo = Quickstart::start();
    // The page is at www.shop.example, the gateway at metrics.shop.example: two origins of one site, both on loopback.
    let port = demo.gateway.address().port();
    let shop = Shop::start(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        &format!("http://metrics.shop.example:{port}"),
        demo.watched(),
    );
    let page = format!("http://www.shop.example:{}/", shop.address().port());

    let output = Command::new("node")
        .arg(browser.join("visit.mjs"))
        .args(["--page", &page, "--map", "MAP *.shop.example 127.0.0.1"])
        .output()
        .expect("node");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let seen: Value = serde_json::from_slice(&output.stdout).expect("the visit's report");

    // The browser got an answer to every hit, and a script of the page may read it (CORS with credentials).
    let hits = seen["hits"].as_array().unwrap();
    assert!(hits.len() >= 6, "{seen}");
    assert!(hits.iter().all(|hit| hit["status"] == 204), "{seen}");
    assert_eq!(
        (&seen["readable"]["type"], &seen["readable"]["status"]),
        (&"cors".into(), &204.into()),
        "{seen}"
    );
    assert_eq!(seen["errors"], Value::Array(Vec::new()));

    // Both purchases came to the shop's system, with the visitor's `_ga` cookie in event.cookies and no other cookie.
    let orders = wait::until("two purchases", PATIENCE, || {
        Some(demo.orders.events()).filter(|events| events.len() >= 2)
    });
    let cookie = seen["cookies"]["_ga"].as_str().unwrap();
    for order in &orders {
        assert_eq!(order["cookies"]["_ga"], cookie, "{order}");
        assert!(cookie.ends_with(order["client_id"].as_str().unwrap()), "{order}");
        assert!(!order.to_string().contains("secret-of-the-shop"), "{order}");
        assert_eq!(order["page_location"], page);
        assert_eq!(order["page_hostname"], "www.shop.example");
        assert!(order["user_agent"].as_str().unwrap().contains("Chrome"), "{order}");
        assert_eq!((&order["currency"], &order["value"]), (&"EUR".into(), &19.5.into()));
        assert_eq!(order["items"][0]["item_id"], "BOWL-10");
        assert_eq!(order["items"][0]["price"], 19.5);
        assert_eq!(order["client_hints"]["mobile"], false, "{order}");
        let brands = order["client_hints"]["full_version_list"]
            .as_array()
            .expect("the brands of the browser");
        assert!(brands.iter().any(|brand| brand["brand"] == "Chromium"), "{order}");
    }
    assert_eq!(orders[1]["items"][0]["promotion_id"], "AUTUMN");
    assert_eq!(
        orders[1]["items"][0]["glaze"], "matt",
        "an item's own parameter: {}",
        orders[1]
    );

    // The cart with three left was low on stock by the lookup table; the purchase on promotion reached its topic.
    assert_eq!(
        demo.pubsub.wait_for("low-stock", 1, PATIENCE)[0].data["event_name"],
        "add_to_cart"
    );
    assert_eq!(demo.pubsub.wait_for("promotions", 1, PATIENCE).len(), 1);

    // Google Analytics got what both libraries sent: page_view and user_engagement are the first one's own.
    wait::until_true("page_view and user_engagement in Google Analytics", PATIENCE, || {
        let names: Vec<Value> = demo
            .analytics
            .requests()
            .iter()
            .flat_map(|r| r.events())
            .map(|event| event["name"].clone())
            .collect();
        ["page_view", "user_engagement", "view_item", "fetched"]
            .iter()
            .all(|name| names.contains(&(*name).into()))
    });
}
