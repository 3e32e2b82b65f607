//! Epochs: what a cached decision depends on, and how a server learns that it has changed.

use latchstring_model::Timestamp;

use crate::dialect::CLOCK;
use crate::error::Result;
use crate::sql::statements;
use crate::tx::Tx;

/// The scope of what belongs to nobody: set-up, instance settings.
pub const INSTANCE: &str = "instance";

/// How far a poll must look back behind the newest `changed_at` it has seen, in milliseconds. A PostgreSQL
/// transaction commits after the moment it wrote; [`crate::tx::WRITE_LIMIT`] bounds how long after, the rest
/// is for the commit itself.
pub const OVERLAP_MILLIS: i64 = 15_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeChange {
    pub id: String,
    pub epoch: i64,
    /// The database's clock.
    pub changed_at: Timestamp,
}

statements! {
    CHANGED = "SELECT id, epoch, changed_at FROM scopes WHERE changed_at >= $1 ORDER BY changed_at, id";
    EPOCH = "SELECT epoch FROM scopes WHERE id = $1";
}

/// Scopes raised at or after `since` (the database's clock), oldest first. Poll with the newest `changed_at`
/// seen minus [`OVERLAP_MILLIS`] and skip the epochs already known.
pub async fn changed(tx: &mut impl Tx, since: Timestamp) -> Result<Vec<ScopeChange>> {
    CHANGED
        .on(tx)
        .bind(since)
        .all(|row| Ok(ScopeChange { id: row.text()?, epoch: row.int()?, changed_at: row.time()? }))
        .await
}

/// 0 for a scope that was never raised.
pub async fn epoch(tx: &mut impl Tx, scope: &str) -> Result<i64> {
    Ok(EPOCH.on(tx).bind(scope).optional(|row| row.int()).await?.unwrap_or(0))
}

/// The database's clock: where a poll begins, and what leases are compared with.
pub async fn db_now(tx: &mut impl Tx) -> Result<Timestamp> {
    CLOCK.on(tx).one(|row| row.time()).await
}
