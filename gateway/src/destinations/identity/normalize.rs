//! The rules by which values are written before they are hashed. Each takes trimmed text that is no hash.

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::{
    CodePointMapData,
    props::{GeneralCategory, GeneralCategoryGroup},
};

use super::{EmailRule, PhoneRule, places};

/// Digits of an international number (E.164), country code included. Shorter ones belong to no subscriber.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

/// Text without white space and control characters at its ends.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches(is_blank)
}

fn is_blank(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}

/// Lower case, nothing blank.
pub(super) fn without_white_space(text: &str) -> String {
    text.to_lowercase()
        .chars()
        .filter(|character| !is_blank(*character))
        .collect()
}

/// Lower case without anything blank, punctuation and symbols. Letters, marks and digits of every script stay, composed
/// (NFC), as the same name must give the same bytes however it was typed.
pub(super) fn letters(text: &str) -> String {
    kept(text, |_| true)
}

/// As [`letters`], without digits.
pub(super) fn city(text: &str) -> String {
    kept(text, |character| !character.is_numeric())
}

fn kept(text: &str, keep: impl Fn(char) -> bool) -> String {
    let categories = CodePointMapData::<GeneralCategory>::new();
    let dropped = GeneralCategoryGroup::Punctuation.union(GeneralCategoryGroup::Symbol);
    let lower = text.to_lowercase();
    let kept: String = lower
        .chars()
        .filter(|character| !is_blank(*character) && !dropped.contains(categories.get(*character)) && keep(*character))
        .collect();
    ComposingNormalizerBorrowed::new_nfc().normalize(&kept).into_owned()
}

/// `None` unless it looks like an address: something before the last `@`, and a domain with a dot behind it.
pub(super) fn email(text: &str, rule: EmailRule) -> Option<String> {
    let lower = text.to_lowercase();
    let (local, domain) = lower.rsplit_once('@')?;
    let (host, top) = domain.rsplit_once('.')?;
    if local.is_empty() || host.is_empty() || top.is_empty() || lower.chars().any(is_blank) {
        return None;
    }
    match rule {
        EmailRule::Google if matches!(domain, "gmail.com" | "googlemail.com") => {
            let local = local.split('+').next().unwrap_or(local).replace('.', "");
            (!local.is_empty()).then(|| format!("{local}@{domain}"))
        }
        EmailRule::Google | EmailRule::Plain => Some(lower),
    }
}

/// An international number. With a leading `+` or `00` it is one. Vendors that want digits alone take a number that
/// begins with a country code for one, too; a number with a trunk `0` needs a country that nobody told us.
pub(super) fn phone(text: &str, rule: PhoneRule) -> Option<String> {
    let digits: String = text.chars().filter_map(digit).collect();
    let (international, digits) = match digits.strip_prefix("00") {
        Some(rest) => (true, rest),
        None => (text.starts_with(['+', '\u{ff0b}']), digits.as_str()),
    };
    if digits.starts_with('0') || !PHONE_DIGITS.contains(&digits.len()) {
        return None;
    }
    match rule {
        PhoneRule::E164 => international.then(|| format!("+{digits}")),
        PhoneRule::Digits => Some(digits.to_owned()),
    }
}

/// A decimal digit as ASCII: Latin, full width, Arabic, Persian, Devanagari.
fn digit(character: char) -> Option<char> {
    let zero = match character {
        '0'..='9' => return Some(character),
        '\u{ff10}'..='\u{ff19}' => '\u{ff10}',
        '\u{0660}'..='\u{0669}' => '\u{0660}',
        '\u{06f0}'..='\u{06f9}' => '\u{06f0}',
        '\u{0966}'..='\u{096f}' => '\u{0966}',
        _ => return None,
    };
    char::from_digit(u32::from(character) - u32::from(zero), 10)
}

/// Two letters in the USA and Canada, also where the country is unknown and the name is one of theirs; elsewhere the
/// name in lower case without punctuation. `US-CA` (ISO 3166-2) counts as `CA`.
pub(super) fn region(text: &str, country: Option<&str>) -> String {
    let lower = text.to_lowercase();
    let own = match lower.split_once('-') {
        Some((prefix, rest)) if country.map_or(matches!(prefix, "us" | "ca"), |country| country == prefix) => rest,
        _ => &lower,
    };
    let name = letters(own);
    match country {
        None | Some("us" | "ca") => places::code_of_region(&name).map_or(name, str::to_owned),
        Some(_) => name,
    }
}

/// Lower case without white space and dashes, two characters at least; of a code of the USA the first five digits.
pub(super) fn postal_code(text: &str, country: Option<&str>) -> Option<String> {
    let code = without_white_space(text);
    let is_digits = |part: &str, count| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    let code = match (country, code.split_once('-')) {
        (Some("us"), Some((five, _))) => five.to_owned(),
        // ZIP+4 is nobody else's form.
        (None, Some((five, four))) if is_digits(five, 5) && is_digits(four, 4) => five.to_owned(),
        _ => code.replace('-', ""),
    };
    let code = match country {
        Some("us") if is_digits(&code, 9) => code.chars().take(5).collect(),
        _ => code,
    };
    (code.chars().count() >= 2).then_some(code)
}

/// An ISO 3166-1 code of two letters.
pub(super) fn country(text: &str) -> Option<String> {
    let letters: String = text.to_lowercase().chars().filter(char::is_ascii_lowercase).collect();
    // Widely written, though reserved: the code is GB.
    let code = if letters == "uk" { "gb" } else { letters.as_str() };
    places::is_country(code).then(|| code.to_owned())
}

pub(super) fn gender(text: &str) -> Option<&'static str> {
    match text.to_lowercase().as_str() {
        "f" | "female" => Some("f"),
        "m" | "male" => Some("m"),
        _ => None,
    }
}

/// `YYYYMMDD`, of that or of `YYYY-MM-DD`, `YYYY/MM/DD`, `YYYY.MM.DD`.
pub(super) fn birth_date(text: &str) -> Option<String> {
    let digits: String = text
        .chars()
        .filter(|character| !matches!(character, '-' | '/' | '.'))
        .collect();
    let number = |range: std::ops::Range<usize>| digits.get(range)?.parse::<i16>().ok();
    let (month, day) = (i8::try_from(number(4..6)?).ok()?, i8::try_from(number(6..8)?).ok()?);
    let date = jiff::civil::Date::new(number(0..4)?, month, day).ok()?;
    (digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit()) && date.year() > 1800).then_some(digits)
}
