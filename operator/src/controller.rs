//! The two controllers: streams of names in, reconciliations out.

use std::{fmt::Debug, future::Future, hash::Hash, sync::Arc, time::Duration};

use futures::{StreamExt as _, future, stream};
use kube::{
    Resource,
    runtime::{
        Controller,
        controller::{Action, Config},
        reflector::{ObjectRef, Store},
    },
};
use rand::RngExt as _;
use serde::de::DeserializeOwned;
use tagfleet_crds::{Destination, TaggingContainer, validate::NamespacedName};
use tokio::time::Instant;

use crate::{
    backoff::Backoffs,
    child::name_of,
    context::Context,
    dereference, destination,
    reconcile::{self, ReconcileError},
    rollouts,
    wake::Wake,
};

/// Reconciliations of each kind at a time: more would only crowd the API server.
const CONCURRENCY: u16 = 10;
/// What comes for one object within this time is looked at once: a manifest of a container with its Destinations.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// The longest that one reconciliation may take: the client itself waits for as long as an API server asks it to.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often everything is looked at even if no watch told anything.
const LOOK_ANYWAY: Duration = Duration::from_secs(3600);
/// How often a fleet is looked at that waits for the rollout of another, whose turn may end without an event.
const LOOK_WHILE_WAITING: Duration = Duration::from_secs(60);

/// Runs both controllers until it is dropped. Looks at everything once, then at what it is woken for.
pub async fn run(context: Arc<Context>) {
    tokio::join!(
        control::<TaggingContainer>(Arc::clone(&context)),
        control::<Destination>(context)
    );
}

/// A kind that is reconciled.
trait Controlled: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {
    /// Its name, as metrics and logs have it.
    const KIND: &'static str;

    fn store(context: &Context) -> &Store<Self>;
    fn wake(context: &Context) -> &Wake;
    fn backoffs(context: &Context) -> &Backoffs;
    /// The loop. Gives when to look again at the latest.
    fn reconcile(self: Arc<Self>, context: &Context) -> impl Future<Output = Result<Duration, ReconcileError>> + Send;
    /// Forgets what is remembered of an object that is gone.
    fn forget(context: &Context, name: &NamespacedName);
}

async fn control<K: Controlled>(context: Arc<Context>)
where
    K::DynamicType: Hash + Eq,
{
    let woken = K::wake(&context).listen();
    let store = K::store(&context).clone();
    let first = store
        .state()
        .into_iter()
        .map(|object| ObjectRef::from_obj(&*object))
        .collect::<Vec<_>>();
    let known = Arc::clone(&context);
    let woken = woken.filter_map(move |name| {
        let object = ObjectRef::<K>::new(&name.name).within(&name.namespace);
        let is_there = K::store(&known).get(&object).is_some();
        if !is_there {
            K::backoffs(&known).forget(&name);
            K::forget(&known, &name);
        }
        future::ready(is_there.then_some(object))
    });
    Controller::for_stream(stream::pending(), store)
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .reconcile_on(stream::iter(first).chain(woken))
        .run(reconcile::<K>, pause::<K>, context)
        .for_each(|_| future::ready(()))
        .await;
}

async fn reconcile<K: Controlled>(object: Arc<K>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let name = name_of(&*object);
    let started = Instant::now();
    let result = tokio::time::timeout(DEADLINE, object.reconcile(&context)).await;
    let result = result.unwrap_or(Err(ReconcileError::Deadline(DEADLINE)));
    context.metrics.reconciled(K::KIND, started.elapsed(), result.is_err());
    let again = result?;
    K::backoffs(&context).forget(&name);
    Ok(Action::requeue(jittered(again)))
}

#[allow(clippy::needless_pass_by_value)] // kube calls it so
fn pause<K: Controlled>(object: Arc<K>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let name = name_of(&*object);
    let pause = K::backoffs(&context).failed(&name);
    tracing::warn!(
        kind = K::KIND, namespace = name.namespace, name = name.name, %error, again_in = ?pause,
        "not reconciled"
    );
    Action::requeue(pause)
}

impl Controlled for TaggingContainer {
    const KIND: &'static str = "TaggingContainer";

    fn store(context: &Context) -> &Store<Self> {
        &context.watches.own.containers
    }

    fn wake(context: &Context) -> &Wake {
        &context.wakes.containers
    }

    fn backoffs(context: &Context) -> &Backoffs {
        &context.container_backoffs
    }

    async fn reconcile(self: Arc<Self>, context: &Context) -> Result<Duration, ReconcileError> {
        let waits = reconcile::container(context, self).await?;
        Ok(if waits { LOOK_WHILE_WAITING } else { LOOK_ANYWAY })
    }

    fn forget(context: &Context, name: &NamespacedName) {
        dereference::forget(&context.watches, name);
        context.container_status.forget(name);
        rollouts::forget(context, name);
        let verdicts = context.memories.forget(name);
        for destination in verdicts.iter().flat_map(|verdicts| verdicts.destinations.keys()) {
            context
                .wakes
                .destinations
                .wake(&NamespacedName::new(&name.namespace, destination));
        }
    }
}

impl Controlled for Destination {
    const KIND: &'static str = "Destination";

    fn store(context: &Context) -> &Store<Self> {
        &context.watches.own.destinations
    }

    fn wake(context: &Context) -> &Wake {
        &context.wakes.destinations
    }

    fn backoffs(context: &Context) -> &Backoffs {
        &context.destination_backoffs
    }

    async fn reconcile(self: Arc<Self>, context: &Context) -> Result<Duration, ReconcileError> {
        destination::destination(context, self).await?;
        Ok(LOOK_ANYWAY)
    }

    fn forget(context: &Context, name: &NamespacedName) {
        context.destination_status.forget(name);
    }
}

/// Within a fifth of this time, so that a thousand objects do not come at once.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(rand::rng().random_range(0.8..1.2))
}
