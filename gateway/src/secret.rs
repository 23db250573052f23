//! Secrets: text that is compared and sent, and never shown.

use std::fmt;

use subtle::ConstantTimeEq;

/// A secret's bytes. `Debug` shows none of them, comparison takes the same time wherever two values differ.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// A secret from what a Secret's key holds.
    #[must_use]
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self(value.into().into_boxed_slice())
    }

    /// Whether `given` is this secret. An empty secret matches nothing: a key that was emptied opens no door.
    #[must_use]
    pub fn matches(&self, given: &[u8]) -> bool {
        !self.0.is_empty() && bool::from(self.0.ct_eq(given))
    }

    /// The bytes, to sign or to send with.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(redacted)")
    }
}

/// What a sender may present: the secret in force and, while it rotates, the one before.
#[derive(Clone, Debug)]
pub struct Secrets {
    current: Secret,
    previous: Option<Secret>,
}

impl Secrets {
    /// Only this secret is accepted.
    #[must_use]
    pub const fn new(current: Secret) -> Self {
        Self {
            current,
            previous: None,
        }
    }

    /// The secret before is accepted too.
    #[must_use]
    pub fn with_previous(mut self, previous: Secret) -> Self {
        self.previous = Some(previous);
        self
    }

    /// Whether `given` is one of them.
    #[must_use]
    pub fn matches(&self, given: &[u8]) -> bool {
        self.iter().any(|secret| secret.matches(given))
    }

    /// All of them, the one in force first.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_only_itself() {
        let secret = Secret::new("mp-secret");
        assert!(secret.matches(b"mp-secret"));
        for wrong in ["", "mp-secre", "mp-secret ", "MP-SECRET"] {
            assert!(!secret.matches(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn an_empty_secret_matches_nothing() {
        assert!(!Secret::new("").matches(b""));
    }

    #[test]
    fn both_values_are_accepted_while_a_secret_rotates() {
        let secrets = Secrets::new(Secret::new("new")).with_previous(Secret::new("old"));
        assert!(secrets.matches(b"new") && secrets.matches(b"old"));
        assert!(!secrets.matches(b"older"));
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        let secrets = Secrets::new(Secret::new("hunter2")).with_previous(Secret::new("hunter1"));
        assert!(!format!("{secrets:?}").contains("hunter"));
    }
}
