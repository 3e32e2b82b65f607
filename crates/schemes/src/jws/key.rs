//! A key tied to its algorithm: parsed once, then used for every signature.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaEncoding};
use aws_lc_rs::{hmac, rsa};
use latchstring_model::SecretString;

use super::{Algorithm, JwsError};
use crate::encoding::KeyEncoding;
use crate::keys::{self, KeyError, KeyKind, PrivateKey};

/// Signs with one algorithm. `Send + Sync`; share it in an `Arc` and never parse a key per request:
/// that costs as much as a signature. Where texts are rendered per request, [`keys::ParsedKeys`] knows their keys.
pub struct SigningKey {
    algorithm: Algorithm,
    signer: Signer,
}

enum Signer {
    Hmac(Box<hmac::Key>),
    Rsa(Box<rsa::KeyPair>, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Reads a private key (see [`crate::keys`]), or takes the text's bytes as the secret of an HS algorithm.
    /// A passphrase that the key does not need is not looked at.
    pub fn parse(
        algorithm: Algorithm,
        key: &SecretString,
        passphrase: Option<&SecretString>,
    ) -> Result<Self, KeyError> {
        if algorithm.is_hmac() {
            return Self::shared_secret(algorithm, key, KeyEncoding::Raw);
        }
        Self::of(algorithm, keys::read(key, passphrase)?.key)
    }

    /// Of a private key that was read before.
    pub(crate) fn of(algorithm: Algorithm, key: PrivateKey) -> Result<Self, KeyError> {
        let kind = key.kind();
        let signer = match (key, algorithm) {
            (PrivateKey::Rsa { pair, pss_only }, _) => {
                rsa_encoding(algorithm, pss_only).map(|encoding| Signer::Rsa(pair, encoding))
            }
            (PrivateKey::Ec { pair, kind: KeyKind::P256 }, Algorithm::Es256)
            | (PrivateKey::Ec { pair, kind: KeyKind::P384 }, Algorithm::Es384)
            | (PrivateKey::Ec { pair, kind: KeyKind::P521 }, Algorithm::Es512) => Some(Signer::Ec(pair)),
            (PrivateKey::Ed25519(pair), Algorithm::EdDsa) => Some(Signer::Ed25519(pair)),
            _ => None,
        };
        match signer {
            Some(signer) => Ok(Self { algorithm, signer }),
            None => Err(KeyError::AlgorithmMismatch { algorithm: algorithm.as_str(), kind }),
        }
    }

    /// The secret of an HS algorithm, written raw, in hex or in base64. Length is the API's choice:
    /// RFC 7518 section 3.2 asks for as many bits as the hash has, and many providers hand out fewer.
    pub fn shared_secret(
        algorithm: Algorithm,
        secret: &SecretString,
        encoding: KeyEncoding,
    ) -> Result<Self, KeyError> {
        let hash = match algorithm {
            Algorithm::Hs256 => hmac::HMAC_SHA256,
            Algorithm::Hs384 => hmac::HMAC_SHA384,
            Algorithm::Hs512 => hmac::HMAC_SHA512,
            other => {
                return Err(KeyError::AlgorithmMismatch { algorithm: other.as_str(), kind: KeyKind::Secret });
            }
        };
        if secret.is_empty() {
            return Err(KeyError::Empty);
        }
        if secret.expose().contains("-----BEGIN ") {
            return Err(KeyError::PemForHmac { algorithm: algorithm.as_str() });
        }
        let bytes = encoding.decode(secret.expose())?;
        Ok(Self { algorithm, signer: Signer::Hmac(Box::new(hmac::Key::new(hash, bytes.expose()))) })
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw signature of a message, in the form that JWS wants: `r || s` for ES (RFC 7518 section 3.4).
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JwsError> {
        // The library draws its own randomness where PSS and ECDSA need some; the argument is a formality.
        let random = SystemRandom::new();
        match &self.signer {
            Signer::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Signer::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).map_err(|_| JwsError::Signing)?;
                Ok(signature)
            }
            Signer::Ec(pair) => {
                Ok(pair.sign(&random, message).map_err(|_| JwsError::Signing)?.as_ref().to_vec())
            }
            Signer::Ed25519(pair) => {
                Ok(pair.try_sign(message).map_err(|_| JwsError::Signing)?.as_ref().to_vec())
            }
        }
    }
}

fn rsa_encoding(algorithm: Algorithm, pss_only: bool) -> Option<&'static dyn RsaEncoding> {
    let encoding: &'static dyn RsaEncoding = match algorithm {
        Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_SHA512,
        _ if pss_only => return None,
        Algorithm::Rs256 => &signature::RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
        _ => return None,
    };
    Some(encoding)
}
