//! Structured logs on standard error: JSON in a pod, text for people.

use std::io::IsTerminal;

pub use tracing_subscriber::{EnvFilter, filter::Directive};

/// Whether this process runs in a pod.
#[must_use]
pub fn is_in_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// What is logged: what `TAGFLEET_LOG` says in the form of `EnvFilter`, as `debug` or `info,tagfleet_operator::leader=debug`;
/// else `usual`.
#[must_use]
pub fn chosen(usual: &str) -> EnvFilter {
    EnvFilter::try_from_env("TAGFLEET_LOG").unwrap_or_else(|_| EnvFilter::new(usual))
}

/// Begins to log. Further calls change nothing.
pub fn start(filter: EnvFilter) {
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
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
