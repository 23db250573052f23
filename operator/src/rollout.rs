//! Which image a fleet's pods get. A changed gateway image, the operator's default or a container's own, rolls fleets one
//! at a time; an operator that is upgraded without one rolls none.
//!
//! Whose turn it is follows from the workloads, with one fact beside them in memory: who was given the turn, and when, so
//! that two reconciles at once cannot both take it. After a restart of the operator the workloads alone tell it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use tagfleet_crds::validate::NamespacedName;

use crate::observed::Workload;

/// How long a fleet may have the turn. A Deployment says earlier that it is stuck, a StatefulSet never does.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);
/// How long a fleet that has the turn may leave it unused, as when its children cannot be applied.
const GRACE: SignedDuration = SignedDuration::from_mins(2);

/// What a fleet's pods are to run now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This image.
    Run(String),
    /// Their old image, until another fleet's rollout is over.
    Wait {
        /// The old image.
        image: String,
        /// The other fleet.
        behind: NamespacedName,
    },
}

impl Decision {
    /// The image that the pods are to run now.
    #[must_use]
    pub fn image(&self) -> &str {
        match self {
            Self::Run(image) | Self::Wait { image, .. } => image,
        }
    }

    /// The fleet whose rollout is waited for.
    #[must_use]
    pub const fn behind(&self) -> Option<&NamespacedName> {
        match self {
            Self::Run(_) => None,
            Self::Wait { behind, .. } => Some(behind),
        }
    }
}

/// Whose turn it is to roll, shared by all reconciles. Each call costs the logarithm of the number of fleets.
#[derive(Debug, Default)]
pub struct Slot {
    state: Mutex<State>,
}

impl Slot {
    /// A slot that knows no fleet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a fleet that is not decided about: each one that stands when the operator starts, before the first decision,
    /// so that a rollout under way is found; and one that is paused.
    pub fn observe(&self, fleet: &NamespacedName, workload: &Workload) {
        let image = FleetImage {
            wanted: workload.image.clone(),
            is_own: false,
            workload: workload.clone(),
        };
        self.state().note(fleet, Some(image));
    }

    /// What the pods of a fleet are to run. `is_own_image` says that `wanted` is the container's `spec.image`, and not the
    /// operator's default.
    ///
    /// A new fleet gets the wanted image at once. Of those that wait, the first by namespace and name goes, once no other
    /// is in the middle of a rollout. A fleet that is stuck on the operator's default image halts all that wait for it; a
    /// fleet that is stuck on its own image halts nobody.
    pub fn decide(
        &self,
        fleet: &NamespacedName,
        wanted: &str,
        is_own_image: bool,
        workload: Option<&Workload>,
    ) -> Decision {
        let image = workload.map(|workload| FleetImage {
            wanted: wanted.to_owned(),
            is_own: is_own_image,
            workload: workload.clone(),
        });
        match image {
            Some(image) => self.state().decide(Timestamp::now(), fleet, image),
            None => {
                self.forget(fleet);
                Decision::Run(wanted.to_owned())
            }
        }
    }

    /// A fleet is gone.
    pub fn forget(&self, fleet: &NamespacedName) {
        let mut state = self.state();
        state.note(fleet, None);
        state.settle(Timestamp::now());
    }

    /// The fleets that were given the turn since this was last asked: they are to be reconciled.
    pub fn take_woken(&self) -> Vec<NamespacedName> {
        std::mem::take(&mut self.state().woken)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fleet that stands, and its image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct FleetImage {
    /// The image that its pods are to run in the end.
    wanted: String,
    /// Whether that is the container's own.
    is_own: bool,
    /// Its Deployment or StatefulSet.
    workload: Workload,
}

impl FleetImage {
    fn has_wanted(&self) -> bool {
        self.workload.image == self.wanted
    }

    /// Whether every pod runs the wanted image and is ready.
    fn is_settled(&self) -> bool {
        self.has_wanted() && self.workload.is_rolled_out() && self.workload.ready >= self.workload.desired
    }

    /// Whether its workload has the wanted image, and pods of an older form are left. A fleet that only grows, or begins, has
    /// none.
    fn is_rolling(&self) -> bool {
        let workload = &self.workload;
        self.has_wanted()
            && (workload.observed_generation < workload.generation || workload.replicas > workload.updated)
    }

    fn is_stuck(&self) -> bool {
        self.is_rolling() && self.workload.stuck.is_some()
    }

    /// How its turn stands that it has held for so long.
    fn end(&self, held: SignedDuration) -> End {
        if self.is_settled() {
            End::Done
        } else if self.is_stuck() || held >= PATIENCE || (!self.has_wanted() && held >= GRACE) {
            End::Failed
        } else {
            End::NotYet
        }
    }
}

/// How a turn stands.
enum End {
    NotYet,
    Done,
    Failed,
}

#[derive(Debug, Default)]
struct State {
    fleets: BTreeMap<NamespacedName, FleetImage>,
    /// Those of `fleets` that run another image than they are to: of their own, and of the operator's default.
    waiting_for_own: BTreeSet<NamespacedName>,
    waiting_for_default: BTreeSet<NamespacedName>,
    /// Those that are rolling and not stuck.
    rolling: BTreeSet<NamespacedName>,
    /// Those that are stuck on the operator's default image.
    stuck: BTreeSet<NamespacedName>,
    /// Whose turn it is, and since when.
    turn: Option<(NamespacedName, Timestamp)>,
    /// Fleets that did not come to an end in their turn, and when it ended.
    passed: BTreeMap<NamespacedName, Timestamp>,
    woken: Vec<NamespacedName>,
}

impl State {
    fn note(&mut self, name: &NamespacedName, image: Option<FleetImage>) {
        let holds = |test: fn(&FleetImage) -> bool| image.as_ref().is_some_and(test);
        let belongs = [
            (&mut self.waiting_for_own, holds(|it| !it.has_wanted() && it.is_own)),
            (
                &mut self.waiting_for_default,
                holds(|it| !it.has_wanted() && !it.is_own),
            ),
            (&mut self.rolling, holds(|it| it.is_rolling() && !it.is_stuck())),
            (&mut self.stuck, holds(|it| it.is_stuck() && !it.is_own)),
        ];
        for (set, belongs) in belongs {
            if belongs {
                set.insert(name.clone());
            } else {
                set.remove(name);
            }
        }
        match image {
            Some(image) => self.fleets.insert(name.clone(), image),
            None => self.fleets.remove(name),
        };
    }

    fn decide(&mut self, now: Timestamp, fleet: &NamespacedName, image: FleetImage) -> Decision {
        let (has_wanted, is_own) = (image.has_wanted(), image.is_own);
        let (wanted, current) = (image.wanted.clone(), image.workload.image.clone());
        self.note(fleet, Some(image));
        self.settle(now);
        if has_wanted {
            return Decision::Run(wanted);
        }
        let turn = self.turn.as_ref().map(|(turn, _)| turn);
        let behind = match (turn, self.halted_by()) {
            (Some(turn), _) if turn == fleet => {
                self.woken.retain(|woken| woken != fleet);
                return Decision::Run(wanted);
            }
            (_, Some(stuck)) if !is_own => stuck,
            (Some(turn), _) => turn,
            // Its own turn has passed without an end: it goes on with what it runs until it may try again.
            (None, stuck) => stuck.unwrap_or(fleet),
        };
        Decision::Wait {
            image: current,
            behind: behind.clone(),
        }
    }

    /// Ends a turn that is over, and gives the next one.
    fn settle(&mut self, now: Timestamp) {
        self.passed
            .retain(|name, at| now.duration_since(*at) < PATIENCE && self.fleets.contains_key(name));
        if let Some((name, since)) = self.turn.take() {
            match self.fleets.get(&name).map(|image| image.end(now.duration_since(since))) {
                Some(End::NotYet) => self.turn = Some((name, since)),
                Some(End::Failed) => {
                    self.passed.insert(name, now);
                }
                Some(End::Done) | None => {}
            }
        }
        if self.turn.is_none()
            && let Some(name) = self.next().cloned()
        {
            self.woken.push(name.clone());
            self.turn = Some((name, now));
        }
    }

    /// Who goes next: a fleet that is rolling already, else the first that waits.
    fn next(&self) -> Option<&NamespacedName> {
        let may = |name: &&NamespacedName| !self.passed.contains_key(*name);
        let rolling = self.rolling.iter().find(may);
        let own = self.waiting_for_own.iter().find(may);
        let default = self
            .waiting_for_default
            .iter()
            .find(may)
            .filter(|_| self.halted_by().is_none());
        rolling.or(match (own, default) {
            (Some(own), Some(default)) => Some(own.min(default)),
            (own, default) => own.or(default),
        })
    }

    /// A fleet that does not come to an end with the operator's default image.
    fn halted_by(&self) -> Option<&NamespacedName> {
        let failed = |name: &&NamespacedName| {
            let image = self.fleets.get(*name);
            image.is_some_and(|image| !image.is_own && image.has_wanted() && !image.is_settled())
        };
        self.stuck.first().or_else(|| self.passed.keys().find(failed))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use super::*;

    const OLD: &str = "gateway:1";
    const NEW: &str = "gateway:2";

    fn name(name: &str) -> NamespacedName {
        NamespacedName::new("shops", name)
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(60 * minute).unwrap()
    }

    /// Three pods of this image, all in order.
    fn settled(image: &str) -> Workload {
        Workload {
            image: image.into(),
            generation: 1,
            observed_generation: 1,
            desired: 3,
            replicas: 3,
            updated: 3,
            ready: 3,
            available: 3,
            stuck: None,
        }
    }

    fn rolling(image: &str) -> Workload {
        Workload {
            replicas: 4,
            updated: 1,
            ..settled(image)
        }
    }

    fn stuck(image: &str) -> Workload {
        Workload {
            stuck: Some("ProgressDeadlineExceeded: pods do not get ready".into()),
            ..rolling(image)
        }
    }

    /// A fleet that is to run the operator's default image, the new one.
    fn fleet(workload: Workload) -> FleetImage {
        FleetImage {
            wanted: NEW.into(),
            is_own: false,
            workload,
        }
    }

    fn own(workload: Workload) -> FleetImage {
        FleetImage {
            is_own: true,
            ..fleet(workload)
        }
    }

    /// Fleets that are known, none of them decided about yet.
    fn known<const N: usize>(all: [(&str, &FleetImage); N]) -> State {
        let mut state = State::default();
        for (it, image) in all {
            state.note(&name(it), Some(image.clone()));
        }
        state
    }

    fn run() -> Decision {
        Decision::Run(NEW.into())
    }

    fn wait(behind: &str) -> Decision {
        Decision::Wait {
            image: OLD.into(),
            behind: name(behind),
        }
    }

    #[test]
    fn which_image_a_fleet_gets() {
        let growing = Workload {
            desired: 5,
            ..settled(NEW)
        };
        let unready = Workload {
            ready: 0,
            ..settled(OLD)
        };
        // What is asked for is always `b`; the cases differ in `a` and in `b` itself.
        for (case, a, b, expected) in [
            ("nothing differs", fleet(rolling(NEW)), fleet(settled(NEW)), run()),
            ("nobody is before it", fleet(settled(NEW)), fleet(settled(OLD)), run()),
            (
                "another is rolling",
                fleet(rolling(NEW)),
                fleet(settled(OLD)),
                wait("a"),
            ),
            (
                "another waits, and is first by name",
                fleet(settled(OLD)),
                fleet(settled(OLD)),
                wait("a"),
            ),
            (
                "one that only grows is not rolling",
                fleet(growing),
                fleet(settled(OLD)),
                run(),
            ),
            (
                "stuck on the default image: halt",
                fleet(stuck(NEW)),
                fleet(settled(OLD)),
                wait("a"),
            ),
            (
                "stuck on its own image: go on",
                own(stuck(NEW)),
                fleet(settled(OLD)),
                run(),
            ),
            (
                "an own image does not wait for a stuck default",
                fleet(stuck(NEW)),
                own(settled(OLD)),
                run(),
            ),
            (
                "an own image waits for its turn",
                fleet(rolling(NEW)),
                own(settled(OLD)),
                wait("a"),
            ),
            (
                "away from the image that it is stuck on",
                fleet(settled(NEW)),
                fleet(stuck(OLD)),
                run(),
            ),
            (
                "a fleet that does not serve goes as well",
                fleet(settled(NEW)),
                fleet(unready),
                run(),
            ),
        ] {
            let mut state = known([("a", &a)]);
            assert_eq!(state.decide(at(0), &name("b"), b), expected, "{case}");
        }
    }

    #[test]
    fn a_new_fleet_gets_the_wanted_image_at_once() {
        let slot = Slot::new();
        slot.observe(&name("a"), &rolling(NEW));
        assert_eq!(slot.decide(&name("b"), NEW, false, None), run());
    }

    #[test]
    fn a_paused_fleet_is_passed_over() {
        let slot = Slot::new();
        slot.observe(&name("a"), &settled(OLD));
        assert_eq!(slot.decide(&name("b"), NEW, false, Some(&settled(OLD))), run());
    }

    #[test]
    fn fleets_go_one_after_the_other_and_the_next_is_woken() {
        let mut state = known([("a", &fleet(settled(OLD))), ("b", &fleet(settled(OLD)))]);
        let mut decide = |minute, of: &str, workload| {
            let decision = state.decide(at(minute), &name(of), fleet(workload));
            (decision, std::mem::take(&mut state.woken))
        };
        assert_eq!(decide(0, "c", settled(OLD)), (wait("a"), vec![name("a")]));
        assert_eq!(decide(0, "a", settled(OLD)), (run(), vec![]));
        // What the API server shows of it may be old for a while; the turn is kept all the same.
        assert_eq!(decide(0, "b", settled(OLD)), (wait("a"), vec![]));
        assert_eq!(decide(1, "a", rolling(NEW)), (run(), vec![]));
        assert_eq!(decide(1, "b", settled(OLD)), (wait("a"), vec![]));
        let unready = Workload {
            ready: 2,
            ..settled(NEW)
        };
        assert_eq!(decide(2, "a", unready), (run(), vec![]));
        assert_eq!(decide(2, "b", settled(OLD)), (wait("a"), vec![]));
        assert_eq!(decide(3, "a", settled(NEW)), (run(), vec![name("b")]));
        assert_eq!(decide(3, "c", settled(OLD)), (wait("b"), vec![]));
        assert_eq!(decide(3, "b", settled(OLD)), (run(), vec![]));
        assert_eq!(decide(4, "b", settled(NEW)), (run(), vec![name("c")]));
    }

    #[test]
    fn a_restarted_operator_takes_up_the_rollout_that_it_finds() {
        let slot = Slot::new();
        slot.observe(&name("b"), &rolling(NEW));
        assert_eq!(slot.decide(&name("a"), NEW, false, Some(&settled(OLD))), wait("b"));
    }

    #[test]
    fn a_turn_that_is_not_used_passes_to_the_next_and_comes_back_later() {
        let mut state = known([("a", &fleet(settled(OLD)))]);
        let mut decide = |minute, of: &str, workload| state.decide(at(minute), &name(of), fleet(workload));
        assert_eq!(decide(0, "b", settled(OLD)), wait("a"));
        assert_eq!(decide(1, "b", settled(OLD)), wait("a"));
        assert_eq!(decide(2, "b", settled(OLD)), run());
        assert_eq!(decide(3, "b", settled(NEW)), run());
        assert_eq!(decide(4, "a", settled(OLD)), wait("a"));
        assert_eq!(decide(12, "a", settled(OLD)), run());
    }

    #[test]
    fn a_set_that_never_says_that_it_is_stuck_loses_patience() {
        for (image, then) in [(fleet(rolling(NEW)), wait("a")), (own(rolling(NEW)), run())] {
            let mut state = known([("a", &image)]);
            let mut decide = |minute| state.decide(at(minute), &name("b"), fleet(settled(OLD)));
            assert_eq!(decide(0), wait("a"));
            assert_eq!(decide(9), wait("a"));
            assert_eq!(decide(10), then);
        }
    }

    #[test]
    fn the_turn_of_a_container_that_is_deleted_ends() {
        let slot = Slot::new();
        slot.observe(&name("a"), &rolling(NEW));
        assert_eq!(slot.decide(&name("b"), NEW, false, Some(&settled(OLD))), wait("a"));
        slot.forget(&name("a"));
        assert!(slot.take_woken().contains(&name("b")));
        assert_eq!(slot.decide(&name("b"), NEW, false, Some(&settled(OLD))), run());
    }
}
