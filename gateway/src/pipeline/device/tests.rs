#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::testing;

/// `event.device` of an event with these fields.
fn device(event: Json) -> Json {
    let mut event = testing::record(event).event;
    enrich(&mut event);
    event
        .get("device")
        .map_or(Json::Null, |device| serde_json::to_value(device).unwrap())
}

#[test]
fn a_user_agent_shows_browser_system_and_device() {
    for (agent, expected) in [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 \
             Safari/537.36 Edg/131.0.2903.86",
            json!({"category": "desktop", "browser": "Edge", "browser_version": "131.0.2903.86",
                "operating_system": "Windows", "operating_system_version": "10"}),
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 \
             Safari/605.1.15",
            json!({"category": "desktop", "browser": "Safari", "browser_version": "18.1", "operating_system": "macOS",
                "operating_system_version": "10.15.7", "brand": "Apple", "model": "Mac"}),
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Version/18.1 Mobile/15E148 Safari/604.1",
            json!({"category": "mobile", "browser": "Safari", "browser_version": "18.1", "operating_system": "iOS",
                "operating_system_version": "18.1", "brand": "Apple", "model": "iPhone"}),
        ),
        (
            "Mozilla/5.0 (iPad; CPU OS 16_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             CriOS/131.0.6778.73 Mobile/15E148 Safari/604.1",
            json!({"category": "tablet", "browser": "Chrome", "browser_version": "131.0.6778.73",
                "operating_system": "iOS", "operating_system_version": "16.7", "brand": "Apple", "model": "iPad"}),
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
            json!({"category": "desktop", "browser": "Firefox", "browser_version": "133.0",
                "operating_system": "Linux"}),
        ),
        // What Chrome shows of any Android phone: neither model nor version is the phone's.
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile \
             Safari/537.36",
            json!({"category": "mobile", "browser": "Chrome", "browser_version": "131.0.0.0",
                "operating_system": "Android"}),
        ),
        (
            "Mozilla/5.0 (Linux; Android 13; SM-S908B Build/TP1A.220624.014; wv) AppleWebKit/537.36 (KHTML, like \
             Gecko) Version/4.0 Chrome/130.0.6723.107 Mobile Safari/537.36 Instagram 357.1.0.52.100 Android (33/13; \
             450dpi; 1080x2125; samsung; SM-S908B; b0q; exynos2200; de_DE; 660371422)",
            json!({"category": "mobile", "browser": "Instagram", "browser_version": "357.1.0",
                "operating_system": "Android", "operating_system_version": "13", "brand": "Samsung",
                "model": "SM-S908B"}),
        ),
        (
            "Mozilla/5.0 (Linux; Android 15; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 \
             Safari/537.36",
            json!({"category": "tablet", "browser": "Chrome", "browser_version": "142.0.0.0",
                "operating_system": "Android", "operating_system_version": "15", "model": "SM-X700"}),
        ),
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            json!({"category": "bot", "browser": "Googlebot", "browser_version": "2.1"}),
        ),
        ("pets-backend/1.0", json!({"category": "other"})),
    ] {
        assert_eq!(device(json!({"user_agent": agent})), expected, "{agent}");
    }
}

#[test]
fn apps_and_televisions_have_their_category() {
    for (agent, category) in [
        (
            "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/AP2A.240905.003)",
            "mobile",
        ),
        ("ShopApp/7.2 (iPhone; iOS 18.1; Scale/3.00)", "mobile"),
        (
            "Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) Version/6.0 TV Safari/537.36",
            "other",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/131.0.0.0 Safari/537.36 Edge/44.18363.8131",
            "other",
        ),
    ] {
        let device = device(json!({"user_agent": agent}));
        assert_eq!(device.get("category"), Some(&json!(category)), "{agent}");
    }
}

#[test]
fn client_hints_win_over_the_frozen_parts_of_the_user_agent() {
    let list = json!([
        {"brand": "Not A Brand", "version": "9"}, {"brand": "Chromium", "version": "142.0.1.2"},
        {"brand": "Google Chrome", "version": "142.0.1.3"},
    ]);
    let hinted = device(json!({
        "user_agent": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile \
                       Safari/537.36",
        "client_hints": {"platform": "Android", "platform_version": "15.0.0", "mobile": true, "model": "Pixel 9",
            "full_version_list": list},
    }));
    assert_eq!(
        hinted,
        json!({"category": "mobile", "browser": "Chrome", "browser_version": "142.0.1.3", "operating_system": "Android",
            "operating_system_version": "15.0.0", "model": "Pixel 9"})
    );
    for (hint, windows) in [("15.0.0", Some("11")), ("10.0.0", Some("10")), ("0.3.0", None)] {
        let device =
            device(json!({"client_hints": {"platform": "Windows", "platform_version": hint, "mobile": false}}));
        assert_eq!(
            device.get("operating_system_version").and_then(Json::as_str),
            windows,
            "{hint}"
        );
        assert_eq!(device.get("category"), Some(&json!("desktop")));
    }
}

#[test]
fn what_the_event_states_stays_and_the_rest_is_added() {
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0";
    assert_eq!(
        device(json!({"user_agent": agent, "device": {"browser": "Pets", "brand": "Acme", "screen": "e-ink"}})),
        json!({"browser": "Pets", "brand": "Acme", "screen": "e-ink", "category": "desktop", "operating_system": "Linux"})
    );
    let mut event = testing::record(json!({"user_agent": agent, "device": "watch"})).event;
    enrich(&mut event);
    assert_eq!(event.text("x_device"), Some("watch"));
    assert!(event.get("device").and_then(Value::as_map).is_some());
}

#[test]
fn nothing_is_said_of_an_event_that_tells_nothing() {
    assert_eq!(device(json!({"event_name": "order"})), Json::Null);
    assert_eq!(device(json!({"user_agent": "", "client_hints": {}})), Json::Null);
}

proptest! {
    /// Whatever a sender calls its user agent and hints, there is a device or none, and enriching twice changes nothing.
    #[test]
    fn any_text_is_survived(agent in "\\PC{0,700}", hint in "\\PC{0,40}", mobile in any::<bool>()) {
        let mut event = testing::record(json!({
            "user_agent": agent,
            "client_hints": {"platform": hint, "platform_version": hint, "model": hint, "mobile": mobile},
        })).event;
        enrich(&mut event);
        let once = event.clone();
        enrich(&mut event);
        prop_assert_eq!(once, event);
    }
}

/// The device of a user agent alone is remembered with it.
#[test]
fn a_device_is_the_same_without_hints_and_with_none_in_them() {
    for agent in [
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 \
         Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
        "pets-backend/1.0",
        " ",
    ] {
        assert_eq!(
            device(json!({ "user_agent": agent })),
            device(json!({"user_agent": agent, "client_hints": {}})),
            "{agent}"
        );
    }
}
