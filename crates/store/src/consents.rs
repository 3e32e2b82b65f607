//! Consents under way. Each step is one statement whose condition is the step's: of many that try the same,
//! one changes a row and the others are told `false`.
//!
//! All of it runs in upkeep transactions: no cached decision depends on a consent before its token is saved,
//! and that is the tokens' affair.

use latchstring_model::Timestamp;
use latchstring_model::id::{ConnectSessionId, ConsentId, CredentialId, DataKeyId, OAuthClientId, UserId};

use crate::credentials::CredentialRow;
use crate::error::{Result, StoreError};
use crate::sql::{Columns, json, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Authorization code.
    Browser,
    /// Device code.
    Device,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Kind::Browser => "browser",
            Kind::Device => "device",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Kind::Browser, Kind::Device].into_iter().find(|kind| kind.as_str() == text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Asked for; nobody has opened the link.
    Begun,
    /// The person is at the provider.
    AtProvider,
    /// The answer came and is being looked at; nobody else takes it.
    Exchanging,
    Done,
    Failed,
}

impl State {
    const ALL: [State; 5] = [State::Begun, State::AtProvider, State::Exchanging, State::Done, State::Failed];

    pub const fn as_str(self) -> &'static str {
        match self {
            State::Begun => "begun",
            State::AtProvider => "at_provider",
            State::Exchanging => "exchanging",
            State::Done => "done",
            State::Failed => "failed",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// A problem's code, or `ok`.
    pub outcome: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub at: Timestamp,
}

/// Who began it, and who alone may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    User(UserId),
    /// An end user without an account here.
    ConnectSession(ConnectSessionId),
}

#[derive(Clone, Debug, PartialEq)]
pub struct ConsentRow {
    pub id: ConsentId,
    pub credential_id: CredentialId,
    pub environment: String,
    pub values_version: i64,
    pub by: By,
    pub oauth_client_id: Option<OAuthClientId>,
    pub client_digest: Option<String>,
    pub kind: Kind,
    pub state: State,
    pub browser_hash: Option<Vec<u8>>,
    pub sealed: Option<(Vec<u8>, DataKeyId)>,
    pub sealed_version: i64,
    pub scopes: Vec<String>,
    pub return_to: Option<String>,
    pub ending: Option<Ending>,
    /// The database's clock.
    pub poll_at: Option<Timestamp>,
    pub poll_every_ms: Option<i64>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// What a browser takes along to the provider.
#[derive(Clone, Debug)]
pub struct Started<'a> {
    pub state_hash: &'a [u8],
    pub browser_hash: &'a [u8],
    pub sealed: &'a [u8],
    pub data_key: &'a DataKeyId,
}

macro_rules! consent_columns {
    () => {
        "f.id, f.credential_id, f.environment, f.values_version, f.user_id, f.connect_session_id, f.oauth_client_id,
         f.client_digest, f.kind, f.state, f.browser_hash, f.sealed, f.data_key, f.sealed_version, f.scopes, f.return_to, f.outcome, f.detail,
         f.hint, f.ended_at, f.poll_at, f.poll_every, f.created_at, f.expires_at"
    };
}

pub(crate) use consent_columns;

statements! {
    CREATE = "INSERT INTO consents (id, credential_id, environment, values_version, user_id, connect_session_id,
        oauth_client_id, client_digest, kind, state, start_hash, sealed, data_key, sealed_version, scopes, return_to,
        poll_at, poll_every, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";
    BY_START = concat!("SELECT ", consent_columns!(), " FROM consents f WHERE f.start_hash = $1");
    BY_STATE = concat!("SELECT ", consent_columns!(), " FROM consents f WHERE f.state_hash = $1");
    BY_ID = concat!("SELECT ", consent_columns!(), " FROM consents f WHERE f.id = $1");
    LATEST = concat!("SELECT ", consent_columns!(), " FROM consents f WHERE f.credential_id = $1 AND f.environment = $2
        ORDER BY f.created_at DESC, f.id DESC LIMIT 1");
    START = "UPDATE consents SET state = 'at_provider', state_hash = $1, browser_hash = $2, sealed = $3,
        data_key = $4, sealed_version = sealed_version + 1
        WHERE id = $5 AND sealed_version = $6 AND state IN ('begun', 'at_provider') AND expires_at > $7";
    CLAIM = "UPDATE consents SET state = 'exchanging' WHERE id = $1 AND state = 'at_provider' AND expires_at > $2";
    END = "UPDATE consents SET state = $1, outcome = $2, detail = $3, hint = $4, ended_at = $5, sealed = NULL,
        data_key = NULL, poll_at = NULL WHERE id = $6 AND ended_at IS NULL";
    DUE = concat!("SELECT ", consent_columns!(), " FROM consents f WHERE f.state = 'at_provider' AND f.poll_at <= $1
        ORDER BY f.poll_at, f.id LIMIT $2");
    TAKE_POLL = "UPDATE consents SET poll_at = $1 WHERE id = $2 AND state = 'at_provider' AND poll_at = $3";
    SET_POLL = "UPDATE consents SET poll_at = $1, poll_every = $2 WHERE id = $3 AND state = 'at_provider'";
    OVERTAKEN = "UPDATE consents SET state = 'failed', outcome = 'overtaken', ended_at = $1, sealed = NULL,
        data_key = NULL, poll_at = NULL
        WHERE credential_id = $2 AND environment = $3 AND kind = 'device' AND id <> $4 AND ended_at IS NULL";
    PURGE = "DELETE FROM consents WHERE expires_at <= $1";
    PURGE_OF_CREDENTIAL = "DELETE FROM consents WHERE credential_id = $1";
}

pub(crate) fn read(row: &mut Columns<'_>) -> Result<ConsentRow> {
    let (id, credential_id, environment, values_version) = (row.id()?, row.id()?, row.text()?, row.int()?);
    let by = match (row.id_or()?, row.id_or()?) {
        (Some(user), None) => By::User(user),
        (None, Some(session)) => By::ConnectSession(session),
        _ => return Err(StoreError::bad_row("a consent is of one who began it")),
    };
    let (oauth_client_id, client_digest) = (row.id_or()?, row.text_or()?);
    let (kind, state) = (row.word(Kind::parse)?, row.word(State::parse)?);
    let browser_hash = row.bytes_or()?;
    let sealed = match (row.bytes_or()?, row.id_or()?) {
        (Some(sealed), Some(key)) => Some((sealed, key)),
        _ => None,
    };
    let (sealed_version, scopes, return_to) = (row.int()?, row.json()?, row.text_or()?);
    let (outcome, detail, hint, ended_at) = (row.text_or()?, row.text_or()?, row.text_or()?, row.time_or()?);
    let ending = match (outcome, ended_at) {
        (Some(outcome), Some(at)) => Some(Ending { outcome, detail, hint, at }),
        (None, None) => None,
        _ => return Err(StoreError::bad_row("a consent's end is not whole")),
    };
    Ok(ConsentRow {
        id,
        credential_id,
        environment,
        values_version,
        by,
        oauth_client_id,
        client_digest,
        kind,
        state,
        browser_hash,
        sealed,
        sealed_version,
        scopes,
        return_to,
        ending,
        poll_at: row.time_or()?,
        poll_every_ms: row.int_or()?,
        created_at: row.time()?,
        expires_at: row.time()?,
    })
}

/// `start_hash`: of the link that begins it in a browser.
pub async fn create(tx: &mut WriteTx, row: &ConsentRow, start_hash: Option<&[u8]>) -> Result<()> {
    let (sealed, key) = row.sealed.as_ref().map_or((None, None), |(sealed, key)| (Some(sealed), Some(key)));
    let (user, session) = match &row.by {
        By::User(user) => (Some(user), None),
        By::ConnectSession(session) => (None, Some(session)),
    };
    CREATE
        .on(tx)
        .bind(&row.id)
        .bind(&row.credential_id)
        .bind(&row.environment)
        .bind(row.values_version)
        .bind(user)
        .bind(session)
        .bind(row.oauth_client_id.as_ref())
        .bind(row.client_digest.as_ref())
        .bind(row.kind.as_str())
        .bind(row.state.as_str())
        .bind(start_hash)
        .bind(sealed)
        .bind(key)
        .bind(row.sealed_version)
        .bind(json(&row.scopes)?)
        .bind(row.return_to.as_ref())
        .bind(row.poll_at)
        .bind(row.poll_every_ms)
        .bind(row.created_at)
        .bind(row.expires_at)
        .run()
        .await?;
    Ok(())
}

pub async fn by_start(tx: &mut impl Tx, start_hash: &[u8]) -> Result<Option<ConsentRow>> {
    BY_START.on(tx).bind(start_hash).optional(read).await
}

pub async fn by_state(tx: &mut impl Tx, state_hash: &[u8]) -> Result<Option<ConsentRow>> {
    BY_STATE.on(tx).bind(state_hash).optional(read).await
}

pub async fn by_id(tx: &mut impl Tx, id: &ConsentId) -> Result<Option<ConsentRow>> {
    BY_ID.on(tx).bind(id).optional(read).await
}

/// The one that was begun last for an environment of a credential.
pub async fn latest(
    tx: &mut impl Tx,
    credential: &CredentialRow,
    environment: &str,
) -> Result<Option<ConsentRow>> {
    LATEST.on(tx).bind(&credential.id).bind(environment).optional(read).await
}

/// The person goes to the provider. A `state` and cookie of an earlier start of the same flow are void.
pub async fn start(
    tx: &mut WriteTx,
    row: &ConsentRow,
    started: &Started<'_>,
    now: Timestamp,
) -> Result<bool> {
    let changed = START
        .on(tx)
        .bind(started.state_hash)
        .bind(started.browser_hash)
        .bind(started.sealed)
        .bind(started.data_key)
        .bind(&row.id)
        .bind(row.sealed_version)
        .bind(now)
        .run()
        .await?;
    Ok(changed == 1)
}

/// Takes the answer: `true` for one of all who try.
pub async fn claim(tx: &mut WriteTx, id: &ConsentId, now: Timestamp) -> Result<bool> {
    Ok(CLAIM.on(tx).bind(id).bind(now).run().await? == 1)
}

/// Writes how it ended, once, and wipes what was secret of it.
pub async fn end(tx: &mut WriteTx, id: &ConsentId, good: bool, ending: &Ending) -> Result<bool> {
    let state = if good { State::Done } else { State::Failed };
    let changed = END
        .on(tx)
        .bind(state.as_str())
        .bind(&ending.outcome)
        .bind(ending.detail.as_ref())
        .bind(ending.hint.as_ref())
        .bind(ending.at)
        .bind(id)
        .run()
        .await?;
    Ok(changed == 1)
}

/// Device flows whose provider may be asked again. `db_now`: the database's clock.
pub async fn due(tx: &mut impl Tx, db_now: Timestamp, limit: i64) -> Result<Vec<ConsentRow>> {
    DUE.on(tx).bind(db_now).bind(limit).all(read).await
}

/// This server asks now; nobody else does for `lease_ms`.
pub async fn take_poll(tx: &mut WriteTx, row: &ConsentRow, lease_ms: i64) -> Result<bool> {
    let until = tx.db_now().plus_millis(lease_ms);
    Ok(TAKE_POLL.on(tx).bind(until).bind(&row.id).bind(row.poll_at).run().await? == 1)
}

/// The person has not decided: asked again after `every_ms`.
pub async fn poll_again(tx: &mut WriteTx, id: &ConsentId, every_ms: i64) -> Result<bool> {
    let at = tx.db_now().plus_millis(every_ms);
    Ok(SET_POLL.on(tx).bind(at).bind(every_ms).bind(id).run().await? == 1)
}

/// Ends the other device flows of an environment: a newer one was begun.
pub async fn overtake(tx: &mut WriteTx, row: &ConsentRow, now: Timestamp) -> Result<u64> {
    OVERTAKEN.on(tx).bind(now).bind(&row.credential_id).bind(&row.environment).bind(&row.id).run().await
}

/// Forgets those that ran out before; how many.
pub async fn purge(tx: &mut WriteTx, before: Timestamp) -> Result<u64> {
    PURGE.on(tx).bind(before).run().await
}

/// With the credential.
pub async fn purge_of_credential(tx: &mut WriteTx, credential: &CredentialId) -> Result<u64> {
    PURGE_OF_CREDENTIAL.on(tx).bind(credential).run().await
}
