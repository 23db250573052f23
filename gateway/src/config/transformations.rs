//! From the transformations of a container's spec to those that pipeline and delivery make.

use tagfleet_crds::tagging_container::{Transformation as Manifest, TransformationKind};
use tagfleet_expressions::{Environment, Expression};

use super::readable::Readable;
use crate::{
    hashing::sha256_hex,
    pipeline::transform::{Change, Parameters, Redaction, Transformation},
};

/// The digits of a definition's hash.
const DIGEST_DIGITS: usize = 12;

/// Those for all destinations, in their order.
#[must_use]
pub fn for_all(manifests: &[Manifest], readable: &Readable) -> Vec<Transformation> {
    let for_all = manifests.iter().filter(|manifest| manifest.destinations.is_none());
    compile_all(for_all, &readable.scope.request_environment())
}

/// Those for one destination, in their order.
#[must_use]
pub fn for_destination(manifests: &[Manifest], name: &str, readable: &Readable) -> Vec<Transformation> {
    let named = manifests
        .iter()
        .filter(|manifest| manifest.destinations.iter().flatten().any(|named| named == name));
    compile_all(named, &readable.scope.event_environment())
}

/// Those that validation lets pass.
pub(crate) fn compile_all<'m>(
    manifests: impl IntoIterator<Item = &'m Manifest>,
    environment: &Environment,
) -> Vec<Transformation> {
    let manifests = manifests.into_iter();
    manifests
        .filter_map(|manifest| compile(manifest, environment))
        .collect()
}

/// None for one that validation refuses. What protects is made all the same when its condition does not compile.
fn compile(manifest: &Manifest, environment: &Environment) -> Option<Transformation> {
    let parameters = |names: &[String]| Parameters::new(names.iter().map(String::as_str));
    let expression = |source: &String| Expression::compile(source, environment).ok();
    let when = manifest.when.as_ref().map(expression);
    let change = match manifest.kind()? {
        TransformationKind::Allow(names) => Change::Allow(parameters(names)),
        TransformationKind::Exclude(names) => Change::Exclude(parameters(names)),
        TransformationKind::Hash(names) => Change::Hash(parameters(names)),
        TransformationKind::Redact(redact) => Change::Redact(Box::new(Redaction::new(redact))),
        TransformationKind::Augment(_) if matches!(when, Some(None)) => return None,
        TransformationKind::Augment(expressions) => {
            let compiled = expressions
                .iter()
                .map(|(name, source)| Some((name.clone(), expression(source)?)));
            Change::Augment(compiled.collect::<Option<_>>()?)
        }
    };
    let definition = serde_json::to_vec(manifest).unwrap_or_default();
    let mut digest = sha256_hex(&definition);
    digest.truncate(DIGEST_DIGITS);
    Some(Transformation {
        name: manifest.name.as_str().into(),
        label: format!("transformations.{}", manifest.name).into(),
        when: when.flatten(),
        change,
        mark: format!("{}@{digest}", manifest.name).into(),
    })
}
