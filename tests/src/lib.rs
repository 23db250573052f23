//! What the end-to-end tests, the demo and the benchmark share: the programs around the gateway, started and asked.
//!
//! A test reads as a story: it writes manifests ([`manifests`]), starts a receiver ([`sink`]), doubles of the vendors
//! ([`vendors`]), Google's Pub/Sub server ([`pubsub`]) and the gateway ([`gateway`]), or the operator ([`operator`]) in a Kubernetes ([`cluster`]), sends hits ([`hit`], [`http`], [`load`]), and asks the receivers and the
//! gateway's metrics ([`metrics`]) what became of them. Everything here panics with a message when the story cannot go
//! on: it is test code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

pub mod cluster;
pub mod figures;
pub mod gateway;
pub mod helm;
pub mod hit;
pub mod http;
pub mod ingress;
pub mod install_page;
pub mod load;
pub mod manifests;
pub mod metrics;
pub mod operator;
pub mod page;
pub mod policies;
pub mod ports;
pub mod process;
pub mod pubsub;
pub mod quickstart;
pub mod receiver;
pub mod scan;
pub mod section;
pub mod shop;
pub mod sink;
pub mod skip;
pub mod vendors;
pub mod wait;
