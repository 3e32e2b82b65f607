//! Requests and answers as data: what a scheme reads and changes, with no socket in sight.

use bytes::Bytes;
use http::{HeaderMap, Method};
use latchstring_model::address::Address;
use latchstring_model::{Origin, SecretBytes};

/// A caller's request on its way out: everything but the body. A scheme changes target and headers in place.
pub struct Outgoing<'a> {
    pub method: &'a Method,
    pub origin: &'a Origin,
    /// Path and query, byte for byte as they will be sent.
    pub target: &'a mut String,
    pub headers: &'a mut HeaderMap,
}

/// A request of our own: a token request, a login step, a verification. The body may hold secrets.
#[derive(Clone)]
pub struct WireRequest {
    pub method: Method,
    pub address: Address,
    pub headers: HeaderMap,
    pub body: SecretBytes,
}

/// What came back for a [`WireRequest`], read whole up to a limit that the caller set.
#[derive(Clone)]
pub struct WireAnswer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The body was longer than the limit and is cut.
    pub truncated: bool,
}
