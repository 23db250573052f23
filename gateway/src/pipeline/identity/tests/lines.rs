//! Settings, domains, and hostile values.

use proptest::prelude::*;
use tagfleet_crds::tagging_container::CLICK_ID_COOKIES;
use tagfleet_expressions::Value;

use super::*;

#[test]
fn every_property_can_be_set_for_each_cookie() {
    let answer = shop(json!({"cookie": {}, "clickIds": true, "cookies": [
        {"name": "FPID", "maxAgeDays": 7, "httpOnly": false, "sameSite": "None"},
        {"name": "_fbp", "maxAgeDays": 400, "httpOnly": true, "sameSite": "Strict", "domain": "metrics.shop.example"},
        {"name": "_ttp", "set": false},
    ]}))
    .answer(&Hit::default(), &[page_view(Some(CID))]);
    assert_eq!(answer.names(), ["FPID", "_fbp", "_scid"]);
    let attributes = |name: &str| {
        let cookie = answer.cookie(name).unwrap();
        ["Max-Age", "HttpOnly", "SameSite", "Domain", "Secure"].map(|attribute| cookie.attribute(attribute))
    };
    assert_eq!(
        attributes("FPID"),
        [Some("604800"), None, Some("None"), Some("shop.example"), Some("")]
    );
    assert_eq!(
        attributes("_fbp"),
        [
            Some("34560000"),
            Some(""),
            Some("Strict"),
            Some("metrics.shop.example"),
            Some("")
        ]
    );
    assert!(
        answer.value("_fbp").unwrap().starts_with("fb.2."),
        "its domain has three labels"
    );
}

#[test]
fn an_fpid_that_is_not_to_be_set_is_read_where_there_is_one() {
    let shop = shop(json!({"cookie": {}, "cookies": [{"name": "FPID", "set": false}]}));
    let known = shop.answer(&Hit::with(&format!("FPID={FPID}")), &[page_view(Some(CID))]);
    assert_eq!((known.client_id(), known.names().len()), (Some(FPID_ID), 0));
    let unknown = shop.answer(&Hit::default(), &[page_view(Some(CID))]);
    assert_eq!((unknown.client_id(), unknown.names().len()), (Some(CID), 0));
}

#[test]
fn the_domain_is_the_registrable_one_of_the_host() {
    let shop =
        shop(json!({"cookie": {}, "cookies": [{"name": "FPID", "domain": "metrics.shop.example"}], "clickIds": true}));
    for (host, of_fpid, labels, of_fbp) in [
        (
            "metrics.shop.example",
            Some("metrics.shop.example"),
            "3",
            Some("shop.example"),
        ),
        (
            "METRICS.Shop.Example:8443",
            Some("metrics.shop.example"),
            "3",
            Some("shop.example"),
        ),
        (
            "a.metrics.shop.example",
            Some("metrics.shop.example"),
            "3",
            Some("shop.example"),
        ),
        // A domain that the host is not of: no browser would take it.
        ("t.shop.co.uk", Some("shop.co.uk"), "3", Some("shop.co.uk")),
        (
            "notmetrics.shop.example",
            Some("shop.example"),
            "2",
            Some("shop.example"),
        ),
        ("shop.github.io", Some("shop.github.io"), "3", Some("shop.github.io")),
        // Of these none can be set: the cookie is the host's own.
        ("github.io", None, "2", None),
        ("co.uk", None, "2", None),
        ("localhost:8080", None, "1", None),
        ("127.0.0.1:8080", None, "1", None),
        ("[::1]:8080", None, "1", None),
        ("shop.example; Domain=evil.test", None, "1", None),
    ] {
        let answer = shop.answer(&Hit::at(host), &[page_view(Some(CID))]);
        assert_eq!(answer.cookie("FPID").unwrap().attribute("Domain"), of_fpid, "{host}");
        assert_eq!(answer.cookie("_fbp").unwrap().attribute("Domain"), of_fbp, "{host}");
        assert_eq!(answer.value("FPID").unwrap().split('.').nth(1), Some(labels), "{host}");
    }
}

#[test]
fn values_that_no_cookie_can_have_are_not_set() {
    let shop = shop(json!({"clickIds": true}));
    let long = "x".repeat(601);
    for hostile in [
        "a; Domain=evil.test",
        "a\r\nSet-Cookie: x=y",
        "a b",
        "a,b",
        "a\"b",
        "a\\b",
        "\u{e9}",
        "a\0",
        "",
        &long,
    ] {
        let event = landing(json!({"gclid": hostile, "fbclid": hostile, "msclkid": hostile, "twclid": hostile}));
        assert_eq!(
            shop.answer(&Hit::default(), &[event]).names(),
            ["_fbp", "_ttp", "_scid"],
            "{hostile:?}"
        );
        let given = json!({"event_name": "page_view", "cookies": {"_fbp": hostile, "_ttp": "t", "_scid": "s"}});
        let answer = shop.answer(&Hit::default(), &[given]);
        assert_eq!(answer.value("_fbp").is_some(), hostile.is_empty(), "{hostile:?}");
    }
}

#[test]
fn an_answer_is_never_larger_than_proxies_let_pass() {
    let id = "x".repeat(512);
    let ids: serde_json::Map<String, Json> = [
        "fbclid",
        "gclid",
        "dclid",
        "wbraid",
        "gbraid",
        "ttclid",
        "li_fat_id",
        "epik",
        "msclkid",
    ]
    .map(|name| (name.to_owned(), id.as_str().into()))
    .into_iter()
    .collect();
    let answer = shop(json!({"cookie": {}, "clickIds": true})).answer(&Hit::default(), &[landing(ids.into())]);
    let bytes: usize = answer.cookies.iter().map(|cookie| cookie.value.len()).sum();
    assert!((1_500..3_072).contains(&bytes), "{bytes}");
    assert_eq!(answer.names()[0], "FPID", "the visitor's own id comes first");
}

#[test]
fn of_several_events_the_first_decides_on_each_cookie() {
    let first = landing(json!({"gclid": "one"}));
    let second = landing(json!({"gclid": "two", "ttclid": "t"}));
    let answer = shop(json!({"clickIds": true})).answer(&Hit::default(), &[first, second]);
    assert_eq!(answer.value("_gcl_aw"), Some("GCL.1768476420.one"));
    assert_eq!(answer.value("ttclid"), Some("t"));
    assert_eq!(answer.names().iter().filter(|name| **name == "_gcl_aw").count(), 1);
}

proptest! {
    /// Whatever the host, the URL's click ids, the client id and the Cookie header: every line is one well-formed cookie
    /// of ours, and what it says of an id is read back ([`Cookie::read`] insists on both).
    #[test]
    fn every_line_is_a_well_formed_cookie(
        host in prop_oneof!["[a-z.:0-9-]{0,40}", "[ -~]{0,40}", Just("t.shop.example".to_owned())],
        cookies in prop_oneof![
            prop::collection::vec(prop_oneof![32_u8..127, 128_u8..], 0..200),
            "((FPID|_fbp|_fbc|_gcl_aw|_ttp)=[ -~]{0,30}; ){0,5}".prop_map(String::into_bytes),
        ],
        id in prop_oneof!["[!-~]{0,40}", "\\PC{0,40}", "[\\x00-\\x7f]{0,40}"],
        client_id in prop::option::of("[\\x00-\\x7f]{0,40}|\\PC{0,40}"),
    ) {
        let (Ok(host), Ok(cookies)) = (HeaderValue::from_str(&host), HeaderValue::from_bytes(&cookies)) else {
            return Ok(());
        };
        let hit = Hit { host, cookies: Some(cookies), ..Hit::default() };
        let mut event = landing(json!({"fbclid": id, "gclid": id, "gbraid": id, "msclkid": id, "twclid": id}));
        if let Some(client_id) = client_id {
            event["client_id"] = client_id.into();
        }
        let shop = shop_with_key(
            json!({"cookie": {}, "clickIds": true, "linker": {"key": secret_ref()}}),
            Some(KEY),
        );
        let answer = shop.answer(&hit, &[event]);
        let known = |name: &str| matches!(name, "FPID" | "FPLC") || CLICK_ID_COOKIES.contains(&name);
        for cookie in &answer.cookies {
            prop_assert!(known(&cookie.name), "{:?}", cookie);
            prop_assert_eq!(cookie.attribute("Secure"), Some(""));
        }
        prop_assert!(Fpid::parse(answer.value("FPID").unwrap()).is_some());
        if let Some(value) = answer.value("twclid") {
            prop_assert_eq!(value, id.as_str());
        }
        let cookies = answer.events[0].get(field::COOKIES).and_then(Value::as_map).unwrap();
        prop_assert!(cookies.contains("FPID"));
    }
}
