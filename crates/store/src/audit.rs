//! The audit trail: a hash chain per writer, shipped from journals or written with a change.

use latchstring_model::Timestamp;
use latchstring_model::entity::{Fact, Outcome};
use latchstring_model::id::{CallId, CredentialId, ProjectId};

use crate::credentials::CredentialRow;
use crate::error::{Result, StoreError};
use crate::page::{Page, Paging};
use crate::sql::{Columns, statements};
use crate::tx::{Tx, WriteTx};

/// One record. `body` is the canonical text that is hashed; the other columns repeat parts of it for searching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    pub writer: String,
    pub number: i64,
    pub at: Timestamp,
    pub fact: Fact,
    pub call_id: Option<CallId>,
    pub project_id: Option<ProjectId>,
    pub credential_id: Option<CredentialId>,
    pub actor_type: String,
    pub actor_id: Option<String>,
    pub actor_email: Option<String>,
    pub action: String,
    pub target: Option<String>,
    pub environment: Option<String>,
    pub outcome: Outcome,
    pub body: String,
    pub previous: Vec<u8>,
    pub hash: Vec<u8>,
}

/// An event, or a call with both of its facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditItem {
    pub seq: i64,
    pub record: AuditRecord,
    /// How the call ended; `None` for events, for calls that have not ended, and for those whose server died.
    pub result: Option<CallEnd>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallEnd {
    pub at: Timestamp,
    pub outcome: Outcome,
    pub body: String,
}

#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub credential: Option<CredentialId>,
    /// An id or an e-mail address.
    pub actor: Option<String>,
    pub action: Option<String>,
}

/// The head of a writer's chain, and how far its journal is shipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRow {
    pub writer: String,
    pub segment: i64,
    /// Bytes of that segment.
    pub shipped: i64,
    /// The number of the last record; 0 before the first.
    pub number: i64,
    pub head: Vec<u8>,
}

macro_rules! record_columns {
    () => {
        "a.writer, a.number, a.at, a.fact, a.call_id, a.project_id, a.credential_id, a.actor_type, a.actor_id,
         a.actor_email, a.action, a.target, a.environment, a.outcome, a.body, a.previous, a.hash"
    };
}

macro_rules! items {
    () => {
        concat!(
            "SELECT a.seq, ",
            record_columns!(),
            ", r.at, r.outcome, r.body FROM audit a
        LEFT JOIN audit r ON r.call_id = a.call_id AND r.fact = 'result' AND a.fact = 'intent' "
        )
    };
}

statements! {
    ORDER = "INSERT INTO instance (name, value) VALUES ('audit_order', '')
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    LOCK_HEAD = "INSERT INTO journals (writer, segment, shipped, number, head) VALUES ($1, 0, 0, 0, $2)
        ON CONFLICT (writer) DO UPDATE SET number = journals.number RETURNING writer, segment, shipped, number, head";
    MOVE_HEAD = "UPDATE journals SET segment = $1, shipped = $2, number = $3, head = $4 WHERE writer = $5 AND number = $6";
    JOURNALS = "SELECT writer, segment, shipped, number, head FROM journals ORDER BY writer";
    INSERT = "INSERT INTO audit (writer, number, at, fact, call_id, project_id, credential_id, actor_type, actor_id,
        actor_email, action, target, environment, outcome, body, previous, hash)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
    LIST_OF_PROJECT = concat!(items!(), "WHERE a.project_id = $1 AND a.seq < $2 AND a.fact <> 'result'
        AND (a.credential_id = $3 OR CAST($3 AS TEXT) IS NULL)
        AND (a.actor_id = $4 OR a.actor_email = $4 OR CAST($4 AS TEXT) IS NULL)
        AND (a.action = $5 OR CAST($5 AS TEXT) IS NULL) ORDER BY a.seq DESC LIMIT $6");
    LIST_OF_CREDENTIAL = concat!(items!(), "WHERE a.credential_id = $1 AND a.seq < $2 AND a.fact <> 'result'
        ORDER BY a.seq DESC LIMIT $3");
    CHAIN = concat!("SELECT ", record_columns!(), " FROM audit a WHERE a.writer = $1 AND a.number > $2
        ORDER BY a.number LIMIT $3");
    COUNT = "SELECT COUNT(*) FROM audit";
}

fn read(row: &mut Columns<'_>) -> Result<AuditRecord> {
    Ok(AuditRecord {
        writer: row.text()?,
        number: row.int()?,
        at: row.time()?,
        fact: row.word(Fact::parse)?,
        call_id: row.id_or()?,
        project_id: row.id_or()?,
        credential_id: row.id_or()?,
        actor_type: row.text()?,
        actor_id: row.text_or()?,
        actor_email: row.text_or()?,
        action: row.text()?,
        target: row.text_or()?,
        environment: row.text_or()?,
        outcome: row.word(Outcome::parse)?,
        body: row.text()?,
        previous: row.bytes()?,
        hash: row.bytes()?,
    })
}

fn read_item(row: &mut Columns<'_>) -> Result<AuditItem> {
    let seq = row.int()?;
    let record = read(row)?;
    let result = match (row.time_or()?, row.word_or(Outcome::parse)?, row.text_or()?) {
        (Some(at), Some(outcome), Some(body)) => Some(CallEnd { at, outcome, body }),
        _ => None,
    };
    Ok(AuditItem { seq, record, result })
}

fn read_journal(row: &mut Columns<'_>) -> Result<JournalRow> {
    Ok(JournalRow {
        writer: row.text()?,
        segment: row.int()?,
        shipped: row.int()?,
        number: row.int()?,
        head: row.bytes()?,
    })
}

/// Locks a writer's chain until the transaction ends and gives its head; a new one begins with `start`.
///
/// Also brings all writers into one order, so that `seq` grows in the order of commits and a reader with a
/// cursor passes nothing over. Call it last in a write: from here on others wait.
pub async fn lock_head(tx: &mut WriteTx, writer: &str, start: &[u8]) -> Result<JournalRow> {
    ORDER.on(tx).run().await?;
    LOCK_HEAD.on(tx).bind(writer).bind(start).one(read_journal).await
}

/// Appends records to the chain whose head was locked, and moves the head and the journal's progress with
/// them. Numbers must follow `from.number` one by one; `to` is the new head.
pub async fn append(
    tx: &mut WriteTx,
    from: &JournalRow,
    records: &[AuditRecord],
    to: &JournalRow,
) -> Result<()> {
    let follows = (from.number + 1..)
        .zip(records)
        .all(|(number, record)| record.number == number && record.writer == from.writer);
    let ends = i64::try_from(records.len()).is_ok_and(|count| to.number == from.number.saturating_add(count));
    if !follows || !ends || to.writer != from.writer {
        return Err(StoreError::Moved);
    }
    for record in records {
        INSERT
            .on(tx)
            .bind(&record.writer)
            .bind(record.number)
            .bind(record.at)
            .bind(record.fact)
            .bind(record.call_id.as_ref())
            .bind(record.project_id.as_ref())
            .bind(record.credential_id.as_ref())
            .bind(&record.actor_type)
            .bind(record.actor_id.as_ref())
            .bind(record.actor_email.as_ref())
            .bind(&record.action)
            .bind(record.target.as_ref())
            .bind(record.environment.as_ref())
            .bind(record.outcome)
            .bind(&record.body)
            .bind(&record.previous)
            .bind(&record.hash)
            .run()
            .await?;
    }
    let moved = MOVE_HEAD
        .on(tx)
        .bind(to.segment)
        .bind(to.shipped)
        .bind(to.number)
        .bind(&to.head)
        .bind(&to.writer)
        .bind(from.number)
        .run()
        .await?;
    if moved == 1 { Ok(()) } else { Err(StoreError::Moved) }
}

/// All writers, for verification and for shippers that find the journals of servers that died.
pub async fn journals(tx: &mut impl Tx) -> Result<Vec<JournalRow>> {
    JOURNALS.on(tx).all(read_journal).await
}

fn before(paging: &Paging) -> Result<i64> {
    match &paging.cursor {
        Some(cursor) => cursor.parse().map_err(|_| StoreError::BadCursor),
        None => Ok(i64::MAX),
    }
}

/// Newest first. Calls come once, with how they ended.
pub async fn list_of_project(
    tx: &mut impl Tx,
    project: &ProjectId,
    filter: &AuditFilter,
    paging: &Paging,
) -> Result<Page<AuditItem>> {
    let items = LIST_OF_PROJECT
        .on(tx)
        .bind(project)
        .bind(before(paging)?)
        .bind(filter.credential.as_ref())
        .bind(filter.actor.as_ref())
        .bind(filter.action.as_ref())
        .bind(paging.fetch())
        .all(read_item)
        .await?;
    paging.page(items, |item| item.seq.to_string())
}

/// For the credential's owner: in whichever project it was used.
pub async fn list_of_credential(
    tx: &mut impl Tx,
    credential: &CredentialRow,
    paging: &Paging,
) -> Result<Page<AuditItem>> {
    let items = LIST_OF_CREDENTIAL
        .on(tx)
        .bind(&credential.id)
        .bind(before(paging)?)
        .bind(paging.fetch())
        .all(read_item)
        .await?;
    paging.page(items, |item| item.seq.to_string())
}

/// A writer's records after a number, in chain order, for verification.
pub async fn chain(tx: &mut impl Tx, writer: &str, after: i64, limit: i64) -> Result<Vec<AuditRecord>> {
    CHAIN.on(tx).bind(writer).bind(after).bind(limit).all(read).await
}

pub async fn count(tx: &mut impl Tx) -> Result<i64> {
    COUNT.on(tx).one(|row| row.int()).await
}
