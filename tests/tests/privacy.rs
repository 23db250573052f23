//! The contract's example (examples/kubernetes) as it is written, served from its files: what a visitor agreed to decides who
//! hears of them, what a destination shall not see it does not get, bots and repeats go nowhere, and cookies are set only with
//! consent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use serde_json::Value;
use tagfleet_tests::{
    gateway::{self, Gateway, Setup},
    http::{self, Response},
    manifests::Manifests,
    process,
    pubsub::PubSub,
    sink::Sink,
    vendors::{CREDENTIALS, Vendors},
    wait,
};

const PATIENCE: Duration = Duration::from_secs(20);
const CHROME: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
/// A purchase with an e-mail address, of a visitor whom a click on an advertisement led here.
const PURCHASE: &str = "en=purchase&cu=EUR&epn.value=72.05&ep.transaction_id=T-1001&sr=2560x1440&uap=Linux&\
                        ep.user_data.email_address=jane%40shop.example&pr1=idBOWL-10~pr33.03~qt2~piSPRING&\
                        dl=https%3A%2F%2Fshop.example%2Fthanks%3Fgclid%3DTEST-gclid-1%26fbclid%3DTEST-fbclid-1";
const AGREED: &str = "gcs=G111&gcd=13t3t3t3t5l1";
const DENIED: &str = "gcs=G100&gcd=13p3p3p3p5l1";

/// The example with its outside addresses replaced by doubles, and everything else as it stands.
struct Shop {
    gateway: Gateway,
    analytics: Sink,
    orders: Sink,
    vendors: Vendors,
    pubsub: PubSub,
    _manifests: Manifests,
}

impl Shop {
    fn open() -> Self {
        let analytics = Sink::analytics();
        let orders = Sink::with_secret("example-hmac-secret");
        let vendors = Vendors::start();
        let pubsub = PubSub::start(&["demo/low-stock", "demo/promotions"]);
        let endpoint = |block: &str, url: &str| format!("{block}: {{endpoint: \"{url}\", ");
        let manifests = Manifests::example(
            "kubernetes",
            &[
                ("https://orders.shop.example", &orders.url()),
                (
                    "ga4: {measurementId:",
                    &(endpoint("ga4", &analytics.url()) + "measurementId:"),
                ),
                ("metaConversions: {", &endpoint("metaConversions", &vendors.url())),
                ("example-meta-token", CREDENTIALS),
            ],
        );
        let gateway = Setup::new(manifests.path())
            .env("PUBSUB_EMULATOR_HOST", &pubsub.emulator_host())
            .start();
        Self {
            gateway,
            analytics,
            orders,
            vendors,
            pubsub,
            _manifests: manifests,
        }
    }

    /// A browser's hit.
    fn hit(&self, browser: &str, id: &str, parameters: &str, cookies: &str) -> Response {
        let target = format!("/g/collect?v=2&tid=G-TEST1&cid=1506821430.1730448757&ep.event_id={id}&{parameters}");
        let headers = [
            ("Host", "metrics.shop.example"),
            ("User-Agent", browser),
            ("Accept-Language", "de-DE,de;q=0.9"),
            ("X-Forwarded-For", "203.0.113.77"),
            ("Cookie", cookies),
        ];
        let answer = http::request(self.gateway.address(), "GET", &target, &headers, b"").unwrap();
        assert_eq!(answer.status, 204, "{}", answer.text());
        answer
    }

    fn events(&self, outcome: &str) -> f64 {
        self.gateway
            .metrics()
            .count("tagfleet_events_total", &[("client", "web"), ("outcome", outcome)])
    }

    fn wait_for_order(&self, id: &str) -> Value {
        wait::until("the order", PATIENCE, || {
            let events = self.orders.events();
            events.into_iter().find(|event| event["event_id"] == id)
        })
    }

    fn assert_books_are_closed(&self) {
        for destination in ["analytics", "meta", "low-stock", "promotions", "orders"] {
            assert_eq!(self.gateway.imbalance(destination), 0.0, "{destination}");
        }
    }
}

fn cookies_of(answer: &Response) -> Vec<String> {
    let set = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
    set.map(|(_, value)| value.clone()).collect()
}

#[test]
fn check_finds_no_mistake_in_the_contracts_example() {
    let example = process::repository().join("examples/kubernetes");
    let output = gateway::run(&["check", "--strict", example.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
}

#[test]
fn a_visitor_who_agreed_is_reported_to_all_and_each_sees_its_own_view() {
    let shop = Shop::open();
    let answer = shop.hit(
        CHROME,
        "agreed",
        &format!("{AGREED}&{PURCHASE}"),
        "session=topsecret; _ga=GA1.1.1506821430.1730448757",
    );

    // The orders service gets the order, with the address hashed and nothing to tell the browser by.
    let order = shop.wait_for_order("agreed");
    assert_eq!(order["transaction_id"], "T-1001");
    // sha256("jane@shop.example"), by `printf jane@shop.example | sha256sum`.
    assert_eq!(
        order["user_data"]["email_address"][0],
        "8911f29841d783b75058ae550fa169b290686b5e0c51aab805c85b885a963700"
    );
    assert!(
        order.get("screen_resolution").is_none() && order.get("client_hints").is_none(),
        "{order}"
    );
    assert_eq!(order["ip_override"], "203.0.113.0");

    // Meta, which needs consent, gets it too, with the click id that the landing URL brought.
    let meta = wait::until("Meta's event", PATIENCE, || {
        shop.vendors.events("metaConversions").pop()
    });
    assert_eq!(meta["event_name"], "Purchase");
    let fbc = meta["user_data"]["fbc"].as_str().unwrap();
    assert!(fbc.starts_with("fb.1.") && fbc.ends_with(".TEST-fbclid-1"), "{fbc}");
    assert_eq!(shop.pubsub.wait_for("promotions", 1, PATIENCE).len(), 1);

    // No cookie but the tracking ones, and the full address nowhere.
    let all = format!("{order}{meta}{:?}", shop.analytics.requests());
    assert!(!all.contains("topsecret") && !all.contains("203.0.113.77"), "{all}");
    assert!(!shop.gateway.log().contains("jane@shop.example"));

    // The server's own cookies.
    let cookies = cookies_of(&answer);
    let of = |name: &str| {
        let found = cookies.iter().find(|cookie| cookie.starts_with(&format!("{name}=")));
        found.unwrap_or_else(|| panic!("{name}: {cookies:#?}")).clone()
    };
    let fpid = of("FPID");
    assert!(
        fpid.starts_with("FPID=FPID2.2.") && fpid.contains(".1730448757;"),
        "{fpid}"
    );
    for attribute in [
        "Domain=shop.example",
        "Path=/",
        "Secure",
        "HttpOnly",
        "SameSite=Lax",
        "Max-Age=34560000",
    ] {
        assert!(fpid.contains(attribute), "{attribute}: {fpid}");
    }
    assert!(of("_gcl_aw").contains(".TEST-gclid-1;"));
    assert!(of("_fbc").contains(".TEST-fbclid-1;"));
    shop.assert_books_are_closed();
}

#[test]
fn a_visitor_who_refused_is_reported_to_nobody_who_needs_consent_and_gets_no_cookie() {
    let shop = Shop::open();
    let answer = shop.hit(CHROME, "refused", &format!("{DENIED}&{PURCHASE}"), "");
    assert_eq!(cookies_of(&answer), Vec::<String>::new());
    shop.wait_for_order("refused");
    wait::until_true("the refusals are counted", PATIENCE, || {
        shop.gateway.deliveries("meta", "consent_denied") == 1.0
            && shop.gateway.deliveries("analytics", "consent_denied") == 1.0
    });
    assert_eq!(shop.vendors.stats("metaConversions").requests, 0);
    assert_eq!(shop.analytics.stats().requests, 0);
    shop.assert_books_are_closed();
}

#[test]
fn where_the_hit_says_nothing_the_containers_default_holds() {
    let shop = Shop::open();
    let answer = shop.hit(CHROME, "silent", PURCHASE, "");
    // consent.default: analytics_storage is granted, ad_storage denied.
    let names: Vec<String> = cookies_of(&answer)
        .iter()
        .filter_map(|cookie| Some(cookie.split_once('=')?.0.to_owned()))
        .collect();
    assert_eq!(names, ["FPID"]);
    wait::until_true("analytics has it", PATIENCE, || shop.analytics.stats().events == 1);
    wait::until_true("Meta does not get it", PATIENCE, || {
        shop.gateway.deliveries("meta", "consent_denied") == 1.0
    });
    shop.assert_books_are_closed();
}

#[test]
fn bots_are_dropped_and_counted() {
    let shop = Shop::open();
    let answer = shop.hit(GOOGLEBOT, "bot", &format!("{AGREED}&{PURCHASE}"), "");
    assert_eq!(cookies_of(&answer), Vec::<String>::new());
    shop.hit(CHROME, "person", &format!("{AGREED}&{PURCHASE}"), "");
    shop.wait_for_order("person");
    assert_eq!((shop.events("bot"), shop.events("accepted")), (1.0, 1.0));
    assert_eq!(shop.orders.events().len(), 1);
    shop.assert_books_are_closed();
}

#[test]
fn a_repeat_is_dropped_also_after_the_process_was_killed() {
    let mut shop = Shop::open();
    let purchase = format!("{AGREED}&{PURCHASE}");
    shop.hit(CHROME, "once", &purchase, "");
    shop.hit(CHROME, "once", &purchase, "");
    shop.wait_for_order("once");
    assert_eq!(shop.events("duplicate"), 1.0);

    shop.gateway.kill();
    shop.gateway.restart();
    shop.hit(CHROME, "once", &purchase, "");
    shop.hit(CHROME, "other", &purchase, "");
    shop.wait_for_order("other");
    assert_eq!((shop.events("duplicate"), shop.events("accepted")), (1.0, 1.0));
    assert_eq!(shop.orders.ids().get("once"), Some(&1));
    shop.assert_books_are_closed();
}
