//! What a visitor said of themselves: the parameters `ep.user_data.*`, GA's hashed `em`, and their one shape in the event.

use std::borrow::Cow;

use base64::Engine;
use tagfleet_expressions::{Map, Value};

use super::{fields::Fields, query};

/// SHA-256 of nothing: what a tag sends when the visitor typed nothing. Never kept.
const HASH_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The most addresses that `em` may number; GA sends up to two.
const MAX_ADDRESSES: usize = 10;

/// `user_data` while a hit is read.
#[derive(Clone, Debug, Default)]
pub(super) struct UserData<'a> {
    fields: Fields<'a>,
    address: Fields<'a>,
}

impl<'a> UserData<'a> {
    /// Sets the member at `path`, the parameter's name behind `user_data.`.
    pub(super) fn insert(&mut self, path: Cow<'a, str>, value: Cow<'a, str>) {
        const ADDRESS: &str = "address.";
        match path {
            Cow::Borrowed(path) => match path.strip_prefix(ADDRESS) {
                Some(member) => self.address.insert(member, value),
                None => self.fields.insert(path, value),
            },
            Cow::Owned(path) => match path.strip_prefix(ADDRESS) {
                Some(member) => self.address.insert(member.to_owned(), value),
                None => self.fields.insert(path, value),
            },
        }
    }

    /// The object for the event, with what `em` adds; none if both are empty.
    pub(super) fn finish(self, em: Option<&str>) -> Option<Map<'a>> {
        let mut fields = self.fields;
        if !self.address.is_empty() {
            fields.insert("address", self.address.into_map());
        }
        let hashed = em.map(Hashed::parse).unwrap_or_default();
        for (name, hashes) in [
            ("sha256_email_address", hashed.email_addresses),
            ("sha256_phone_number", hashed.phone_numbers),
        ] {
            if !hashes.is_empty() && !fields.contains(name) {
                fields.insert(name, hashes);
            }
        }
        let mut addresses: Vec<Value<'a>> = hashed
            .addresses
            .into_iter()
            .filter(|address| !address.is_empty())
            .map(Value::Map)
            .collect();
        if !addresses.is_empty() {
            match fields.remove("address") {
                Some(Value::List(given)) => addresses.splice(0..0, given).for_each(drop),
                Some(given) => addresses.insert(0, given),
                None => {}
            }
            fields.insert("address", addresses);
        }
        if fields.is_empty() {
            return None;
        }
        let mut user_data = fields.into_map();
        make_arrays(&mut user_data);
        Some(user_data)
    }
}

/// Makes `email_address` and `phone_number` arrays, as they are in every event (contract, Vocabulary).
pub fn make_arrays(user_data: &mut Map<'_>) {
    for name in ["email_address", "phone_number"] {
        if let Some(value) = user_data.get_mut(name)
            && !matches!(value, Value::List(_))
        {
            let given = std::mem::replace(value, Value::Null);
            *value = Value::List(if given == Value::Null { Vec::new() } else { vec![given] });
        }
    }
}

/// What `em` holds: `tv.1~em.<hash>~pn.<hash>~fn0.<hash>~…~co0.<country>`. What is not understood stays in `x-ga-em`.
#[derive(Debug, Default)]
struct Hashed {
    email_addresses: Vec<Value<'static>>,
    phone_numbers: Vec<Value<'static>>,
    addresses: Vec<Map<'static>>,
}

impl Hashed {
    fn parse(em: &str) -> Self {
        let mut hashed = Self::default();
        for part in em.split('~').take(100) {
            let Some((key, value)) = part.split_once('.') else {
                continue;
            };
            let Some(value) = readable(value) else { continue };
            let digits = key.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
            let name = key.strip_suffix(digits).unwrap_or(key);
            match name {
                "em" => hashed.email_addresses.push(value.text().into()),
                "pn" => hashed.phone_numbers.push(value.text().into()),
                _ => {
                    let number = if digits.is_empty() {
                        Some(0)
                    } else {
                        digits.parse().ok()
                    };
                    if let (Some((plain, sha256)), Some(number @ 0..MAX_ADDRESSES)) = (address_field(name), number) {
                        if hashed.addresses.len() <= number {
                            hashed.addresses.resize(number + 1, Map::new());
                        }
                        if let Some(address) = hashed.addresses.get_mut(number) {
                            let field = if matches!(value, Readable::Hash(_)) {
                                sha256
                            } else {
                                plain
                            };
                            address.insert(field, value.text());
                        }
                    }
                }
            }
        }
        hashed
    }
}

/// The field of an address for a part of `em`: plain, and when its value is a hash.
fn address_field(key: &str) -> Option<(&'static str, &'static str)> {
    Some(match key {
        "fn" => ("first_name", "sha256_first_name"),
        "ln" => ("last_name", "sha256_last_name"),
        "sa" => ("street", "sha256_street"),
        "ct" => ("city", "sha256_city"),
        "rg" => ("region", "sha256_region"),
        "pc" => ("postal_code", "sha256_postal_code"),
        "co" => ("country", "sha256_country"),
        _ => return None,
    })
}

/// A value of `em`.
enum Readable {
    /// SHA-256 in lower-case hexadecimal.
    Hash(String),
    /// Anything else, as the country is.
    Plain(String),
}

impl Readable {
    fn text(&self) -> String {
        match self {
            Self::Hash(text) | Self::Plain(text) => text.clone(),
        }
    }
}

/// A hash from base64url (43 characters) or hexadecimal (64), or the text itself; none if nothing was typed.
fn readable(value: &str) -> Option<Readable> {
    let hash = match value.len() {
        0 => return None,
        43 => from_base64url(value),
        64 if value.bytes().all(|byte| byte.is_ascii_hexdigit()) => Some(value.to_ascii_lowercase()),
        _ => None,
    };
    match hash {
        Some(hash) if hash == HASH_OF_NOTHING => None,
        Some(hash) => Some(Readable::Hash(hash)),
        None => Some(Readable::Plain(value.to_owned())),
    }
}

/// 32 bytes from base64url without padding, as hexadecimal.
fn from_base64url(value: &str) -> Option<String> {
    let (mut hash, mut digits) = ([0; 32], [0; 64]);
    let engine = &base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let length = engine.decode_slice(value, &mut hash).ok()?;
    hex::encode_to_slice(hash, &mut digits).ok()?;
    (length == hash.len()).then(|| query::text(&digits).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const JANE: &str = "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b";

    fn of_em(em: &str) -> serde_json::Value {
        serde_json::to_value(UserData::default().finish(Some(em))).unwrap()
    }

    #[test]
    fn base64url_hashes_become_hexadecimal() {
        assert_eq!(
            of_em("tv.1~em.lz3-Rj7IV4X1-Vr1ujkG7tstkxwk5pgkqJ6mXbpOgTs~co0.DE"),
            json!({"sha256_email_address": [JANE], "address": [{"country": "DE"}]})
        );
    }

    #[test]
    fn hexadecimal_hashes_stay() {
        assert_eq!(
            of_em(&format!("tv.1~pn.{}", JANE.to_uppercase())),
            json!({"sha256_phone_number": [JANE]})
        );
    }

    #[test]
    fn numbered_parts_are_separate_addresses() {
        assert_eq!(
            of_em(&format!("tv.1~fn0.{JANE}~ct0.munich~fn1.{JANE}~ln1.{JANE}")),
            json!({"address": [
                {"sha256_first_name": JANE, "city": "munich"},
                {"sha256_first_name": JANE, "sha256_last_name": JANE}
            ]})
        );
    }

    #[test]
    fn nothing_typed_is_no_user_data() {
        let hash_of_nothing = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
        for em in ["", "tv.1~em.", "tv.1", "~~.~", "tv.1~fn99999999999.x", "tv.1~zz0.x"] {
            assert_eq!(of_em(em), json!(null), "{em}");
        }
        assert_eq!(
            of_em(&format!("tv.1~em.{hash_of_nothing}~pn.{HASH_OF_NOTHING}")),
            json!(null)
        );
    }

    #[test]
    fn parameters_become_members_and_emails_arrays() {
        let mut user_data = UserData::default();
        for (path, value) in [
            ("email_address", "jane@example.com"),
            ("address.city", "Munich"),
            ("_tag_mode", "AUTO"),
        ] {
            user_data.insert(path.into(), value.into());
        }
        let all = user_data.finish(Some("tv.1~co0.DE")).unwrap();
        assert_eq!(
            serde_json::to_value(all).unwrap(),
            json!({
                "email_address": ["jane@example.com"], "_tag_mode": "AUTO",
                "address": [{"city": "Munich"}, {"country": "DE"}]
            })
        );
    }

    proptest! {
        #[test]
        fn any_em_is_survived(em in "[a-z0-9.~é]{0,120}") {
            UserData::default().finish(Some(&em));
        }
    }
}
