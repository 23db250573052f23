//! `test`: runs `*.test.yaml` beside manifests and tells what is not as expected.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use crate::test_runner::{self, SuiteResult, junit};

#[derive(Debug, Args)]
pub(super) struct TestArguments {
    /// A folder with files named `*.test.yaml`, or one such file.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Also writes the results as JUnit XML.
    #[arg(long, env = "TAGFLEET_JUNIT", value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// Runs and prints. Exit code 1 when a test failed or there is none.
pub(super) fn run(arguments: &TestArguments) -> ExitCode {
    match test(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            writeln!(io::stderr(), "{message}").unwrap_or_default();
            ExitCode::FAILURE
        }
    }
}

fn test(arguments: &TestArguments) -> Result<bool, String> {
    let told = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let files = test_runner::find(&arguments.dir).map_err(|error| told(&arguments.dir, error))?;
    if files.is_empty() {
        return Err(format!(
            "{}: no file named *.test.yaml is in it",
            arguments.dir.display()
        ));
    }
    let results: Vec<SuiteResult> = files.iter().map(|file| test_runner::run(file)).collect();
    if let Some(path) = &arguments.junit {
        let written = File::create(path).and_then(|file| junit::write(&results, file));
        written.map_err(|error| told(path, error))?;
    }
    // Who closes the pipe early has read enough.
    print(&results).unwrap_or_default();
    Ok(results
        .iter()
        .flat_map(|result| &result.cases)
        .all(|case| case.failures.is_empty()))
}

fn print(results: &[SuiteResult]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let (mut passed, mut failed) = (0, 0);
    for result in results {
        writeln!(out, "{}", result.file)?;
        for case in &result.cases {
            if case.failures.is_empty() {
                passed += 1;
                writeln!(out, "  ok      {}", case.name)?;
            } else {
                failed += 1;
                writeln!(out, "  FAILED  {}", case.name)?;
                for failure in &case.failures {
                    writeln!(out, "          {failure}")?;
                }
            }
        }
    }
    writeln!(out, "{passed} passed, {failed} failed")
}
