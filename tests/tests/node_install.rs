//! Installation with real pods: each command of docs/install.md, the chart upgraded under a fleet, and what an uninstallation
//! leaves. scripts/test node runs it, as root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use tagfleet_tests::{
    cluster::{
        fleet::{Fleet, PATIENCE, assert_nothing_refused, lives},
        node::{ADDRESS, Node, OTHER_OPERATOR_IMAGE},
    },
    figures::{note, seconds},
    helm::{self, Helm},
    install_page::{Blocks, run_blocks},
    sink::Sink,
    wait,
};

/// An operator that is replaced, and one more that takes the lease.
const UPGRADE: Duration = Duration::from_secs(60);

/// From the chart of a release before, which had another operator. A fleet and its objects are there.
#[test]
fn an_upgraded_chart_replaces_the_operator_and_leaves_fleets_alone_and_so_does_its_end() {
    let test = "an_upgraded_chart_replaces_the_operator_and_leaves_fleets_alone_and_so_does_its_end";
    let Some(node) = Node::get(test) else {
        return;
    };
    let helm = Helm::of(node.cluster());
    let scratch = tempfile::tempdir().unwrap();
    let previous = previous_chart(scratch.path());
    node.install(&previous);
    let sink = Sink::at(ADDRESS);
    let fleet = Fleet::apply(node, "upgrade", &sink);
    let pods = fleet.pods(2);
    let template = || fleet.space.get("deployment/shop-gateway")["metadata"]["generation"].clone();
    let before = template();
    let load = fleet.load(200, 30);

    // Upgraded,
    let start = Instant::now();
    let chart = helm::chart("tagfleet");
    let upgrade = [
        "upgrade",
        "tagfleet",
        chart.to_str().unwrap(),
        "--namespace",
        "tagfleet",
    ];
    let (_, tag) = OTHER_OPERATOR_IMAGE.split_once(':').unwrap();
    let image = format!("image.tag={tag}");
    let how = [
        "--reset-then-reuse-values",
        "--wait",
        "--timeout=120s",
        "--set-string",
        &image,
    ];
    helm.run(upgrade.iter().chain(&how)).ok();
    let upgraded = start.elapsed();
    // the new operator acts on what is stored,
    fleet.space.kubectl("delete poddisruptionbudget shop-gateway").ok();
    wait::until_true("the new operator mends", UPGRADE, || {
        !fleet.space.get("poddisruptionbudget/shop-gateway").is_null()
    });

    // and no pod of a fleet was touched, nor a hit.
    let sent = fleet.finish(load);
    assert_nothing_refused(&sent);
    assert_eq!(lives(&fleet.pods(2)), lives(&pods));
    assert_eq!(template(), before);

    // Uninstalled, objects and pods stay, and hits still come through.
    helm.run(["uninstall", "tagfleet", "--namespace", "tagfleet", "--wait"])
        .ok();
    assert_eq!(lives(&fleet.pods(2)), lives(&pods));
    assert!(!fleet.space.get("taggingcontainer/shop").is_null());
    assert_eq!(fleet.hit_over_tls("purchase", "without-an-operator"), "204");
    wait::until_true("it arrives", PATIENCE, || {
        sink.ids().contains_key("without-an-operator")
    });
    let arrived = fleet.assert_nothing_lost(&sink);
    note(
        "The chart is upgraded to another operator under load, then uninstalled",
        &format!(
            "upgraded in {}; no gateway restarted; {arrived} hits, none refused, none lost; the fleet goes on serving",
            seconds(upgraded)
        ),
    );
}

/// Every command of the page, those that need pods too, in order.
#[test]
fn the_commands_of_the_installation_page_work_with_pods() {
    let Some(node) = Node::bare("the_commands_of_the_installation_page_work_with_pods") else {
        return;
    };
    let start = Instant::now();
    let ran = run_blocks(node.cluster(), Blocks::WithPods);
    note(
        "Every command of the installation page, with images of this build",
        &format!("{ran} blocks work, in {}", seconds(start.elapsed())),
    );
}

/// The chart as an earlier release would have had it: another version.
fn previous_chart(folder: &std::path::Path) -> std::path::PathBuf {
    let previous = folder.join("tagfleet");
    let copied = Command::new("cp")
        .arg("-R")
        .arg(helm::chart("tagfleet"))
        .arg(&previous)
        .status()
        .unwrap();
    assert!(copied.success());
    let about = fs::read_to_string(previous.join("Chart.yaml")).unwrap();
    let older = about.replace("\nversion: 0.1.0", "\nversion: 0.0.9");
    assert_ne!(older, about);
    fs::write(previous.join("Chart.yaml"), older).unwrap();
    previous
}
