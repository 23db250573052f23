//! From a container's spec to the settings of the pipeline's steps.

use tagfleet_crds::{TaggingContainerSpec, tagging_container::IpAddress};

use crate::{
    deduplication::Limits,
    pipeline::{policies::Policies, privacy::IpAddressPolicy},
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
        ..Policies::default()
    }
}
