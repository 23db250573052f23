//! What the operator decides about objects before it makes anything of them.

use std::collections::BTreeMap;

/// A decision with its reason, as it will stand in a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is so.
    pub holds: bool,
    /// One CamelCase word: one of [`tagfleet_crds::conditions::reasons`].
    pub reason: &'static str,
    /// A sentence for a person: what, where, and how to put it right. Holds no secret.
    pub message: String,
}

impl Verdict {
    /// It is so.
    #[must_use]
    pub fn yes(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            holds: true,
            reason,
            message: message.into(),
        }
    }

    /// It is not so.
    #[must_use]
    pub fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            holds: false,
            reason,
            message: message.into(),
        }
    }
}

/// The verdict on one Destination in one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationVerdict {
    /// The generation of the Destination that was looked at.
    pub generation: i64,
    /// The generation that is in force: an older one where the newest is broken, none where none ever was good.
    pub in_force: Option<i64>,
    /// `Accepted`.
    pub accepted: Verdict,
    /// `CredentialsResolved`, as far as the API server's objects say. Whether they have arrived the gateways know.
    pub credentials: Verdict,
}

impl Verdicts {
    /// Whether nothing stays at an older form, or out.
    #[must_use]
    pub fn are_all_accepted(&self) -> bool {
        self.accepted.holds && self.destinations.values().all(|verdict| verdict.accepted.holds)
    }
}

/// The verdicts on a container and on the Destinations that refer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdicts {
    /// The generation of the container that was looked at.
    pub generation: i64,
    /// The generation that is in force; none where none ever was good, and no fleet stands.
    pub in_force: Option<i64>,
    /// `Accepted`.
    pub accepted: Verdict,
    /// The Destinations, by name.
    pub destinations: BTreeMap<String, DestinationVerdict>,
}
