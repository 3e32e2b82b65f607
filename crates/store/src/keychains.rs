//! Keychains: a project's names for "the credential that the data says".

use latchstring_model::Timestamp;
use latchstring_model::id::{CredentialId, KeychainId, ProjectId};

use crate::error::{Result, StoreError};
use crate::page::{Page, Paging};
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeychainRow {
    pub id: KeychainId,
    pub project_id: ProjectId,
    pub slug: String,
    pub name: String,
    /// Its uid: credentials of other connectors are not chosen.
    pub connector: String,
    /// A template over `input`.
    pub chosen_by: String,
    pub default: Option<CredentialId>,
    pub version: i64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

macro_rules! columns {
    () => {
        "k.id, k.project_id, k.slug, k.name, k.connector, k.chosen_by, k.default_id, k.version, k.created_by,
         k.created_at, k.updated_at"
    };
}

statements! {
    CREATE = "INSERT INTO keychains (id, project_id, slug, name, connector, chosen_by, default_id, version, created_by,
        created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9, $9)";
    IN_PROJECT = concat!("SELECT ", columns!(), " FROM keychains k WHERE k.project_id = $1 AND (k.slug = $2 OR k.id = $2)");
    LIST = concat!("SELECT ", columns!(), " FROM keychains k WHERE k.project_id = $1 AND k.id > $2 ORDER BY k.id LIMIT $3");
    COUNT = "SELECT COUNT(*) FROM keychains WHERE project_id = $1";
    UPDATE = "UPDATE keychains SET slug = $1, name = $2, chosen_by = $3, default_id = $4, version = version + 1,
        updated_at = $5 WHERE id = $6 AND project_id = $7 AND version = $8";
    DELETE = "DELETE FROM keychains WHERE id = $1 AND project_id = $2";
    DEFAULTS_TO = concat!("SELECT ", columns!(), ", p.slug FROM keychains k JOIN projects p ON p.id = k.project_id
        JOIN shares s ON s.project_id = k.project_id AND s.credential_id = k.default_id
        WHERE k.default_id = $1 AND (k.project_id = $3 OR CAST($3 AS TEXT) IS NULL) ORDER BY k.id LIMIT $2");
    COUNT_OF_CONNECTOR = "SELECT COUNT(*) FROM keychains WHERE connector = $1";
}

fn read(row: &mut Columns<'_>) -> Result<KeychainRow> {
    Ok(KeychainRow {
        id: row.id()?,
        project_id: row.id()?,
        slug: row.text()?,
        name: row.text()?,
        connector: row.text()?,
        chosen_by: row.text()?,
        default: row.id_or()?,
        version: row.int()?,
        created_by: row.text()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

/// [`crate::Taken::KeychainSlug`] when another keychain has the slug; shares are looked at by the caller.
pub async fn create(tx: &mut WriteTx, row: &KeychainRow) -> Result<()> {
    CREATE
        .on(tx)
        .bind(&row.id)
        .bind(&row.project_id)
        .bind(&row.slug)
        .bind(&row.name)
        .bind(&row.connector)
        .bind(&row.chosen_by)
        .bind(row.default.as_ref())
        .bind(&row.created_by)
        .bind(row.created_at)
        .run()
        .await?;
    Ok(())
}

/// By slug or id.
pub async fn in_project(tx: &mut impl Tx, project: &ProjectId, named: &str) -> Result<Option<KeychainRow>> {
    IN_PROJECT.on(tx).bind(project).bind(named).optional(read).await
}

/// Oldest first.
pub async fn list(tx: &mut impl Tx, project: &ProjectId, paging: &Paging) -> Result<Page<KeychainRow>> {
    let rows = LIST.on(tx).bind(project).bind(paging.after()).bind(paging.fetch()).all(read).await?;
    paging.page(rows, |row| row.id.to_string())
}

pub async fn count(tx: &mut impl Tx, project: &ProjectId) -> Result<i64> {
    COUNT.on(tx).bind(project).one(|row| row.int()).await
}

/// Writes slug, name, template and default of a loaded row. The new version.
pub async fn update(tx: &mut WriteTx, row: &KeychainRow, now: Timestamp) -> Result<i64> {
    let changed = UPDATE
        .on(tx)
        .bind(&row.slug)
        .bind(&row.name)
        .bind(&row.chosen_by)
        .bind(row.default.as_ref())
        .bind(now)
        .bind(&row.id)
        .bind(&row.project_id)
        .bind(row.version)
        .run()
        .await?;
    if changed == 1 { Ok(row.version + 1) } else { Err(StoreError::Moved) }
}

pub async fn delete(tx: &mut WriteTx, row: &KeychainRow) -> Result<bool> {
    Ok(DELETE.on(tx).bind(&row.id).bind(&row.project_id).run().await? == 1)
}

/// Keychains that fall back to a credential, where it is shared, with their project's slug.
pub async fn defaults_to(
    tx: &mut impl Tx,
    credential: &CredentialId,
    project: Option<&ProjectId>,
    limit: i64,
) -> Result<Vec<(KeychainRow, String)>> {
    let run = DEFAULTS_TO.on(tx).bind(credential).bind(limit).bind(project);
    run.all(|row| Ok((read(row)?, row.text()?))).await
}

pub async fn count_of_connector(tx: &mut impl Tx, connector: &str) -> Result<i64> {
    COUNT_OF_CONNECTOR.on(tx).bind(connector).one(|row| row.int()).await
}
