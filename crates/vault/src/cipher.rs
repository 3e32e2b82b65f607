//! The one composition of primitives: HKDF-SHA256 into AES-256-GCM. See the crate's page for why.
//!
//! Layout of a box: `header ‖ salt (32) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`.
//! key = HKDF-SHA256(ikm, salt, info = label ‖ header ‖ aad) (RFC 5869), 32 bytes;
//! GCM additional data = header ‖ aad (NIST SP 800-38D).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use latchstring_model::{Entropy, SecretBytes};
use zeroize::Zeroizing;

pub(crate) const KEY: usize = 32;
pub(crate) const SALT: usize = 32;
pub(crate) const NONCE: usize = 12;
pub(crate) const TAG: usize = 16;
/// What a box adds to its header and plaintext, in bytes.
pub(crate) const OVERHEAD: usize = SALT + NONCE + TAG;

/// 32 secret bytes: a root key or a data key.
pub(crate) type KeyBytes = Zeroizing<[u8; KEY]>;

pub(crate) fn new_key(entropy: &dyn Entropy) -> KeyBytes {
    let mut key = KeyBytes::default();
    entropy.fill(key.as_mut_slice());
    key
}

/// HKDF-SHA256 to 32 bytes.
pub(crate) fn derive(ikm: &KeyBytes, salt: &[u8], info: &[&[u8]]) -> Result<KeyBytes, Unspecified> {
    let mut key = KeyBytes::default();
    Salt::new(HKDF_SHA256, salt)
        .extract(ikm.as_slice())
        .expand(info, HKDF_SHA256)?
        .fill(key.as_mut_slice())?;
    Ok(key)
}

fn record_key(
    ikm: &KeyBytes,
    label: &[u8],
    header: &[u8],
    aad: &[u8],
    salt: &[u8],
) -> Result<LessSafeKey, Unspecified> {
    let key = derive(ikm, salt, &[label, header, aad])?;
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_slice())?))
}

/// Fails only for a plaintext beyond AES-GCM's limit of 64 GiB.
pub(crate) fn seal(
    ikm: &KeyBytes,
    label: &[u8],
    header: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, Unspecified> {
    let mut random = [0; SALT + NONCE];
    entropy.fill(&mut random);
    let (salt, nonce) = random.split_at(SALT);
    let key = record_key(ikm, label, header, aad, salt)?;

    let start = header.len() + SALT + NONCE;
    let mut out = vec![0; start + plaintext.len() + TAG];
    let (head, body) = out.split_at_mut(start);
    head[..header.len()].copy_from_slice(header);
    head[header.len()..].copy_from_slice(&random);
    let (ciphertext, tag) = body.split_at_mut(plaintext.len());
    let nonce = Nonce::try_assume_unique_for_key(nonce)?;
    let aad = Aad::from([header, aad].concat());
    // From one buffer into the other: the output never holds the plaintext.
    key.seal_out_of_place_scatter(nonce, aad, plaintext, ciphertext, &[], tag)?;
    Ok(out)
}

/// `sealed` is the box behind its header. One error for all that does not fit.
pub(crate) fn open(
    ikm: &KeyBytes,
    label: &[u8],
    header: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<SecretBytes, Unspecified> {
    let (salt, rest) = sealed.split_at_checked(SALT).ok_or(Unspecified)?;
    let (nonce, rest) = rest.split_at_checked(NONCE).ok_or(Unspecified)?;
    let length = rest.len().checked_sub(TAG).ok_or(Unspecified)?;
    let (ciphertext, tag) = rest.split_at(length);
    let key = record_key(ikm, label, header, aad, salt)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce)?;
    let aad = Aad::from([header, aad].concat());
    // Wiped on failure too: GCM decrypts before it knows whether the tag is right.
    let mut plaintext = Zeroizing::new(vec![0; length]);
    key.open_separate_gather(nonce, aad, ciphertext, tag, &mut plaintext)?;
    Ok(SecretBytes::new(std::mem::take(&mut *plaintext)))
}
