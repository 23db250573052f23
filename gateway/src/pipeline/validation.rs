//! The tracking plan: JSON Schemas that events are checked against.

use std::{borrow::Cow, collections::HashMap};

use tagfleet_crds::{event_schema::EventSchema, tagging_container::OnInvalid};
use tagfleet_expressions::Value;

use crate::event::Event;

/// Where an event that goes on names what is wrong with it (`onInvalid: Mark`).
pub const MARK: &str = "x_invalid";

/// What is told of one event, of all rules together.
const MAX_MESSAGES: usize = 5;

/// A rule of the tracking plan, compiled.
#[derive(Debug)]
pub struct Rule {
    /// The names of the events that it is for; none: all.
    pub events: Vec<String>,
    /// What they must be.
    pub schema: EventSchema,
    /// What becomes of those that are not.
    pub on_invalid: OnInvalid,
}

/// A container's rules, found by the event's name.
#[derive(Debug, Default)]
pub struct TrackingPlan {
    rules: Vec<Rule>,
    /// The rules for the names that some rule names, in order.
    by_event: HashMap<String, Vec<usize>>,
    /// The rules for any other name.
    otherwise: Vec<usize>,
}

/// How an event breaks the tracking plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The rules that it breaks, by their place in the container.
    pub rules: Vec<usize>,
    /// What becomes of it: of what the rules say, the one that lets least through.
    pub consequence: OnInvalid,
    /// What is wrong, in a few words each and without any value of the event.
    pub messages: Vec<String>,
}

impl TrackingPlan {
    /// A plan of these rules.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        let applies = |name: Option<&String>| {
            let applying = rules
                .iter()
                .enumerate()
                .filter(|(_, rule)| rule.events.is_empty() || name.is_some_and(|name| rule.events.contains(name)));
            applying.map(|(place, _)| place).collect::<Vec<_>>()
        };
        let names = rules.iter().flat_map(|rule| &rule.events);
        Self {
            by_event: names.map(|name| (name.clone(), applies(Some(name)))).collect(),
            otherwise: applies(None),
            rules,
        }
    }

    /// How many rules it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// How an event breaks it. One that no rule is for costs a look at its name.
    #[must_use]
    pub fn check(&self, event: &Event<'_>) -> Option<Breach> {
        let places = self.by_event.get(event.name()).unwrap_or(&self.otherwise);
        if places.is_empty() {
            return None;
        }
        let event = event.fields();
        let mut breach: Option<Breach> = None;
        for &place in places {
            let Some(rule) = self.rules.get(place).filter(|rule| !rule.schema.allows(event)) else {
                continue;
            };
            let breach = breach.get_or_insert_with(|| Breach {
                rules: Vec::new(),
                consequence: rule.on_invalid,
                messages: Vec::new(),
            });
            breach.rules.push(place);
            if strictness(rule.on_invalid) > strictness(breach.consequence) {
                breach.consequence = rule.on_invalid;
            }
            if breach.messages.len() < MAX_MESSAGES {
                breach.messages.extend(rule.schema.breaches(event));
                breach.messages.truncate(MAX_MESSAGES);
            }
        }
        breach
    }
}

impl Breach {
    /// What is wrong, on the event.
    pub fn mark(&self, event: &mut Event<'_>) {
        let messages = self.messages.iter().map(|message| Value::from(message.clone()));
        event.set(MARK, Value::List(messages.collect()));
    }

    /// What is wrong, in one line.
    #[must_use]
    pub fn reason<'a>(&self) -> Cow<'a, str> {
        self.messages.join("; ").into()
    }
}

/// What is told of an event that becomes a dead letter for what it breaks.
#[must_use]
pub fn rejection(breach: &str) -> String {
    format!("breaks the tracking plan: {breach}")
}

/// The label of a rule in `tagfleet_invalid_events_total`: where it stands in the container.
#[must_use]
pub fn label(place: usize) -> String {
    format!("validation[{place}]")
}

const fn strictness(consequence: OnInvalid) -> u8 {
    match consequence {
        OnInvalid::Mark => 0,
        OnInvalid::DeadLetter => 1,
        OnInvalid::Drop => 2,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use serde_json::json;

    use super::*;
    use crate::testing;

    fn rule(events: &[&str], on_invalid: OnInvalid, schema: serde_json::Value) -> Rule {
        let serde_json::Value::Object(schema) = schema else {
            panic!("a schema is an object")
        };
        Rule {
            events: events.iter().map(|name| (*name).to_owned()).collect(),
            schema: EventSchema::compile(&schema).unwrap(),
            on_invalid,
        }
    }

    #[test]
    fn an_event_is_checked_by_the_rules_for_its_name_and_those_for_all() {
        let plan = TrackingPlan::new(vec![
            rule(
                &["purchase", "refund"],
                OnInvalid::Drop,
                json!({"required": ["transaction_id"]}),
            ),
            rule(&[], OnInvalid::Mark, json!({"required": ["page_location"]})),
            rule(
                &["purchase"],
                OnInvalid::DeadLetter,
                json!({"properties": {"value": {"type": "number"}}}),
            ),
        ]);
        let check = |event| plan.check(&testing::record(event).event);
        let page = json!("https://shop.example/");
        assert_eq!(check(json!({"event_name": "page_view", "page_location": page})), None);
        let breach = check(json!({"event_name": "page_view"})).unwrap();
        assert_eq!((breach.rules, breach.consequence), (vec![1], OnInvalid::Mark));
        let breach = check(json!({"event_name": "purchase", "transaction_id": "T-1", "value": "jane"})).unwrap();
        assert_eq!(
            (&*breach.rules, breach.consequence),
            (&[1, 2][..], OnInvalid::DeadLetter)
        );
        assert_eq!(breach.reason(), "/: required (page_location); /value: type");
        let breach = check(json!({"event_name": "refund", "page_location": page})).unwrap();
        assert_eq!((breach.rules, breach.consequence), (vec![0], OnInvalid::Drop));
    }

    #[test]
    fn a_mark_tells_five_things_at_the_most() {
        let wants = |name: &str| rule(&[], OnInvalid::Mark, json!({"required": [name]}));
        let plan = TrackingPlan::new(["a", "b", "c", "d", "e", "f", "g"].map(wants).into());
        let mut event = testing::record(json!({"event_name": "x"})).event;
        let breach = plan.check(&event).unwrap();
        assert_eq!(breach.rules.len(), 7);
        breach.mark(&mut event);
        assert_eq!(
            serde_json::to_value(event.get(MARK)).unwrap(),
            json!([
                "/: required (a)",
                "/: required (b)",
                "/: required (c)",
                "/: required (d)",
                "/: required (e)"
            ])
        );
    }
}
