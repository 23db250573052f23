//! FPID and the `client_id`.

use super::*;

#[test]
fn a_new_visitor_gets_fpid_made_from_gtags_client_id_which_stays_the_client_id() {
    let answer = shop(json!({"cookie": {}})).answer(&Hit::default(), &[page_view(Some(CID))]);
    assert_eq!(answer.client_id(), Some(CID));
    assert_eq!(answer.js_client_id(), None);
    assert_eq!(answer.names(), ["FPID"]);
    let fpid = answer.fpid();
    assert!(fpid.is_made_from(CID));
    assert_eq!(fpid.parts().1, 1_730_448_757);
    let value = answer.value("FPID").unwrap();
    assert!(value.starts_with("FPID2.2."), "shop.example has two labels: {value}");
    assert_eq!(answer.in_event("FPID"), Some(value));
    let cookie = answer.cookie("FPID").unwrap();
    let expected = [
        ("Domain", "shop.example"),
        ("HttpOnly", ""),
        ("Max-Age", "34560000"),
        ("Path", "/"),
        ("SameSite", "Lax"),
        ("Secure", ""),
    ];
    assert_eq!(
        cookie.attributes,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    );
}

#[test]
fn as_long_as_the_browser_brings_the_id_that_fpid_was_made_from_it_is_the_client_id() {
    let shop = shop(json!({"cookie": {}}));
    let first = shop.answer(&Hit::default(), &[page_view(Some(CID))]);
    let fpid = first.value("FPID").unwrap();
    let again = shop.answer(&Hit::with(&format!("FPID={fpid}")), &[page_view(Some(CID))]);
    assert_eq!((again.client_id(), again.js_client_id()), (Some(CID), None));
    assert_eq!(again.value("FPID"), Some(fpid), "it is set again, so that it lives on");

    // The browser has lost `_ga`, and gtag made another.
    let other = "999.1768476400";
    let lost = shop.answer(&Hit::with(&format!("FPID={fpid}")), &[page_view(Some(other))]);
    assert_eq!(lost.client_id(), Some(first.fpid().client_id().as_str()));
    assert_eq!(lost.js_client_id(), Some(other));
    assert_eq!(lost.value("FPID"), Some(fpid));

    // A hit without a client id of its own.
    let pixel = shop.answer(&Hit::with(&format!("FPID={fpid}")), &[page_view(None)]);
    assert_eq!(pixel.client_id(), Some(first.fpid().client_id().as_str()));
    assert_eq!(pixel.js_client_id(), None);
}

#[test]
fn an_fpid_of_googles_own_server_is_kept() {
    let answer = shop(json!({"cookie": {}})).answer(&Hit::with(&format!("FPID={FPID}")), &[page_view(Some(CID))]);
    assert_eq!((answer.client_id(), answer.js_client_id()), (Some(FPID_ID), Some(CID)));
    assert_eq!(answer.value("FPID"), Some(FPID));
}

#[test]
fn without_migration_fpid_is_the_client_id_from_the_first_hit_on() {
    let shop = shop(json!({"cookie": {"migrateFromJsClientId": false}}));
    let first = shop.answer(&Hit::default(), &[page_view(Some(CID))]);
    let id = first.fpid().client_id();
    assert_eq!(
        (first.client_id(), first.js_client_id()),
        (Some(id.as_str()), Some(CID))
    );
    let cookie = format!("FPID={}", first.value("FPID").unwrap());
    let again = shop.answer(&Hit::with(&cookie), &[page_view(Some(CID))]);
    assert_eq!(
        (again.client_id(), again.js_client_id()),
        (Some(id.as_str()), Some(CID))
    );
}

#[test]
fn a_visitor_without_any_id_gets_a_random_one_of_now() {
    let shop = shop(json!({"cookie": {}}));
    let [one, two] = [1, 2].map(|_| shop.answer(&Hit::default(), &[page_view(None)]));
    assert_eq!(one.client_id(), Some(one.fpid().client_id().as_str()));
    assert_eq!(one.fpid().parts().1, NOW);
    assert_ne!(one.fpid(), two.fpid());
}

#[test]
fn all_events_of_a_hit_have_the_id_of_the_one_cookie_that_it_sets() {
    let answer = shop(json!({"cookie": {}})).answer(&Hit::default(), &[page_view(None), page_view(None)]);
    let id = answer.fpid().client_id();
    assert_eq!(answer.names(), ["FPID"]);
    assert!(
        answer
            .events
            .iter()
            .all(|event| event.text(field::CLIENT_ID) == Some(&id))
    );
}

#[test]
fn a_malformed_fpid_counts_as_none() {
    for cookie in ["FPID=", "FPID=FPID2.2.x.1", "FPID=GA1.1.1.2"] {
        let answer = shop(json!({"cookie": {}})).answer(&Hit::with(cookie), &[page_view(Some(CID))]);
        assert!(answer.fpid().is_made_from(CID), "{cookie}");
        assert_eq!(answer.client_id(), Some(CID), "{cookie}");
    }
}

#[test]
fn the_cookie_may_have_another_name_and_life() {
    let shop = shop(json!({"cookie": {"name": "visitor", "maxAgeDays": 30}}));
    let answer = shop.answer(&Hit::with(&format!("visitor={FPID}; FPID=x")), &[page_view(Some(CID))]);
    assert_eq!(answer.client_id(), Some(FPID_ID));
    assert_eq!(answer.names(), ["visitor"]);
    assert_eq!(answer.cookie("visitor").unwrap().attribute("Max-Age"), Some("2592000"));
}
