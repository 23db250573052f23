//! The defaults of the contract, as they are in force where an object says nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use serde_json::{Value, json};
use tagfleet_crds::{
    DestinationSpec, Size, TaggingContainerSpec,
    destination::{OnDenied, WebhookFormat},
    tagging_container::{Autoscaler, Bots, BufferKind, ConsentSignal, IpAddress, OnInvalid, ValidationRule, WhenFull},
};

fn container(spec: Value) -> TaggingContainerSpec {
    serde_json::from_value(spec).unwrap()
}

fn destination(vendor: &Value) -> DestinationSpec {
    let mut spec = json!({"containerRefs": [{"name": "shop"}]});
    spec.as_object_mut()
        .unwrap()
        .extend(vendor.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

fn secret() -> Value {
    json!({"secretKeyRef": {"name": "s", "key": "k"}})
}

#[test]
fn an_empty_container_has_the_contracts_defaults() {
    let spec = container(json!({}));
    let buffer = spec.effective_buffer();
    let Some(BufferKind::Disk(disk)) = buffer.kind() else {
        panic!("{buffer:?}")
    };
    assert_eq!(disk.max_bytes, Size::from_bytes(1 << 30));
    assert_eq!(buffer.when_full, WhenFull::ExpireLaggard);
    assert_eq!(buffer.effective_dead_letters().max_bytes, Size::from_bytes(512 << 20));
    assert_eq!(spec.effective_limits().request_bytes, Size::from_bytes(128 << 10));
    assert_eq!(spec.effective_privacy().ip_address, IpAddress::Truncate);
    assert_eq!(spec.effective_privacy().bots, Bots::Mark);
    assert_eq!(spec.effective_replicas().autoscaler, Autoscaler::Hpa);
    assert_eq!(spec.consent_default().ad_storage, None);
    assert!(!spec.paused);
}

#[test]
fn blocks_that_are_named_but_empty_have_them_too() {
    let spec = container(json!({
        "identity": {"cookie": {}}, "deduplication": {}, "networkPolicy": {}, "monitoring": {"objectives": {}},
        "preview": {}, "consent": {"hold": {}}, "buffer": {"jetStream": {"url": "nats://nats:4222"}},
    }));
    let cookie = spec.identity.unwrap().cookie.unwrap();
    assert_eq!((cookie.name.as_str(), cookie.max_age_days), ("FPID", 400));
    let deduplication = spec.deduplication.unwrap();
    assert_eq!(deduplication.window.to_string(), "48h");
    assert_eq!(deduplication.max_entries, 1_000_000);
    assert!(spec.network_policy.unwrap().enabled);
    let monitoring = spec.monitoring.unwrap();
    assert!(monitoring.service_monitor && monitoring.rules);
    let objectives = monitoring.objectives.unwrap();
    assert_eq!(objectives.latency.to_string(), "100ms");
    assert_eq!(objectives.delivery_lag.to_string(), "5m");
    assert_eq!((objectives.latency_target, objectives.error_rate), (99.0, 1.0));
    assert!(!spec.preview.unwrap().public);
    let rule: ValidationRule = serde_json::from_value(json!({"schema": {}})).unwrap();
    assert_eq!(rule.effective_on_invalid(), OnInvalid::Mark);
}

#[test]
fn delivery_depends_on_the_vendor_where_the_vendor_does() {
    let webhook = destination(&json!({"webhook": {"url": "https://a.example"}}));
    let delivery = webhook.effective_delivery();
    assert_eq!((delivery.max_events, delivery.max_concurrency), (100, 4));
    assert_eq!(
        (delivery.max_delay, delivery.timeout),
        (Duration::from_secs(1), Duration::from_secs(10))
    );
    assert_eq!(
        (delivery.initial_backoff, delivery.max_backoff),
        (Duration::from_secs(1), Duration::from_secs(300))
    );
    assert_eq!(delivery.max_age, Duration::from_secs(24 * 3600));
    assert_eq!(webhook.webhook.unwrap().format, WebhookFormat::Events);

    // GA4 stamps a forwarded hit when it arrives; the Measurement Protocol takes the event's own time.
    let forwarded = destination(&json!({"ga4": {"measurementId": "G-1"}}));
    assert_eq!(forwarded.effective_delivery().max_age, Duration::from_secs(15 * 60));
    let protocol = destination(&json!({"ga4": {"measurementId": "G-1", "apiSecret": secret()}}));
    assert_eq!(protocol.effective_delivery().max_age, Duration::from_secs(24 * 3600));
    let stated = destination(&json!({"ga4": {"measurementId": "G-1"}, "delivery": {"retry": {"maxAge": "1h"}}}));
    assert_eq!(stated.effective_delivery().max_age, Duration::from_secs(3600));
}

#[test]
fn advertising_vendors_need_consent_to_advertising() {
    let both = [ConsentSignal::AdStorage, ConsentSignal::AdUserData];
    let token = secret();
    for vendor in [
        json!({"metaConversions": {"pixelId": "1", "accessToken": token}}),
        json!({"tiktokEvents": {"pixelCode": "C1", "accessToken": token}}),
        json!({"linkedinConversions": {"conversions": {"purchase": "1"}, "accessToken": token}}),
        json!({"pinterestConversions": {"adAccountId": "1", "accessToken": token}}),
        json!({"googleAds": {
            "customerId": "1234567890", "conversionActions": {"purchase": "1"},
            "oauth": {"clientId": token, "clientSecret": token, "refreshToken": token},
        }}),
        json!({"snapchatConversions": {"pixelId": "1", "accessToken": token}}),
    ] {
        assert_eq!(destination(&vendor).effective_consent(), both, "{vendor}");
    }
    for vendor in [
        json!({"ga4": {"measurementId": "G-1"}}),
        json!({"pubSub": {"project": "p", "topic": "abc"}}),
        json!({"bigQuery": {"project": "p", "dataset": "d", "table": "t"}}),
        json!({"webhook": {"url": "https://a.example"}}),
    ] {
        assert_eq!(destination(&vendor).effective_consent(), [], "{vendor}");
    }
    let stated = json!({
        "metaConversions": {"pixelId": "1", "accessToken": token}, "consent": {"requires": ["ad_personalization"]},
    });
    let stated = destination(&stated);
    assert_eq!(stated.effective_consent(), [ConsentSignal::AdPersonalization]);
    assert_eq!(stated.consent.unwrap().on_denied, OnDenied::Drop);
}

#[test]
fn a_field_that_does_not_exist_is_refused() {
    let wrong: Result<TaggingContainerSpec, _> = serde_json::from_value(json!({"hostname": "a"}));
    assert!(wrong.unwrap_err().to_string().contains("unknown field `hostname`"));
    let wrong: Result<DestinationSpec, _> =
        serde_json::from_value(json!({"containerRefs": [], "webhook": {"url": "https://a", "secret": "b"}}));
    assert!(wrong.unwrap_err().to_string().contains("unknown field `secret`"));
}
