//! What an expression sees of a hit: at acceptance (triggers, variables) and again at sending (a destination's own
//! expressions).

use std::borrow::Cow;

use tagfleet_expressions::{Activation, Map, Root, Value};

use crate::{
    event::Event,
    pipeline::lookup::LookupTables,
    record::{Consent, ConsentSignal, Record},
};

static GRANTED: Value<'static> = Value::String(Cow::Borrowed(ConsentSignal::Granted.as_str()));
static DENIED: Value<'static> = Value::String(Cow::Borrowed(ConsentSignal::Denied.as_str()));
static UNSET: Value<'static> = Value::String(Cow::Borrowed(ConsentSignal::Unset.as_str()));

/// Gives variables by name.
pub trait Variables<'v> {
    /// The value of a variable, if the container has it.
    fn variable(&self, name: &str) -> Option<&Value<'v>>;
}

impl<'v, 'a: 'v> Variables<'v> for Map<'a> {
    fn variable(&self, name: &str) -> Option<&Value<'v>> {
        self.get(name)
    }
}

/// One event with all that an expression may read beside it.
pub struct HitActivation<'v, 's> {
    /// `event`.
    pub event: &'v Event<'v>,
    /// `consent`.
    pub consent: Consent,
    /// `vars`.
    pub variables: &'s dyn Variables<'v>,
    /// The lookup tables in force.
    pub tables: &'v LookupTables,
    /// `request`, where it may be read.
    pub request: Option<&'v Map<'v>>,
}

impl<'v, 's> HitActivation<'v, 's> {
    /// What a destination's own expressions see when a record is sent.
    #[must_use]
    pub fn of_record(record: &'v Record<'v>, tables: &'v LookupTables) -> Self
    where
        'v: 's,
    {
        Self {
            event: &record.event,
            consent: record.consent,
            variables: &record.vars,
            tables,
            request: None,
        }
    }
}

impl<'v> Activation<'v> for HitActivation<'v, '_> {
    fn field(&self, root: Root, name: &str) -> Option<&'v Value<'v>> {
        match root {
            Root::Event => self.event.get(name),
            Root::Consent => consent_value(&self.consent, name),
            Root::Request => self.request?.get(name),
            Root::Vars | Root::This => None,
        }
    }

    fn root(&self, root: Root) -> Option<Cow<'v, Value<'v>>> {
        let map = match root {
            Root::Event => self.event.fields().reborrow(),
            Root::Consent => consent_map(&self.consent),
            Root::Request => self.request?.reborrow(),
            Root::Vars | Root::This => return None,
        };
        Some(Cow::Owned(Value::Map(map)))
    }

    fn variable(&self, name: &str) -> Option<&Value<'v>> {
        self.variables.variable(name)
    }

    fn row(&self, table: &str, key: &str) -> Option<&'v Value<'v>> {
        self.tables.row(table, key)
    }
}

const SIGNALS: [&str; 4] = ["ad_storage", "analytics_storage", "ad_user_data", "ad_personalization"];

fn consent_value(consent: &Consent, name: &str) -> Option<&'static Value<'static>> {
    let signal = match name {
        "ad_storage" => consent.ad_storage,
        "analytics_storage" => consent.analytics_storage,
        "ad_user_data" => consent.ad_user_data,
        "ad_personalization" => consent.ad_personalization,
        _ => return None,
    };
    Some(match signal {
        ConsentSignal::Granted => &GRANTED,
        ConsentSignal::Denied => &DENIED,
        ConsentSignal::Unset => &UNSET,
    })
}

fn consent_map(consent: &Consent) -> Map<'static> {
    SIGNALS
        .into_iter()
        .filter_map(|name| Some((Cow::Borrowed(name), consent_value(consent, name)?.clone())))
        .collect()
}
