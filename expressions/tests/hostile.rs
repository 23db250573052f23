//! Sources and events made to hurt: nothing panics, overflows the stack or runs past its budget.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use proptest::prelude::*;
use support::{Hit, compile, environment};
use tagfleet_expressions::{EvaluateError, Expression, MAX_SOURCE_BYTES, Steps, Value};

/// Half of the stack that a thread of the standard library or of tokio gets.
const STACK_BYTES: usize = 1 << 20;

fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    thread.spawn(work).unwrap().join().unwrap();
}

/// Sources that nest `depth` levels, by every construct that nests.
fn nested(depth: usize) -> Vec<String> {
    let around = |open: &str, core: &str, close: &str| format!("{}{core}{}", open.repeat(depth), close.repeat(depth));
    let chain = |term: &str, operator: &str| vec![term; depth + 1].join(operator);
    vec![
        around("(", "1", ")"),
        around("[", "1", "]"),
        around("{'a':", "1", "}"),
        around("dyn(", "1", ")"),
        around("[0][", "0", "]"),
        around("event.a.orElse(", "1", ")"),
        around("!", "true", ""),
        around("-", "1", ""),
        around("-!", "event.a", ""),
        around("event.a?1:", "1", ""),
        around("event.a?(", "1", "):2"),
        around("(1+", "1", ")"),
        around("(event.a&&event.b||", "true", ")"),
        format!("event{}", ".a".repeat(depth)),
        format!("event.a{}", "[0]".repeat(depth)),
        format!("event{}", ".orElse(1)".repeat(depth)),
        format!("event{}", ".filter(i,true)".repeat(depth)),
        chain("event.a", "+"),
        chain("event.a", "-"),
        chain("event.a", "*"),
        chain("event.a", "<"),
        chain("event.a", " in "),
    ]
}

#[test]
fn any_nesting_is_compiled_or_refused_on_a_small_stack() {
    on_a_small_stack(|| {
        for depth in [1, 10, 30, 50, 60, 63, 64, 65, 100, 500, 1_000, 4_000] {
            for source in nested(depth) {
                let compiled = compile(&source);
                let unsigned = source.starts_with('!') || source.starts_with('-');
                if depth <= 20 && !source.contains("<event") && !source.starts_with("-!") {
                    assert!(compiled.is_ok(), "{source}: {}", compiled.unwrap_err());
                }
                if depth > 100 && !unsigned {
                    assert!(compiled.is_err(), "{source}");
                }
                if let Ok(expression) = compiled {
                    let hit = Hit::of("{}");
                    expression.evaluate(&&hit, &mut Steps::default()).ok();
                }
            }
        }
    });
}

#[test]
fn unfinished_and_senseless_sources_are_refused_on_a_small_stack() {
    on_a_small_stack(|| {
        let fillers = (' '..='~').map(String::from).chain(
            [
                "é", "\u{0}", "\n", "'''", "//", "(a", "[1,", "{'a':", "a?", "a?b:", "a.b(", "!-", "&&", "a&&b||",
                "x.all(y,", "`", "\\",
            ]
            .map(String::from),
        );
        for filler in fillers {
            let source: String = filler.repeat(MAX_SOURCE_BYTES / filler.len());
            for source in [source.clone(), format!("event.a{source}"), format!("'{source}")] {
                compile(&source).ok();
            }
        }
    });
}

#[test]
fn a_long_flat_condition_is_no_deep_one() {
    on_a_small_stack(|| {
        for operator in [" || ", " && "] {
            let source = vec!["event.sku == 'A-1'"; 180].join(operator);
            let expression = compile(&source).unwrap();
            let hit = Hit::of(r#"{"sku": "A-1"}"#);
            assert_eq!(expression.evaluate(&&hit, &mut Steps::default()), Ok(Value::Bool(true)));
        }
        let many = vec!["event.a ? 1 : 2"; 200].join(", ");
        assert!(compile(&format!("[{many}]")).is_ok());
    });
}

#[test]
fn a_source_may_have_4096_bytes() {
    let longest = format!("'{}'", "x".repeat(MAX_SOURCE_BYTES - 2));
    assert!(compile(&longest).is_ok());
    let error = compile(&format!("{longest} ")).unwrap_err();
    assert!(error.message.contains("4097 bytes"), "{error}");
}

#[test]
fn the_worst_loop_over_200_items_stops_at_the_budget() {
    let items: Vec<String> = (0..200)
        .map(|number| format!(r#"{{"name": "item {number}", "price": {number}}}"#))
        .collect();
    let event = format!(
        r#"{{"items": [{}], "text": "{}"}}"#,
        items.join(","),
        "a".repeat(100_000)
    );
    let hit = Hit::of(&event);
    for body in [
        vec!["i.name != 'none'"; 180].join(" && "),
        vec!["i in event.items"; 180].join(" && "),
        vec!["event.items == event.items"; 100].join(" && "),
        "size(event.text + event.text) > 0 && !event.text.contains('b')".to_owned(),
        "!event.text.matches('(a+)+b')".to_owned(),
        "size([event, event, event, event]) > 0".to_owned(),
        "event.text.split('').size() > 0".to_owned(),
    ] {
        let expression = compile(&format!("event.items.all(i, {body})")).unwrap();
        let mut steps = Steps::default();
        let result = expression.evaluate(&&hit, &mut steps);
        assert_eq!(result, Err(EvaluateError::StepsExhausted), "{body}");
        assert_eq!(steps.left(), 0);
    }
    // A usual condition over as many stays far below it.
    let usual = compile("event.items.exists(i, has(i.promotion_id) && i.promotion_id != '')").unwrap();
    let mut steps = Steps::default();
    assert_eq!(usual.evaluate(&&hit, &mut steps), Ok(Value::Bool(false)));
    assert!(steps.left() > 8_000, "{} left", steps.left());
}

#[test]
fn one_budget_serves_all_expressions_of_a_hit() {
    let expression = compile("event.value > 10").unwrap();
    let hit = Hit::of(r#"{"value": 11}"#);
    let mut steps = Steps::new(8);
    assert_eq!(expression.evaluate(&&hit, &mut steps), Ok(Value::Bool(true)));
    assert_eq!(steps.left(), 5);
    assert_eq!(expression.evaluate(&&hit, &mut steps), Ok(Value::Bool(true)));
    assert_eq!(
        expression.evaluate(&&hit, &mut steps),
        Err(EvaluateError::StepsExhausted)
    );
}

#[test]
fn nothing_absorbs_an_exhausted_budget() {
    let hit = Hit::of(r#"{"items": [1, 2, 3]}"#);
    for source in [
        "event.items.all(i, i > 0) || true",
        "true || event.items.all(i, i > 0)",
        "event.items.map(i, i).orElse(true)",
        "has(event.items.map(i, {'a': i})[0].a)",
    ] {
        let expression = compile(source).unwrap();
        let mut steps = Steps::default();
        expression.evaluate(&&hit, &mut steps).unwrap();
        let needed = 10_000 - steps.left();
        for budget in 0..needed {
            let result = expression.evaluate(&&hit, &mut Steps::new(budget));
            assert_eq!(result, Err(EvaluateError::StepsExhausted), "{source} with {budget}");
        }
    }
}

#[test]
fn patterns_are_bounded() {
    for (source, reason) in [
        ("event.a.matches('(')", "unclosed group"),
        (r"event.a.matches('(\\w{1000}){1000}')", "too large"),
        (r"event.a.matches('(?=a)')", "look-around"),
        (r"event.a.matches('(a)\\1')", "backreferences"),
        ("event.a.matches(event.b)", "must stand in quotes"),
    ] {
        let error = compile(source).unwrap_err();
        assert!(error.message.contains(reason), "{source}: {error}");
    }
    let many = vec!["event.a.matches('a')"; 17].join(" || ");
    assert!(compile(&many).unwrap_err().message.contains("16 patterns"));
}

/// Text made of the language's own pieces: nearer to a valid expression than letters at random.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "event",
        ".",
        "value",
        "items",
        "consent",
        "vars",
        "low_stock",
        "request",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "?",
        "&&",
        "||",
        "!",
        "-",
        "+",
        "*",
        "/",
        "%",
        "<",
        "<=",
        "==",
        "!=",
        " in ",
        "1",
        "2u",
        "3.5",
        "1e400",
        "0x",
        "'a'",
        "\"",
        "'",
        "`",
        "true",
        "null",
        "has(",
        ".exists(i,",
        ".map(i,",
        ".filter(i, ",
        ".all(",
        "i",
        "matches('",
        "lookup('campaigns',",
        "url(",
        "int(",
        ".orElse(",
        "size(",
        ".split(",
        "@",
        "é",
        "\n",
        "//",
        "b'x'",
        "\\",
        "event.items",
        "event.value",
        " ",
    ]);
    prop::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat())
}

fn is_harmless(source: &str) {
    match Expression::compile(source, &environment()) {
        Ok(expression) => {
            let hit = Hit::of(r#"{"value": 12, "items": [{"a": 1}, 2, "x", null, [3]], "a": {"b": 1}}"#);
            expression.evaluate(&&hit, &mut Steps::default()).ok();
        }
        Err(error) => {
            assert!(source.is_char_boundary(error.offset), "{source:?}: {error:?}");
            assert!(
                error.column >= 1 && error.column <= source.chars().count() + 1,
                "{source:?}: {error:?}"
            );
            assert!(!error.message.is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_harmless(source in "\\PC{0,200}") {
        is_harmless(&source);
    }

    #[test]
    fn any_bytes_as_text_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        is_harmless(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_pieces_of_the_language_are_harmless(source in pieces()) {
        is_harmless(&source);
    }
}
