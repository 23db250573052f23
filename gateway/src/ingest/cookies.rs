//! The Cookie header: which cookies an event may hold, and what GA's own say.

use std::borrow::Cow;

use http::{HeaderMap, header};
use tagfleet_expressions::{Map, Value};

use super::{fields::Fields, query};
use crate::name_patterns::NamePatterns;

/// The tracking cookies of a request, and those of these names. Any other cookie is never copied out of the header. Of a
/// repeated name the first stays: browsers send the most specific one first (RFC 6265 section 5.4).
pub fn tracking<'r>(headers: &'r HeaderMap, names: &NamePatterns) -> Map<'r> {
    let mut cookies = Fields::default();
    for (name, value) in pairs(headers) {
        let name = std::str::from_utf8(name).ok();
        if let Some(name) = name.filter(|name| is_tracking(name) || names.matches(name))
            && !cookies.contains(name)
        {
            cookies.insert(name, query::text(value));
        }
    }
    cookies.into_map()
}

/// The value of one cookie, for a step that reads it and passes it on to nobody. Of a repeated name the first.
pub(crate) fn value<'r>(headers: &'r HeaderMap, name: &str) -> Option<&'r [u8]> {
    pairs(headers).find_map(|(key, value)| (key == name.as_bytes()).then_some(value))
}

/// Names and values of all cookies, as they stand. HTTP/2 may split the header in several (RFC 9113 section 8.2.3).
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let (name, value) = pair.split_at_checked(memchr::memchr(b'=', pair)?)?;
        Some((name.trim_ascii(), value.strip_prefix(b"=")?.trim_ascii()))
    })
}

/// Whether a cookie is one of those that vendors and their tags use to recognise a browser or a click (vendors/).
fn is_tracking(name: &str) -> bool {
    name.starts_with("_ga")
        || name.starts_with("_gcl_")
        || name.starts_with("FPG")
        || matches!(
            name,
            "FPID"
                | "FPIDP"
                | "FPLC"
                | "FPAU"
                | "_fbp"
                | "_fbc"
                | "_ttp"
                | "ttclid"
                | "_epik"
                | "li_fat_id"
                | "_scid"
                | "_scclid"
                | "_uetmsclkid"
                | "_rdt_uuid"
                | "_rdt_cid"
                | "rdt_cid"
                | "twclid"
                | "_twclid"
                | "_dcid"
        )
}

/// The client id in a `_ga` cookie: `GA1.<domain level>.<random>.<unix seconds>`, its last two parts.
pub fn ga_client_id(cookie: &str) -> Option<&str> {
    let rest = cookie.strip_prefix("GA1.")?;
    let mut dots = rest.rmatch_indices('.').map(|(place, _)| place);
    let (last, before) = (dots.next()?, dots.next()?);
    let id = rest.get(before + 1..)?;
    (before + 1 < last && last + 1 < rest.len()).then_some(id)
}

/// The session in a `_ga_<ID>` cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaSession<'c> {
    /// The session's start in unix seconds.
    pub id: &'c str,
    /// How many this visitor had, this one included.
    pub number: Option<i64>,
}

/// Reads a `_ga_<ID>` cookie: `GS1.1.<id>.<number>.…`, or since May 2025 `GS2.1.s<id>$o<number>$…` in any order.
pub fn ga_session(cookie: &str) -> Option<GaSession<'_>> {
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (version, rest) = cookie.split_once('.')?;
    let (_domain_level, rest) = rest.split_once('.')?;
    let (id, number) = match version {
        "GS1" => {
            let mut parts = rest.split('.');
            (parts.next(), parts.next())
        }
        "GS2" => {
            let field = |letter: char| rest.split('$').find_map(|field| field.strip_prefix(letter));
            (field('s'), field('o'))
        }
        _ => return None,
    };
    Some(GaSession {
        id: id.filter(digits)?,
        number: number.and_then(|number| number.parse().ok()),
    })
}

/// The session cookie of a stream among an event's cookies: `G-ABC` has `_ga_ABC`.
pub(super) fn session_of<'c>(cookies: &'c Map<'_>, measurement_id: &str) -> Option<GaSession<'c>> {
    let stream = measurement_id.strip_prefix("G-")?;
    cookies
        .iter()
        .find(|(name, _)| name.strip_prefix("_ga_") == Some(stream))
        .and_then(|(_, value)| ga_session(value.as_str()?))
}

/// Keeps of an object that a sender put into its own event the cookies that may be there; none if it is no object.
pub(super) fn keep_tracking<'r>(given: Value<'r>, names: &NamePatterns) -> Option<Map<'r>> {
    let Value::Map(cookies) = given else { return None };
    let kept = cookies
        .into_iter()
        .filter(|(name, value)| (is_tracking(name) || names.matches(name)) && value.as_str().is_some());
    Some(Map::from_unique(kept.collect::<Vec<(Cow<'_, str>, Value<'_>)>>()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(cookies: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, HeaderValue::from_bytes(cookie).unwrap());
        }
        headers
    }

    #[test]
    fn only_tracking_cookies_are_kept() {
        let headers = headers(&[
            b"_ga=GA1.1.1.2; session=topsecret; _fbp=fb.1.2.3;FPID=FPID2.2.a%3D.1; csrf=x",
            b"_gcl_aw=GCL.1.x; xFPID=no; __ga=no",
        ]);
        let cookies = tracking(&headers, &NamePatterns::none());
        let names: Vec<_> = cookies.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["_ga", "_fbp", "FPID", "_gcl_aw"]);
        assert_eq!(cookies.get("FPID"), Some(&Value::from("FPID2.2.a%3D.1")));
    }

    #[test]
    fn further_names_are_kept_where_the_container_wants_them() {
        let headers = headers(&[b"_pk_id.1=a; _pk=b; session=c; visitor=d; _ga=e"]);
        let cookies = tracking(&headers, &NamePatterns::new(["_pk_*", "visitor"]));
        let names: Vec<_> = cookies.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["_pk_id.1", "visitor", "_ga"]);
    }

    #[test]
    fn of_a_repeated_cookie_the_first_stays() {
        let headers = headers(&[b"_ga=first; _ga=second", b"_ga=third"]);
        assert_eq!(
            tracking(&headers, &NamePatterns::none()).get("_ga"),
            Some(&Value::from("first"))
        );
    }

    #[test]
    fn odd_pairs_are_survived() {
        let headers = headers(&[b"; =; _ga; _ga =x=y ;\xff=1; _fbc=\xff"]);
        let cookies = tracking(&headers, &NamePatterns::none());
        assert_eq!(cookies.get("_ga"), Some(&Value::from("x=y")));
        assert_eq!(cookies.get("_fbc"), Some(&Value::from("\u{fffd}")));
        assert_eq!(cookies.len(), 2);
    }

    #[test]
    fn the_client_id_is_the_last_two_parts_of_ga() {
        assert_eq!(
            ga_client_id("GA1.1.1506821430.1730448757"),
            Some("1506821430.1730448757")
        );
        assert_eq!(
            ga_client_id("GA1.2-2.1506821430.1730448757"),
            Some("1506821430.1730448757")
        );
        for cookie in [
            "",
            "GA1.1",
            "GA1.1.",
            "GA1.1..",
            "GA1.1.1.",
            "GA1.1..2",
            "deleted",
            "GS1.1.1.2",
        ] {
            assert_eq!(ga_client_id(cookie), None, "{cookie}");
        }
    }

    #[test]
    fn both_forms_of_the_session_cookie_are_read() {
        let session = |id, number| Some(GaSession { id, number });
        for (cookie, expected) in [
            (
                "GS1.1.1739008119.44.1.1739008200.60.0.0",
                session("1739008119", Some(44)),
            ),
            ("GS1.1.1739008119", session("1739008119", None)),
            (
                "GS2.1.s1739008119$o44$g1$t1739008200$j60$l0$h0",
                session("1739008119", Some(44)),
            ),
            ("GS2.1.t1739008200$o44$s1739008119", session("1739008119", Some(44))),
            ("GS2.1.o44", None),
            ("GS1.1.x.44", None),
            ("GS3.1.1739008119.44", None),
            ("", None),
        ] {
            assert_eq!(ga_session(cookie), expected, "{cookie}");
        }
    }

    #[test]
    fn the_session_cookie_of_the_stream_is_found() {
        let cookies = Map::from_unique(vec![
            ("_ga_OTHER".into(), "GS1.1.1.1".into()),
            ("_ga_ABC".into(), "GS1.1.2.3".into()),
        ]);
        assert_eq!(session_of(&cookies, "G-ABC").unwrap().id, "2");
        assert_eq!(session_of(&cookies, "G-NONE"), None);
        assert_eq!(session_of(&cookies, "AW-ABC"), None);
    }

    proptest! {
        #[test]
        fn any_header_is_survived(bytes in prop::collection::vec(prop_oneof![Just(b';'), Just(b'='), 32_u8..127, 128_u8..], 0..200)) {
            let headers = headers(&[&bytes]);
            for (name, value) in tracking(&headers, &NamePatterns::none()).iter() {
                prop_assert!(is_tracking(name));
                ga_client_id(value.as_str().unwrap());
                ga_session(value.as_str().unwrap());
            }
        }
    }
}
