//! What can be said of a private key without using it: its family, the algorithm that fits, and its public half
//! as a JWK (RFC 7517, RFC 7518 section 6, RFC 8037 section 2), which is what providers are given.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use latchstring_model::SecretString;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{KeyError, KeyKind, PrivateKey, der, read};
use crate::jws::Algorithm;

/// A private key that was read, and what the world may know of it.
pub struct KeyFacts {
    pub kind: KeyKind,
    /// What most providers expect of such a key.
    pub algorithm: Algorithm,
    /// `kty` and the public parameters; no `kid`, `alg` or `use`.
    pub public_jwk: Map<String, Value>,
    /// The key without its passphrase, as PEM.
    pub pem: SecretString,
}

impl KeyFacts {
    /// Base64url SHA-256 over the required members (RFC 7638): a name for the key that both sides can compute.
    pub fn thumbprint(&self) -> String {
        let names: &[&str] = match self.kind {
            KeyKind::Rsa | KeyKind::RsaPss => &["e", "kty", "n"],
            KeyKind::Ed25519 => &["crv", "kty", "x"],
            _ => &["crv", "kty", "x", "y"],
        };
        // None of the values needs escaping: names of curves and base64url.
        let members: Vec<String> = names
            .iter()
            .map(|name| format!("\"{name}\":{}", self.public_jwk.get(*name).cloned().unwrap_or_default()))
            .collect();
        let canonical = format!("{{{}}}", members.join(","));
        URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
    }
}

/// Reads a private key as people paste it.
pub fn facts(key: &SecretString, passphrase: Option<&SecretString>) -> Result<KeyFacts, KeyError> {
    let found = read(key, passphrase)?;
    let public_jwk = public_jwk(&found.key).ok_or(KeyError::Garbled)?;
    let (kind, algorithm) = match found.key.kind() {
        kind @ KeyKind::Rsa => (kind, Algorithm::Rs256),
        kind @ KeyKind::RsaPss => (kind, Algorithm::Ps256),
        kind @ KeyKind::P256 => (kind, Algorithm::Es256),
        kind @ KeyKind::P384 => (kind, Algorithm::Es384),
        kind @ KeyKind::P521 => (kind, Algorithm::Es512),
        kind @ KeyKind::Ed25519 => (kind, Algorithm::EdDsa),
        KeyKind::Secret => return Err(KeyError::Garbled),
    };
    Ok(KeyFacts { kind, algorithm, public_jwk, pem: pem(found.label, found.der.expose()) })
}

/// RFC 7468: base64 in lines of 64 characters.
fn pem(label: &str, der: &[u8]) -> SecretString {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut text = String::with_capacity(body.len() + body.len() / 64 + 80);
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for (at, c) in body.char_indices() {
        if at > 0 && at % 64 == 0 {
            text.push('\n');
        }
        text.push(c);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    SecretString::new(text)
}

fn public_jwk(key: &PrivateKey) -> Option<Map<String, Value>> {
    let bits = key.public_bits();
    let encode = |bytes: &[u8]| Value::String(URL_SAFE_NO_PAD.encode(bytes));
    let mut jwk = Map::new();
    match key.kind() {
        KeyKind::Rsa | KeyKind::RsaPss => {
            // RSAPublicKey: SEQUENCE { modulus, publicExponent } (RFC 8017 A.1.1). A leading zero is only the sign.
            let parts = der::children(bits)?;
            let number = |at: usize| {
                let value: &[u8] = parts.get(at)?.value();
                let first = value.iter().position(|byte| *byte != 0)?;
                value.get(first..)
            };
            jwk.insert("kty".into(), "RSA".into());
            jwk.insert("n".into(), encode(number(0)?));
            jwk.insert("e".into(), encode(number(1)?));
        }
        kind @ (KeyKind::P256 | KeyKind::P384 | KeyKind::P521) => {
            // An uncompressed point: 4, x, y (SEC 1 section 2.3.3).
            let point = bits.strip_prefix(&[4])?;
            let (x, y) = point.split_at_checked(point.len() / 2)?;
            let curve = match kind {
                KeyKind::P256 => "P-256",
                KeyKind::P384 => "P-384",
                _ => "P-521",
            };
            jwk.insert("kty".into(), "EC".into());
            jwk.insert("crv".into(), curve.into());
            jwk.insert("x".into(), encode(x));
            jwk.insert("y".into(), encode(y));
        }
        KeyKind::Ed25519 => {
            jwk.insert("kty".into(), "OKP".into());
            jwk.insert("crv".into(), "Ed25519".into());
            jwk.insert("x".into(), encode(bits));
        }
        KeyKind::Secret => return None,
    }
    Some(jwk)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// RFC 8037 appendix A: the key of A.1 in PKCS#8, its public half of A.2, its thumbprint of A.3.
    #[test]
    fn the_key_of_rfc_8037() {
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let mut pkcs8 = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        pkcs8.extend(seed);
        let key = SecretString::new(STANDARD.encode(pkcs8));
        let facts = facts(&key, None).unwrap();
        assert_eq!(facts.public_jwk["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(facts.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!((facts.kind, facts.algorithm), (KeyKind::Ed25519, Algorithm::EdDsa));
        let again = super::facts(&facts.pem, None).unwrap();
        assert_eq!(again.public_jwk, facts.public_jwk, "what is kept can be read again");
    }
}
