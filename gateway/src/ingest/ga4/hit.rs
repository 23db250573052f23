//! One GA4 hit: parameters in, event out. Nothing that the sender sent is lost: a parameter has a place in the table of
//! [`super::parameters`], or in one of the families below, or is kept as `x-ga-mp2-<name>`.

use std::borrow::Cow;

use tagfleet_expressions::{Map, Value};

use super::{
    client_hints, items,
    parameters::{Custom, Kind, Parameter, custom, plain_field},
};
use crate::{
    event::{Event, field},
    ingest::{
        ClaimedEvent,
        complete::{Connection, Sender},
        consent_signals::ConsentParameters,
        cookies,
        fields::Fields,
        json_value,
        query::{self, number},
        user_data::UserData,
    },
};

/// No tag sends more parameters in one event.
pub(super) const MAX_PARAMETERS: usize = 1_000;

/// What is wrong with a hit or with one line of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("an event has more than {MAX_PARAMETERS} parameters")]
    TooManyParameters,
    #[error("an item (pr<N>) has more fields than any tag sends")]
    TooManyItemFields,
    #[error("v=2 is missing: only version 2 of the protocol is understood")]
    Version,
    #[error("tid, the measurement id, is missing")]
    MeasurementId,
    #[error("en, the event's name, is missing")]
    EventName,
}

/// The parameters of one hit, sorted into where they belong.
#[derive(Clone, Debug)]
pub(super) struct Hit<'r> {
    /// The table's parameters, by their place in it.
    table: [Option<Cow<'r, str>>; Parameter::ALL.len()],
    /// `ep.` and `epn.` under their own names, and plain parameters outside the table as `x-ga-mp2-<name>`. Neither can
    /// have the name of another field of the event, but for those that a custom parameter may replace.
    others: Fields<'r>,
    /// `up.` and `upn.`.
    user_properties: Fields<'r>,
    /// `_<name>`.
    system: Fields<'r>,
    /// `sst.<name>`.
    server_side: Fields<'r>,
    user_data: UserData<'r>,
    /// `pr<N>`, as they came.
    items: Vec<(u16, Cow<'r, str>)>,
    /// How many parameters were read, repeats included.
    parameters: usize,
    /// Custom parameters kept as `x_<name>`.
    renamed: u64,
    /// Claims of the visitor's address (`_uip`) that were not believed.
    untrusted: u64,
}

impl<'r> Hit<'r> {
    pub(super) fn new() -> Self {
        Self {
            table: [const { None }; Parameter::ALL.len()],
            others: Fields::with_capacity(8),
            user_properties: Fields::default(),
            system: Fields::default(),
            server_side: Fields::default(),
            user_data: UserData::default(),
            items: Vec::new(),
            parameters: 0,
            renamed: 0,
            untrusted: 0,
        }
    }

    /// How many parameters were read.
    pub(super) const fn parameters(&self) -> usize {
        self.parameters
    }

    /// Custom parameters that were kept under another name, and addresses that were not believed.
    pub(super) const fn counts(&self) -> (u64, u64) {
        (self.renamed, self.untrusted)
    }

    /// Adds the parameters of a query or of a batch's line; a repeated one replaces what it was.
    pub(super) fn read(&mut self, query: &'r str) -> Result<(), Invalid> {
        for (name, value) in query::pairs(query) {
            self.parameters += 1;
            if self.parameters > MAX_PARAMETERS {
                return Err(Invalid::TooManyParameters);
            }
            match Parameter::named(&name) {
                Some(parameter) => self.set(parameter, value),
                None => self.add(name, value),
            }
        }
        Ok(())
    }

    /// A parameter of the table.
    pub(super) fn get(&self, parameter: Parameter) -> Option<&str> {
        self.table
            .get(parameter as usize)?
            .as_deref()
            .filter(|text| !text.is_empty())
    }

    /// The measurement id, if the hit is one that GA4 would take: `v=2`, `tid`, and an event's name.
    pub(super) fn check(&self) -> Result<&str, Invalid> {
        if self.get(Parameter::ProtocolVersion) != Some("2") {
            return Err(Invalid::Version);
        }
        let measurement_id = self.get(Parameter::MeasurementId).ok_or(Invalid::MeasurementId)?;
        self.get(Parameter::EventName).ok_or(Invalid::EventName)?;
        Ok(measurement_id)
    }

    fn set(&mut self, parameter: Parameter, value: Cow<'r, str>) {
        if let Some(slot) = self.table.get_mut(parameter as usize) {
            *slot = Some(value);
        }
    }

    /// A parameter outside the table, by the family that its name shows.
    fn add(&mut self, name: Cow<'r, str>, value: Cow<'r, str>) {
        let (family, rest) = Family::of(&name);
        if rest.is_empty() && family != Family::Plain {
            self.others.insert(plain_field(&name), value);
            return;
        }
        let prefix = name.len() - rest.len();
        match family {
            Family::Text => self.add_custom(behind(name, prefix), value, Value::String),
            Family::Number => self.add_custom(behind(name, prefix), value, number),
            Family::UserProperty => self.user_properties.insert(behind(name, prefix), value),
            Family::UserPropertyNumber => self.user_properties.insert(behind(name, prefix), number(value)),
            Family::UserData => self.user_data.insert(behind(name, prefix), value),
            Family::ServerSide => self.server_side.insert(behind(name, prefix), value),
            Family::System if rest == "uip" => self.untrusted += 1,
            Family::System => self.system.insert(behind(name, prefix), value),
            Family::Plain => match items::number_of(&name) {
                Some(number) => self.items.push((number, value)),
                None => self.others.insert(plain_field(&name), value),
            },
        }
    }

    fn add_custom(&mut self, name: Cow<'r, str>, value: Cow<'r, str>, typed: impl Fn(Cow<'r, str>) -> Value<'r>) {
        match custom(&name) {
            Custom::Free => self.others.insert(name, typed(value)),
            Custom::Replaces if name == field::ITEMS => match json_value::list(&value) {
                Some(items) => self.others.insert(name, items),
                None => self.rename(&name, Value::String(value)),
            },
            // Every other field of this kind but `value` is text, whatever the tag took it for.
            Custom::Replaces if name == field::VALUE => self.others.insert(name, typed(value)),
            Custom::Replaces => self.others.insert(name, value),
            Custom::Reserved => self.rename(&name, typed(value)),
        }
    }

    fn rename(&mut self, name: &str, value: Value<'r>) {
        self.renamed += 1;
        self.others.insert(format!("x_{name}"), value);
    }

    /// The event, completed with what the request says of its sender.
    pub(super) fn finish(mut self, sender: &Sender<'r>) -> Result<ClaimedEvent<'r>, Invalid> {
        let items = finish_items(std::mem::take(&mut self.items))?;
        let said = ConsentParameters {
            gcd: self.get(Parameter::ConsentSignals),
            gcs: self.get(Parameter::ConsentStorages),
            npa: self.get(Parameter::NonPersonalizedAds),
            dma_cps: self.get(Parameter::CoreServices),
        }
        .decode();
        let user_data = std::mem::take(&mut self.user_data).finish(self.get(Parameter::UserProvidedData));
        let mut fields = Fields::with_capacity(self.parameters + 14);
        let hints = self.place_table(&mut fields);
        self.place_items(items);
        self.complete_session(&mut fields, sender);
        fields.append_new(self.others);
        if let Some(user_data) = user_data {
            fields.insert_new(field::USER_DATA, user_data);
        }
        if !self.server_side.is_empty() {
            let received = Value::Int(sender.received_ms);
            self.server_side
                .insert_if_absent("request_start_time_ms", || Some(received));
        }
        for (name, members) in [
            (field::USER_PROPERTIES, self.user_properties.into_map()),
            (field::CLIENT_HINTS, hints),
            ("x-ga-system_properties", self.system.into_map()),
            ("x-sst-system_properties", self.server_side.into_map()),
        ] {
            if !members.is_empty() {
                fields.insert_new(name, members);
            }
        }
        let has_own_id = sender.complete(&mut fields, Connection::Visitor);
        Ok(ClaimedEvent {
            event: Event::from(fields.into_map()),
            said,
            has_own_id,
        })
    }

    /// Moves the table's parameters into the event and returns the client hints. Where a custom parameter has taken a
    /// field, the plain parameter keeps its wire name.
    fn place_table(&mut self, fields: &mut Fields<'r>) -> Map<'r> {
        let mut hints = Vec::new();
        for (parameter, value) in Parameter::ALL.iter().zip(&mut self.table) {
            let Some(value) = value.take() else { continue };
            let name = parameter.field();
            if parameter.is_replaceable() && self.others.contains(name) {
                self.others.insert(plain_field(parameter.wire()), value);
                continue;
            }
            match parameter.kind() {
                Kind::Text => fields.insert_new(name, value),
                Kind::Number => fields.insert_new(name, number(value)),
                Kind::Flag => fields.insert_new(name, client_hints::flag(value)),
                Kind::Hint => add_hint(&mut hints, *parameter, value),
            }
        }
        Map::from_unique(hints)
    }

    /// Items of `pr<N>`; beside a custom parameter of that name they keep another.
    fn place_items(&mut self, items: Vec<Value<'r>>) {
        if !items.is_empty() {
            let replaced = self.others.contains(field::ITEMS);
            self.others
                .insert(if replaced { "x-ga-mp2-items" } else { field::ITEMS }, items);
        }
    }

    /// The session of the `_ga_<ID>` cookie, where the hit has none.
    fn complete_session(&self, fields: &mut Fields<'r>, sender: &Sender<'r>) {
        if sender.cookies.is_empty() || fields.text(field::GA_SESSION_ID).is_some() {
            return;
        }
        let session = fields
            .text(Parameter::MeasurementId.field())
            .and_then(|measurement_id| cookies::session_of(&sender.cookies, measurement_id));
        if let Some(session) = session {
            fields.insert(field::GA_SESSION_ID, session.id.to_owned());
            if let Some(number) = session.number {
                fields.insert_if_absent(field::GA_SESSION_NUMBER, || Some(Value::Int(number)));
            }
        }
    }
}

/// The families of parameters outside the table, by the beginning of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Text,
    Number,
    UserProperty,
    UserPropertyNumber,
    UserData,
    ServerSide,
    System,
    Plain,
}

impl Family {
    /// The family of a name, and what stands behind its prefix.
    fn of(name: &str) -> (Self, &str) {
        let families = match name.as_bytes().first() {
            Some(b'e') => [
                ("ep.user_data.", Self::UserData),
                ("ep.", Self::Text),
                ("epn.", Self::Number),
            ]
            .as_slice(),
            Some(b'u') => &[("up.", Self::UserProperty), ("upn.", Self::UserPropertyNumber)],
            Some(b's') => &[("sst.", Self::ServerSide)],
            Some(b'_') => &[("_", Self::System)],
            _ => &[],
        };
        families
            .iter()
            .find_map(|(prefix, family)| name.strip_prefix(prefix).map(|rest| (*family, rest)))
            .unwrap_or((Self::Plain, name))
    }
}

/// A name without its first `prefix` bytes.
fn behind(name: Cow<'_, str>, prefix: usize) -> Cow<'_, str> {
    match name {
        Cow::Borrowed(name) => Cow::Borrowed(name.get(prefix..).unwrap_or_default()),
        Cow::Owned(name) => Cow::Owned(name.get(prefix..).unwrap_or_default().to_owned()),
    }
}

/// Items in the order of their numbers; of a repeated number the last stays.
fn finish_items(mut items: Vec<(u16, Cow<'_, str>)>) -> Result<Vec<Value<'_>>, Invalid> {
    items.sort_by_key(|(number, _)| *number);
    items.reverse();
    items.dedup_by_key(|(number, _)| *number);
    let parsed = items
        .into_iter()
        .rev()
        .map(|(_, text)| items::parse(text).map(Value::Map));
    parsed
        .collect::<Result<_, _>>()
        .map_err(|items::TooManyFields| Invalid::TooManyItemFields)
}

/// Adds one member of `client_hints`, or two: each parameter comes once.
fn add_hint<'r>(hints: &mut Vec<(Cow<'r, str>, Value<'r>)>, parameter: Parameter, value: Cow<'r, str>) {
    if hints.is_empty() {
        hints.reserve(9);
    }
    let member = match parameter {
        Parameter::FullVersionList => {
            let (brands, full) = client_hints::versions(&value);
            hints.push(("brands".into(), brands));
            full
        }
        Parameter::Mobile | Parameter::Wow64 => client_hints::flag(value),
        _ => Value::String(value),
    };
    hints.push((parameter.field().into(), member));
}
