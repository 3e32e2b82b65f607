//! People's second factors: one secret for time-based codes each, and codes for the day it is lost.

use latchstring_model::Timestamp;
use latchstring_model::id::{DataKeyId, UserId};

use crate::error::Result;
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondFactorRow {
    pub sealed: Vec<u8>,
    pub data_key: DataKeyId,
    pub secret_version: i64,
    /// Codes of this time step and of earlier ones are used up.
    pub last_step: i64,
    pub created_at: Timestamp,
    /// `None`: set up, but not shown to work yet; it guards nothing.
    pub confirmed_at: Option<Timestamp>,
}

statements! {
    GET = "SELECT sealed, data_key, secret_version, last_step, created_at, confirmed_at FROM second_factors
        WHERE user_id = $1";
    OFFER = "INSERT INTO second_factors (user_id, sealed, data_key, secret_version, last_step, created_at, confirmed_at)
        VALUES ($1, $2, $3, $4, 0, $5, NULL)
        ON CONFLICT (user_id) DO UPDATE SET sealed = excluded.sealed, data_key = excluded.data_key,
        secret_version = excluded.secret_version, last_step = 0, created_at = excluded.created_at
        WHERE second_factors.confirmed_at IS NULL";
    CONFIRM = "UPDATE second_factors SET confirmed_at = $1, last_step = $2
        WHERE user_id = $3 AND secret_version = $4 AND confirmed_at IS NULL";
    USE_STEP = "UPDATE second_factors SET last_step = $1
        WHERE user_id = $2 AND secret_version = $3 AND last_step < $1 AND confirmed_at IS NOT NULL";
    REMOVE = "DELETE FROM second_factors WHERE user_id = $1";
    ADD_CODE = "INSERT INTO recovery_codes (user_id, code_hash, created_at) VALUES ($1, $2, $3)";
    USE_CODE = "UPDATE recovery_codes SET used_at = $1 WHERE user_id = $2 AND code_hash = $3 AND used_at IS NULL";
    CODES_LEFT = "SELECT COUNT(*) FROM recovery_codes WHERE user_id = $1 AND used_at IS NULL";
    REMOVE_CODES = "DELETE FROM recovery_codes WHERE user_id = $1";
}

fn read(row: &mut Columns<'_>) -> Result<SecondFactorRow> {
    Ok(SecondFactorRow {
        sealed: row.bytes()?,
        data_key: row.id()?,
        secret_version: row.int()?,
        last_step: row.int()?,
        created_at: row.time()?,
        confirmed_at: row.time_or()?,
    })
}

pub async fn get(tx: &mut impl Tx, user: &UserId) -> Result<Option<SecondFactorRow>> {
    GET.on(tx).bind(user).optional(read).await
}

/// A secret that the person has yet to show to work; takes the place of another such, never of one that works.
/// Whether it is there now.
pub async fn offer(
    tx: &mut WriteTx,
    user: &UserId,
    sealed: &[u8],
    data_key: &DataKeyId,
    secret_version: i64,
    now: Timestamp,
) -> Result<bool> {
    let run = OFFER.on(tx).bind(user).bind(sealed).bind(data_key).bind(secret_version).bind(now);
    Ok(run.run().await? == 1)
}

/// It works: from now on it guards. `step`: of the code that showed it.
pub async fn confirm(
    tx: &mut WriteTx,
    user: &UserId,
    secret_version: i64,
    step: i64,
    now: Timestamp,
) -> Result<bool> {
    Ok(CONFIRM.on(tx).bind(now).bind(step).bind(user).bind(secret_version).run().await? == 1)
}

/// Uses the code of a time step up. `false`: it was used, or a later one was.
pub async fn use_step(tx: &mut WriteTx, user: &UserId, secret_version: i64, step: i64) -> Result<bool> {
    Ok(USE_STEP.on(tx).bind(step).bind(user).bind(secret_version).run().await? == 1)
}

/// Takes the factor and its recovery codes away; whether there was one.
pub async fn remove(tx: &mut WriteTx, user: &UserId) -> Result<bool> {
    REMOVE_CODES.on(tx).bind(user).run().await?;
    Ok(REMOVE.on(tx).bind(user).run().await? == 1)
}

/// Replaces all recovery codes.
pub async fn set_codes(tx: &mut WriteTx, user: &UserId, hashes: &[[u8; 32]], now: Timestamp) -> Result<()> {
    REMOVE_CODES.on(tx).bind(user).run().await?;
    for hash in hashes {
        ADD_CODE.on(tx).bind(user).bind(hash.as_slice()).bind(now).run().await?;
    }
    Ok(())
}

/// Uses a recovery code up. `false`: there is none such, or it was used.
pub async fn use_code(tx: &mut WriteTx, user: &UserId, hash: &[u8], now: Timestamp) -> Result<bool> {
    Ok(USE_CODE.on(tx).bind(now).bind(user).bind(hash).run().await? == 1)
}

pub async fn codes_left(tx: &mut impl Tx, user: &UserId) -> Result<i64> {
    CODES_LEFT.on(tx).bind(user).one(|row| row.int()).await
}
