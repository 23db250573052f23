//! The gateway: Tagfleet's tagging server. docs/architecture.md has the drawing; the modules stand here in the order in
//! which an event passes them.

pub mod ingest;

pub mod event;

pub mod pipeline;

pub mod activation;

pub mod record;

pub mod deduplication;

pub mod log;

pub mod delivery;

pub mod erase;

pub mod destinations;

pub mod config;
pub mod plan;

pub mod admin;
pub mod clock;
pub mod metrics;
pub mod status;
pub mod traces;

pub mod hashing;
pub mod hold;
pub mod name_patterns;
pub mod secret;

pub mod cli;
pub mod serve;
pub mod simulate;
pub mod test_runner;

#[cfg(test)]
mod testing;
