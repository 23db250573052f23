//! The language by example: given this expression and this event, that comes out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{Hit, compile, fails, gives, json};
use tagfleet_expressions::{Environment, EvaluateError, Expression, SchemaActivation, Steps, Type, Value};

const PURCHASE: &str = r#"{
    "event_name": "purchase", "event_id": "e-1", "client_id": "1.2", "timestamp_ms": 1700000000000,
    "page_location": "https://Shop.example/bowls/?gclid=abc&utm_source=mail&gclid=second#top",
    "value": 12, "currency": "EUR", "stock": 3, "sku": "BOWL-10", "number": 7, "empty": null,
    "items": [{"item_id": "A", "price": 4.5, "promotion_id": "SPRING"}, {"item_id": "B", "price": 3.0}],
    "user_data": {"email_address": ["a@shop.example"], "address": {"city": "Ulm"}},
    "x-ga-page_id": "42"
}"#;

#[test]
fn the_conditions_of_the_contract() {
    let low_stock = "has(event.stock) && event.stock <= int(lookup('stock-thresholds', event.sku).threshold)";
    let promotions = "has(event.items) && event.items.exists(i, has(i.promotion_id) && i.promotion_id != '')";
    let value = "event.value > 10.0";
    for (event, expected) in [
        (PURCHASE, ["true", "true", "true"]),
        (
            r#"{"stock": 6, "sku": "BOWL-10", "items": [{"promotion_id": ""}], "value": 9.99}"#,
            ["false"; 3],
        ),
        (
            r#"{"stock": 2, "sku": 7, "items": [], "value": 10.01}"#,
            ["true", "false", "true"],
        ),
        (r#"{"value": 10}"#, ["false"; 3]),
    ] {
        gives(
            event,
            &[
                (low_stock, expected[0]),
                (promotions, expected[1]),
                (value, expected[2]),
            ],
        );
    }
    gives("{}", &[("vars.low_stock", "true"), ("has(event.user_data)", "false")]);
    gives(
        PURCHASE,
        &[("event.currency", r#""EUR""#), ("has(event.user_data)", "true")],
    );
}

#[test]
fn literals() {
    gives(
        "{}",
        &[
            ("null", "null"),
            ("true", "true"),
            ("-7", "-7"),
            ("0x1F", "31"),
            ("1.5e2", "150.0"),
            (r"'it\'s \u00e9'", r#""it's é""#),
            (r"r'\d'", r#""\\d""#),
            ("'''two\nlines'''", r#""two\nlines""#),
            ("[1, 'a', [true]]", r#"[1, "a", [true]]"#),
            ("{'a': 1, 'b': {'c': 2}}", r#"{"a": 1, "b": {"c": 2}}"#),
            ("1 // a comment", "1"),
        ],
    );
    assert_eq!(support::run("7u", "{}"), Ok(Value::Uint(7)));
}

#[test]
fn arithmetic() {
    gives(
        PURCHASE,
        &[
            ("1 + 2 * 3 - 4", "3"),
            ("7 / 2", "3"),
            ("-7 / 2", "-3"),
            ("-7 % 3", "-1"),
            ("7.0 / 2.0", "3.5"),
            ("1.0 / 0.0 > 1e308", "true"),
            ("-(event.stock)", "-3"),
            ("'a' + 'b'", r#""ab""#),
            ("[1] + [2, 3]", "[1, 2, 3]"),
            ("double(event.value) * 1.19 > 14.0", "true"),
            ("(1 + 2) * 3", "9"),
        ],
    );
    fails(
        PURCHASE,
        &[
            ("9223372036854775807 + event.stock", EvaluateError::Overflow("+")),
            ("-9223372036854775807 - event.stock", EvaluateError::Overflow("-")),
            ("9223372036854775807 * event.stock", EvaluateError::Overflow("*")),
            ("(-9223372036854775807 - 1) / -1", EvaluateError::Overflow("/")),
            ("-(-9223372036854775807 - 1)", EvaluateError::Overflow("-")),
            ("1u - 2u", EvaluateError::Overflow("-")),
            ("event.stock / 0", EvaluateError::DivisionByZero),
            ("event.stock % 0", EvaluateError::DivisionByZero),
            (
                "event.stock * 1.5",
                EvaluateError::TypeMismatch {
                    operation: "*",
                    found: Type::Int,
                    and: Some(Type::Double),
                },
            ),
        ],
    );
}

#[test]
fn comparison() {
    gives(
        PURCHASE,
        &[
            ("event.value == 12.0 && event.value == 12u", "true"),
            ("event.value != 12.0", "false"),
            ("1 < 1.5 && 1.5 < 2u && -1 < 0u && 3u > 2", "true"),
            ("'a' < 'b' && 'B' < 'a' && false < true", "true"),
            ("[1, 2.0] == [1.0, 2]", "true"),
            ("{'a': 1, 'b': 2} == {'b': 2.0, 'a': 1}", "true"),
            ("{'a': 1} == {'a': 1, 'b': 2}", "false"),
            ("event.value == 'twelve'", "false"),
            ("event.empty == null", "true"),
            ("event.value == null", "false"),
            ("double('NaN') == double('NaN')", "false"),
            ("double('NaN') < 1.0 || double('NaN') >= 1.0", "false"),
            ("'A' in ['A', 'B'] && !('C' in ['A'])", "true"),
            ("2.0 in [1, 2]", "true"),
            ("'city' in event.user_data.address", "true"),
            ("'x-ga-page_id' in event", "true"),
            ("event.sku in event", "false"),
        ],
    );
    fails(
        PURCHASE,
        &[(
            "event.sku > event.value",
            EvaluateError::TypeMismatch {
                operation: ">",
                found: Type::String,
                and: Some(Type::Int),
            },
        )],
    );
}

#[test]
fn logic_absorbs_errors_on_either_side() {
    gives(
        PURCHASE,
        &[
            ("event.missing > 1 || event.value > 1", "true"),
            ("event.value > 1 || event.missing > 1", "true"),
            ("event.missing > 1 && event.value > 100", "false"),
            ("event.value > 100 && event.missing > 1", "false"),
            ("event.sku || true", "true"),
            ("!(event.value > 100)", "true"),
            ("event.value > 10 ? 'big' : 'small'", r#""big""#),
            ("true ? event.value : event.missing", "12"),
        ],
    );
    let missing = || EvaluateError::NoSuchField("missing".into());
    fails(
        PURCHASE,
        &[
            ("event.missing > 1 || event.value > 100", missing()),
            ("event.value > 1 && event.missing > 1", missing()),
            ("event.missing", missing()),
            ("event.missing ? 1 : 2", missing()),
            (
                "event.sku && true",
                EvaluateError::TypeMismatch {
                    operation: "&&",
                    found: Type::String,
                    and: None,
                },
            ),
        ],
    );
}

#[test]
fn what_is_absent() {
    gives(
        PURCHASE,
        &[
            ("has(event.value) && !has(event.missing)", "true"),
            ("has(event.missing.a.b)", "false"),
            ("has(event.empty.a)", "false"),
            ("has(event.empty)", "true"),
            ("has(event.user_data.address.city)", "true"),
            ("has(event.items[0].promotion_id)", "true"),
            ("has(event.items[1].promotion_id)", "false"),
            ("has(event.items[7].promotion_id)", "false"),
            ("has(event.`x-ga-page_id`) && event.`x-ga-page_id` == '42'", "true"),
            ("event['x-ga-page_id']", r#""42""#),
            ("has(vars.low_stock) && !has(vars.failed)", "true"),
            ("has(lookup('stock-thresholds', 'none').threshold)", "false"),
            ("event.missing.a.b.orElse('x')", r#""x""#),
            ("event.empty.orElse('x')", r#""x""#),
            ("event.value.orElse(0)", "12"),
            ("event.items[9].orElse({}).size()", "0"),
            ("vars.failed.orElse(false)", "false"),
            (
                "lookup('stock-thresholds', event.missing).threshold.orElse('9')",
                r#""9""#,
            ),
            ("lookup('stock-thresholds', 'none').threshold.orElse('9')", r#""9""#),
            ("event.missing.orElse(event.stock.orElse(1))", "3"),
        ],
    );
    fails(
        PURCHASE,
        &[
            ("event.missing.a", EvaluateError::NoSuchField("missing".into())),
            ("event.user_data.phone", EvaluateError::NoSuchField("phone".into())),
            ("event.items[2]", EvaluateError::NoSuchElement(2)),
            ("event.items[-1]", EvaluateError::NoSuchElement(-1)),
            ("event[event.sku]", EvaluateError::NoSuchKey),
            ("event.user_data[event.sku]", EvaluateError::NoSuchKey),
            (
                "lookup('stock-thresholds', 'none').threshold",
                EvaluateError::NoSuchRow("stock-thresholds".into()),
            ),
            ("int(event.sku).orElse(1)", EvaluateError::BadConversion("int")),
        ],
    );
}

#[test]
fn fields_elements_and_whole_roots() {
    gives(
        PURCHASE,
        &[
            ("event.user_data.address.city", r#""Ulm""#),
            ("event['user_data']['address']['city']", r#""Ulm""#),
            ("event.items[0].item_id + event.items[1.0].item_id", r#""AB""#),
            ("event['cur' + 'rency']", r#""EUR""#),
            ("event.user_data['addr' + 'ess'].city", r#""Ulm""#),
            (
                "consent.ad_storage == 'denied' && consent.analytics_storage == 'granted'",
                "true",
            ),
            ("consent['ad_storage']", r#""denied""#),
            ("request.headers['user-agent']", r#""Mozilla/5.0""#),
            ("request.query.v + request.ip", r#""2203.0.113.7""#),
            ("vars.margin * 2.0", "5.0"),
            ("vars['label']", r#""shop""#),
            ("size(event) > 10 && event.exists(name, name == 'sku')", "true"),
            ("event == event", "true"),
            ("[10, 20, 30][1]", "20"),
            ("{'a': {'b': 7}}.a.b", "7"),
        ],
    );
}

#[test]
fn macros() {
    gives(
        PURCHASE,
        &[
            ("event.items.all(i, i.price > 1)", "true"),
            ("event.items.exists(i, i.price > 4)", "true"),
            ("event.items.exists_one(i, i.price > 4)", "true"),
            ("event.items.exists_one(i, i.price > 1)", "false"),
            ("event.items.map(i, i.item_id)", r#"["A", "B"]"#),
            ("event.items.map(i, i.price > 4, i.item_id)", r#"["A"]"#),
            (
                "event.items.filter(i, i.price < 4)",
                r#"[{"item_id": "B", "price": 3.0}]"#,
            ),
            ("event.items.filter(i, i.price < 4).map(j, j.item_id)", r#"["B"]"#),
            ("[].all(i, false) && ![].exists(i, true)", "true"),
            // An element that fails is absorbed when another decides.
            ("event.items.exists(i, i.promotion_id == 'SPRING')", "true"),
            ("event.items.all(i, i.promotion_id == 'AUTUMN')", "false"),
            (
                "event.user_data.all(name, name.startsWith('address') || name == 'email_address')",
                "true",
            ),
            ("{'a': 1, 'b': 2}.map(key, key)", r#"["a", "b"]"#),
            ("[1, 2].map(event, event + 1)", "[2, 3]"),
            ("'a,b'.split(',').map(part, part + '!')", r#"["a!", "b!"]"#),
        ],
    );
    fails(
        PURCHASE,
        &[
            (
                "event.items.all(i, i.promotion_id == 'SPRING')",
                EvaluateError::NoSuchField("promotion_id".into()),
            ),
            (
                "event.items.map(i, i.promotion_id)",
                EvaluateError::NoSuchField("promotion_id".into()),
            ),
            (
                "event.sku.exists(i, true)",
                EvaluateError::TypeMismatch {
                    operation: "a comprehension",
                    found: Type::String,
                    and: None,
                },
            ),
        ],
    );
}

#[test]
fn text_functions() {
    gives(
        PURCHASE,
        &[
            (
                "'shop.example'.contains('p.e') && 'ab'.startsWith('a') && 'ab'.endsWith('b')",
                "true",
            ),
            (
                "size('é') == 1 && 'abc'.size() == 3 && size([1, 2]) == 2 && {'a': 1}.size() == 1",
                "true",
            ),
            ("'ÀBC'.lowerAscii()", r#""Àbc""#),
            ("event.sku.lowerAscii()", r#""bowl-10""#),
            ("'a,b,,c'.split(',')", r#"["a", "b", "", "c"]"#),
            ("'a,b,c'.split(',', 2)", r#"["a", "b,c"]"#),
            ("'abc'.split('')", r#"["a", "b", "c"]"#),
            ("'abc'.split(',', 0)", "[]"),
            ("event.sku.split('-')[1]", r#""10""#),
            ("'BOWL-10'.matches('^[A-Z]+-[0-9]+$') && 'xay'.matches('a')", "true"),
            ("matches('BOWL', '(?i)bowl')", "true"),
            ("event.sku.find('[0-9]+')", r#""10""#),
            ("'none'.find('[0-9]+')", r#""""#),
        ],
    );
}

#[test]
fn urls() {
    gives(
        PURCHASE,
        &[
            ("url(event.page_location).host", r#""shop.example""#),
            ("url(event.page_location).query.gclid", r#""abc""#),
            ("url(event.page_location).query.missing.orElse('none')", r#""none""#),
            ("has(url(event.page_location).query.utm_source)", "true"),
            (
                "url('https://shop.example:8443')",
                r#"{"scheme": "https", "host": "shop.example", "path": "/", "fragment": "", "query": {}}"#,
            ),
            (
                "url(event.page_location).fragment + url(event.page_location).path",
                r#""top/bowls/""#,
            ),
            ("url('https://a.example/?q=a%20b+c').query.q", r#""a b c""#),
        ],
    );
    fails(PURCHASE, &[("url('/relative')", EvaluateError::BadConversion("url"))]);
}

#[test]
fn a_query_of_a_million_parameters_is_cut() {
    let query: String = (0..1_000_000).map(|number| format!("p{number}=1&")).collect();
    let event = format!(r#"{{"page_location": "https://shop.example/?{query}"}}"#);
    let hit = Hit::of(&event);
    let expression = compile("size(url(event.page_location).query)").unwrap();
    let mut steps = Steps::new(1_000_000);
    assert_eq!(expression.evaluate(&&hit, &mut steps), Ok(Value::Int(256)));
    assert_eq!(
        expression.evaluate(&&hit, &mut Steps::default()),
        Err(EvaluateError::StepsExhausted)
    );
}

#[test]
fn conversions() {
    gives(
        PURCHASE,
        &[
            ("int('42') + int(2.9) + int(-2.9) + int(7u)", "49"),
            ("double('2.5') + double(1)", "3.5"),
            (
                "string(12) + string(1.5) + string(2.0) + string(true) + string('x')",
                r#""121.52truex""#,
            ),
            ("bool('true') && !bool('0') && bool(true)", "true"),
            ("uint(3) == 3u && uint('3') == 3u && uint(3.7) == 3u", "true"),
            ("dyn(event.value)", "12"),
        ],
    );
    fails(
        PURCHASE,
        &[
            ("int('4.2')", EvaluateError::BadConversion("int")),
            ("int(1e19)", EvaluateError::Overflow("int")),
            ("int(double('NaN'))", EvaluateError::Overflow("int")),
            ("uint(-1)", EvaluateError::Overflow("uint")),
            ("double('x')", EvaluateError::BadConversion("double")),
            ("bool('yes')", EvaluateError::BadConversion("bool")),
            (
                "int(dyn([]))",
                EvaluateError::TypeMismatch {
                    operation: "int",
                    found: Type::List,
                    and: None,
                },
            ),
        ],
    );
}

#[test]
fn a_map_takes_each_key_once() {
    fails("{}", &[("{'a': 1, 'a': 2}", EvaluateError::DuplicateKey)]);
}

#[test]
fn results_borrow_from_the_event() {
    let hit = Hit::of(PURCHASE);
    for source in [
        "event.sku",
        "event.user_data.address.city",
        "event.sku.split('-')[0]",
        "event.sku.find('[0-9]+')",
    ] {
        let expression = compile(source).unwrap();
        let result = expression.evaluate(&&hit, &mut Steps::default()).unwrap();
        let borrowed = matches!(&result, Value::String(std::borrow::Cow::Borrowed(_)));
        assert!(borrowed, "{source} gives {result:?}");
    }
}

#[test]
fn what_an_expression_reads_of_the_request() {
    let environment = Environment::event().with_request();
    let reads = |source: &str| {
        let expression = Expression::compile(source, &environment).unwrap();
        let fields = expression
            .request_fields_read()
            .map(|fields| fields.collect::<Vec<_>>().join(" "));
        (expression.reads_request(), fields)
    };
    let some = |fields: &str| Some(fields.to_owned());
    assert_eq!(
        reads("request.host == 'a' && has(request.query.em)"),
        (true, some("host query"))
    );
    assert_eq!(reads("'ip' in request"), (true, some("ip")));
    assert_eq!(reads("size(request) > 1"), (true, None));
    assert_eq!(reads("event.sku"), (false, some("")));
}

#[test]
fn what_an_expression_reads() {
    let reads = |source: &str| {
        let expression = compile(source).unwrap();
        let join = |names: Vec<&str>| names.join(" ");
        (
            join(expression.variables_read().collect()),
            join(expression.tables_read().collect()),
            expression.event_fields_read().map(|fields| join(fields.collect())),
            expression.reads_request(),
        )
    };
    let some = |fields: &str| Some(fields.to_owned());
    let text = str::to_owned;
    assert_eq!(
        reads("vars.low_stock && lookup('campaigns', event.sku).name == vars.label && has(event.user_data.email)"),
        (text("label low_stock"), text("campaigns"), some("sku user_data"), false)
    );
    assert_eq!(reads("'x-ga-y' in event"), (text(""), text(""), some("x-ga-y"), false));
    assert_eq!(reads("size(event) > 1"), (text(""), text(""), None, false));
    assert_eq!(reads("event[vars.label]"), (text("label"), text(""), None, false));
    assert_eq!(reads("request.host == 'a'"), (text(""), text(""), some(""), true));
    assert_eq!(compile("1 + 1").unwrap().source(), "1 + 1");
}

#[test]
fn result_types() {
    for (source, expected) in [
        ("event.value > 10.0", Type::Bool),
        ("has(event.value)", Type::Bool),
        ("vars.low_stock", Type::Bool),
        ("event.value", Type::Dyn),
        ("event.event_name", Type::String),
        ("event.value + 1", Type::Int),
        ("event.timestamp_ms - 1000", Type::Int),
        ("event.items", Type::List),
        ("lookup('campaigns', event.sku).name", Type::String),
        ("lookup('campaigns', event.sku)", Type::Map),
        ("url(event.page_location).query.gclid", Type::String),
        ("event.x ? 1 : 'a'", Type::Dyn),
        ("event.x ? 1 : 2", Type::Int),
        ("event.items.map(i, i.price)", Type::List),
        ("event.x.orElse(false)", Type::Dyn),
        ("null", Type::Null),
    ] {
        let expression = compile(source).unwrap();
        assert_eq!(expression.result_type(), expected, "{source}");
        let may_be_bool = matches!(expected, Type::Bool | Type::Dyn);
        assert_eq!(expression.may_be_bool(), may_be_bool, "{source}");
    }
}

#[test]
fn rules_of_a_kubernetes_schema() {
    for (rule, value, expected) in [
        ("has(self.ga4) != has(self.webhook)", r#"{"ga4": {}}"#, true),
        (
            "has(self.ga4) != has(self.webhook)",
            r#"{"ga4": {}, "webhook": {}}"#,
            false,
        ),
        (
            "[has(self.a), has(self.b)].filter(x, x).size() == 1",
            r#"{"a": 1}"#,
            true,
        ),
        ("self.matches('^G-[A-Z0-9]+$')", r#""G-TEST1""#, true),
        (
            "self.size() <= 2 && self.all(x, x.startsWith('/'))",
            r#"["/a", "/b"]"#,
            true,
        ),
        (
            "self.all(x, self.exists_one(y, y.name == x.name))",
            r#"[{"name": "a"}, {"name": "b"}]"#,
            true,
        ),
        (
            "self.all(x, self.exists_one(y, y.name == x.name))",
            r#"[{"name": "a"}, {"name": "a"}]"#,
            false,
        ),
        (
            "!has(self.min) || !has(self.max) || self.min <= self.max",
            r#"{"min": 2, "max": 1}"#,
            false,
        ),
    ] {
        let expression = Expression::compile(rule, &Environment::schema_rule()).unwrap();
        let value = json(value);
        let result = expression.evaluate(&SchemaActivation(&value), &mut Steps::default());
        assert_eq!(result, Ok(Value::Bool(expected)), "{rule}");
    }
    let refused = Expression::compile("self == oldSelf", &Environment::schema_rule()).unwrap_err();
    assert!(refused.message.contains("oldSelf"), "{refused}");
}
