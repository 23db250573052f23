//! What enforces NetworkPolicies on a node: the program `policies`, beside the tests.

use std::{path::Path, process::Command, time::Duration};

use super::Cluster;
use crate::{
    process::{self, Process},
    wait,
};

/// How long it may take to say what it can do.
const PATIENCE: Duration = Duration::from_secs(30);

/// The running program.
pub(super) struct Enforcer(Process);

impl Enforcer {
    /// Returns when the policies are enforced, or never will be.
    pub(super) fn start(cluster: &Cluster, folder: &Path) -> Self {
        let mut command = Command::new(process::program("policies", "TAGFLEET_POLICIES"));
        command.env("KUBECONFIG", cluster.kubeconfig());
        let it = Self(Process::start("policies", &mut command, &folder.join("policies.log")));
        wait::until("policies are enforced, or not", PATIENCE, || {
            let log = it.0.log();
            log.contains("enforced").then_some(())
        });
        if let Some(why) = it.unenforced() {
            println!("NetworkPolicies are {why}");
        }
        it
    }

    /// `unenforced: ` and why, if it could not go on.
    pub(super) fn unenforced(&self) -> Option<String> {
        let log = self.0.log();
        log.lines()
            .find(|line| line.starts_with("unenforced: "))
            .map(str::to_owned)
    }
}
