//! Who gets what: which parameters of an event each destination may receive, in which form, and whether its `receives`
//! allows that. Pure, and shared by operator, gateway and `check`.
//!
//! The answer errs on the side of more: what may be sent under any event, consent and condition counts as sent.

mod classes;
mod contents;
mod leaks;
mod part;
mod reads;
mod record;

pub use self::{
    classes::{PERSONAL, classes, classes_of},
    leaks::{Leak, leaks},
    part::{Part, covers},
    record::{Row, Treatment, rows, transformations_for},
};
use self::{contents::Contents, reads::Reads};
use crate::{
    DestinationSpec, FieldPath, TaggingContainerSpec,
    destination::{Form, Sent, Vendor},
    validate::Scope,
};

/// A part of what the sender sent, on its way to a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Flow {
    /// What it is.
    part: Part,
    /// By which way it goes there, unless it is the usual one.
    through: Option<Through>,
}

/// By which way a part of an event leaves that the vendor's own mapping does not send as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Through {
    /// An expression of the destination at this field.
    Expression(FieldPath),
    /// A parameter that a transformation of the container sets.
    Augment {
        /// The transformation.
        transformation: String,
        /// The parameter.
        parameter: String,
    },
}

/// One destination of one container.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'p> {
    /// The container.
    pub container: &'p TaggingContainerSpec,
    /// What its expressions may read.
    pub scope: &'p Scope,
    /// The destination's name.
    pub name: &'p str,
    /// The destination.
    pub destination: &'p DestinationSpec,
    /// Its vendor.
    pub vendor: Vendor<'p>,
}

impl Pair<'_> {
    /// Everything that may go to the destination.
    fn flows(&self) -> Vec<Flow> {
        let reads = Reads::new(self.container, self.scope);
        let contents = Contents::of(self.container, self.name, &reads);
        let mut flows = Vec::new();
        for wanted in standard(self.vendor.sent()) {
            let sent = contents.parts.iter().filter_map(|part| part.intersect(&wanted));
            flows.extend(sent.map(|part| Flow { part, through: None }));
            for derived in contents.derived_in(&wanted) {
                let through = Through::Augment {
                    transformation: derived.by.clone(),
                    parameter: derived.path.clone(),
                };
                flows.extend(derived.carries.iter().map(|part| Flow {
                    part: part.clone(),
                    through: Some(through.clone()),
                }));
            }
        }
        for (path, source) in sending_expressions(self.vendor) {
            let read = reads.of_source(source, &contents).into_iter();
            flows.extend(read.map(|part| Flow {
                part,
                through: Some(Through::Expression(path.clone())),
            }));
        }
        flows
    }
}

/// What a vendor's own mapping sends, as parts of an event.
fn standard(sent: Sent) -> Vec<Part> {
    let listed = sent.listed().map(|(path, _)| Part::of(path));
    let others = sent.others.map(|except| Part {
        path: String::new(),
        without: except.iter().map(|path| (*path).to_owned()).collect(),
    });
    listed.chain(others).collect()
}

/// The form in which a vendor's own mapping sends a parameter; none when it does not.
fn form_of(sent: Sent, parameter: &str) -> Option<Form> {
    let listed = sent
        .listed()
        .filter(|(path, _)| covers(path, parameter))
        .max_by_key(|(path, _)| path.len());
    let others = || {
        let except = sent.others?;
        (!except.iter().any(|path| covers(path, parameter))).then_some(Form::AsItIs)
    };
    listed.map(|(_, form)| form).or_else(others)
}

/// The expressions of a vendor's block whose results are sent, with their places.
fn sending_expressions(vendor: Vendor<'_>) -> Vec<(FieldPath, &str)> {
    let at = FieldPath::spec().field(vendor.name());
    let parameters = vendor.common().parameters.iter();
    let mut found: Vec<(FieldPath, &str)> = parameters
        .map(|(name, source)| (at.fields(&["parameters", name]), source.as_str()))
        .collect();
    if let Vendor::PubSub(pub_sub) = vendor {
        let single = [
            ("topicExpression", &pub_sub.topic_expression),
            ("orderingKey", &pub_sub.ordering_key),
        ];
        for (field, source) in single {
            found.extend(source.iter().map(|source| (at.field(field), source.as_str())));
        }
        let attributes = pub_sub.attributes.iter();
        found.extend(attributes.map(|(name, source)| (at.fields(&["attributes", name]), source.as_str())));
    }
    found
}

#[cfg(test)]
mod tests;
