//! Keys of people and of services. Only a hash of the key is stored.

use latchstring_model::Timestamp;
use latchstring_model::entity::{KeyKind, KeyScope};
use latchstring_model::id::{EnvironmentId, KeyId, ProjectId, UserId};
use serde_json::Value;

use crate::error::Result;
use crate::page::{Page, Paging};
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

/// Whose a key is; nothing in between is possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyBelongs {
    Personal {
        user_id: UserId,
    },
    Service {
        project_id: ProjectId,
        environment_id: EnvironmentId,
    },
    /// A service account: manages its project, has no environment and calls nothing.
    Account {
        project_id: ProjectId,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct ApiKeyRow {
    pub id: KeyId,
    pub belongs: KeyBelongs,
    pub name: String,
    pub scope: KeyScope,
    pub hint: String,
    /// `credentials`, `operations_only`, `methods`, `path_prefixes`, `networks`, `may_act_for`.
    pub limits: Value,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub used_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}

/// Who calls with a key, as one query brings it. Ended and expired keys are not told apart from unknown
/// ones; neither is a key whose user is inactive or whose environment is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyCaller {
    pub key: ApiKeyRow,
    pub owner: KeyOwner,
    /// Of the user (personal) or the project (service), in the same moment as the row.
    pub epoch: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum KeyOwner {
    User {
        email: String,
        username: Option<String>,
        name: String,
        first_name: String,
        last_name: String,
        superuser: bool,
        second_factor: bool,
        frozen_until: Option<Timestamp>,
    },
    /// `environment` is empty for a service account.
    Project { slug: String, name: String, environment: String },
}

macro_rules! columns {
    () => {
        "k.id, k.kind, k.user_id, k.project_id, k.environment_id, k.name, k.scope, k.hint, k.limits, k.created_by,
         k.created_at, k.expires_at, k.used_at, k.ended_at"
    };
}

statements! {
    CREATE = "INSERT INTO api_keys (id, kind, user_id, project_id, environment_id, name, scope, secret_hash, hint, limits,
        created_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    BY_SECRET = concat!("SELECT ", columns!(), ",
        u.email, u.username, u.name, u.first_name, u.last_name, u.superuser, u.frozen_until,
        (SELECT COUNT(*) FROM second_factors f WHERE f.user_id = k.user_id AND f.confirmed_at IS NOT NULL),
        p.slug, p.name, e.name, s.epoch
        FROM api_keys k
        LEFT JOIN users u ON u.id = k.user_id
        LEFT JOIN projects p ON p.id = k.project_id
        LEFT JOIN environments e ON e.id = k.environment_id AND e.project_id = k.project_id
        LEFT JOIN scopes s ON s.id = COALESCE(k.user_id, k.project_id)
        WHERE k.secret_hash = $1 AND k.ended_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $2)
        AND ((k.kind = 'personal' AND u.active = 1) OR (k.kind = 'service' AND e.id IS NOT NULL)
            OR (k.kind = 'account' AND p.id IS NOT NULL))");
    BY_ID = concat!("SELECT ", columns!(), ",
        u.email, u.username, u.name, u.first_name, u.last_name, u.superuser, u.frozen_until,
        (SELECT COUNT(*) FROM second_factors f WHERE f.user_id = k.user_id AND f.confirmed_at IS NOT NULL),
        p.slug, p.name, e.name, s.epoch
        FROM api_keys k
        LEFT JOIN users u ON u.id = k.user_id
        LEFT JOIN projects p ON p.id = k.project_id
        LEFT JOIN environments e ON e.id = k.environment_id AND e.project_id = k.project_id
        LEFT JOIN scopes s ON s.id = COALESCE(k.user_id, k.project_id)
        WHERE k.id = $1 AND k.ended_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $2)
        AND ((k.kind = 'personal' AND u.active = 1) OR (k.kind = 'service' AND e.id IS NOT NULL)
            OR (k.kind = 'account' AND p.id IS NOT NULL))");
    LIST_OF_USER = concat!("SELECT ", columns!(), " FROM api_keys k
        WHERE k.user_id = $1 AND k.ended_at IS NULL AND k.id > $2 ORDER BY k.id LIMIT $3");
    LIST_OF_PROJECT = concat!("SELECT ", columns!(), " FROM api_keys k
        WHERE k.project_id = $1 AND k.ended_at IS NULL AND k.id > $2 ORDER BY k.id LIMIT $3");
    END_OF_USER = "UPDATE api_keys SET ended_at = $1 WHERE id = $2 AND user_id = $3 AND ended_at IS NULL";
    END_OF_PROJECT = "UPDATE api_keys SET ended_at = $1 WHERE id = $2 AND project_id = $3 AND ended_at IS NULL";
    END_ALL_OF_USER = "UPDATE api_keys SET ended_at = $1 WHERE user_id = $2 AND ended_at IS NULL";
    TOUCH = "UPDATE api_keys SET used_at = $1 WHERE id = $2 AND (used_at IS NULL OR used_at < $1)";
}

fn read(row: &mut Columns<'_>) -> Result<ApiKeyRow> {
    let id = row.id()?;
    let kind = row.word(KeyKind::parse)?;
    let user_id: Option<UserId> = row.id_or()?;
    let project_id: Option<ProjectId> = row.id_or()?;
    let environment_id: Option<EnvironmentId> = row.id_or()?;
    let belongs = match (kind, user_id, project_id, environment_id) {
        (KeyKind::Personal, Some(user_id), None, None) => KeyBelongs::Personal { user_id },
        (KeyKind::Service, None, Some(project_id), Some(environment_id)) => {
            KeyBelongs::Service { project_id, environment_id }
        }
        (KeyKind::Account, None, Some(project_id), None) => KeyBelongs::Account { project_id },
        _ => return Err(crate::StoreError::bad_row("an API key belongs to nobody, or to two")),
    };
    Ok(ApiKeyRow {
        id,
        belongs,
        name: row.text()?,
        scope: row.word(KeyScope::parse)?,
        hint: row.text()?,
        limits: row.json()?,
        created_by: row.text()?,
        created_at: row.time()?,
        expires_at: row.time_or()?,
        used_at: row.time_or()?,
        ended_at: row.time_or()?,
    })
}

fn read_caller(row: &mut Columns<'_>) -> Result<KeyCaller> {
    let key = read(row)?;
    let (email, username, name) = (row.text_or()?, row.text_or()?, row.text_or()?);
    let (first_name, last_name, superuser) = (row.text_or()?, row.text_or()?, row.flag_or()?);
    let (frozen_until, second_factor) = (row.time_or()?, row.flag()?);
    let (slug, project_name, environment) = (row.text_or()?, row.text_or()?, row.text_or()?);
    let missing = || crate::StoreError::bad_row("an API key's owner is missing");
    let owner = match key.belongs {
        KeyBelongs::Personal { .. } => KeyOwner::User {
            email: email.ok_or_else(missing)?,
            username,
            name: name.ok_or_else(missing)?,
            first_name: first_name.ok_or_else(missing)?,
            last_name: last_name.ok_or_else(missing)?,
            superuser: superuser.ok_or_else(missing)?,
            second_factor,
            frozen_until,
        },
        KeyBelongs::Service { .. } => KeyOwner::Project {
            slug: slug.ok_or_else(missing)?,
            name: project_name.ok_or_else(missing)?,
            environment: environment.ok_or_else(missing)?,
        },
        KeyBelongs::Account { .. } => KeyOwner::Project {
            slug: slug.ok_or_else(missing)?,
            name: project_name.ok_or_else(missing)?,
            environment: String::new(),
        },
    };
    Ok(KeyCaller { key, owner, epoch: row.int_or()?.unwrap_or(0) })
}

/// `secret_hash`: SHA-256 of the whole key.
pub async fn create(tx: &mut WriteTx, key: &ApiKeyRow, secret_hash: &[u8]) -> Result<()> {
    let (kind, user, project, environment) = match &key.belongs {
        KeyBelongs::Personal { user_id } => (KeyKind::Personal, Some(user_id), None, None),
        KeyBelongs::Service { project_id, environment_id } => {
            (KeyKind::Service, None, Some(project_id), Some(environment_id))
        }
        KeyBelongs::Account { project_id } => (KeyKind::Account, None, Some(project_id), None),
    };
    CREATE
        .on(tx)
        .bind(&key.id)
        .bind(kind)
        .bind(user)
        .bind(project)
        .bind(environment)
        .bind(&key.name)
        .bind(key.scope)
        .bind(secret_hash)
        .bind(&key.hint)
        .bind(&key.limits)
        .bind(&key.created_by)
        .bind(key.created_at)
        .bind(key.expires_at)
        .run()
        .await?;
    Ok(())
}

/// The cold path of *accept*. `expires_at` has to be looked at again when the answer is kept.
pub async fn by_secret_hash(
    tx: &mut impl Tx,
    secret_hash: &[u8],
    now: Timestamp,
) -> Result<Option<KeyCaller>> {
    BY_SECRET.on(tx).bind(secret_hash).bind(now).optional(read_caller).await
}

/// The same for a key that the entrance has recognised: still living, and its limits.
pub async fn by_id(tx: &mut impl Tx, id: &KeyId, now: Timestamp) -> Result<Option<KeyCaller>> {
    BY_ID.on(tx).bind(id).bind(now).optional(read_caller).await
}

pub async fn list_of_user(tx: &mut impl Tx, user: &UserId, paging: &Paging) -> Result<Page<ApiKeyRow>> {
    let rows = LIST_OF_USER.on(tx).bind(user).bind(paging.after()).bind(paging.fetch()).all(read).await?;
    paging.page(rows, |row| row.id.to_string())
}

pub async fn list_of_project(
    tx: &mut impl Tx,
    project: &ProjectId,
    paging: &Paging,
) -> Result<Page<ApiKeyRow>> {
    let rows =
        LIST_OF_PROJECT.on(tx).bind(project).bind(paging.after()).bind(paging.fetch()).all(read).await?;
    paging.page(rows, |row| row.id.to_string())
}

/// Whether there was a living one to end.
pub async fn end_of_user(tx: &mut WriteTx, user: &UserId, id: &KeyId, now: Timestamp) -> Result<bool> {
    Ok(END_OF_USER.on(tx).bind(now).bind(id).bind(user).run().await? == 1)
}

pub async fn end_of_project(
    tx: &mut WriteTx,
    project: &ProjectId,
    id: &KeyId,
    now: Timestamp,
) -> Result<bool> {
    Ok(END_OF_PROJECT.on(tx).bind(now).bind(id).bind(project).run().await? == 1)
}

pub async fn end_all_of_user(tx: &mut WriteTx, user: &UserId, now: Timestamp) -> Result<u64> {
    END_ALL_OF_USER.on(tx).bind(now).bind(user).run().await
}

/// Notes when keys were last used; for a batch now and then, in an upkeep transaction. Sorted, so that two
/// servers with the same keys do not wait for each other crosswise.
pub async fn touch(tx: &mut WriteTx, used: &[(KeyId, Timestamp)]) -> Result<()> {
    let mut sorted: Vec<&(KeyId, Timestamp)> = used.iter().collect();
    sorted.sort();
    for (id, at) in sorted {
        TOUCH.on(tx).bind(*at).bind(id).run().await?;
    }
    Ok(())
}
