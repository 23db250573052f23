//! Bank account numbers inside a text.

use std::ops::Range;

use super::scan::{Sign, sign};

/// How long the numbers of each country are (the registry of ISO 13616): its code and their length.
const LENGTHS: &str = concat!(
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 ",
    "EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 ",
    "IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 ",
    "NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 ",
    "SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30 ",
);

/// Digits of every number: those behind its country.
pub(super) const CHECK_DIGITS: usize = 2;
/// Characters of the shortest number: Norway's.
pub(super) const SHORTEST: usize = 15;

/// Finds IBANs whose check digits are right, in groups or without.
pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut in_word = false;
    while let Some(&byte) = bytes.get(at) {
        // Nearly every byte stands for itself.
        let (is_letter, is_word, length) = if byte.is_ascii() && byte != b'%' {
            (byte.is_ascii_alphabetic(), byte.is_ascii_alphanumeric(), 1)
        } else {
            let Some((here, length)) = sign(bytes, at) else { return };
            (matches!(here, Sign::Letter(_)), here.is_word(), length)
        };
        let begins = is_letter && !in_word && !is_longer_word(bytes, at);
        // An IBAN ends in a digit or a letter, too.
        in_word = is_word;
        match begins.then(|| number(bytes, at)).flatten() {
            Some(end) => {
                found.push(at..end);
                at = end;
            }
            None => at += length,
        }
    }
}

/// Whether a word of three letters or more begins here, as most do.
fn is_longer_word(text: &[u8], at: usize) -> bool {
    let next = text.get(at + 1..at + 3).unwrap_or_default();
    next.len() == 2 && next.iter().all(u8::is_ascii_alphabetic)
}

/// Where the IBAN ends that begins here, if there is one.
fn number(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    let mut next = || -> Option<u8> {
        let (mut here, mut length) = sign(text, at)?;
        // Groups stand apart by a space or a dash.
        if at > start && matches!(here, Sign::Space | Sign::Dash) {
            at += length;
            (here, length) = sign(text, at)?;
        }
        at += length;
        match here {
            Sign::Letter(letter) => Some(letter),
            Sign::Digit(digit) => Some(b'0' + digit),
            _ => None,
        }
    };
    let country = [next()?, next()?];
    // Most words end here, before any country is looked for.
    let check_digits = [next_digit(&mut next)?, next_digit(&mut next)?];
    let length = length_in(country)?;
    let mut characters = [country, check_digits].concat();
    while characters.len() < length {
        characters.push(next()?);
    }
    let joined = sign(text, at).is_some_and(|(sign, _)| sign.is_word());
    (!joined && is_valid(&characters)).then_some(at)
}

fn length_in(country: [u8; 2]) -> Option<usize> {
    let country = str::from_utf8(&country).ok()?;
    let entry = LENGTHS
        .split_ascii_whitespace()
        .find_map(|entry| entry.strip_prefix(country));
    entry?.parse().ok()
}

/// The next character, if it is a digit.
fn next_digit(next: &mut impl FnMut() -> Option<u8>) -> Option<u8> {
    next().filter(u8::is_ascii_digit)
}

/// ISO 13616-1 section 6 by way of ISO/IEC 7064 MOD 97-10: with the first four characters at the end, and letters counted as
/// 10 to 35, the remainder is 1.
fn is_valid(characters: &[u8]) -> bool {
    let Some((start, rest)) = characters.split_at_checked(4) else {
        return false;
    };
    let remainder = rest.iter().chain(start).try_fold(0_u32, |remainder, character| {
        let value = (*character as char).to_digit(36)?;
        let shift = if value < 10 { 10 } else { 100 };
        Some((remainder * shift + value) % 97)
    });
    remainder == Some(1)
}
