//! The TC string of IAB's Transparency and Consent Framework, version 2 (vendors/others.md section 16), as far as consent
//! mode asks for it. Read bit by bit from the text, so that nothing is allocated whatever it claims to hold.

use crate::record::{Consent, ConsentSignal};

/// A longer text is no TC string that a browser sent: cookies end at 4 KiB.
const MAX_BYTES: usize = 8 * 1024;

/// Google's number in the Global Vendor List.
const GOOGLE: u32 = 755;

/// The largest vendor's number that 16 bits hold.
const MAX_VENDOR: u32 = 65_535;

/// What a TC string says of the visitor's consent. Legitimate interest is no consent and not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcf {
    /// Consent to purposes 1 to 24, the first in the highest of 24 bits.
    purposes: u32,
    /// Purposes that the publisher does not let Google have consent for, likewise.
    restricted: u32,
    /// Consent to Google as a vendor.
    google: bool,
}

impl Tcf {
    /// Reads the core segment, which stands first. None if it is of another version, cut off, contradicts itself or is
    /// no base64url: then there is no TC string.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let core = text.trim_ascii().split('.').next()?.as_bytes();
        if core.len() > MAX_BYTES || !core.iter().all(|byte| sextet(*byte).is_some()) {
            return None;
        }
        let mut bits = Bits { text: core, at: 0 };
        if bits.take(6)? != 2 {
            return None;
        }
        bits.at = 152;
        let purposes = bits.take(24)?;
        bits.at = 213;
        let google = bits.vendors(GOOGLE)?;
        let _legitimate_interest = bits.vendors(GOOGLE)?;
        let restricted = bits.restrictions(GOOGLE)?;
        Some(Self {
            purposes,
            restricted,
            google,
        })
    }

    /// The string in the words of consent mode: what it does not grant, it denies.
    ///
    /// The three signals of advertising as Google maps them: consent to Google as a vendor, and purpose 1 for ad_storage,
    /// 1 and 7 for ad_user_data, 3 and 4 for ad_personalization. Google derives no analytics_storage; here it takes purposes
    /// 1 (storage) and 8 (measuring content), whoever measures. Legitimate interest never grants.
    #[must_use]
    pub fn consent(self) -> Consent {
        let purpose = |number: u32| self.purposes & bit_of(number) != 0;
        let google = |number: u32| self.google && purpose(number) && self.restricted & bit_of(number) == 0;
        let state = |granted| {
            if granted {
                ConsentSignal::Granted
            } else {
                ConsentSignal::Denied
            }
        };
        Consent {
            ad_storage: state(google(1)),
            analytics_storage: state(purpose(1) && purpose(8)),
            ad_user_data: state(google(1) && google(7)),
            ad_personalization: state(google(3) && google(4)),
        }
    }
}

/// The bit of a purpose from 1 to 24; none for others, which a restriction may name all the same.
const fn bit_of(purpose: u32) -> u32 {
    match 24_u32.checked_sub(purpose) {
        Some(place) if purpose > 0 => 1 << place,
        _ => 0,
    }
}

/// The six bits of a character of base64url.
const fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    })
}

/// Bits of base64url text, the highest of each character first. Every read beyond the end is none.
struct Bits<'t> {
    text: &'t [u8],
    at: usize,
}

impl Bits<'_> {
    fn at(&self, place: usize) -> Option<bool> {
        let sextet = sextet(*self.text.get(place / 6)?)?;
        Some(sextet >> (5 - place % 6) & 1 == 1)
    }

    fn bit(&mut self) -> Option<bool> {
        let bit = self.at(self.at)?;
        self.at += 1;
        Some(bit)
    }

    /// A number of up to 32 bits.
    fn take(&mut self, bits: u32) -> Option<u32> {
        (0..bits).try_fold(0, |number, _| Some(number << 1 | u32::from(self.bit()?)))
    }

    /// A list of vendors, as a bit for each or as ranges: whether `vendor` is in it.
    fn vendors(&mut self, vendor: u32) -> Option<bool> {
        let max = self.take(16)?;
        if self.bit()? {
            return self.ranges(max, vendor);
        }
        let first = self.at;
        let place = |vendor: u32| usize::try_from(vendor).ok().map(|vendor| first + vendor);
        let found = vendor <= max && self.at(place(vendor - 1)?)?;
        self.at = place(max)?;
        Some(found)
    }

    fn ranges(&mut self, max: u32, vendor: u32) -> Option<bool> {
        let mut found = false;
        for _ in 0..self.take(12)? {
            let is_range = self.bit()?;
            let start = self.take(16)?;
            let end = if is_range { self.take(16)? } else { start };
            if start == 0 || end < start || end > max {
                return None;
            }
            found |= (start..=end).contains(&vendor);
        }
        Some(found)
    }

    /// The publisher's restrictions: the purposes for which `vendor` may not rely on consent (type 0: not at all, type 2: by
    /// legitimate interest only).
    fn restrictions(&mut self, vendor: u32) -> Option<u32> {
        let mut restricted = 0;
        for _ in 0..self.take(12)? {
            let purpose = self.take(6)?;
            let kind = self.take(2)?;
            if self.ranges(MAX_VENDOR, vendor)? && kind != 1 {
                restricted |= bit_of(purpose);
            }
        }
        Some(restricted)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]

    use proptest::prelude::*;

    use super::*;

    /// Consent to these purposes and vendors, to be written as a TC string.
    #[derive(Clone, Debug, Default)]
    struct Written {
        purposes: Vec<u32>,
        /// Ranges of vendors; `as_bits` writes a bit for each vendor instead.
        vendors: Vec<(u32, u32)>,
        as_bits: bool,
        /// Purpose, type and vendor.
        restrictions: Vec<(u32, u32, u32)>,
    }

    impl Written {
        /// The core segment, field by field as the sheet lists them.
        fn text(&self) -> String {
            let mut bits: Vec<bool> = Vec::new();
            let mut put = |number: u64, length: u32| {
                bits.extend((0..length).rev().map(|place| number >> place & 1 == 1));
            };
            for (number, length) in [
                (2, 6),
                (17_672_256_000, 36),
                (17_672_256_000, 36),
                (300, 12),
                (3, 12),
                (1, 6),
                (4, 6),
                (13, 6),
                (130, 12),
                (5, 6),
                (0, 1),
                (0, 1),
                (0, 12),
            ] {
                put(number, length);
            }
            for purpose in 1..=24 {
                put(u64::from(self.purposes.contains(&purpose)), 1);
            }
            put(0, 24);
            put(0, 1);
            put(3 << 6 | 4, 12);
            let max = self.vendors.iter().map(|(_, end)| *end).max().unwrap_or(0);
            put(u64::from(max), 16);
            put(u64::from(!self.as_bits), 1);
            if self.as_bits {
                for vendor in 1..=max {
                    let consented = self
                        .vendors
                        .iter()
                        .any(|(start, end)| (*start..=*end).contains(&vendor));
                    put(u64::from(consented), 1);
                }
            } else {
                put(self.vendors.len() as u64, 12);
                for (start, end) in &self.vendors {
                    put(u64::from(start != end), 1);
                    put(u64::from(*start), 16);
                    if start != end {
                        put(u64::from(*end), 16);
                    }
                }
            }
            put(0, 17);
            put(self.restrictions.len() as u64, 12);
            for (purpose, kind, vendor) in &self.restrictions {
                put(u64::from(*purpose), 6);
                put(u64::from(*kind), 2);
                put(1, 12);
                put(0, 1);
                put(u64::from(*vendor), 16);
            }
            const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            bits.chunks(6)
                .map(|chunk| {
                    let number = (0..6).fold(0, |number, place| {
                        number << 1 | usize::from(chunk.get(place) == Some(&true))
                    });
                    char::from(DIGITS[number])
                })
                .collect()
        }
    }

    const ALL_AND_GOOGLE: &str = "CQdWToAQdWToAAKABAENAwFgAP_gAAAAAAYgF5wAoAAgAGAvMAAAAAA";

    fn states(text: &str) -> Option<[&'static str; 4]> {
        let consent = Tcf::decode(text)?.consent();
        Some(consent.states().map(ConsentSignal::as_str))
    }

    #[test]
    fn the_strings_of_the_sheet() {
        let (g, d) = ("granted", "denied");
        for (text, expected) in [
            // All purposes, but not Google among the vendors.
            ("CQdWToAQdWToAAKABAENAwFgAP_gAAAAAAYgAGEUQAAAAA", [d, g, d, d]),
            ("CQdWToAQdWToAAKABAENAwFgAIPAAAAAAAYgAGEAQAAAAA", [d, g, d, d]),
            ("CQdWToAQdWToAAKABAENAwFgAAAAAAAAAAYgAGAAAAAAAA", [d, d, d, d]),
            (ALL_AND_GOOGLE, [g, g, g, g]),
            // Purposes 7 and 9 by legitimate interest: no consent.
            ("CQdWToAQdWToAAKABAENAwFgAIAAAAKAAAYgAGAAQAAAAA", [d, d, d, d]),
        ] {
            assert_eq!(states(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn each_signal_takes_its_purposes() {
        let (g, d) = ("granted", "denied");
        for (purposes, expected) in [
            (vec![1], [g, d, d, d]),
            (vec![1, 7], [g, d, g, d]),
            (vec![7], [d, d, d, d]),
            (vec![3, 4], [d, d, d, g]),
            (vec![1, 3], [g, d, d, d]),
            (vec![1, 8], [g, g, d, d]),
            (vec![8, 9, 10], [d, d, d, d]),
            ((1..=11).collect(), [g, g, g, g]),
        ] {
            for as_bits in [false, true] {
                let written = Written {
                    purposes: purposes.clone(),
                    vendors: vec![(2, 12), (755, 755)],
                    as_bits,
                    ..Written::default()
                };
                assert_eq!(states(&written.text()), Some(expected), "{written:?}");
            }
        }
    }

    #[test]
    fn a_publisher_may_take_a_purpose_from_google() {
        let restricted = |restrictions| Written {
            purposes: (1..=11).collect(),
            vendors: vec![(700, 800)],
            restrictions,
            ..Written::default()
        };
        let (g, d) = ("granted", "denied");
        for (restrictions, expected) in [
            (vec![(4, 0, 755)], [g, g, g, d]),
            (vec![(7, 2, 755)], [g, g, d, g]),
            // Consent is required anyway; and another vendor's restriction is not Google's.
            (vec![(4, 1, 755), (1, 0, 2), (0, 0, 755), (63, 0, 755)], [g, g, g, g]),
        ] {
            assert_eq!(states(&restricted(restrictions).text()), Some(expected));
        }
    }

    #[test]
    fn segments_behind_the_core_and_white_space_around_it_do_not_matter() {
        let text = format!(" {ALL_AND_GOOGLE}.IF0XhvbWVvdGhlcg.YAAAAAAAAAAA ");
        assert_eq!(Tcf::decode(&text), Tcf::decode(ALL_AND_GOOGLE));
    }

    #[test]
    fn a_string_that_is_cut_anywhere_is_none() {
        // The last characters are nothing but padding.
        for length in 0..ALL_AND_GOOGLE.len() - 3 {
            assert_eq!(Tcf::decode(&ALL_AND_GOOGLE[..length]), None, "{length}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_none() {
        let with_vendors = |vendors| Written {
            vendors,
            ..Written::default()
        };
        assert!(Tcf::decode(&with_vendors(vec![(2, 12), (65_535, 65_535)]).text()).is_some());
        for vendors in [vec![(12, 2)], vec![(0, 3)], vec![(0, 0), (755, 755)]] {
            assert_eq!(Tcf::decode(&with_vendors(vendors.clone()).text()), None, "{vendors:?}");
        }
        // A bit for each of 65,535 vendors, and none of the bits.
        let claims = "CQdWToAQdWToAAKABAENAwFgAP_gAAAAAAYgf__AAAAA";
        for text in [
            "",
            ".",
            "BOEFEAyOEFEAyAHABDENAIgAAAB9vABAASA",
            "1YNY",
            "DQdWToAQdWToAAKABAENAwFgAP_gAAAAAAYgF5wAoAAgAGAvMAAAAAA",
            "CQdWToAQdWToAAKABAENAwFgAP/gAAAAAAYgF5wAoAAgAGAvMAAAAAA",
            "CQdWToAQdWToAAKABAENAwFgAP_gAAAAAAYgF5wAoAAgAGAvMAAAAAA=",
            claims,
            &"C".repeat(MAX_BYTES + 1),
        ] {
            assert_eq!(Tcf::decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC{0,80}") {
            let _ = Tcf::decode(&text);
        }

        /// Text that goes further in than any: a good beginning, then anything.
        #[test]
        fn any_end_of_a_string_is_survived(kept in 0_usize..55, rest in "[A-Za-z0-9_-]{0,400}") {
            let _ = Tcf::decode(&format!("{}{rest}", &ALL_AND_GOOGLE[..kept]));
        }

        #[test]
        fn what_is_written_is_read(purposes in prop::collection::vec(1_u32..25, 0..12), start in 1_u32..2_000, length in 0_u32..500,
                                   as_bits: bool) {
            let written = Written { purposes: purposes.clone(), vendors: vec![(start, start + length)], as_bits, ..Written::default() };
            let read = Tcf::decode(&written.text()).unwrap();
            prop_assert_eq!(read.google, (start..=start + length).contains(&755));
            for purpose in 1..=24 {
                prop_assert_eq!(read.purposes & bit_of(purpose) != 0, purposes.contains(&purpose));
            }
        }
    }
}
