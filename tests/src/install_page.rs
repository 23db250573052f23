//! The commands of docs/install.md, run as they stand there.

use crate::{
    cluster::Cluster,
    page::{self, Shell},
};

/// Which of the page's blocks are run. A block that begins with ```` ```sh pods ```` needs pods that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// Those that work without a node.
    WithoutPods,
    /// All.
    WithPods,
}

impl Blocks {
    fn has(self, kind: &str) -> bool {
        kind == "sh" || kind == "sh pods" && self == Self::WithPods
    }
}

/// Runs blocks in order, each in a shell of its own that ends at the first error, with `helm` and `kubectl` on its path.
/// Returns how many there were.
///
/// # Panics
/// With the block and what it said, when one fails.
pub fn run_blocks(cluster: &Cluster, which: Blocks) -> usize {
    let shell = Shell::of(cluster);
    let blocks = page::blocks("docs/install.md");
    let blocks: Vec<_> = blocks.iter().filter(|(kind, _)| which.has(kind)).collect();
    assert!(blocks.len() > 5, "the page has its commands in sh blocks");
    for (_, block) in &blocks {
        println!("{block}");
        println!("{}", shell.run(block, &[]));
    }
    blocks.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_need_pods_are_told_from_the_others() {
        let page = "# Page\n\n```sh\nfirst\n```\n\n```yaml\nno: command\n```\n\n```sh pods\nsecond\nline\n```\n";
        let blocks = |which: Blocks| {
            let blocks = page::fenced(page).into_iter().filter(|(kind, _)| which.has(kind));
            blocks.map(|(_, block)| block).collect::<Vec<_>>()
        };
        assert_eq!(blocks(Blocks::WithoutPods), ["first"]);
        assert_eq!(blocks(Blocks::WithPods), ["first", "second\nline"]);
    }
}
