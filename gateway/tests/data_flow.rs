//! `check --data-flow`: the record of the contract's example, for people and as CSV, and docs/data-flow.md that shows it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What the command prints on standard output.
fn record(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tagfleet-gateway"))
        .args(["check", "gateway/tests/data_flow/shop.yaml"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Compares with a file beside this test; with `UPDATE_EXPECTED=1` the file is written.
fn golden(name: &str, text: &str) {
    let path = root().join("gateway/tests/data_flow").join(name);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{}: UPDATE_EXPECTED=1 writes it", path.display());
}

#[test]
fn the_record_reads_as_it_always_did() {
    golden("shop.txt", &record(&["--data-flow"]));
    assert_eq!(record(&["--data-flow=text"]), record(&["--data-flow"]));
}

#[test]
fn the_csv_has_a_row_for_each_destination_and_parameter() {
    let text = record(&["--data-flow=csv"]);
    golden("shop.csv", &text);
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert!(
        lines[0].starts_with("namespace,container,destination,recipient,"),
        "{}",
        lines[0]
    );
    let hashed = lines
        .iter()
        .filter(|line| line.contains(",meta,") && line.contains(",hashed,"));
    assert!(hashed.count() > 5);
}

#[test]
fn the_page_shows_what_the_command_prints() {
    let page = fs::read_to_string(root().join("docs/data-flow.md")).unwrap();
    let (_, rest) = page
        .split_once("<!-- record -->\n```text\n")
        .expect("the record on the page");
    let (shown, _) = rest.split_once("\n```").unwrap();
    assert_eq!(shown, record(&["--data-flow"]).trim_end());
    let (_, rest) = page
        .split_once("<!-- csv -->\n```text\n")
        .expect("the rows on the page");
    let (shown, _) = rest.split_once("\n```").unwrap();
    let csv = record(&["--data-flow=csv"]);
    for line in shown.lines() {
        assert!(csv.split("\r\n").any(|row| row == line), "{line}");
    }
}
