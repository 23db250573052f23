//! What is in force, and what becomes of it when the files change: a broken object stays at its last good form, or out if
//! it never had one, and touches nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::Instant,
};

use serde::de::DeserializeOwned;
use tagfleet_crds::{
    Destination, TaggingContainer, TaggingContainerSpec,
    conditions::reasons,
    lookup_table::Table,
    tagging_container::{LookupTable, Variable},
    validate::{self, NamespacedName, Objects, Scope, Setting},
};

use super::{
    accept,
    container::{self, ContainerForm},
    data_flow,
    destination::{self, DestinationForm, Surroundings},
    files::Snapshot,
    finding::{Finding, ObjectRef, Severity},
    objects::{Body, CONTAINER, DESTINATION, Object},
    readable::Readable,
    reading::Read,
    rules::Rules,
    secrets::Data,
    tree::Node,
    world::World,
};

/// All that is in force.
#[derive(Clone, Default)]
pub struct Applied {
    /// Every object in its last good form, as it was written.
    objects: BTreeMap<ObjectRef, Object>,
    /// The Secrets of the folder.
    folder: BTreeMap<String, Data>,
    /// The last good texts of lookup tables, by ConfigMap and key.
    table_texts: BTreeMap<(NamespacedName, String), String>,
    /// The containers.
    pub(super) containers: BTreeMap<ObjectRef, ContainerForm>,
    /// The destinations, by container and themselves.
    pub(super) destinations: BTreeMap<(ObjectRef, ObjectRef), DestinationForm>,
}

/// What an update brought to light.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// All of them in the order of files and places.
    pub all: Vec<Finding>,
    /// The objects that stay at their last good form, or out; what is refused without being an object (a file that
    /// cannot be read) only where none of its objects is known.
    pub refused: BTreeSet<String>,
    /// All objects that are there.
    pub known: BTreeSet<String>,
    /// The generations of Tagfleet's own among them, as they are written now: of what is refused, the refused one.
    pub generations: BTreeMap<String, i64>,
}

/// One of Tagfleet's own objects: as it is written now, if that has the right types, and as it was when it was good.
struct Candidate<T> {
    present: Option<(Object, T)>,
    last_good: Option<(Object, T)>,
    /// The object as it is written now, if its types are wrong.
    refused: Option<Object>,
}

impl<T> Candidate<T> {
    fn best(&self) -> Option<&(Object, T)> {
        self.present.as_ref().or(self.last_good.as_ref())
    }
}

type Candidates<T> = BTreeMap<ObjectRef, Candidate<T>>;

/// A container's form, and what its destinations are checked against, whether or not it has one.
struct Checked {
    readable: Readable,
    form: Option<ContainerForm>,
}

/// What everything is compiled with.
struct Round<'r> {
    objects: Objects<'r>,
    world: &'r World,
    rules: &'r Rules,
    now: Instant,
}

impl Applied {
    /// Takes in what the files, and the API server, hold now.
    pub fn update(&mut self, snapshot: &Snapshot, rules: &Rules, now: Instant) -> Findings {
        let setting = rules.setting;
        let mut read = Read::new(snapshot, &self.objects);
        if !snapshot.secrets_unreadable {
            self.folder.clone_from(&snapshot.secrets);
        }
        let world = World::new(self.data(&mut read, setting), self.folder.clone());
        let containers = self.candidates(&mut read, CONTAINER, TaggingContainer::new);
        let destinations = self.candidates(&mut read, DESTINATION, Destination::new);
        let namespaces = containers
            .keys()
            .chain(destinations.keys())
            .map(|reference| &*reference.namespace)
            .collect();
        let round = Round {
            objects: Objects {
                containers: manifests(&containers),
                destinations: manifests(&destinations),
                secrets: world.secret_keys(&namespaces),
                config_maps: self.config_maps(&containers, &world, &mut read.findings),
                setting,
            },
            world: &world,
            rules,
            now,
        };
        let checked = self.update_containers(&containers, &round, &mut read.findings);
        self.update_destinations(&destinations, &checked, &round, &mut read.findings);
        self.objects.retain(|reference, _| read.is_there(reference));
        read.into_findings()
    }

    /// The file that an object in force stands in.
    #[must_use]
    pub fn file_of(&self, reference: &ObjectRef) -> Option<Arc<str>> {
        self.objects.get(reference).map(|object| Arc::clone(&object.file))
    }

    /// The generation of an object in the form that is in force, where that tells one.
    #[must_use]
    pub fn generation_of(&self, reference: &ObjectRef) -> Option<i64> {
        self.objects.get(reference)?.generation()
    }

    /// The Secrets and ConfigMaps in force.
    fn data(&mut self, read: &mut Read, setting: Setting) -> BTreeMap<ObjectRef, Object> {
        let is_data = |object: &&Object| matches!(object.body, Body::Data(_));
        for object in read.present.values().filter(is_data) {
            read.findings.extend(object.findings.iter().cloned());
            // A check goes on with what it could read of a flawed one, so as not to call the rest missing.
            if !object.is_refused() || setting == Setting::Check {
                self.objects.insert(object.reference.clone(), object.clone());
            }
        }
        let there = self
            .objects
            .values()
            .filter(is_data)
            .filter(|object| read.is_there(&object.reference));
        there.map(|object| (object.reference.clone(), object.clone())).collect()
    }

    /// The objects of a kind with their types.
    fn candidates<S, T>(&self, read: &mut Read, kind: &str, make: impl Fn(&str, S) -> T) -> Candidates<T>
    where
        S: DeserializeOwned,
        T: Namespaced,
    {
        let mut candidates = BTreeMap::new();
        for reference in read.references(kind) {
            let typed = |object: &Object| {
                let typed = accept::typed::<S>(object);
                let manifest = typed.spec.map(|spec| {
                    let mut manifest = make(&reference.name, spec);
                    manifest.set_namespace(&reference.namespace);
                    (object.clone(), manifest)
                });
                (manifest, typed.findings)
            };
            let mut candidate = Candidate {
                present: None,
                last_good: self.objects.get(&reference).and_then(|object| typed(object).0),
                refused: None,
            };
            if let Some(object) = read.present.get(&reference) {
                let (present, findings) = typed(object);
                candidate.refused = present.is_none().then(|| object.clone());
                candidate.present = present;
                read.findings.extend(findings);
            }
            candidates.insert(reference, candidate);
        }
        candidates
    }

    /// The texts of ConfigMaps; that of a lookup table which does not parse is the one of before.
    fn config_maps(
        &mut self,
        containers: &Candidates<TaggingContainer>,
        world: &World,
        findings: &mut Vec<Finding>,
    ) -> BTreeMap<NamespacedName, BTreeMap<String, String>> {
        let mut config_maps = world.config_maps();
        let before = mem::take(&mut self.table_texts);
        for (object, container) in containers.values().filter_map(Candidate::best) {
            for table in &container.spec.lookup_tables {
                let LookupTable {
                    key, config_map_ref, ..
                } = table;
                let map = NamespacedName::new(&object.reference.namespace, &config_map_ref.name);
                let place = (map.clone(), config_map_ref.key.clone());
                let texts = config_maps.get_mut(&map);
                let Some(text) = texts.and_then(|texts| texts.get_mut(&config_map_ref.key)) else {
                    continue;
                };
                if let Err(error) = Table::parse(text, key)
                    && let Some(good) = before.get(&place).filter(|good| Table::parse(good, key).is_ok())
                {
                    let message = format!("lookup table {}: {error}", table.name);
                    findings.push(container::in_config_map(object, table, world, message, Severity::Error));
                    text.clone_from(good);
                }
                self.table_texts.insert(place, text.clone());
            }
        }
        config_maps
    }

    fn update_containers(
        &mut self,
        candidates: &Candidates<TaggingContainer>,
        round: &Round<'_>,
        findings: &mut Vec<Finding>,
    ) -> BTreeMap<ObjectRef, Checked> {
        let mut checked = BTreeMap::new();
        for (reference, candidate) in candidates {
            let previous = self.containers.get(reference);
            let compile = |(object, container): &(Object, TaggingContainer)| {
                container::compile(object, container, &round.objects, round.world, round.rules, previous)
            };
            let mut form = None;
            let mut readable = candidate.refused.as_ref().map(|object| outline(object, &round.objects));
            if let Some(present) = &candidate.present {
                let compiled = compile(present);
                findings.extend(compiled.findings);
                readable = Some(compiled.readable);
                form = compiled.form;
                if form.is_some() {
                    self.objects.insert(reference.clone(), present.0.clone());
                }
            }
            if form.is_none() {
                // The last good form as it is written, with the tables and Secrets of now; else as it was compiled.
                let renewed = candidate
                    .last_good
                    .as_ref()
                    .and_then(|last_good| compile(last_good).form);
                form = renewed.or_else(|| previous.cloned());
            }
            let readable = form.as_ref().map(|form| form.readable.clone()).or(readable);
            checked.insert(
                reference.clone(),
                Checked {
                    readable: readable.unwrap_or_default(),
                    form,
                },
            );
        }
        let forms = checked
            .iter()
            .filter_map(|(reference, it)| Some((reference.clone(), it.form.clone()?)));
        self.containers = forms.collect();
        checked
    }

    fn update_destinations(
        &mut self,
        candidates: &Candidates<Destination>,
        containers: &BTreeMap<ObjectRef, Checked>,
        round: &Round<'_>,
        findings: &mut Vec<Finding>,
    ) {
        let scopes: BTreeMap<NamespacedName, Scope> = containers
            .iter()
            .map(|(reference, checked)| {
                let name = NamespacedName::new(&reference.namespace, &reference.name);
                (name, checked.readable.scope.clone())
            })
            .collect();
        let mut forms = BTreeMap::new();
        for (reference, candidate) in candidates {
            let previous = self
                .destinations
                .iter()
                .filter(|((_, destination), _)| destination == reference);
            let previous: BTreeMap<&ObjectRef, &DestinationForm> =
                previous.map(|((container, _), form)| (container, form)).collect();
            let compiled = candidate.present.as_ref().map(|present| {
                let found = validate::validate_destination(&present.1, &round.objects, &scopes);
                let found = round.rules.seen(found);
                findings.extend(found.iter().map(|finding| present.0.located(finding)));
                let told: BTreeSet<String> = found.iter().map(|finding| finding.path.to_string()).collect();
                let (forms, mistakes) = compile_destination(present, containers, round, &previous);
                findings.extend(mistakes.into_iter().filter(|mistake| !told.contains(&mistake.field)));
                (forms, found.iter().any(validate::Finding::is_error))
            });
            let good = match (compiled, &candidate.present) {
                (Some((Some(forms), false)), Some((object, _))) => {
                    self.objects.insert(reference.clone(), object.clone());
                    forms
                }
                _ => last_good(candidate, containers, round, &previous),
            };
            for (container, form) in good {
                let in_force = containers.get(&container).and_then(|checked| checked.form.as_ref());
                if in_force.is_some_and(|in_force| data_flow::leaks(in_force, &form)) {
                    findings.extend(candidate.best().map(|(object, _)| stays_out(object, &container)));
                } else {
                    forms.insert((container, reference.clone()), form);
                }
            }
        }
        self.destinations = forms;
    }
}

/// A destination is out of force for a container as it would be sent what it must not receive: it was good once, or is
/// good with what the container shall be, but not with what the container is.
fn stays_out(object: &Object, container: &ObjectRef) -> Finding {
    let message = format!(
        "is out of force: with {container} as that is in force it would be sent parameters of a class that spec.receives \
         does not list"
    );
    Finding {
        reason: Some(reasons::DATA_FLOW),
        ..object.error("spec.receives", message)
    }
}

/// The manifests of a kind, the broken ones in their last good form.
fn manifests<T>(candidates: &Candidates<T>) -> Vec<&T> {
    candidates
        .values()
        .filter_map(|candidate| Some(&candidate.best()?.1))
        .collect()
}

/// Compiles a destination for each of its containers. The forms are none when one of them is.
fn compile_destination(
    (object, manifest): &(Object, Destination),
    containers: &BTreeMap<ObjectRef, Checked>,
    round: &Round<'_>,
    previous: &BTreeMap<&ObjectRef, &DestinationForm>,
) -> (Option<BTreeMap<ObjectRef, DestinationForm>>, Vec<Finding>) {
    let mut forms = Some(BTreeMap::new());
    let mut findings = Vec::new();
    for wanted in &manifest.spec.container_refs {
        let reference = ObjectRef::new(CONTAINER, &object.reference.namespace, &wanted.name);
        let Some(checked) = containers.get(&reference) else {
            continue;
        };
        let surroundings = Surroundings {
            container: &reference.name,
            readable: &checked.readable,
            world: round.world,
            rules: round.rules,
            now: round.now,
        };
        let before = previous.get(&reference).copied();
        let (form, mistakes) = destination::compile(object, manifest, surroundings, before);
        findings.extend(mistakes);
        forms = forms.zip(form).map(|(mut forms, form)| {
            forms.insert(reference, form);
            forms
        });
    }
    (forms, findings)
}

/// The forms of a destination whose present text is refused, or cannot be read: as it was written, with the tables and
/// Secrets of now; else as it was compiled.
fn last_good(
    candidate: &Candidate<Destination>,
    containers: &BTreeMap<ObjectRef, Checked>,
    round: &Round<'_>,
    previous: &BTreeMap<&ObjectRef, &DestinationForm>,
) -> BTreeMap<ObjectRef, DestinationForm> {
    let compiled = candidate
        .last_good
        .as_ref()
        .and_then(|last_good| compile_destination(last_good, containers, round, previous).0);
    let as_it_was = || {
        previous
            .iter()
            .map(|(container, form)| ((*container).clone(), (*form).clone()))
            .collect()
    };
    compiled.unwrap_or_else(as_it_was)
}

/// What can be read of a container whose types are wrong: the names of its variables and tables, so that its destinations
/// are not blamed for reading them.
fn outline(object: &Object, objects: &Objects<'_>) -> Readable {
    let list = |name: &str| -> &[Node] {
        let spec = object.tree().and_then(|tree| tree.get("spec"));
        spec.and_then(|spec| spec.get(name)).map_or(&[], Node::elements)
    };
    let text = |node: &Node, name: &str| node.get(name).and_then(Node::as_text).map(str::to_owned);
    let variables = list("variables").iter().filter_map(|node| {
        Some(Variable {
            name: text(node, "name")?,
            expression: text(node, "expression").unwrap_or_default(),
        })
    });
    let tables = list("lookupTables").iter().filter_map(|node| {
        Some(LookupTable {
            name: text(node, "name")?,
            ..LookupTable::default()
        })
    });
    let spec = TaggingContainerSpec {
        variables: variables.collect(),
        lookup_tables: tables.collect(),
        ..TaggingContainerSpec::default()
    };
    let mut container = TaggingContainer::new(&object.reference.name, spec);
    container.set_namespace(&object.reference.namespace);
    Readable::new(validate::validate_container(&container, objects).0, None)
}

/// An object whose namespace can be set.
trait Namespaced {
    fn set_namespace(&mut self, namespace: &str);
}

impl Namespaced for TaggingContainer {
    fn set_namespace(&mut self, namespace: &str) {
        self.metadata.namespace = Some(namespace.to_owned());
    }
}

impl Namespaced for Destination {
    fn set_namespace(&mut self, namespace: &str) {
        self.metadata.namespace = Some(namespace.to_owned());
    }
}
