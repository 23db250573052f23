//! `make bench`: the gateway beside nginx's `return 204`, on this machine, in one run.
//!
//! The server under measurement has core 0 for itself; load and receivers have core 1 (scripts/bench starts this program
//! there, and what it starts stays there). Every run of the gateway stands beside a run of nginx just before it, so that
//! a machine that is shared with others changes both: judge the ratios, not the rates.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod page;
mod privacy;
mod server;

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use tagfleet_tests::{
    load::{Latency, Load, Report},
    ports, process, section,
    sink::Sink,
    wait,
};

use crate::{
    page::{count, median, megabytes},
    server::{Kind, Server},
};

/// The gateway's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "scripts/bench",
    about = "Measures the gateway against nginx and writes docs/benchmarks.md"
)]
struct Settings {
    /// How often each pair is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each measurement takes.
    #[arg(long, default_value_t = 6)]
    seconds: u32,
    /// Connections, each with one hit under way; with few, what is measured is how long a sync takes.
    #[arg(long, default_value_t = 128)]
    connections: u32,
    /// Only what privacy costs; printed, and written nowhere.
    #[arg(long)]
    privacy: bool,
    /// Where to write; default: docs/benchmarks.md.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// One measurement.
struct Run {
    report: Report,
    us_per_hit: f64,
}

impl Settings {
    fn load(&self, server: &Server, arguments: &[&str]) -> Run {
        let dir = tempfile::tempdir().expect("a folder for the report");
        let (connections, seconds) = (self.connections.to_string(), self.seconds.to_string());
        let fixed = ["--connections", &connections, "--duration", &seconds, "--precise"];
        let all: Vec<&str> = fixed.into_iter().chain(arguments.iter().copied()).collect();
        let before = server.cpu();
        let report = Load::start(server.address(), dir.path(), &all).finish(Duration::from_secs(120));
        let used = server.cpu().saturating_sub(before);
        let us_per_hit = used.as_secs_f64() * 1e6 / count(report.acknowledged.max(1));
        if !report.errors.is_empty() {
            println!("    not acknowledged: {:?}", report.errors);
        }
        Run { report, us_per_hit }
    }

    /// A fresh server, warmed up, at full speed.
    fn throughput(&self, kind: Kind) -> Run {
        let server = Server::start(kind);
        let run = self.load(&server, &["--max"]);
        println!(
            "  {:<26} {:>7.0} hits/s {:>6.1} us of CPU a hit",
            kind.name(),
            run.report.rate,
            run.us_per_hit
        );
        run
    }

    /// The gateway at full speed with these lines of the container's `spec` and these hits.
    fn with(&self, kind: Kind, spec: &str, hits: Hits) -> Run {
        let nobody = format!("http://{}/", ports::free());
        let delivery = "  delivery: {retry: {initialBackoff: 60s}}";
        let server = Server::gateway_with(kind, spec, &[nobody], delivery);
        self.load(&server, hits.arguments())
    }

    /// What privacy costs: each step by itself, and all of them at full speed.
    fn privacy(&self) -> Privacy {
        println!("Privacy:");
        let steps = privacy::steps(self.rounds);
        let measured = [Kind::Memory, Kind::Disk].map(|kind| Hits::ALL.map(|hits| (kind, hits)));
        let everything = measured.concat().into_iter().map(|(kind, hits)| {
            let pair = || Everything {
                without: self.with(kind, privacy::NOTHING, hits),
                with: self.with(kind, privacy::ALL, hits),
            };
            let pairs = (0..self.rounds).map(|_| pair()).inspect(|pair| {
                println!(
                    "  {:<24} {:<16} {:>7.0} hits/s, {:.1} us of CPU a hit without any; {:.0} hits/s, {:.1} us with all: {:.2}",
                    kind.name(),
                    hits.name(),
                    pair.without.report.rate,
                    pair.without.us_per_hit,
                    pair.with.report.rate,
                    pair.with.us_per_hit,
                    pair.kept()
                );
            });
            (kind, hits, pairs.collect())
        });
        Privacy {
            steps,
            everything: everything.collect(),
        }
    }

    /// A fresh server at a fixed rate.
    fn latency(&self, kind: Kind, rate: u32) -> Latency {
        let server = Server::start(kind);
        let run = self.load(&server, &["--rate", &rate.to_string()]);
        let latency = run.report.latency_ms;
        println!(
            "  {:<26} at {rate}/s: p50 {:.2} p99 {:.2} p99.9 {:.2} ms",
            kind.name(),
            latency.p50,
            latency.p99,
            latency.p99_9
        );
        latency
    }

    /// The gateway at full speed with destinations that take everything: acknowledged events a second, counted until the
    /// last of them was delivered everywhere.
    fn delivered(&self, destinations: usize) -> Delivered {
        let sinks: Vec<Sink> = (0..destinations).map(|_| Sink::counting()).collect();
        let urls: Vec<String> = sinks.iter().map(|sink| format!("{}/hook", sink.url())).collect();
        let delivery = "  delivery: {batch: {maxEvents: 500, maxDelay: 200ms}}";
        let server = Server::gateway(Kind::Disk, &urls, delivery);
        let (start, start_ms) = (Instant::now(), now_ms());
        let before = server.cpu();
        let run = self.load(&server, &["--max"]);
        let accepted = run.report.acknowledged;
        wait::until_true("everything is delivered", Duration::from_secs(120), || {
            sinks.iter().all(|sink| sink.stats().events >= accepted)
        });
        let used = server.cpu().saturating_sub(before);
        let last_ms = sinks
            .iter()
            .map(|sink| sink.stats().last_event_ms)
            .max()
            .unwrap_or(start_ms);
        let seconds = Duration::from_millis(last_ms.saturating_sub(start_ms))
            .as_secs_f64()
            .min(start.elapsed().as_secs_f64());
        let delivered = Delivered {
            rate: count(accepted) / seconds,
            accepted: run.report.rate,
            us_per_event: used.as_secs_f64() * 1e6 / count(accepted.max(1)),
        };
        println!(
            "  {destinations} destination(s): {:.0} events/s delivered to each, {:.1} us of CPU an event",
            delivered.rate, delivered.us_per_event
        );
        delivered
    }

    /// Resident memory: idle, and the most at 10,000 hits a second delivered to one destination.
    fn memory(&self) -> (u64, u64) {
        let sink = Sink::counting();
        let server = Server::gateway(Kind::Disk, &[format!("{}/hook", sink.url())], "");
        thread::sleep(Duration::from_secs(2));
        let idle = server.resident_bytes();
        let peak = thread::scope(|scope| {
            let load = scope.spawn(|| self.load(&server, &["--rate", "10000"]));
            let mut peak = idle;
            while !load.is_finished() {
                peak = peak.max(server.resident_bytes());
                thread::sleep(Duration::from_millis(50));
            }
            peak
        });
        println!("  resident: {} idle, {} at 10,000/s", megabytes(idle), megabytes(peak));
        (idle, peak)
    }
}

#[derive(Clone, Copy)]
struct Delivered {
    rate: f64,
    accepted: f64,
    us_per_event: f64,
}

/// What privacy costs.
struct Privacy {
    steps: privacy::StepCosts,
    /// The gateway without any step and with all of them, round by round.
    everything: Vec<(Kind, Hits, Vec<Everything>)>,
}

/// Which hits are sent.
#[derive(Clone, Copy)]
enum Hits {
    /// Page views without cookies, each of another visitor.
    Bare,
    /// Visits to a shop, as a browser sends them.
    Shop,
}

impl Hits {
    const ALL: [Self; 2] = [Self::Bare, Self::Shop];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "first page views",
            Self::Shop => "visits to a shop",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Bare => &["--max"],
            Self::Shop => &["--max", "--shop"],
        }
    }
}

/// Full speed without any step of privacy, and right after it with all of them.
struct Everything {
    without: Run,
    with: Run,
}

impl Everything {
    /// What is left of the rate.
    fn kept(&self) -> f64 {
        self.with.report.rate / self.without.report.rate
    }
}

/// A gateway's runs, each with the nginx run before it.
struct Pairs {
    kind: Kind,
    runs: Vec<(Run, Run)>,
}

impl Pairs {
    fn ratios(&self) -> Vec<f64> {
        self.runs
            .iter()
            .map(|(nginx, gateway)| gateway.report.rate / nginx.report.rate)
            .collect()
    }
}

/// The latencies of nginx, memory and disk at one rate, round by round.
struct Latencies {
    rate: u32,
    rounds: Vec<[Latency; 3]>,
}

impl Latencies {
    /// The median over the rounds of one figure of one server.
    fn median(&self, server: usize, figure: impl Fn(&Latency) -> f64) -> f64 {
        median(self.rounds.iter().map(|round| figure(&round[server])).collect())
    }

    /// The median over the rounds of a server's p99 divided by nginx's p99 of the same round.
    fn p99_ratio(&self, server: usize) -> f64 {
        median(
            self.rounds
                .iter()
                .map(|round| round[server].p99 / round[0].p99.max(1e-3))
                .collect(),
        )
    }
}

fn main() {
    let settings = Settings::parse();
    let load_before = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    if settings.privacy {
        settings.privacy();
        return;
    }

    println!("Full speed, {} connections:", settings.connections);
    let mut pairs = [Kind::Memory, Kind::Disk].map(|kind| Pairs { kind, runs: Vec::new() });
    for _ in 0..settings.rounds {
        for pair in &mut pairs {
            pair.runs
                .push((settings.throughput(Kind::Nginx), settings.throughput(pair.kind)));
        }
    }
    println!("Fixed rate:");
    let latencies = [2_000, 10_000].map(|rate| Latencies {
        rate,
        rounds: (0..settings.rounds)
            .map(|_| [Kind::Nginx, Kind::Memory, Kind::Disk].map(|kind| settings.latency(kind, rate)))
            .collect(),
    });
    println!("Delivered:");
    let delivered = [1, 5].map(|destinations| {
        let runs: Vec<(f64, Delivered)> = (0..settings.rounds)
            .map(|_| {
                (
                    settings.throughput(Kind::Nginx).report.rate,
                    settings.delivered(destinations),
                )
            })
            .collect();
        (destinations, runs)
    });
    let privacy = settings.privacy();
    println!("Memory:");
    let (idle, peak) = settings.memory();

    let text = page::write(
        &settings,
        &load_before,
        &pairs,
        &latencies,
        &delivered,
        &privacy,
        (idle, peak),
    );
    let out = settings
        .out
        .unwrap_or_else(|| process::repository().join("docs/benchmarks.md"));
    let text = section::keep_operator(&text, &fs::read_to_string(&out).unwrap_or_default());
    fs::write(&out, text).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
    println!("written to {}", out.display());
}

fn now_ms() -> u64 {
    u64::try_from(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis(),
    )
    .unwrap_or(u64::MAX)
}
