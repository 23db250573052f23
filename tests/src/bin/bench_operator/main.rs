//! `make bench-operator`: the operator with many containers, on real control planes, beside a bare client that writes the
//! same objects in the same run.
//!
//! Every size has a control plane of its own: etcd, API server, controllers and scheduler, without nodes, so that pods stay
//! pending. All of it shares this machine with the operator: judge the ratio to the bare client, not the seconds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod floor;
mod objects;
mod page;
mod pairs;
mod size;

use std::{fs, path::PathBuf};

use clap::Parser;
use tagfleet_tests::{process, section};

/// Destinations of each container.
const DESTINATIONS: usize = 10;

#[derive(Clone, Parser)]
#[command(
    name = "scripts/bench-operator",
    about = "Measures the operator and writes its part of docs/benchmarks.md"
)]
struct Settings {
    /// Numbers of containers, from the least on. With the first one everything is measured.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 500, 1_000])]
    sizes: Vec<usize>,
    /// How many seconds the rest is watched at the first size; at the others 20 at most.
    #[arg(long, default_value_t = 300)]
    rest: u64,
    /// Edits of which each is timed.
    #[arg(long, default_value_t = 100)]
    edits: usize,
    /// Secrets, and as many ConfigMaps, that concern nobody.
    #[arg(long, default_value_t = 10_000)]
    foreign: usize,
    /// Gateways' pairs of watches.
    #[arg(long, default_value_t = 1_000)]
    pairs: usize,
    /// Where to write; default: docs/benchmarks.md.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Is those watches (started by this program itself): namespace/container.
    #[arg(long, hide = true)]
    be_pairs: Option<String>,
}

fn main() {
    let settings = Settings::parse();
    if let Some(container) = &settings.be_pairs {
        return pairs::watch(container, settings.pairs);
    }
    let load_before = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut extras = None;
    let mut results = Vec::new();
    for (index, count) in settings.sizes.iter().enumerate() {
        println!("{count} containers with {DESTINATIONS} Destinations each:");
        let (result, more) = size::measure(&settings, *count, index == 0);
        results.push(result);
        extras = extras.or(more);
    }
    let part = page::write(&settings, &load_before, &results, extras.as_ref());
    let out = settings
        .out
        .unwrap_or_else(|| process::repository().join("docs/benchmarks.md"));
    let before = fs::read_to_string(&out).unwrap_or_default();
    fs::write(&out, section::put_operator(&before, &part)).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
    println!("written to {}", out.display());
}
