//! The whole program: the real binary, called over real sockets, against other people's servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod bound;
mod coded;
mod commands;
mod egress;
mod freshness;
mod guides;
mod keypairs;
mod kills;
mod logs;
mod masking;
mod notices;
mod process;
mod readme;
mod records;
mod schemes;
mod streaming;
mod support;
mod tokens;
mod wire;
