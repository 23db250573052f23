//! The checks of a container.

use std::collections::{BTreeMap, btree_map::Entry};

use ipnet::IpNet;

use super::{
    Finding, Kind, Objects, Report, enrich,
    expressions::{self, Purpose, Scope},
    identity, network, references, transformations,
};
use crate::{
    FieldPath, TaggingContainer, TaggingContainerSpec,
    conditions::reasons,
    event_schema::EventSchema,
    lookup_table::Table,
    tagging_container::{BufferKind, ClientKind},
};

/// Paths that the server answers itself.
const OWN_PATHS: [&str; 2] = ["/healthz", "/healthy"];

/// Checks a container; gives, too, what the expressions of its destinations may read.
pub(super) fn validate(container: &TaggingContainer, objects: &Objects<'_>) -> (Scope, Vec<Finding>) {
    let mut report = Report::new(Kind::TaggingContainer, container);
    let spec = &container.spec;
    names(spec, &mut report);
    exposure(spec, &mut report);
    clients(spec, &mut report);
    for (path, reference) in spec.secrets() {
        references::secret(reference, path, objects, &mut report);
    }
    let scope = Scope::new(tables(spec, objects, &mut report), &spec.variables, &mut report);
    transformations::validate(container, &scope, objects, &mut report);
    if let Some(priority) = &spec.priority {
        let path = FieldPath::spec().field("priority");
        expressions::check(priority, Purpose::Number, &scope.event_environment(), path, &mut report);
    }
    tracking_plan(spec, &mut report);
    consent(spec, &mut report);
    identity::check(spec, &mut report);
    buffer(spec, &mut report);
    limits(spec, &mut report);
    enrich::check(spec, objects.setting, &mut report);
    if let Some(otlp) = spec.telemetry.as_ref().and_then(|telemetry| telemetry.otlp.as_ref()) {
        let path = FieldPath::spec().fields(&["telemetry", "otlp"]);
        network::url(&otlp.endpoint, path.field("endpoint"), &mut report);
        network::headers(&otlp.headers, &path.field("headers"), &mut report);
    }
    (scope, report.into_findings())
}

/// Names that stand twice in a list.
fn names(spec: &TaggingContainerSpec, report: &mut Report) {
    let list = |name: &str| FieldPath::spec().field(name);
    report.repeated(&list("clients"), spec.clients.iter().map(|client| client.name.as_str()));
    report.repeated(
        &list("lookupTables"),
        spec.lookup_tables.iter().map(|table| table.name.as_str()),
    );
    report.repeated(
        &list("variables"),
        spec.variables.iter().map(|variable| variable.name.as_str()),
    );
    report.repeated(
        &list("transformations"),
        spec.transformations.iter().map(|rule| rule.name.as_str()),
    );
}

/// Ways in, replicas, proxies and origins.
fn exposure(spec: &TaggingContainerSpec, report: &mut Report) {
    let at = FieldPath::spec();
    if spec.ingress.is_some() && !spec.gateway_refs.is_empty() {
        report.error(
            at.field("gatewayRefs"),
            reasons::INVALID,
            "set at most one way in: ingress, gatewayRefs",
        );
    }
    if let Some(replicas) = &spec.replicas
        && replicas.min > replicas.max
    {
        let message = format!("min ({}) must not be greater than max ({})", replicas.min, replicas.max);
        report.error(at.fields(&["replicas", "min"]), reasons::INVALID, message);
    }
    for (index, range) in spec.trusted_proxies.iter().flatten().enumerate() {
        if range.parse::<IpNet>().is_err() {
            let message = "must be a range of addresses in CIDR notation, such as 10.0.0.0/8";
            report.error(at.field("trustedProxies").index(index), reasons::INVALID, message);
        }
    }
    let origins = spec.cors.iter().flat_map(|cors| &cors.allowed_origins);
    for (index, origin) in origins.enumerate() {
        network::origin(origin, at.fields(&["cors", "allowedOrigins"]).index(index), report);
    }
}

/// The kind of each client, and whether an earlier one claims its paths.
fn clients(spec: &TaggingContainerSpec, report: &mut Report) {
    let at = FieldPath::spec().field("clients");
    if spec.clients.is_empty() {
        report.warning(
            at.clone(),
            reasons::NO_EFFECT,
            "without a client the server takes no hit",
        );
    }
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for (index, client) in spec.clients.iter().enumerate() {
        let Some(kind) = client.kind() else {
            let message = "set exactly one kind of client: ga4, measurementProtocol, json, pixel, scripts";
            report.error(at.index(index), reasons::INVALID, message);
            continue;
        };
        if let ClientKind::Json(json) = kind
            && let Some(auth) = &json.auth
            && auth.api_key.is_some() == auth.hmac.is_some()
        {
            let path = at.index(index).fields(&["json", "auth"]);
            report.error(
                path,
                reasons::INVALID,
                "set exactly one way to authenticate: apiKey, hmac",
            );
        }
        for path in paths(kind) {
            if OWN_PATHS.contains(&path) {
                let message = format!("the path {path} is the server's own");
                report.error(at.index(index), reasons::DUPLICATE, message);
            }
            match owners.entry(path) {
                Entry::Vacant(free) => drop(free.insert(&client.name)),
                Entry::Occupied(owner) => {
                    let message = format!("never gets a hit at {path}: client {} claims it first", owner.get());
                    report.warning(at.index(index), reasons::NO_EFFECT, message);
                }
            }
        }
    }
}

/// The paths that a client claims.
fn paths(kind: ClientKind<'_>) -> Vec<&str> {
    match kind {
        ClientKind::Ga4(_) => vec!["/g/collect"],
        ClientKind::MeasurementProtocol(_) => vec!["/mp/collect"],
        ClientKind::Json(json) => vec![&json.path],
        ClientKind::Pixel(pixel) => vec![pixel.effective_path()],
        ClientKind::Scripts(_) => vec!["/gtm.js", "/gtag/js"],
    }
}

/// The lookup tables, as far as they can be read.
fn tables(spec: &TaggingContainerSpec, objects: &Objects<'_>, report: &mut Report) -> BTreeMap<String, Option<Table>> {
    let mut tables = BTreeMap::new();
    for (index, wanted) in spec.lookup_tables.iter().enumerate() {
        let path = FieldPath::spec()
            .field("lookupTables")
            .index(index)
            .field("configMapRef");
        let text = references::config_map(&wanted.config_map_ref, path.clone(), objects, report);
        let parsed = text.map(|text| Table::parse(text, &wanted.key));
        let place = format!(
            "ConfigMap {}, key {}",
            wanted.config_map_ref.name, wanted.config_map_ref.key
        );
        match &parsed {
            Some(Err(error)) => {
                let message = format!("lookup table {}: {error} ({place})", wanted.name);
                report.error(path, reasons::LOOKUP_TABLE_INVALID, message);
            }
            Some(Ok(table)) if !table.repeated.is_empty() => {
                let message = format!(
                    "lookup table {}: of several rows with the same {} the last counts: {} ({place})",
                    wanted.name,
                    wanted.key,
                    table.repeated.join(", ")
                );
                report.warning(path, reasons::LOOKUP_TABLE_INVALID, message);
            }
            _ => {}
        }
        tables.insert(wanted.name.clone(), parsed.and_then(Result::ok));
    }
    tables
}

/// Whether the schemas compile.
fn tracking_plan(spec: &TaggingContainerSpec, report: &mut Report) {
    for (index, rule) in spec.validation.iter().enumerate() {
        let path = FieldPath::spec().field("validation").index(index).field("schema");
        if rule.schema.is_empty() {
            let message = "an empty schema allows every event";
            report.warning(path, reasons::NO_EFFECT, message);
        } else if let Err(mistake) = EventSchema::compile(&rule.schema) {
            report.error(path, reasons::INVALID, mistake);
        }
    }
}

/// Regions of which two say something, and regions that nobody can tell.
fn consent(spec: &TaggingContainerSpec, report: &mut Report) {
    let Some(consent) = &spec.consent else { return };
    let at = FieldPath::spec().fields(&["consent", "regions"]);
    if !consent.regions.is_empty() && spec.enrich.as_ref().is_none_or(|enrich| enrich.geo.is_none()) {
        let message = "without enrich.geo no visitor's region is known, and consent.default holds for all";
        report.warning(at.clone(), reasons::NO_EFFECT, message);
    }
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, region) in consent.regions.iter().enumerate() {
        for (place, code) in region.region.iter().enumerate() {
            if let Some(first) = known.insert(code, index) {
                let path = at.index(index).field("region").index(place);
                let message = format!("{code} stands in consent.regions[{first}] already: which of the two is meant?");
                report.error(path, reasons::INVALID, message);
            }
        }
    }
}

fn buffer(spec: &TaggingContainerSpec, report: &mut Report) {
    let at = FieldPath::spec().field("buffer");
    let buffer = spec.effective_buffer();
    let dead_letters = buffer.effective_dead_letters().max_bytes;
    let Some(kind) = buffer.kind() else {
        report.error(
            at,
            reasons::INVALID,
            "set at most one kind of buffer: memory, disk, jetStream",
        );
        return;
    };
    let (path, max_bytes) = match &kind {
        BufferKind::Memory(memory) => (at.fields(&["memory", "maxBytes"]), memory.max_bytes),
        BufferKind::Disk(disk) => (at.fields(&["disk", "maxBytes"]), disk.max_bytes),
        BufferKind::JetStream(stream) => (at.fields(&["jetStream", "maxBytes"]), stream.effective_max_bytes()),
    };
    if max_bytes.bytes() == 0 {
        report.error(
            path,
            reasons::INVALID,
            "must be more than 0: the buffer would always be full",
        );
    }
    if let BufferKind::Disk(disk) = kind
        && let Some(size) = disk.volume.and_then(|volume| volume.size)
        && size.bytes() < disk.max_bytes.bytes().saturating_add(dead_letters.bytes())
    {
        let message = format!(
            "{size} is less than the buffer ({}) and the dead letters ({dead_letters}) together: the disk would be full \
             before the buffer is",
            disk.max_bytes
        );
        report.error(at.fields(&["disk", "volume", "size"]), reasons::INVALID, message);
    }
}

fn limits(spec: &TaggingContainerSpec, report: &mut Report) {
    let limits = spec.effective_limits();
    let at = FieldPath::spec().field("limits");
    if limits.request_bytes.bytes() == 0 {
        report.error(
            at.field("requestBytes"),
            reasons::INVALID,
            "must be more than 0: every body would be too large",
        );
    }
}
