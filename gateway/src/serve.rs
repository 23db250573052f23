//! `serve`: starts the stations of the drawing in docs/architecture.md, keeps them on the newest configuration, and stops
//! them in order.

use std::{
    io::IsTerminal,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tagfleet_crds::tagging_container::{self as crd, Buffer, BufferKind};
use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    admin::{Admin, AdminError, AdminServer, Serving},
    clock,
    config::{
        files::{Snapshot, Sources},
        finding::Finding,
        live::{Awaited, Config},
        report::Reporter,
        rules::Rules,
        source::Source,
    },
    delivery::{
        Parts, Supervisor,
        addresses::AddressPolicy,
        client::{ClientError, HttpClient},
        dead_letters::{DeadLetterError, DeadLetters, routes::Routes},
    },
    ingest::{
        intake::Intake,
        limits::Limits,
        server::{ServeError, Server, usual_workers},
    },
    log::{
        LogError, SharedLog, WhenFull,
        disk::{DiskLog, OpenOptions},
        memory::MemoryLog,
    },
    metrics::Metrics,
    plan::Plan,
    status::Board,
};

/// How long requests under way may take to end once the gateway is told to stop.
const INGEST_GRACE: Duration = Duration::from_secs(10);
/// How long delivery may take after that.
const DELIVERY_GRACE: Duration = Duration::from_secs(10);

/// What to serve, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Files and folders of the configuration.
    pub sources: Sources,
    /// What else it comes from.
    pub mode: Mode,
    /// The public listener.
    pub listen: SocketAddr,
    /// The admin listener.
    pub admin: SocketAddr,
    /// Where log and dead letters live.
    pub data_dir: PathBuf,
}

/// Where the configuration comes from beside files.
#[derive(Clone, Debug)]
pub enum Mode {
    /// From nowhere else.
    Files {
        /// The container, where there are several.
        container: Option<String>,
    },
    /// From the API server, whose objects are laid over what is mounted.
    Kubernetes {
        /// The namespace of container and destinations.
        namespace: String,
        /// The container.
        container: String,
        /// Private ranges that destinations may reach.
        allowed_private_destinations: Vec<IpNet>,
    },
}

impl Mode {
    /// Where destinations may lead.
    fn addresses(&self) -> AddressPolicy {
        match self {
            Self::Files { .. } => AddressPolicy::AllowAll,
            Self::Kubernetes {
                allowed_private_destinations,
                ..
            } => AddressPolicy::PublicOnly(allowed_private_destinations.as_slice().into()),
        }
    }
}

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("the configuration is refused:\n{}", lines(.0))]
    Configuration(Vec<Finding>),
    #[error("spec.buffer: this version keeps events in memory or on disk")]
    Buffer,
    #[error("{0}; give a folder that can be written with --data-dir")]
    Log(#[from] LogError),
    #[error("{0}")]
    DeadLetters(#[from] DeadLetterError),
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("{0}")]
    Listen(#[from] ServeError),
    #[error("{0}")]
    Admin(#[from] AdminError),
    #[error("the metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("the system refuses a thread or a signal handler: {0}")]
    System(#[from] std::io::Error),
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Serves until SIGTERM or SIGINT. Exit code 1 when it cannot start.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    start_logging();
    // Delivery, admin and housekeeping share this runtime; the workers of ingest have their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(usual_workers().get())
        .thread_name("delivery")
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(serve(options)),
        Err(error) => Err(StartError::System(error)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Structured logs on standard error: JSON in a pod, text for people.
fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TAGFLEET_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        logs.json().try_init()
    } else {
        logs.with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .try_init()
    };
    // Whoever runs this as a library has logs already.
    started.unwrap_or_default();
}

async fn serve(options: &Options) -> Result<(), StartError> {
    let mut stop = Stop::listen()?;
    let Some((mut config, mut source, desk)) = configure(options, &mut stop).await? else {
        return Ok(());
    };
    let mut gateway = Gateway::start(options, &config, desk)?;
    tracing::info!(
        listen = %gateway.server.address(),
        admin = %gateway.desk.server.address(),
        container = %config.name(),
        configuration = gateway.plan.load().version,
        "serving"
    );
    gateway.desk.report(&config);
    loop {
        tokio::select! {
            () = stop.asked() => break,
            watching = config.changed(&mut source) => {
                gateway.desk.report(&config);
                gateway.apply(&config);
                if !watching {
                    tracing::error!("the configuration's files can no longer be watched; restart to take up changes");
                    stop.asked().await;
                    break;
                }
            }
        }
    }
    gateway.stop().await;
    Ok(())
}

/// The configuration to start with, and what tells of later ones. In file mode mistakes end the start; in a cluster the
/// gateway waits until there is something to serve, with its admin listener open. None when it is told to stop meanwhile.
async fn configure(options: &Options, stop: &mut Stop) -> Result<Option<(Config, Source, Desk)>, StartError> {
    match &options.mode {
        Mode::Files { container } => {
            let loaded = Config::load(&options.sources, container.as_deref());
            let config = loaded.map_err(StartError::Configuration)?;
            let source = Source::files(options.sources.clone(), config.snapshot().clone())?;
            let desk = Desk::open(options.admin, config.name()).await?;
            Ok(Some((config, source, desk)))
        }
        Mode::Kubernetes {
            namespace, container, ..
        } => {
            let mut desk = Desk::open(options.admin, container).await?;
            let mounted = options.sources.read();
            let mut source = Source::kubernetes(options.sources.clone(), mounted.clone(), namespace, container)?;
            let awaited = Awaited::new(Rules::of_cluster(options.mode.addresses()), namespace, container);
            let config = tokio::select! {
                () = stop.asked() => None,
                config = wait_for_container(awaited, mounted, &mut source, &mut desk) => Some(config),
            };
            Ok(config.map(|config| (config, source, desk)))
        }
    }
}

/// Takes in what is there until the container can be served.
async fn wait_for_container(
    mut awaited: Awaited,
    mut snapshot: Snapshot,
    source: &mut Source,
    desk: &mut Desk,
) -> Config {
    let mut told = false;
    loop {
        if let Some(config) = awaited.update(snapshot, Instant::now()) {
            return config;
        }
        desk.reporter.report(awaited.findings(), &desk.metrics, &desk.board);
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(
                "no TaggingContainer of this name that can be served, neither among the manifests nor at the API \
                 server: waiting for one"
            );
        }
        let Some(next) = source.next().await else {
            tracing::error!("the configuration's files can no longer be watched; restart to take up changes");
            return std::future::pending().await;
        };
        snapshot = next;
    }
}

/// The signals that end the gateway.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits until the gateway is told to stop.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What tells of the gateway, before there is anything to serve and after.
struct Desk {
    metrics: Arc<Metrics>,
    board: Arc<Board>,
    admin: Arc<Admin>,
    server: AdminServer,
    reporter: Reporter,
}

impl Desk {
    /// Opens the admin listener.
    async fn open(address: SocketAddr, container: &str) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new(container)?);
        let board = Arc::new(Board::new());
        let admin = Arc::new(Admin::new(Arc::clone(&board), Arc::clone(&metrics)));
        Ok(Self {
            server: AdminServer::start(address, Arc::clone(&admin)).await?,
            metrics,
            board,
            admin,
            reporter: Reporter::default(),
        })
    }

    /// Tells of what is refused.
    fn report(&mut self, config: &Config) {
        self.reporter.report(config.findings(), &self.metrics, &self.board);
    }
}

/// The gateway at work.
struct Gateway {
    plan: Arc<ArcSwap<Plan>>,
    log: SharedLog,
    desk: Desk,
    delivery: Supervisor,
    server: Server,
    /// What the log was opened with.
    buffer: Buffer,
}

impl Gateway {
    /// Starts the stations from the end of the way to its beginning, so that no hit comes before it can be kept.
    fn start(options: &Options, config: &Config, desk: Desk) -> Result<Self, StartError> {
        let buffer = config.container().spec.effective_buffer();
        let store = Store::open(&buffer, &options.data_dir)?;
        let log = Arc::clone(&store.log);
        let plan = config.plan(&mut |name| log.register(name))?;
        desk.metrics.plan_applied(&plan);
        let delivery = Supervisor::start(
            Parts {
                log: Arc::clone(&log),
                transport: Arc::new(HttpClient::new(options.mode.addresses())?),
                dead_letters: Arc::clone(&store.dead_letters),
                metrics: Arc::clone(&desk.metrics),
                board: Arc::clone(&desk.board),
                state_dir: store.folder,
                now_ms: clock::now_ms,
            },
            &Handle::current(),
        );
        delivery.apply(&plan);

        let plan = Arc::new(ArcSwap::from_pointee(plan));
        let limits = Limits::default();
        let intake = Arc::new(Intake::new(
            Arc::clone(&plan),
            Arc::clone(&log),
            Arc::clone(&desk.metrics),
            &limits,
        ));
        let server = Server::start(options.listen, usual_workers(), limits, move || intake.worker())?;
        let dead_letters = store.dead_letters;
        let routes = Arc::new(Routes::new(Arc::clone(&dead_letters), Arc::clone(&log)));
        desk.admin.set_serving(Serving {
            plan: Arc::clone(&plan),
            log: Arc::clone(&log),
            dead_letters: Box::new(move || {
                dead_letters
                    .list()
                    .into_iter()
                    .map(|shelved| (shelved.destination, shelved.letters))
                    .collect()
            }),
            routes: vec![routes],
        });
        Ok(Self {
            plan,
            log,
            desk,
            delivery,
            server,
            buffer,
        })
    }

    /// Brings the configuration into force; hits that are under way end in the one before.
    fn apply(&self, config: &Config) {
        let plan = match config.plan(&mut |name| self.log.register(name)) {
            Ok(plan) => plan,
            Err(error) => {
                tracing::error!(%error, "the new configuration cannot be brought into force, the last one stays");
                return;
            }
        };
        if config.container().spec.effective_buffer() != self.buffer {
            tracing::warn!("spec.buffer has changed: the change is taken up at the next start");
        }
        // A rotated Secret changes the plan and not its version; delivery leaves a lane alone whose form is the same.
        if plan.version != self.plan.load().version {
            tracing::info!(configuration = plan.version, "configuration applied");
        }
        self.desk.metrics.plan_applied(&plan);
        self.desk
            .board
            .retain_destinations(|name| plan.destinations.iter().any(|destination| &*destination.name == name));
        self.delivery.apply(&plan);
        self.plan.store(Arc::new(plan));
    }

    /// Stops in the order of the way: no more hits, then what delivery can still end, then the log.
    async fn stop(self) {
        tracing::info!("stopping");
        self.desk.admin.set_stopping();
        let cut = self.server.stop(INGEST_GRACE).await;
        if cut > 0 {
            tracing::warn!(connections = cut, "connections had to be cut");
        }
        self.delivery.shutdown(DELIVERY_GRACE).await;
        self.log.close();
        drop(self.desk);
        tracing::info!("stopped");
    }
}

/// Where events are kept.
struct Store {
    log: SharedLog,
    dead_letters: Arc<DeadLetters>,
    /// Where more may be kept; none in memory.
    folder: Option<PathBuf>,
}

impl Store {
    fn open(buffer: &Buffer, data_dir: &Path) -> Result<Self, StartError> {
        let dead_letter_bytes = buffer.effective_dead_letters().max_bytes.bytes();
        let when_full = match buffer.when_full {
            crd::WhenFull::ExpireLaggard => WhenFull::ExpireLaggard,
            crd::WhenFull::Refuse => WhenFull::Refuse,
        };
        match buffer.kind() {
            Some(BufferKind::Memory(memory)) => Ok(Self {
                log: Arc::new(MemoryLog::open(memory.max_bytes.bytes(), when_full)),
                dead_letters: Arc::new(DeadLetters::in_memory(dead_letter_bytes)),
                folder: None,
            }),
            Some(BufferKind::Disk(disk)) => {
                let (log, recovery) = DiskLog::open(&OpenOptions {
                    dir: data_dir.to_owned(),
                    max_bytes: disk.max_bytes.bytes(),
                    when_full,
                })?;
                // What had to be repaired the log tells itself.
                tracing::info!(
                    segments = recovery.segments,
                    events = recovery.events,
                    "the log is open"
                );
                Ok(Self {
                    log: Arc::new(log),
                    dead_letters: Arc::new(DeadLetters::open(&data_dir.join("dead-letters"), dead_letter_bytes)?),
                    folder: Some(data_dir.to_owned()),
                })
            }
            Some(BufferKind::JetStream(_)) | None => Err(StartError::Buffer),
        }
    }
}
