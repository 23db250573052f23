//! The operator under test: the real program, as its own ServiceAccount with the rights of charts/tagfleet, and no others.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, ExitStatus},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    cluster::Namespace,
    helm,
    http::{self, Response},
    metrics::Metrics,
    ports,
    process::{self, Process},
};

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(30);
/// Its ServiceAccount, as the chart names it.
const SERVICE_ACCOUNT: &str = "tagfleet-operator";

/// The program: `TAGFLEET_OPERATOR`, or the one beside this build.
#[must_use]
pub fn program() -> PathBuf {
    process::program("tagfleet-operator", "TAGFLEET_OPERATOR")
}

/// How an operator is started.
#[derive(Clone)]
pub struct Setup {
    kubeconfig: PathBuf,
    admin: SocketAddr,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

impl Setup {
    /// One that looks after this namespace only and runs in it, with the chart's rights for one namespace, which are granted
    /// here: several such operators do not disturb each other.
    #[must_use]
    pub fn of_namespace(space: &Namespace<'_>) -> Self {
        let name = space.name();
        grant(space, &["--set", &format!("watchNamespace={name}")]);
        Self::of(space, &["--namespace", name])
    }

    /// One that looks after all namespaces and runs in this one, with the chart's rights for all of them. For a cluster of
    /// the test's own: it looks after what other tests make, too.
    #[must_use]
    pub fn of_all_namespaces(space: &Namespace<'_>) -> Self {
        grant(space, &[]);
        Self::of(space, &["--lease-namespace", space.name()])
    }

    fn of(space: &Namespace<'_>, arguments: &[&str]) -> Self {
        Self {
            kubeconfig: space.kubeconfig_of(SERVICE_ACCOUNT),
            admin: ports::free(),
            arguments: arguments.iter().map(Into::into).collect(),
            environment: Vec::new(),
        }
    }

    /// The gateway's image where a container names none.
    #[must_use]
    pub fn gateway_image(self, image: &str) -> Self {
        self.argument("--gateway-image").argument(image)
    }

    /// One more argument.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts it and waits until it is ready.
    #[must_use]
    pub fn start(self) -> Operator {
        let mut operator = self.spawn();
        operator.wait_until_ready();
        operator
    }

    /// Starts it without waiting.
    #[must_use]
    pub fn spawn(self) -> Operator {
        let scratch = tempfile::tempdir().expect("a folder for the operator");
        let log = scratch.path().join("operator.log");
        Operator {
            process: Process::start("the operator", &mut self.command(), &log),
            setup: self,
            log,
            _scratch: scratch,
        }
    }

    /// Another one of the same kind beside it, as a second replica: it waits for the Lease.
    #[must_use]
    pub fn replica(&self) -> Self {
        Self {
            admin: ports::free(),
            ..self.clone()
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program());
        command
            .args(["run", "--admin", &self.admin.to_string()])
            .args(&self.arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Applies the ServiceAccount and the rights that the chart renders for these values, as they are: some are of the namespace
/// `default`, some of none.
fn grant(space: &Namespace<'_>, values: &[&str]) {
    let only = [
        "--show-only",
        "templates/service-account.yaml",
        "--show-only",
        "templates/rbac.yaml",
    ];
    let rights = helm::template(space.name(), &[&only, values].concat());
    space.cluster().kubectl_with(["apply", "-f", "-"], &rights).ok();
}

/// A running operator.
pub struct Operator {
    process: Process,
    setup: Setup,
    log: PathBuf,
    _scratch: TempDir,
}

impl Operator {
    /// The admin listener.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.setup.admin
    }

    /// How it was started, for a second one.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
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

    /// Its exit status, if it ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// GET on the admin listener.
    #[must_use]
    pub fn get(&self, target: &str) -> Response {
        http::get(self.admin(), target).unwrap_or_else(|error| panic!("GET {target}: {error}\n{}", self.log()))
    }

    /// Whether `/readyz` says so.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        http::is_ok(self.admin(), "/readyz")
    }

    /// One scrape.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200, "{}", answer.text());
        Metrics::parse(&answer.text())
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

    /// Starts it again after its end, and waits until it is ready. The log goes on.
    pub fn restart(&mut self) {
        self.process = Process::start("the operator", &mut self.setup.command(), &self.log);
        self.wait_until_ready();
    }
}
