#![allow(clippy::unwrap_used)]

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing;

/// What is thought of a request with these headers.
fn look_at(headers: &[(&str, &[u8])]) -> Option<Bot> {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            (
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value).unwrap(),
            )
        })
        .collect();
    look(&testing::request(&headers))
}

/// Of one that a browser with this user agent sends.
fn browser(agent: &str) -> Option<Bot> {
    look_at(&[("user-agent", agent.as_bytes()), ("accept-language", b"de-DE,de;q=0.9")])
}

const PERSONS: [&str; 19] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 \
     Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 \
     Edg/131.0.0.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 \
     OPR/115.0.0.0",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 \
     Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/21G93 \
     [FBAN/FBIOS;FBAV/492.0.0.63.110;FBBV/676310482;FBDV/iPhone14,5;FBMD/iPhone;FBSN/iOS;FBSV/17.6.1;FBSS/3;FBCR/;\
     FBID/phone;FBLC/de_DE;FBOP/80]",
    "Mozilla/5.0 (Linux; Android 13; SM-S908B Build/TP1A.220624.014; wv) AppleWebKit/537.36 (KHTML, like Gecko) \
     Version/4.0 Chrome/130.0.6723.107 Mobile Safari/537.36 Instagram 357.1.0.52.100 Android (33/13; 450dpi; \
     1080x2125; samsung; SM-S908B; b0q; exynos2200; de_DE; 660371422)",
    // What the list's own patterns would take for bots.
    "Mozilla/5.0 (Linux; Android 16; Pixel 10 Pro XL Build/CP1A.260305.018; wv) AppleWebKit/537.36 (KHTML, like Gecko) \
     Version/4.0 Chrome/146.0.7680.174 Mobile Safari/537.36 MetaIAB Facebook",
    "Mozilla/5.0 (Linux; Android 15; CPH2557 Build/AP3A.240617.008; wv) AppleWebKit/537.36 (KHTML, like Gecko) \
     Version/4.0 Chrome/142.0.7444.142 Mobile Safari/537.36 Instagram 406.0.0.58.159 Android (35/15; 480dpi)",
    "Opera/9.80 (MAUI Runtime; Opera Mini/4.4.39008/37.9178; U; en) Presto/2.12.423 Version/12.16",
    "Mozilla/5.0 (Linux; U; Android 2.2.2; zh-cn; ViewSonic-V350 Build/FRG83G) AppleWebKit/533.1 (KHTML, like Gecko) \
     Version/4.0 Mobile Safari/533.1",
    "Amazon CloudFront",
    // A phone whose name ends as bots' names do.
    "Mozilla/5.0 (Linux; Android 11; CUBOT NOTE 20) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile \
     Safari/537.36",
    // Apps.
    "ShopApp/7.2 CFNetwork/1568.200.51 Darwin/24.1.0",
    "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/AP2A.240905.003)",
    "ShopApp/7.2 (Android 14)",
];

const BOTS: [(&str, u8, &str); 18] = [
    (
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        100,
        reason::CRAWLER,
    ),
    (
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) \
         Chrome/116.0.1938.76 Safari/537.36",
        100,
        reason::CRAWLER,
    ),
    (
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        100,
        reason::CRAWLER,
    ),
    (
        "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
        100,
        reason::CRAWLER,
    ),
    (
        "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        100,
        reason::CRAWLER,
    ),
    (
        "Mozilla/5.0 (Linux; Android 11; moto g power (2022)) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 \
         Mobile Safari/537.36 Chrome-Lighthouse",
        100,
        reason::CRAWLER,
    ),
    ("Mozilla/5.0 (compatible; PetsShopBot/0.1)", 90, reason::CRAWLER),
    ("Mozilla/5.0 (pets catalogue spider)", 90, reason::CRAWLER),
    ("Mozilla/5.0 (Pets; +https://pets.example/about)", 90, reason::CRAWLER),
    (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/131.0.0.0 Safari/537.36",
        95,
        reason::AUTOMATION,
    ),
    (
        "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1",
        95,
        reason::AUTOMATION,
    ),
    ("curl/8.11.0", 80, reason::HTTP_LIBRARY),
    ("Wget/1.24.5", 80, reason::HTTP_LIBRARY),
    ("python-requests/2.32.3", 80, reason::HTTP_LIBRARY),
    ("Go-http-client/2.0", 80, reason::HTTP_LIBRARY),
    ("axios/1.7.9", 80, reason::HTTP_LIBRARY),
    // Apps use it as well.
    ("okhttp/4.12.0", 25, reason::HTTP_LIBRARY),
    // So do tools and tests.
    ("Mozilla/5.0", 30, reason::BARE_USER_AGENT),
];

#[test]
fn peoples_browsers_and_apps_are_no_bots() {
    for agent in PERSONS {
        assert_eq!(browser(agent), None, "{agent}");
    }
}

#[test]
fn bots_are_known_by_their_user_agents() {
    for (agent, score, reason) in BOTS {
        assert_eq!(browser(agent), Some(Bot { score, reason }), "{agent}");
        assert_eq!(
            browser(agent),
            Some(Bot { score, reason }),
            "{agent}, when it comes again"
        );
    }
}

#[test]
fn what_a_browser_would_not_send_speaks_for_a_bot() {
    let agent = ("user-agent", PERSONS[0].as_bytes());
    let german = ("accept-language", &b"de"[..]);
    let bare = ("user-agent", &b"Mozilla/5.0"[..]);
    for (headers, score, reason) in [
        (vec![], 60, reason::NO_USER_AGENT),
        (vec![("user-agent", &b"  "[..]), german], 60, reason::NO_USER_AGENT),
        (vec![agent], 15, reason::NO_LANGUAGE),
        (vec![bare], 45, reason::BARE_USER_AGENT),
        (vec![agent, german, ("sec-purpose", b"prefetch")], 60, reason::PREFETCH),
        (
            vec![agent, german, ("Sec-Purpose", b"Prefetch;prerender")],
            60,
            reason::PREFETCH,
        ),
        (vec![agent, german, ("x-moz", b"prefetch")], 60, reason::PREFETCH),
        (vec![agent, ("purpose", b"prefetch")], 75, reason::PREFETCH),
        (
            vec![("user-agent", b"curl/8.11.0"), ("purpose", b"prefetch")],
            100,
            reason::HTTP_LIBRARY,
        ),
    ] {
        assert_eq!(look_at(&headers), Some(Bot { score, reason }), "{headers:?}");
    }
    assert_eq!(look_at(&[agent, german, ("sec-purpose", b"navigate")]), None);
}

#[test]
fn weak_signs_make_no_bot() {
    assert!(!look_at(&[("user-agent", b"Mozilla/5.0")]).unwrap().is_taken_for_bot());
    assert!(!browser("okhttp/4.12.0").unwrap().is_taken_for_bot());
    assert!(look_at(&[]).unwrap().is_taken_for_bot());
}

#[test]
fn x_bot_is_the_gateways_word_alone() {
    let bot = |score| Bot {
        score,
        reason: reason::CRAWLER,
    };
    for (policy, found, expected) in [
        (
            BotPolicy::Mark,
            Some(bot(90)),
            Some(json!({"score": 90, "reason": "crawler"})),
        ),
        (BotPolicy::Mark, Some(bot(49)), None),
        (BotPolicy::Mark, None, None),
        (BotPolicy::Keep, None, None),
        (BotPolicy::Drop, Some(bot(49)), None),
    ] {
        let mut event = Event::new();
        event.set("x_bot", "no bot, believe me");
        mark(&mut event, found.as_ref(), policy);
        let marked = event.get("x_bot").map(|marked| serde_json::to_value(marked).unwrap());
        assert_eq!(marked, expected, "{policy:?} {found:?}");
    }
}

proptest! {
    /// Whatever bytes headers hold, there is an answer, the same each time, within its bounds.
    #[test]
    fn any_bytes_are_survived(agent in testing::header_bytes(3000), purpose in testing::header_bytes(100)) {
        let headers = [("user-agent", &*agent), ("sec-purpose", &*purpose)];
        let found = look_at(&headers);
        prop_assert!(found.as_ref().is_none_or(|bot| (1..=100).contains(&bot.score)));
        prop_assert_eq!(look_at(&headers), found);
    }

    /// A name counts wherever it stands.
    #[test]
    fn any_text_around_a_bots_name_leaves_it_a_bot(before in "[ -~]{0,200}", after in "[ -~]{0,200}") {
        let found = browser(&format!("{before}Googlebot/2.1{after}"));
        prop_assert!(found.is_some_and(|bot| bot.score == 100));
    }
}
