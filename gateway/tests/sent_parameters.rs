//! What each vendor is sent: the table of `tagfleet_crds` against the encoders, in both directions. Every parameter is
//! given two values in turn; when the request differs, the parameter is sent, and how its value or its hash stands in the
//! request says in which form.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::BTreeMap, sync::Arc};

use base64::Engine as _;
use serde_json::{Map as JsonMap, Value as Json, json};
use sha2::{Digest as _, Sha256};
use tagfleet_crds::{
    DestinationSpec, SecretSource,
    data_flow::covers,
    destination::{Form, Sent, VENDORS},
};
use tagfleet_expressions::{Environment, Expression, Map, Value};
use tagfleet_gateway::{
    destinations::{
        self, Destination, Request, Resolve,
        mapping::{Field, Mapping},
    },
    event::Event,
    record::{Consent, ConsentSignal, Record},
    secret::Secret,
};

const NOW_MS: i64 = 1_767_225_700_000;

/// Gives every vendor what its block refers to.
struct Given;

impl Resolve for Given {
    fn container(&self) -> &str {
        "shop"
    }

    fn secret(&mut self, _: &str, _: &SecretSource) -> Option<Secret> {
        Some(Secret::new("secret"))
    }

    fn expression(&mut self, field: &str, source: &str) -> Option<Field> {
        Some(Field {
            path: field.to_owned(),
            expression: Expression::compile(source, &Environment::event()).unwrap(),
        })
    }

    fn mapping(&mut self, names: &BTreeMap<String, String>, _: &BTreeMap<String, String>) -> Option<Mapping> {
        Some(Mapping {
            event_names: names.clone(),
            parameters: Vec::new(),
            tables: Arc::default(),
        })
    }

    fn mistake(&mut self, field: &str, message: String) {
        panic!("{field}: {message}");
    }
}

/// Every vendor in every variant that sends other parameters.
fn specs() -> Vec<(&'static str, DestinationSpec)> {
    let key = || json!({"secretKeyRef": {"name": "s", "key": "k"}});
    let numbers = json!({"purchase": "11", "sign_up": "22"});
    let ads = |api: &str| {
        json!({"googleAds": {
            "customerId": "123-456-7890", "conversionActions": numbers.clone(), "api": api, "developerToken": key(),
            "oauth": {"clientId": key(), "clientSecret": key(), "refreshToken": key()},
        }})
    };
    let cleartext = "http://127.0.0.1:1";
    let blocks = [
        ("ga4", json!({"ga4": {"measurementId": "G-1", "apiSecret": key()}})),
        ("ga4, forwarded", json!({"ga4": {"measurementId": "G-1"}})),
        (
            "metaConversions",
            json!({"metaConversions": {"pixelId": "1", "accessToken": key()}}),
        ),
        (
            "tiktokEvents",
            json!({"tiktokEvents": {"pixelCode": "C1", "accessToken": key()}}),
        ),
        (
            "linkedinConversions",
            json!({"linkedinConversions": {"conversions": numbers, "accessToken": key()}}),
        ),
        (
            "pinterestConversions",
            json!({"pinterestConversions": {"adAccountId": "1", "accessToken": key()}}),
        ),
        ("googleAds, Data Manager", ads("DataManager")),
        ("googleAds, Google Ads", ads("GoogleAds")),
        // An emulator's address, so that no credentials are looked for.
        (
            "pubSub",
            json!({"pubSub": {"project": "demo", "topic": "orders", "endpoint": cleartext}}),
        ),
        (
            "bigQuery",
            json!({"bigQuery": {"project": "demo", "dataset": "d", "table": "t", "endpoint": cleartext}}),
        ),
        (
            "webhook",
            json!({"webhook": {"url": "https://orders.shop.example/hook"}}),
        ),
        (
            "snapchatConversions",
            json!({"snapchatConversions": {"pixelId": "1", "accessToken": key()}}),
        ),
    ];
    blocks
        .into_iter()
        .map(|(name, mut spec)| {
            spec["containerRefs"] = json!([{"name": "shop"}]);
            (name, serde_json::from_value(spec).unwrap())
        })
        .collect()
}

/// A parameter's two values, and the texts that are hashed where a vendor wants the first one hashed.
struct Parameter {
    path: &'static str,
    one: Json,
    other: Json,
    hashed: Vec<String>,
}

fn parameter(path: &'static str, one: Json, other: Json) -> Parameter {
    let text = one.as_str().unwrap_or_default();
    let folded: String = text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect();
    let hashed = vec![text.to_owned(), text.to_lowercase(), folded];
    Parameter {
        path,
        one,
        other,
        hashed,
    }
}

/// As [`parameter`], with the texts of its own that vendors hash.
fn hashed(path: &'static str, one: &str, other: &str, forms: &[&str]) -> Parameter {
    let mut parameter = parameter(path, json!(one), json!(other));
    parameter.hashed.extend(forms.iter().map(|form| (*form).to_owned()));
    parameter
}

fn text(path: &'static str) -> Parameter {
    let name: String = path.chars().filter(char::is_ascii_alphanumeric).collect();
    parameter(path, json!(format!("Qone{name}")), json!(format!("Qtwo{name}")))
}

fn hash_of(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// A hash that the sender made.
fn ready(path: &'static str) -> Parameter {
    let (one, other) = (hash_of(&format!("1{path}")), hash_of(&format!("2{path}")));
    parameter(path, json!(one), json!(other))
}

fn parameters() -> Vec<Parameter> {
    let cookie = |path, one: &str, other: &str| parameter(path, json!(one), json!(other));
    let mut all = vec![
        parameter("event_name", json!("purchase"), json!("sign_up")),
        parameter(
            "timestamp_ms",
            json!(1_767_225_600_000_i64),
            json!(1_767_225_500_000_i64),
        ),
        parameter("value", json!(4711.25), json!(4712.25)),
        parameter("currency", json!("EUR"), json!("USD")),
        parameter("ga_session_id", json!("1767220000"), json!("1767220001")),
        parameter("ga_session_number", json!(7713), json!(7714)),
        parameter("engagement_time_msec", json!(8813), json!(8814)),
        cookie("ip_override", "203.0.113.77", "198.51.100.23"),
        cookie("language", "de-ch", "fr-ch"),
        cookie(
            "user_agent",
            "Mozilla/5.0 (Windows NT 10.0) Chrome/143.7.0",
            "Mozilla/5.0 (Macintosh) Firefox/143.8",
        ),
        cookie(
            "page_location",
            "https://shop.example/thanks-one?gad_source=one",
            "https://shop.example/thanks-two?gad_source=two",
        ),
        cookie(
            "page_referrer",
            "https://one.example/way-one",
            "https://two.example/way-two",
        ),
        parameter("discount", json!(3.25), json!(4.25)),
        parameter("new_customer", json!(true), json!(false)),
        parameter("predicted_ltv", json!(991.25), json!(992.25)),
        parameter("net_revenue", json!(881.25), json!(882.25)),
        parameter("opt_out", json!(true), json!(false)),
        parameter("app_data", json!({"k": "Qoneapp"}), json!({"k": "Qtwoapp"})),
        parameter("data_processing_options", json!(["LDU"]), json!(["Qtwo"])),
        parameter("data_processing_options_country", json!(1), json!(2)),
        parameter("data_processing_options_state", json!(1000), json!(1001)),
        parameter("items.price", json!(771.25), json!(772.25)),
        parameter("items.quantity", json!(31), json!(32)),
        hashed(
            "user_data.email_address",
            "Jane.Doe@gmail.com",
            "John.Roe@gmail.com",
            &["jane.doe@gmail.com", "janedoe@gmail.com"],
        ),
        hashed(
            "user_data.phone_number",
            "+14155552671",
            "+14155552672",
            &["14155552671"],
        ),
        hashed("user_data.birth_date", "1990-05-17", "1991-06-18", &["19900517"]),
        hashed("user_data.gender", "female", "male", &["f"]),
        hashed("user_data.address.country", "DE", "FR", &["de"]),
        hashed("user_data.address.postal_code", "80331", "80332", &["80331"]),
        parameter("client_hints.mobile", json!(true), json!(false)),
        parameter(
            "client_hints.full_version_list",
            json!([{"brand": "Qonebrand", "version": "1"}]),
            json!([{"brand": "Qtwobrand", "version": "2"}]),
        ),
        parameter(
            "user_properties",
            json!({"tier": "Qonetier"}),
            json!({"tier": "Qtwotier"}),
        ),
        parameter("geo", json!({"city": "Qonecity"}), json!({"city": "Qtwocity"})),
        parameter(
            "device",
            json!({"browser": "Qonebrowser"}),
            json!({"browser": "Qtwobrowser"}),
        ),
        cookie("fbc", "fb.1.1767220000000.Qonefbc", "fb.1.1767220000000.Qtwofbc"),
        cookie("fbp", "fb.1.1767220000000.771", "fb.1.1767220000000.772"),
        cookie(
            "cookies._fbc",
            "fb.1.1767220000000.Qonecfbc",
            "fb.1.1767220000000.Qtwocfbc",
        ),
        cookie("cookies._fbp", "fb.1.1767220000000.881", "fb.1.1767220000000.882"),
        cookie("cookies._gcl_aw", "GCL.1767220000.QoneAw", "GCL.1767220000.QtwoAw"),
        cookie("cookies.FPGCLAW", "2.1.kQoneFp$i1767220000", "2.1.kQtwoFp$i1767220000"),
        cookie("cookies._gac_UA-1", "1.1767220000.QoneGac", "1.1767220000.QtwoGac"),
        cookie("cookies._gcl_ag", "2.1.kQoneAg$i1767220000", "2.1.kQtwoAg$i1767220000"),
        cookie(
            "cookies.FPGCLAG",
            "2.1.kQoneFag$i1767220000",
            "2.1.kQtwoFag$i1767220000",
        ),
        cookie("cookies._gcl_gb", "GCL.1767220000.QoneGb", "GCL.1767220000.QtwoGb"),
        cookie(
            "cookies.FPGCLGB",
            "2.1.kQoneFgb$i1767220000",
            "2.1.kQtwoFgb$i1767220000",
        ),
        hashed("user_id", "User-42", "User-43", &["user-42"]),
        parameter("x-ga-page_id", json!(771_100), json!(772_100)),
        parameter("x-ga-request_count", json!(761), json!(762)),
        parameter("stock", json!(6613), json!(6614)),
    ];
    all.extend(
        [
            "event_id",
            "client_id",
            "page_title",
            "page_hostname",
            "page_path",
            "screen_resolution",
            "transaction_id",
            "search_term",
            "content_type",
            "content_name",
            "content_category",
            "content_brand",
            "status",
            "delivery_category",
            "num_items",
            "shop_id",
            "method",
            "job_title",
            "company_name",
            "ttclid",
            "ttp",
            "page_encoding",
            "viewport_size",
            "event_location",
            "colour",
            "x_client_id",
            "items.item_id",
            "items.item_name",
            "items.item_category",
            "items.item_category2",
            "items.item_category3",
            "items.item_category4",
            "items.item_category5",
            "items.item_brand",
            "items.item_variant",
            "items.delivery_category",
            "items.colour",
            "click_ids.gclid",
            "click_ids.gbraid",
            "click_ids.wbraid",
            "click_ids.dclid",
            "click_ids.fbclid",
            "click_ids.ttclid",
            "click_ids.epik",
            "click_ids.li_fat_id",
            "click_ids.sccid",
            "click_ids.msclkid",
            "cookies._ga",
            "cookies.FPID",
            "cookies._ttp",
            "cookies.ttclid",
            "cookies.li_fat_id",
            "cookies._epik",
            "cookies._scid",
            "cookies._scclid",
            "client_hints.model",
            "client_hints.platform",
            "client_hints.platform_version",
            "client_hints.architecture",
            "user_data.address.first_name",
            "user_data.address.last_name",
            "user_data.address.street",
            "user_data.address.city",
            "user_data.address.region",
            "user_data.other",
            "user_location.city",
            "x-ga-em",
            "x-ga-measurement_id",
            "x-ga-gcs",
            "x-ga-mp2-seg",
            "x-ga-mp2-ci",
            "x-ga-mp2-cn",
            "x-ga-mp2-cs",
            "x-ga-mp2-cm",
            "x-ga-mp2-ck",
            "x-ga-mp2-ct",
            "x-ga-mp2-cc",
            "x-ga-mp2-ccf",
            "x-ga-mp2-cmt",
            "x-ga-mp2-frm",
            "x-sst-other",
        ]
        .map(text),
    );
    all.extend(
        [
            "user_data.sha256_email_address",
            "user_data.sha256_phone_number",
            "user_data.address.sha256_first_name",
            "user_data.address.sha256_last_name",
            "user_data.address.sha256_street",
            "user_data.address.sha256_city",
            "user_data.address.sha256_region",
            "user_data.address.sha256_postal_code",
            "user_data.address.sha256_country",
        ]
        .map(ready),
    );
    all
}

/// Puts a value at a parameter's place; items and addresses are lists of one.
fn put(event: &mut JsonMap<String, Json>, path: &str, value: Json) {
    match path.split_once('.') {
        None => drop(event.insert(path.to_owned(), value)),
        Some((outer @ ("items" | "address"), rest)) => {
            let list = event.entry(outer).or_insert_with(|| json!([{}]));
            put(list[0].as_object_mut().unwrap(), rest, value);
        }
        Some((outer, rest)) => {
            let inner = event.entry(outer).or_insert_with(|| json!({}));
            put(inner.as_object_mut().unwrap(), rest, value);
        }
    }
}

fn event<'p>(parameters: impl Iterator<Item = &'p Parameter>) -> JsonMap<String, Json> {
    let mut event = JsonMap::new();
    for parameter in parameters {
        put(&mut event, parameter.path, parameter.one.clone());
    }
    event
}

/// What every vendor needs to take an event, and nothing that stands before another parameter.
const LEAST: [&str; 9] = [
    "event_name",
    "timestamp_ms",
    "client_id",
    "page_location",
    "user_agent",
    "ip_override",
    "currency",
    "value",
    "user_data.email_address",
];

/// The events in which a parameter is tried: among all others, alone beside the least, and alone of its object.
fn surroundings(all: &[Parameter], tried: &Parameter) -> Vec<JsonMap<String, Json>> {
    let group = tried.path.split('.').next().unwrap_or_default();
    let top = |path: &str| path.split('.').next() == Some(group);
    let by_name = |path: &str| all.iter().find(|parameter| parameter.path == path);
    let whole = |name: &str| {
        let mut event = event(all.iter());
        event.insert("event_name".to_owned(), json!(name));
        event
    };
    let least = || LEAST.iter().filter_map(|path| by_name(path));
    let alone = event(least().filter(|parameter| !top(parameter.path)));
    let mut without_value = alone.clone();
    without_value.remove("value");
    let mut priced = without_value.clone();
    put(&mut priced, "items.price", json!(5.5));
    put(&mut priced, "items.item_id", json!("A"));
    let mut clicked = alone.clone();
    put(&mut clicked, "click_ids.gclid", json!("Qclick"));
    put(&mut clicked, "click_ids.li_fat_id", json!("Qclick"));
    put(&mut clicked, "click_ids.sccid", json!("Qclick"));
    let mut named = alone.clone();
    for path in [
        "user_data.email_address",
        "user_data.address.first_name",
        "user_data.address.last_name",
    ] {
        put(&mut named, path, by_name(path).unwrap().one.clone());
    }
    let (mut placed, mut with_item) = (named.clone(), alone.clone());
    for path in ["user_data.address.country", "user_data.address.postal_code"] {
        put(&mut placed, path, by_name(path).unwrap().one.clone());
    }
    put(&mut with_item, "items.item_id", json!("A"));
    let mut hashed_names = alone.clone();
    for path in [
        "user_data.address.country",
        "user_data.address.postal_code",
        "user_data.email_address",
    ] {
        put(&mut hashed_names, path, by_name(path).unwrap().one.clone());
    }
    for path in [
        "user_data.address.sha256_first_name",
        "user_data.address.sha256_last_name",
    ] {
        put(&mut hashed_names, path, by_name(path).unwrap().one.clone());
    }
    vec![
        whole("purchase"),
        whole("sign_up"),
        event(least()),
        alone,
        without_value,
        priced,
        clicked,
        named,
        placed,
        hashed_names,
        with_item,
    ]
}

fn encode(vendor: &dyn Destination, event: JsonMap<String, Json>) -> Option<String> {
    let Value::Map(fields) = Value::from(Json::Object(event)) else {
        panic!("an event is an object");
    };
    let granted = ConsentSignal::Granted;
    let record = Record {
        accepted_ms: NOW_MS,
        applied: Vec::new(),
        rejected: None,
        consent: Consent {
            ad_storage: granted,
            analytics_storage: granted,
            ad_user_data: granted,
            ad_personalization: granted,
        },
        vars: Map::new(),
        event: Event::from(fields),
    };
    let encoding = vendor.encode(&[record], NOW_MS);
    encoding.requests.first().map(|encoded| readable(&encoded.request))
}

/// All that a request says: its query decoded, its headers, its body, and what is packed in base64 in there.
fn readable(request: &Request) -> String {
    let mut text: String = request
        .url
        .query_pairs()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    for (name, value) in &request.headers {
        // The signature is of the time and the whole body.
        if name != "x-tagfleet-signature" {
            text.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or_default()));
        }
    }
    let body = String::from_utf8_lossy(&request.body).into_owned();
    if let Some((_, rest)) = body.split_once(r#""sessionAttributes":""#) {
        let packed = rest.split('"').next().unwrap_or_default();
        let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(packed).unwrap();
        text.push_str(&String::from_utf8(token).unwrap());
    }
    // A forwarded hit's longer part is a query in the body.
    for (name, value) in url::form_urlencoded::parse(body.as_bytes()) {
        text.push_str(&format!("{name}={value}\n"));
    }
    text + &body
}

/// In which form a parameter was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    InPart,
    Hashed,
    AsItIs,
}

/// The most that any of the events shows of a parameter; none when no request depends on it.
fn found(vendor: &dyn Destination, all: &[Parameter], tried: &Parameter) -> Option<Found> {
    let shown = surroundings(all, tried).into_iter().filter_map(|around| {
        let (mut one, mut other) = (around.clone(), around);
        put(&mut one, tried.path, tried.one.clone());
        put(&mut other, tried.path, tried.other.clone());
        let (one, other) = (encode(vendor, one), encode(vendor, other));
        let (one, other) = (one?, other.unwrap_or_default());
        if one == other {
            return None;
        }
        let (one, other) = (one.to_lowercase(), other.to_lowercase());
        let raw = leaves(&tried.one);
        let only_in_one = |text: &String| one.contains(text.as_str()) && !other.contains(text.as_str());
        let hashes: Vec<String> = tried.hashed.iter().map(|text| hash_of(text)).collect();
        let is_hash = tried.path.contains("sha256_");
        Some(
            if hashes.iter().any(only_in_one) || (is_hash && raw.iter().any(only_in_one)) {
                Found::Hashed
            } else if raw.iter().any(only_in_one) {
                Found::AsItIs
            } else {
                Found::InPart
            },
        )
    });
    shown.max()
}

/// The texts in a value, as requests spell them.
fn leaves(value: &Json) -> Vec<String> {
    match value {
        Json::Object(members) => members.values().flat_map(leaves).collect(),
        Json::Array(elements) => elements.iter().flat_map(leaves).collect(),
        Json::String(text) => vec![text.to_lowercase()],
        other => vec![other.to_string()],
    }
}

/// What the table says of a parameter.
fn stated(sent: Sent, path: &str) -> Option<Form> {
    let listed = sent.listed().filter(|(listed, _)| covers(listed, path));
    let listed = listed.max_by_key(|(listed, _)| listed.len()).map(|(_, form)| form);
    let others = || {
        let except = sent.others?;
        (!except.iter().any(|except| covers(except, path))).then_some(Form::AsItIs)
    };
    listed.or_else(others)
}

#[test]
fn every_vendor_is_sent_what_the_table_says_and_nothing_else() {
    let all = parameters();
    let mut complaints = Vec::new();
    for (name, spec) in specs() {
        let vendor = destinations::build(&spec, &mut Given).expect(name).vendor;
        let sent = spec.vendor().unwrap().sent();
        for tried in &all {
            let found = found(&*vendor, &all, tried);
            let fits = match (stated(sent, tried.path), found) {
                (None, None) => true,
                // Another spelling of a time, a number or a flag is the same.
                (Some(Form::AsItIs), Some(Found::AsItIs | Found::InPart)) => true,
                (Some(Form::Hashed), Some(Found::Hashed)) => true,
                // The sender's own hash goes on as it is.
                (Some(Form::AsItIs), Some(Found::Hashed)) => tried.path.contains("sha256_"),
                // GA4's Measurement Protocol has no place for lists and objects: there the table counts too much.
                (Some(Form::AsItIs), None) => name == "ga4" && (tried.one.is_array() || tried.one.is_object()),
                (Some(Form::InPart(_)), Some(Found::InPart | Found::AsItIs)) => true,
                _ => false,
            };
            if !fits {
                let stated = stated(sent, tried.path);
                complaints.push(format!(
                    "{name}: {}: the table says {stated:?}, the request {found:?}",
                    tried.path
                ));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_line_of_the_table_is_tried() {
    let all = parameters();
    let mut untried = Vec::new();
    for (name, spec) in specs() {
        for (path, _) in spec.vendor().unwrap().sent().listed() {
            let tried = all.iter().any(|parameter| covers(path, parameter.path));
            if !tried {
                untried.push(format!("{name}: {path}"));
            }
        }
    }
    assert!(untried.is_empty(), "{untried:?}");
    let named: Vec<&str> = specs().iter().map(|(_, spec)| spec.vendor().unwrap().name()).collect();
    assert!(VENDORS.iter().all(|vendor| named.contains(vendor)));
}

#[test]
fn a_vendors_host_is_where_its_requests_go() {
    for (name, spec) in specs() {
        let vendor = destinations::build(&spec, &mut Given).expect(name).vendor;
        let around = event(parameters().iter());
        let Value::Map(fields) = Value::from(Json::Object(around)) else {
            panic!("an event is an object");
        };
        let record = Record {
            accepted_ms: NOW_MS,
            applied: Vec::new(),
            rejected: None,
            consent: Consent::default(),
            vars: Map::new(),
            event: Event::from(fields),
        };
        let encoding = vendor.encode(&[record], NOW_MS);
        let target = encoding.requests.first().expect(name).request.target();
        let (_, host) = target.split_once("://").unwrap();
        assert_eq!(host, spec.vendor().unwrap().host(), "{name}");
    }
}
