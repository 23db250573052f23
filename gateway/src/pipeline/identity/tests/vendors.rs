//! The vendors' cookies.

use tagfleet_crds::tagging_container::CLICK_ID_COOKIES;

use super::*;

#[test]
fn click_ids_of_the_landing_page_become_cookies_and_are_in_the_same_event() {
    let ids = json!({
        "fbclid": "IwAR1_x", "gclid": "Cj0_g", "dclid": "CjD", "wbraid": "w1", "gbraid": "g1", "ttclid": "E.C.P.x",
        "li_fat_id": "11111111-2222-3333-4444-555555555555", "epik": "dj0y", "msclkid": "f00d", "sccid": "sc1",
        "twclid": "tw1", "rdt_cid": "rd1",
    });
    let answer = shop(json!({"clickIds": true})).answer(&Hit::default(), &[landing(ids)]);
    for (name, value, days, http_only) in [
        ("_fbc", "fb.1.1768476420055.IwAR1_x", 90, false),
        ("_gcl_aw", "GCL.1768476420.Cj0_g", 90, false),
        ("_gcl_dc", "GCL.1768476420.CjD", 90, false),
        ("_gcl_gb", "GCL.1768476420.w1", 90, false),
        ("_gcl_ag", "2.1.kg1$i1768476420", 90, false),
        ("ttclid", "E.C.P.x", 30, false),
        ("li_fat_id", "11111111-2222-3333-4444-555555555555", 90, false),
        ("_epik", "dj0y", 365, false),
        ("_uetmsclkid", "_uetf00d", 90, false),
        ("_scclid", "sc1", 365, true),
        ("twclid", "tw1", 90, true),
        ("_rdt_cid", "rd1", 30, false),
    ] {
        let cookie = answer.cookie(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(cookie.value, value);
        assert_eq!(
            cookie.attribute("Max-Age"),
            Some((days * 86_400).to_string().as_str()),
            "{name}"
        );
        assert_eq!(cookie.attribute("HttpOnly").is_some(), http_only, "{name}");
        for (attribute, value) in [
            ("Secure", ""),
            ("SameSite", "Lax"),
            ("Path", "/"),
            ("Domain", "shop.example"),
        ] {
            assert_eq!(cookie.attribute(attribute), Some(value), "{name}");
        }
        assert_eq!(answer.in_event(name), Some(value));
    }
    assert_eq!(answer.cookies.len(), CLICK_ID_COOKIES.len());
}

#[test]
fn a_browser_without_ids_gets_them() {
    let shop = shop(json!({"clickIds": true}));
    let answer = shop.answer(&Hit::default(), &[json!({"event_name": "scroll"})]);
    assert_eq!(answer.names(), ["_fbp", "_ttp", "_scid"]);
    let fbp = answer
        .value("_fbp")
        .unwrap()
        .strip_prefix("fb.1.1768476420055.")
        .unwrap();
    assert!((1_000_000_000..=2_147_483_647).contains(&fbp.parse::<u32>().unwrap()));
    let ttp = answer.value("_ttp").unwrap();
    assert!(
        ttp.len() == 27 && ttp.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{ttp}"
    );
    let scid = uuid::Uuid::parse_str(answer.value("_scid").unwrap()).unwrap();
    assert_eq!(scid.get_version_num(), 4);
    for (name, days) in [("_fbp", 90), ("_ttp", 395), ("_scid", 395)] {
        let cookie = answer.cookie(name).unwrap();
        assert_eq!(
            cookie.attribute("Max-Age"),
            Some((days * 86_400).to_string().as_str()),
            "{name}"
        );
        assert_eq!(cookie.attribute("HttpOnly"), None, "{name}");
        assert_eq!(answer.in_event(name), Some(cookie.value.as_str()));
    }
    let other = shop.answer(&Hit::default(), &[page_view(None)]);
    assert_ne!(answer.value("_ttp"), other.value("_ttp"));
}

#[test]
fn cookies_live_on_with_every_page_and_keep_the_time_of_their_click() {
    let shop = shop(json!({"clickIds": true}));
    let hit = Hit::with("_fbp=fb.1.1700000000000.1234567890; _fbc=fb.1.1700000000000.IwAR1; _ttp=t; _scid=s; _ga=x");
    let same_click = landing(json!({"fbclid": "IwAR1"}));
    let viewed = shop.answer(&hit, std::slice::from_ref(&same_click));
    assert_eq!(viewed.names(), ["_fbc", "_fbp", "_ttp", "_scid"]);
    assert_eq!(viewed.value("_fbc"), Some("fb.1.1700000000000.IwAR1"));
    assert_eq!(viewed.value("_fbp"), Some("fb.1.1700000000000.1234567890"));
    let mut scrolled = same_click;
    scrolled["event_name"] = "scroll".into();
    assert_eq!(shop.answer(&hit, &[scrolled]).cookies, []);
}

#[test]
fn a_new_click_takes_the_place_of_the_one_before() {
    let hit = Hit::with("_gcl_aw=GCL.1700000000.old; _fbp=f; _ttp=t; _scid=s");
    let event = json!({
        "event_name": "scroll", "click_ids": {"gclid": "new"}, "cookies": {"_gcl_aw": "GCL.1700000000.old"}
    });
    let answer = shop(json!({"clickIds": true})).answer(&hit, &[event]);
    assert_eq!(answer.names(), ["_gcl_aw"]);
    assert_eq!(answer.value("_gcl_aw"), Some("GCL.1768476420.new"));
    assert_eq!(answer.in_event("_gcl_aw"), Some("GCL.1768476420.new"));
}

#[test]
fn what_the_event_says_of_its_browser_stays() {
    let event = json!({"event_name": "page_view", "cookies": {"_fbp": "fb.1.1700000000000.42"}});
    let answer = shop(json!({"clickIds": true})).answer(&Hit::with("_ttp=t"), &[event]);
    assert_eq!(answer.value("_fbp"), Some("fb.1.1700000000000.42"));
    assert_eq!(answer.value("_ttp"), Some("t"));
    assert_eq!(answer.in_event("_fbp"), Some("fb.1.1700000000000.42"));
}
