//! W3C Trace Context: which span a request belongs to, as its headers say
//! (Recommendation, level 1: <https://www.w3.org/TR/trace-context-1/>).
//!
//! Headers of a hit are hostile. What is not exactly a `traceparent` of version 00 is no context, and what is not exactly a
//! `tracestate` is left out; neither makes a hit fail.

use std::num::{NonZeroU64, NonZeroU128};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Says which span a request is sent from.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What tracing systems add to it, opaque to us.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The flag `sampled` (section 3.2.2.5.1).
const SAMPLED: u8 = 1;
/// The most of a `tracestate` that has to be passed on (section 3.3.1.5); a longer one is left out.
const MAX_STATE_BYTES: usize = 512;
/// The most members of a `tracestate` (section 3.3.1.1).
const MAX_STATE_MEMBERS: usize = 32;

/// A span and the trace that it is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanContext {
    trace: NonZeroU128,
    span: NonZeroU64,
}

impl SpanContext {
    /// From the two ids; none when one is zero, which no id may be.
    #[must_use]
    pub fn new(trace: u128, span: u64) -> Option<Self> {
        Some(Self {
            trace: NonZeroU128::new(trace)?,
            span: NonZeroU64::new(span)?,
        })
    }

    /// The first span of a new trace, with random ids.
    #[must_use]
    pub fn root() -> Self {
        Self {
            trace: NonZeroU128::new(rand::random()).unwrap_or(NonZeroU128::MAX),
            span: random_span(),
        }
    }

    /// A new span of the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self {
            span: random_span(),
            ..self
        }
    }

    /// The trace's id.
    #[must_use]
    pub const fn trace(self) -> u128 {
        self.trace.get()
    }

    /// The span's id.
    #[must_use]
    pub const fn span(self) -> u64 {
        self.span.get()
    }

    /// Writes `traceparent` as of a sampled span, and `tracestate` unless it is empty, where the request has none yet.
    pub fn write(self, state: &str, headers: &mut HeaderMap) {
        if headers.contains_key(TRACEPARENT) {
            return;
        }
        let parent = format!("00-{:032x}-{:016x}-{SAMPLED:02x}", self.trace, self.span);
        if let Ok(parent) = HeaderValue::from_str(&parent) {
            headers.insert(TRACEPARENT, parent);
        }
        if !state.is_empty()
            && let Ok(state) = HeaderValue::from_str(state)
        {
            headers.insert(TRACESTATE, state);
        }
    }
}

fn random_span() -> NonZeroU64 {
    NonZeroU64::new(rand::random()).unwrap_or(NonZeroU64::MAX)
}

/// The span of a hit that is traced: what is kept with its events, so that their deliveries can point to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The hit's own span.
    pub context: SpanContext,
    /// The `tracestate` that came with the hit; empty without one.
    pub state: Box<str>,
}

/// What a request's `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The span that it was sent from.
    pub context: SpanContext,
    /// Whether the sender traces it, and asks others to do the same.
    pub sampled: bool,
}

/// The span that a request was sent from; none without exactly one `traceparent` that is valid.
#[must_use]
pub fn parent(headers: &HeaderMap) -> Option<Parent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    match (values.next(), values.next()) {
        (Some(only), None) => parse(only.as_bytes()),
        _ => None,
    }
}

/// `00-<32 digits>-<16 digits>-<2 digits>`, in lower case (section 3.2.2).
fn parse(value: &[u8]) -> Option<Parent> {
    let (trace, rest) = value.strip_prefix(b"00-")?.split_at_checked(32)?;
    let (span, rest) = rest.strip_prefix(b"-")?.split_at_checked(16)?;
    let flags = rest.strip_prefix(b"-").filter(|flags| flags.len() == 2)?;
    let context = SpanContext::new(hex(trace)?, u64::try_from(hex(span)?).ok()?)?;
    Some(Parent {
        context,
        sampled: hex(flags)? & u128::from(SAMPLED) != 0,
    })
}

fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// The `tracestate` of a request with a valid `traceparent`, its headers combined; empty when it has none that is valid.
#[must_use]
pub fn state(headers: &HeaderMap) -> Box<str> {
    let mut combined = String::new();
    for value in headers.get_all(TRACESTATE) {
        let Ok(value) = value.to_str() else {
            return Box::default();
        };
        if !combined.is_empty() {
            combined.push(',');
        }
        combined.push_str(value.trim_matches([' ', '\t']));
        if combined.len() > MAX_STATE_BYTES {
            return Box::default();
        }
    }
    if is_state(&combined) {
        combined.into()
    } else {
        Box::default()
    }
}

/// Whether a text is a `tracestate` (section 3.3.1): members with a comma between them, none of a key twice.
#[must_use]
pub fn is_state(text: &str) -> bool {
    let members = text.split(',').map(|member| member.trim_matches([' ', '\t']));
    let mut keys = Vec::new();
    for member in members.filter(|member| !member.is_empty()) {
        let Some((key, value)) = member.split_once('=') else {
            return false;
        };
        if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MAX_STATE_MEMBERS {
            return false;
        }
        keys.push(key);
    }
    text.len() <= MAX_STATE_BYTES
}

/// A key: a name of its own, or a tenant's at a system (section 3.3.1.3.1).
fn is_key(key: &str) -> bool {
    let is_letter = |first: u8| first.is_ascii_lowercase();
    let is_name = |name: &str, longest: usize, begins: fn(u8) -> bool| {
        let bytes = name.as_bytes();
        bytes.first().is_some_and(|first| begins(*first))
            && bytes.len() <= longest
            && bytes
                .iter()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/'))
    };
    match key.split_once('@') {
        None => is_name(key, 256, is_letter),
        Some((tenant, system)) => {
            is_name(tenant, 241, |first| {
                first.is_ascii_lowercase() || first.is_ascii_digit()
            }) && is_name(system, 14, is_letter)
        }
    }
}

/// A value: printable, without comma and equals sign, up to 256 characters (section 3.3.1.3.2).
fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && value
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]

    use proptest::prelude::*;

    use super::*;

    /// The Recommendation's own example.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let values = values
            .iter()
            .map(|value| (name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap()));
        values.fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
    }

    fn parent_of(value: &str) -> Option<Parent> {
        parent(&headers(&TRACEPARENT, &[value]))
    }

    fn state_of(values: &[&str]) -> String {
        state(&headers(&TRACESTATE, values)).into()
    }

    #[test]
    fn the_recommendations_example_is_read_and_written() {
        let read = parent_of(EXAMPLE).unwrap();
        assert_eq!(read.context.trace(), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(read.context.span(), 0x00f0_67aa_0ba9_02b7);
        assert!(read.sampled);

        let mut written = HeaderMap::new();
        read.context.write("congo=t61rcWkgMzE", &mut written);
        assert_eq!(written.get(TRACEPARENT).unwrap(), EXAMPLE);
        assert_eq!(written.get(TRACESTATE).unwrap(), "congo=t61rcWkgMzE");
    }

    #[test]
    fn of_the_flags_only_sampled_counts() {
        for (flags, sampled) in [("00", false), ("02", false), ("03", true), ("ff", true)] {
            let value = format!("{}{flags}", &EXAMPLE[..53]);
            assert_eq!(parent_of(&value).unwrap().sampled, sampled, "{flags}");
        }
    }

    #[test]
    fn anything_else_is_no_context() {
        for value in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-brings",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01,00",
            "é0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parent_of(value), None, "{value}");
        }
        assert_eq!(parent(&headers(&TRACEPARENT, &[EXAMPLE, EXAMPLE])), None);
        assert_eq!(parent(&HeaderMap::new()), None);
    }

    #[test]
    fn a_state_is_passed_on_as_it_is_its_headers_combined() {
        for good in [
            "rojo=00f067aa0ba902b7",
            "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
            "fw529a3039@dt=FfffffffFfffffff, a_-*/9=~ !\"",
            "0tenant@vendor=1",
            "a=1,,b=2",
        ] {
            assert_eq!(state_of(&[good]), good);
        }
        assert_eq!(state_of(&["congo=1,rojo=2", "third=3"]), "congo=1,rojo=2,third=3");
        assert_eq!(state_of(&[]), "");
    }

    #[test]
    fn a_state_that_is_none_is_left_out() {
        let many = (0..33)
            .map(|number| format!("k{number}=v"))
            .collect::<Vec<_>>()
            .join(",");
        let (long, wide) = (format!("k={}", "v".repeat(257)), format!("k={}", "v".repeat(250)));
        for bad in [
            "rojo",
            "=1",
            "rojo=",
            "Rojo=1",
            "0rojo=1",
            "rojo=1,rojo=2",
            "a@b@c=1",
            "@b=1",
            "a@=1",
            "a@0b=1",
            "rojo=a=b",
            "rojo=\u{e9}",
            many.as_str(),
            long.as_str(),
        ] {
            assert_eq!(state_of(&[bad]), "", "{bad}");
        }
        let three = [wide.clone(), format!("l{wide}"), format!("m{wide}")];
        assert_eq!(state_of(&three.each_ref().map(String::as_str)), "", "longer than 512");
    }

    #[test]
    fn a_header_that_somebody_configured_stays() {
        let mut configured = headers(&TRACEPARENT, &["mine"]);
        SpanContext::root().write("a=1", &mut configured);
        assert_eq!(configured, headers(&TRACEPARENT, &["mine"]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace in 1_u128.., span in 1_u64..) {
            let context = SpanContext::new(trace, span).unwrap();
            let mut headers = HeaderMap::new();
            context.write("", &mut headers);
            prop_assert_eq!(parent(&headers), Some(Parent { context, sampled: true }));
        }

        #[test]
        fn no_bytes_do_harm(parents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..3),
                            states in prop::collection::vec("[a-c@=, \t\\x80-\\xff]{0,600}", 0..4)) {
            let mut headers = HeaderMap::new();
            for (name, value) in parents.iter().map(|value| (TRACEPARENT, value.as_slice()))
                .chain(states.iter().map(|value| (TRACESTATE, value.as_bytes()))) {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    headers.append(name, value);
                }
            }
            prop_assert_eq!(parent(&headers), None);
            let state = state(&headers);
            prop_assert!(state.len() <= MAX_STATE_BYTES && is_state(&state));
        }

        /// One byte of a good header changed, anywhere and to anything: it is refused, or reads as what stands there.
        #[test]
        fn a_changed_byte_is_never_misread(at in 0_usize..55, byte in 0x20_u8..0x7f) {
            let mut value = EXAMPLE.as_bytes().to_vec();
            value[at] = byte;
            let value = String::from_utf8(value).unwrap();
            if let Some(read) = parent_of(&value) {
                let mut again = HeaderMap::new();
                read.context.write("", &mut again);
                prop_assert_eq!(&again.get(TRACEPARENT).unwrap().to_str().unwrap()[..53], &value[..53]);
            }
        }
    }
}
