//! Keys and tokens: 256 random bits in base64url, of which only SHA-256 is stored.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchstring_model::{Entropy, SecretString};
use zeroize::Zeroizing;

use crate::road::accept::KEY_PREFIX;

const BITS: usize = 256;
/// Characters of a key behind its prefix.
const BODY: usize = 43;

/// A session's, link's or invitation's token.
pub fn new_token(entropy: &dyn Entropy) -> SecretString {
    let mut bytes = Zeroizing::new([0; BITS / 8]);
    entropy.fill(bytes.as_mut());
    SecretString::new(URL_SAFE_NO_PAD.encode(bytes.as_ref()))
}

pub fn new_key(entropy: &dyn Entropy) -> SecretString {
    SecretString::new(format!("{KEY_PREFIX}{}", new_token(entropy).expose()))
}

/// What cannot be a key is not looked up.
pub fn is_key(text: &str) -> bool {
    text.strip_prefix(KEY_PREFIX).is_some_and(is_token)
}

pub fn is_token(text: &str) -> bool {
    text.len() == BODY && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

pub fn hash(text: &str) -> [u8; 32] {
    hash_bytes(text.as_bytes())
}

pub fn hash_bytes(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// The same, for where text is stored.
pub fn hash_text(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(hash(text))
}

/// The last four characters of a key: enough to tell one's keys apart, useless to others.
pub fn hint(key: &SecretString) -> String {
    key.expose().get(key.len().saturating_sub(4)..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count;
    impl Entropy for Count {
        fn fill(&self, bytes: &mut [u8]) {
            for (i, byte) in bytes.iter_mut().enumerate() {
                *byte = i as u8;
            }
        }
    }

    #[test]
    fn keys_have_their_form() {
        let key = new_key(&Count);
        assert_eq!(key.expose(), "lst_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
        assert!(is_key(key.expose()));
        assert_eq!(hint(&key), "dHh8");
        for bad in [
            "",
            "lst_",
            "lst_short",
            "lst_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        ] {
            assert!(!is_key(bad), "{bad}");
        }
    }
}
