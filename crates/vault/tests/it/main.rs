//! The vault from outside: what it must open, and all that it must refuse.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod binding;
mod composition;
mod key_ring;
mod rotation;
mod support;
