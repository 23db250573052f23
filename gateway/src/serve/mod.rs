//! `serve`: starts the stations of the drawing in docs/architecture.md, keeps them on the newest configuration, and stops
//! them in order.

mod configure;
mod desk;
mod geo;
mod store;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tagfleet_crds::tagging_container::Buffer;
use tagfleet_process::{logging, stop::Stop};
use tokio::runtime::Handle;

use self::{configure::configure, desk::Desk, geo::GeoKeeper, store::Store};
use crate::{
    admin::{AdminError, Serving},
    clock,
    config::{files::Sources, finding::Finding, live::Config},
    deduplication::{Deduplication, Tending},
    delivery::{
        Parts, Supervisor,
        addresses::AddressPolicy,
        client::{ClientError, HttpClient},
        dead_letters::{DeadLetterError, routes::Routes},
    },
    erase::{self, EraseError, Forget},
    hold::Releasing,
    ingest::{
        intake::Intake,
        limits::Limits,
        server::{ServeError, Server, usual_workers},
    },
    log::{LogError, SharedLog},
    pipeline::{device, geo::MAX_BYTES as MAX_GEO_BYTES, policies::Policies},
    plan::Plan,
    traces::{self, Exporter, Tracer},
};

/// What is logged unless TAGFLEET_LOG says otherwise. What kube says of each try at the API server we say once.
const USUAL_LOGS: &str = "info,kube_client=off,kube_runtime=off";
/// How long requests under way may take to end once the gateway is told to stop.
const INGEST_GRACE: Duration = Duration::from_secs(10);
/// How long events that wait for consent may take to the log after that.
const HOLD_GRACE: Duration = Duration::from_secs(5);
/// How long delivery may take after that.
const DELIVERY_GRACE: Duration = Duration::from_secs(10);

/// How long the last spans may take after that.
const TRACES_GRACE: Duration = Duration::from_secs(2);

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

    /// Where the collector of traces may be.
    fn collector_addresses(&self) -> AddressPolicy {
        match self {
            Self::Files { .. } => AddressPolicy::AllowAll,
            Self::Kubernetes { .. } => AddressPolicy::NoMetadataServer,
        }
    }

    fn namespace(&self) -> Option<&str> {
        match self {
            Self::Files { .. } => None,
            Self::Kubernetes { namespace, .. } => Some(namespace),
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
    Erasures(#[from] EraseError),
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
    logging::start(logging::chosen(USUAL_LOGS));
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
    gateway.desk.report(config.findings());
    loop {
        tokio::select! {
            () = stop.asked() => break,
            watching = config.changed(&mut source) => {
                gateway.desk.report(config.findings());
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

/// Brings a plan's limits of deduplication into force, and gives the plan what makes the keys.
fn deduplicating(mut plan: Plan, deduplication: &Deduplication) -> Plan {
    plan.duplicate_keys = deduplication.set_limits(plan.policies.deduplication, clock::now_ms());
    plan
}

/// The gateway at work.
struct Gateway {
    plan: Arc<ArcSwap<Plan>>,
    log: SharedLog,
    deduplication: Arc<Deduplication>,
    tending: Tending,
    desk: Desk,
    delivery: Supervisor,
    releasing: Releasing,
    server: Server,
    geo: GeoKeeper,
    tracer: Tracer,
    exporter: Exporter,
    /// What the log was opened with.
    buffer: Buffer,
}

impl Gateway {
    /// Starts the stations from the end of the way to its beginning, so that no hit comes before it can be kept.
    fn start(options: &Options, config: &Config, desk: Desk) -> Result<Self, StartError> {
        let buffer = config.container().spec.effective_buffer();
        let limits = config.container().policies.deduplication;
        let store = Store::open(&buffer, &options.data_dir, limits, clock::now_ms())?;
        let log = Arc::clone(&store.log);
        let deduplication = Arc::clone(&store.deduplication);
        let plan = deduplicating(config.plan(&mut |name| log.register(name))?, &deduplication);
        desk.metrics.plan_applied(&plan);
        let client = HttpClient::new(options.mode.addresses())?;
        let mut geo = GeoKeeper::new(
            Arc::new(client.clone().reading_up_to(MAX_GEO_BYTES + 1)),
            store.folder.clone(),
            Arc::clone(&desk.board),
        );
        make_ready(&plan.policies, &mut geo);
        let (tracer, exporter) = start_traces(options, config.name(), &desk);
        tracer.apply(plan.traces.as_ref());
        let delivery = Supervisor::start(
            Parts {
                log: Arc::clone(&log),
                transport: Arc::new(client),
                dead_letters: Arc::clone(&store.dead_letters),
                erasures: Arc::clone(&store.erasures),
                metrics: Arc::clone(&desk.metrics),
                tracer: tracer.clone(),
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
            Arc::clone(&deduplication),
            tracer.clone(),
            Arc::clone(&desk.metrics),
            Arc::clone(&desk.board),
            &limits,
        ));
        let tending = Tending::start(Arc::clone(&deduplication), clock::now_ms)?;
        let hold = intake.hold();
        let releasing = Releasing::start(Arc::clone(&hold), &log, Arc::clone(&plan));
        let server = Server::start(options.listen, usual_workers(), limits, move || intake.worker())?;
        let dead_letters = store.dead_letters;
        let routes = Arc::new(Routes::new(Arc::clone(&dead_letters), Arc::clone(&log)));
        let places: Vec<Arc<dyn Forget>> = vec![Arc::clone(&dead_letters) as _, hold];
        let erasing = Arc::new(erase::routes::Routes::new(store.erasures, Arc::clone(&log), places));
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
            routes: vec![routes, erasing],
        });
        Ok(Self {
            plan,
            log,
            deduplication,
            tending,
            desk,
            delivery,
            releasing,
            server,
            geo,
            tracer,
            exporter,
            buffer,
        })
    }

    /// Brings the configuration into force; hits that are under way end in the one before.
    fn apply(&mut self, config: &Config) {
        let plan = match config.plan(&mut |name| self.log.register(name)) {
            Ok(plan) => deduplicating(plan, &self.deduplication),
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
        make_ready(&plan.policies, &mut self.geo);
        self.tracer.apply(plan.traces.as_ref());
        self.plan.store(Arc::new(plan));
    }

    /// Stops in the order of the way: no more hits, then what delivery can still end, then the log and what was seen.
    async fn stop(self) {
        tracing::info!("stopping");
        self.desk.admin.set_stopping();
        let cut = self.server.stop(INGEST_GRACE).await;
        if cut > 0 {
            tracing::warn!(connections = cut, "connections had to be cut");
        }
        self.releasing.stop(HOLD_GRACE).await;
        self.delivery.shutdown(DELIVERY_GRACE).await;
        self.log.close();
        self.tending.stop();
        self.exporter.stop(TRACES_GRACE).await;
        drop(self.desk);
        tracing::info!("stopped");
    }
}

/// Loads what the steps of the pipeline look things up in, before the first hit needs it.
fn make_ready(policies: &Policies, geo: &mut GeoKeeper) {
    geo.keep(policies.geo.as_ref());
    if policies.device {
        device::prepare();
    }
}

/// What records spans, and what brings them to the collector, once there are any.
fn start_traces(options: &Options, container: &str, desk: &Desk) -> (Tracer, Exporter) {
    let (tracer, queue) = Tracer::new(desk.metrics.trace_spans_dropped());
    let host = std::env::var("HOSTNAME").ok().filter(|host| !host.is_empty());
    let resource = traces::resource(container, options.mode.namespace(), host.as_deref());
    let addresses = options.mode.collector_addresses();
    let open = Box::new(|| Ok(Arc::new(HttpClient::new(addresses)?) as _));
    let exporter = Exporter::start(tracer.clone(), queue, resource, open, &Handle::current());
    (tracer, exporter)
}
