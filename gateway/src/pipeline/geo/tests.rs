#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::{net::IpAddr, path::PathBuf};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::json;

use super::{mmdb::city, *};
use crate::testing;

fn file() -> Vec<u8> {
    mmdb::database(
        "GeoLite2-City",
        &[
            ("198.51.100.0/24", city("NA", "US", "CA", "San Francisco")),
            ("203.0.113.0/25", city("EU", "DE", "BE", "Berlin")),
            ("2001:db8:1::/48", city("EU", "FR", "IDF", "Paris")),
            // What lite databases have, and what is no place at all.
            (
                "192.0.2.0/25",
                json!({"country": {"iso_code": "NO"}, "subdivisions": [{"names": {"en": "Oslo"}}]}),
            ),
            ("192.0.2.128/26", json!({"country": "NO"})),
            (
                "192.0.2.192/26",
                json!({"country": {"iso_code": "1; drop"}, "city": {"names": {"en": "\u{7}"}}}),
            ),
        ],
    )
}

fn database() -> GeoSource {
    let database = Database::new(Origin::File(PathBuf::from("places.mmdb")));
    let metadata = database.replace(file().into()).unwrap();
    assert_eq!(metadata.database_type, "GeoLite2-City");
    GeoSource::Database(database)
}

fn cdn() -> GeoSource {
    GeoSource::Headers(PlaceHeaders {
        country: HeaderName::from_static("cf-ipcountry"),
        region: Some(HeaderName::from_static("cf-region-code")),
        city: Some(HeaderName::from_static("cf-ipcity")),
    })
}

/// `continent country region city` of a request, a dash for what is unknown.
fn place(source: &GeoSource, visitor: &str, headers: &[(&'static str, &str)], by_trusted_proxy: bool) -> String {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let place = source.locate(&HitRequest {
        visitor: visitor.parse().unwrap(),
        by_trusted_proxy,
        ..testing::request(&map)
    });
    let Some(place) = place else {
        return "nowhere".to_owned();
    };
    [place.continent, place.country, place.region, place.city]
        .map(|part| part.unwrap_or_else(|| "-".to_owned()))
        .join(" ")
}

#[test]
fn an_address_is_found_in_the_database() {
    let database = database();
    for (visitor, expected) in [
        ("198.51.100.7", "NA US CA San Francisco"),
        ("203.0.113.7", "EU DE BE Berlin"),
        ("::ffff:203.0.113.7", "EU DE BE Berlin"),
        ("2001:db8:1:2::3", "EU FR IDF Paris"),
        ("192.0.2.1", "- NO - -"),
        ("203.0.113.200", "nowhere"),
        ("2001:db8:2::1", "nowhere"),
        ("::1", "nowhere"),
        ("192.0.2.129", "nowhere"),
        ("192.0.2.193", "nowhere"),
    ] {
        assert_eq!(place(&database, visitor, &[], false), expected, "{visitor}");
    }
}

#[test]
fn headers_do_not_move_who_is_found_by_address() {
    let headers = [("cf-ipcountry", "FR"), ("x-forwarded-for", "198.51.100.7")];
    assert_eq!(place(&database(), "203.0.113.7", &headers, true), "EU DE BE Berlin");
}

#[test]
fn what_is_no_database_leaves_the_last_good_one() {
    let GeoSource::Database(database) = database() else {
        unreachable!()
    };
    for (bytes, reason) in [
        (&b"<html>not found</html>"[..], "no database"),
        (&b""[..], "no database"),
        (&b"\x1f\x8b\x08\x00 packed"[..], "compressed"),
        (&file()[..200], "no database"),
    ] {
        let error = database.replace(Bytes::copy_from_slice(bytes)).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let country = |database: &Database| database.locate([203, 0, 113, 7].into())?.country;
    assert_eq!(country(&database).as_deref(), Some("DE"));
    let moved = mmdb::database("GeoLite2-City", &[("203.0.113.0/24", city("EU", "AT", "9", "Wien"))]);
    database.replace(moved.into()).unwrap();
    assert_eq!(country(&database).as_deref(), Some("AT"));
}

#[test]
fn headers_of_the_network_in_front_are_believed_from_a_trusted_proxy_alone() {
    let berlin = [
        ("cf-ipcountry", "DE"),
        ("cf-region-code", "BE"),
        ("cf-ipcity", "Berlin"),
    ];
    assert_eq!(place(&cdn(), "203.0.113.7", &berlin, true), "- DE BE Berlin");
    assert_eq!(place(&cdn(), "203.0.113.7", &berlin, false), "nowhere");
}

#[test]
fn headers_are_read_as_networks_write_them() {
    for (headers, expected) in [
        (vec![("cf-ipcountry", "de")], "- DE - -"),
        (vec![("cf-ipcountry", "US"), ("cf-region-code", "US-CA")], "- US CA -"),
        (vec![("cf-ipcountry", "DE"), ("cf-ipcity", "K%C3%B6ln")], "- DE - Köln"),
        (vec![("cf-ipcountry", "DE"), ("cf-ipcity", "Köln")], "- DE - Köln"),
        (vec![("cf-ipcountry", "DE"), ("cf-ipcity", "K%F6ln")], "- DE - -"),
        // Tor, and unknown.
        (vec![("cf-ipcountry", "T1")], "nowhere"),
        (vec![("cf-ipcountry", "XX")], "nowhere"),
        (
            vec![("cf-ipcountry", "Germany"), ("cf-region-code", "California")],
            "nowhere",
        ),
        (vec![("cf-ipcountry", "DE"), ("cf-ipcountry", "FR")], "nowhere"),
    ] {
        assert_eq!(place(&cdn(), "203.0.113.7", &headers, true), expected, "{headers:?}");
    }
}

#[test]
fn geo_is_the_gateways_word_on_a_visitors_event() {
    let place = Place::of(Some("EU"), Some("DE"), None, None).unwrap();
    let after = |place: Option<&Place>, connection| {
        let mut event = Event::new();
        event.set("geo", "the moon");
        enrich(&mut event, place, connection);
        serde_json::to_value(&event).unwrap()
    };
    assert_eq!(
        after(Some(&place), Connection::Visitor),
        json!({"geo": {"continent": "EU", "country": "DE"}, "x_geo": "the moon"})
    );
    assert_eq!(after(None, Connection::Visitor), json!({"x_geo": "the moon"}));
    assert_eq!(after(None, Connection::Server), json!({"geo": "the moon"}));
}

proptest! {
    /// A database that is damaged anywhere is refused, or gives some place or none: it breaks nothing.
    #[test]
    fn a_damaged_database_breaks_nothing(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
        addresses in proptest::collection::vec(any::<IpAddr>(), 1..20),
    ) {
        let mut bytes = file();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if cut {
            bytes.truncate(length.index(bytes.len()));
        }
        let database = Database::new(Origin::File(PathBuf::from("places.mmdb")));
        if database.replace(bytes.into()).is_ok() {
            for address in addresses.into_iter().chain([[203, 0, 113, 7].into(), [192, 0, 2, 129].into()]) {
                if let Some(place) = database.locate(address) {
                    prop_assert!(place.country.is_none_or(|country| country.len() == 2));
                }
            }
        }
    }

    /// No bytes in a header break anything.
    #[test]
    fn any_header_is_survived(value in testing::header_bytes(300)) {
        let value = HeaderValue::from_bytes(&value).unwrap();
        let names = ["cf-ipcountry", "cf-region-code", "cf-ipcity"].map(HeaderName::from_static);
        let headers = names.map(|name| (name, value.clone())).into_iter().collect();
        let GeoSource::Headers(names) = cdn() else { unreachable!() };
        let city = names.locate(&headers).and_then(|place| place.city);
        prop_assert!(city.is_none_or(|city| city.len() <= MAX_CITY_BYTES));
    }
}
