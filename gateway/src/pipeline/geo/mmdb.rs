//! Writes small databases in MaxMind's format, version 2.0 (<https://maxmind.github.io/MaxMind-DB/>), for tests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

/// A record as MaxMind's City databases have them.
pub(crate) fn city(continent: &str, country: &str, region: &str, name: &str) -> Value {
    json!({
        "city": {"geoname_id": 1, "names": {"de": "Stadt", "en": name}},
        "continent": {"code": continent, "names": {"en": "a continent"}},
        "country": {"iso_code": country, "names": {"en": "a country"}},
        "location": {"accuracy_radius": 20, "time_zone": "Etc/UTC"},
        "subdivisions": [{"iso_code": region}, {"iso_code": "LATER"}],
    })
}

/// A database in which these networks have these records.
pub(crate) fn database(kind: &str, networks: &[(&str, Value)]) -> Vec<u8> {
    let mut nodes: Vec<[Branch; 2]> = vec![[Branch::Nothing; 2]];
    let mut data = Vec::new();
    for (network, record) in networks {
        let offset = data.len();
        put(&mut data, record);
        insert(&mut nodes, network.parse().unwrap(), offset);
    }
    let count = nodes.len();
    let mut file = Vec::new();
    for branch in nodes.iter().flatten() {
        let value = match branch {
            Branch::Nothing => count,
            Branch::Node(node) => *node,
            Branch::Record(offset) => count + 16 + offset,
        };
        file.extend(u32::try_from(value).unwrap().to_be_bytes());
    }
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    let metadata = json!({
        "binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1_768_476_420,
        "database_type": kind, "description": {"en": "a test"}, "ip_version": 6, "languages": ["en"],
        "node_count": count, "record_size": 32,
    });
    put(&mut file, &metadata);
    file
}

#[derive(Clone, Copy)]
enum Branch {
    Nothing,
    Node(usize),
    Record(usize),
}

/// IPv4 stands below `::/96`.
fn insert(nodes: &mut Vec<[Branch; 2]>, network: IpNet, record: usize) {
    let (bits, length) = match network.addr() {
        IpAddr::V4(address) => (u128::from(u32::from(address)), network.prefix_len() + 96),
        IpAddr::V6(address) => (u128::from(address), network.prefix_len()),
    };
    let mut node = 0;
    for depth in 0..length {
        let side = usize::from(bits >> (127 - depth) & 1 == 1);
        if depth + 1 == length {
            nodes[node][side] = Branch::Record(record);
            return;
        }
        node = match nodes[node][side] {
            Branch::Node(next) => next,
            _ => {
                nodes.push([Branch::Nothing; 2]);
                let next = nodes.len() - 1;
                nodes[node][side] = Branch::Node(next);
                next
            }
        };
    }
}

/// The data section's encoding: a type and a size, then the value.
fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(text) => {
            control(out, 2, text.len());
            out.extend(text.as_bytes());
        }
        Value::Object(members) => {
            control(out, 7, members.len());
            for (name, member) in members {
                put(out, &Value::from(name.as_str()));
                match member {
                    Value::Number(number) => put_number(out, name, number.as_u64().unwrap()),
                    member => put(out, member),
                }
            }
        }
        Value::Array(elements) => {
            control(out, 11, elements.len());
            elements.iter().for_each(|element| put(out, element));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => panic!("not needed"),
    }
}

/// The sizes are the metadata's; the numbers of records here are all of the smallest.
fn put_number(out: &mut Vec<u8>, name: &str, number: u64) {
    let bytes = number.to_be_bytes();
    let kept = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len())..];
    let (of_16_bits, of_32_bits, of_64_bits) = (5, 6, 9);
    let kind = match name {
        "node_count" => of_32_bits,
        "build_epoch" => of_64_bits,
        _ => of_16_bits,
    };
    control(out, kind, kept.len());
    out.extend(kept);
}

fn control(out: &mut Vec<u8>, kind: u8, size: usize) {
    let (first, more) = match size {
        0..29 => (u8::try_from(size).unwrap(), None),
        _ => (29, Some(u8::try_from(size - 29).unwrap())),
    };
    match kind {
        1..=7 => out.push(kind << 5 | first),
        _ => out.extend([first, kind - 7]),
    }
    out.extend(more);
}
