//! The vendors' cookies that `identity.clickIds` sets: name, life and form of each, by the vendors' sheets, as one table.

use super::{browser::Random, fpid::ID_BYTES};

/// What a value is made of beside its id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Now, unix milliseconds.
    pub(super) now_ms: i64,
    /// The labels of the domain that the cookie is set on.
    pub(super) labels: usize,
}

/// One cookie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// How long the vendor keeps it.
    pub(super) days: u32,
    /// Whether the vendor's script need not read it.
    pub(super) http_only: bool,
    pub(super) source: Source,
}

/// Where its value comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// A click id, by its name in `event.click_ids`.
    Click(&'static str, ClickForm),
    /// Made where the browser has none.
    Browser(BrowserForm),
}

/// How a cookie holds a click id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClickForm {
    /// `fb.<labels less one>.<unix milliseconds>.<id>`
    Meta,
    /// `GCL.<unix seconds>.<id>`
    Google,
    /// `2.1.k<id>$i<unix seconds>`, as Google's server container writes.
    GoogleServer,
    /// `_uet<id>`
    Microsoft,
    /// The id alone.
    Plain,
}

/// How a browser's id looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BrowserForm {
    /// `fb.<labels less one>.<unix milliseconds>.<ten digits>`
    Meta,
    /// 27 letters and digits.
    TikTok,
    /// A UUID.
    Snap,
}

/// All of them. Which scripts read their cookie, and so must be able to: of each vendor's own tag, below.
pub(super) const TABLE: [Row; 15] = [
    // meta-capi.md section 3.1. Meta's pixel reads and writes both.
    click("_fbc", 90, "fbclid", ClickForm::Meta),
    browser("_fbp", 90, BrowserForm::Meta),
    // google-ads.md section 1. gtag's conversion linker reads and writes all of them.
    click("_gcl_aw", 90, "gclid", ClickForm::Google),
    click("_gcl_dc", 90, "dclid", ClickForm::Google),
    click("_gcl_gb", 90, "wbraid", ClickForm::Google),
    click("_gcl_ag", 90, "gbraid", ClickForm::GoogleServer),
    // tiktok.md section 3: 13 months, and 30 days. TikTok's pixel reads both.
    browser("_ttp", 395, BrowserForm::TikTok),
    click("ttclid", 30, "ttclid", ClickForm::Plain),
    // linkedin.md section 2. The Insight Tag reads it.
    click("li_fat_id", 90, "li_fat_id", ClickForm::Plain),
    // pinterest.md: one year. Pinterest's tag reads it.
    click("_epik", 365, "epik", ClickForm::Plain),
    // others.md section 2; 90 days in Microsoft's own scripts, which read it.
    click("_uetmsclkid", 90, "msclkid", ClickForm::Microsoft),
    // others.md section 1. Snap's pixel keeps `_scid` for 13 months and reads it; `_scclid` is of servers alone.
    browser("_scid", 395, BrowserForm::Snap),
    of_servers("_scclid", 365, "sccid"),
    // others.md section 4. X's own script has its copy in `_twclid`; `twclid` is of servers alone.
    of_servers("twclid", 90, "twclid"),
    // others.md section 3. Reddit's pixel reads it.
    click("_rdt_cid", 30, "rdt_cid", ClickForm::Plain),
];

const fn click(name: &'static str, days: u32, parameter: &'static str, form: ClickForm) -> Row {
    Row {
        name,
        days,
        http_only: false,
        source: Source::Click(parameter, form),
    }
}

const fn of_servers(name: &'static str, days: u32, parameter: &'static str) -> Row {
    Row {
        http_only: true,
        ..click(name, days, parameter, ClickForm::Plain)
    }
}

const fn browser(name: &'static str, days: u32, form: BrowserForm) -> Row {
    Row {
        name,
        days,
        http_only: false,
        source: Source::Browser(form),
    }
}

impl ClickForm {
    /// The cookie's value for this click id; none if the form cannot hold it.
    pub(super) fn write(self, id: &str, moment: Moment) -> Option<String> {
        let seconds = moment.now_ms.div_euclid(1_000);
        Some(match self {
            Self::Meta => format!("fb.{}.{}.{id}", moment.labels.saturating_sub(1), moment.now_ms),
            Self::Google => format!("GCL.{seconds}.{id}"),
            Self::GoogleServer if id.contains('$') => return None,
            Self::GoogleServer => format!("2.1.k{id}$i{seconds}"),
            Self::Microsoft => format!("_uet{id}"),
            Self::Plain => id.to_owned(),
        })
    }

    /// Whether a cookie's value holds this click id already, so that the time in it stays that of the click.
    pub(super) fn holds(self, value: &str, id: &str) -> bool {
        match self {
            // A fifth part is the mark of Meta's own libraries (meta-capi.md section 3.1).
            Self::Meta => value
                .splitn(4, '.')
                .nth(3)
                .and_then(|own| own.strip_prefix(id))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
            Self::Google | Self::GoogleServer => google_id(value) == Some(id),
            Self::Microsoft => value.strip_prefix("_uet") == Some(id),
            Self::Plain => value == id,
        }
    }
}

/// The id in either form of Google's; of an id that stands there several times, the first (google-ads.md section 1).
fn google_id(value: &str) -> Option<&str> {
    let id = match value.strip_prefix("2.") {
        Some(rest) => {
            let (_level, fields) = rest.split_once('.')?;
            fields.split('$').find_map(|field| field.strip_prefix('k'))?
        }
        None => value.splitn(3, '.').nth(2)?,
    };
    id.split("%2C").next()
}

impl BrowserForm {
    /// A new id of its part of these random bytes.
    pub(super) fn write(self, random: &Random, moment: Moment) -> String {
        match self {
            Self::Meta => format!(
                "fb.{}.{}.{}",
                moment.labels.saturating_sub(1),
                moment.now_ms,
                ten_digits(&random.meta)
            ),
            Self::TikTok => random
                .tiktok
                .iter()
                .take(27)
                .map(|byte| letter_or_digit(*byte))
                .collect(),
            Self::Snap => uuid(&random.snap),
        }
    }
}

/// A number of ten digits that fits 31 bits, as Meta's pixel makes.
fn ten_digits(random: &[u8; ID_BYTES]) -> u64 {
    const LEAST: u64 = 1_000_000_000;
    const MOST: u64 = 2_147_483_647;
    let number = random.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    LEAST + number % (MOST - LEAST + 1)
}

fn letter_or_digit(byte: u8) -> char {
    char::from(match byte % 62 {
        digit @ 0..10 => b'0' + digit,
        upper @ 10..36 => b'A' + (upper - 10),
        lower => b'a' + (lower - 36),
    })
}

/// A UUID of version 4 (RFC 9562 section 5.4).
fn uuid(random: &[u8; ID_BYTES]) -> String {
    let bytes = random.first_chunk().copied().unwrap_or_default();
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-01T00:00:00.123Z, on a domain of two labels.
    const MOMENT: Moment = Moment {
        now_ms: 1_767_225_600_123,
        labels: 2,
    };

    #[test]
    fn click_ids_are_written_as_each_vendor_reads_them() {
        for (form, id, value) in [
            (ClickForm::Meta, "IwAR1a_B", "fb.1.1767225600123.IwAR1a_B"),
            (ClickForm::Google, "Cj0.KCQ", "GCL.1767225600.Cj0.KCQ"),
            (ClickForm::GoogleServer, "0AAAA", "2.1.k0AAAA$i1767225600"),
            (ClickForm::Microsoft, "f00d", "_uetf00d"),
            (ClickForm::Plain, "E.C.P.x", "E.C.P.x"),
        ] {
            assert_eq!(form.write(id, MOMENT).as_deref(), Some(value));
            assert!(form.holds(value, id), "{value}");
            assert!(!form.holds(value, "other"), "{value}");
            assert!(!form.holds("", id), "{value}");
        }
        assert_eq!(ClickForm::GoogleServer.write("a$b", MOMENT), None);
    }

    #[test]
    fn ids_in_cookies_of_the_vendors_own_scripts_are_recognised() {
        for (form, value, id) in [
            (ClickForm::Meta, "fb.2.1700000000000.IwAR1.AQ", "IwAR1"),
            (ClickForm::Google, "2.1.kCj0$i1700000000$b1", "Cj0"),
            (ClickForm::Google, "GCL.1700000000.Cj0%2CCj0", "Cj0"),
        ] {
            assert!(form.holds(value, id), "{value}");
        }
    }

    #[test]
    fn the_index_of_metas_cookies_is_the_domains_labels_less_one() {
        for (labels, value) in [(1, "fb.0.1767225600123.x"), (3, "fb.2.1767225600123.x")] {
            assert_eq!(
                ClickForm::Meta.write("x", Moment { labels, ..MOMENT }).as_deref(),
                Some(value)
            );
        }
    }

    #[test]
    fn browser_ids_look_as_each_vendor_makes_them() {
        for (byte, fbp, ttp, scid) in [
            (
                0,
                "fb.1.1767225600123.1000000000",
                "000000000000000000000000000",
                "00000000-0000-4000-8000-000000000000",
            ),
            (
                0xff,
                "fb.1.1767225600123.1282999807",
                "777777777777777777777777777",
                "ffffffff-ffff-4fff-bfff-ffffffffffff",
            ),
        ] {
            let bytes = [byte; ID_BYTES];
            let random = Random {
                visitor_id: bytes,
                meta: bytes,
                tiktok: bytes,
                snap: bytes,
            };
            assert_eq!(BrowserForm::Meta.write(&random, MOMENT), fbp);
            assert_eq!(BrowserForm::TikTok.write(&random, MOMENT), ttp);
            assert_eq!(BrowserForm::Snap.write(&random, MOMENT), scid);
        }
        assert_eq!(
            (0..62).map(letter_or_digit).collect::<String>(),
            "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
        );
    }

    /// What manifests are checked against is what is set.
    #[test]
    fn validation_knows_these_cookies_and_no_other() {
        assert_eq!(
            TABLE.map(|row| row.name),
            tagfleet_crds::tagging_container::CLICK_ID_COOKIES
        );
    }
}
