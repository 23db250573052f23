//! The configuration: from manifests to a plan.
