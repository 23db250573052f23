//! A folder of manifests for one test.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::process;

/// A folder of YAML files that ends with the test.
pub struct Manifests {
    dir: TempDir,
}

impl Default for Manifests {
    fn default() -> Self {
        Self::new()
    }
}

impl Manifests {
    /// An empty folder.
    #[must_use]
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a folder for manifests"),
        }
    }

    /// A copy of an example of the repository, with pieces of text replaced: each must occur.
    #[must_use]
    pub fn example(name: &str, replacements: &[(&str, &str)]) -> Self {
        let manifests = Self::new();
        render(
            &process::repository().join("examples").join(name),
            manifests.path(),
            replacements,
        );
        manifests
    }

    /// A container `shop` with a GA4 client for `G-TEST1`, `spec` being further lines of its spec (two spaces in).
    #[must_use]
    pub fn container(self, spec: &str) -> Self {
        self.file("shop.yaml", &container(spec))
    }

    /// A webhook Destination, `spec` being further lines of its spec (two spaces in).
    #[must_use]
    pub fn webhook(self, name: &str, url: &str, spec: &str) -> Self {
        let file = format!("{name}.yaml");
        self.file(&file, &webhook(name, url, spec))
    }

    /// Any file.
    #[must_use]
    pub fn file(self, name: &str, text: &str) -> Self {
        self.write(name, text);
        self
    }

    /// Writes a file of the running configuration, as an editor does: whole, by a rename.
    pub fn write(&self, name: &str, text: &str) {
        let temporary = self.dir.path().join(format!(".{name}.tmp"));
        fs::write(&temporary, text).expect("a manifest");
        fs::rename(&temporary, self.dir.path().join(name)).expect("a manifest");
    }

    /// Deletes a file.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.dir.path().join(name)).expect("a manifest");
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// The text of a container `shop`.
#[must_use]
pub fn container(spec: &str) -> String {
    format!(
        "apiVersion: tagfleet.dev/v1alpha1\nkind: TaggingContainer\nmetadata: {{name: shop}}\nspec:\n  hostnames: \
         [metrics.shop.example]\n  clients:\n  - name: web\n    ga4: {{measurementIds: [G-TEST1]}}\n{spec}\n"
    )
}

/// The text of a webhook Destination of container `shop`.
#[must_use]
pub fn webhook(name: &str, url: &str, spec: &str) -> String {
    format!(
        "apiVersion: tagfleet.dev/v1alpha1\nkind: Destination\nmetadata: {{name: {name}}}\nspec:\n  containerRefs: \
         [{{name: shop}}]\n  webhook: {{url: \"{url}\"}}\n{spec}\n"
    )
}

/// Copies a folder of manifests and replaces text on the way.
///
/// # Panics
/// When a text to replace occurs nowhere: the example has changed under the test.
pub fn render(from: &Path, to: &Path, replacements: &[(&str, &str)]) {
    let mut found = vec![false; replacements.len()];
    let mut copied: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let path = entry.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let mut text = fs::read_to_string(&path).expect("a manifest");
        for ((old, new), found) in replacements.iter().zip(&mut found) {
            *found |= text.contains(old);
            text = text.replace(old, new);
        }
        let copy = to.join(path.file_name().expect("a file has a name"));
        fs::write(&copy, text).expect("a manifest");
        copied.push(copy);
    }
    for ((old, _), found) in replacements.iter().zip(found) {
        assert!(found, "{old:?} is nowhere in {}", from.display());
    }
}
