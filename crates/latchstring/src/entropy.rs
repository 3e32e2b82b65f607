//! The only entropy source of the program.

use std::cell::RefCell;

use latchstring_model::Entropy;
use zeroize::Zeroize as _;

/// AWS-LC's generator, seeded by the operating system. Every call needs some bytes for its id, and a turn of the
/// generator for each would cost as much as the look-up of the route: small requests are served from a block that
/// each thread draws ahead. What was given out is wiped from it.
pub struct OsEntropy;

/// Bytes that a thread draws ahead.
const AHEAD: usize = 512;
/// Longer requests go to the generator itself.
const SMALL: usize = 16;

struct Ahead {
    block: [u8; AHEAD],
    given: usize,
}

thread_local! {
    static BLOCK: RefCell<Ahead> = const { RefCell::new(Ahead { block: [0; AHEAD], given: AHEAD }) };
}

fn draw(bytes: &mut [u8]) {
    // Without randomness no id, key or nonce may be made: there is nothing sensible to go on with.
    if aws_lc_rs::rand::fill(bytes).is_err() {
        std::process::abort();
    }
}

impl Ahead {
    fn give(&mut self, bytes: &mut [u8]) {
        if AHEAD - self.given < bytes.len() {
            draw(&mut self.block);
            self.given = 0;
        }
        let from = &mut self.block[self.given..self.given + bytes.len()];
        bytes.copy_from_slice(from);
        from.zeroize();
        self.given += bytes.len();
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.block.zeroize();
    }
}

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > SMALL {
            return draw(bytes);
        }
        BLOCK.with_borrow_mut(|ahead| ahead.give(bytes));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nothing_is_given_twice_and_what_was_given_is_wiped() {
        let mut seen = HashSet::new();
        for length in [16, 10, 16, 8, 16, 13].into_iter().cycle().take(600) {
            let mut bytes = [0; SMALL];
            OsEntropy.fill(&mut bytes[..length]);
            assert!(seen.insert(bytes[..8].to_vec()), "eight random bytes came twice");
        }
        BLOCK.with_borrow(|ahead| {
            assert!(ahead.given > 0 && ahead.block[..ahead.given].iter().all(|byte| *byte == 0));
        });
    }

    #[test]
    fn threads_draw_their_own() {
        let mine = || {
            let mut bytes = [0; SMALL];
            OsEntropy.fill(&mut bytes);
            bytes
        };
        let other = std::thread::spawn(mine).join();
        assert_ne!(other.ok(), Some(mine()));
    }
}
