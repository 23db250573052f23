//! `check`: every mistake in manifests, one a line: `file:line:column: Kind/name: field.path: message`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use super::{CheckArguments, data_flow};
use crate::config::{
    self,
    finding::{Finding, Severity},
};

/// Checks and prints. Exit code 1 when something is refused.
pub(super) fn run(arguments: &CheckArguments) -> ExitCode {
    let mut findings = config::check(arguments.paths.clone());
    if arguments.strict {
        for finding in &mut findings {
            finding.severity = Severity::Error;
        }
    }
    let refused = findings.iter().any(Finding::is_error);
    // Who closes the pipe early has read enough.
    print(arguments, &findings).unwrap_or_default();
    if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The mistakes; with `--data-flow` the record, and the mistakes beside it on standard error.
fn print(arguments: &CheckArguments, findings: &[Finding]) -> io::Result<()> {
    let Some(layout) = arguments.data_flow else {
        return print_findings(findings, &mut io::stdout().lock());
    };
    if !findings.is_empty() {
        print_findings(findings, &mut io::stderr().lock())?;
    }
    let described = config::data_flow::describe(arguments.paths.clone());
    data_flow::print(layout, &described, &mut io::stdout().lock())
}

fn print_findings(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
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
