//! The servers of a run: each starts on a free loopback port and stops when it is dropped.

pub mod bare;
pub mod envoy;
pub mod http;
pub mod keeper;
pub mod latchstring;
pub mod nginx;
pub mod usage;

use std::net::{Ipv4Addr, TcpListener};

use crate::Done;

/// What the proxies that hold a fixed header add: as long as a real token.
pub const TOKEN: &str = "bench-0123456789abcdef0123456789abcdef";

/// Workers, threads, cores: the same for all.
pub const WORKERS: usize = 2;

/// Ports that were free just now, all different.
pub fn free_ports<const N: usize>() -> Done<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| format!("no free port: {e}"))?;
        *port = listener.local_addr().map_err(|e| format!("no free port: {e}"))?.port();
        held.push(listener);
    }
    Ok(ports)
}
