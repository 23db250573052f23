//! Given these observations, that is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tagfleet_crds::{
    DestinationSpec, TaggingContainerSpec,
    conditions::reasons,
    destination::DestinationStatus,
    tagging_container::{GatewayCount, TaggingContainerStatus},
    validate::NamespacedName,
};

use super::*;
use crate::{
    gateways::{DeliveryState, DestinationReport, FleetReport, GatewayReport, Refusal, figures::Age},
    observed::{PodState, Workload},
    verdict::{DestinationVerdict, Verdict, Verdicts},
};

const IMAGE: &str = "gateway:2";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// `True Serving`, and the message.
fn said<'c>(conditions: &'c [Condition], kind: &str) -> (String, &'c str) {
    let found = conditions.iter().find(|condition| condition.type_ == kind).unwrap();
    (format!("{} {}", found.status, found.reason), &found.message)
}

fn accepted() -> Verdict {
    Verdict::yes(reasons::ACCEPTED, "The specification is valid and in force.")
}

fn meta_verdict() -> DestinationVerdict {
    DestinationVerdict {
        generation: 7,
        in_force: Some(7),
        accepted: accepted(),
        credentials: Verdict::yes(reasons::RESOLVED, "Every Secret is there."),
    }
}

/// The container `shop` of generation 3 with the Destination `meta` of generation 7 and two pods, all in order.
struct Shop {
    verdicts: Verdicts,
    spec: Option<TaggingContainerSpec>,
    workload: Option<Workload>,
    pods: Vec<PodState>,
    report: Option<FleetReport>,
    behind: Option<NamespacedName>,
    apply: Result<(), Problem>,
    crds_older: Vec<String>,
    previous: Option<TaggingContainerStatus>,
}

impl Shop {
    fn new() -> Self {
        let pods: Vec<_> = ["a", "b"].map(pod).into();
        let gateways = pods.iter().map(|pod| (pod.name.clone(), gateway(3, 7)));
        Self {
            verdicts: Verdicts {
                generation: 3,
                in_force: Some(3),
                accepted: accepted(),
                destinations: BTreeMap::from([("meta".to_owned(), meta_verdict())]),
            },
            spec: Some(TaggingContainerSpec::default()),
            workload: Some(Workload {
                image: IMAGE.into(),
                generation: 1,
                observed_generation: 1,
                desired: 2,
                replicas: 2,
                updated: 2,
                ready: 2,
                available: 2,
                stuck: None,
            }),
            report: Some(FleetReport {
                gateways: gateways.collect(),
                events_per_second: Some("1200".into()),
                errors: Some("0.1%".into()),
                ..FleetReport::default()
            }),
            pods,
            behind: None,
            apply: Ok(()),
            crds_older: Vec::new(),
            previous: None,
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut shop = Self::new();
        change(&mut shop);
        shop
    }

    fn status(&self) -> TaggingContainerStatus {
        self.status_at(100)
    }

    fn status_at(&self, second: i64) -> TaggingContainerStatus {
        tagging_container(&ContainerInput {
            name: "shop",
            verdicts: &self.verdicts,
            spec: self.spec.as_ref(),
            workload: self.workload.as_ref(),
            pods: &self.pods,
            report: self.report.as_ref(),
            image: ImageInput {
                wanted: IMAGE,
                behind: self.behind.as_ref(),
            },
            apply: self.apply.as_ref().copied(),
            crds_older: &self.crds_older,
            previous: self.previous.as_ref(),
            now: at(second),
        })
    }

    fn workload(&mut self) -> &mut Workload {
        self.workload.as_mut().unwrap()
    }

    fn report(&mut self) -> &mut FleetReport {
        self.report.as_mut().unwrap()
    }

    /// The pod `b` does not run.
    fn lose_b(&mut self, trouble: Option<&str>) {
        self.pods[1].ready = false;
        self.pods[1].trouble = trouble.map(str::to_owned);
        self.report().gateways.remove("b");
        self.workload().ready = 1;
    }
}

fn pod(name: &str) -> PodState {
    PodState {
        name: name.into(),
        ip: Some("10.0.0.1".into()),
        ready: true,
        image: IMAGE.into(),
        ..PodState::default()
    }
}

fn gateway(shop: i64, meta: i64) -> GatewayReport {
    GatewayReport {
        generations: BTreeMap::from([
            ("TaggingContainer/shop".to_owned(), shop),
            ("Destination/meta".to_owned(), meta),
        ]),
        refusals: Vec::new(),
        refuses_hits: None,
    }
}

fn refusal(object: &str, generation: i64) -> Refusal {
    Refusal {
        object: object.into(),
        generation: Some(generation),
        field: "spec.trigger.when".into(),
        message: "not CEL".into(),
    }
}

#[test]
fn a_fleet_in_order() {
    let status = Shop::new().status();
    let all: Vec<_> = status
        .conditions
        .iter()
        .map(|it| format!("{}={} {}", it.type_, it.status, it.reason))
        .collect();
    assert_eq!(
        all,
        [
            "Accepted=True Accepted",
            "Ready=True Serving",
            "Progressing=False RolledOut",
            "Degraded=False Healthy",
            "Durable=False EmptyDir",
            "OutOfDate=False UpToDate",
        ]
    );
    assert!(status.conditions.iter().all(|it| it.observed_generation == Some(3)));
    assert_eq!(status.pods.unwrap().summary, "2/2");
    assert_eq!(status.gateways, Some(GatewayCount { updated: 2, total: 2 }));
    assert_eq!(status.destinations, Some(1));
    assert_eq!(status.events_per_second.as_deref(), Some("1200"));
    assert_eq!(status.errors.as_deref(), Some("0.1%"));
}

#[test]
fn nothing_changes_while_nothing_changes() {
    for mut shop in [
        Shop::new(),
        Shop::with(|shop| shop.lose_b(Some("CrashLoopBackOff: back-off 40s"))),
        Shop::with(|shop| shop.workload = None),
        Shop::with(|shop| shop.report = None),
    ] {
        let first = shop.status_at(100);
        shop.previous = Some(first.clone());
        assert_eq!(shop.status_at(200), first);
    }
}

#[test]
fn a_restarted_operator_tells_the_same_until_it_has_asked_the_gateways() {
    for change in [
        |_: &mut Shop| {},
        |shop: &mut Shop| {
            let gateway = shop.report().gateways.get_mut("b").unwrap();
            gateway.refusals.push(refusal("TaggingContainer/shop", 3));
        },
        |shop: &mut Shop| {
            let gateway = shop.report().gateways.get_mut("b").unwrap();
            gateway.refuses_hits = Some("the buffer is full".into());
        },
        |shop: &mut Shop| {
            shop.report()
                .unreachable
                .insert("b".into(), "connection refused".into());
        },
    ] {
        let mut shop = Shop::with(change);
        let before = shop.status();
        shop.previous = Some(before.clone());
        shop.report = None;
        assert_eq!(shop.status_at(200), before);
    }
}

#[test]
fn what_is_told_of_a_container() {
    let shown = |text: &str| text.to_owned();
    for (case, shop, condition, expected, words) in [
        (
            "the newest form is refused",
            Shop::with(|it| {
                it.verdicts.generation = 4;
                it.verdicts.accepted = Verdict::no(reasons::EXPRESSION_INVALID, "spec.priority: not CEL.");
            }),
            "Accepted",
            "False ExpressionInvalid",
            "spec.priority: not CEL. Generation 3 stays in force.",
        ),
        (
            "and the last good one goes on serving",
            Shop::with(|it| it.verdicts.generation = 4),
            "Ready",
            "True Serving",
            "2 of 2 pods are ready.",
        ),
        (
            "no form was ever good",
            Shop::with(|it| {
                it.spec = None;
                it.workload = None;
                it.pods.clear();
            }),
            "Ready",
            "False NotAccepted",
            "there is no fleet",
        ),
        (
            "nothing stands yet",
            Shop::with(|it| {
                it.workload = None;
                it.pods.clear();
            }),
            "Progressing",
            "True Creating",
            "being made",
        ),
        (
            "a name is taken",
            Shop::with(|it| {
                it.workload = None;
                it.apply = Err(Problem {
                    reason: reasons::NAME_TAKEN,
                    message: "Deployment shop-gateway is not the operator's.".into(),
                });
            }),
            "Ready",
            "False NameTaken",
            "Deployment shop-gateway",
        ),
        (
            "a pod is missing",
            Shop::with(|it| it.lose_b(None)),
            "Ready",
            "False PodsNotReady",
            "1 of 2 pods is ready",
        ),
        (
            "a pod crashes",
            Shop::with(|it| it.lose_b(Some("CrashLoopBackOff: back-off 2m40s restarting"))),
            "Degraded",
            "True PodsFailing",
            "Pod b: CrashLoopBackOff: the gateway ends again and again. kubectl logs --previous b shows why.",
        ),
        (
            "a new fleet begins",
            Shop::with(|it| it.lose_b(None)),
            "Degraded",
            "False Healthy",
            "Nothing is wrong.",
        ),
        (
            "pods are being replaced",
            Shop::with(|it| {
                it.workload().replicas = 3;
                it.workload().updated = 1;
            }),
            "Progressing",
            "True RollingOut",
            "1 of 2 pods is of the newest form, 2 of an older one.",
        ),
        (
            "and serve meanwhile",
            Shop::with(|it| {
                it.workload().replicas = 3;
                it.workload().updated = 1;
            }),
            "Ready",
            "True Serving",
            "2 of 2",
        ),
        (
            "the rollout is stuck",
            Shop::with(|it| it.workload().stuck = Some("ProgressDeadlineExceeded: timed out.".into())),
            "Degraded",
            "True RolloutStuck",
            "ProgressDeadlineExceeded",
        ),
        (
            "a gateway has not the newest Destination",
            Shop::with(|it| {
                it.report().gateways.insert("b".into(), gateway(3, 6));
            }),
            "Progressing",
            "True Configuring",
            "1 of 2 gateways has the newest configuration in force.",
        ),
        (
            "which does not keep it from serving",
            Shop::with(|it| {
                it.report().gateways.insert("b".into(), gateway(3, 6));
            }),
            "Ready",
            "True Serving",
            "2 of 2",
        ),
        (
            "a gateway has not the newest container",
            Shop::with(|it| {
                it.report().gateways.insert("b".into(), gateway(2, 7));
            }),
            "Ready",
            "False Configuring",
            "1 of 2 gateways has generation 3 of the container in force.",
        ),
        (
            "a gateway refuses the newest container and serves the last good one",
            Shop::with(|it| {
                let mut refusing = gateway(2, 7);
                refusing.refusals.push(refusal("TaggingContainer/shop", 3));
                it.report().gateways.insert("b".into(), refusing);
            }),
            "Ready",
            "True Serving",
            "2 of 2",
        ),
        (
            "a gateway refuses a Destination",
            Shop::with(|it| {
                let mut refusing = gateway(3, 6);
                refusing.refusals.push(refusal("Destination/meta", 7));
                it.report().gateways.insert("b".into(), refusing);
            }),
            "Degraded",
            "True GatewayRefused",
            "Pod b refuses Destination/meta: spec.trigger.when: not CEL. Its last good form",
        ),
        (
            "a gateway that never had anything in force says why",
            Shop::with(|it| {
                let mut refusing = GatewayReport::default();
                for (object, field) in [
                    ("Destination/meta", "spec.a"),
                    ("TaggingContainer/shop", "spec.b"),
                    ("TaggingContainer/shop", "spec.c"),
                ] {
                    let generation = if object == "Destination/meta" { 7 } else { 3 };
                    refusing.refusals.push(Refusal {
                        field: field.into(),
                        ..refusal(object, generation)
                    });
                }
                it.report().gateways.insert("b".into(), refusing);
            }),
            "Degraded",
            "True GatewayRefused",
            "Pod b refuses TaggingContainer/shop: spec.b: not CEL (it also refuses spec.c). No form of it was ever good",
        ),
        (
            "what the operator refuses as well is told by Accepted alone",
            Shop::with(|it| {
                let mut refusing = gateway(3, 7);
                refusing.refusals.push(refusal("Destination/meta", 8));
                it.report().gateways.insert("b".into(), refusing);
            }),
            "Degraded",
            "False Healthy",
            "",
        ),
        (
            "a buffer is full",
            Shop::with(|it| {
                let refusing = GatewayReport {
                    refuses_hits: Some("the buffer is full (1024 bytes)".into()),
                    ..gateway(3, 7)
                };
                it.report().gateways.insert("b".into(), refusing);
            }),
            "Degraded",
            "True HitsRefused",
            "1 of 2 gateways answers hits with 503. Pod b: the buffer is full (1024 bytes).",
        ),
        (
            "a gateway cannot be asked",
            Shop::with(|it| {
                it.report().gateways.remove("b");
                it.report().unreachable.insert("b".into(), "connection refused".into());
            }),
            "Degraded",
            "True GatewaysUnreachable",
            "1 ready gateway: pod b, port 9090: connection refused.",
        ),
        (
            "an image waits",
            Shop::with(|it| {
                it.workload().image = "gateway:1".into();
                it.behind = Some(NamespacedName::new("other", "blog"));
            }),
            "OutOfDate",
            "True WaitingForRollout",
            "TaggingContainer blog in namespace other",
        ),
        (
            "an image is rolling",
            Shop::with(|it| {
                it.workload().updated = 1;
                it.pods[0].image = "gateway:1".into();
            }),
            "OutOfDate",
            "True RollingOut",
            "1 of 2 pods do not run gateway:2 yet.",
        ),
        (
            "a mirror's name for the image is no other image",
            Shop::with(|it| it.pods[0].image = "mirror/gateway:2".into()),
            "OutOfDate",
            "False UpToDate",
            "gateway:2",
        ),
        (
            "the cluster lacks fields",
            Shop::with(|it| it.crds_older = vec!["TaggingContainer.spec.preview".into()]),
            "OutOfDate",
            "True CustomResourceDefinitionOlder",
            "TaggingContainer.spec.preview",
        ),
        (
            "paused",
            Shop::with(|it| it.spec.as_mut().unwrap().paused = true),
            "Progressing",
            "False Paused",
            "spec.paused",
        ),
        (
            "in memory",
            Shop::with(|it| it.spec = Some(with_buffer(r#"{"memory": {}}"#))),
            "Durable",
            "False Memory",
            "in memory",
        ),
        (
            "on an emptyDir",
            Shop::new(),
            "Durable",
            "False EmptyDir",
            "Scale-in or eviction during an outage",
        ),
        (
            "on a volume",
            Shop::with(|it| it.spec = Some(with_buffer(r#"{"disk": {"volume": {}}}"#))),
            "Durable",
            "True Volume",
            "loss of the pod",
        ),
        (
            "in a JetStream",
            Shop::with(|it| it.spec = Some(with_buffer(r#"{"jetStream": {"url": "nats://nats:4222"}}"#))),
            "Durable",
            "True JetStream",
            "loss of a node",
        ),
    ] {
        let status = shop.status();
        let (found, message) = said(&status.conditions, condition);
        assert_eq!(found, shown(expected), "{case}: {message}");
        assert!(message.contains(words), "{case}: {message}");
    }
}

fn with_buffer(json: &str) -> TaggingContainerSpec {
    TaggingContainerSpec {
        buffer: Some(serde_json::from_str(json).unwrap()),
        ..TaggingContainerSpec::default()
    }
}

#[test]
fn a_fleet_that_has_served_and_lost_a_pod_is_degraded_until_it_is_whole_again() {
    let mut shop = Shop::new();
    let mut degraded = Vec::new();
    for is_lost in [false, true, true, false] {
        let mut next = Shop::with(|it| {
            if is_lost {
                it.lose_b(None);
            }
        });
        next.previous = Some(shop.status());
        degraded.push(said(&next.status().conditions, "Degraded").0);
        shop = next;
    }
    let lost = "True PodsNotReady";
    assert_eq!(degraded, ["False Healthy", lost, lost, "False Healthy"]);
}

#[test]
fn a_fleet_without_pods_is_told_alike_before_and_after_the_first_round_of_asking() {
    let shop = |report| Shop::with(|it| (it.pods, it.report) = (Vec::new(), report)).status();
    assert_eq!(shop(None), shop(Some(FleetReport::default())));
    let meta = |report| {
        Meta::with(DeliveryState::Delivering, |it| {
            (it.pods, it.report) = (Vec::new(), report);
        })
        .status()
    };
    assert_eq!(meta(None), meta(Some(FleetReport::default())));
}

/// The Destination `meta` in `shop` with two gateways that have it in force.
struct Meta {
    verdict: DestinationVerdict,
    pods: Vec<PodState>,
    report: Option<FleetReport>,
    previous: Option<DestinationStatus>,
}

impl Meta {
    fn new(state: DeliveryState) -> Self {
        let mut shop = Shop::new();
        let meta = DestinationReport {
            state,
            lag: Age::of(754.0),
            last_error: Some("401 from graph.facebook.com".into()),
        };
        shop.report().destinations.insert("meta".into(), meta);
        Self {
            verdict: meta_verdict(),
            pods: shop.pods,
            report: shop.report,
            previous: None,
        }
    }

    fn with(state: DeliveryState, change: impl FnOnce(&mut Self)) -> Self {
        let mut meta = Self::new(state);
        change(&mut meta);
        meta
    }

    fn in_container(&self) -> InContainer<'_> {
        InContainer {
            verdict: &self.verdict,
            pods: &self.pods,
            report: self.report.as_ref(),
        }
    }

    fn status(&self) -> DestinationStatus {
        let containers = BTreeMap::from([("shop", Some(self.in_container()))]);
        status_of(containers, self.previous.as_ref(), 100)
    }
}

fn status_of(
    containers: BTreeMap<&str, Option<InContainer<'_>>>,
    previous: Option<&DestinationStatus>,
    second: i64,
) -> DestinationStatus {
    let spec: DestinationSpec = serde_json::from_str(
        r#"{"containerRefs": [{"name": "shop"}], "metaConversions": {"pixelId": "1",
            "accessToken": {"secretKeyRef": {"name": "shop-secrets", "key": "meta"}}}}"#,
    )
    .unwrap();
    destination(&DestinationInput {
        name: "meta",
        generation: 7,
        spec: &spec,
        containers,
        previous,
        now: at(second),
    })
}

#[test]
fn a_destination_that_delivers() {
    let status = Meta::new(DeliveryState::Delivering).status();
    assert_eq!(said(&status.conditions, "Accepted").0, "True Accepted");
    assert_eq!(said(&status.conditions, "CredentialsResolved").0, "True Resolved");
    assert_eq!(said(&status.conditions, "Delivering").0, "True Delivering");
    assert_eq!(status.observed_generation, Some(7));
    assert_eq!(status.gateways, Some(GatewayCount { updated: 2, total: 2 }));
    assert_eq!(status.vendor.as_deref(), Some("metaConversions"));
    assert_eq!(status.lag.as_deref(), Some("12m"));
    assert_eq!(status.last_error.as_deref(), Some("401 from graph.facebook.com"));
    assert_eq!(status.containers.len(), 1);
    assert_eq!(status.containers[0].conditions, status.conditions);
}

#[test]
fn what_is_told_of_a_destination() {
    let missing = |it: &mut Meta| {
        it.verdict.credentials = Verdict::no(reasons::SECRET_NOT_FOUND, "There is no Secret shop-secrets.");
    };
    for (case, meta, condition, expected, words) in [
        (
            "never accepted",
            Meta::with(DeliveryState::Delivering, |it| it.verdict.in_force = None),
            "Delivering",
            "False NotAccepted",
            "ever accepted",
        ),
        (
            "the newest form is refused",
            Meta::with(DeliveryState::Delivering, |it| {
                it.verdict.generation = 8;
                it.verdict.accepted = Verdict::no(reasons::INVALID, "spec.x: wrong");
            }),
            "Accepted",
            "False Invalid",
            "spec.x: wrong. Generation 7 stays in force.",
        ),
        (
            "the vendor fails",
            Meta::new(DeliveryState::Retrying),
            "Delivering",
            "False VendorFailing",
            "401 from graph.facebook.com",
        ),
        (
            "the vendor refuses the token",
            Meta::new(DeliveryState::CredentialsRejected),
            "Delivering",
            "False CredentialsRejected",
            "Secret shop-secrets (key meta)",
        ),
        (
            "stopped",
            Meta::new(DeliveryState::Stopped),
            "Delivering",
            "False Stopped",
            "no more events",
        ),
        (
            "paused",
            Meta::new(DeliveryState::Paused),
            "Delivering",
            "False Paused",
            "spec.paused",
        ),
        (
            "the token is on its way",
            Meta::new(DeliveryState::Propagating),
            "CredentialsResolved",
            "False Propagating",
            "kubelet",
        ),
        (
            "no gateway knows of the token yet",
            Meta::with(DeliveryState::Delivering, |it| {
                it.report.as_mut().unwrap().destinations.clear();
            }),
            "CredentialsResolved",
            "False Propagating",
            "kubelet",
        ),
        (
            "a gateway refuses what the token is for",
            Meta::with(DeliveryState::Delivering, |it| {
                let mut refusing = gateway(3, 6);
                refusing.refusals.push(refusal("Destination/meta", 7));
                it.report.as_mut().unwrap().destinations.clear();
                it.report.as_mut().unwrap().gateways.insert("b".into(), refusing);
            }),
            "CredentialsResolved",
            "True Resolved",
            "",
        ),
        (
            "there is no token",
            Meta::with(DeliveryState::Propagating, missing),
            "CredentialsResolved",
            "False SecretNotFound",
            "shop-secrets",
        ),
        (
            "and so it waits",
            Meta::with(DeliveryState::Propagating, missing),
            "Delivering",
            "False SecretNotFound",
            "It waits for its credentials. There is no Secret",
        ),
        (
            "no gateway answers",
            Meta::with(DeliveryState::Delivering, |it| it.report = Some(FleetReport::default())),
            "Delivering",
            "Unknown NoGateways",
            "",
        ),
        (
            "no gateway has it yet",
            Meta::with(DeliveryState::Delivering, |it| {
                it.report.as_mut().unwrap().destinations.clear();
            }),
            "Delivering",
            "Unknown Configuring",
            "",
        ),
        (
            "a gateway refuses it",
            Meta::with(DeliveryState::Delivering, |it| {
                let mut refusing = gateway(3, 6);
                refusing.refusals.push(refusal("Destination/meta", 7));
                it.report.as_mut().unwrap().gateways.insert("b".into(), refusing);
            }),
            "Delivering",
            "False GatewayRefused",
            "Pod b refuses Destination/meta: spec.trigger.when: not CEL",
        ),
        (
            "a gateway refuses another",
            Meta::with(DeliveryState::Delivering, |it| {
                let mut refusing = gateway(3, 7);
                refusing.refusals.push(refusal("Destination/orders", 7));
                it.report.as_mut().unwrap().gateways.insert("b".into(), refusing);
            }),
            "Delivering",
            "True Delivering",
            "",
        ),
    ] {
        let status = meta.status();
        let (found, message) = said(&status.conditions, condition);
        assert_eq!(found, expected, "{case}: {message}");
        assert!(message.contains(words), "{case}: {message}");
    }
}

#[test]
fn a_destination_stays_as_it_was_until_a_restarted_operator_has_asked() {
    for state in [
        DeliveryState::Delivering,
        DeliveryState::Retrying,
        DeliveryState::Propagating,
    ] {
        let mut meta = Meta::new(state);
        let before = meta.status();
        meta.previous = Some(before.clone());
        meta.report = None;
        assert_eq!(meta.status(), before, "{state:?}");
        meta.pods.clear();
        assert_eq!(said(&meta.status().conditions, "Delivering").0, "Unknown NoGateways");
    }
}

#[test]
fn the_worst_of_all_containers_stands_at_the_top() {
    let good = Meta::new(DeliveryState::Delivering);
    let paused = Meta::new(DeliveryState::Paused);
    let failing = Meta::new(DeliveryState::Retrying);
    let top = |containers: BTreeMap<&str, Option<InContainer<'_>>>| {
        let status = status_of(containers, None, 100);
        let (found, message) = said(&status.conditions, "Delivering");
        (found, message.split(':').next().unwrap_or_default().to_owned())
    };
    let (good, paused, failing) = (
        Some(good.in_container()),
        Some(paused.in_container()),
        Some(failing.in_container()),
    );
    assert_eq!(
        top(BTreeMap::from([("a", good), ("b", good)])),
        ("True Delivering".into(), "The vendor takes the events.".into())
    );
    assert_eq!(
        top(BTreeMap::from([
            ("a", paused),
            ("b", good),
            ("c", failing),
            ("d", failing)
        ])),
        ("False VendorFailing".into(), "In container c".into())
    );
    assert_eq!(
        top(BTreeMap::from([("a", failing), ("b", None)])),
        ("False ContainerNotFound".into(), "In container b".into())
    );
}

#[test]
fn a_destination_of_two_containers_counts_the_gateways_of_both_and_rests() {
    let (good, failing) = (Meta::new(DeliveryState::Delivering), Meta::new(DeliveryState::Retrying));
    let containers = || BTreeMap::from([("a", Some(good.in_container())), ("b", Some(failing.in_container()))]);
    let first = status_of(containers(), None, 100);
    assert_eq!(first.gateways, Some(GatewayCount { updated: 4, total: 4 }));
    assert_eq!(status_of(containers(), Some(&first), 200), first);
}
