//! References to Secrets and ConfigMaps.

use super::{NamespacedName, Objects, Report, Setting};
use crate::{CREDENTIALS_LABEL, ConfigMapKeyRef, FieldPath, SecretKeyRef, conditions::reasons};

/// Reports a Secret key that is not there, or not shared.
pub(super) fn secret(reference: &SecretKeyRef, path: FieldPath, objects: &Objects<'_>, report: &mut Report) {
    let SecretKeyRef { name, key } = reference;
    let namespace = report.object.namespace.clone();
    let Some(secret) = objects.secrets.get(&NamespacedName::new(&namespace, name)) else {
        let message = match objects.setting {
            Setting::Cluster => format!("there is no Secret {name} in namespace {namespace}"),
            Setting::Check | Setting::Files => format!("the Secret {name} is nowhere in the given files"),
        };
        report.add(objects.setting.absent(), path, reasons::SECRET_NOT_FOUND, message);
        return;
    };
    if objects.setting == Setting::Cluster && !secret.is_shared {
        let message = format!(
            "the Secret {name} is not shared with Tagfleet; if it may be used, run: \
             kubectl label secret --namespace {namespace} {name} {CREDENTIALS_LABEL}=true"
        );
        report.error(path, reasons::SECRET_NOT_SHARED, message);
    } else if !secret.keys.contains(key) {
        report.error(
            path,
            reasons::SECRET_KEY_NOT_FOUND,
            format!("the Secret {name} has no key {key}"),
        );
    }
}

/// The text of a ConfigMap's key; none, and a report, when it is not there.
pub(super) fn config_map<'o>(
    reference: &ConfigMapKeyRef,
    path: FieldPath,
    objects: &'o Objects<'_>,
    report: &mut Report,
) -> Option<&'o str> {
    let ConfigMapKeyRef { name, key } = reference;
    let namespace = report.object.namespace.clone();
    let Some(data) = objects.config_maps.get(&NamespacedName::new(&namespace, name)) else {
        let message = match objects.setting {
            Setting::Cluster => format!("there is no ConfigMap {name} in namespace {namespace}"),
            Setting::Check | Setting::Files => format!("the ConfigMap {name} is nowhere in the given files"),
        };
        report.add(objects.setting.absent(), path, reasons::CONFIG_MAP_NOT_FOUND, message);
        return None;
    };
    let text = data.get(key);
    if text.is_none() {
        report.error(
            path,
            reasons::CONFIG_MAP_KEY_NOT_FOUND,
            format!("the ConfigMap {name} has no key {key}"),
        );
    }
    text.map(String::as_str)
}
