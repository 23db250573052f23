//! `tagfleet-operator`: see `cli`.

/// The same allocator as the gateway's: many small texts, freed by other threads than made them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {}
