//! `run`: starts what the operator runs on, then its controllers, and stops them in order.

use std::{collections::BTreeSet, io, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use ipnet::IpNet;
use kube::{Client, Config};
use serde_json::json;
use tagfleet_process::{admin::AdminError, stop::Stop};

use crate::{
    admin::{Admin, AdminServer},
    fleet::{OptionalKinds, Settings},
    leader::{self, Leader, LeaderError},
    logging,
    metrics::Metrics,
    readiness::Readiness,
    served_crds,
    watch::Scope,
    work::Work,
};

/// How long connecting to the API server may take; kube's own default of 30 s outlasts every deadline here.
const CONNECT: Duration = Duration::from_secs(5);

/// What to look after, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The one namespace to look after; none for all.
    pub namespace: Option<String>,
    /// The gateway's image where a container names none.
    pub gateway_image: String,
    /// Private ranges that gateways may send to.
    pub allowed_private_destinations: Vec<IpNet>,
    /// The admin listener.
    pub admin: SocketAddr,
    /// The Lease; none to write without one.
    pub lease: Option<LeaseOptions>,
}

/// The Lease by which operators choose a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseOptions {
    /// Its name.
    pub name: String,
    /// Its namespace; none for the operator's own.
    pub namespace: Option<String>,
}

/// Why the operator does not start, or ends without being told to.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("no way to an API server: {0}; run it in a pod, or set KUBECONFIG")]
    Config(#[from] kube::config::InferConfigError),
    #[error("no client for the API server: {0}")]
    Client(#[from] kube::Error),
    #[error("{0}")]
    Admin(#[from] AdminError),
    #[error("{0}")]
    Leader(#[from] LeaderError),
    #[error("{0}; this process ends so that it writes nothing any more")]
    Lost(String),
    #[error("the metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("the system refuses a thread or a signal handler: {0}")]
    System(#[from] io::Error),
}

/// Runs until SIGTERM or SIGINT. Exit code 1 when it cannot start, and when it loses the lease.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    logging::start();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ended(Err(RunError::System(error))),
    };
    let result = runtime.block_on(operate(options));
    // What is under way after a lost lease is not waited for.
    runtime.shutdown_background();
    ended(result)
}

fn ended(result: Result<(), RunError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn operate(options: &Options) -> Result<(), RunError> {
    let mut stop = Stop::listen()?;
    let metrics = Arc::new(Metrics::new()?);
    let readiness = Arc::new(Readiness::new());
    let admin = Arc::new(Admin::new(Arc::clone(&readiness), Arc::clone(&metrics)));
    let admin_server = AdminServer::start(options.admin, Arc::clone(&admin))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        admin = %admin_server.address(),
        namespace = options.namespace.as_deref().unwrap_or("all"),
        "started"
    );

    let mut config = Config::infer().await?;
    config.connect_timeout = Some(CONNECT);
    let client = Client::try_from(config.clone())?;
    let leader = match &options.lease {
        Some(lease) => Some(stand(&config, lease, &admin, &metrics)?),
        None => {
            metrics.set_leader(true);
            None
        }
    };

    let result = tokio::select! {
        () = stop.asked() => {
            tracing::info!("stopping");
            Ok(())
        }
        why = lost(leader.as_deref()) => Err(RunError::Lost(why)),
        () = work(client, &config.default_namespace, options, &readiness, &metrics, &admin, leader.as_deref()) => Ok(()),
    };
    readiness.set_stopping();
    if result.is_ok()
        && let Some(leader) = leader
    {
        leader.release().await;
        tracing::info!("stopped");
    }
    result
}

/// Stands for election, and shows how that goes.
fn stand(config: &Config, lease: &LeaseOptions, admin: &Admin, metrics: &Metrics) -> Result<Arc<Leader>, RunError> {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "operator".to_owned());
    let namespace = lease.namespace.as_deref().unwrap_or(&config.default_namespace);
    let settings = leader::Settings::new(namespace, &lease.name, &host);
    let (lease, identity) = (format!("{namespace}/{}", lease.name), settings.identity.clone());
    let leader = Arc::new(Leader::start(config, settings)?);
    metrics.on_scrape({
        let leader = Arc::downgrade(&leader);
        move |metrics| metrics.set_leader(leader.upgrade().is_some_and(|leader| leader.is_leader()))
    });
    admin.show("leader", {
        let leader = Arc::downgrade(&leader);
        move || {
            let leads = leader.upgrade().is_some_and(|leader| leader.is_leader());
            json!({"lease": lease, "identity": identity, "leads": leads})
        }
    });
    Ok(leader)
}

async fn lost(leader: Option<&Leader>) -> String {
    match leader {
        Some(leader) => leader.lost().await,
        None => std::future::pending().await,
    }
}

/// Waits for the CRDs, then works.
async fn work(
    client: Client,
    namespace: &str,
    options: &Options,
    readiness: &Arc<Readiness>,
    metrics: &Arc<Metrics>,
    admin: &Arc<Admin>,
    leader: Option<&Leader>,
) {
    let cluster = served_crds::installed(client.clone(), Arc::clone(readiness), Arc::clone(metrics)).await;
    let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let work = Work {
        scope: options.namespace.clone().map_or(Scope::Cluster, Scope::Namespace),
        settings: Settings {
            operator_namespace: in_cluster.then(|| namespace.to_owned()),
            gateway_image: options.gateway_image.clone(),
            allowed_private_destinations: options.allowed_private_destinations.clone(),
            api_server: BTreeSet::new(),
            kinds: OptionalKinds::default(),
        },
        client,
        cluster,
        readiness: Arc::clone(readiness),
        metrics: Arc::clone(metrics),
        admin: Arc::clone(admin),
    };
    work.run(leader).await;
}
