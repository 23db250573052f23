//! The pixel client: a GET of an image whose query is an event, for mails and pages without scripts.

use std::borrow::Cow;

use tagfleet_expressions::Value;

use super::{
    Claim, ClaimedEvent, HitRequest, Refusal,
    complete::{Connection, Sender},
    consent_signals::ConsentParameters,
    fields::Fields,
    normalize::{self, normalize, normalize_time},
    query::{self, number},
    user_data::UserData,
};
use crate::event::{Event, field};

/// The most parameters of one pixel.
const MAX_PARAMETERS: usize = 1_000;

/// What a pixel client accepts.
#[derive(Clone, Debug)]
pub struct Pixel {
    /// The path, as `/pixel.gif`.
    pub path: String,
}

impl Pixel {
    /// Turns the query into an event: each parameter is the field of its name, `en` may stand for `event_name`,
    /// `user_data.<member>` and `user_properties.<member>` go into those objects. `value` and `ga_session_number` are
    /// numbers, everything else is text.
    ///
    /// # Errors
    /// 405 for other methods than GET; 400 without a name or with too many parameters.
    pub fn claim<'r>(&self, request: &HitRequest<'r>) -> Result<Claim<'r>, Refusal> {
        if *request.method != http::Method::GET {
            return Err(Refusal::MethodNotAllowed("fetch the pixel by GET".into()));
        }
        let sender = Sender::of(request);
        let mut fields = Fields::with_capacity(query::at_most(request.query).min(MAX_PARAMETERS) + 10);
        let mut user_properties = Fields::default();
        let mut user_data = UserData::default();
        for (count, (name, value)) in query::pairs(request.query).enumerate() {
            if count >= MAX_PARAMETERS {
                return Err(Refusal::BadRequest("an event has more than 1,000 parameters".into()));
            }
            match name.as_ref() {
                "en" => fields.insert(field::EVENT_NAME, value),
                field::VALUE | field::GA_SESSION_NUMBER => fields.insert(name, number(value)),
                _ => match behind(&name, "user_data.") {
                    Some(member) => user_data.insert(member, value),
                    None => match behind(&name, "user_properties.") {
                        Some(member) => user_properties.insert(member, value),
                        None => fields.insert(name, value),
                    },
                },
            }
        }
        if fields.text(field::EVENT_NAME).is_none() {
            return Err(Refusal::BadRequest("event_name (or en) is missing".into()));
        }
        let said = ConsentParameters {
            gcd: fields.text("gcd"),
            gcs: fields.text("gcs"),
            npa: fields.text("npa"),
            dma_cps: fields.text("dma_cps"),
        }
        .decode();
        // A parameter that gives the whole object as text does not fit; normalize keeps it under another name.
        let mut counts = normalize(&mut fields, normalize::Sender::Anyone, sender.read_cookies);
        normalize_time(&mut fields, normalize::Sender::Anyone, sender.received_ms, &mut counts);
        if let Some(user_data) = user_data.finish(None) {
            fields.insert(field::USER_DATA, user_data);
        }
        if !user_properties.is_empty() {
            fields.insert(field::USER_PROPERTIES, Value::Map(user_properties.into_map()));
        }
        let has_own_id = sender.complete(&mut fields, Connection::Visitor);
        Ok(Claim {
            events: vec![ClaimedEvent {
                event: Event::from(fields.into_map()),
                said,
                has_own_id,
            }],
            cookies: sender.cookies,
            renamed: counts.renamed,
            untrusted: counts.untrusted,
            ..Claim::default()
        })
    }
}

/// What stands behind a prefix, if the name has it and more.
fn behind<'a>(name: &Cow<'a, str>, prefix: &str) -> Option<Cow<'a, str>> {
    let rest = match name {
        Cow::Borrowed(name) => Cow::Borrowed(name.strip_prefix(prefix)?),
        Cow::Owned(name) => Cow::Owned(name.strip_prefix(prefix)?.to_owned()),
    };
    (!rest.is_empty()).then_some(rest)
}
