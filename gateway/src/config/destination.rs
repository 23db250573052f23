//! From a destination's spec to what judges and sends its events.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use tagfleet_crds::{Destination as Manifest, DestinationSpec, SecretKeyRef, SecretSource, destination::Vendor};
use tagfleet_expressions::Expression;

use super::{
    finding::Finding,
    objects::Object,
    readable::{NamedExpression, Readable, Tables},
    rules::Rules,
    world::World,
};
use crate::{
    delivery::tokens::TokenSource,
    destinations::{
        self, Destination, Resolve,
        mapping::{Field, Mapping},
    },
    plan::DeliverySettings,
    secret::Secret,
};

/// How long a secret that was replaced is still signed with beside the new one: receivers change theirs meanwhile.
pub const ROTATION: Duration = Duration::from_secs(60 * 60);

/// A destination in the form that is in force for one container.
#[derive(Clone)]
pub struct DestinationForm {
    /// Its name.
    pub name: Arc<str>,
    /// Its spec.
    pub spec: DestinationSpec,
    /// The condition of its trigger.
    pub when: Option<Expression>,
    /// How it is sent to.
    pub delivery: DeliverySettings,
    /// The vendor.
    pub vendor: Arc<dyn Destination>,
    /// Where its access tokens come from.
    pub tokens: Option<Arc<dyn TokenSource>>,
    /// The variables that its expressions read, directly or by way of others, each before those that read it.
    pub variables: Vec<NamedExpression>,
    /// The variables that it reads when it sends, so that the log must keep their values.
    pub stored: BTreeSet<String>,
    /// The tables that any of these read.
    pub tables: Tables,
    /// Whether a credential is not mounted in this pod yet: it waits at its cursor.
    pub awaits_credentials: bool,
    /// Changes when anything above changes, secrets included.
    pub fingerprint: String,
    secrets: BTreeMap<SecretKeyRef, RotatingSecret>,
}

#[derive(Clone)]
struct RotatingSecret {
    current: Secret,
    previous: Option<(Secret, Instant)>,
}

impl DestinationForm {
    /// When the first of its replaced secrets is to be forgotten.
    pub fn rotation_ends(&self) -> Option<Instant> {
        let replaced = self.secrets.values().filter_map(|secret| secret.previous.as_ref());
        replaced.map(|(_, at)| *at + ROTATION).min()
    }
}

/// What a destination is compiled with.
#[derive(Clone, Copy)]
pub struct Surroundings<'s> {
    /// The container's name.
    pub container: &'s str,
    /// What expressions read.
    pub readable: &'s Readable,
    /// Secrets.
    pub world: &'s World,
    /// What it is held to.
    pub rules: &'s Rules,
    /// The time, for secrets that rotate.
    pub now: Instant,
}

/// Compiles a destination, which validation has let pass, for one container. The findings are what only the vendor itself
/// can tell; the form is none when one of them refuses it, or when something that it refers to is elsewhere.
#[must_use]
pub fn compile(
    object: &Object,
    manifest: &Manifest,
    surroundings: Surroundings<'_>,
    previous: Option<&DestinationForm>,
) -> (Option<DestinationForm>, Vec<Finding>) {
    let spec = &manifest.spec;
    let block = spec.vendor().map(|vendor| format!("spec.{}", vendor.name()));
    let mut resolver = Resolver {
        object,
        block: block.unwrap_or_else(|| "spec".to_owned()),
        surroundings,
        previous,
        sending: Vec::new(),
        secrets: BTreeMap::new(),
        awaited: BTreeSet::new(),
        findings: Vec::new(),
    };
    let when = resolver.when(spec);
    resolver.check_targets(spec);
    let built = destinations::build(spec, &mut resolver);
    let Resolver {
        sending,
        secrets,
        awaited,
        findings,
        ..
    } = resolver;
    let refused = findings.iter().any(Finding::is_error);
    let (Some(built), Ok(when), false) = (built, when, refused) else {
        return (None, findings);
    };
    let readable = surroundings.readable;
    let variables = readable.variables_of(when.iter().chain(&sending));
    let of_variables = variables.iter().map(|variable| &variable.expression);
    let tables = readable.tables_of(of_variables.chain(&when).chain(&sending));
    let form = DestinationForm {
        name: Arc::clone(&object.reference.name),
        fingerprint: fingerprint(spec, &secrets, &awaited, &variables, &tables),
        delivery: delivery(spec),
        when,
        vendor: built.vendor,
        tokens: built.tokens,
        stored: sending
            .iter()
            .flat_map(Expression::variables_read)
            .map(str::to_owned)
            .collect(),
        variables,
        tables,
        awaits_credentials: !awaited.is_empty(),
        secrets,
        spec: spec.clone(),
    };
    // An unchanged destination keeps its vendor, and with it its access tokens.
    match previous {
        Some(previous) if previous.fingerprint == form.fingerprint => (Some(previous.clone()), findings),
        _ => (Some(form), findings),
    }
}

fn delivery(spec: &DestinationSpec) -> DeliverySettings {
    let effective = spec.effective_delivery();
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    DeliverySettings {
        max_events: count(effective.max_events),
        max_delay: effective.max_delay,
        timeout: effective.timeout,
        max_concurrency: count(effective.max_concurrency),
        initial_backoff: effective.initial_backoff,
        max_backoff: effective.max_backoff,
        max_age: effective.max_age,
    }
}

/// A hash of everything that makes the form. Secrets go in with a key of this process, so that the hash, which may be
/// seen, tells nothing of them.
fn fingerprint(
    spec: &DestinationSpec,
    secrets: &BTreeMap<SecretKeyRef, RotatingSecret>,
    awaited: &BTreeSet<SecretKeyRef>,
    variables: &[NamedExpression],
    tables: &Tables,
) -> String {
    static KEY: OnceLock<[u8; 32]> = OnceLock::new();
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(bytes);
    };
    part(KEY.get_or_init(rand::random));
    part(&serde_json::to_vec(spec).unwrap_or_default());
    for (reference, secret) in secrets {
        part(reference.name.as_bytes());
        part(reference.key.as_bytes());
        for value in std::iter::once(&secret.current).chain(secret.previous.as_ref().map(|(value, _)| value)) {
            part(value.expose().as_bytes());
        }
    }
    for reference in awaited {
        part(reference.name.as_bytes());
        part(reference.key.as_bytes());
    }
    for variable in variables {
        part(variable.name.as_bytes());
        part(variable.expression.source().as_bytes());
    }
    for (name, table) in tables {
        part(name.as_bytes());
        part(table.digest.as_bytes());
    }
    hex::encode(hash.finalize())
}

/// A condition that is there and does not compile.
struct Refused;

/// Gives the vendor what its block refers to, and takes note of what is wrong.
struct Resolver<'r> {
    object: &'r Object,
    /// The path of the vendor's block.
    block: String,
    surroundings: Surroundings<'r>,
    previous: Option<&'r DestinationForm>,
    /// The expressions that are run when events are sent.
    sending: Vec<Expression>,
    secrets: BTreeMap<SecretKeyRef, RotatingSecret>,
    /// The credentials that are not mounted in this pod yet.
    awaited: BTreeSet<SecretKeyRef>,
    findings: Vec<Finding>,
}

impl Resolver<'_> {
    fn path(&self, field: &str) -> String {
        match field {
            "" => self.block.clone(),
            _ => format!("{}.{field}", self.block),
        }
    }

    /// The condition of the trigger.
    fn when(&mut self, spec: &DestinationSpec) -> Result<Option<Expression>, Refused> {
        let Some(source) = spec.trigger.as_ref().and_then(|trigger| trigger.when.as_deref()) else {
            return Ok(None);
        };
        self.expression_at("spec.trigger.when", source).map(Some).ok_or(Refused)
    }

    /// Where it may not lead.
    fn check_targets(&mut self, spec: &DestinationSpec) {
        let Some(vendor) = spec.vendor() else { return };
        let url = match vendor {
            Vendor::Webhook(webhook) => Some(("url", webhook.url.as_str())),
            _ => None,
        };
        let endpoint = vendor.common().endpoint.map(|endpoint| ("endpoint", endpoint));
        // An endpoint stands in place of the vendor's own address.
        if let Some((field, target)) = endpoint.or(url)
            && let Some(message) = self.surroundings.rules.mistake_in_target(target)
        {
            self.mistake(field, message.to_owned());
        }
    }

    fn expression_at(&mut self, path: &str, source: &str) -> Option<Expression> {
        let environment = self.surroundings.readable.scope.event_environment();
        match Expression::compile(source, &environment) {
            Ok(expression) => Some(expression),
            Err(error) => {
                self.findings.push(self.object.error(path, error.to_string()));
                None
            }
        }
    }

    /// The value that was in force before, while the two are used side by side.
    fn replaced(&self, reference: &SecretKeyRef, current: &Secret) -> Option<(Secret, Instant)> {
        let now = self.surroundings.now;
        let before = self.previous?.secrets.get(reference)?;
        if before.current != *current {
            return Some((before.current.clone(), now));
        }
        let still = before.previous.clone();
        still.filter(|(_, at)| now.saturating_duration_since(*at) < ROTATION)
    }
}

impl Resolve for Resolver<'_> {
    fn container(&self) -> &str {
        self.surroundings.container
    }

    /// Validation has told what is missing. In a cluster the vendor is built all the same, so that hits are judged by it;
    /// it sends nothing before the credential is there.
    fn secret(&mut self, _field: &str, source: &SecretSource) -> Option<Secret> {
        let reference = &source.secret_key_ref;
        let namespace = &self.object.reference.namespace;
        let Some(current) = self.surroundings.world.secret(namespace, reference) else {
            self.awaited.insert(reference.clone());
            return self.surroundings.rules.in_cluster().then(|| Secret::new(""));
        };
        let rotating = RotatingSecret {
            previous: self.replaced(reference, &current),
            current: current.clone(),
        };
        self.secrets.insert(reference.clone(), rotating);
        Some(current)
    }

    fn awaits(&self, source: &SecretSource) -> bool {
        self.awaited.contains(&source.secret_key_ref)
    }

    fn previous_secret(&mut self, source: &SecretSource) -> Option<Secret> {
        let secret = self.secrets.get(&source.secret_key_ref)?;
        secret.previous.as_ref().map(|(value, _)| value.clone())
    }

    fn expression(&mut self, field: &str, source: &str) -> Option<Field> {
        let expression = self.expression_at(&self.path(field), source)?;
        self.sending.push(expression.clone());
        Some(Field {
            path: field.to_owned(),
            expression,
        })
    }

    fn mapping(
        &mut self,
        event_names: &BTreeMap<String, String>,
        parameters: &BTreeMap<String, String>,
    ) -> Option<Mapping> {
        let mut compiled = Vec::with_capacity(parameters.len());
        for (name, source) in parameters {
            compiled.push((name.clone(), self.expression(&format!("parameters.{name}"), source)?));
        }
        Some(Mapping {
            event_names: event_names.clone(),
            parameters: compiled,
            tables: Arc::clone(&self.surroundings.readable.lookup_tables),
        })
    }

    fn mistake(&mut self, field: &str, message: String) {
        let field = self.path(field);
        self.findings.push(self.object.error(&field, message));
    }
}
