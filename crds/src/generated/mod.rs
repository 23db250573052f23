//! What is generated from the types: the CRDs as YAML, and the reference pages.

mod reference;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::schema;

/// A generated file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, without a folder.
    pub name: &'static str,
    /// What it holds.
    pub text: String,
}

/// Why a CRD cannot be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the CRD of {kind} as YAML: {source}")]
pub struct YamlError {
    kind: String,
    source: serde_saphyr::ser::Error,
}

/// Both CRDs as YAML, ready to be applied.
///
/// # Errors
/// [`YamlError`] if the CRD cannot be written, which the tests rule out.
pub fn crds() -> Result<Vec<File>, YamlError> {
    let crds = [
        ("taggingcontainers.yaml", schema::tagging_container()),
        ("destinations.yaml", schema::destination()),
    ];
    crds.into_iter()
        .map(|(name, crd)| yaml(&crd).map(|text| File { name, text }))
        .collect()
}

/// A CRD as YAML.
///
/// # Errors
/// [`YamlError`] if it cannot be written.
pub fn yaml(crd: &CustomResourceDefinition) -> Result<String, YamlError> {
    serde_saphyr::to_string(crd).map_err(|source| YamlError {
        kind: crd.spec.names.kind.clone(),
        source,
    })
}

/// The reference pages of both kinds, in Markdown.
#[must_use]
pub fn reference() -> Vec<File> {
    vec![
        File {
            name: "tagging-container.md",
            text: reference::page(&schema::tagging_container()),
        },
        File {
            name: "destination.md",
            text: reference::page(&schema::destination()),
        },
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use std::{fs, path::Path};

    use super::*;

    /// The largest CRD that client-side apply can store: its annotation holds 262,144 bytes; the contract says 200 KB.
    const MOST_BYTES: usize = 200_000;

    fn repository() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    fn assert_fresh(folder: &str, files: &[File], target: &str) {
        for file in files {
            let path = repository().join(folder).join(file.name);
            let written = fs::read_to_string(&path).unwrap_or_default();
            assert!(written == file.text, "{} is stale: run `make {target}`", path.display());
        }
    }

    #[test]
    fn the_crds_in_the_repository_are_fresh() {
        assert_fresh("crds/yaml", &crds().unwrap(), "generate");
    }

    #[test]
    fn the_reference_in_the_repository_is_fresh() {
        assert_fresh("docs/reference", &reference(), "generate");
    }

    #[test]
    fn a_crd_fits_the_annotation_of_kubectl_apply() {
        for file in crds().unwrap() {
            assert!(
                file.text.len() < MOST_BYTES,
                "{} has {} bytes",
                file.name,
                file.text.len()
            );
        }
    }

    #[test]
    fn the_yaml_reads_back_as_what_was_written() {
        for (file, crd) in crds()
            .unwrap()
            .iter()
            .zip([schema::tagging_container(), schema::destination()])
        {
            let read: serde_json::Value = serde_saphyr::from_str(&file.text).unwrap();
            assert_eq!(read, serde_json::to_value(&crd).unwrap(), "{}", file.name);
        }
    }

    #[test]
    fn words_that_old_yaml_takes_for_truths_are_in_quotes() {
        let text = &crds().unwrap()[0].text;
        assert!(
            text.contains("- \"True\"") || text.contains("- 'True'"),
            "kubectl reads a bare True as a truth"
        );
    }
}
