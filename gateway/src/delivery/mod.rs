//! Delivery: one reader for each destination, isolated from all others.

pub mod addresses;
pub mod client;
pub mod dead_letters;
pub mod gate;
pub mod retry;
pub mod tokens;
