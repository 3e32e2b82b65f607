//! What every request passes before a handler sees it; the order is told in the crate's documentation.

pub mod enter;
pub mod headers;
pub mod origin;
pub mod repeat;
