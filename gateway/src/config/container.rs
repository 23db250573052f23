//! From a container's spec to what ingest and pipeline read.

use std::{collections::BTreeMap, sync::Arc};

use ipnet::IpNet;
use tagfleet_crds::{
    SecretKeyRef, SecretSource, TaggingContainerSpec,
    tagging_container::{self as crd, ClientKind as Wanted, ConsentState, IpAddress, LookupTable},
};

use super::{
    finding::{Finding, Severity},
    objects::{Body, Object},
    scope::Scope,
    tables::{self, Table},
    world::{Mode, World},
};
use crate::{
    ingest::{
        Client, ClientKind,
        cors::Cors,
        ga4::Ga4,
        json::{Json, JsonAuth},
        measurement_protocol::MeasurementProtocol,
        pixel::Pixel,
    },
    pipeline::{lookup::LookupTables, privacy::IpAddressPolicy},
    record::{Consent, ConsentSignal},
    secret::{Secret, Secrets},
};

/// A container in the form that is in force.
#[derive(Clone, Debug)]
pub struct ContainerForm {
    /// Its spec.
    pub spec: TaggingContainerSpec,
    /// What its expressions may read.
    pub scope: Scope,
    /// Its clients in order.
    pub clients: Vec<Arc<Client>>,
    /// Whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Who may read answers from another origin.
    pub cors: Cors,
    /// Its lookup tables.
    pub lookup_tables: Arc<LookupTables>,
}

/// What became of a container's spec.
#[derive(Debug)]
pub struct Compiled {
    /// The form; none when a mistake refuses it, or when something it refers to is elsewhere.
    pub form: Option<ContainerForm>,
    /// What expressions may read as far as that could be made out, for the check of its destinations.
    pub scope: Scope,
    /// The mistakes in it, and in the ConfigMaps of its tables.
    pub findings: Vec<Finding>,
}

/// Compiles a container. A table that does not parse stays as it was in `previous`.
#[must_use]
pub fn compile(
    object: &Object,
    spec: TaggingContainerSpec,
    world: &World,
    mode: Mode,
    previous: Option<&ContainerForm>,
) -> Compiled {
    let mut compiler = Compiler {
        object,
        world,
        mode,
        findings: Vec::new(),
        whole: true,
    };
    let tables = compiler.tables(&spec.lookup_tables, previous);
    let (scope, mistakes) = Scope::new(tables, &spec.variables);
    for mistake in mistakes {
        compiler.error(
            &format!("spec.variables[{}].expression", mistake.index),
            mistake.message,
        );
    }
    let clients: Vec<Option<Arc<Client>>> = (0..)
        .zip(&spec.clients)
        .map(|(index, client)| compiler.client(index, client).map(Arc::new))
        .collect();
    let trusted_proxies = compiler.trusted_proxies(spec.trusted_proxies.as_deref());
    let allowed_origins = spec.cors.iter().flat_map(|cors| &cors.allowed_origins);
    let cors = Cors::new(
        spec.hostnames.iter().map(String::as_str),
        allowed_origins.map(String::as_str),
    );
    let Compiler { findings, whole, .. } = compiler;
    let clients: Option<Vec<_>> = clients.into_iter().collect();
    let form = clients.filter(|_| whole).map(|clients| ContainerForm {
        lookup_tables: lookup_tables(&scope, previous),
        scope: scope.clone(),
        clients,
        trusted_proxies,
        cors,
        spec,
    });
    Compiled { form, scope, findings }
}

impl ContainerForm {
    /// `limits.requestBytes`.
    #[must_use]
    pub fn request_bytes(&self) -> usize {
        usize::try_from(self.spec.effective_limits().request_bytes.bytes()).unwrap_or(usize::MAX)
    }

    /// `privacy.ipAddress`.
    #[must_use]
    pub fn ip_address(&self) -> IpAddressPolicy {
        match self.spec.effective_privacy().ip_address {
            IpAddress::Keep => IpAddressPolicy::Keep,
            IpAddress::Truncate => IpAddressPolicy::Truncate,
            IpAddress::Remove => IpAddressPolicy::Remove,
        }
    }

    /// `consent.default`.
    #[must_use]
    pub fn consent_default(&self) -> Consent {
        let signal = |state: Option<ConsentState>| match state {
            Some(ConsentState::Granted) => ConsentSignal::Granted,
            Some(ConsentState::Denied) => ConsentSignal::Denied,
            None => ConsentSignal::Unset,
        };
        let default = self.spec.consent_default();
        Consent {
            ad_storage: signal(default.ad_storage),
            analytics_storage: signal(default.analytics_storage),
            ad_user_data: signal(default.ad_user_data),
            ad_personalization: signal(default.ad_personalization),
        }
    }
}

/// The tables of a scope as expressions read them; those of before when nothing changed.
fn lookup_tables(scope: &Scope, previous: Option<&ContainerForm>) -> Arc<LookupTables> {
    let digests = |scope: &Scope| -> Vec<(String, Option<String>)> {
        let digest = |table: &Option<Arc<Table>>| table.as_ref().map(|table| table.digest.clone());
        scope
            .tables
            .iter()
            .map(|(name, table)| (name.clone(), digest(table)))
            .collect()
    };
    match previous {
        Some(previous) if digests(&previous.scope) == digests(scope) => Arc::clone(&previous.lookup_tables),
        _ => Arc::new(as_lookup_tables(&scope.tables)),
    }
}

/// Tables as expressions read them.
#[must_use]
pub fn as_lookup_tables(tables: &BTreeMap<String, Option<Arc<Table>>>) -> LookupTables {
    let mut lookup = LookupTables::default();
    for (name, table) in tables {
        if let Some(table) = table {
            lookup.insert(name, table.rows.iter().map(|(key, row)| (key.clone(), row.clone())));
        }
    }
    lookup
}

struct Compiler<'c> {
    object: &'c Object,
    world: &'c World,
    mode: Mode,
    findings: Vec<Finding>,
    /// Whether nothing is missing for the form.
    whole: bool,
}

impl Compiler<'_> {
    fn error(&mut self, field: &str, message: impl Into<String>) {
        self.whole = false;
        self.findings.push(self.object.error(field, message));
    }

    fn tables(
        &mut self,
        wanted: &[LookupTable],
        previous: Option<&ContainerForm>,
    ) -> BTreeMap<String, Option<Arc<Table>>> {
        let before = |name: &str| previous.and_then(|previous| previous.scope.tables.get(name).cloned().flatten());
        let mut tables = BTreeMap::new();
        for (index, wanted) in wanted.iter().enumerate() {
            let field = format!("spec.lookupTables[{index}].configMapRef");
            let table = self.table(&field, wanted).or_else(|| before(&wanted.name));
            self.whole &= table.is_some();
            tables.insert(wanted.name.clone(), table);
        }
        tables
    }

    fn table(&mut self, field: &str, wanted: &LookupTable) -> Option<Arc<Table>> {
        let (namespace, reference) = (&self.object.reference.namespace, &wanted.config_map_ref);
        let text = match self.world.text(namespace, reference) {
            Ok(text) => text,
            Err(missing) => {
                self.missing(field, missing.absent, missing.message);
                return None;
            }
        };
        let config_map = self.world.config_map(namespace, &reference.name)?;
        let finding = |severity: Severity, message: String| {
            let at = match &config_map.body {
                Body::Data(data) => data.place(&reference.key),
                Body::Own(_) => None,
            };
            let field = format!("data[\"{}\"]", reference.key);
            Finding {
                severity,
                ..config_map.finding(at.unwrap_or(config_map.at), field, message)
            }
        };
        match tables::parse(text, &wanted.key) {
            Ok(table) => {
                if !table.repeated.is_empty() {
                    let message = format!(
                        "lookup table {}: of several rows with the same {} the last counts: {}",
                        wanted.name,
                        wanted.key,
                        table.repeated.join(", ")
                    );
                    self.findings.push(finding(Severity::Warning, message));
                }
                Some(Arc::new(table))
            }
            Err(error) => {
                let message = format!("lookup table {}: {error}", wanted.name);
                self.findings.push(finding(Severity::Error, message));
                None
            }
        }
    }

    fn missing(&mut self, field: &str, absent: bool, message: String) {
        self.error(field, message);
        if absent && let Some(finding) = self.findings.last_mut() {
            finding.severity = self.mode.absent();
        }
    }

    fn client(&mut self, index: usize, client: &crd::Client) -> Option<Client> {
        let field = format!("spec.clients[{index}]");
        let kind = match client.kind()? {
            Wanted::Ga4(ga4) => ClientKind::Ga4(Ga4 {
                measurement_ids: ga4.measurement_ids.clone(),
            }),
            Wanted::MeasurementProtocol(protocol) => {
                let at = format!("{field}.measurementProtocol.apiSecret");
                ClientKind::MeasurementProtocol(MeasurementProtocol {
                    api_secret: self.secrets(&at, protocol.api_secret.as_ref())?,
                })
            }
            Wanted::Json(json) => {
                let auth = json.auth.clone().unwrap_or_default();
                let key = self.secrets(&format!("{field}.json.auth.apiKey"), auth.api_key.as_ref())?;
                let hmac = self.secrets(&format!("{field}.json.auth.hmac"), auth.hmac.as_ref())?;
                ClientKind::Json(Json {
                    path: json.path.clone(),
                    auth: key.map(JsonAuth::ApiKey).or(hmac.map(JsonAuth::Hmac)),
                })
            }
            Wanted::Pixel(pixel) => ClientKind::Pixel(Pixel {
                path: pixel.effective_path().to_owned(),
            }),
            Wanted::Scripts(_) => {
                self.error(
                    &format!("{field}.scripts"),
                    "is not in force in this version yet: take it out",
                );
                return None;
            }
        };
        Some(Client {
            name: client.name.clone(),
            kind,
        })
    }

    /// The secret that a field refers to. The outer `None` when it cannot be resolved.
    fn secrets(&mut self, field: &str, source: Option<&SecretSource>) -> Option<Option<Secrets>> {
        let Some(source) = source else { return Some(None) };
        let secret = self.secret(&format!("{field}.secretKeyRef"), &source.secret_key_ref)?;
        Some(Some(Secrets::new(secret)))
    }

    fn secret(&mut self, field: &str, reference: &SecretKeyRef) -> Option<Secret> {
        match self.world.secret(&self.object.reference.namespace, reference) {
            Ok(secret) => Some(secret),
            Err(missing) => {
                self.missing(field, missing.absent, missing.message);
                None
            }
        }
    }

    /// The ranges given; without any, in file mode, this machine itself.
    fn trusted_proxies(&mut self, given: Option<&[String]>) -> Vec<IpNet> {
        let loopback = ["127.0.0.0/8".to_owned(), "::1/128".to_owned()];
        let ranges = given.unwrap_or(&loopback);
        let mut parsed = Vec::with_capacity(ranges.len());
        for (index, range) in ranges.iter().enumerate() {
            match range.parse() {
                Ok(range) => parsed.push(range),
                Err(_) => self.error(
                    &format!("spec.trustedProxies[{index}]"),
                    "must be a range of addresses in CIDR notation, such as 10.0.0.0/8",
                ),
            }
        }
        parsed
    }
}
