//! What a configuration is held to, by where it is used.

use tagfleet_crds::{
    conditions::reasons,
    validate::{self, Setting},
};

use crate::delivery::addresses::AddressPolicy;

/// What is not there yet in a pod: the operator writes it, and kubelet brings it.
const NOT_MOUNTED: &str = "what this refers to is not mounted in this pod yet; it is taken up when it is, within 2 minutes of the operator's \
     writing it";

/// What a configuration is held to.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Where the objects come from.
    pub setting: Setting,
    /// Where destinations may lead.
    pub addresses: AddressPolicy,
}

impl Rules {
    /// Of files, checked or served: any target.
    #[must_use]
    pub const fn of_files(setting: Setting) -> Self {
        Self {
            setting,
            addresses: AddressPolicy::AllowAll,
        }
    }

    /// Of a cluster.
    #[must_use]
    pub const fn of_cluster(addresses: AddressPolicy) -> Self {
        Self {
            setting: Setting::Cluster,
            addresses,
        }
    }

    /// Whether objects come from the API server, and what they refer to by mounted folders, later or earlier than they.
    #[must_use]
    pub fn in_cluster(&self) -> bool {
        self.setting == Setting::Cluster
    }

    /// What validation found, as a gateway sees it. In a cluster it has only its own container, and of Secrets and
    /// ConfigMaps only what is mounted: the operator has judged the rest.
    #[must_use]
    pub fn seen(&self, found: Vec<validate::Finding>) -> Vec<validate::Finding> {
        if !self.in_cluster() {
            return found;
        }
        let mut seen = Vec::with_capacity(found.len());
        for mut finding in found {
            match finding.reason {
                reasons::CONTAINER_NOT_FOUND => continue,
                reasons::SECRET_NOT_FOUND
                | reasons::SECRET_KEY_NOT_FOUND
                | reasons::CONFIG_MAP_NOT_FOUND
                | reasons::CONFIG_MAP_KEY_NOT_FOUND => {
                    finding.reason = reasons::PROPAGATING;
                    NOT_MOUNTED.clone_into(&mut finding.message);
                    // A destination without its credential is in force and waits.
                    if finding.object.kind == validate::Kind::Destination {
                        finding.severity = validate::Severity::Warning;
                    }
                }
                _ => {}
            }
            seen.push(finding);
        }
        seen
    }

    /// What is wrong with a destination's target, told before anything is sent there.
    #[must_use]
    pub fn mistake_in_target(&self, target: &str) -> Option<&'static str> {
        // What is no URL, validation has told.
        let url = target.parse().ok()?;
        if !self.addresses.allows_host_of(&url) {
            return Some(
                "is a private, loopback, link-local or shared address, which destinations may not reach; the operator's \
                 --allowed-private-destinations allows ranges",
            );
        }
        (!self.addresses.allows_scheme_of(&url)).then_some(
            "must begin with https:// in a cluster; http:// is for addresses, not names, in the ranges of the \
             operator's --allowed-private-destinations",
        )
    }
}
