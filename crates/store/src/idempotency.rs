//! Answers kept for `Idempotency-Key`. Never a key or another thing that is shown once.

use latchstring_model::Timestamp;

use crate::error::Result;
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerRow {
    /// Of the row that opens an attempt, the request's hash; of the one that ends it, the answer. (Column `request_hash`;
    /// `body` is of versions that kept answers plain.)
    pub sealed: Vec<u8>,
    pub status: u16,
    pub created_at: Timestamp,
}

statements! {
    GET = "SELECT request_hash, status, created_at FROM idempotency WHERE actor = $1 AND name = $2";
    PUT = "INSERT INTO idempotency (actor, name, request_hash, status, body, created_at) VALUES ($1, $2, $3, $4, '', $5)";
    PURGE = "DELETE FROM idempotency WHERE created_at < $1";
}

fn read(row: &mut Columns<'_>) -> Result<AnswerRow> {
    Ok(AnswerRow {
        sealed: row.bytes()?,
        status: u16::try_from(row.int()?).map_err(|_| crate::StoreError::bad_row("a status is none"))?,
        created_at: row.time()?,
    })
}

pub async fn get(tx: &mut impl Tx, actor: &str, name: &str) -> Result<Option<AnswerRow>> {
    GET.on(tx).bind(actor).bind(name).optional(read).await
}

/// In the transaction of the change that it answers for. [`crate::Taken::IdempotencyKey`] when another
/// request with that key was quicker: its change stands, ours must not be committed.
pub async fn put(tx: &mut WriteTx, actor: &str, name: &str, answer: &AnswerRow) -> Result<()> {
    PUT.on(tx)
        .bind(actor)
        .bind(name)
        .bind(&answer.sealed)
        .bind(i64::from(answer.status))
        .bind(answer.created_at)
        .run()
        .await?;
    Ok(())
}

pub async fn purge(tx: &mut WriteTx, before: Timestamp) -> Result<u64> {
    PURGE.on(tx).bind(before).run().await
}
