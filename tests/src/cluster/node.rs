//! A cluster with a node, on which pods run: the one that `scripts/cluster up --node` started in the folder that
//! `TAGFLEET_TEST_NODE` names. A test program that uses it runs inside its network (`scripts/cluster PROGRAM`).

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use tempfile::TempDir;

use super::{Cluster, Namespace, enforcer::Enforcer};
use crate::{
    helm::{self, Helm},
    process::{self, Process},
    skip, wait,
};

/// The node's address, at which tests run what pods reach: it is the same in every such cluster.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 1);
/// The gateway's image, as scripts/test imports it.
pub const GATEWAY_IMAGE: &str = "tagfleet.test/gateway:1";
/// The same image by another name.
pub const OTHER_GATEWAY_IMAGE: &str = "tagfleet.test/gateway:2";
/// The operator's image, as scripts/test imports it.
pub const OPERATOR_IMAGE: &str = "tagfleet.test/operator:1";
/// The same image by another name.
pub const OTHER_OPERATOR_IMAGE: &str = "tagfleet.test/operator:2";

const OPERATOR_NAMESPACE: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: tagfleet, labels: {pod-security.kubernetes.io/enforce: restricted}}
";

/// The node, with nginx in front.
pub struct Node {
    folder: PathBuf,
    cluster: Cluster,
    _ingress: Process,
    enforcer: Enforcer,
    _scratch: TempDir,
}

impl Node {
    /// The node that all tests of a program share, with the operator on it. Without a node the test is skipped, aloud, when
    /// this returns nothing.
    #[must_use]
    pub fn get(test: &str) -> Option<&'static Self> {
        let node = Self::shared(test)?;
        node.install(&helm::chart("tagfleet"));
        Some(node)
    }

    /// That node without charts and kinds, and without what docs/install.md makes.
    #[must_use]
    pub fn bare(test: &str) -> Option<&'static Self> {
        let node = Self::shared(test)?;
        let helm = Helm::of(&node.cluster);
        for (release, namespace) in [
            ("tagfleet", "tagfleet"),
            ("tagfleet-blog", "blog"),
            ("tagfleet-crds", "default"),
        ] {
            helm.run([
                "uninstall",
                release,
                "--namespace",
                namespace,
                "--ignore-not-found",
                "--wait",
            ])
            .ok();
        }
        let delete = ["delete", "--ignore-not-found"];
        let kinds = ["crd", "taggingcontainers.tagfleet.dev", "destinations.tagfleet.dev"];
        node.cluster.kubectl(delete.iter().chain(&kinds)).ok();
        node.cluster
            .kubectl(delete.iter().chain(&["namespace", "shop", "blog"]))
            .ok();
        Some(node)
    }

    fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Node> = OnceLock::new();
        let Some(folder) = env::var_os("TAGFLEET_TEST_NODE") else {
            skip::skip(test, "needs a node: scripts/test node, as root");
            return None;
        };
        Some(SHARED.get_or_init(|| Self::in_folder(Path::new(&folder))))
    }

    fn in_folder(folder: &Path) -> Self {
        let cluster = Cluster::started_in(folder);
        let scratch = tempfile::tempdir().expect("a folder for nginx");
        let enforcer = Enforcer::start(&cluster, scratch.path());
        let mut command = Command::new(process::program("ingress", "TAGFLEET_INGRESS"));
        command
            .args(["--listen", &ADDRESS.to_string(), "--folder"])
            .arg(scratch.path().join("nginx"))
            .env("KUBECONFIG", cluster.kubeconfig());
        Self {
            folder: folder.to_owned(),
            _ingress: Process::start("nginx", &mut command, &scratch.path().join("ingress.log")),
            enforcer,
            cluster,
            _scratch: scratch,
        }
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// `helm upgrade --install` of the operator, of this chart, in a namespace that takes only pods of the restricted Pod Security
    /// Standard, with the kinds, should a test have taken them away.
    pub fn install(&self, chart: &Path) {
        let kinds = process::repository().join("crds/yaml");
        let apply = ["apply", "--server-side", "--force-conflicts", "--filename"];
        let kinds = kinds.to_str().expect("a path in UTF-8");
        self.cluster.kubectl(apply.iter().chain(&[kinds])).ok();
        self.cluster.kubectl_with(["apply", "-f", "-"], OPERATOR_NAMESPACE).ok();
        let (repository, tag) = OPERATOR_IMAGE.split_once(':').expect("a tag");
        let image = format!("image.repository={repository},image.tag={tag},image.pullPolicy=Never");
        let gateways = format!("gateway.image={GATEWAY_IMAGE},allowedPrivateDestinations={{{ADDRESS}/32}}");
        let chart = chart.to_str().expect("a path in UTF-8");
        let install = ["upgrade", "--install", "tagfleet", chart, "--namespace", "tagfleet"];
        let values = ["--set-string", &image, "--set", &gateways];
        let how = ["--wait", "--timeout", "120s"];
        Helm::of(&self.cluster)
            .run(install.iter().chain(&values).chain(&how))
            .ok();
    }

    /// `unenforced: ` and why, if NetworkPolicies are not enforced on this machine.
    #[must_use]
    pub fn unenforced(&self) -> Option<String> {
        self.enforcer.unenforced()
    }

    /// Where nginx routes by the Ingresses.
    #[must_use]
    pub fn ingress(&self, port: u16) -> SocketAddr {
        (ADDRESS, port).into()
    }

    /// A namespace that takes only pods of the restricted Pod Security Standard.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Namespace<'_> {
        let space = self.cluster.namespace(name);
        let labels = ["enforce", "warn"].map(|mode| format!("pod-security.kubernetes.io/{mode}=restricted"));
        let arguments = ["label", "namespace", space.name()].map(str::to_owned);
        self.cluster.kubectl(arguments.into_iter().chain(labels)).ok();
        space
    }

    /// Has one of the cluster's components stopped or started: `stop kubelet`, `start apiserver`. It is done when this returns.
    pub fn order(&self, order: &str) {
        let done = Command::new(process::repository().join("scripts/cluster"))
            .arg("order")
            .args(order.split(' '))
            .env("TAGFLEET_CLUSTER", &self.folder)
            .status()
            .expect("scripts/cluster can be run");
        assert!(done.success(), "{order}: see {}", self.folder.display());
    }

    /// Kills the gateway's process in a pod, as a crash does.
    pub fn kill_gateway(&self, pod: &Pod) {
        let pid = gateway_of(&pod.uid().expect("a pod has a uid"));
        process::signal(pid.expect("the pod's gateway runs"), "KILL");
    }
}

/// The gateway's process in a pod, by the pod's cgroup.
fn gateway_of(uid: &str) -> Option<u32> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        read("comm").starts_with("tagfleet-gatewa") && read("cgroup").contains(uid)
    })
}

/// The address of a pod's port.
#[must_use]
pub fn address(pod: &Pod, port: u16) -> SocketAddr {
    let status = pod.status.as_ref().expect("a pod has a status");
    let ip = status.pod_ip.as_ref().expect("the pod has an address");
    SocketAddr::new(ip.parse().expect("an address"), port)
}

/// Whether a pod is ready and is to stay.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .into_iter()
            .any(|it| it.type_ == "Ready" && it.status == "True")
}

impl Namespace<'_> {
    /// Waits until so many pods with these labels are ready, and no others are left.
    pub fn wait_for_pods(&self, labels: &str, count: usize, patience: Duration) -> Vec<Pod> {
        let what = format!("{count} ready pods with {labels} in {}", self.name());
        wait::until(&what, patience, || {
            let pods = self.list::<Pod>(labels);
            (pods.len() == count && pods.iter().all(is_ready)).then_some(pods)
        })
    }
}
