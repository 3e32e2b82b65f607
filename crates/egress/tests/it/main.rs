//! Real sockets on loopback, real hyper and rustls servers as peers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod environment;
mod filter;
mod limits;
mod pool;
mod proxy;
mod requests;
mod spellings;
mod streams;
mod support;
mod tls;
