//! The harness: the program as a child process, Debian's Chromium through its own driver, and a person at it, who finds
//! fields by their labels and buttons by their words, as people do.
//!
//! Calls block: a test reads from top to bottom.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod axe;
mod browser;
mod driver;
pub mod keyboard;
mod program;
mod shots;

pub use browser::Browser;
pub use program::{app, binary, fresh, setup};
