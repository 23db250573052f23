//! FPLC: the token by which a visitor stays the same one on the company's next site (vendors/ga4-collect.md section 5).
//! gtag's linker copies the cookie into links, and the next site's hits bring it as `_fplc`.
//!
//! The token is base64url of nonce, sealed text and tag: ChaCha20-Poly1305 (RFC 8439) under a key that HKDF-SHA256
//! (RFC 5869) makes of the shared secret. The sealed text is when the token ends, and the FPID.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
};

use super::fpid::{Fpid, ID_BYTES};
use crate::secret::{Secret, Secrets};

/// Keeps keys of this secret apart from those of any other use of it.
const LABEL: &[u8] = b"tagfleet FPLC 1";
/// End, time of the first visit, id.
const TEXT_BYTES: usize = 8 + 8 + ID_BYTES;
const TAG_BYTES: usize = 16;
/// Characters of a token.
const TOKEN_LENGTH: usize = (NONCE_LEN + TEXT_BYTES + TAG_BYTES).div_ceil(3) * 4;

/// The keys of `identity.linker`.
#[derive(Clone, Debug)]
pub struct LinkerKeys {
    /// The one that seals first; any of them opens.
    keys: Vec<LessSafeKey>,
}

impl LinkerKeys {
    /// From the secrets in force: the first seals.
    #[must_use]
    pub fn new(secrets: &Secrets) -> Self {
        Self {
            keys: secrets.iter().filter_map(key).collect(),
        }
    }

    /// A token for this visitor that ends at these unix seconds.
    pub(super) fn seal(&self, fpid: &Fpid, end: u64) -> Option<String> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let (id, seconds) = fpid.parts();
        let mut token = Vec::with_capacity(NONCE_LEN + TEXT_BYTES + TAG_BYTES);
        token.extend_from_slice(&nonce);
        token.extend_from_slice(&end.to_be_bytes());
        token.extend_from_slice(&seconds.to_be_bytes());
        token.extend_from_slice(id);
        let (_, text) = token.split_first_chunk_mut::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .keys
            .first()?
            .seal_in_place_separate_tag(nonce, Aad::empty(), text)
            .ok()?;
        token.extend_from_slice(tag.as_ref());
        Some(BASE64_URL_SAFE_NO_PAD.encode(token))
    }

    /// The visitor of a token; none if it was not sealed by one of these keys, or has ended.
    pub(super) fn open(&self, token: &str, now: u64) -> Option<Fpid> {
        if token.len() > TOKEN_LENGTH {
            return None;
        }
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        self.keys.iter().find_map(|key| {
            let mut text = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let text = key.open_in_place(nonce, Aad::empty(), &mut text).ok()?;
            let (end, text) = text.split_first_chunk()?;
            let (seconds, id) = text.split_first_chunk()?;
            let fpid = Fpid::new((&*id).try_into().ok()?, u64::from_be_bytes(*seconds));
            (now < u64::from_be_bytes(*end)).then_some(fpid)
        })
    }
}

/// HKDF's salt may be empty where the secret is random enough (RFC 5869 section 3.1).
fn key(secret: &Secret) -> Option<LessSafeKey> {
    let extracted = Salt::new(HKDF_SHA256, &[]).extract(secret.expose().as_bytes());
    let key = extracted.expand(&[LABEL], &CHACHA20_POLY1305).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(key)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_768_476_420;

    fn keys(secret: &str) -> LinkerKeys {
        LinkerKeys::new(&Secrets::new(Secret::new(secret)))
    }

    fn visitor() -> Fpid {
        Fpid::new([7; ID_BYTES], 1_730_448_757)
    }

    #[test]
    fn another_site_with_the_key_opens_the_token_until_it_ends() {
        let token = keys("a shared secret").seal(&visitor(), NOW + 72_000).unwrap();
        assert_eq!(token.len(), 102);
        let other_site = keys("a shared secret");
        assert_eq!(other_site.open(&token, NOW), Some(visitor()));
        assert_eq!(other_site.open(&token, NOW + 71_999), Some(visitor()));
        assert_eq!(other_site.open(&token, NOW + 72_000), None);
    }

    #[test]
    fn a_site_with_another_key_does_not() {
        let token = keys("a shared secret").seal(&visitor(), NOW + 72_000).unwrap();
        assert_eq!(keys("another secret").open(&token, NOW), None);
    }

    #[test]
    fn the_key_before_still_opens_while_it_rotates_and_the_new_one_seals() {
        let old = keys("old").seal(&visitor(), NOW + 1).unwrap();
        let rotating = LinkerKeys::new(&Secrets::new(Secret::new("new")).with_previous(Secret::new("old")));
        assert_eq!(rotating.open(&old, NOW), Some(visitor()));
        let new = rotating.seal(&visitor(), NOW + 1).unwrap();
        assert_eq!(keys("new").open(&new, NOW), Some(visitor()));
    }

    #[test]
    fn no_two_tokens_are_alike() {
        let keys = keys("a shared secret");
        assert_ne!(keys.seal(&visitor(), NOW), keys.seal(&visitor(), NOW));
    }

    proptest! {
        /// Whichever bit of a token is turned, it is none.
        #[test]
        fn a_token_that_was_tampered_with_is_none(at in 0_usize..608) {
            let keys = keys("a shared secret");
            let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(keys.seal(&visitor(), NOW + 1).unwrap()).unwrap();
            *bytes.get_mut(at / 8).unwrap() ^= 1 << (at % 8);
            prop_assert_eq!(keys.open(&BASE64_URL_SAFE_NO_PAD.encode(bytes), NOW), None);
        }

        #[test]
        fn any_token_is_survived(token in "[A-Za-z0-9_-]{0,120}|\\PC{0,20}") {
            prop_assert_eq!(keys("a shared secret").open(&token, NOW), None);
        }
    }
}
