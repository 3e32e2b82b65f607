//! Keys that were read before, for whoever renders the same text again. Reading an RSA key costs as much as a signature
//! with it, and opening an encrypted one can keep a core busy for a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use latchstring_model::SecretString;

use super::KeyError;
use crate::digest::Heard;
use crate::dpop::DpopKey;
use crate::encoding::KeyEncoding;
use crate::error::SchemeError;
use crate::jws::{Algorithm, SigningKey};
use crate::mutual_tls::{MutualTls, TlsIdentity};

/// A method has one to sign with, one that tokens are bound to and one for TLS. Where a template makes another text
/// each time, the oldest are forgotten.
const MOST: usize = 8;

static READ: AtomicU64 = AtomicU64::new(0);

/// How many private keys this process has read: it does not rise with calls.
pub fn read_so_far() -> u64 {
    READ.load(Ordering::Relaxed)
}

pub(super) fn count_read() {
    READ.fetch_add(1, Ordering::Relaxed);
}

/// A digest stands for the texts: no further copy of a key is kept, and comparing two says nothing of them.
type Fingerprint = [u8; 32];

fn fingerprint(texts: &[&str]) -> Fingerprint {
    let mut context = Context::new(&SHA256);
    for text in texts {
        context.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(text.as_bytes());
    }
    let mut print = [0; 32];
    print.copy_from_slice(context.finish().as_ref());
    print
}

/// What was made of secret texts, by the texts.
pub struct Remembered<T>(Mutex<Vec<(Fingerprint, T)>>);

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Remembered<T> {
    /// What was made of the same texts, or what `make` makes.
    pub fn get(&self, texts: &[&str], make: impl FnOnce() -> T) -> T {
        let print = fingerprint(texts);
        let known = |all: &[(Fingerprint, T)]| {
            all.iter().find(|(known, _)| *known == print).map(|(_, made)| made.clone())
        };
        if let Some(made) = known(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return made;
        }
        // Not under the lock: whoever has another text need not wait for this one.
        let made = make();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Of two who made it at once, both get the same: what one learns with it is for both.
        if let Some(first) = known(&all) {
            return first;
        }
        if all.len() >= MOST {
            all.remove(0);
        }
        all.push((print, made.clone()));
        made
    }
}

/// The keys of one credential's values, with the nonces that were learned with them. What cannot be read is remembered,
/// too: a wrong passphrase takes as long as the right one.
#[derive(Default)]
pub struct ParsedKeys {
    signing: Remembered<Result<Arc<SigningKey>, KeyError>>,
    dpop: Remembered<Result<Arc<DpopKey>, KeyError>>,
    tls: Remembered<Result<TlsIdentity, SchemeError>>,
    digest: Remembered<Heard>,
}

impl ParsedKeys {
    /// A private key, or the shared secret of an HS algorithm, for which alone `encoding` is looked at.
    pub fn signing(
        &self,
        algorithm: Algorithm,
        key: &SecretString,
        passphrase: Option<&SecretString>,
        encoding: KeyEncoding,
    ) -> Result<Arc<SigningKey>, KeyError> {
        let opened_by = passphrase.map_or("", SecretString::expose);
        let texts = [algorithm.as_str(), encoding.as_str(), key.expose(), opened_by];
        self.signing.get(&texts, || {
            let parsed = match algorithm.is_hmac() {
                true => SigningKey::shared_secret(algorithm, key, encoding),
                false => SigningKey::parse(algorithm, key, passphrase),
            };
            parsed.map(Arc::new)
        })
    }

    /// A key that tokens are bound to.
    pub fn dpop(
        &self,
        key: &SecretString,
        passphrase: Option<&SecretString>,
    ) -> Result<Arc<DpopKey>, KeyError> {
        let texts = [key.expose(), passphrase.map_or("", SecretString::expose)];
        self.dpop.get(&texts, || DpopKey::parse(key, passphrase).map(Arc::new))
    }

    /// What a server of digest said that is answered with this password.
    pub(crate) fn heard(&self, username: &SecretString, password: &SecretString) -> Heard {
        self.digest.get(&[username.expose(), password.expose()], Heard::default)
    }

    /// A key with its certificate.
    pub(crate) fn tls(&self, pair: &MutualTls) -> Result<TlsIdentity, SchemeError> {
        let opened_by = pair.passphrase.as_ref().map_or("", SecretString::expose);
        let texts = [pair.certificate.as_str(), pair.private_key.expose(), opened_by];
        self.tls.get(&texts, || pair.identity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_texts_are_read_once() {
        let remembered = Remembered::default();
        let mut made = 0;
        let mut get = |texts: &[&str]| {
            remembered.get(texts, || {
                made += 1;
                made
            })
        };
        assert_eq!((get(&["a", "b"]), get(&["a", "b"])), (1, 1));
        assert_eq!((get(&["ab", ""]), get(&["a"]), get(&["a", "b"])), (2, 3, 1), "where a text ends counts");
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let remembered = Remembered::default();
        for number in 0..MOST + 3 {
            remembered.get(&[&number.to_string()], || number);
        }
        assert_eq!(remembered.0.lock().unwrap_or_else(PoisonError::into_inner).len(), MOST);
        assert_eq!(remembered.get(&[&MOST.to_string()], || 99), MOST);
        assert_eq!(remembered.get(&["0"], || 99), 99);
    }

    #[test]
    fn who_comes_second_gets_what_the_first_has() {
        let remembered = Remembered::default();
        let second = remembered.get(&["a"], || {
            remembered.get(&["a"], || 1);
            2
        });
        assert_eq!(second, 1);
    }
}
