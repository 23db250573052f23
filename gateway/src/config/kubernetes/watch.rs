//! The two watches at the API server. It is needed neither to start nor to go on: while it is away, what is known counts.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject},
    runtime::{
        WatchStreamExt as _,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use tagfleet_crds::{Destination, TaggingContainer};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use super::{
    ClusterObjects,
    store::{Kind, Store},
};
use crate::delivery::client::install_crypto_provider;

/// How many objects a list has on one page: a gateway's memory is bounded by it while it lists.
const PAGE: u32 = 100;
/// How long a connection may take: the default of 30 s would be most of a wait.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an API server that accepted a request may be silent. Longer than a watch lasts, in which nothing may happen.
const READ_TIMEOUT: Duration = Duration::from_secs(300);
/// How long after the first of several changes they are told together: what is applied at once is taken up at once.
const GATHER: Duration = Duration::from_millis(50);
/// How many seconds the API server lets a watch last; each gateway chooses its own, so that a fleet does not come back as
/// one.
const WATCH_SECONDS: std::ops::RangeInclusive<u32> = 200..=290;

/// Tells what the API server has, whenever that has changed; none before the first lists. Ends when dropped.
#[derive(Debug)]
pub struct ClusterWatch {
    objects: watch::Receiver<Option<Arc<ClusterObjects>>>,
    task: JoinHandle<()>,
}

impl ClusterWatch {
    /// Begins to watch the container of this name, on the runtime that this is called on.
    #[must_use]
    pub fn start(namespace: &str, container: &str) -> Self {
        let (send, objects) = watch::channel(None);
        let store = Store::new(namespace, container);
        let names = (namespace.to_owned(), container.to_owned());
        let task = tokio::spawn(async move {
            let client = connect().await;
            let events = events(&client, &names.0, &names.1);
            follow(events, store, &send).await;
        });
        Self { objects, task }
    }

    /// Waits for the next change. `None` when the watch has ended, which it does not do by itself.
    pub async fn next(&mut self) -> Option<Arc<ClusterObjects>> {
        loop {
            self.objects.changed().await.ok()?;
            let objects = self.objects.borrow_and_update().clone();
            if objects.is_some() {
                return objects;
            }
        }
    }
}

impl Drop for ClusterWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The namespace that this process runs in or works with: the service account's, or the kubeconfig context's.
///
/// # Errors
/// When there is neither; says why.
pub async fn namespace() -> Result<String, String> {
    let config = Config::infer().await.map_err(|error| error.to_string())?;
    Ok(config.default_namespace)
}

/// A client. What it needs (a token, a kubeconfig) may come later than the gateway.
async fn connect() -> Client {
    install_crypto_provider();
    let mut waits = Waits::default();
    let mut told = false;
    loop {
        match client().await {
            Ok(client) => return client,
            Err(error) if !told => {
                told = true;
                tracing::warn!(
                    error,
                    "there is no way to the API server; what is mounted counts until there is"
                );
            }
            Err(error) => tracing::debug!(error, "there still is no way to the API server"),
        }
        sleep(waits.next().unwrap_or(CONNECT_TIMEOUT)).await;
    }
}

async fn client() -> Result<Client, String> {
    let mut config = Config::infer().await.map_err(|error| error.to_string())?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    // The watches have a backoff of their own; two would multiply.
    config.default_retry = false;
    Client::try_from(config).map_err(|error| error.to_string())
}

/// The waits between two tries: up to 1 s, each up to twice the one before, to 10 s, of which a random half is left out: a
/// thousand gateways ask a hundred times a second at most while the API server is away, and have its news within 10 s of
/// its return. They begin anew after two minutes without a failure, and not when the watch says that it begins anew, which
/// it does before each try.
#[derive(Debug, Default)]
struct Waits {
    longest: Duration,
    last: Option<Instant>,
}

impl Waits {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(10);
    const FORGET: Duration = Duration::from_secs(120);
}

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let is_new = self
            .last
            .replace(now)
            .is_none_or(|last| now.duration_since(last) > Self::FORGET);
        self.longest = if is_new {
            Self::FIRST
        } else {
            (self.longest * 2).min(Self::LONGEST)
        };
        Some(self.longest.mul_f64(rand::random_range(0.5..=1.0)))
    }
}

impl Backoff for Waits {
    fn reset(&mut self) {}
}

type Told = Result<(Kind, Event<DynamicObject>), (Kind, watcher::Error)>;

/// The events of both watches. Objects are not typed: one that this version cannot read must not end the watch.
fn events(client: &Client, namespace: &str, container: &str) -> impl Stream<Item = Told> + use<> {
    let seconds = rand::random_range(WATCH_SECONDS);
    let config = watcher::Config::default().page_size(PAGE).timeout(seconds);
    let watch = |kind: Kind, resource: ApiResource, config: watcher::Config| {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let events = watcher(api, config).backoff(Waits::default());
        events.map(move |told| told.map(|event| (kind, event)).map_err(|error| (kind, error)))
    };
    let containers = watch(
        Kind::Container,
        ApiResource::erase::<TaggingContainer>(&()),
        config.clone().fields(&format!("metadata.name={container}")),
    );
    let destinations = watch(Kind::Destinations, ApiResource::erase::<Destination>(&()), config);
    stream::select(containers.boxed(), destinations.boxed())
}

/// Takes in events for as long as somebody listens.
async fn follow(
    mut events: impl Stream<Item = Told> + Unpin,
    mut store: Store,
    send: &watch::Sender<Option<Arc<ClusterObjects>>>,
) {
    let mut reach = Reach::default();
    let mut due: Option<Instant> = None;
    loop {
        tokio::select! {
            told = events.next() => match told {
                Some(Ok((kind, event))) => {
                    // A watch says that it begins before it asks.
                    if !matches!(event, Event::Init) {
                        reach.answered(kind);
                    }
                    if store.take(kind, event) {
                        due.get_or_insert_with(|| Instant::now() + GATHER);
                    }
                }
                Some(Err((kind, error))) => reach.failed(kind, &error),
                None => return,
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                due = None;
                if let Some(objects) = store.objects() {
                    send.send_replace(Some(objects));
                }
            }
        }
    }
}

/// Whether the API server answers, told when it changes and not with every try.
#[derive(Debug, Default)]
struct Reach {
    lost: [bool; 2],
}

impl Reach {
    fn answered(&mut self, kind: Kind) {
        if std::mem::take(self.lost(kind)) {
            tracing::info!(kind = kind.name(), "the API server answers again");
        }
    }

    fn failed(&mut self, kind: Kind, error: &watcher::Error) {
        if std::mem::replace(self.lost(kind), true) {
            tracing::debug!(kind = kind.name(), %error, "the API server still does not answer");
        } else {
            tracing::warn!(
                kind = kind.name(), %error, cause = innermost(error),
                "the API server does not let itself be watched; what is known goes on counting"
            );
        }
    }

    fn lost(&mut self, kind: Kind) -> &mut bool {
        let [container, destinations] = &mut self.lost;
        match kind {
            Kind::Container => container,
            Kind::Destinations => destinations,
        }
    }
}

/// What is at the bottom of an error: kube's own words stop at `client error (Connect)`.
fn innermost(error: &watcher::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_waits_grow_while_the_api_server_is_away() {
        let mut waits = Waits::default();
        let tries: Vec<Duration> = (0..8)
            .map(|_| {
                let wait = waits.next().unwrap();
                waits.reset();
                wait
            })
            .collect();
        assert!(tries[0] <= Duration::from_secs(1), "{tries:?}");
        let last = tries[7];
        assert!(
            (Duration::from_secs(5)..=Duration::from_secs(10)).contains(&last),
            "{tries:?}"
        );
    }
}
