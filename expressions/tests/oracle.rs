//! Expressions at random, evaluated by us and by the interpreter of the crate `cel`: both give the same, or both fail.
//!
//! Left out is what we mean otherwise, as docs/expressions.md says: `has()` under something absent, and keys that are no
//! text. And what the crate leaves open or means its own way: the order of a map's keys, NaN, `list + map`, `null in map`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;

use cel::{Context, Env, extensions, objects::Key};
use proptest::{prelude::*, strategy::Union};
use support::{Hit, compile};
use tagfleet_expressions::{Steps, Type, Value};

const EVENT: &str = r#"{
    "int": 7, "negative": -3, "zero": 0, "large": 9223372036854775807, "double": 2.5, "whole": 7.0, "text": "Bowl-10",
    "empty": "", "yes": true, "no": false, "nothing": null, "numbers": [1, 2.5, -3, 2], "texts": ["a", "Bowl-10", ""],
    "mixed": [1, "a", null, true, [1], {"a": 1}], "map": {"b": {"c": "Bowl-10"}},
    "items": [{"id": "A", "price": 4.5}, {"id": "B", "price": 3, "tag": "x"}]
}"#;

/// What the crate `cel` gives.
fn oracle(source: &str, hit: &Hit) -> Result<Value<'static>, String> {
    let mut environment = Env::stdlib();
    environment.add_extension(extensions::strings).unwrap();
    let environment = Arc::new(environment);
    let program = environment
        .compile(source)
        .map_err(|error| format!("{source}: {error}"))
        .unwrap();
    let mut context = Context::with_env(environment);
    context.add_variable_from_value("event", cel::to_value(&hit.event).unwrap());
    let result = program.execute(&context).map_err(|error| error.to_string())?;
    Ok(from_oracle(&result))
}

fn from_oracle(value: &cel::Value) -> Value<'static> {
    match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(truth) => Value::Bool(*truth),
        cel::Value::Int(number) => Value::Int(*number),
        cel::Value::UInt(number) => Value::Uint(*number),
        cel::Value::Float(number) => Value::Double(*number),
        cel::Value::String(text) => Value::from(text.to_string()),
        cel::Value::List(elements) => Value::List(elements.iter().map(from_oracle).collect()),
        cel::Value::Map(map) => {
            let entries = map.map.iter().map(|(key, value)| match key {
                Key::String(name) => (name.to_string().into(), from_oracle(value)),
                other => panic!("a key of another kind: {other:?}"),
            });
            Value::Map(entries.collect())
        }
        other => panic!("a value of another kind: {other:?}"),
    }
}

/// The same value with the names of maps in one order.
fn normal(value: &Value<'_>) -> String {
    let mut text = format!("{value:?}");
    if let Value::Map(map) = value {
        let mut entries: Vec<_> = map
            .iter()
            .map(|(name, value)| format!("{name}: {}", normal(value)))
            .collect();
        entries.sort();
        text = format!("Map({entries:?})");
    }
    if let Value::List(list) = value {
        text = format!("List({:?})", list.iter().map(normal).collect::<Vec<_>>());
    }
    text
}

fn agree(source: &str) -> Result<(), TestCaseError> {
    let hit = Hit::of(EVENT);
    let expression = compile(source).map_err(|error| TestCaseError::fail(format!("{source}: {error}")))?;
    let ours = expression.evaluate(&&hit, &mut Steps::new(1_000_000));
    let theirs = oracle(source, &hit);
    match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => prop_assert_eq!(normal(ours), normal(theirs), "{}", source),
        (Err(_), Err(_)) => {}
        _ => prop_assert!(false, "{source}: ours {ours:?}, theirs {theirs:?}"),
    }
    if let Ok(value) = &ours {
        let inferred = expression.result_type();
        prop_assert!(
            inferred == Type::Dyn || inferred == Type::of(value),
            "{source}: {inferred} but {value:?}"
        );
    }
    Ok(())
}

type Source = BoxedStrategy<String>;

fn one_of(choices: &'static [&'static str]) -> Source {
    prop::sample::select(choices).prop_map(str::to_owned).boxed()
}

fn any_of(choices: Vec<Source>) -> Source {
    Union::new(choices).boxed()
}

/// `template` with `#1` and `#2` replaced by what the strategies give.
fn fill(template: &'static [&'static str], one: Source, two: Source) -> Source {
    (prop::sample::select(template), one, two)
        .prop_map(|(template, one, two)| template.replace("#1", &one).replace("#2", &two))
        .boxed()
}

/// Expressions by the type of their result. Fields of the event stand for any type, so operands may also not fit.
struct Typed {
    int: Source,
    double: Source,
    text: Source,
    truth: Source,
    list: Source,
}

impl Typed {
    fn leaves() -> Self {
        let fields = one_of(&[
            "event.int",
            "event.negative",
            "event.zero",
            "event.large",
            "event.double",
            "event.whole",
            "event.text",
            "event.empty",
            "event.yes",
            "event.no",
            "event.nothing",
            "event.numbers",
            "event.texts",
            "event.mixed",
            "event.items[1].price",
            "event.map.b.c",
            "event.missing",
            "event.map.missing",
            "event.numbers[1]",
            "event.mixed[9]",
            "event['text']",
        ]);
        let or_field = |own: &'static [&'static str]| any_of(vec![one_of(own), one_of(own), fields.clone()]);
        Self {
            int: or_field(&["0", "1", "-2", "7", "event.int", "9223372036854775807", "event.zero"]),
            double: or_field(&["0.0", "1.0", "-2.5", "7.0", "event.double", "1e300"]),
            text: or_field(&["''", "'a'", "'Bowl-10'", "'é,b'", "'12'", "'true'", "event.text"]),
            truth: or_field(&[
                "true",
                "false",
                "event.yes",
                "has(event.int)",
                "has(event.missing)",
                "has(event.map.b)",
            ]),
            list: or_field(&[
                "[]",
                "[1, 2, 3]",
                "event.numbers",
                "event.texts",
                "event.mixed",
                "['a', 'b']",
                "event.map",
            ]),
        }
    }

    /// The same types, one level deeper.
    fn deeper(self) -> Self {
        let Self {
            int,
            double,
            text,
            truth,
            list,
        } = self;
        let proper_list = one_of(&[
            "[]",
            "[1, 2, 3]",
            "event.numbers",
            "event.texts",
            "event.mixed",
            "['a', 'b']",
            "event.text",
        ]);
        let small = one_of(&["0", "1", "2", "-1", "7"]);
        Self {
            int: any_of(vec![
                int.clone(),
                fill(
                    &[
                        "(#1 + #2)",
                        "(#1 - #2)",
                        "(#1 * #2)",
                        "(#1 / #2)",
                        "(#1 % #2)",
                        "(-(#1))",
                    ],
                    int.clone(),
                    int.clone(),
                ),
                fill(&["(#1 ? #2 : 1)", "(#1 ? 2 : #2)"], truth.clone(), int.clone()),
                fill(&["size(#1)", "#1.size()"], text.clone(), text.clone()),
                fill(&["size(#1)", "size(#2 + #2)"], list.clone(), proper_list.clone()),
                fill(&["int(#1)"], double.clone(), double.clone()),
                fill(&["int(#1)"], text.clone(), text.clone()),
                fill(&["#1[#2]"], list.clone(), small),
            ]),
            double: any_of(vec![
                double.clone(),
                fill(&["(#1 + #2)", "(#1 - #2)", "(-(#1))"], double.clone(), double.clone()),
                fill(&["double(#1)"], int.clone(), int.clone()),
                fill(&["double(#1)"], text.clone(), text.clone()),
            ]),
            text: any_of(vec![
                text.clone(),
                fill(
                    &["(#1 + #2)", "#1.lowerAscii()", "string(#1)"],
                    text.clone(),
                    text.clone(),
                ),
                fill(&["string(#1)", "string(#2)"], int.clone(), truth.clone()),
                fill(&["(#1 ? #2 : 'z')"], truth.clone(), text.clone()),
            ]),
            truth: any_of(vec![
                truth.clone(),
                fill(
                    &[
                        "(#1 && #2)",
                        "(#1 || #2)",
                        "(!(#1))",
                        "(#1 == #2)",
                        "(#1 != #2)",
                        "(#1 ? #2 : true)",
                    ],
                    truth.clone(),
                    truth.clone(),
                ),
                fill(
                    &["(#1 < #2)", "(#1 >= #2)", "(#1 == #2)", "(#1 != #2)"],
                    int.clone(),
                    double,
                ),
                fill(&["(#1 <= #2)", "(#1 > #2)", "(#1 == #2)"], int.clone(), int.clone()),
                fill(
                    &[
                        "(#1 < #2)",
                        "(#1 > #2)",
                        "(#1 == #2)",
                        "#1.contains(#2)",
                        "#1.startsWith(#2)",
                        "#1.endsWith(#2)",
                    ],
                    text.clone(),
                    text.clone(),
                ),
                fill(
                    &["#1.matches('^[A-Z][a-z]+-[0-9]+$')", "bool(#1)"],
                    text.clone(),
                    text.clone(),
                ),
                fill(&["(#1 in #2)"], int.clone(), proper_list.clone()),
                fill(&["(#1 == #2)", "(#1 != #2)"], list.clone(), list.clone()),
                fill(
                    &[
                        "[1, 2].exists(x, #2)",
                        "#1.all(x, x == x && #2)",
                        "#1.exists(x, x > 1)",
                        "#1.all(x, x < 3)",
                        "#1.exists_one(x, x == 2)",
                    ],
                    list.clone(),
                    truth.clone(),
                ),
            ]),
            list: any_of(vec![
                list.clone(),
                fill(&["(#1 + #2)"], proper_list.clone(), proper_list),
                fill(&["[#1, #2]"], int, text.clone()),
                fill(
                    &[
                        "#1.map(x, x == 1)",
                        "#1.map(x, #2, x)",
                        "#1.filter(x, #2)",
                        "#1.filter(x, x != 2)",
                    ],
                    list,
                    truth.clone(),
                ),
                fill(&["#1.split(#2)", "#1.split(',', 2)"], text.clone(), text),
                fill(&["{'a': #1}.map(k, k)", "[{'a': #1}]"], truth.clone(), truth),
            ]),
        }
    }

    fn any(self) -> Source {
        any_of(vec![self.int, self.double, self.text, self.truth, self.list])
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shallow_expressions_agree_with_the_cel_crate(source in Typed::leaves().deeper().any()) {
        if compile(&source).is_ok() {
            agree(&source)?;
        }
    }

    #[test]
    fn deep_expressions_agree_with_the_cel_crate(source in Typed::leaves().deeper().deeper().deeper().any()) {
        if compile(&source).is_ok() {
            agree(&source)?;
        }
    }
}

#[test]
fn most_random_expressions_are_accepted() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = Typed::leaves().deeper().deeper().any();
    let mut refused = Vec::new();
    for _ in 0..500 {
        let source = strategy.new_tree(&mut runner).unwrap().current();
        refused.extend(compile(&source).err().map(|error| format!("{source}: {error}")));
    }
    assert!(refused.len() < 100, "{refused:#?}");
}

#[test]
fn literal_expressions_of_the_cel_specification_agree() {
    for source in [
        "1 + 2 * 3 % 4 - 5",
        "-7 / 2 * 2",
        "1u + 2u * 3u",
        "'a' + 'b' == 'ab' && 'a' < 'b'",
        "[1, 2] + [3] == [1, 2, 3]",
        "{'a': [1, {'b': 2}]}.a[1].b",
        "1 == 1.0 && 1u == 1 && 1.0 == 1u",
        "9007199254740993 == 9007199254740992.0",
        "-1 < 0u && 18446744073709551615u > 9223372036854775807",
        "'\\u00e9'.size() + size('日本')",
        "true ? 1 : 1 / dyn(0)",
        "false && 1 / dyn(0) > 1 || true",
        "[0, 1, 2].all(x, 2 / x > 0)",
        "[0, 1, 2].exists(x, 2 / x == 2)",
        "[1, 2, 3].map(x, x > 1, x * x).filter(y, y > 4)",
        "int('12') + int(3.99) + int(-3.99)",
        "string(1.0) + string(1e21) + string(0.1) + string(-7) + string(7u)",
        "double('1e3') == 1000.0",
        "'a,b,c'.split(',', 2) == ['a', 'b,c']",
        "''.split(',') == [''] && ''.split('') == []",
        "'abc'.split('', 2) == ['a', 'bc']",
        "dyn('a') == 1",
        "dyn(null) == null && dyn(1) != null",
        "dyn('a') < 1",
        "uint(-1)",
        "[1][dyn(1)]",
        "[1][0.0]",
        "'x' in {'x': 1} && !('y' in {'x': 1})",
    ] {
        agree(source).unwrap();
    }
}
