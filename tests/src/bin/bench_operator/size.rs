//! One number of containers, on a control plane of its own.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use tagfleet_tests::{
    cluster::Cluster,
    http,
    metrics::Metrics,
    operator::{Operator, Setup},
    wait,
};

use crate::{
    DESTINATIONS, Settings, floor,
    objects::{self, Object},
    pairs::{self, Pairs},
};

/// No write for so long, and all is applied.
const QUIET: Duration = Duration::from_secs(5);
/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(1_200);

/// What was measured of one number of containers.
pub(crate) struct Size {
    pub(crate) containers: usize,
    /// From the operator's start until every child and every object's first status is written.
    pub(crate) applied: Duration,
    /// From the operator's start to its last write: what comes later tells of pods.
    pub(crate) settled: Duration,
    /// The operator's writes meanwhile.
    pub(crate) writes: f64,
    /// User and kernel time of the operator meanwhile.
    pub(crate) cpu: Duration,
    /// The objects that the bare client wrote, and how long that took.
    pub(crate) floor: (usize, Duration),
    /// Resident memory of the operator: at rest, and the most ever, bytes.
    pub(crate) memory: (u64, u64),
    pub(crate) rest: Rest,
    /// From the start of a second operator to all looked at, and its writes.
    pub(crate) restart: (Duration, f64),
    /// From an edit to its fleet's condition, in order.
    pub(crate) edits: Vec<Duration>,
}

/// A while in which nothing changed.
pub(crate) struct Rest {
    pub(crate) time: Duration,
    pub(crate) writes: f64,
    pub(crate) cpu: Duration,
}

/// What is measured once.
pub(crate) struct Extras {
    pub(crate) containers: usize,
    /// Foreign Secrets, and as many ConfigMaps.
    pub(crate) foreign: usize,
    /// Resident memory of a settled operator without and with them, bytes.
    pub(crate) memory: (u64, u64),
    pub(crate) gateways: usize,
    pub(crate) pairs: Pairs,
}

/// Measures, with `everything` also what is measured once.
pub(crate) fn measure(settings: &Settings, containers: usize, everything: bool) -> (Size, Option<Extras>) {
    let cluster =
        Cluster::own("scripts/bench-operator").expect("a control plane of our own, not TAGFLEET_TEST_CLUSTER=existing");
    let home = cluster.namespace("operator");
    prepare(&cluster, "bench", containers);

    let setup = Setup::of_all_namespaces(&home);
    let started = Instant::now();
    let mut operator = setup.start();
    let applied = wait::until("all is applied", PATIENCE, || {
        let answer = http::get(operator.admin(), "/metrics").ok()?;
        is_applied(&Metrics::parse(&answer.text()), containers).then(|| started.elapsed())
    });
    let settled = settled(&operator, containers).duration_since(started);
    let (writes, cpu) = (written(&operator), cpu(operator.id()));
    check(&cluster, containers);
    println!("  all applied after {applied:.1?}, the last of {writes} writes after {settled:.1?}, {cpu:.1?} of CPU");

    let rest = rest(
        &operator,
        if everything {
            settings.rest
        } else {
            settings.rest.min(20)
        },
    );
    let memory = (operator.resident_bytes(), peak(operator.id()));
    println!(
        "  at rest for {:?}: {} writes, {:.2} % of a core; {} MB, {} MB at most",
        rest.time,
        rest.writes,
        rest.percent(),
        memory.0 / 1_000_000,
        memory.1 / 1_000_000
    );
    let edits = edits(&cluster, containers, settings.edits);
    println!(
        "  an edit in the condition: p50 {:.0?}, p99 {:.0?}",
        percentile(&edits, 50),
        percentile(&edits, 99)
    );
    let restart = restart(&mut operator, containers);
    println!("  restart to all looked at: {:.1?}, {} writes", restart.0, restart.1);

    let foreign = everything.then(|| foreign(&cluster, &mut operator, containers, settings.foreign));
    operator.terminate(PATIENCE);
    let floor = write_floor(&cluster, containers);
    println!(
        "  bare client: {} objects in {:.1?}, operator/client {:.2}",
        floor.0,
        floor.1,
        applied.as_secs_f64() / floor.1.as_secs_f64()
    );

    let extras = foreign.map(|memory| Extras {
        containers,
        foreign: settings.foreign,
        memory,
        gateways: settings.pairs,
        pairs: pairs::measure(&cluster, settings.pairs),
    });
    let size = Size {
        containers,
        applied,
        settled,
        writes,
        cpu,
        floor,
        memory,
        rest,
        restart,
        edits,
    };
    (size, extras)
}

/// Makes the namespaces, their Secrets, and the containers with their Destinations.
fn prepare(cluster: &Cluster, prefix: &str, containers: usize) {
    for objects in objects::tenants(prefix, containers) {
        objects::write(cluster, &objects);
    }
    objects::write(cluster, &objects::inputs(prefix, containers));
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).expect("a reasonable number"))
}

fn written(operator: &Operator) -> f64 {
    operator.metrics().count("tagfleet_operator_api_requests_total", &[])
}

/// Waits until every object has been looked at, and nothing was written for a while; tells when that while began.
fn settled(operator: &Operator, containers: usize) -> Instant {
    let (mut writes, mut since) = (0.0, Instant::now());
    wait::until("all is applied", PATIENCE, || {
        let answer = http::get(operator.admin(), "/metrics").ok()?;
        let metrics = Metrics::parse(&answer.text());
        let now = metrics.count("tagfleet_operator_api_requests_total", &[]);
        if now != writes || !all_seen(&metrics, containers) {
            (writes, since) = (now, Instant::now());
        }
        thread::sleep(Duration::from_millis(30));
        (since.elapsed() >= QUIET).then_some(since)
    })
}

/// Whether the last child of each container is written (autoscalers are, and each once), and a status of every object.
fn is_applied(metrics: &Metrics, containers: usize) -> bool {
    let written = |kind| metrics.count("tagfleet_operator_api_requests_total", &[("kind", kind)]);
    written("HorizontalPodAutoscaler") >= count(containers)
        && written("TaggingContainer") >= count(containers)
        && written("Destination") >= count(containers * DESTINATIONS)
}

fn all_seen(metrics: &Metrics, containers: usize) -> bool {
    let seen = |kind| metrics.count("tagfleet_operator_reconciliations_total", &[("kind", kind)]);
    seen("TaggingContainer") >= count(containers) && seen("Destination") >= count(containers * DESTINATIONS)
}

/// Every container and Destination has a condition of its newest generation.
fn check(cluster: &Cluster, containers: usize) {
    for (resource, expected) in [
        (objects::containers(), containers),
        (objects::destinations(), containers * DESTINATIONS),
    ] {
        let told = objects::list(cluster, &resource, "");
        let current = told
            .iter()
            .filter(|object| observed(object) == object.metadata.generation);
        assert_eq!(current.count(), expected, "{}s with a status", resource.kind);
    }
}

fn observed(object: &DynamicObject) -> Option<i64> {
    object
        .data
        .pointer("/status/observedGeneration")
        .and_then(Value::as_i64)
}

impl Rest {
    pub(crate) fn percent(&self) -> f64 {
        100.0 * self.cpu.as_secs_f64() / self.time.as_secs_f64()
    }
}

fn rest(operator: &Operator, seconds: u64) -> Rest {
    let time = Duration::from_secs(seconds);
    let (writes, used) = (written(operator), cpu(operator.id()));
    thread::sleep(time);
    Rest {
        time,
        writes: written(operator) - writes,
        cpu: cpu(operator.id()).saturating_sub(used),
    }
}

/// Edits one container after the other, and times each until its status is of the new generation.
fn edits(cluster: &Cluster, containers: usize, edits: usize) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..edits)
        .map(|edit| {
            let number = edit % containers;
            let (space, name) = (objects::namespace("bench", number), format!("c{number}"));
            let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), &space, &objects::containers());
            let spec = json!({"spec": {"hostnames": [format!("{name}-{edit}.bench.example")]}});
            let started = Instant::now();
            cluster.block_on(async {
                let edited = api
                    .patch(&name, &PatchParams::default(), &Patch::Merge(spec))
                    .await
                    .expect("an edit");
                while observed(&api.get(&name).await.expect("the container")) < edited.metadata.generation {
                    assert!(
                        started.elapsed() < PATIENCE,
                        "{space}/{name} has no condition of its edit"
                    );
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            });
            started.elapsed()
        })
        .collect();
    times.sort();
    times
}

/// The value that so many of a hundred are not above; of values in order.
pub(crate) fn percentile(times: &[Duration], of_hundred: usize) -> Duration {
    let index = (times.len() * of_hundred).div_ceil(100).saturating_sub(1);
    times.get(index).copied().unwrap_or_default()
}

fn restart(operator: &mut Operator, containers: usize) -> (Duration, f64) {
    operator.terminate(PATIENCE);
    let started = Instant::now();
    operator.restart();
    let seen = wait::until("all is looked at", PATIENCE, || {
        all_seen(&operator.metrics(), containers).then(|| started.elapsed())
    });
    settled(operator, containers);
    (seen, written(operator))
}

/// A settled operator's memory without and with Secrets and ConfigMaps that concern nobody.
fn foreign(cluster: &Cluster, operator: &mut Operator, containers: usize, count: usize) -> (u64, u64) {
    let without = operator.resident_bytes();
    objects::write(
        cluster,
        &[Object::new(
            &objects::core("Namespace", "namespaces"),
            None,
            "foreign",
            json!({}),
        )],
    );
    objects::write(cluster, &objects::foreign("Secret", "secrets", count));
    objects::write(cluster, &objects::foreign("ConfigMap", "configmaps", count));
    restart(operator, containers);
    let with = operator.resident_bytes();
    println!(
        "  {count} foreign Secrets and ConfigMaps: {} -> {} MB",
        without / 1_000_000,
        with / 1_000_000
    );
    (without, with)
}

fn write_floor(cluster: &Cluster, containers: usize) -> (usize, Duration) {
    let copies = floor::copies(cluster);
    prepare(cluster, "floor", containers);
    (copies.len(), objects::write(cluster, &copies))
}

/// User and kernel time of a process.
fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name in parentheses: field 14 and 15 of proc(5) are the 12th and 13th there, in ticks of 10 ms.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// The most memory that a process has had resident, bytes.
fn peak(pid: u32) -> u64 {
    of_status(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// Resident memory of the cluster's API server, bytes.
pub(crate) fn api_server_bytes(cluster: &Cluster) -> u64 {
    let server = cluster.server();
    let port = server.rsplit(':').next().expect("a port");
    let listens = format!("--secure-port={port}");
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let api_server = processes.map(|entry| entry.path()).find(|path| {
        let command = fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        command.split('\0').any(|argument| argument == listens)
    });
    api_server.map_or(0, |path| of_status(&path.join("status").to_string_lossy(), "VmRSS:"))
}

fn of_status(path: &str, field: &str) -> u64 {
    let status = fs::read_to_string(path).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}
