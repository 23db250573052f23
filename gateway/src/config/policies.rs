//! From a container's spec to the settings of the pipeline's steps.

use tagfleet_crds::{
    TaggingContainerSpec,
    tagging_container::{Identity, IpAddress, Linker},
};

use super::{container::secrets, finding::Finding, objects::Object, world::World};
use crate::{
    pipeline::{identity::IdentityPolicy, policies::Policies, privacy::IpAddressPolicy},
    secret::Secrets,
};

/// A key of fewer characters could be guessed.
const MIN_LINKER_KEY: usize = 32;

/// Compiles what validation has let pass. None when a Secret is missing, which validation has told, or is of no use: that
/// goes into `findings`.
#[must_use]
pub fn compile(
    object: &Object,
    spec: &TaggingContainerSpec,
    world: &World,
    findings: &mut Vec<Finding>,
) -> Option<Policies> {
    let privacy = spec.effective_privacy();
    Some(Policies {
        identity: match &spec.identity {
            Some(given) => identity(object, given, world, findings)?,
            None => IdentityPolicy::default(),
        },
        ip_address: match privacy.ip_address {
            IpAddress::Keep => IpAddressPolicy::Keep,
            IpAddress::Truncate => IpAddressPolicy::Truncate,
            IpAddress::Remove => IpAddressPolicy::Remove,
        },
        ..Policies::default()
    })
}

fn identity(
    object: &Object,
    identity: &Identity,
    world: &World,
    findings: &mut Vec<Finding>,
) -> Option<IdentityPolicy> {
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
