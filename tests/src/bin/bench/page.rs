//! The page that the benchmark writes: docs/benchmarks.md.

use std::{fmt::Write as _, fs, process::Command};

use crate::{Delivered, Everything, Latencies, Pairs, Privacy, Run, Settings, server::Kind};

/// The page. Ratios first: they are what can be compared.
pub(crate) fn write(
    settings: &Settings,
    load_before: &str,
    pairs: &[Pairs],
    latencies: &[Latencies],
    delivered: &[(usize, Vec<(f64, Delivered)>)],
    privacy: &Privacy,
    (idle, peak): (u64, u64),
) -> String {
    let mut text = String::from(
        "# Benchmarks\n\nWritten by `make bench`; do not edit. The gateway beside nginx's `return 204`, both on one core of the same machine in\n\
         one run, answering the same GA4 GET (16 parameters, an event id of its own for each hit). The machine is not ours alone: every run of\n\
         the gateway is paired with a run of nginx just before it, and the ratios are what counts. How it is measured: [below](#method).\n\n",
    );
    let ratio_of = |kind: Kind| {
        pairs
            .iter()
            .find(|pair| pair.kind == kind)
            .map_or(0.0, |pair| median(pair.ratios()))
    };
    let end_to_end = |destinations: usize| {
        let runs = delivered
            .iter()
            .find(|(count, _)| *count == destinations)
            .map(|(_, runs)| runs.as_slice());
        median(
            runs.unwrap_or_default()
                .iter()
                .map(|(nginx, run)| run.rate / nginx)
                .collect(),
        )
    };
    let p99 = latencies
        .iter()
        .find(|at| at.rate == 10_000)
        .map_or((0.0, 0.0), |at| (at.p99_ratio(1), at.p99_ratio(2)));

    text.push_str("## Aims\n\n| aim | measured | met |\n|---|---|---|\n");
    let mut aim = |what: &str, measured: String, met: bool| {
        writeln!(text, "| {what} | {measured} | {} |", if met { "yes" } else { "**no**" }).unwrap();
    };
    let memory = ratio_of(Kind::Memory);
    aim(
        "memory: at least 0.60 of nginx's rate",
        format!("{memory:.2}"),
        memory >= 0.60,
    );
    let disk = ratio_of(Kind::Disk);
    aim(
        "disk: at least 0.50 of nginx's rate",
        format!("{disk:.2}"),
        disk >= 0.50,
    );
    let five = end_to_end(5);
    aim(
        "5 destinations, delivered to each: at least 0.25 of nginx's rate",
        format!("{five:.2}"),
        five >= 0.25,
    );
    aim(
        "p99 at 10,000/s: at most twice nginx's, memory",
        format!("{:.2}", p99.0),
        p99.0 <= 2.0,
    );
    aim(
        "p99 at 10,000/s: at most twice nginx's, disk",
        format!("{:.2}", p99.1),
        p99.1 <= 2.0,
    );
    for (kind, hits, pairs) in &privacy.everything {
        let kept = median(pairs.iter().map(Everything::kept).collect());
        aim(
            &format!(
                "all steps of privacy on: at least 0.85 of the rate without; {}, {}",
                kind.name(),
                hits.name()
            ),
            format!("{kept:.2}"),
            kept >= 0.85,
        );
    }
    aim("idle: under 40 MB", megabytes(idle), idle < 40_000_000);

    text.push_str(
        "\n## Full speed on one core\n\nAccepted: parsed, judged, stored, answered; one destination wants every event and cannot be reached.\n\n\
         | server | hits/s: median [least, most] | of the paired nginx: median [least, most] | CPU us a hit |\n|---|---|---|---|\n",
    );
    let nginx: Vec<&Run> = pairs
        .iter()
        .flat_map(|pair| pair.runs.iter().map(|(nginx, _)| nginx))
        .collect();
    let rates = |runs: &[&Run]| spread(runs.iter().map(|run| run.report.rate).collect(), 0);
    let cpu = |runs: &[&Run]| median(runs.iter().map(|run| run.us_per_hit).collect());
    writeln!(
        text,
        "| {} | {} | 1 | {:.1} |",
        Kind::Nginx.name(),
        rates(&nginx),
        cpu(&nginx)
    )
    .unwrap();
    for pair in pairs {
        let runs: Vec<&Run> = pair.runs.iter().map(|(_, gateway)| gateway).collect();
        writeln!(
            text,
            "| {} | {} | {} | {:.1} |",
            pair.kind.name(),
            rates(&runs),
            spread(pair.ratios(), 2),
            cpu(&runs)
        )
        .unwrap();
    }

    text.push_str(
        "\n## Latency at a fixed rate\n\nMilliseconds from the time at which a hit was due (open loop) to its answer; medians over the rounds.\n\n\
         | hits/s | server | p50 | p99 | p99.9 | most | p99 of the paired nginx's |\n|---|---|---|---|---|---|---|\n",
    );
    for at in latencies {
        for (server, kind) in [Kind::Nginx, Kind::Memory, Kind::Disk].into_iter().enumerate() {
            writeln!(
                text,
                "| {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
                at.rate,
                kind.name(),
                at.median(server, |latency| latency.p50),
                at.median(server, |latency| latency.p99),
                at.median(server, |latency| latency.p99_9),
                at.median(server, |latency| latency.max),
                at.p99_ratio(server),
            )
            .unwrap();
        }
    }

    text.push_str(
        "\n## Delivered end to end\n\n`buffer.disk`, webhook destinations that answer at once, batches of 500 or 200 ms. Events a second that were accepted\n\
         and delivered to every destination, counted until the last delivery.\n\n\
         | destinations | events/s: median [least, most] | of the paired nginx's hits/s | accepted meanwhile, hits/s | CPU us an event |\n|---|---|---|---|---|\n",
    );
    for (destinations, runs) in delivered {
        let of = |figure: fn(&Delivered) -> f64| runs.iter().map(|(_, run)| figure(run)).collect::<Vec<f64>>();
        writeln!(
            text,
            "| {destinations} | {} | {} | {:.0} | {:.1} |",
            spread(of(|run| run.rate), 0),
            spread(runs.iter().map(|(nginx, run)| run.rate / nginx).collect(), 2),
            median(of(|run| run.accepted)),
            median(of(|run| run.us_per_event)),
        )
        .unwrap();
    }

    privacy_part(&mut text, privacy);

    write!(
        text,
        "\n## Memory\n\n| | resident |\n|---|---|\n| idle | {} |\n| most at 10,000 hits/s, delivered to one destination | {} |\n",
        megabytes(idle),
        megabytes(peak)
    )
    .unwrap();

    write!(
        text,
        "\n## Method\n\n\
         - {machine}; kernel {kernel}; nginx {nginx}; load average before: {load}.\n\
         - The server has core 0 (`taskset`), with nothing else on it but the kernel's work; load and receivers have core 1. HTTP/1.1\n  \
         with keep-alive on loopback, {connections} connections, {rounds} rounds of {seconds} s for each figure, a fresh server for each run.\n\
         - Full speed is a closed loop: each connection sends as soon as it is answered. A fixed rate is an open loop: a hit is due by the\n  \
         clock whatever the answers do, and its latency counts from then.\n\
         - `buffer.disk` syncs (fdatasync) before it answers, on the disk of the build folder. nginx neither parses the parameters nor\n  \
         stores anything: it is a yardstick for the machine, not a peer.\n\
         - CPU is user and kernel time of the server's process, divided by acknowledged hits.\n",
        machine = machine(),
        kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        nginx = nginx_version(),
        load = load_before.split_whitespace().take(3).collect::<Vec<_>>().join(" "),
        connections = settings.connections,
        rounds = settings.rounds,
        seconds = settings.seconds,
    )
    .unwrap();
    text
}

/// As `2 cores of <model>, 24 GiB`.
fn machine() -> String {
    let value_of = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':')
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let cores = fs::read_to_string("/proc/cpuinfo")
        .unwrap_or_default()
        .matches("processor\t")
        .count();
    let kib: f64 = value_of("/proc/meminfo", "MemTotal")
        .trim_end_matches(" kB")
        .parse()
        .unwrap_or(0.0);
    format!(
        "{cores} cores of {}, {:.0} GiB",
        value_of("/proc/cpuinfo", "model name"),
        kib / 1_048_576.0
    )
}

fn nginx_version() -> String {
    let output = Command::new("nginx")
        .arg("-v")
        .output()
        .map(|output| output.stderr)
        .unwrap_or_default();
    String::from_utf8_lossy(&output)
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The middle value, or the mean of the two middle ones.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// `median [least, most]`.
fn spread(values: Vec<f64>, digits: usize) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{:.digits$} [{least:.digits$}, {most:.digits$}]", median(values))
}

/// A number to calculate with.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn count(number: u64) -> f64 {
    number as f64
}

/// As `12.3 MB`.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", count(bytes) / 1e6)
}

/// What each step costs, and all of them together.
fn privacy_part(text: &mut String, privacy: &Privacy) {
    text.push_str(
        "\n## Privacy\n\nNanoseconds an event that each step adds to claiming and judging a purchase (GA4 GET, 28 parameters, three cookies), medians over the\n\
         rounds, each beside a run without it. One thread, no network, no log.\n\n| step | ns an event |\n|---|---|\n",
    );
    writeln!(
        text,
        "| claimed and judged without any | {:.0} |",
        privacy.steps.without
    )
    .unwrap();
    for (name, added) in &privacy.steps.steps {
        writeln!(text, "| {name} | + {added:.0} |").unwrap();
    }
    text.push_str(
        "\nAt full speed, all of them on but augment, each run right behind one without any. First page views have 15 parameters and no\n\
         cookies, and each makes an id and sets a cookie. Visits to a shop are sent as Chrome does (`load --shop`): ten hits of each visitor, of\n\
         whom half are known by their cookies; all consent is granted, one hit of ten is a purchase with two items, and on three of ten the\n\
         vendors' cookies are set again.\n\n\
         | | hits | hits/s without any | with all | of it | CPU us a hit without any | with all |\n|---|---|---|---|---|---|---|\n",
    );
    for (kind, hits, pairs) in &privacy.everything {
        let column = |of: fn(&Everything) -> f64| pairs.iter().map(of).collect::<Vec<f64>>();
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {:.1} | {:.1} |",
            kind.name(),
            hits.name(),
            spread(column(|pair| pair.without.report.rate), 0),
            spread(column(|pair| pair.with.report.rate), 0),
            spread(column(Everything::kept), 2),
            median(column(|pair| pair.without.us_per_hit)),
            median(column(|pair| pair.with.us_per_hit)),
        )
        .unwrap();
    }
}
