//! People.

use latchstring_model::Timestamp;
use latchstring_model::id::UserId;

use crate::error::{Result, StoreError};
use crate::page::{Page, Paging};
use crate::sql::{Columns, containing, fold, statements};
use crate::tx::{Tx, WriteTx};

/// What can be set of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFields {
    pub email: String,
    pub username: Option<String>,
    pub name: String,
    pub first_name: String,
    pub last_name: String,
    pub superuser: bool,
    pub active: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    pub id: UserId,
    pub fields: UserFields,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Whether a second factor of this server is set up.
    pub second_factor: bool,
    /// Owner rights rest until then.
    pub frozen_until: Option<Timestamp>,
}

macro_rules! columns {
    () => {
        "id, email, username, name, first_name, last_name, superuser, active, version, created_at, updated_at,
         (SELECT COUNT(*) FROM second_factors f WHERE f.user_id = users.id AND f.confirmed_at IS NOT NULL),
         frozen_until"
    };
}

statements! {
    CREATE = "INSERT INTO users (id, email, email_folded, username, name, first_name, last_name, password_hash,
        superuser, active, version, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11, $11)";
    BY_ID = concat!("SELECT ", columns!(), " FROM users WHERE id = $1");
    BY_EMAIL = concat!("SELECT ", columns!(), " FROM users WHERE email_folded = $1");
    LIST = concat!("SELECT ", columns!(), " FROM users
        WHERE id > $1 AND (email_folded LIKE $2 ESCAPE '\\' OR CAST($2 AS TEXT) IS NULL) ORDER BY id LIMIT $3");
    COUNT = "SELECT COUNT(*) FROM users";
    COUNT_SUPERUSERS = "SELECT COUNT(*) FROM users WHERE superuser = 1 AND active = 1";
    SUPERUSERS = "SELECT name FROM users WHERE superuser = 1 AND active = 1 ORDER BY id LIMIT $1";
    UPDATE = "UPDATE users SET email = $1, email_folded = $2, username = $3, name = $4, first_name = $5,
        last_name = $6, superuser = $7, active = $8, version = version + 1, updated_at = $9
        WHERE id = $10 AND version = $11";
    PASSWORD = "SELECT password_hash FROM users WHERE id = $1";
    FREEZE = "UPDATE users SET frozen_until = $1 WHERE id = $2 AND (frozen_until IS NULL OR frozen_until < $1)";
    SET_PASSWORD = "UPDATE users SET password_hash = $1, version = version + 1, updated_at = $2 WHERE id = $3";
}

fn read(row: &mut Columns<'_>) -> Result<UserRow> {
    Ok(UserRow {
        id: row.id()?,
        fields: UserFields {
            email: row.text()?,
            username: row.text_or()?,
            name: row.text()?,
            first_name: row.text()?,
            last_name: row.text()?,
            superuser: row.flag()?,
            active: row.flag()?,
        },
        version: row.int()?,
        created_at: row.time()?,
        updated_at: row.time()?,
        second_factor: row.flag()?,
        frozen_until: row.time_or()?,
    })
}

/// [`crate::Taken::Email`] when somebody has that address, in whatever case.
pub async fn create(
    tx: &mut WriteTx,
    id: &UserId,
    fields: &UserFields,
    password_hash: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    CREATE
        .on(tx)
        .bind(id)
        .bind(fields.email.trim())
        .bind(fold(&fields.email))
        .bind(fields.username.as_ref())
        .bind(&fields.name)
        .bind(&fields.first_name)
        .bind(&fields.last_name)
        .bind(password_hash)
        .bind(fields.superuser)
        .bind(fields.active)
        .bind(now)
        .run()
        .await?;
    Ok(())
}

pub async fn by_id(tx: &mut impl Tx, id: &UserId) -> Result<Option<UserRow>> {
    BY_ID.on(tx).bind(id).optional(read).await
}

pub async fn by_email(tx: &mut impl Tx, email: &str) -> Result<Option<UserRow>> {
    BY_EMAIL.on(tx).bind(fold(email)).optional(read).await
}

/// Oldest first; `q` is looked for in e-mail addresses.
pub async fn list(tx: &mut impl Tx, q: Option<&str>, paging: &Paging) -> Result<Page<UserRow>> {
    let rows =
        LIST.on(tx).bind(paging.after()).bind(q.map(containing)).bind(paging.fetch()).all(read).await?;
    paging.page(rows, |row| row.id.to_string())
}

pub async fn count(tx: &mut impl Tx) -> Result<i64> {
    COUNT.on(tx).one(|row| row.int()).await
}

pub async fn count_superusers(tx: &mut impl Tx) -> Result<i64> {
    COUNT_SUPERUSERS.on(tx).one(|row| row.int()).await
}

/// Names of active superusers, oldest first: whom people can ask.
pub async fn superusers(tx: &mut impl Tx, limit: i64) -> Result<Vec<String>> {
    SUPERUSERS.on(tx).bind(limit).all(|row| row.text()).await
}

/// The new version; [`StoreError::Moved`] when `expected` is not the stored one.
pub async fn update(
    tx: &mut WriteTx,
    id: &UserId,
    expected: i64,
    fields: &UserFields,
    now: Timestamp,
) -> Result<i64> {
    let changed = UPDATE
        .on(tx)
        .bind(fields.email.trim())
        .bind(fold(&fields.email))
        .bind(fields.username.as_ref())
        .bind(&fields.name)
        .bind(&fields.first_name)
        .bind(&fields.last_name)
        .bind(fields.superuser)
        .bind(fields.active)
        .bind(now)
        .bind(id)
        .bind(expected)
        .run()
        .await?;
    if changed == 1 { Ok(expected + 1) } else { Err(StoreError::Moved) }
}

/// The Argon2 hash; `None` for nobody, and for somebody without a password.
pub async fn password_hash(tx: &mut impl Tx, id: &UserId) -> Result<Option<String>> {
    Ok(PASSWORD.on(tx).bind(id).optional(|row| row.text_or()).await?.flatten())
}

pub async fn set_password(tx: &mut WriteTx, id: &UserId, hash: Option<&str>, now: Timestamp) -> Result<()> {
    let changed = SET_PASSWORD.on(tx).bind(hash).bind(now).bind(id).run().await?;
    if changed == 1 { Ok(()) } else { Err(StoreError::Moved) }
}

/// Owner rights rest until then; what rests longer already does so.
pub async fn freeze(tx: &mut WriteTx, id: &UserId, until: Timestamp) -> Result<()> {
    FREEZE.on(tx).bind(until).bind(id).run().await?;
    Ok(())
}
