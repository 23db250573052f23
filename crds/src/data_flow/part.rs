//! Parts of an event: a parameter with all below it, less some of what is below.

/// Whether the parameter `outer` is `inner`, or stands above it: `user_data` covers `user_data.email_address`. The empty
/// path is the whole event, and a `*` at the end stands for any rest of a name.
#[must_use]
pub fn covers(outer: &str, inner: &str) -> bool {
    if let Some(start) = outer.strip_suffix('*') {
        return inner.starts_with(start);
    }
    match inner.strip_prefix(outer) {
        Some(rest) => outer.is_empty() || rest.is_empty() || rest.starts_with('.'),
        None => false,
    }
}

/// A parameter with all below it, but for what is taken out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The parameter, with dots for nested ones; empty for the whole event.
    pub path: String,
    /// What below it is not in it.
    pub without: Vec<String>,
}

impl Part {
    /// A parameter with all below it.
    #[must_use]
    pub fn of(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            without: Vec::new(),
        }
    }

    /// What of this part is in the parameter `path`; none when nothing is.
    #[must_use]
    pub fn meet(&self, path: &str) -> Option<Self> {
        if covers(path, &self.path) {
            return Some(self.clone());
        }
        let inside = covers(&self.path, path) && !self.without.iter().any(|gone| covers(gone, path));
        inside.then(|| Self {
            path: path.to_owned(),
            without: self.without.iter().filter(|gone| covers(path, gone)).cloned().collect(),
        })
    }

    /// What is in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        other
            .without
            .iter()
            .try_fold(self.meet(&other.path)?, |part, gone| part.minus(gone))
    }

    /// This part without the parameter `path`; none when nothing is left.
    #[must_use]
    pub fn minus(mut self, path: &str) -> Option<Self> {
        if covers(path, &self.path) {
            return None;
        }
        if covers(&self.path, path) {
            self.without.push(path.to_owned());
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_parameter_covers_itself_and_what_is_below_it() {
        for (outer, inner, expected) in [
            ("", "anything", true),
            ("user_data", "user_data", true),
            ("user_data", "user_data.email_address", true),
            ("user_data.email_address", "user_data", false),
            ("user", "user_data", false),
            ("x-ga-*", "x-ga-gcs", true),
            ("cookies", "cookies._gac_*", true),
        ] {
            assert_eq!(covers(outer, inner), expected, "{outer} {inner}");
        }
    }

    #[test]
    fn what_is_taken_out_is_in_no_meeting() {
        let rest = Part::of("")
            .minus("user_data.email_address")
            .unwrap()
            .minus("cookies")
            .unwrap();
        assert_eq!(rest.meet("cookies._fbp"), None);
        assert_eq!(rest.meet("user_data.email_address"), None);
        assert_eq!(rest.meet("user_data").unwrap().without, ["user_data.email_address"]);
        assert_eq!(rest.meet("value"), Some(Part::of("value")));
    }

    #[test]
    fn the_intersection_is_the_narrower_of_the_two() {
        let all_but = Part::of("").minus("user_data.phone_number").unwrap();
        assert_eq!(
            Part::of("user_data").intersect(&all_but).unwrap().without,
            ["user_data.phone_number"]
        );
        assert_eq!(Part::of("user_data.phone_number").intersect(&all_but), None);
        assert_eq!(Part::of("value").intersect(&Part::of("items")), None);
    }
}
