//! Structured logs on standard error: JSON in a pod, text for people. `TAGFLEET_LOG` sets what is logged, in the form of
//! `tracing_subscriber`'s `EnvFilter`, as `debug` or `info,tagfleet_operator::leader=debug`.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, filter::Directive};

/// Whether this process runs in a pod.
#[must_use]
pub fn is_in_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// Begins to log. Further calls change nothing.
pub fn start() {
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter())
        .with_writer(std::io::stderr);
    let started = if is_in_pod() {
        logs.json().try_init()
    } else {
        logs.with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .try_init()
    };
    // Whoever runs this as a library has logs already.
    started.unwrap_or_default();
}

fn filter() -> EnvFilter {
    let filter = EnvFilter::try_from_env("TAGFLEET_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // kube's client logs the whole text of an answer that it cannot read, which may be a Secret's, and each failed request
    // that its caller logs anyway.
    match "kube_client::client=off".parse::<Directive>() {
        Ok(silence) => filter.add_directive(silence),
        Err(_) => filter,
    }
}
