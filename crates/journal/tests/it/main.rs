//! The journal on a real file system, with processes that really die.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod appending;
mod dying;
mod grouping;
mod reading;
mod refusing;
mod support;
