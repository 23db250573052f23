//! `tagfleet-gateway check` and the start of `serve` as a shell sees them: lines and exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    path::Path,
    process::{Command, Output},
};

fn gateway(arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    Command::new(env!("CARGO_BIN_EXE_tagfleet-gateway"))
        .args(arguments)
        .current_dir(root)
        .output()
        .unwrap()
}

fn code_and_text(arguments: &[&str]) -> (Option<i32>, String) {
    let output = gateway(arguments);
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code(), text)
}

#[test]
fn the_quickstart_has_no_mistakes() {
    assert_eq!(
        code_and_text(&["check", "--strict", "examples/quickstart"]),
        (Some(0), "no mistakes\n".into())
    );
}

#[test]
fn mistakes_are_printed_with_their_places() {
    let (code, text) = code_and_text(&["check", "tests/bad-input/unknown-field.yaml"]);
    assert_eq!(code, Some(1));
    assert!(
        text.starts_with(
            "tests/bad-input/unknown-field.yaml:14:3: Destination/orders: spec.triger: unknown field; did you mean \
             `trigger`?\n"
        ),
        "{text}"
    );
    assert!(text.ends_with("3 errors, 0 warnings\n"), "{text}");
}

#[test]
fn warnings_refuse_only_when_strict() {
    let file = "tests/bad-input/container-elsewhere.yaml";
    let (code, text) = code_and_text(&["check", file]);
    assert_eq!(code, Some(0));
    assert!(
        text.contains(": warning: Destination/orders: spec.containerRefs[0].name: "),
        "{text}"
    );
    let (code, text) = code_and_text(&["check", "--strict", file]);
    assert_eq!(code, Some(1));
    assert!(!text.contains("warning:"), "{text}");
}

#[test]
fn what_is_not_there_is_refused_input_and_no_argument_wrong_usage() {
    let (code, text) = code_and_text(&["check", "nowhere.yaml"]);
    assert_eq!(code, Some(1));
    assert!(text.starts_with("nowhere.yaml: cannot be read: "), "{text}");
    assert_eq!(code_and_text(&["check"]).0, Some(2));
    assert_eq!(code_and_text(&["chekc", "x"]).0, Some(2));
}

#[test]
fn the_record_goes_to_standard_output_and_mistakes_beside_it_to_standard_error() {
    let output = gateway(&["check", "--data-flow", "examples/quickstart"]);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let record = String::from_utf8(output.stdout).unwrap();
    assert!(
        record.starts_with("RECORD OF PROCESSING ACTIVITIES (GDPR, Article 30)\n"),
        "{record}"
    );

    let output = gateway(&["check", "--data-flow", "tests/bad-input/receives.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let mistakes = String::from_utf8(output.stderr).unwrap();
    assert!(mistakes.contains("Destination/orders: spec.receives: would send parameters of the class personal"));
    assert!(String::from_utf8(output.stdout).unwrap().contains("3.1 orders"));
}

#[test]
fn a_leak_is_refused_where_it_stands() {
    let (code, text) = code_and_text(&["check", "tests/bad-input/receives.yaml"]);
    assert_eq!(code, Some(1));
    assert!(text.ends_with("1 error, 0 warnings\n"), "{text}");
}

#[test]
fn erase_says_when_there_is_nothing_to_erase_in() {
    let (code, text) = code_and_text(&[
        "erase",
        "--client-id",
        "1.2",
        "--data-dir",
        "/nowhere",
        "--admin",
        "127.0.0.1:1",
    ]);
    assert_eq!(code, Some(1));
    assert!(
        text.starts_with("nothing is erased: no gateway answers at 127.0.0.1:1"),
        "{text}"
    );
    assert_eq!(code_and_text(&["erase"]).0, Some(2));
    assert_eq!(
        code_and_text(&["erase", "--client-id", "1", "--user-id", "2"]).0,
        Some(2)
    );
}

#[test]
fn erase_works_on_the_folder_of_a_gateway_that_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let (code, text) = code_and_text(&[
        "erase",
        "--client-id",
        "1.2",
        "--data-dir",
        path,
        "--admin",
        "127.0.0.1:1",
    ]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("dead letters: 0 removed"), "{text}");
    let list = std::fs::read_to_string(folder.path().join("erasures")).unwrap();
    assert!(list.starts_with("tagfleet erasures 1\n"), "{list}");
    assert_eq!(list.lines().count(), 3, "{list}");
}

#[test]
fn serve_starts_with_no_refused_manifest_and_names_every_mistake() {
    let (code, text) = code_and_text(&["serve", "--manifests", "tests/bad-input/not-in-force.yaml"]);
    assert_eq!(code, Some(1));
    for field in ["spec.priority", "spec.preview"] {
        assert!(
            text.contains(&format!(": {field}: is not in force in this version yet")),
            "{field}: {text}"
        );
    }
}
