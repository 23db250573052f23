//! Delivery as a whole, on a clock that the tests move: log, lanes and dead letters are real, only the vendors are made up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod erase;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::RETRY_AFTER};
use tagfleet_crds::tagging_container::ConsentSignal;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use super::{
    Parts, Supervisor,
    client::{Sending, Transport},
    dead_letters::{DeadLetters, Reason},
    lane,
    parcel::Doomed,
};
use crate::{
    destinations::{
        Authentication, Destination, Encoded, Encoding, Limits, Outcome, Protocol, Request, Response, answer,
    },
    erase::Erasures,
    event::Event,
    log::{Accepted, DestinationId, Ledger, Log, Position, Stored, Verdict, WhenFull, codec, memory::MemoryLog},
    metrics::Metrics,
    pipeline::transform::{Change, Parameters, Transformation, View},
    plan::{Plan, PlannedDestination},
    record::Record,
    status::{Board, CredentialsReason, Delivery, DestinationStatus, Totals},
    testing,
    traces::Tracer,
};

const SECOND: Duration = Duration::from_secs(1);
const EPOCH_MS: i64 = 1_767_225_600_000;

thread_local! {
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The wall clock of a test: it goes with tokio's.
fn now_ms() -> i64 {
    let begun = BEGUN.get().unwrap_or_else(Instant::now);
    BEGUN.set(Some(begun));
    EPOCH_MS + i64::try_from(begun.elapsed().as_millis()).unwrap()
}

/// A vendor whose requests carry the events' ids, separated by blanks.
struct Plain {
    ordered: bool,
}

impl Destination for Plain {
    fn limits(&self) -> Limits {
        Limits {
            max_events: 1000,
            max_bytes: 1_000_000,
        }
    }

    fn encode(&self, records: &[Record<'_>], _: i64) -> Encoding {
        let id = |index: usize| records[index].event.text("event_id").unwrap().to_owned();
        let (good, bad): (Vec<usize>, Vec<usize>) =
            (0..records.len()).partition(|index| !id(*index).starts_with("bad"));
        let mut groups: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
        for index in good {
            // With ordering, the key is what stands before the dash.
            let key = self.ordered.then(|| id(index).split('-').next().unwrap().to_owned());
            groups.entry(key).or_default().push(index);
        }
        let requests = groups.into_iter().map(|(ordering_key, events)| {
            let ids: Vec<String> = events.iter().map(|index| id(*index)).collect();
            Encoded {
                request: Request {
                    method: Method::POST,
                    url: "http://vendor.example/".parse().unwrap(),
                    headers: HeaderMap::new(),
                    body: ids.join(" ").into(),
                    authentication: Authentication::None,
                    protocol: Protocol::Http,
                },
                events,
                ordering_key,
            }
        });
        Encoding {
            requests: requests.collect(),
            refused: bad.into_iter().map(|index| (index, "a bad event".into())).collect(),
            expression_errors: BTreeMap::new(),
        }
    }

    fn classify(&self, response: &Response) -> Outcome {
        match response.status {
            StatusCode::UNPROCESSABLE_ENTITY => Outcome::RefusedBatch {
                reason: answer::reason(response),
            },
            // All but the second event of the request.
            StatusCode::PARTIAL_CONTENT => Outcome::Named {
                named: BTreeMap::from([(
                    1,
                    Outcome::Refused {
                        reason: answer::reason(response),
                    },
                )]),
                others: Box::new(Outcome::Delivered),
            },
            // The second event of the request is to blame.
            StatusCode::CONFLICT => Outcome::RefusedEvents {
                bad: BTreeMap::from([(1, answer::reason(response))]),
            },
            StatusCode::NON_AUTHORITATIVE_INFORMATION => Outcome::DeliveredWith {
                warning: answer::reason(response),
            },
            _ => answer::by_status_with_credentials(response),
        }
    }
}

/// What a made-up vendor answers: after how long, which status, and `Retry-After`.
#[derive(Clone, Copy)]
struct Answer(Duration, u16, Option<&'static str>);

const OK: Answer = Answer(Duration::from_millis(10), 200, None);
const DOWN: Answer = Answer(Duration::from_millis(10), 503, None);
/// No answer within any timeout.
const DEAD: Answer = Answer(Duration::from_secs(1_000_000), 200, None);

type Script = Box<dyn Fn(&str) -> Answer + Send + Sync>;

/// The network: one made-up vendor, and what reached it when.
struct Network {
    script: Mutex<Script>,
    seen: Mutex<Vec<(Instant, String)>>,
}

impl Network {
    fn new(script: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(Box::new(script)),
            seen: Mutex::default(),
        })
    }

    fn answers(&self, script: impl Fn(&str) -> Answer + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// The bodies of all requests, in order.
    fn bodies(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(_, body)| body.clone()).collect()
    }

    /// All ids that arrived, repeats included.
    fn ids(&self) -> Vec<String> {
        self.bodies()
            .iter()
            .flat_map(|body| body.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    fn times(&self) -> Vec<Instant> {
        self.seen.lock().unwrap().iter().map(|(at, _)| *at).collect()
    }
}

impl Transport for Network {
    fn send(&self, request: Request) -> Sending<'_> {
        let body = String::from_utf8(request.body.to_vec()).unwrap();
        let Answer(delay, status, retry_after) = (self.script.lock().unwrap())(&body);
        self.seen.lock().unwrap().push((Instant::now(), body));
        Box::pin(async move {
            sleep(delay).await;
            let mut headers = HeaderMap::new();
            if let Some(value) = retry_after {
                headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            }
            Ok(Response {
                status: StatusCode::from_u16(status).unwrap(),
                headers,
                body: Bytes::from_static(b"the vendor's words"),
                trailers: HeaderMap::new(),
            })
        })
    }
}

/// A gateway without ingest.
struct Gateway {
    log: Arc<MemoryLog>,
    network: Arc<Network>,
    dead_letters: Arc<DeadLetters>,
    erasures: Arc<Erasures>,
    board: Arc<Board>,
    supervisor: Supervisor,
}

impl Gateway {
    fn on(log: Arc<MemoryLog>, network: Arc<Network>) -> Self {
        let dead_letters = Arc::new(DeadLetters::in_memory(1_000_000));
        let erasures: Arc<Erasures> = Arc::default();
        let board = Arc::new(Board::new());
        let metrics = Arc::new(Metrics::new("shop").unwrap());
        let supervisor = Supervisor::start(
            Parts {
                log: Arc::clone(&log) as _,
                transport: Arc::clone(&network) as _,
                dead_letters: Arc::clone(&dead_letters),
                erasures: Arc::clone(&erasures),
                metrics: Arc::clone(&metrics),
                tracer: Tracer::new(metrics.trace_spans_dropped()).0,
                board: Arc::clone(&board),
                state_dir: None,
                now_ms,
            },
            &Handle::current(),
        );
        Self {
            log,
            network,
            dead_letters,
            erasures,
            board,
            supervisor,
        }
    }

    fn new(network: Arc<Network>) -> Self {
        BEGUN.set(None);
        Self::on(Arc::new(MemoryLog::open(1 << 30, WhenFull::Refuse)), network)
    }

    /// A destination of this name that sends batches of up to 10, two at a time.
    fn destination(&self, name: &str) -> PlannedDestination {
        let mut destination = testing::destination(name, self.log.register(name).unwrap(), &[]);
        destination.vendor = Arc::new(Plain { ordered: false });
        destination.delivery.max_concurrency = 2;
        destination.delivery.timeout = 10 * SECOND;
        destination.delivery.initial_backoff = SECOND;
        destination.delivery.max_backoff = 300 * SECOND;
        destination.delivery.max_age = Duration::from_secs(24 * 3600);
        destination
    }

    fn apply(&self, destinations: Vec<PlannedDestination>) {
        self.supervisor.apply(&plan(destinations));
    }

    async fn append(&self, ids: impl IntoIterator<Item = String>, destinations: &[DestinationId]) {
        append(&self.log, ids, destinations).await;
    }

    fn ledger(&self, name: &str) -> Ledger {
        ledger(&self.log, name)
    }

    /// Why events became dead letters, with the vendor's message.
    fn letters(&self, name: &str) -> Vec<(String, Reason, String)> {
        let letters = self.dead_letters.show(name, 0, usize::MAX).unwrap();
        let read = letters.into_iter().map(|dead| {
            let record = codec::decode(&dead.letter.payload).unwrap();
            let id = record.event.text("event_id").unwrap().to_owned();
            (id, dead.letter.reason, dead.letter.message)
        });
        read.collect()
    }

    fn state(&self, name: &str, destination: PlannedDestination) -> Delivery {
        self.status(name, destination).delivery
    }

    fn status(&self, name: &str, destination: PlannedDestination) -> DestinationStatus {
        let plan = plan(vec![destination]);
        let status = self
            .board
            .status(&testing::sources(&plan, now_ms()), Totals::default(), true);
        let found = status.destinations.into_iter().find(|found| found.name == name);
        found.unwrap()
    }
}

fn plan(destinations: Vec<PlannedDestination>) -> Plan {
    testing::plan("1", Vec::new(), destinations)
}

fn ledger(log: &MemoryLog, name: &str) -> Ledger {
    let ledgers = log.ledgers();
    ledgers.into_iter().find(|(found, _, _)| found == name).unwrap().2
}

async fn append(log: &MemoryLog, ids: impl IntoIterator<Item = String>, destinations: &[DestinationId]) {
    let verdicts: Vec<_> = destinations.iter().map(|id| (*id, Verdict::Meant)).collect();
    let mut appender = log.appender();
    for id in ids {
        let mut event = Event::new();
        event.set("event_name", "purchase");
        event.set("event_id", id);
        let record = Record {
            accepted_ms: now_ms(),
            event,
            ..Record::default()
        };
        let commit = appender.append(&[Accepted {
            record: &record,
            verdicts: &verdicts,
        }]);
        commit.unwrap().await.unwrap();
    }
}

fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

#[tokio::test(start_paused = true)]
async fn events_arrive_in_batches_and_are_settled() {
    let gateway = Gateway::new(Network::new(|_| OK));
    let orders = gateway.destination("orders");
    gateway.append(ids("e", 25), &[orders.id]).await;
    gateway.apply(vec![orders]);
    sleep(SECOND).await;
    let sizes: Vec<usize> = gateway
        .network
        .bodies()
        .iter()
        .map(|body| body.split(' ').count())
        .collect();
    assert_eq!(sizes, [10, 10, 5]);
    assert_eq!(gateway.network.ids(), ids("e", 25));
    let ledger = gateway.ledger("orders");
    assert_eq!((ledger.delivered, ledger.in_flight, ledger.imbalance()), (25, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_first_event_waits_for_others_up_to_the_delay() {
    let gateway = Gateway::new(Network::new(|_| OK));
    let mut orders = gateway.destination("orders");
    orders.delivery.max_delay = SECOND;
    let id = orders.id;
    gateway.apply(vec![orders]);
    sleep(SECOND).await;
    let begun = Instant::now();
    gateway.append(["a".to_owned()], &[id]).await;
    sleep(SECOND / 2).await;
    gateway.append(["b".to_owned()], &[id]).await;
    sleep(2 * SECOND).await;
    assert_eq!(gateway.network.bodies(), ["a b"]);
    let waited = gateway.network.times()[0] - begun;
    assert!(
        waited >= SECOND && waited < SECOND + Duration::from_millis(60),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait() {
    let gateway = Gateway::new(Network::new(|_| OK));
    let mut orders = gateway.destination("orders");
    orders.delivery.max_delay = 60 * SECOND;
    gateway.append(ids("e", 10), &[orders.id]).await;
    gateway.apply(vec![orders]);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(gateway.ledger("orders").delivered, 10);
}

#[tokio::test(start_paused = true)]
async fn a_dead_vendor_does_not_slow_another() {
    // Both see the same events; batches of ten for the one, of seven for the other tell them apart.
    let gateway = Gateway::new(Network::new(
        |body| if body.split(' ').count() == 7 { DEAD } else { OK },
    ));
    let alive = gateway.destination("alive");
    let mut dead = gateway.destination("dead");
    dead.delivery.max_events = 7;
    gateway.append(ids("e", 700), &[alive.id, dead.id]).await;
    let begun = Instant::now();
    gateway.apply(vec![alive, dead]);
    while gateway.ledger("alive").in_flight > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    // 70 requests of 10 ms, two at a time.
    assert!(begun.elapsed() <= Duration::from_millis(400), "{:?}", begun.elapsed());
    assert_eq!(gateway.ledger("dead").in_flight, 700);
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_is_down_costs_little_and_is_caught_up_with_soon() {
    let gateway = Gateway::new(Network::new(|_| DOWN));
    let orders = gateway.destination("orders");
    gateway.append(ids("e", 500), &[orders.id]).await;
    let same = gateway.destination("orders");
    gateway.apply(vec![orders]);
    sleep(3600 * SECOND).await;
    let tried = gateway.network.bodies().len();
    assert!((60..300).contains(&tried), "{tried} requests in an hour");
    assert!(matches!(gateway.state("orders", same), Delivery::Retrying { .. }));

    gateway.network.answers(|_| OK);
    sleep(32 * SECOND).await;
    let ledger = gateway.ledger("orders");
    assert_eq!((ledger.delivered, ledger.imbalance()), (500, 0));
}

#[tokio::test(start_paused = true)]
async fn retry_after_holds_the_whole_destination() {
    let gateway = Gateway::new(Network::new(|_| Answer(Duration::ZERO, 429, Some("120"))));
    let mut orders = gateway.destination("orders");
    orders.delivery.max_concurrency = 1;
    gateway.append(ids("e", 50), &[orders.id]).await;
    gateway.apply(vec![orders]);
    sleep(60 * SECOND).await;
    gateway.network.answers(|_| OK);
    sleep(59 * SECOND).await;
    assert_eq!(gateway.network.bodies().len(), 1, "nothing before its time");
    sleep(3 * SECOND).await;
    let waited = gateway.network.times()[1] - gateway.network.times()[0];
    assert!(waited >= 120 * SECOND && waited < 121 * SECOND, "{waited:?}");
    assert_eq!(gateway.ledger("orders").delivered, 50);
}

/// A vendor that wants events six hours later where it answers 202.
struct Patient;

impl Destination for Patient {
    fn limits(&self) -> Limits {
        Plain { ordered: false }.limits()
    }

    fn encode(&self, records: &[Record<'_>], now_ms: i64) -> Encoding {
        Plain { ordered: false }.encode(records, now_ms)
    }

    fn classify(&self, response: &Response) -> Outcome {
        let later = Outcome::Retry {
            after: Some(6 * 3600 * SECOND),
            reason: "too recent".to_owned(),
        };
        match response.status {
            StatusCode::ACCEPTED => Outcome::PerEvent(vec![later]),
            _ => answer::by_status(response),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn events_that_a_vendor_wants_hours_later_hold_up_no_others() {
    let later = Answer(Duration::ZERO, 202, None);
    let gateway = Gateway::new(Network::new(move |id| if id.starts_with("new") { later } else { OK }));
    let mut orders = gateway.destination("orders");
    orders.vendor = Arc::new(Patient);
    orders.delivery.max_events = 1;
    let id = orders.id;
    gateway.append(ids("new", 200), &[id]).await;
    gateway.append(ids("old", 200), &[id]).await;
    gateway.apply(vec![orders]);
    sleep(60 * SECOND).await;
    let ledger = gateway.ledger("orders");
    assert_eq!((ledger.delivered, ledger.in_flight), (200, 200));
    gateway.network.answers(|_| OK);
    sleep(6 * 3600 * SECOND).await;
    let ledger = gateway.ledger("orders");
    assert_eq!((ledger.delivered, ledger.in_flight, ledger.imbalance()), (400, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_always_fails_blocks_nobody_and_ends_as_dead_letters() {
    let gateway = Gateway::new(Network::new(|body| if body.contains("poison") { DOWN } else { OK }));
    let mut orders = gateway.destination("orders");
    orders.delivery.max_concurrency = 1;
    orders.delivery.max_events = 1;
    orders.delivery.max_age = 600 * SECOND;
    let id = orders.id;
    gateway.append(["poison".to_owned()], &[id]).await;
    gateway.append(ids("e", 100), &[id]).await;
    gateway.apply(vec![orders]);
    sleep(5 * SECOND).await;
    assert_eq!(gateway.ledger("orders").delivered, 100);
    assert_eq!(gateway.letters("orders"), []);
    sleep(600 * SECOND).await;
    let message = "older than retry.maxAge; the last failure: 503: the vendor's words";
    assert_eq!(
        gateway.letters("orders"),
        [("poison".to_owned(), Reason::TooOld, message.to_owned())]
    );
    let ledger = gateway.ledger("orders");
    assert_eq!((ledger.dead_lettered, ledger.in_flight, ledger.imbalance()), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_is_back_is_found_although_a_batch_always_fails() {
    let gateway = Gateway::new(Network::new(|_| DOWN));
    let mut orders = gateway.destination("orders");
    orders.delivery.max_events = 1;
    let id = orders.id;
    gateway.append(["poison".to_owned()], &[id]).await;
    gateway.append(ids("e", 100), &[id]).await;
    gateway.apply(vec![orders]);
    sleep(3600 * SECOND).await;
    gateway
        .network
        .answers(|body| if body.contains("poison") { DOWN } else { OK });
    sleep(70 * SECOND).await;
    assert_eq!(gateway.ledger("orders").delivered, 100);
}

#[tokio::test(start_paused = true)]
async fn what_the_vendor_refuses_goes_to_the_dead_letters_with_its_words() {
    let gateway = Gateway::new(Network::new(|body| {
        if body.contains("wrong") {
            Answer(Duration::ZERO, 400, None)
        } else {
            OK
        }
    }));
    let mut orders = gateway.destination("orders");
    orders.delivery.max_events = 2;
    let id = orders.id;
    let given = ["good0", "good1", "wrong", "beside", "bad", "good2"].map(str::to_owned);
    gateway.append(given, &[id]).await;
    gateway.apply(vec![orders]);
    sleep(SECOND).await;
    let refused = "400: the vendor's words".to_owned();
    let mut letters = gateway.letters("orders");
    letters.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(
        letters,
        [
            ("bad".to_owned(), Reason::NotEncodable, "a bad event".to_owned()),
            ("beside".to_owned(), Reason::Refused, refused.clone()),
            ("wrong".to_owned(), Reason::Refused, refused),
        ]
    );
    assert_eq!(gateway.network.bodies().len(), 3, "a refusal is not tried again");
    let ledger = gateway.ledger("orders");
    assert_eq!((ledger.delivered, ledger.dead_lettered, ledger.imbalance()), (3, 3, 0));
}

/// A vendor that takes a request whole or not at all, and names no culprit.
fn all_or_nothing(body: &str) -> Answer {
    if body.contains("wrong") {
        return Answer(Duration::from_millis(10), 422, None);
    }
    OK
}

#[tokio::test(start_paused = true)]
async fn an_event_that_an_answer_names_ends_by_itself_and_the_others_as_it_says_of_them() {
    let gateway = Gateway::new(Network::new(|_| Answer(Duration::ZERO, 206, None)));
    let orders = gateway.destination("orders");
    gateway.append(ids("e", 3), &[orders.id]).await;
    gateway.apply(vec![orders]);
    sleep(SECOND).await;
    let words = "206: the vendor's words".to_owned();
    assert_eq!(gateway.letters("orders"), [("e1".to_owned(), Reason::Refused, words)]);
    let ledger = gateway.ledger("orders");
    assert_eq!((ledger.delivered, ledger.dead_lettered, ledger.imbalance()), (2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_refused_for_bad_events_is_split_until_they_stand_alone() {
    let gateway = Gateway::new(Network::new(all_or_nothing));
    let mut orders = gateway.destination("orders");
    orders.delivery.max_events = 100;
    orders.delivery.max_concurrency = 1;
    let id = orders.id;
    let mut given = ids("e", 100);
    given[17] = "wrong-17".to_owned();
    given[70] = "wrong-70".to_owned();
    gateway.append(given, &[id]).await;
    gateway.apply(vec![orders]);
    sleep(2 * SECOND).await;
    let refused = "422: the vendor's words".to_owned();
    let mut letters = gateway.letters("orders");
    letters.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(
        letters,
        [
            ("wrong-17".to_owned(), Reason::Refused, refused.clone()),
            ("wrong-70".to_owned(), Reason::Refused, refused),
        ]
    );
    let ledger = gateway.ledger("orders");
    assert_eq!((ledger.delivered, ledger.dead_lettered, ledger.imbalance()), (98, 2, 0));
    let taken: Vec<String> = gateway
        .network
        .bodies()
        .into_iter()
        .filter(|body| !body.contains("wrong"))
        .collect();
    let arrived: Vec<&str> = taken.iter().flat_map(|body| body.split(' ')).collect();
    let distinct: BTreeSet<&str> = arrived.iter().copied().collect();
    assert_eq!((arrived.len(), distinct.len()), (98, 98), "nothing arrives twice");
    let requests = gateway.network.bodies().len();
    assert!(
        requests <= 2 * 2 * 7 + 1,
        "{requests} requests for two bad events among a hundred"
    );
}

#[tokio::test(start_paused = true)]
async fn events_that_a_refusal_names_are_dead_letters_and_the_others_go_at_once() {
    let names_the_second = |body: &str| {
        let is_bad = body.split(' ').nth(1).is_some_and(|id| id.starts_with("wrong"));
        if is_bad {
            return Answer(Duration::from_millis(10), 409, None);
        }
        OK
    };
    let gateway = Gateway::new(Network::new(names_the_second));
    let orders = gateway.destination("orders");
    let id = orders.id;
    gateway
        .append(["e1", "wrong-2", "wrong-3", "e4"].map(str::to_owned), &[id])
        .await;
    gateway.apply(vec![orders]);
    sleep(SECOND).await;
    assert_eq!(
        gateway.network.bodies(),
        ["e1 wrong-2 wrong-3 e4", "e1 wrong-3 e4", "e1 e4"]
    );
    let words = "409: the vendor's words".to_owned();
    assert_eq!(
        gateway.letters("orders"),
        [
            ("wrong-2".to_owned(), Reason::Refused, words.clone()),
            ("wrong-3".to_owned(), Reason::Refused, words),
        ]
    );
    let ledger = gateway.ledger("orders");
    assert_eq!((ledger.delivered, ledger.dead_lettered, ledger.imbalance()), (2, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_names_an_event_which_is_not_there_is_split() {
    let gateway = Gateway::new(Network::new(|body| {
        if body == "wrong" {
            return Answer(Duration::from_millis(10), 409, None);
        }
        OK
    }));
    let orders = gateway.destination("orders");
    gateway.append(["wrong".to_owned()], &[orders.id]).await;
    gateway.apply(vec![orders]);
    sleep(SECOND).await;
    assert_eq!(gateway.network.bodies().len(), 1);
    assert_eq!(gateway.ledger("orders").dead_lettered, 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_vendor_remarks_of_events_that_it_took_is_shown() {
    let gateway = Gateway::new(Network::new(|_| Answer(Duration::from_millis(10), 203, None)));
    let orders = gateway.destination("orders");
    gateway.append(ids("e", 3), &[orders.id]).await;
    gateway.apply(vec![orders]);
    sleep(SECOND).await;
    assert_eq!(gateway.ledger("orders").delivered, 3);
    let status = gateway.status("orders", gateway.destination("orders"));
    assert_eq!(status.last_error.unwrap().message, "203: the vendor's words");
    assert!(status.last_success_ms.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_bad_events_alone_ends_as_dead_letters_and_blocks_nobody() {
    let gateway = Gateway::new(Network::new(all_or_nothing));
    let orders = gateway.destination("orders");
    let id = orders.id;
    gateway.append(ids("wrong", 10), &[id]).await;
    gateway.append(ids("e", 10), &[id]).await;
    gateway.apply(vec![orders]);
    sleep(2 * SECOND).await;
    let ledger = gateway.ledger("orders");
    assert_eq!(
        (ledger.delivered, ledger.dead_lettered, ledger.imbalance()),
        (10, 10, 0)
    );
    assert_eq!(
        gateway.network.bodies().len(),
        19 + 1,
        "a binary tree of ten leaves, and the good batch"
    );
}

#[tokio::test(start_paused = true)]
async fn halves_that_meet_an_outage_wait_and_are_not_lost() {
    // After the first refusal it is down for a minute.
    let begun = Mutex::new(None::<Instant>);
    let gateway = Gateway::new(Network::new(move |body| {
        let first = *begun.lock().unwrap().get_or_insert_with(Instant::now);
        let since = first.elapsed();
        if since > Duration::ZERO && since < 60 * SECOND {
            return DOWN;
        }
        all_or_nothing(body)
    }));
    let orders = gateway.destination("orders");
    let mut given = ids("e", 10);
    given[3] = "wrong".to_owned();
    gateway.append(given, &[orders.id]).await;
    gateway.apply(vec![orders]);
    sleep(300 * SECOND).await;
    let ledger = gateway.ledger("orders");
    assert_eq!((ledger.delivered, ledger.dead_lettered, ledger.imbalance()), (9, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_split_batch_of_one_key_stays_in_order() {
    let gateway = Gateway::new(Network::new(all_or_nothing));
    let mut orders = gateway.destination("orders");
    orders.vendor = Arc::new(Plain { ordered: true });
    orders.delivery.max_events = 4;
    let given = ["anna-1", "anna-2", "anna-wrong", "anna-3", "anna-4", "anna-5"].map(str::to_owned);
    gateway.append(given, &[orders.id]).await;
    gateway.apply(vec![orders]);
    sleep(10 * SECOND).await;
    let arrived: Vec<String> = gateway
        .network
        .bodies()
        .into_iter()
        .filter(|body| !body.contains("wrong"))
        .collect();
    assert_eq!(arrived, ["anna-1 anna-2", "anna-3", "anna-4 anna-5"]);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_older_than_the_longest_age_is_given_up_while_the_vendor_is_down() {
    let gateway = Gateway::new(Network::new(|_| DOWN));
    let mut orders = gateway.destination("orders");
    orders.delivery.max_age = 3600 * SECOND;
    let id = orders.id;
    gateway.append(ids("old", 1000), &[id]).await;
    gateway.apply(vec![orders]);
    sleep(3000 * SECOND).await;
    gateway.append(ids("young", 50), &[id]).await;
    assert_eq!(gateway.ledger("orders").dead_lettered, 0);
    sleep(700 * SECOND).await;
    let ledger = gateway.ledger("orders");
    assert_eq!(
        (ledger.dead_lettered, ledger.in_flight, ledger.imbalance()),
        (1000, 50, 0)
    );
    gateway.network.answers(|_| OK);
    sleep(40 * SECOND).await;
    assert_eq!(gateway.ledger("orders").delivered, 50);
}

#[tokio::test(start_paused = true)]
async fn rejected_credentials_pause_until_the_configuration_changes() {
    let gateway = Gateway::new(Network::new(|_| Answer(Duration::ZERO, 401, None)));
    let orders = gateway.destination("orders");
    gateway.append(ids("e", 100), &[orders.id]).await;
    let same = gateway.destination("orders");
    gateway.apply(vec![orders]);
    sleep(3600 * SECOND).await;
    let tried = gateway.network.bodies().len();
    assert!((5..20).contains(&tried), "{tried} requests in an hour");
    assert_eq!(
        gateway.state("orders", same),
        Delivery::WaitingForCredentials {
            reason: CredentialsReason::CredentialsRejected
        }
    );
    assert_eq!(gateway.letters("orders"), [], "nothing is wrong with the events");

    gateway.network.answers(|_| OK);
    let mut changed = gateway.destination("orders");
    changed.fingerprint = "with another secret".into();
    gateway.apply(vec![changed]);
    sleep(SECOND).await;
    assert_eq!(gateway.ledger("orders").delivered, 100);
}

#[tokio::test(start_paused = true)]
async fn a_crash_repeats_no_more_than_what_was_under_way() {
    let gateway = Gateway::new(Network::new(|_| OK));
    let orders = gateway.destination("orders");
    let bound = orders.delivery.max_concurrency * orders.delivery.max_events;
    gateway.append(ids("e", 200), &[orders.id]).await;
    gateway.apply(vec![orders]);
    sleep(Duration::from_millis(45)).await;
    let Gateway {
        log,
        network,
        supervisor,
        ..
    } = gateway;
    drop(supervisor);
    sleep(SECOND).await;
    let before = network.ids().len();
    assert!((40..200).contains(&before), "in the middle of it: {before}");

    let gateway = Gateway::on(log, Arc::clone(&network));
    gateway.apply(vec![gateway.destination("orders")]);
    sleep(SECOND).await;
    let all = network.ids();
    let distinct: BTreeSet<&String> = all.iter().collect();
    assert_eq!(distinct.len(), 200, "nothing is lost");
    assert!(all.len() - 200 <= bound, "{} repeats", all.len() - 200);
    let ledger = gateway.ledger("orders");
    assert_eq!((ledger.delivered, ledger.imbalance()), (200, 0));
}

#[tokio::test(start_paused = true)]
async fn shutdown_delivers_what_goes_at_once() {
    let gateway = Gateway::new(Network::new(|_| OK));
    let mut orders = gateway.destination("orders");
    orders.delivery.max_delay = 3600 * SECOND;
    let id = orders.id;
    gateway.apply(vec![orders]);
    gateway.append(ids("e", 25), &[id]).await;
    sleep(SECOND).await;
    assert_eq!(
        gateway.ledger("orders").delivered,
        20,
        "the rest waits for a full batch"
    );
    let Gateway { log, supervisor, .. } = gateway;
    let begun = Instant::now();
    supervisor.shutdown(10 * SECOND).await;
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    assert_eq!(ledger(&log, "orders").delivered, 25);
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_vendor_that_is_down() {
    let gateway = Gateway::new(Network::new(|_| DOWN));
    let orders = gateway.destination("orders");
    gateway.append(ids("e", 100), &[orders.id]).await;
    gateway.apply(vec![orders]);
    sleep(60 * SECOND).await;
    let begun = Instant::now();
    gateway.supervisor.shutdown(10 * SECOND).await;
    assert!(begun.elapsed() < 2 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn shutdown_is_bounded_when_a_vendor_does_not_answer() {
    let gateway = Gateway::new(Network::new(|_| DEAD));
    let mut orders = gateway.destination("orders");
    orders.delivery.timeout = 300 * SECOND;
    gateway.append(ids("e", 5), &[orders.id]).await;
    gateway.apply(vec![orders]);
    sleep(SECOND).await;
    let Gateway { log, supervisor, .. } = gateway;
    let begun = Instant::now();
    supervisor.shutdown(10 * SECOND).await;
    let took = begun.elapsed();
    assert!(took >= 9 * SECOND && took <= 12 * SECOND, "{took:?}");
    assert_eq!(ledger(&log, "orders").in_flight, 5, "they come again after the start");
}

#[tokio::test(start_paused = true)]
async fn a_paused_destination_keeps_its_backlog() {
    let gateway = Gateway::new(Network::new(|_| OK));
    let paused = |fingerprint: &str, paused: bool| PlannedDestination {
        paused,
        fingerprint: fingerprint.into(),
        ..gateway.destination("orders")
    };
    gateway.apply(vec![paused("1", true)]);
    gateway.append(ids("e", 20), &[gateway.destination("orders").id]).await;
    sleep(60 * SECOND).await;
    assert_eq!(gateway.network.bodies().len(), 0);
    assert_eq!(gateway.state("orders", paused("1", true)), Delivery::Paused);
    gateway.apply(vec![paused("2", false)]);
    sleep(SECOND).await;
    assert_eq!(gateway.ledger("orders").delivered, 20);
    gateway.apply(vec![paused("3", true)]);
    gateway.append(ids("f", 5), &[gateway.destination("orders").id]).await;
    sleep(60 * SECOND).await;
    assert_eq!(gateway.ledger("orders").in_flight, 5);
}

#[tokio::test(start_paused = true)]
async fn a_destination_waits_at_its_cursor_until_its_credential_is_there() {
    let gateway = Gateway::new(Network::new(|_| OK));
    let orders = |fingerprint: &str, awaits_credentials: bool| PlannedDestination {
        awaits_credentials,
        fingerprint: fingerprint.into(),
        ..gateway.destination("orders")
    };
    gateway.apply(vec![orders("1", true)]);
    gateway.append(ids("e", 20), &[gateway.destination("orders").id]).await;
    sleep(60 * SECOND).await;
    assert_eq!(gateway.network.bodies().len(), 0);
    assert_eq!(
        gateway.state("orders", orders("1", true)),
        Delivery::WaitingForCredentials {
            reason: CredentialsReason::Propagating
        }
    );
    gateway.apply(vec![orders("2", false)]);
    sleep(SECOND).await;
    assert_eq!(gateway.ledger("orders").delivered, 20);
    assert_eq!(gateway.state("orders", orders("2", false)), Delivery::Delivering);
}

#[tokio::test(start_paused = true)]
async fn what_its_visitor_has_not_agreed_to_is_neither_sent_nor_kept_once_that_is_required() {
    let gateway = Gateway::new(Network::new(|_| DOWN));
    let orders = gateway.destination("orders");
    let id = orders.id;
    gateway.append(ids("before", 3), &[id]).await;
    gateway.apply(vec![orders]);
    sleep(5 * SECOND).await;
    let attempts = gateway.network.bodies().len();
    assert!(attempts > 0);
    gateway.network.answers(|_| OK);
    let stricter = PlannedDestination {
        requires: vec![ConsentSignal::AdStorage],
        fingerprint: "stricter".to_owned(),
        ..gateway.destination("orders")
    };
    gateway.apply(vec![stricter]);
    gateway.append(ids("after", 2), &[id]).await;
    sleep(600 * SECOND).await;
    assert_eq!(gateway.network.bodies().len(), attempts);
    assert!(gateway.letters("orders").is_empty());
    let ledger = gateway.ledger("orders");
    assert_eq!((ledger.erased, ledger.in_flight, ledger.imbalance()), (5, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_backlog_of_a_deleted_destination_is_taken_up_by_one_of_the_same_name() {
    let gateway = Gateway::new(Network::new(|_| DOWN));
    let orders = gateway.destination("orders");
    gateway.append(ids("e", 100), &[orders.id]).await;
    gateway.apply(vec![orders]);
    sleep(60 * SECOND).await;
    gateway.apply(vec![]);
    sleep(SECOND).await;
    let tried = gateway.network.bodies().len();
    sleep(23 * 3600 * SECOND).await;
    assert_eq!(gateway.network.bodies().len(), tried, "nothing is sent meanwhile");
    gateway.network.answers(|_| OK);
    let mut again = gateway.destination("orders");
    again.fingerprint = "another".into();
    gateway.apply(vec![again]);
    sleep(SECOND).await;
    assert_eq!(gateway.ledger("orders").delivered, 100);
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_stays_deleted_is_forgotten_after_a_day() {
    let gateway = Gateway::new(Network::new(|_| DOWN));
    let orders = gateway.destination("orders");
    gateway.append(ids("e", 100), &[orders.id]).await;
    gateway.apply(vec![orders]);
    sleep(60 * SECOND).await;
    gateway.apply(vec![]);
    sleep(24 * 3600 * SECOND - 120 * SECOND).await;
    assert_eq!(gateway.log.ledgers().len(), 1);
    sleep(240 * SECOND).await;
    assert_eq!(gateway.log.ledgers().len(), 0);
    assert_eq!(gateway.log.usage().events, 0);
}

#[tokio::test(start_paused = true)]
async fn events_of_one_key_stay_in_order_while_one_is_tried_again() {
    // The first of anna's fails twice.
    let failures = Mutex::new(2);
    let gateway = Gateway::new(Network::new(move |body| {
        let mut left = failures.lock().unwrap();
        if body.contains("anna-1") && *left > 0 {
            *left -= 1;
            return DOWN;
        }
        OK
    }));
    let mut orders = gateway.destination("orders");
    orders.vendor = Arc::new(Plain { ordered: true });
    orders.delivery.max_events = 2;
    let id = orders.id;
    let given = ["anna-1", "ben-1", "anna-2", "ben-2", "anna-3", "ben-3"].map(str::to_owned);
    gateway.append(given, &[id]).await;
    gateway.apply(vec![orders]);
    sleep(60 * SECOND).await;
    let of = |name: &str| -> Vec<String> {
        let ids = gateway.network.ids();
        ids.into_iter().filter(|id| id.starts_with(name)).collect()
    };
    assert_eq!(of("anna"), ["anna-1", "anna-1", "anna-1", "anna-2", "anna-3"]);
    assert_eq!(of("ben"), ["ben-1", "ben-2", "ben-3"]);
    let last_of_ben = gateway.network.ids().iter().position(|id| id == "ben-3");
    let first_of_anna = gateway.network.ids().iter().rposition(|id| id == "anna-1");
    assert!(last_of_ben < first_of_anna, "another key does not wait");
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_lets_go_of_the_laggards_oldest_events() {
    BEGUN.set(None);
    let log = Arc::new(MemoryLog::open(100_000, WhenFull::ExpireLaggard));
    let gateway = Gateway::on(log, Network::new(|body| if body.starts_with("e") { DOWN } else { OK }));
    let orders = gateway.destination("orders");
    let mut resting = gateway.destination("resting");
    resting.paused = true;
    let both = [orders.id, resting.id];
    gateway.apply(vec![orders, resting]);
    for round in 0..100 {
        gateway.append(ids(&format!("e{round}-"), 50), &both).await;
        sleep(Duration::from_millis(100)).await;
    }
    sleep(SECOND).await;
    assert!(gateway.log.usage().bytes <= 100_000, "{:?}", gateway.log.usage());
    for name in ["orders", "resting"] {
        let ledger = gateway.ledger(name);
        assert!(ledger.dead_lettered > 1000, "{name}: {ledger:?}");
        assert_eq!(
            (ledger.accepted, ledger.delivered, ledger.imbalance()),
            (5000, 0, 0),
            "{name}: {ledger:?}"
        );
        let letters = gateway.letters(name);
        assert_eq!(letters.len() as u64, ledger.dead_lettered);
        assert!(letters.iter().all(|(_, reason, _)| *reason == Reason::BufferFull));
    }
}

/// A view without the events' name, `purchase`.
fn nameless() -> View {
    let transformation = Transformation {
        name: "hide".into(),
        label: "transformations.hide".into(),
        when: None,
        change: Change::Exclude(Parameters::new(["event_name"])),
        mark: "hide@1".into(),
    };
    View::new(vec![transformation], &[], Arc::default(), b"")
}

/// The bytes of all dead letters.
fn shelved(gateway: &Gateway, name: &str) -> Vec<Vec<u8>> {
    let letters = gateway.dead_letters.show(name, 0, usize::MAX).unwrap();
    letters.into_iter().map(|dead| dead.letter.payload).collect()
}

#[tokio::test(start_paused = true)]
async fn dead_letters_hold_what_the_destination_sees_and_are_replayed_as_that() {
    let gateway = Gateway::new(Network::new(|_| Answer(Duration::from_millis(10), 400, None)));
    let mut orders = gateway.destination("orders");
    orders.view = nameless();
    let id = orders.id;
    gateway.append(ids("e", 3), &[id]).await;
    gateway.apply(vec![orders]);
    sleep(SECOND).await;
    let letters = shelved(&gateway, "orders");
    assert_eq!(letters.len(), 3);
    for letter in letters {
        assert!(!contains(&letter, "purchase"));
        assert_eq!(codec::decode(&letter).unwrap().applied, ["hide@1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_is_gone_has_its_oldest_events_shelved_as_it_saw_them() {
    BEGUN.set(None);
    let log = Arc::new(MemoryLog::open(100_000, WhenFull::ExpireLaggard));
    let gateway = Gateway::on(log, Network::new(|_| OK));
    let orders = gateway.destination("orders");
    let id = orders.id;
    let mut plan = plan(Vec::new());
    plan.absent_views.insert("orders".to_owned(), nameless());
    gateway.supervisor.apply(&plan);
    for round in 0..100 {
        gateway.append(ids(&format!("e{round}-"), 50), &[id]).await;
        sleep(Duration::from_millis(100)).await;
    }
    let letters = shelved(&gateway, "orders");
    assert!(letters.len() > 100, "{}", letters.len());
    assert!(letters.iter().all(|letter| !contains(letter, "purchase")));
}

#[test]
fn an_event_that_cannot_be_read_is_not_kept_where_something_is_hidden() {
    let doomed = Doomed {
        event: Stored {
            position: Position(1),
            payload: Bytes::from_static(b"\x09purchase"),
        },
        reason: Reason::Unreadable,
        message: "the record has version 9".to_owned(),
        code: String::new(),
        attempts: 0,
    };
    let kept = lane::letter(&doomed, &View::default(), 0);
    assert_eq!(kept.payload, b"\x09purchase");
    let hidden = lane::letter(&doomed, &nameless(), 0);
    assert_eq!(hidden.payload, b"");
    assert!(
        hidden
            .message
            .ends_with("is not kept, since its transformations cannot be made"),
        "{}",
        hidden.message
    );
}

fn contains(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

#[tokio::test(start_paused = true)]
async fn events_past_the_bound_of_the_dead_letters_expire() {
    let gateway = Gateway::new(Network::new(|_| Answer(Duration::ZERO, 400, None)));
    let orders = gateway.destination("orders");
    // Some 130 bytes each, a million allowed.
    gateway.append(ids("e", 10_000), &[orders.id]).await;
    gateway.apply(vec![orders]);
    sleep(60 * SECOND).await;
    let ledger = gateway.ledger("orders");
    assert!(
        ledger.dead_lettered > 1000 && ledger.expired > 1000,
        "both happen: {ledger:?}"
    );
    assert_eq!((ledger.in_flight, ledger.imbalance()), (0, 0));
    assert_eq!(gateway.dead_letters.count("orders"), ledger.dead_lettered);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_shelved_is_not_settled() {
    let gateway = Gateway::new(Network::new(|_| Answer(Duration::ZERO, 400, None)));
    // No such folder can be made, so its letters cannot be written.
    let broken = gateway.destination("No Folder");
    gateway.append(ids("e", 30), &[broken.id]).await;
    gateway.apply(vec![broken]);
    sleep(60 * SECOND).await;
    let ledger = gateway.ledger("No Folder");
    assert_eq!((ledger.in_flight, ledger.imbalance()), (30, 0));
    assert!(
        gateway.network.bodies().len() <= 3,
        "and nothing more is read meanwhile"
    );
}

#[tokio::test(start_paused = true)]
async fn whatever_the_vendor_answers_every_event_ends_once() {
    for seed in 0..20_u64 {
        let requests = Mutex::new(seed);
        let gateway = Gateway::new(Network::new(move |_| {
            // A number from a linear congruential generator: Knuth's, as in MMIX.
            let mut state = requests.lock().unwrap();
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            match (*state >> 33) % 10 {
                0 => DOWN,
                1 => Answer(Duration::from_secs(3), 500, None),
                2 => Answer(Duration::ZERO, 429, Some("5")),
                3 => Answer(Duration::ZERO, 400, None),
                4 => DEAD,
                5 => Answer(Duration::ZERO, 422, None),
                8 => Answer(Duration::ZERO, 206, None),
                6 => Answer(Duration::ZERO, 409, None),
                7 => Answer(Duration::ZERO, 203, None),
                _ => OK,
            }
        }));
        let mut orders = gateway.destination("orders");
        orders.delivery.max_concurrency = 4;
        let id = orders.id;
        gateway.apply(vec![orders]);
        for round in 0..10 {
            gateway.append(ids(&format!("e{round}-"), 50), &[id]).await;
            sleep(2 * SECOND).await;
        }
        sleep(7200 * SECOND).await;
        let ledger = gateway.ledger("orders");
        assert_eq!(
            (
                ledger.accepted,
                ledger.delivered + ledger.dead_lettered,
                ledger.in_flight,
                ledger.imbalance()
            ),
            (500, 500, 0, 0),
            "seed {seed}: {ledger:?}"
        );
        let sent: BTreeSet<String> = gateway.network.ids().into_iter().collect();
        assert_eq!(sent.len(), 500, "seed {seed}");
        gateway.supervisor.shutdown(SECOND).await;
    }
}
