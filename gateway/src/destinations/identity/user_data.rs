//! Reading `event.user_data`.

use std::borrow::Cow;

use tagfleet_expressions::{Map, Value};

use super::{EmailRule, NameRule, PhoneRule};
use crate::{
    destinations::mapping,
    event::{Event, field},
};

/// What a visitor said of themselves; nothing of it comes out unhashed but by [`Address::plain`].
#[derive(Clone, Copy, Debug, Default)]
pub struct UserData<'e>(Option<&'e Map<'e>>);

/// One of their addresses.
#[derive(Clone, Copy, Debug)]
pub struct Address<'e>(&'e Map<'e>);

impl<'e> UserData<'e> {
    /// That of an event.
    #[must_use]
    pub fn of(event: &'e Event<'_>) -> Self {
        Self(event.get(field::USER_DATA).and_then(Value::as_map))
    }

    /// The hashes of all e-mail addresses, each once: those that came hashed (`sha256_email_address`) and the others.
    #[must_use]
    pub fn emails(&self, rule: EmailRule) -> Vec<String> {
        let ready = self.hashes("sha256_email_address", super::hashed);
        distinct(ready.chain(self.hashes("email_address", move |raw| super::email(raw, rule))))
    }

    /// The hashes of all phone numbers, each once. Whoever hashes numbers before the gateway does it for Google, with the
    /// `+`: a vendor that wants none gets such hashes only when there is no number itself (meta-capi.md section 6).
    #[must_use]
    pub fn phones(&self, rule: PhoneRule) -> Vec<String> {
        let ready = self.hashes("sha256_phone_number", super::hashed);
        let own = self.hashes("phone_number", move |raw| super::phone(raw, rule));
        match rule {
            PhoneRule::E164 => distinct(ready.chain(own)),
            PhoneRule::Digits => {
                let own = distinct(own);
                if own.is_empty() { distinct(ready) } else { own }
            }
        }
    }

    /// The addresses that have anything in them.
    pub fn addresses(&self) -> impl Iterator<Item = Address<'e>> {
        let given = self.0.and_then(|data| data.get("address"));
        let addresses: Vec<&'e Map<'e>> = match given {
            Some(Value::List(addresses)) => addresses.iter().filter_map(Value::as_map).collect(),
            Some(Value::Map(single)) => vec![single],
            _ => Vec::new(),
        };
        addresses.into_iter().filter(|address| !address.is_empty()).map(Address)
    }

    /// Another field as text (`gender`, `birth_date`); of an array its first.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'e, str>> {
        texts(self.0.and_then(|data| data.get(name))).next()
    }

    fn hashes(&self, name: &str, hash: impl Fn(&str) -> Option<String> + 'e) -> impl Iterator<Item = String> + 'e {
        texts(self.0.and_then(|data| data.get(name))).filter_map(move |raw| hash(&raw))
    }
}

impl<'e> Address<'e> {
    /// The hash of the first name.
    #[must_use]
    pub fn first_name(&self, rule: NameRule) -> Option<String> {
        self.hash("first_name", |raw| super::name(raw, rule))
    }

    /// The hash of the last name.
    #[must_use]
    pub fn last_name(&self, rule: NameRule) -> Option<String> {
        self.hash("last_name", |raw| super::name(raw, rule))
    }

    /// The hash of street and number.
    #[must_use]
    pub fn street(&self) -> Option<String> {
        self.hash("street", super::text)
    }

    /// The hash of the city.
    #[must_use]
    pub fn city(&self) -> Option<String> {
        self.hash("city", super::city)
    }

    /// The hash of the region or state.
    #[must_use]
    pub fn region(&self) -> Option<String> {
        let country = self.text("country");
        self.hash("region", |raw| super::region(raw, country.as_deref()))
    }

    /// The hash of the postal code.
    #[must_use]
    pub fn postal_code(&self) -> Option<String> {
        let country = self.text("country");
        self.hash("postal_code", |raw| super::postal_code(raw, country.as_deref()))
    }

    /// The hash of the country's code.
    #[must_use]
    pub fn country(&self) -> Option<String> {
        self.hash("country", super::country)
    }

    /// The country's code, in lower case and not hashed.
    #[must_use]
    pub fn country_code(&self) -> Option<String> {
        super::country_code(self.text("country").as_deref())
    }

    /// A field as it came, trimmed and not hashed, for the few vendors that want it so; never a hash.
    #[must_use]
    pub fn plain(&self, name: &str) -> Option<Cow<'e, str>> {
        self.text(name).filter(|text| !super::is_hashed(text.trim()))
    }

    fn text(&self, name: &str) -> Option<Cow<'e, str>> {
        texts(self.0.get(name)).next()
    }

    /// The hash that came ready-made (`sha256_<name>`), or that of the value itself.
    fn hash(&self, name: &str, hash: impl Fn(&str) -> Option<String>) -> Option<String> {
        let ready = self.text(&format!("sha256_{name}"));
        ready
            .and_then(|ready| super::hashed(&ready))
            .or_else(|| hash(&self.text(name)?))
    }
}

/// A text or an array of texts; numbers count as text. Trimmed, without empty ones.
fn texts<'e>(value: Option<&'e Value<'e>>) -> impl Iterator<Item = Cow<'e, str>> {
    let values: &[Value<'e>] = match value {
        Some(Value::List(elements)) => elements,
        Some(single) => std::slice::from_ref(single),
        None => &[],
    };
    values
        .iter()
        .filter(|value| !matches!(value, Value::Bool(_)))
        .filter_map(mapping::text)
        .map(|text| match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => Cow::Owned(text),
        })
        .filter(|text| !text.is_empty())
}

fn distinct(hashes: impl Iterator<Item = String>) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::new();
    for hash in hashes {
        if !distinct.contains(&hash) {
            distinct.push(hash);
        }
    }
    distinct
}
