//! From what is in force to the plan that ingest, pipeline and delivery run by.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tagfleet_expressions::Expression;

use super::{
    container::ContainerForm,
    destination::DestinationForm,
    readable::{self, NamedExpression, Tables},
    transformations,
};
use crate::{
    hashing::sha256_hex,
    log::{DestinationId, LogError},
    pipeline::{
        lookup::LookupTables,
        sampling::Sample,
        transform::{self, Touched, Transformation, View},
    },
    plan::{ObjectInForce, Plan, PlannedDestination, Trigger, Variable},
};

/// The digits of a configuration's version.
const VERSION_DIGITS: usize = 12;

/// The plan of a container with its destinations. `objects` are they as they were written, `register` gives the number of a destination in the log.
///
/// # Errors
/// When a destination cannot be registered.
pub fn plan(
    name: &Arc<str>,
    container: &ContainerForm,
    destinations: &[&DestinationForm],
    objects: Vec<ObjectInForce>,
    register: &mut dyn FnMut(&str) -> Result<DestinationId, LogError>,
) -> Result<Plan, LogError> {
    let views = transformations_of_views(container, destinations);
    let variables = variables(container, destinations, &views);
    let mut views: BTreeMap<String, View> = views
        .into_iter()
        .map(|(name, transformations)| (name, view(container, transformations, &variables)))
        .collect();
    let mut planned = Vec::with_capacity(destinations.len());
    for destination in destinations {
        let (id, view) = (register(&destination.name)?, views.remove(&*destination.name));
        planned.push(Arc::new(planned_destination(destination, id, view.unwrap_or_default())));
    }
    Ok(Plan {
        version: version(container, destinations),
        objects,
        container: Arc::clone(name),
        clients: container.clients.clone(),
        trusted_proxies: container.trusted_proxies.clone(),
        cors: container.cors.clone(),
        request_bytes: container.request_bytes(),
        policies: Arc::clone(&container.policies),
        // Its secret is kept beside the log, so that who opened that fills it in.
        duplicate_keys: None,
        variables,
        lookup_tables: lookup_tables(container, destinations),
        destinations: planned,
        absent_views: views,
    })
}

/// What each destination's view is made by, with or without such a destination: those that the container in force asks for,
/// whichever form of the destination is in force.
fn transformations_of_views(
    container: &ContainerForm,
    destinations: &[&DestinationForm],
) -> BTreeMap<String, Vec<Transformation>> {
    let manifests = &container.spec.transformations;
    let named = manifests
        .iter()
        .flat_map(|manifest| manifest.destinations.iter().flatten());
    let known = destinations.iter().map(|form| &*form.name);
    let names: BTreeSet<&str> = named.map(String::as_str).chain(known).collect();
    let of = |name: &str| transformations::for_destination(manifests, name, &container.readable);
    names.into_iter().map(|name| (name.to_owned(), of(name))).collect()
}

fn view(container: &ContainerForm, transformations: Vec<Transformation>, variables: &[Variable]) -> View {
    let expressions = transformations.iter().flat_map(Transformation::expressions);
    let tables = container.readable.tables_of(expressions);
    let digests: String = tables.values().map(|table| table.digest.as_str()).collect();
    let lookup_tables = Arc::clone(&container.readable.lookup_tables);
    View::new(transformations, variables, lookup_tables, digests.as_bytes())
}

fn planned_destination(form: &DestinationForm, id: DestinationId, view: View) -> PlannedDestination {
    let events = form.spec.trigger.iter().flat_map(|trigger| &trigger.events);
    PlannedDestination {
        name: Arc::clone(&form.name),
        id,
        trigger: Trigger {
            events: events.map(|name| name.as_str().into()).collect(),
            when: form.when.clone(),
        },
        requires: form.spec.effective_consent(),
        anonymize: form.spec.anonymizes(),
        sample: Sample::of_percent(form.spec.effective_sample_percent()),
        delivery: form.delivery.clone(),
        vendor: Arc::clone(&form.vendor),
        tokens: form.tokens.clone(),
        paused: form.spec.paused,
        awaits_credentials: form.awaits_credentials,
        fingerprint: format!("{}{}", form.fingerprint, view.fingerprint()),
        view,
    }
}

/// The container's variables, and behind them those that it no longer has and that a destination at its last good form
/// still reads.
fn variables(
    container: &ContainerForm,
    destinations: &[&DestinationForm],
    views: &BTreeMap<String, Vec<Transformation>>,
) -> Vec<Variable> {
    let of_views = views.values().flatten().flat_map(Transformation::expressions);
    let of_destinations = destinations.iter().flat_map(|form| &form.stored);
    let stored: BTreeSet<&str> = of_views
        .flat_map(Expression::variables_read)
        .chain(of_destinations.map(String::as_str))
        .collect();
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let of_destinations = destinations.iter().flat_map(|form| &form.variables);
    let all = container.readable.variables.iter().chain(of_destinations);
    let mut variables: Vec<Variable> = all
        .filter(|variable| names.insert(&variable.name))
        .map(|NamedExpression { name, expression }| Variable {
            name: Arc::clone(name),
            expression: expression.clone(),
            stored: stored.contains(&**name),
            withheld: false,
        })
        .collect();
    let touched = Touched::by(&container.policies.transformations);
    let withheld = transform::reaching(&variables, |expression| touched.reaches_by_request(expression));
    for variable in &mut variables {
        variable.withheld = withheld.contains(&variable.name);
    }
    variables
}

/// The container's tables, and those that it no longer has and that a destination at its last good form still reads.
fn lookup_tables(container: &ContainerForm, destinations: &[&DestinationForm]) -> Arc<LookupTables> {
    let own = &container.readable.tables;
    let of_destinations = destinations.iter().flat_map(|form| &form.tables);
    let gone: Tables = of_destinations
        .filter(|(name, _)| !own.contains_key(*name))
        .map(|(name, table)| (name.clone(), Arc::clone(table)))
        .collect();
    if gone.is_empty() {
        return Arc::clone(&container.readable.lookup_tables);
    }
    let all = own.iter().map(|(name, table)| (name.clone(), Arc::clone(table)));
    Arc::new(readable::lookup_tables(&all.chain(gone).collect()))
}

/// The hash of everything that was applied but the Secrets, in any order of files the same.
fn version(container: &ContainerForm, destinations: &[&DestinationForm]) -> String {
    let tables = &container.readable.tables;
    let tables: BTreeMap<_, _> = tables.iter().map(|(name, table)| (name, &table.digest)).collect();
    let specs: BTreeMap<_, _> = destinations.iter().map(|form| (&*form.name, &form.spec)).collect();
    let applied = serde_json::to_vec(&(&container.spec, tables, specs)).unwrap_or_default();
    let mut version = sha256_hex(&applied);
    version.truncate(VERSION_DIGITS);
    version
}
