//! Passwords: Argon2id with OWASP's second recommended setting (19 MiB, two passes, one lane).

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use latchstring_model::problem::Refused;
use latchstring_model::{Entropy, FieldError, Problem, SecretString};

use crate::refusals;

/// Shortest and longest password, in characters and bytes. The upper bound keeps hashing from being a weapon.
pub const SHORTEST: usize = 10;
pub const LONGEST: usize = 256;

fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(19 * 1024, 2, 1, None).unwrap_or_default())
}

/// NIST SP 800-63B: length counts, composition rules do not.
pub fn check(password: &SecretString, pointer: &str) -> Refused<()> {
    let text = password.expose();
    if text.chars().count() < SHORTEST {
        return Err(Problem::invalid(vec![FieldError::new(
            pointer,
            format!(
                "a password has at least {SHORTEST} characters; a few words are easier to remember than signs"
            ),
        )])
        .into());
    }
    if text.len() > LONGEST {
        return Err(Problem::invalid(vec![FieldError::new(
            pointer,
            format!("a password has at most {LONGEST} bytes"),
        )])
        .into());
    }
    Ok(())
}

/// Takes tens of milliseconds of CPU: runs on the blocking pool.
pub async fn hash(password: SecretString, entropy: &dyn Entropy) -> Refused<String> {
    let mut salt = [0; 16];
    entropy.fill(&mut salt);
    tokio::task::spawn_blocking(move || {
        argon2()
            .hash_password_with_salt(password.expose().as_bytes(), &salt)
            .map(|hash| hash.to_string())
            .map_err(|error| refusals::internal(&error))
    })
    .await
    .map_err(|error| refusals::internal(&error))?
}

/// Whether the password fits. Without a stored hash the same work is done, so that time does not tell
/// whether an account exists.
pub async fn fits(password: SecretString, stored: Option<String>) -> Refused<bool> {
    tokio::task::spawn_blocking(move || {
        let known = stored.is_some();
        let text = stored.unwrap_or_else(|| DECOY.to_owned());
        let fits = PasswordHash::new(&text)
            .is_ok_and(|hash| argon2().verify_password(password.expose().as_bytes(), &hash).is_ok());
        known && fits
    })
    .await
    .map_err(|error| refusals::internal(&error))
}

/// A hash of random bytes that nobody knows, with the same cost.
const DECOY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bGF0Y2hzdHJpbmctZGVjb3k$Zm9yIG5vYm9keSBrbm93cyB0aGlzIHBhc3N3b3JkISE";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Zero;
    impl Entropy for Zero {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    #[tokio::test]
    async fn the_right_password_fits_and_no_other() {
        let stored = hash("correct horse battery".into(), &Zero).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(fits("correct horse battery".into(), Some(stored.clone())).await.unwrap());
        assert!(!fits("correct horse batterz".into(), Some(stored)).await.unwrap());
        assert!(!fits("anything at all".into(), None).await.unwrap());
        assert!(PasswordHash::new(DECOY).is_ok(), "the decoy costs what a real one costs");
    }

    #[test]
    fn length_counts() {
        assert!(check(&"short".into(), "/password").is_err());
        assert!(check(&"x".repeat(257).into(), "/password").is_err());
        assert!(check(&"пароль-длинный".into(), "/password").is_ok());
    }
}
