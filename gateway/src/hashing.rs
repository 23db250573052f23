//! Hashing of what visitors said of themselves: normalise as the vendor asks, then SHA-256, once.
//!
//! Rules and vectors: vendors/others.md section 17; each vendor's sheet says which rule it wants. A value that is
//! already 64 hex digits passes as it is; nothing, `null` and `undefined` are never hashed.

use sha2::{Digest, Sha256};

/// How a vendor wants an e-mail address before it is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailRule {
    /// Trimmed and in lower case: most vendors.
    Plain,
    /// As `Plain`; for gmail.com and googlemail.com also without dots and `+suffix`: Google Ads and GA4.
    Google,
    /// As `Plain`, without dots and `+suffix` for every domain: Microsoft.
    Microsoft,
}

/// How a vendor wants a phone number before it is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhoneRule {
    /// E.164 with its `+`: Google, TikTok, X.
    E164,
    /// The digits of E.164 alone: Meta, Pinterest, Snap.
    Digits,
}

/// The hash of an e-mail address as lower-case hex; `None` when there is nothing to hash.
#[must_use]
pub fn email(raw: &str, rule: EmailRule) -> Option<String> {
    hash_or_pass(raw, |text| normalize_email(text, rule))
}

/// The hash of a phone number as lower-case hex; `None` when it is no international number of 8 to 15 digits.
#[must_use]
pub fn phone(raw: &str, rule: PhoneRule) -> Option<String> {
    hash_or_pass(raw, |text| normalize_phone(text, rule))
}

/// The hash of any other text (a name, a street), trimmed and in lower case, as lower-case hex.
#[must_use]
pub fn text(raw: &str) -> Option<String> {
    hash_or_pass(raw, |text| Some(text.to_lowercase()))
}

/// SHA-256 as lower-case hex, of bytes that are normalised already.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn hash_or_pass(raw: &str, normalize: impl FnOnce(&str) -> Option<String>) -> Option<String> {
    let text = raw.trim();
    if text.is_empty() || text.eq_ignore_ascii_case("null") || text.eq_ignore_ascii_case("undefined") {
        return None;
    }
    if is_sha256(text) {
        return Some(text.to_ascii_lowercase());
    }
    normalize(text)
        .filter(|normal| !normal.is_empty())
        .map(|normal| sha256_hex(normal.as_bytes()))
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn normalize_email(text: &str, rule: EmailRule) -> Option<String> {
    let lower = text.to_lowercase();
    let (local, domain) = lower.rsplit_once('@')?;
    let bare = match rule {
        EmailRule::Plain => false,
        EmailRule::Google => matches!(domain, "gmail.com" | "googlemail.com"),
        EmailRule::Microsoft => true,
    };
    if !bare {
        return Some(lower);
    }
    let local = local.split('+').next().unwrap_or(local).replace('.', "");
    Some(format!("{local}@{domain}"))
}

fn normalize_phone(text: &str, rule: PhoneRule) -> Option<String> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let digits = match digits.strip_prefix("00") {
        _ if text.starts_with('+') => digits.as_str(),
        Some(international) => international,
        // A national number needs a country that nobody told us.
        None => return None,
    };
    if !(8..=15).contains(&digits.len()) {
        return None;
    }
    Some(match rule {
        PhoneRule::E164 => format!("+{digits}"),
        PhoneRule::Digits => digits.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of vendors/others.md section 17.
    #[test]
    fn email_vectors() {
        let rows = [
            (
                " Test@Example.com ",
                EmailRule::Plain,
                "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b",
            ),
            (
                "Jane.Doe@gmail.com",
                EmailRule::Plain,
                "831f6494ad6be4fcb3a724c3d5fef22d3ceffa3c62ef3a7984e45a0ea177f982",
            ),
            (
                "Jane.Doe@gmail.com",
                EmailRule::Google,
                "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69",
            ),
            (
                "Jane.Doe@gmail.com",
                EmailRule::Microsoft,
                "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69",
            ),
            (
                "Jane.Doe+news@example.com",
                EmailRule::Google,
                "dbf1912b4cad4df9823f627874244e64b50a6ac550b9cb33b17df671a26679db",
            ),
            (
                "Jane.Doe+news@example.com",
                EmailRule::Microsoft,
                "c4d25e9c90ff23e9145397bc6fbd5385ca5fbe78211222ccbecd0b369ebb19a6",
            ),
        ];
        for (raw, rule, hash) in rows {
            assert_eq!(email(raw, rule).as_deref(), Some(hash), "{raw} {rule:?}");
        }
    }

    /// The vectors of vendors/others.md section 17.
    #[test]
    fn phone_vectors() {
        let rows = [
            (
                "+1 (415) 555-2671",
                PhoneRule::E164,
                "cb6880e416769253645cb9c6b8989154bf66a56a77fc14c81fb1019663cbb928",
            ),
            (
                "+1 (415) 555-2671",
                PhoneRule::Digits,
                "758fbf68945f21c416814c539ab578876c8d98fb69e6da692def92cd52417fe0",
            ),
            (
                "0049 151 12345678",
                PhoneRule::E164,
                "536afd523e19dc83fccba822ef5e4ca646111314aaf0aa286667c5bea18dd70b",
            ),
            (
                "+49 151 1234 5678",
                PhoneRule::Digits,
                "8efb96404be52f6109b9db0f687274a81e9e3cc23fabd6f0da5d38baa3d2facd",
            ),
            (
                "+44 844 412 4653",
                PhoneRule::Digits,
                "dc008fda46e2e64002cf2f82a4906236282d431c4f75e5b60bfe79fc48546383",
            ),
        ];
        for (raw, rule, hash) in rows {
            assert_eq!(phone(raw, rule).as_deref(), Some(hash), "{raw} {rule:?}");
        }
    }

    #[test]
    fn names_are_lowered() {
        assert_eq!(
            text("Jane").as_deref(),
            Some("81f8f6dde88365f3928796ec7aa53f72820b06db8664f5fe76a7eb13e24546a2")
        );
        assert_eq!(
            text(" Doe ").as_deref(),
            Some("799ef92a11af918e3fb741df42934f3b568ed2d93ac1df74f1b8d41a27932a6f")
        );
        assert_eq!(
            text("München").as_deref(),
            Some("f75c175f552c8b2bf46ef4b282ee782c81cf8687f66a8fe8278cc56fa727503e")
        );
    }

    #[test]
    fn a_hash_passes_in_lower_case() {
        let hash = "973DFE463EC85785F5F95AF5BA3906EEDB2D931C24E69824A89EA65DBA4E813B";
        assert_eq!(email(hash, EmailRule::Google), Some(hash.to_ascii_lowercase()));
    }

    #[test]
    fn nothing_is_never_hashed() {
        for raw in ["", "  ", "null", "undefined"] {
            assert_eq!(email(raw, EmailRule::Plain), None);
            assert_eq!(phone(raw, PhoneRule::E164), None);
            assert_eq!(text(raw), None);
        }
        assert_eq!(email("no address", EmailRule::Plain), None);
        assert_eq!(
            phone("0151 1234567", PhoneRule::E164),
            None,
            "a national number has no country"
        );
        assert_eq!(phone("+1 23", PhoneRule::E164), None, "too short");
    }
}
