//! SHA-256 as text. What visitors said of themselves is hashed by `destinations::identity`, which normalises it first.

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

/// SHA-256 as lower-case hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    let mut digits = [0; 2 * SHA256_OUTPUT_LEN];
    match hex::encode_to_slice(hash, &mut digits) {
        Ok(()) => String::from_utf8_lossy(&digits).into_owned(),
        // Never: it is as long as the hash asks for.
        Err(_) => hex::encode(hash),
    }
}
