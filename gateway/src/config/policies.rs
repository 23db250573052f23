//! From a container's spec to the settings of the pipeline's steps.

use std::{path::PathBuf, sync::Arc};

use tagfleet_crds::{
    TaggingContainerSpec,
    event_schema::EventSchema,
    tagging_container::{Bots, Geo, IpAddress, ValidationRule},
};

use super::{readable::Readable, transformations};

use crate::{
    deduplication::Limits,
    pipeline::{
        bots::BotPolicy,
        geo::{Database, GeoSource, Origin, PlaceHeaders},
        policies::Policies,
        privacy::IpAddressPolicy,
        validation::{Rule, TrackingPlan},
    },
};

/// Compiles what validation has let pass. `previous` is what was in force before: a database of places that is the same in
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
        ..Policies::default()
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
