//! The commands of a documentation page, run as they stand there.

use std::{fs, os::unix::fs::symlink, process::Command};

use tempfile::TempDir;

use crate::{
    cluster::{Cluster, components},
    process,
};

/// What a page has between fences: of each block what stands behind the fence that opens it (`sh pods`), and its lines.
/// The page is named from the repository's root.
///
/// # Panics
/// When there is no such page.
#[must_use]
pub fn blocks(page: &str) -> Vec<(String, String)> {
    fenced(&fs::read_to_string(process::repository().join(page)).expect("the page"))
}

pub(crate) fn fenced(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, Vec<&str>)> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), open.take()) {
            (Some(kind), None) => open = Some((kind, Vec::new())),
            (Some(_), Some((kind, lines))) => blocks.push((kind.to_owned(), lines.join("\n"))),
            (None, Some((kind, mut lines))) => {
                lines.push(line);
                open = Some((kind, lines));
            }
            (None, None) => {}
        }
    }
    blocks
}

/// A reader who types commands in the repository's folder, with `helm` and `kubectl` at hand.
pub struct Shell {
    kubeconfig: String,
    path: String,
    home: TempDir,
}

impl Shell {
    /// As the cluster's administrator.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        symlink(process::repository().join("scripts/helm"), home.path().join("helm")).expect("a link");
        let before = std::env::var("PATH").unwrap_or_default();
        Self {
            kubeconfig: cluster.kubeconfig().display().to_string(),
            path: format!("{}:{}:{before}", home.path().display(), components().display()),
            home,
        }
    }

    /// Runs these lines with these variables, up to the first error, and returns what they print.
    ///
    /// # Panics
    /// With the lines and what they said, when one fails.
    #[must_use]
    pub fn run(&self, lines: &str, variables: &[(&str, &str)]) -> String {
        let home = self.home.path();
        // What is left in the background ends with it.
        let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{lines}");
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(process::repository())
            .env("PATH", &self.path)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", home)
            .env("HELM_CACHE_HOME", home)
            .env("HELM_CONFIG_HOME", home)
            .env("HELM_DATA_HOME", home)
            .envs(variables.iter().copied())
            .output()
            .expect("bash");
        let [printed, complaints] = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy);
        assert!(output.status.success(), "{lines}\n{printed}{complaints}");
        printed.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_with_their_kind_indented_ones_too() {
        let page =
            "# Page\n\n```sh\nfirst\n```\n\n1. Do:\n\n   ```\n   second\n   ```\n\n```sh pods\nthird\nline\n```\n";
        let blocks = fenced(page);
        let blocks: Vec<_> = blocks.iter().map(|(kind, lines)| (&**kind, &**lines)).collect();
        assert_eq!(blocks, [("sh", "first"), ("", "   second"), ("sh pods", "third\nline")]);
    }
}
