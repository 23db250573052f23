//! Tagfleet's two kinds, `TaggingContainer` and `Destination`, as Rust types, and everything that can be said about an
//! object of them before it is used: schema, CEL rules, defaults, and [`validate`], the verdict that operator, gateway and
//! `check` share.

pub mod conditions;
pub mod data_flow;
pub mod destination;
pub mod event_schema;
pub mod generated;
pub mod lookup_table;
pub mod schema;
pub mod tagging_container;
pub mod validate;

mod common;
mod path;

pub use self::{
    common::{
        ConfigMapKeyRef, Duration, HeaderValue, InvalidDuration, InvalidSize, ObjectRef, SecretKeyRef, SecretSource,
        Size,
    },
    destination::{Destination, DestinationSpec, DestinationStatus},
    path::{FieldPath, Segment},
    tagging_container::{TaggingContainer, TaggingContainerSpec, TaggingContainerStatus},
};

/// The API group of both kinds.
pub const GROUP: &str = "tagfleet.dev";
/// The version of both kinds.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of both kinds.
pub const API_VERSION: &str = "tagfleet.dev/v1alpha1";
/// The label, with value `"true"`, that a Secret must carry in a cluster before a Destination may use it.
pub const CREDENTIALS_LABEL: &str = "tagfleet.dev/credentials";
