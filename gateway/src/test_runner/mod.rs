//! `test`: `*.test.yaml` beside manifests: given this hit, expect these requests and reasons.

mod compare;
pub mod junit;
pub mod suite;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};

pub use self::suite::{Case, Expected, Suite};
use crate::simulate::{Circumstances, SimulatedDestination, SimulatedHit, Simulator, requests};

/// The end of the name of a file of tests.
const SUFFIXES: [&str; 2] = [".test.yaml", ".test.yml"];
/// The deepest folder below the given one that is looked into.
const MAX_FOLDERS: usize = 16;

/// What became of the tests of one file.
#[derive(Debug)]
pub struct SuiteResult {
    /// The file.
    pub file: String,
    /// Each test.
    pub cases: Vec<CaseResult>,
}

/// What became of one test.
#[derive(Debug)]
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// What differs from what is expected, a line each; nothing when it passed.
    pub failures: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// The files of tests in a folder and below, in the order of their names; or the one file that is given.
///
/// # Errors
/// When a folder cannot be read.
pub fn find(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if fs::metadata(path)?.is_dir() {
        find_in(path, 0, &mut found)?;
    } else {
        found.push(path.to_owned());
    }
    found.sort();
    Ok(found)
}

fn find_in(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if path.is_dir() {
            if depth < MAX_FOLDERS && !name.starts_with('.') {
                find_in(&path, depth + 1, found)?;
            }
        } else if SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
            found.push(path);
        }
    }
    Ok(())
}

/// Runs the tests of a file. A file or manifests that cannot be used are one failed test, so that no report can miss them.
#[must_use]
pub fn run(file: &Path) -> SuiteResult {
    let shown = file.display().to_string();
    let started = Instant::now();
    let cases = match cases(file) {
        Ok(cases) => cases,
        Err(failures) => vec![CaseResult {
            name: "the file and its manifests can be used".to_owned(),
            failures,
            took: started.elapsed(),
        }],
    };
    SuiteResult { file: shown, cases }
}

fn cases(file: &Path) -> Result<Vec<CaseResult>, Vec<String>> {
    let text = fs::read_to_string(file).map_err(|error| vec![format!("{}: {error}", file.display())])?;
    let suite = suite::read(&file.display().to_string(), &text)?;
    let folder = file.parent().unwrap_or_else(|| Path::new("."));
    let manifests = suite.manifests.iter().map(|path| folder.join(path)).collect();
    let simulator = Simulator::load(manifests, None, suite.container.as_deref())
        .map_err(|findings| findings.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    Ok(suite
        .tests
        .iter()
        .map(|case| run_case(case, &suite, folder, &simulator))
        .collect())
}

fn run_case(case: &Case, suite: &Suite, folder: &Path, simulator: &Simulator) -> CaseResult {
    let started = Instant::now();
    let failures = match hits(case, suite, folder, simulator) {
        Ok(hits) => differences(case, &hits),
        Err(message) => vec![message],
    };
    CaseResult {
        name: case.name.clone(),
        failures,
        took: started.elapsed(),
    }
}

fn hits(case: &Case, suite: &Suite, folder: &Path, simulator: &Simulator) -> Result<Vec<SimulatedHit>, String> {
    let text = match (&case.request, &case.request_file) {
        (Some(text), None) => text.clone(),
        (None, Some(file)) => {
            let path = folder.join(file);
            fs::read_to_string(&path).map_err(|error| format!("requestFile: {}: {error}", path.display()))?
        }
        _ => return Err("set exactly one of request and requestFile".to_owned()),
    };
    let given = requests::read(&text).map_err(|error| format!("request: {error}"))?;
    let with = Circumstances {
        now_ms: case.at.or(suite.at).unwrap_or(suite::USUAL_TIME).as_millisecond(),
        peer: case.visitor.or(suite.visitor).unwrap_or(suite::USUAL_VISITOR),
    };
    Ok(given.iter().map(|request| simulator.hit(request, with)).collect())
}

/// What the test states and is not so, a line each.
fn differences(case: &Case, hits: &[SimulatedHit]) -> Vec<String> {
    let expected = &case.expect;
    let mut failures = Vec::new();
    if let Some(status) = expected.status {
        let actual: Vec<u16> = hits.iter().map(|hit| hit.status).collect();
        if actual.iter().any(|actual| *actual != status) {
            let refusal = hits.iter().find_map(|hit| hit.refusal.as_deref());
            let because = refusal.map(|refusal| format!(" ({refusal})")).unwrap_or_default();
            failures.push(format!("status: expected {status}, got {}{because}", list(&actual)));
        }
    }
    let events: Vec<_> = hits.iter().flat_map(|hit| &hit.events).collect();
    if let Some(wanted) = &expected.events {
        let stored = events.iter().filter(|event| event.dropped.is_none());
        let actual: Vec<&Json> = stored.map(|event| &event.event).collect();
        compare::list("events", wanted, &actual, &mut failures);
    }
    if let Some(wanted) = &expected.consent {
        for event in &events {
            compare::part("consent", wanted, &json!(event.consent), &mut failures);
        }
    }
    for (name, wanted) in &expected.destinations {
        let all = events.iter().flat_map(|event| &event.destinations);
        let own: Vec<&SimulatedDestination> = all.filter(|destination| destination.name == *name).collect();
        let is_known = !own.is_empty() || events.is_empty();
        if is_known {
            destination(name, wanted, &own, &mut failures);
        } else {
            failures.push(format!("destinations.{name}: the container has no such destination"));
        }
    }
    failures
}

fn destination(name: &str, wanted: &Expected, own: &[&SimulatedDestination], failures: &mut Vec<String>) {
    let at = format!("destinations.{name}");
    let requests: Vec<Json> = own
        .iter()
        .flat_map(|destination| &destination.requests)
        .map(|sent| json!(sent))
        .collect();
    let reasons = || {
        let reasons: Vec<&str> = own
            .iter()
            .map(|destination| destination.refused.as_deref().unwrap_or(&destination.reason))
            .collect();
        list(&reasons)
    };
    if let Some(reason) = &wanted.not_sent {
        if requests.is_empty() {
            let told = own.iter().any(|destination| {
                destination.reason.contains(reason.as_str())
                    || destination
                        .refused
                        .as_deref()
                        .is_some_and(|refused| refused.contains(reason.as_str()))
            });
            if !told && !own.is_empty() {
                failures.push(format!(
                    "{at}.notSent: expected a reason with \"{reason}\", got: {}",
                    reasons()
                ));
            }
        } else {
            failures.push(format!(
                "{at}: expected nothing to be sent, got {} requests",
                requests.len()
            ));
        }
    }
    if let Some(wanted) = &wanted.requests {
        if requests.is_empty() && !wanted.is_empty() {
            failures.push(format!(
                "{at}: expected {} requests, got none: {}",
                wanted.len(),
                reasons()
            ));
        } else {
            let actual: Vec<&Json> = requests.iter().collect();
            compare::list(&format!("{at}.requests"), wanted, &actual, failures);
        }
    }
}

fn list<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
