//! Leader election on a `coordination.k8s.io/v1` Lease, so that one operator writes at a time.
//!
//! A candidate reads the lease every [`Settings::retry_period`] and takes it when it is free, or when its holder has not
//! renewed it for the lease's duration. That is judged by this process's own clock, from the moment at which it saw the
//! lease change: what the holder wrote as time is never compared with ours. Every write carries the `resourceVersion` it
//! is made from, so that of two candidates one gets a conflict.
//!
//! A leader that could not renew for [`Settings::renew_deadline`] gives up, and its process is expected to end. The
//! deadline is shorter than the duration and counts from before the last good renewal was sent, so the old leader is
//! done before any other may begin.
//!
//! The election has a thread, a runtime and a client of its own: neither a busy reconciler nor the retries and
//! connections of the other client keep a renewal waiting.

use std::{
    future, io,
    sync::{Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, Config,
    api::{ObjectMeta, PostParams},
};
use tokio::{
    sync::{oneshot, watch},
    time::{sleep, sleep_until, timeout},
};

/// The longest that one request about the lease may take; two fit into the renewal deadline.
const ATTEMPT: Duration = Duration::from_secs(3);
/// The longest that connecting may take.
const CONNECT: Duration = Duration::from_secs(2);
/// What a lease without a duration lasts; the Kubernetes components' own default.
const USUAL_DURATION: Duration = Duration::from_secs(15);

/// Which lease, for whom, and its times. Duration > deadline > retry period, as in Kubernetes' own components.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
    /// This process, different from every other one.
    pub identity: String,
    /// How long the lease is another's after its last renewal.
    pub lease_duration: Duration,
    /// How long a leader goes on without a renewal.
    pub renew_deadline: Duration,
    /// Between two looks at the lease, or two renewals.
    pub retry_period: Duration,
}

impl Settings {
    /// The usual times (15 s, 10 s, 2 s), for a process on the machine or pod called `host`.
    #[must_use]
    pub fn new(namespace: &str, name: &str, host: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: format!("{host}_{:016x}", rand::random::<u64>()),
            lease_duration: USUAL_DURATION,
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// What to do about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// There is none: make it.
    Create,
    /// It is ours: renew it.
    Renew,
    /// It is free, or its holder is gone: take it.
    Take,
    /// It is another's, unless that one is gone by then.
    Wait {
        /// When the lease ends if nothing changes.
        until: Instant,
    },
}

/// What `me` does about a lease that was first seen as it is now at `changed`.
#[must_use]
pub fn decide(lease: Option<&LeaseSpec>, me: &str, changed: Instant, now: Instant) -> Action {
    let Some(lease) = lease else { return Action::Create };
    match lease.holder_identity.as_deref() {
        None | Some("") => Action::Take,
        Some(holder) if holder == me => Action::Renew,
        Some(_) => {
            let seconds = lease
                .lease_duration_seconds
                .and_then(|seconds| u32::try_from(seconds).ok());
            let until = changed + seconds.map_or(USUAL_DURATION, |seconds| Duration::from_secs(seconds.into()));
            if now >= until {
                Action::Take
            } else {
                Action::Wait { until }
            }
        }
    }
}

/// The lease as `settings.identity` writes it at `now` (only for people to read).
fn held(lease: LeaseSpec, settings: &Settings, now: Timestamp) -> LeaseSpec {
    let is_ours = lease.holder_identity.as_deref() == Some(settings.identity.as_str());
    let transitions = match lease.lease_transitions {
        Some(transitions) if !is_ours => transitions.saturating_add(1),
        transitions => transitions.unwrap_or_default(),
    };
    LeaseSpec {
        holder_identity: Some(settings.identity.clone()),
        lease_duration_seconds: i32::try_from(settings.lease_duration.as_secs()).ok(),
        acquire_time: lease.acquire_time.clone().filter(|_| is_ours).or(Some(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(transitions),
        ..lease
    }
}

/// The lease as a holder leaves it that needs it no more: free at once.
fn released(lease: LeaseSpec, now: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        renew_time: Some(MicroTime(now)),
        ..lease
    }
}

/// Where this process stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Candidate,
    Leading { until: Instant },
    Lost { why: String },
}

/// Why no election could begin.
#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    /// The system gives no thread.
    #[error("the system refuses a thread for leader election: {0}")]
    Thread(#[from] io::Error),
    /// The client cannot be made.
    #[error("no client for leader election: {0}")]
    Client(#[from] kube::Error),
}

/// This process's part in the election. Dropping it gives the lease up.
#[derive(Debug)]
pub struct Leader {
    state: watch::Receiver<State>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    /// Ends when the lease is released or lost; never joined, as that would block.
    _thread: JoinHandle<()>,
}

impl Leader {
    /// Begins to stand for election. `config` says where the API server is; its retries and times are not used.
    ///
    /// # Errors
    /// When the system gives no thread, or `config` makes no client.
    pub fn start(config: &Config, settings: Settings) -> Result<Self, LeaderError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = {
            // The client's tasks belong to the election's own runtime.
            let _entered = runtime.enter();
            let mut config = config.clone();
            config.default_retry = false;
            config.connect_timeout = Some(CONNECT);
            // No read timeout: it would count the pause before a request on a kept connection. Each attempt has its own.
            config.read_timeout = None;
            Client::try_from(config)?
        };
        let (publish, state) = watch::channel(State::Candidate);
        let (stop, stopped) = oneshot::channel();
        let candidacy = Candidacy {
            leases: Api::namespaced(client, &settings.namespace),
            settings,
            seen: None,
            is_current: false,
            until: None,
            is_failing: false,
        };
        let thread = std::thread::Builder::new()
            .name("leader-election".to_owned())
            .spawn(move || runtime.block_on(candidacy.run(&publish, stopped)))?;
        Ok(Self {
            state,
            stop: Mutex::new(Some(stop)),
            _thread: thread,
        })
    }

    /// Whether this process may write now. False from the deadline on, even if the election's thread had no chance yet
    /// to say so.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        matches!(*self.state.borrow(), State::Leading { until } if Instant::now() < until)
    }

    /// Waits until this process leads.
    pub async fn acquired(&self) {
        let mut state = self.state.clone();
        let leads = state
            .wait_for(|state| matches!(state, State::Leading { .. }))
            .await
            .is_ok();
        if !leads {
            // The election has ended without us; whoever waits for `lost` hears of it.
            future::pending::<()>().await;
        }
    }

    /// Waits until this process has led and may not write any more; says why. The process is to end then: what it knows
    /// is out of date, and a request of its that is under way cannot be called back.
    pub async fn lost(&self) -> String {
        let mut state = self.state.clone();
        match state
            .wait_for(|state| matches!(state, State::Lost { .. }))
            .await
            .as_deref()
        {
            Ok(State::Lost { why }) => why.clone(),
            Ok(_) | Err(_) => "leader election has ended".to_owned(),
        }
    }

    /// Gives the lease up, so that another candidate leads with its next look. To be called when nothing writes any
    /// more. Takes at most a few seconds when the API server does not answer.
    pub async fn release(&self) {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Dropped or sent, the election's thread takes it as the word to stop.
        drop(stop);
        let mut state = self.state.clone();
        // Until that thread has dropped its end.
        while state.changed().await.is_ok() {}
    }
}

/// Why a look at the lease, or a write of it, came to nothing.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("no answer within {} s", ATTEMPT.as_secs())]
    Slow,
    #[error("another process was faster")]
    Conflict,
    #[error("{0}")]
    Refused(Box<kube::core::Status>),
    #[error("{0}")]
    Unreachable(kube::Error),
}

impl From<kube::Error> for AttemptError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => Self::Conflict,
            kube::Error::Api(status) => Self::Refused(status),
            error => Self::Unreachable(error),
        }
    }
}

async fn attempt<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, AttemptError> {
    Ok(timeout(ATTEMPT, request).await.map_err(|_| AttemptError::Slow)??)
}

/// A lease as it was last seen.
#[derive(Clone, Debug)]
struct Seen {
    metadata: ObjectMeta,
    spec: LeaseSpec,
    /// When it was first seen like this.
    changed: Instant,
}

impl Seen {
    /// Only a changed specification counts as a sign of life of the holder.
    fn new(metadata: ObjectMeta, spec: LeaseSpec, before: Option<Self>, now: Instant) -> Self {
        let changed = match before {
            Some(before) if before.spec == spec => before.changed,
            _ => now,
        };
        Self {
            metadata,
            spec,
            changed,
        }
    }
}

/// Where a turn leaves this process.
enum Standing {
    Leads { until: Instant },
    Waits { until: Instant },
    Lost { why: String },
}

/// The election's thread.
struct Candidacy {
    leases: Api<Lease>,
    settings: Settings,
    seen: Option<Seen>,
    /// Whether `seen` is our own last write, so that the next one is made from it without a look.
    is_current: bool,
    /// When leading: until when.
    until: Option<Instant>,
    is_failing: bool,
}

impl Candidacy {
    async fn run(mut self, state: &watch::Sender<State>, mut stop: oneshot::Receiver<()>) {
        loop {
            let until = self.until;
            let standing = tokio::select! {
                biased;
                _ = &mut stop => return self.release().await,
                () = passed(until) => Standing::Lost {
                    why: format!("it could not be renewed for {:?}", self.settings.renew_deadline),
                },
                turn = self.turn() => self.told(turn),
            };
            let until = match standing {
                Standing::Leads { until } => {
                    state.send_replace(State::Leading { until });
                    until
                }
                Standing::Waits { until } => until,
                Standing::Lost { why } => {
                    let Settings { namespace, name, .. } = &self.settings;
                    let why = format!("the lease {namespace}/{name} is lost: {why}");
                    state.send_replace(State::Lost { why });
                    return;
                }
            };
            // Jitter shortens, so that the times above stay upper bounds.
            let pause = self.settings.retry_period.mul_f64(rand::random_range(0.8..=1.0));
            tokio::select! {
                biased;
                _ = &mut stop => return self.release().await,
                () = sleep(pause.min(until.saturating_duration_since(Instant::now()))) => {}
            }
        }
    }

    /// Looks at the lease, unless our own last write shows it, and does what is to be done.
    async fn turn(&mut self) -> Result<Standing, AttemptError> {
        if !std::mem::replace(&mut self.is_current, false) {
            self.look().await?;
        }
        let sent = Instant::now();
        let seen = self.seen.as_ref();
        let changed = seen.map_or(sent, |seen| seen.changed);
        let action = decide(seen.map(|seen| &seen.spec), &self.settings.identity, changed, sent);
        match action {
            Action::Create | Action::Take | Action::Wait { .. } if self.until.is_some() => {
                Ok(Standing::Lost { why: self.whose() })
            }
            Action::Wait { until } => Ok(Standing::Waits { until }),
            Action::Create | Action::Renew | Action::Take => {
                self.write(action).await?;
                let until = sent + self.settings.renew_deadline;
                self.until = Some(until);
                self.is_current = true;
                Ok(Standing::Leads { until })
            }
        }
    }

    async fn look(&mut self) -> Result<(), AttemptError> {
        let lease = attempt(self.leases.get_opt(&self.settings.name)).await?;
        self.saw(lease);
        Ok(())
    }

    fn saw(&mut self, lease: Option<Lease>) {
        let before = self.seen.take();
        self.seen =
            lease.map(|Lease { metadata, spec }| Seen::new(metadata, spec.unwrap_or_default(), before, Instant::now()));
    }

    async fn write(&mut self, action: Action) -> Result<(), AttemptError> {
        let (metadata, spec) = match &self.seen {
            // Its resourceVersion goes along: the write is refused if anybody wrote in between.
            Some(seen) => (seen.metadata.clone(), seen.spec.clone()),
            None => (
                ObjectMeta {
                    name: Some(self.settings.name.clone()),
                    ..ObjectMeta::default()
                },
                LeaseSpec::default(),
            ),
        };
        let lease = Lease {
            metadata,
            spec: Some(held(spec, &self.settings, Timestamp::now())),
        };
        let params = PostParams::default();
        let written = match action {
            Action::Create => attempt(self.leases.create(&params, &lease)).await?,
            Action::Renew | Action::Take | Action::Wait { .. } => {
                attempt(self.leases.replace(&self.settings.name, &params, &lease)).await?
            }
        };
        self.saw(Some(written));
        Ok(())
    }

    /// Where the turn leaves us; what went wrong is told once, not at each attempt.
    fn told(&mut self, turn: Result<Standing, AttemptError>) -> Standing {
        match turn {
            Ok(standing) => {
                if std::mem::replace(&mut self.is_failing, false) {
                    tracing::info!("the lease can be reached again");
                }
                standing
            }
            Err(error) => {
                let is_news =
                    !matches!(error, AttemptError::Conflict) && !std::mem::replace(&mut self.is_failing, true);
                if is_news {
                    let Settings { namespace, name, .. } = &self.settings;
                    tracing::warn!("the lease {namespace}/{name} cannot be read or written, trying on: {error}");
                }
                // Tries again after the usual pause, and does not sleep over the deadline.
                let again = Instant::now() + self.settings.retry_period;
                let until = self.until.map_or(again, |deadline| again.min(deadline));
                Standing::Waits { until }
            }
        }
    }

    fn whose(&self) -> String {
        match self.seen.as_ref().and_then(|seen| seen.spec.holder_identity.as_deref()) {
            Some(holder) if !holder.is_empty() => format!("{holder} holds it"),
            _ => "somebody has deleted or emptied it".to_owned(),
        }
    }

    /// Leaves the lease free if it is ours. A write of ours that was under way may still arrive: then the second look
    /// sees it.
    async fn release(mut self) {
        for _ in 0..2 {
            if self.look().await.is_err() {
                return;
            }
            let Some(seen) = &self.seen else { return };
            if seen.spec.holder_identity.as_deref() != Some(&self.settings.identity) {
                return;
            }
            let lease = Lease {
                metadata: seen.metadata.clone(),
                spec: Some(released(seen.spec.clone(), Timestamp::now())),
            };
            let params = PostParams::default();
            match attempt(self.leases.replace(&self.settings.name, &params, &lease)).await {
                Err(AttemptError::Conflict) => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!("the lease is not released, the next leader waits for its end: {error}");
                    return;
                }
            }
        }
    }
}

/// Waits until `deadline`, for ever without one.
async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use super::*;

    fn settings() -> Settings {
        Settings {
            identity: "me".to_owned(),
            ..Settings::new("tagfleet", "tagfleet-operator", "host")
        }
    }

    fn lease_of(holder: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// What is done about a lease that has been as it is for so long.
    fn after(unchanged_for: Duration, lease: Option<&LeaseSpec>) -> Action {
        let changed = Instant::now();
        decide(lease, "me", changed, changed + unchanged_for)
    }

    #[test]
    fn what_is_free_or_ours_is_taken_at_once() {
        assert_eq!(after(Duration::ZERO, None), Action::Create);
        assert_eq!(after(Duration::ZERO, Some(&LeaseSpec::default())), Action::Take);
        assert_eq!(after(Duration::ZERO, Some(&lease_of(""))), Action::Take);
        assert_eq!(after(Duration::ZERO, Some(&lease_of("me"))), Action::Renew);
        assert_eq!(after(100 * SECOND, Some(&lease_of("me"))), Action::Renew);
    }

    #[test]
    fn anothers_lease_is_taken_when_it_did_not_change_for_its_duration() {
        let changed = Instant::now();
        let until = changed + 15 * SECOND;
        let lease = lease_of("other");
        let waits = Action::Wait { until };
        assert_eq!(decide(Some(&lease), "me", changed, changed), waits);
        assert_eq!(decide(Some(&lease), "me", changed, until - SECOND), waits);
        assert_eq!(decide(Some(&lease), "me", changed, until), Action::Take);
    }

    #[test]
    fn a_lease_lasts_as_long_as_it_says_and_15_s_where_it_says_nothing_sensible() {
        for (said, lasts) in [(Some(60), 60), (Some(0), 0), (None, 15), (Some(-1), 15)] {
            let lease = LeaseSpec {
                lease_duration_seconds: said,
                ..lease_of("other")
            };
            let changed = Instant::now();
            let until = changed + lasts * SECOND;
            assert_eq!(decide(Some(&lease), "me", changed, until), Action::Take, "{said:?}");
            if lasts > 0 {
                let waits = Action::Wait { until };
                assert_eq!(decide(Some(&lease), "me", changed, until - SECOND), waits, "{said:?}");
            }
        }
    }

    #[test]
    fn the_holders_clock_is_not_believed() {
        let in_a_year = "2100-01-01T00:00:00Z".parse().unwrap();
        let lease = LeaseSpec {
            renew_time: Some(MicroTime(in_a_year)),
            ..lease_of("other")
        };
        assert_eq!(after(15 * SECOND, Some(&lease)), Action::Take);
    }

    #[test]
    fn a_renewal_keeps_what_a_takeover_changes() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let taken = held(lease_of("other"), &settings(), at(100));
        assert_eq!(taken.holder_identity.as_deref(), Some("me"));
        assert_eq!(taken.acquire_time, Some(MicroTime(at(100))));
        assert_eq!(taken.lease_transitions, Some(4));

        let renewed = held(taken.clone(), &settings(), at(102));
        assert_eq!(
            renewed,
            LeaseSpec {
                renew_time: Some(MicroTime(at(102))),
                ..taken
            }
        );
        assert_eq!(released(renewed, at(103)).holder_identity.as_deref(), Some(""));
    }

    #[test]
    fn only_a_changed_specification_is_a_sign_of_life() {
        let start = Instant::now();
        let first = Seen::new(ObjectMeta::default(), lease_of("other"), None, start);
        // Somebody has labelled the lease: its resourceVersion is another one, its specification is not.
        let labelled = ObjectMeta {
            resource_version: Some("2".to_owned()),
            ..ObjectMeta::default()
        };
        let same = Seen::new(labelled, lease_of("other"), Some(first), start + SECOND);
        assert_eq!(same.changed, start);
        assert_eq!(same.metadata.resource_version.as_deref(), Some("2"));

        let renewed = LeaseSpec {
            renew_time: Some(MicroTime(Timestamp::from_second(1).unwrap())),
            ..lease_of("other")
        };
        let renewed = Seen::new(ObjectMeta::default(), renewed, Some(same), start + 2 * SECOND);
        assert_eq!(renewed.changed, start + 2 * SECOND);
    }

    #[test]
    fn each_process_has_an_identity_of_its_own() {
        let identity = || Settings::new("tagfleet", "tagfleet-operator", "host").identity;
        assert!(identity().starts_with("host_"));
        assert_ne!(identity(), identity());
    }
}
