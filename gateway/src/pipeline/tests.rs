#![allow(clippy::unwrap_used, clippy::panic)]
use std::path::PathBuf;

use http::{HeaderMap, HeaderName};
use serde_json::{Value as Json, json};

use super::{
    consent::Said,
    geo::{Database, GeoSource, Origin, mmdb},
    policies::Policies,
    privacy::IpAddressPolicy,
    *,
};
use crate::{ingest::Connection, testing};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0";

/// What is kept of an event that comes from this user agent and 203.0.113.7, German by the database of places; none when it
/// is dropped.
fn judged(policies: Policies, agent: &str, connection: Connection, event: Json) -> Option<Json> {
    let plan = Plan {
        policies: Arc::new(policies),
        ..testing::plan("v1", Vec::new(), Vec::new())
    };
    let headers: HeaderMap = [("user-agent", agent), ("accept-language", "de")]
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
        .into_iter()
        .collect();
    let request = testing::request(&headers);
    let visit = Visit::of(&plan, request, connection, Map::new());
    let record = testing::record(event);
    let claimed = ClaimedEvent {
        event: record.event,
        said: Said::default(),
        has_own_id: false,
    };
    match judge(&plan, claimed, &visit, &mut Steps::new(10_000)) {
        Fate::Judged(judged) => Some(serde_json::to_value(&judged.record.event).unwrap()),
        Fate::Dropped(Dropped::Bot) => None,
        Fate::Dropped(Dropped::Invalid(_)) => panic!("no rule is broken"),
    }
}

fn on_bots(bots: BotPolicy) -> Policies {
    Policies {
        bots,
        ..Policies::default()
    }
}

#[test]
fn a_bots_hit_is_kept_marked_or_dropped() {
    let event = json!({"event_name": "page_view"});
    let after = |policy, agent, connection| judged(on_bots(policy), agent, connection, event.clone());
    let marked = json!({"event_name": "page_view", "x_bot": {"score": 80, "reason": "http_library"}});
    for (policy, agent, connection, expected) in [
        (BotPolicy::Keep, "curl/8.11.0", Connection::Visitor, Some(&event)),
        (BotPolicy::Mark, "curl/8.11.0", Connection::Visitor, Some(&marked)),
        (BotPolicy::Drop, "curl/8.11.0", Connection::Visitor, None),
        // Weak signs.
        (BotPolicy::Mark, "okhttp/4.12.0", Connection::Visitor, Some(&event)),
        (BotPolicy::Drop, "okhttp/4.12.0", Connection::Visitor, Some(&event)),
        // A server that reports what visitors did.
        (
            BotPolicy::Mark,
            "python-requests/2.32.3",
            Connection::Server,
            Some(&event),
        ),
        (
            BotPolicy::Drop,
            "python-requests/2.32.3",
            Connection::Server,
            Some(&event),
        ),
    ] {
        assert_eq!(
            after(policy, agent, connection).as_ref(),
            expected,
            "{policy:?} {agent}"
        );
    }
}

#[test]
fn a_place_is_found_before_the_address_goes_and_the_device_from_the_user_agent() {
    let database = Database::new(Origin::File(PathBuf::from("city.mmdb")));
    let city = mmdb::city("EU", "DE", "BE", "Berlin");
    let file = mmdb::database("GeoLite2-City", &[("203.0.113.0/24", city)]);
    database.replace(file.into()).unwrap();
    let policies = Policies {
        geo: Some(Arc::new(GeoSource::Database(database))),
        device: true,
        ip_address: IpAddressPolicy::Remove,
        ..Policies::default()
    };
    let event = json!({"event_name": "page_view", "ip_override": "203.0.113.7", "user_agent": FIREFOX});
    assert_eq!(
        judged(policies, FIREFOX, Connection::Visitor, event).unwrap(),
        json!({
            "event_name": "page_view",
            "user_agent": FIREFOX,
            "geo": {"continent": "EU", "country": "DE", "region": "BE", "city": "Berlin"},
            "device": {"category": "desktop", "browser": "Firefox", "browser_version": "133.0", "operating_system": "Linux"},
        })
    );
}

#[test]
fn a_servers_own_user_agent_and_address_say_nothing_of_the_visitor() {
    let policies = Policies {
        device: true,
        bots: BotPolicy::Drop,
        ..Policies::default()
    };
    let event = json!({"event_name": "order"});
    assert_eq!(
        judged(policies, "curl/8.11.0", Connection::Server, event.clone()),
        Some(event)
    );
}
