//! What the writer of a misspelt name most likely meant.

/// The known name that is nearest to `name`, if one is near enough to be meant.
pub(super) fn did_you_mean<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // An edit distance costs the product of the lengths; names of fields are short.
    if name.len() > 128 {
        return None;
    }
    let lower = name.to_lowercase();
    known
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_far_one_never() {
        let known = ["hostnames", "clients", "trigger", "webhook", "ga4"];
        let suggested = |name| did_you_mean(name, known.into_iter());
        assert_eq!(suggested("hostname"), Some("hostnames"));
        assert_eq!(suggested("webhok"), Some("webhook"));
        assert_eq!(suggested("Trigger"), Some("trigger"));
        assert_eq!(suggested("GA4"), Some("ga4"));
        assert_eq!(suggested("colour"), None);
    }
}
