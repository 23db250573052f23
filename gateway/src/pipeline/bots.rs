//! Bots: hits that no person caused.

use crate::ingest::HitRequest;

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
    /// 0 to 100; from 50 on it is taken for one.
    pub score: u8,
    /// Why, in a word or two.
    pub reason: &'static str,
}

/// Looks at a visitor's request. Nothing when it looks like a person's.
#[must_use]
pub fn look(_request: &HitRequest<'_>) -> Option<Bot> {
    None
}
