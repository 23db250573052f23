//! What every process of Tagfleet has: its log, the signals that end it, its metrics, and its admin listener. Gateway and
//! operator share it.

pub mod admin;
pub mod logging;
pub mod metrics;
pub mod stop;
