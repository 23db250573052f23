//! What stands in for an Ingress controller on a test node: routes of Ingress objects, TLS Secrets and EndpointSlices, and
//! the nginx.conf that serves them. The program is `src/bin/ingress.rs`. It knows what the operator's Ingresses say (hosts,
//! the path `/`, a Service's named port, certificates) and nothing else that a controller knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use k8s_openapi::api::{
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressRule},
};

/// A host and the pods that serve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The host's name.
    pub host: String,
    /// The namespace of the Ingress.
    pub namespace: String,
    /// The Secret with its certificate, in that namespace.
    pub tls_secret: Option<String>,
    /// Pods that are ready.
    pub pods: BTreeSet<SocketAddr>,
}

/// The routes of all Ingresses of a class. Of two that claim one host, the older holds it, as controllers do.
#[must_use]
pub fn routes(class: &str, ingresses: &[Ingress], slices: &[EndpointSlice]) -> Vec<Route> {
    let mut ours: Vec<&Ingress> = ingresses
        .iter()
        .filter(|ingress| {
            ingress
                .spec
                .as_ref()
                .and_then(|spec| spec.ingress_class_name.as_deref())
                == Some(class)
        })
        .collect();
    ours.sort_by_key(|ingress| ingress.metadata.creation_timestamp.clone());
    let mut routes: BTreeMap<String, Route> = BTreeMap::new();
    for ingress in ours {
        let rules = ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten());
        for route in rules.filter_map(|rule| route(ingress, rule, slices)) {
            routes.entry(route.host.clone()).or_insert(route);
        }
    }
    routes.into_values().collect()
}

fn route(ingress: &Ingress, rule: &IngressRule, slices: &[EndpointSlice]) -> Option<Route> {
    let host = rule.host.clone()?;
    let namespace = ingress.metadata.namespace.clone()?;
    let service = rule.http.as_ref()?.paths.first()?.backend.service.as_ref()?;
    let port = service.port.as_ref()?.name.as_deref()?;
    let tls = ingress.spec.as_ref()?.tls.iter().flatten();
    let tls_secret = tls
        .filter(|tls| tls.hosts.iter().flatten().any(|name| *name == host))
        .find_map(|tls| tls.secret_name.clone());
    let of_service = slices.iter().filter(|slice| {
        let labels = slice.metadata.labels.as_ref();
        slice.metadata.namespace.as_ref() == Some(&namespace)
            && labels.and_then(|labels| labels.get("kubernetes.io/service-name")) == Some(&service.name)
    });
    Some(Route {
        pods: of_service.flat_map(|slice| ready_pods(slice, port)).collect(),
        host,
        namespace,
        tls_secret,
    })
}

fn ready_pods(slice: &EndpointSlice, port: &str) -> Vec<SocketAddr> {
    let ports = slice.ports.iter().flatten();
    let number = ports
        .filter(|it| it.name.as_deref() == Some(port))
        .find_map(|it| u16::try_from(it.port?).ok());
    let ready = slice.endpoints.iter().filter(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.and_then(|conditions| conditions.ready) != Some(false)
    });
    let addresses = ready.flat_map(|endpoint| &endpoint.addresses);
    addresses
        .filter_map(|address| Some(SocketAddr::new(address.parse().ok()?, number?)))
        .collect()
}

/// Where a route's certificate and key are, given its namespace and Secret.
pub type Certificates = BTreeMap<(String, String), (String, String)>;

/// nginx.conf for these routes: hosts on ports 80 and, with a certificate, 443; all others get 404. A host with a certificate
/// that is not there serves no TLS. Every answer ends its connection: new routes close idle ones, on which a hit may be under
/// way already, and a browser sends such a hit again but the load generator does not.
#[must_use]
pub fn render(address: &str, routes: &[Route], certificates: &Certificates) -> String {
    let mut text = format!(
        "user root;\nworker_processes 2;\npid nginx.pid;\nerror_log stderr warn;\nevents {{ worker_connections 4096; }}\nhttp {{\n\
         \taccess_log off;\n\tclient_body_temp_path body;\n\tproxy_temp_path proxy;\n\tfastcgi_temp_path fastcgi;\n\
         \tuwsgi_temp_path uwsgi;\n\tscgi_temp_path scgi;\n\tclient_max_body_size 1m;\n\tkeepalive_timeout 0;\n\
         \tproxy_http_version 1.1;\n\tproxy_set_header Connection \"\";\n\tproxy_set_header Host $host;\n\
         \tproxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\tproxy_set_header X-Forwarded-Proto $scheme;\n\
         \tproxy_connect_timeout 2s;\n\tproxy_next_upstream error timeout;\n\
         \tserver {{ listen {address}:80 default_server; return 404; }}\n"
    );
    for (number, route) in routes.iter().enumerate() {
        if !route.pods.is_empty() {
            text.push_str(&format!("\tupstream u{number} {{\n\t\tkeepalive 32;\n"));
            for pod in &route.pods {
                text.push_str(&format!("\t\tserver {pod};\n"));
            }
            text.push_str("\t}\n");
        }
        text.push_str(&format!(
            "\tserver {{\n\t\tserver_name {};\n\t\tlisten {address}:80;\n",
            route.host
        ));
        let secret = route.tls_secret.clone().map(|secret| (route.namespace.clone(), secret));
        if let Some((certificate, key)) = secret.and_then(|secret| certificates.get(&secret)) {
            text.push_str(&format!(
                "\t\tlisten {address}:443 ssl;\n\t\tssl_certificate {certificate};\n\t\tssl_certificate_key {key};\n"
            ));
        }
        let answer = match route.pods.is_empty() {
            true => "return 503;".to_owned(),
            false => format!("proxy_pass http://u{number};"),
        };
        text.push_str(&format!("\t\tlocation / {{ {answer} }}\n\t}}\n"));
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ingress(namespace: &str, host: &str, class: &str) -> Ingress {
        serde_json::from_value(json!({
            "metadata": {"name": "shop-gateway", "namespace": namespace},
            "spec": {
                "ingressClassName": class,
                "tls": [{"hosts": [host], "secretName": "shop-tls"}],
                "rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {
                    "service": {"name": "shop-gateway", "port": {"name": "http"}}}}]}}],
            },
        }))
        .expect("an Ingress")
    }

    fn slice(namespace: &str, endpoints: &Value) -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"name": "s", "namespace": namespace, "labels": {"kubernetes.io/service-name": "shop-gateway"}},
            "addressType": "IPv4",
            "ports": [{"name": "admin", "port": 9090}, {"name": "http", "port": 8080}],
            "endpoints": endpoints,
        }))
        .expect("an EndpointSlice")
    }

    #[test]
    fn a_host_is_routed_to_the_ready_pods_of_its_service_in_its_namespace() {
        let slices = [
            slice(
                "shop",
                &json!([
                    {"addresses": ["10.244.0.2"], "conditions": {"ready": true}},
                    {"addresses": ["10.244.0.3"], "conditions": {"ready": false}},
                ]),
            ),
            slice(
                "other",
                &json!([{"addresses": ["10.244.0.9"], "conditions": {"ready": true}}]),
            ),
        ];
        let found = routes("nginx", &[ingress("shop", "metrics.shop.example", "nginx")], &slices);
        assert_eq!(
            found,
            [Route {
                host: "metrics.shop.example".to_owned(),
                namespace: "shop".to_owned(),
                tls_secret: Some("shop-tls".to_owned()),
                pods: ["10.244.0.2:8080".parse().expect("an address")].into(),
            }]
        );
    }

    #[test]
    fn another_class_is_not_ours() {
        assert_eq!(routes("nginx", &[ingress("shop", "a.example", "traefik")], &[]), []);
    }

    #[test]
    fn a_host_without_pods_answers_503_and_without_its_certificate_serves_no_tls() {
        let found = routes("nginx", &[ingress("shop", "a.example", "nginx")], &[]);
        let text = render("10.0.0.1", &found, &Certificates::new());
        assert!(text.contains("server_name a.example;"), "{text}");
        assert!(text.contains("return 503;"), "{text}");
        assert!(!text.contains(":443"), "{text}");
    }

    #[test]
    fn a_certificate_is_served_where_the_ingress_names_it() {
        let found = routes("nginx", &[ingress("shop", "a.example", "nginx")], &[]);
        let secret = ("shop".to_owned(), "shop-tls".to_owned());
        let files = ("c.crt".to_owned(), "c.key".to_owned());
        let text = render("10.0.0.1", &found, &[(secret, files)].into());
        assert!(
            text.contains("listen 10.0.0.1:443 ssl;\n\t\tssl_certificate c.crt;"),
            "{text}"
        );
    }
}
