//! Who the visitor is when proxies stand between: the right-most address that no trusted proxy has.
//!
//! A proxy appends the address of its own peer. Everything to the left of the first untrusted address may be invented
//! by the visitor, so the walk goes from the right and stops there. `X-Forwarded-For` is what proxies send; `Forwarded`
//! (RFC 7239) is read only where the former is absent, so that a visitor behind a proxy that writes only the former
//! cannot add the latter to any effect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{
    HeaderMap, HeaderValue,
    header::{FORWARDED, HeaderName},
};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The longest chain that is followed; real ones have two or three hops.
const MAX_HOPS: usize = 64;

/// The visitor's address. `peer` is the other end of the connection; headers count only when it is in `trusted`.
///
/// When every hop is trusted the left-most one is the visitor. When a hop is not an address the walk stops at the last
/// hop that was one: what stands further left was written by something unknown. IPv4-mapped IPv6 becomes IPv4.
#[must_use]
pub fn visitor(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    if headers.contains_key(&X_FORWARDED_FOR) {
        // Several header lines are one list (RFC 9110 section 5.3), so the last line is the nearest.
        let lines = headers.get_all(&X_FORWARDED_FOR).iter().rev();
        let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let addresses = hops
            .map(<[u8]>::trim_ascii)
            .filter(|hop| !hop.is_empty())
            .map(parse_node);
        walk(peer, addresses, trusted)
    } else if headers.contains_key(FORWARDED) {
        let lines = headers.get_all(FORWARDED).iter().rev();
        walk(
            peer,
            lines.flat_map(|line| forwarded_for(line).into_iter().rev()),
            trusted,
        )
    } else {
        peer
    }
}

/// Whether a proxy that is trusted handed the request on.
#[must_use]
pub fn by_trusted_proxy(peer: IpAddr, trusted: &[IpNet]) -> bool {
    is_trusted(peer.to_canonical(), trusted)
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// Goes along the hops from the nearest to the farthest.
fn walk(peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>, trusted: &[IpNet]) -> IpAddr {
    let mut visitor = peer;
    for hop in hops.take(MAX_HOPS) {
        match hop {
            Some(address) => visitor = address.to_canonical(),
            None => break,
        }
        if !is_trusted(visitor, trusted) {
            break;
        }
    }
    visitor
}

/// An address as proxies write it: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
/// `unknown`, obfuscated identifiers and anything else are no address.
fn parse_node(node: &[u8]) -> Option<IpAddr> {
    let node = std::str::from_utf8(node).ok()?.trim_ascii();
    if let Some(bracketed) = node.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(())?;
        return address.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    if let Ok(address) = node.parse::<IpAddr>() {
        return Some(address);
    }
    let (address, port) = node.split_once(':')?;
    is_port(port).then_some(())?;
    address.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

/// RFC 7239 section 6: one to five digits, or `_` and an obfuscated identifier.
fn is_port(port: &str) -> bool {
    match port.strip_prefix('_') {
        Some(obfuscated) => {
            !obfuscated.is_empty()
                && obfuscated
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
        }
        None => (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// The `for` of every element of one `Forwarded` line, in order; `None` where an element has none or it is no address.
/// A line that is not well formed is one element without address, so that the walk stops at it.
fn forwarded_for(line: &HeaderValue) -> Vec<Option<IpAddr>> {
    elements(line.as_bytes()).unwrap_or_else(|| vec![None])
}

fn elements(line: &[u8]) -> Option<Vec<Option<IpAddr>>> {
    let mut found = Vec::new();
    let mut address = None;
    let mut empty = true;
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        match rest.split_first() {
            None | Some((b',', _)) => {
                // RFC 9110 section 5.6.1: empty list elements are ignored.
                if !empty {
                    found.push(address.take());
                }
                empty = true;
                match rest.split_first() {
                    Some((_, after)) => rest = after,
                    None => return Some(found),
                }
            }
            Some((b';', after)) => rest = after,
            Some(_) => {
                empty = false;
                let (name, value, after) = pair(rest)?;
                if name.eq_ignore_ascii_case(b"for") {
                    address = parse_node(&value);
                }
                rest = after.trim_ascii_start();
                if !matches!(rest.first(), None | Some(b',' | b';')) {
                    return None;
                }
            }
        }
    }
}

/// `name=token` or `name="quoted"`: name, value without quotes and escapes, what follows.
fn pair(text: &[u8]) -> Option<(&[u8], Vec<u8>, &[u8])> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (text.get(..equals)?, text.get(equals + 1..)?);
    if let Some(quoted) = value.strip_prefix(b"\"") {
        let mut plain = Vec::new();
        let mut bytes = quoted.iter().enumerate();
        while let Some((index, byte)) = bytes.next() {
            match byte {
                b'"' => return Some((name, plain, quoted.get(index + 1..)?)),
                b'\\' => plain.push(*bytes.next()?.1),
                byte => plain.push(*byte),
            }
        }
        return None;
    }
    let end = value
        .iter()
        .position(|byte| matches!(byte, b',' | b';' | b' ' | b'\t' | b'"'))
        .unwrap_or(value.len());
    Some((name, value.get(..end)?.to_vec(), value.get(end..)?))
}

/// An address as text. Every hit has one, and nearly every one is of IPv4, for which the general way takes ten times as long.
pub(crate) fn text_of(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else {
        return address.to_string();
    };
    let mut text = String::with_capacity("255.255.255.255".len());
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            text.push('.');
        }
        for (unit, least) in [(100, 100), (10, 10), (1, 0)] {
            if octet >= least {
                text.push(char::from(b'0' + octet / unit % 10));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use proptest::prelude::*;

    use super::*;

    fn seen_from(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let trusted = ["10.0.0.0/8", "127.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        visitor(peer.parse().unwrap(), &map, &trusted).to_string()
    }

    #[test]
    fn an_untrusted_peer_is_the_visitor_whatever_it_claims() {
        assert_eq!(
            seen_from("198.51.100.7", &[("x-forwarded-for", "192.0.2.1")]),
            "198.51.100.7"
        );
        assert_eq!(
            seen_from("198.51.100.7", &[("forwarded", "for=192.0.2.1")]),
            "198.51.100.7"
        );
    }

    #[test]
    fn the_right_most_untrusted_address_is_the_visitor() {
        for (list, visitor) in [
            ("192.0.2.1", "192.0.2.1"),
            ("203.0.113.9, 192.0.2.1", "192.0.2.1"),
            ("203.0.113.9, 192.0.2.1, 10.1.2.3", "192.0.2.1"),
            ("203.0.113.9,192.0.2.1 ,10.1.2.3,127.0.0.1", "192.0.2.1"),
            ("10.3.3.3, 10.2.2.2", "10.3.3.3"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.2.1, ::ffff:10.0.0.1", "192.0.2.1"),
            ("192.0.2.1, , 10.0.0.1,", "192.0.2.1"),
        ] {
            assert_eq!(seen_from("10.0.0.1", &[("x-forwarded-for", list)]), visitor, "{list}");
            assert_eq!(
                seen_from("::ffff:10.0.0.1", &[("x-forwarded-for", list)]),
                visitor,
                "{list}"
            );
        }
    }

    #[test]
    fn several_header_lines_are_one_list() {
        let lines = [
            ("x-forwarded-for", "203.0.113.9, 192.0.2.1"),
            ("x-forwarded-for", "10.2.2.2"),
        ];
        assert_eq!(seen_from("10.0.0.1", &lines), "192.0.2.1");
    }

    #[test]
    fn the_walk_stops_at_what_is_no_address() {
        for list in [
            "192.0.2.1, unknown",
            "192.0.2.1, 10.0.0.300",
            "192.0.2.1, 10.2.2.2:port",
            "192.0.2.1, [fd00::1",
            "192.0.2.1, [fd00::1]x",
            "192.0.2.1, fe80::1%eth0",
            "192.0.2.1, \u{fc}",
        ] {
            assert_eq!(
                seen_from("10.0.0.1", &[("x-forwarded-for", list)]),
                "10.0.0.1",
                "{list}"
            );
        }
        assert_eq!(
            seen_from("10.0.0.1", &[("x-forwarded-for", "192.0.2.1, garbage, 10.9.9.9")]),
            "10.9.9.9"
        );
    }

    #[test]
    fn forwarded_is_read_where_the_older_header_is_absent() {
        for (line, visitor) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            (
                "for=203.0.113.9, for=192.0.2.43;secret=\"a,b;c=\\\"d\", for=10.2.2.2",
                "192.0.2.43",
            ),
            ("proto=https;for=\"192.0.2.43:_obfuscated\"", "192.0.2.43"),
            ("for=192.0.2.43, for=unknown", "10.0.0.1"),
            ("for=192.0.2.43, for=_hidden", "10.0.0.1"),
            ("for=192.0.2.43, proto=https", "10.0.0.1"),
            ("for=\"192.0.2.43", "10.0.0.1"),
            ("for", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(seen_from("10.0.0.1", &[("forwarded", line)]), visitor, "{line}");
        }
        let both = [("forwarded", "for=203.0.113.9"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(seen_from("10.0.0.1", &both), "192.0.2.1");
    }

    proptest! {
        /// Whatever the visitor puts in front, the address that the trusted proxy appended is what is seen.
        #[test]
        fn what_the_visitor_sends_never_changes_who_they_are(forged in "[ -~]{0,200}", visitor in any::<Ipv4Addr>()) {
            prop_assume!(!matches!(visitor.octets()[0], 10 | 127));
            let list = format!("{forged}, {visitor}");
            prop_assert_eq!(seen_from("10.0.0.1", &[("x-forwarded-for", &list)]), visitor.to_string());
        }

        /// No bytes make it fail, and the answer is canonical.
        #[test]
        fn any_bytes_give_an_address(line in proptest::collection::vec(any::<u8>(), 0..200), forwarded in any::<bool>()) {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let name = if forwarded { FORWARDED } else { X_FORWARDED_FOR };
                let headers = HeaderMap::from_iter([(name, value)]);
                let trusted = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
                let seen = visitor(Ipv4Addr::LOCALHOST.into(), &headers, &trusted);
                prop_assert_eq!(seen, seen.to_canonical());
            }
        }

        /// Every spelling of an address is read back.
        #[test]
        fn every_spelling_is_read(address in any::<IpAddr>(), port in any::<u16>()) {
            let with_port = std::net::SocketAddr::new(address, port).to_string();
            prop_assert_eq!(parse_node(with_port.as_bytes()), Some(address));
            prop_assert_eq!(parse_node(address.to_string().as_bytes()), Some(address));
        }
    }

    #[test]
    fn addresses_are_written_as_usual() {
        for octet in 0..=u8::MAX {
            let address = IpAddr::from([octet, 0, octet, 10]);
            assert_eq!(text_of(address), address.to_string());
        }
        assert_eq!(text_of("2001:db8::1".parse().unwrap()), "2001:db8::1");
    }
}
