//! examples/quickstart on loopback: the example's YAML with its two outside addresses replaced, the gateway, and a real or
//! double receiver for each destination.

use crate::{
    gateway::{Gateway, Setup},
    manifests::Manifests,
    pubsub::PubSub,
    shop::Watched,
    sink::Sink,
};

/// The secret of the example's webhook signature (examples/quickstart/secrets.yaml).
pub const HMAC_SECRET: &str = "example-hmac-secret";
/// The secret of the example's Measurement Protocol client.
pub const MP_SECRET: &str = "example-mp-secret";

/// Everything that runs.
pub struct Quickstart {
    /// The gateway.
    pub gateway: Gateway,
    /// Takes what `analytics` sends, in place of Google Analytics.
    pub analytics: Sink,
    /// Takes what `orders` sends, and verifies its signatures.
    pub orders: Sink,
    /// Takes what `low-stock` and `promotions` publish: Google's own test server.
    pub pubsub: PubSub,
    /// The example as it is served.
    pub manifests: Manifests,
}

impl Quickstart {
    /// Starts all of it.
    #[must_use]
    pub fn start() -> Self {
        let analytics = Sink::analytics();
        let orders = Sink::with_secret(HMAC_SECRET);
        let pubsub = PubSub::start(&["demo/low-stock", "demo/promotions"]);
        let manifests = Manifests::example(
            "quickstart",
            &[
                ("https://orders.shop.example", &orders.url()),
                (
                    "ga4: {measurementId:",
                    &format!("ga4: {{endpoint: \"{}\", measurementId:", analytics.url()),
                ),
            ],
        );
        let gateway = Setup::new(manifests.path())
            .env("PUBSUB_EMULATOR_HOST", &pubsub.emulator_host())
            .start();
        Self {
            gateway,
            analytics,
            orders,
            pubsub,
            manifests,
        }
    }

    /// Its destinations, to look at.
    #[must_use]
    pub fn watched(&self) -> Vec<(String, Watched)> {
        vec![
            ("analytics".to_owned(), Watched::Analytics(self.analytics.address())),
            ("orders".to_owned(), Watched::Webhook(self.orders.address())),
            ("low-stock".to_owned(), Watched::Topic(self.pubsub.http())),
            ("promotions".to_owned(), Watched::Topic(self.pubsub.http())),
        ]
    }
}
