//! Prints the CRDs.
fn main() {
    println!(
        "{}",
        serde_json::to_string_pretty(&tagfleet_crds::schema::tagging_container()).unwrap_or_default()
    );
    println!(
        "{}",
        serde_json::to_string_pretty(&tagfleet_crds::schema::destination()).unwrap_or_default()
    );
}
