//! SHA-256 as text. What visitors said of themselves is hashed by `destinations::identity`, which normalises it first.

use sha2::{Digest, Sha256};

/// SHA-256 as lower-case hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
