//! Every check of an object that a schema cannot make: expressions, references, addresses, hazards. Pure: the objects and
//! what they refer to come in, findings go out. Operator, gateway and `check` share it, so that there is one verdict.
//!
//! The objects have passed the schema and its rules in CEL. The rules that matter most are checked here again, since an
//! object may be older than the rule.

mod container;
mod data_flow;
mod destination;
mod enrich;
mod expressions;
mod identity;
mod network;
mod references;
mod transformations;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use kube::ResourceExt as _;

pub use self::expressions::Scope;
use crate::{Destination, FieldPath, TaggingContainer};

/// The namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A namespace and a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespacedName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl NamespacedName {
    /// The name in the namespace.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// What is known of a Secret: never its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretKeys {
    /// The keys of its data.
    pub keys: BTreeSet<String>,
    /// Whether it carries the label `tagfleet.dev/credentials: "true"`.
    pub is_shared: bool,
}

/// Where the objects come from, which decides how bad it is that something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Files that are checked: what they do not hold may be elsewhere, and is a warning.
    Check,
    /// Files that are served: what they do not hold does not exist.
    Files,
    /// A cluster: what it does not hold does not exist, and a Secret must carry the label that shares it.
    Cluster,
}

impl Setting {
    /// How bad it is that an object is nowhere.
    const fn absent(self) -> Severity {
        match self {
            Self::Check => Severity::Warning,
            Self::Files | Self::Cluster => Severity::Error,
        }
    }
}

/// The objects to be checked, and what they refer to.
#[derive(Clone, Debug)]
pub struct Objects<'o> {
    /// The containers.
    pub containers: Vec<&'o TaggingContainer>,
    /// The destinations.
    pub destinations: Vec<&'o Destination>,
    /// The Secrets that there are.
    pub secrets: BTreeMap<NamespacedName, SecretKeys>,
    /// The ConfigMaps that there are, each with its keys and texts.
    pub config_maps: BTreeMap<NamespacedName, BTreeMap<String, String>>,
    /// Where they come from.
    pub setting: Setting,
}

/// The kind of an object that a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A container.
    TaggingContainer,
    /// A destination.
    Destination,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TaggingContainer => "TaggingContainer",
            Self::Destination => "Destination",
        })
    }
}

/// The object that a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectId {
    fn of(kind: Kind, object: &impl kube::Resource) -> Self {
        Self {
            kind,
            namespace: namespace(object),
            name: object.name_any(),
        }
    }
}

impl fmt::Display for ObjectId {
    /// `Destination/orders`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

fn namespace(object: &impl kube::Resource) -> String {
    object
        .meta()
        .namespace
        .clone()
        .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
}

/// Whether a finding refuses its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The object is refused.
    Error,
    /// The object is accepted; `check --strict` refuses it.
    Warning,
}

/// One mistake. Shown as `Destination/orders: spec.trigger.when: ...`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The object.
    pub object: ObjectId,
    /// The field.
    pub path: FieldPath,
    /// Whether it refuses the object.
    pub severity: Severity,
    /// One word for programs: one of [`crate::conditions::reasons`].
    pub reason: &'static str,
    /// What is wrong and how to mend it. Holds no secret and no user data.
    pub message: String,
}

impl Finding {
    /// Whether it refuses its object.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        write!(f, "{}: ", self.object)?;
        if !self.path.segments().is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Checks all objects, and what they say of each other. The findings are in the order of the objects, of one object in the
/// order of its fields' names; none stands twice.
#[must_use]
pub fn validate(objects: &Objects<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut scopes = BTreeMap::new();
    for container in &objects.containers {
        let (scope, found) = validate_container(container, objects);
        findings.extend(found);
        scopes.insert(
            NamespacedName::new(&namespace(*container), &container.name_any()),
            scope,
        );
    }
    for destination in &objects.destinations {
        findings.extend(validate_destination(destination, objects, &scopes));
    }
    repeated_objects(objects, &mut findings);
    findings
}

/// Checks one container. Gives, too, what the expressions of its destinations may read, for [`validate_destination`].
#[must_use]
pub fn validate_container(container: &TaggingContainer, objects: &Objects<'_>) -> (Scope, Vec<Finding>) {
    container::validate(container, objects)
}

/// Checks one destination, given the scopes of the containers that there are.
#[must_use]
pub fn validate_destination(
    destination: &Destination,
    objects: &Objects<'_>,
    scopes: &BTreeMap<NamespacedName, Scope>,
) -> Vec<Finding> {
    destination::validate(destination, objects, scopes)
}

/// Two objects of one kind and name: the second is refused.
fn repeated_objects(objects: &Objects<'_>, findings: &mut Vec<Finding>) {
    let containers = objects
        .containers
        .iter()
        .map(|object| ObjectId::of(Kind::TaggingContainer, *object));
    let destinations = objects
        .destinations
        .iter()
        .map(|object| ObjectId::of(Kind::Destination, *object));
    let mut seen = BTreeSet::new();
    for object in containers.chain(destinations) {
        if !seen.insert(object.clone()) {
            let message = format!(
                "there is another {} of this name in namespace {}",
                object.kind, object.namespace
            );
            findings.push(Finding {
                path: FieldPath::root().fields(&["metadata", "name"]),
                severity: Severity::Error,
                reason: crate::conditions::reasons::DUPLICATE,
                message,
                object,
            });
        }
    }
}

/// The findings about one object.
struct Report {
    object: ObjectId,
    findings: Vec<Finding>,
}

impl Report {
    fn new(kind: Kind, object: &impl kube::Resource) -> Self {
        Self {
            object: ObjectId::of(kind, object),
            findings: Vec::new(),
        }
    }

    fn error(&mut self, path: FieldPath, reason: &'static str, message: impl Into<String>) {
        self.add(Severity::Error, path, reason, message.into());
    }

    fn warning(&mut self, path: FieldPath, reason: &'static str, message: impl Into<String>) {
        self.add(Severity::Warning, path, reason, message.into());
    }

    fn add(&mut self, severity: Severity, path: FieldPath, reason: &'static str, message: String) {
        self.findings.push(Finding {
            object: self.object.clone(),
            path,
            severity,
            reason,
            message,
        });
    }

    /// Names that stand more than once in a list: the second and later ones are refused.
    fn repeated<'n>(&mut self, list: &FieldPath, names: impl Iterator<Item = &'n str>) {
        let mut seen = BTreeSet::new();
        for (index, name) in names.enumerate() {
            if !seen.insert(name) {
                let path = list.index(index).field("name");
                self.error(
                    path,
                    crate::conditions::reasons::DUPLICATE,
                    format!("the name {name} is there already"),
                );
            }
        }
    }

    /// In the order of the paths, each once.
    fn into_findings(mut self) -> Vec<Finding> {
        self.findings
            .sort_by(|a, b| (&a.path, a.severity, &a.message).cmp(&(&b.path, b.severity, &b.message)));
        self.findings.dedup();
        self.findings
    }
}
