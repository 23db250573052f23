//! A fleet's answers over time, and the report that they make. Pure: answers and the time come in; what to ask, whether
//! the report changed, and when to ask again go out. Times are durations since the poller's start.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use super::{
    answer::{Answer, Totals},
    figures::{self, Age},
    report::{DeliveryState, DestinationReport, FleetReport, GatewayReport},
};
use crate::observed::PodState;

/// How often a fleet at rest is asked.
pub const AT_REST: Duration = Duration::from_secs(10);
/// How often a fleet is asked that has not caught up with a change.
pub const EAGER: Duration = Duration::from_millis(500);
/// How long after a change it is asked that often.
pub const EAGER_FOR: Duration = Duration::from_secs(15);
/// How often figures are published at most.
pub const FIGURES_EVERY: Duration = Duration::from_secs(30);
/// The shortest time that a rate is measured over.
const FIRST_FIGURES: Duration = Duration::from_secs(9);
/// Failures in a row after which a gateway counts as unreachable, and its last answer as too old.
const FAILURES: u32 = 3;
/// The longest time for which an unreachable gateway is not asked.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Changes of a destination's state that are published at once within [`STATE_WINDOW`]; further ones wait, so that a
/// vendor that fails every other request does not make a write of each.
const STATE_CHANGES: usize = 4;
/// See [`STATE_CHANGES`].
const STATE_WINDOW: Duration = Duration::from_secs(120);

/// What is to be asked of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Its pods.
    pub pods: Vec<PodState>,
    /// The generation in force of each object, as the operator holds it, by kind and name: `Destination/meta`.
    pub wanted: BTreeMap<String, i64>,
}

/// What came of asking all gateways of a fleet once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Whether the report is another one than before.
    pub changed: bool,
    /// How long to wait until the next time.
    pub next: Duration,
}

/// What is remembered of a fleet between two rounds.
#[derive(Debug, Default)]
pub struct FleetState {
    container: String,
    target: Target,
    gateways: BTreeMap<String, Gateway>,
    eager_until: Duration,
    state_changes: BTreeMap<String, Vec<Duration>>,
    figures_at: Option<Duration>,
    report: Option<Arc<FleetReport>>,
}

#[derive(Debug)]
struct Gateway {
    pod: PodState,
    answer: Option<Answer>,
    base: Option<(Duration, Totals)>,
    failures: u32,
    error: String,
    ask_at: Duration,
}

impl FleetState {
    /// The beginning, for the fleet of a container of this name.
    #[must_use]
    pub fn new(container: &str) -> Self {
        Self {
            container: container.to_owned(),
            ..Self::default()
        }
    }

    /// The report, once a gateway was asked.
    #[must_use]
    pub fn report(&self) -> Option<&Arc<FleetReport>> {
        self.report.as_ref()
    }

    /// Something changed that the gateways are to take up: they are asked more often for a while.
    pub fn hurry(&mut self, now: Duration) {
        self.eager_until = now.saturating_add(EAGER_FOR);
        for gateway in self.gateways.values_mut() {
            gateway.ask_at = now;
        }
    }

    /// Begins a round: the pods to ask now, and where.
    pub fn begin(&mut self, now: Duration, target: Target) -> Vec<(String, IpAddr)> {
        if target != self.target {
            self.take_up(&target);
            self.target = target;
            self.hurry(now);
        }
        let due = self.gateways.iter().filter(|(_, gateway)| gateway.ask_at <= now);
        due.filter_map(|(name, gateway)| Some((name.clone(), gateway.pod.ip.as_ref()?.parse().ok()?)))
            .collect()
    }

    /// Pods that are new, or another behind the same name, start anew; pods that are gone are forgotten.
    fn take_up(&mut self, target: &Target) {
        let pods = target.pods.iter().filter(|pod| pod.is_live() && pod.ip.is_some());
        let mut known = std::mem::take(&mut self.gateways);
        for pod in pods {
            let same = known
                .remove(&pod.name)
                .filter(|gateway| gateway.pod.uid == pod.uid && gateway.pod.ip == pod.ip);
            let mut gateway = same.unwrap_or_else(|| Gateway::new(pod));
            if gateway.pod != *pod {
                gateway.failures = 0;
                gateway.pod = pod.clone();
            }
            self.gateways.insert(pod.name.clone(), gateway);
        }
    }

    /// Ends a round with what the pods answered; a pod that was not asked, or is gone by now, is left as it was.
    pub fn finish(&mut self, now: Duration, answers: Vec<(String, Result<Answer, String>)>) -> Round {
        for (pod, answer) in answers {
            if let Some(gateway) = self.gateways.get_mut(&pod) {
                gateway.hear(now, &self.container, answer);
            }
        }
        let report = self.compose(now);
        // A fleet that has nobody to ask yet has nothing to tell either.
        let changed = match self.report.as_deref() {
            Some(before) => *before != report,
            None => !self.gateways.is_empty(),
        };
        if changed {
            self.report = Some(Arc::new(report));
        }
        let eager = now < self.eager_until && self.is_behind();
        Round {
            changed,
            next: if eager { EAGER } else { AT_REST },
        }
    }

    /// Whether a gateway has not answered, or has not taken up all that is wanted.
    fn is_behind(&self) -> bool {
        let waits = |answer: &Answer| {
            let mut destinations = answer.destinations.values();
            destinations.any(|destination| destination.state == DeliveryState::Propagating)
        };
        self.gateways.values().any(|gateway| {
            gateway
                .answer
                .as_ref()
                .is_none_or(|answer| !has_all(answer, &self.target.wanted) || waits(answer))
        })
    }

    fn compose(&mut self, now: Duration) -> FleetReport {
        let before = self.report.clone();
        let figures_due = self.figures_due(now);
        let mut destinations = self.destinations_now();
        for (name, destination) in &mut destinations {
            if let Some(shown) = before.as_ref().and_then(|report| report.destinations.get(name)) {
                self.settle(now, name, destination, shown, figures_due);
            }
        }
        self.state_changes.retain(|name, _| destinations.contains_key(name));
        let (events_per_second, errors) = if figures_due {
            self.rates(now)
        } else {
            let shown = before.filter(|_| self.answers().next().is_some());
            let shown = shown.as_deref();
            (
                shown.and_then(|report| report.events_per_second.clone()),
                shown.and_then(|report| report.errors.clone()),
            )
        };
        FleetReport {
            gateways: self
                .answers()
                .map(|(pod, answer)| (pod.clone(), shown(answer)))
                .collect(),
            unreachable: self
                .gateways
                .iter()
                .filter(|(_, gateway)| gateway.failures >= FAILURES && gateway.pod.ready)
                .map(|(pod, gateway)| (pod.clone(), gateway.error.clone()))
                .collect(),
            destinations,
            events_per_second,
            errors,
        }
    }

    fn answers(&self) -> impl Iterator<Item = (&String, &Answer)> {
        self.gateways
            .iter()
            .filter_map(|(pod, gateway)| Some((pod, gateway.answer.as_ref()?)))
    }

    /// Each destination as the answers have it at the moment.
    fn destinations_now(&self) -> BTreeMap<String, DestinationReport> {
        let mut reports: BTreeMap<String, DestinationReport> = BTreeMap::new();
        let mut newest: BTreeMap<&str, &(i64, String)> = BTreeMap::new();
        for (name, destination) in self.answers().flat_map(|(_, answer)| &answer.destinations) {
            let report = reports.entry(name.clone()).or_default();
            report.state = report.state.max(destination.state);
            report.lag = report.lag.max(Age::of(destination.lag_seconds));
            if let Some(error) = &destination.last_error {
                let newest = newest.entry(name).or_insert(error);
                *newest = error.max(newest);
                report.last_error = Some(newest.1.clone());
            }
        }
        reports
    }

    /// A change of state shows at once, with lag and error of that moment, unless the state changes all the time. Else lag
    /// and error wait for the time of the figures.
    fn settle(
        &mut self,
        now: Duration,
        name: &str,
        destination: &mut DestinationReport,
        shown: &DestinationReport,
        figures_due: bool,
    ) {
        if destination.state == shown.state {
            if !figures_due {
                *destination = shown.clone();
            }
            return;
        }
        let changes = self.state_changes.entry(name.to_owned()).or_default();
        changes.retain(|at| now.saturating_sub(*at) < STATE_WINDOW);
        if changes.len() < STATE_CHANGES {
            changes.push(now);
        } else {
            *destination = shown.clone();
        }
    }

    /// Whether it is time for figures: 30 s after the last ones; for the first, as soon as they can be measured.
    fn figures_due(&self, now: Duration) -> bool {
        let measured = |base: &Option<(Duration, Totals)>| {
            base.as_ref()
                .is_some_and(|(at, _)| now.saturating_sub(*at) >= FIRST_FIGURES)
        };
        match self.figures_at {
            Some(at) => now.saturating_sub(at) >= FIGURES_EVERY,
            None => self.gateways.values().any(|gateway| measured(&gateway.base)),
        }
    }

    /// Events a second and share of errors since the last figures. What is measured next begins here.
    fn rates(&mut self, now: Duration) -> (Option<String>, Option<String>) {
        self.figures_at = Some(now);
        let (mut events_per_second, mut requests, mut errors, mut measured) = (0.0, 0.0, 0.0, false);
        for gateway in self.gateways.values_mut() {
            let (Some(answer), Some((at, base))) = (&gateway.answer, gateway.base) else {
                continue;
            };
            let seconds = now.saturating_sub(at).as_secs_f64();
            if seconds > 0.0 {
                measured = true;
                events_per_second += difference(answer.totals.events, base.events) / seconds;
                requests += difference(answer.totals.requests, base.requests);
                errors += difference(answer.totals.errors, base.errors);
            }
            gateway.base = Some((now, answer.totals));
        }
        (
            measured.then(|| figures::two_digits(events_per_second)),
            measured.then(|| figures::percent(errors, requests)),
        )
    }
}

impl Gateway {
    fn new(pod: &PodState) -> Self {
        Self {
            pod: pod.clone(),
            answer: None,
            base: None,
            failures: 0,
            error: String::new(),
            ask_at: Duration::ZERO,
        }
    }

    fn hear(&mut self, now: Duration, container: &str, answer: Result<Answer, String>) {
        match answer {
            Ok(answer) if answer.container == container => self.answered(now, answer),
            Ok(answer) => {
                let other: String = answer.container.chars().take(63).collect();
                self.failed(now, format!("it serves the container {other}"));
            }
            Err(error) => self.failed(now, error),
        }
    }

    fn answered(&mut self, now: Duration, answer: Answer) {
        let restarted = self.answer.as_ref().is_some_and(|before| {
            answer.uptime_seconds < before.uptime_seconds
                || answer.totals.requests < before.totals.requests
                || answer.totals.events < before.totals.events
        });
        if restarted || self.base.is_none() {
            self.base = Some((now, answer.totals));
        }
        self.answer = Some(answer);
        self.failures = 0;
    }

    /// An answer stays in force through a failure or two; a pod that goes on failing is asked less and less often.
    fn failed(&mut self, now: Duration, error: String) {
        self.error = error;
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES {
            self.answer = None;
            self.base = None;
            let pause = AT_REST.saturating_mul(1 << (self.failures - FAILURES).min(3));
            self.ask_at = now.saturating_add(pause.min(LONGEST_PAUSE));
        }
    }
}

fn shown(answer: &Answer) -> GatewayReport {
    GatewayReport {
        generations: answer.generations.clone(),
        refusals: answer.refusals.clone(),
        refuses_hits: answer.refuses_hits.clone(),
    }
}

fn has_all(answer: &Answer, wanted: &BTreeMap<String, i64>) -> bool {
    wanted
        .iter()
        .all(|(object, generation)| answer.generations.get(object).is_some_and(|found| found >= generation))
}

/// Totals fit a double's 53 bits for all that a gateway may ever count.
#[allow(clippy::cast_precision_loss)]
fn difference(now: u64, before: u64) -> f64 {
    now.saturating_sub(before) as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use super::*;
    use crate::gateways::answer::DestinationAnswer;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn pod(name: &str) -> PodState {
        PodState {
            name: name.into(),
            uid: format!("uid-of-{name}"),
            ip: Some("127.0.0.1".into()),
            ready: true,
            ..PodState::default()
        }
    }

    /// The pods `a` and `b`, that are to have generation 1.
    fn target() -> Target {
        Target {
            pods: vec![pod("a"), pod("b")],
            wanted: wanted(1),
        }
    }

    fn wanted(generation: i64) -> BTreeMap<String, i64> {
        BTreeMap::from([("TaggingContainer/shop".to_owned(), generation)])
    }

    /// A gateway that has generation 1 and nothing to do.
    fn answer() -> Answer {
        Answer {
            container: "shop".into(),
            generations: wanted(1),
            destinations: BTreeMap::from([("meta".to_owned(), DestinationAnswer::default())]),
            uptime_seconds: 100,
            ..Answer::default()
        }
    }

    fn with_meta(state: DeliveryState, lag_seconds: f64, error: &str) -> Answer {
        let meta = DestinationAnswer {
            state,
            lag_seconds,
            last_error: Some((1, error.to_owned())),
        };
        Answer {
            destinations: BTreeMap::from([("meta".to_owned(), meta)]),
            ..answer()
        }
    }

    fn counting(requests: u64, errors: u64, events: u64) -> Answer {
        Answer {
            totals: Totals {
                requests,
                errors,
                events,
            },
            ..answer()
        }
    }

    /// One round: the pod `a` answers this, the pod `b` the same.
    fn round(fleet: &mut FleetState, now: Duration, answers: &Answer) -> Round {
        fleet.begin(now, target());
        let answers = ["a", "b"].map(|pod| (pod.to_owned(), Ok(answers.clone())));
        fleet.finish(now, answers.into())
    }

    fn report(fleet: &FleetState) -> FleetReport {
        fleet.report().unwrap().as_ref().clone()
    }

    #[test]
    fn at_rest_the_report_stays_and_the_fleet_is_asked_every_ten_seconds() {
        let mut fleet = FleetState::new("shop");
        assert!(round(&mut fleet, at(0), &answer()).changed);
        // The first figures, as soon as they can be measured.
        assert!(round(&mut fleet, at(10), &answer()).changed);
        let first = report(&fleet);
        assert_eq!(first.events_per_second.as_deref(), Some("0"));
        assert_eq!(first.errors.as_deref(), Some("0%"));
        for second in (20..600).step_by(10) {
            let quiet = Round {
                changed: false,
                next: AT_REST,
            };
            assert_eq!(round(&mut fleet, at(second), &answer()), quiet, "{second}");
        }
        assert_eq!(report(&fleet), first);
    }

    #[test]
    fn a_fleet_that_is_behind_is_asked_often_for_a_while_and_what_it_takes_up_shows_at_once() {
        let mut fleet = FleetState::new("shop");
        round(&mut fleet, at(0), &answer());
        let target = Target {
            wanted: wanted(2),
            ..target()
        };
        let ask = |fleet: &mut FleetState, second, a: i64, b: i64| {
            fleet.begin(at(second), target.clone());
            let answers = [("a", a), ("b", b)].map(|(pod, generation)| {
                let answer = Answer {
                    generations: wanted(generation),
                    ..answer()
                };
                (pod.to_owned(), Ok(answer))
            });
            fleet.finish(at(second), answers.into())
        };
        assert_eq!(ask(&mut fleet, 20, 1, 1).next, EAGER);
        let round = ask(&mut fleet, 21, 2, 1);
        assert_eq!((round.changed, round.next), (true, EAGER));
        assert_eq!(report(&fleet).updated("TaggingContainer/shop", 2), 1);
        // Enough is enough.
        assert_eq!(ask(&mut fleet, 35, 2, 1).next, AT_REST);
        fleet.hurry(at(40));
        assert_eq!(ask(&mut fleet, 40, 2, 1).next, EAGER);
        let round = ask(&mut fleet, 41, 2, 2);
        assert_eq!((round.changed, round.next), (true, AT_REST));
        assert_eq!(report(&fleet).updated("TaggingContainer/shop", 2), 2);
    }

    #[test]
    fn figures_are_the_difference_over_time_of_all_gateways_and_show_every_thirty_seconds() {
        let mut fleet = FleetState::new("shop");
        round(&mut fleet, at(0), &counting(1_000, 10, 5_000));
        assert_eq!(report(&fleet).events_per_second, None);
        round(&mut fleet, at(10), &counting(1_100, 10, 5_123));
        // 2 gateways with 123 events in 10 s each.
        assert_eq!(report(&fleet).events_per_second.as_deref(), Some("25"));
        assert_eq!(report(&fleet).errors.as_deref(), Some("0%"));
        assert!(!round(&mut fleet, at(39), &counting(1_200, 13, 9_999)).changed);
        assert!(round(&mut fleet, at(40), &counting(1_300, 13, 20_123)).changed);
        assert_eq!(report(&fleet).events_per_second.as_deref(), Some("1000"));
        assert_eq!(report(&fleet).errors.as_deref(), Some("1.5%"));
    }

    #[test]
    fn a_gateway_that_restarted_counts_from_its_start() {
        let mut fleet = FleetState::new("shop");
        round(&mut fleet, at(0), &counting(1_000, 0, 5_000));
        let restarted = Answer {
            uptime_seconds: 5,
            ..counting(10, 0, 10)
        };
        round(&mut fleet, at(10), &restarted);
        assert_eq!(report(&fleet).events_per_second, None);
        round(&mut fleet, at(20), &counting(110, 0, 110));
        assert_eq!(report(&fleet).events_per_second.as_deref(), Some("20"));
    }

    #[test]
    fn of_a_destination_the_worst_state_the_longest_lag_and_the_newest_error_show() {
        let mut fleet = FleetState::new("shop");
        fleet.begin(at(0), target());
        let mut newer = with_meta(DeliveryState::Delivering, 75.0, "newer");
        newer.destinations.get_mut("meta").unwrap().last_error = Some((2, "newer".into()));
        let answers = vec![
            ("a".to_owned(), Ok(newer)),
            ("b".to_owned(), Ok(with_meta(DeliveryState::Retrying, 3.5, "older"))),
        ];
        fleet.finish(at(0), answers);
        let meta = &report(&fleet).destinations["meta"];
        assert_eq!(meta.state, DeliveryState::Retrying);
        assert_eq!(meta.lag.to_string(), "1m");
        assert_eq!(meta.last_error.as_deref(), Some("newer"));
    }

    #[test]
    fn a_change_of_state_shows_at_once_with_its_error_and_lag_waits_for_the_figures() {
        let mut fleet = FleetState::new("shop");
        round(&mut fleet, at(0), &answer());
        round(&mut fleet, at(10), &answer());
        assert!(round(&mut fleet, at(20), &with_meta(DeliveryState::Retrying, 1.0, "503")).changed);
        assert_eq!(report(&fleet).destinations["meta"].last_error.as_deref(), Some("503"));
        assert!(!round(&mut fleet, at(30), &with_meta(DeliveryState::Retrying, 11.0, "504")).changed);
        assert!(round(&mut fleet, at(40), &with_meta(DeliveryState::Retrying, 21.0, "504")).changed);
        assert_eq!(report(&fleet).destinations["meta"].lag.to_string(), "21s");
    }

    #[test]
    fn a_state_that_changes_all_the_time_is_not_shown_each_time() {
        let mut fleet = FleetState::new("shop");
        let changes = (0..120).filter(|second| {
            let state = if second % 2 == 0 {
                DeliveryState::Retrying
            } else {
                DeliveryState::Delivering
            };
            round(&mut fleet, at(*second), &with_meta(state, 0.0, "503")).changed
        });
        // The first report, four changes, and the figures.
        assert!(changes.count() <= 1 + STATE_CHANGES + 1);
    }

    #[test]
    fn a_gateway_that_fails_three_times_is_unreachable_and_asked_less_often() {
        let mut fleet = FleetState::new("shop");
        round(&mut fleet, at(0), &answer());
        let mut fail = |second| {
            let asked = fleet.begin(at(second), target());
            let answers = asked.iter().map(|(pod, _)| {
                (
                    pod.clone(),
                    if pod == "a" {
                        Err("refused".to_owned())
                    } else {
                        Ok(answer())
                    },
                )
            });
            fleet.finish(at(second), answers.collect());
            (asked.len(), report(&fleet))
        };
        fail(20);
        let (_, report) = fail(30);
        assert_eq!((report.gateways.len(), report.unreachable.len()), (2, 0));
        let (asked, report) = fail(40);
        assert_eq!((asked, report.gateways.len()), (2, 1));
        assert_eq!(
            report.unreachable,
            BTreeMap::from([("a".to_owned(), "refused".to_owned())])
        );
        let asked: Vec<_> = (5..16).map(|ten| fail(10 * ten).0).collect();
        assert_eq!(asked, [2, 1, 2, 1, 1, 1, 2, 1, 1, 1, 1]);
    }

    #[test]
    fn another_pod_behind_the_same_name_or_address_is_not_taken_for_the_old_one() {
        let mut fleet = FleetState::new("shop");
        round(&mut fleet, at(0), &answer());
        let other = Answer {
            container: "other".into(),
            ..answer()
        };
        for second in [10, 20, 30] {
            round(&mut fleet, at(second), &other);
        }
        assert!(report(&fleet).gateways.is_empty());
        assert_eq!(report(&fleet).unreachable["a"], "it serves the container other");
        let mut target = target();
        target.pods[0].uid = "another".into();
        fleet.begin(at(40), target);
        fleet.finish(at(40), vec![]);
        assert_eq!(report(&fleet).unreachable.keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn pods_without_address_or_on_their_way_out_are_not_asked() {
        let mut fleet = FleetState::new("shop");
        let without = PodState { ip: None, ..pod("a") };
        let leaving = PodState {
            terminating: true,
            ..pod("b")
        };
        let ended = PodState {
            finished: true,
            ..pod("c")
        };
        let target = Target {
            pods: vec![without, leaving, ended],
            wanted: wanted(1),
        };
        assert!(fleet.begin(at(0), target).is_empty());
        assert!(!fleet.finish(at(0), vec![]).changed);
        assert_eq!(fleet.report(), None);
    }
}
