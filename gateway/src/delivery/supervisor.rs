//! The supervisor: one lane for each destination that the log knows, configured or not.

use std::{
    collections::BTreeMap,
    fs,
    future::{Future, poll_fn},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};

use super::{
    Parts,
    lane::{End, Lane, Order},
};
use crate::{
    log::{DestinationId, Position},
    plan::{Plan, PlannedDestination},
};

/// How long the backlog of a destination that was deleted waits for one of the same name.
const KEPT_MS: i64 = 24 * 3600 * 1000;
/// How often it is looked at whose time is over.
const HOUSEKEEPING: Duration = Duration::from_secs(60);
/// How soon a full buffer is noticed while hits arrive.
const EXPIRY_CHECK: Duration = Duration::from_millis(50);
/// How soon a lane that died begins again.
const RESTART: Duration = Duration::from_secs(1);

/// Runs delivery on a runtime of its own. Dropping it without [`Supervisor::shutdown`] abandons the lanes as a crash
/// would: nothing is lost.
pub struct Supervisor {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    parts: Parts,
    runtime: Handle,
    expiry: watch::Sender<Option<Position>>,
    lanes: Mutex<BTreeMap<String, LaneHandle>>,
    /// When each destination was found missing from the configuration, unix milliseconds.
    absent: Mutex<BTreeMap<String, i64>>,
}

struct LaneHandle {
    id: DestinationId,
    orders: watch::Sender<Order>,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// Starts delivery on `runtime`; nothing is sent before the first [`Supervisor::apply`].
    #[must_use]
    pub fn start(parts: Parts, runtime: &Handle) -> Self {
        let absent = parts
            .state_dir
            .as_ref()
            .map(|folder| read_absent(&absent_file(folder)))
            .unwrap_or_default();
        let shared = Arc::new(Shared {
            parts,
            runtime: runtime.clone(),
            expiry: watch::Sender::new(None),
            lanes: Mutex::default(),
            absent: Mutex::new(absent),
        });
        let tasks = vec![
            runtime.spawn(watch_expiry(Arc::clone(&shared))),
            runtime.spawn(keep_house(Arc::clone(&shared))),
        ];
        Self { shared, tasks }
    }

    /// Brings a plan into force: new destinations start, changed ones take up their new form at their cursor (what is
    /// under way ends in the old one), those that are gone rest with their backlog.
    pub fn apply(&self, plan: &Plan) {
        self.shared.apply(plan);
    }

    /// Delivers what goes at once, waits for requests under way, settles and ends; after `limit` whatever is still under
    /// way is abandoned and comes again after the next start.
    pub async fn shutdown(self, limit: Duration) {
        let until = Instant::now() + limit;
        for task in &self.tasks {
            task.abort();
        }
        let lanes = std::mem::take(&mut *locked(&self.shared.lanes));
        for lane in lanes.values() {
            lane.orders.send_replace(Order::Drain(until));
        }
        // The lanes end by themselves in time; the second on top is for the disk.
        let hard = until + Duration::from_secs(1);
        for (name, mut lane) in lanes {
            if timeout_at(hard, &mut lane.task).await.is_err() {
                lane.task.abort();
                tracing::warn!(destination = %name, "abandoned with requests under way; they are repeated after the start");
            }
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        for lane in locked(&self.shared.lanes).values() {
            lane.task.abort();
        }
    }
}

impl Shared {
    fn apply(&self, plan: &Plan) {
        let planned: BTreeMap<&str, &Arc<PlannedDestination>> = plan
            .destinations
            .iter()
            .map(|destination| (&*destination.name, destination))
            .collect();
        let known = self.parts.log.ledgers();
        let mut lanes = locked(&self.lanes);
        for (name, destination) in &planned {
            self.command(
                &mut lanes,
                name,
                destination.id,
                Order::Deliver(Arc::clone(destination)),
            );
        }
        for (name, id, _) in &known {
            if !planned.contains_key(name.as_str()) {
                let view = plan.absent_views.get(name).cloned().unwrap_or_default();
                self.command(&mut lanes, name, *id, Order::Rest(view));
            }
        }
        drop(lanes);
        self.note_absent(|name| planned.contains_key(name), &known);
        self.parts.board.retain_destinations(|name| planned.contains_key(name));
    }

    fn command(&self, lanes: &mut BTreeMap<String, LaneHandle>, name: &str, id: DestinationId, order: Order) {
        match lanes.get(name) {
            Some(lane) if lane.id == id && !lane.task.is_finished() => {
                let same = match (&*lane.orders.borrow(), &order) {
                    (Order::Rest(before), Order::Rest(now)) => before.fingerprint() == now.fingerprint(),
                    _ => false,
                };
                if !same {
                    lane.orders.send_replace(order);
                }
            }
            _ => {
                let (orders, receiver) = watch::channel(order);
                let before = lanes.remove(name);
                if let Some(before) = &before {
                    before.task.abort();
                }
                let task = self.runtime.spawn(keep_lane(
                    Arc::from(name),
                    id,
                    self.parts.clone(),
                    receiver,
                    self.expiry.subscribe(),
                    before.map(|before| before.task),
                ));
                lanes.insert(name.to_owned(), LaneHandle { id, orders, task });
            }
        }
    }

    /// Remembers, across restarts, since when destinations are not configured.
    fn note_absent(&self, is_planned: impl Fn(&str) -> bool, known: &[(String, DestinationId, crate::log::Ledger)]) {
        let now_ms = (self.parts.now_ms)();
        let mut absent = locked(&self.absent);
        let mut now_absent = BTreeMap::new();
        for (name, _, _) in known {
            if !is_planned(name) {
                let since = absent.get(name).copied().unwrap_or(now_ms);
                now_absent.insert(name.clone(), since);
            }
        }
        if now_absent != *absent {
            *absent = now_absent;
            self.save_absent(&absent);
        }
    }

    fn save_absent(&self, absent: &BTreeMap<String, i64>) {
        let Some(folder) = &self.parts.state_dir else {
            return;
        };
        let file = absent_file(folder);
        if let Err(error) = write_absent(&file, absent) {
            tracing::warn!(path = %file.display(), %error, "deleted destinations cannot be noted; their backlog is kept longer");
        }
    }

    /// Drops from the list of erasures what no event that waits is older than.
    async fn prune_erasures(&self) {
        let ledgers = self.parts.log.ledgers();
        let waiting = ledgers.iter().filter(|(_, _, ledger)| ledger.in_flight > 0);
        let oldest_ms = waiting.map(|(_, _, ledger)| ledger.oldest_in_flight_ms.unwrap_or(i64::MIN));
        let (oldest_ms, now_ms) = (oldest_ms.min(), (self.parts.now_ms)());
        let erasures = Arc::clone(&self.parts.erasures);
        let pruned = tokio::task::spawn_blocking(move || erasures.prune(oldest_ms, now_ms)).await;
        if let Ok(Err(error)) = pruned {
            tracing::warn!(%error, "erasures that are over stay in their list");
        }
    }

    /// Forgets the destinations that have been gone for long enough.
    async fn forget_absent(&self) {
        let now_ms = (self.parts.now_ms)();
        let over: Vec<String> = locked(&self.absent)
            .iter()
            .filter(|(_, since)| now_ms.saturating_sub(**since) >= KEPT_MS)
            .map(|(name, _)| name.clone())
            .collect();
        for name in over {
            let lane = locked(&self.lanes).remove(&name);
            let Some(mut lane) = lane else {
                continue;
            };
            lane.task.abort();
            if let Err(error) = (&mut lane.task).await
                && !error.is_cancelled()
            {
                tracing::error!(destination = %name, %error, "the lane of a deleted destination had died");
            }
            match self.parts.log.forget(lane.id) {
                Ok(()) => {
                    tracing::info!(destination = %name, "deleted 24 h ago: its backlog is dropped");
                    let mut absent = locked(&self.absent);
                    absent.remove(&name);
                    self.save_absent(&absent);
                }
                Err(error) => tracing::warn!(destination = %name, %error, "its backlog cannot be dropped"),
            }
        }
    }
}

/// Runs a lane, again and again if it should die.
async fn keep_lane(
    name: Arc<str>,
    id: DestinationId,
    parts: Parts,
    orders: watch::Receiver<Order>,
    expiry: watch::Receiver<Option<Position>>,
    before: Option<JoinHandle<()>>,
) {
    if let Some(before) = before
        && let Err(error) = before.await
        && !error.is_cancelled()
    {
        tracing::error!(destination = %name, %error, "a lane died");
    }
    loop {
        let lane = Lane::new(Arc::clone(&name), id, parts.clone(), orders.clone(), expiry.clone());
        match outlive(lane.run()).await {
            Some(End::Done) => return,
            Some(End::Broken) => {}
            None => tracing::error!(destination = %name, "a lane died; it begins again at its cursor"),
        }
        sleep(RESTART).await;
    }
}

/// What `lane` returns; `None` if it panicked.
async fn outlive(lane: impl Future<Output = End>) -> Option<End> {
    let mut lane = pin!(lane);
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| lane.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(end)) => Poll::Ready(Some(end)),
            Err(_) => Poll::Ready(None),
        },
    )
    .await
}

/// Tells the lanes when the log needs room.
async fn watch_expiry(shared: Arc<Shared>) {
    let mut head = shared.parts.log.head();
    while head.changed().await.is_ok() {
        // While it stays too full there may be no hit that says so (they are refused then).
        while let Some(before) = shared.parts.log.expire_before() {
            shared.expiry.send_replace(Some(before));
            sleep(EXPIRY_CHECK).await;
        }
        sleep(EXPIRY_CHECK).await;
    }
}

async fn keep_house(shared: Arc<Shared>) {
    loop {
        sleep(HOUSEKEEPING).await;
        shared.forget_absent().await;
        shared.prune_erasures().await;
    }
}

fn absent_file(folder: &std::path::Path) -> PathBuf {
    folder.join("deleted-destinations.json")
}

fn read_absent(file: &std::path::Path) -> BTreeMap<String, i64> {
    let content = match fs::read(file) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => {
            tracing::warn!(path = %file.display(), %error, "cannot be read; deleted destinations are kept 24 h from now");
            return BTreeMap::new();
        }
    };
    serde_json::from_slice(&content).unwrap_or_else(|error| {
        tracing::warn!(path = %file.display(), %error, "is damaged; deleted destinations are kept 24 h from now");
        BTreeMap::new()
    })
}

fn write_absent(file: &std::path::Path, absent: &BTreeMap<String, i64>) -> io::Result<()> {
    let temporary = file.with_extension("new");
    fs::write(&temporary, serde_json::to_vec(absent)?)?;
    fs::rename(&temporary, file)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
