//! What belongs to the installation: named values, the set-up link, the servers that live.

use latchstring_model::Timestamp;
use latchstring_model::id::ServerId;
use serde::{Deserialize, Serialize};

use crate::dialect::CLOCK;
use crate::error::{Result, StoreError};
use crate::sql::{Columns, json, statements};
use crate::tx::{Tx, WriteTx};

/// The vault's key check value.
pub const KEY_CHECK: &str = "key_check";
const SETUP: &str = "setup";

/// A running server process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRow {
    pub id: ServerId,
    pub version: String,
    pub started_at: Timestamp,
    /// The database's clock.
    pub seen_at: Timestamp,
    /// The ids of the root keys that it holds.
    pub root_keys: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Setup {
    token_hash: Vec<u8>,
    expires_at: Timestamp,
}

statements! {
    GET = "SELECT value FROM instance WHERE name = $1";
    SET = "INSERT INTO instance (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    SET_ONCE = "INSERT INTO instance (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = instance.value
        RETURNING value";
    REMOVE = "DELETE FROM instance WHERE name = $1";
    HEARTBEAT = "INSERT INTO servers (id, version, started_at, seen_at, root_keys) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, root_keys = excluded.root_keys";
    SERVERS = "SELECT id, version, started_at, seen_at, root_keys FROM servers WHERE seen_at >= $1 ORDER BY id";
    END_SERVER = "DELETE FROM servers WHERE id = $1";
    PURGE_SERVERS = "DELETE FROM servers WHERE seen_at < $1";
}

fn read_server(row: &mut Columns<'_>) -> Result<ServerRow> {
    Ok(ServerRow {
        id: row.id()?,
        version: row.text()?,
        started_at: row.time()?,
        seen_at: row.time()?,
        root_keys: row.json()?,
    })
}

pub async fn get(tx: &mut impl Tx, name: &str) -> Result<Option<String>> {
    GET.on(tx).bind(name).optional(|row| row.text()).await
}

pub async fn set(tx: &mut WriteTx, name: &str, value: &str) -> Result<()> {
    SET.on(tx).bind(name).bind(value).run().await?;
    Ok(())
}

/// Sets it if nobody has; the value that is there now. Of several servers one wins, the others see whose.
pub async fn set_once(tx: &mut WriteTx, name: &str, value: &str) -> Result<String> {
    SET_ONCE.on(tx).bind(name).bind(value).one(|row| row.text()).await
}

pub async fn remove(tx: &mut WriteTx, name: &str) -> Result<bool> {
    Ok(REMOVE.on(tx).bind(name).run().await? == 1)
}

/// Makes a set-up link valid and any earlier one invalid, as long as there is no user. Whether it is.
/// In a write of [`crate::scopes::INSTANCE`].
pub async fn offer_setup(tx: &mut WriteTx, token_hash: &[u8], expires_at: Timestamp) -> Result<bool> {
    if crate::users::count(tx).await? > 0 {
        return Ok(false);
    }
    let setup = json(&Setup { token_hash: token_hash.to_vec(), expires_at })?;
    set(tx, SETUP, &setup).await?;
    Ok(true)
}

/// Whether a set-up link is the valid one. To use it, call [`take_setup`].
pub async fn setup_is_open(tx: &mut impl Tx, token_hash: &[u8], now: Timestamp) -> Result<bool> {
    if crate::users::count(tx).await? > 0 {
        return Ok(false);
    }
    let Some(stored) = get(tx, SETUP).await? else {
        return Ok(false);
    };
    let setup: Setup =
        serde_json::from_str(&stored).map_err(|_| StoreError::bad_row("the set-up link is not readable"))?;
    // Both are hashes of the token: how far they agree says nothing about it.
    Ok(setup.token_hash == token_hash && now < setup.expires_at)
}

/// Uses the link up, in the write that makes the first user.
pub async fn take_setup(tx: &mut WriteTx, token_hash: &[u8], now: Timestamp) -> Result<bool> {
    Ok(setup_is_open(tx, token_hash, now).await? && remove(tx, SETUP).await?)
}

/// Says that a server lives. `seen_at` of the row is not looked at: it is the database's clock.
pub async fn heartbeat(tx: &mut WriteTx, server: &ServerRow) -> Result<()> {
    let now = tx.db_now();
    HEARTBEAT
        .on(tx)
        .bind(&server.id)
        .bind(&server.version)
        .bind(server.started_at)
        .bind(now)
        .bind(json(&server.root_keys)?)
        .run()
        .await?;
    Ok(())
}

/// Servers heard of within the last `within_ms`.
pub async fn servers(tx: &mut impl Tx, within_ms: i64) -> Result<Vec<ServerRow>> {
    let now = CLOCK.on(tx).one(|row| row.time()).await?;
    SERVERS.on(tx).bind(now.plus_millis(-within_ms)).all(read_server).await
}

/// A server that ends says so.
pub async fn end_server(tx: &mut WriteTx, id: &ServerId) -> Result<()> {
    END_SERVER.on(tx).bind(id).run().await?;
    Ok(())
}

/// Forgets servers not heard of for `older_ms`.
pub async fn purge_servers(tx: &mut WriteTx, older_ms: i64) -> Result<u64> {
    let before = tx.db_now().plus_millis(-older_ms);
    PURGE_SERVERS.on(tx).bind(before).run().await
}
