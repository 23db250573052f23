//! Doubles of the vendors: one program that answers as their documentation says, and refuses what they would refuse. The
//! program is `src/bin/vendors`, with a module for each vendor; this is how tests talk to it.
//!
//! Every vendor is called by the name of its block in a Destination (`metaConversions`), and takes the credentials
//! [`CREDENTIALS`].

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    http, ports,
    process::{self, Process},
    sink::{Behaviour, Received, Stats},
    wait,
};

/// What each double takes for a good token, secret or key.
pub const CREDENTIALS: &str = "good-credentials";

/// How a double misbehaves beside what its vendor would refuse anyway.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mood {
    /// What is wrong, told in the vendor's own words and codes.
    pub trouble: Option<Trouble>,
    /// What any receiver can do: statuses, delays, closed connections. `status` and `times` count for both.
    pub behaviour: Behaviour,
}

/// What may be wrong with a vendor.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Too many requests; with `behaviour.retry_after` it says when to come back.
    Throttled,
    /// An error of its own that passes.
    Failing,
    /// The credentials were revoked.
    Revoked,
    /// It refuses every event for good.
    Refusing,
}

impl From<Trouble> for Mood {
    fn from(trouble: Trouble) -> Self {
        Self {
            trouble: Some(trouble),
            ..Self::default()
        }
    }
}

impl From<Behaviour> for Mood {
    fn from(behaviour: Behaviour) -> Self {
        Self {
            behaviour,
            ..Self::default()
        }
    }
}

/// The running doubles.
pub struct Vendors {
    process: Process,
    address: SocketAddr,
    dir: TempDir,
}

impl Vendors {
    /// Starts them.
    #[must_use]
    pub fn start() -> Self {
        Self::with_address(ports::free())
    }

    /// Starts them at this address of the machine.
    #[must_use]
    pub fn at(ip: Ipv4Addr) -> Self {
        Self::with_address(ports::free_at(ip))
    }

    fn with_address(address: SocketAddr) -> Self {
        let dir = tempfile::tempdir().expect("a folder for the vendors");
        let vendors = Self {
            process: Self::spawn(address, dir.path()),
            address,
            dir,
        };
        vendors.wait_until_ready();
        vendors
    }

    fn spawn(address: SocketAddr, dir: &Path) -> Process {
        let mut command = Command::new(process::program("vendors", "TAGFLEET_VENDORS"));
        command.args(["--listen", &address.to_string()]);
        Process::start("the vendors", &mut command, &dir.join("vendors.log"))
    }

    fn wait_until_ready(&self) {
        wait::until("the vendors are ready", Duration::from_secs(10), || {
            http::get(self.address, "/_vendors").ok()
        });
    }

    /// The `endpoint` of every vendor.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The names of the vendors that have a double.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let answer = http::get(self.address, "/_vendors").expect("the vendors answer");
        serde_json::from_value(answer.json()).expect("names")
    }

    /// How a vendor shall answer from now on; `Mood::default()` is well.
    ///
    /// # Panics
    /// When there is no such vendor.
    pub fn behave(&self, vendor: &str, mood: impl Into<Mood>) {
        let body = serde_json::to_vec(&mood.into()).expect("JSON");
        let target = format!("/_vendors/{vendor}/mood");
        let answer = http::request(self.address, "PUT", &target, &[], &body).expect("the vendors answer");
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// What a vendor counted. `events` are those that it took.
    #[must_use]
    pub fn stats(&self, vendor: &str) -> Stats {
        serde_json::from_value(self.ask(vendor, "stats")).expect("statistics")
    }

    /// The events that a vendor took, each as it got it, oldest first.
    #[must_use]
    pub fn events(&self, vendor: &str) -> Vec<Value> {
        serde_json::from_value(self.ask(vendor, "events")).expect("events")
    }

    /// The last requests that a vendor got, refused ones included.
    #[must_use]
    pub fn requests(&self, vendor: &str) -> Vec<Received> {
        serde_json::from_value(self.ask(vendor, "requests")).expect("requests")
    }

    fn ask(&self, vendor: &str, what: &str) -> Value {
        let target = format!("/_vendors/{vendor}/{what}");
        let answer = http::get(self.address, &target).expect("the vendors answer");
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        answer.json()
    }

    /// Waits until a vendor took so many events, and returns them.
    #[must_use]
    pub fn wait_for(&self, vendor: &str, count: usize, patience: Duration) -> Vec<Value> {
        let what = format!("{count} events at {vendor}");
        wait::until(&what, patience, || {
            Some(self.events(vendor)).filter(|events| events.len() >= count)
        })
    }

    /// SIGKILL: all vendors are gone, nobody listens.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts them again at the same address; what they remembered is gone.
    pub fn restart(&mut self) {
        self.process = Self::spawn(self.address, self.dir.path());
        self.wait_until_ready();
    }
}
