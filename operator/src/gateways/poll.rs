//! Asks every fleet's gateways for their `/status`: one task for all fleets, at most [`AT_ONCE`] requests at a time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tagfleet_crds::validate::NamespacedName;
use tokio::{
    net::TcpStream,
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::Instant,
};

use super::{
    answer::Answer,
    fleet::{AT_REST, FleetState, Target},
    report::FleetReport,
};
use crate::metrics::Metrics;

/// The port of a gateway's admin listener.
pub const ADMIN_PORT: u16 = 9090;
/// Requests at a time, over all fleets.
pub const AT_ONCE: usize = 16;
/// How long one request may take, from connecting to the last byte.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// The most bytes of an answer.
pub const LARGEST_ANSWER: usize = 1 << 20;
/// Gateways at rest are asked so seldom that this many are asked in a second, over all fleets.
const AT_REST_PER_SECOND: u32 = 50;

/// Which fleets there are. Asked often: answers come from memory.
pub trait Targets: Send + Sync + 'static {
    /// Every fleet that stands.
    fn fleets(&self) -> Vec<NamespacedName>;
    /// Its pods, and the generations that its gateways are to have in force; none once it is gone.
    fn target(&self, fleet: &NamespacedName) -> Option<Target>;
}

/// The poller's handle. Polling ends when it is dropped.
#[derive(Debug)]
pub struct Poller {
    reports: Reports,
    hurry: mpsc::UnboundedSender<NamespacedName>,
}

type Reports = Arc<RwLock<BTreeMap<NamespacedName, Arc<FleetReport>>>>;

impl Poller {
    /// Starts to poll in a task. A fleet's name is sent to `wake` whenever its report changed.
    pub fn start(targets: Arc<dyn Targets>, wake: mpsc::Sender<NamespacedName>, metrics: Arc<Metrics>) -> Self {
        Self::start_at(ADMIN_PORT, targets, wake, metrics)
    }

    /// As [`Poller::start`], with another port than [`ADMIN_PORT`].
    pub fn start_at(
        port: u16,
        targets: Arc<dyn Targets>,
        wake: mpsc::Sender<NamespacedName>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (hurry, hurried) = mpsc::unbounded_channel();
        let reports = Reports::default();
        let schedule = Schedule {
            port,
            targets,
            wake,
            metrics,
            reports: Arc::clone(&reports),
            started: Instant::now(),
            fleets: BTreeMap::new(),
            due: BinaryHeap::new(),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            rounds: JoinSet::new(),
            gateways: 0,
        };
        tokio::spawn(schedule.run(hurried));
        Self { reports, hurry }
    }

    /// What is known of a fleet; none until one of its gateways was asked.
    #[must_use]
    pub fn report(&self, fleet: &NamespacedName) -> Option<Arc<FleetReport>> {
        let reports = self.reports.read().unwrap_or_else(PoisonError::into_inner);
        reports.get(fleet).cloned()
    }

    /// Something of the fleet changed (a generation, its pods): ask now, and often until the gateways have caught up.
    pub fn hurry(&self, fleet: &NamespacedName) {
        // The task ends only with the handle or the process; then nobody waits for an answer.
        self.hurry.send(fleet.clone()).ok();
    }
}

struct Schedule {
    port: u16,
    targets: Arc<dyn Targets>,
    wake: mpsc::Sender<NamespacedName>,
    metrics: Arc<Metrics>,
    reports: Reports,
    started: Instant,
    fleets: BTreeMap<NamespacedName, Entry>,
    /// When a fleet is due, the earliest first. An entry that is not the fleet's `due` any more is void.
    due: BinaryHeap<Reverse<(Duration, NamespacedName)>>,
    slots: Arc<Semaphore>,
    rounds: JoinSet<Asked>,
    gateways: u32,
}

struct Entry {
    state: FleetState,
    /// When it is asked next; none while a round is under way.
    due: Option<Duration>,
    /// Whether somebody was in a hurry while a round was under way.
    hurried: bool,
    gateways: u32,
}

struct Asked {
    fleet: NamespacedName,
    answers: Vec<(String, Result<Answer, String>)>,
}

impl Schedule {
    async fn run(mut self, mut hurried: mpsc::UnboundedReceiver<NamespacedName>) {
        let mut refresh = tokio::time::interval(AT_REST);
        refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let next = self.due.peek().map(|Reverse((at, _))| self.started + *at);
            let may_begin = self.rounds.len() < AT_ONCE;
            tokio::select! {
                name = hurried.recv() => match name {
                    Some(name) => self.hurry(name),
                    None => return,
                },
                _ = refresh.tick() => self.refresh(),
                Some(asked) = self.rounds.join_next(), if !self.rounds.is_empty() => match asked {
                    Ok(asked) => if !self.finish(asked).await { return },
                    Err(error) => tracing::error!(%error, "a round of polling gateways failed"),
                },
                () = sleep_until(next), if may_begin && next.is_some() => self.begin_due(),
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes up fleets that are new and forgets those that are gone.
    fn refresh(&mut self) {
        let names: BTreeSet<_> = self.targets.fleets().into_iter().collect();
        let now = self.now();
        let gone: Vec<_> = self
            .fleets
            .keys()
            .filter(|name| !names.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            self.forget(&name);
        }
        for name in names {
            if !self.fleets.contains_key(&name) {
                // Spread, so that a restarted operator does not ask all gateways at once.
                self.enter(name, now + AT_REST.mul_f64(rand::random::<f64>()));
            }
        }
    }

    fn enter(&mut self, name: NamespacedName, at: Duration) {
        let entry = Entry {
            state: FleetState::new(&name.name),
            due: Some(at),
            hurried: false,
            gateways: 0,
        };
        self.fleets.insert(name.clone(), entry);
        self.due.push(Reverse((at, name)));
    }

    fn forget(&mut self, name: &NamespacedName) {
        if let Some(entry) = self.fleets.remove(name) {
            self.gateways -= entry.gateways;
        }
        self.reports
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }

    fn hurry(&mut self, name: NamespacedName) {
        let now = self.now();
        let Some(entry) = self.fleets.get_mut(&name) else {
            return self.enter(name, now);
        };
        entry.state.hurry(now);
        match entry.due {
            None => entry.hurried = true,
            Some(due) if due <= now => {}
            Some(_) => {
                entry.due = Some(now);
                self.due.push(Reverse((now, name)));
            }
        }
    }

    /// Begins the rounds that are due, as many as may run at a time.
    fn begin_due(&mut self) {
        let now = self.now();
        while self.rounds.len() < AT_ONCE {
            let Some(Reverse((at, name))) = self.due.peek().cloned() else {
                return;
            };
            if at > now {
                return;
            }
            self.due.pop();
            let is_valid = self.fleets.get(&name).is_some_and(|entry| entry.due == Some(at));
            if is_valid {
                self.begin(now, name);
            }
        }
    }

    fn begin(&mut self, now: Duration, name: NamespacedName) {
        let Some(target) = self.targets.target(&name) else {
            return self.forget(&name);
        };
        let Some(entry) = self.fleets.get_mut(&name) else {
            return;
        };
        entry.due = None;
        entry.hurried = false;
        let pods = entry.state.begin(now, target);
        let count = u32::try_from(pods.len()).unwrap_or(u32::MAX);
        self.gateways = self.gateways.saturating_sub(entry.gateways).saturating_add(count);
        entry.gateways = count;
        self.rounds
            .spawn(ask_all(name, pods, self.port, Arc::clone(&self.slots)));
    }

    fn publish(&self, fleet: NamespacedName, report: Arc<FleetReport>) {
        let mut reports = self.reports.write().unwrap_or_else(PoisonError::into_inner);
        reports.insert(fleet, report);
    }

    /// Ends a round; false once nobody listens to the wakes.
    async fn finish(&mut self, asked: Asked) -> bool {
        let now = self.now();
        let Some(entry) = self.fleets.get_mut(&asked.fleet) else {
            return true;
        };
        for (_, answer) in &asked.answers {
            self.metrics.gateway_polled(answer.is_ok());
        }
        let round = entry.state.finish(now, asked.answers);
        let wait = if entry.hurried {
            Duration::ZERO
        } else if round.next < AT_REST {
            round.next
        } else {
            // All gateways together are asked at most so often in a second, however many they are.
            let fair = Duration::from_secs(u64::from(self.gateways / AT_REST_PER_SECOND));
            round.next.max(fair).mul_f64(rand::random_range(0.9..1.1))
        };
        let at = now.saturating_add(wait);
        entry.due = Some(at);
        let report = entry.state.report().cloned();
        self.due.push(Reverse((at, asked.fleet.clone())));
        match report {
            Some(report) if round.changed => {
                self.publish(asked.fleet.clone(), report);
                self.wake.send(asked.fleet).await.is_ok()
            }
            _ => true,
        }
    }
}

/// Waits for ever if there is nothing to wait for.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Asks all pods of a fleet.
async fn ask_all(fleet: NamespacedName, pods: Vec<(String, IpAddr)>, port: u16, slots: Arc<Semaphore>) -> Asked {
    let slots = &slots;
    let answers = stream::iter(pods)
        .map(|(pod, ip)| async move {
            let Ok(_slot) = slots.acquire().await else {
                return (pod, Err("the operator ends".to_owned()));
            };
            (pod, ask(SocketAddr::new(ip, port)).await)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    Asked { fleet, answers }
}

/// Asks one gateway. A connection of its own for each request: thousands of idle ones would cost more than they save. An
/// error is a short text without anything that changes from one time to the next.
async fn ask(address: SocketAddr) -> Result<Answer, String> {
    match tokio::time::timeout(TIMEOUT, request(address)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
    }
}

async fn request(address: SocketAddr) -> Result<Answer, String> {
    let connection = TcpStream::connect(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        kind => format!("cannot connect: {kind}"),
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(64 * 1024)
        .handshake(TokioIo::new(connection))
        .await
        .map_err(|_| "cannot connect".to_owned())?;
    let request = http::Request::get("/status")
        .header(http::header::HOST, address.to_string())
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| "the address makes no request".to_owned())?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|_| "the connection broke".to_owned())?;
        if response.status() != http::StatusCode::OK {
            return Err(format!("answered {}", response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        let body = body.map_err(|_| format!("the answer broke off, or is larger than {LARGEST_ANSWER} bytes"))?;
        Answer::read(&body.to_bytes()).map_err(|_| "the answer is not a gateway's status".to_owned())
    };
    tokio::pin!(exchange, connection);
    // The connection is driven here, and not in a task, so that it ends with the timeout.
    tokio::select! {
        answer = &mut exchange => answer,
        _ = &mut connection => exchange.await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use std::sync::Mutex;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::observed::PodState;

    /// The fleets of a test.
    #[derive(Default)]
    struct Fleets(Mutex<BTreeMap<NamespacedName, Target>>);

    impl Targets for Fleets {
        fn fleets(&self) -> Vec<NamespacedName> {
            self.0.lock().unwrap().keys().cloned().collect()
        }

        fn target(&self, fleet: &NamespacedName) -> Option<Target> {
            self.0.lock().unwrap().get(fleet).cloned()
        }
    }

    /// A server on this address that gives the same answer to every request.
    async fn serve(address: (&str, u16), answer: String) -> SocketAddr {
        let listener = TcpListener::bind(address).await.unwrap();
        let bound = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let answer = answer.clone();
                tokio::spawn(async move {
                    let mut request = [0; 1_024];
                    if connection.read(&mut request).await.is_ok_and(|read| read > 0) {
                        connection.write_all(answer.as_bytes()).await.ok();
                    }
                });
            }
        });
        bound
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    fn status(generation: i64) -> String {
        ok(&format!(
            r#"{{"container": "shop", "configuration": {{"version": "x", "objects":
                [{{"object": "TaggingContainer/shop", "generation": {generation}}}]}}}}"#
        ))
    }

    fn pod(name: &str, address: SocketAddr) -> PodState {
        PodState {
            name: name.into(),
            ip: Some(address.ip().to_string()),
            ready: true,
            ..PodState::default()
        }
    }

    #[tokio::test]
    async fn gateways_are_asked_and_whoever_waits_is_woken() {
        let shop = NamespacedName::new("shops", "shop");
        let first = serve(("127.0.0.1", 0), status(1)).await;
        let second = serve(("127.0.0.2", first.port()), status(2)).await;
        let fleets = Arc::new(Fleets::default());
        let target = Target {
            pods: vec![pod("a", first), pod("b", second)],
            wanted: BTreeMap::from([("TaggingContainer/shop".to_owned(), 2)]),
        };
        fleets.0.lock().unwrap().insert(shop.clone(), target);
        let (wake, mut woken) = mpsc::channel(8);
        let targets: Arc<dyn Targets> = fleets.clone();
        let poller = Poller::start_at(first.port(), targets, wake, Arc::new(Metrics::new().unwrap()));
        assert_eq!(poller.report(&shop), None);
        poller.hurry(&shop);
        assert_eq!(woken.recv().await, Some(shop.clone()));
        let report = poller.report(&shop).unwrap();
        assert_eq!(report.gateways.len(), 2);
        assert_eq!(report.updated("TaggingContainer/shop", 2), 1);
        // A pod goes, and is no longer told of.
        fleets.0.lock().unwrap().get_mut(&shop).unwrap().pods.pop();
        poller.hurry(&shop);
        assert_eq!(woken.recv().await, Some(shop.clone()));
        assert_eq!(poller.report(&shop).unwrap().gateways.len(), 1);
    }

    #[tokio::test]
    async fn what_is_not_a_gateways_answer_is_an_error_that_does_not_change_from_time_to_time() {
        let endless = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}",
            LARGEST_ANSWER + 1,
            " ".repeat(LARGEST_ANSWER + 1)
        );
        for (answer, error) in [
            (
                "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
                "answered 404",
            ),
            (
                "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n".to_owned(),
                "answered 302",
            ),
            (ok("<html>"), "the answer is not a gateway's status"),
            (endless, "the answer broke off, or is larger than 1048576 bytes"),
            (String::new(), "the connection broke"),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_owned(),
                "the answer broke off, or is larger than 1048576 bytes",
            ),
        ] {
            let address = serve(("127.0.0.1", 0), answer).await;
            assert_eq!(ask(address).await, Err(error.to_owned()));
        }
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(ask(closed).await, Err("connection refused".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_does_not_answer_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(ask(address).await, Err("no answer within 2 s".to_owned()));
    }
}
