//! A control plane of a test's own, started from the components that scripts/cluster builds once into a cache.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::process;

/// The folder with the components, kubectl and the kinds of others; built first if it is not there.
#[must_use]
pub fn components() -> PathBuf {
    let output = Command::new(process::repository().join("scripts/cluster"))
        .arg("build")
        .stderr(Stdio::inherit())
        .output()
        .expect("scripts/cluster can be run");
    assert!(output.status.success(), "scripts/cluster build failed: see above");
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// A running control plane. It ends when this is dropped, or when this process dies in any way: its supervisor reads from a
/// pipe that only we hold.
pub(crate) struct ControlPlane {
    folder: PathBuf,
    supervisor: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl ControlPlane {
    pub(crate) fn start(components: &Path) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("tagfleet-cluster-")
            .tempdir()
            .expect("a folder for the cluster")
            .keep();
        let mut supervisor = Command::new(components.join("components"))
            .args(["up", "--while-stdin-open"])
            .args(env::var_os("TAGFLEET_KEEP_CLUSTER").is_none().then_some("--remove"))
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the control plane can be started");
        let orders = supervisor.stdin.take();
        let answers = BufReader::new(supervisor.stdout.take().expect("a pipe"));
        let mut it = Self {
            folder,
            supervisor,
            orders,
            answers,
        };
        assert_eq!(it.answer(), "ready", "the control plane did not start");
        it
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// Carries out `stop apiserver` or `start apiserver`; it is done when this returns.
    pub(crate) fn order(&mut self, order: &str) {
        let orders = self.orders.as_mut().expect("open until dropped");
        writeln!(orders, "{order}").expect("the control plane's supervisor lives");
        let answer = self.answer();
        assert_eq!(answer, format!("done: {order}"), "see {}", self.folder.display());
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("a pipe");
        line.trim().to_owned()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        drop(self.orders.take());
        drop(self.supervisor.wait());
    }
}
