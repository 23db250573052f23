//! From a container's spec to the settings of the pipeline's steps.

use tagfleet_crds::{
    TaggingContainerSpec,
    event_schema::EventSchema,
    tagging_container::{IpAddress, ValidationRule},
};

use crate::{
    deduplication::Limits,
    pipeline::{
        policies::Policies,
        privacy::IpAddressPolicy,
        validation::{Rule, TrackingPlan},
    },
};

/// Compiles what validation has let pass.
#[must_use]
pub fn compile(spec: &TaggingContainerSpec) -> Policies {
    let privacy = spec.effective_privacy();
    Policies {
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
        ..Policies::default()
    }
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
    use serde_json::json;

    use super::*;

    fn policies(spec: serde_json::Value) -> Policies {
        compile(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn deduplication_is_off_unless_it_is_written_and_no_window_is_cut_short() {
        assert_eq!(policies(json!({})).deduplication, None);
        let limits = |deduplication| policies(json!({"deduplication": deduplication})).deduplication.unwrap();
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
        let plan = policies(json!({"validation": [{"schema": {"required": ["value"]}}]})).tracking_plan;
        let event = crate::testing::record(json!({"event_name": "purchase"})).event;
        assert_eq!(
            plan.check(&event).unwrap().consequence,
            tagfleet_crds::tagging_container::OnInvalid::Mark
        );
    }
}
