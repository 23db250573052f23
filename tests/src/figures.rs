//! Figures of the scenarios on a node, for docs/reliability.md: each is printed, and a line of the file that
//! `TAGFLEET_FIGURES` names, which `make e2e` makes a table of.

use std::{env, fs::OpenOptions, io::Write as _, time::Duration};

/// Says what came of a scenario: `note("A pod is deleted under load", "9,000 hits, none refused, none lost")`.
///
/// # Panics
/// When the file cannot be written.
pub fn note(scenario: &str, figure: &str) {
    println!("{scenario}: {figure}");
    if let Ok(path) = env::var("TAGFLEET_FIGURES") {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .expect("the file of figures");
        writeln!(file, "{scenario}\t{figure}").expect("the file of figures");
    }
}

/// Seconds to the tenth: `12.3 s`.
#[must_use]
pub fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
