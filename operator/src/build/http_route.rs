//! HTTPRoute `<name>-gateway` (Gateway API): routes the hostnames from the Gateways of `spec.gatewayRefs`.

use serde_json::{Value, json};
use tagfleet_crds::tagging_container::GatewayRef;

use super::{child, metadata, names, ports};
use crate::{
    child::{Child, ChildKind},
    fleet::Fleet,
};

/// None without `spec.gatewayRefs`, or where the cluster has no Gateway API.
pub(super) fn build(fleet: &Fleet) -> Vec<Child> {
    let spec = &fleet.container.spec;
    if spec.gateway_refs.is_empty() || spec.hostnames.is_empty() || !fleet.settings.kinds.http_route {
        return Vec::new();
    }
    let metadata = metadata::of(fleet, names::gateway(&fleet.name));
    let parents: Vec<Value> = spec.gateway_refs.iter().map(parent).collect();
    let fields = json!({"spec": {
        "parentRefs": parents,
        "hostnames": spec.hostnames,
        "rules": [{
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "backendRefs": [{"name": names::gateway(&fleet.name), "port": ports::SERVICE_HTTP}],
        }],
    }});
    vec![child(ChildKind::HttpRoute, metadata, fields)]
}

/// A Gateway, with what is said of it.
fn parent(gateway: &GatewayRef) -> Value {
    let mut parent = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway.name});
    let said = [
        ("namespace", gateway.namespace.as_ref().map(|name| json!(name))),
        ("sectionName", gateway.section_name.as_ref().map(|name| json!(name))),
        ("port", gateway.port.map(|port| json!(port))),
    ];
    if let Value::Object(parent) = &mut parent {
        parent.extend(
            said.into_iter()
                .filter_map(|(field, value)| Some((field.to_owned(), value?))),
        );
    }
    parent
}
