//! What is personal, and what only looks so.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn redaction(manifest: serde_json::Value) -> Redaction {
    Redaction::new(&serde_json::from_value(manifest).unwrap())
}

#[track_caller]
fn redacts(pattern: &str, cases: &[(&str, &str)]) {
    let redaction = redaction(json!({ "patterns": [pattern] }));
    for (text, clean) in cases {
        assert_eq!(redaction.redacted(text).as_deref(), Some(*clean), "{text}");
        assert_eq!(redaction.redacted(clean), None, "{clean}");
    }
}

#[track_caller]
fn leaves(pattern: &str, texts: &[&str]) {
    let redaction = redaction(json!({ "patterns": [pattern] }));
    for text in texts {
        assert_eq!(redaction.redacted(text), None, "{text}");
    }
}

#[test]
fn e_mail_addresses_go_wherever_they_stand() {
    redacts(
        "Email",
        &[
            ("jane@shop.example", "[redacted]"),
            ("Write to Jane.Doe+news@mail.shop.example.", "Write to [redacted]."),
            (
                "https://shop.example/?mail=jane%40shop.example&x=1",
                "https://shop.example/?mail=[redacted]&x=1",
            ),
            (
                "u=https%3A%2F%2Fa.example%3Fm%3Djane%2540shop.example",
                "u=https%3A%2F%2Fa.example%3Fm%3D[redacted]",
            ),
            ("m=jane%2Bnews%40shop.example", "m=[redacted]"),
            ("a@b.de,c@d.com;<e@f.org>", "[redacted],[redacted];<[redacted]>"),
            ("jürgen@müller.example", "[redacted]"),
            ("x@post.xn--p1ai", "[redacted]"),
        ],
    );
    leaves(
        "Email",
        &[
            "@shop",
            "jane@",
            "jane@localhost",
            "5 @ 3.20",
            "100%4",
            "a@b.c",
            "%40",
            "user@1.2.3.4",
            "50% off",
        ],
    );
}

#[test]
fn phone_numbers_go_in_the_forms_that_people_write() {
    redacts(
        "Phone",
        &[
            ("+4917112345678", "[redacted]"),
            ("call +49 171 1234567 now", "call [redacted] now"),
            ("tel:+49-(0)171/123.45.67", "tel:[redacted]"),
            ("+49 171 1234567: ask for Jane", "[redacted]: ask for Jane"),
            ("phone=%2B49%20171%201234567&x=1", "phone=[redacted]&x=1"),
            ("0049 171 1234567", "[redacted]"),
            ("00491711234567", "[redacted]"),
            ("(415) 555-2671", "[redacted]"),
            ("1-415-555-2671", "[redacted]"),
            ("415.555.2671 or 415 555 2672", "[redacted] or [redacted]"),
            ("0171 1234567", "[redacted]"),
            ("030/123456", "[redacted]"),
            ("06 12 34 56 78", "[redacted]"),
            ("order 20 of 0171-1234567", "order 20 of [redacted]"),
            ("+49\u{a0}171\u{a0}1234567", "[redacted]"),
            ("+49 171 1234567 3x", "[redacted] 3x"),
            ("    +4917112345678", "    [redacted]"),
        ],
    );
}

#[test]
fn what_only_looks_like_a_phone_number_stays() {
    leaves(
        "Phone",
        &[
            "1700000000000",
            "1506821430.1730448757",
            "GA1.1.1506821430.1730448757",
            "GS1.1.1730448757.3.1.1730449999.0.0.0",
            "2026-01-15T11:27:00+01:00",
            "2026-01-15 11:27:00",
            "31.12.2026 10:15",
            "01.02.2026 10:15:30",
            "203.0.113.77",
            "10.15.7.20 1.2.3.4",
            "T-1001234567",
            "ORDER-0123-456789",
            "4500123456",
            "01912345-6789-7abc-8def-0123456789ab",
            "1,234,567.89",
            "48.137154 11.576124",
            "978-3-16-148410-0",
            "1920x1080",
            "q=order+12345678",
            "000012345678",
            "fb.1.1700000000000.1234567890",
        ],
    );
}

#[test]
fn card_numbers_go_when_their_check_digit_is_right() {
    redacts(
        "Card",
        &[
            ("4111111111111111", "[redacted]"),
            ("card 4111 1111 1111 1111, thanks", "card [redacted], thanks"),
            ("5555-5555-5555-4444", "[redacted]"),
            ("378282246310005", "[redacted]"),
            ("30569309025904", "[redacted]"),
            ("6011 1111 1111 1117", "[redacted]"),
            ("2223003122003222", "[redacted]"),
            ("12 4111 1111 1111 1111 12/29", "12 [redacted] 12/29"),
            ("cc=4111%201111%201111%201111&x=2", "cc=[redacted]&x=2"),
        ],
    );
    leaves(
        "Card",
        &[
            "4111111111111112",
            "1700000000000",
            "1767225600009",
            "1700000000000006",
            "411111111111111111111111",
            "id4111111111111111",
            "4111.1111.1111.1111",
            "2026011512345673",
        ],
    );
}

#[test]
fn account_numbers_go_when_their_check_digits_are_right() {
    redacts(
        "Iban",
        &[
            ("DE89370400440532013000", "[redacted]"),
            ("pay to DE89 3704 0044 0532 0130 00 today", "pay to [redacted] today"),
            ("iban=gb29nwbk60161331926819", "iban=[redacted]"),
            ("FR14 2004 1010 0505 0001 3M02 606", "[redacted]"),
            ("acc=DE89%203704%200044%200532%200130%2000", "acc=[redacted]"),
            ("NO9386011117947.", "[redacted]."),
        ],
    );
    leaves(
        "Iban",
        &[
            "DE89370400440532013001",
            "XDE89370400440532013000",
            "DE893704004405320130001",
            "XX89370400440532013000",
            "BE12 and more words here",
        ],
    );
}

#[test]
fn query_parameters_go_by_their_names() {
    let redaction = redaction(json!({"queryParameters": ["email", "utm_id", "tok*"]}));
    for (text, clean) in [
        (
            "https://shop.example/?email=jane&page=2",
            "https://shop.example/?email=[redacted]&page=2",
        ),
        (
            "https://shop.example/?page=2&EMail=jane#top",
            "https://shop.example/?page=2&EMail=[redacted]#top",
        ),
        (
            "https://shop.example/#/in?token=abc&tok=1",
            "https://shop.example/#/in?token=[redacted]&tok=[redacted]",
        ),
        (
            "https://shop.example/#token=abc",
            "https://shop.example/#token=[redacted]",
        ),
        ("/thanks?e%6Dail=jane", "/thanks?e%6Dail=[redacted]"),
        ("?email=a=b;c", "?email=[redacted]"),
        (
            "https://shop.example/?x=1;email=jane&y=2",
            "https://shop.example/?x=1;email=[redacted]&y=2",
        ),
        (
            "https://shop.example/?to=https%3A%2F%2Fa.example%2F%3Femail%3Djane%26x%3D1&y=2",
            "https://shop.example/?to=https%3A%2F%2Fa.example%2F%3Femail%3D[redacted]%26x%3D1&y=2",
        ),
        (
            "https://shop.example/?email=jane%26x%3D1&y=2",
            "https://shop.example/?email=[redacted]&y=2",
        ),
    ] {
        assert_eq!(redaction.redacted(text).as_deref(), Some(clean), "{text}");
    }
    for text in [
        "email=jane",
        "https://shop.example/?emails=jane&email",
        "https://shop.example/?email=&x=1",
        "a = b",
    ] {
        assert_eq!(redaction.redacted(text), None, "{text}");
    }
}

#[test]
fn fields_that_hold_identifiers_by_intent_are_spared_unless_they_are_named() {
    let event = json!({
        "event_name": "a@b.de", "event_id": "a@b.de", "client_id": "a@b.de", "user_id": "a@b.de",
        "user_data": {"email_address": ["a@b.de"]}, "cookies": {"_x": "a@b.de"}, "click_ids": {"x": "a@b.de"},
        "page_title": "a@b.de", "items": [{"note": "a@b.de", "price": 3}]
    });
    let after = |manifest| {
        let Value::Map(mut fields) = Value::from(event.clone()) else {
            unreachable!()
        };
        redaction(manifest).apply(&mut fields);
        serde_json::to_value(&fields).unwrap()
    };
    let mut wanted = event.clone();
    wanted["page_title"] = json!("[redacted]");
    wanted["items"][0]["note"] = json!("[redacted]");
    assert_eq!(after(json!({"patterns": ["Email"]})), wanted);

    let mut wanted = event.clone();
    wanted["user_data"]["email_address"][0] = json!("[redacted]");
    assert_eq!(
        after(json!({"patterns": ["Email"], "parameters": ["user_data"]})),
        wanted
    );
}

fn all() -> Redaction {
    redaction(json!({"patterns": ["Email", "Phone", "Card", "Iban"], "queryParameters": ["q*", "email"]}))
}

proptest! {
    /// No text makes it fail, and none is taken apart within a character.
    #[test]
    fn any_text_is_survived(text in "[ -~é\u{a0}–]{0,200}|\\PC{0,80}") {
        if let Some(clean) = all().redacted(&text) {
            prop_assert!(clean.contains(REDACTED));
        }
    }

    #[test]
    fn no_address_outlives_any_text_around_it(before in "[a-z0-9 ?&=%/:;,#]{0,30}", name in "[a-z]{3,10}", after in "[ ?&=/:;,#]{1}[a-z0-9 ?&=%/]{0,30}",
                                              sign in "(@|%40|%2540)") {
        let text = format!("{before}{name}{sign}shop.example{after}");
        let clean = all().redacted(&text).unwrap();
        let address = format!("{name}{sign}shop");
        prop_assert!(!clean.contains(&address), "{clean}");
    }
}

/// Quadratic work on these would not end within the test's patience.
#[test]
fn long_texts_take_linear_time() {
    for piece in [
        "a@",
        "1 ",
        "+1",
        "1-2-",
        "%40",
        "DE89 ",
        "?q=",
        "%",
        "0.",
        "((",
        "a.",
        "=&",
        "4111 1111 1111 1111 ",
        "%3D",
    ] {
        let text = format!("http://x/?{}", piece.repeat(100_000 / piece.len()));
        drop(all().redacted(&text));
    }
}

proptest! {
    /// Where a first look at a text says that there is no number, there is none.
    #[test]
    fn the_first_look_hides_no_number(
        before in "[a-z0-9 ().:/+%_\u{a0}-]{0,12}",
        number in "(\\+49|%2B49|0049|0|\\(415\\) |4111|4)([0-9]|%3[0-9]|[ ./-]|\u{a0}|%20|%2D|\u{2013}){5,24}",
        iban in prop::sample::select(vec!["", "DE89370400440532013000", "NO93 8601 1117 947", "no9386-01111%37947", "NO93\u{a0}8601\u{a0}1117\u{a0}947"]),
        after in "[a-z0-9 ().:/+%_-]{0,12}",
    ) {
        let redaction = redaction(json!({"patterns": ["Phone", "Card", "Iban"]}));
        for text in [format!("{before}{number}{after}"), format!("{before} {iban}{after}")] {
            let mut all = Vec::new();
            numbers::find(&text, redaction.numbers, &mut all);
            iban::find(&text, &mut all);
            let without_look = (!all.is_empty()).then(|| replaced(&text, all));
            prop_assert_eq!(redaction.redacted(&text), without_look);
        }
    }
}
