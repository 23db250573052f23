//! The pipeline: from a client's events to records with a verdict for each destination. One file for each step, each a
//! pure function of event and plan, called here in order.

pub mod lookup;
pub mod privacy;
