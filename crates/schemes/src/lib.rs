//! What goes on the wire, sans-IO: `(values, now, random)` in → a request to send or a request
//! signed; an answer in → a token or a typed error. See docs/ARCHITECTURE.md.

pub mod encoding;
pub mod jws;
pub mod keys;
pub mod oauth2;
pub mod refresh;
pub mod token;
pub mod wire;
