//! Which containers claim which hostname. The oldest owns it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{PoisonError, RwLock},
};

use tagfleet_crds::{TaggingContainer, validate::NamespacedName};

/// A claim. The order is that of precedence: the older first, then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    /// When the container was made, unix seconds.
    created: i64,
    container: NamespacedName,
}

/// The claims on all hostnames.
#[derive(Debug, Default)]
pub struct Hostnames {
    claims: RwLock<Claims>,
}

#[derive(Debug, Default)]
struct Claims {
    by_hostname: BTreeMap<String, BTreeSet<Claim>>,
    by_container: BTreeMap<NamespacedName, (Claim, BTreeSet<String>)>,
}

impl Hostnames {
    /// Notes the hostnames of a container. Gives the other containers that claim one of those that it claims or has
    /// claimed: who owns it may have changed for them.
    pub fn set(&self, name: &NamespacedName, container: &TaggingContainer) -> BTreeSet<NamespacedName> {
        let created = container.metadata.creation_timestamp.as_ref();
        let claim = Claim {
            created: created.map_or(i64::MAX, |time| time.0.as_second()),
            container: name.clone(),
        };
        let hostnames = container.spec.hostnames.iter().map(|name| name.to_ascii_lowercase());
        self.claims
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .set(claim, hostnames.collect())
    }

    /// Forgets a container. Gives the other containers that claim one of its hostnames.
    pub fn remove(&self, name: &NamespacedName) -> BTreeSet<NamespacedName> {
        self.claims.write().unwrap_or_else(PoisonError::into_inner).remove(name)
    }

    /// The older container that owns a hostname which this one claims.
    #[must_use]
    pub fn rival(&self, name: &NamespacedName, hostname: &str) -> Option<NamespacedName> {
        let claims = self.claims.read().unwrap_or_else(PoisonError::into_inner);
        let first = claims.by_hostname.get(&hostname.to_ascii_lowercase())?.first()?;
        (first.container != *name).then(|| first.container.clone())
    }
}

impl Claims {
    fn set(&mut self, claim: Claim, hostnames: BTreeSet<String>) -> BTreeSet<NamespacedName> {
        let mut rivals = self.remove(&claim.container);
        for hostname in &hostnames {
            let claims = self.by_hostname.entry(hostname.clone()).or_default();
            rivals.extend(claims.iter().map(|other| other.container.clone()));
            claims.insert(claim.clone());
        }
        if !hostnames.is_empty() {
            self.by_container.insert(claim.container.clone(), (claim, hostnames));
        }
        rivals
    }

    fn remove(&mut self, name: &NamespacedName) -> BTreeSet<NamespacedName> {
        let mut rivals = BTreeSet::new();
        let Some((claim, hostnames)) = self.by_container.remove(name) else {
            return rivals;
        };
        for hostname in hostnames {
            if let Some(claims) = self.by_hostname.get_mut(&hostname) {
                claims.remove(&claim);
                rivals.extend(claims.iter().map(|other| other.container.clone()));
                if claims.is_empty() {
                    self.by_hostname.remove(&hostname);
                }
            }
        }
        rivals
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn container(created: i64, hostnames: &[&str]) -> TaggingContainer {
        let mut container = TaggingContainer::new("shop", tagfleet_crds::TaggingContainerSpec::default());
        container.metadata.creation_timestamp = jiff::Timestamp::from_second(created).ok().map(Time);
        container.spec.hostnames = hostnames.iter().map(|&name| name.to_owned()).collect();
        container
    }

    fn name(name: &str) -> NamespacedName {
        NamespacedName::new("shops", name)
    }

    #[test]
    fn the_older_container_owns_a_hostname_whichever_is_seen_first() {
        let hostnames = Hostnames::default();
        assert!(
            hostnames
                .set(&name("new"), &container(200, &["a.example", "b.example"]))
                .is_empty()
        );
        assert_eq!(hostnames.rival(&name("new"), "a.example"), None);
        let woken = hostnames.set(&name("old"), &container(100, &["A.example"]));
        assert_eq!(woken, BTreeSet::from([name("new")]));
        assert_eq!(hostnames.rival(&name("new"), "a.example"), Some(name("old")));
        assert_eq!(hostnames.rival(&name("new"), "b.example"), None);
        assert_eq!(hostnames.rival(&name("old"), "a.example"), None);
    }

    #[test]
    fn a_hostname_that_is_given_up_wakes_who_waits_for_it() {
        let hostnames = Hostnames::default();
        hostnames.set(&name("old"), &container(100, &["a.example"]));
        hostnames.set(&name("new"), &container(200, &["a.example"]));
        assert_eq!(
            hostnames.set(&name("old"), &container(100, &["c.example"])),
            BTreeSet::from([name("new")])
        );
        assert_eq!(hostnames.rival(&name("new"), "a.example"), None);
        hostnames.set(&name("old"), &container(100, &["a.example"]));
        assert_eq!(hostnames.remove(&name("old")), BTreeSet::from([name("new")]));
        assert_eq!(hostnames.rival(&name("new"), "a.example"), None);
    }

    #[test]
    fn two_of_one_age_go_by_name() {
        let hostnames = Hostnames::default();
        hostnames.set(&name("b"), &container(100, &["a.example"]));
        hostnames.set(&name("a"), &container(100, &["a.example"]));
        assert_eq!(hostnames.rival(&name("b"), "a.example"), Some(name("a")));
    }
}
