//! Sign-ins under way. Each step is one statement whose condition is the step's: of many that try the same, one
//! changes a row and the others are told `false`. All of it runs in upkeep transactions.

use latchstring_model::Timestamp;
use latchstring_model::id::{DataKeyId, SessionId, SignInId, UserId};

use crate::error::Result;
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    SignIn,
    /// A person links their account here with one at the provider.
    Link,
    /// A person shows once more who they are.
    Confirm,
    /// Somebody who was invited comes in through the provider instead of with a password.
    Invite,
}

impl Purpose {
    pub const fn as_str(self) -> &'static str {
        match self {
            Purpose::SignIn => "sign_in",
            Purpose::Link => "link",
            Purpose::Confirm => "confirm",
            Purpose::Invite => "invite",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Purpose::SignIn, Purpose::Link, Purpose::Confirm, Purpose::Invite]
            .into_iter()
            .find(|it| it.as_str() == text)
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
    /// The first factor was shown; the second is to come.
    CodeWanted,
    Done,
}

impl State {
    const ALL: [State; 5] =
        [State::Begun, State::AtProvider, State::Exchanging, State::CodeWanted, State::Done];

    pub const fn as_str(self) -> &'static str {
        match self {
            State::Begun => "begun",
            State::AtProvider => "at_provider",
            State::Exchanging => "exchanging",
            State::CodeWanted => "code_wanted",
            State::Done => "done",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInRow {
    pub id: SignInId,
    pub purpose: Purpose,
    pub state: State,
    pub browser_hash: Option<Vec<u8>>,
    /// PKCE verifier and nonce.
    pub sealed: Option<(Vec<u8>, DataKeyId)>,
    pub user_id: Option<UserId>,
    pub session_id: Option<SessionId>,
    pub return_to: Option<String>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// What a browser takes along to the provider.
#[derive(Clone, Copy, Debug)]
pub struct Started<'a> {
    pub state_hash: &'a [u8],
    pub browser_hash: &'a [u8],
    pub sealed: &'a [u8],
    pub data_key: &'a DataKeyId,
}

macro_rules! columns {
    () => {
        "s.id, s.purpose, s.state, s.browser_hash, s.sealed, s.data_key, s.user_id, s.session_id, s.return_to,
         s.created_at, s.expires_at"
    };
}

statements! {
    CREATE = "INSERT INTO sign_ins (id, purpose, state, start_hash, browser_hash, user_id, session_id, return_to,
        created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    BY_START = concat!("SELECT ", columns!(), " FROM sign_ins s WHERE s.start_hash = $1");
    BY_STATE = concat!("SELECT ", columns!(), " FROM sign_ins s WHERE s.state_hash = $1");
    BY_ID = concat!("SELECT ", columns!(), " FROM sign_ins s WHERE s.id = $1");
    START = "UPDATE sign_ins SET state = 'at_provider', state_hash = $1, browser_hash = $2, sealed = $3, data_key = $4
        WHERE id = $5 AND state IN ('begun', 'at_provider') AND expires_at > $6";
    CLAIM = "UPDATE sign_ins SET state = 'exchanging' WHERE id = $1 AND state = 'at_provider' AND expires_at > $2";
    WANT_CODE = "UPDATE sign_ins SET state = 'code_wanted', user_id = $1, sealed = NULL, data_key = NULL, expires_at = $2
        WHERE id = $3 AND state = 'exchanging'";
    END = "UPDATE sign_ins SET state = 'done', sealed = NULL, data_key = NULL WHERE id = $1 AND state = $2";
    END_OF_USER = "DELETE FROM sign_ins WHERE user_id = $1";
    PURGE = "DELETE FROM sign_ins WHERE expires_at <= $1";
}

fn read(row: &mut Columns<'_>) -> Result<SignInRow> {
    let (id, purpose, state) = (row.id()?, row.word(Purpose::parse)?, row.word(State::parse)?);
    let browser_hash = row.bytes_or()?;
    let sealed = match (row.bytes_or()?, row.id_or()?) {
        (Some(sealed), Some(key)) => Some((sealed, key)),
        _ => None,
    };
    Ok(SignInRow {
        id,
        purpose,
        state,
        browser_hash,
        sealed,
        user_id: row.id_or()?,
        session_id: row.id_or()?,
        return_to: row.text_or()?,
        created_at: row.time()?,
        expires_at: row.time()?,
    })
}

/// `start_hash`: of the link that begins it. What is sealed comes with [`start`].
pub async fn create(tx: &mut WriteTx, row: &SignInRow, start_hash: Option<&[u8]>) -> Result<()> {
    CREATE
        .on(tx)
        .bind(&row.id)
        .bind(row.purpose.as_str())
        .bind(row.state.as_str())
        .bind(start_hash)
        .bind(row.browser_hash.as_ref())
        .bind(row.user_id.as_ref())
        .bind(row.session_id.as_ref())
        .bind(row.return_to.as_ref())
        .bind(row.created_at)
        .bind(row.expires_at)
        .run()
        .await?;
    Ok(())
}

pub async fn by_start(tx: &mut impl Tx, start_hash: &[u8]) -> Result<Option<SignInRow>> {
    BY_START.on(tx).bind(start_hash).optional(read).await
}

pub async fn by_state(tx: &mut impl Tx, state_hash: &[u8]) -> Result<Option<SignInRow>> {
    BY_STATE.on(tx).bind(state_hash).optional(read).await
}

pub async fn by_id(tx: &mut impl Tx, id: &SignInId) -> Result<Option<SignInRow>> {
    BY_ID.on(tx).bind(id).optional(read).await
}

/// The browser goes to the provider; what an earlier start gave out is void.
pub async fn start(tx: &mut WriteTx, id: &SignInId, started: &Started<'_>, now: Timestamp) -> Result<bool> {
    let run = START
        .on(tx)
        .bind(started.state_hash)
        .bind(started.browser_hash)
        .bind(started.sealed)
        .bind(started.data_key)
        .bind(id)
        .bind(now);
    Ok(run.run().await? == 1)
}

/// Takes the answer: one of all who bring it.
pub async fn claim(tx: &mut WriteTx, id: &SignInId, now: Timestamp) -> Result<bool> {
    Ok(CLAIM.on(tx).bind(id).bind(now).run().await? == 1)
}

/// The provider has said who it is; the second factor is to come.
pub async fn want_code(
    tx: &mut WriteTx,
    id: &SignInId,
    user: &UserId,
    expires_at: Timestamp,
) -> Result<bool> {
    Ok(WANT_CODE.on(tx).bind(user).bind(expires_at).bind(id).run().await? == 1)
}

/// Ends it; one of all who try.
pub async fn end(tx: &mut WriteTx, id: &SignInId, from: State) -> Result<bool> {
    Ok(END.on(tx).bind(id).bind(from.as_str()).run().await? == 1)
}

/// Nothing that this person has begun goes on.
pub async fn end_of_user(tx: &mut WriteTx, user: &UserId) -> Result<u64> {
    END_OF_USER.on(tx).bind(user).run().await
}

pub async fn purge(tx: &mut WriteTx, now: Timestamp) -> Result<u64> {
    PURGE.on(tx).bind(now).run().await
}
