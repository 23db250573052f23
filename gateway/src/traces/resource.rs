//! Who records the spans, as OpenTelemetry's resource conventions name it.

use super::otlp::{KeyValue, Resource};

/// The gateway of this container. `namespace` is set in a cluster; `host` is the machine's name, which in a cluster is the
/// pod's.
#[must_use]
pub fn resource(container: &str, namespace: Option<&str>, host: Option<&str>) -> Resource {
    let mut attributes = vec![
        KeyValue::text("service.name", "tagfleet-gateway"),
        KeyValue::text("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::text("tagfleet.container", container),
    ];
    if let Some(namespace) = namespace {
        attributes.push(KeyValue::text("k8s.namespace.name", namespace));
    }
    if let Some(host) = host {
        let name = if namespace.is_some() {
            "k8s.pod.name"
        } else {
            "host.name"
        };
        attributes.push(KeyValue::text(name, host));
        attributes.push(KeyValue::text("service.instance.id", host));
    }
    Resource { attributes }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::traces::otlp::Any;

    fn shown(resource: &Resource) -> Vec<String> {
        let text = |attribute: &KeyValue| match attribute.value.clone().unwrap().value {
            Some(Any::Text(text)) => format!("{}={text}", attribute.key),
            other => format!("{other:?}"),
        };
        resource.attributes.iter().map(text).collect()
    }

    #[test]
    fn a_pod_is_told_by_its_name_and_a_machine_by_its_own() {
        let own = [
            "service.name=tagfleet-gateway",
            concat!("service.version=", env!("CARGO_PKG_VERSION")),
        ];
        let pod = resource("shop", Some("web"), Some("shop-gateway-0"));
        let told = [
            "tagfleet.container=shop",
            "k8s.namespace.name=web",
            "k8s.pod.name=shop-gateway-0",
            "service.instance.id=shop-gateway-0",
        ];
        assert_eq!(shown(&pod), [own.as_slice(), &told].concat());
        let machine = resource("shop", None, Some("laptop"));
        let told = [
            "tagfleet.container=shop",
            "host.name=laptop",
            "service.instance.id=laptop",
        ];
        assert_eq!(shown(&machine), [own.as_slice(), &told].concat());
        assert_eq!(shown(&resource("shop", None, None)).len(), 3);
    }
}
