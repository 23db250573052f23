//! The labels of children and pods.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::child::{INSTANCE, MANAGED_BY, NAME};

/// Labels, or what selects by them.
pub(super) type Labels = BTreeMap<String, String>;

/// The labels of every child and pod of a container.
pub(super) fn own(container: &str) -> Labels {
    let mut labels = selecting(container);
    labels.extend(owned([
        ("app.kubernetes.io/component", "gateway"),
        ("app.kubernetes.io/part-of", "tagfleet"),
        MANAGED_BY,
    ]));
    labels
}

/// Other labels and the own, which win: a label of someone else's choice never breaks a selector.
pub(super) fn beside(others: &Labels, container: &str) -> Labels {
    let mut labels = others.clone();
    labels.extend(own(container));
    labels
}

/// The labels by which the pods of a container are selected. A workload's selector cannot be changed, so neither can these.
pub(super) fn selecting(container: &str) -> Labels {
    owned([NAME, (INSTANCE, container)]).collect()
}

/// What selects the pods of a container.
pub(super) fn selector(container: &str) -> LabelSelector {
    matching(selecting(container))
}

/// What selects by all of these labels.
pub(super) fn matching(labels: Labels) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        ..LabelSelector::default()
    }
}

fn owned<'l, const N: usize>(labels: [(&'l str, &'l str); N]) -> impl Iterator<Item = (String, String)> {
    labels
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
}
