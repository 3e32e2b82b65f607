//! Endpoints of a project that are told of events.

use latchstring_model::Timestamp;
use latchstring_model::id::{DataKeyId, ProjectId, WebhookId};

use crate::error::{Result, StoreError};
use crate::page::{Page, Paging};
use crate::sql::{Columns, json, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRow {
    pub id: WebhookId,
    pub project_id: ProjectId,
    pub url: String,
    pub description: String,
    /// Empty: all.
    pub events: Vec<String>,
    /// The secret, and the one before it.
    pub sealed: Vec<u8>,
    pub data_key: DataKeyId,
    /// Counts secrets; the sealed bytes are bound to it.
    pub secret_version: i64,
    /// Until then the secret before it signs too.
    pub old_until: Option<Timestamp>,
    pub disabled: bool,
    pub disabled_why: Option<String>,
    /// No delivery has succeeded since.
    pub failing_since: Option<Timestamp>,
    pub version: i64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

macro_rules! columns {
    () => {
        "w.id, w.project_id, w.url, w.description, w.events, w.sealed, w.data_key, w.secret_version, w.old_until,
         w.disabled, w.disabled_why, w.failing_since, w.version, w.created_by, w.created_at, w.updated_at"
    };
}

statements! {
    CREATE = "INSERT INTO webhooks (id, project_id, url, description, events, sealed, data_key, secret_version,
        disabled, version, created_by, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, $10, $11, $11)";
    ONE = concat!("SELECT ", columns!(), " FROM webhooks w WHERE w.project_id = $1 AND w.id = $2");
    LIST = concat!("SELECT ", columns!(), " FROM webhooks w WHERE w.project_id = $1 AND w.id > $2 ORDER BY w.id LIMIT $3");
    COUNT = "SELECT COUNT(*) FROM webhooks WHERE project_id = $1";
    ENABLED = concat!("SELECT ", columns!(), " FROM webhooks w WHERE w.project_id = $1 AND w.disabled = 0 ORDER BY w.id");
    FOR_UPKEEP = concat!("SELECT ", columns!(), " FROM webhooks w WHERE w.id = $1");
    UPDATE = "UPDATE webhooks SET url = $1, description = $2, events = $3, sealed = $4, data_key = $5,
        secret_version = $6, old_until = $7, disabled = $8, disabled_why = $9, failing_since = $10,
        version = version + 1, updated_at = $11 WHERE id = $12 AND project_id = $13 AND version = $14";
    FAILED = "UPDATE webhooks SET failing_since = $1 WHERE id = $2 AND failing_since IS NULL";
    SUCCEEDED = "UPDATE webhooks SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL";
    DISABLE = "UPDATE webhooks SET disabled = 1, disabled_why = $1, version = version + 1, updated_at = $2
        WHERE id = $3 AND disabled = 0";
    DELETE = "DELETE FROM webhooks WHERE id = $1 AND project_id = $2";
}

fn read(row: &mut Columns<'_>) -> Result<WebhookRow> {
    Ok(WebhookRow {
        id: row.id()?,
        project_id: row.id()?,
        url: row.text()?,
        description: row.text()?,
        events: row.json()?,
        sealed: row.bytes()?,
        data_key: row.id()?,
        secret_version: row.int()?,
        old_until: row.time_or()?,
        disabled: row.flag()?,
        disabled_why: row.text_or()?,
        failing_since: row.time_or()?,
        version: row.int()?,
        created_by: row.text()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

pub async fn create(tx: &mut WriteTx, row: &WebhookRow) -> Result<()> {
    CREATE
        .on(tx)
        .bind(&row.id)
        .bind(&row.project_id)
        .bind(&row.url)
        .bind(&row.description)
        .bind(json(&row.events)?)
        .bind(&row.sealed)
        .bind(&row.data_key)
        .bind(row.secret_version)
        .bind(row.disabled)
        .bind(&row.created_by)
        .bind(row.created_at)
        .run()
        .await?;
    Ok(())
}

pub async fn one(tx: &mut impl Tx, project: &ProjectId, id: &WebhookId) -> Result<Option<WebhookRow>> {
    ONE.on(tx).bind(project).bind(id).optional(read).await
}

pub async fn list(tx: &mut impl Tx, project: &ProjectId, paging: &Paging) -> Result<Page<WebhookRow>> {
    let rows = LIST.on(tx).bind(project).bind(paging.after()).bind(paging.fetch()).all(read).await?;
    paging.page(rows, |row| row.id.to_string())
}

pub async fn count(tx: &mut impl Tx, project: &ProjectId) -> Result<i64> {
    COUNT.on(tx).bind(project).one(|row| row.int()).await
}

/// Those that are told of events.
pub async fn enabled(tx: &mut impl Tx, project: &ProjectId) -> Result<Vec<WebhookRow>> {
    ENABLED.on(tx).bind(project).all(read).await
}

/// Whosever it is: for the job that delivers, never for a request.
pub async fn for_upkeep(tx: &mut impl Tx, id: &WebhookId) -> Result<Option<WebhookRow>> {
    FOR_UPKEEP.on(tx).bind(id).optional(read).await
}

/// The new version; [`StoreError::Moved`] when it is not the one that was read.
pub async fn update(tx: &mut WriteTx, row: &WebhookRow, now: Timestamp) -> Result<i64> {
    let changed = UPDATE
        .on(tx)
        .bind(&row.url)
        .bind(&row.description)
        .bind(json(&row.events)?)
        .bind(&row.sealed)
        .bind(&row.data_key)
        .bind(row.secret_version)
        .bind(row.old_until)
        .bind(row.disabled)
        .bind(row.disabled_why.as_ref())
        .bind(row.failing_since)
        .bind(now)
        .bind(&row.id)
        .bind(&row.project_id)
        .bind(row.version)
        .run()
        .await?;
    if changed == 1 { Ok(row.version + 1) } else { Err(StoreError::Moved) }
}

/// A delivery did not get through; the first since one did.
pub async fn failed(tx: &mut WriteTx, id: &WebhookId, now: Timestamp) -> Result<()> {
    FAILED.on(tx).bind(now).bind(id).run().await?;
    Ok(())
}

pub async fn succeeded(tx: &mut WriteTx, id: &WebhookId) -> Result<()> {
    SUCCEEDED.on(tx).bind(id).run().await?;
    Ok(())
}

/// Whether it was enabled until now.
pub async fn disable(tx: &mut WriteTx, id: &WebhookId, why: &str, now: Timestamp) -> Result<bool> {
    Ok(DISABLE.on(tx).bind(why).bind(now).bind(id).run().await? == 1)
}

pub async fn delete(tx: &mut WriteTx, project: &ProjectId, id: &WebhookId) -> Result<bool> {
    crate::deliveries::delete_of_webhook(tx, id).await?;
    Ok(DELETE.on(tx).bind(id).bind(project).run().await? == 1)
}
