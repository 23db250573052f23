//! Results in JUnit's XML, which every CI system reads.

use std::io::{self, Write};

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::SuiteResult;

/// Writes a report with a suite for each file.
///
/// # Errors
/// When it cannot be written.
pub fn write(results: &[SuiteResult], out: impl Write) -> io::Result<()> {
    let mut report = Report::new("tagfleet-gateway test");
    for result in results {
        let mut suite = TestSuite::new(result.file.as_str());
        for case in &result.cases {
            let mut status = TestCaseStatus::success();
            if let Some(first) = case.failures.first() {
                status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status
                    .set_message(first.as_str())
                    .set_description(case.failures.join("\n"));
            }
            let mut shown = TestCase::new(case.name.as_str(), status);
            shown.set_classname(result.file.as_str()).set_time(case.took);
            suite.add_test_case(shown);
        }
        report.add_test_suite(suite);
    }
    report.serialize(out).map_err(io::Error::other)
}
