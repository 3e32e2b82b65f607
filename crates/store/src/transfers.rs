//! Offers of a credential to another person. Each step is one statement whose condition is the step's.

use latchstring_model::Timestamp;
use latchstring_model::id::{CredentialId, TransferId, UserId};

use crate::error::Result;
use crate::page::{Page, Paging};
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

/// How an offer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    Cancelled,
    /// By another offer of the same credential, or because it was given away otherwise.
    Overtaken,
    /// What was offered is no longer what was offered.
    Void,
}

impl Outcome {
    const ALL: [Outcome; 4] = [Outcome::Accepted, Outcome::Cancelled, Outcome::Overtaken, Outcome::Void];

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Cancelled => "cancelled",
            Outcome::Overtaken => "overtaken",
            Outcome::Void => "void",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferRow {
    pub id: TransferId,
    pub credential_id: CredentialId,
    pub from: UserId,
    pub to: UserId,
    /// A digest of what was offered.
    pub ground: Vec<u8>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// How it ended, if it has.
    pub ended: Option<Outcome>,
}

/// An open one, with what people call those concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTransfer {
    pub row: TransferRow,
    pub credential_name: String,
    pub connector: String,
    pub from_email: String,
    pub to_email: String,
}

macro_rules! columns {
    () => {
        "x.id, x.credential_id, x.from_user, x.to_user, x.ground, x.created_at, x.expires_at, x.outcome"
    };
}

statements! {
    CREATE = "INSERT INTO transfers (id, token_hash, credential_id, from_user, to_user, ground, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    BY_TOKEN = concat!("SELECT ", columns!(), " FROM transfers x
        WHERE x.token_hash = $1 AND x.to_user = $2");
    OPEN_OF_CREDENTIAL = concat!("SELECT ", columns!(), " FROM transfers x
        WHERE x.credential_id = $1 AND x.ended_at IS NULL AND x.expires_at > $2 ORDER BY x.id LIMIT 1");
    OPEN_OF_PERSON = concat!("SELECT ", columns!(), ", c.name, c.connector, f.email, t.email
        FROM transfers x JOIN credentials c ON c.id = x.credential_id
        JOIN users f ON f.id = x.from_user JOIN users t ON t.id = x.to_user
        WHERE x.ended_at IS NULL AND x.expires_at > $2 AND (x.to_user = $1 OR x.from_user = $1) AND x.id > $3
        ORDER BY x.id LIMIT $4");
    END = "UPDATE transfers SET ended_at = $1, outcome = $2 WHERE id = $3 AND ended_at IS NULL AND expires_at > $1";
    END_OF_CREDENTIAL = "UPDATE transfers SET ended_at = $1, outcome = $2
        WHERE credential_id = $3 AND ended_at IS NULL";
    PURGE = "DELETE FROM transfers WHERE expires_at < $1";
    PURGE_OF_CREDENTIAL = "DELETE FROM transfers WHERE credential_id = $1";
}

fn read(row: &mut Columns<'_>) -> Result<TransferRow> {
    Ok(TransferRow {
        id: row.id()?,
        credential_id: row.id()?,
        from: row.id()?,
        to: row.id()?,
        ground: row.bytes()?,
        created_at: row.time()?,
        expires_at: row.time()?,
        ended: row.word_or(Outcome::parse)?,
    })
}

fn read_open(row: &mut Columns<'_>) -> Result<OpenTransfer> {
    Ok(OpenTransfer {
        row: read(row)?,
        credential_name: row.text()?,
        connector: row.text()?,
        from_email: row.text()?,
        to_email: row.text()?,
    })
}

pub async fn create(tx: &mut WriteTx, row: &TransferRow, token_hash: &[u8]) -> Result<()> {
    CREATE
        .on(tx)
        .bind(&row.id)
        .bind(token_hash)
        .bind(&row.credential_id)
        .bind(&row.from)
        .bind(&row.to)
        .bind(&row.ground)
        .bind(row.created_at)
        .bind(row.expires_at)
        .run()
        .await?;
    Ok(())
}

/// By its token, for the person it is meant for.
pub async fn by_token(tx: &mut impl Tx, token_hash: &[u8], to: &UserId) -> Result<Option<TransferRow>> {
    BY_TOKEN.on(tx).bind(token_hash).bind(to).optional(read).await
}

pub async fn open_of_credential(
    tx: &mut impl Tx,
    credential: &CredentialId,
    now: Timestamp,
) -> Result<Option<TransferRow>> {
    OPEN_OF_CREDENTIAL.on(tx).bind(credential).bind(now).optional(read).await
}

/// From and to somebody, oldest first.
pub async fn open_of_person(
    tx: &mut impl Tx,
    user: &UserId,
    now: Timestamp,
    paging: &Paging,
) -> Result<Page<OpenTransfer>> {
    let run = OPEN_OF_PERSON.on(tx).bind(user).bind(now).bind(paging.after()).bind(paging.fetch());
    let rows = run.all(read_open).await?;
    paging.page(rows, |open| open.row.id.to_string())
}

/// Of many that try, one ends it, and only in time.
pub async fn end(tx: &mut WriteTx, id: &TransferId, outcome: Outcome, now: Timestamp) -> Result<bool> {
    Ok(END.on(tx).bind(now).bind(outcome.as_str()).bind(id).run().await? == 1)
}

/// How many.
pub async fn end_of_credential(
    tx: &mut WriteTx,
    credential: &CredentialId,
    outcome: Outcome,
    now: Timestamp,
) -> Result<u64> {
    END_OF_CREDENTIAL.on(tx).bind(now).bind(outcome.as_str()).bind(credential).run().await
}

/// Forgets those that could not be accepted any more since then.
pub async fn purge(tx: &mut WriteTx, before: Timestamp) -> Result<u64> {
    PURGE.on(tx).bind(before).run().await
}

pub(crate) async fn purge_of_credential(tx: &mut WriteTx, credential: &CredentialId) -> Result<()> {
    PURGE_OF_CREDENTIAL.on(tx).bind(credential).run().await?;
    Ok(())
}
