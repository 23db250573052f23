//! The configuration of a running gateway in file mode.

use std::{io, sync::Arc, time::Instant};

use tagfleet_crds::validate::Setting;

use super::{
    applied::{Applied, Findings},
    compile,
    container::ContainerForm,
    files::{Snapshot, Sources},
    finding::{Finding, ObjectRef},
    objects::CONTAINER,
    watch::FileWatch,
};
use crate::{
    log::{DestinationId, LogError},
    plan::Plan,
};

/// One container's configuration, read from files.
pub struct Config {
    sources: Sources,
    snapshot: Snapshot,
    container: ObjectRef,
    applied: Applied,
    findings: Findings,
    form: ContainerForm,
}

impl Config {
    /// Reads the files for the first time. `container` is needed when they hold several.
    ///
    /// # Errors
    /// All findings, of which at least one is an error: whatever is refused now is not started with.
    pub fn load(sources: Sources, container: Option<&str>) -> Result<Self, Vec<Finding>> {
        let snapshot = sources.read();
        let mut applied = Applied::default();
        let findings = applied.update(&snapshot, Setting::Files, Instant::now());
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
                sources,
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

    /// What was found when the files were last read.
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
        let destinations: Vec<_> = own.map(|(_, form)| form).collect();
        compile::plan(&self.container.name, &self.form, &destinations, register)
    }

    /// Starts to watch the files.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn watch(&self) -> io::Result<FileWatch> {
        FileWatch::start(self.sources.clone(), self.snapshot.clone())
    }

    /// Waits until the files have changed, or a replaced secret is to be forgotten, and takes that in. False when the
    /// watch has ended. May be dropped at any time without losing a change.
    pub async fn changed(&mut self, watch: &mut FileWatch) -> bool {
        let rotation_ends = self
            .applied
            .destinations
            .values()
            .filter_map(|form| form.rotation_ends())
            .min();
        let next = match rotation_ends {
            None => watch.next().await,
            Some(end) => match tokio::time::timeout_at(end.into(), watch.next()).await {
                Ok(next) => next,
                Err(_) => Some(self.snapshot.clone()),
            },
        };
        let Some(snapshot) = next else { return false };
        self.update(snapshot, Instant::now());
        true
    }

    /// Takes in what the files hold now. What is broken stays at its last good form.
    pub fn update(&mut self, snapshot: Snapshot, now: Instant) {
        let before = self.applied.clone();
        self.findings = self.applied.update(&snapshot, Setting::Files, now);
        match self.applied.containers.get(&self.container) {
            Some(form) => self.form = form.clone(),
            None => {
                // Without its container a gateway has nothing to do; it goes on as it was.
                self.applied = before;
                let file = self.applied.file_of(&self.container).unwrap_or_default();
                let mut gone = Finding::in_file(&file, None, "is no longer in the given files; it goes on as it was");
                gone.object = Some(self.container.clone());
                self.findings.all.push(gone);
                self.findings.refused.insert(self.container.to_string());
            }
        }
        self.snapshot = snapshot;
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
