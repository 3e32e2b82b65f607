//! The outbox: what has to be told, written in the transaction of the change that it tells of. Whom to tell is
//! found out afterwards ([`crate::deliveries`]).

use latchstring_model::Timestamp;
use latchstring_model::id::{CredentialId, NoticeId, ProjectId, UserId};
use serde_json::Value;

use crate::error::Result;
use crate::sql::{Columns, json, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq)]
pub struct NoticeRow {
    pub id: NoticeId,
    pub event: String,
    /// Two with the same text are the same event: the second is not told.
    pub sameness: String,
    pub credential_id: Option<CredentialId>,
    /// The credential's.
    pub environment: Option<String>,
    /// Told to this project alone; without one, to all that it concerns.
    pub project_id: Option<ProjectId>,
    pub data: Value,
    pub at: Timestamp,
    /// People to tell; `None`: it follows from the credential who they are.
    pub recipients: Option<Vec<UserId>>,
}

macro_rules! columns {
    () => {
        "n.id, n.event, n.sameness, n.credential_id, n.environment, n.project_id, n.data, n.at, n.recipients"
    };
}

statements! {
    ADD = "INSERT INTO notices (id, event, sameness, credential_id, environment, project_id, data, at, recipients)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (sameness) DO NOTHING";
    TOLD_SINCE = "SELECT COUNT(*) FROM notices
        WHERE credential_id = $1 AND environment = $2 AND event = $3 AND at > $4
        AND SUBSTR(sameness, 1, LENGTH($5)) <> $5";
    UNADDRESSED = concat!("SELECT ", columns!(), " FROM notices n WHERE n.addressed_at IS NULL ORDER BY n.id LIMIT $1");
    ADDRESS = "UPDATE notices SET addressed_at = $1 WHERE id = $2 AND addressed_at IS NULL";
    BY_ID = concat!("SELECT ", columns!(), " FROM notices n WHERE n.id = $1");
    PURGE = "DELETE FROM notices WHERE at < $1 AND addressed_at IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.notice_id = notices.id)
        AND NOT EXISTS (SELECT 1 FROM inbox i WHERE i.notice_id = notices.id)";
}

pub(crate) fn read(row: &mut Columns<'_>) -> Result<NoticeRow> {
    Ok(NoticeRow {
        id: row.id()?,
        event: row.text()?,
        sameness: row.text()?,
        credential_id: row.id_or()?,
        environment: row.text_or()?,
        project_id: row.id_or()?,
        data: row.json()?,
        at: row.time()?,
        recipients: row.json_or()?,
    })
}

/// Whether it was new.
pub async fn add(tx: &mut WriteTx, row: &NoticeRow) -> Result<bool> {
    let added = ADD
        .on(tx)
        .bind(&row.id)
        .bind(&row.event)
        .bind(&row.sameness)
        .bind(row.credential_id.as_ref())
        .bind(row.environment.as_ref())
        .bind(row.project_id.as_ref())
        .bind(&row.data)
        .bind(row.at)
        .bind(row.recipients.as_ref().map(json).transpose()?)
        .run()
        .await?;
    Ok(added == 1)
}

/// How often that event was told of these values since then, but for what begins with `own`.
pub async fn told_since(
    tx: &mut impl Tx,
    credential: &CredentialId,
    environment: &str,
    event: &str,
    since: Timestamp,
    own: &str,
) -> Result<i64> {
    let run = TOLD_SINCE.on(tx).bind(credential).bind(environment).bind(event).bind(since).bind(own);
    run.one(|row| row.int()).await
}

/// Those whose deliveries have not been made, oldest first.
pub async fn unaddressed(tx: &mut impl Tx, limit: i64) -> Result<Vec<NoticeRow>> {
    UNADDRESSED.on(tx).bind(limit).all(read).await
}

/// Says that its deliveries exist, in the transaction that makes them; `false` when another server was quicker.
pub async fn address(tx: &mut WriteTx, id: &NoticeId, now: Timestamp) -> Result<bool> {
    Ok(ADDRESS.on(tx).bind(now).bind(id).run().await? == 1)
}

pub async fn by_id(tx: &mut impl Tx, id: &NoticeId) -> Result<Option<NoticeRow>> {
    BY_ID.on(tx).bind(id).optional(read).await
}

/// Forgets old ones that nothing is left of.
pub async fn purge(tx: &mut WriteTx, before: Timestamp) -> Result<u64> {
    PURGE.on(tx).bind(before).run().await
}
