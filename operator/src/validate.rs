//! The second step: decides what of a container and its Destinations is in force. Pure: what was gathered comes in,
//! verdicts and the forms in force go out. The checks themselves are those of `tagfleet_crds::validate`, which the
//! gateway and `check` share.
//!
//! A broken object stays at its last good form, or out if it never had one, and touches nothing else.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use kube::ResourceExt as _;
use tagfleet_crds::{
    Destination, ObjectRef, TaggingContainer,
    conditions::reasons,
    validate::{self, Finding, NamespacedName, Objects, Scope, SecretKeys, Setting},
};

use crate::{
    build::{self, credentials},
    child::name_of,
    dereference::Gathered,
    fleet::{ConfigMapKey, Form},
    last_good::{InForce, form},
    verdict::{DestinationVerdict, Verdict, Verdicts},
};

/// Findings that a condition's message names; there may be hundreds.
const SHOWN: usize = 3;

/// What was decided.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// For the conditions.
    pub verdicts: Verdicts,
    /// What is in force; none when the container never was good.
    pub in_force: Option<InForce>,
    /// The values of the Secret keys that the forms in force refer to, by `<secret>..<key>`.
    pub credentials: BTreeMap<String, ByteString>,
    /// Whether something is broken for which no last good form was given, so that knowing it could change the judgement.
    pub misses_last_good: bool,
}

/// Judges a container and its Destinations, given what was in force before.
#[must_use]
pub fn judge(gathered: &Gathered, before: Option<&InForce>) -> Judgement {
    let container = &gathered.container;
    // Made once: it has the texts of all lookup tables.
    let objects = objects(gathered, container, &gathered.config_maps);
    let (scope, accepted) = judge_container(gathered, &objects);
    let newest = accepted.holds.then(|| {
        let tables = tables(container, &gathered.config_maps);
        (scope.clone(), form(&**container, container.spec.clone()), tables)
    });
    let in_force = newest.or_else(|| last_good_container(gathered, before?));
    let mut verdicts = Verdicts {
        generation: container.metadata.generation.unwrap_or_default(),
        in_force: in_force.as_ref().map(|(_, form, _)| form.generation),
        accepted,
        destinations: BTreeMap::new(),
    };
    let scope = in_force.as_ref().map_or(&scope, |(scope, _, _)| scope);
    let mut destinations = BTreeMap::new();
    for destination in &gathered.destinations {
        let name = destination.name_any();
        let before = before.and_then(|before| before.destinations.get(&name));
        let before = before.filter(|form| Some(&form.uid) == destination.metadata.uid.as_ref());
        let (mut verdict, form) = judge_destination(&objects, container, destination, scope, before);
        if in_force.is_none() {
            without_fleet(&mut verdict, &container.name_any());
        }
        verdicts.destinations.insert(name.clone(), verdict);
        destinations.extend(form.map(|form| (name, form)));
    }
    let misses_last_good = before.is_none()
        && (!verdicts.accepted.holds || verdicts.destinations.values().any(|verdict| !verdict.accepted.holds));
    let in_force = in_force.map(|(_, container, tables)| InForce {
        container,
        tables,
        destinations,
    });
    Judgement {
        credentials: in_force.as_ref().map(|it| values(gathered, it)).unwrap_or_default(),
        verdicts,
        in_force,
        misses_last_good,
    }
}

type ConfigMaps = BTreeMap<String, BTreeMap<String, String>>;

/// The verdict on a container, and what the expressions of its Destinations may read.
fn judge_container(gathered: &Gathered, objects: &Objects<'_>) -> (Scope, Verdict) {
    let (scope, findings) = validate::validate_container(&gathered.container, objects);
    let errors = findings.iter().filter(|finding| finding.is_error()).collect::<Vec<_>>();
    let verdict = match (refusal(&errors), conflict(gathered)) {
        (Some(refusal), _) | (None, Some(refusal)) => refusal,
        (None, None) => match too_large(gathered) {
            Some(refusal) => refusal,
            None => Verdict::yes(reasons::ACCEPTED, warnings(&findings)),
        },
    };
    (scope, verdict)
}

/// The last good form of a container with its tables, if it still is good.
fn last_good_container(
    gathered: &Gathered,
    before: &InForce,
) -> Option<(
    Scope,
    Form<tagfleet_crds::TaggingContainerSpec>,
    BTreeMap<ConfigMapKey, String>,
)> {
    if Some(&before.container.uid) != gathered.container.metadata.uid.as_ref() {
        return None;
    }
    let mut container = TaggingContainer::clone(&gathered.container);
    container.spec.clone_from(&before.container.spec);
    let mut config_maps = ConfigMaps::new();
    for (ConfigMapKey { config_map, key }, text) in &before.tables {
        config_maps
            .entry(config_map.clone())
            .or_default()
            .insert(key.clone(), text.clone());
    }
    // It was good once: what has become of its Secrets or hostnames since does not take the fleet down.
    let objects = objects(gathered, &container, &config_maps);
    let (scope, _) = validate::validate_container(&container, &objects);
    Some((scope, before.container.clone(), before.tables.clone()))
}

/// The verdict on a Destination in this container, and the form of it that is in force.
fn judge_destination(
    objects: &Objects<'_>,
    container: &TaggingContainer,
    destination: &Destination,
    scope: &Scope,
    before: Option<&Form<tagfleet_crds::DestinationSpec>>,
) -> (DestinationVerdict, Option<Form<tagfleet_crds::DestinationSpec>>) {
    let (accepted, credentials) = check_destination(objects, container, destination, scope);
    let form = match (accepted.holds, before) {
        (true, _) => Some(form(destination, destination.spec.clone())),
        (false, Some(before)) => {
            let mut last_good = destination.clone();
            last_good.spec.clone_from(&before.spec);
            let name = container.name_any();
            let refers = destination.spec.container_refs.iter().any(|it| it.name == name);
            let is_still_good = check_destination(objects, container, &last_good, scope).0.holds;
            (refers && is_still_good).then(|| before.clone())
        }
        (false, None) => None,
    };
    let verdict = DestinationVerdict {
        generation: destination.metadata.generation.unwrap_or_default(),
        in_force: form.as_ref().map(|form| form.generation),
        accepted,
        credentials,
    };
    (verdict, form)
}

/// What is valid is not in force where there is no fleet.
fn without_fleet(verdict: &mut DestinationVerdict, container: &str) {
    verdict.in_force = None;
    if verdict.accepted.holds {
        let message = format!(
            "valid, but no form of TaggingContainer {container} was ever accepted: its condition Accepted says why"
        );
        verdict.accepted = Verdict::no(reasons::NOT_ACCEPTED, message);
    }
}

/// `Accepted` and `CredentialsResolved`. A Secret that is missing does not refuse the Destination: its events wait.
fn check_destination(
    objects: &Objects<'_>,
    container: &TaggingContainer,
    destination: &Destination,
    scope: &Scope,
) -> (Verdict, Verdict) {
    let container = name_of(container);
    // Its other containers have verdicts of their own.
    let mut here = destination.clone();
    here.spec.container_refs = vec![ObjectRef {
        name: container.name.clone(),
    }];
    let scopes = BTreeMap::from([(container, scope.clone())]);
    let findings = validate::validate_destination(&here, objects, &scopes);
    let errors = findings.iter().filter(|finding| finding.is_error());
    let (of_secrets, others): (Vec<_>, Vec<_>) = errors.partition(|finding| is_about_a_secret(finding));
    let accepted = refusal(&others).unwrap_or_else(|| Verdict::yes(reasons::ACCEPTED, warnings(&findings)));
    let credentials = refusal(&of_secrets)
        .or_else(|| too_long(destination))
        .unwrap_or_else(|| Verdict::yes(reasons::RESOLVED, "every Secret is there and shared"));
    (accepted, credentials)
}

/// A refusal when a Secret and its key have names that do not fit one key of the Secret that gateways mount.
fn too_long(destination: &Destination) -> Option<Verdict> {
    let secrets = destination.spec.vendor()?.secrets();
    let (_, reference) = secrets
        .into_iter()
        .find(|(_, reference)| credentials::key(&reference.name, &reference.key).len() > credentials::LONGEST_KEY)?;
    let message = format!(
        "the names of Secret {} and of its key {} may have {} characters together: give one a shorter name",
        reference.name,
        reference.key,
        credentials::LONGEST_KEY - "..".len()
    );
    Some(Verdict::no(reasons::INVALID, message))
}

fn is_about_a_secret(finding: &Finding) -> bool {
    matches!(
        finding.reason,
        reasons::SECRET_NOT_FOUND | reasons::SECRET_KEY_NOT_FOUND | reasons::SECRET_NOT_SHARED
    )
}

/// What was gathered as the checks want it, with this form of the container and these texts.
fn objects<'o>(gathered: &'o Gathered, container: &'o TaggingContainer, config_maps: &ConfigMaps) -> Objects<'o> {
    let namespace = name_of(container).namespace;
    let named = |name: &String| NamespacedName::new(&namespace, name);
    let secrets = gathered.secrets.iter().map(|(name, secret)| {
        let keys = SecretKeys {
            keys: secret.keys.clone(),
            is_shared: secret.is_shared,
        };
        (named(name), keys)
    });
    Objects {
        containers: vec![container],
        destinations: gathered.destinations.iter().map(|destination| &**destination).collect(),
        secrets: secrets.collect(),
        config_maps: config_maps
            .iter()
            .map(|(name, texts)| (named(name), texts.clone()))
            .collect(),
        setting: Setting::Cluster,
    }
}

/// A refusal by the first of these errors, naming a few of them.
fn refusal(errors: &[&Finding]) -> Option<Verdict> {
    let first = errors.first()?;
    let mut message = sentences(errors.iter().copied());
    if errors.len() > SHOWN {
        message.push_str(&format!("; and {} more", errors.len() - SHOWN));
    }
    Some(Verdict::no(first.reason, message))
}

fn sentences<'f>(findings: impl Iterator<Item = &'f Finding>) -> String {
    let shown = findings
        .take(SHOWN)
        .map(|finding| match finding.path.segments().is_empty() {
            true => finding.message.clone(),
            false => format!("{}: {}", finding.path, finding.message),
        });
    shown.collect::<Vec<_>>().join("; ")
}

/// What an accepted object's condition says: its warnings, if it has any.
fn warnings(findings: &[Finding]) -> String {
    let mut warnings = findings.iter().filter(|finding| !finding.is_error()).peekable();
    match warnings.peek() {
        None => "valid and in force".to_owned(),
        Some(_) => format!("valid and in force; note: {}", sentences(warnings)),
    }
}

/// A refusal when an older container owns a hostname.
fn conflict(gathered: &Gathered) -> Option<Verdict> {
    let (hostname, owner) = gathered.rivals.first_key_value()?;
    let message = format!(
        "hostname {hostname} belongs to the older TaggingContainer {} in namespace {}: take it out of one of the two",
        owner.name, owner.namespace
    );
    Some(Verdict::no(reasons::HOSTNAME_CONFLICT, message))
}

/// A refusal when the lookup tables do not fit the ConfigMap that gateways start from.
fn too_large(gathered: &Gathered) -> Option<Verdict> {
    let texts = texts(&gathered.container, &gathered.config_maps);
    let bytes: usize = texts.into_values().map(build::config::table_bytes).sum();
    let most = build::config::MAX_TABLE_BYTES;
    (bytes > most).then(|| {
        let message = format!(
            "spec.lookupTables: the tables take {bytes} bytes together and may take {most}: a ConfigMap holds no more"
        );
        Verdict::no(reasons::LOOKUP_TABLE_INVALID, message)
    })
}

fn tables(container: &TaggingContainer, config_maps: &ConfigMaps) -> BTreeMap<ConfigMapKey, String> {
    let texts = texts(container, config_maps).into_iter();
    texts.map(|(key, text)| (key, text.to_owned())).collect()
}

/// The texts of a container's lookup tables, each once.
fn texts<'t>(container: &TaggingContainer, config_maps: &'t ConfigMaps) -> BTreeMap<ConfigMapKey, &'t str> {
    let references = container.spec.lookup_tables.iter().map(|table| &table.config_map_ref);
    references
        .filter_map(|reference| {
            let text = config_maps.get(&reference.name)?.get(&reference.key)?;
            let key = ConfigMapKey {
                config_map: reference.name.clone(),
                key: reference.key.clone(),
            };
            Some((key, text.as_str()))
        })
        .collect()
}

/// The values that the forms in force refer to, as far as they are there and shared.
fn values(gathered: &Gathered, in_force: &InForce) -> BTreeMap<String, ByteString> {
    let vendors = in_force.destinations.values().filter_map(|form| form.spec.vendor());
    let of_destinations = vendors.flat_map(|vendor| vendor.secrets());
    let references = in_force.container.spec.secrets().into_iter().chain(of_destinations);
    let references: BTreeSet<_> = references
        .map(|(_, reference)| (&reference.name, &reference.key))
        .collect();
    references
        .into_iter()
        .filter_map(|(name, key)| {
            let value = gathered.secrets.get(name)?.values.get(key)?;
            Some((credentials::key(name, key), value.clone()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use std::sync::Arc;

    use super::*;
    use crate::dereference::FoundSecret;

    const SHOP: &str = "
        metadata: {name: shop, namespace: shops, uid: u1, generation: 1}
        spec:
          hostnames: [a.example]
          clients: [{name: web, ga4: {}}]
          lookupTables: [{name: stock, key: sku, configMapRef: {name: stock, key: stock.csv}}]
          variables: [{name: low, expression: 'event.stock <= int(lookup(\"stock\", event.sku).least)'}]
    ";
    const ALERTS: &str = "
        metadata: {name: alerts, namespace: shops, uid: u2, generation: 1}
        spec:
          containerRefs: [{name: shop}, {name: elsewhere}]
          trigger: {when: vars.low}
          webhook: {url: 'https://hooks.example/x', hmac: {secretKeyRef: {name: keys, key: hmac}}}
    ";

    fn gathered(container: &str, destinations: &[&str]) -> Gathered {
        let typed =
            |kind: &str, yaml: &str| format!("apiVersion: tagfleet.dev/v1alpha1\nkind: {kind}\n{}", dedent(yaml));
        let secret = FoundSecret {
            is_shared: true,
            keys: BTreeSet::from(["hmac".to_owned()]),
            values: BTreeMap::from([("hmac".to_owned(), ByteString(b"secret".to_vec()))]),
        };
        let table = BTreeMap::from([("stock.csv".to_owned(), "sku,least\nA,3\n".to_owned())]);
        Gathered {
            container: Arc::new(serde_saphyr::from_str(&typed("TaggingContainer", container)).unwrap()),
            destinations: destinations
                .iter()
                .map(|yaml| Arc::new(serde_saphyr::from_str(&typed("Destination", yaml)).unwrap()))
                .collect(),
            secrets: BTreeMap::from([("keys".to_owned(), secret)]),
            config_maps: BTreeMap::from([("stock".to_owned(), table)]),
            rivals: BTreeMap::new(),
        }
    }

    fn dedent(yaml: &str) -> String {
        yaml.lines()
            .map(|line| line.strip_prefix("        ").unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn edited(text: &str, from: &str, to: &str) -> String {
        assert!(text.contains(from), "{from}");
        text.replace(from, to).replace("generation: 1", "generation: 2")
    }

    #[test]
    fn what_is_good_is_in_force_with_its_tables_and_credentials() {
        let judgement = judge(&gathered(SHOP, &[ALERTS]), None);
        assert_eq!(
            judgement.verdicts.accepted,
            Verdict::yes("Accepted", "valid and in force")
        );
        let in_force = judgement.in_force.unwrap();
        assert_eq!(in_force.container.generation, 1);
        assert_eq!(in_force.tables.values().collect::<Vec<_>>(), ["sku,least\nA,3\n"]);
        assert_eq!(in_force.destinations["alerts"].uid, "u2");
        assert_eq!(judgement.credentials.keys().collect::<Vec<_>>(), ["keys..hmac"]);
        assert!(!judgement.misses_last_good);
    }

    #[test]
    fn a_broken_destination_stays_at_its_last_good_form_and_touches_nothing_else() {
        let before = judge(&gathered(SHOP, &[ALERTS]), None).in_force.unwrap();
        let broken = edited(ALERTS, "when: vars.low", "when: vars.lo");
        let judgement = judge(&gathered(SHOP, &[&broken]), Some(&before));
        let verdict = &judgement.verdicts.destinations["alerts"];
        assert_eq!(
            (verdict.accepted.holds, verdict.accepted.reason),
            (false, "ExpressionInvalid")
        );
        assert!(
            verdict.accepted.message.starts_with("spec.trigger.when: "),
            "{}",
            verdict.accepted.message
        );
        assert_eq!((verdict.generation, verdict.in_force), (2, Some(1)));
        assert_eq!(judgement.in_force.unwrap(), before);
        assert!(judgement.verdicts.accepted.holds);
    }

    #[test]
    fn a_destination_that_never_was_good_is_out() {
        let broken = edited(ALERTS, "when: vars.low", "when: vars.lo");
        let judgement = judge(&gathered(SHOP, &[&broken]), None);
        assert_eq!(judgement.verdicts.destinations["alerts"].in_force, None);
        assert!(judgement.in_force.unwrap().destinations.is_empty());
        assert!(judgement.misses_last_good);
    }

    #[test]
    fn a_last_good_form_of_another_object_of_that_name_does_not_count() {
        let before = judge(&gathered(SHOP, &[ALERTS]), None).in_force.unwrap();
        let anew = edited(ALERTS, "when: vars.low", "when: vars.lo").replace("uid: u2", "uid: u3");
        let judgement = judge(&gathered(SHOP, &[&anew]), Some(&before));
        assert!(judgement.in_force.unwrap().destinations.is_empty());
    }

    #[test]
    fn a_broken_container_stays_at_its_last_good_form_and_its_destinations_are_judged_by_that() {
        let before = judge(&gathered(SHOP, &[ALERTS]), None).in_force.unwrap();
        let broken = edited(SHOP, "name: low, expression: '", "name: less, expression: '((");
        let judgement = judge(&gathered(&broken, &[ALERTS]), Some(&before));
        assert_eq!(judgement.verdicts.accepted.reason, "ExpressionInvalid");
        assert_eq!(
            (judgement.verdicts.generation, judgement.verdicts.in_force),
            (2, Some(1))
        );
        assert!(judgement.verdicts.destinations["alerts"].accepted.holds);
        assert_eq!(judgement.in_force.unwrap(), before);
    }

    #[test]
    fn a_lookup_table_that_no_longer_parses_leaves_the_last_good_text_in_force() {
        let before = judge(&gathered(SHOP, &[ALERTS]), None).in_force.unwrap();
        let mut now = gathered(SHOP, &[ALERTS]);
        now.config_maps
            .get_mut("stock")
            .unwrap()
            .insert("stock.csv".into(), "sku,sku\n\"".into());
        let judgement = judge(&now, Some(&before));
        assert_eq!(judgement.verdicts.accepted.reason, "LookupTableInvalid");
        assert_eq!(judgement.in_force.unwrap(), before);
        now.config_maps.clear();
        assert_eq!(judge(&now, Some(&before)).verdicts.accepted.reason, "ConfigMapNotFound");
    }

    #[test]
    fn a_missing_or_unshared_secret_leaves_a_destination_waiting_and_not_refused() {
        let mut now = gathered(SHOP, &[ALERTS]);
        now.secrets.get_mut("keys").unwrap().is_shared = false;
        now.secrets.get_mut("keys").unwrap().values.clear();
        let judgement = judge(&now, None);
        let verdict = &judgement.verdicts.destinations["alerts"];
        assert!(verdict.accepted.holds);
        assert_eq!(
            (verdict.credentials.holds, verdict.credentials.reason),
            (false, "SecretNotShared")
        );
        assert!(
            verdict
                .credentials
                .message
                .contains("kubectl label secret --namespace shops keys")
        );
        assert!(judgement.in_force.unwrap().destinations.contains_key("alerts"));
        assert!(judgement.credentials.is_empty());
        now.secrets.clear();
        assert_eq!(
            judge(&now, None).verdicts.destinations["alerts"].credentials.reason,
            "SecretNotFound"
        );
    }

    #[test]
    fn the_newer_container_says_which_older_one_owns_its_hostname() {
        let mut now = gathered(SHOP, &[ALERTS]);
        now.rivals
            .insert("a.example".into(), NamespacedName::new("others", "old"));
        let judgement = judge(&now, None);
        assert_eq!(judgement.verdicts.accepted.reason, "HostnameConflict");
        let alerts = &judgement.verdicts.destinations["alerts"];
        assert_eq!((alerts.accepted.reason, alerts.in_force), ("NotAccepted", None));
        assert!(
            judgement
                .verdicts
                .accepted
                .message
                .contains("TaggingContainer old in namespace others")
        );
        assert_eq!(judgement.in_force, None);
    }

    #[test]
    fn tables_that_no_config_map_could_hold_are_refused() {
        let mut now = gathered(SHOP, &[]);
        let rows = (0..build::config::MAX_TABLE_BYTES / 8)
            .fold("sku,least\n".to_owned(), |text, row| text + &format!("{row:07},3\n"));
        now.config_maps
            .get_mut("stock")
            .unwrap()
            .insert("stock.csv".into(), rows);
        assert_eq!(judge(&now, None).verdicts.accepted.reason, "LookupTableInvalid");
    }
}
