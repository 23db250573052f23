//! Every example of docs/expressions.md does what the page says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{Hit, environment, json};
use tagfleet_expressions::{Expression, Steps, Value};

const PAGE: &str = include_str!("../../docs/expressions.md");

/// The fenced blocks of the page in `language`.
fn blocks(language: &str) -> impl Iterator<Item = &'static str> {
    PAGE.split("```")
        .skip(1)
        .step_by(2)
        .filter_map(move |block| block.strip_prefix(language)?.strip_prefix('\n'))
}

fn hit() -> Hit {
    let mut hit = Hit::of(blocks("json").next().unwrap());
    hit.request = json(r#"{"host": "metrics.shop.example", "headers": {"user-agent": "Mozilla/5.0 Firefox/140.0"}}"#);
    hit
}

fn check(line: &str) {
    let (source, outcome) = line.rsplit_once(" // ").or_else(|| line.rsplit_once("// ")).unwrap();
    let source = source.trim();
    let compiled = Expression::compile(source, &environment());
    if let Some(message) = outcome.strip_prefix("refused: ") {
        assert_eq!(
            compiled.map_err(|error| error.message).unwrap_err(),
            message,
            "{source}"
        );
        return;
    }
    let expression = compiled.unwrap_or_else(|error| panic!("{source}: {error}"));
    let hit = hit();
    let result = expression.evaluate(&&hit, &mut Steps::default()).map(Value::into_owned);
    if let Some(message) = outcome.strip_prefix("fails: ") {
        assert_eq!(result.unwrap_err().to_string(), message, "{source}");
        return;
    }
    let expected = outcome
        .strip_prefix("=> ")
        .unwrap_or_else(|| panic!("no outcome in {line}"));
    let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
    let value = result.unwrap_or_else(|error| panic!("{source}: {error}"));
    assert_eq!(serde_json::to_value(value).unwrap(), expected, "{source}");
}

#[test]
fn every_example_of_the_page_does_what_it_says() {
    let lines: Vec<&str> = blocks("cel").flat_map(str::lines).collect();
    assert!(lines.len() > 60, "{} examples found", lines.len());
    lines.into_iter().for_each(check);
}

#[test]
fn the_expressions_of_the_manifests_on_the_page_compile() {
    let quoted: Vec<&str> = blocks("yaml")
        .flat_map(|block| block.split('"').skip(1).step_by(2))
        .collect();
    assert_eq!(quoted.len(), 3);
    for source in quoted {
        Expression::compile(source, &environment()).unwrap_or_else(|error| panic!("{source}: {error}"));
    }
}

#[test]
fn a_condition_on_200_items_takes_as_many_steps_as_the_page_says() {
    let items = vec![r#"{"promotion_id": ""}"#; 200].join(",");
    let hit = Hit::of(&format!(r#"{{"items": [{items}]}}"#));
    let source = "has(event.items) && event.items.exists(i, has(i.promotion_id) && i.promotion_id != '')";
    let expression = Expression::compile(source, &environment()).unwrap();
    let mut steps = Steps::default();
    expression.evaluate(&&hit, &mut steps).unwrap();
    let taken = 10_000 - steps.left();
    assert!((1_300..1_700).contains(&taken), "{taken}");
}
