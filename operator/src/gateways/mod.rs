//! What the gateways say of themselves: [`poll`] asks each pod's `/status`, [`answer`] reads the answers, and [`fleet`]
//! makes of a fleet's answers over time the [`FleetReport`] that status shows.
//!
//! Asking and answering never write anything. A report changes only when something changed that status shows, and its
//! figures at most every 30 s, so that nothing is written at rest.

pub mod answer;
pub mod figures;
pub mod fleet;
pub mod poll;
pub mod report;

pub use self::{
    poll::{Poller, Targets},
    report::{DeliveryState, DestinationReport, FleetReport, GatewayReport, Refusal},
};
