//! What the operator logs.

use tagfleet_process::logging::{self, Directive, EnvFilter};

/// Begins to log.
pub fn start() {
    logging::start(filter());
}

fn filter() -> EnvFilter {
    let filter = logging::chosen("info");
    // kube's client logs the whole text of an answer that it cannot read, which may be a Secret's, and each failed request
    // that its caller logs anyway.
    match "kube_client::client=off".parse::<Directive>() {
        Ok(silence) => filter.add_directive(silence),
        Err(_) => filter,
    }
}
