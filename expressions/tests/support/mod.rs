//! What the tests of expressions share: an event from JSON, and its activation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    unreachable_pub,
    missing_docs
)]

use std::borrow::Cow;

use tagfleet_expressions::{
    Activation, CompileError, Environment, EvaluateError, Expression, Map, Root, Steps, Type, Value,
};

/// Everything that an expression can read, from JSON.
pub struct Hit {
    pub event: Value<'static>,
    pub consent: Value<'static>,
    pub request: Value<'static>,
    pub variables: Map<'static>,
    pub tables: Map<'static>,
}

pub fn json(text: &str) -> Value<'static> {
    serde_json::from_str::<serde_json::Value>(text)
        .unwrap_or_else(|error| panic!("{error} in {text}"))
        .into()
}

impl Hit {
    pub fn of(event: &str) -> Self {
        let Value::Map(variables) = json(r#"{"low_stock": true, "margin": 2.5, "failed": null, "label": "shop"}"#)
        else {
            panic!()
        };
        let Value::Map(tables) = json(
            r#"{"stock-thresholds": {"BOWL-10": {"sku": "BOWL-10", "threshold": "5"}, "7": {"sku": "7", "threshold": "2"}}}"#,
        ) else {
            panic!()
        };
        Self {
            event: json(event),
            consent: json(
                r#"{"ad_storage": "denied", "analytics_storage": "granted", "ad_user_data": "unset", "ad_personalization": "unset"}"#,
            ),
            request: json(
                r#"{"host": "metrics.shop.example", "path": "/g/collect", "query": {"v": "2"},
                    "headers": {"user-agent": "Mozilla/5.0"}, "cookies": {"_ga": "GA1.1.1.2"}, "ip": "203.0.113.7"}"#,
            ),
            variables,
            tables,
        }
    }
}

impl<'v> Activation<'v> for &'v Hit {
    fn field(&self, root: Root, name: &str) -> Option<&'v Value<'v>> {
        let map = match root {
            Root::Event => &self.event,
            Root::Consent => &self.consent,
            Root::Request => &self.request,
            Root::Vars | Root::This => return None,
        };
        map.as_map()?.get(name)
    }

    fn root(&self, root: Root) -> Option<Cow<'v, Value<'v>>> {
        match root {
            Root::Event => Some(Cow::Owned(self.event.reborrow())),
            Root::Consent => Some(Cow::Borrowed(&self.consent)),
            Root::Request => Some(Cow::Borrowed(&self.request)),
            Root::Vars | Root::This => None,
        }
    }

    fn variable(&self, name: &str) -> Option<&Value<'v>> {
        self.variables.get(name)
    }

    fn row(&self, table: &str, key: &str) -> Option<&'v Value<'v>> {
        self.tables.get(table)?.as_map()?.get(key)
    }
}

/// A container with variables and tables, where `request` is visible too.
pub fn environment() -> Environment {
    Environment::event()
        .with_request()
        .with_variable("low_stock", Type::Bool)
        .with_variable("margin", Type::Double)
        .with_variable("failed", Type::Dyn)
        .with_variable("label", Type::String)
        .with_table_columns("stock-thresholds", ["sku", "threshold"])
        .with_table("campaigns")
}

pub fn compile(source: &str) -> Result<Expression, CompileError> {
    Expression::compile(source, &environment())
}

/// What `source` gives for the event `event` (JSON).
pub fn run(source: &str, event: &str) -> Result<Value<'static>, EvaluateError> {
    let expression = compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    let hit = Hit::of(event);
    let result = expression.evaluate(&&hit, &mut Steps::default());
    result.map(Value::into_owned)
}

/// Checks rows of an expression and the JSON of its result.
pub fn gives(event: &str, rows: &[(&str, &str)]) {
    for (source, expected) in rows {
        match run(source, event) {
            // As JSON, where the order of a map's names does not count.
            Ok(value) => assert_eq!(
                serde_json::to_value(&value).unwrap(),
                serde_json::from_str::<serde_json::Value>(expected).unwrap(),
                "{source}"
            ),
            Err(error) => panic!("{source}: {error}"),
        }
    }
}

/// Checks rows of an expression and the error that it fails with.
pub fn fails(event: &str, rows: &[(&str, EvaluateError)]) {
    for (source, expected) in rows {
        assert_eq!(run(source, event).as_ref(), Err(expected), "{source}");
    }
}
