//! Names as manifests list them: whole ones, and beginnings with a `*` behind them.

/// A list of names; a `*` at the end of one stands for any rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamePatterns {
    whole: Vec<Box<str>>,
    beginnings: Vec<Box<str>>,
}

impl NamePatterns {
    /// No name.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            whole: Vec::new(),
            beginnings: Vec::new(),
        }
    }

    /// These names.
    #[must_use]
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        let mut known = Self::none();
        for name in names {
            match name.as_ref().strip_suffix('*') {
                Some(beginning) => known.beginnings.push(beginning.into()),
                None => known.whole.push(name.as_ref().into()),
            }
        }
        known
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.beginnings.is_empty()
    }

    /// Whether a name is among them.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.whole.iter().any(|known| **known == *name)
            || self.beginnings.iter().any(|beginning| name.starts_with(&**beginning))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_rest() {
        let names = NamePatterns::new(["_ga", "shop_*"]);
        for (name, is_listed) in [
            ("_ga", true),
            ("_gac", false),
            ("shop_", true),
            ("shop_a", true),
            ("shop", false),
            ("", false),
        ] {
            assert_eq!(names.matches(name), is_listed, "{name}");
        }
        assert!(NamePatterns::none().is_empty() && !names.is_empty());
    }
}
