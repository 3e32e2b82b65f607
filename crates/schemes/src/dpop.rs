//! Demonstrating proof of possession (RFC 9449): a token is bound to a key of ours, and every request that carries
//! it, or asks for one, carries a JWT signed with that key.
//!
//! The key is P-256 and signs with ES256, which every server that speaks DPoP must take. A server may hand out a
//! nonce (`DPoP-Nonce`) that the next proof must hold: the last one of the authorization server and the last one of
//! the API are remembered apart (sections 8 and 9). `iat` is seconds since 1970.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{HeaderMap, HeaderName, WWW_AUTHENTICATE};
use http::{HeaderValue, Method};
use latchstring_model::{Entropy, Origin, SecretString, Timestamp};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::apply::header_value;
use crate::error::SchemeError;
use crate::jws::{Algorithm, JwsError, SigningKey, sign_compact};
use crate::keys::{self, KeyError, KeyKind};

pub(crate) const PROOF: HeaderName = HeaderName::from_static("dpop");
const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// A nonce is opaque; one of this many bytes is no nonce any more.
const LONGEST_NONCE: usize = 1024;

/// Whose nonce it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Authorization,
    Resource,
}

/// The key that tokens are bound to, and the nonces that were learned with it. Share it in an `Arc`.
pub struct DpopKey {
    key: SigningKey,
    x: String,
    y: String,
    nonces: [Mutex<Option<String>>; 2],
}

impl DpopKey {
    /// Reads a P-256 private key (see [`crate::keys`]).
    pub fn parse(key: &SecretString, passphrase: Option<&SecretString>) -> Result<Self, KeyError> {
        let read = keys::read(key, passphrase)?;
        let mismatch = || KeyError::AlgorithmMismatch { algorithm: "ES256", kind: read.key.kind() };
        if read.key.kind() != KeyKind::P256 {
            return Err(mismatch());
        }
        // An uncompressed point (SEC 1 section 2.3.3): 4, then x and y of 32 bytes each.
        let Some((4, point)) = read.key.public_bits().split_first() else { return Err(KeyError::Garbled) };
        let (Some(x), Some(y)) = (point.get(..32), point.get(32..64)) else { return Err(KeyError::Garbled) };
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        Ok(Self {
            x,
            y,
            key: SigningKey::of(Algorithm::Es256, read.key)?,
            nonces: [Mutex::new(None), Mutex::new(None)],
        })
    }

    /// A new private key as PEM (SEC 1, RFC 5915), for whoever stores it.
    pub fn generate(entropy: &dyn Entropy) -> Result<SecretString, KeyError> {
        // ECPrivateKey of prime256v1 without its public half, which follows from the scalar.
        const HEAD: [u8; 7] = [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
        const TAIL: [u8; 12] = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        // One scalar in four thousand million is out of range.
        for _ in 0..4 {
            let mut scalar = Zeroizing::new([0; 32]);
            entropy.fill(&mut *scalar);
            let der = Zeroizing::new([HEAD.as_slice(), scalar.as_slice(), TAIL.as_slice()].concat());
            let body = Zeroizing::new(STANDARD.encode(&*der));
            let pem = SecretString::new(format!(
                "-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----\n",
                body.as_str()
            ));
            if Self::parse(&pem, None).is_ok() {
                return Ok(pem);
            }
        }
        Err(KeyError::Garbled)
    }

    /// RFC 7638: how a token names the key that it is bound to (`cnf.jkt`, `dpop_jkt`).
    pub fn thumbprint(&self) -> String {
        let canonical =
            format!("{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"{}\",\"y\":\"{}\"}}", self.x, self.y);
        URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
    }

    /// A proof for one request (section 4.2). `target` may have a query, which is left out.
    #[allow(clippy::too_many_arguments, reason = "each is one claim of the proof")]
    pub fn proof(
        &self,
        method: &Method,
        origin: &Origin,
        target: &str,
        to: Server,
        access_token: Option<&SecretString>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<SecretString, JwsError> {
        let mut jwk = Map::new();
        for (name, value) in [("kty", "EC"), ("crv", "P-256"), ("x", &self.x), ("y", &self.y)] {
            jwk.insert(name.into(), Value::from(value));
        }
        let mut header = Map::new();
        header.insert("typ".into(), "dpop+jwt".into());
        header.insert("jwk".into(), Value::Object(jwk));

        let path = target.split(['?', '#']).next().unwrap_or_default();
        let path = if path.is_empty() { "/" } else { path };
        let mut id = [0; 16];
        entropy.fill(&mut id);
        let mut claims = Map::new();
        claims.insert("jti".into(), URL_SAFE_NO_PAD.encode(id).into());
        claims.insert("htm".into(), method.as_str().into());
        claims.insert("htu".into(), format!("{origin}{path}").into());
        claims.insert("iat".into(), now.secs().into());
        if let Some(token) = access_token {
            let hash = digest(&SHA256, token.expose().as_bytes());
            claims.insert("ath".into(), URL_SAFE_NO_PAD.encode(hash).into());
        }
        if let Some(nonce) = self.nonce(to).lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
            claims.insert("nonce".into(), nonce.into());
        }
        sign_compact(&self.key, &header, &claims)
    }

    /// The same, put on a request.
    #[allow(clippy::too_many_arguments, reason = "each is one claim of the proof")]
    pub(crate) fn prove(
        &self,
        headers: &mut HeaderMap,
        method: &Method,
        origin: &Origin,
        target: &str,
        to: Server,
        access_token: Option<&SecretString>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<SecretString, SchemeError> {
        let proof = self.proof(method, origin, target, to, access_token, now, entropy)?;
        headers.insert(PROOF, header_value("dpop", proof.expose())?);
        Ok(proof)
    }

    /// Remembers the nonce that an answer brings, whatever its status (section 8.2). True when it is a new one.
    pub fn learn(&self, from: Server, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(NONCE).iter();
        let (Some(only), None) = (values.next(), values.next()) else { return false };
        let Some(nonce) = only.to_str().ok().filter(|text| !text.is_empty() && text.len() <= LONGEST_NONCE)
        else {
            return false;
        };
        let mut known = self.nonce(from).lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref() == Some(nonce) {
            return false;
        }
        *known = Some(nonce.to_owned());
        true
    }

    fn nonce(&self, of: Server) -> &Mutex<Option<String>> {
        match of {
            Server::Authorization => &self.nonces[0],
            Server::Resource => &self.nonces[1],
        }
    }
}

/// Section 9: whether the API refused for want of its nonce, and of nothing else.
pub(crate) fn wants_nonce(status: u16, headers: &HeaderMap) -> bool {
    let says = |value: &HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        text.contains("dpop") && text.contains("use_dpop_nonce")
    };
    status == 401 && headers.get_all(WWW_AUTHENTICATE).iter().any(says)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Counted(std::sync::atomic::AtomicU8);

    impl Entropy for Counted {
        fn fill(&self, bytes: &mut [u8]) {
            let start = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            bytes.fill(start + 1);
        }
    }

    fn key() -> (DpopKey, Counted) {
        let entropy = Counted(0.into());
        let pem = DpopKey::generate(&entropy).unwrap();
        (DpopKey::parse(&pem, None).unwrap_or_else(|error| panic!("{error}")), entropy)
    }

    fn claims(proof: &SecretString) -> Value {
        let part = proof.expose().split('.').nth(1).unwrap().to_owned();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    fn nonce_of(key: &DpopKey, entropy: &dyn Entropy, to: Server) -> Value {
        let origin = latchstring_model::address::Address::parse("https://a.example/").unwrap().origin;
        let proof = key.proof(&Method::GET, &origin, "/x", to, None, Timestamp(0), entropy).unwrap();
        claims(&proof)["nonce"].clone()
    }

    #[test]
    fn a_nonce_is_kept_for_its_own_server() {
        let (key, entropy) = key();
        let mut headers = HeaderMap::new();
        assert!(!key.learn(Server::Authorization, &headers));
        headers.insert(NONCE, "n-1".parse().unwrap());
        assert!(key.learn(Server::Authorization, &headers));
        assert!(!key.learn(Server::Authorization, &headers), "nothing new");
        assert_eq!(nonce_of(&key, &entropy, Server::Authorization), "n-1");
        assert_eq!(nonce_of(&key, &entropy, Server::Resource), Value::Null);
        headers.append(NONCE, "n-2".parse().unwrap());
        assert!(!key.learn(Server::Resource, &headers), "two are none");
    }

    #[test]
    fn only_the_words_of_section_9_ask_for_a_nonce() {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, "DPoP error=\"invalid_token\"".parse().unwrap());
        assert!(!wants_nonce(401, &headers));
        headers.append(WWW_AUTHENTICATE, "DPoP error=\"use_dpop_nonce\", algs=\"ES256\"".parse().unwrap());
        assert!(wants_nonce(401, &headers) && !wants_nonce(403, &headers));
    }

    #[test]
    fn another_curve_is_refused() {
        let pem = include_str!("../tests/data/keys/p384.pkcs8.pem");
        let error = DpopKey::parse(&pem.into(), None).err().unwrap();
        assert!(matches!(error, KeyError::AlgorithmMismatch { algorithm: "ES256", .. }), "{error}");
    }
}
