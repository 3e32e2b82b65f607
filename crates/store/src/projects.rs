//! Projects.

use latchstring_model::Timestamp;
use latchstring_model::entity::Role;
use latchstring_model::id::{ProjectId, UserId};

use crate::error::{Result, StoreError};
use crate::page::{Page, Paging};
use crate::sql::{Columns, fold, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectRow {
    pub id: ProjectId,
    pub slug: String,
    pub name: String,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Its people need a second factor.
    pub require_second_factor: bool,
}

/// A project as one of its members sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberProject {
    pub project: ProjectRow,
    pub role: Role,
}

macro_rules! columns {
    () => {
        "p.id, p.slug, p.name, p.version, p.created_at, p.updated_at, p.require_second_factor"
    };
}

statements! {
    CREATE = "INSERT INTO projects (id, slug, name, name_folded, version, created_at, updated_at)
        VALUES ($1, $2, $3, $4, 1, $5, $5)";
    BY_ID = concat!("SELECT ", columns!(), " FROM projects p WHERE p.id = $1");
    BY_NAME = concat!("SELECT ", columns!(), " FROM projects p WHERE p.id = $1 OR p.slug = $1");
    FOR_MEMBER = concat!("SELECT ", columns!(), ", m.role FROM projects p
        JOIN members m ON m.project_id = p.id AND m.user_id = $2 WHERE p.id = $1 OR p.slug = $1");
    LIST_OF_MEMBER = concat!("SELECT ", columns!(), ", m.role FROM members m JOIN projects p ON p.id = m.project_id
        WHERE m.user_id = $1 AND p.id > $2 ORDER BY p.id LIMIT $3");
    UPDATE = "UPDATE projects SET slug = $1, name = $2, name_folded = $3, version = version + 1, updated_at = $4
        WHERE id = $5 AND version = $6";
    REQUIRE_SECOND_FACTOR = "UPDATE projects SET require_second_factor = $1 WHERE id = $2";
    OWNS = "SELECT COUNT(*) FROM credentials WHERE owner_type = 'project' AND owner_id = $1";
    DELETE_GRANTS = "DELETE FROM grants WHERE share_id IN (SELECT id FROM shares WHERE project_id = $1)";
    DELETE_SHARES = "DELETE FROM shares WHERE project_id = $1";
    DELETE_KEYCHAINS = "DELETE FROM keychains WHERE project_id = $1";
    DELETE_CONNECT_SESSIONS = "DELETE FROM connect_sessions WHERE project_id = $1";
    DELETE_APPLIED = "DELETE FROM applied WHERE project_id = $1";
    DELETE_CLAIMED = "DELETE FROM claimed_names WHERE project_id = $1";
    DELETE_SECRETS = "DELETE FROM secrets WHERE environment_id IN (SELECT id FROM environments WHERE project_id = $1)";
    DELETE_KEYS = "DELETE FROM api_keys WHERE project_id = $1";
    DELETE_OAUTH_CLIENTS = "DELETE FROM oauth_client_projects WHERE project_id = $1";
    DELETE_CONNECTORS = "DELETE FROM connectors WHERE project_id = $1";
    DELETE_DELIVERIES = "DELETE FROM deliveries WHERE target IN (SELECT id FROM webhooks WHERE project_id = $1)";
    DELETE_WEBHOOKS = "DELETE FROM webhooks WHERE project_id = $1";
    DELETE_ENVIRONMENTS = "DELETE FROM environments WHERE project_id = $1";
    DELETE_GROUP_ROLES = "DELETE FROM group_roles WHERE place = $1";
    DELETE_MEMBERS = "DELETE FROM members WHERE project_id = $1";
    DELETE = "DELETE FROM projects WHERE id = $1";
}

pub(crate) fn read(row: &mut Columns<'_>) -> Result<ProjectRow> {
    Ok(ProjectRow {
        id: row.id()?,
        slug: row.text()?,
        name: row.text()?,
        version: row.int()?,
        created_at: row.time()?,
        updated_at: row.time()?,
        require_second_factor: row.flag()?,
    })
}

fn read_member(row: &mut Columns<'_>) -> Result<MemberProject> {
    Ok(MemberProject { project: read(row)?, role: row.word(Role::parse)? })
}

/// [`crate::Taken::ProjectSlug`] when the slug is another project's.
pub async fn create(tx: &mut WriteTx, id: &ProjectId, slug: &str, name: &str, now: Timestamp) -> Result<()> {
    CREATE.on(tx).bind(id).bind(slug).bind(name).bind(fold(name)).bind(now).run().await?;
    Ok(())
}

pub async fn by_id(tx: &mut impl Tx, id: &ProjectId) -> Result<Option<ProjectRow>> {
    BY_ID.on(tx).bind(id).optional(read).await
}

/// By slug or id, whoever asks: for the operator's commands and settings. Callers use [`for_member`].
pub async fn by_slug_or_id(tx: &mut impl Tx, name: &str) -> Result<Option<ProjectRow>> {
    BY_NAME.on(tx).bind(name).optional(read).await
}

/// By slug or id, if the user is a member. A slug never looks like an id: it has no underscore.
pub async fn for_member(tx: &mut impl Tx, user: &UserId, name: &str) -> Result<Option<MemberProject>> {
    FOR_MEMBER.on(tx).bind(name).bind(user).optional(read_member).await
}

/// The projects of a user, oldest first.
pub async fn list_of_member(tx: &mut impl Tx, user: &UserId, paging: &Paging) -> Result<Page<MemberProject>> {
    let rows =
        LIST_OF_MEMBER.on(tx).bind(user).bind(paging.after()).bind(paging.fetch()).all(read_member).await?;
    paging.page(rows, |row| row.project.id.to_string())
}

/// The new version.
pub async fn update(
    tx: &mut WriteTx,
    id: &ProjectId,
    expected: i64,
    slug: &str,
    name: &str,
    now: Timestamp,
) -> Result<i64> {
    let changed =
        UPDATE.on(tx).bind(slug).bind(name).bind(fold(name)).bind(now).bind(id).bind(expected).run().await?;
    if changed == 1 { Ok(expected + 1) } else { Err(StoreError::Moved) }
}

/// Whether its people need a second factor. In a transaction that changes the project's version too.
pub async fn require_second_factor(tx: &mut WriteTx, id: &ProjectId, required: bool) -> Result<()> {
    REQUIRE_SECOND_FACTOR.on(tx).bind(required).bind(id).run().await?;
    Ok(())
}

/// Removes a project with all that is its own, and the shares that others gave it. Its credentials have to
/// be purged first, for their tokens may have to be revoked: [`StoreError::StillUsed`] while it has any.
pub async fn delete(tx: &mut WriteTx, id: &ProjectId) -> Result<bool> {
    if OWNS.on(tx).bind(id).one(|row| row.int()).await? > 0 {
        return Err(StoreError::StillUsed);
    }
    for statement in [
        &DELETE_GRANTS,
        &DELETE_SHARES,
        &DELETE_KEYCHAINS,
        &DELETE_CONNECT_SESSIONS,
        &DELETE_APPLIED,
        &DELETE_CLAIMED,
        &DELETE_SECRETS,
        &DELETE_KEYS,
        &DELETE_OAUTH_CLIENTS,
        &DELETE_CONNECTORS,
        &DELETE_DELIVERIES,
        &DELETE_WEBHOOKS,
        &DELETE_ENVIRONMENTS,
        &DELETE_GROUP_ROLES,
        &DELETE_MEMBERS,
    ] {
        statement.on(tx).bind(id).run().await?;
    }
    Ok(DELETE.on(tx).bind(id).run().await? == 1)
}
