//! What references lead to: Secrets and ConfigMaps.

use std::collections::BTreeMap;

use tagfleet_crds::{ConfigMapKeyRef, SecretKeyRef};

use super::{
    finding::{ObjectRef, Severity},
    objects::{Body, CONFIG_MAP, Object, SECRET},
    secrets::{Data, Datum},
};
use crate::secret::Secret;

/// What to make of a reference to an object that is nowhere in the given files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `check`: it may be elsewhere, as repositories keep Secrets elsewhere. A warning.
    Check,
    /// `serve`: there is no elsewhere. An error.
    Serve,
}

impl Mode {
    /// How bad it is that an object is nowhere.
    #[must_use]
    pub const fn absent(self) -> Severity {
        match self {
            Self::Check => Severity::Warning,
            Self::Serve => Severity::Error,
        }
    }
}

/// The Secrets and ConfigMaps.
#[derive(Clone, Debug, Default)]
pub struct World {
    objects: BTreeMap<ObjectRef, Object>,
    /// Secrets of the folder; of whatever namespace, and before those of manifests.
    folder: BTreeMap<String, Data>,
}

/// Why a reference leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Whether the object itself is not there.
    pub absent: bool,
    /// What is missing, and how to mend it.
    pub message: String,
}

impl World {
    /// From the objects in force and the Secrets of the folder.
    #[must_use]
    pub fn new(objects: BTreeMap<ObjectRef, Object>, folder: BTreeMap<String, Data>) -> Self {
        Self { objects, folder }
    }

    /// The object of a ConfigMap, for the place of a mistake in it.
    #[must_use]
    pub fn config_map(&self, namespace: &str, name: &str) -> Option<&Object> {
        self.objects.get(&ObjectRef::new(CONFIG_MAP, namespace, name))
    }

    /// The value of a Secret's key. A line break at its end is taken off: editors and `echo` put it there, and no
    /// credential ends in one.
    ///
    /// # Errors
    /// [`Missing`] when Secret or key is not there, or is no text.
    pub fn secret(&self, namespace: &str, reference: &SecretKeyRef) -> Result<Secret, Missing> {
        let SecretKeyRef { name, key } = reference;
        let in_folder = self.folder.get(name);
        let datum = match in_folder.and_then(|data| data.get(key)) {
            Some(datum) => Some(datum),
            None => match self.data(SECRET, namespace, name) {
                Some(data) => data.get(key),
                None if in_folder.is_some() => None,
                None => {
                    return Err(Missing {
                        absent: true,
                        message: format!("the Secret {name} is nowhere in the given files"),
                    });
                }
            },
        };
        match datum {
            Some(Datum::Text(secret)) => Ok(Secret::new(secret.expose().trim_end_matches(['\r', '\n']))),
            Some(Datum::Binary) => Err(present(format!("the key {key} of the Secret {name} is no text"))),
            None => Err(present(format!("the Secret {name} has no key {key}"))),
        }
    }

    /// The text of a ConfigMap's key.
    ///
    /// # Errors
    /// [`Missing`] when ConfigMap or key is not there, or is no text.
    pub fn text(&self, namespace: &str, reference: &ConfigMapKeyRef) -> Result<&str, Missing> {
        let ConfigMapKeyRef { name, key } = reference;
        let data = self.data(CONFIG_MAP, namespace, name).ok_or_else(|| Missing {
            absent: true,
            message: format!("the ConfigMap {name} is nowhere in the given files"),
        })?;
        match data.get(key) {
            Some(Datum::Text(text)) => Ok(text.expose()),
            Some(Datum::Binary) => Err(present(format!("the key {key} of the ConfigMap {name} is no text"))),
            None => Err(present(format!("the ConfigMap {name} has no key {key}"))),
        }
    }

    fn data(&self, kind: &str, namespace: &str, name: &str) -> Option<&Data> {
        match &self.objects.get(&ObjectRef::new(kind, namespace, name))?.body {
            Body::Data(data) => Some(data),
            Body::Own(_) => None,
        }
    }
}

fn present(message: String) -> Missing {
    Missing { absent: false, message }
}
