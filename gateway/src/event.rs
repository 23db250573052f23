//! The event: what every client makes of a hit, in Google Tag Manager's common event data.
//!
//! One flat JSON object. The fields that the gateway itself reads have accessors here; everything else that the sender
//! sent stays beside them under its own name.

use std::borrow::Cow;

use tagfleet_expressions::{Map, Value};

/// The names of the event's own fields (GTM's common event data), spelled once.
pub mod field {
    /// The event's name, as `purchase`. Always set on an accepted event.
    pub const EVENT_NAME: &str = "event_name";
    /// The id by which a receiver may drop a repeat. Always set on an accepted event.
    pub const EVENT_ID: &str = "event_id";
    /// The device or browser id, `<random>.<unix seconds>` when GA made it.
    pub const CLIENT_ID: &str = "client_id";
    /// The browser's own client id, where the server's is the `client_id`.
    pub const JS_CLIENT_ID: &str = "x-ga-js_client_id";
    /// The site's own id of a signed-in user.
    pub const USER_ID: &str = "user_id";
    /// When it happened: unix milliseconds. Always set on an accepted event.
    pub const TIMESTAMP_MS: &str = "timestamp_ms";
    /// The session id: its start in unix seconds, as text.
    pub const GA_SESSION_ID: &str = "ga_session_id";
    /// The number of this visitor's session.
    pub const GA_SESSION_NUMBER: &str = "ga_session_number";
    /// The page's URL.
    pub const PAGE_LOCATION: &str = "page_location";
    /// The referring URL.
    pub const PAGE_REFERRER: &str = "page_referrer";
    /// The page's title.
    pub const PAGE_TITLE: &str = "page_title";
    /// The host of `page_location`.
    pub const PAGE_HOSTNAME: &str = "page_hostname";
    /// The path of `page_location`.
    pub const PAGE_PATH: &str = "page_path";
    /// The visitor's language.
    pub const LANGUAGE: &str = "language";
    /// The visitor's screen, `<width>x<height>`.
    pub const SCREEN_RESOLUTION: &str = "screen_resolution";
    /// The visitor's user agent.
    pub const USER_AGENT: &str = "user_agent";
    /// The visitor's client hints, an object.
    pub const CLIENT_HINTS: &str = "client_hints";
    /// The visitor's address.
    pub const IP_OVERRIDE: &str = "ip_override";
    /// ISO 4217 code of `value`.
    pub const CURRENCY: &str = "currency";
    /// The event's monetary value.
    pub const VALUE: &str = "value";
    /// The order's id.
    pub const TRANSACTION_ID: &str = "transaction_id";
    /// The e-commerce items, an array of objects.
    pub const ITEMS: &str = "items";
    /// What the visitor said of themselves, an object.
    pub const USER_DATA: &str = "user_data";
    /// GA user properties, an object.
    pub const USER_PROPERTIES: &str = "user_properties";
    /// Click ids of the landing URL, an object.
    pub const CLICK_IDS: &str = "click_ids";
    /// Tracking cookies, an object.
    pub const COOKIES: &str = "cookies";
    /// Why the sender is taken for a bot, an object that the gateway alone sets (`privacy.bots: Mark`).
    pub const X_BOT: &str = "x_bot";
    /// The visitor's place, an object (`enrich.geo`).
    pub const GEO: &str = "geo";
    /// The visitor's device, an object (`enrich.device`, or what a server stated).
    pub const DEVICE: &str = "device";
}

/// One event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event<'a> {
    fields: Map<'a>,
}

impl<'a> Event<'a> {
    /// An event without fields, with room for a usual hit.
    #[must_use]
    pub fn new() -> Self {
        Self {
            fields: Map::with_capacity(48),
        }
    }

    /// The event's name; empty only before a client has set it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text(field::EVENT_NAME).unwrap_or_default()
    }

    /// A text field.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// When it happened, in unix milliseconds.
    #[must_use]
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.get(field::TIMESTAMP_MS).and_then(Value::as_i64)
    }

    /// Any field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.fields.get(name)
    }

    /// Sets a field, replacing what it had.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) {
        self.fields.insert(name, value);
    }

    /// Removes a field.
    pub fn remove(&mut self, name: &str) -> Option<Value<'a>> {
        self.fields.remove(name)
    }

    /// All fields in order.
    #[must_use]
    pub fn fields(&self) -> &Map<'a> {
        &self.fields
    }

    /// The same event with every text owned.
    #[must_use]
    pub fn into_owned(self) -> Event<'static> {
        Event {
            fields: self.fields.into_owned(),
        }
    }

    /// All fields to change in place.
    pub fn fields_mut(&mut self) -> &mut Map<'a> {
        &mut self.fields
    }
}

impl<'a> From<Map<'a>> for Event<'a> {
    fn from(fields: Map<'a>) -> Self {
        Self { fields }
    }
}

impl serde::Serialize for Event<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fields.serialize(serializer)
    }
}
