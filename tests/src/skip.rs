//! Skipping a test aloud. Rust's test harness knows no such thing at run time, so the reason is printed, and appended to
//! the file that `TAGFLEET_SKIPPED` names, from which scripts/test counts.

use std::{env, fs::OpenOptions, io::Write as _};

/// Says that a test is skipped, and why.
pub fn skip(test: &str, reason: &str) {
    println!("SKIPPED {test}: {reason}");
    if let Ok(path) = env::var("TAGFLEET_SKIPPED") {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .expect("the file of skipped tests");
        writeln!(file, "{test}: {reason}").expect("the file of skipped tests");
    }
}
