//! What is known of a hit's sender: found once for a hit, however many events it brings.

use tagfleet_expressions::Map;

use super::{
    bots::{self, Bot, BotPolicy},
    consent::request::RequestConsent,
    geo::Place,
    identity::Browser,
};
use crate::{
    ingest::{Connection, HitRequest},
    plan::Plan,
};

/// A hit's request, and what it says of the visitor.
#[derive(Clone, Debug)]
pub struct Visit<'r> {
    /// The request.
    pub request: HitRequest<'r>,
    /// Whose request it is.
    pub connection: Connection,
    /// What speaks for a bot, weak signs too; nothing is looked for on a server's request, or when bots are kept.
    pub bot: Option<Bot>,
    /// Where the visitor is.
    pub place: Option<Place>,
    /// What the request says of the visitor's consent.
    pub consent: RequestConsent,
    /// The visitor's browser, where the container sets cookies.
    pub browser: Option<Browser<'r>>,
}

impl<'r> Visit<'r> {
    /// Looks at the request once. `cookies`: the tracking cookies in it.
    #[must_use]
    pub fn of(plan: &Plan, request: HitRequest<'r>, connection: Connection, cookies: Map<'r>) -> Self {
        let policies = &plan.policies;
        let by_visitor = connection == Connection::Visitor;
        Self {
            bot: (by_visitor && policies.bots != BotPolicy::Keep)
                .then(|| bots::look(&request))
                .flatten(),
            place: policies
                .geo
                .as_ref()
                .filter(|_| by_visitor)
                .and_then(|geo| geo.locate(&request)),
            consent: RequestConsent::of(&policies.consent, &request, connection),
            browser: (by_visitor && policies.identity.is_in_use()).then(|| Browser::of(&request, cookies)),
            connection,
            request,
        }
    }
}
