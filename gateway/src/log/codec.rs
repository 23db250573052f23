//! How a [`Record`] is written as bytes: compact, read back without copying a text, and safe on any bytes.
//!
//! A record is a version byte, the time of acceptance, the consent (two bits a signal), the variables and the event.
//! A value is a tag byte and its content; whole numbers and lengths are LEB128 varints (those with a sign zigzagged, as
//! in Protocol Buffers), doubles eight bytes little endian. Objects are not self-describing beyond that: what a version
//! byte means never changes.
//!
//! What only some records have comes behind the event, as extensions: a count, and for each a byte that says which it is,
//! and a value. Such a record has version 2; one without is written as version 1, as ever, and is read by older gateways
//! too. An extension that is not known makes the record unreadable, as it may change what the record means.

use std::borrow::Cow;

use tagfleet_expressions::{Map, Value};

use crate::{
    event::Event,
    record::{Consent, ConsentSignal, Record},
};

/// The first byte of a record without extensions.
pub const VERSION: u8 = 1;

/// The first byte of a record with extensions.
pub const VERSION_EXTENDED: u8 = 2;

/// How deep values nest at the most. Parsers stop at 128, as serde_json does; a variable may wrap what they made.
/// What is nested deeper is written as null, so that whatever was written can be read.
pub const MAX_DEPTH: usize = 192;

/// Room that is reserved for a list or an object before its elements are seen; a forged count buys no more.
const MAX_RESERVED: usize = 256;

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Another version of the gateway wrote it.
    #[error("the record has version {0}, this gateway reads versions {VERSION} and {VERSION_EXTENDED}")]
    Version(u8),
    /// It ends in the middle.
    #[error("the record ends too early")]
    Truncated,
    /// It does not end where its content does.
    #[error("{0} bytes follow the record")]
    Trailing(usize),
    /// A kind of value that this version does not have.
    #[error("the record has a value of the unknown kind {0}")]
    Tag(u8),
    /// An extension that this version does not have, or whose value is not what it should be.
    #[error("the record has the unknown extension {0}")]
    Extension(u8),
    /// A number that does not fit its type.
    #[error("the record has a number or a length out of range")]
    Range,
    /// A text is not UTF-8.
    #[error("the record has a text that is not UTF-8")]
    Utf8,
    /// Values nest deeper than [`MAX_DEPTH`].
    #[error("the record's values nest deeper than {MAX_DEPTH}")]
    Depth,
}

mod tag {
    pub(super) const NULL: u8 = 0;
    pub(super) const FALSE: u8 = 1;
    pub(super) const TRUE: u8 = 2;
    pub(super) const INT: u8 = 3;
    pub(super) const UINT: u8 = 4;
    pub(super) const DOUBLE: u8 = 5;
    pub(super) const STRING: u8 = 6;
    pub(super) const LIST: u8 = 7;
    pub(super) const MAP: u8 = 8;
}

/// What stands behind the event. What a number means never changes.
mod extension {
    /// [`Record::applied`](crate::record::Record::applied), a list of texts.
    pub(super) const APPLIED: u8 = 1;
    /// [`Record::rejected`](crate::record::Record::rejected), a text.
    pub(super) const REJECTED: u8 = 2;
}

/// Appends `record` to `out`.
pub fn encode(record: &Record<'_>, out: &mut Vec<u8>) {
    let extensions = extensions(record);
    out.push(if extensions.is_empty() {
        VERSION
    } else {
        VERSION_EXTENDED
    });
    put_signed(out, record.accepted_ms);
    out.push(consent_to_byte(record.consent));
    put_fields(out, &record.vars, 0);
    put_fields(out, record.event.fields(), 0);
    if !extensions.is_empty() {
        put_length(out, extensions.len());
        for (kind, value) in extensions {
            out.push(kind);
            put_value(out, &value, 0);
        }
    }
}

/// What of a record is written as extensions: what is set.
fn extensions<'r>(record: &'r Record<'_>) -> Vec<(u8, Value<'r>)> {
    let mut extensions = Vec::new();
    if !record.applied.is_empty() {
        let names = record.applied.iter().map(|name| Value::from(&**name));
        extensions.push((extension::APPLIED, Value::List(names.collect())));
    }
    if let Some(reason) = &record.rejected {
        extensions.push((extension::REJECTED, Value::from(&**reason)));
    }
    extensions
}

fn extend<'a>(record: &mut Record<'a>, kind: u8, value: Value<'a>) -> Result<(), DecodeError> {
    match (kind, value) {
        (extension::APPLIED, Value::List(names)) => {
            let names = names.into_iter().map(|name| match name {
                Value::String(name) => Ok(name),
                _ => Err(DecodeError::Extension(kind)),
            });
            record.applied = names.collect::<Result<_, _>>()?;
        }
        (extension::REJECTED, Value::String(reason)) => record.rejected = Some(reason),
        _ => return Err(DecodeError::Extension(kind)),
    }
    Ok(())
}

/// Reads a record; its texts borrow from `bytes`. Takes time and memory linear in `bytes`, whatever they are.
///
/// Unique names are what [`encode`] wrote; of forged bytes that repeat a name, the first value is found.
///
/// # Errors
/// When `bytes` are not exactly one record of these versions.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, DecodeError> {
    let mut input = Input(bytes);
    let version = input.byte()?;
    if version != VERSION && version != VERSION_EXTENDED {
        return Err(DecodeError::Version(version));
    }
    let accepted_ms = input.signed()?;
    let consent = consent_from_byte(input.byte()?)?;
    let vars = take_fields(&mut input, 0)?;
    let event = Event::from(take_fields(&mut input, 0)?);
    let mut record = Record {
        accepted_ms,
        consent,
        vars,
        event,
        ..Record::default()
    };
    if version == VERSION_EXTENDED {
        for _ in 0..input.count()? {
            let kind = input.byte()?;
            let value = take_value(&mut input, 0)?;
            extend(&mut record, kind, value)?;
        }
    }
    if !input.0.is_empty() {
        return Err(DecodeError::Trailing(input.0.len()));
    }
    Ok(record)
}

fn put_fields(out: &mut Vec<u8>, fields: &Map<'_>, depth: usize) {
    put_length(out, fields.len());
    for (name, value) in fields.iter() {
        put_text(out, name);
        put_value(out, value, depth);
    }
}

fn put_value(out: &mut Vec<u8>, value: &Value<'_>, depth: usize) {
    match value {
        Value::Null => out.push(tag::NULL),
        Value::Bool(false) => out.push(tag::FALSE),
        Value::Bool(true) => out.push(tag::TRUE),
        Value::Int(number) => {
            out.push(tag::INT);
            put_signed(out, *number);
        }
        Value::Uint(number) => {
            out.push(tag::UINT);
            put_varint(out, *number);
        }
        Value::Double(number) => {
            out.push(tag::DOUBLE);
            out.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        Value::String(text) => {
            out.push(tag::STRING);
            put_text(out, text);
        }
        Value::List(_) | Value::Map(_) if depth >= MAX_DEPTH => out.push(tag::NULL),
        Value::List(elements) => {
            out.push(tag::LIST);
            put_length(out, elements.len());
            for element in elements {
                put_value(out, element, depth + 1);
            }
        }
        Value::Map(fields) => {
            out.push(tag::MAP);
            put_fields(out, fields, depth + 1);
        }
    }
}

fn take_fields<'a>(input: &mut Input<'a>, depth: usize) -> Result<Map<'a>, DecodeError> {
    let count = input.count()?;
    let mut fields = Vec::with_capacity(count.min(MAX_RESERVED));
    for _ in 0..count {
        let name = Cow::Borrowed(input.text()?);
        fields.push((name, take_value(input, depth)?));
    }
    Ok(Map::from_unique(fields))
}

fn take_value<'a>(input: &mut Input<'a>, depth: usize) -> Result<Value<'a>, DecodeError> {
    Ok(match input.byte()? {
        tag::NULL => Value::Null,
        tag::FALSE => Value::Bool(false),
        tag::TRUE => Value::Bool(true),
        tag::INT => Value::Int(input.signed()?),
        tag::UINT => Value::Uint(input.varint()?),
        tag::DOUBLE => Value::Double(f64::from_bits(u64::from_le_bytes(input.array()?))),
        tag::STRING => Value::String(Cow::Borrowed(input.text()?)),
        tag::LIST | tag::MAP if depth >= MAX_DEPTH => return Err(DecodeError::Depth),
        tag::LIST => {
            let count = input.count()?;
            let mut elements = Vec::with_capacity(count.min(MAX_RESERVED));
            for _ in 0..count {
                elements.push(take_value(input, depth + 1)?);
            }
            Value::List(elements)
        }
        tag::MAP => Value::Map(take_fields(input, depth + 1)?),
        unknown => return Err(DecodeError::Tag(unknown)),
    })
}

fn consent_to_byte(consent: Consent) -> u8 {
    let bits = |signal| match signal {
        ConsentSignal::Unset => 0,
        ConsentSignal::Granted => 1,
        ConsentSignal::Denied => 2,
    };
    bits(consent.ad_storage)
        | bits(consent.analytics_storage) << 2
        | bits(consent.ad_user_data) << 4
        | bits(consent.ad_personalization) << 6
}

fn consent_from_byte(byte: u8) -> Result<Consent, DecodeError> {
    let signal = |shift: u8| match byte >> shift & 3 {
        0 => Ok(ConsentSignal::Unset),
        1 => Ok(ConsentSignal::Granted),
        2 => Ok(ConsentSignal::Denied),
        _ => Err(DecodeError::Range),
    };
    Ok(Consent {
        ad_storage: signal(0)?,
        analytics_storage: signal(2)?,
        ad_user_data: signal(4)?,
        ad_personalization: signal(6)?,
    })
}

/// Appends a LEB128 varint.
pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a zigzagged varint.
pub(super) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_varint(out, (number << 1 ^ number >> 63) as u64);
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    put_varint(out, length as u64);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// The bytes that are left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.0.split_first().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(byte)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Range);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(DecodeError::Range)
    }

    pub(super) fn signed(&mut self) -> Result<i64, DecodeError> {
        let number = self.varint()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(super) fn length(&mut self) -> Result<usize, DecodeError> {
        usize::try_from(self.varint()?).map_err(|_| DecodeError::Range)
    }

    /// The number of elements that follow; each takes at least a byte, so more than the bytes left is a lie.
    pub(super) fn count(&mut self) -> Result<usize, DecodeError> {
        let count = self.length()?;
        if count > self.0.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(count)
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let length = self.length()?;
        std::str::from_utf8(self.bytes(length)?).map_err(|_| DecodeError::Utf8)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = Value<'static>> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<u64>().prop_map(Value::Uint),
            (-1e300..1e300).prop_map(Value::Double),
            ".{0,20}".prop_map(|text| Value::String(text.into())),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
                fields(inner).prop_map(Value::Map),
            ]
        })
    }

    fn fields(values: impl Strategy<Value = Value<'static>>) -> impl Strategy<Value = Map<'static>> {
        prop::collection::btree_map(".{0,12}", values, 0..6).prop_map(|fields| {
            fields
                .into_iter()
                .map(|(name, value)| (Cow::Owned(name), value))
                .collect()
        })
    }

    fn records() -> impl Strategy<Value = Record<'static>> {
        let signal = || {
            prop_oneof![
                Just(ConsentSignal::Unset),
                Just(ConsentSignal::Granted),
                Just(ConsentSignal::Denied)
            ]
        };
        let consent = (signal(), signal(), signal(), signal()).prop_map(|(a, b, c, d)| Consent {
            ad_storage: a,
            analytics_storage: b,
            ad_user_data: c,
            ad_personalization: d,
        });
        let applied = prop::collection::vec("[a-z]{0,8}".prop_map(Cow::Owned), 0..3);
        let rejected = prop::option::of(".{0,8}".prop_map(Cow::Owned));
        (
            any::<i64>(),
            consent,
            fields(values()),
            fields(values()),
            applied,
            rejected,
        )
            .prop_map(|(accepted_ms, consent, vars, event, applied, rejected)| Record {
                accepted_ms,
                consent,
                vars,
                event: event.into(),
                applied,
                rejected,
            })
    }

    fn encoded(record: &Record<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(record, &mut bytes);
        bytes
    }

    fn record_with(name: &'static str, value: Value<'static>) -> Record<'static> {
        let mut event = Event::new();
        event.set(name, value);
        Record {
            accepted_ms: 1_700_000_000_000,
            event,
            ..Record::default()
        }
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(record in records()) {
            let bytes = encoded(&record);
            prop_assert_eq!(decode(&bytes).unwrap(), record);
        }

        #[test]
        fn any_bytes_give_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(record) = decode(&bytes) {
                let again = encoded(&record);
                prop_assert_eq!(encoded(&decode(&again).unwrap()), again);
            }
        }

        #[test]
        fn a_damaged_record_gives_a_record_or_an_error(record in records(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = encoded(&record);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            drop(decode(&bytes));
            bytes.truncate(at);
            prop_assert!(decode(&bytes).is_err());
        }
    }

    #[test]
    fn texts_borrow_from_the_bytes() {
        let bytes = encoded(&record_with("page_title", "Bowls".into()));
        let record = decode(&bytes).unwrap();
        let Some(Value::String(Cow::Borrowed(title))) = record.event.get("page_title") else {
            panic!("the title was copied");
        };
        assert!(bytes.as_ptr_range().contains(&title.as_ptr()));
    }

    #[test]
    fn whole_numbers_and_doubles_stay_apart() {
        for value in [Value::Int(3), Value::Uint(3), Value::Double(3.0), Value::Int(i64::MIN)] {
            let bytes = encoded(&record_with("stock", value.clone()));
            assert_eq!(decode(&bytes).unwrap().event.get("stock"), Some(&value));
        }
    }

    #[test]
    fn what_nests_too_deep_is_written_as_null_and_refused_when_forged() {
        let mut value = Value::Int(1);
        for _ in 0..MAX_DEPTH + 10 {
            value = Value::List(vec![value]);
        }
        assert!(decode(&encoded(&record_with("deep", value))).is_ok());

        let mut forged = vec![VERSION, 0, 0, 0, 1, 0];
        forged.extend(std::iter::repeat_n([tag::LIST, 1], 100_000).flatten());
        forged.push(tag::NULL);
        assert_eq!(decode(&forged), Err(DecodeError::Depth));
    }

    #[test]
    fn a_forged_count_reserves_no_memory() {
        let mut forged = vec![VERSION, 0, 0, 0, 1, 0, tag::LIST];
        put_varint(&mut forged, u64::MAX >> 1);
        assert_eq!(decode(&forged), Err(DecodeError::Truncated));
    }

    #[test]
    fn many_fields_are_read_in_linear_time() {
        // Quadratic work on a million fields would not end within the test's patience.
        let mut bytes = vec![VERSION, 0, 0, 0];
        put_varint(&mut bytes, 1_000_000);
        for number in 0..1_000_000 {
            put_text(&mut bytes, &format!("p{number}"));
            bytes.push(tag::NULL);
        }
        assert_eq!(decode(&bytes).unwrap().event.fields().len(), 1_000_000);
    }

    #[test]
    fn a_record_without_extensions_is_written_as_it_always_was() {
        let bytes = encoded(&record_with("stock", Value::Int(3)));
        assert_eq!(
            bytes,
            [
                b"\x01\x80\xa0\xab\xfe\xf9\x62\0\0\x01\x05stock".as_slice(),
                &[tag::INT, 6]
            ]
            .concat()
        );
    }

    #[test]
    fn an_extension_stands_behind_the_event_and_one_that_is_not_known_is_refused() {
        let mut record = record_with("stock", Value::Int(3));
        record.applied = vec!["hash-mail".into()];
        let bytes = encoded(&record);
        assert_eq!(bytes.first(), Some(&VERSION_EXTENDED));
        assert_eq!(decode(&bytes).unwrap(), record);

        let forged = |extension: &[u8]| [&[VERSION_EXTENDED, 0, 0, 0, 0, 1], extension].concat();
        let refused = [
            (forged(&[200, tag::NULL]), DecodeError::Extension(200)),
            (forged(&[extension::APPLIED, tag::NULL]), DecodeError::Extension(1)),
            (
                forged(&[extension::APPLIED, tag::LIST, 1, tag::NULL]),
                DecodeError::Extension(1),
            ),
            (forged(&[]), DecodeError::Truncated),
            (forged(&[extension::APPLIED, tag::LIST, 0, 9]), DecodeError::Trailing(1)),
        ];
        for (bytes, error) in refused {
            assert_eq!(decode(&bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn another_version_is_named() {
        assert_eq!(decode(&[9, 0, 0, 0, 0]), Err(DecodeError::Version(9)));
        assert_eq!(decode(&[]), Err(DecodeError::Truncated));
        assert_eq!(decode(&[VERSION, 0, 0, 0, 0, 7]), Err(DecodeError::Trailing(1)));
    }
}
