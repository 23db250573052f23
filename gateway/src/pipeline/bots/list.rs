//! The list of bots' user agents: `crawler-user-agents` (data/crawler-user-agents.txt), and how bots call themselves that
//! are not in it.
//!
//! Nearly all of its 1,500 patterns are plain words. They are found in one pass by an automaton whose time depends on
//! nothing but the length of the text, whatever a sender puts there; the few that are left are regular expressions.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::bytes::RegexSet;

use super::{Bot, reason};

const LIST: &str = include_str!("../../../data/crawler-user-agents.txt");

/// Bots by what they say of themselves: `...bot/1.0` (but for the phones called Cubot), a crawler, or the address of a page
/// about them.
const GENERIC: [&str; 3] = [
    r"(?i-u)(?:[^u]|^)bot(?:[^a-z]|$)",
    r"(?i-u)(?:crawler|spider|scraper)(?:[^a-z]|$)",
    r"(?-u)\+https?://",
];

static AGENTS: LazyLock<Option<Agents>> = LazyLock::new(|| {
    Agents::compile()
        .inspect_err(|error| tracing::error!(%error, "the list of bots cannot be compiled: none is known"))
        .ok()
});

/// What a pattern of the list stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Crawler,
    Automation,
    Library,
    App,
    Generic,
}

impl Kind {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "crawler" => Some(Self::Crawler),
            "automation" => Some(Self::Automation),
            "library" => Some(Self::Library),
            "app" => Some(Self::App),
            _ => None,
        }
    }

    const fn bot(self) -> Bot {
        let (score, reason) = match self {
            Self::Crawler => (100, reason::CRAWLER),
            Self::Automation => (95, reason::AUTOMATION),
            Self::Generic => (90, reason::CRAWLER),
            Self::Library => (80, reason::HTTP_LIBRARY),
            // People's apps speak through these too.
            Self::App => (25, reason::HTTP_LIBRARY),
        };
        Bot { score, reason }
    }
}

struct Agents {
    words: AhoCorasick,
    words_kinds: Vec<Kind>,
    patterns: RegexSet,
    patterns_kinds: Vec<Kind>,
}

#[derive(Debug, thiserror::Error)]
enum ListError {
    #[error("{0}")]
    Words(#[from] aho_corasick::BuildError),
    #[error("{0}")]
    Patterns(#[from] regex::Error),
}

/// What the list says of a user agent: the strongest of all patterns that fit.
pub(super) fn find(agent: &[u8]) -> Option<Bot> {
    let agents = AGENTS.as_ref()?;
    agents.kinds_of(agent).map(Kind::bot).max_by_key(|bot| bot.score)
}

impl Agents {
    fn compile() -> Result<Self, ListError> {
        let (mut words, mut words_kinds) = (Vec::new(), Vec::new());
        let (mut patterns, mut patterns_kinds) = (Vec::new(), Vec::new());
        for (kind, pattern) in entries() {
            match word(pattern) {
                Some(word) => {
                    words.push(word);
                    words_kinds.push(kind);
                }
                None => {
                    patterns.push(pattern);
                    patterns_kinds.push(kind);
                }
            }
        }
        patterns.extend(GENERIC);
        patterns_kinds.extend(GENERIC.map(|_| Kind::Generic));
        Ok(Self {
            words: AhoCorasick::new(words)?,
            words_kinds,
            patterns: RegexSet::new(patterns)?,
            patterns_kinds,
        })
    }

    fn kinds_of(&self, agent: &[u8]) -> impl Iterator<Item = Kind> {
        let words = self
            .words
            .find_overlapping_iter(agent)
            .map(|found| found.pattern().as_usize());
        let words = words.filter_map(|word| self.words_kinds.get(word).copied());
        let patterns = self.patterns.matches(agent).into_iter();
        words.chain(patterns.filter_map(|pattern| self.patterns_kinds.get(pattern).copied()))
    }
}

/// The lines of the list: a kind, a tab, a pattern.
fn entries() -> impl Iterator<Item = (Kind, &'static str)> {
    LIST.lines().filter_map(|line| {
        let (kind, pattern) = line.split_once('\t')?;
        Some((Kind::parse(kind)?, pattern))
    })
}

/// The text that a pattern stands for, if it stands for one alone: `Googlebot\/` is `Googlebot/`.
fn word(pattern: &str) -> Option<String> {
    let mut word = String::with_capacity(pattern.len());
    let mut signs = pattern.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '\\' => word.push(signs.next().filter(|escaped| !escaped.is_alphanumeric())?),
            '.' | '*' | '+' | '?' | '^' | '$' | '(' | ')' | '[' | ']' | '{' | '}' | '|' => return None,
            _ => word.push(sign),
        }
    }
    Some(word)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_line_of_the_list_is_read() {
        let agents = Agents::compile().unwrap();
        let lines = LIST.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(entries().count(), lines);
        let words = agents.words_kinds.len();
        assert_eq!(words + agents.patterns_kinds.len(), lines + GENERIC.len());
        assert!(words > 1_000 && agents.patterns_kinds.len() < 60, "{words} words");
    }

    #[test]
    fn a_pattern_that_is_one_text_is_taken_as_that() {
        assert_eq!(word(r"Googlebot\/").as_deref(), Some("Googlebot/"));
        assert_eq!(word(r"2ip\.ru").as_deref(), Some("2ip.ru"));
        for pattern in ["^curl", "[wW]get", r"v\d", "(a|b)", "a{2}", "a.b", "a\\"] {
            assert_eq!(word(pattern), None, "{pattern}");
        }
    }
}
