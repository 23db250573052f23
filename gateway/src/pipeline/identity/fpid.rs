//! FPID: the visitor's id that the server keeps in a cookie, in the form of Google's server container
//! (vendors/ga4-collect.md section 5).
//!
//! Its 32 bytes are 8 of salt and 24 of HMAC-SHA256(`tagfleet FPID`, salt and browser's client id). The cookie alone thus
//! tells whether it was made from a client id, and pods share no secret for it: the key only sets these hashes apart from
//! any others, and as it is always the same, half of the work is done once. Without a client id they are 32 random bytes, of
//! which the last 24 are no client id's HMAC.

use std::{borrow::Cow, sync::LazyLock};

use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use ring::hmac;

/// How many bytes the id has.
pub(super) const ID_BYTES: usize = 32;
const SALT_BYTES: usize = 8;
/// How many characters of base64 they are.
const BASE64_BYTES: usize = 44;

/// Bytes of a usual cookie.
const COOKIE_BYTES: usize = 80;

/// The characters of base64 that Google writes in percent-encoding.
const ENCODED: &AsciiSet = &CONTROLS.add(b'+').add(b'/').add(b'=');

static KEY: LazyLock<hmac::Key> = LazyLock::new(|| hmac::Key::new(hmac::HMAC_SHA256, b"tagfleet FPID"));

/// The times that a client id may end in have no more digits.
const MAX_DIGITS: usize = 12;

/// A visitor's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fpid {
    id: [u8; ID_BYTES],
    /// Unix seconds of the visitor's first visit.
    seconds: u64,
}

impl Fpid {
    /// From its two parts.
    pub(super) const fn new(id: [u8; ID_BYTES], seconds: u64) -> Self {
        Self { id, seconds }
    }

    /// The id made from the browser's client id: its salt is what `random` begins with, its time that of the client id,
    /// or `now` if that has none.
    pub(super) fn made_from(client_id: &str, random: [u8; ID_BYTES], now: u64) -> Self {
        let mut id = random;
        if let Some((salt, hash)) = id.split_first_chunk_mut::<SALT_BYTES>() {
            let tag = hmac_of(salt, client_id);
            for (byte, of_tag) in hash.iter_mut().zip(tag.as_ref()) {
                *byte = *of_tag;
            }
        }
        Self::new(id, seconds_of(client_id).unwrap_or(now))
    }

    /// Whether it was made from this client id.
    pub(super) fn is_made_from(&self, client_id: &str) -> bool {
        let Some((salt, hash)) = self.id.split_first_chunk::<SALT_BYTES>() else {
            return false;
        };
        hmac_of(salt, client_id).as_ref().starts_with(hash)
    }

    /// Reads the cookie: `FPID2.<n>.<standard base64, percent-encoded or not>.<unix seconds>`; none if it is anything else.
    pub(super) fn parse(cookie: &str) -> Option<Self> {
        let (labels, rest) = cookie.strip_prefix("FPID2.")?.split_once('.')?;
        let (encoded, seconds) = rest.split_once('.')?;
        // Three times 44 when every character is encoded.
        if !is_number(labels) || encoded.len() > 132 {
            return None;
        }
        let encoded: Cow<'_, [u8]> = percent_decode_str(encoded).into();
        // Room for as many bytes as so many characters can stand for: the last one of an id is padding.
        let mut decoded = [0; BASE64_BYTES / 4 * 3];
        let length = BASE64_STANDARD.decode_slice(encoded, &mut decoded).ok()?;
        let id = decoded.get(..length)?.try_into().ok()?;
        Some(Self::new(id, number(seconds)?))
    }

    /// The cookie's value. `labels`: those of the domain that it is set on.
    pub(super) fn cookie(&self, labels: usize) -> String {
        let mut value = String::with_capacity(COOKIE_BYTES);
        value.push_str("FPID2.");
        value.push_str(&labels.to_string());
        value.push('.');
        value.extend(utf8_percent_encode(self.base64(&mut [0; BASE64_BYTES]), ENCODED));
        value.push('.');
        value.push_str(&self.seconds.to_string());
        value
    }

    /// The `client_id` that stands for it downstream: `<base64>.<unix seconds>`.
    pub(super) fn client_id(&self) -> String {
        [self.base64(&mut [0; BASE64_BYTES]), ".", &self.seconds.to_string()].concat()
    }

    fn base64<'b>(&self, room: &'b mut [u8; BASE64_BYTES]) -> &'b str {
        let length = BASE64_STANDARD.encode_slice(self.id, room).unwrap_or_default();
        room.get(..length)
            .and_then(|text| str::from_utf8(text).ok())
            .unwrap_or_default()
    }

    /// Its two parts.
    pub(super) const fn parts(&self) -> (&[u8; ID_BYTES], u64) {
        (&self.id, self.seconds)
    }
}

fn hmac_of(salt: &[u8; SALT_BYTES], client_id: &str) -> hmac::Tag {
    let mut hmac = hmac::Context::with_key(&KEY);
    hmac.update(salt);
    hmac.update(client_id.as_bytes());
    hmac.sign()
}

/// The time in a client id as GA makes it: `<random>.<unix seconds>`.
fn seconds_of(client_id: &str) -> Option<u64> {
    number(client_id.rsplit_once('.')?.1)
}

fn number(text: &str) -> Option<u64> {
    is_number(text).then(|| text.parse().ok()).flatten()
}

fn is_number(text: &str) -> bool {
    (1..=MAX_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// The cookie and the client id of the sheet.
    const COOKIE: &str = "FPID2.2.Tptnv8AKG4hqlv%2FmNTLgwEYr1sb5eqlggvytd8RU8g4%3D.1730448757";
    const CLIENT_ID: &str = "Tptnv8AKG4hqlv/mNTLgwEYr1sb5eqlggvytd8RU8g4=.1730448757";

    #[test]
    fn a_cookie_of_googles_own_server_is_read_and_written_as_it_is() {
        let fpid = Fpid::parse(COOKIE).unwrap();
        assert_eq!(fpid.client_id(), CLIENT_ID);
        assert_eq!(fpid.cookie(2), COOKIE);
        assert_eq!(Fpid::parse(&COOKIE.replace("%2F", "/").replace("%3D", "=")), Some(fpid));
    }

    #[test]
    fn what_is_no_fpid_is_none() {
        for cookie in [
            "",
            "FPID2",
            "FPID2.2.",
            "FPID2.2..1730448757",
            "FPID1.2.Tptnv8AKG4hqlv%2FmNTLgwEYr1sb5eqlggvytd8RU8g4%3D.1730448757",
            "FPID2.x.Tptnv8AKG4hqlv%2FmNTLgwEYr1sb5eqlggvytd8RU8g4%3D.1730448757",
            "FPID2.2.Tptnv8AKG4hqlv%2FmNTLgwEYr1sb5eqlggvytd8RU8g4%3D.",
            "FPID2.2.Tptnv8AKG4hqlv%2FmNTLgwEYr1sb5eqlggvytd8RU8g4%3D.-1",
            "FPID2.2.Tptnv8AKG4hqlv%2FmNTLgwEYr1sb5eqlggvytd8RU8g4%3D.1730448757.x",
            "FPID2.2.Tptnv8AKG4hqlv%2FmNTLgwEYr1sb5eqlggvytd8RU8g4%3D.1730448757000",
            "FPID2.2.Tptnv8AKG4hqlv_mNTLgwEYr1sb5eqlggvytd8RU8g4%3D.1730448757",
            "FPID2.2.Tptnv8AKG4hqlv%2FmNTLgwEYr1sb5eqlggvytd8R.1730448757",
        ] {
            assert_eq!(Fpid::parse(cookie), None, "{cookie}");
        }
    }

    /// HMAC-SHA256 of the eight bytes 1 to 8 and `1506821430.1730448757` by the key `tagfleet FPID`, its first 24 bytes.
    #[test]
    fn the_bytes_are_salt_and_hmac() {
        let mut random = [0xff; ID_BYTES];
        for (byte, value) in random.iter_mut().zip(1..=8) {
            *byte = value;
        }
        let fpid = Fpid::made_from("1506821430.1730448757", random, 1);
        assert_eq!(
            hex::encode(fpid.parts().0),
            "0102030405060708c0d55b2e5d9b5b15d4839399824f32e7538f2daa85325c53"
        );
    }

    #[test]
    fn the_time_is_the_client_ids_or_now() {
        for (client_id, seconds) in [
            ("1506821430.1730448757", 1_730_448_757),
            ("a.b.1730448757", 1_730_448_757),
            ("no-time", 99),
            ("1506821430.", 99),
            ("1506821430.17304x", 99),
            ("1.1730448757000", 99),
            ("", 99),
        ] {
            let fpid = Fpid::made_from(client_id, [7; ID_BYTES], 99);
            assert_eq!(fpid.parts().1, seconds, "{client_id}");
        }
    }

    #[test]
    fn it_knows_the_client_id_that_it_was_made_from_and_no_other() {
        let fpid = Fpid::made_from("1506821430.1730448757", [7; ID_BYTES], 99);
        assert!(fpid.is_made_from("1506821430.1730448757"));
        assert!(!fpid.is_made_from("1506821431.1730448757"));
        assert!(!fpid.is_made_from(""));
        assert!(!Fpid::new([7; ID_BYTES], 99).is_made_from("1506821430.1730448757"));
    }

    proptest! {
        /// Whatever it was made from, its cookie is read back as the same id.
        #[test]
        fn a_cookie_is_read_back(client_id in "\\PC{0,40}", random in any::<[u8; ID_BYTES]>(), now in 0_u64..1_000_000_000_000) {
            let fpid = Fpid::made_from(&client_id, random, now);
            let read = Fpid::parse(&fpid.cookie(3)).unwrap();
            prop_assert_eq!(read, fpid);
            prop_assert!(read.is_made_from(&client_id));
        }

        #[test]
        fn any_cookie_is_survived(cookie in "(FPID2\\.)?[0-9]{0,2}\\.?[A-Za-z0-9%=+/.]{0,60}\\.?[0-9]{0,14}") {
            if let Some(fpid) = Fpid::parse(&cookie) {
                prop_assert_eq!(Fpid::parse(&fpid.cookie(2)), Some(fpid));
            }
        }
    }
}
