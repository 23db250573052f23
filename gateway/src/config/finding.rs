//! What is wrong with a manifest, and where.

use std::{fmt, sync::Arc};

use tagfleet_crds::validate;

/// A place in a file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Position {
    /// The first character of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// What an object is known by: its kind, namespace (`default` when the manifest names none) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// `TaggingContainer`, `Destination`, `Secret` or `ConfigMap`.
    pub kind: Arc<str>,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ObjectRef {
    /// The reference to the object of this kind, namespace and name.
    #[must_use]
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectRef {
    /// `Kind/name`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.kind, self.name)
    }
}

/// Whether a finding refuses the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The object is refused.
    Error,
    /// The object is accepted; `check --strict` refuses it.
    Warning,
}

impl From<validate::Severity> for Severity {
    fn from(severity: validate::Severity) -> Self {
        match severity {
            validate::Severity::Error => Self::Error,
            validate::Severity::Warning => Self::Warning,
        }
    }
}

/// One mistake. Shown as `file:line:column: Kind/name: field.path: message`, parts that are unknown left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, as the user named it; empty when the object comes from the API server.
    pub file: Arc<str>,
    /// Where in it; none when the file itself is at fault (it cannot be read), or there is none.
    pub at: Option<Position>,
    /// The object, once it is known.
    pub object: Option<ObjectRef>,
    /// The field's path from the object's root, as `spec.trigger.when`; empty for the object itself.
    pub field: String,
    /// What is wrong and, where that is known, how to mend it.
    pub message: String,
    /// Whether it refuses the object.
    pub severity: Severity,
    /// One word for programs ([`tagfleet_crds::conditions::reasons`]), where they must tell this mistake from others.
    pub reason: Option<&'static str>,
}

impl Finding {
    /// An error about a place in a file, outside of any object.
    #[must_use]
    pub fn in_file(file: &Arc<str>, at: Option<Position>, message: impl Into<String>) -> Self {
        Self {
            file: Arc::clone(file),
            at,
            object: None,
            field: String::new(),
            message: message.into(),
            severity: Severity::Error,
            reason: None,
        }
    }

    /// Whether this refuses its object.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// `file:line:column`, for logs that carry the rest as fields of their own; none of what comes from the API server.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        match self.at {
            _ if self.file.is_empty() => None,
            Some(at) => Some(format!("{}:{}:{}", self.file, at.line, at.column)),
            None => Some(self.file.to_string()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place() {
            write!(out, "{place}: ")?;
        }
        if self.severity == Severity::Warning {
            out.write_str("warning: ")?;
        }
        if let Some(object) = &self.object {
            write!(out, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(out, "{}: ", self.field)?;
        }
        out.write_str(&self.message)
    }
}

/// Puts findings in the order in which a reader meets them: by file, then by place.
pub fn sort(findings: &mut Vec<Finding>) {
    findings.sort_by(|a, b| (&a.file, a.at, a.severity, &a.field).cmp(&(&b.file, b.at, b.severity, &b.field)));
    findings.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_from_the_file_to_the_message() {
        let mut finding = Finding::in_file(
            &"shop.yaml".into(),
            Some(Position { line: 3, column: 7 }),
            "unknown field",
        );
        assert_eq!(finding.to_string(), "shop.yaml:3:7: unknown field");
        finding.object = Some(ObjectRef::new("Destination", "default", "orders"));
        finding.field = "spec.webhok".into();
        finding.severity = Severity::Warning;
        assert_eq!(
            finding.to_string(),
            "shop.yaml:3:7: warning: Destination/orders: spec.webhok: unknown field"
        );
    }
}
