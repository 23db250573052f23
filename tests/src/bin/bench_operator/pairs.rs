//! Many gateways' pairs of watches, by the gateway's own code, in a process of their own.

use std::{
    env,
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::json;
use tagfleet_gateway::config::kubernetes::watch::ClusterWatch;
use tagfleet_tests::cluster::Cluster;

use crate::{objects, size};

/// What the names of edited hostnames begin with; a number follows.
const EDIT: &str = "edit-";

/// Is `count` gateways of `namespace/container`: prints `listed` when each has seen it, and `seen 3` when each has seen the
/// third edit. Ends when it is killed.
pub(crate) fn watch(container: &str, count: usize) {
    let (namespace, container) = container.split_once('/').expect("namespace/container");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (tell, told) = mpsc::channel();
    for gateway in 0..count {
        let tell = tell.clone();
        let (namespace, container) = (namespace.to_owned(), container.to_owned());
        runtime.spawn(async move {
            let mut watch = ClusterWatch::start(&namespace, &container);
            while let Some(objects) = watch.next().await {
                let edits = objects.values().filter_map(|object| {
                    let text = format!("{:?}", object.body);
                    let (_, rest) = text.split_once(EDIT)?;
                    rest.split('.').next()?.parse::<usize>().ok()
                });
                if tell.send((gateway, edits.max().unwrap_or(0))).is_err() {
                    return;
                }
            }
        });
    }
    let mut seen = vec![None; count];
    let mut last = None;
    for (gateway, edit) in told {
        seen[gateway] = Some(edit);
        let all = seen.iter().min().copied().flatten();
        if all > last {
            println!(
                "{}",
                all.filter(|edit| *edit > 0)
                    .map_or("listed".to_owned(), |edit| format!("seen {edit}"))
            );
            last = all;
        }
    }
}

/// What came of it.
pub(crate) struct Pairs {
    /// Resident memory of the API server without and with them, bytes.
    pub(crate) api_server: (u64, u64),
    /// From an edit until every gateway has it: each of some.
    pub(crate) edits: Vec<Duration>,
    /// From the API server's return until every gateway has an edit that was made then.
    pub(crate) reconnected: Duration,
}

struct Gateways {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Gateways {
    fn start(cluster: &Cluster, container: &str, count: usize) -> Self {
        let mut process = Command::new(env::current_exe().expect("this program"))
            .args(["--be-pairs", container, "--pairs", &count.to_string()])
            .env("KUBECONFIG", cluster.kubeconfig())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started");
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        Self { process, lines }
    }

    fn wait_for(&mut self, line: &str) {
        let found = self.lines.by_ref().map_while(Result::ok).any(|it| it == line);
        assert!(found, "the gateways have ended");
    }
}

impl Drop for Gateways {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Measures with that many gateways of the first container.
pub(crate) fn measure(cluster: &Cluster, count: usize) -> Pairs {
    let before = size::api_server_bytes(cluster);
    let mut gateways = Gateways::start(cluster, &format!("{}/c0", objects::namespace("bench", 0)), count);
    gateways.wait_for("listed");
    thread::sleep(Duration::from_secs(2));
    let with = size::api_server_bytes(cluster);
    let mut edits = Vec::new();
    for number in 1..=5 {
        let started = Instant::now();
        edit(cluster, number);
        gateways.wait_for(&format!("seen {number}"));
        edits.push(started.elapsed());
    }
    cluster.stop_api_server();
    thread::sleep(Duration::from_secs(5));
    cluster.start_api_server();
    let started = Instant::now();
    edit(cluster, 6);
    gateways.wait_for("seen 6");
    let pairs = Pairs {
        api_server: (before, with),
        edits,
        reconnected: started.elapsed(),
    };
    println!(
        "  {count} gateways' watches: API server {} -> {} MB; an edit reached all after {:?}; after its restart after {:?}",
        before / 1_000_000,
        with / 1_000_000,
        pairs.edits,
        pairs.reconnected
    );
    pairs
}

fn edit(cluster: &Cluster, number: usize) {
    let api: Api<DynamicObject> = Api::namespaced_with(
        cluster.client(),
        &objects::namespace("bench", 0),
        &objects::containers(),
    );
    let spec = json!({"spec": {"hostnames": [format!("{EDIT}{number}.bench.example")]}});
    let edited = cluster.block_on(api.patch("c0", &PatchParams::default(), &Patch::Merge(spec)));
    edited.expect("an edit");
}
