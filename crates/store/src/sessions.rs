//! Browser sessions. The cookie's token is stored as a hash.

use latchstring_model::Timestamp;
use latchstring_model::id::{SessionId, UserId};

use crate::error::Result;
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    pub id: SessionId,
    pub user_id: UserId,
    pub created_at: Timestamp,
    pub seen_at: Timestamp,
    pub expires_at: Timestamp,
    /// When the person last showed who they are.
    pub confirmed_at: Timestamp,
    pub address: String,
    pub agent: String,
    /// Whether a second factor was shown in it, here or at the provider.
    pub second_factor: bool,
}

macro_rules! columns {
    () => {
        "s.id, s.user_id, s.created_at, s.seen_at, s.expires_at, s.confirmed_at, s.address, s.agent,
         s.second_factor"
    };
}

statements! {
    CREATE = "INSERT INTO sessions (id, user_id, token_hash, created_at, seen_at, expires_at, confirmed_at, address, agent,
        second_factor) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    BY_TOKEN = concat!("SELECT ", columns!(), " FROM sessions s JOIN users u ON u.id = s.user_id
        WHERE s.token_hash = $1 AND s.expires_at > $2 AND u.active = 1");
    LIST = concat!("SELECT ", columns!(), " FROM sessions s WHERE s.user_id = $1 AND s.expires_at > $2
        ORDER BY s.id DESC LIMIT 200");
    SEEN = "UPDATE sessions SET seen_at = $1, expires_at = $2 WHERE id = $3 AND seen_at < $1";
    CONFIRM = "UPDATE sessions SET confirmed_at = $1,
        second_factor = CASE WHEN second_factor > $2 THEN second_factor ELSE $2 END WHERE id = $3 AND user_id = $4";
    BY_ID = concat!("SELECT ", columns!(), " FROM sessions s WHERE s.id = $1 AND s.user_id = $2 AND s.expires_at > $3");
    FORGET_FACTOR = "UPDATE sessions SET second_factor = 0 WHERE user_id = $1";
    END = "DELETE FROM sessions WHERE id = $1 AND user_id = $2";
    END_ALL = "DELETE FROM sessions WHERE user_id = $1 AND (id <> $2 OR CAST($2 AS TEXT) IS NULL)";
    PURGE = "DELETE FROM sessions WHERE expires_at <= $1";
}

fn read(row: &mut Columns<'_>) -> Result<SessionRow> {
    Ok(SessionRow {
        id: row.id()?,
        user_id: row.id()?,
        created_at: row.time()?,
        seen_at: row.time()?,
        expires_at: row.time()?,
        confirmed_at: row.time()?,
        address: row.text()?,
        agent: row.text()?,
        second_factor: row.flag()?,
    })
}

pub async fn create(tx: &mut WriteTx, session: &SessionRow, token_hash: &[u8]) -> Result<()> {
    CREATE
        .on(tx)
        .bind(&session.id)
        .bind(&session.user_id)
        .bind(token_hash)
        .bind(session.created_at)
        .bind(session.seen_at)
        .bind(session.expires_at)
        .bind(session.confirmed_at)
        .bind(&session.address)
        .bind(&session.agent)
        .bind(session.second_factor)
        .run()
        .await?;
    Ok(())
}

/// A living session of an active user.
pub async fn by_token_hash(
    tx: &mut impl Tx,
    token_hash: &[u8],
    now: Timestamp,
) -> Result<Option<SessionRow>> {
    BY_TOKEN.on(tx).bind(token_hash).bind(now).optional(read).await
}

/// Newest first; at most 200.
pub async fn list(tx: &mut impl Tx, user: &UserId, now: Timestamp) -> Result<Vec<SessionRow>> {
    LIST.on(tx).bind(user).bind(now).all(read).await
}

/// Notes that it was used and moves its end.
pub async fn seen(tx: &mut WriteTx, id: &SessionId, now: Timestamp, expires_at: Timestamp) -> Result<()> {
    SEEN.on(tx).bind(now).bind(expires_at).bind(id).run().await?;
    Ok(())
}

/// The person has shown once more who they are; `second_factor`: also with one.
pub async fn confirm(
    tx: &mut WriteTx,
    user: &UserId,
    id: &SessionId,
    second_factor: bool,
    now: Timestamp,
) -> Result<bool> {
    Ok(CONFIRM.on(tx).bind(now).bind(second_factor).bind(id).bind(user).run().await? == 1)
}

/// A living session of the user.
pub async fn by_id(
    tx: &mut impl Tx,
    user: &UserId,
    id: &SessionId,
    now: Timestamp,
) -> Result<Option<SessionRow>> {
    BY_ID.on(tx).bind(id).bind(user).bind(now).optional(read).await
}

/// The second factor is gone: what was shown with it counts no more.
pub async fn forget_factor(tx: &mut WriteTx, user: &UserId) -> Result<()> {
    FORGET_FACTOR.on(tx).bind(user).run().await?;
    Ok(())
}

/// Whether there was one to end.
pub async fn end(tx: &mut WriteTx, user: &UserId, id: &SessionId) -> Result<bool> {
    Ok(END.on(tx).bind(id).bind(user).run().await? == 1)
}

/// Ends all of a user's sessions, but not `except`; how many.
pub async fn end_all(tx: &mut WriteTx, user: &UserId, except: Option<&SessionId>) -> Result<u64> {
    END_ALL.on(tx).bind(user).bind(except).run().await
}

pub async fn purge_expired(tx: &mut WriteTx, now: Timestamp) -> Result<u64> {
    PURGE.on(tx).bind(now).run().await
}
