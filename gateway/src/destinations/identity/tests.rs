#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value
)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{event::Event, testing};

/// The vectors of vendors/others.md section 17: what it is, as it is typed, the hash.
#[test]
fn the_vectors_of_the_sheet() {
    let plain = |raw: &str| email(raw, EmailRule::Plain);
    let google = |raw: &str| email(raw, EmailRule::Google);
    let plus = |raw: &str| phone(raw, PhoneRule::E164);
    let digits = |raw: &str| phone(raw, PhoneRule::Digits);
    let letters = |raw: &str| name(raw, NameRule::Letters);
    let trimmed = |raw: &str| name(raw, NameRule::Trimmed);
    let state = |raw: &str| region(raw, None);
    type Hash<'f> = &'f dyn Fn(&str) -> Option<String>;
    let rows: &[(Hash<'_>, &str, &str)] = &[
        (
            &plain,
            " Test@Example.com ",
            "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b",
        ),
        (
            &plain,
            "Jane.Doe@gmail.com",
            "831f6494ad6be4fcb3a724c3d5fef22d3ceffa3c62ef3a7984e45a0ea177f982",
        ),
        (
            &google,
            "Jane.Doe@gmail.com",
            "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69",
        ),
        (
            &google,
            "Jane.Doe+news@gmail.com",
            "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69",
        ),
        (
            &plain,
            "Jane.Doe+news@example.com",
            "dbf1912b4cad4df9823f627874244e64b50a6ac550b9cb33b17df671a26679db",
        ),
        (
            &google,
            "Jane.Doe+news@example.com",
            "dbf1912b4cad4df9823f627874244e64b50a6ac550b9cb33b17df671a26679db",
        ),
        (
            &plus,
            "+1 (415) 555-2671",
            "cb6880e416769253645cb9c6b8989154bf66a56a77fc14c81fb1019663cbb928",
        ),
        (
            &digits,
            "+1 (415) 555-2671",
            "758fbf68945f21c416814c539ab578876c8d98fb69e6da692def92cd52417fe0",
        ),
        (
            &plus,
            "0049 151 12345678",
            "536afd523e19dc83fccba822ef5e4ca646111314aaf0aa286667c5bea18dd70b",
        ),
        (
            &plus,
            "+49 151 1234 5678",
            "536afd523e19dc83fccba822ef5e4ca646111314aaf0aa286667c5bea18dd70b",
        ),
        (
            &digits,
            "0049 151 12345678",
            "8efb96404be52f6109b9db0f687274a81e9e3cc23fabd6f0da5d38baa3d2facd",
        ),
        (
            &digits,
            "+49 151 1234 5678",
            "8efb96404be52f6109b9db0f687274a81e9e3cc23fabd6f0da5d38baa3d2facd",
        ),
        (
            &digits,
            "+44 844 412 4653",
            "dc008fda46e2e64002cf2f82a4906236282d431c4f75e5b60bfe79fc48546383",
        ),
        (
            &letters,
            "Jane",
            "81f8f6dde88365f3928796ec7aa53f72820b06db8664f5fe76a7eb13e24546a2",
        ),
        (
            &trimmed,
            "Jane",
            "81f8f6dde88365f3928796ec7aa53f72820b06db8664f5fe76a7eb13e24546a2",
        ),
        (
            &letters,
            "Doe",
            "799ef92a11af918e3fb741df42934f3b568ed2d93ac1df74f1b8d41a27932a6f",
        ),
        (
            &letters,
            "O'Connor",
            "7a0fbfdf40cbeb97429bdb88f512cecd27f0d44b7e57986ab578423bb61936ac",
        ),
        (
            &letters,
            "München",
            "f75c175f552c8b2bf46ef4b282ee782c81cf8687f66a8fe8278cc56fa727503e",
        ),
        (
            &letters,
            "Mu\u{308}nchen",
            "f75c175f552c8b2bf46ef4b282ee782c81cf8687f66a8fe8278cc56fa727503e",
        ),
        (
            &city,
            "München",
            "f75c175f552c8b2bf46ef4b282ee782c81cf8687f66a8fe8278cc56fa727503e",
        ),
        (
            &city,
            "Palo Alto",
            "b05208f9e641374c90926715e1fdfafac457af13593c2abb5f4a1f904081af95",
        ),
        (
            &city,
            "New York",
            "350c754ba4d38897693aa077ef43072a859d23f613443133fecbbd90a3512ca5",
        ),
        (
            &state,
            "California",
            "6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126",
        ),
        (
            &country,
            "US",
            "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621",
        ),
        (
            &country,
            "DE",
            "959a45d44e6fcf58361ed004681556fe50129f2109e817dec098c00c9e5d2578",
        ),
        (
            &|raw: &str| postal_code(raw, Some("US")),
            "94035-1234",
            "1794327a4d443904421f5ca1f3d72d0a62ba2f0770d80755ec2220fc0efb052e",
        ),
        (
            &|raw: &str| postal_code(raw, Some("GB")),
            "SW1A 1AA",
            "830e1d4b9838bab1f5c2acdb23e0b502ff13a9832c4632e8d67a1d43d3b7f614",
        ),
        (
            &|raw: &str| postal_code(raw, Some("DE")),
            "80331",
            "55eb98af205c9d17e3569de62916a94b7944672c772f526e6e4c957c0b8d5eeb",
        ),
        (
            &birth_date,
            "1997-02-16",
            "01acdbf6ec7b4f478a225f1a246e5d6767eeab1a7ffa17f025265b5b94f40f0c",
        ),
        (
            &gender,
            "Female",
            "252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111",
        ),
        (
            &gender,
            "Male",
            "62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a",
        ),
        (
            &external_id,
            "user-42",
            "6d894aa3ee802549d7f340e7c1cf0d1c1cb14cd84f768d92ffaa6785337c4997",
        ),
    ];
    for (hash, raw, expected) in rows {
        assert_eq!(hash(raw).as_deref(), Some(*expected), "{raw}");
    }
}

/// How values are written before they are hashed.
#[test]
fn normal_forms() {
    let letters = [
        ("Jean-Luc", "jeanluc"),
        ("  d’Artagnan ", "dartagnan"),
        ("Ægir Þór", "ægirþór"),
        ("Ольга", "ольга"),
        ("王 小明", "王小明"),
        ("प्रिया", "प्रिया"),
        ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
        ("★", ""),
    ];
    for (raw, normal) in letters {
        assert_eq!(normalize::letters(raw), normal, "{raw}");
    }
    assert_eq!(normalize::city("St. Gallen 9000"), "stgallen");
    let regions = [
        ("New York", Some("us"), "ny"),
        ("US-CA", Some("us"), "ca"),
        ("us-ca", None, "ca"),
        ("Québec", Some("ca"), "qc"),
        ("Bayern", Some("de"), "bayern"),
        ("DE-BY", Some("de"), "by"),
        ("Georgia", Some("ge"), "georgia"),
        ("Georgia", Some("us"), "ga"),
        ("75", Some("fr"), "75"),
    ];
    for (raw, country, normal) in regions {
        assert_eq!(normalize::region(raw, country), normal, "{raw} {country:?}");
    }
    let codes = [
        ("94035-1234", None, Some("94035")),
        ("940351234", Some("us"), Some("94035")),
        ("00-950", Some("pl"), Some("00950")),
        ("100-0001", None, Some("1000001")),
        ("EC1A 1BB", Some("gb"), Some("ec1a1bb")),
        ("7", None, None),
    ];
    for (raw, country, normal) in codes {
        assert_eq!(
            normalize::postal_code(raw, country).as_deref(),
            normal,
            "{raw} {country:?}"
        );
    }
    let countries = [
        ("de", Some("de")),
        ("UK", Some("gb")),
        ("Germany", None),
        ("zz", None),
        ("", None),
    ];
    for (raw, code) in countries {
        assert_eq!(country_code(Some(raw)).as_deref(), code, "{raw}");
    }
    let dates = [
        ("19970216", Some("19970216")),
        ("1997/02/16", Some("19970216")),
        ("16.02.1997", None),
        ("1997-02-30", None),
        ("1997", None),
    ];
    for (raw, date) in dates {
        assert_eq!(normalize::birth_date(raw).as_deref(), date, "{raw}");
    }
}

#[test]
fn phone_numbers_need_their_country() {
    let rows = [
        ("+49 (0) 151", None, None),
        ("0151 1234567", None, None),
        ("14155552671", None, Some("14155552671")),
        ("٠٠٩٦٦ ٥٠ ١٢٣ ٤٥٦٧", Some("+966501234567"), Some("966501234567")),
        ("＋８１ ３ １２３４ ５６７８", Some("+81312345678"), Some("81312345678")),
        ("+1 23", None, None),
        ("+1234567890123456", None, None),
        ("call me", None, None),
    ];
    for (raw, with_plus, digits) in rows {
        assert_eq!(normalize::phone(raw, PhoneRule::E164).as_deref(), with_plus, "{raw}");
        assert_eq!(normalize::phone(raw, PhoneRule::Digits).as_deref(), digits, "{raw}");
    }
}

#[test]
fn what_is_no_address_is_not_hashed() {
    for raw in [
        "no address",
        "@example.com",
        "jane@",
        "jane@example",
        "jane@.com",
        "jane doe@example.com",
        "+@gmail.com",
    ] {
        assert_eq!(email(raw, EmailRule::Google), None, "{raw}");
    }
}

#[test]
fn a_hash_passes_in_lower_case_and_nothing_is_never_hashed() {
    let hash = "973DFE463EC85785F5F95AF5BA3906EEDB2D931C24E69824A89EA65DBA4E813B";
    assert_eq!(email(hash, EmailRule::Google), Some(hash.to_ascii_lowercase()));
    assert_eq!(phone(hash, PhoneRule::Digits), Some(hash.to_ascii_lowercase()));
    for raw in ["", "  ", "null", "undefined", "\u{0}\n", HASH_OF_NOTHING] {
        assert_eq!(email(raw, EmailRule::Plain), None);
        assert_eq!(phone(raw, PhoneRule::E164), None);
        assert_eq!(text(raw), None);
        assert_eq!(hashed(raw), None);
    }
    assert_eq!(name("---", NameRule::Letters), None, "nothing is left of it");
}

fn event(user_data: serde_json::Value) -> Event<'static> {
    testing::record(json!({"event_name": "purchase", "user_data": user_data})).event
}

#[test]
fn every_address_and_number_of_a_visitor_counts_once() {
    let ready = "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b";
    let event = event(json!({
        "email_address": ["test@example.com", "JANE.DOE@gmail.com", "nonsense", 7],
        "sha256_email_address": ready,
        "phone_number": ["+1 415 555 2671", 14_155_552_671_i64],
        "sha256_phone_number": [sha256_hex(b"+14155552671")],
    }));
    let data = UserData::of(&event);
    assert_eq!(
        data.emails(EmailRule::Plain),
        [
            ready,
            "831f6494ad6be4fcb3a724c3d5fef22d3ceffa3c62ef3a7984e45a0ea177f982"
        ]
    );
    assert_eq!(data.phones(PhoneRule::Digits), [sha256_hex(b"14155552671")]);
    assert_eq!(data.phones(PhoneRule::E164), [sha256_hex(b"+14155552671")]);
}

#[test]
fn a_number_that_came_hashed_is_all_there_is() {
    let ready = sha256_hex(b"14155552671");
    let event = event(json!({"sha256_phone_number": &ready}));
    assert_eq!(UserData::of(&event).phones(PhoneRule::Digits), [ready]);
}

#[test]
fn an_address_is_an_object_or_an_array_of_them() {
    for address in [
        json!({"first_name": " Jane ", "country": "US", "region": "California", "sha256_city": "nonsense"}),
        json!([{}, {"first_name": "Jane", "country": "us", "region": "CA"}]),
    ] {
        let event = event(json!({"address": address}));
        let address = UserData::of(&event).addresses().next().unwrap();
        assert_eq!(address.first_name(NameRule::Letters), Some(sha256_hex(b"jane")));
        assert_eq!(address.region(), Some(sha256_hex(b"ca")));
        assert_eq!(address.country_code().as_deref(), Some("us"));
        assert_eq!((address.last_name(NameRule::Letters), address.city()), (None, None));
        assert_eq!(address.plain("first_name").as_deref(), Some("Jane"));
    }
}

/// Every function that hashes, by name.
fn all(raw: &str) -> Vec<(&'static str, Option<String>)> {
    vec![
        ("email", email(raw, EmailRule::Plain)),
        ("email for Google", email(raw, EmailRule::Google)),
        ("phone with +", phone(raw, PhoneRule::E164)),
        ("phone digits", phone(raw, PhoneRule::Digits)),
        ("name", name(raw, NameRule::Letters)),
        ("name for Google", name(raw, NameRule::Trimmed)),
        ("city", city(raw)),
        ("region", region(raw, Some("us"))),
        ("postal code", postal_code(raw, None)),
        ("country", country(raw)),
        ("gender", gender(raw)),
        ("birth date", birth_date(raw)),
        ("external id", external_id(raw)),
    ]
}

/// Text that looks like what people type, and text that does not.
fn typed() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ A-Za-z.+ÄßéИ王']{1,12}@[a-zA-Z.]{1,12}\\.(com|DE)",
        "[+0 ()٠-٩-]{0,4}[0-9 .()-]{0,20}",
        "\\PC{0,20}",
        "[0-9A-Fa-f]{64}",
    ]
}

proptest! {
    #[test]
    fn what_comes_out_is_a_hash_or_nothing(raw in typed()) {
        for (rule, hash) in all(&raw) {
            if let Some(hash) = hash {
                prop_assert!(hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{rule}: {hash}");
                prop_assert_ne!(&hash, HASH_OF_NOTHING, "{}", rule);
            }
        }
    }

    /// Hashing what was hashed changes nothing, so a value may pass several hands.
    #[test]
    fn hashing_is_idempotent(raw in typed()) {
        for (index, (rule, hash)) in all(&raw).into_iter().enumerate() {
            if let Some(hash) = hash {
                let again = all(&hash).swap_remove(index).1;
                prop_assert_eq!(again, Some(hash), "{}", rule);
            }
        }
    }

    /// Normalising what is normal changes nothing, so a value may be normalised before it comes here.
    #[test]
    fn normalising_is_idempotent(raw in typed()) {
        let text = normalize::trimmed(&raw);
        type Normalize = fn(&str) -> Option<String>;
        let twice: [Normalize; 7] = [
            |text| normalize::email(text, EmailRule::Google),
            |text| normalize::phone(text, PhoneRule::E164),
            |text| normalize::phone(text, PhoneRule::Digits),
            |text| Some(normalize::letters(text)),
            |text| Some(normalize::city(text)),
            |text| normalize::postal_code(text, None),
            normalize::country,
        ];
        for (rule, normalize) in twice.into_iter().enumerate() {
            if let Some(normal) = normalize(text) {
                prop_assert_eq!(normalize(&normal), Some(normal.clone()), "rule {} of {:?}", rule, text);
            }
        }
    }

    /// Case, and blanks at the ends, never matter.
    #[test]
    fn how_it_is_typed_does_not_matter(raw in "[a-zäöüéñ0-9.+ ]{1,10}@[a-z]{1,8}\\.de") {
        let shouted = format!(" {}\t", raw.to_uppercase());
        prop_assert_eq!(email(&raw, EmailRule::Plain), email(&shouted, EmailRule::Plain));
        prop_assert_eq!(name(&raw, NameRule::Letters), name(&shouted, NameRule::Letters));
    }
}
