//! FPLC.

use super::*;

fn linked(token: &str) -> Json {
    json!({"event_name": "page_view", "client_id": "5.6", "x-ga-system_properties": {"fplc": token}})
}

#[test]
fn the_linker_makes_a_visitor_the_same_one_on_the_next_site() {
    let first_site = shop_with_key(json!({"cookie": {}, "linker": {"key": secret_ref()}}), Some(KEY));
    let here = first_site.answer(&Hit::default(), &[page_view(Some(CID))]);
    assert_eq!(here.names(), ["FPID", "FPLC"]);
    let cookie = here.cookie("FPLC").unwrap();
    assert_eq!(cookie.attribute("HttpOnly"), None, "gtag's linker reads it");
    assert_eq!(cookie.attribute("Max-Age"), Some("72000"));
    assert_eq!(here.in_event("FPLC"), None);

    let next_site = shop_with_key(json!({"cookie": {}, "linker": {"key": secret_ref()}}), Some(KEY));
    let there = next_site.answer(&Hit::at("t.shop.test"), &[linked(&cookie.value)]);
    assert_eq!(there.fpid(), here.fpid());
    assert_eq!(there.client_id(), Some(here.fpid().client_id().as_str()));
    assert_eq!(there.js_client_id(), Some("5.6"));

    // gtag's linker carried the first site's client id over, too.
    let mut event = linked(&cookie.value);
    event["client_id"] = CID.into();
    let there = next_site.answer(&Hit::at("t.shop.test"), &[event]);
    assert_eq!((there.fpid(), there.client_id()), (here.fpid(), Some(CID)));

    // Who is known there stays who they are.
    let known = next_site.answer(&Hit::with(&format!("FPID={FPID}")), &[linked(&cookie.value)]);
    assert_eq!(known.value("FPID"), Some(FPID));
}

#[test]
fn no_other_token_is_believed() {
    let shop = shop_with_key(json!({"cookie": {}, "linker": {"key": secret_ref()}}), Some(KEY));
    let visitor = Fpid::new([7; 32], 1);
    let seal = |key: &str, end| {
        LinkerKeys::new(&Secrets::new(Secret::new(key)))
            .seal(&visitor, end)
            .unwrap()
    };
    let good = seal(KEY, NOW + 1);
    for (token, adopted) in [
        (good.clone(), true),
        (seal(KEY, NOW), false),
        (seal("another key", NOW + 1), false),
        (
            good.replacen(&good[50..51], if &good[50..51] == "A" { "B" } else { "A" }, 1),
            false,
        ),
        ("0".to_owned(), false),
        (String::new(), false),
    ] {
        let answer = shop.answer(&Hit::default(), &[linked(&token)]);
        assert_eq!(answer.fpid() == visitor, adopted, "{token}");
        assert_eq!(answer.client_id() == Some("5.6"), !adopted, "{token}");
    }
}
