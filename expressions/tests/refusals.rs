//! What is refused when an expression is compiled: given this source, that message at that column.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::compile;
use tagfleet_expressions::{CompileError, Environment, Expression};

fn refused(rows: &[(&str, usize, &str)]) {
    for (source, column, message) in rows {
        let error = compile(source).err().unwrap_or_else(|| panic!("{source} is accepted"));
        assert_eq!((error.column, error.message.as_str()), (*column, *message), "{source}");
    }
}

#[test]
fn what_is_no_expression() {
    refused(&[
        ("", 1, "the expression is empty"),
        ("event.value >", 14, "the expression ends too early"),
        ("event.value = 1", 13, "'=' cannot stand here: write == to compare"),
        ("event.value > 1 and true", 17, "'and' cannot stand here: write &&"),
        (
            "not event.value",
            5,
            "'event' cannot stand here: write ! before what is to be false",
        ),
        ("(event.value > 1", 17, "expected ')'"),
        ("event.value > 'open", 15, "unterminated string literal"),
        ("event.value & 1", 13, "unexpected single '&', expected '&&'"),
        (
            "event.größe > 1",
            9,
            "unexpected character: text stands in quotes, 'like this'",
        ),
        ("$.event", 1, "unexpected character: text stands in quotes, 'like this'"),
        (
            "has(event)",
            5,
            "invalid argument to has() macro: it takes a field, as has(event.value); for a name that is no word, write has(event.`x-ga-name`) or 'x-ga-name' in event",
        ),
        (
            "has(event['x'])",
            10,
            "invalid argument to has() macro: it takes a field, as has(event.value); for a name that is no word, write has(event.`x-ga-name`) or 'x-ga-name' in event",
        ),
        (
            "event.items.all(i.x, true)",
            18,
            "argument must be a simple name: the first argument of all, exists, exists_one, map and filter names the element",
        ),
        (
            "event.?value",
            6,
            "unsupported syntax '.?': write has(event.value), or event.value.orElse('default')",
        ),
        ("while + 1", 1, "reserved identifier: while"),
        (
            "99999999999999999999",
            1,
            "invalid int literal: a whole number has 64 bits",
        ),
        (
            "b'bytes'",
            1,
            "events hold text, not bytes: write the text without the b before it",
        ),
        (
            "Money{amount: 1}",
            1,
            "there are no message types: write a map, {'name': value}",
        ),
    ]);
}

#[test]
fn unknown_names() {
    refused(&[
        (
            "evnt.value > 1",
            1,
            "unknown name `evnt`, did you mean `event`?; here: event, consent, vars, request",
        ),
        (
            "1 + shop.value",
            5,
            "unknown name `shop`; here: event, consent, vars, request",
        ),
        (
            "true && consent.ad_storag == 'granted'",
            16,
            "`consent` has no field `ad_storag`, did you mean `ad_storage`?; it has: ad_storage, analytics_storage, ad_user_data, ad_personalization",
        ),
        (
            "request.body",
            8,
            "`request` has no field `body`; it has: host, path, query, headers, cookies, ip",
        ),
        (
            "vars.low_stok",
            5,
            "there is no variable `low_stok`, did you mean `low_stock`?",
        ),
        ("vars", 1, "read a variable by its name, as vars.low_stock"),
        (
            "vars[event.sku]",
            11,
            "name the field of `vars` in quotes, as vars['name']",
        ),
        (
            "lookup('stock-threshold', event.sku).threshold",
            8,
            "there is no lookup table `stock-threshold`, did you mean `stock-thresholds`?",
        ),
        (
            "lookup('stock-thresholds', event.sku).treshold",
            38,
            "lookup table `stock-thresholds` has no column `treshold`, did you mean `threshold`?; it has: sku, threshold",
        ),
        (
            "lookup(event.sku, 'a')",
            13,
            "name the table in quotes, as lookup('stock', event.sku)",
        ),
        (
            "url(event.page_location).port",
            25,
            "url() has no part `port`; it has: scheme, host, path, query, fragment",
        ),
        (
            "event.sku.lowerAsci()",
            20,
            "there is no function `lowerAsci`, did you mean `lowerAscii`?",
        ),
        ("event.sku.upperAscii()", 21, "there is no function `upperAscii`"),
        ("lowerAscii(event.sku)", 1, "`lowerAscii` is written text.lowerAscii()"),
        ("size()", 1, "`size` is written size(event.items) or event.items.size()"),
        (
            "event.sku.contains('a', 'b')",
            19,
            "`contains` is written text.contains('part')",
        ),
        (
            "event.items.exists(i)",
            19,
            "`exists` is written list.exists(x, x.price > 0)",
        ),
        (
            "event.items.map(i, i, i, i)",
            16,
            "`map` is written list.map(x, x.price) or list.map(x, x.price > 0, x.price)",
        ),
        (
            "timestamp('2026-01-01T00:00:00Z')",
            1,
            "there is no `timestamp`: times are int, in milliseconds (event.timestamp_ms), and so are their differences",
        ),
        (
            "type(event.value) == int",
            1,
            "there is no `type`: convert a value with int(), double(), string() or bool()",
        ),
    ]);
}

#[test]
fn operands_that_can_never_fit() {
    refused(&[
        (
            "1 + 'a'",
            3,
            "`+` does not take int and string: convert one side, as string(x) or int(x)",
        ),
        (
            "1 + 1.5",
            3,
            "`+` does not mix int and double: convert one side, as double(x) or int(x)",
        ),
        (
            "event.event_name > 3",
            18,
            "`>` cannot compare string with int: convert one side, as double(x) or string(x)",
        ),
        (
            "event.event_name == 3",
            18,
            "`==` compares string with int, which are never equal: convert one side, as string(x) or int(x)",
        ),
        (
            "consent.ad_storage == true",
            20,
            "`==` compares string with bool, which are never equal: convert one side, as string(x) or int(x)",
        ),
        ("vars.margin && true", 5, "`&&` takes true or false, not double"),
        ("!event.event_name", 1, "`!` takes true or false, not string"),
        ("-event.event_name", 1, "`-` does not take string"),
        ("event.event_name ? 1 : 2", 18, "`? :` takes true or false, not string"),
        (
            "'a' in event.event_name",
            5,
            "`in` does not search text: write text.contains(part)",
        ),
        (
            "1 in event.user_data",
            3,
            "`in` looks for int among the keys of a map, which are text",
        ),
        (
            "event.event_name.first",
            17,
            "`.first` reads from a map, not from string",
        ),
        ("event.items['a']", 12, "`.a` reads from a map, not from list"),
        (
            "event.items[event.event_name]",
            12,
            "`[]` reads from a list by number or from a map by text, not from list by string",
        ),
        (
            "event.timestamp_ms.contains('1')",
            6,
            "`contains` takes string here, not int",
        ),
        ("event.timestamp_ms.matches('1')", 27, "`matches` takes string, not int"),
        (
            "event.event_name.all(c, true)",
            21,
            "all, exists, exists_one, map and filter go over a list or a map, not over string",
        ),
        ("event.items.filter(i, 1)", 23, "`filter` takes true or false, not int"),
        (
            "lookup('stock-thresholds', event.items)",
            33,
            "a lookup key is text or a number, not list",
        ),
        ("{1: 'a'}", 2, "the keys of a map are text, not int"),
        ("event[1]", 7, "name the field of `event` in quotes, as event['name']"),
        (
            "event.items.all(i, event.items.exists(j, j == i))",
            38,
            "one of all, exists, exists_one, map and filter may not stand inside another: it could take far too long for a hit",
        ),
    ]);
}

#[test]
fn a_column_counts_characters_and_an_offset_bytes() {
    let source = "'é' == 'é' &&\n evnt.value";
    let CompileError { offset, column, .. } = compile(source).unwrap_err();
    assert_eq!((offset, column), (17, 16));
    assert_eq!(source.get(offset..), Some("evnt.value"));
}

#[test]
fn request_is_known_only_where_it_is_visible() {
    let error = Expression::compile("request.host == 'a'", &Environment::event()).unwrap_err();
    let message = "`request` is not kept with the event: read it in a variable of the container, then vars.name here \
                   (here: event, consent, vars)";
    assert_eq!(error.to_string(), format!("{message} (column 1)"));
    assert!(Expression::compile("request.host == 'a'", &Environment::event().with_request()).is_ok());
    assert!(Expression::compile("event.value > 1", &Environment::schema_rule()).is_err());
}
