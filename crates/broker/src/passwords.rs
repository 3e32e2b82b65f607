//! Passwords: Argon2id with OWASP's second recommended setting (19 MiB, two passes, one lane).
//!
//! As many are worked on at once as there are cores, at most [`MOST_AT_ONCE`], in the whole process: so a crowd
//! at the door takes neither the memory nor all of the blocking pool. The others wait, and not for long.

use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Entropy, FieldError, Problem, SecretString};
use tokio::sync::Semaphore;

use crate::refusals;

/// Shortest and longest password, in characters and bytes. The upper bound keeps hashing from being a weapon.
pub const SHORTEST: usize = 8;
pub const LONGEST: usize = 256;

/// Passwords that are worked on at once: 19 MiB each.
const MOST_AT_ONCE: usize = 4;
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

static PLACES: LazyLock<Places> =
    LazyLock::new(|| Places::new(available_parallelism().map_or(1, usize::from).min(MOST_AT_ONCE)));

struct Places(Arc<Semaphore>);

impl Places {
    fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// On the blocking pool, when there is a place. The place goes with the work: a caller that hangs up does
    /// not stop what has begun.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Refused<T> {
        let place = tokio::time::timeout(PATIENCE, Arc::clone(&self.0).acquire_owned())
            .await
            .map_err(|_| {
                Problem::new(
                    Code::Busy,
                    "Too many passwords are being looked at; nothing was done with this one.",
                )
                .hint("Try again in a few seconds.")
                .retry_after(5)
            })?
            .map_err(|error| refusals::internal(&error))?;
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        })
        .await
        .map_err(|error| refusals::internal(&error))
    }
}

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
    check_length(password, pointer)
}

/// What is longer than any password is not tried: said before it counts as a try.
pub fn check_length(password: &SecretString, pointer: &str) -> Refused<()> {
    if password.len() > LONGEST {
        return Err(Problem::invalid(vec![FieldError::new(
            pointer,
            format!("a password has at most {LONGEST} bytes"),
        )])
        .into());
    }
    Ok(())
}

/// Takes tens of milliseconds of CPU: runs on the blocking pool. `busy` when there is no place for it in time.
pub async fn hash(password: SecretString, entropy: &dyn Entropy) -> Refused<String> {
    let mut salt = [0; 16];
    entropy.fill(&mut salt);
    PLACES
        .run(move || {
            argon2()
                .hash_password_with_salt(password.expose().as_bytes(), &salt)
                .map(|hash| hash.to_string())
                .map_err(|error| refusals::internal(&error))
        })
        .await?
}

/// Whether the password fits. Without a stored hash the same work is done, so that time does not tell
/// whether an account exists. What is longer than any password is fits nowhere, and takes no work.
pub async fn fits(password: SecretString, stored: Option<String>) -> Refused<bool> {
    fits_within(&PLACES, password, stored).await
}

async fn fits_within(places: &Places, password: SecretString, stored: Option<String>) -> Refused<bool> {
    if password.len() > LONGEST {
        return Ok(false);
    }
    places
        .run(move || {
            let known = stored.is_some();
            let text = stored.unwrap_or_else(|| DECOY.to_owned());
            let fits = PasswordHash::new(&text)
                .is_ok_and(|hash| argon2().verify_password(password.expose().as_bytes(), &hash).is_ok());
            known && fits
        })
        .await
}

/// A hash of random bytes that nobody knows, with the same cost.
const DECOY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bGF0Y2hzdHJpbmctZGVjb3k$Zm9yIG5vYm9keSBrbm93cyB0aGlzIHBhc3N3b3JkISE";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

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

    #[tokio::test]
    async fn no_more_are_worked_on_at_once_than_there_are_places() {
        let places = Arc::new(Places::new(2));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let (places, now, most) = (Arc::clone(&places), Arc::clone(&now), Arc::clone(&most));
            all.spawn(async move {
                let work = move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(20));
                    now.fetch_sub(1, Ordering::SeqCst);
                };
                places.run(work).await
            });
        }
        assert!(all.join_all().await.into_iter().all(|done| done.is_ok()));
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_to_come_back() {
        let places = Places::new(1);
        let place = Arc::clone(&places.0).acquire_owned().await.unwrap();
        let begun = tokio::time::Instant::now();
        let refused = fits_within(&places, "anything at all".into(), None).await.unwrap_err();
        assert_eq!((refused.code, refused.retry_after_secs), (Code::Busy, Some(5)));
        assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
        // What is too long for a password needs no place.
        assert!(!fits_within(&places, "x".repeat(LONGEST + 1).into(), None).await.unwrap());
        drop(place);
        assert!(!fits_within(&places, "anything at all".into(), None).await.unwrap());
    }

    #[test]
    fn length_counts() {
        assert!(check(&"short".into(), "/password").is_err());
        assert!(check(&"x".repeat(257).into(), "/password").is_err());
        assert!(check(&"пароль-длинный".into(), "/password").is_ok());
    }
}
