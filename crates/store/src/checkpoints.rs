//! What a checkpoint of the audit trail says: the heads of its chains, and the versions of credentials.

use latchstring_model::Timestamp;

use crate::error::Result;
use crate::sql::{Columns, statements};
use crate::tx::Tx;

/// The head of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadRow {
    pub writer: String,
    pub number: i64,
    pub head: Vec<u8>,
}

/// A credential that was written to, and the version of one of its environments' values. A credential without
/// values has one row without them; one that is gone has no version either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialVersion {
    /// As text: what somebody wrote there may be no id at all.
    pub id: String,
    pub version: Option<i64>,
    pub values: Option<(String, i64)>,
}

statements! {
    NEWEST = "SELECT COALESCE(MAX(seq), 0) FROM audit";
    BATCHES_SINCE = "SELECT COUNT(*) FROM audit WHERE seq > $1 AND fact = 'batch'";
    HEADS = "SELECT j.writer, j.number, j.head FROM journals j ORDER BY j.writer";
    HEADS_SINCE = "SELECT j.writer, j.number, j.head FROM journals j
        WHERE j.writer IN (SELECT a.writer FROM audit a WHERE a.seq > $1) ORDER BY j.writer";
    RECORDED = "SELECT CAST(COALESCE(SUM(j.number), 0) AS BIGINT), COUNT(*) FROM journals j";
    CREDENTIALS_SINCE = "SELECT s.id, c.version, v.environment, v.version FROM scopes s
        LEFT JOIN credentials c ON c.id = s.id LEFT JOIN credential_values v ON v.credential_id = s.id
        WHERE s.changed_at >= $1 AND s.id >= 'crd_' AND s.id < 'crd`' ORDER BY s.id, v.environment";
    CREDENTIALS = "SELECT c.id, c.version, v.environment, v.version FROM credentials c
        LEFT JOIN credential_values v ON v.credential_id = c.id ORDER BY c.id, v.environment";
}

fn read_head(row: &mut Columns<'_>) -> Result<HeadRow> {
    Ok(HeadRow { writer: row.text()?, number: row.int()?, head: row.bytes()? })
}

fn read_version(row: &mut Columns<'_>) -> Result<CredentialVersion> {
    let (id, version) = (row.text()?, row.int_or()?);
    let values = match (row.text_or()?, row.int_or()?) {
        (Some(environment), Some(version)) => Some((environment, version)),
        _ => None,
    };
    Ok(CredentialVersion { id, version, values })
}

/// The `seq` of the newest row of the trail; 0 without any.
pub async fn newest(tx: &mut impl Tx) -> Result<i64> {
    NEWEST.on(tx).one(|row| row.int()).await
}

/// How many of the rows behind this `seq` are batches of calls.
pub async fn batches_since(tx: &mut impl Tx, seq: i64) -> Result<i64> {
    BATCHES_SINCE.on(tx).bind(seq).one(|row| row.int()).await
}

pub async fn heads(tx: &mut impl Tx) -> Result<Vec<HeadRow>> {
    HEADS.on(tx).all(read_head).await
}

/// Of the chains that have rows behind this `seq`.
pub async fn heads_since(tx: &mut impl Tx, seq: i64) -> Result<Vec<HeadRow>> {
    HEADS_SINCE.on(tx).bind(seq).all(read_head).await
}

/// How many rows were ever written, by how many writers.
pub async fn recorded(tx: &mut impl Tx) -> Result<(i64, i64)> {
    RECORDED.on(tx).one(|row| Ok((row.int()?, row.int()?))).await
}

/// Of credentials that were written to at or after `since` (the database's clock); look back by
/// [`crate::scopes::OVERLAP_MILLIS`].
pub async fn credentials_since(tx: &mut impl Tx, since: Timestamp) -> Result<Vec<CredentialVersion>> {
    CREDENTIALS_SINCE.on(tx).bind(since).all(read_version).await
}

/// Of all that there are.
pub async fn credentials(tx: &mut impl Tx) -> Result<Vec<CredentialVersion>> {
    CREDENTIALS.on(tx).all(read_version).await
}
