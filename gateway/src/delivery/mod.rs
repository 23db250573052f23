//! Delivery: one reader for each destination, isolated from all others.

pub mod tokens;
