//! E-mail addresses inside a text.

use std::ops::Range;

use super::scan::encoded;

/// Finds e-mail addresses, their `@` as it is or percent-encoded, once or more often (`%40`, `%2540`). An address has a name
/// before the `@`, and behind it a domain with a dot in it and two letters at its end.
pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut from = 0;
    for at in memchr::memchr2_iter(b'@', b'%', bytes) {
        // What lies before the end of the last address is part of that.
        if at < from {
            continue;
        }
        let Some(sign) = at_sign(bytes, at) else { continue };
        let start = name_start(bytes, at, from);
        let Some(end) = domain_end(bytes, at + sign).filter(|_| start < at) else {
            continue;
        };
        found.push(start..end);
        from = end;
    }
}

/// How many bytes the `@` at this place takes, if there is one.
fn at_sign(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    if rest.first() == Some(&b'@') {
        return Some(1);
    }
    let mut behind = rest.strip_prefix(b"%")?;
    while let Some(rest) = behind.strip_prefix(b"25") {
        behind = rest;
    }
    let behind = behind.strip_prefix(b"40")?;
    Some(rest.len() - behind.len())
}

/// Where the name before the `@` begins: with the characters of a dot-atom (RFC 5322 section 3.2.3) that stand in names,
/// and those outside ASCII (RFC 6531).
fn name_start(text: &[u8], at: usize, from: usize) -> usize {
    let mut start = at;
    while start > from {
        let escaped = start.checked_sub(3).filter(|before| *before >= from);
        if let Some(before) = escaped
            && let Some(byte) = encoded(text, before)
        {
            if !is_of_name(byte) {
                break;
            }
            start = before;
            continue;
        }
        match text.get(start - 1) {
            Some(&byte) if is_of_name(byte) => start -= 1,
            _ => break,
        }
    }
    start
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'+' | b'-' | b'\'') || !byte.is_ascii()
}

/// Where the domain ends that begins here, if it is one.
fn domain_end(text: &[u8], start: usize) -> Option<usize> {
    let rest = text.get(start..)?;
    let is_of_domain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') || !byte.is_ascii();
    let length = rest.iter().position(|byte| !is_of_domain(byte)).unwrap_or(rest.len());
    let mut domain = rest.get(..length)?;
    while let [shorter @ .., b'.' | b'-'] = domain {
        domain = shorter;
    }
    let dot = memchr::memrchr(b'.', domain)?;
    let top = domain.get(dot + 1..)?;
    let is_top = top.len() >= 2
        && top
            .iter()
            .all(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii() || *byte == b'-');
    // An internationalised top level is written with digits and hyphens, too (RFC 3492).
    let is_encoded_top = top.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"xn--"));
    (dot > 0 && (is_top || is_encoded_top)).then_some(start + domain.len())
}
