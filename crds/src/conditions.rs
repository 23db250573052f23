//! The types of conditions and their reasons, as operator and gateways write them.

/// Types of conditions of a TaggingContainer.
pub mod tagging_container {
    /// The specification is valid and in force. The operator's verdict.
    pub const ACCEPTED: &str = "Accepted";
    /// The fleet serves: this generation is rolled out and has ready endpoints.
    pub const READY: &str = "Ready";
    /// A change is being rolled out.
    pub const PROGRESSING: &str = "Progressing";
    /// The fleet does less than it should: pods are missing, or gateways refuse the configuration.
    pub const DEGRADED: &str = "Degraded";
    /// What the buffer survives; its reason names the level.
    pub const DURABLE: &str = "Durable";
    /// The pods do not run the newest gateway image yet.
    pub const OUT_OF_DATE: &str = "OutOfDate";
}

/// Types of conditions of a Destination.
pub mod destination {
    /// The specification is valid and in force. The operator's verdict.
    pub const ACCEPTED: &str = "Accepted";
    /// Every Secret that it refers to is there, shared, and has arrived in the gateways.
    pub const CREDENTIALS_RESOLVED: &str = "CredentialsResolved";
    /// Events arrive at the vendor.
    pub const DELIVERING: &str = "Delivering";
}

/// Reasons: one CamelCase word each. The same words are the reasons of [`crate::validate::Finding`]s.
pub mod reasons {
    /// Valid and in force.
    pub const ACCEPTED: &str = "Accepted";
    /// A field has a value that it cannot have.
    pub const INVALID: &str = "Invalid";
    /// An expression does not compile: it is not CEL, or reads what is not there.
    pub const EXPRESSION_INVALID: &str = "ExpressionInvalid";
    /// An expression gives a value of the wrong type.
    pub const EXPRESSION_TYPE: &str = "ExpressionType";
    /// Variables read each other in a circle.
    pub const VARIABLE_CYCLE: &str = "VariableCycle";
    /// A lookup table does not parse.
    pub const LOOKUP_TABLE_INVALID: &str = "LookupTableInvalid";
    /// A TaggingContainer that is referred to does not exist.
    pub const CONTAINER_NOT_FOUND: &str = "ContainerNotFound";
    /// A Destination that is referred to does not exist, or does not refer to the container.
    pub const DESTINATION_NOT_FOUND: &str = "DestinationNotFound";
    /// A Secret that is referred to does not exist.
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    /// A Secret has not the key that is referred to.
    pub const SECRET_KEY_NOT_FOUND: &str = "SecretKeyNotFound";
    /// A Secret does not carry the label `tagfleet.dev/credentials: "true"`.
    pub const SECRET_NOT_SHARED: &str = "SecretNotShared";
    /// A Secret was found but has not arrived in every gateway yet.
    pub const PROPAGATING: &str = "Propagating";
    /// A ConfigMap that is referred to does not exist.
    pub const CONFIG_MAP_NOT_FOUND: &str = "ConfigMapNotFound";
    /// A ConfigMap has not the key that is referred to.
    pub const CONFIG_MAP_KEY_NOT_FOUND: &str = "ConfigMapKeyNotFound";
    /// Two objects, or two things in one object, have the same name or claim the same path.
    pub const DUPLICATE: &str = "Duplicate";
    /// A class of parameters that is not defined.
    pub const CLASS_NOT_FOUND: &str = "ClassNotFound";
    /// A destination would be sent a parameter of a class that it must not receive.
    pub const DATA_FLOW: &str = "DataFlow";
    /// Nothing can come of this, though nothing is wrong with it.
    pub const NO_EFFECT: &str = "NoEffect";
    /// An older container owns the hostname.
    pub const HOSTNAME_CONFLICT: &str = "HostnameConflict";
    /// A gateway refuses the configuration.
    pub const GATEWAY_REFUSED: &str = "GatewayRefused";
    /// The vendor refuses the credentials.
    pub const CREDENTIALS_REJECTED: &str = "CredentialsRejected";
    /// Nothing of the buffer survives the process.
    pub const MEMORY: &str = "Memory";
    /// The buffer survives a restart of the container; scale-in or eviction during an outage loses the backlog.
    pub const EMPTY_DIR: &str = "EmptyDir";
    /// The buffer survives the loss of the pod.
    pub const VOLUME: &str = "Volume";
    /// The buffer survives the loss of a node.
    pub const JET_STREAM: &str = "JetStream";
    /// The object is paused.
    pub const PAUSED: &str = "Paused";
    /// Nothing of the object was ever good enough to be in force, so there is nothing to tell.
    pub const NOT_ACCEPTED: &str = "NotAccepted";
    /// Enough pods are ready, and serve the configuration in force.
    pub const SERVING: &str = "Serving";
    /// Fewer pods are ready than serve at the least.
    pub const PODS_NOT_READY: &str = "PodsNotReady";
    /// The Deployment or StatefulSet is not there yet.
    pub const CREATING: &str = "Creating";
    /// Pods are being replaced, added or removed.
    pub const ROLLING_OUT: &str = "RollingOut";
    /// Some gateways have not taken up the configuration in force yet.
    pub const CONFIGURING: &str = "Configuring";
    /// Every pod and every gateway is as it should be.
    pub const ROLLED_OUT: &str = "RolledOut";
    /// The rollout of the pods does not go on.
    pub const ROLLOUT_STUCK: &str = "RolloutStuck";
    /// A pod does not start or does not stay up.
    pub const PODS_FAILING: &str = "PodsFailing";
    /// A pod is ready, but the operator cannot read its `/status`.
    pub const GATEWAYS_UNREACHABLE: &str = "GatewaysUnreachable";
    /// A gateway answers hits with 503, as its buffer does not take them.
    pub const HITS_REFUSED: &str = "HitsRefused";
    /// Nothing is wrong.
    pub const HEALTHY: &str = "Healthy";
    /// A child's name is taken by an object that is not the operator's.
    pub const NAME_TAKEN: &str = "NameTaken";
    /// The API server refuses a child.
    pub const APPLY_FAILED: &str = "ApplyFailed";
    /// A newer gateway image waits until the rollout of another fleet is over.
    pub const WAITING_FOR_ROLLOUT: &str = "WaitingForRollout";
    /// Every pod runs the wanted image.
    pub const UP_TO_DATE: &str = "UpToDate";
    /// The CustomResourceDefinition in the cluster is older than the operator.
    pub const CUSTOM_RESOURCE_DEFINITION_OLDER: &str = "CustomResourceDefinitionOlder";
    /// Every Secret that is referred to is there and has arrived, or none is needed.
    pub const RESOLVED: &str = "Resolved";
    /// The vendor takes the events, or there are none to send.
    pub const DELIVERING: &str = "Delivering";
    /// The vendor fails or cannot be reached; the gateways try again by themselves.
    pub const VENDOR_FAILING: &str = "VendorFailing";
    /// The vendor asks for no more events.
    pub const STOPPED: &str = "Stopped";
    /// No gateway tells how it stands.
    pub const NO_GATEWAYS: &str = "NoGateways";
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use std::collections::BTreeSet;

    /// The value of each constant of this file.
    fn words() -> BTreeSet<&'static str> {
        let lines = include_str!("conditions.rs").lines();
        let constants = lines.filter(|line| line.trim_start().starts_with("pub const "));
        constants.filter_map(|line| line.split('"').nth(1)).collect()
    }

    /// What stands between backticks in the first cell of the tables of docs/conditions.md.
    fn documented() -> BTreeSet<&'static str> {
        let rows = include_str!("../../docs/conditions.md")
            .lines()
            .filter(|line| line.starts_with("| `"));
        let cells = rows.filter_map(|row| row.split('|').nth(1));
        cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
    }

    #[test]
    fn the_page_on_conditions_has_every_condition_and_reason_and_no_other() {
        assert_eq!(words(), documented());
    }
}
