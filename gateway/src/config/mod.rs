//! The configuration: from manifests to a plan.
//!
//! The way of a file: [`files`] reads it, [`manifests`] makes trees with places of it, [`objects`] tells what they are,
//! [`accept`] checks them against [`schema`] and [`not_in_force`] and gives them types, [`container`] and [`destination`]
//! compile them, [`applied`] keeps the last good form of what is broken, [`compile`] makes the plan.
//!
//! A server calls [`live::Config::load`] once (all mistakes, or a configuration), [`live::Config::plan`] with the log's
//! registration, and then in a loop [`live::Config::changed`], [`report::Reporter::report`] and `plan` again. `check`
//! calls [`check`].

pub mod accept;
pub mod applied;
pub mod compile;
pub mod container;
pub mod data_flow;
pub mod destination;
pub mod files;
pub mod finding;
pub mod kubernetes;
pub mod live;
pub mod manifests;
pub mod not_in_force;
pub mod objects;
pub mod policies;
pub mod readable;
mod reading;
pub mod report;
pub mod rules;
mod scalars;
pub mod schema;
pub mod secrets;
pub mod source;
mod suggest;
pub mod transformations;
pub mod tree;
pub mod watch;
pub mod world;

use std::{path::PathBuf, time::Instant};

use applied::Applied;
use files::Sources;
use finding::Finding;
use rules::Rules;
use tagfleet_crds::validate::Setting;

/// Every mistake in these files and folders, errors and warnings, in the order of files and places. What is nowhere in
/// them (a Secret, a ConfigMap, a container) may be elsewhere, and is a warning.
#[must_use]
pub fn check(paths: Vec<PathBuf>) -> Vec<Finding> {
    let sources = Sources {
        paths,
        secrets_dir: None,
    };
    Applied::default()
        .update(&sources.read(), &Rules::of_files(Setting::Check), Instant::now())
        .all
}
