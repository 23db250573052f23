//! A value that must never be printed.

use std::fmt;

use subtle::ConstantTimeEq;

/// A credential. Neither `Debug` nor any error shows it; [`Secret::expose`] is the one way to read it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Keeps `value`.
    #[must_use]
    pub fn new(value: impl Into<Box<str>>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that sends or signs with it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Secret {
    /// Whether a sender gave this secret, in a time that does not tell where the two differ. An empty secret matches
    /// nothing: a key that was emptied opens no door.
    #[must_use]
    pub fn matches(&self, given: &[u8]) -> bool {
        !self.0.is_empty() && bool::from(self.0.as_bytes().ct_eq(given))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
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
    fn debug_does_not_show_the_value() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "[secret]");
    }

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
        assert!(!format!("{secrets:?}").contains("old"));
    }
}
