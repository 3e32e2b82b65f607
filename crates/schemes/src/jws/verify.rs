//! Signatures of others: a JWT in compact form, verified with the keys that its issuer publishes (RFC 7515 section
//! 5.2, RFC 7517).
//!
//! Only public-key signatures are taken: never `none`, and never an HMAC, for which a published key would be the
//! secret. The key decides which algorithms it can verify, not the token.

use aws_lc_rs::signature::{
    self, EcdsaVerificationAlgorithm, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::Algorithm;

/// Keys of one issuer that are looked at; real ones publish a handful.
const MOST_KEYS: usize = 100;
/// Bytes of a token.
const LONGEST: usize = 64 * 1024;

/// Why a token is not believed. The text goes on after "the token …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("is not a JWT: three parts in base64url, of which the first two are JSON objects")]
    Malformed,
    #[error("is signed with `{0}`, which is not taken: only public-key algorithms are")]
    Algorithm(String),
    #[error("has a header field (`{0}`) that changes how it has to be read")]
    Critical(&'static str),
    /// Worth another look at the issuer's keys.
    #[error("is signed with a key that its issuer does not publish")]
    UnknownKey,
    #[error("does not say which of the issuer's keys signed it")]
    AmbiguousKey,
    #[error("has a signature that does not fit")]
    Signature,
}

enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The uncompressed point.
    Ec {
        curve: Algorithm,
        point: Vec<u8>,
    },
    Ed25519(Vec<u8>),
}

struct PublicKey {
    id: Option<String>,
    /// The only algorithm that its issuer uses it with.
    only: Option<Algorithm>,
    material: Material,
}

/// A JWK set, as far as signatures can be verified with it.
#[derive(Default)]
pub struct PublicKeys(Vec<PublicKey>);

/// Header and claims of a token whose signature is good.
pub struct Verified {
    pub algorithm: Algorithm,
    pub claims: Map<String, Value>,
}

fn bytes(key: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(key.get(name)?.as_str()?.trim_end_matches('=')).ok()
}

/// A coordinate in its full length: some leave leading zeros out.
fn padded(bytes: Vec<u8>, length: usize) -> Option<Vec<u8>> {
    let missing = length.checked_sub(bytes.len())?;
    Some(std::iter::repeat_n(0, missing).chain(bytes).collect())
}

fn read_key(key: &Value) -> Option<PublicKey> {
    let key = key.as_object()?;
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    if text("use").is_some_and(|uses| uses != "sig") {
        return None;
    }
    if let Some(operations) = key.get("key_ops").and_then(Value::as_array)
        && !operations.iter().any(|operation| operation == "verify")
    {
        return None;
    }
    let material = match text("kty")? {
        "RSA" => Material::Rsa { n: bytes(key, "n")?, e: bytes(key, "e")? },
        "EC" => {
            let (curve, length) = match text("crv")? {
                "P-256" => (Algorithm::Es256, 32),
                "P-384" => (Algorithm::Es384, 48),
                "P-521" => (Algorithm::Es512, 66),
                _ => return None,
            };
            let mut point = vec![4];
            point.extend(padded(bytes(key, "x")?, length)?);
            point.extend(padded(bytes(key, "y")?, length)?);
            Material::Ec { curve, point }
        }
        "OKP" if text("crv") == Some("Ed25519") => Material::Ed25519(bytes(key, "x")?),
        _ => return None,
    };
    let only = match text("alg") {
        None => None,
        // An algorithm that is not ours: the key is for something else.
        Some(name) => Some(known(name)?),
    };
    Some(PublicKey { id: text("kid").map(str::to_owned), only, material })
}

/// Exactly as RFC 7518 writes it, and with a public key.
fn known(name: &str) -> Option<Algorithm> {
    Algorithm::ALL.iter().copied().find(|algorithm| algorithm.as_str() == name && !algorithm.is_hmac())
}

fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    // Below 2048 bits a key can be broken.
    Some(match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn ecdsa(algorithm: Algorithm) -> Option<&'static EcdsaVerificationAlgorithm> {
    Some(match algorithm {
        Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::Es512 => &signature::ECDSA_P521_SHA512_FIXED,
        _ => return None,
    })
}

impl PublicKey {
    fn can(&self, algorithm: Algorithm) -> bool {
        let kind = match &self.material {
            Material::Rsa { .. } => rsa(algorithm).is_some(),
            Material::Ec { curve, .. } => *curve == algorithm,
            Material::Ed25519(_) => algorithm == Algorithm::EdDsa,
        };
        kind && self.only.is_none_or(|only| only == algorithm)
    }

    fn verifies(&self, algorithm: Algorithm, message: &[u8], tag: &[u8]) -> bool {
        match &self.material {
            Material::Rsa { n, e } => rsa(algorithm)
                .is_some_and(|rsa| RsaPublicKeyComponents { n, e }.verify(rsa, message, tag).is_ok()),
            Material::Ec { point, .. } => ecdsa(algorithm)
                .is_some_and(|ecdsa| UnparsedPublicKey::new(ecdsa, point).verify(message, tag).is_ok()),
            Material::Ed25519(point) => {
                UnparsedPublicKey::new(&signature::ED25519, point).verify(message, tag).is_ok()
            }
        }
    }
}

impl PublicKeys {
    /// Reads a JWK set; keys of kinds that we do not know are left out (RFC 7517 section 5). `None`: it is none.
    pub fn read(json: &[u8]) -> Option<Self> {
        let set: Map<String, Value> = serde_json::from_slice(json).ok()?;
        let keys = set.get("keys")?.as_array()?;
        Some(Self(keys.iter().take(MOST_KEYS).filter_map(read_key).collect()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Verifies the signature, and nothing that the token says.
pub fn verify_compact(token: &str, keys: &PublicKeys) -> Result<Verified, VerifyError> {
    if token.len() > LONGEST {
        return Err(VerifyError::Malformed);
    }
    let mut parts = token.split('.');
    let (Some(head), Some(payload), Some(tag), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(VerifyError::Malformed);
    };
    let header = object(head).ok_or(VerifyError::Malformed)?;
    for name in ["crit", "b64"] {
        // None of the extensions that a token could want understood is.
        if header.contains_key(name) {
            return Err(VerifyError::Critical(name));
        }
    }
    let named = header.get("alg").and_then(Value::as_str).ok_or(VerifyError::Malformed)?;
    let algorithm = known(named).ok_or_else(|| {
        VerifyError::Algorithm(named.chars().filter(|c| !c.is_control()).take(20).collect())
    })?;
    let able = keys.0.iter().filter(|key| key.can(algorithm));
    let key = match header.get("kid") {
        Some(id) => {
            let id = id.as_str().ok_or(VerifyError::Malformed)?;
            let mut named = able.filter(|key| key.id.as_deref() == Some(id));
            let key = named.next().ok_or(VerifyError::UnknownKey)?;
            if named.next().is_some() {
                return Err(VerifyError::AmbiguousKey);
            }
            key
        }
        None => {
            let mut able = able;
            let only = able.next().ok_or(VerifyError::UnknownKey)?;
            if able.next().is_some() {
                return Err(VerifyError::AmbiguousKey);
            }
            only
        }
    };
    let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| VerifyError::Malformed)?;
    let message = token.get(..head.len() + 1 + payload.len()).ok_or(VerifyError::Malformed)?;
    if !key.verifies(algorithm, message.as_bytes(), &tag) {
        return Err(VerifyError::Signature);
    }
    let claims = object(payload).ok_or(VerifyError::Malformed)?;
    Ok(Verified { algorithm, claims })
}
