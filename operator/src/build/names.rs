//! The names of children.
//!
//! A container's name may have 63 characters, and so may the name of a Service (RFC 1035, 2.3.4). Where a suffix makes a
//! name too long, its beginning is kept, and a hash of the whole keeps it apart from others with the same beginning.

use sha2::{Digest, Sha256};

/// The most characters of a child's name: those of a DNS label, which a Service's name is.
const MOST: usize = 63;
/// The most characters of a StatefulSet's name. Its pods carry the label `controller-revision-hash`, which is that name, a
/// dash, and a hash of ten characters, and a label's value has at most 63.
const MOST_OF_STATEFUL_SET: usize = 52;
/// The most characters of a key of a ConfigMap or Secret.
const MOST_OF_KEY: usize = 253;
/// How many hexadecimal digits of the hash are kept.
const HASH_DIGITS: usize = 8;

/// `<name>-gateway`: the Deployment, and most of what belongs to it.
#[must_use]
pub fn gateway(container: &str) -> String {
    fit(container, "-gateway", MOST)
}

/// `<name>-gateway` within the bounds of a StatefulSet's name.
#[must_use]
pub fn stateful_set(container: &str) -> String {
    fit(container, "-gateway", MOST_OF_STATEFUL_SET)
}

/// `<name>-gateway-peers`: the headless Service.
#[must_use]
pub fn peers(container: &str) -> String {
    fit(container, "-gateway-peers", MOST)
}

/// `<name>-gateway-tls`: the Secret of an issuer's certificate where the container names none.
#[must_use]
pub fn tls(container: &str) -> String {
    fit(container, "-gateway-tls", MOST)
}

/// `<name>-config`: the ConfigMap of the configuration in force.
#[must_use]
pub fn config(container: &str) -> String {
    fit(container, "-config", MOST)
}

/// `<name>-credentials`: the Secret of the referenced keys.
#[must_use]
pub fn credentials(container: &str) -> String {
    fit(container, "-credentials", MOST)
}

/// The key of [`config()`] that holds an object's manifest: `<prefix><object>.yaml`.
pub(super) fn manifest(prefix: &str, object: &str) -> String {
    format!(
        "{prefix}{}",
        fit(object, ".yaml", MOST_OF_KEY.saturating_sub(prefix.len()))
    )
}

/// Base and suffix if they have at most `most` characters together; else as much of the base as fits, and a hash of it.
/// Bases are ASCII, as names of objects are.
fn fit(base: &str, suffix: &str, most: usize) -> String {
    if base.len() + suffix.len() <= most {
        return format!("{base}{suffix}");
    }
    let kept = most.saturating_sub(suffix.len() + HASH_DIGITS + 1);
    let beginning: String = base.chars().take(kept).collect();
    let beginning = beginning.trim_end_matches(['-', '.']);
    let hash: String = Sha256::digest(base)
        .iter()
        .take(HASH_DIGITS / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{beginning}-{hash}{suffix}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_name_that_fits_stays_as_the_contract_has_it() {
        assert_eq!(gateway("shop"), "shop-gateway");
        assert_eq!(stateful_set("shop"), "shop-gateway");
        assert_eq!(peers("shop"), "shop-gateway-peers");
        assert_eq!(config("shop"), "shop-config");
        assert_eq!(credentials("shop"), "shop-credentials");
    }

    #[test]
    fn a_name_is_kept_up_to_the_last_character_that_fits() {
        let longest = "a".repeat(MOST - "-gateway".len());
        assert_eq!(gateway(&longest), format!("{longest}-gateway"));
        let longer = format!("{longest}a");
        assert_eq!(gateway(&longer).len(), MOST);
        assert!(!gateway(&longer).starts_with(&longest));
    }

    #[test]
    fn no_name_of_a_child_is_too_long() {
        let name = "a".repeat(63);
        for (child, most) in [
            (gateway(&name), 63),
            (stateful_set(&name), 52),
            (peers(&name), 63),
            (tls(&name), 63),
            (config(&name), 63),
            (credentials(&name), 63),
            (manifest("config-map-", &"a".repeat(253)), 253),
        ] {
            assert_eq!(child.len(), most, "{child}");
        }
    }

    #[test]
    fn names_with_the_same_beginning_stay_apart() {
        let beginning = "a".repeat(62);
        assert_ne!(gateway(&format!("{beginning}b")), gateway(&format!("{beginning}c")));
    }

    #[test]
    fn a_shortened_name_has_no_two_dashes_before_the_hash() {
        let name = format!("{}-----------------------------z", "a".repeat(34));
        let shortened = stateful_set(&name);
        assert!(!shortened.contains("--"), "{shortened}");
    }
}
