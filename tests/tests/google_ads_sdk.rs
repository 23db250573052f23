//! Google's own client libraries from PyPI take the gateway's requests to the Data Manager API, and hash what visitors say of
//! themselves as the gateway does, but for what is listed here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{
    env, fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tagfleet_gateway::destinations::identity::{self, EmailRule, NameRule, PhoneRule};
use tagfleet_tests::{process, skip};

/// The Python with the libraries installed: scripts/test makes it.
fn python() -> PathBuf {
    let venv = || process::repository().join("target/venv/bin/python");
    env::var_os("TAGFLEET_PYTHON").map_or_else(venv, PathBuf::from)
}

/// What the libraries make of requests and values; none where they are not installed.
fn by_the_sdk(given: &Value) -> Option<Value> {
    if !python().exists() {
        skip::skip(
            "google_ads_sdk",
            "no Python with Google's libraries (scripts/test makes target/venv)",
        );
        return None;
    }
    let mut script = Command::new(python())
        .arg(process::repository().join("tests/clients/google_ads_sdk.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python");
    script
        .stdin
        .take()
        .unwrap()
        .write_all(given.to_string().as_bytes())
        .unwrap();
    let ended = script.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    Some(serde_json::from_slice(&ended.stdout).unwrap())
}

#[test]
fn every_request_of_the_vectors_is_one_that_googles_library_takes() {
    let file = process::repository().join("tests/vectors/destinations/google-ads.json");
    let file: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let cases = file["cases"].as_array().unwrap().iter();
    let requests = cases.filter_map(|case| case["requests"].as_array()).flatten();
    let by_data_manager = requests.filter(|request| request["url"].as_str().unwrap().ends_with("events:ingest"));
    let mut bodies: Vec<Value> = by_data_manager.map(|request| request["body"].clone()).collect();
    assert!(bodies.len() >= 3);
    // That the library tells what is wrong, too.
    let mut unknown = bodies[0].clone();
    unknown["events"][0]["sku"] = json!("BOWL-10");
    bodies.push(unknown);
    let Some(told) = by_the_sdk(&json!({"requests": bodies, "values": []})) else {
        return;
    };
    let told = told["requests"].as_array().unwrap();
    let (unknown, good) = told.split_last().unwrap();
    assert!(unknown.is_string());
    assert!(good.iter().all(Value::is_null), "{good:?}");
}

/// What people type.
const TYPED: [(&str, &[&str]); 4] = [
    (
        "email",
        &[
            " Test@Example.com ",
            "Jane.Doe@gmail.com",
            "Jane.Doe+news@gmail.com",
            "j.a.n.e+a+b@GoogleMail.com",
            "Jane.Doe+news@example.com",
            "o'connor@example.co.uk",
            "first_last-1@sub.domain.example",
            "иван@пример.рф",
            "ÄÖ@müller.de",
            "王@例え.jp",
            "jane doe@example.com",
            "no address",
            "jane@",
            "@example.com",
            "x@y@example.com",
            "",
            "+news@gmail.com",
            "...@gmail.com",
            "jane@example",
            "jane@.com",
        ],
    ),
    (
        "phone",
        &[
            "+1 (415) 555-2671",
            "+49 151 1234 5678",
            "+44 844 412 4653",
            "+33612345678",
            "+81-3-1234-5678",
            "+1.415.555.2671",
            "call me",
            "",
            "0049 151 12345678",
            "0151 12345678",
            "14155552671",
            "+1 23",
        ],
    ),
    (
        "first_name",
        &[
            "Jane",
            " JOSÉ ",
            "Zoë",
            "Ольга",
            "小明",
            "Mary Ann",
            "Jean-Luc",
            "ΩMEGA",
            " ",
            "",
        ],
    ),
    (
        "last_name",
        &[
            "Doe",
            "MÜLLER",
            "O'Connor",
            "Nguyễn",
            "van der Berg",
            " de la Cruz ",
            "Иванова",
            "王",
            "",
        ],
    ),
];

/// Where the two differ, and why.
const DIFFERENT: [(&str, &str); 7] = [
    (
        "x@y@example.com",
        "what stands before the last at-sign may hold another, in quotes; the library refuses all of them",
    ),
    ("jane@example", "no domain of the internet has a single label"),
    ("jane@.com", "no domain begins with a dot"),
    (
        "0049 151 12345678",
        "00 stands for +: the library hashes +0049…, which is no E.164",
    ),
    (
        "0151 12345678",
        "a national number has no country: the library hashes +0151…",
    ),
    (
        "14155552671",
        "nobody says that this is a country's code: the library takes it for one",
    ),
    ("+1 23", "too short for a number"),
];

#[test]
fn values_are_hashed_as_googles_library_hashes_them() {
    let rows: Vec<(&str, &str)> = TYPED
        .iter()
        .flat_map(|(field, values)| values.iter().map(|value| (*field, *value)))
        .collect();
    let Some(told) = by_the_sdk(&json!({"requests": [], "values": rows})) else {
        return;
    };
    let mut differences = Vec::new();
    for ((field, raw), by_the_sdk) in rows.iter().zip(told["values"].as_array().unwrap()) {
        let by_the_gateway = match *field {
            "email" => identity::email(raw, EmailRule::Google),
            "phone" => identity::phone(raw, PhoneRule::E164),
            _ => identity::name(raw, NameRule::Trimmed),
        };
        if by_the_gateway.as_deref() != by_the_sdk.as_str() {
            println!("{field} {raw:?}: the gateway {by_the_gateway:?}, Google's library {by_the_sdk}");
            differences.push(*raw);
        }
    }
    let expected: Vec<&str> = DIFFERENT.iter().map(|(raw, _)| *raw).collect();
    assert_eq!(differences, expected);
}
