//! The tests beside the examples pass, and tell what is wrong when a mapping is changed.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use tagfleet_gateway::test_runner;

fn examples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"))
}

#[test]
fn every_example_has_tests_that_pass() {
    let files = test_runner::find(examples()).unwrap();
    for example in ["quickstart", "kubernetes"] {
        let folder = examples().join(example);
        assert!(
            files.iter().any(|file| file.starts_with(&folder)),
            "{example} has no test"
        );
    }
    for file in files {
        for case in test_runner::run(&file).cases {
            assert!(
                case.failures.is_empty(),
                "{}: {}: {:#?}",
                file.display(),
                case.name,
                case.failures
            );
        }
    }
}

#[test]
fn a_changed_trigger_breaks_them_with_a_line_that_says_where() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["quickstart", "quickstart/tests", "hits"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        for entry in fs::read_dir(examples().join(name)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let changed = text.replace(
                "attributes: {currency: \"event.currency\"}",
                "attributes: {currency: \"'USD'\"}",
            );
            fs::write(folder.path().join(name).join(path.file_name().unwrap()), changed).unwrap();
        }
    }
    let results = test_runner::run(&folder.path().join("quickstart/tests/shop.test.yaml"));
    let failures: Vec<&String> = results.cases.iter().flat_map(|case| &case.failures).collect();
    assert_eq!(
        failures,
        ["destinations.promotions.requests[0].body.messages[0].attributes.currency: expected \"EUR\", got \"USD\""]
    );
}
