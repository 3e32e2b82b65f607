//! Connect sessions. Each step is one statement whose condition is the step's: of many that try the same, one changes
//! the row and the others are told `false`.

use latchstring_model::Timestamp;
use latchstring_model::id::{ConnectSessionId, CredentialId, OAuthClientId, ProjectId};

use crate::error::Result;
use crate::sql::{Columns, json, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq)]
pub struct ConnectSessionRow {
    pub id: ConnectSessionId,
    pub project_id: ProjectId,
    /// Uids.
    pub connectors: Vec<String>,
    /// Names of the project's.
    pub environments: Vec<String>,
    pub end_user: serde_json::Value,
    pub external_id: Option<String>,
    /// Which to consent to, where a connector has several.
    pub oauth_clients: Vec<OAuthClientId>,
    pub return_origin: String,
    pub browser_hash: Option<Vec<u8>>,
    /// What was made; before the end, what waits for the end user's consent.
    pub credential_id: Option<CredentialId>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

macro_rules! columns {
    () => {
        "s.id, s.project_id, s.connectors, s.environments, s.end_user, s.external_id, s.oauth_clients, s.return_origin,
        s.browser_hash, s.credential_id, s.created_by, s.created_at, s.expires_at, s.ended_at"
    };
}

statements! {
    CREATE = "INSERT INTO connect_sessions (id, token_hash, project_id, connectors, environments, end_user, external_id,
        oauth_clients, return_origin, tries, created_by, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, $12)";
    BY_TOKEN = concat!("SELECT ", columns!(), " FROM connect_sessions s WHERE s.token_hash = $1");
    BY_ID = concat!("SELECT ", columns!(), " FROM connect_sessions s WHERE s.id = $1");
    OPEN = "UPDATE connect_sessions SET browser_hash = $1 WHERE id = $2 AND browser_hash IS NULL";
    TRY = "UPDATE connect_sessions SET tries = tries + 1
        WHERE id = $1 AND tries < $2 AND ended_at IS NULL AND expires_at > $3";
    WAIT = "UPDATE connect_sessions SET credential_id = $1
        WHERE id = $2 AND credential_id IS NULL AND ended_at IS NULL AND expires_at > $3";
    GIVE_UP = "UPDATE connect_sessions SET credential_id = NULL
        WHERE id = $1 AND credential_id = $2 AND ended_at IS NULL";
    END = "UPDATE connect_sessions SET ended_at = $1, credential_id = $2
        WHERE id = $3 AND ended_at IS NULL AND expires_at > $4 AND (credential_id IS NULL OR credential_id = $2)";
    LEFT = concat!("SELECT ", columns!(), " FROM connect_sessions s
        WHERE s.expires_at <= $1 AND s.ended_at IS NULL AND s.credential_id IS NOT NULL ORDER BY s.expires_at LIMIT $2");
    COUNT_OPEN = "SELECT COUNT(*) FROM connect_sessions WHERE project_id = $1 AND ended_at IS NULL AND expires_at > $2";
    PURGE = "DELETE FROM connect_sessions WHERE expires_at < $1";
}

fn read(row: &mut Columns<'_>) -> Result<ConnectSessionRow> {
    Ok(ConnectSessionRow {
        id: row.id()?,
        project_id: row.id()?,
        connectors: row.json()?,
        environments: row.json()?,
        end_user: row.json()?,
        external_id: row.text_or()?,
        oauth_clients: row.json()?,
        return_origin: row.text()?,
        browser_hash: row.bytes_or()?,
        credential_id: row.id_or()?,
        created_by: row.text()?,
        created_at: row.time()?,
        expires_at: row.time()?,
        ended_at: row.time_or()?,
    })
}

pub async fn create(tx: &mut WriteTx, row: &ConnectSessionRow, token_hash: &[u8]) -> Result<()> {
    CREATE
        .on(tx)
        .bind(&row.id)
        .bind(token_hash)
        .bind(&row.project_id)
        .bind(json(&row.connectors)?)
        .bind(json(&row.environments)?)
        .bind(json(&row.end_user)?)
        .bind(row.external_id.as_ref())
        .bind(json(&row.oauth_clients)?)
        .bind(&row.return_origin)
        .bind(&row.created_by)
        .bind(row.created_at)
        .bind(row.expires_at)
        .run()
        .await?;
    Ok(())
}

pub async fn by_token(tx: &mut impl Tx, token_hash: &[u8]) -> Result<Option<ConnectSessionRow>> {
    BY_TOKEN.on(tx).bind(token_hash).optional(read).await
}

pub async fn by_id(tx: &mut impl Tx, id: &ConnectSessionId) -> Result<Option<ConnectSessionRow>> {
    BY_ID.on(tx).bind(id).optional(read).await
}

/// Binds it to a browser: to the first that opens it.
pub async fn open(tx: &mut WriteTx, id: &ConnectSessionId, browser_hash: &[u8]) -> Result<bool> {
    Ok(OPEN.on(tx).bind(browser_hash).bind(id).run().await? == 1)
}

/// Counts a try; `false`: there were `most`, or it is over.
pub async fn count_try(tx: &mut WriteTx, id: &ConnectSessionId, most: i64, now: Timestamp) -> Result<bool> {
    Ok(TRY.on(tx).bind(id).bind(most).bind(now).run().await? == 1)
}

/// A credential waits for the end user, who goes to a provider: one at a time.
pub async fn wait(
    tx: &mut WriteTx,
    id: &ConnectSessionId,
    credential: &CredentialId,
    now: Timestamp,
) -> Result<bool> {
    Ok(WAIT.on(tx).bind(credential).bind(id).bind(now).run().await? == 1)
}

/// That one waits no more.
pub async fn give_up(tx: &mut WriteTx, id: &ConnectSessionId, credential: &CredentialId) -> Result<bool> {
    Ok(GIVE_UP.on(tx).bind(id).bind(credential).run().await? == 1)
}

/// Uses it up: one of many that try. What was begun in time, at `begun_at`, may end it later.
pub async fn end(
    tx: &mut WriteTx,
    id: &ConnectSessionId,
    credential: &CredentialId,
    now: Timestamp,
    begun_at: Timestamp,
) -> Result<bool> {
    Ok(END.on(tx).bind(now).bind(credential).bind(id).bind(begun_at).run().await? == 1)
}

/// Those that ran out until then while a credential waited for an end user who did not come back.
pub async fn left(tx: &mut impl Tx, until: Timestamp, limit: i64) -> Result<Vec<ConnectSessionRow>> {
    LEFT.on(tx).bind(until).bind(limit).all(read).await
}

pub async fn count_open(tx: &mut impl Tx, project: &ProjectId, now: Timestamp) -> Result<i64> {
    COUNT_OPEN.on(tx).bind(project).bind(now).one(|row| row.int()).await
}

/// Forgets those that have run out since then.
pub async fn purge(tx: &mut WriteTx, before: Timestamp) -> Result<u64> {
    PURGE.on(tx).bind(before).run().await
}
