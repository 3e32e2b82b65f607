//! The contract: the same tests on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod deliveries;
mod notices;
mod oauth_clients;
mod opening;
mod ownership;
mod people;
mod records;
mod replay;
mod sharing;
mod sign_in;
mod support;
mod tokens;
mod traces;
mod transactions;
