//! One binary for all integration tests of this crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod anything;
mod catalog;
mod editor_schema;
mod language;
mod login;
mod reference;
mod resolving;
mod values;
mod world;
