//! Helm, and the charts of this repository.

use std::{
    ffi::OsStr,
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    cluster::{Answer, Cluster},
    process,
};

/// A chart of this repository: `tagfleet` or `tagfleet-crds`.
#[must_use]
pub fn chart(name: &str) -> PathBuf {
    process::repository().join("charts").join(name)
}

/// What the chart `tagfleet` renders as release `tagfleet` in a namespace: `template("shop", &["--set", "replicas=3"])`.
///
/// # Panics
/// When it renders nothing.
#[must_use]
pub fn template(namespace: &str, arguments: &[&str]) -> String {
    let mut command = helm();
    command.args(["template", "tagfleet"]).arg(chart("tagfleet"));
    run(command.args(["--namespace", namespace]).args(arguments)).ok()
}

/// Helm as a user of a cluster, with a home of its own.
pub struct Helm {
    kubeconfig: PathBuf,
    home: TempDir,
}

impl Helm {
    /// As the administrator.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        Self {
            kubeconfig: cluster.kubeconfig().to_owned(),
            home: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Runs it: `helm.run(["list", "--all-namespaces"])`.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Answer {
        let mut command = helm();
        command
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HELM_CACHE_HOME", self.home.path().join("cache"))
            .env("HELM_CONFIG_HOME", self.home.path().join("config"))
            .env("HELM_DATA_HOME", self.home.path().join("data"));
        run(&mut command)
    }
}

fn helm() -> Command {
    Command::new(process::repository().join("scripts/helm"))
}

fn run(command: &mut Command) -> Answer {
    let output = command.stdin(Stdio::null()).output().expect("scripts/helm can be run");
    Answer {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
