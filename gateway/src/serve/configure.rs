//! What the gateway starts with: a configuration, its source, and an open desk.

use std::time::Instant;

use super::{Mode, Options, StartError, Stop, desk::Desk};
use crate::config::{
    files::Snapshot,
    live::{Awaited, Config},
    rules::Rules,
    source::Source,
};

/// The configuration to start with, and what tells of later ones. In file mode mistakes end the start; in a cluster the
/// gateway waits until there is something to serve, with its admin listener open. None when it is told to stop meanwhile.
pub(super) async fn configure(
    options: &Options,
    stop: &mut Stop,
) -> Result<Option<(Config, Source, Desk)>, StartError> {
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
        desk.report(awaited.findings());
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
