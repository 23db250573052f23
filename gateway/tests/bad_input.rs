//! Bad manifests, each with what `check` says of it: `tests/bad-input/<case>.yaml` and `<case>.expected.txt`.
//!
//! With `UPDATE_EXPECTED=1` the expected texts are written anew, to be read before they are committed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{env, fs, path::Path};

use tagfleet_gateway::config;

#[test]
fn every_mistake_is_named_with_file_line_and_field() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/bad-input");
    let update = env::var_os("UPDATE_EXPECTED").is_some();
    let mut cases = 0;
    let mut failed = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let manifest = entry.unwrap().path();
        if manifest.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        cases += 1;
        let shown = format!("{}/", folder.display());
        let lines = config::check(vec![manifest.clone()]);
        let found: String = lines
            .iter()
            .map(|line| format!("{line}\n").replace(&shown, ""))
            .collect();
        let expected = manifest.with_extension("expected.txt");
        if update {
            fs::write(&expected, &found).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != found || found.is_empty() {
            failed.push(format!("{}:\n{found}", expected.display()));
        }
    }
    assert!(cases > 15, "only {cases} cases in {}", folder.display());
    assert!(failed.is_empty(), "not as expected; found:\n{}", failed.join("\n"));
}
