//! A lane: everything between the log and one vendor. One task for each destination; nothing in it is shared with
//! another, so that a vendor that is down or slow delays only itself.
//!
//! ```text
//! reader ─► batch ─► pack (encode) ─► queue ─► gate, maxConcurrency ─► attempt ─► outcome ─► settle (cursor)
//!                                       ▲                                            │
//!                                       └──────────── backoff ◄──────────────────────┤
//!                                                    dead letters ◄──────────────────┘
//! ```

mod expire;
mod outcome;

#[cfg(test)]
pub(super) use outcome::letter;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    Parts,
    attempt::attempt,
    gate::{Gate, Pass, Shut},
    parcel::{Circumstances, Doomed, Parcel, Queue, pack},
    retry::Backoff,
};
use crate::{
    log::{DestinationId, Ending, Position, Reader, Stored},
    metrics::DestinationMetrics,
    pipeline::transform::View,
    plan::PlannedDestination,
    status::{CredentialsReason, Delivery, DestinationBoard},
};

/// Payload that a lane holds in memory beside one batch: past that it reads no further.
const MAX_HELD_BYTES: usize = 8 << 20;
/// Payload of one batch: the vendor's own limit counts when requests are made.
const BATCH_BYTES: (usize, usize) = (64 << 10, 4 << 20);
/// A request that was prepared longer ago is encoded anew: its signature carries the time.
const PREPARED_FOR: Duration = Duration::from_secs(5);
/// How soon the disk is tried again after it failed.
const DISK_RETRY: Duration = Duration::from_secs(5);
/// How often the age of waiting events is looked at.
const AGE_CHECK: Duration = Duration::from_secs(1);

/// What a lane is told to do.
#[derive(Clone)]
pub(super) enum Order {
    /// Deliver in this form.
    Deliver(Arc<PlannedDestination>),
    /// Not configured any more: keep the backlog. What has to be given up of it is shelved as this view shows it.
    Rest(View),
    /// The gateway stops: deliver what goes at once, until this time.
    Drain(Instant),
}

/// Why a lane's task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As it was told.
    Done,
    /// A request's task died: what it carried is in the log, whoever reads next finds it there.
    Broken,
}

pub(super) struct Lane {
    name: Arc<str>,
    id: DestinationId,
    parts: Parts,
    orders: watch::Receiver<Order>,
    /// Up to where destinations that lag must let go.
    expiry: watch::Receiver<Option<Position>>,
    metrics: DestinationMetrics,
    board: Arc<DestinationBoard>,
    /// Requests to erase.
    erased: watch::Receiver<u64>,

    form: Option<Arc<PlannedDestination>>,
    /// What the destination sees, and so what its dead letters hold.
    view: View,
    drain_until: Option<Instant>,
    gate: Gate,

    reader: Option<Box<dyn Reader>>,
    /// Where reading goes on, once known.
    next: Option<Position>,
    at_head: bool,
    read_after: Instant,
    batch: Vec<Stored>,
    batch_since: Instant,
    poll_at: Option<Instant>,

    queue: Queue,
    under_way: JoinSet<Returned>,
    aged_at: Instant,

    doomed: Vec<Doomed>,
    bury_after: Instant,
    endings: Vec<(Position, Ending)>,
    broken: bool,
    quiet_until: Instant,
}

/// A parcel that comes back from a request.
struct Returned {
    parcel: Parcel,
    attempt: super::attempt::Attempt,
    probe: bool,
    /// The form it was sent in.
    fingerprint: String,
}

impl Lane {
    pub(super) fn new(
        name: Arc<str>,
        id: DestinationId,
        parts: Parts,
        orders: watch::Receiver<Order>,
        expiry: watch::Receiver<Option<Position>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            metrics: parts.metrics.destination(&name),
            board: parts.board.destination(&name),
            erased: parts.erasures.changes(),
            name,
            id,
            parts,
            orders,
            expiry,
            form: None,
            view: View::default(),
            drain_until: None,
            gate: Gate::default(),
            reader: None,
            next: None,
            at_head: false,
            read_after: now,
            batch: Vec::new(),
            batch_since: now,
            poll_at: None,
            queue: Queue::default(),
            under_way: JoinSet::new(),
            aged_at: now,
            doomed: Vec::new(),
            bury_after: now,
            endings: Vec::new(),
            broken: false,
            quiet_until: now,
        }
    }

    pub(super) async fn run(mut self) -> End {
        let mut head = self.parts.log.head();
        let first = self.orders.borrow_and_update().clone();
        self.obey(first);
        loop {
            self.step(&mut head).await;
            if self.broken {
                return End::Broken;
            }
            if self.is_done() {
                return End::Done;
            }
            let wake = self.next_wake();
            let waits_for_head = self.waits_for_head();
            tokio::select! {
                biased;
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return End::Done;
                    }
                    let order = self.orders.borrow_and_update().clone();
                    self.obey(order);
                }
                Some(returned) = self.under_way.join_next() => self.came_back(returned),
                Ok(()) = self.expiry.changed() => {
                    let before = *self.expiry.borrow_and_update();
                    if let Some(before) = before {
                        self.expire(before).await;
                    }
                }
                Ok(()) = self.erased.changed() => self.forget_erased(),
                Ok(()) = head.changed(), if waits_for_head => self.at_head = false,
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Deliver(form) => {
                let same = self
                    .form
                    .as_ref()
                    .is_some_and(|old| old.fingerprint == form.fingerprint);
                if same {
                    self.gate.retry_rejected(Instant::now());
                } else {
                    self.gate.reset();
                    self.queue.unprepare();
                    self.queue.hurry(Instant::now());
                    self.view = form.view.clone();
                    self.form = Some(form);
                }
            }
            Order::Rest(view) => {
                // The last view that is known, when the configuration says nothing of it any more.
                if !view.is_empty() {
                    self.view = view;
                }
                self.form = None;
            }
            Order::Drain(until) => self.drain_until = Some(until),
        }
        self.show();
    }

    /// Does all that can be done without waiting for anything but the disk.
    async fn step(&mut self, head: &mut watch::Receiver<Position>) {
        loop {
            while let Some(returned) = self.under_way.try_join_next() {
                self.came_back(returned);
            }
            if self.erased.has_changed().unwrap_or(false) {
                self.erased.mark_unchanged();
                self.forget_erased();
            }
            let now = Instant::now();
            self.age_out(now);
            if !self.doomed.is_empty() && now >= self.bury_after {
                self.bury().await;
            }
            self.settle();
            let Some(form) = self.form.clone().filter(|form| form.sends()) else {
                self.give_back();
                return;
            };
            self.dispatch(&form, now);
            self.settle();
            if !self.wants_more(now) || !self.fill(&form, head, now) {
                return;
            }
            // A long backlog must not keep the thread from the other destinations.
            tokio::task::yield_now().await;
        }
    }

    /// While nothing is sent (paused, or not configured), nothing is held either: all goes back to the cursor.
    fn give_back(&mut self) {
        let idle = self.under_way.is_empty() && self.doomed.is_empty() && self.endings.is_empty();
        if idle && self.reader.is_some() {
            self.queue = Queue::default();
            self.batch = Vec::new();
            self.reader = None;
            self.next = None;
            self.at_head = false;
        }
    }

    fn dispatch(&mut self, form: &Arc<PlannedDestination>, now: Instant) {
        while self.under_way.len() < form.delivery.max_concurrency.max(1) {
            let probe = match self.gate.pass(now) {
                Pass::All => false,
                Pass::Probe => true,
                Pass::Nothing(_) => return,
            };
            let parcel = if probe {
                self.queue.take_probe()
            } else {
                self.queue.take(now)
            };
            let Some(mut parcel) = parcel else {
                return;
            };
            match parcel.prepared.take() {
                Some((request, at)) if now.duration_since(at) < PREPARED_FOR => {
                    if probe {
                        self.gate.probe_sent();
                    }
                    let (transport, form) = (Arc::clone(&self.parts.transport), Arc::clone(form));
                    let now_ms = self.parts.now_ms;
                    self.under_way.spawn(async move {
                        let attempt = attempt(&*transport, &form, request, now_ms).await;
                        Returned {
                            parcel,
                            attempt,
                            probe,
                            fingerprint: form.fingerprint.clone(),
                        }
                    });
                }
                _ => {
                    self.queue.release(parcel.key.as_ref());
                    let with = self.circumstances(form, now, parcel.attempts, parcel.failure);
                    self.pack(form, &parcel.events, &with);
                }
            }
        }
    }

    fn wants_more(&self, now: Instant) -> bool {
        let room = self.doomed.is_empty() && now >= self.read_after;
        let (max_waiting, soon) = self.form.as_ref().map_or((0, now), |form| {
            let max_waiting = (form.delivery.max_concurrency * 4).max(16);
            (max_waiting, now + form.delivery.max_backoff)
        });
        room && match self.gate.pass(now) {
            Pass::All => {
                // Events that a vendor wants hours later, which are no failure, hold the others up by their bytes alone.
                !self.queue.is_any_due(now)
                    && self.queue.due_by(soon) < max_waiting
                    && self.queue.bytes() < MAX_HELD_BYTES
            }
            Pass::Probe => self.queue.is_empty(),
            Pass::Nothing(_) => false,
        }
    }

    /// Reads on and packs the batch when it is full or has waited long enough. Returns whether there was anything to do.
    fn fill(&mut self, form: &PlannedDestination, head: &mut watch::Receiver<Position>, now: Instant) -> bool {
        let vendor = form.vendor.limits();
        let max_events = form.delivery.max_events.min(vendor.max_events).max(1);
        let max_bytes = vendor.max_bytes.clamp(BATCH_BYTES.0, BATCH_BYTES.1);
        let bytes: usize = self.batch.iter().map(|event| event.payload.len()).sum();
        let mut read = 0;
        if self.batch.len() < max_events && bytes < max_bytes {
            if self.batch.is_empty() {
                self.batch_since = now;
            }
            head.borrow_and_update();
            read = self.read(max_events - self.batch.len(), max_bytes - bytes);
        }
        self.poll_at = None;
        if self.batch.is_empty() {
            return false;
        }
        let full = self.batch.len() >= max_events || bytes >= max_bytes;
        let waited = now >= self.batch_since + form.delivery.max_delay;
        if full || waited || (self.at_head && self.drain_until.is_some()) {
            let events = std::mem::take(&mut self.batch);
            let with = self.circumstances(form, now, 0, None);
            self.pack(form, &events, &with);
            return true;
        }
        if read > 0 {
            return true;
        }
        // Looking again from time to time costs less than a wake-up for every commit of the log.
        let poll = (form.delivery.max_delay / 16).clamp(Duration::from_millis(5), Duration::from_millis(50));
        self.poll_at = Some((now + poll).min(self.batch_since + form.delivery.max_delay));
        false
    }

    /// Reads into the batch and returns how many events came.
    fn read(&mut self, max_events: usize, max_bytes: usize) -> usize {
        let result = match &mut self.reader {
            Some(reader) => reader.read(max_events, max_bytes),
            None => self.parts.log.reader(self.id).and_then(|mut reader| {
                let chunk = reader.read(max_events, max_bytes);
                self.reader = Some(reader);
                chunk
            }),
        };
        match result {
            Ok(chunk) => {
                let read = chunk.events.len();
                self.at_head = read == 0;
                self.next = Some(chunk.next);
                self.batch.extend(chunk.events);
                read
            }
            Err(error) => {
                self.read_after = Instant::now() + DISK_RETRY;
                self.complain(&format!("the log cannot be read: {error}"));
                0
            }
        }
    }

    fn circumstances(
        &self,
        form: &PlannedDestination,
        now: Instant,
        attempts: u32,
        failure: Option<(String, String)>,
    ) -> Circumstances {
        Circumstances {
            now_ms: (self.parts.now_ms)(),
            now,
            max_age_ms: i64::try_from(form.delivery.max_age.as_millis()).unwrap_or(i64::MAX),
            attempts,
            failure,
            erasures: Arc::clone(&self.parts.erasures),
        }
    }

    /// Somebody's events are erased: those that wait here are settled now, those in the log when they are read.
    fn forget_erased(&mut self) {
        let erasures = &self.parts.erasures;
        let is_erased = |event: &Stored| erasures.covers_encoded(&event.payload);
        let mut gone = self.queue.forget(is_erased);
        self.batch.retain(|event| {
            let goes = is_erased(event);
            gone.extend(goes.then_some(event.position));
            !goes
        });
        self.end_erased(gone);
    }

    /// Events end that are erased, or that may not be sent by the consent that is required now: a dead letter would keep
    /// them.
    fn end_erased(&mut self, gone: Vec<Position>) {
        self.endings
            .extend(gone.into_iter().map(|position| (position, Ending::Erased)));
    }

    /// Encodes events: parcels go to the queue, what cannot be sent to the dead letters, and what may not be sent ends.
    fn pack(&mut self, form: &PlannedDestination, events: &[Stored], with: &Circumstances) {
        let packed = pack(form, events, with);
        for parcel in packed.parcels {
            self.queue.push(parcel);
        }
        self.doomed.extend(packed.doomed);
        self.end_erased(packed.erased);
        for (expression, times) in packed.expression_errors {
            self.parts.metrics.expression_errors(&self.name, &expression, times);
        }
    }

    /// Gives up waiting events that grew too old, also while the gate is shut.
    fn age_out(&mut self, now: Instant) {
        let Some(form) = self.form.clone() else {
            return;
        };
        if now < self.aged_at + AGE_CHECK || self.queue.is_empty() {
            return;
        }
        self.aged_at = now;
        let max_age_ms = i64::try_from(form.delivery.max_age.as_millis()).unwrap_or(i64::MAX);
        let limit = (self.parts.now_ms)().saturating_sub(max_age_ms);
        if self.queue.oldest_ms().is_none_or(|oldest| oldest >= limit) {
            return;
        }
        for parcel in self.queue.extract(|parcel| parcel.oldest_ms < limit) {
            let due = parcel.due;
            let with = self.circumstances(&form, now, parcel.attempts, parcel.failure);
            let packed = pack(&form, &parcel.events, &with);
            self.doomed.extend(packed.doomed);
            self.end_erased(packed.erased);
            for mut young in packed.parcels {
                young.due = due;
                self.queue.push(young);
            }
        }
    }

    fn waits_for_head(&self) -> bool {
        let now = Instant::now();
        self.form.as_ref().is_some_and(|form| form.sends())
            && self.batch.is_empty()
            && self.at_head
            && self.wants_more(now)
    }

    /// When there is something to do even if nothing happens until then.
    fn next_wake(&self) -> Option<Instant> {
        let now = Instant::now();
        let sends = self.form.as_ref().is_some_and(|form| form.sends());
        let room = self
            .form
            .as_ref()
            .is_some_and(|form| self.under_way.len() < form.delivery.max_concurrency.max(1));
        let gate = match self.gate.pass(now) {
            Pass::All => self.queue.next_due(),
            Pass::Nothing(until) => until,
            Pass::Probe => None,
        };
        let wakes = [
            (!self.doomed.is_empty()).then_some(self.bury_after),
            (sends && room).then_some(gate).flatten(),
            (sends && !self.queue.is_empty()).then_some(self.aged_at + AGE_CHECK),
            (sends && now < self.read_after).then_some(self.read_after),
            self.poll_at.filter(|_| sends && self.wants_more(now)),
            self.drain_until,
        ];
        wakes.into_iter().flatten().min()
    }

    fn is_done(&self) -> bool {
        let Some(until) = self.drain_until else {
            return false;
        };
        let now = Instant::now();
        if now >= until {
            return true;
        }
        let sends = self.form.as_ref().is_some_and(|form| form.sends()) && self.gate.shut().is_none();
        let waits = sends && (!self.batch.is_empty() || !self.at_head || self.queue.is_any_due(now));
        self.under_way.is_empty() && !waits
    }

    /// Shows on the status board what the lane does.
    fn show(&self) {
        let delivery = match (&self.form, self.gate.shut()) {
            (Some(form), _) if form.paused => Delivery::Paused,
            (Some(form), _) if form.awaits_credentials => Delivery::WaitingForCredentials {
                reason: CredentialsReason::Propagating,
            },
            (_, None) if self.gate.fails_on() => self.retrying(self.queue.next_due()),
            (_, None) => Delivery::Delivering,
            (_, Some(Shut::Rejected)) => Delivery::WaitingForCredentials {
                reason: CredentialsReason::CredentialsRejected,
            },
            (_, Some(Shut::Gone)) => Delivery::Stopped,
            (_, Some(Shut::Failing | Shut::RetryAfter)) => self.retrying(self.gate.shut_until()),
        };
        self.board.set(delivery);
    }

    fn retrying(&self, next: Option<Instant>) -> Delivery {
        let wait = next.map_or(Duration::ZERO, |next| next.saturating_duration_since(Instant::now()));
        let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        Delivery::Retrying {
            next_attempt_ms: (self.parts.now_ms)().saturating_add(wait_ms),
        }
    }

    /// Says what went wrong, on the board always, in the log not more than once in a while.
    fn complain(&mut self, message: &str) {
        /// Lines of one destination keep this distance.
        const QUIET: Duration = Duration::from_secs(10);
        self.board.report_error((self.parts.now_ms)(), message);
        let now = Instant::now();
        if now >= self.quiet_until {
            self.quiet_until = now + QUIET;
            tracing::warn!(destination = %self.name, "{message}");
        }
    }

    fn backoff(form: &PlannedDestination) -> Backoff {
        Backoff {
            initial: form.delivery.initial_backoff,
            max: form.delivery.max_backoff,
        }
    }
}
