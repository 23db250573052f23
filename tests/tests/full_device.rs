//! The device of the log is full: hits are refused with 503, and taken again when there is room, by itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{path::Path, process::Command, time::Duration};

use tagfleet_tests::{gateway::Setup, hit, http, load::Load, manifests::Manifests, sink::Sink, skip, wait};

/// A small file system of its own; unmounted at the end.
struct Device<'d> {
    dir: &'d Path,
}

impl<'d> Device<'d> {
    /// `None` where mounting is not allowed.
    fn mount(dir: &'d Path, size: &str) -> Option<Self> {
        let options = format!("size={size}");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tagfleet-test"])
            .arg(dir)
            .status();
        status.is_ok_and(|status| status.success()).then_some(Self { dir })
    }

    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        let status = Command::new("mount")
            .args(["-o", &options])
            .arg(self.dir)
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Device<'_> {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.dir).status());
    }
}

#[test]
fn a_full_device_refuses_hits_and_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let Some(device) = Device::mount(dir.path(), "24m") else {
        return skip::skip("full_device", "mounting a tmpfs needs root");
    };
    let mut sink = Sink::start();
    let manifests = Manifests::new().container("  buffer: {disk: {maxBytes: 1Gi}}").webhook(
        "orders",
        &sink.url(),
        "  delivery: {retry: {initialBackoff: 100ms, maxBackoff: 500ms}}",
    );
    let gateway = Setup::new(manifests.path()).data(&dir.path().join("data")).start();
    sink.kill();

    // Far more hits than fit.
    let scratch = tempfile::tempdir().unwrap();
    let acknowledged_file = scratch.path().join("acknowledged");
    let long = format!("ep.note={}", "x".repeat(1500));
    let arguments = [
        "--max",
        "--hits",
        "40000",
        "--parameters",
        &long,
        "--acknowledged",
        acknowledged_file.to_str().unwrap(),
    ];
    let report = Load::start(gateway.address(), scratch.path(), &arguments).finish(Duration::from_secs(120));
    println!("{report:?}");
    assert!(report.acknowledged > 1000, "{report:?}");
    assert!(report.errors.get("503").is_some_and(|count| *count > 0), "{report:?}");
    assert_eq!(
        report.acknowledged + report.errors["503"],
        report.sent,
        "nothing but 204 and 503: {report:?}"
    );

    // Refused with advice, and no reason to take the pod away. A few single hits may still fit where a group did not.
    let refused = wait::until("a hit that does not fit", Duration::from_secs(10), || {
        let answer = http::get(gateway.address(), &hit::target("page_view", "refused", &long)).unwrap();
        (answer.status == 503).then_some(answer)
    });
    assert!(refused.header("retry-after").is_some());
    assert_eq!(http::get(gateway.admin(), "/readyz").unwrap().status, 200);

    // Room again: hits are taken without a restart, and nothing acknowledged is missing.
    device.resize("200m");
    wait::until_true("hits are taken again", Duration::from_secs(20), || {
        hit::send(gateway.address(), "page_view", "recovered", "") == 204
    });
    sink.restart();
    let acknowledged = std::fs::read_to_string(&acknowledged_file).unwrap();
    wait::until_true("every acknowledged event", Duration::from_secs(120), || {
        let arrived = sink.ids();
        arrived.contains_key("recovered") && acknowledged.lines().all(|id| arrived.contains_key(id))
    });
    wait::until_true("the books are closed", Duration::from_secs(10), || {
        gateway.imbalance("orders") == 0.0
    });
    drop(gateway);
}
