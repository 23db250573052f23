//! From a container's spec to the settings of the pipeline's steps.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use tagfleet_crds::{
    TaggingContainerSpec,
    event_schema::EventSchema,
    tagging_container::{Bots, ConsentRegion, ConsentSignals, ConsentState, Geo, IpAddress, Linker, ValidationRule},
};

use super::{container::secrets, finding::Finding, objects::Object, readable::Readable, transformations, world::World};
use crate::{
    deduplication::Limits,
    pipeline::{
        bots::BotPolicy,
        consent::{ConsentPolicy, CountryDefaults, HoldPolicy},
        geo::{Database, GeoSource, Origin, PlaceHeaders},
        identity::IdentityPolicy,
        policies::Policies,
        privacy::IpAddressPolicy,
        validation::{Rule, TrackingPlan},
    },
    record::{Consent, ConsentSignal},
    secret::Secrets,
};

/// A key of fewer characters could be guessed.
const MIN_LINKER_KEY: usize = 32;

/// Compiles what validation has let pass, but for `identity`. `previous` is what was in force before: a database of places that is the same in
/// both is loaded already.
#[must_use]
pub fn compile(spec: &TaggingContainerSpec, readable: &Readable, previous: Option<&Policies>) -> Policies {
    let privacy = spec.effective_privacy();
    let enrich = spec.enrich.clone().unwrap_or_default();
    Policies {
        bots: match privacy.bots {
            Bots::Keep => BotPolicy::Keep,
            Bots::Mark => BotPolicy::Mark,
            Bots::Drop => BotPolicy::Drop,
        },
        geo: enrich.geo.as_ref().and_then(|geo| geo_source(geo, previous)),
        device: enrich.device,
        ip_address: match privacy.ip_address {
            IpAddress::Keep => IpAddressPolicy::Keep,
            IpAddress::Truncate => IpAddressPolicy::Truncate,
            IpAddress::Remove => IpAddressPolicy::Remove,
        },
        deduplication: spec.deduplication.as_ref().map(|wanted| Limits {
            window_s: u32::try_from(wanted.window.get().as_millis().div_ceil(1_000)).unwrap_or(u32::MAX),
            max_entries: wanted.max_entries,
        }),
        tracking_plan: tracking_plan(&spec.validation),
        transformations: transformations::for_all(&spec.transformations, readable),
        consent: consent(spec),
        ..Policies::default()
    }
}

/// `identity`. None when the linker's Secret is missing, which validation has told, or is of no use: that goes into
/// `findings`.
#[must_use]
pub fn identity(
    object: &Object,
    spec: &TaggingContainerSpec,
    world: &World,
    findings: &mut Vec<Finding>,
) -> Option<IdentityPolicy> {
    let Some(identity) = &spec.identity else {
        return Some(IdentityPolicy::default());
    };
    let key = match &identity.linker {
        Some(linker) => Some(linker_key(object, linker, world, findings)?),
        None => None,
    };
    Some(IdentityPolicy::new(identity, key.as_ref()))
}

fn linker_key(object: &Object, linker: &Linker, world: &World, findings: &mut Vec<Finding>) -> Option<Secrets> {
    let key = secrets(object, &linker.key, world)?;
    if key.iter().all(|key| key.expose().chars().count() >= MIN_LINKER_KEY) {
        return Some(key);
    }
    let message =
        format!("this key has fewer than {MIN_LINKER_KEY} characters: whoever guesses it could pose as any visitor");
    findings.push(object.error("spec.identity.linker.key.secretKeyRef", message));
    None
}

/// `consent`, and the cookie that opts out.
#[must_use]
pub fn consent(spec: &TaggingContainerSpec) -> ConsentPolicy {
    let stated = spec.consent.clone().unwrap_or_default();
    ConsentPolicy {
        default: signals(stated.default.unwrap_or_default()),
        regions: regions(&stated.regions),
        hold: stated.hold.map(|hold| HoldPolicy {
            max_age: hold.max_age.into(),
            max_events: usize::try_from(hold.max_events).unwrap_or(usize::MAX),
        }),
        opt_out_cookie: spec
            .identity
            .as_ref()
            .and_then(|identity| identity.opt_out_cookie.as_deref())
            .map(Box::from),
    }
}

/// The regions by country. Of one that is listed twice, which validation refuses, the last counts.
fn regions(stated: &[ConsentRegion]) -> HashMap<Box<str>, CountryDefaults> {
    let mut countries: HashMap<Box<str>, CountryDefaults> = HashMap::new();
    for region in stated {
        let defaults = signals(region.default);
        for code in &region.region {
            let (country, part) = match code.split_once('-') {
                Some((country, part)) => (country, Some(part)),
                None => (code.as_str(), None),
            };
            let country = countries.entry(country.into()).or_default();
            match part {
                Some(part) => drop(country.parts.insert(part.into(), defaults)),
                None => country.whole = Some(defaults),
            }
        }
    }
    countries
}

fn signals(stated: ConsentSignals) -> Consent {
    let state = |state: Option<ConsentState>| match state {
        Some(ConsentState::Granted) => ConsentSignal::Granted,
        Some(ConsentState::Denied) => ConsentSignal::Denied,
        None => ConsentSignal::Unset,
    };
    Consent {
        ad_storage: state(stated.ad_storage),
        analytics_storage: state(stated.analytics_storage),
        ad_user_data: state(stated.ad_user_data),
        ad_personalization: state(stated.ad_personalization),
    }
}

fn geo_source(geo: &Geo, previous: Option<&Policies>) -> Option<Arc<GeoSource>> {
    if let Some(headers) = &geo.headers {
        let name = |name: &String| name.parse().ok();
        return Some(Arc::new(GeoSource::Headers(PlaceHeaders {
            country: name(&headers.country)?,
            region: headers.region.as_ref().and_then(name),
            city: headers.city.as_ref().and_then(name),
        })));
    }
    let origin = match (&geo.file, &geo.url) {
        (Some(file), _) => Origin::File(PathBuf::from(file)),
        (None, Some(url)) => Origin::Url {
            url: url.parse().ok()?,
            refresh: geo.effective_refresh_interval().into(),
        },
        (None, None) => return None,
    };
    let loaded = previous.and_then(|previous| previous.geo.as_ref());
    let same =
        loaded.filter(|loaded| matches!(&***loaded, GeoSource::Database(database) if *database.origin() == origin));
    let source = same.cloned();
    Some(source.unwrap_or_else(|| Arc::new(GeoSource::Database(Database::new(origin)))))
}

/// The rules, each at its place. Validation has refused those that do not compile.
fn tracking_plan(rules: &[ValidationRule]) -> TrackingPlan {
    let compiled = rules.iter().filter_map(|rule| {
        Some(Rule {
            events: rule.events.clone(),
            schema: EventSchema::compile(&rule.schema).ok()?,
            on_invalid: rule.effective_on_invalid(),
        })
    });
    TrackingPlan::new(compiled.collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn compiled(spec: Value, previous: Option<&Policies>) -> Policies {
        compile(&serde_json::from_value(spec).unwrap(), &Readable::default(), previous)
    }

    #[test]
    fn bots_are_marked_unless_the_container_says_otherwise() {
        assert_eq!(compiled(json!({}), None).bots, BotPolicy::Mark);
        assert_eq!(compiled(json!({"privacy": {}}), None).bots, BotPolicy::Mark);
        assert_eq!(
            compiled(json!({"privacy": {"bots": "Keep"}}), None).bots,
            BotPolicy::Keep
        );
        assert_eq!(
            compiled(json!({"privacy": {"bots": "Drop"}}), None).bots,
            BotPolicy::Drop
        );
    }

    #[test]
    fn a_database_that_did_not_change_stays_loaded() {
        let with = |path: &str, previous| compiled(json!({"enrich": {"geo": {"file": path}}}), previous);
        let first = with("/geo/city.mmdb", None);
        let again = with("/geo/city.mmdb", Some(&first));
        let other = with("/geo/country.mmdb", Some(&first));
        let geo = |policies: &Policies| policies.geo.clone().unwrap();
        assert!(Arc::ptr_eq(&geo(&first), &geo(&again)));
        assert!(!Arc::ptr_eq(&geo(&first), &geo(&other)));
        assert!(compiled(json!({}), Some(&first)).geo.is_none());
    }

    #[test]
    fn deduplication_is_off_unless_it_is_written_and_no_window_is_cut_short() {
        assert_eq!(compiled(json!({}), None).deduplication, None);
        let limits = |deduplication| {
            compiled(json!({"deduplication": deduplication}), None)
                .deduplication
                .unwrap()
        };
        let usual = Limits {
            window_s: 48 * 3600,
            max_entries: 1_000_000,
        };
        assert_eq!(limits(json!({})), usual);
        let own = Limits {
            window_s: 2,
            max_entries: 7,
        };
        assert_eq!(limits(json!({"window": "1500ms", "maxEntries": 7})), own);
    }

    #[test]
    fn a_rule_marks_unless_it_says_otherwise() {
        let plan = compiled(json!({"validation": [{"schema": {"required": ["value"]}}]}), None).tracking_plan;
        let event = crate::testing::record(json!({"event_name": "purchase"})).event;
        assert_eq!(
            plan.check(&event).unwrap().consequence,
            tagfleet_crds::tagging_container::OnInvalid::Mark
        );
    }
}
