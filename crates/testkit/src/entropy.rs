//! Random bytes that are the same for the same seed. For tests alone: they can be foretold.

use std::sync::atomic::{AtomicU64, Ordering};

use latchstring_model::Entropy;

#[derive(Debug)]
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next number (SplitMix64).
    pub fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }
}

impl Default for SeededEntropy {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides() {
        let take = |seed| {
            let mut bytes = [0; 37];
            SeededEntropy::new(seed).fill(&mut bytes);
            bytes
        };
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
        // The published first value of SplitMix64 for seed 0.
        assert_eq!(SeededEntropy::new(0).next(), 0xe220_a839_7b1d_cdaf);
    }
}
