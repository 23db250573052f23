//! What tells one event from another: a keyed hash of `event_name`, `event_id` and `client_id`.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::event::{Event, field};

/// The fields that make two events the same, in the order in which they are hashed.
const FIELDS: [&str; 3] = [field::EVENT_NAME, field::EVENT_ID, field::CLIENT_ID];

/// Stands for the length of a field that is not there. No text is as long.
const ABSENT: u64 = u64::MAX;

/// An event's 128 bits. Two different events have the same with a probability of 2^-128; the sender cannot look for such a
/// pair, as the hash is keyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    high: u64,
    low: u64,
}

impl Key {
    /// Bytes of a key.
    pub const LENGTH: usize = 16;

    /// As a file keeps it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        ((u128::from(self.high) << 64) | u128::from(self.low)).to_le_bytes()
    }

    /// From a file.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        let bits = u128::from_le_bytes(bytes);
        Self {
            high: (bits >> 64) as u64,
            low: bits as u64,
        }
    }

    /// The bits by which tables find it.
    pub(super) const fn bits(self) -> u64 {
        self.low
    }

    /// The bits by which it has its shard, others than those of the tables.
    pub(super) const fn shard_bits(self) -> u64 {
        self.high
    }
}

/// Makes keys: SipHash-1-3 with 128 bits, as Rust's own tables use it, under a random secret. No sender ever sees a key.
#[derive(Clone, Copy)]
pub struct KeyMaker {
    secret: [u8; Self::SECRET_LENGTH],
}

impl KeyMaker {
    /// Bytes of a secret.
    pub const SECRET_LENGTH: usize = 16;

    /// With a new secret.
    #[must_use]
    pub fn random() -> Self {
        Self { secret: rand::random() }
    }

    /// With the secret of earlier keys, so that they are made again.
    #[must_use]
    pub const fn with_secret(secret: [u8; Self::SECRET_LENGTH]) -> Self {
        Self { secret }
    }

    /// The secret, for the file that its keys are kept in.
    #[must_use]
    pub const fn secret(&self) -> [u8; Self::SECRET_LENGTH] {
        self.secret
    }

    /// The key of an event. Lengths are hashed along, so that `("a", "bc")` differs from `("ab", "c")`, and a `client_id`
    /// that is not there from an empty one.
    #[must_use]
    pub fn key(&self, event: &Event<'_>) -> Key {
        let mut hasher = SipHasher13::new_with_key(&self.secret);
        for name in FIELDS {
            match event.text(name) {
                Some(text) => {
                    hasher.write(&(text.len() as u64).to_le_bytes());
                    hasher.write(text.as_bytes());
                }
                None => hasher.write(&ABSENT.to_le_bytes()),
            }
        }
        let hash = hasher.finish128();
        Key {
            high: hash.h1,
            low: hash.h2,
        }
    }
}

impl std::fmt::Debug for KeyMaker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("KeyMaker(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &'static str, id: &'static str, client: Option<&'static str>) -> Event<'static> {
        let mut event = Event::new();
        event.set(field::EVENT_NAME, name);
        event.set(field::EVENT_ID, id);
        if let Some(client) = client {
            event.set(field::CLIENT_ID, client);
        }
        event
    }

    #[test]
    fn events_are_the_same_by_name_id_and_client_alone() {
        let maker = KeyMaker::with_secret([7; 16]);
        let purchase = event("purchase", "e1", Some("1.2"));
        let mut richer = purchase.clone();
        richer.set("value", 7_i64);
        assert_eq!(maker.key(&purchase), maker.key(&richer));
        for other in [
            event("refund", "e1", Some("1.2")),
            event("purchase", "e2", Some("1.2")),
            event("purchase", "e1", Some("1.3")),
            event("purchase", "e1", Some("")),
            event("purchase", "e1", None),
            event("purchasee", "1", Some("1.2")),
            event("purchase", "e11", Some(".2")),
        ] {
            assert_ne!(maker.key(&purchase), maker.key(&other), "{other:?}");
        }
        assert_ne!(
            maker.key(&event("purchase", "e1", Some(""))),
            maker.key(&event("purchase", "e1", None))
        );
    }

    #[test]
    fn another_secret_makes_other_keys_and_a_file_gives_back_the_same() {
        let purchase = event("purchase", "e1", Some("1.2"));
        let key = KeyMaker::with_secret([7; 16]).key(&purchase);
        assert_ne!(key, KeyMaker::with_secret([8; 16]).key(&purchase));
        assert_ne!(key, KeyMaker::random().key(&purchase));
        assert_eq!(Key::from_bytes(key.to_bytes()), key);
    }
}
