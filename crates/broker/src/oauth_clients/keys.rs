//! The private key of a client that proves itself with assertions (RFC 7523): pasted, or made here, so that the
//! private half never was anywhere else.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchstring_model::problem::Refused;
use latchstring_model::{FieldError, SecretString};
use latchstring_schemes::jws::{Algorithm, SigningKey};
use latchstring_schemes::keys::{KeyFacts, facts};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{key_making, refusals};

/// Algorithms that keys are made for; those that providers take.
pub(super) const GENERATED: [Algorithm; 5] =
    [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa];

/// A key as it is kept.
pub(super) struct Kept {
    pub pem: SecretString,
    pub algorithm: Algorithm,
    pub key_id: Option<String>,
    /// With `alg`, `use` and, where there is one, `kid`.
    pub public_jwk: Value,
}

fn kept(facts: KeyFacts, algorithm: Algorithm, key_id: Option<String>) -> Kept {
    let mut jwk = facts.public_jwk;
    jwk.insert("use".into(), "sig".into());
    jwk.insert("alg".into(), algorithm.as_str().into());
    if let Some(id) = &key_id {
        jwk.insert("kid".into(), id.as_str().into());
    }
    Kept { pem: facts.pem, algorithm, key_id, public_jwk: Value::Object(jwk) }
}

/// One that was pasted. `algorithm`: as wished, else what fits the key.
pub(super) fn pasted(
    pem: &SecretString,
    passphrase: Option<&SecretString>,
    algorithm: Option<&str>,
    key_id: Option<String>,
) -> Result<Kept, FieldError> {
    let wrong = |error: &dyn std::fmt::Display| FieldError::new("/private_key", error.to_string());
    let facts = facts(pem, passphrase).map_err(|error| wrong(&error))?;
    let algorithm = algorithm.and_then(Algorithm::parse).unwrap_or(facts.algorithm);
    // That the key fits the algorithm is found out here, not when somebody has consented.
    SigningKey::parse(algorithm, &facts.pem, None)
        .map_err(|error| FieldError::new("/key_algorithm", error.to_string()))?;
    Ok(kept(facts, algorithm, key_id))
}

fn pkcs8(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, aws_lc_rs::error::Unspecified> {
    let der = match algorithm {
        Algorithm::Es256 => {
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?.to_pkcs8v1()?.as_ref().to_vec()
        }
        Algorithm::Es384 => {
            EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)?.to_pkcs8v1()?.as_ref().to_vec()
        }
        Algorithm::EdDsa => Ed25519KeyPair::generate()?.to_pkcs8v1()?.as_ref().to_vec(),
        _ => RsaKeyPair::generate(KeySize::Rsa2048)?.as_der()?.as_ref().to_vec(),
    };
    Ok(Zeroizing::new(der))
}

/// A new pair. Its name is its thumbprint (RFC 7638) unless another one is wished.
pub(super) async fn generated(algorithm: Algorithm, key_id: Option<String>) -> Refused<Kept> {
    let made = key_making::alone(move || {
        let der = pkcs8(algorithm).map_err(|error| error.to_string())?;
        facts(&SecretString::new(STANDARD.encode(&*der)), None).map_err(|error| error.to_string())
    });
    let facts =
        made.await?.map_err(|error| refusals::internal(&format!("a key pair could not be made: {error}")))?;
    let id = key_id.unwrap_or_else(|| facts.thumbprint());
    Ok(kept(facts, algorithm, Some(id)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn what_is_made_signs_and_is_named_by_its_thumbprint() {
        for algorithm in GENERATED {
            let kept = generated(algorithm, None).await.unwrap();
            assert_eq!(kept.public_jwk["alg"], algorithm.as_str());
            assert_eq!(kept.public_jwk["kid"].as_str(), kept.key_id.as_deref());
            assert!(kept.public_jwk.get("d").is_none(), "the public half alone");
            let key = SigningKey::parse(algorithm, &kept.pem, None).unwrap();
            assert!(!key.sign(b"x").unwrap().is_empty());
            let read = pasted(&kept.pem, None, Some(algorithm.as_str()), kept.key_id.clone()).ok().unwrap();
            assert_eq!(read.public_jwk, kept.public_jwk);
        }
    }

    #[tokio::test]
    async fn a_key_has_to_fit_its_algorithm() {
        let kept = generated(Algorithm::Es256, None).await.unwrap();
        let wrong = pasted(&kept.pem, None, Some("RS256"), None).err().unwrap();
        assert_eq!(wrong.pointer, "/key_algorithm");
        assert!(wrong.detail.contains("ES256"), "{}", wrong.detail);
        let wrong =
            pasted(&"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----".into(), None, None, None);
        assert_eq!(wrong.err().unwrap().pointer, "/private_key");
        assert_eq!(pasted(&kept.pem, None, None, None).ok().unwrap().algorithm, Algorithm::Es256);
    }
}
