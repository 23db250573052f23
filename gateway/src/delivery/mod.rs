//! Delivery: one lane for each destination, isolated from all others.
//!
//! [`Supervisor`] starts and stops the lanes; a lane ([`lane`]) reads the log, packs batches, sends them, and settles how
//! each event ended. What is tried again and when is in [`retry`] and [`gate`]; what is given up lands in
//! [`dead_letters`].

pub mod addresses;
pub mod attempt;
pub mod client;
pub mod dead_letters;
pub mod gate;
pub mod grpc;
mod lane;
pub mod parcel;
pub mod retry;
mod supervisor;
pub mod tokens;
pub(crate) mod view;

use std::{path::PathBuf, sync::Arc};

pub use supervisor::Supervisor;

use crate::{erase::Erasures, log::SharedLog, metrics::Metrics, status::Board, traces::Tracer};

/// What delivery is made of.
#[derive(Clone)]
pub struct Parts {
    /// Where events come from.
    pub log: SharedLog,
    /// How requests are sent.
    pub transport: Arc<dyn client::Transport>,
    /// Where events go that no vendor takes.
    pub dead_letters: Arc<dead_letters::DeadLetters>,
    /// Whose events are not sent any more.
    pub erasures: Arc<Erasures>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where spans are recorded of requests whose events are traced.
    pub tracer: Tracer,
    /// What `/status` shows.
    pub board: Arc<Board>,
    /// Where it is noted which destinations were deleted when (`--data-dir`); without it they are kept 24 h from the
    /// start.
    pub state_dir: Option<PathBuf>,
    /// The wall clock, unix milliseconds.
    pub now_ms: fn() -> i64,
}

#[cfg(test)]
mod tests;
