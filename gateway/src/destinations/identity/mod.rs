//! What a visitor said of themselves, as vendors want it: normalised as each asks, then hashed with SHA-256, once.
//!
//! Rules and vectors: vendors/others.md section 17; each vendor's sheet says which rule it wants. Every function gives the
//! hash as 64 lower-case hex digits, or `None` when there is nothing to hash: a raw value never comes out. A value that is
//! already such a hash passes as it is; the hash of nothing never does.
//!
//! [`UserData`] reads `event.user_data`; the functions are for values from elsewhere (`user_id`).

mod normalize;
mod places;
mod user_data;

pub use self::user_data::{Address, UserData};
use crate::hashing::sha256_hex;

/// SHA-256 of nothing: what a tag sends that hashed an empty field. Says nothing of anybody, and must not leave.
const HASH_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// How a vendor wants an e-mail address before it is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailRule {
    /// Trimmed and in lower case: most vendors.
    Plain,
    /// As `Plain`; for gmail.com and googlemail.com also without dots and `+suffix`: Google Ads and GA4.
    Google,
}

/// How a vendor wants a phone number before it is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhoneRule {
    /// E.164 with its `+`: Google, TikTok, X.
    E164,
    /// The digits of E.164 alone: Meta, Pinterest, Snap.
    Digits,
}

/// How a vendor wants a name before it is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// Trimmed and in lower case: Google, TikTok.
    Trimmed,
    /// In lower case, without any white space or punctuation, letters of every script kept: Meta, Pinterest, Snap.
    Letters,
}

/// The hash of an e-mail address; `None` when it is none.
#[must_use]
pub fn email(raw: &str, rule: EmailRule) -> Option<String> {
    hash_or_pass(raw, |text| normalize::email(text, rule))
}

/// The hash of a phone number; `None` when it is no international number of 8 to 15 digits.
#[must_use]
pub fn phone(raw: &str, rule: PhoneRule) -> Option<String> {
    hash_or_pass(raw, |text| normalize::phone(text, rule))
}

/// The hash of a first or last name.
#[must_use]
pub fn name(raw: &str, rule: NameRule) -> Option<String> {
    hash_or_pass(raw, |text| {
        Some(match rule {
            NameRule::Trimmed => text.to_lowercase(),
            NameRule::Letters => normalize::letters(text),
        })
    })
}

/// The hash of any other text (a street), trimmed and in lower case.
#[must_use]
pub fn text(raw: &str) -> Option<String> {
    name(raw, NameRule::Trimmed)
}

/// The hash of a city: lower case, no white space, punctuation or digits.
#[must_use]
pub fn city(raw: &str) -> Option<String> {
    hash_or_pass(raw, |text| Some(normalize::city(text)))
}

/// The hash of a region or state. In the USA and Canada, and where the country (as the sender wrote it) is unknown, a
/// full name counts as its two letters.
#[must_use]
pub fn region(raw: &str, country: Option<&str>) -> Option<String> {
    hash_or_pass(raw, |text| {
        Some(normalize::region(text, country_code(country).as_deref()))
    })
}

/// The hash of a postal code: lower case, no white space or dashes; in the USA its first five digits.
#[must_use]
pub fn postal_code(raw: &str, country: Option<&str>) -> Option<String> {
    hash_or_pass(raw, |text| {
        normalize::postal_code(text, country_code(country).as_deref())
    })
}

/// The hash of a country's ISO 3166-1 code of two letters.
#[must_use]
pub fn country(raw: &str) -> Option<String> {
    hash_or_pass(raw, normalize::country)
}

/// The hash of a gender as `f` or `m`.
#[must_use]
pub fn gender(raw: &str) -> Option<String> {
    hash_or_pass(raw, |text| normalize::gender(text).map(str::to_owned))
}

/// The hash of a birth date as `YYYYMMDD`.
#[must_use]
pub fn birth_date(raw: &str) -> Option<String> {
    hash_or_pass(raw, normalize::birth_date)
}

/// The hash of the site's own id of a visitor: lower case, no white space.
#[must_use]
pub fn external_id(raw: &str) -> Option<String> {
    hash_or_pass(raw, |text| Some(normalize::without_white_space(text)))
}

/// The hash of an id exactly as it is written, but for white space at its ends: upper and lower case differ.
#[must_use]
pub fn exact(raw: &str) -> Option<String> {
    hash_or_pass(raw, |text| Some(text.to_owned()))
}

/// A country's ISO 3166-1 code of two lower-case letters, for vendors that take it plain.
#[must_use]
pub fn country_code(raw: Option<&str>) -> Option<String> {
    raw.and_then(normalize::country)
}

/// Whether a text is 64 hex digits, and so a hash already.
#[must_use]
pub fn is_hashed(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A hash that came ready-made, in lower case; `None` when it is none, or the hash of nothing.
#[must_use]
pub fn hashed(raw: &str) -> Option<String> {
    let text = normalize::trimmed(raw);
    let hash = is_hashed(text).then(|| text.to_ascii_lowercase())?;
    (hash != HASH_OF_NOTHING).then_some(hash)
}

fn hash_or_pass(raw: &str, normalize: impl FnOnce(&str) -> Option<String>) -> Option<String> {
    let text = normalize::trimmed(raw);
    if text.is_empty() || text.eq_ignore_ascii_case("null") || text.eq_ignore_ascii_case("undefined") {
        return None;
    }
    if is_hashed(text) {
        return hashed(text);
    }
    normalize(text)
        .filter(|normal| !normal.is_empty())
        .map(|normal| sha256_hex(normal.as_bytes()))
}

#[cfg(test)]
mod tests;
