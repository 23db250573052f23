//! The operator: it turns a TaggingContainer and the Destinations that refer to it into a fleet of gateways.
//!
//! The loop of one container ([`reconcile`]) reads as five steps, each a module:
//! [`dereference`] (client: gathers what the specification points to) → [`validate`] (pure: what of it is in force) →
//! [`build`] (pure: the children) → [`apply`] (client: the only place that writes) → [`status`] (pure: what is to be told,
//! from what the API server returned). The loop of a Destination ([`destination`]) has only the last. [`controller`] runs
//! both on what [`watch`] tells.

pub mod cli;
pub mod run;
pub mod work;

pub mod controller;
pub mod reconcile;

pub mod dereference;

pub mod validate;

pub mod build;

pub mod apply;

pub mod status;

pub mod destination;

pub mod watch;

pub mod wake;

pub mod gateways;

pub mod rollout;
pub mod rollouts;

pub mod events;

pub mod child;
pub mod context;
pub mod fleet;
pub mod fleets;
pub mod last_good;
pub mod observed;
pub mod verdict;

pub mod admin;
pub mod api_server;
pub mod backoff;
pub mod leader;
pub mod logging;
pub mod metrics;
pub mod readiness;
pub mod served_crds;
