//! Transactions. A write names its scopes first and raises their epochs, which is the lock.

use std::sync::Arc;
use std::time::Duration;

use latchstring_model::Timestamp;
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, Transaction};
use tokio::time::Instant;

use crate::audit_keys::HeadSigner;
use crate::dialect::{CLOCK, Dialect, RAISE_SCOPE};
use crate::error::{Result, StoreError};
use crate::pool::Store;
use crate::scopes::ScopeChange;

/// The longest that a write may last. `changed_at` is written when a transaction begins and seen when it
/// ends; [`crate::scopes::OVERLAP_MILLIS`] must cover what lies between.
pub const WRITE_LIMIT: Duration = Duration::from_secs(5);

pub(crate) mod sealed {
    use super::{AnyConnection, Dialect};

    pub trait Connected: Send {
        fn parts(&mut self) -> (Dialect, &mut AnyConnection);
    }
}

/// Anything that a statement can run on: [`Reader`], [`ReadTx`], [`WriteTx`].
pub trait Tx: sealed::Connected {}

/// A connection without a transaction: every statement sees its own moment. The cheapest way to one answer.
pub struct Reader {
    pub(crate) dialect: Dialect,
    pub(crate) connection: PoolConnection<Any>,
}

/// Several statements that see the same moment. Ends when dropped.
pub struct ReadTx {
    pub(crate) dialect: Dialect,
    pub(crate) inner: Transaction<'static, Any>,
}

/// One use case's write. Dropped without [`WriteTx::commit`], it leaves nothing behind.
#[must_use = "a write that is not committed is rolled back"]
pub struct WriteTx {
    store: Store,
    inner: Transaction<'static, Any>,
    changes: Vec<ScopeChange>,
    db_now: Timestamp,
    began: Instant,
}

impl sealed::Connected for Reader {
    fn parts(&mut self) -> (Dialect, &mut AnyConnection) {
        (self.dialect, &mut self.connection)
    }
}
impl sealed::Connected for ReadTx {
    fn parts(&mut self) -> (Dialect, &mut AnyConnection) {
        (self.dialect, &mut self.inner)
    }
}
impl sealed::Connected for WriteTx {
    fn parts(&mut self) -> (Dialect, &mut AnyConnection) {
        (self.store.dialect(), &mut self.inner)
    }
}
impl Tx for Reader {}
impl Tx for ReadTx {}
impl Tx for WriteTx {}

impl WriteTx {
    pub(crate) async fn begin(
        store: Store,
        inner: Transaction<'static, Any>,
        scopes: &[&str],
    ) -> Result<Self> {
        let mut tx = Self { store, inner, changes: Vec::new(), db_now: Timestamp(0), began: Instant::now() };
        if scopes.is_empty() {
            tx.db_now = CLOCK.on(&mut tx).one(|row| row.time()).await?;
        } else {
            tx.raise(scopes).await?;
        }
        Ok(tx)
    }

    /// Raises the epochs of further scopes that became known only inside. They are locked in sorted order
    /// among themselves; two writes that take them in turns may deadlock, which one of them meets as `Busy`.
    pub async fn raise(&mut self, scopes: &[&str]) -> Result<()> {
        let mut sorted = scopes.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        for scope in sorted {
            if self.changes.iter().any(|change| change.id == scope) {
                continue;
            }
            let (epoch, changed_at) =
                RAISE_SCOPE.on(self).bind(scope).one(|row| Ok((row.int()?, row.time()?))).await?;
            self.db_now = changed_at;
            self.changes.push(ScopeChange { id: scope.to_owned(), epoch, changed_at });
        }
        Ok(())
    }

    pub(crate) fn head_signer(&self) -> Option<Arc<dyn HeadSigner>> {
        self.store.head_signer()
    }

    /// The database's clock, read after the last lock was had. Leases are set and compared by it alone.
    pub fn db_now(&self) -> Timestamp {
        self.db_now
    }

    /// The scopes raised so far, with their new epochs.
    pub fn changes(&self) -> &[ScopeChange] {
        &self.changes
    }

    /// Commits, then tells the store's listeners before it returns.
    pub async fn commit(self) -> Result<Vec<ScopeChange>> {
        let dialect = self.store.dialect();
        if self.began.elapsed() > WRITE_LIMIT {
            return Err(StoreError::Busy("the write took longer than it may".into()));
        }
        self.inner.commit().await.map_err(|error| StoreError::from_sqlx(dialect, error))?;
        if !self.changes.is_empty() {
            self.store.tell(&self.changes);
        }
        Ok(self.changes)
    }

    pub async fn rollback(self) -> Result<()> {
        let dialect = self.store.dialect();
        self.inner.rollback().await.map_err(|error| StoreError::from_sqlx(dialect, error))
    }
}
