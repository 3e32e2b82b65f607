//! Shares and grants: which projects may use a credential, and which of its values where.

use latchstring_model::Timestamp;
use latchstring_model::id::{CredentialId, EnvironmentId, KeychainId, ProjectId, ShareId};

use crate::applied::{self, AppliedKind, Thing};
use crate::credentials::CredentialRow;
use crate::error::{Result, StoreError};
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareRow {
    pub id: ShareId,
    pub credential_id: CredentialId,
    pub project_id: ProjectId,
    pub slug: String,
    pub external_id: Option<String>,
    /// A new origin waits for a project admin.
    pub suspended: bool,
    pub created_by: String,
    pub created_at: Timestamp,
}

/// One share of a credential, as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareWithGrants {
    pub share: ShareRow,
    pub project_slug: String,
    pub grants: Vec<GrantRow>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    pub environment_id: EnvironmentId,
    /// The project's environment.
    pub environment: String,
    /// The credential's environment whose values it may use.
    pub credential_environment: String,
    pub granted_by: String,
    pub granted_at: Timestamp,
}

/// A share as the trail tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedHere {
    pub credential_id: CredentialId,
    /// The credential's.
    pub name: String,
    pub slug: String,
    /// The project's environment, and the credential's whose values it may use.
    pub grants: Vec<(String, String)>,
}

/// A grant as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGrant {
    pub environment_id: EnvironmentId,
    pub credential_environment: String,
}

macro_rules! share_columns {
    () => {
        "s.id, s.credential_id, s.project_id, s.slug, s.external_id, s.suspended, s.created_by, s.created_at"
    };
}
pub(crate) use share_columns;

statements! {
    CREATE = "INSERT INTO shares (id, credential_id, project_id, slug, external_id, suspended, created_by, created_at, connector)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, (SELECT c.connector FROM credentials c WHERE c.id = $2))";
    OF_CREDENTIAL = concat!("SELECT ", share_columns!(), ", p.slug FROM shares s JOIN projects p ON p.id = s.project_id
        WHERE s.credential_id = $1 ORDER BY s.id");
    ALL_OF_PROJECT = "SELECT s.credential_id, c.name, s.slug, e.name, g.credential_environment FROM shares s
        JOIN credentials c ON c.id = s.credential_id LEFT JOIN grants g ON g.share_id = s.id
        LEFT JOIN environments e ON e.id = g.environment_id
        WHERE s.project_id = $1 ORDER BY s.credential_id, e.position, e.id";
    IN_PROJECT = concat!("SELECT ", share_columns!(), " FROM shares s
        WHERE s.project_id = $1 AND (s.slug = $2 OR s.credential_id = $2)");
    BY_EXTERNAL_ID = concat!("SELECT ", share_columns!(), " FROM shares s WHERE s.project_id = $1 AND s.external_id = $2");
    GRANTS = "SELECT g.environment_id, e.name, g.credential_environment, g.granted_by, g.granted_at
        FROM grants g JOIN environments e ON e.id = g.environment_id WHERE g.share_id = $1 ORDER BY e.position, e.id";
    UPDATE = "UPDATE shares SET slug = $1, external_id = $2, suspended = $3 WHERE id = $4 AND project_id = $5";
    SUSPEND_ALL = "UPDATE shares SET suspended = 1 WHERE credential_id = $1 AND project_id <> $2 AND suspended = 0";
    DELETE_GRANTS = "DELETE FROM grants WHERE share_id = $1";
    DELETE = "DELETE FROM shares WHERE id = $1 AND project_id = $2";
    GRANT = "INSERT INTO grants (share_id, environment_id, credential_environment, granted_by, granted_at)
        SELECT $1, e.id, $2, $3, $4 FROM environments e WHERE e.id = $5 AND e.project_id = $6";
    CLAIM = "INSERT INTO claimed_names (project_id, kind, name, credential_id) VALUES ($1, $2, $3, $4)
        ON CONFLICT (project_id, kind, name) DO UPDATE SET credential_id = excluded.credential_id";
    EVER_CLAIMED = "SELECT COUNT(*) FROM claimed_names WHERE project_id = $1 AND credential_id = $2";
    CLAIMED_BY_KEYCHAIN = "SELECT credential_id FROM claimed_names WHERE project_id = $1 AND kind = 'keychain' AND name = $2";
    UNCLAIM = "DELETE FROM claimed_names WHERE project_id = $1 AND credential_id = $2";
    CLAIMED_BY = "SELECT credential_id FROM claimed_names WHERE project_id = $1 AND kind = $2 AND name = $3";
}

pub(crate) fn read(row: &mut Columns<'_>) -> Result<ShareRow> {
    Ok(ShareRow {
        id: row.id()?,
        credential_id: row.id()?,
        project_id: row.id()?,
        slug: row.text()?,
        external_id: row.text_or()?,
        suspended: row.flag()?,
        created_by: row.text()?,
        created_at: row.time()?,
    })
}

fn read_grant(row: &mut Columns<'_>) -> Result<GrantRow> {
    Ok(GrantRow {
        environment_id: row.id()?,
        environment: row.text()?,
        credential_environment: row.text()?,
        granted_by: row.text()?,
        granted_at: row.time()?,
    })
}

/// [`crate::Taken::ShareSlug`], [`crate::Taken::ExternalId`] or [`crate::Taken::Share`] when that is so.
pub async fn create(tx: &mut WriteTx, row: &ShareRow) -> Result<()> {
    CREATE
        .on(tx)
        .bind(&row.id)
        .bind(&row.credential_id)
        .bind(&row.project_id)
        .bind(&row.slug)
        .bind(row.external_id.as_ref())
        .bind(row.suspended)
        .bind(&row.created_by)
        .bind(row.created_at)
        .run()
        .await?;
    Ok(())
}

pub async fn list_of_credential(
    tx: &mut impl Tx,
    credential: &CredentialRow,
) -> Result<Vec<ShareWithGrants>> {
    let shares = OF_CREDENTIAL.on(tx).bind(&credential.id).all(|row| Ok((read(row)?, row.text()?))).await?;
    let mut list = Vec::with_capacity(shares.len());
    for (share, project_slug) in shares {
        let grants = grants(tx, &share).await?;
        list.push(ShareWithGrants { share, project_slug, grants });
    }
    Ok(list)
}

/// All that a project may use, by whomever it was shared.
pub async fn all_of_project(tx: &mut impl Tx, project: &ProjectId) -> Result<Vec<SharedHere>> {
    let found = ALL_OF_PROJECT.on(tx).bind(project);
    let rows = found
        .all(|row| {
            let shared = SharedHere {
                credential_id: row.id()?,
                name: row.text()?,
                slug: row.text()?,
                grants: Vec::new(),
            };
            Ok((shared, row.text_or()?, row.text_or()?))
        })
        .await?;
    let mut list: Vec<SharedHere> = Vec::new();
    for (shared, theirs, ours) in rows {
        if list.last().is_none_or(|last| last.credential_id != shared.credential_id) {
            list.push(shared);
        }
        if let (Some(last), Some(theirs), Some(ours)) = (list.last_mut(), theirs, ours) {
            last.grants.push((theirs, ours));
        }
    }
    Ok(list)
}

/// By the credential's slug there, or its id.
pub async fn in_project(tx: &mut impl Tx, project: &ProjectId, credential: &str) -> Result<Option<ShareRow>> {
    IN_PROJECT.on(tx).bind(project).bind(credential).optional(read).await
}

pub async fn by_external_id(
    tx: &mut impl Tx,
    project: &ProjectId,
    external_id: &str,
) -> Result<Option<ShareRow>> {
    BY_EXTERNAL_ID.on(tx).bind(project).bind(external_id).optional(read).await
}

pub async fn grants(tx: &mut impl Tx, share: &ShareRow) -> Result<Vec<GrantRow>> {
    GRANTS.on(tx).bind(&share.id).all(read_grant).await
}

/// Writes slug, external id and `suspended` of a loaded row.
pub async fn update(tx: &mut WriteTx, row: &ShareRow) -> Result<()> {
    let changed = UPDATE
        .on(tx)
        .bind(&row.slug)
        .bind(row.external_id.as_ref())
        .bind(row.suspended)
        .bind(&row.id)
        .bind(&row.project_id)
        .run()
        .await?;
    if changed == 1 { Ok(()) } else { Err(StoreError::Moved) }
}

/// Suspends every share with a project that does not own the credential; how many.
pub async fn suspend_all(tx: &mut WriteTx, credential: &CredentialRow) -> Result<u64> {
    SUSPEND_ALL.on(tx).bind(&credential.id).bind(credential.owner.id()).run().await
}

/// Removes a share with its grants, and the mark of whoever made it by `apply`. Its names stay claimed.
pub async fn remove(tx: &mut WriteTx, share: &ShareRow) -> Result<bool> {
    let mark = Thing::new(AppliedKind::Credential, share.credential_id.as_str());
    applied::forget(tx, &share.project_id, &mark).await?;
    DELETE_GRANTS.on(tx).bind(&share.id).run().await?;
    Ok(DELETE.on(tx).bind(&share.id).bind(&share.project_id).run().await? == 1)
}

/// Replaces the grants of a share; an unchanged one keeps who gave it and when.
/// [`StoreError::ReferenceGone`] when an environment is not one of that project.
pub async fn replace_grants(
    tx: &mut WriteTx,
    share: &ShareRow,
    wanted: &[NewGrant],
    by: &str,
    now: Timestamp,
) -> Result<()> {
    let old = grants(tx, share).await?;
    DELETE_GRANTS.on(tx).bind(&share.id).run().await?;
    for grant in wanted {
        let same = old.iter().find(|old| {
            old.environment_id == grant.environment_id
                && old.credential_environment == grant.credential_environment
        });
        let (by, at) = same.map_or((by, now), |old| (old.granted_by.as_str(), old.granted_at));
        let made = GRANT
            .on(tx)
            .bind(&share.id)
            .bind(&grant.credential_environment)
            .bind(by)
            .bind(at)
            .bind(&grant.environment_id)
            .bind(&share.project_id)
            .run()
            .await?;
        if made != 1 {
            return Err(StoreError::ReferenceGone);
        }
    }
    Ok(())
}

/// What a name was claimed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    Slug,
    ExternalId,
}

impl NameKind {
    fn as_str(self) -> &'static str {
        match self {
            NameKind::Slug => "slug",
            NameKind::ExternalId => "external_id",
        }
    }
}

/// Whether a credential was shared with the project before: its names stay claimed when a share is removed.
pub async fn was_shared(tx: &mut impl Tx, project: &ProjectId, credential: &CredentialId) -> Result<bool> {
    Ok(EVER_CLAIMED.on(tx).bind(project).bind(credential).one(|row| row.int()).await? > 0)
}

/// Which credential had that name here last. Another one may take it only through an admin.
pub async fn claimed_by(
    tx: &mut impl Tx,
    project: &ProjectId,
    kind: NameKind,
    name: &str,
) -> Result<Option<CredentialId>> {
    CLAIMED_BY.on(tx).bind(project).bind(kind.as_str()).bind(name).optional(|row| row.id()).await
}

/// Which keychain had that slug here last: kept apart, because what names a keychain means another kind of thing.
pub async fn claimed_by_keychain(
    tx: &mut impl Tx,
    project: &ProjectId,
    slug: &str,
) -> Result<Option<KeychainId>> {
    CLAIMED_BY_KEYCHAIN.on(tx).bind(project).bind(slug).optional(|row| row.id()).await
}

pub async fn claim_for_keychain(
    tx: &mut WriteTx,
    project: &ProjectId,
    slug: &str,
    keychain: &KeychainId,
) -> Result<()> {
    CLAIM.on(tx).bind(project).bind("keychain").bind(slug).bind(keychain).run().await?;
    Ok(())
}

/// Nobody ever called by the names of a credential: they are free.
pub async fn unclaim(tx: &mut WriteTx, project: &ProjectId, credential: &CredentialId) -> Result<u64> {
    UNCLAIM.on(tx).bind(project).bind(credential).run().await
}

/// Notes that a credential has that name here. Whether it may was decided before ([`claimed_by`]).
pub async fn claim(
    tx: &mut WriteTx,
    project: &ProjectId,
    kind: NameKind,
    name: &str,
    credential: &CredentialId,
) -> Result<()> {
    CLAIM.on(tx).bind(project).bind(kind.as_str()).bind(name).bind(credential).run().await?;
    Ok(())
}
