//! A request to sign, randomness that repeats, test keys.

use http::{HeaderMap, Method};
use latchstring_model::address::Address;
use latchstring_model::{Entropy, Origin, SecretString, Timestamp};
use latchstring_schemes::keys::ParsedKeys;
use latchstring_schemes::token::TokenSet;
use latchstring_schemes::wire::Outgoing;
use latchstring_schemes::{Prepared, Scheme, SchemeError};

pub const NOW: Timestamp = Timestamp(1_700_000_000_123);

/// The same bytes on every call, counted up so that two draws differ.
pub struct Counting(std::sync::atomic::AtomicU8);

impl Counting {
    pub fn new() -> Self {
        Self(std::sync::atomic::AtomicU8::new(0))
    }
}

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let start = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = start.wrapping_add(u8::try_from(i % 251).unwrap());
        }
    }
}

pub struct Request {
    pub method: Method,
    pub origin: Origin,
    pub target: String,
    pub headers: HeaderMap,
}

impl Request {
    pub fn get(url: &str) -> Self {
        Self::new(Method::GET, url)
    }

    pub fn new(method: Method, url: &str) -> Self {
        let address = Address::parse(url).unwrap();
        Self { method, target: address.target(), origin: address.origin, headers: HeaderMap::new() }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.parse().unwrap());
        self
    }

    pub fn outgoing(&mut self) -> Outgoing<'_> {
        Outgoing {
            method: &self.method,
            origin: &self.origin,
            target: &mut self.target,
            headers: &mut self.headers,
        }
    }

    pub fn sign(
        &mut self,
        scheme: &Prepared,
        body: Option<&[u8]>,
    ) -> Result<Option<SecretString>, SchemeError> {
        self.sign_with(scheme, body, None)
    }

    pub fn sign_with(
        &mut self,
        scheme: &Prepared,
        body: Option<&[u8]>,
        token: Option<&TokenSet>,
    ) -> Result<Option<SecretString>, SchemeError> {
        scheme.sign(&mut self.outgoing(), body, token, NOW, &Counting::new())
    }

    /// As a second request of the same process.
    pub fn sign_with_other_entropy(&mut self, scheme: &Prepared) {
        let entropy = Counting::new();
        entropy.fill(&mut [0; 16]);
        if let Err(error) = scheme.sign(&mut self.outgoing(), Some(b""), None, NOW, &entropy) {
            panic!("{error}");
        }
    }

    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().unwrap_or_else(|| panic!("no header {name}"));
        assert!(values.next().is_none(), "{name} more than once");
        value.to_str().unwrap()
    }
}

pub fn prepared(scheme: Scheme) -> Prepared {
    match scheme.prepare(&ParsedKeys::default()) {
        Ok(prepared) => prepared,
        Err(error) => panic!("{error}"),
    }
}

pub fn refused(scheme: Scheme) -> SchemeError {
    match scheme.prepare(&ParsedKeys::default()) {
        Ok(_) => panic!("was accepted"),
        Err(error) => error,
    }
}

/// A file of `tests/data/keys`.
pub fn key_file(name: &str) -> String {
    let path = format!("{}/tests/data/keys/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
