//! The keys that audit checkpoints and anchors are signed with.

use latchstring_model::Timestamp;
use latchstring_model::id::{AuditKeyId, DataKeyId};

use crate::error::Result;
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditKeyRow {
    pub id: AuditKeyId,
    /// A copy for people who look at the database: what counts is the public half of the sealed key.
    pub public_key: Vec<u8>,
    pub sealed: Vec<u8>,
    pub data_key: DataKeyId,
    pub created_at: Timestamp,
}

statements! {
    LIST = "SELECT id, public_key, sealed, data_key, created_at FROM audit_keys ORDER BY id";
    CREATE = "INSERT INTO audit_keys (id, public_key, sealed, data_key, created_at) VALUES ($1, $2, $3, $4, $5)";
}

fn read(row: &mut Columns<'_>) -> Result<AuditKeyRow> {
    Ok(AuditKeyRow {
        id: row.id()?,
        public_key: row.bytes()?,
        sealed: row.bytes()?,
        data_key: row.id()?,
        created_at: row.time()?,
    })
}

/// Oldest first; the newest signs.
pub async fn list(tx: &mut impl Tx) -> Result<Vec<AuditKeyRow>> {
    LIST.on(tx).all(read).await
}

/// In a write of [`crate::scopes::INSTANCE`], so that of several first servers one makes it.
pub async fn create(tx: &mut WriteTx, row: &AuditKeyRow) -> Result<()> {
    CREATE
        .on(tx)
        .bind(&row.id)
        .bind(&row.public_key)
        .bind(&row.sealed)
        .bind(&row.data_key)
        .bind(row.created_at)
        .run()
        .await?;
    Ok(())
}
