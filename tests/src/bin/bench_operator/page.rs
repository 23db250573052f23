//! The operator's part of docs/benchmarks.md.

use std::{fmt::Write as _, time::Duration};

use crate::{
    DESTINATIONS, Settings,
    objects::AT_A_TIME,
    size::{Extras, Size, percentile},
};

/// The part: aims first.
pub(crate) fn write(settings: &Settings, load_before: &str, sizes: &[Size], extras: Option<&Extras>) -> String {
    let mut text = format!(
        "# The operator\n\nOn a real Kubernetes control plane without nodes, with everything on this one machine: every container has \
         {DESTINATIONS} Destinations. Beside it, in\nthe same run, a bare client writes the same objects: the ratio is what counts.\n\n"
    );
    aims(&mut text, sizes, extras);
    table(&mut text, sizes);
    if let Some(extras) = extras {
        once(&mut text, extras);
    }
    method(&mut text, settings, load_before);
    text
}

fn aims(text: &mut String, sizes: &[Size], extras: Option<&Extras>) {
    text.push_str("| aim | measured | met |\n|---|---|---|\n");
    let mut aim = |what: &str, measured: String, met: bool| {
        writeln!(text, "| {what} | {measured} | {} |", if met { "yes" } else { "**no**" }).unwrap();
    };
    let (Some(first), Some(last)) = (sizes.first(), sizes.last()) else {
        return;
    };
    let of_last = format!("{} containers", last.containers);
    let ratio = last.ratio();
    aim(
        &format!("{of_last}: all applied within 1.5 times the bare client's time"),
        format!("{ratio:.2}"),
        ratio <= 1.5,
    );
    aim(
        &format!("{of_last}: under 150 MB"),
        megabytes(last.memory.0),
        last.memory.0 < 150_000_000,
    );
    let percent = last.rest.percent();
    aim(
        &format!("{of_last} at rest: under 1 % of a core"),
        format!("{percent:.2} %"),
        percent < 1.0,
    );
    let rest = format!(
        "{} containers at rest for {} s: no write",
        first.containers,
        first.rest.time.as_secs()
    );
    aim(&rest, first.rest.writes.to_string(), first.rest.writes == 0.0);
    let p99 = percentile(&last.edits, 99);
    aim(
        &format!("{of_last}: an edit in the condition, p99 under 1 s"),
        milliseconds(p99),
        p99 < Duration::from_secs(1),
    );
    if let Some(extras) = extras {
        let (without, with) = extras.memory;
        let what = format!(
            "{0} foreign Secrets and {0} ConfigMaps do not show in memory (within 5 MB)",
            extras.foreign
        );
        let measured = format!("{} -> {}", megabytes(without), megabytes(with));
        aim(&what, measured, with < without + 5_000_000);
    }
}

impl Size {
    fn ratio(&self) -> f64 {
        self.applied.as_secs_f64() / self.floor.1.as_secs_f64()
    }

    fn objects(&self) -> usize {
        self.containers * (1 + DESTINATIONS)
    }
}

fn table(text: &mut String, sizes: &[Size]) {
    text.push_str("\n## By the number of containers\n\n| |");
    for size in sizes {
        write!(text, " {} |", size.containers).unwrap();
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(sizes.len()));
    let mut row = |what: &str, figure: &dyn Fn(&Size) -> String| {
        let figures: Vec<String> = sizes.iter().map(figure).collect();
        write!(text, "\n| {what} | {} |", figures.join(" | ")).unwrap();
    };
    row("all applied, from the operator's start", &|size| seconds(size.applied));
    row("the last write, from the operator's start", &|size| {
        seconds(size.settled)
    });
    row("the bare client's time for the same objects", &|size| {
        seconds(size.floor.1)
    });
    row("ratio", &|size| format!("{:.2}", size.ratio()));
    row("writes for each container or Destination", &|size| {
        format!(
            "{:.2}",
            size.writes / f64::from(u32::try_from(size.objects()).unwrap_or(u32::MAX))
        )
    });
    row("writes of the operator; of the bare client", &|size| {
        format!("{}; {}", size.writes, size.floor.0)
    });
    row("CPU of the operator until then", &|size| seconds(size.cpu));
    row("memory at rest", &|size| megabytes(size.memory.0));
    row("memory at most", &|size| megabytes(size.memory.1));
    row("CPU at rest, of a core", &|size| {
        format!("{:.2} %", size.rest.percent())
    });
    row("writes at rest", &|size| {
        format!("{} in {} s", size.rest.writes, size.rest.time.as_secs())
    });
    row("an edit in the condition: p50", &|size| {
        milliseconds(percentile(&size.edits, 50))
    });
    row("an edit in the condition: p99", &|size| {
        milliseconds(percentile(&size.edits, 99))
    });
    row("restart to all looked at", &|size| seconds(size.restart.0));
    row("writes after a restart", &|size| size.restart.1.to_string());
    text.push('\n');
}

fn once(text: &mut String, extras: &Extras) {
    let pairs = &extras.pairs;
    let longest = pairs.edits.iter().max().copied().unwrap_or_default();
    write!(
        text,
        "\n## Gateways' watches\n\n{} gateways, each with its two watches by the gateway's own code, all of one container; {} containers in all.\n\n\
         | | |\n|---|---|\n\
         | memory of the API server without and with them | {}, {} |\n\
         | an edit until every gateway has it: the longest of {} | {} |\n\
         | API server away for 5 s: from its return until every gateway has an edit made then | {} |\n",
        extras.gateways,
        extras.containers,
        megabytes(pairs.api_server.0),
        megabytes(pairs.api_server.1),
        pairs.edits.len(),
        milliseconds(longest),
        seconds(pairs.reconnected),
    )
    .unwrap();
}

fn method(text: &mut String, settings: &Settings, load_before: &str) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load: Vec<&str> = load_before.split_whitespace().take(3).collect();
    write!(
        text,
        "\n## The operator's method\n\n\
         - {cores} cores; load average before: {}. etcd (without fsync), API server, controllers, scheduler, operator and client share them. \
         Each size has a control plane of its own.\n\
         - The objects are there before the operator starts, 20 containers in a namespace. Applied means that every child \
         and a status of every object is written; later writes tell of pods. After the last one every object is checked to have a status of its newest generation.\n\
         - The bare client knows all objects beforehand: the children as the operator made them and the statuses as it wrote them, in other \
         namespaces. It has {AT_A_TIME} requests under way, as many as the operator at most.\n\
         - The operator runs with the rights of charts/tagfleet. Pods stay pending, so that no gateway is asked for its status.\n\
         - An edit changes a hostname ({} edits, one after the other); it counts until the status of the new generation can be read.\n\
         - Memory is resident memory; at most is since the start. CPU is user and kernel time. Requests are those that the operator counts \
         itself (`tagfleet_operator_api_requests_total`).\n",
        load.join(" "),
        settings.edits,
    )
    .unwrap();
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", Duration::from_micros(bytes).as_secs_f64())
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}
