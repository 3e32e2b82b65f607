//! How long to leave a provider alone after a failure.

use latchstring_model::Entropy;

const FIRST_MS: i64 = 2_000;
const LONGEST_MS: i64 = 15 * 60_000;

/// Random bytes that one call of [`backoff`] draws.
pub const JITTER_BYTES: usize = 4;

/// Milliseconds to wait after this many failures in a row (the present one included): doubling
/// from two seconds to fifteen minutes, of which a random half is taken off so that servers and
/// credentials spread out. Never less than `at_least_ms`, the provider's own `Retry-After`; that is
/// spread by up to a tenth on top.
pub fn backoff(failures: u32, at_least_ms: i64, entropy: &dyn Entropy) -> i64 {
    let doubled = FIRST_MS.saturating_mul(1_i64 << failures.saturating_sub(1).min(20)).min(LONGEST_MS);
    let mut bytes = [0; JITTER_BYTES];
    entropy.fill(&mut bytes);
    let part = i64::from(u32::from_le_bytes(bytes));
    // `part` is a fraction of 2^32, so neither product overflows.
    let own = doubled - ((doubled / 2 * part) >> 32);
    let asked = at_least_ms.clamp(0, 7 * 24 * 3_600_000);
    own.max(asked + ((asked / 10 * part) >> 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);
    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn doubles_is_capped_and_respects_the_provider() {
        assert_eq!(backoff(1, 0, &Fixed(0)), 2_000);
        assert_eq!(backoff(2, 0, &Fixed(0)), 4_000);
        assert_eq!(backoff(2, 0, &Fixed(255)), 2_001);
        assert_eq!(backoff(u32::MAX, 0, &Fixed(0)), LONGEST_MS);
        assert_eq!(backoff(0, 0, &Fixed(0)), 2_000);
        assert_eq!(backoff(1, 60_000, &Fixed(0)), 60_000);
        assert!((60_000..=66_000).contains(&backoff(1, 60_000, &Fixed(255))));
        assert!(backoff(1, i64::MAX, &Fixed(255)) > 0);
    }
}
