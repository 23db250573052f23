//! Bots: hits that no person caused. A kept open list of user agents, and what else a browser would not send.

mod list;

use std::cell::RefCell;

use http::{
    HeaderMap, HeaderName,
    header::{ACCEPT_LANGUAGE, USER_AGENT},
};
use tagfleet_expressions::{Map, Value};

use super::remembered::{Remembered, remembered};
use crate::{
    event::{Event, field},
    ingest::HitRequest,
};

/// `privacy.bots`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BotPolicy {
    /// Nobody looks.
    #[default]
    Keep,
    /// `event.x_bot` says how likely it is, and why.
    Mark,
    /// The hit's events are dropped and counted.
    Drop,
}

/// What speaks for a bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bot {
    /// 0 to 100; from [`Bot::THRESHOLD`] on it is taken for one.
    pub score: u8,
    /// The strongest sign: one of [`reason`].
    pub reason: &'static str,
}

impl Bot {
    /// The score from which on a sender is taken for a bot.
    pub const THRESHOLD: u8 = 50;

    /// Whether it is taken for a bot; else there are only weak signs.
    #[must_use]
    pub const fn is_taken_for_bot(&self) -> bool {
        self.score >= Self::THRESHOLD
    }
}

/// The reasons, all there are.
pub mod reason {
    /// A crawler, link preview, feed reader or monitor by its own name.
    pub const CRAWLER: &str = "crawler";
    /// A browser that a program drives: headless, or under an agent's or a test's control.
    pub const AUTOMATION: &str = "automation";
    /// A program's HTTP library.
    pub const HTTP_LIBRARY: &str = "http_library";
    /// No user agent, which every browser has.
    pub const NO_USER_AGENT: &str = "no_user_agent";
    /// Fetched ahead by a browser, for a page that its user may never see.
    pub const PREFETCH: &str = "prefetch";
    /// `Mozilla/5.0` and no more.
    pub const BARE_USER_AGENT: &str = "bare_user_agent";
    /// A browser's user agent without the languages that every browser sends.
    pub const NO_LANGUAGE: &str = "no_language";
}

/// How much of a user agent is looked at: browsers stay far below.
const MAX_AGENT_BYTES: usize = 1024;

/// The headers by which browsers say that nobody looks at the page yet: <https://wicg.github.io/nav-speculation/prefetch.html>,
/// and before that Chrome's, Firefox's and Safari's own.
static PURPOSES: [HeaderName; 4] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-moz"),
    HeaderName::from_static("x-purpose"),
];
const AHEAD: [&[u8]; 3] = [b"prefetch", b"prerender", b"preview"];

thread_local! {
    static AGENTS: RefCell<Remembered<Option<Bot>>> = RefCell::default();
}

/// Looks at a visitor's request. Nothing when it looks like a person's in every way.
#[must_use]
pub fn look(request: &HitRequest<'_>) -> Option<Bot> {
    let headers = request.headers;
    let agent = headers.get(USER_AGENT).map_or(&[][..], |agent| agent.as_bytes());
    let agent = agent.trim_ascii();
    let signs = [
        by_agent(agent.get(..MAX_AGENT_BYTES).unwrap_or(agent)),
        is_fetched_ahead(headers).then_some(Bot {
            score: 60,
            reason: reason::PREFETCH,
        }),
        (is_browsers(agent) && !headers.contains_key(ACCEPT_LANGUAGE)).then_some(Bot {
            score: 15,
            reason: reason::NO_LANGUAGE,
        }),
    ];
    // The signs add up, under the name of the strongest.
    signs.into_iter().flatten().reduce(|one, other| Bot {
        score: one.score.saturating_add(other.score).min(100),
        reason: if one.score >= other.score {
            one.reason
        } else {
            other.reason
        },
    })
}

/// What the user agent alone says, found once for each that a thread meets.
fn by_agent(agent: &[u8]) -> Option<Bot> {
    let find = || match agent {
        [] => Some(Bot {
            score: 60,
            reason: reason::NO_USER_AGENT,
        }),
        _ => list::find(agent).or_else(|| {
            (is_browsers(agent) && !agent.contains(&b'(')).then_some(Bot {
                score: 30,
                reason: reason::BARE_USER_AGENT,
            })
        }),
    };
    remembered(&AGENTS, agent, find)
}

/// Whether it begins as browsers' user agents do; apps have names of their own.
fn is_browsers(agent: &[u8]) -> bool {
    agent.starts_with(b"Mozilla/") || agent.starts_with(b"Opera/")
}

fn is_fetched_ahead(headers: &HeaderMap) -> bool {
    let says = |value: &[u8], word: &[u8]| value.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    let values = PURPOSES.iter().filter_map(|name| headers.get(name));
    values.into_iter().any(|value| {
        let value = value.as_bytes();
        let value = value.get(..64).unwrap_or(value);
        AHEAD.iter().any(|word| says(value, word))
    })
}

/// Sets `event.x_bot` where the sender is taken for a bot and bots are marked. The field is the gateway's alone: what a
/// hit brought under its name goes, whatever the policy, so that it can be relied on.
pub fn mark(event: &mut Event<'_>, bot: Option<&Bot>, policy: BotPolicy) {
    event.remove(field::X_BOT);
    if let Some(bot) = bot.filter(|bot| policy == BotPolicy::Mark && bot.is_taken_for_bot()) {
        event.set(
            field::X_BOT,
            Map::from_unique(vec![
                ("score".into(), Value::Int(i64::from(bot.score))),
                ("reason".into(), Value::from(bot.reason)),
            ]),
        );
    }
}

#[cfg(test)]
mod tests;
