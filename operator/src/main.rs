//! `tagfleet-operator`: see `cli`.

use std::process::ExitCode;

/// The same allocator as the gateway's: many small texts, freed by other threads than made them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tagfleet_operator::cli::run()
}
