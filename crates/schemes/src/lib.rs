//! What goes on the wire, sans-IO: `(values, now, random)` in → a request to send or a request
//! signed; an answer in → a token or a typed error. See docs/ARCHITECTURE.md.

pub mod api_key;
mod apply;
pub mod aws_sigv4;
pub mod basic;
pub mod bearer;
pub mod custom;
pub mod digest;
pub mod dpop;
pub mod echo;
pub mod encoding;
pub mod error;
pub mod hmac;
pub mod jws;
pub mod jwt;
pub mod keys;
pub mod mutual_tls;
pub mod oauth1;
pub mod oauth2;
pub mod oidc;
pub mod refresh;
pub mod scheme;
mod time_text;
pub mod token;
pub mod wire;

pub use apply::Placement;
pub use error::SchemeError;
pub use scheme::{BodyNeed, Prepared, Scheme};
