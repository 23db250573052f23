//! Which fleets stand, for those who look at them from outside of their loops: the poller, and who decides on rollouts.

use std::sync::Arc;

use tagfleet_crds::validate::NamespacedName;

use crate::{
    context::Memories,
    gateways::{Targets, fleet::Target},
    status,
    watch::Watches,
};

/// The fleets that stand.
pub struct Fleets {
    watches: Arc<Watches>,
    memories: Arc<Memories>,
}

impl Fleets {
    /// The fleets by what the loops remember, with the pods that the watches know.
    #[must_use]
    pub const fn new(watches: Arc<Watches>, memories: Arc<Memories>) -> Self {
        Self { watches, memories }
    }
}

impl Targets for Fleets {
    fn fleets(&self) -> Vec<NamespacedName> {
        self.memories.standing()
    }

    fn target(&self, fleet: &NamespacedName) -> Option<Target> {
        let verdicts = self.memories.verdicts(fleet)?;
        verdicts.in_force?;
        Some(Target {
            pods: self.watches.pods.of(fleet),
            wanted: status::wanted(&fleet.name, &verdicts),
        })
    }
}
