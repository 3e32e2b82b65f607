//! Links with which people who forgot their password give themselves a new one. The link's token is stored as a
//! hash; sealed only until its mail is on its way.

use latchstring_model::Timestamp;
use latchstring_model::id::{DataKeyId, UserId};

use crate::error::Result;
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordResetRow {
    pub user_id: UserId,
    pub sealed: Option<(Vec<u8>, DataKeyId)>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

macro_rules! columns {
    () => {
        "r.user_id, r.sealed, r.data_key, r.created_at, r.expires_at"
    };
}

statements! {
    SET = "INSERT INTO password_resets (user_id, token_hash, sealed, data_key, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (user_id) DO UPDATE SET token_hash = excluded.token_hash,
        sealed = excluded.sealed, data_key = excluded.data_key, created_at = excluded.created_at,
        expires_at = excluded.expires_at";
    BY_TOKEN = concat!("SELECT ", columns!(), " FROM password_resets r JOIN users u ON u.id = r.user_id
        WHERE r.token_hash = $1 AND r.expires_at > $2 AND u.active = 1");
    OF_USER = concat!("SELECT ", columns!(), " FROM password_resets r WHERE r.user_id = $1 AND r.expires_at > $2");
    WIPE = "UPDATE password_resets SET sealed = NULL, data_key = NULL WHERE user_id = $1";
    TAKE = "DELETE FROM password_resets WHERE user_id = $1 AND token_hash = $2";
    REMOVE = "DELETE FROM password_resets WHERE user_id = $1";
    PURGE = "DELETE FROM password_resets WHERE expires_at <= $1";
}

fn read(row: &mut Columns<'_>) -> Result<PasswordResetRow> {
    let user_id = row.id()?;
    let sealed = match (row.bytes_or()?, row.id_or()?) {
        (Some(sealed), Some(key)) => Some((sealed, key)),
        _ => None,
    };
    Ok(PasswordResetRow { user_id, sealed, created_at: row.time()?, expires_at: row.time()? })
}

/// An earlier link of this person is void.
pub async fn set(tx: &mut WriteTx, row: &PasswordResetRow, token_hash: &[u8]) -> Result<()> {
    let (sealed, key) = row.sealed.as_ref().map_or((None, None), |(sealed, key)| (Some(sealed), Some(key)));
    SET.on(tx)
        .bind(&row.user_id)
        .bind(token_hash)
        .bind(sealed)
        .bind(key)
        .bind(row.created_at)
        .bind(row.expires_at)
        .run()
        .await?;
    Ok(())
}

/// A living link of somebody active.
pub async fn by_token(
    tx: &mut impl Tx,
    token_hash: &[u8],
    now: Timestamp,
) -> Result<Option<PasswordResetRow>> {
    BY_TOKEN.on(tx).bind(token_hash).bind(now).optional(read).await
}

/// For the mail that brings it.
pub async fn of_user(tx: &mut impl Tx, user: &UserId, now: Timestamp) -> Result<Option<PasswordResetRow>> {
    OF_USER.on(tx).bind(user).bind(now).optional(read).await
}

/// The mail is on its way: from now on nobody but its reader has the token.
pub async fn wipe(tx: &mut WriteTx, user: &UserId) -> Result<()> {
    WIPE.on(tx).bind(user).run().await?;
    Ok(())
}

/// Uses the link up; one of all who try.
pub async fn take(tx: &mut WriteTx, user: &UserId, token_hash: &[u8]) -> Result<bool> {
    Ok(TAKE.on(tx).bind(user).bind(token_hash).run().await? == 1)
}

pub async fn remove(tx: &mut WriteTx, user: &UserId) -> Result<()> {
    REMOVE.on(tx).bind(user).run().await?;
    Ok(())
}

pub async fn purge(tx: &mut WriteTx, now: Timestamp) -> Result<u64> {
    PURGE.on(tx).bind(now).run().await
}
