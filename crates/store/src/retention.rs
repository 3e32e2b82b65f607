//! Cutting old records away: the anchors that chains begin at since then.

use latchstring_model::Timestamp;
use latchstring_model::id::AuditKeyId;

use crate::error::{Result, StoreError};
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

/// Where a chain begins. The signature is over everything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorRow {
    pub writer: String,
    /// Of the last record that was cut, which the first that is left names as its predecessor.
    pub number: i64,
    pub hash: Vec<u8>,
    /// Records that were cut in all, those in batches too.
    pub records: i64,
    /// Of the newest record that was cut.
    pub newest_at: Timestamp,
    pub cut_at: Timestamp,
    pub key_id: AuditKeyId,
    pub signature: Vec<u8>,
}

macro_rules! columns {
    () => {
        "writer, number, hash, records, newest_at, cut_at, key_id, signature"
    };
}

statements! {
    LIST = concat!("SELECT ", columns!(), " FROM audit_anchors ORDER BY writer");
    ONE = concat!("SELECT ", columns!(), " FROM audit_anchors WHERE writer = $1");
    SET = concat!("INSERT INTO audit_anchors (", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (writer) DO UPDATE SET number = excluded.number, hash = excluded.hash, records = excluded.records,
            newest_at = excluded.newest_at, cut_at = excluded.cut_at, key_id = excluded.key_id, signature = excluded.signature
        WHERE audit_anchors.number = $9");
    CUT_SCOPES = "DELETE FROM audit_batch_scopes WHERE seq IN
        (SELECT a.seq FROM audit a WHERE a.writer = $1 AND a.number <= $2)";
    CUT = "DELETE FROM audit WHERE writer = $1 AND number <= $2";
}

fn read(row: &mut Columns<'_>) -> Result<AnchorRow> {
    Ok(AnchorRow {
        writer: row.text()?,
        number: row.int()?,
        hash: row.bytes()?,
        records: row.int()?,
        newest_at: row.time()?,
        cut_at: row.time()?,
        key_id: row.id()?,
        signature: row.bytes()?,
    })
}

pub async fn anchors(tx: &mut impl Tx) -> Result<Vec<AnchorRow>> {
    LIST.on(tx).all(read).await
}

pub async fn anchor(tx: &mut impl Tx, writer: &str) -> Result<Option<AnchorRow>> {
    ONE.on(tx).bind(writer).optional(read).await
}

/// Cuts a chain's rows up to the anchor's number; how many. `from` is the number of the anchor so far, 0 without
/// one: of two servers that cut at the same time one gets [`StoreError::Moved`].
pub async fn cut(tx: &mut WriteTx, anchor: &AnchorRow, from: i64) -> Result<u64> {
    let set = SET
        .on(tx)
        .bind(&anchor.writer)
        .bind(anchor.number)
        .bind(&anchor.hash)
        .bind(anchor.records)
        .bind(anchor.newest_at)
        .bind(anchor.cut_at)
        .bind(&anchor.key_id)
        .bind(&anchor.signature)
        .bind(from)
        .run()
        .await?;
    if set != 1 {
        return Err(StoreError::Moved);
    }
    CUT_SCOPES.on(tx).bind(&anchor.writer).bind(anchor.number).run().await?;
    let cut = CUT.on(tx).bind(&anchor.writer).bind(anchor.number).run().await?;
    // Without an earlier anchor, another server may have cut before us: then there is less than we saw.
    if i64::try_from(cut).ok() == Some(anchor.number - from) { Ok(cut) } else { Err(StoreError::Moved) }
}
