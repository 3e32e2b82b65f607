//! Signing with a sealed key: the seed of an Ed25519 key (RFC 8032) is opened, used and wiped in here, and nobody
//! outside ever holds it. That is why it needs no ticket.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use latchstring_model::Entropy;
use zeroize::Zeroizing;

use crate::aad::Aad;
use crate::sealing::{OpenError, SealError, Sealed, Vault};

pub const PUBLIC_KEY: usize = 32;
pub const SIGNATURE: usize = 64;

/// A new key: what may be known, and what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSigningKey {
    pub public_key: [u8; PUBLIC_KEY],
    pub sealed: Sealed,
}

/// Why nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("what was sealed is no signing key; the row is damaged")]
    NotAKey,
}

fn public_of(pair: &Ed25519KeyPair) -> Result<[u8; PUBLIC_KEY], SignError> {
    pair.public_key().as_ref().try_into().map_err(|_| SignError::NotAKey)
}

impl Vault {
    /// A new key, sealed for exactly this `aad`.
    pub fn new_signing_key(&self, aad: &Aad, entropy: &dyn Entropy) -> Result<NewSigningKey, SealError> {
        let mut seed = Zeroizing::new([0; 32]);
        entropy.fill(seed.as_mut_slice());
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| SealError::Failed)?;
        let public_key = public_of(&pair).map_err(|_| SealError::Failed)?;
        let sealed = self.seal(aad, seed.as_slice(), entropy)?;
        Ok(NewSigningKey { public_key, sealed })
    }

    fn signing_pair(&self, aad: &Aad, sealed: &[u8]) -> Result<Ed25519KeyPair, SignError> {
        let seed = self.open_inside(aad, sealed)?;
        Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| SignError::NotAKey)
    }

    /// The public half of a sealed key: what a stored copy of it has to agree with.
    pub fn public_key(&self, aad: &Aad, sealed: &[u8]) -> Result<[u8; PUBLIC_KEY], SignError> {
        public_of(&self.signing_pair(aad, sealed)?)
    }

    pub fn sign(&self, aad: &Aad, sealed: &[u8], message: &[u8]) -> Result<[u8; SIGNATURE], SignError> {
        let signature = self.signing_pair(aad, sealed)?.sign(message);
        signature.as_ref().try_into().map_err(|_| SignError::NotAKey)
    }
}

/// Whether this key signed this message.
pub fn signature_fits(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use latchstring_model::Timestamp;
    use latchstring_model::id::DataKeyId;

    use super::*;
    use crate::aad::Purpose;
    use crate::ring::KeyRing;

    struct Counting(std::sync::atomic::AtomicU8);
    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for byte in bytes {
                *byte = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }

    fn vault(entropy: &dyn Entropy) -> Vault {
        let vault = Vault::new(KeyRing::generate(Timestamp(1), entropy));
        let key = vault.new_data_key(DataKeyId::new(Timestamp(1), entropy), entropy).unwrap();
        vault.load_data_key(&key).unwrap();
        vault.set_active(&key.id).unwrap();
        vault
    }

    fn aad(object: &str) -> Aad {
        Aad {
            purpose: Purpose::AuditKey,
            object: object.into(),
            environment: None,
            version: 0,
            project: None,
        }
    }

    #[test]
    fn what_is_signed_fits_its_key_and_nothing_else() {
        let entropy = Counting(0.into());
        let vault = vault(&entropy);
        let key = vault.new_signing_key(&aad("auk_1"), &entropy).unwrap();
        assert_eq!(vault.public_key(&aad("auk_1"), &key.sealed.bytes).unwrap(), key.public_key);
        let signature = vault.sign(&aad("auk_1"), &key.sealed.bytes, b"heads").unwrap();
        assert!(signature_fits(&key.public_key, b"heads", &signature));
        assert!(!signature_fits(&key.public_key, b"headz", &signature));
        let mut other = signature;
        other[3] ^= 1;
        assert!(!signature_fits(&key.public_key, b"heads", &other));
        let stranger = vault.new_signing_key(&aad("auk_2"), &entropy).unwrap();
        assert!(!signature_fits(&stranger.public_key, b"heads", &signature));
        assert!(
            !signature_fits(&[], b"heads", &signature) && !signature_fits(&key.public_key, b"heads", &[])
        );
        // Another key under this one's name does not open.
        let moved = vault.sign(&aad("auk_1"), &stranger.sealed.bytes, b"heads").unwrap_err();
        assert_eq!(moved, SignError::Open(OpenError::Refused));
    }

    #[test]
    fn it_outlives_a_rotation() {
        let entropy = Counting(7.into());
        let vault = vault(&entropy);
        let key = vault.new_signing_key(&aad("auk_1"), &entropy).unwrap();
        let next = vault.new_data_key(DataKeyId::new(Timestamp(2), &entropy), &entropy).unwrap();
        vault.load_data_key(&next).unwrap();
        vault.set_active(&next.id).unwrap();
        let resealed = vault.reseal(&aad("auk_1"), &key.sealed.bytes, &entropy).unwrap();
        assert_eq!(resealed.data_key, next.id);
        assert_eq!(vault.public_key(&aad("auk_1"), &resealed.bytes).unwrap(), key.public_key);
    }

    #[test]
    fn what_is_no_key_signs_nothing() {
        let entropy = Counting(9.into());
        let vault = vault(&entropy);
        let sealed = vault.seal(&aad("auk_1"), b"too short", &entropy).unwrap();
        assert_eq!(vault.sign(&aad("auk_1"), &sealed.bytes, b"x").unwrap_err(), SignError::NotAKey);
    }

    /// RFC 8032, 7.1, TEST 2.
    #[test]
    fn the_signature_is_the_one_of_the_standard() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let entropy = Counting(1.into());
        let vault = vault(&entropy);
        let sealed = vault.seal(&aad("auk_1"), &seed, &entropy).unwrap();
        let public = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        assert_eq!(vault.public_key(&aad("auk_1"), &sealed.bytes).unwrap().to_vec(), public);
        let signature = vault.sign(&aad("auk_1"), &sealed.bytes, &[0x72]).unwrap();
        let expected = hex(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        assert_eq!(signature.to_vec(), expected);
    }
}
