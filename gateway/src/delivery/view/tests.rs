//! From hits to what vendors are asked to encode.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::json;
use tagfleet_crds::tagging_container::ConsentSignal as Signal;
use tagfleet_expressions::{Map, STEPS_PER_HIT, Steps};
use tokio::time::Instant;

use super::*;
use crate::{
    delivery::parcel::{Circumstances, pack},
    destinations::{Destination, Encoding, Limits, Outcome, Response},
    ingest::{ClaimedEvent, Connection, HitRequest},
    log::{DestinationId, Position, Stored, Verdict},
    pipeline::{
        self, Fate, Judged,
        consent::{ConsentPolicy, CountryDefaults, Resolved, Said, Source},
        geo::Place,
        policies::Policies,
        visit::Visit,
    },
    record::{Consent, ConsentSignal, SIGNALS},
    testing,
};

/// Keeps what it is asked to encode.
#[derive(Default)]
struct Witness(Mutex<Vec<Record<'static>>>);

impl Destination for Witness {
    fn limits(&self) -> Limits {
        Limits {
            max_events: 100,
            max_bytes: 1_000_000,
        }
    }

    fn encode(&self, records: &[Record<'_>], _: i64) -> Encoding {
        let owned = records.iter().cloned().map(Record::into_owned);
        self.0.lock().unwrap().extend(owned);
        Encoding::default()
    }

    fn classify(&self, _: &Response) -> Outcome {
        Outcome::Delivered
    }
}

fn form(requires: &[Signal], anonymize: bool) -> (PlannedDestination, Arc<Witness>) {
    let witness = Arc::new(Witness::default());
    let form = PlannedDestination {
        requires: requires.to_vec(),
        anonymize,
        vendor: Arc::clone(&witness) as Arc<dyn Destination>,
        ..testing::destination("orders", DestinationId(0), &[])
    };
    (form, witness)
}

/// An event in which everything that identifies somebody says so.
fn event() -> Record<'static> {
    testing::record(json!({
        "event_name": "purchase", "event_id": "evt-1", "timestamp_ms": 1_000, "client_id": "SECRET", "user_id": "SECRET",
        "ga_session_id": "SECRET", "ga_session_number": "SECRET", "user_agent": "SECRET", "ip_override": "SECRET",
        "client_hints": {"model": "SECRET"}, "screen_resolution": "SECRET", "user_data": {"email_address": ["SECRET"]},
        "user_properties": {"plan": "SECRET"}, "click_ids": {"gclid": "SECRET"}, "cookies": {"_ga": "SECRET"},
        "device": {"model": "SECRET"}, "geo": {"country": "DE", "city": "SECRET"}, "x_user_id": "SECRET",
        "page_location": "https://shop.example/?a=1&GCLID=SECRET&li_fat_id=SECRET", "x-ga-em": "SECRET",
        "page_referrer": "https://ads.example/#/x?ttclid=SECRET", "x-ga-system_properties": {"fid": "SECRET"},
        "value": 10, "items": [{"item_id": "SKU-1"}],
    }))
}

fn text(record: &Record<'_>) -> String {
    format!(
        "{} {}",
        serde_json::to_string(&record.event).unwrap(),
        serde_json::to_string(&record.vars).unwrap()
    )
}

fn stored(record: &Record<'_>) -> Stored {
    let mut payload = Vec::new();
    codec::encode(record, &mut payload);
    Stored {
        position: Position(7),
        payload: payload.into(),
    }
}

fn circumstances() -> Circumstances {
    Circumstances {
        now_ms: 2_000,
        now: Instant::now(),
        max_age_ms: 60_000,
        attempts: 0,
        failure: None,
        erasures: Arc::default(),
    }
}

fn with_consent(states: [ConsentSignal; 4]) -> Record<'static> {
    let mut record = event();
    record.vars.insert("mail", "SECRET");
    record.consent = Consent::of(states);
    record
}

const G: ConsentSignal = ConsentSignal::Granted;
const D: ConsentSignal = ConsentSignal::Denied;
const U: ConsentSignal = ConsentSignal::Unset;

#[test]
fn a_setting_that_was_tightened_protects_what_still_waits() {
    let (form, witness) = form(&[Signal::AdStorage], false);
    let packed = pack(&form, &[stored(&with_consent([U, G, G, G]))], &circumstances());
    assert_eq!(packed.erased, [Position(7)]);
    assert!(packed.doomed.is_empty() && packed.parcels.is_empty());
    assert!(witness.0.lock().unwrap().is_empty());
}

#[test]
fn without_consent_an_event_is_encoded_without_identifiers_where_that_is_configured() {
    let (form, witness) = form(&[Signal::AdStorage], true);
    let granted = with_consent([G, U, U, U]);
    let denied = with_consent([D, G, G, G]);
    let packed = pack(&form, &[stored(&granted), stored(&denied)], &circumstances());
    assert!(packed.erased.is_empty());
    let seen = witness.0.lock().unwrap();
    assert_eq!(seen[0], granted);
    assert!(!text(&seen[1]).contains("SECRET"), "{}", text(&seen[1]));
    assert_eq!(seen[1].event.text("page_location"), Some("https://shop.example/?a=1"));
}

#[test]
fn a_dead_letter_keeps_no_more_than_the_destination_may_see() {
    let (drops, _) = form(&[Signal::AdStorage], false);
    let (anonymizes, _) = form(&[Signal::AdStorage], true);
    let (granted, denied) = (
        stored(&with_consent([G; 4])).payload,
        stored(&with_consent([D; 4])).payload,
    );
    assert_eq!(admitted_payload(&drops, granted.clone()), Some(granted.clone()));
    assert_eq!(admitted_payload(&anonymizes, granted.clone()), Some(granted));
    assert_eq!(admitted_payload(&drops, denied.clone()), None);
    let kept = admitted_payload(&anonymizes, denied).unwrap();
    let record = codec::decode(&kept).unwrap();
    assert!(!text(&record).contains("SECRET"), "{}", text(&record));
    assert_eq!(record.event.text("event_id"), Some("evt-1"));
    let broken = Bytes::from_static(b"\xff");
    assert_eq!(admitted_payload(&drops, broken.clone()), Some(broken));
}

/// What may say something about consent.
#[derive(Clone, Debug)]
struct World {
    said: [ConsentSignal; 4],
    tcf: Option<&'static str>,
    region: [ConsentSignal; 4],
    default: [ConsentSignal; 4],
    gpc: bool,
    opts_out: bool,
    requires: Vec<Signal>,
    anonymize: bool,
    requires_later: Vec<Signal>,
    anonymize_later: bool,
}

fn states() -> impl Strategy<Value = [ConsentSignal; 4]> {
    prop::array::uniform4(prop::sample::select(vec![G, D, U]))
}

fn world() -> impl Strategy<Value = World> {
    let tcf = prop::option::of(prop::sample::select(vec![
        "CQdWToAQdWToAAKABAENAwFgAP_gAAAAAAYgF5wAoAAgAGAvMAAAAAA",
        "CQdWToAQdWToAAKABAENAwFgAP_gAAAAAAYgAGEUQAAAAA",
        "CQdWToAQdWToAAKABAENAwFgAAAAAAAAAAYgAGAAAAAAAA",
        "CQdWToAQdWToAAKAB",
    ]));
    let requires = || prop::sample::subsequence(SIGNALS.to_vec(), 0..=4);
    let later = (requires(), any::<bool>());
    let given = (states(), tcf, states(), states());
    let settings = (any::<bool>(), any::<bool>(), requires(), any::<bool>(), later);
    (given, settings).prop_map(
        |((said, tcf, region, default), (gpc, opts_out, requires, anonymize, later))| World {
            said,
            tcf,
            region,
            default,
            gpc,
            opts_out,
            requires,
            anonymize,
            requires_later: later.0,
            anonymize_later: later.1,
        },
    )
}

fn judged(world: &World) -> Judged<'static> {
    let (form, _) = form(&world.requires, world.anonymize);
    let mut plan = testing::plan("v1", Vec::new(), vec![form]);
    let german = CountryDefaults {
        whole: Some(Consent::of(world.region)),
        ..CountryDefaults::default()
    };
    plan.policies = Arc::new(Policies {
        consent: ConsentPolicy {
            default: Consent::of(world.default),
            regions: [("DE".into(), german)].into(),
            opt_out_cookie: Some("optout".into()),
            hold: None,
        },
        ..Policies::default()
    });
    let mut headers = HeaderMap::new();
    if world.gpc {
        headers.insert("sec-gpc", HeaderValue::from_static("1"));
    }
    if world.opts_out {
        headers.append("cookie", HeaderValue::from_static("optout=1"));
    }
    if let Some(tcf) = world.tcf {
        headers.append("cookie", HeaderValue::from_str(&format!("euconsent-v2={tcf}")).unwrap());
    }
    let request = HitRequest {
        received_ms: 1_000,
        ..testing::request(&headers)
    };
    let mut visit = Visit::of(&plan, request, Connection::Visitor, Map::new());
    visit.place = Some(Place {
        country: Some("DE".to_owned()),
        ..Place::default()
    });
    let claimed = ClaimedEvent {
        event: event().event,
        said: Said {
            signals: Resolved::said_by(Source::Gcd, Consent::of(world.said)),
            tcf: None,
        },
        has_own_id: false,
    };
    match pipeline::judge(&plan, claimed, &visit, &mut Steps::new(STEPS_PER_HIT)) {
        Fate::Judged(judged) => {
            let judged = *judged;
            Judged {
                record: judged.record.into_owned(),
                verdicts: judged.verdicts,
                held: judged.held,
                cookies: judged.cookies,
                consent: judged.consent,
                expression_errors: judged.expression_errors,
                duplicate_key: judged.duplicate_key,
                broken_rules: judged.broken_rules,
            }
        }
        Fate::Dropped(_) => panic!("it is dropped"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever hit, request, defaults and settings say: no event reaches a vendor's encoder without the consent that is
    /// required when it was accepted and when it is sent, unless it holds no identifier.
    #[test]
    fn no_event_goes_where_its_visitor_did_not_agree(world in world()) {
        let judged = judged(&world);
        let consent = judged.record.consent;
        if world.gpc {
            prop_assert_eq!((consent.ad_storage, consent.ad_user_data, consent.ad_personalization), (D, D, D));
        }
        if world.opts_out {
            prop_assert_eq!(consent.states(), [D; 4]);
        }
        for (place, state) in consent.states().into_iter().enumerate() {
            if state == G {
                // Somebody granted it, and nobody before them denied it.
                let by_tcf = world.tcf.and_then(crate::pipeline::consent::tcf::Tcf::decode).map(|tcf| tcf.consent().states()[place]);
                let voices = [Some(world.said[place]), by_tcf, Some(world.region[place]), Some(world.default[place])];
                prop_assert_eq!(voices.into_iter().flatten().find(|voice| *voice != U), Some(G));
            }
        }

        let agreed = |requires: &[Signal]| requires.iter().all(|signal| consent.state(*signal) == G);
        let meant = judged.verdicts == [(DestinationId(0), Verdict::Meant)];
        prop_assert_eq!(meant, agreed(&world.requires) || world.anonymize);
        if !meant {
            return Ok(());
        }

        let (form, witness) = form(&world.requires_later, world.anonymize_later);
        let packed = pack(&form, &[stored(&judged.record)], &circumstances());
        let seen = witness.0.lock().unwrap();
        prop_assert_eq!(seen.len() + packed.erased.len(), 1);
        prop_assert_eq!(seen.is_empty(), !agreed(&world.requires_later) && !world.anonymize_later);
        if let Some(record) = seen.first() && !agreed(&world.requires_later) {
            prop_assert!(!text(record).contains("SECRET"), "{}", text(record));
        }
    }
}
