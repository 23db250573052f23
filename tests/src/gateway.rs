//! The gateway under test: the real program, on loopback.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    hit,
    http::{self, Response},
    metrics::Metrics,
    ports,
    process::{self, Process},
};

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(20);

/// The program: `TAGFLEET_GATEWAY`, or the one beside this build.
#[must_use]
pub fn program() -> PathBuf {
    process::program("tagfleet-gateway", "TAGFLEET_GATEWAY")
}

/// Runs the program to its end, as `check` does.
#[must_use]
pub fn run(arguments: &[&str]) -> Output {
    let program = program();
    Command::new(&program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{} cannot be started: {error}", program.display()))
}

/// How a gateway is started.
#[derive(Clone)]
pub struct Setup {
    manifests: PathBuf,
    data: Option<PathBuf>,
    listen: SocketAddr,
    admin: SocketAddr,
    prefix: Vec<OsString>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

impl Setup {
    /// With these manifests, on free ports, with a data folder of its own.
    #[must_use]
    pub fn new(manifests: &Path) -> Self {
        Self {
            manifests: manifests.to_owned(),
            data: None,
            listen: ports::free(),
            admin: ports::free(),
            prefix: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Keeps its log in this folder.
    #[must_use]
    pub fn data(mut self, dir: &Path) -> Self {
        self.data = Some(dir.to_owned());
        self
    }

    /// Listens here.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Its admin listener is here.
    #[must_use]
    pub fn admin(mut self, address: SocketAddr) -> Self {
        self.admin = address;
        self
    }

    /// Starts it with these arguments of `serve` beside the usual ones, as `["--kubernetes", "--container", "shop"]`.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts it by another program, as `["taskset", "-c", "0"]` or `["faketime", "-f", "-1h"]`.
    #[must_use]
    pub fn under(mut self, prefix: &[&str]) -> Self {
        self.prefix = prefix.iter().map(Into::into).collect();
        self
    }

    /// Starts it and waits until it is ready.
    #[must_use]
    pub fn start(self) -> Gateway {
        let mut gateway = self.spawn();
        gateway.wait_until_ready();
        gateway
    }

    /// Starts it and waits for its end: for starts that must fail. Returns the exit code and what it wrote.
    #[must_use]
    pub fn start_and_fail(self) -> (Option<i32>, String) {
        let mut gateway = self.spawn();
        let (_, status) = gateway.process.wait(START);
        (status.code(), gateway.log())
    }

    /// Starts it without waiting.
    #[must_use]
    pub fn spawn(self) -> Gateway {
        let scratch = tempfile::tempdir().expect("a folder for the gateway");
        let log = scratch.path().join("gateway.log");
        let data = self.data.clone().unwrap_or_else(|| scratch.path().join("data"));
        let process = Process::start("the gateway", &mut self.command(&data), &log);
        Gateway {
            process,
            setup: self,
            data,
            log,
            _scratch: scratch,
        }
    }

    fn command(&self, data: &Path) -> Command {
        let mut words: Vec<OsString> = self.prefix.clone();
        words.push(program().into());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(["serve", "--manifests"])
            .arg(&self.manifests)
            .args([
                "--listen",
                &self.listen.to_string(),
                "--admin",
                &self.admin.to_string(),
                "--data-dir",
            ])
            .arg(data)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running gateway.
pub struct Gateway {
    process: Process,
    setup: Setup,
    data: PathBuf,
    log: PathBuf,
    _scratch: TempDir,
}

impl Gateway {
    /// The public listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.setup.listen
    }

    /// The admin listener.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.setup.admin
    }

    /// The folder with the log.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Resident memory in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.process.resident_bytes()
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

    /// GET on the public listener.
    #[must_use]
    pub fn get(&self, target: &str) -> Response {
        http::get(self.address(), target).unwrap_or_else(|error| panic!("GET {target}: {error}\n{}", self.log()))
    }

    /// POST on the public listener.
    #[must_use]
    pub fn post(&self, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        http::request(self.address(), "POST", target, headers, body)
            .unwrap_or_else(|error| panic!("POST {target}: {error}\n{}", self.log()))
    }

    /// One scrape.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let answer = http::get(self.admin(), "/metrics").unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        assert_eq!(answer.status, 200, "{}", answer.text());
        Metrics::parse(&answer.text())
    }

    /// `/status`.
    #[must_use]
    pub fn status(&self) -> Value {
        http::get(self.admin(), "/status")
            .unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
            .json()
    }

    /// The version of the configuration in force (`tagfleet_config_info`).
    #[must_use]
    pub fn configuration(&self) -> String {
        let text = http::get(self.admin(), "/metrics")
            .map(|answer| answer.text())
            .unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with("tagfleet_config_info{"))
            .unwrap_or_default();
        line.split("version=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .unwrap_or_default()
            .to_owned()
    }

    /// Events of a destination that ended so.
    #[must_use]
    pub fn deliveries(&self, destination: &str, outcome: &str) -> f64 {
        let labels = [("destination", destination), ("outcome", outcome)];
        self.metrics().count("tagfleet_deliveries_total", &labels)
    }

    /// The ledger's imbalance of a destination; must be 0 at all times.
    ///
    /// # Panics
    /// When the gateway does not export it.
    #[must_use]
    pub fn imbalance(&self, destination: &str) -> f64 {
        self.metrics()
            .sum("tagfleet_ledger_imbalance_events", &[("destination", destination)])
            .unwrap_or_else(|| panic!("no ledger of destination {destination}"))
    }

    /// Waits for `/readyz`.
    pub fn wait_until_ready(&mut self) {
        self.process.wait_until_ready(self.setup.admin, START);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM; returns how long it took and how it ended.
    pub fn terminate(&mut self, patience: Duration) -> (Duration, ExitStatus) {
        self.process.terminate(patience)
    }

    /// Starts it again after its end, with the same ports, manifests and data.
    pub fn restart(&mut self) {
        self.restart_without_waiting();
        self.wait_until_ready();
    }

    /// Starts it again without waiting until it is ready.
    pub fn restart_without_waiting(&mut self) {
        self.process = Process::start("the gateway", &mut self.setup.command(&self.data), &self.log);
    }
}
