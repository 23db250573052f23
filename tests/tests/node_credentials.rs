//! Credentials in real pods: a token that is rotated, a Secret that is not shared. scripts/test node runs it, as root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tagfleet_tests::{
    cluster::{
        fleet::{Fleet, PATIENCE, lives, webhook},
        node::{ADDRESS, Node},
    },
    figures::{note, seconds},
    sink::Sink,
    wait,
};

/// How long a rotated token may take to be in force in every pod (docs: kubelet's sync).
const ROTATION: Duration = Duration::from_secs(120);

/// A webhook that sends the key `token` of the Secret `keys` as a header.
fn with_token(sink: &Sink) -> Value {
    let mut spec = webhook(sink);
    spec["webhook"]["headers"] = json!({"X-Token": {"secretKeyRef": {"name": "keys", "key": "token"}}});
    spec
}

/// The token of the newest request.
fn last_token(sink: &Sink) -> Option<String> {
    sink.requests().pop()?.headers.remove("x-token")
}

#[test]
fn a_secret_is_used_only_once_it_is_shared_and_a_rotated_token_needs_no_restart() {
    let test = "a_secret_is_used_only_once_it_is_shared_and_a_rotated_token_needs_no_restart";
    let Some(node) = Node::get(test) else {
        return;
    };
    let (sink, guarded) = (Sink::at(ADDRESS), Sink::at(ADDRESS));
    let fleet = Fleet::apply(node, "credentials", &sink);
    let space = &fleet.space;
    let pods = fleet.pods(2);

    // A Secret without the label is not used. The condition says how to share it.
    space
        .kubectl("create secret generic keys --from-literal=token=first")
        .ok();
    fleet.destination("guarded", &with_token(&guarded));
    let says = ("False", "SecretNotShared");
    let message = space.wait_for_condition("destination/guarded", "CredentialsResolved", says, PATIENCE);
    let (_, command) = message.split_once("run: kubectl ").expect("the message has a command");
    assert_eq!(guarded.stats().requests, 0);
    assert_eq!(fleet.hit_over_tls("purchase", "before"), "204");

    // That command is all it takes.
    node.cluster().kubectl(command.split_whitespace().take(6)).ok();
    let shared = Instant::now();
    wait::until_true("what waited arrives", ROTATION, || guarded.ids().len() == 1);
    space.wait_for_condition(
        "destination/guarded",
        "CredentialsResolved",
        ("True", "Resolved"),
        ROTATION,
    );
    let took = shared.elapsed();
    assert_eq!(last_token(&guarded).as_deref(), Some("first"));
    note(
        "A Secret is shared with Destinations",
        &format!(
            "in force in every pod after {}; what waited for it arrives",
            seconds(took)
        ),
    );

    // Rotated: both pods send the new one, in time.
    space.patch("secret/keys", &json!({"stringData": {"token": "second"}}));
    let rotated = Instant::now();
    let mut in_a_row = 0;
    let mut number = 0;
    wait::until_true("the new token is in force in every pod", ROTATION, || {
        number += 1;
        let id = format!("rotated-{number}");
        assert_eq!(fleet.hit_over_tls("purchase", &id), "204");
        wait::until_true("it arrives", PATIENCE, || guarded.ids().contains_key(&id));
        let is_new = last_token(&guarded).as_deref() == Some("second");
        in_a_row = if is_new { in_a_row + 1 } else { 0 };
        // nginx takes the pods in turn.
        in_a_row == 6
    });
    let took = rotated.elapsed();
    assert!(took < ROTATION, "{took:?}");
    assert_eq!(lives(&fleet.pods(2)), lives(&pods), "no container was restarted");
    note(
        "A token is rotated",
        &format!("in force in every pod after {}, without a restart", seconds(took)),
    );
}
