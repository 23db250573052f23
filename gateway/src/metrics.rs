//! The metrics of contract and dashboards, in one registry.
