//! The configuration of a simulation: the same as `serve` has, but for Secrets that are elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use super::hide::{Hidden, stand_in};
use crate::{
    config::{
        files::Sources,
        finding::Finding,
        live::Config,
        objects::{self, Body, Object, SECRET},
        secrets::Data,
        tree::Node,
    },
    log::DestinationId,
    pipeline::geo::{GeoSource, Origin},
    plan::Plan,
    secret::Secret,
};

/// Name and key of a Secret.
type Reference = (String, String);

/// The plan of a container, and the secrets in it.
///
/// # Errors
/// All findings, of which at least one is an error.
pub(super) fn load(
    paths: Vec<PathBuf>,
    secrets_dir: Option<PathBuf>,
    container: Option<&str>,
) -> Result<(Plan, Hidden), Vec<Finding>> {
    let sources = Sources { paths, secrets_dir };
    let mut snapshot = sources.read();
    let objects: Vec<Object> = snapshot
        .files
        .iter()
        .flat_map(|(file, bytes)| objects::read(file, bytes).objects)
        .collect();
    let mut secrets = known(&objects, &snapshot.secrets);
    for ((name, key), wants_google_key) in wanted(&objects) {
        secrets.entry((name.clone(), key.clone())).or_insert_with(|| {
            let value = Secret::new(stand_in(&name, &key, wants_google_key));
            snapshot.secrets.entry(name).or_default().insert(key, value.clone());
            value
        });
    }
    let hidden = Hidden::new(
        secrets
            .into_iter()
            .map(|((name, key), value)| (format!("{name}/{key}"), value)),
    );
    let config = Config::of(snapshot, &sources, container)?;
    let mut numbers = 0..=u16::MAX;
    let plan = config.plan(&mut |_| Ok(DestinationId(numbers.next().unwrap_or_default())));
    let plan = plan.map_err(|error| vec![Finding::in_file(&"".into(), None, error.to_string())])?;
    load_places(&plan);
    Ok((plan, hidden))
}

/// Reads the file of `enrich.geo`, as `serve` does; nothing is fetched. Without it nobody is located, as there.
fn load_places(plan: &Plan) {
    let Some(GeoSource::Database(database)) = plan.policies.geo.as_deref() else {
        return;
    };
    let Origin::File(path) = database.origin() else { return };
    let read = fs::read(path).map_err(|error| error.to_string());
    let taken = read.and_then(|bytes| database.replace(bytes.into()).map_err(|error| error.to_string()));
    if let Err(error) = taken {
        tracing::warn!(file = %path.display(), "enrich.geo: no visitor is located: {error}");
    }
}

/// The Secrets that are there: those of the folder win, as they do for `serve`.
fn known(objects: &[Object], folder: &BTreeMap<String, Data>) -> BTreeMap<Reference, Secret> {
    let of_manifests = objects.iter().filter_map(|object| match &object.body {
        Body::Data(data) if &*object.reference.kind == SECRET => Some((&*object.reference.name, data)),
        _ => None,
    });
    let of_folder = folder.iter().map(|(name, data)| (name.as_str(), data));
    let all = of_manifests.chain(of_folder).flat_map(|(name, data)| {
        let keys = data.texts();
        keys.map(move |(key, text)| ((name.to_owned(), key.to_owned()), Secret::new(text)))
    });
    all.collect()
}

/// The Secrets that manifests refer to, and whether each is to be the key of a Google service account.
fn wanted(objects: &[Object]) -> BTreeSet<(Reference, bool)> {
    let mut found = BTreeSet::new();
    for tree in objects.iter().filter_map(Object::tree) {
        walk(tree, "", &mut found);
    }
    found
}

fn walk(node: &Node, name: &str, found: &mut BTreeSet<(Reference, bool)>) {
    if let Some(reference) = node.get("secretKeyRef") {
        let member = |name: &str| reference.get(name).and_then(Node::as_text).map(str::to_owned);
        if let (Some(secret), Some(key)) = (member("name"), member("key")) {
            found.insert(((secret, key), name == "credentials"));
        }
    }
    for field in node.fields() {
        walk(&field.node, &field.name, found);
    }
    for element in node.elements() {
        walk(element, name, found);
    }
}
