//! Meta's own SDK from PyPI normalises and hashes as the gateway does, but for the differences listed here: in each of them
//! the SDK goes against Meta's documentation (vendors/meta-capi.md section 3, vendors/others.md section 17).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use tagfleet_gateway::destinations::identity::{self, EmailRule, NameRule, PhoneRule};
use tagfleet_tests::{process, skip};

/// The Python with the SDK installed: scripts/test makes it.
fn python() -> PathBuf {
    let venv = || process::repository().join("target/venv/bin/python");
    env::var_os("TAGFLEET_PYTHON").map_or_else(venv, PathBuf::from)
}

/// What the SDK makes of each value.
fn by_the_sdk(rows: &[(&str, String)]) -> Vec<Option<String>> {
    let mut script = Command::new(python())
        .arg(process::repository().join("tests/clients/meta_normalizer.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python");
    let json = serde_json::to_vec(rows).unwrap();
    script.stdin.take().unwrap().write_all(&json).unwrap();
    let ended = script.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// What the gateway makes of a value, for Meta.
fn by_the_gateway(field: &str, raw: &str) -> Option<String> {
    match field {
        "em" => identity::email(raw, EmailRule::Plain),
        "ph" => identity::phone(raw, PhoneRule::Digits),
        "fn" | "ln" => identity::name(raw, NameRule::Letters),
        "ct" => identity::city(raw),
        "st" => identity::region(raw, None),
        "zp" => identity::postal_code(raw, None),
        "country" => identity::country(raw),
        _ => panic!("no field {field}"),
    }
}

/// What people type: some plain, some odd, each field's own.
const TYPED: [(&str, &[&str]); 8] = [
    (
        "em",
        &[
            "test@example.com",
            "jane.doe@gmail.com",
            "jane.doe+news@example.com",
            "o'connor@example.co.uk",
            "ä.ö@müller.de",
            "ΑΒΓ@example.gr",
            "иван@пример.рф",
            "first_last-1@sub.domain.example",
            "\"quoted\"@example.com",
            "a@b.c",
            "no address",
            "jane@",
            "@example.com",
            "jane@example",
            "jane@.com",
            "jane doe@example.com",
            "王@例え.jp",
            "x@y@example.com",
        ],
    ),
    (
        "ph",
        &[
            "+1 (415) 555-2671",
            "14155552671",
            "0049 151 12345678",
            "+49 151 1234 5678",
            "+44 844 412 4653",
            "+33612345678",
            "(415) 555 2671",
            "+81-3-1234-5678",
            "+86 138 0013 8000",
            "00 966 50 123 4567",
            "+420 601 123 456",
            "+971501234567",
            "0151 1234567",
            "+1.415.555.2671",
            "+1 415/555-2671",
            "415",
            "call me",
            "+12345678901234567890",
            "1234567",
            "٠٠٩٦٦٥٠١٢٣٤٥٦٧",
            "+49 (0) 151 12345678",
        ],
    ),
    (
        "fn",
        &[
            "Jane",
            "JOSÉ",
            "Zoë",
            "Ольга",
            "小明",
            "प्रिया",
            "محمد",
            "Ωmega",
            "ŁUKASZ",
            "straße",
            "İpek",
            "Jean-Luc",
            "Mary Ann",
            "O'Brien",
            "D’Angelo",
            "Jr.",
            "Mu\u{308}ller",
            "☆",
            "Anne3",
            "김민준",
        ],
    ),
    (
        "ln",
        &[
            "Doe",
            "MÜLLER",
            "Nguyễn",
            "Иванова",
            "田中",
            "O'Connor",
            "van der Berg",
            "Smith-Jones",
            "Łukasiewicz",
            "Ñuñez",
            "Þórsson",
            "Çelik",
            "de la Cruz",
            "St. John",
            "ΠΑΠΑΔΌΠΟΥΛΟΣ",
        ],
    ),
    (
        "ct",
        &[
            "Palo Alto",
            "New York",
            "München",
            "St. Louis",
            "Saint-Denis",
            "Köln (Süd)",
            "SÃO PAULO",
            "东京",
            "Москва",
            "Zürich 8001",
            "L'Aquila",
            "Aix-en-Provence",
            "Winston–Salem",
            "Łódź",
        ],
    ),
    (
        "st",
        &[
            "CA",
            "ny",
            "  TX",
            "Bayern",
            "Île-de-France",
            "Nordrhein-Westfalen",
            "NSW",
            "New South Wales",
            "東京都",
            "Ontario",
            "California",
            "New York",
            "US-CA",
            "75",
            "Provence-Alpes-Côte d'Azur",
        ],
    ),
    (
        "zp",
        &[
            "94035",
            "94035-1234",
            "SW1A 1AA",
            "ec1a 1bb",
            "80331",
            "K1A 0B1",
            "75 008",
            "1010",
            "110001",
            "00-950",
            "100-0001",
            "7",
        ],
    ),
    (
        "country",
        &[
            "US",
            "de",
            "Gb",
            "F.R.",
            "jp ",
            "B R",
            "UK",
            "Germany",
            "USA",
            "zz",
            "1",
            "Österreich",
        ],
    ),
];

/// A value as different people and systems hand it on.
fn spelled(raw: &str) -> Vec<String> {
    let hash = tagfleet_gateway::hashing::sha256_hex(raw.as_bytes());
    vec![
        raw.to_owned(),
        raw.to_uppercase(),
        raw.to_lowercase(),
        format!("  {raw}\t"),
        format!("\r\n{raw}\u{a0}"),
        hash.to_uppercase(),
    ]
}

/// Where the SDK goes against the documentation, and why; `None` where nothing excuses a difference.
fn difference(field: &str, raw: &str) -> Option<&'static str> {
    let text = raw.trim();
    let any = |wanted: fn(char) -> bool| text.chars().any(wanted);
    let digits = text.chars().filter(char::is_ascii_digit).count();
    match field {
        "em" if any(char::is_whitespace) => {
            Some("em: an address with white space is none (it must look like an e-mail)")
        }
        "fn" | "ln" if any(|c| c == '\u{308}') => {
            Some("fn, ln: the same name, typed with combining marks, is the same name (NFC)")
        }
        "fn" | "ln" if any(|c| !c.is_alphanumeric()) => Some("fn, ln: white space and punctuation are stripped"),
        "ct" if any(|c| matches!(c, '\'' | '–')) => Some("ct: all punctuation is stripped, not only . - ( )"),
        "st" if any(|c| c == '\'') => Some("st: all punctuation is stripped, not only . - ( )"),
        "st" if any(|c| c.is_ascii_digit()) => {
            Some("st: digits stay; without them nothing is left of a department's number")
        }
        "st" => Some("st: in the USA and Canada the code of two letters, also of a full name and of ISO 3166-2"),
        "zp" if text.contains('-') => Some("zp: only a code of the USA ends at the dash"),
        "zp" => Some("zp: at least two characters"),
        "ph" if any(|c| matches!(c, '.' | '/')) => Some("ph: only digits are kept, whatever stands between them"),
        "ph" if any(|c| matches!(c, '٠'..='٩')) => Some("ph: digits are digits in every script"),
        "ph" if text.starts_with('0') && !text.starts_with("00") => {
            Some("ph: a national number (trunk 0) has no country code, without which Meta cannot match it")
        }
        "ph" if !(8..=15).contains(&digits) => Some("ph: an international number has 8 to 15 digits (E.164)"),
        "country" if text.eq_ignore_ascii_case("uk") => Some("country: UK is how many write GB"),
        _ => None,
    }
}

#[test]
fn the_sdk_of_meta_hashes_as_the_gateway_does() {
    if !python().exists() {
        return skip::skip(
            "meta_sdk",
            "no Python with facebook-business (scripts/test makes target/venv)",
        );
    }
    let mut rows: Vec<(&str, String)> = Vec::new();
    let mut seen = BTreeSet::new();
    for (field, typed) in TYPED {
        for raw in typed.iter().flat_map(|raw| spelled(raw)) {
            if seen.insert((field, raw.clone())) {
                rows.push((field, raw));
            }
        }
    }
    let theirs = by_the_sdk(&rows);
    assert_eq!(theirs.len(), rows.len());
    let (mut equal, mut hashes) = (0, 0);
    let mut excused: BTreeMap<&str, u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    for ((field, raw), theirs) in rows.iter().zip(theirs) {
        let ours = by_the_gateway(field, raw);
        if ours == theirs {
            equal += 1;
            hashes += u32::from(ours.is_some());
        } else if let Some(why) = difference(field, raw) {
            *excused.entry(why).or_default() += 1;
        } else {
            wrong.push(format!("{field} {raw:?}: ours {ours:?}, the SDK's {theirs:?}"));
        }
    }
    println!("{} values: {equal} alike, {hashes} of them with a hash", rows.len());
    for (why, count) in &excused {
        println!("{count:4} differ: {why}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(equal >= 300, "only {equal} values are alike");
}

/// The SDK hashes what is blank, too; this hash must never leave (vendors/others.md section 17).
#[test]
fn the_hash_of_nothing_is_the_sdks_alone() {
    if !python().exists() {
        return skip::skip(
            "meta_sdk",
            "no Python with facebook-business (scripts/test makes target/venv)",
        );
    }
    let nothing = tagfleet_gateway::hashing::sha256_hex(b"");
    assert_eq!(by_the_sdk(&[("fn", "  ".to_owned())]), [Some(nothing)]);
    assert_eq!(by_the_gateway("fn", "  "), None);
}
