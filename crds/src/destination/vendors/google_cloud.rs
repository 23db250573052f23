//! Google Cloud: Pub/Sub and BigQuery.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Block, field};
use crate::{
    FieldPath,
    common::SecretSource,
    schema::{exactly_one_of, rule},
};

/// Google Cloud Pub/Sub: each event as a message, the event's JSON being its data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [exactly_one_of(&["topic", "topicExpression"], "topic")]))]
pub struct PubSub {
    /// The project's id.
    #[schemars(schema_with = "project")]
    pub project: String,
    /// The topic's id, such as `low-stock`: 3 to 255 characters that begin with a letter, and not with `goog`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "topic")]
    pub topic: Option<String>,
    /// An expression that gives the topic's id, so that one Destination serves several topics:
    /// `"events-" + event.event_name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::expression")]
    pub topic_expression: Option<String>,
    /// An expression that gives the ordering key, such as `event.client_id`. Default: messages have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::expression")]
    pub ordering_key: Option<String>,
    /// Names of attributes mapped to expressions: `currency: event.currency`. Subscriptions can filter by them. Personal
    /// data does not belong here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::expressions")]
    pub attributes: BTreeMap<String, String>,
    /// A service account's key file (JSON). Default: the identity of the pod (workload identity).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretSource>,
    /// Scheme and host in place of the vendor's own: a regional endpoint, a proxy or a test double. The vendor's own path
    /// follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::endpoint")]
    pub endpoint: Option<String>,
    /// Names of events mapped to the vendor's, such as `add_to_cart: AddToCart`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::event_map")]
    pub event_names: BTreeMap<String, String>,
    /// Fields of the vendor mapped to expressions over `event`, `consent` and `vars`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::expressions")]
    pub parameters: BTreeMap<String, String>,
}

impl Block for PubSub {
    fn secrets(&self) -> Vec<(FieldPath, Option<&SecretSource>)> {
        vec![(field("credentials"), self.credentials.as_ref())]
    }

    fn takes_anonymous_events(&self) -> bool {
        true
    }
}

/// Google BigQuery: each event as a row in the shape of GA4's own export.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BigQuery {
    /// The project's id.
    #[schemars(schema_with = "project")]
    pub project: String,
    /// The dataset.
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^[A-Za-z0-9_]+$"))]
    pub dataset: String,
    /// The table.
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub table: String,
    /// Whether the table is made when it is missing: partitioned by day, clustered by event name. Default: false.
    #[serde(default, skip_serializing_if = "crate::common::is_false")]
    pub create_table: bool,
    /// A service account's key file (JSON). Default: the identity of the pod (workload identity).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretSource>,
    /// Scheme and host in place of the vendor's own: a regional endpoint, a proxy or a test double. The vendor's own path
    /// follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::endpoint")]
    pub endpoint: Option<String>,
    /// Names of events mapped to the vendor's, such as `add_to_cart: AddToCart`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::event_map")]
    pub event_names: BTreeMap<String, String>,
    /// Fields of the vendor mapped to expressions over `event`, `consent` and `vars`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::expressions")]
    pub parameters: BTreeMap<String, String>,
}

impl Block for BigQuery {
    fn secrets(&self) -> Vec<(FieldPath, Option<&SecretSource>)> {
        vec![(field("credentials"), self.credentials.as_ref())]
    }

    fn takes_anonymous_events(&self) -> bool {
        true
    }
}

fn project(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^([a-z0-9.-]+:)?[a-z][a-z0-9-]*$",
    })
}

/// The rules of a topic's id, from Pub/Sub's resource names.
fn topic(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string", "maxLength": 255,
        "x-kubernetes-validations": [rule(
            "self.matches('^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$') && !self.startsWith('goog')",
            "must be a topic's id: 3 to 255 letters, digits and . _ ~ + % -, beginning with a letter and not with goog",
        )],
    })
}
