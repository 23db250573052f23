//! The configuration of a running gateway.

use std::{sync::Arc, time::Instant};

use tagfleet_crds::validate::Setting;

use super::{
    applied::{Applied, Findings},
    compile,
    container::ContainerForm,
    files::{Snapshot, Sources},
    finding::{Finding, ObjectRef},
    objects::CONTAINER,
    rules::Rules,
    source::Source,
};
use crate::{
    log::{DestinationId, LogError},
    plan::{ObjectInForce, Plan},
};

/// One container's configuration.
pub struct Config {
    rules: Rules,
    snapshot: Snapshot,
    container: ObjectRef,
    applied: Applied,
    findings: Findings,
    form: ContainerForm,
}

impl Config {
    /// Reads files for the first time, in file mode. `container` is needed when they hold several.
    ///
    /// # Errors
    /// All findings, of which at least one is an error: whatever is refused now is not started with.
    pub fn load(sources: &Sources, container: Option<&str>) -> Result<Self, Vec<Finding>> {
        Self::of(sources.read(), sources, container)
    }

    /// The same of what was read of them.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn of(snapshot: Snapshot, sources: &Sources, container: Option<&str>) -> Result<Self, Vec<Finding>> {
        let mut applied = Applied::default();
        let rules = Rules::of_files(Setting::Files);
        let findings = applied.update(&snapshot, &rules, Instant::now());
        if findings.all.iter().any(Finding::is_error) {
            return Err(findings.all);
        }
        let choice = choose(&applied, container);
        let chosen = choice.and_then(|name| {
            let form = applied.containers.get(&name).cloned();
            form.map(|form| (name, form))
                .ok_or_else(|| "the container is not in force".to_owned())
        });
        match chosen {
            Ok((container, form)) => Ok(Self {
                rules,
                snapshot,
                container,
                applied,
                findings,
                form,
            }),
            Err(message) => {
                let shown: Vec<String> = sources.paths.iter().map(|path| path.display().to_string()).collect();
                Err(vec![Finding::in_file(&shown.join(", ").into(), None, message)])
            }
        }
    }

    /// The container in the form in force, for what is not part of the plan: its buffer.
    #[must_use]
    pub fn container(&self) -> &ContainerForm {
        &self.form
    }

    /// The container's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.container.name
    }

    /// What was last taken in.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What was found in it.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// The plan in force. `register` gives the number of a destination in the log.
    ///
    /// # Errors
    /// When a destination cannot be registered.
    pub fn plan(&self, register: &mut dyn FnMut(&str) -> Result<DestinationId, LogError>) -> Result<Plan, LogError> {
        let own = self
            .applied
            .destinations
            .iter()
            .filter(|((container, _), _)| *container == self.container);
        let mut objects = vec![self.in_force(&self.container)];
        let mut destinations = Vec::new();
        for ((_, reference), form) in own {
            objects.push(self.in_force(reference));
            destinations.push(form);
        }
        compile::plan(&self.container.name, &self.form, &destinations, objects, register)
    }

    fn in_force(&self, reference: &ObjectRef) -> ObjectInForce {
        ObjectInForce {
            object: reference.to_string(),
            generation: self.applied.generation_of(reference),
        }
    }

    /// Waits until something has changed, or a replaced secret is to be forgotten, and takes that in. False when the
    /// files can no longer be watched. May be dropped at any time without losing a change.
    pub async fn changed(&mut self, source: &mut Source) -> bool {
        let rotation_ends = self
            .applied
            .destinations
            .values()
            .filter_map(|form| form.rotation_ends())
            .min();
        let next = match rotation_ends {
            None => source.next().await,
            Some(end) => match tokio::time::timeout_at(end.into(), source.next()).await {
                Ok(next) => next,
                Err(_) => Some(self.snapshot.clone()),
            },
        };
        let Some(snapshot) = next else { return false };
        self.update(snapshot, Instant::now());
        true
    }

    /// Takes in what is there now. What is broken stays at its last good form.
    pub fn update(&mut self, snapshot: Snapshot, now: Instant) {
        let before = self.applied.clone();
        self.findings = self.applied.update(&snapshot, &self.rules, now);
        match self.applied.containers.get(&self.container) {
            Some(form) => self.form = form.clone(),
            None => {
                // Without its container a gateway has nothing to do; it goes on as it was.
                self.applied = before;
                let file = self.applied.file_of(&self.container).unwrap_or_default();
                let message = if self.rules.in_cluster() {
                    "is no longer there; it goes on as it was"
                } else {
                    "is no longer in the given files; it goes on as it was"
                };
                let mut gone = Finding::in_file(&file, None, message);
                gone.object = Some(self.container.clone());
                self.findings.all.push(gone);
                self.findings.refused.insert(self.container.to_string());
            }
        }
        self.snapshot = snapshot;
    }
}

/// The configuration of a container that is not in force yet: in a cluster a gateway waits for it.
pub struct Awaited {
    rules: Rules,
    container: ObjectRef,
    applied: Applied,
    findings: Findings,
}

impl Awaited {
    /// Of the container of this name.
    #[must_use]
    pub fn new(rules: Rules, namespace: &str, container: &str) -> Self {
        Self {
            rules,
            container: ObjectRef::new(CONTAINER, namespace, container),
            applied: Applied::default(),
            findings: Findings::default(),
        }
    }

    /// Takes in what is there now. What was good before stays known, as the last good form of what is broken later.
    /// Gives the configuration as soon as the container is in force.
    pub fn update(&mut self, snapshot: Snapshot, now: Instant) -> Option<Config> {
        self.findings = self.applied.update(&snapshot, &self.rules, now);
        let form = self.applied.containers.get(&self.container)?.clone();
        Some(Config {
            rules: self.rules.clone(),
            snapshot,
            container: self.container.clone(),
            applied: self.applied.clone(),
            findings: self.findings.clone(),
            form,
        })
    }

    /// What was found in what is there.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.findings
    }
}

/// The container to serve.
fn choose(applied: &Applied, wanted: Option<&str>) -> Result<ObjectRef, String> {
    let fits = |reference: &&ObjectRef| wanted.is_none_or(|wanted| *reference.name == *wanted);
    let fitting: Vec<&ObjectRef> = applied.containers.keys().filter(fits).collect();
    match (fitting.as_slice(), wanted) {
        ([only], _) => Ok((*only).clone()),
        ([], None) => Err(format!("no {CONTAINER} in these files")),
        ([], Some(wanted)) => Err(format!("no {CONTAINER} {wanted} in these files")),
        (_, Some(wanted)) => Err(format!("{CONTAINER} {wanted} is there in several namespaces")),
        (several, None) => {
            let names: Vec<&str> = several.iter().map(|reference| &*reference.name).collect();
            Err(format!(
                "several containers are given, name one with --container: {}",
                names.join(", ")
            ))
        }
    }
}
