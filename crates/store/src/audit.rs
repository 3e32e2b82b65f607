//! The audit trail: a hash chain per writer, shipped from journals or written with a change.
//!
//! An event is a row. Calls lie many in a row, a batch ([`batch`]); a result whose intent is in an earlier row
//! has a row of its own, which is found by its call. Lists take all of these apart again: there a call is one
//! item with both of its facts.

pub mod batch;

use std::collections::{BTreeSet, HashMap};

use latchstring_model::Timestamp;
use latchstring_model::entity::{Fact, Outcome};
use latchstring_model::id::{CallId, CredentialId, ProjectId};

use crate::audit_keys;
use crate::credentials::CredentialRow;
use crate::error::{Result, StoreError};
use crate::page::{Page, Paging};
use crate::sql::{Columns, Run, statements};
use crate::tx::{Tx, WriteTx};
use batch::Wanted;

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

/// A record with all that a batch is found by ([`batch::scopes`]); a row of its own has none of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipped {
    pub record: AuditRecord,
    pub scopes: Vec<String>,
}

/// An event, or a call with both of its facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditItem {
    /// The row's `seq` times [`batch::SLOTS`], and the place in the row.
    pub seq: i64,
    /// Of a call in a batch: number, previous and hash are the batch's, everything else is the intent's own.
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
    /// From this moment on.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub to: Option<Timestamp>,
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
            $crate::audit::record_columns!(),
            ", r.at, r.outcome, r.body FROM audit a
        LEFT JOIN audit r ON r.call_id = a.call_id AND r.fact = 'result' AND a.fact = 'intent' "
        )
    };
}

pub(crate) use items;
pub(crate) use record_columns;

/// Batches that are read for one page. A filter that finds little in them gives a short page and a cursor.
const BATCHES_A_PAGE: usize = 10;

macro_rules! into_audit {
    () => {
        "INSERT INTO audit (writer, number, at, fact, call_id, project_id, credential_id, actor_type, actor_id,
        actor_email, action, target, environment, outcome, body, previous, hash)
        VALUES "
    };
}

macro_rules! insert {
    () => {
        concat!(into_audit!(), "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)")
    };
}

/// How many values the statements with a list of them take; a shorter list repeats its last value.
const LISTED: usize = 8;
/// As many go into one statement where there are more.
const MANY: usize = 64;
/// Records in one statement, where a change has many: of a project with thousands of keys, each ends with a record, and
/// a write may take only so long.
const RECORDS: usize = 8;

statements! {
    ORDER = "INSERT INTO instance (name, value) VALUES ('audit_order', '')
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    LOCK_HEAD = "INSERT INTO journals (writer, segment, shipped, number, head) VALUES ($1, 0, 0, 0, $2)
        ON CONFLICT (writer) DO UPDATE SET number = journals.number RETURNING writer, segment, shipped, number, head";
    MOVE_HEAD = "UPDATE journals SET segment = $1, shipped = $2, number = $3, head = $4, key_id = $7, signature = $8
        WHERE writer = $5 AND number = $6";
    JOURNALS = "SELECT writer, segment, shipped, number, head FROM journals ORDER BY writer";
    INSERT = insert!();
    INSERT_EIGHT = concat!(into_audit!(), "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17),
        ($18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34),
        ($35, $36, $37, $38, $39, $40, $41, $42, $43, $44, $45, $46, $47, $48, $49, $50, $51),
        ($52, $53, $54, $55, $56, $57, $58, $59, $60, $61, $62, $63, $64, $65, $66, $67, $68),
        ($69, $70, $71, $72, $73, $74, $75, $76, $77, $78, $79, $80, $81, $82, $83, $84, $85),
        ($86, $87, $88, $89, $90, $91, $92, $93, $94, $95, $96, $97, $98, $99, $100, $101, $102),
        ($103, $104, $105, $106, $107, $108, $109, $110, $111, $112, $113, $114, $115, $116, $117, $118, $119),
        ($120, $121, $122, $123, $124, $125, $126, $127, $128, $129, $130, $131, $132, $133, $134, $135, $136)");
    INSERT_BATCH = concat!(insert!(), " RETURNING seq");
    INSERT_FEW_SCOPES = "INSERT INTO audit_batch_scopes (scope_id, seq) VALUES
        ($1, $2), ($3, $4), ($5, $6), ($7, $8), ($9, $10), ($11, $12), ($13, $14), ($15, $16)
        ON CONFLICT (scope_id, seq) DO NOTHING";
    // Of batches whose calls were spread over many credentials: a statement costs SQLite's driver as much as many rows.
    INSERT_MANY_SCOPES = "INSERT INTO audit_batch_scopes (scope_id, seq) VALUES
        ($1, $2), ($3, $4), ($5, $6), ($7, $8), ($9, $10), ($11, $12), ($13, $14), ($15, $16), ($17, $18),
        ($19, $20), ($21, $22), ($23, $24), ($25, $26), ($27, $28), ($29, $30), ($31, $32), ($33, $34),
        ($35, $36), ($37, $38), ($39, $40), ($41, $42), ($43, $44), ($45, $46), ($47, $48), ($49, $50),
        ($51, $52), ($53, $54), ($55, $56), ($57, $58), ($59, $60), ($61, $62), ($63, $64), ($65, $66),
        ($67, $68), ($69, $70), ($71, $72), ($73, $74), ($75, $76), ($77, $78), ($79, $80), ($81, $82),
        ($83, $84), ($85, $86), ($87, $88), ($89, $90), ($91, $92), ($93, $94), ($95, $96), ($97, $98),
        ($99, $100), ($101, $102), ($103, $104), ($105, $106), ($107, $108), ($109, $110), ($111, $112),
        ($113, $114), ($115, $116), ($117, $118), ($119, $120), ($121, $122), ($123, $124), ($125, $126),
        ($127, $128)
        ON CONFLICT (scope_id, seq) DO NOTHING";
    COUNT_SCOPES_OF = "SELECT COUNT(DISTINCT s.scope_id) FROM audit a JOIN audit_batch_scopes s ON s.seq = a.seq
        WHERE a.writer = $1 AND a.number = $2 AND s.scope_id IN ($3, $4, $5, $6, $7, $8, $9, $10)";
    COUNT_SCOPES = "SELECT COUNT(*) FROM audit_batch_scopes";
    BATCHES = "SELECT s.seq FROM audit_batch_scopes s WHERE s.scope_id = $1 AND s.seq < $2
        ORDER BY s.seq DESC LIMIT $3";
    BATCHES_OF_BOTH = "SELECT s.seq FROM audit_batch_scopes s JOIN audit_batch_scopes p ON p.seq = s.seq
        AND p.scope_id = $4 WHERE s.scope_id = $1 AND s.seq < $2 ORDER BY s.seq DESC LIMIT $3";
    FOLLOWERS = "SELECT s.seq FROM audit_batch_scopes s WHERE s.scope_id = $1 AND s.seq > $2 ORDER BY s.seq LIMIT 8";
    BATCH = concat!("SELECT ", record_columns!(), " FROM audit a WHERE a.seq = $1 AND a.fact = 'batch'");
    RESULTS = "SELECT r.call_id, r.at, r.outcome, r.body FROM audit r
        WHERE r.fact = 'result' AND r.call_id IN ($1, $2, $3, $4, $5, $6, $7, $8)";
    LIST_OF_PROJECT = concat!(items!(), "WHERE a.project_id = $1 AND a.seq < $2 AND a.fact <> 'result'
        AND (a.credential_id = $3 OR CAST($3 AS TEXT) IS NULL)
        AND (a.actor_id = $4 OR a.actor_email = $4 OR CAST($4 AS TEXT) IS NULL)
        AND (a.action = $5 OR CAST($5 AS TEXT) IS NULL)
        AND (a.at >= $7 OR CAST($7 AS BIGINT) IS NULL) AND (a.at < $8 OR CAST($8 AS BIGINT) IS NULL)
        ORDER BY a.seq DESC LIMIT $6");
    LIST_OF_CREDENTIAL = concat!(items!(), "WHERE a.credential_id = $1 AND a.seq < $2 AND a.fact <> 'result'
        AND (a.actor_id = $3 OR a.actor_email = $3 OR CAST($3 AS TEXT) IS NULL)
        AND (a.action = $4 OR CAST($4 AS TEXT) IS NULL)
        AND (a.at >= $6 OR CAST($6 AS BIGINT) IS NULL) AND (a.at < $7 OR CAST($7 AS BIGINT) IS NULL)
        ORDER BY a.seq DESC LIMIT $5");
    LIST_OF_INSTANCE = concat!(items!(), "WHERE a.fact = 'event' AND a.project_id IS NULL AND a.credential_id IS NULL
        AND a.seq < $1 AND (a.actor_id = $2 OR a.actor_email = $2 OR CAST($2 AS TEXT) IS NULL)
        AND (a.action = $3 OR CAST($3 AS TEXT) IS NULL)
        AND (a.at >= $5 OR CAST($5 AS BIGINT) IS NULL) AND (a.at < $6 OR CAST($6 AS BIGINT) IS NULL)
        ORDER BY a.seq DESC LIMIT $4");
    CHAIN = concat!("SELECT ", record_columns!(), " FROM audit a WHERE a.writer = $1 AND a.number > $2
        ORDER BY a.number LIMIT $3");
    CHAIN_WITH_SEQ = concat!("SELECT a.seq, ", record_columns!(), " FROM audit a WHERE a.writer = $1 AND a.number > $2
        ORDER BY a.number LIMIT $3");
    COUNT = "SELECT COUNT(DISTINCT seq) FROM audit";
}

fn read_record(row: &mut Columns<'_>) -> Result<AuditRecord> {
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

pub(crate) fn read_item(row: &mut Columns<'_>) -> Result<AuditItem> {
    let seq = row.int()?.saturating_mul(batch::SLOTS);
    let record = read_record(row)?;
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
    follow(from, records.iter(), to)?;
    let (eights, few) = records.as_chunks::<RECORDS>();
    for eight in eights {
        eight.iter().fold(INSERT_EIGHT.on(tx), values).run().await?;
    }
    for record in few {
        values(INSERT.on(tx), record).run().await?;
    }
    move_head(tx, from, to).await
}

/// Like [`append`], with batches among the records.
pub async fn append_shipped(
    tx: &mut WriteTx,
    from: &JournalRow,
    shipped: &[Shipped],
    to: &JournalRow,
) -> Result<()> {
    follow(from, shipped.iter().map(|one| &one.record), to)?;
    let mut scopes: Vec<(&str, i64)> = Vec::new();
    for one in shipped {
        if one.record.fact != Fact::Batch {
            values(INSERT.on(tx), &one.record).run().await?;
            continue;
        }
        let seq = values(INSERT_BATCH.on(tx), &one.record).one(|row| row.int()).await?;
        scopes.extend(one.scopes.iter().map(|scope| (scope.as_str(), seq)));
    }
    insert_scopes(tx, scopes).await?;
    move_head(tx, from, to).await
}

/// In the order of the index, over all batches of the transaction: each page of it is changed once, however many
/// batches a credential is in. In the batches' order a page may have left SQLite's cache before the next batch wants it.
async fn insert_scopes(tx: &mut WriteTx, mut scopes: Vec<(&str, i64)>) -> Result<()> {
    scopes.sort_unstable();
    let (many, few) = scopes.as_chunks::<MANY>();
    for pairs in many {
        bind_pairs(INSERT_MANY_SCOPES.on(tx), pairs, MANY).run().await?;
    }
    for pairs in few.chunks(LISTED) {
        bind_pairs(INSERT_FEW_SCOPES.on(tx), pairs, LISTED).run().await?;
    }
    Ok(())
}

/// Fills all places, with the last pair where there are fewer.
fn bind_pairs<'a>(run: Run<'a>, pairs: &[(&str, i64)], places: usize) -> Run<'a> {
    let filled = pairs.iter().chain(std::iter::repeat_n(pairs.last(), places).flatten()).take(places);
    filled.fold(run, |run, (scope, seq)| run.bind(*scope).bind(*seq))
}

fn follow<'a>(
    from: &JournalRow,
    records: impl ExactSizeIterator<Item = &'a AuditRecord>,
    to: &JournalRow,
) -> Result<()> {
    let count = i64::try_from(records.len()).ok();
    let ends = count.and_then(|count| from.number.checked_add(count)) == Some(to.number);
    let follows = (from.number + 1..)
        .zip(records)
        .all(|(number, record)| record.number == number && record.writer == from.writer);
    if follows && ends && to.writer == from.writer { Ok(()) } else { Err(StoreError::Moved) }
}

fn values<'a>(run: Run<'a>, record: &AuditRecord) -> Run<'a> {
    run.bind(&record.writer)
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
}

/// Binds at most [`LISTED`] values to as many places.
fn listed<'a, 'v>(mut run: Run<'a>, values: impl Iterator<Item = &'v str>) -> Run<'a> {
    let mut last = "";
    let mut values = values.take(LISTED);
    for _ in 0..LISTED {
        last = values.next().unwrap_or(last);
        run = run.bind(last);
    }
    run
}

async fn move_head(tx: &mut WriteTx, from: &JournalRow, to: &JournalRow) -> Result<()> {
    let signature = audit_keys::next_signature(tx, from, to).await?;
    let moved = MOVE_HEAD
        .on(tx)
        .bind(to.segment)
        .bind(to.shipped)
        .bind(to.number)
        .bind(&to.head)
        .bind(&to.writer)
        .bind(from.number)
        .bind(signature.as_ref().map(|signature| &signature.key_id))
        .bind(signature.as_ref().map(|signature| &signature.signature))
        .run()
        .await?;
    if moved == 1 { Ok(()) } else { Err(StoreError::Moved) }
}

/// All writers, for verification and for shippers that find the journals of servers that died.
pub async fn journals(tx: &mut impl Tx) -> Result<Vec<JournalRow>> {
    JOURNALS.on(tx).all(read_journal).await
}

/// Where a page begins: before this `seq` of an item, and before this one of a row.
struct Before {
    item: i64,
    row: i64,
}

fn before(paging: &Paging) -> Result<Before> {
    let item = match &paging.cursor {
        Some(cursor) => cursor.parse().map_err(|_| StoreError::BadCursor)?,
        None => i64::MAX,
    };
    // A page may have ended within a row, which then has more to give.
    let within = i64::from(item.rem_euclid(batch::SLOTS) > 0);
    Ok(Before { item, row: item.div_euclid(batch::SLOTS) + within })
}

/// Newest first. Calls come once, with how they ended. A page may be short, even empty, with a cursor: then
/// the filter found little in as much as is read at once.
pub async fn list_of_project(
    tx: &mut impl Tx,
    project: &ProjectId,
    filter: &AuditFilter,
    paging: &Paging,
) -> Result<Page<AuditItem>> {
    let before = before(paging)?;
    let rows = LIST_OF_PROJECT
        .on(tx)
        .bind(project)
        .bind(before.row)
        .bind(filter.credential.as_ref())
        .bind(filter.actor.as_ref())
        .bind(filter.action.as_ref())
        .bind(paging.fetch())
        .bind(filter.from)
        .bind(filter.to)
        .all(read_item)
        .await?;
    let batches = match &filter.credential {
        None => BATCHES.on(tx).bind(project).bind(before.row).bind(LOOK_AHEAD),
        Some(credential) => {
            BATCHES_OF_BOTH.on(tx).bind(credential).bind(before.row).bind(LOOK_AHEAD).bind(project)
        }
    };
    let batches = batches.all(|row| row.int()).await?;
    let wanted = Wanted { project: Some(project), filter };
    merge(tx, &wanted, &before, rows, &batches, paging).await
}

/// For the credential's owner: in whichever project it was used. Pages are as in [`list_of_project`].
pub async fn list_of_credential(
    tx: &mut impl Tx,
    credential: &CredentialRow,
    filter: &AuditFilter,
    paging: &Paging,
) -> Result<Page<AuditItem>> {
    let before = before(paging)?;
    let rows = LIST_OF_CREDENTIAL
        .on(tx)
        .bind(&credential.id)
        .bind(before.row)
        .bind(filter.actor.as_ref())
        .bind(filter.action.as_ref())
        .bind(paging.fetch())
        .bind(filter.from)
        .bind(filter.to)
        .all(read_item)
        .await?;
    let batches = BATCHES.on(tx).bind(&credential.id).bind(before.row).bind(LOOK_AHEAD);
    let batches = batches.all(|row| row.int()).await?;
    let filter = AuditFilter { credential: Some(credential.id.clone()), ..filter.clone() };
    let wanted = Wanted { project: None, filter: &filter };
    merge(tx, &wanted, &before, rows, &batches, paging).await
}

/// What belongs to no project and no credential. Pages are as in [`list_of_project`].
pub async fn list_of_instance(
    tx: &mut impl Tx,
    filter: &AuditFilter,
    paging: &Paging,
) -> Result<Page<AuditItem>> {
    let before = before(paging)?;
    let rows = LIST_OF_INSTANCE
        .on(tx)
        .bind(before.row)
        .bind(filter.actor.as_ref())
        .bind(filter.action.as_ref())
        .bind(paging.fetch())
        .bind(filter.from)
        .bind(filter.to)
        .all(read_item)
        .await?;
    let wanted = Wanted { project: None, filter };
    merge(tx, &wanted, &before, rows, &[], paging).await
}

/// One more than is read tells where the next page has to begin.
const LOOK_AHEAD: i64 = BATCHES_A_PAGE as i64 + 1;

/// Rows of their own and the calls in batches, both newest first, in one order.
async fn merge(
    tx: &mut impl Tx,
    wanted: &Wanted<'_>,
    before: &Before,
    rows: Vec<AuditItem>,
    batches: &[i64],
    paging: &Paging,
) -> Result<Page<AuditItem>> {
    let enough = paging.limit as usize + 1;
    let mut items: Vec<AuditItem> = Vec::new();
    let mut rows = rows.into_iter().peekable();
    let mut goes_on = None;
    for (read, &seq) in batches.iter().enumerate() {
        let start = seq.saturating_mul(batch::SLOTS);
        while items.len() < enough
            && let Some(item) = rows.next_if(|row| row.seq > start)
        {
            items.push(item);
        }
        if items.len() >= enough {
            break;
        }
        if read == BATCHES_A_PAGE {
            goes_on = Some(start.saturating_add(batch::SLOTS).min(before.item));
            break;
        }
        if let Some(row) = BATCH.on(tx).bind(seq).optional(read_record).await? {
            items.extend(batch::newest_first(start, &row, wanted, before.item, enough - items.len()));
        }
    }
    if goes_on.is_none() {
        items.extend(rows.take(enough - items.len()));
    }
    items.retain(|item| item.seq < before.item);
    let more = items.len() == enough;
    items.truncate(enough - 1);
    add_late_results(tx, &mut items).await?;
    let next = if more { items.last().map(|item| item.seq) } else { goes_on };
    Ok(Page { items, next_cursor: next.map(|seq| seq.to_string()) })
}

/// The batch that is stored in this row.
pub(crate) async fn batch_at(tx: &mut impl Tx, seq: i64) -> Result<Option<AuditRecord>> {
    BATCH.on(tx).bind(seq).optional(read_record).await
}

/// Calls that ended after their batch was stored.
pub(crate) async fn add_late_results(tx: &mut impl Tx, items: &mut [AuditItem]) -> Result<()> {
    let open: Vec<CallId> = items
        .iter()
        .filter(|item| item.record.fact == Fact::Intent && item.result.is_none())
        .filter_map(|item| item.record.call_id.clone())
        .collect();
    let mut ends: HashMap<CallId, CallEnd> = HashMap::new();
    for calls in open.chunks(LISTED) {
        let found = listed(RESULTS.on(tx), calls.iter().map(CallId::as_str));
        let found = found
            .all(|row| {
                Ok((
                    row.id()?,
                    CallEnd { at: row.time()?, outcome: row.word(Outcome::parse)?, body: row.text()? },
                ))
            })
            .await?;
        ends.extend(found);
    }
    for item in items.iter_mut().filter(|item| item.result.is_none()) {
        item.result = item.record.call_id.as_ref().and_then(|call| ends.remove(call));
    }
    add_results_of_followers(tx, items).await
}

/// The same for results that lie in a later batch, which is found by the number of the batch with the intent.
async fn add_results_of_followers(tx: &mut impl Tx, items: &mut [AuditItem]) -> Result<()> {
    let is_open = |item: &AuditItem| item.result.is_none() && item.record.fact == Fact::Intent;
    let batches: BTreeSet<String> = items
        .iter()
        .filter(|item| is_open(item))
        .map(|item| batch::follower_scope(&item.record.writer, item.record.number))
        .collect();
    for scope in batches {
        let mut after = 0;
        loop {
            let followers = FOLLOWERS.on(tx).bind(&scope).bind(after).all(|row| row.int()).await?;
            let Some(last) = followers.last() else { break };
            after = *last;
            for seq in followers {
                let Some(row) = BATCH.on(tx).bind(seq).optional(read_record).await? else { continue };
                let open: HashMap<&str, &CallId> = items
                    .iter()
                    .filter(|item| is_open(item) && item.record.writer == row.writer)
                    .filter_map(|item| item.record.call_id.as_ref())
                    .map(|call| (call.as_str(), call))
                    .collect();
                let mut ends: HashMap<CallId, CallEnd> =
                    batch::ends_of(&row.body, |call| open.get(call).copied()).into_iter().collect();
                for item in items.iter_mut().filter(|item| is_open(item)) {
                    item.result = item.record.call_id.as_ref().and_then(|call| ends.remove(call));
                }
            }
            let of_scope = |item: &AuditItem| {
                is_open(item) && batch::follower_scope(&item.record.writer, item.record.number) == scope
            };
            if !items.iter().any(of_scope) {
                break;
            }
        }
    }
    Ok(())
}

/// A writer's records after a number, in chain order, for verification.
pub async fn chain(tx: &mut impl Tx, writer: &str, after: i64, limit: i64) -> Result<Vec<AuditRecord>> {
    CHAIN.on(tx).bind(writer).bind(after).bind(limit).all(read_record).await
}

/// The same, each with its place in lists.
pub async fn chain_with_seq(
    tx: &mut impl Tx,
    writer: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, AuditRecord)>> {
    CHAIN_WITH_SEQ
        .on(tx)
        .bind(writer)
        .bind(after)
        .bind(limit)
        .all(|row| Ok((row.int()?, read_record(row)?)))
        .await
}

pub async fn count(tx: &mut impl Tx) -> Result<i64> {
    COUNT.on(tx).one(|row| row.int()).await
}

/// How many of these projects and credentials a batch is found by.
pub async fn count_scopes_of(tx: &mut impl Tx, writer: &str, number: i64, scopes: &[&str]) -> Result<i64> {
    let mut found = 0;
    for some in scopes.chunks(LISTED) {
        let counted = COUNT_SCOPES_OF.on(tx).bind(writer).bind(number);
        found += listed(counted, some.iter().copied()).one(|row| row.int()).await?;
    }
    Ok(found)
}

/// Of all batches.
pub async fn count_scopes(tx: &mut impl Tx) -> Result<i64> {
    COUNT_SCOPES.on(tx).one(|row| row.int()).await
}
