//! One binary for all integration tests of this crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod catalog;
mod language;
mod login;
mod resolving;
mod values;
mod world;
