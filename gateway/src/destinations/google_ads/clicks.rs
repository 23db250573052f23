//! Which click on an advertisement an event goes back to: ids of the landing URL and of the cookies in which Google's tags
//! and server containers keep them (vendors/google-ads.md section 1).

use std::borrow::Cow;

use tagfleet_expressions::Value;

use crate::{
    destinations::mapping,
    event::{Event, field},
    record::{Consent, ConsentSignal},
};

/// How long a click counts: older cookies say nothing (sheet, section 1).
pub(super) const LIFE_MS: i64 = 90 * 24 * 3_600_000;
/// Longer texts are no click ids.
const MAX_BYTES: usize = 512;

/// The kinds of click ids. Where a hit has several of one age, the first of them here counts: it names the click, the
/// others a group of clicks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Gclid,
    Gbraid,
    Wbraid,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Gclid, Self::Gbraid, Self::Wbraid];

    /// The URL's parameter, which is also the field of both interfaces.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gclid => "gclid",
            Self::Gbraid => "gbraid",
            Self::Wbraid => "wbraid",
        }
    }

    /// Whether a cookie of this name keeps an id of this kind: the browser's, or the server container's.
    fn is_kept_in(self, cookie: &str) -> bool {
        match self {
            Self::Gclid => matches!(cookie, "_gcl_aw" | "FPGCLAW") || cookie.starts_with("_gac_"),
            Self::Gbraid => matches!(cookie, "_gcl_ag" | "FPGCLAG"),
            Self::Wbraid => matches!(cookie, "_gcl_gb" | "FPGCLGB"),
        }
    }
}

/// A click.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Click<'e> {
    pub(super) kind: Kind,
    pub(super) id: Cow<'e, str>,
    /// Whether the id came with this event's own page, so that its visitor has just landed.
    pub(super) landed: bool,
}

/// The click that an event at `time_ms` goes back to. An id in the URL beats those in cookies, and of these the newest
/// counts; cookies are not read for a visitor who refuses `ad_storage`.
pub(super) fn click<'e>(event: &'e Event<'_>, consent: &Consent, time_ms: i64) -> Option<Click<'e>> {
    of_url(event).or_else(|| {
        let readable = consent.ad_storage != ConsentSignal::Denied;
        readable.then(|| of_cookies(event, time_ms)).flatten()
    })
}

fn of_url<'e>(event: &'e Event<'_>) -> Option<Click<'e>> {
    let ids = event.get(field::CLICK_IDS)?.as_map()?;
    Kind::ALL.into_iter().find_map(|kind| {
        let id = ids.get(kind.name()).and_then(mapping::text)?;
        is_id(&id).then_some(Click { kind, id, landed: true })
    })
}

fn of_cookies<'e>(event: &'e Event<'_>, time_ms: i64) -> Option<Click<'e>> {
    let cookies = event.get(field::COOKIES)?.as_map()?;
    let clicks = cookies.iter().filter_map(|(name, value)| {
        let kind = Kind::ALL.into_iter().find(|kind| kind.is_kept_in(name))?;
        let (id, seconds) = value.as_str().and_then(kept)?;
        let clicked_ms = seconds.saturating_mul(1000);
        let lives = time_ms.saturating_sub(clicked_ms) <= LIFE_MS;
        (is_id(id) && lives).then_some((clicked_ms, std::cmp::Reverse(kind), id))
    });
    let (_, kind, id) = clicks.max()?;
    Some(Click {
        kind: kind.0,
        id: Cow::Borrowed(id),
        landed: false,
    })
}

/// Id and unix seconds of the click in a cookie: `GCL.<seconds>.<id>`, `_gac_`'s `1.<seconds>.<id>`, or the newer
/// `2.1.k<id>$i<seconds>`. Some tags put the id there several times: the first counts.
fn kept(cookie: &str) -> Option<(&str, i64)> {
    let (id, seconds) = match cookie.strip_prefix("2.") {
        Some(rest) => {
            let (_level, fields) = rest.split_once('.')?;
            let field = |letter: char| fields.split('$').find_map(|field| field.strip_prefix(letter));
            (field('k')?, field('i')?)
        }
        None => {
            let (_version, rest) = cookie.split_once('.')?;
            let (seconds, id) = rest.split_once('.')?;
            (id, seconds)
        }
    };
    let id = id.split(',').next().unwrap_or(id);
    let id = id.split("%2C").next().unwrap_or(id);
    Some((id, seconds.parse().ok()?))
}

/// Whether a text can be a click id: anything else would be refused, and might be something that must not leave.
fn is_id(text: &str) -> bool {
    let of_id = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(of_id)
}

/// Whether the event may be matched by what the visitor said of themselves; says nothing of whether that is well-formed.
pub(super) fn has_user_data(event: &Event<'_>) -> bool {
    const FIELDS: [&str; 5] = [
        "email_address",
        "phone_number",
        "sha256_email_address",
        "sha256_phone_number",
        "address",
    ];
    let says_something = |value: &Value<'_>| match value {
        Value::String(text) => !text.is_empty(),
        Value::List(elements) => !elements.is_empty(),
        Value::Map(members) => !members.is_empty(),
        _ => false,
    };
    let data = event.get(field::USER_DATA).and_then(Value::as_map);
    data.is_some_and(|data| FIELDS.iter().any(|name| data.get(name).is_some_and(says_something)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value as Json, json};

    use super::*;
    use crate::testing;

    /// 2026-01-01T00:00:00Z.
    const TIME_MS: i64 = 1_767_225_600_000;

    fn found(event: Json) -> Option<(Kind, String)> {
        found_with(event, Consent::default())
    }

    fn found_with(event: Json, consent: Consent) -> Option<(Kind, String)> {
        let record = testing::record(event);
        click(&record.event, &consent, TIME_MS).map(|click| (click.kind, click.id.into_owned()))
    }

    fn gclid(id: &str) -> Option<(Kind, String)> {
        Some((Kind::Gclid, id.to_owned()))
    }

    #[test]
    fn cookies_of_every_form() {
        let rows = [
            ("GCL.1767222000.TeSter-123", Some(("TeSter-123", 1_767_222_000))),
            ("1.1767222000.TeSter-123", Some(("TeSter-123", 1_767_222_000))),
            ("2.1.kTeSter-123$i1767222000", Some(("TeSter-123", 1_767_222_000))),
            ("2.1.kTeSter-123$i1767222000$b0", Some(("TeSter-123", 1_767_222_000))),
            (
                "GCL.1767222000.TeSter.with.dots",
                Some(("TeSter.with.dots", 1_767_222_000)),
            ),
            ("GCL.1767222000.first%2Cfirst", Some(("first", 1_767_222_000))),
            ("GCL.1767222000.first,first", Some(("first", 1_767_222_000))),
            ("GCL.soon.TeSter-123", None),
            ("2.1.kTeSter-123", None),
            ("2.", None),
            ("TeSter-123", None),
            ("", None),
        ];
        for (cookie, expected) in rows {
            assert_eq!(kept(cookie), expected, "{cookie}");
        }
    }

    #[test]
    fn the_url_beats_cookies() {
        let cookies = json!({"_gcl_aw": "GCL.1767222000.cookie"});
        let both = json!({"click_ids": {"gbraid": "url"}, "cookies": cookies});
        assert_eq!(found(both), Some((Kind::Gbraid, "url".to_owned())));
        assert_eq!(
            found(json!({"click_ids": {"fbclid": "x"}, "cookies": cookies})),
            gclid("cookie")
        );
    }

    #[test]
    fn in_a_url_with_several_the_gclid_names_the_click() {
        let several = json!({"click_ids": {"wbraid": "w", "gbraid": "b", "gclid": "g"}});
        assert_eq!(found(several), gclid("g"));
    }

    #[test]
    fn of_several_cookies_the_newest_counts() {
        let cookies = json!({
            "_gcl_aw": "GCL.1767100000.older", "FPGCLAW": "2.1.kold$i1767000000", "_gcl_ag": "2.1.knewest$i1767222000",
        });
        assert_eq!(
            found(json!({"cookies": cookies})),
            Some((Kind::Gbraid, "newest".to_owned()))
        );
        let alike = json!({"_gcl_gb": "GCL.1767222000.w", "_gac_UA-1-1": "1.1767222000.g"});
        assert_eq!(found(json!({"cookies": alike})), gclid("g"));
    }

    #[test]
    fn a_click_counts_for_90_days() {
        let day = 24 * 3600;
        let cookie = |age_days: i64| {
            let clicked = TIME_MS / 1000 - age_days * day;
            json!({"cookies": {"_gcl_aw": format!("GCL.{clicked}.id")}})
        };
        assert_eq!(found(cookie(90)), gclid("id"));
        assert_eq!(found(cookie(91)), None);
    }

    #[test]
    fn cookies_are_not_read_for_a_visitor_who_refuses_them() {
        let refused = Consent {
            ad_storage: ConsentSignal::Denied,
            ..Consent::default()
        };
        let event = json!({"cookies": {"_gcl_aw": "GCL.1767222000.cookie"}});
        assert_eq!(found_with(event, refused), None);
        assert_eq!(
            found_with(json!({"click_ids": {"gclid": "url"}}), refused),
            gclid("url")
        );
    }

    #[test]
    fn what_cannot_be_an_id_is_none() {
        for text in ["jane@example.com", "", "a b", "ä", &"x".repeat(513)] {
            assert_eq!(found(json!({"click_ids": {"gclid": text}})), None, "{text}");
        }
    }
}
