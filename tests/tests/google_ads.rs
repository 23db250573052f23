//! Google Ads by both of its interfaces, with one refresh token, against its double.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use serde_json::{Value, json};
use tagfleet_tests::{
    gateway::{Gateway, Setup},
    manifests::Manifests,
    vendors::{CREDENTIALS, Mood, Trouble, Vendors},
    wait,
};

const PATIENCE: Duration = Duration::from_secs(20);
const VENDOR: &str = "googleAds";
/// Consent, and an e-mail address by which Google can match.
const PARAMETERS: &str = "gcd=13t3t3t3t5l1&cu=EUR&epn.value=72.05&ep.user_data.email_address=Jane.Doe%40gmail.com";

fn destination(name: &str, endpoint: &str, beside: &str) -> String {
    format!(
        "apiVersion: tagfleet.dev/v1alpha1
kind: Destination
metadata: {{name: {name}}}
spec:
  containerRefs: [{{name: shop}}]
  delivery: {{batch: {{maxEvents: 5, maxDelay: 50ms}}, maxConcurrency: 4}}
  googleAds:
    endpoint: {endpoint}
    customerId: 123-456-7890
    conversionActions: {{purchase: \"987654321\"}}
    oauth:
      clientId: {{secretKeyRef: {{name: google, key: client-id}}}}
      clientSecret: {{secretKeyRef: {{name: google, key: client-secret}}}}
      refreshToken: {{secretKeyRef: {{name: google, key: refresh-token}}}}
{beside}"
    )
}

fn secret(refresh_token: &str) -> String {
    let values = json!({
        "client-id": CREDENTIALS, "client-secret": CREDENTIALS, "developer-token": CREDENTIALS, "refresh-token": refresh_token
    });
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "google"}, "stringData": values}).to_string()
}

const GOOGLE_ADS_API: &str = "    api: GoogleAds
    developerToken: {secretKeyRef: {name: google, key: developer-token}}
";

/// How often the double was asked for an access token.
fn tokens(vendors: &Vendors) -> usize {
    let requests = vendors.requests(VENDOR);
    requests.iter().filter(|request| request.target == "/token").count()
}

fn state(gateway: &Gateway) -> Value {
    gateway.status()["destinations"][0].clone()
}

#[test]
fn conversions_arrive_by_both_interfaces_and_all_batches_share_a_token() {
    let vendors = Vendors::start();
    let manifests = Manifests::new()
        .container("")
        .file("secret.yaml", &secret(CREDENTIALS))
        .file("ads.yaml", &destination("ads", &vendors.url(), ""))
        .file("api.yaml", &destination("api", &vendors.url(), GOOGLE_ADS_API));
    let gateway = Setup::new(manifests.path()).start();
    for number in 0..50 {
        assert_eq!(gateway.hit("purchase", &format!("e-{number}"), PARAMETERS), 204);
        assert_eq!(gateway.hit("page_view", &format!("v-{number}"), PARAMETERS), 204);
    }
    let events = vendors.wait_for(VENDOR, 100, PATIENCE);
    let hash = "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69";
    let by_ads = |event: &&Value| event["userIdentifiers"][0]["hashedEmail"] == hash;
    let by_data_manager = |event: &&Value| event["userData"]["userIdentifiers"][0]["emailAddress"] == hash;
    assert_eq!(events.iter().filter(by_ads).count(), 50);
    assert_eq!(events.iter().filter(by_data_manager).count(), 50);
    assert_eq!(tokens(&vendors), 2, "one for each destination");
    wait::until_true("the last answers are settled", PATIENCE, || {
        gateway.deliveries("ads", "delivered") + gateway.deliveries("api", "delivered") > 99.5
    });
    for name in ["ads", "api"] {
        assert!(
            (gateway.deliveries(name, "filtered") - 50.0).abs() < 0.5,
            "page views are none of its business"
        );
        assert!(gateway.imbalance(name).abs() < 0.5);
    }
}

#[test]
fn a_revoked_refresh_token_pauses_delivery_until_the_secret_changes() {
    let vendors = Vendors::start();
    let manifests = Manifests::new()
        .container("")
        .file("secret.yaml", &secret("revoked"))
        .file("ads.yaml", &destination("ads", &vendors.url(), ""));
    let gateway = Setup::new(manifests.path()).start();
    assert_eq!(gateway.hit("purchase", "e-1", PARAMETERS), 204);
    let told = wait::until("the rejected credentials are told", PATIENCE, || {
        Some(state(&gateway)).filter(|state| state.to_string().contains("CredentialsRejected"))
    });
    let told = told.to_string();
    assert!(
        told.contains("invalid_grant") && told.contains("make a new one"),
        "{told}"
    );
    for shown in [told, gateway.log()] {
        assert!(!shown.contains(CREDENTIALS), "{shown}");
    }
    manifests.write("secret.yaml", &secret(CREDENTIALS));
    assert_eq!(vendors.wait_for(VENDOR, 1, PATIENCE).len(), 1);

    // The access token in use is refused, the refresh token is good: another is fetched, and nobody notices.
    let before = tokens(&vendors);
    let once = tagfleet_tests::sink::Behaviour {
        times: Some(1),
        ..Default::default()
    };
    vendors.behave(
        VENDOR,
        Mood {
            trouble: Some(Trouble::Revoked),
            behaviour: once,
        },
    );
    assert_eq!(gateway.hit("purchase", "e-2", PARAMETERS), 204);
    assert_eq!(vendors.wait_for(VENDOR, 2, PATIENCE).len(), 2);
    assert_eq!(tokens(&vendors), before + 1);
    assert!(state(&gateway).to_string().contains("Delivering"));
}
