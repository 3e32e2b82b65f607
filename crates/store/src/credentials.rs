//! Credentials: whose, for which connector, how they stand. Their values are in [`crate::values`].

use std::collections::BTreeMap;

use latchstring_model::Timestamp;
use latchstring_model::entity::{Principal, Role, Status};
use latchstring_model::id::{CredentialId, OAuthClientId, ProjectId, UserId};

use crate::error::{Result, StoreError};
use crate::page::{Page, Paging};
use crate::shares::{self, ShareRow};
use crate::sql::{Columns, Run, containing, fold, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq)]
pub struct CredentialRow {
    pub id: CredentialId,
    pub owner: Principal,
    /// `builtin/<id>` or `<project id>/<id>`.
    pub connector: String,
    pub auth_method: String,
    /// Of the definition, as the owner approved it.
    pub digest: String,
    pub oauth_client_id: Option<OAuthClientId>,
    pub name: String,
    pub note: Option<String>,
    pub acts_as: Option<String>,
    pub disabled: bool,
    pub expires_on: Option<Timestamp>,
    /// Scheduled for deletion: unusable, restorable until then.
    pub deletes_at: Option<Timestamp>,
    pub version: i64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a list is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct CredentialFilter {
    pub connector: Option<String>,
    pub status: Option<Status>,
    /// Looked for in names.
    pub q: Option<String>,
    /// In a project's list: the id of a person or project.
    pub owner: Option<String>,
}

macro_rules! credential_columns {
    () => {
        "c.id, c.owner_type, c.owner_id, c.connector, c.auth_method, c.digest, c.oauth_client_id, c.name, c.note,
         c.acts_as, c.disabled, c.expires_on, c.deletes_at, c.version, c.created_by, c.created_at, c.updated_at"
    };
}
pub(crate) use credential_columns;

/// What stands in `statuses`, one bit each; a migration writes it too.
const fn bit(status: Status) -> i64 {
    match status {
        Status::Verified => 1,
        Status::Unverified => 2,
        Status::Failing => 4,
        Status::NeedsAuthorization => 8,
        Status::NeedsReconnect => 16,
        Status::Disabled => 32,
    }
}

/// What an index has without a look at the row.
macro_rules! filter {
    () => {
        "l.id > $2 AND (l.connector = $3 OR CAST($3 AS TEXT) IS NULL)
         AND (l.name_folded LIKE $4 ESCAPE '\\' OR CAST($4 AS TEXT) IS NULL)
         AND (CAST($5 AS BIGINT) IS NULL OR (l.statuses & CAST($5 AS BIGINT)) <> 0)"
    };
}

macro_rules! restated {
    () => {
        "UPDATE credentials SET statuses = CASE WHEN disabled = 1 OR deletes_at IS NOT NULL THEN 32 ELSE
         (SELECT COALESCE(SUM(DISTINCT CASE v.status WHEN 'verified' THEN 1 WHEN 'unverified' THEN 2 WHEN 'failing' THEN 4
             WHEN 'needs_authorization' THEN 8 WHEN 'needs_reconnect' THEN 16 ELSE 0 END), 0)
          FROM credential_values v WHERE v.credential_id = credentials.id) END"
    };
}

statements! {
    CREATE = "INSERT INTO credentials (id, owner_type, owner_id, connector, auth_method, digest, oauth_client_id, name,
        name_folded, note, acts_as, disabled, expires_on, deletes_at, version, created_by, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1, $15, $16, $16)";
    OF_OWNER = concat!("SELECT ", credential_columns!(), " FROM credentials c
        WHERE c.id = $1 AND c.owner_type = $2 AND c.owner_id = $3");
    FOR_UPKEEP = concat!("SELECT ", credential_columns!(), " FROM credentials c WHERE c.id = $1");
    FOR_PERSON = concat!("SELECT ", credential_columns!(), ",
        CASE WHEN c.owner_type = 'user' AND c.owner_id = $2 THEN 1 ELSE 0 END, o.role
        FROM credentials c
        LEFT JOIN members o ON c.owner_type = 'project' AND o.project_id = c.owner_id AND o.user_id = $2
        WHERE c.id = $1 AND ((c.owner_type = 'user' AND c.owner_id = $2) OR o.role IS NOT NULL
            OR EXISTS (SELECT 1 FROM shares s JOIN members m ON m.project_id = s.project_id AND m.user_id = $2
                WHERE s.credential_id = c.id))");
    ROLES_OF = "SELECT s.project_id, m.role FROM shares s
        JOIN members m ON m.project_id = s.project_id AND m.user_id = $2 WHERE s.credential_id = $1 ORDER BY s.id";
    LIST_OF_OWNER = concat!("SELECT ", credential_columns!(), " FROM credentials c WHERE c.id IN
        (SELECT l.id FROM credentials l WHERE l.owner_type = $7 AND l.owner_id = $1 AND ", filter!(), "
         ORDER BY l.id LIMIT $6) ORDER BY c.id");
    // A limit in each arm: without it the whole project is gathered and sorted for every page.
    LIST_OF_PROJECT = concat!("SELECT ", credential_columns!(), " FROM credentials c WHERE c.id IN
        (SELECT p.id FROM
            (SELECT s.* FROM (SELECT l.id FROM shares s JOIN credentials l ON l.id = s.credential_id
                WHERE s.project_id = $1 AND s.credential_id > $2
                AND (l.owner_id = $7 OR CAST($7 AS TEXT) IS NULL) AND ", filter!(), "
                ORDER BY s.credential_id LIMIT $6) s
             UNION
             SELECT o.* FROM (SELECT l.id FROM credentials l WHERE l.owner_type = 'project' AND l.owner_id = $1
                AND (l.owner_id = $7 OR CAST($7 AS TEXT) IS NULL) AND ", filter!(), "
                ORDER BY l.id LIMIT $6) o) p
         ORDER BY p.id LIMIT $6) ORDER BY c.id");
    SHARED_OF_OWNER = concat!("SELECT ", credential_columns!(), ", ", shares::share_columns!(), "
        FROM shares s JOIN credentials c ON c.id = s.credential_id
        WHERE s.project_id = $1 AND c.owner_type = $2 AND c.owner_id = $3 ORDER BY s.credential_id");
    ORPHANS_OF = concat!("SELECT ", credential_columns!(), " FROM credentials c JOIN users u ON u.id = c.owner_id
        WHERE c.owner_type = 'user' AND c.owner_id = $1 AND u.active = 0 AND c.id > $2 ORDER BY c.id LIMIT $3");
    ORPHAN = concat!("SELECT ", credential_columns!(), " FROM credentials c JOIN users u ON u.id = c.owner_id
        WHERE c.id = $1 AND c.owner_type = 'user' AND u.active = 0");
    RESTATE = concat!(restated!(), " WHERE id = $1");
    RESTATE_OF_CLIENT = concat!(restated!(), " WHERE oauth_client_id = $1");
    UNSTATED = "SELECT id FROM credentials WHERE statuses = 0 ORDER BY id LIMIT $1";
    UPDATE = "UPDATE credentials SET digest = $1, oauth_client_id = $2, name = $3, name_folded = $4, note = $5,
        acts_as = $6, disabled = $7, expires_on = $8, deletes_at = $9, version = version + 1, updated_at = $10
        WHERE id = $11 AND owner_type = $12 AND owner_id = $13 AND version = $14";
    CHANGE_OWNER = "UPDATE credentials SET owner_type = $1, owner_id = $2, version = version + 1, updated_at = $3
        WHERE id = $4 AND owner_type = $5 AND owner_id = $6 AND version = $7";
    DUE_FOR_DELETION = concat!("SELECT ", credential_columns!(), " FROM credentials c
        WHERE c.deletes_at <= $1 ORDER BY c.deletes_at, c.id LIMIT $2");
    COUNT_OF_CONNECTOR = "SELECT COUNT(*) FROM credentials WHERE connector = $1";
    COUNT_SHARED_PER_CONNECTOR = "SELECT connector, COUNT(*) FROM shares WHERE project_id = $1 GROUP BY connector";
    // Of shares that a version made which does not write the connector there.
    COUNT_UNNAMED_PER_CONNECTOR = "SELECT c.connector, COUNT(*) FROM shares s JOIN credentials c ON c.id = s.credential_id
        WHERE s.project_id = $1 AND s.connector = '' GROUP BY c.connector";
    COUNT_KEPT_PER_CONNECTOR = "SELECT c.connector, COUNT(*) FROM credentials c
        WHERE c.owner_type = 'project' AND c.owner_id = $1 AND NOT EXISTS
            (SELECT 1 FROM shares s WHERE s.project_id = $1 AND s.credential_id = c.id) GROUP BY c.connector";
    COUNT_PER_CONNECTOR_OF_OWNER = "SELECT connector, COUNT(*) FROM credentials
         WHERE owner_type = $1 AND owner_id = $2 GROUP BY connector ORDER BY connector";
    PURGE_TOKENS = "DELETE FROM tokens WHERE credential_id = $1";
    PURGE_GRANTS = "DELETE FROM grants WHERE share_id IN (SELECT id FROM shares WHERE credential_id = $1)";
    PURGE_SHARES = "DELETE FROM shares WHERE credential_id = $1";
    PURGE_VALUES = "DELETE FROM credential_values WHERE credential_id = $1";
    PURGE_VERSIONS = "DELETE FROM credential_versions WHERE credential_id = $1";
    PURGE = "DELETE FROM credentials WHERE id = $1 AND owner_type = $2 AND owner_id = $3";
}

pub(crate) fn read(row: &mut Columns<'_>) -> Result<CredentialRow> {
    Ok(CredentialRow {
        id: row.id()?,
        owner: match row.text()?.as_str() {
            "user" => Principal::User(row.id()?),
            "project" => Principal::Project(row.id()?),
            _ => return Err(StoreError::bad_row("a credential's owner is neither a user nor a project")),
        },
        connector: row.text()?,
        auth_method: row.text()?,
        digest: row.text()?,
        oauth_client_id: row.id_or()?,
        name: row.text()?,
        note: row.text_or()?,
        acts_as: row.text_or()?,
        disabled: row.flag()?,
        expires_on: row.time_or()?,
        deletes_at: row.time_or()?,
        version: row.int()?,
        created_by: row.text()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

fn read_shared(row: &mut Columns<'_>) -> Result<(CredentialRow, ShareRow)> {
    Ok((read(row)?, shares::read(row)?))
}

/// `version` and `updated_at` of the row are not looked at: a new one begins with 1 and `created_at`.
pub async fn create(tx: &mut WriteTx, row: &CredentialRow) -> Result<()> {
    CREATE
        .on(tx)
        .bind(&row.id)
        .bind(row.owner.kind())
        .bind(row.owner.id())
        .bind(&row.connector)
        .bind(&row.auth_method)
        .bind(&row.digest)
        .bind(row.oauth_client_id.as_ref())
        .bind(&row.name)
        .bind(fold(&row.name))
        .bind(row.note.as_ref())
        .bind(row.acts_as.as_ref())
        .bind(row.disabled)
        .bind(row.expires_on)
        .bind(row.deletes_at)
        .bind(&row.created_by)
        .bind(row.created_at)
        .run()
        .await?;
    Ok(())
}

pub async fn of_owner(
    tx: &mut impl Tx,
    owner: &Principal,
    id: &CredentialId,
) -> Result<Option<CredentialRow>> {
    OF_OWNER.on(tx).bind(id).bind(owner.kind()).bind(owner.id()).optional(read).await
}

/// What ties somebody to a credential that they may know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tie {
    /// It is theirs.
    pub own: bool,
    /// Their role in the project that owns it.
    pub owning_role: Option<Role>,
}

/// A credential of this person's, of a project of theirs, or shared with one. `None` is one statement, whether it
/// does not exist or is nothing to them.
pub async fn for_person(
    tx: &mut impl Tx,
    user: &UserId,
    id: &CredentialId,
) -> Result<Option<(CredentialRow, Tie)>> {
    FOR_PERSON
        .on(tx)
        .bind(id)
        .bind(user)
        .optional(|row| Ok((read(row)?, Tie { own: row.flag()?, owning_role: row.word_or(Role::parse)? })))
        .await
}

/// Their roles in the projects that it is shared with.
pub async fn roles_of(
    tx: &mut impl Tx,
    user: &UserId,
    credential: &CredentialRow,
) -> Result<Vec<(ProjectId, Role)>> {
    ROLES_OF.on(tx).bind(&credential.id).bind(user).all(|row| Ok((row.id()?, row.word(Role::parse)?))).await
}

/// Whoever's it is: for jobs that act for nobody (refresh, deletion, rotation), and for requests only behind a look at what
/// lets whoever asks know of it (a share in their project, an account of theirs).
pub async fn for_upkeep(tx: &mut impl Tx, id: &CredentialId) -> Result<Option<CredentialRow>> {
    FOR_UPKEEP.on(tx).bind(id).optional(read).await
}

pub async fn list_of_owner(
    tx: &mut impl Tx,
    owner: &Principal,
    filter: &CredentialFilter,
    paging: &Paging,
) -> Result<Page<CredentialRow>> {
    let rows = LIST_OF_OWNER
        .on(tx)
        .bind(owner.id())
        .bind(paging.after())
        .bind(filter.connector.as_ref())
        .bind(filter.q.as_deref().map(containing))
        .bind(filter.status.map(bit))
        .bind(paging.fetch())
        .bind(owner.kind())
        .all(read)
        .await?;
    paging.page(rows, |row| row.id.to_string())
}

/// What is shared with a project, and what it owns.
pub async fn list_of_project(
    tx: &mut impl Tx,
    project: &ProjectId,
    filter: &CredentialFilter,
    paging: &Paging,
) -> Result<Page<CredentialRow>> {
    let rows = LIST_OF_PROJECT
        .on(tx)
        .bind(project)
        .bind(paging.after())
        .bind(filter.connector.as_ref())
        .bind(filter.q.as_deref().map(containing))
        .bind(filter.status.map(bit))
        .bind(paging.fetch())
        .bind(filter.owner.as_ref())
        .all(read)
        .await?;
    paging.page(rows, |row| row.id.to_string())
}

/// An owner's credentials that a project uses, with the shares.
pub async fn shared_of_owner(
    tx: &mut impl Tx,
    owner: &Principal,
    project: &ProjectId,
) -> Result<Vec<(CredentialRow, ShareRow)>> {
    SHARED_OF_OWNER.on(tx).bind(project).bind(owner.kind()).bind(owner.id()).all(read_shared).await
}

/// What somebody has left behind whose account is not active; of anybody else nothing.
pub async fn orphans_of(tx: &mut impl Tx, user: &UserId, paging: &Paging) -> Result<Page<CredentialRow>> {
    let rows = ORPHANS_OF.on(tx).bind(user).bind(paging.after()).bind(paging.fetch()).all(read).await?;
    paging.page(rows, |row| row.id.to_string())
}

/// A credential whose owner's account is not active; any other looks as if it were not there.
pub async fn orphan(tx: &mut impl Tx, id: &CredentialId) -> Result<Option<CredentialRow>> {
    ORPHAN.on(tx).bind(id).optional(read).await
}

/// Writes `statuses` anew: after every change of a standing, of `disabled` or `deletes_at`.
pub(crate) async fn restate(tx: &mut WriteTx, id: &CredentialId) -> Result<()> {
    RESTATE.on(tx).bind(id).run().await?;
    Ok(())
}

pub(crate) async fn restate_of_client(tx: &mut WriteTx, client: &OAuthClientId) -> Result<()> {
    RESTATE_OF_CLIENT.on(tx).bind(client).run().await?;
    Ok(())
}

/// Those that a server of an older version stored, which knew of no `statuses`.
pub async fn unstated(tx: &mut impl Tx, limit: i64) -> Result<Vec<CredentialId>> {
    UNSTATED.on(tx).bind(limit).all(|row| row.id()).await
}

pub async fn state_again(tx: &mut WriteTx, id: &CredentialId) -> Result<()> {
    restate(tx, id).await
}

/// Writes what may change of a loaded row: digest, OAuth client, name, note, `acts_as`, disabled,
/// `expires_on`, `deletes_at`. The new version.
pub async fn update(tx: &mut WriteTx, row: &CredentialRow, now: Timestamp) -> Result<i64> {
    let changed = UPDATE
        .on(tx)
        .bind(&row.digest)
        .bind(row.oauth_client_id.as_ref())
        .bind(&row.name)
        .bind(fold(&row.name))
        .bind(row.note.as_ref())
        .bind(row.acts_as.as_ref())
        .bind(row.disabled)
        .bind(row.expires_on)
        .bind(row.deletes_at)
        .bind(now)
        .bind(&row.id)
        .bind(row.owner.kind())
        .bind(row.owner.id())
        .bind(row.version)
        .run()
        .await?;
    if changed != 1 {
        return Err(StoreError::Moved);
    }
    restate(tx, &row.id).await?;
    Ok(row.version + 1)
}

/// Gives it to another owner. The new version.
pub async fn change_owner(
    tx: &mut WriteTx,
    row: &CredentialRow,
    to: &Principal,
    now: Timestamp,
) -> Result<i64> {
    let changed = CHANGE_OWNER
        .on(tx)
        .bind(to.kind())
        .bind(to.id())
        .bind(now)
        .bind(&row.id)
        .bind(row.owner.kind())
        .bind(row.owner.id())
        .bind(row.version)
        .run()
        .await?;
    if changed == 1 { Ok(row.version + 1) } else { Err(StoreError::Moved) }
}

/// Those whose time has come, for the job that purges.
pub async fn due_for_deletion(tx: &mut impl Tx, now: Timestamp, limit: i64) -> Result<Vec<CredentialRow>> {
    DUE_FOR_DELETION.on(tx).bind(now).bind(limit).all(read).await
}

pub async fn count_of_connector(tx: &mut impl Tx, connector: &str) -> Result<i64> {
    COUNT_OF_CONNECTOR.on(tx).bind(connector).one(|row| row.int()).await
}

/// How many credentials of each connector a project's list holds: what is shared with it, and what it owns.
pub async fn count_per_connector(tx: &mut impl Tx, project: &ProjectId) -> Result<BTreeMap<String, i64>> {
    let mut counts = BTreeMap::new();
    let mut unnamed = false;
    for (connector, count) in counted(COUNT_SHARED_PER_CONNECTOR.on(tx).bind(project)).await? {
        unnamed |= connector.is_empty();
        if !connector.is_empty() {
            counts.insert(connector, count);
        }
    }
    let mut more = counted(COUNT_KEPT_PER_CONNECTOR.on(tx).bind(project)).await?;
    if unnamed {
        more.extend(counted(COUNT_UNNAMED_PER_CONNECTOR.on(tx).bind(project)).await?);
    }
    for (connector, count) in more {
        *counts.entry(connector).or_default() += count;
    }
    Ok(counts)
}

async fn counted(run: Run<'_>) -> Result<Vec<(String, i64)>> {
    run.all(|row| Ok((row.text()?, row.int()?))).await
}

/// How many credentials of each connector somebody owns.
pub async fn count_per_connector_of_owner(tx: &mut impl Tx, owner: &Principal) -> Result<Vec<(String, i64)>> {
    counted(COUNT_PER_CONNECTOR_OF_OWNER.on(tx).bind(owner.kind()).bind(owner.id())).await
}

/// Removes it for good with consents, tokens, values, versions, shares and grants. Names it had stay claimed.
pub async fn purge(tx: &mut WriteTx, owner: &Principal, id: &CredentialId) -> Result<bool> {
    if of_owner(tx, owner, id).await?.is_none() {
        return Ok(false);
    }
    crate::consents::purge_of_credential(tx, id).await?;
    crate::transfers::purge_of_credential(tx, id).await?;
    for statement in [&PURGE_TOKENS, &PURGE_GRANTS, &PURGE_SHARES, &PURGE_VALUES, &PURGE_VERSIONS] {
        statement.on(tx).bind(id).run().await?;
    }
    Ok(PURGE.on(tx).bind(id).bind(owner.kind()).bind(owner.id()).run().await? == 1)
}
