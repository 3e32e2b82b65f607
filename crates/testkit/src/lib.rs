//! What tests lean on: a clock and randomness they can set, and real servers to talk with.
//!
//! Servers are child processes that end with the test, however it ends: each of them exits when
//! its standard input closes. What they need is installed by `cargo xtask setup`.
//!
//! Nothing here stands in for the thing under test: the servers are other people's programs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

pub mod app;
pub mod clock;
pub mod entropy;
pub mod generated;
pub mod http;
pub mod httpbin;
pub mod jwt;
pub mod long;
pub mod mail;
pub mod oauth1;
pub mod oidc;
pub mod postgres;
mod process;
pub mod webhooks;

pub use app::{AppSetup, Folder, TestApp, eventually};
pub use clock::FakeClock;
pub use entropy::SeededEntropy;
pub use httpbin::Httpbin;
pub use long::{figure, long, rounds};
pub use mail::MailServer;
pub use oidc::OidcProvider;

use std::path::{Path, PathBuf};

/// The repository's root folder.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("the test kit lies two folders below the root").to_owned()
}
