//! `tagfleet-gateway`: see `cli`.

use std::process::ExitCode;

/// Many small texts of many threads: mimalloc frees what another thread made without a lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tagfleet_gateway::cli::run()
}
