//! How long and how much: every limit of a connection in one place.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Limits {
    /// From the look-up of the name to an open connection, all addresses together.
    pub connect: Duration,
    /// TLS handshake, once connected.
    pub handshake: Duration,
    /// From the last byte of the request to the head of the answer.
    pub response_head: Duration,
    /// Without a byte of the answer's body. Long, because server-sent events are quiet for minutes.
    pub idle_body: Duration,
    /// How long an unused connection is kept. Below the 60 s after which load balancers hang up.
    pub idle_connection: Duration,
    /// Unused connections kept for one origin and identity, per pool.
    pub idle_per_origin: usize,
    /// Unused connections kept in one pool.
    pub idle_total: usize,
    /// Connections of all pools that are open at once, used and unused.
    pub open_total: usize,
    /// Bytes of an answer's status line and headers.
    pub head_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            response_head: Duration::from_secs(60),
            idle_body: Duration::from_secs(300),
            idle_connection: Duration::from_secs(55),
            idle_per_origin: 256,
            idle_total: 2048,
            open_total: 16_384,
            head_bytes: 64 * 1024,
        }
    }
}
