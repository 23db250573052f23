//! "Did you mean": the known name that a misspelt one is nearest to.

/// The most letters that may differ for a name to be suggested.
const MAX_DISTANCE: usize = 2;

/// `", did you mean ``x```" for the nearest of `known`, or nothing if none is near.
pub(crate) fn did_you_mean<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    let nearest = known
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= MAX_DISTANCE && *distance < candidate.len());
    nearest.map_or_else(String::new, |(_, candidate)| format!(", did you mean `{candidate}`?"))
}

/// The letters to insert, remove or replace to turn one name into the other (Levenshtein), regardless of case. More than
/// [`MAX_DISTANCE`] for names of very different length.
fn distance(one: &str, other: &str) -> usize {
    if one.len().abs_diff(other.len()) > MAX_DISTANCE {
        return usize::MAX;
    }
    let mut previous: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.bytes().enumerate() {
        let mut diagonal = row;
        let mut left = row + 1;
        let mut current = vec![left];
        for (above, candidate) in previous.iter().skip(1).zip(other.bytes()) {
            let replaced = diagonal + usize::from(!letter.eq_ignore_ascii_case(&candidate));
            left = replaced.min(above + 1).min(left + 1);
            current.push(left);
            diagonal = *above;
        }
        previous = current;
    }
    previous.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested() {
        for (name, expected) in [
            ("evnt", ", did you mean `event`?"),
            ("Event", ", did you mean `event`?"),
            ("cnosent", ", did you mean `consent`?"),
            ("var", ", did you mean `vars`?"),
            ("shop", ""),
            ("", ""),
        ] {
            assert_eq!(did_you_mean(name, ["event", "consent", "vars"]), expected, "{name}");
        }
    }
}
