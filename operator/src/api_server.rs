//! Where the API server is reached: NetworkPolicies name its addresses, since no selector does.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client};
use tokio::sync::watch;

/// How often it is looked: control planes move seldom.
const EVERY: Duration = Duration::from_secs(300);
/// The longest that one look may take.
const LOOK: Duration = Duration::from_secs(10);
/// The EndpointSlice that API servers keep of themselves, in namespace `default`.
const OWN: &str = "kubernetes";

/// The addresses, looked up now and then again from time to time for as long as somebody listens. Empty where they are not
/// known: outside of a cluster, or without the right to read that one EndpointSlice.
pub async fn addresses(client: Client) -> watch::Receiver<BTreeSet<SocketAddr>> {
    let (send, receive) = watch::channel(look(&client).await);
    tokio::spawn(async move {
        while !send.is_closed() {
            tokio::time::sleep(EVERY).await;
            let found = look(&client).await;
            // A failed look is no news.
            send.send_if_modified(|known| {
                let is_news = !found.is_empty() && *known != found;
                if is_news {
                    known.clone_from(&found);
                }
                is_news
            });
        }
    });
    receive
}

async fn look(client: &Client) -> BTreeSet<SocketAddr> {
    let api = Api::<EndpointSlice>::namespaced(client.clone(), "default");
    let slice = tokio::time::timeout(LOOK, api.get_opt(OWN)).await;
    match slice {
        Ok(Ok(Some(slice))) => endpoints(&slice).into_iter().chain(service()).collect(),
        Ok(Ok(None)) => BTreeSet::new(),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the API server's addresses cannot be read");
            BTreeSet::new()
        }
        Err(_) => BTreeSet::new(),
    }
}

/// What stands behind the Service: a NetworkPolicy sees a packet after its address was translated.
fn endpoints(slice: &EndpointSlice) -> BTreeSet<SocketAddr> {
    let ports = slice
        .ports
        .iter()
        .flatten()
        .filter_map(|port| u16::try_from(port.port?).ok());
    let ports = ports.collect::<Vec<_>>();
    let hosts = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    hosts
        .filter_map(|host| host.parse::<IpAddr>().ok())
        .flat_map(|host| ports.iter().map(move |port| SocketAddr::new(host, *port)))
        .collect()
}

/// The Service, as every pod is told of it: some network plugins see a packet before its address is translated.
fn service() -> Option<SocketAddr> {
    let host = std::env::var("KUBERNETES_SERVICE_HOST").ok()?;
    let port = std::env::var("KUBERNETES_SERVICE_PORT").ok()?;
    Some(SocketAddr::new(host.parse().ok()?, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_address_comes_with_every_port() {
        let slice = serde_json::from_value::<EndpointSlice>(serde_json::json!({
            "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}],
            "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
        }));
        let found = endpoints(&slice.unwrap());
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.1:6443", "10.0.0.2:6443"]
        );
    }
}
