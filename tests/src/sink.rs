//! A receiver that no vendor would own: takes what the gateway sends, remembers it, and misbehaves on request.
//! The program is `src/bin/sink.rs`; this is how tests talk to it.

use std::{
    collections::HashMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    http, ports,
    process::{self, Process},
    wait,
};

/// How the sink answers. By default it takes everything.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// Answers with this status; below 300 the events count as received.
    pub status: Option<u16>,
    /// Adds this Retry-After, in seconds.
    pub retry_after: Option<u32>,
    /// Waits before it answers.
    pub delay_ms: u64,
    /// Closes the connection instead of answering.
    pub close: Option<Close>,
    /// After so many requests it behaves well again.
    pub times: Option<u64>,
}

/// When the sink closes a connection.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Close {
    /// In the middle of the request's body: the events did not arrive.
    MidBody,
    /// When everything was received and remembered, before the answer: the sender must send it again.
    BeforeAnswer,
}

/// What the sink counted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Stats {
    /// Requests, refused ones included.
    pub requests: u64,
    /// Requests that it did not take.
    pub refused: u64,
    /// Requests without a valid signature, when it has a secret.
    pub bad_signatures: u64,
    /// Events in requests that it took.
    pub events: u64,
    /// When it took the last one, unix milliseconds.
    pub last_event_ms: u64,
}

/// A request that it took.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Received {
    /// When, unix milliseconds.
    pub time_ms: u64,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers, names in lower case.
    pub headers: HashMap<String, String>,
    /// The body, as text.
    pub body: String,
}

impl Received {
    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The events of a webhook's body.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.json()["events"].as_array().cloned().unwrap_or_default()
    }
}

/// How a sink is started.
#[derive(Clone)]
struct Setup {
    /// Verifies the webhook's signature with this secret.
    secret: Option<&'static str>,
    /// The status of a good answer.
    status: u16,
    /// Keeps neither requests nor ids.
    counting: bool,
}

impl Setup {
    fn spawn(&self, address: SocketAddr, dir: &Path) -> Process {
        let mut command = Command::new(process::program("sink", "TAGFLEET_SINK"));
        command.args(["--listen", &address.to_string(), "--status", &self.status.to_string()]);
        if self.counting {
            command.args(["--keep", "0"]);
        } else {
            command.arg("--ids").arg(Sink::ids_of(dir));
        }
        if let Some(secret) = self.secret {
            let file = dir.join("hmac");
            fs::write(&file, secret).expect("the secret's file");
            command.arg("--hmac-file").arg(file);
        }
        Process::start("the sink", &mut command, &dir.join("sink.log"))
    }
}

/// A running sink.
pub struct Sink {
    process: Process,
    address: SocketAddr,
    setup: Setup,
    dir: TempDir,
}

impl Sink {
    /// Starts a sink that answers 200.
    #[must_use]
    pub fn start() -> Self {
        Self::with(None, 200, false)
    }

    /// Starts a sink that only counts: for benchmarks. [`Sink::requests`] and [`Sink::ids`] stay empty.
    #[must_use]
    pub fn counting() -> Self {
        Self::with(None, 200, true)
    }

    /// Starts a sink that also verifies the webhook's signature with this secret.
    #[must_use]
    pub fn with_secret(secret: &'static str) -> Self {
        Self::with(Some(secret), 200, false)
    }

    /// Starts a sink that answers 204, as Google Analytics does.
    #[must_use]
    pub fn analytics() -> Self {
        Self::with(None, 204, false)
    }

    /// Starts a sink that answers 200, at this address of the machine.
    #[must_use]
    pub fn at(ip: Ipv4Addr) -> Self {
        Self::with_address(None, 200, false, ports::free_at(ip))
    }

    fn with(secret: Option<&'static str>, status: u16, counting: bool) -> Self {
        Self::with_address(secret, status, counting, ports::free())
    }

    fn with_address(secret: Option<&'static str>, status: u16, counting: bool, address: SocketAddr) -> Self {
        let setup = Setup {
            secret,
            status,
            counting,
        };
        let dir = tempfile::tempdir().expect("a folder for the sink");
        let mut sink = Self {
            process: setup.spawn(address, dir.path()),
            address,
            setup,
            dir,
        };
        sink.wait_until_ready();
        sink
    }

    fn ids_of(dir: &Path) -> PathBuf {
        dir.join("ids")
    }

    fn wait_until_ready(&mut self) {
        let address = self.address;
        wait::until("the sink is ready", Duration::from_secs(10), || {
            assert!(
                self.process.ended().is_none(),
                "the sink ended:\n{}",
                self.process.log()
            );
            http::get(address, "/_sink/stats").ok()
        });
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How it shall answer from now on.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn behave(&self, behaviour: &Behaviour) {
        let body = serde_json::to_vec(behaviour).expect("JSON");
        let answer = http::request(self.address, "PUT", "/_sink/behaviour", &[], &body).expect("the sink answers");
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// What it counted since its last start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let answer = http::get(self.address, "/_sink/stats").expect("the sink answers");
        serde_json::from_value(answer.json()).expect("the sink's statistics")
    }

    /// The last requests that it took since its last start, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        let answer = http::get(self.address, "/_sink/requests").expect("the sink answers");
        serde_json::from_value(answer.json()).expect("the sink's requests")
    }

    /// All events of webhook bodies among [`Sink::requests`].
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.requests().iter().flat_map(Received::events).collect()
    }

    /// How often each event id arrived, over all its starts.
    #[must_use]
    pub fn ids(&self) -> HashMap<String, u32> {
        let text = fs::read_to_string(Self::ids_of(self.dir.path())).unwrap_or_default();
        let mut counts = HashMap::new();
        for id in text.lines() {
            *counts.entry(id.to_owned()).or_insert(0) += 1;
        }
        counts
    }

    /// Waits until so many different event ids arrived.
    pub fn wait_for_ids(&self, count: usize, patience: Duration) {
        let what = format!("{count} different events at the sink");
        wait::until_true(&what, patience, || self.ids().len() >= count);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGSTOP: connections are taken by the kernel, nothing is answered.
    pub fn freeze(&self) {
        process::signal(self.process.id(), "STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        process::signal(self.process.id(), "CONT");
    }

    /// Starts it again at the same address; the ids it had are kept.
    pub fn restart(&mut self) {
        self.process = self.setup.spawn(self.address, self.dir.path());
        self.wait_until_ready();
    }
}
