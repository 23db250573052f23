//! What the files, and the API server, hold now, next to what was in force before.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    applied::Findings,
    files::Snapshot,
    finding::{self, Finding, ObjectRef},
    kubernetes,
    objects::{self, Object},
};

/// What the files hold, next to what was in force before.
pub(super) struct Read {
    /// The objects of now.
    pub(super) present: BTreeMap<ObjectRef, Object>,
    /// Objects of before whose file cannot be read: taken to be there still.
    retained: BTreeSet<ObjectRef>,
    pub(super) findings: Vec<Finding>,
    /// Findings of whole files, by the objects that are retained for them.
    refused_with_file: BTreeSet<String>,
}

impl Read {
    /// Reads the objects of a snapshot. `good` are the objects in their last good form.
    pub(super) fn new(snapshot: &Snapshot, good: &BTreeMap<ObjectRef, Object>) -> Self {
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
        if let Some(cluster) = &snapshot.cluster {
            all = kubernetes::overlay(all, cluster);
        }
        let (unique, duplicates) = objects::without_duplicates(all);
        findings.extend(duplicates);
        let present: BTreeMap<_, _> = unique
            .into_iter()
            .map(|object| (object.reference.clone(), object))
            .collect();
        let lost = |object: &Object| {
            // What the API server has not is gone, whatever becomes of files.
            let is_known = snapshot.cluster.is_some() && object.tree().is_some();
            !is_known && (broken.contains(&object.file) || snapshot.is_unreadable(&object.file))
        };
        let retained: BTreeSet<ObjectRef> = good
            .iter()
            .filter(|(reference, object)| !present.contains_key(reference) && lost(object))
            .map(|(reference, _)| reference.clone())
            .collect();
        let known_files: BTreeSet<&str> = retained
            .iter()
            .filter_map(|reference| Some(&*good.get(reference)?.file))
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

    /// Whether an object is there, or taken to be.
    pub(super) fn is_there(&self, reference: &ObjectRef) -> bool {
        self.present.contains_key(reference) || self.retained.contains(reference)
    }

    /// The objects of a kind that are there, by their names.
    pub(super) fn references(&self, kind: &str) -> Vec<ObjectRef> {
        let all: BTreeSet<&ObjectRef> = self.present.keys().chain(&self.retained).collect();
        all.into_iter()
            .filter(|reference| &*reference.kind == kind)
            .cloned()
            .collect()
    }

    /// Everything that was found, in order.
    pub(super) fn into_findings(self) -> Findings {
        let mut refused = self.refused_with_file;
        let errors = self.findings.iter().filter(|finding| finding.is_error());
        refused.extend(errors.filter_map(|finding| Some(finding.object.as_ref()?.to_string())));
        let mut all = self.findings;
        finding::sort(&mut all);
        let known = self
            .present
            .keys()
            .chain(&self.retained)
            .map(ObjectRef::to_string)
            .collect();
        let generations = self
            .present
            .iter()
            .filter_map(|(reference, object)| Some((reference.to_string(), object.generation()?)))
            .collect();
        Findings {
            all,
            refused,
            known,
            generations,
        }
    }
}
