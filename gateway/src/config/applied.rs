//! What is in force, and what becomes of it when the files change: a broken object stays at its last good form, or out if
//! it never had one, and touches nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use tagfleet_crds::{DestinationSpec, TaggingContainerSpec, tagging_container::Variable};

use super::{
    accept,
    container::{self, ContainerForm},
    destination::{self, DestinationForm, Surroundings},
    files::Snapshot,
    finding::{self, Finding, ObjectRef},
    objects::{self, Body, CONTAINER, DESTINATION, Object},
    scope::Scope,
    secrets::Data,
    tree::Node,
    world::{Mode, World},
};

/// All that is in force.
#[derive(Clone, Default)]
pub struct Applied {
    /// Every object in its last good form, as it was written.
    objects: BTreeMap<ObjectRef, Object>,
    /// The Secrets of the folder.
    folder: BTreeMap<String, Data>,
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
}

/// What expressions of a container's destinations may read, whether or not the container is in force.
struct Checked {
    scope: Scope,
    form: Option<ContainerForm>,
}

impl Applied {
    /// Takes in what the files hold now.
    pub fn update(&mut self, snapshot: &Snapshot, mode: Mode, now: Instant) -> Findings {
        let mut read = Read::new(snapshot, self);
        if !snapshot.secrets_unreadable {
            self.folder.clone_from(&snapshot.secrets);
        }
        let data = self.data(&mut read, mode);
        let world = World::new(data, self.folder.clone());
        let checked = self.update_containers(&mut read, &world, mode);
        self.update_destinations(&mut read, &world, &checked, mode, now);
        self.objects.retain(|reference, _| read.is_there(reference));
        read.into_findings()
    }

    /// The file that an object in force stands in.
    #[must_use]
    pub fn file_of(&self, reference: &ObjectRef) -> Option<Arc<str>> {
        self.objects.get(reference).map(|object| Arc::clone(&object.file))
    }

    /// The Secrets and ConfigMaps in force.
    fn data(&mut self, read: &mut Read, mode: Mode) -> BTreeMap<ObjectRef, Object> {
        for object in read
            .present
            .values()
            .filter(|object| matches!(object.body, Body::Data(_)))
        {
            read.findings.extend(object.findings.iter().cloned());
            // A check goes on with what it could read of a flawed one, so as not to call the rest missing.
            let is_usable = !object.is_refused() || mode == Mode::Check;
            if is_usable {
                self.objects.insert(object.reference.clone(), object.clone());
            }
        }
        let is_data = |object: &Object| matches!(object.body, Body::Data(_));
        let there = self
            .objects
            .iter()
            .filter(|(reference, object)| is_data(object) && read.is_there(reference));
        there
            .map(|(reference, object)| (reference.clone(), object.clone()))
            .collect()
    }

    fn update_containers(&mut self, read: &mut Read, world: &World, mode: Mode) -> BTreeMap<ObjectRef, Checked> {
        let mut checked = BTreeMap::new();
        for reference in read.references(CONTAINER) {
            let previous = self.containers.get(&reference);
            let mut scope = None;
            let mut form = None;
            if let Some(object) = read.present.get(&reference) {
                let typed = accept::typed::<TaggingContainerSpec>(object);
                let mut findings = typed.findings;
                if let Some(spec) = typed.spec {
                    let compiled = container::compile(object, spec, world, mode, previous);
                    findings.extend(compiled.findings);
                    scope = Some(compiled.scope);
                    form = compiled.form;
                } else {
                    scope = Some(outline(object));
                }
                if form.is_some() {
                    self.objects.insert(reference.clone(), object.clone());
                }
                read.findings.extend(findings);
            }
            if form.is_none()
                && let Some(last_good) = self.objects.get(&reference)
            {
                // The last good form as it is written, with the tables and Secrets of now; else as it was compiled.
                let spec = accept::typed::<TaggingContainerSpec>(last_good).spec;
                let compiled = spec.map(|spec| container::compile(last_good, spec, world, mode, previous));
                form = compiled
                    .and_then(|compiled| compiled.form)
                    .or_else(|| previous.cloned());
            }
            let scope = form.as_ref().map(|form| form.scope.clone()).or(scope);
            checked.insert(
                reference,
                Checked {
                    scope: scope.unwrap_or_default(),
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
        read: &mut Read,
        world: &World,
        containers: &BTreeMap<ObjectRef, Checked>,
        mode: Mode,
        now: Instant,
    ) {
        let mut forms = BTreeMap::new();
        for reference in read.references(DESTINATION) {
            let candidate = read.present.get(&reference).cloned();
            let typed = candidate.as_ref().map(accept::typed::<DestinationSpec>);
            let (spec, mut findings) = typed.map_or((None, Vec::new()), |typed| (typed.spec, typed.findings));
            let mut is_good = spec.is_some();
            let mut new_forms = Vec::new();
            if let (Some(object), Some(spec)) = (&candidate, spec) {
                let (named, mistakes) = containers_of(object, &spec, containers, mode);
                is_good &= !mistakes.iter().any(Finding::is_error);
                findings.extend(mistakes);
                for (container, checked) in named {
                    let key = (container.clone(), reference.clone());
                    let surroundings = Surroundings {
                        container: &container.name,
                        scope: &checked.scope,
                        world,
                        mode,
                        now,
                    };
                    let previous = self.destinations.get(&key);
                    let (form, mistakes) = destination::compile(object, spec.clone(), surroundings, previous);
                    is_good &= form.is_some();
                    findings.extend(mistakes);
                    new_forms.extend(form.map(|form| (key, form)));
                }
            }
            read.findings.extend(findings);
            if let (true, Some(object)) = (is_good, candidate) {
                self.objects.insert(reference.clone(), object);
                forms.extend(new_forms);
            } else {
                forms.extend(self.last_good(&reference, world, containers, mode, now));
            }
        }
        self.destinations = forms;
    }

    /// The forms of a destination whose present text is refused, or cannot be read.
    fn last_good(
        &self,
        reference: &ObjectRef,
        world: &World,
        containers: &BTreeMap<ObjectRef, Checked>,
        mode: Mode,
        now: Instant,
    ) -> Vec<((ObjectRef, ObjectRef), DestinationForm)> {
        let Some(object) = self.objects.get(reference) else {
            return Vec::new();
        };
        let spec = accept::typed::<DestinationSpec>(object).spec;
        let previous = self
            .destinations
            .iter()
            .filter(|((_, destination), _)| destination == reference);
        let renewed = previous.map(|(key, previous)| {
            let checked = containers.get(&key.0);
            let form = spec.clone().zip(checked).and_then(|(spec, checked)| {
                let surroundings = Surroundings {
                    container: &key.0.name,
                    scope: &checked.scope,
                    world,
                    mode,
                    now,
                };
                destination::compile(object, spec, surroundings, Some(previous)).0
            });
            (key.clone(), form.unwrap_or_else(|| previous.clone()))
        });
        renewed.collect()
    }
}

/// The containers that a destination refers to, and its references that lead nowhere.
fn containers_of<'c>(
    object: &Object,
    spec: &DestinationSpec,
    containers: &'c BTreeMap<ObjectRef, Checked>,
    mode: Mode,
) -> (Vec<(&'c ObjectRef, &'c Checked)>, Vec<Finding>) {
    let (mut named, mut findings) = (Vec::new(), Vec::new());
    for (index, wanted) in spec.container_refs.iter().enumerate() {
        let reference = ObjectRef::new(CONTAINER, &object.reference.namespace, &wanted.name);
        if let Some(found) = containers.get_key_value(&reference) {
            named.push(found);
            continue;
        }
        let given: Vec<&str> = containers.keys().map(|reference| &*reference.name).collect();
        let field = format!("spec.containerRefs[{index}].name");
        let message = match given.as_slice() {
            [] => format!("the TaggingContainer {} is nowhere in the given files", wanted.name),
            given => format!(
                "there is no TaggingContainer {}; given: {}",
                wanted.name,
                given.join(", ")
            ),
        };
        let mut finding = object.error(&field, message);
        if given.is_empty() {
            finding.severity = mode.absent();
        }
        findings.push(finding);
    }
    (named, findings)
}

/// The names of variables and tables of a container that is refused for something else, so that its destinations are
/// not blamed for reading them.
fn outline(object: &Object) -> Scope {
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
    let tables = list("lookupTables")
        .iter()
        .filter_map(|node| Some((text(node, "name")?, None)));
    Scope::new(tables.collect(), &variables.collect::<Vec<_>>()).0
}

/// What the files hold, next to what was in force before.
struct Read {
    /// The objects of now.
    present: BTreeMap<ObjectRef, Object>,
    /// Objects of before whose file cannot be read: taken to be there still.
    retained: BTreeSet<ObjectRef>,
    findings: Vec<Finding>,
    /// Findings of whole files, by the objects that are retained for them.
    refused_with_file: BTreeSet<String>,
}

impl Read {
    fn new(snapshot: &Snapshot, applied: &Applied) -> Self {
        let mut findings = snapshot.unreadable.clone();
        let mut all = Vec::new();
        let mut broken: BTreeSet<Arc<str>> = BTreeSet::new();
        for (name, bytes) in &snapshot.files {
            let file = objects::read(name, bytes);
            findings.extend(file.findings.iter().cloned());
            // A mistake outside of objects may be what is left of one: `kind` misspelt, a name gone.
            if !file.whole || !file.findings.is_empty() {
                broken.insert(Arc::clone(name));
            }
            all.extend(file.objects);
        }
        let (unique, duplicates) = objects::without_duplicates(all);
        findings.extend(duplicates);
        let present: BTreeMap<_, _> = unique
            .into_iter()
            .map(|object| (object.reference.clone(), object))
            .collect();
        let lost = |object: &Object| broken.contains(&object.file) || snapshot.is_unreadable(&object.file);
        let retained: BTreeSet<ObjectRef> = applied
            .objects
            .iter()
            .filter(|(reference, object)| !present.contains_key(reference) && lost(object))
            .map(|(reference, _)| reference.clone())
            .collect();
        let known_files: BTreeSet<&str> = retained
            .iter()
            .filter_map(|reference| Some(&*applied.objects.get(reference)?.file))
            .collect();
        let nameless = findings.iter().filter(|finding| finding.object.is_none());
        let unknown = nameless.filter(|finding| !known_files.iter().any(|file| file.starts_with(&*finding.file)));
        let refused_with_file = unknown
            .map(|finding| finding.file.to_string())
            .chain(retained.iter().map(ObjectRef::to_string))
            .collect();
        Self {
            present,
            retained,
            findings,
            refused_with_file,
        }
    }

    fn is_there(&self, reference: &ObjectRef) -> bool {
        self.present.contains_key(reference) || self.retained.contains(reference)
    }

    /// The objects of a kind that are there, by their names.
    fn references(&self, kind: &str) -> Vec<ObjectRef> {
        let all: BTreeSet<&ObjectRef> = self.present.keys().chain(&self.retained).collect();
        all.into_iter()
            .filter(|reference| &*reference.kind == kind)
            .cloned()
            .collect()
    }

    fn into_findings(self) -> Findings {
        let mut refused = self.refused_with_file;
        let errors = self.findings.iter().filter(|finding| finding.is_error());
        refused.extend(errors.filter_map(|finding| Some(finding.object.as_ref()?.to_string())));
        let mut all = self.findings;
        finding::sort(&mut all);
        Findings { all, refused }
    }
}
