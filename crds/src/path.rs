//! The path of a field in an object.

use std::fmt;

/// A step from an object to a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// A field, or a key of a map.
    Field(String),
    /// An element of a list.
    Index(usize),
}

/// The path of a field, shown as `spec.variables[0].expression`. A name that holds a dot, a slash or a bracket is shown in
/// brackets: `spec.webhook.headers["x.y"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Segment>);

impl FieldPath {
    /// The object itself.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// The field `spec`.
    #[must_use]
    pub fn spec() -> Self {
        Self::root().field("spec")
    }

    /// A field of what stands here.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        self.with(Segment::Field(name.to_owned()))
    }

    /// A field some levels below what stands here.
    #[must_use]
    pub fn fields(&self, names: &[&str]) -> Self {
        names.iter().fold(self.clone(), |path, name| path.field(name))
    }

    /// An element of the list that stands here.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// A step further from what stands here.
    #[must_use]
    pub fn join(&self, segment: &Segment) -> Self {
        self.with(segment.clone())
    }

    /// The steps from the object to the field.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Field(name) if name.contains(['.', '[', ']', '/']) => write!(f, "[\"{name}\"]")?,
                Segment::Field(name) if depth == 0 => f.write_str(name)?,
                Segment::Field(name) => write!(f, ".{name}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_kubectl_writes_it() {
        let spec = FieldPath::spec();
        assert_eq!(
            spec.field("variables").index(0).field("expression").to_string(),
            "spec.variables[0].expression"
        );
        assert_eq!(
            spec.fields(&["webhook", "headers", "x.y"]).to_string(),
            "spec.webhook.headers[\"x.y\"]"
        );
        assert_eq!(FieldPath::root().to_string(), "");
    }
}
