//! `tagfleet-gateway`.

fn main() {}
