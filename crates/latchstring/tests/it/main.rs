//! The whole program: the real binary, called over real sockets, against other people's servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod as_code;
mod audit;
mod bound;
mod bounds;
mod client_proofs;
mod coded;
mod commands;
mod consent;
mod consent_life;
mod disks;
mod egress;
mod endings;
mod freshness;
mod guides;
mod import;
mod keypairs;
mod keys_once;
mod kills;
mod logs;
mod masking;
mod noise;
mod notices;
mod oauth1;
mod operations;
mod people;
mod people_mail;
mod process;
mod readme;
mod records;
mod rotation;
mod schemes;
mod sign_in_provider;
mod soak;
mod streaming;
mod support;
mod tokens;
mod trailers;
mod wire;
