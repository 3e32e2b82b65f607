//! Token rows, and the steps of the refresh protocol as compare-and-swaps.
//!
//! Each step locks its row, reads the database's clock, and then changes the row in one statement whose
//! condition is the step's; `false` means that the condition did not hold and nothing has changed. Lease,
//! intent and backoff deadlines are set and compared by the database's clock alone.
//!
//! Take, renew, prepare, mark, fail and release run in an upkeep transaction: no cached decision depends on
//! them. Save, dead and orphan change what calls may use: raise the credential's scope.

use latchstring_model::Timestamp;
use latchstring_model::id::{CredentialId, DataKeyId};

use crate::credentials::CredentialRow;
use crate::dialect::CLOCK;
use crate::error::Result;
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// Never had a token.
    Empty,
    Live,
    /// The grant is dead, or may be and cannot be asked without harm.
    NeedsReconnect,
}

impl TokenState {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "empty" => Some(TokenState::Empty),
            "live" => Some(TokenState::Live),
            "needs_reconnect" => Some(TokenState::NeedsReconnect),
            _ => None,
        }
    }
}

/// Who refreshes; its fence is the row's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub owner: String,
    pub deadline: Timestamp,
}

/// How far somebody got with a token request; outlives its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    None,
    Prepared { fence: i64 },
    Sent { fence: i64, deadline: Timestamp },
}

/// The times of an obtained token, in the clear beside its sealed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    pub obtained_at: Timestamp,
    pub fresh_until: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
}

/// What a token belongs to. `id` is a digest of everything that it depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKey {
    pub id: String,
    pub credential_id: CredentialId,
    pub environment: String,
    pub values_version: i64,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    pub key: TokenKey,
    /// Counts saved tokens.
    pub version: i64,
    pub state: TokenState,
    pub sealed: Option<(Vec<u8>, DataKeyId)>,
    pub life: Option<Life>,
    /// When the whole grant ends, where it has an end.
    pub grant_expires_at: Option<Timestamp>,
    /// Counts leases.
    pub fence: i64,
    pub lease: Option<Lease>,
    pub intent: Intent,
    pub failures: i64,
    pub retry_at: Option<Timestamp>,
    pub forced_at: Option<Timestamp>,
    /// What was masked before it got here.
    pub last_error: Option<String>,
    pub updated_at: Timestamp,
}

/// A token to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Sealed for the version after the one that it takes the place of.
    pub sealed: Vec<u8>,
    pub data_key: DataKeyId,
    pub life: Life,
    pub grant_expires_at: Option<Timestamp>,
}

macro_rules! columns {
    () => {
        "t.id, t.credential_id, t.environment, t.values_version, t.name, t.version, t.state, t.sealed, t.data_key,
         t.obtained_at, t.fresh_until, t.expires_at, t.grant_expires_at, t.lease_fence, t.lease_owner, t.lease_until,
         t.intent, t.intent_fence, t.intent_until, t.failures, t.retry_at, t.forced_at, t.last_error, t.updated_at"
    };
}

statements! {
    BY_ID = concat!("SELECT ", columns!(), " FROM tokens t WHERE t.id = $1");
    OF_CREDENTIAL = concat!("SELECT ", columns!(), " FROM tokens t WHERE t.credential_id = $1 ORDER BY t.environment, t.id");
    ENSURE = "INSERT INTO tokens (id, credential_id, environment, values_version, name, version, state, lease_fence,
        lease_until, failures, updated_at) VALUES ($1, $2, $3, $4, $5, 0, 'empty', 0, 0, 0, $6)
        ON CONFLICT (id) DO NOTHING";
    LOCK = "UPDATE tokens SET lease_fence = lease_fence WHERE id = $1";
    TAKE = "UPDATE tokens SET lease_fence = lease_fence + 1, lease_owner = $1, lease_until = $2,
        forced_at = CASE WHEN $3 = 1 THEN $4 ELSE forced_at END, updated_at = $4
        WHERE id = $5 AND lease_fence = $6 AND version = $7 AND lease_until <= $9
        AND (intent IS NULL OR intent <> 'sent' OR $8 = 1)";
    RENEW = "UPDATE tokens SET lease_until = $1 WHERE id = $2 AND lease_fence = $3 AND lease_until > $4";
    PREPARE = "UPDATE tokens SET intent = 'prepared', intent_fence = $1, intent_until = NULL, updated_at = $2
        WHERE id = $3 AND lease_fence = $1 AND version = $4 AND lease_until > $2";
    MARK_SENT = "UPDATE tokens SET intent = 'sent', intent_until = $1, lease_until = $1, updated_at = $2
        WHERE id = $3 AND lease_fence = $4 AND version = $5 AND lease_until > $2
        AND intent = 'prepared' AND intent_fence = $4";
    SAVE = "UPDATE tokens SET version = version + 1, state = 'live', sealed = $1, data_key = $2, obtained_at = $3,
        fresh_until = $4, expires_at = $5, grant_expires_at = $6, lease_owner = NULL, lease_until = 0, intent = NULL,
        intent_fence = NULL, intent_until = NULL, failures = 0, retry_at = NULL, last_error = NULL, updated_at = $7
        WHERE id = $8 AND version = $9";
    FAIL = "UPDATE tokens SET lease_owner = NULL, lease_until = 0, intent = NULL, intent_fence = NULL,
        intent_until = NULL, failures = failures + 1, retry_at = $1, last_error = $2, updated_at = $3
        WHERE id = $4 AND lease_fence = $5 AND version = $6";
    DEAD = "UPDATE tokens SET state = 'needs_reconnect', lease_owner = NULL, lease_until = 0, intent = NULL,
        intent_fence = NULL, intent_until = NULL, failures = failures + 1, retry_at = NULL, last_error = $1,
        updated_at = $2 WHERE id = $3 AND lease_fence = $4 AND version = $5";
    RELEASE = "UPDATE tokens SET lease_owner = NULL, lease_until = 0,
        intent = CASE WHEN intent_fence = $1 THEN NULL ELSE intent END,
        intent_until = CASE WHEN intent_fence = $1 THEN NULL ELSE intent_until END,
        intent_fence = CASE WHEN intent_fence = $1 THEN NULL ELSE intent_fence END, updated_at = $2
        WHERE id = $3 AND lease_fence = $1";
    ORPHAN = "UPDATE tokens SET lease_fence = lease_fence + 1, state = 'needs_reconnect', lease_owner = NULL,
        lease_until = 0, intent = NULL, intent_fence = NULL, intent_until = NULL, failures = failures + 1,
        retry_at = NULL, last_error = $1, updated_at = $2
        WHERE id = $3 AND lease_fence = $4 AND version = $5 AND lease_until <= $2
        AND intent = 'sent' AND intent_until <= $2";
    BURY = "UPDATE tokens SET lease_fence = lease_fence + 1, lease_owner = NULL, lease_until = 0, intent = NULL,
        intent_fence = NULL, intent_until = NULL, forced_at = NULL, updated_at = $1 WHERE lease_owner = $2";
    DUE = concat!("SELECT ", columns!(), " FROM tokens t JOIN credentials c ON c.id = t.credential_id
        JOIN credential_values v ON v.credential_id = t.credential_id AND v.environment = t.environment
            AND v.version = t.values_version
        WHERE t.state = 'live' AND t.fresh_until <= $1 AND (t.fresh_until > $4 OR (t.fresh_until = $4 AND t.id > $5))
        AND (t.retry_at IS NULL OR t.retry_at <= $2)
        AND t.lease_until <= $2 AND c.disabled = 0 AND c.deletes_at IS NULL
        ORDER BY t.fresh_until, t.id LIMIT $3");
    GRANT_ENDING = concat!("SELECT ", columns!(), " FROM tokens t JOIN credentials c ON c.id = t.credential_id
        JOIN credential_values v ON v.credential_id = t.credential_id AND v.environment = t.environment
            AND v.version = t.values_version
        WHERE t.state = 'live' AND t.grant_expires_at > $1 AND t.grant_expires_at <= $2 AND t.id > $3
        AND c.disabled = 0 AND c.deletes_at IS NULL ORDER BY t.id LIMIT $4");
    SPENT = "UPDATE tokens SET expires_at = obtained_at, fresh_until = obtained_at
        WHERE id = $1 AND state = 'needs_reconnect'";
    DELETE_SUPERSEDED = "DELETE FROM tokens WHERE credential_id = $1 AND environment = $2 AND values_version < $3";
    DELETE = "DELETE FROM tokens WHERE id = $1 AND credential_id = $2";
}

fn read(row: &mut Columns<'_>) -> Result<TokenRow> {
    let key = TokenKey {
        id: row.text()?,
        credential_id: row.id()?,
        environment: row.text()?,
        values_version: row.int()?,
        name: row.text()?,
    };
    let version = row.int()?;
    let state = row.word(TokenState::parse)?;
    let sealed = match (row.bytes_or()?, row.id_or()?) {
        (Some(sealed), Some(data_key)) => Some((sealed, data_key)),
        _ => None,
    };
    let (obtained_at, fresh_until, expires_at) = (row.time_or()?, row.time_or()?, row.time_or()?);
    let life = obtained_at.map(|obtained_at| Life { obtained_at, fresh_until, expires_at });
    let grant_expires_at = row.time_or()?;
    let fence = row.int()?;
    let (owner, deadline) = (row.text_or()?, row.time()?);
    let lease = owner.map(|owner| Lease { owner, deadline });
    let (intent, intent_fence, intent_until) = (row.text_or()?, row.int_or()?, row.time_or()?);
    let intent = match (intent.as_deref(), intent_fence, intent_until) {
        (None, _, _) => Intent::None,
        (Some("prepared"), Some(fence), _) => Intent::Prepared { fence },
        (Some("sent"), Some(fence), Some(deadline)) => Intent::Sent { fence, deadline },
        _ => return Err(crate::StoreError::bad_row("a token's intent is not whole")),
    };
    Ok(TokenRow {
        key,
        version,
        state,
        sealed,
        life,
        grant_expires_at,
        fence,
        lease,
        intent,
        failures: row.int()?,
        retry_at: row.time_or()?,
        forced_at: row.time_or()?,
        last_error: row.text_or()?,
        updated_at: row.time()?,
    })
}

/// The row, and the database's clock when it was read. The key's digest covers the credential.
pub async fn by_id(tx: &mut impl Tx, id: &str) -> Result<Option<(TokenRow, Timestamp)>> {
    let Some(row) = BY_ID.on(tx).bind(id).optional(read).await? else {
        return Ok(None);
    };
    let now = CLOCK.on(tx).one(|row| row.time()).await?;
    Ok(Some((row, now)))
}

/// Makes an empty row where there is none.
pub async fn ensure(tx: &mut WriteTx, key: &TokenKey) -> Result<()> {
    let now = tx.db_now();
    ENSURE
        .on(tx)
        .bind(&key.id)
        .bind(&key.credential_id)
        .bind(&key.environment)
        .bind(key.values_version)
        .bind(&key.name)
        .bind(now)
        .run()
        .await?;
    Ok(())
}

/// Locks the row until the transaction ends and reads it: for whoever stores a token from consent or from
/// the owner, who then seals for the next version and calls [`save`].
pub async fn locked(tx: &mut WriteTx, id: &str) -> Result<Option<TokenRow>> {
    LOCK.on(tx).bind(id).run().await?;
    BY_ID.on(tx).bind(id).optional(read).await
}

pub async fn list_of_credential(tx: &mut impl Tx, credential: &CredentialRow) -> Result<Vec<TokenRow>> {
    OF_CREDENTIAL.on(tx).bind(&credential.id).all(read).await
}

/// Locks the row, then reads the clock: a wait for the lock must not make the time old.
async fn lock(tx: &mut WriteTx, id: &str) -> Result<Timestamp> {
    LOCK.on(tx).bind(id).run().await?;
    CLOCK.on(tx).one(|row| row.time()).await
}

/// Takes the lease with a new fence (`seen_fence + 1`), if nobody holds it, nobody took it since it was read,
/// the version is unmoved, and no request is open that must not be repeated.
#[derive(Clone, Debug)]
pub struct Take<'a> {
    pub owner: &'a str,
    pub seen_fence: i64,
    pub version: i64,
    pub may_repeat: bool,
    /// A lease that runs out within this is not waited for.
    pub patience_ms: i64,
    pub forced: bool,
    pub lease_ms: i64,
}

pub async fn take(tx: &mut WriteTx, id: &str, step: &Take<'_>) -> Result<bool> {
    let now = lock(tx, id).await?;
    let changed = TAKE
        .on(tx)
        .bind(step.owner)
        .bind(now.plus_millis(step.lease_ms))
        .bind(step.forced)
        .bind(now)
        .bind(id)
        .bind(step.seen_fence)
        .bind(step.version)
        .bind(step.may_repeat)
        .bind(now.plus_millis(step.patience_ms))
        .run()
        .await?;
    Ok(changed == 1)
}

/// The heartbeat: the lease with this fence, if it has not run out, lasts `lease_ms` from now.
pub async fn renew(tx: &mut WriteTx, id: &str, fence: i64, lease_ms: i64) -> Result<bool> {
    let now = lock(tx, id).await?;
    Ok(RENEW.on(tx).bind(now.plus_millis(lease_ms)).bind(id).bind(fence).bind(now).run().await? == 1)
}

/// Writes the intent, if the lease with this fence has not run out and the version is unmoved.
pub async fn prepare(tx: &mut WriteTx, id: &str, fence: i64, version: i64) -> Result<bool> {
    let now = lock(tx, id).await?;
    Ok(PREPARE.on(tx).bind(fence).bind(now).bind(id).bind(version).run().await? == 1)
}

/// Our prepared intent is about to be sent: intent and lease last `lease_ms` from now.
pub async fn mark_sent(tx: &mut WriteTx, id: &str, fence: i64, version: i64, lease_ms: i64) -> Result<bool> {
    let now = lock(tx, id).await?;
    let changed = MARK_SENT
        .on(tx)
        .bind(now.plus_millis(lease_ms))
        .bind(now)
        .bind(id)
        .bind(fence)
        .bind(version)
        .run()
        .await?;
    Ok(changed == 1)
}

/// Stores a token as version + 1, if the version is unmoved, whoever holds the lease.
pub async fn save(tx: &mut WriteTx, id: &str, version: i64, token: &NewToken) -> Result<bool> {
    let now = lock(tx, id).await?;
    let changed = SAVE
        .on(tx)
        .bind(&token.sealed)
        .bind(&token.data_key)
        .bind(token.life.obtained_at)
        .bind(token.life.fresh_until)
        .bind(token.life.expires_at)
        .bind(token.grant_expires_at)
        .bind(now)
        .bind(id)
        .bind(version)
        .run()
        .await?;
    Ok(changed == 1)
}

/// Nothing came of it: nobody asks for `retry_ms`. `error` is shown to people and masked.
pub async fn fail(
    tx: &mut WriteTx,
    id: &str,
    fence: i64,
    version: i64,
    retry_ms: i64,
    error: &str,
) -> Result<bool> {
    let now = lock(tx, id).await?;
    let changed = FAIL
        .on(tx)
        .bind(now.plus_millis(retry_ms))
        .bind(error)
        .bind(now)
        .bind(id)
        .bind(fence)
        .bind(version)
        .run()
        .await?;
    Ok(changed == 1)
}

/// The provider says that the grant is dead.
pub async fn dead(tx: &mut WriteTx, id: &str, fence: i64, version: i64, error: &str) -> Result<bool> {
    let now = lock(tx, id).await?;
    Ok(DEAD.on(tx).bind(error).bind(now).bind(id).bind(fence).bind(version).run().await? == 1)
}

/// The access token of a dead grant, refused by its API: it is sent nowhere any more.
pub async fn spent(tx: &mut WriteTx, id: &str) -> Result<bool> {
    Ok(SPENT.on(tx).bind(id).run().await? == 1)
}

/// Gives the lease back, and the intent if it is ours. Only for who has sent nothing.
pub async fn release(tx: &mut WriteTx, id: &str, fence: i64) -> Result<bool> {
    let now = lock(tx, id).await?;
    Ok(RELEASE.on(tx).bind(fence).bind(now).bind(id).run().await? == 1)
}

/// A sent request whose sender is gone counts as a dead grant, if it is past its deadline.
pub async fn orphan(tx: &mut WriteTx, id: &str, seen_fence: i64, version: i64, error: &str) -> Result<bool> {
    let now = lock(tx, id).await?;
    Ok(ORPHAN.on(tx).bind(error).bind(now).bind(id).bind(seen_fence).bind(version).run().await? == 1)
}

/// Clears every lease and open request of a process that has ended; how many.
pub async fn bury(tx: &mut WriteTx, owner: &str) -> Result<u64> {
    let now = tx.db_now();
    BURY.on(tx).bind(now).bind(owner).run().await
}

/// Live tokens of usable credentials that should be refreshed before `fresh_before`, the most urgent first, from
/// behind `after` (when, id) on. `db_now` is the database's clock; the others are what `fresh_until` was set by.
pub async fn due(
    tx: &mut impl Tx,
    after: (Timestamp, &str),
    fresh_before: Timestamp,
    db_now: Timestamp,
    limit: i64,
) -> Result<Vec<TokenRow>> {
    DUE.on(tx).bind(fresh_before).bind(db_now).bind(limit).bind(after.0).bind(after.1).all(read).await
}

/// Removes the tokens of older values of an environment; how many.
pub async fn delete_superseded(
    tx: &mut WriteTx,
    credential: &CredentialRow,
    environment: &str,
    values_version: i64,
) -> Result<u64> {
    DELETE_SUPERSEDED.on(tx).bind(&credential.id).bind(environment).bind(values_version).run().await
}

pub async fn delete(tx: &mut WriteTx, credential: &CredentialRow, id: &str) -> Result<bool> {
    Ok(DELETE.on(tx).bind(id).bind(&credential.id).run().await? == 1)
}

/// Living grants that end between two moments, by their token's id after `after`.
pub async fn grants_ending(
    tx: &mut impl Tx,
    from: Timestamp,
    to: Timestamp,
    after: &str,
    limit: i64,
) -> Result<Vec<TokenRow>> {
    GRANT_ENDING.on(tx).bind(from).bind(to).bind(after).bind(limit).all(read).await
}
