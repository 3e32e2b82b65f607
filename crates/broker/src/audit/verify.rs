//! Whether the trail still is what was written: walks every writer's chain. Reads only, so it can run beside
//! live servers.
//!
//! Found with the database alone: a record that was edited (its text or one of its columns), deleted, put in
//! or swapped, also within a batch of calls, a batch that the lists no longer find, a chain that was cut at its end or grew beyond its head, and records of no known writer.
//! Not found with the database alone: whoever may write to all of it can cut a chain and its head together,
//! delete a whole chain with its head, or hash one anew; no key is in the hashes. Only heads that were kept elsewhere (checkpoints) show
//! that: compare [`Report::heads`] with those.

use std::collections::HashMap;

use latchstring_journal::chain::{self, Broken, Head, Link};
use latchstring_store::audit::{self, AuditRecord, JournalRow, batch};
use latchstring_store::{Store, StoreError, Tx};

use super::body;
use super::events::head_of;

/// Rows that are read at once: a batch may have a quarter of a mebibyte, and somewhat more.
const STEP: i64 = 32;

/// A trail that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Events, intents and results, also those in batches.
    pub records: u64,
    /// Rows of the database, which are the links of the chains: a batch is one.
    pub rows: u64,
    /// Of every writer: to compare with heads that were kept elsewhere.
    pub heads: Vec<WriterHead>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterHead {
    pub writer: String,
    pub number: u64,
    /// Hexadecimal.
    pub hash: String,
}

/// The first thing that is not as it was written.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("the audit chain {writer} is broken: {broken}")]
    Chain { writer: String, broken: Broken },
    #[error(
        "record {number} of the audit chain {writer} was changed: its columns do not say what its hashed text says"
    )]
    Columns { writer: String, number: u64 },
    #[error(
        "record {number} of the audit chain {writer} is not listed for all of its projects and credentials: the index of batches was changed"
    )]
    Unlisted { writer: String, number: u64 },
    #[error(
        "the index of batches has {found} entries, the batches have {expected}: entries were put in, or batches were deleted"
    )]
    StrayEntries { expected: u64, found: u64 },
    #[error("record {number} of the audit chain {writer} cannot be read: {what}; it was changed")]
    Unreadable { writer: String, number: u64, what: &'static str },
    #[error(
        "the audit chain {writer} ends with record {found}, its head is {expected}: records were deleted at its end"
    )]
    Cut { writer: String, expected: u64, found: u64 },
    #[error(
        "the audit chain {writer} goes on behind its head {head}: records were put in at its end, or its head was put back"
    )]
    Beyond { writer: String, head: u64 },
    #[error(
        "record {number} of the audit chain {writer} is not the one that its head names: the end of the chain was written anew"
    )]
    OtherHead { writer: String, number: u64 },
    #[error("the head of the audit chain {writer} is gone, it was there a moment ago")]
    HeadGone { writer: String },
    #[error(
        "the trail has {found} rows, its chains have {expected}: records were put in, or the head of a chain was deleted"
    )]
    Strangers { expected: u64, found: u64 },
    #[error("the audit trail could not be read, so nothing is known about it: {0}")]
    Store(#[from] StoreError),
}

impl VerifyError {
    /// Whether the trail was tampered with, rather than out of reach.
    pub fn is_broken(&self) -> bool {
        !matches!(self, VerifyError::Store(_))
    }
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How far a chain was walked, and what was met on the way.
#[derive(Clone, Copy)]
struct Walked {
    head: Head,
    records: u64,
    /// Entries that the index of batches must have.
    entries: u64,
}

impl Walked {
    const START: Walked = Walked { head: Head::START, records: 0, entries: 0 };
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

async fn check(
    tx: &mut impl Tx,
    writer: &str,
    mut walked: Walked,
    records: &[AuditRecord],
) -> Result<Walked, VerifyError> {
    for record in records {
        let number = u64::try_from(record.number).unwrap_or(0);
        let unreadable = |what| VerifyError::Unreadable { writer: writer.to_owned(), number, what };
        let link = Link {
            number,
            previous: record
                .previous
                .as_slice()
                .try_into()
                .map_err(|_| unreadable("its predecessor's hash has another length"))?,
            hash: record.hash.as_slice().try_into().map_err(|_| unreadable("its hash has another length"))?,
            body: record.body.as_bytes(),
        };
        walked.head = chain::verify(writer, walked.head, [link])
            .map_err(|broken| VerifyError::Chain { writer: writer.to_owned(), broken })?;
        if !body::columns(&record.body).are_of(record) {
            return Err(VerifyError::Columns { writer: writer.to_owned(), number });
        }
        walked.records += count(batch::records(&record.body));
        if batch::is_batch(&record.body) {
            let scopes = batch::scopes(writer, &record.body);
            let scopes: Vec<&str> = scopes.iter().map(|scope| &**scope).collect();
            let listed = audit::count_scopes_of(tx, writer, record.number, &scopes).await?;
            if u64::try_from(listed).ok() != Some(count(scopes.len())) {
                return Err(VerifyError::Unlisted { writer: writer.to_owned(), number });
            }
            walked.entries += count(scopes.len());
        }
    }
    Ok(walked)
}

/// Goes on along a chain, at most to the row's head, which is compared when it is met.
async fn walk(tx: &mut impl Tx, row: &JournalRow, mut walked: Walked) -> Result<Walked, VerifyError> {
    let writer = row.writer.as_str();
    let end = head_of(row)?;
    while walked.head.number < end.number {
        let left = i64::try_from(end.number - walked.head.number).unwrap_or(i64::MAX);
        let after = i64::try_from(walked.head.number).unwrap_or(i64::MAX);
        let records = audit::chain(tx, writer, after, left.min(STEP)).await?;
        if records.is_empty() {
            return Err(VerifyError::Cut {
                writer: writer.to_owned(),
                expected: end.number,
                found: walked.head.number,
            });
        }
        walked = check(tx, writer, walked, &records).await?;
    }
    if walked.head.number == end.number && walked.head.hash != end.hash {
        return Err(VerifyError::OtherHead { writer: writer.to_owned(), number: end.number });
    }
    Ok(walked)
}

/// Checks the whole trail.
pub async fn verify_audit(store: &Store) -> Result<Report, VerifyError> {
    // The long way first, in small reads, up to the heads of this moment; chains may grow meanwhile.
    let mut reader = store.read().await?;
    let mut heads: HashMap<String, Walked> = HashMap::new();
    for row in audit::journals(&mut reader).await? {
        let walked = walk(&mut reader, &row, Walked::START).await?;
        heads.insert(row.writer.clone(), walked);
    }
    drop(reader);

    // What was written meanwhile, and that there is nothing else: in one moment.
    let mut tx = store.begin_read().await?;
    let rows = audit::journals(&mut tx).await?;
    let mut report = Report { records: 0, rows: 0, heads: Vec::with_capacity(rows.len()) };
    let mut entries = 0;
    for row in &rows {
        let from = heads.remove(&row.writer).unwrap_or(Walked::START);
        let end = head_of(row)?;
        if end.number < from.head.number {
            return Err(VerifyError::Beyond { writer: row.writer.clone(), head: end.number });
        }
        let Walked { head, records, entries: of_chain } = walk(&mut tx, row, from).await?;
        if !audit::chain(&mut tx, &row.writer, row.number, 1).await?.is_empty() {
            return Err(VerifyError::Beyond { writer: row.writer.clone(), head: end.number });
        }
        report.records += records;
        report.rows += head.number;
        entries += of_chain;
        report.heads.push(WriterHead {
            writer: row.writer.clone(),
            number: head.number,
            hash: hex(&head.hash),
        });
    }
    if let Some(writer) = heads.into_keys().min() {
        return Err(VerifyError::HeadGone { writer });
    }
    let found = u64::try_from(audit::count(&mut tx).await?).unwrap_or(0);
    if found != report.rows {
        return Err(VerifyError::Strangers { expected: report.rows, found });
    }
    let found = u64::try_from(audit::count_scopes(&mut tx).await?).unwrap_or(0);
    if found != entries {
        return Err(VerifyError::StrayEntries { expected: entries, found });
    }
    Ok(report)
}
