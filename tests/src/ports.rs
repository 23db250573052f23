//! Free ports on loopback.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// An address on loopback that nobody listens on now.
#[must_use]
pub fn free() -> SocketAddr {
    free_at(Ipv4Addr::LOCALHOST)
}

/// A port that nobody listens on now, at this address of the machine.
#[must_use]
pub fn free_at(ip: Ipv4Addr) -> SocketAddr {
    TcpListener::bind((ip, 0))
        .and_then(|listener| listener.local_addr())
        .expect("the address is the machine's and has a free port")
}
