//! The operator: it turns a TaggingContainer and the Destinations that refer to it into a fleet of gateways.
//!
//! The loop of one container reads as five steps, each a module:
//! [`dereference`] (client: gathers what the specification points to) → [`validate`] (pure: what of it is in force) →
//! [`build`] (pure: the children) → [`apply`] (client: the only place that writes children) → [`status`] (pure: what is
//! to be told, from what the API server returned). [`controller`] wires them to the streams of [`watch`].

pub mod admin;
pub mod apply;
pub mod build;
pub mod child;
pub mod cli;
pub mod events;
pub mod fleet;
pub mod gateways;
pub mod leader;
pub mod logging;
pub mod metrics;
pub mod observed;
pub mod readiness;
pub mod rollout;
pub mod run;
pub mod served_crds;
pub mod status;
pub mod verdict;
