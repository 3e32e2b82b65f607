//! One binary for all integration tests of this crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod anything;
mod catalog;
mod catalog_complete;
mod catalog_requests;
mod catalog_requests_b;
mod dry_request;
mod editor_schema;
mod language;
mod login;
mod oauth_options;
mod reference;
mod resolving;
mod salesforce;
mod session_key;
mod values;
mod world;
