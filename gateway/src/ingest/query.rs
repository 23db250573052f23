//! `name=value&name=value`, as queries and GA4's batch lines are written (WHATWG URL, `application/x-www-form-urlencoded`).
//!
//! Text that needs no decoding is borrowed. The crate `form_urlencoded` gives the same pairs, but decodes byte by byte into
//! a growing buffer; this is the gateway's hottest loop.

use std::borrow::Cow;

use tagfleet_expressions::Value;

/// The pairs of a query in order, decoded. Empty pairs (`&&`) are left out; a name without `=` has an empty value.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let mut rest = query;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let pair = RawPair::first_of(rest);
            rest = pair.rest;
            if !(pair.name.is_empty() && pair.value.is_none()) {
                return Some(pair.decode());
            }
        }
        None
    })
}

/// An upper bound of the number of pairs, found without reading them.
pub(super) fn at_most(query: &str) -> usize {
    if query.is_empty() {
        return 0;
    }
    memchr::memchr_iter(b'&', query.as_bytes()).count() + 1
}

/// The first pair of a query, as it was sent.
struct RawPair<'q> {
    name: &'q str,
    /// What stands behind `=`.
    value: Option<&'q str>,
    /// Whether the name, and whether the value, has something to decode.
    encoded: (bool, bool),
    /// What stands behind `&`.
    rest: &'q str,
}

impl<'q> RawPair<'q> {
    /// Finds the pair's end, its `=` and what must be decoded in one pass: pairs are too short for a vector search each.
    fn first_of(query: &'q str) -> Self {
        let bytes = query.as_bytes();
        let mut equals = None;
        let mut encoded = (false, false);
        let mut end = bytes.len();
        for (place, byte) in bytes.iter().enumerate() {
            match byte {
                b'&' => {
                    end = place;
                    break;
                }
                b'=' if equals.is_none() => equals = Some(place),
                b'%' | b'+' if equals.is_none() => encoded.0 = true,
                b'%' | b'+' => encoded.1 = true,
                _ => {}
            }
        }
        // All cuts are at ASCII bytes, so that none can fail.
        let part = |from: usize, to: usize| query.get(from..to).unwrap_or_default();
        Self {
            name: part(0, equals.unwrap_or(end)),
            value: equals.map(|equals| part(equals + 1, end)),
            encoded,
            rest: query.get(end + 1..).unwrap_or_default(),
        }
    }

    fn decode(self) -> (Cow<'q, str>, Cow<'q, str>) {
        let decoded = |text, encoded| if encoded { decode(text) } else { Cow::Borrowed(text) };
        let value = self.value.unwrap_or_default();
        (decoded(self.name, self.encoded.0), decoded(value, self.encoded.1))
    }
}

/// Text with `%XX` and `+` resolved, borrowed if it has neither. What is no valid escape stays as it is, and bytes that
/// are not UTF-8 become U+FFFD: decoding never fails.
pub fn decode(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let Some(first) = memchr::memchr2(b'%', b'+', bytes) else {
        return Cow::Borrowed(text);
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    let (plain, mut rest) = bytes.split_at(first);
    decoded.extend_from_slice(plain);
    loop {
        match rest {
            [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push(nibble(*high) << 4 | nibble(*low));
                rest = after;
            }
            [b'+', after @ ..] => {
                decoded.push(b' ');
                rest = after;
            }
            [byte, after @ ..] => {
                decoded.push(*byte);
                rest = after;
            }
            [] => break,
        }
    }
    Cow::Owned(
        String::from_utf8(decoded).unwrap_or_else(|not_utf8| String::from_utf8_lossy(not_utf8.as_bytes()).into_owned()),
    )
}

/// Bytes as text, borrowed if they are UTF-8; what is not becomes U+FFFD.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    // The check alone is several times faster than the search for what must be replaced.
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// The value of a hexadecimal digit.
const fn nibble(digit: u8) -> u8 {
    // '0'..='9' are 0x30..=0x39; letters of both cases have their value less nine in the low four bits.
    if digit < b'A' { digit & 15 } else { (digit & 15) + 9 }
}

/// Text as a number where it is one, and as the same text where it is not: nothing is lost by a wrong type.
pub(super) fn number(text: Cow<'_, str>) -> Value<'_> {
    match parse_number(&text) {
        Some(number) => number,
        None => Value::String(text),
    }
}

/// A decimal number, finite, without spaces or names such as `inf`.
pub(super) fn parse_number(text: &str) -> Option<Value<'static>> {
    if let Ok(whole) = text.parse::<i64>() {
        return (!text.starts_with('+')).then_some(Value::Int(whole));
    }
    let decimal = text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
    let number: f64 = text.parse().ok().filter(|_| decimal && !text.starts_with('+'))?;
    number.is_finite().then_some(Value::Double(number))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn all(query: &str) -> Vec<(String, String)> {
        pairs(query)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn pairs_come_in_order_with_repeats() {
        assert_eq!(all("a=1&b=2&a=3"), [pair("a", "1"), pair("b", "2"), pair("a", "3")]);
    }

    #[test]
    fn a_name_alone_has_an_empty_value_and_empty_pairs_are_none() {
        assert_eq!(all("&a=1&&richsstsse&"), [pair("a", "1"), pair("richsstsse", "")]);
        assert_eq!(all(""), []);
        assert_eq!(all("=x&b=c=d"), [pair("", "x"), pair("b", "c=d")]);
    }

    #[test]
    fn escapes_are_resolved_in_names_and_values() {
        assert_eq!(all("ep%2Egift+card=a%20b%2Bc+d"), [pair("ep.gift card", "a b+c d")]);
    }

    #[test]
    fn broken_escapes_stay_and_broken_utf8_is_replaced() {
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%4"), "%zz%4");
        assert_eq!(decode("%FF%c3%a9"), "\u{fffd}é");
        assert_eq!(decode("%00"), "\0");
    }

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(decode("G-ABC123DEF4"), Cow::Borrowed(_)));
    }

    #[test]
    fn numbers_are_whole_or_decimal_and_anything_else_is_text() {
        for (text, expected) in [
            ("3", Value::Int(3)),
            ("-7", Value::Int(-7)),
            ("007", Value::Int(7)),
            ("44.93", Value::Double(44.93)),
            ("1e3", Value::Double(1000.0)),
            ("9223372036854775808", Value::Double(9_223_372_036_854_775_808.0)),
        ] {
            assert_eq!(number(Cow::Borrowed(text)), expected, "{text}");
        }
        for text in [
            "", "-", "inf", "NaN", "1e999", "+3", "+3.5", " 3", "3 ", "0x10", "1,5", "12 EUR",
        ] {
            assert_eq!(number(Cow::Borrowed(text)), Value::from(text), "{text}");
        }
    }

    proptest! {
        /// Given pairs written with percent-encoding: the same pairs come out.
        #[test]
        fn what_was_encoded_comes_out(given in prop::collection::vec((".{1,12}", ".{0,20}"), 0..30)) {
            let given: Vec<(String, String)> = given;
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let query: Vec<_> = given.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
            prop_assert_eq!(all(&query.join("&")), given);
        }

        /// Given any text: decoding agrees with the reference implementation.
        #[test]
        fn decoding_agrees_with_the_reference(query in "[a-c%&=+0-9A-F\u{e9}]{0,60}") {
            let reference: Vec<_> = url::form_urlencoded::parse(query.as_bytes())
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect();
            prop_assert_eq!(all(&query), reference);
            prop_assert!(pairs(&query).count() <= at_most(&query));
        }
    }
}
