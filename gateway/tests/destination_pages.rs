//! docs/destinations: every vendor has a page, and every manifest on a page is one that `check` accepts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use tagfleet_crds::destination::VENDORS;
use tagfleet_gateway::config::{self, finding::Finding};

fn pages() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/destinations");
    let entries = fs::read_dir(folder).expect("docs/destinations");
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The manifests of a page: its blocks of YAML that say what kind they are.
fn manifests(page: &str) -> impl Iterator<Item = &str> {
    page.split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("\n```").next())
        .filter(|block| block.contains("apiVersion: tagfleet.dev/"))
}

#[test]
fn every_manifest_of_the_pages_passes_check() {
    let mut complaints = Vec::new();
    for (path, page) in pages() {
        for manifest in manifests(&page) {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("example.yaml"), manifest).unwrap();
            // What is nowhere (the container, the Secret) is a warning: the reader has those.
            let findings = config::check(vec![folder.path().to_owned()]);
            let errors: Vec<String> = findings
                .iter()
                .filter(|it| it.is_error())
                .map(Finding::to_string)
                .collect();
            if !errors.is_empty() {
                complaints.push(format!("{}: {}", path.display(), errors.join("\n")));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}

#[test]
fn every_vendor_has_a_page_with_a_manifest() {
    let pages = pages();
    let missing: Vec<&str> = VENDORS
        .into_iter()
        .filter(|vendor| {
            let block = format!("  {vendor}:");
            !pages
                .iter()
                .any(|(_, page)| manifests(page).any(|manifest| manifest.contains(&block)))
        })
        .collect();
    assert!(
        missing.is_empty(),
        "no page of docs/destinations has an example of {missing:?}"
    );
}
