//! How a server learns that what it has cached is no longer so.
//!
//! Whatever is cached names the scopes it was built from, with their epochs. A local commit tells the scopes
//! it raised at once; a poll every 300 ms brings what other servers raised. Out of touch with the database,
//! what is cached is served for at most the stale limit, then refused.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use latchstring_model::{Clock, Timestamp};
use latchstring_store::scopes::{self, OVERLAP_MILLIS, ScopeChange};
use latchstring_store::{Store, StoreError};

/// Between two polls. What is ended on one server is refused by all within a second.
pub const POLL: Duration = Duration::from_millis(300);

/// How much older a caller's look at the clock may be than the last word of the database, in milliseconds.
const MOMENT: i64 = 5_000;

/// A flag that one cached thing looks at before it is used.
#[derive(Clone)]
pub struct Validity(Arc<AtomicBool>);

impl Validity {
    pub fn holds(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Ends it from the holder's side, too: a token was renewed, a value did not fit.
    pub fn end(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The scopes that a thing was built from, with the epochs that were read in the same transaction.
#[derive(Clone, Debug, Default)]
pub struct Basis(Vec<(String, i64)>);

impl Basis {
    pub fn add(&mut self, scope: &str, epoch: i64) {
        if !self.0.iter().any(|(known, _)| known == scope) {
            self.0.push((scope.to_owned(), epoch));
        }
    }
}

#[derive(Default)]
struct Watched {
    /// The newest epoch heard of, for scopes that somebody watches.
    epochs: HashMap<String, i64>,
    watchers: HashMap<String, Vec<Weak<AtomicBool>>>,
    registered: usize,
}

pub struct Freshness {
    watched: Mutex<Watched>,
    /// Until when cached decisions may be served, by this process's clock.
    fresh_until: AtomicI64,
    stale_limit: Duration,
    clock: Arc<dyn Clock>,
}

impl Freshness {
    pub fn new(clock: Arc<dyn Clock>, stale_limit: Duration) -> Self {
        Self { watched: Mutex::default(), fresh_until: AtomicI64::new(i64::MIN), stale_limit, clock }
    }

    /// Whether the database was heard of lately enough for cached decisions to count.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        let left = self.fresh_until.load(Ordering::Relaxed).saturating_sub(now.millis());
        // More than the limit is left only where the clock was set back, which buys no time; or for whoever looked at it
        // a moment before the database was heard of.
        left > 0 && left <= self.limit().saturating_add(MOMENT)
    }

    fn limit(&self) -> i64 {
        i64::try_from(self.stale_limit.as_millis()).unwrap_or(i64::MAX)
    }

    fn heard(&self, at: Timestamp) {
        self.fresh_until.store(at.plus_millis(self.limit()).millis(), Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A validity that ends when one of these scopes moves on; `None` if one already has, and the thing must
    /// be built again.
    pub fn watch(&self, basis: &Basis) -> Option<Validity> {
        let mut watched = self.lock();
        if basis.0.iter().any(|(scope, epoch)| watched.epochs.get(scope).is_some_and(|known| known > epoch)) {
            return None;
        }
        let flag = Arc::new(AtomicBool::new(true));
        for (scope, epoch) in &basis.0 {
            let known = watched.epochs.entry(scope.clone()).or_insert(*epoch);
            *known = (*known).max(*epoch);
            watched.watchers.entry(scope.clone()).or_default().push(Arc::downgrade(&flag));
        }
        watched.registered += 1;
        // Flags whose owner is gone are swept now and then, so that memory follows what is in use.
        if watched.registered >= 4096 {
            watched.registered = 0;
            watched.watchers.retain(|_, list| {
                list.retain(|flag| flag.strong_count() > 0);
                !list.is_empty()
            });
            let Watched { epochs, watchers, .. } = &mut *watched;
            epochs.retain(|scope, _| watchers.contains_key(scope));
        }
        Some(Validity(flag))
    }

    /// Scopes were raised, here or elsewhere.
    pub fn changed(&self, changes: &[ScopeChange]) {
        let mut watched = self.lock();
        for change in changes {
            match watched.epochs.get_mut(&change.id) {
                Some(known) if *known >= change.epoch => continue,
                Some(known) => *known = change.epoch,
                None => {
                    // Nobody watches it yet, but somebody may be building on an older epoch right now.
                    watched.epochs.insert(change.id.clone(), change.epoch);
                }
            }
            for flag in watched.watchers.remove(&change.id).unwrap_or_default() {
                if let Some(flag) = flag.upgrade() {
                    flag.store(false, Ordering::Release);
                }
            }
        }
    }

    /// One look at what others changed. `since` is the database's clock and moves on with each look; back, too, when
    /// that clock does, and never beyond it because of a change that is dated in the future.
    async fn poll(&self, store: &Store, since: &mut Option<Timestamp>) -> Result<(), StoreError> {
        let asked = self.clock.now();
        let mut reader = store.read().await?;
        let now = scopes::db_now(&mut reader).await?;
        let from = since.map_or(now, |since| since.min(now)).plus_millis(-OVERLAP_MILLIS);
        let changes = scopes::changed(&mut reader, from).await?;
        drop(reader);
        let last = changes.last().map(|last| last.changed_at);
        *since = Some((*since).max(last).map_or(now, |newest| newest.min(now)));
        self.changed(&changes);
        self.heard(asked);
        Ok(())
    }

    /// Polls for as long as the server runs. Owned by the control runtime.
    pub async fn run(self: Arc<Self>, store: Store) {
        let mut since = None;
        let mut silent = false;
        loop {
            match tokio::time::timeout(self.stale_limit.max(POLL), self.poll(&store, &mut since)).await {
                Ok(Ok(())) if silent => {
                    silent = false;
                    tracing::info!("the database answers again");
                }
                Ok(Ok(())) => {}
                Ok(Err(error)) if !silent => {
                    silent = true;
                    tracing::warn!(error = %error, stale_limit_s = self.stale_limit.as_secs(), "out of touch with the database; cached calls go on for the stale limit");
                }
                Err(_) if !silent => {
                    silent = true;
                    tracing::warn!("the database does not answer");
                }
                _ => {}
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct At(AtomicI64);
    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }
    }

    fn freshness() -> Freshness {
        Freshness::new(Arc::new(At(AtomicI64::new(0))), Duration::from_secs(60))
    }

    fn change(id: &str, epoch: i64) -> ScopeChange {
        ScopeChange { id: id.into(), epoch, changed_at: Timestamp(0) }
    }

    fn basis(pairs: &[(&str, i64)]) -> Basis {
        let mut basis = Basis::default();
        for (scope, epoch) in pairs {
            basis.add(scope, *epoch);
        }
        basis
    }

    #[test]
    fn a_raised_scope_ends_what_was_built_from_it() {
        let freshness = freshness();
        let one = freshness.watch(&basis(&[("prj_a", 1), ("crd_a", 5)])).unwrap();
        let other = freshness.watch(&basis(&[("prj_b", 1)])).unwrap();
        freshness.changed(&[change("crd_a", 6)]);
        assert!(!one.holds());
        assert!(other.holds());
    }

    #[test]
    fn a_change_that_was_heard_before_the_building_ended_counts() {
        let freshness = freshness();
        freshness.changed(&[change("crd_a", 6)]);
        assert!(freshness.watch(&basis(&[("crd_a", 5)])).is_none(), "built on an epoch that is already over");
        let again = freshness.watch(&basis(&[("crd_a", 6)])).unwrap();
        freshness.changed(&[change("crd_a", 6)]);
        assert!(again.holds(), "the overlap of polls repeats what is known");
    }

    #[test]
    fn silence_ends_at_the_stale_limit() {
        let freshness = freshness();
        assert!(!freshness.is_fresh(Timestamp(0)), "nothing was heard yet");
        freshness.heard(Timestamp(1_000));
        assert!(freshness.is_fresh(Timestamp(60_999)));
        assert!(!freshness.is_fresh(Timestamp(61_000)));
    }

    #[test]
    fn a_clock_that_is_set_back_buys_no_time() {
        let freshness = freshness();
        freshness.heard(Timestamp(3_600_000));
        assert!(freshness.is_fresh(Timestamp(3_599_000)), "looked at the clock a moment before");
        assert!(!freshness.is_fresh(Timestamp(0)));
        freshness.heard(Timestamp(300));
        assert!(freshness.is_fresh(Timestamp(0)), "the database is there: it goes on at once");
        assert!(!freshness.is_fresh(Timestamp(60_300)));
    }
}
