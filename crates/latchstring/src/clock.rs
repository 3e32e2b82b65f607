//! The only system clock and the only entropy source of the program.

use std::time::{SystemTime, UNIX_EPOCH};

use latchstring_model::{Clock, Entropy, Timestamp};

pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place where time comes from")]
    fn now(&self) -> Timestamp {
        let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
        };
        Timestamp(millis)
    }
}

/// AWS-LC's generator, seeded by the operating system: every call needs some bytes, and a system call for each
/// would cost as much as the look-up of its route.
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Without randomness no id, key or nonce may be made: there is nothing sensible to go on with.
        if aws_lc_rs::rand::fill(bytes).is_err() {
            std::process::abort();
        }
    }
}
