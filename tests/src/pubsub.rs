//! Google's own Pub/Sub test server (`tests/pubsub`, built by scripts/test).

use std::{net::SocketAddr, process::Command, time::Duration};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    http,
    process::{self, Process},
    wait,
};

/// A published message.
#[derive(Clone, Debug, Deserialize)]
pub struct Message {
    /// The topic's last name.
    pub topic: String,
    /// Its data, parsed.
    pub data: Value,
    /// Its attributes.
    #[serde(default)]
    pub attributes: Option<std::collections::BTreeMap<String, String>>,
    /// Its ordering key.
    pub ordering_key: String,
}

/// A running Pub/Sub server.
pub struct PubSub {
    grpc: SocketAddr,
    http: SocketAddr,
    _process: Process,
    _dir: TempDir,
}

impl PubSub {
    /// Starts one with these topics, each as `project/topic`.
    ///
    /// # Panics
    /// When the program is not built (`go build` in tests/pubsub).
    #[must_use]
    pub fn start(topics: &[&str]) -> Self {
        #[derive(Deserialize)]
        struct Ready {
            grpc: SocketAddr,
            http: SocketAddr,
        }
        let dir = tempfile::tempdir().expect("a folder for Pub/Sub");
        let mut command = Command::new(process::program("pubsub", "TAGFLEET_PUBSUB"));
        command.args(topics);
        let (process, line) = Process::start_and_read_line("Pub/Sub", &mut command, &dir.path().join("pubsub.log"));
        let ready: Ready = serde_json::from_str(&line).expect("Pub/Sub says where it listens");
        Self {
            grpc: ready.grpc,
            http: ready.http,
            _process: process,
            _dir: dir,
        }
    }

    /// What `PUBSUB_EMULATOR_HOST` must be.
    #[must_use]
    pub fn emulator_host(&self) -> String {
        self.grpc.to_string()
    }

    /// Where the HTTP side answers.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Everything that was published to a topic.
    #[must_use]
    pub fn messages(&self, topic: &str) -> Vec<Message> {
        let answer = http::get(self.http, &format!("/messages?topic={topic}")).expect("Pub/Sub answers");
        serde_json::from_value(answer.json()).expect("Pub/Sub's messages")
    }

    /// Lets the next publish calls fail with a gRPC status.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn fail(&self, code: u32, times: u32) {
        let target = format!("/fail?code={code}&times={times}");
        let answer = http::request(self.http, "POST", &target, &[], b"").expect("Pub/Sub answers");
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// Makes every publish call take so long.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn delay(&self, delay: Duration) {
        let target = format!("/delay?ms={}", delay.as_millis());
        let answer = http::request(self.http, "POST", &target, &[], b"").expect("Pub/Sub answers");
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// Waits until so many messages were published to a topic, and returns them.
    #[must_use]
    pub fn wait_for(&self, topic: &str, count: usize, patience: Duration) -> Vec<Message> {
        let what = format!("{count} messages in topic {topic}");
        wait::until(&what, patience, || {
            Some(self.messages(topic)).filter(|messages| messages.len() >= count)
        })
    }
}
