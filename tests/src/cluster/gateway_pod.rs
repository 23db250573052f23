//! A gateway's pod without a node: the real program on an address of loopback, started as the pod's own specification says
//! (arguments, environment, mounted ConfigMaps and Secrets, ServiceAccount), with what it says of itself told to the API
//! server. It stands in for the kubelet; the image is not looked at.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret, Volume};
use serde_json::Value;
use tempfile::TempDir;

use super::{Namespace, free_ip};
use crate::{
    gateway, hit,
    http::{self, Response},
    metrics::Metrics,
    process::Process,
    wait,
};

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(20);
/// The ports that a gateway's pod serves on.
const PUBLIC: u16 = 8080;
const ADMIN: u16 = 9090;

/// A gateway that runs as a pod.
pub struct GatewayPod {
    name: String,
    ip: Ipv4Addr,
    volumes: Vec<Volume>,
    command: Command,
    process: Process,
    log: PathBuf,
    scratch: TempDir,
}

impl Namespace<'_> {
    /// Waits for so many pods with these labels, and runs a gateway for each, until it is ready and the API server knows.
    #[must_use]
    pub fn run_gateways(&self, labels: &str, count: usize, patience: Duration) -> Vec<GatewayPod> {
        let what = format!("{count} pods with {labels} in {}", self.name());
        let pods = wait::until(&what, patience, || {
            Some(self.pods(labels)).filter(|pods| pods.len() == count)
        });
        pods.iter().map(|pod| GatewayPod::start(self, pod)).collect()
    }
}

impl GatewayPod {
    /// Runs a pod's gateway at a free address, waits until it is ready, and says so to the API server.
    #[must_use]
    pub fn start(space: &Namespace<'_>, pod: &Pod) -> Self {
        let mut it = Self::spawn(space, pod);
        it.wait_until_ready(space);
        it
    }

    /// Runs a pod's gateway at a free address; the API server hears nothing of it.
    #[must_use]
    pub fn spawn(space: &Namespace<'_>, pod: &Pod) -> Self {
        let spec = pod.spec.clone().expect("a pod has a specification");
        let container = spec.containers.first().expect("a pod has a container");
        let scratch = tempfile::tempdir().expect("a folder for the pod");
        let ip = free_ip();
        let volumes: Vec<Volume> = spec.volumes.unwrap_or_default();
        write_volumes(space, &volumes, scratch.path());

        let account = spec.service_account_name.unwrap_or_default();
        let mut command = Command::new(gateway::program());
        command
            .args(arguments(container, ip, scratch.path()))
            .envs(
                container
                    .env
                    .iter()
                    .flatten()
                    .filter_map(|it| Some((&it.name, it.value.as_ref()?))),
            )
            .env("KUBECONFIG", space.kubeconfig_of(&account));
        let log = scratch.path().join("gateway.log");
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            ip,
            volumes,
            process: Process::start("the gateway's pod", &mut command, &log),
            command,
            log,
            scratch,
        }
    }

    /// Whether `/readyz` says so.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        http::is_ok(self.admin(), "/readyz")
    }

    /// Tells the API server that it runs, and whether it is ready.
    pub fn tell(&self, space: &Namespace<'_>, is_ready: bool) {
        match is_ready {
            true => space.run_pod(&self.name, self.ip),
            false => space.unready_pod(&self.name, self.ip),
        }
    }

    /// The pod's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its public listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (self.ip, PUBLIC).into()
    }

    /// Its admin listener.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        (self.ip, ADMIN).into()
    }

    /// The folder of a volume, such as `config`.
    #[must_use]
    pub fn volume(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Sends a GET hit and returns the status.
    #[must_use]
    pub fn hit(&self, event: &str, event_id: &str, parameters: &str) -> u16 {
        hit::send(self.address(), event, event_id, parameters)
    }

    /// GET on the admin listener.
    #[must_use]
    pub fn get(&self, target: &str) -> Response {
        http::get(self.admin(), target).unwrap_or_else(|error| panic!("GET {target}: {error}\n{}", self.log()))
    }

    /// `/status`.
    #[must_use]
    pub fn status(&self) -> Value {
        self.get("/status").json()
    }

    /// One scrape.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::parse(&self.get("/metrics").text())
    }

    /// Writes the mounted ConfigMaps and Secrets again as they are now, as the kubelet does every minute or so.
    pub fn sync_volumes(&self, space: &Namespace<'_>) {
        write_volumes(space, &self.volumes, self.scratch.path());
    }

    /// SIGKILL; the API server hears nothing of it.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM; returns how long it took and how it ended.
    pub fn terminate(&mut self, patience: Duration) -> (Duration, ExitStatus) {
        self.process.terminate(patience)
    }

    /// Starts it again after its end, as the kubelet restarts a container: same address, same volumes.
    pub fn restart(&mut self, space: &Namespace<'_>) {
        self.process = Process::start("the gateway's pod", &mut self.command, &self.log);
        self.wait_until_ready(space);
    }

    fn wait_until_ready(&mut self, space: &Namespace<'_>) {
        self.process.wait_until_ready(self.admin(), START);
        self.tell(space, true);
    }
}

/// The container's arguments, with all addresses made one of loopback, and mounted folders those of the scratch folder.
fn arguments(container: &Container, ip: Ipv4Addr, scratch: &Path) -> Vec<String> {
    let mounts = container.volume_mounts.clone().unwrap_or_default();
    let arguments = container.args.iter().flatten();
    arguments
        .map(|argument| {
            let mount = mounts.iter().find(|mount| *argument == mount.mount_path);
            match mount {
                Some(mount) => scratch.join(&mount.name).display().to_string(),
                None => argument.replace("0.0.0.0:", &format!("{ip}:")),
            }
        })
        .collect()
}

fn write_volumes(space: &Namespace<'_>, volumes: &[Volume], scratch: &Path) {
    for volume in volumes {
        let folder = scratch.join(&volume.name);
        fs::create_dir_all(&folder).expect("a volume's folder");
        if let Some(source) = &volume.config_map {
            // What is gone leaves the files of before, as with the kubelet.
            let Some(map) = space.find::<ConfigMap>(&source.name) else {
                continue;
            };
            let files = map.data.unwrap_or_default().into_iter();
            write_atomically(&folder, &files.map(|(name, text)| (name, text.into_bytes())).collect());
        } else if let Some(name) = volume.secret.as_ref().and_then(|source| source.secret_name.as_ref()) {
            let Some(secret) = space.find::<Secret>(name) else {
                continue;
            };
            let files = secret.data.unwrap_or_default().into_iter();
            write_atomically(&folder, &files.map(|(name, bytes)| (name, bytes.0)).collect());
        }
    }
}

/// Writes the files of a volume as the kubelet does: into a new folder, which the link `..data` then points to, while each
/// file is a link through it. Whoever reads sees the old files or the new ones.
/// (kubernetes/pkg/volume/util/atomic_writer.go)
fn write_atomically(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let newest = folder.join(format!("..{number}"));
    fs::create_dir(&newest).expect("a new folder");
    for (name, content) in files {
        fs::write(newest.join(name), content).expect("a file");
    }
    let link = folder.join("..data_tmp");
    symlink(newest.file_name().expect("it has a name"), &link).expect("a link");
    fs::rename(&link, folder.join("..data")).expect("a rename");
    for name in files.keys() {
        let visible = folder.join(name);
        if visible.symlink_metadata().is_err() {
            symlink(Path::new("..data").join(name), visible).expect("a link");
        }
    }
    for entry in fs::read_dir(folder).expect("a volume's folder").flatten() {
        // Links to what is no longer there.
        if entry.path().is_symlink() && !entry.path().exists() {
            fs::remove_file(entry.path()).expect("a link");
        }
    }
}
