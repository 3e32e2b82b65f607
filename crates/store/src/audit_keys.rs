//! The keys that the audit trail is signed with: heads of chains, checkpoints, anchors.
//!
//! This crate cannot open a key. Whoever can gives the store a [`HeadSigner`], which is asked in every append.

use std::collections::HashMap;

use latchstring_model::Timestamp;
use latchstring_model::id::{AuditKeyId, DataKeyId};

use crate::audit::JournalRow;
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

impl JournalRow {
    /// Nobody has appended to it yet, or said how far its journal is shipped: there is nothing to sign.
    pub fn is_new(&self) -> bool {
        self.number == 0 && self.segment == 0 && self.shipped == 0
    }
}

/// Signs the heads of chains.
pub trait HeadSigner: Send + Sync {
    fn sign(&self, row: &JournalRow) -> Result<HeadSignature>;
    /// Whether the head that is about to be appended to is what somebody of this installation has signed.
    fn fits(&self, row: &JournalRow, signature: &HeadSignature) -> bool;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadSignature {
    pub key_id: AuditKeyId,
    pub signature: Vec<u8>,
}

statements! {
    SIGNATURE = "SELECT key_id, signature FROM journals WHERE writer = $1";
    SIGNATURES = "SELECT writer, key_id, signature FROM journals";
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

fn signature(row: &mut Columns<'_>) -> Result<Option<HeadSignature>> {
    Ok(match (row.id_or()?, row.bytes_or()?) {
        (Some(key_id), Some(signature)) => Some(HeadSignature { key_id, signature }),
        _ => None,
    })
}

/// Of one chain's head; `None` when nobody has signed it.
pub async fn head_signature(tx: &mut impl Tx, writer: &str) -> Result<Option<HeadSignature>> {
    Ok(SIGNATURE.on(tx).bind(writer).optional(signature).await?.flatten())
}

/// Of all heads that are signed, by writer.
pub async fn head_signatures(tx: &mut impl Tx) -> Result<HashMap<String, HeadSignature>> {
    let all = SIGNATURES.on(tx).all(|row| Ok((row.text()?, signature(row)?))).await?;
    Ok(all.into_iter().filter_map(|(writer, signature)| Some((writer, signature?))).collect())
}

/// The signature of the head that an append is about to write. A chain whose head is not what was signed stays
/// unsigned, so that what happened to it is found, and the server goes on.
pub(crate) async fn next_signature(
    tx: &mut WriteTx,
    from: &JournalRow,
    to: &JournalRow,
) -> Result<Option<HeadSignature>> {
    let Some(signer) = tx.head_signer() else { return Ok(None) };
    if !from.is_new() {
        let stored = head_signature(tx, &from.writer).await?;
        let fits = stored.is_some_and(|stored| signer.fits(from, &stored));
        if !fits {
            return Ok(None);
        }
    }
    signer.sign(to).map(Some)
}
