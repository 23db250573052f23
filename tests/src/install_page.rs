//! The commands of docs/install.md, run as they stand there.

use std::{fs, os::unix::fs::symlink, process::Command};

use crate::{
    cluster::{Cluster, components},
    process,
};

/// Which of the page's blocks are run. A block that begins with ```` ```sh pods ```` needs pods that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// Those that work without a node.
    WithoutPods,
    /// All.
    WithPods,
}

/// Runs blocks in order, each in a shell of its own that ends at the first error, with `helm` and `kubectl` on its path.
/// Returns how many there were.
///
/// # Panics
/// With the block and what it said, when one fails.
pub fn run_blocks(cluster: &Cluster, which: Blocks) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let repository = process::repository();
    symlink(repository.join("scripts/helm"), folder.path().join("helm")).expect("a link");
    let path = format!(
        "{}:{}:{}",
        folder.path().display(),
        components().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let page = fs::read_to_string(repository.join("docs/install.md")).expect("the page");
    let blocks = blocks(&page, which);
    assert!(blocks.len() > 5, "the page has its commands in sh blocks");
    for block in &blocks {
        println!("{block}");
        // What a block leaves in the background ends with it.
        let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{block}");
        let mut shell = Command::new("bash");
        shell
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(&repository)
            .env("PATH", &path)
            .env("KUBECONFIG", cluster.kubeconfig())
            .env("KUBECACHEDIR", folder.path())
            .env("HELM_CACHE_HOME", folder.path())
            .env("HELM_CONFIG_HOME", folder.path())
            .env("HELM_DATA_HOME", folder.path());
        let output = shell.output().expect("bash");
        let said = [&output.stdout[..], &output.stderr]
            .map(String::from_utf8_lossy)
            .concat();
        assert!(output.status.success(), "{block}\n{said}");
    }
    blocks.len()
}

fn blocks(page: &str, which: Blocks) -> Vec<String> {
    let parts = page.split("\n```sh").skip(1);
    let blocks = parts.filter_map(|part| {
        let (kind, rest) = part.split_once('\n')?;
        let (block, _) = rest.split_once("\n```")?;
        (kind != " pods" || which == Blocks::WithPods).then(|| block.to_owned())
    });
    blocks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_need_pods_are_told_from_the_others() {
        let page = "# Page\n\n```sh\nfirst\n```\n\n```yaml\nno: command\n```\n\n```sh pods\nsecond\nline\n```\n";
        assert_eq!(blocks(page, Blocks::WithoutPods), ["first"]);
        assert_eq!(blocks(page, Blocks::WithPods), ["first", "second\nline"]);
    }
}
