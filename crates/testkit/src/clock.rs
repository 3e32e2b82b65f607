//! A clock that goes when told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use latchstring_model::{Clock, Timestamp};

/// Clones show the same time.
#[derive(Clone, Debug)]
pub struct FakeClock(Arc<AtomicI64>);

impl FakeClock {
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(now.millis())))
    }

    pub fn set(&self, now: Timestamp) {
        self.0.store(now.millis(), Ordering::SeqCst);
    }

    pub fn advance_secs(&self, secs: i64) {
        self.advance_millis(secs * 1000);
    }

    pub fn advance_millis(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Default for FakeClock {
    /// A Thursday: 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::at(Timestamp::from_secs(1_767_225_600))
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_go_together() {
        let clock = FakeClock::default();
        let other = clock.clone();
        clock.advance_secs(90);
        assert_eq!(other.now().to_rfc3339(), "2026-01-01T00:01:30.000Z");
        other.set(Timestamp(5));
        assert_eq!(clock.now(), Timestamp(5));
    }
}
