//! Free ports on loopback.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// An address on loopback that nobody listens on now.
#[must_use]
pub fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("loopback has a free port")
}
