//! From a container's spec to what ingest and pipeline read.

use std::sync::Arc;

use ipnet::IpNet;
use tagfleet_crds::{
    SecretSource, TaggingContainer, TaggingContainerSpec,
    conditions::reasons,
    tagging_container::{self as crd, ClientKind as Wanted, LookupTable},
    validate,
};

use super::{
    finding::Finding,
    objects::{Body, Object},
    policies,
    readable::Readable,
    rules::Rules,
    world::World,
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
    pipeline::policies::Policies,
    secret::Secrets,
};

/// Whose X-Forwarded-For is believed in file mode, when the container does not say: this machine's.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];
/// In a cluster: its own proxies, which have private addresses (RFC 1918, RFC 4193), or stand in the pod itself.
const PRIVATE: [&str; 6] = [
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
];

/// A container in the form that is in force.
#[derive(Clone, Debug)]
pub struct ContainerForm {
    /// Its spec.
    pub spec: TaggingContainerSpec,
    /// What its expressions read.
    pub readable: Readable,
    /// Its clients in order.
    pub clients: Vec<Arc<Client>>,
    /// Whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Who may read answers from another origin.
    pub cors: Cors,
    /// What is done with each event before it meets destinations.
    pub policies: Arc<Policies>,
}

/// What became of a container.
#[derive(Debug)]
pub struct Compiled {
    /// The form; none when a mistake refuses it, or when something it refers to is elsewhere.
    pub form: Option<ContainerForm>,
    /// What its expressions read, as far as that could be made out: its destinations are checked against it.
    pub readable: Readable,
    /// The mistakes in it, and in the ConfigMaps of its tables.
    pub findings: Vec<Finding>,
}

/// Compiles a container. `objects` are all that it may refer to, and `world` the same with the values of Secrets.
#[must_use]
pub fn compile(
    object: &Object,
    container: &TaggingContainer,
    objects: &validate::Objects<'_>,
    world: &World,
    rules: &Rules,
    previous: Option<&ContainerForm>,
) -> Compiled {
    let spec = &container.spec;
    let (scope, found) = validate::validate_container(container, objects);
    let found = rules.seen(found);
    let refused = found.iter().any(validate::Finding::is_error);
    let mut findings: Vec<_> = found
        .iter()
        .map(|finding| located(object, spec, world, finding))
        .collect();
    let readable = Readable::new(scope, previous.map(|previous| &previous.readable));
    let clients: Option<Vec<_>> = spec
        .clients
        .iter()
        .map(|wanted| client(object, wanted, world).map(Arc::new))
        .collect();
    let identity = policies::identity(object, spec, world, &mut findings);
    let form = clients
        .zip(identity)
        .filter(|_| !refused)
        .map(|(clients, identity)| ContainerForm {
            readable: readable.clone(),
            clients,
            trusted_proxies: trusted_proxies(spec, rules),
            cors: Cors::new(
                spec.hostnames.iter().map(String::as_str),
                spec.cors
                    .iter()
                    .flat_map(|cors| &cors.allowed_origins)
                    .map(String::as_str),
            ),
            policies: Arc::new(Policies {
                identity,
                ..policies::compile(spec, &readable, previous.map(|previous| &*previous.policies))
            }),
            spec: spec.clone(),
        });
    Compiled {
        form,
        readable,
        findings,
    }
}

impl ContainerForm {
    /// `limits.requestBytes`.
    #[must_use]
    pub fn request_bytes(&self) -> usize {
        usize::try_from(self.spec.effective_limits().request_bytes.bytes()).unwrap_or(usize::MAX)
    }
}

/// A finding with its place. What is wrong with a table's text stands in its ConfigMap.
fn located(object: &Object, spec: &TaggingContainerSpec, world: &World, finding: &validate::Finding) -> Finding {
    let field = finding.path.to_string();
    let of_table = |(index, _): &(usize, &LookupTable)| field.starts_with(&format!("spec.lookupTables[{index}]."));
    let table = spec.lookup_tables.iter().enumerate().find(of_table);
    match table {
        Some((_, table)) if finding.reason == reasons::LOOKUP_TABLE_INVALID => {
            in_config_map(object, table, world, finding.message.clone(), finding.severity.into())
        }
        _ => object.located(finding),
    }
}

/// A finding about the text of a table, placed in its ConfigMap.
#[must_use]
pub fn in_config_map(
    container: &Object,
    table: &LookupTable,
    world: &World,
    message: String,
    severity: super::finding::Severity,
) -> Finding {
    let key = &table.config_map_ref.key;
    let object = world
        .config_map(&container.reference.namespace, &table.config_map_ref.name)
        .unwrap_or(container);
    let at = match &object.body {
        Body::Data(data) => data.place(key),
        Body::Own(_) => None,
    };
    Finding {
        severity,
        ..object.finding(at.unwrap_or(object.at), format!("data[\"{key}\"]"), message)
    }
}

/// A client; none when its secret is missing, which validation has told, or its kind is not in force.
fn client(object: &Object, wanted: &crd::Client, world: &World) -> Option<Client> {
    let secrets = |source: &Option<SecretSource>| match source {
        Some(source) => secrets(object, source, world).map(Some),
        None => Some(None),
    };
    let kind = match wanted.kind()? {
        Wanted::Ga4(ga4) => ClientKind::Ga4(Ga4 {
            measurement_ids: ga4.measurement_ids.clone(),
        }),
        Wanted::MeasurementProtocol(protocol) => ClientKind::MeasurementProtocol(MeasurementProtocol {
            api_secret: secrets(&protocol.api_secret)?,
            measurement_ids: protocol.measurement_ids.clone(),
        }),
        Wanted::Json(json) => {
            let auth = json.auth.clone().unwrap_or_default();
            let (key, hmac) = (secrets(&auth.api_key)?, secrets(&auth.hmac)?);
            ClientKind::Json(Json {
                path: json.path.clone(),
                auth: key.map(JsonAuth::ApiKey).or(hmac.map(JsonAuth::Hmac)),
            })
        }
        Wanted::Pixel(pixel) => ClientKind::Pixel(Pixel {
            path: pixel.effective_path().to_owned(),
        }),
        Wanted::Scripts(_) => return None,
    };
    Some(Client {
        name: wanted.name.clone(),
        kind,
    })
}

/// A Secret of the container; none when it is missing, which validation has told.
pub(super) fn secrets(object: &Object, source: &SecretSource, world: &World) -> Option<Secrets> {
    let secret = world.secret(&object.reference.namespace, &source.secret_key_ref)?;
    Some(Secrets::new(secret))
}

/// The ranges given, which validation has parsed once; without any, those of proxies nearby.
fn trusted_proxies(spec: &TaggingContainerSpec, rules: &Rules) -> Vec<IpNet> {
    let nearby: &[&str] = if rules.in_cluster() { &PRIVATE } else { &LOOPBACK };
    match &spec.trusted_proxies {
        Some(ranges) => ranges.iter().filter_map(|range| range.parse().ok()).collect(),
        None => nearby.iter().filter_map(|range| range.parse().ok()).collect(),
    }
}
