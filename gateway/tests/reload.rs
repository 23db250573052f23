//! What a running gateway makes of changed files: what is good is taken up, what is broken stays at its last good form.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tagfleet_crds::tagging_container::OtlpProtocol;
use tagfleet_gateway::{
    config::{destination::ROTATION, files::Sources, live::Config},
    event::Event,
    log::DestinationId,
    metrics::Metrics,
    plan::Plan,
    record::Record,
    status::Board,
    traces::{Settings, collector::Collector, sampling::Share},
};

const CONTAINER: &str = "apiVersion: tagfleet.dev/v1alpha1
kind: TaggingContainer
metadata: {name: shop}
spec:
  hostnames: [metrics.shop.example]
  clients:
  - {name: web, ga4: {}}
  lookupTables:
  - {name: stock, key: sku, configMapRef: {name: stock, key: thresholds.csv}}
  variables:
  - {name: low, expression: \"int(lookup('stock', event.sku).threshold) > 3\"}
";
const STOCK: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: stock}
data:
  thresholds.csv: |
    sku,threshold
    A,5
";
const LOW_STOCK: &str = "apiVersion: tagfleet.dev/v1alpha1
kind: Destination
metadata: {name: low-stock}
spec:
  containerRefs: [{name: shop}]
  trigger: {when: vars.low}
  webhook: {url: https://stock.shop.example/hook}
";
const ORDERS: &str = "apiVersion: tagfleet.dev/v1alpha1
kind: Destination
metadata: {name: orders}
spec:
  containerRefs: [{name: shop}]
  trigger: {events: [purchase]}
  webhook:
    url: https://orders.shop.example/hook
    hmac: {secretKeyRef: {name: keys, key: hmac}}
    parameters: {is_low: vars.low}
";
const KEYS: &str = "apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {hmac: first}
";

/// A folder of manifests and the configuration that is read from it.
struct Site {
    folder: tempfile::TempDir,
    started: Instant,
    config: Option<Config>,
}

impl Site {
    fn new(files: &[(&str, &str)]) -> Self {
        let site = Self {
            folder: tempfile::tempdir().unwrap(),
            started: Instant::now(),
            config: None,
        };
        for (name, text) in files {
            site.write(name, text);
        }
        site
    }

    /// The usual files, loaded.
    fn shop() -> Self {
        let mut site = Self::new(&[
            ("container.yaml", CONTAINER),
            ("stock.yaml", STOCK),
            ("low-stock.yaml", LOW_STOCK),
            ("orders.yaml", ORDERS),
            ("keys.yaml", KEYS),
        ]);
        site.config = Some(site.load(None).unwrap_or_else(|findings| panic!("{findings:#?}")));
        site
    }

    fn sources(&self) -> Sources {
        Sources {
            paths: vec![self.folder.path().to_path_buf()],
            secrets_dir: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn load(&self, container: Option<&str>) -> Result<Config, Vec<String>> {
        let loaded = Config::load(&self.sources(), container);
        loaded.map_err(|findings| {
            findings
                .iter()
                .map(|finding| self.relative(&finding.to_string()))
                .collect()
        })
    }

    /// Takes in what the files hold now, so long after the start, and tells the findings.
    fn reload_after(&mut self, elapsed: Duration) -> Vec<String> {
        let (snapshot, now) = (self.sources().read(), self.started + elapsed);
        let config = self.config.as_mut().unwrap();
        config.update(snapshot, now);
        let findings = config
            .findings()
            .all
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        findings.iter().map(|finding| self.relative(finding)).collect()
    }

    fn reload(&mut self) -> Vec<String> {
        self.reload_after(Duration::ZERO)
    }

    fn relative(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.folder.path().display()), "")
    }

    fn refused(&self) -> Vec<String> {
        let refused = &self.config.as_ref().unwrap().findings().refused;
        refused.iter().map(|object| self.relative(object)).collect()
    }

    fn plan(&self) -> Plan {
        let mut names: Vec<String> = Vec::new();
        let register = &mut |name: &str| {
            names.push(name.to_owned());
            Ok(DestinationId(u16::try_from(names.len()).unwrap()))
        };
        self.config.as_ref().unwrap().plan(register).unwrap()
    }

    fn events_of(&self, destination: &str) -> Option<Vec<String>> {
        let plan = self.plan();
        let planned = plan.destinations.iter().find(|planned| &*planned.name == destination)?;
        Some(planned.trigger.events.iter().map(ToString::to_string).collect())
    }

    /// How many signatures a request of `orders` carries.
    fn signatures(&self) -> usize {
        let plan = self.plan();
        let orders = plan
            .destinations
            .iter()
            .find(|planned| &*planned.name == "orders")
            .unwrap();
        let mut event = Event::new();
        event.set("event_name", "purchase");
        let record = Record {
            accepted_ms: 0,
            event,
            ..Record::default()
        };
        let encoding = orders.vendor.encode(&[record], 0);
        let signature = encoding.requests[0]
            .request
            .headers
            .get("x-tagfleet-signature")
            .unwrap();
        signature.to_str().unwrap().matches("sha256=").count()
    }
}

#[test]
fn a_plan_has_what_the_files_say() {
    let site = Site::shop();
    let plan = site.plan();
    assert_eq!(&*plan.container, "shop");
    assert_eq!(plan.version.len(), 12);
    assert_eq!(plan.request_bytes, 128 * 1024);
    assert_eq!(plan.trusted_proxies.len(), 2, "loopback");
    let names: Vec<&str> = plan.destinations.iter().map(|planned| &*planned.name).collect();
    assert_eq!(names, ["low-stock", "orders"]);
    assert!(plan.variables[0].stored, "orders reads it when it sends");
    assert!(plan.lookup_tables.row("stock", "A").is_some());
    assert_eq!(
        plan.version,
        Site::shop().plan().version,
        "the same files, the same version"
    );
}

#[test]
fn a_good_change_is_taken_up_and_changes_only_its_object() {
    let mut site = Site::shop();
    let before = site.plan();
    site.write(
        "low-stock.yaml",
        &LOW_STOCK.replace("when: vars.low", "events: [view_item]"),
    );
    assert_eq!(site.reload(), [""; 0]);
    let after = site.plan();
    assert_ne!(before.version, after.version);
    assert_eq!(site.events_of("low-stock").unwrap(), ["view_item"]);
    assert_ne!(before.destinations[0].fingerprint, after.destinations[0].fingerprint);
    assert_eq!(before.destinations[1].fingerprint, after.destinations[1].fingerprint);
}

#[test]
fn a_broken_destination_stays_as_it_was_until_it_is_mended() {
    let mut site = Site::shop();
    site.write(
        "orders.yaml",
        &ORDERS.replace("[purchase]", "[refund]").replace("vars.low", "vars.lov"),
    );
    site.write(
        "low-stock.yaml",
        &LOW_STOCK.replace("when: vars.low", "events: [view_item]"),
    );
    assert_eq!(
        site.reload(),
        [
            "orders.yaml:10:26: Destination/orders: spec.webhook.parameters.is_low: there is no variable `lov`, did you \
          mean `low`? (column 5)"
        ]
    );
    assert_eq!(site.refused(), ["Destination/orders"]);
    assert_eq!(site.events_of("orders").unwrap(), ["purchase"]);
    assert_eq!(site.events_of("low-stock").unwrap(), ["view_item"], "the others go on");
    site.write("orders.yaml", &ORDERS.replace("[purchase]", "[refund]"));
    assert_eq!(site.reload(), [""; 0]);
    assert_eq!(site.events_of("orders").unwrap(), ["refund"]);
}

#[test]
fn a_broken_destination_that_was_never_good_is_out() {
    let mut site = Site::shop();
    site.write(
        "new.yaml",
        &LOW_STOCK.replace("low-stock", "new").replace("url:", "uri:"),
    );
    assert_eq!(site.reload().len(), 2, "an unknown field, and a required one missing");
    assert_eq!(site.refused(), ["Destination/new"]);
    assert_eq!(site.events_of("new"), None);
    assert_eq!(site.plan().destinations.len(), 2);
}

#[test]
fn a_file_that_does_not_parse_keeps_all_its_objects() {
    let mut site = Site::shop();
    site.write("orders.yaml", &format!("{ORDERS}---\n{{]\n"));
    let findings = site.reload();
    assert!(
        findings[0].starts_with("orders.yaml:12:2: not valid YAML"),
        "{findings:?}"
    );
    assert_eq!(site.events_of("orders").unwrap(), ["purchase"]);
    site.write("orders.yaml", "{]");
    site.reload();
    assert_eq!(site.refused(), ["Destination/orders"]);
    assert_eq!(site.events_of("orders").unwrap(), ["purchase"]);
}

#[test]
fn a_misspelt_kind_or_a_lost_name_does_not_delete_the_object() {
    for (from, to) in [("kind: Destination", "kind: Destinaton"), ("{name: orders}", "{}")] {
        let mut site = Site::shop();
        site.write("orders.yaml", &ORDERS.replace(from, to));
        assert_eq!(site.reload().len(), 1);
        assert_eq!(site.events_of("orders").unwrap(), ["purchase"], "{to}");
    }
}

#[test]
fn a_deleted_file_takes_its_objects_with_it() {
    let mut site = Site::shop();
    fs::remove_file(site.path("orders.yaml")).unwrap();
    assert_eq!(site.reload(), [""; 0]);
    assert_eq!(site.events_of("orders"), None);
    site.write("other-name.yaml", ORDERS);
    assert_eq!(site.reload(), [""; 0]);
    assert_eq!(site.events_of("orders").unwrap(), ["purchase"]);
}

#[test]
fn a_broken_container_stays_as_it_was_and_its_destinations_change_on() {
    let mut site = Site::shop();
    site.write(
        "container.yaml",
        &CONTAINER.replace("hostnames: [metrics.shop.example]", "hostnames: 7"),
    );
    site.write(
        "low-stock.yaml",
        &LOW_STOCK.replace("when: vars.low", "when: '!vars.low'"),
    );
    assert_eq!(
        site.reload(),
        [
            "container.yaml:5:14: TaggingContainer/shop: spec.hostnames: must be a list, not the number 7: write [ ] \
          around it"
        ]
    );
    let plan = site.plan();
    assert_eq!(plan.clients.len(), 1);
    let low_stock = &plan.destinations[0];
    assert_eq!(low_stock.trigger.when.as_ref().unwrap().source(), "!vars.low");
}

#[test]
fn a_variable_taken_away_stays_for_the_destination_that_still_reads_it() {
    let mut site = Site::shop();
    let without = CONTAINER.split("  lookupTables:").next().unwrap();
    site.write("container.yaml", without);
    let findings = site.reload();
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert_eq!(site.refused(), ["Destination/low-stock", "Destination/orders"]);
    let plan = site.plan();
    assert_eq!(plan.variables.len(), 1);
    assert!(plan.lookup_tables.row("stock", "A").is_some());
}

#[test]
fn a_container_that_is_gone_goes_on_with_all_that_belongs_to_it() {
    let mut site = Site::shop();
    let version = site.plan().version;
    fs::remove_file(site.path("container.yaml")).unwrap();
    let findings = site.reload();
    assert!(
        findings.iter().any(|finding| finding.contains("it goes on as it was")),
        "{findings:?}"
    );
    assert_eq!(site.plan().version, version);
    site.write("container.yaml", CONTAINER);
    assert_eq!(site.reload(), [""; 0]);
    assert_eq!(site.plan().version, version);
}

#[test]
fn a_lookup_table_that_does_not_parse_stays_as_it_was() {
    let mut site = Site::shop();
    site.write("stock.yaml", &STOCK.replace("A,5", "A"));
    assert_eq!(
        site.reload(),
        [
            "stock.yaml:5:3: ConfigMap/stock: data[\"thresholds.csv\"]: lookup table stock: line 2: has 1 fields, the first \
          line 2"
        ]
    );
    assert_eq!(site.refused(), ["ConfigMap/stock"]);
    assert!(site.plan().lookup_tables.row("stock", "A").is_some());
    site.write("stock.yaml", &STOCK.replace("A,5", "B,5"));
    assert_eq!(site.reload(), [""; 0]);
    let tables = site.plan().lookup_tables;
    assert!(tables.row("stock", "A").is_none() && tables.row("stock", "B").is_some());
}

#[test]
fn a_changed_table_renews_the_destinations_that_read_it() {
    let mut site = Site::shop();
    let before = site.plan();
    site.write("stock.yaml", &STOCK.replace("A,5", "A,6"));
    site.reload();
    let after = site.plan();
    assert_ne!(before.version, after.version);
    assert_ne!(before.destinations[1].fingerprint, after.destinations[1].fingerprint);
}

#[test]
fn a_replaced_secret_is_signed_with_beside_the_new_one_for_a_while() {
    let mut site = Site::shop();
    let before = site.plan();
    assert_eq!(site.signatures(), 1);
    site.write("keys.yaml", &KEYS.replace("first", "second"));
    assert_eq!(site.reload(), [""; 0]);
    assert_eq!(site.signatures(), 2);
    let after = site.plan();
    assert_eq!(before.version, after.version, "the version tells nothing of secrets");
    assert_ne!(before.destinations[1].fingerprint, after.destinations[1].fingerprint);
    site.reload_after(ROTATION / 2);
    assert_eq!(site.signatures(), 2);
    site.reload_after(ROTATION * 2);
    assert_eq!(site.signatures(), 1);
}

#[test]
fn a_secret_taken_away_leaves_its_destination_as_it_was() {
    let mut site = Site::shop();
    fs::remove_file(site.path("keys.yaml")).unwrap();
    assert_eq!(
        site.reload(),
        [
            "orders.yaml:9:12: Destination/orders: spec.webhook.hmac.secretKeyRef: the Secret keys is nowhere in the given \
          files"
        ]
    );
    assert_eq!(site.signatures(), 1);
}

#[test]
fn at_the_start_every_mistake_is_named_and_nothing_is_served() {
    let site = Site::new(&[
        ("container.yaml", &CONTAINER.replace("hostnames:", "hostname:")),
        ("stock.yaml", STOCK),
        ("orders.yaml", ORDERS),
        ("low-stock.yaml", &LOW_STOCK.replace("vars.low", "1 +")),
    ]);
    let findings = site.load(None).err().unwrap();
    assert_eq!(findings.len(), 3, "{findings:#?}");
    assert!(findings[0].starts_with("container.yaml:5:3: TaggingContainer/shop: spec.hostname: unknown field"));
    assert!(findings[1].starts_with("low-stock.yaml:6:19: Destination/low-stock: spec.trigger.when: "));
    assert!(findings[2].starts_with("orders.yaml:9:12: Destination/orders: spec.webhook.hmac.secretKeyRef: "));
}

#[test]
fn traces_go_where_the_container_says_now() {
    let telemetry = "  telemetry: {otlp: {endpoint: \"http://otel.observability:4317\", protocol: GRPC, samplePercent: 5, headers: \
                     {api-key: {secretKeyRef: {name: keys, key: otlp}}}}}\n";
    let mut site = Site::shop();
    assert_eq!(site.plan().traces, None);

    let settings = |key: &str| {
        let headers = [("api-key".parse().unwrap(), key.parse().unwrap())];
        let endpoint = "http://otel.observability:4317".parse().unwrap();
        Some(Arc::new(Settings {
            collector: Collector::new(endpoint, OtlpProtocol::Grpc, headers.into_iter().collect()),
            share: Share::of_percent(5.0),
        }))
    };
    site.write("container.yaml", &format!("{CONTAINER}{telemetry}"));
    site.write(
        "keys.yaml",
        &KEYS.replace("stringData: {", "stringData: {otlp: first, "),
    );
    assert_eq!(site.reload(), [""; 0]);
    assert_eq!(site.plan().traces, settings("first"));
    site.write(
        "keys.yaml",
        &KEYS.replace("stringData: {", "stringData: {otlp: second, "),
    );
    site.reload();
    assert_eq!(site.plan().traces, settings("second"), "a Secret is changed alone");

    site.write(
        "keys.yaml",
        &KEYS.replace("stringData: {", "stringData: {otlp: \"one\\ntwo\", "),
    );
    let findings = site.reload();
    assert!(
        findings[0].contains("spec.telemetry.otlp.headers.api-key: its value has characters that no header may hold"),
        "{findings:?}"
    );
    assert!(!findings[0].contains("two"));
    assert_eq!(site.plan().traces, settings("second"), "the last good form");

    site.write("container.yaml", CONTAINER);
    site.reload();
    assert_eq!(site.plan().traces, None);
}

#[test]
fn one_of_several_containers_is_named() {
    let blog = "apiVersion: tagfleet.dev/v1alpha1\nkind: TaggingContainer\nmetadata: {name: blog}\nspec: {clients: \
                [{name: web, ga4: {}}]}\n";
    let site = Site::new(&[
        ("container.yaml", CONTAINER),
        ("stock.yaml", STOCK),
        ("blog.yaml", blog),
    ]);
    let several = site.load(None).err().unwrap();
    assert!(
        several[0].ends_with("several containers are given, name one with --container: blog, shop"),
        "{several:?}"
    );
    let unknown = site.load(Some("shoe")).err().unwrap();
    assert!(
        unknown[0].ends_with("no TaggingContainer shoe in these files"),
        "{unknown:?}"
    );
    assert_eq!(&**site.load(Some("blog")).unwrap().name(), "blog");
    let none = Site::new(&[("stock.yaml", STOCK)]);
    assert!(none.load(None).err().unwrap()[0].ends_with("no TaggingContainer in these files"));
}

#[test]
fn a_refusal_is_counted_once_and_shown_while_it_lasts() {
    let mut site = Site::shop();
    let (metrics, board) = (Metrics::new("shop").unwrap(), Board::new());
    let mut reporter = tagfleet_gateway::config::report::Reporter::default();
    let mut report = |site: &Site| {
        let counted = reporter.report(site.config.as_ref().unwrap().findings(), &metrics, &board);
        (counted, board.refusals())
    };
    site.write("orders.yaml", &ORDERS.replace("url:", "uri:"));
    site.reload();
    let (counted, refusals) = report(&site);
    assert_eq!(counted, ["Destination/orders"]);
    assert_eq!(refusals[0].object, "Destination/orders");
    assert!(
        refusals[0].location.as_ref().unwrap().ends_with("orders.yaml:8:5"),
        "{refusals:?}"
    );
    site.write("stock.yaml", &STOCK.replace("A,5", "A,7"));
    site.reload();
    let (counted, refusals) = report(&site);
    assert!(counted.is_empty(), "the change of another file counts nothing again");
    assert_eq!(refusals.len(), 2, "it is still shown");
    site.write("orders.yaml", ORDERS);
    site.reload();
    assert!(report(&site).1.is_empty());
}
