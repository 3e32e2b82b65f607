//! The real router with a real broker, on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod app;
mod background;
mod calling;
mod connectors;
mod conventions;
mod cross_origin;
mod entrance;
mod idempotency;
mod invites;
mod isolation;
mod keys;
mod me;
mod members;
mod metrics;
mod openapi;
mod operations;
mod pages;
mod projects;
mod service_keys;
mod sessions;
mod setup;
mod users;
mod values;
