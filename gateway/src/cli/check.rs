//! `check`: every mistake in manifests, one a line: `file:line:column: Kind/name: field.path: message`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use super::CheckArguments;
use crate::config::{
    self,
    finding::{Finding, Severity},
};

/// Checks and prints. Exit code 1 when something is refused.
pub(super) fn run(arguments: &CheckArguments) -> ExitCode {
    if arguments.data_flow {
        // As with fields: what does nothing yet is refused, so that nobody takes its silence for an answer.
        writeln!(io::stderr(), "--data-flow is not in force in this version yet").unwrap_or_default();
        return ExitCode::FAILURE;
    }
    let mut findings = config::check(arguments.paths.clone());
    if arguments.strict {
        for finding in &mut findings {
            finding.severity = Severity::Error;
        }
    }
    let refused = findings.iter().any(Finding::is_error);
    // Who closes the pipe early has read enough.
    print(&findings).unwrap_or_default();
    if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn print(findings: &[Finding]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for finding in findings {
        writeln!(out, "{finding}")?;
    }
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    match (errors, findings.len() - errors) {
        (0, 0) => writeln!(out, "no mistakes"),
        (errors, warnings) => writeln!(out, "{}, {}", count(errors, "error"), count(warnings, "warning")),
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
