//! Mistakes in a cluster: each is told by a condition and an Event, harms nothing else, and is over once it is mended.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::needless_pass_by_value
)]

use std::{thread, time::Duration};

use serde_json::{Value, json};
use tagfleet_tests::{
    cluster::{Cluster, Event, Namespace},
    operator::{Operator, Setup},
    wait,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// What is told twice is told soon after.
const A_MOMENT: Duration = Duration::from_secs(2);
const CONFIG: &str = "configmap/shop-config";

/// An operator, and a container with one good Destination in force.
fn shop(space: &Namespace<'_>) -> Operator {
    let operator = Setup::of_namespace(space).start();
    container(space, json!({}));
    destination(space, "good", json!({}));
    space.wait_for_condition("destination/good", "Accepted", ("True", "Accepted"), PATIENCE);
    wait_for_config(space, "destination-good.yaml", |it| it.is_some());
    operator
}

fn container(space: &Namespace<'_>, spec: Value) {
    let mut spec = spec;
    spec["clients"] = json!([{"name": "web", "ga4": {}}]);
    space.apply_json(
        &json!({"apiVersion": "tagfleet.dev/v1alpha1", "kind": "TaggingContainer",
        "metadata": {"name": "shop"}, "spec": spec}),
    );
}

/// A webhook with these further fields.
fn destination(space: &Namespace<'_>, name: &str, spec: Value) {
    let mut all = json!({"containerRefs": [{"name": "shop"}], "webhook": {"url": "https://hooks.shop.example/x"}});
    for (field, value) in spec.as_object().unwrap() {
        all[field] = value.clone();
    }
    space.apply_json(&json!({"apiVersion": "tagfleet.dev/v1alpha1", "kind": "Destination",
        "metadata": {"name": name}, "spec": all}));
}

/// A webhook that is signed with the key `hmac` of the Secret `keys`.
fn signed() -> Value {
    json!({"webhook": {"url": "https://hooks.shop.example/x", "hmac": {"secretKeyRef": {"name": "keys", "key": "hmac"}}}})
}

/// Waits for what new gateways start with.
fn wait_for_config(space: &Namespace<'_>, key: &str, as_it_should_be: impl Fn(Option<&str>) -> bool) {
    space.wait_until(CONFIG, key, PATIENCE, |it| as_it_should_be(it["data"][key].as_str()));
}

/// Kills the operator and starts it anew, until it has looked at the container again: what it knows from then on it has read
/// back from the cluster. It waits for the killed one's lease to run out.
fn restart(operator: &mut Operator) {
    operator.kill();
    operator.restart();
    let labels = [("kind", "TaggingContainer")];
    let reconciled = || {
        operator
            .metrics()
            .count("tagfleet_operator_reconciliations_total", &labels)
            > 0.0
    };
    wait::until_true("the new operator leads", Duration::from_secs(60), reconciled);
}

/// The mistake was told once, in these words.
fn assert_told_once(space: &Namespace<'_>, name: &str, reason: &str, words: &str) {
    let told = space.wait_for_event(name, reason, PATIENCE);
    assert!(told.kind == "Warning" && told.note.contains(words), "{told:?}");
    thread::sleep(A_MOMENT);
    let events: Vec<Event> = space
        .events(name)
        .into_iter()
        .filter(|it| it.reason == reason)
        .collect();
    assert!(events.len() == 1 && events[0].times == 1, "{events:#?}");
}

/// The good Destination is as it was.
fn assert_good_is_unharmed(space: &Namespace<'_>) {
    let good = space.get("destination/good");
    let accepted = tagfleet_tests::cluster::find_condition(&good, "Accepted");
    assert_eq!(accepted["status"], "True", "{good:#}");
    assert!(space.get(CONFIG)["data"]["destination-good.yaml"].is_string());
    assert!(
        space.events("good").iter().all(|it| it.kind == "Normal"),
        "{:#?}",
        space.events("good")
    );
}

#[test]
fn a_destination_of_a_container_that_is_nowhere() {
    let space = Cluster::get().namespace("no-container");
    let _operator = Setup::of_namespace(&space).start();
    destination(&space, "orders", json!({}));

    let message = space.wait_for_condition(
        "destination/orders",
        "Accepted",
        ("False", "ContainerNotFound"),
        PATIENCE,
    );
    assert_eq!(message, "There is no TaggingContainer shop in this namespace.");
    assert_told_once(
        &space,
        "orders",
        "ContainerNotFound",
        "There is no TaggingContainer shop",
    );

    container(&space, json!({}));
    space.wait_for_condition("destination/orders", "Accepted", ("True", "Accepted"), PATIENCE);
    wait_for_config(&space, "destination-orders.yaml", |it| it.is_some());
}

#[test]
fn a_secret_that_comes_bit_by_bit() {
    let space = Cluster::get().namespace("secret");
    let _operator = shop(&space);
    let resolved =
        |says: (&str, &str)| space.wait_for_condition("destination/orders", "CredentialsResolved", says, PATIENCE);
    destination(&space, "orders", signed());

    // There is none.
    let message = resolved(("False", "SecretNotFound"));
    assert!(
        message.contains("spec.webhook.hmac") && message.contains("keys"),
        "{message}"
    );
    assert_told_once(&space, "orders", "SecretNotFound", "keys");
    // The Destination itself is fine: its events wait.
    space.wait_for_condition("destination/orders", "Accepted", ("True", "Accepted"), PATIENCE);

    // It is there, but nobody has said that Destinations may use it.
    space.kubectl("create secret generic keys --from-literal=other=x").ok();
    let message = resolved(("False", "SecretNotShared"));
    let command = format!(
        "kubectl label secret --namespace {} keys tagfleet.dev/credentials=true",
        space.name()
    );
    assert!(message.contains(&command), "{message}");
    assert_told_once(&space, "orders", "SecretNotShared", "kubectl label secret");
    assert_eq!(space.get("secret/shop-credentials")["data"], Value::Null);

    // The command of the message, but the key is another one.
    space.kubectl(command.trim_start_matches("kubectl ")).ok();
    let message = resolved(("False", "SecretKeyNotFound"));
    assert!(message.contains("hmac"), "{message}");
    assert_told_once(&space, "orders", "SecretKeyNotFound", "hmac");

    // All is there.
    space.patch("secret/keys", &json!({"stringData": {"hmac": "secret"}}));
    resolved(("True", "Resolved"));
    space.wait_until(
        "secret/shop-credentials",
        "it has the key that is referred to, and no other",
        PATIENCE,
        |it| it["data"] == json!({"keys..hmac": "c2VjcmV0"}),
    );
    assert_good_is_unharmed(&space);
    // The value is in no status and in no Event.
    let all = format!("{} {:?}", space.get("destination"), space.events("orders"));
    assert!(!all.contains("c2VjcmV0") && !all.contains("\"secret\""), "{all}");
}

#[test]
fn a_new_destination_whose_expression_does_not_compile() {
    let space = Cluster::get().namespace("broken");
    let _operator = shop(&space);
    destination(&space, "orders", json!({"trigger": {"when": "event.value >"}}));

    let message = space.wait_for_condition(
        "destination/orders",
        "Accepted",
        ("False", "ExpressionInvalid"),
        PATIENCE,
    );
    assert!(message.starts_with("spec.trigger.when: "), "{message}");
    assert_told_once(&space, "orders", "ExpressionInvalid", "spec.trigger.when");
    space.wait_for_condition("destination/orders", "Delivering", ("False", "NotAccepted"), PATIENCE);
    assert!(space.get(CONFIG)["data"]["destination-orders.yaml"].is_null());
    assert_good_is_unharmed(&space);

    destination(&space, "orders", json!({"trigger": {"when": "event.value > 10.0"}}));
    space.wait_for_condition("destination/orders", "Accepted", ("True", "Accepted"), PATIENCE);
    wait_for_config(&space, "destination-orders.yaml", |it| it.is_some());
}

#[test]
fn an_edit_that_breaks_a_destination_leaves_its_last_good_form_in_force() {
    let space = Cluster::get().namespace("edit");
    let mut operator = shop(&space);
    destination(&space, "orders", json!({"trigger": {"when": "event.value > 10.0"}}));
    wait_for_config(&space, "destination-orders.yaml", |it| {
        it.is_some_and(|it| it.contains("event.value > 10.0"))
    });

    destination(
        &space,
        "orders",
        json!({"trigger": {"when": "event.value > vars.least"}}),
    );

    let message = space.wait_for_condition(
        "destination/orders",
        "Accepted",
        ("False", "ExpressionInvalid"),
        PATIENCE,
    );
    assert!(message.ends_with(" Generation 1 stays in force."), "{message}");
    assert_told_once(&space, "orders", "ExpressionInvalid", "there is no variable `least`");
    wait_for_config(&space, "destination-orders.yaml", |it| {
        it.is_some_and(|it| it.contains("event.value > 10.0"))
    });
    assert_good_is_unharmed(&space);

    // An operator that starts anew knows of the last good form by what it made, and tells nothing again.
    restart(&mut operator);
    space.kubectl("delete configmap shop-config").ok();
    space.wait_until(CONFIG, "it is made again", PATIENCE, |it| !it.is_null());
    thread::sleep(A_MOMENT);
    wait_for_config(&space, "destination-orders.yaml", |it| {
        it.is_some_and(|it| it.contains("event.value > 10.0"))
    });
    assert_told_once(&space, "orders", "ExpressionInvalid", "there is no variable `least`");

    // The container that it needs makes it good, without an edit of its own.
    container(&space, json!({"variables": [{"name": "least", "expression": "5.0"}]}));
    space.wait_for_condition("destination/orders", "Accepted", ("True", "Accepted"), PATIENCE);
    wait_for_config(&space, "destination-orders.yaml", |it| {
        it.is_some_and(|it| it.contains("vars.least"))
    });
}

#[test]
fn an_edit_that_breaks_the_container_leaves_its_last_good_form_in_force() {
    let space = Cluster::get().namespace("container");
    let mut operator = shop(&space);
    let ours = space.get(CONFIG)["data"]["tagging-container.yaml"].clone();

    container(
        &space,
        json!({"variables": [{"name": "low", "expression": "event.stock <"}]}),
    );

    let refused = ("False", "ExpressionInvalid");
    let message = space.wait_for_condition("taggingcontainer/shop", "Accepted", refused, PATIENCE);
    assert!(message.starts_with("spec.variables[0].expression: "), "{message}");
    assert!(message.ends_with(" Generation 1 stays in force."), "{message}");
    assert_told_once(&space, "shop", "ExpressionInvalid", "spec.variables[0].expression");
    assert_good_is_unharmed(&space);

    restart(&mut operator);
    space.kubectl("delete deployment shop-gateway").ok();
    space.wait_until("deployment/shop-gateway", "it is made again", PATIENCE, |it| {
        !it.is_null()
    });
    assert_eq!(space.get(CONFIG)["data"]["tagging-container.yaml"], ours);
    assert_good_is_unharmed(&space);

    container(
        &space,
        json!({"variables": [{"name": "low", "expression": "event.stock < 5"}]}),
    );
    space.wait_for_condition("taggingcontainer/shop", "Accepted", ("True", "Accepted"), PATIENCE);
    wait_for_config(&space, "tagging-container.yaml", |it| {
        it.is_some_and(|it| it.contains("event.stock < 5"))
    });
}

#[test]
fn a_lookup_table_that_is_missing_and_then_does_not_parse() {
    let space = Cluster::get().namespace("table");
    let _operator = shop(&space);
    let accepted = |says: (&str, &str)| space.wait_for_condition("taggingcontainer/shop", "Accepted", says, PATIENCE);
    let table = |text: &str| {
        space.apply_json(
            &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stock"},
            "data": {"stock.csv": text}}),
        );
    };
    let config = |text: &'static str| {
        wait_for_config(&space, "config-map-stock.yaml", move |it| {
            it.is_some_and(|it| it.contains(text))
        });
    };

    container(
        &space,
        json!({"lookupTables": [{"name": "stock", "key": "sku", "configMapRef": {"name": "stock", "key": "stock.csv"}}]}),
    );
    let message = accepted(("False", "ConfigMapNotFound"));
    assert!(message.contains("stock"), "{message}");
    assert_told_once(&space, "shop", "ConfigMapNotFound", "spec.lookupTables[0]");
    assert_good_is_unharmed(&space);

    table("sku,threshold\nBOWL-10,5\n");
    accepted(("True", "Accepted"));
    config("BOWL-10,5");

    // A row with more fields than the head has.
    table("sku,threshold\nBOWL-10,5,6\n");
    let message = accepted(("False", "LookupTableInvalid"));
    assert!(message.contains("in force"), "{message}");
    assert_told_once(&space, "shop", "LookupTableInvalid", "spec.lookupTables[0]");
    config("BOWL-10,5");
    let text = space.get(CONFIG).to_string();
    assert!(!text.contains("BOWL-10,5,6"), "{text}");
    assert_good_is_unharmed(&space);

    table("sku,threshold\nBOWL-10,7\n");
    accepted(("True", "Accepted"));
    config("BOWL-10,7");
}
