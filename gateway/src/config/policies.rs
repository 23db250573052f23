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
