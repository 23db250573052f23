//! What a destination would be sent that its `receives` does not allow.

use std::collections::{BTreeMap, BTreeSet};

use super::{Pair, Through, classes};

/// Parameters of one class that would go to a destination which must not receive them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// The class.
    pub class: String,
    /// By which way, unless it is the vendor's own mapping.
    pub through: Option<Through>,
    /// The parameters, in order.
    pub parameters: BTreeSet<String>,
}

/// Every leak of a destination; none when `receives` is not set.
#[must_use]
pub fn leaks(pair: Pair<'_>) -> Vec<Leak> {
    let Some(receives) = &pair.destination.receives else {
        return Vec::new();
    };
    let classes = classes(&pair.container.effective_privacy());
    let barred: Vec<_> = classes.iter().filter(|class| !receives.contains(&class.name)).collect();
    let mut leaks: BTreeMap<(String, Option<Through>), BTreeSet<String>> = BTreeMap::new();
    for flow in pair.flows() {
        for class in &barred {
            let met = class.parameters.iter().filter_map(|member| flow.part.meet(member));
            let paths: BTreeSet<String> = met.map(|part| part.path).collect();
            if !paths.is_empty() {
                let key = (class.name.clone(), flow.through.clone());
                leaks.entry(key).or_default().extend(paths);
            }
        }
    }
    let leaks = leaks.into_iter();
    leaks
        .map(|((class, through), parameters)| Leak {
            class,
            through,
            parameters,
        })
        .collect()
}
