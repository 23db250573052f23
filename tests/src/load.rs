//! Running the load generator (`src/bin/load.rs`) and reading its report.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, process::Command};

use serde::{Deserialize, Serialize};

use crate::process::{self, Process};

/// What the load generator prints when it is done.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Report {
    /// Hits sent.
    pub sent: u64,
    /// Hits answered with a 2xx.
    pub acknowledged: u64,
    /// Hits that were sent a second time, on another connection (`--resend`).
    #[serde(default)]
    pub resent: u64,
    /// Hits that were not, by status code, or `connection`, or `timeout`.
    pub errors: BTreeMap<String, u64>,
    /// From the first scheduled hit to the last answer.
    pub seconds: f64,
    /// Acknowledged hits a second.
    pub rate: f64,
    /// From the time at which a hit was due (open loop) or sent (closed loop) to its answer.
    pub latency_ms: Latency,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// 99 of 100 are faster.
    pub p99: f64,
    /// 999 of 1,000 are faster.
    pub p99_9: f64,
    /// The slowest.
    pub max: f64,
}

impl Latency {
    /// Percentiles of times in microseconds, which it sorts.
    #[must_use]
    pub fn of(times_us: &mut [u32]) -> Self {
        times_us.sort_unstable();
        let at = |share: f64| {
            // The smallest time that at least this share of all does not exceed.
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss
            )]
            let rank = (share * times_us.len() as f64).ceil() as usize;
            times_us
                .get(rank.saturating_sub(1))
                .map_or(0.0, |us| f64::from(*us) / 1000.0)
        };
        Self {
            p50: at(0.5),
            p99: at(0.99),
            p99_9: at(0.999),
            max: at(1.0),
        }
    }
}

/// A load generator at work.
pub struct Load {
    process: Process,
    report: std::path::PathBuf,
}

impl Load {
    /// Starts it with further arguments, as `["--rate", "2000", "--duration", "5"]`; its report goes into `dir`.
    #[must_use]
    pub fn start(gateway: SocketAddr, dir: &Path, arguments: &[&str]) -> Self {
        let report = dir.join("load.json");
        let mut command = Command::new(process::program("load", "TAGFLEET_LOAD"));
        command
            .arg(gateway.to_string())
            .arg("--report")
            .arg(&report)
            .args(arguments);
        Self {
            process: Process::start("load", &mut command, &dir.join("load.log")),
            report,
        }
    }

    /// Whether it is still sending.
    pub fn running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Waits for its end and reads its report.
    ///
    /// # Panics
    /// When it fails, or does not end in time.
    #[must_use]
    pub fn finish(mut self, patience: std::time::Duration) -> Report {
        let (_, status) = self.process.wait(patience);
        assert!(status.success(), "the load generator failed:\n{}", self.process.log());
        let text = std::fs::read(&self.report).expect("the load generator wrote its report");
        serde_json::from_slice(&text).expect("the report is JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        let mut times: Vec<u32> = (1..=1000).rev().map(|n| n * 1000).collect();
        let latency = Latency::of(&mut times);
        assert_eq!(
            (latency.p50, latency.p99, latency.p99_9, latency.max),
            (500.0, 990.0, 999.0, 1000.0)
        );
    }

    #[test]
    fn nothing_measured_is_zero() {
        assert_eq!(Latency::of(&mut []).max, 0.0);
    }
}
