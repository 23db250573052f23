//! What GA4 drops or cuts in silence (vendors/ga4-mp.md, Limits), mended here before it is sent. The names that it keeps for
//! itself are in `ingest::mp_names`, as the client judges by them too.

use std::borrow::Cow;

use crate::destinations::mapping::cut;

/// Events in one request.
pub(super) const MAX_EVENTS: usize = 25;
/// Bytes of one request's body.
pub(super) const MAX_BODY_BYTES: usize = 130_000;
/// Parameters of one event.
pub(super) const MAX_PARAMETERS: usize = 25;
/// User properties of one request.
pub(super) const MAX_USER_PROPERTIES: usize = 25;
/// Items of one event.
pub(super) const MAX_ITEMS: usize = 200;
/// Characters of a user property's name and value.
pub(super) const USER_PROPERTY_NAME: usize = 24;
/// See [`USER_PROPERTY_NAME`].
pub(super) const USER_PROPERTY_VALUE: usize = 36;
/// How far back an event may lie.
pub(super) const MAX_AGE_MS: i64 = 72 * 3_600 * 1_000;

const NAME: usize = 40;
const VALUE: usize = 100;

/// A name as GA4 takes it: letters, digits and underscores, a letter first, 40 characters.
pub(super) fn name(raw: &str) -> Cow<'_, str> {
    name_of(raw, NAME)
}

/// A user property's name as GA4 takes it.
pub(super) fn user_property_name(raw: &str) -> Cow<'_, str> {
    name_of(raw, USER_PROPERTY_NAME)
}

fn name_of(raw: &str, longest: usize) -> Cow<'_, str> {
    let fits = |text: &str| {
        text.chars().count() <= longest
            && text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    if fits(raw) {
        return Cow::Borrowed(raw);
    }
    let prefix = if raw.starts_with(|first: char| first.is_ascii_alphabetic()) {
        ""
    } else {
        "p_"
    };
    let letters = raw
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' });
    Cow::Owned(prefix.chars().chain(letters).take(longest).collect())
}

/// A parameter's value cut as GA4 cuts it; page fields have room of their own.
pub(super) fn value<'v>(parameter: &str, text: &'v str) -> &'v str {
    let longest = match parameter {
        "page_location" => 1_000,
        "page_referrer" => 420,
        "page_title" => 300,
        _ => VALUE,
    };
    cut(text, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_to_fit() {
        for (raw, fits) in [
            ("purchase", "purchase"),
            ("add to cart!", "add_to_cart_"),
            ("2nd_click", "p_2nd_click"),
            ("käufe", "k_ufe"),
            ("", "p_"),
        ] {
            assert_eq!(name(raw), fits);
        }
        assert_eq!(name(&"a".repeat(50)).len(), 40);
    }

    #[test]
    fn values_are_cut_by_characters() {
        assert_eq!(value("note", &"ü".repeat(120)).chars().count(), 100);
        assert_eq!(value("page_location", &"u".repeat(1_200)).len(), 1_000);
    }
}
