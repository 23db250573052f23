//! A real Kubernetes API server for tests, with the controllers that make pods of Deployments; no node, so a pod is what a
//! test says it is ([`Namespace::run_pods`]).
//!
//! Which cluster, `TAGFLEET_TEST_CLUSTER` tells: nothing, and the first test of a program that asks starts one that ends
//! with the program; a folder, and it is the one that `scripts/cluster up` started there (scripts/test does so for all
//! test programs); `existing`, and it is the one of `KUBECONFIG`.

mod control_plane;
mod enforcer;
pub mod fleet;
mod gateway_pod;
mod namespace;
pub mod node;
mod objects;
mod pods;

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use self::control_plane::ControlPlane;
pub use self::{
    control_plane::components,
    gateway_pod::GatewayPod,
    namespace::Namespace,
    objects::{Event, find_condition},
    pods::{Running, free_ip},
};
use crate::{process, skip, wait};

/// How long the API server may take to establish a kind.
const ESTABLISH: Duration = Duration::from_secs(60);

/// A cluster with our kinds, and those of Gateway API and of the Prometheus Operator.
pub struct Cluster {
    components: PathBuf,
    kubeconfig: PathBuf,
    /// kubectl caches by address what a server has; the address may have been another cluster's.
    kubectl_cache: TempDir,
    client: Client,
    runtime: Runtime,
    /// Of a cluster that is our own.
    control_plane: Option<Mutex<ControlPlane>>,
}

/// What a kubectl call came to.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Whether it exited with 0.
    pub success: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Answer {
    /// Standard output of a call that must succeed.
    #[allow(clippy::must_use_candidate, reason = "often only the success matters")]
    pub fn ok(self) -> String {
        assert!(self.success, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Standard error of a call that must fail.
    #[must_use]
    pub fn refusal(self) -> String {
        assert!(!self.success, "should have failed, but said: {}", self.stdout);
        self.stderr
    }
}

impl Cluster {
    /// The cluster that all tests share. A test works in a [`Self::namespace`] of its own.
    #[must_use]
    pub fn get() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| match env::var_os("TAGFLEET_TEST_CLUSTER") {
            None => Self::start(),
            Some(word) if word == "existing" => Self::existing(),
            Some(folder) => Self::started_in(Path::new(&folder)),
        })
    }

    /// The shared cluster, for a test that says itself what its pods are ([`Namespace::run_pods`],
    /// [`Namespace::run_gateways`]). With `TAGFLEET_TEST_CLUSTER=existing` there are kubelets which say otherwise: the test is
    /// skipped, aloud, when this returns nothing.
    #[must_use]
    pub fn without_nodes(test: &str) -> Option<&'static Self> {
        if is_existing() {
            skip::skip(
                test,
                "needs a cluster without nodes, not TAGFLEET_TEST_CLUSTER=existing",
            );
            return None;
        }
        Some(Self::get())
    }

    /// A cluster for one test, which may stop its API server or change what belongs to no namespace. With
    /// `TAGFLEET_TEST_CLUSTER=existing` there is none: the test is skipped, aloud, when this returns nothing.
    #[must_use]
    pub fn own(test: &str) -> Option<Self> {
        if is_existing() {
            skip::skip(
                test,
                "needs a control plane of its own, not TAGFLEET_TEST_CLUSTER=existing",
            );
            return None;
        }
        Some(Self::start())
    }

    fn start() -> Self {
        let components = components();
        let control_plane = ControlPlane::start(&components);
        Self::connect(&control_plane.kubeconfig(), Some(control_plane))
    }

    fn started_in(folder: &Path) -> Self {
        let kubeconfig = folder.join("admin.kubeconfig");
        let runs = kubeconfig.exists();
        assert!(
            runs,
            "TAGFLEET_TEST_CLUSTER: no cluster in {}; see scripts/cluster",
            folder.display()
        );
        Self::connect(&kubeconfig, None)
    }

    fn existing() -> Self {
        let kubeconfig = env::var_os("KUBECONFIG").expect("TAGFLEET_TEST_CLUSTER=existing needs KUBECONFIG");
        Self::connect(Path::new(&kubeconfig), None)
    }

    fn connect(kubeconfig: &Path, control_plane: Option<ControlPlane>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let client = runtime.block_on(async { client(kubeconfig).await });
        let cluster = Self {
            components: components(),
            kubeconfig: kubeconfig.to_owned(),
            kubectl_cache: tempfile::tempdir().expect("a folder"),
            client,
            runtime,
            control_plane: control_plane.map(Mutex::new),
        };
        cluster.install_kinds();
        cluster
    }

    /// Installs our kinds, and those of others that the cluster lacks.
    fn install_kinds(&self) {
        self.apply_file(&process::repository().join("crds/yaml"));
        let installed = self.kubectl(["get", "crd", "-o", "name"]).ok();
        let kinds = self.components.join("kinds");
        for file in kinds.read_dir().expect("the folder of kinds").flatten() {
            // monitoring.coreos.com_servicemonitors.yaml holds servicemonitors.monitoring.coreos.com.
            let name = file.file_name().to_string_lossy().into_owned();
            let (group, plural) = name
                .trim_end_matches(".yaml")
                .split_once('_')
                .expect("group_plural.yaml");
            if !installed.contains(&format!("/{plural}.{group}\n")) {
                self.apply_file(&file.path());
            }
        }
        // Discovery shows a kind later than it is established.
        let kinds = "tc,dest,httproutes,servicemonitors,prometheusrules";
        wait::until_true("the kinds are served", ESTABLISH, || {
            self.kubectl(["get", kinds]).success
        });
    }

    fn apply_file(&self, path: &Path) {
        let path = path.to_str().expect("a path in UTF-8");
        self.kubectl(["apply", "--server-side", "--force-conflicts", "-f", path])
            .ok();
    }

    /// A namespace that no other test has; it is deleted when dropped.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Namespace<'_> {
        Namespace::create(self, name)
    }

    /// A namespace that is there, and stays.
    #[must_use]
    pub fn existing_namespace(&self, name: &str) -> Namespace<'_> {
        Namespace::existing(self, name)
    }

    /// Runs kubectl as the administrator.
    pub fn kubectl<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Answer {
        self.kubectl_with(arguments, "")
    }

    /// Runs kubectl with this on standard input.
    pub fn kubectl_with<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>, input: &str) -> Answer {
        use std::io::Write as _;
        let mut child = self
            .kubectl_command()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl can be started");
        // A kubectl that refuses its arguments reads nothing.
        drop(child.stdin.take().expect("a pipe").write_all(input.as_bytes()));
        let output = child.wait_with_output().expect("kubectl ends");
        Answer {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn kubectl_command(&self) -> Command {
        let mut command = Command::new(self.components.join("kubectl"));
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", self.kubectl_cache.path());
        command
    }

    /// The administrator's client; see [`Self::block_on`].
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where the API server answers, as `https://127.0.0.1:25101`.
    #[must_use]
    pub fn server(&self) -> String {
        let config = self.kubectl(["config", "view", "--minify", "--raw", "-o", "json"]).ok();
        let config: Value = serde_json::from_str(&config).expect("JSON");
        config["clusters"][0]["cluster"]["server"]
            .as_str()
            .expect("a server")
            .to_owned()
    }

    /// Waits for a future, on the runtime that the client lives on.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Stops the API server, as an outage does: connections break, and nobody listens.
    ///
    /// # Panics
    /// When the cluster is not the test's own.
    pub fn stop_api_server(&self) {
        self.order("stop apiserver");
    }

    /// Starts it again on the same port; it is ready when this returns.
    ///
    /// # Panics
    /// When the cluster is not the test's own.
    pub fn start_api_server(&self) {
        self.order("start apiserver");
    }

    fn order(&self, order: &str) {
        let control_plane = self
            .control_plane
            .as_ref()
            .expect("only a cluster of the test's own, by Cluster::own");
        control_plane
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .order(order);
    }
}

/// Whether tests use a cluster that somebody else runs.
#[must_use]
pub fn is_existing() -> bool {
    env::var_os("TAGFLEET_TEST_CLUSTER").is_some_and(|word| word == "existing")
}

/// A client by a kubeconfig. It does not try again by itself: a test sees what the API server says.
async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("a usable kubeconfig");
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    Client::try_from(config).expect("a client")
}
