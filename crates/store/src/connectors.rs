//! Connectors of a project. Built-in ones live in the binary.

use latchstring_model::Timestamp;
use latchstring_model::id::ProjectId;

use crate::error::{Result, StoreError};
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorRow {
    /// `<project id>/<id>`.
    pub uid: String,
    pub project_id: ProjectId,
    pub id: String,
    pub name: String,
    /// The definition as it was given.
    pub source: String,
    /// Of all that decides where values go.
    pub digest: String,
    pub version: i64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

macro_rules! columns {
    () => {
        "uid, project_id, id, name, source, digest, version, created_by, created_at, updated_at"
    };
}

statements! {
    CREATE = "INSERT INTO connectors (uid, project_id, id, name, source, digest, version, created_by, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $8, $8)";
    BY_ID = concat!("SELECT ", columns!(), " FROM connectors WHERE project_id = $1 AND id = $2");
    BY_UID = concat!("SELECT ", columns!(), " FROM connectors WHERE uid = $1");
    LIST = concat!("SELECT ", columns!(), " FROM connectors WHERE project_id = $1 ORDER BY id");
    UPDATE = "UPDATE connectors SET name = $1, source = $2, digest = $3, version = version + 1, updated_at = $4
        WHERE project_id = $5 AND id = $6 AND version = $7";
    DELETE = "DELETE FROM connectors WHERE project_id = $1 AND id = $2";
}

fn read(row: &mut Columns<'_>) -> Result<ConnectorRow> {
    Ok(ConnectorRow {
        uid: row.text()?,
        project_id: row.id()?,
        id: row.text()?,
        name: row.text()?,
        source: row.text()?,
        digest: row.text()?,
        version: row.int()?,
        created_by: row.text()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

pub fn uid(project: &ProjectId, id: &str) -> String {
    format!("{project}/{id}")
}

/// [`crate::Taken::ConnectorId`] when the project has one of that id.
pub async fn create(tx: &mut WriteTx, row: &ConnectorRow) -> Result<()> {
    CREATE
        .on(tx)
        .bind(uid(&row.project_id, &row.id))
        .bind(&row.project_id)
        .bind(&row.id)
        .bind(&row.name)
        .bind(&row.source)
        .bind(&row.digest)
        .bind(&row.created_by)
        .bind(row.created_at)
        .run()
        .await?;
    Ok(())
}

pub async fn by_id(tx: &mut impl Tx, project: &ProjectId, id: &str) -> Result<Option<ConnectorRow>> {
    BY_ID.on(tx).bind(project).bind(id).optional(read).await
}

/// By the uid that a credential pins: it names the project.
pub async fn by_uid(tx: &mut impl Tx, uid: &str) -> Result<Option<ConnectorRow>> {
    BY_UID.on(tx).bind(uid).optional(read).await
}

/// All of a project, by id: they are shown together with the built-in ones.
pub async fn list(tx: &mut impl Tx, project: &ProjectId) -> Result<Vec<ConnectorRow>> {
    LIST.on(tx).bind(project).all(read).await
}

/// Writes name, source and digest of a loaded row. The new version.
pub async fn update(tx: &mut WriteTx, row: &ConnectorRow, now: Timestamp) -> Result<i64> {
    let changed = UPDATE
        .on(tx)
        .bind(&row.name)
        .bind(&row.source)
        .bind(&row.digest)
        .bind(now)
        .bind(&row.project_id)
        .bind(&row.id)
        .bind(row.version)
        .run()
        .await?;
    if changed == 1 { Ok(row.version + 1) } else { Err(StoreError::Moved) }
}

/// [`StoreError::StillUsed`] while credentials pin it.
pub async fn delete(tx: &mut WriteTx, project: &ProjectId, id: &str) -> Result<bool> {
    if crate::credentials::count_of_connector(tx, &uid(project, id)).await? > 0 {
        return Err(StoreError::StillUsed);
    }
    Ok(DELETE.on(tx).bind(project).bind(id).run().await? == 1)
}
