//! From a container's spec to the settings of the pipeline's steps.

use tagfleet_crds::{TaggingContainerSpec, tagging_container::IpAddress};

use super::{readable::Readable, transformations};
use crate::pipeline::{policies::Policies, privacy::IpAddressPolicy};

/// Compiles what validation has let pass.
#[must_use]
pub fn compile(spec: &TaggingContainerSpec, readable: &Readable) -> Policies {
    let privacy = spec.effective_privacy();
    Policies {
        ip_address: match privacy.ip_address {
            IpAddress::Keep => IpAddressPolicy::Keep,
            IpAddress::Truncate => IpAddressPolicy::Truncate,
            IpAddress::Remove => IpAddressPolicy::Remove,
        },
        transformations: transformations::for_all(&spec.transformations, readable),
        ..Policies::default()
    }
}
