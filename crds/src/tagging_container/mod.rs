//! `TaggingContainer`: a tagging server, what it accepts and what it does with each event before it is stored.

// The columns of a kind have attributes of the same names.
#![allow(clippy::duplicated_attributes)]

mod buffer;
mod clients;
mod consent;
mod data;
mod enrich;
mod exposure;
mod limits;
mod observability;
mod pod;
mod privacy;
mod status;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    buffer::{Buffer, BufferKind, DeadLetters, DiskBuffer, DiskVolume, JetStreamBuffer, MemoryBuffer, WhenFull},
    clients::{
        Client, ClientKind, Ga4Client, JsonAuth, JsonClient, MeasurementProtocolClient, PixelClient, ScriptsClient,
    },
    consent::{Consent, ConsentHold, ConsentRegion, ConsentSignal, ConsentSignals, ConsentState},
    data::{
        LookupTable, OnInvalid, Redact, RedactPattern, Transformation, TransformationKind, ValidationRule, Variable,
    },
    enrich::{Enrich, Geo, GeoHeaders},
    exposure::{Autoscaler, Cors, GatewayRef, Ingress, IngressIssuer, IngressTls, IssuerKind, Replicas},
    limits::{Limits, RateLimit},
    observability::{Monitoring, Objectives, Otlp, OtlpProtocol, Preview, Telemetry},
    pod::{EnvVar, NetworkPolicy, PodOverrides, Resources},
    privacy::{
        Bots, CLICK_ID_COOKIES, CookieSettings, Deduplication, Identity, IdentityCookie, IpAddress, LINKER_COOKIE,
        Linker, ParameterClass, Privacy, SameSite,
    },
    status::{GatewayCount, PodCount, TaggingContainerStatus},
};
use crate::{
    FieldPath, SecretKeyRef, SecretSource,
    schema::{at_most_one_of, rule},
};

/// What a tagging server is to be: where it is reached, which hits it takes, what it does with each, and how it runs.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tagfleet.dev",
    version = "v1alpha1",
    kind = "TaggingContainer",
    plural = "taggingcontainers",
    shortname = "tc",
    category = "tagfleet",
    namespaced,
    status = "TaggingContainerStatus",
    derive = "PartialEq",
    doc = "A tagging server: it takes hits from browsers, apps and servers on its own hostname, turns them into events, and hands each event to the Destinations that refer to it.",
    printcolumn(
        name = "Hostname",
        type_ = "string",
        json_path = ".spec.hostnames[0]",
        description = "The first hostname."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.pods.summary",
        description = "Pods that serve, of those that are wanted."
    ),
    printcolumn(
        name = "Destinations",
        type_ = "integer",
        json_path = ".status.destinations",
        description = "Destinations that are in force."
    ),
    printcolumn(
        name = "Events/s",
        type_ = "string",
        json_path = ".status.eventsPerSecond",
        description = "Events accepted in a second."
    ),
    printcolumn(
        name = "Errors",
        type_ = "string",
        json_path = ".status.errors",
        description = "Share of hits that were answered with an error of the gateway."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    at_most_one_of(&["ingress", "gatewayRefs"], "way in"),
    rule(
        "!(has(self.ingress) || has(self.gatewayRefs)) || (has(self.hostnames) && self.hostnames.size() > 0)",
        "ingress and gatewayRefs route hostnames: list at least one in hostnames",
    ),
]))]
pub struct TaggingContainerSpec {
    /// The DNS names under which the server is reached, such as `metrics.shop.example`: best a subdomain of the site, so
    /// that its cookies are first-party. Each gets a rule in the Ingress or HTTPRoute. Pages on the registrable domains
    /// of these names may send hits with credentials (CORS).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::hostnames")]
    pub hostnames: Vec<String>,
    /// Routes the hostnames by an Ingress. Not together with `gatewayRefs`. Without either, the Service is reached from
    /// within the cluster only. No effect in file mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
    /// Routes the hostnames by an HTTPRoute that is attached to these Gateways (Gateway API). Not together with
    /// `ingress`. No effect in file mode.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub gateway_refs: Vec<GatewayRef>,
    /// How many pods serve, and what scales them. No effect in file mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// What claims a request by its path and turns it into events. The first that matches, in this order, claims it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 20),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub clients: Vec<Client>,
    /// Ranges of addresses (CIDR) of the proxies in front. The right-most address of X-Forwarded-For that is in none of
    /// them is the visitor's. When not set: the private ranges in a cluster, loopback in file mode. An empty list
    /// trusts nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::cidrs")]
    pub trusted_proxies: Option<Vec<String>>,
    /// Which other sites' pages may send hits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// The visitor's first-party cookies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// What holds where the hit itself says nothing about consent. The event's own consent comes first, then gcd, gcs,
    /// TCF, then this default; `Sec-GPC: 1` then denies `ad_storage`, `ad_user_data` and `ad_personalization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
    /// What is removed or marked before anything is stored or sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<Privacy>,
    /// What is added to events from what is known of the visitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrich: Option<Enrich>,
    /// Drops an event that was seen before: same `event_name`, `event_id` and `client_id`. Off when not set. An event
    /// without `event_id` is never dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deduplication: Option<Deduplication>,
    /// Rules of a tracking plan that events are checked against, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub validation: Vec<ValidationRule>,
    /// Tables from ConfigMaps for the function `lookup` of expressions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 50),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub lookup_tables: Vec<LookupTable>,
    /// Named expressions: `vars.<name>` in triggers, transformations, destinations and other variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 200),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub variables: Vec<Variable>,
    /// Changes of the event, in order: for all destinations before it is stored, or for the named ones in their own
    /// view.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 200),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub transformations: Vec<Transformation>,
    /// Where accepted events wait for their destinations. Default: `disk: {maxBytes: 1Gi}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer: Option<Buffer>,
    /// What a request may weigh and how many may come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// An expression with a number as result: under load, hits of the lowest priority are shed first. Example:
    /// `event.event_name == 'purchase' ? 10 : 1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::expression")]
    pub priority: Option<String>,
    /// The gateway's image, such as `registry.example/tagfleet-gateway:0.1.0`. Default: the operator's setting. No effect
    /// in file mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// CPU and memory of a pod. Default: requests of 100m CPU and 128Mi memory, no limits. No effect in file mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// What is laid over the pods that the operator makes. No effect in file mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodOverrides>,
    /// Who may reach the pods, and what they may reach. No effect in file mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicy>,
    /// What Prometheus scrapes and alerts on. No effect in file mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,
    /// Traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Telemetry>,
    /// The preview of live hits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
    /// Stops the operator from changing this container's children. The gateways go on as they are.
    #[serde(default, skip_serializing_if = "crate::common::is_false")]
    pub paused: bool,
}

impl TaggingContainerSpec {
    /// The autoscaling that is in force: the field, or its defaults.
    #[must_use]
    pub fn effective_replicas(&self) -> Replicas {
        self.replicas.clone().unwrap_or_default()
    }

    /// The buffer that is in force: the field, or `disk` of 1Gi.
    #[must_use]
    pub fn effective_buffer(&self) -> Buffer {
        self.buffer.clone().unwrap_or_default()
    }

    /// The privacy settings that are in force.
    #[must_use]
    pub fn effective_privacy(&self) -> Privacy {
        self.privacy.clone().unwrap_or_default()
    }

    /// The limits that are in force.
    #[must_use]
    pub fn effective_limits(&self) -> Limits {
        self.limits.clone().unwrap_or_default()
    }

    /// `consent.default`; unset where nothing is said.
    #[must_use]
    pub fn consent_default(&self) -> ConsentSignals {
        self.consent
            .as_ref()
            .and_then(|consent| consent.default)
            .unwrap_or_default()
    }

    /// Every Secret key that the container refers to, with the path of the reference.
    #[must_use]
    pub fn secrets(&self) -> Vec<(FieldPath, &SecretKeyRef)> {
        let spec = FieldPath::spec();
        let mut found: Vec<(FieldPath, Option<&SecretSource>)> = Vec::new();
        for (index, client) in self.clients.iter().enumerate() {
            let at = spec.field("clients").index(index);
            if let Some(client) = &client.measurement_protocol {
                found.push((
                    at.fields(&["measurementProtocol", "apiSecret"]),
                    client.api_secret.as_ref(),
                ));
            }
            if let Some(auth) = client.json.as_ref().and_then(|json| json.auth.as_ref()) {
                found.push((at.fields(&["json", "auth", "apiKey"]), auth.api_key.as_ref()));
                found.push((at.fields(&["json", "auth", "hmac"]), auth.hmac.as_ref()));
            }
        }
        let linker = self.identity.as_ref().and_then(|identity| identity.linker.as_ref());
        let linker_key = linker.map(|linker| &linker.key);
        found.push((spec.fields(&["identity", "linker", "key"]), linker_key));
        let stream = self.buffer.as_ref().and_then(|buffer| buffer.jet_stream.as_ref());
        let credentials = stream.and_then(|stream| stream.credentials.as_ref());
        found.push((spec.fields(&["buffer", "jetStream", "credentials"]), credentials));
        let otlp = self.telemetry.as_ref().and_then(|telemetry| telemetry.otlp.as_ref());
        for (name, value) in otlp.iter().flat_map(|otlp| &otlp.headers) {
            found.push((spec.fields(&["telemetry", "otlp", "headers", name]), value.secret()));
        }
        found
            .into_iter()
            .filter_map(|(path, source)| Some((path.field("secretKeyRef"), &source?.secret_key_ref)))
            .collect()
    }
}
