//! What both interfaces are told of a conversion, each in its own words.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr, time::Duration};

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tagfleet_crds::destination as crd;
use tagfleet_expressions::Value;

use super::clicks::{self, Click, LIFE_MS, click};
use crate::{
    destinations::{
        Encoded, Encoding,
        batches::{self, Batch, Room},
        commerce,
        identity::{self, EmailRule, NameRule, PhoneRule, UserData},
        json as object,
        mapping::{self, Budget, Failures, Json as Object, Mapping},
    },
    event::{Event, field},
    record::{Consent, ConsentSignal, Record},
};

/// Bytes of a request. Google says nothing of them; this keeps a request's memory and time in bounds.
pub(super) const MAX_BYTES: usize = 4_000_000;
/// Clicks and conversion actions that are younger than this cannot be counted yet (sheet, section 4).
pub(super) const TOO_RECENT: Duration = Duration::from_secs(6 * 3600);
/// Bytes of a transaction id (sheet, section 3).
const MAX_TRANSACTION_ID: usize = 512;

/// Which events are conversions, and whose.
pub(super) struct Conversions {
    /// The ids of conversion actions by event name.
    actions: BTreeMap<String, String>,
    /// The customer's id, its ten digits.
    pub(super) customer: String,
    /// The manager account through which it is reached.
    pub(super) login_customer: Option<String>,
    /// Has Google validate and record nothing.
    pub(super) validate_only: bool,
    mapping: Mapping,
    /// Whether `parameters` may give an event what Google matches it by.
    identified_by_parameters: bool,
}

/// A conversion, as far as both interfaces are told alike.
pub(super) struct Conversion<'e> {
    pub(super) event: &'e Event<'e>,
    pub(super) consent: Consent,
    /// The conversion action's id.
    pub(super) action: &'e str,
    pub(super) time: Timestamp,
    /// The id by which Google drops a repeat: the tag's, or another of the event's own.
    pub(super) transaction_id: Option<Cow<'e, str>>,
    pub(super) click: Option<Click<'e>>,
}

impl Conversions {
    /// Those of a manifest. `identifying` are the interface's fields by which Google finds the click or the visitor.
    pub(super) fn new(block: &crd::GoogleAds, mapping: Mapping, identifying: &[&str]) -> Self {
        let names = |path: &str| identifying.contains(&field_of(path));
        Self {
            actions: block.conversion_actions.clone(),
            customer: digits(&block.customer_id),
            login_customer: block.login_customer_id.as_deref().map(digits),
            validate_only: block.validate_only,
            identified_by_parameters: mapping.parameters.iter().any(|(name, _)| names(name)),
            mapping,
        }
    }

    /// The conversion action for events of a name: by the name that `eventNames` gives them, or their own.
    fn action(&self, event_name: &str) -> Option<&str> {
        let name = self
            .mapping
            .event_names
            .get(event_name)
            .map_or(event_name, String::as_str);
        self.actions.get(name).map(String::as_str)
    }

    /// Whether events of this name are conversions.
    pub(super) fn has_action(&self, event_name: &str) -> bool {
        self.action(event_name).is_some()
    }

    /// Whether Google could match the event: without a click id or user data there is nothing to match it by (sheet,
    /// section 8).
    pub(super) fn are_told_by(&self, event: &Event<'_>, consent: &Consent) -> bool {
        self.identified_by_parameters
            || click(event, consent, event.timestamp_ms().unwrap_or(i64::MIN)).is_some()
            || (tells_of_user(consent) && clicks::has_user_data(event))
    }

    /// Reads a record, or says why Google can never take it.
    fn read<'r>(&'r self, record: &'r Record<'r>, now_ms: i64) -> Result<Conversion<'r>, Cow<'static, str>> {
        let event = &record.event;
        let name = event.name();
        let action = self
            .action(name)
            .ok_or_else(|| format!("conversionActions has no conversion action for the event {name:?}"))?;
        // A browser's clock that is fast would put the conversion into the future.
        let time_ms = event.timestamp_ms().unwrap_or(record.accepted_ms).min(now_ms);
        if now_ms.saturating_sub(time_ms) > LIFE_MS {
            return Err("is older than the 90 days for which Google Ads keeps clicks".into());
        }
        let time = Timestamp::from_millisecond(time_ms).map_err(|_| "has a time that no calendar has")?;
        Ok(Conversion {
            event,
            consent: record.consent,
            action,
            time,
            transaction_id: transaction_id(event)?,
            click: click(event, &record.consent, time_ms),
        })
    }

    /// Makes an object of every record by `describe`, with `parameters` set, and requests of them by `request`, which is
    /// given the conversion action of its events.
    ///
    /// Each conversion action has requests of its own: one that Google refuses, as its id is wrong, does not take the
    /// events of the others along.
    pub(super) fn encode(
        &self,
        records: &[Record<'_>],
        now_ms: i64,
        room: Room,
        describe: impl Fn(&Conversion<'_>, Parameters) -> Result<Object, Cow<'static, str>>,
        request: impl Fn(&str, Batch) -> Encoded,
    ) -> Encoding {
        let (mut encoding, mut failures) = (Encoding::default(), Failures::default());
        let mut by_action: BTreeMap<&str, Vec<(usize, String)>> = BTreeMap::new();
        for (index, record) in records.iter().enumerate() {
            let described = self.read(record, now_ms).and_then(|conversion| {
                let parameters = self.parameters(record, &mut failures);
                Ok((conversion.action, describe(&conversion, parameters)?))
            });
            match described {
                Ok((action, object)) => {
                    let text = Json::Object(object).to_string();
                    by_action.entry(action).or_default().push((index, text));
                }
                Err(reason) => encoding.refused.push((index, reason)),
            }
        }
        for (action, encoded) in by_action {
            let (batches, too_large) = batches::fill(encoded, room);
            let requests = batches.into_iter().map(|batch| request(action, batch));
            encoding.requests.extend(requests);
            let reason = format!("is larger than {} bytes as a conversion", room.bytes);
            let too_large = too_large.into_iter().map(|index| (index, reason.clone().into()));
            encoding.refused.extend(too_large);
        }
        encoding.expression_errors = failures.into_counts();
        encoding
    }

    fn parameters(&self, record: &Record<'_>, failures: &mut Failures) -> Parameters {
        let mut budget = Budget::default();
        let values = self.mapping.values(record, &mut budget, failures).into_iter();
        Parameters(values.map(|(name, value)| (name.to_owned(), json!(value))).collect())
    }
}

/// The values of `parameters` for one event, by the dotted paths of the vendor's fields.
pub(super) struct Parameters(Vec<(String, Json)>);

impl Parameters {
    /// Puts them over what the standard mapping made.
    pub(super) fn put_over(self, object: &mut Object) {
        for (path, value) in self.0 {
            mapping::put(object, &path, value);
        }
        // A merchant's id and the like say something of items only.
        let items = object::get(object, "cartData.items").and_then(Json::as_array);
        if items.is_none_or(Vec::is_empty) {
            object.remove("cartData");
        }
    }
}

/// Hashes what `parameters` put among user identifiers as it is, and leaves out what is none: nothing raw leaves.
pub(super) fn hash_all(identifiers: &mut Vec<Json>) {
    type Hash = fn(&str) -> Option<String>;
    const EMAIL: Hash = |raw| identity::email(raw, EmailRule::Google);
    const PHONE: Hash = |raw| identity::phone(raw, PhoneRule::E164);
    const NAME: Hash = |raw| identity::name(raw, NameRule::Trimmed);
    const HASHED: [(&str, Hash); 6] = [
        ("emailAddress", EMAIL),
        ("phoneNumber", PHONE),
        ("address.givenName", NAME),
        ("address.familyName", NAME),
        ("hashedEmail", EMAIL),
        ("hashedPhoneNumber", PHONE),
    ];
    identifiers.retain_mut(|identifier| {
        let Some(fields) = identifier.as_object_mut() else {
            return false;
        };
        HASHED.iter().all(|(path, hash)| match object::get(fields, path) {
            None => true,
            Some(value) => {
                let hash = value.as_str().and_then(hash);
                let is_one = hash.is_some();
                mapping::put(fields, path, hash.map_or(Json::Null, Json::String));
                is_one
            }
        })
    });
}

impl Conversion<'_> {
    /// Whether anything but the click id may be told of the visitor.
    pub(super) fn tells_of_user(&self) -> bool {
        tells_of_user(&self.consent)
    }

    /// The hashes of e-mail addresses and phone numbers, unless the visitor refuses `ad_user_data`.
    pub(super) fn contacts(&self) -> (Vec<String>, Vec<String>) {
        if !self.tells_of_user() {
            return Default::default();
        }
        let data = UserData::of(self.event);
        (data.emails(EmailRule::Google), data.phones(PhoneRule::E164))
    }

    /// `ad_user_data` and `ad_personalization` in the words of an interface.
    pub(super) fn consent(&self, granted: &str, denied: &str) -> Option<Json> {
        let word = |signal| match signal {
            ConsentSignal::Granted => Some(json!(granted)),
            ConsentSignal::Denied => Some(json!(denied)),
            ConsentSignal::Unset => None,
        };
        object::non_empty(object::object([
            ("adUserData", word(self.consent.ad_user_data)),
            ("adPersonalization", word(self.consent.ad_personalization)),
        ]))
    }

    /// `value`.
    pub(super) fn value(&self) -> Option<Json> {
        commerce::value(self.event).map(commerce::json_number)
    }

    /// `currency`.
    pub(super) fn currency(&self) -> Option<Json> {
        commerce::currency(self.event).map(Json::String)
    }

    /// `discount`, that of the whole order.
    pub(super) fn discount(&self) -> Option<Json> {
        let discount = self.event.get("discount").and_then(commerce::number)?;
        Some(commerce::json_number(discount))
    }

    /// `items`, each as `{<id>, quantity, unitPrice}`, at most so many.
    pub(super) fn items(&self, id: &str, at_most: usize) -> Option<Json> {
        let items = commerce::items(self.event);
        let items = items.iter().take(at_most).filter_map(|item| {
            let quantity = item.quantity().round().clamp(1.0, 1e9);
            Some(object::object([
                (id, Some(json!(item.id()?))),
                ("quantity", Some(commerce::json_number(quantity))),
                ("unitPrice", item.price().map(commerce::json_number)),
            ]))
        });
        object::list(items)
    }

    /// `new_customer`, as Google's tag has it on a purchase.
    pub(super) fn customer_type(&self) -> Option<Json> {
        let new = match self.event.get("new_customer")? {
            Value::Bool(new) => *new,
            Value::String(text) => text.parse().ok()?,
            _ => return None,
        };
        Some(json!(if new { "NEW" } else { "RETURNING" }))
    }

    /// The visitor's address, as far as privacy rules left one.
    pub(super) fn ip_address(&self) -> Option<Json> {
        let text = self.event.text(field::IP_OVERRIDE)?.trim();
        text.parse::<IpAddr>().is_ok().then(|| json!(text))
    }
}

fn tells_of_user(consent: &Consent) -> bool {
    consent.ad_user_data != ConsentSignal::Denied
}

/// `transaction_id`, or where the event has none its `event_id`.
fn transaction_id<'e>(event: &'e Event<'_>) -> Result<Option<Cow<'e, str>>, Cow<'static, str>> {
    let text = |name: &str| {
        let text = event.get(name).and_then(mapping::text)?;
        (!text.trim().is_empty()).then_some(text)
    };
    let id = text(field::TRANSACTION_ID).or_else(|| text(field::EVENT_ID));
    match &id {
        Some(id) if id.contains('@') => {
            Err("has an e-mail address as transaction_id, which Google refuses; send the order's number".into())
        }
        Some(id) if id.len() > MAX_TRANSACTION_ID => {
            Err("has a transaction_id of more than the 512 characters that Google takes".into())
        }
        _ => Ok(id),
    }
}

/// The field that a dotted path of `parameters` begins with.
pub(super) fn field_of(path: &str) -> &str {
    path.split_once('.').map_or(path, |(field, _)| field)
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}
