//! `user.userIds`: by what LinkedIn knows a visitor (sheet, section 2).

use std::net::Ipv4Addr;

use serde_json::{Value as Json, json};
use tagfleet_expressions::Value;

use crate::{
    destinations::{
        identity::{self, EmailRule, UserData},
        json::{member, texts},
    },
    event::{Event, field},
};

/// The kinds of ids in `userIds` (sheet, section 2), in the order in which they are sent.
pub(super) const ID_TYPES: [&str; 6] = [EMAIL, CLICK_ID, "ACXIOM_ID", "ORACLE_MOAT_ID", IP_ADDRESS, "GOOGLE_AID"];
pub(super) const EMAIL: &str = "SHA256_EMAIL";
pub(super) const CLICK_ID: &str = "LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID";
pub(super) const IP_ADDRESS: &str = "PLAINTEXT_IP_ADDRESS";

/// `user.userIds`: kinds and ids, in the order of [`ID_TYPES`].
pub(super) struct UserIds(Vec<(&'static str, Json)>);

/// The ids of the standard mapping. The visitor's address is none of them: LinkedIn takes it, but only whoever asks for it
/// in `parameters` has it sent.
pub(super) fn user_ids(event: &Event<'_>) -> UserIds {
    let emails = UserData::of(event).emails(EmailRule::Plain);
    let click_id = [field::CLICK_IDS, field::COOKIES]
        .into_iter()
        .find_map(|object| member(event, object, "li_fat_id"));
    let emails = emails.into_iter().map(|hash| (EMAIL, Json::from(hash)));
    UserIds(emails.chain(click_id.map(|id| (CLICK_ID, id))).collect())
}

impl UserIds {
    /// Puts the ids of an expression in the place of those of a kind; if there are none, they stay.
    pub(super) fn replace(&mut self, kind: &str, value: &Value<'_>) {
        let Some(kind) = ID_TYPES.into_iter().find(|known| *known == kind) else {
            return;
        };
        let ids = texts(value);
        let ids: Vec<_> = ids
            .iter()
            .filter_map(|raw| Some((kind, json!(id(kind, raw)?))))
            .collect();
        if !ids.is_empty() {
            self.0.retain(|(other, _)| *other != kind);
            self.0.extend(ids);
            self.0
                .sort_by_key(|(kind, _)| ID_TYPES.iter().position(|known| known == kind));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_json(self) -> Json {
        self.0
            .into_iter()
            .map(|(kind, id)| json!({"idType": kind, "idValue": id}))
            .collect()
    }
}

/// An id in the form that LinkedIn wants of its kind.
fn id(kind: &str, raw: &str) -> Option<String> {
    match kind {
        EMAIL => identity::email(raw, EmailRule::Plain),
        // IPv4 only (sheet, section 2).
        IP_ADDRESS => raw.trim().parse::<Ipv4Addr>().ok().map(|address| address.to_string()),
        _ => Some(raw.trim().to_owned()).filter(|id| !id.is_empty()),
    }
}
