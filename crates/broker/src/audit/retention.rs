//! Cutting old records away, behind a signed anchor.
//!
//! A chain may lose its beginning and nothing else: the anchor names the last record that was cut, and its hash,
//! which the first that is left names as its predecessor. It is signed, because otherwise everybody who may write
//! to the database could cut. What is about to be cut is checked first: retention must not be a way to get rid of a
//! record that was changed. Its times are those of the hashed texts, not of the columns beside them.

use std::time::Duration;

use latchstring_journal::chain::{self, Head, Link};
use latchstring_model::Timestamp;
use latchstring_store::audit::{self, AuditRecord, batch};
use latchstring_store::retention::{self as rows, AnchorRow};
use latchstring_store::{Store, StoreError};
use serde::Serialize;

use super::body;
use super::events::{self, Event};
use super::signing::{PublicKeys, Signed, Signer, SigningError};
use super::verify::hex;
use crate::Broker;
use crate::actor::Actor;
use crate::jobs::supervisor::Again;

/// Rows that are read at once: a batch may have a quarter of a mebibyte.
const STEP: i64 = 32;
/// Rows that are cut in one transaction.
const ROWS_A_CUT: i64 = 1_600;

#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error(
        "old records of the audit chain {writer} are kept, because {broken}; see what `latchstring audit verify` says"
    )]
    Broken { writer: String, broken: String },
}

/// What is signed of an anchor: its members in this order.
#[derive(Serialize)]
struct Text<'a> {
    writer: &'a str,
    number: i64,
    hash: String,
    records: i64,
    newest_at: i64,
    cut_at: i64,
}

pub(super) fn text(anchor: &AnchorRow) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Text {
        writer: &anchor.writer,
        number: anchor.number,
        hash: hex(&anchor.hash),
        records: anchor.records,
        newest_at: anchor.newest_at.millis(),
        cut_at: anchor.cut_at.millis(),
    })
}

/// Whether a key of this installation signed the anchor as it is.
pub(super) fn is_signed(anchor: &AnchorRow, keys: &PublicKeys) -> bool {
    text(anchor).is_ok_and(|text| keys.fit(&anchor.key_id, Signed::Anchor, &text, &anchor.signature))
}

/// Where a chain begins.
pub(super) fn head_of(anchor: &AnchorRow) -> Option<Head> {
    Some(Head { number: u64::try_from(anchor.number).ok()?, hash: anchor.hash.as_slice().try_into().ok()? })
}

/// When the newest record of a row was made, by its hashed text. `None`: a text of a newer version, which is kept.
pub(super) fn newest_in(text: &str) -> Option<Timestamp> {
    if batch::is_batch(text) {
        return text.split('\n').filter_map(batch::peek).map(|line| line.at).max();
    }
    match body::read(text) {
        body::Known::Event(event) => Some(event.at),
        body::Known::Intent(intent) => Some(intent.at),
        body::Known::Result(result) => Some(result.at),
        body::Known::Unknown => None,
    }
}

/// The rows at the beginning of `records` that are older than `before`.
fn old(records: &[AuditRecord], before: Timestamp) -> &[AuditRecord] {
    let end = records.iter().position(|record| newest_in(&record.body).is_none_or(|at| at >= before));
    &records[..end.unwrap_or(records.len())]
}

/// The old beginning of a chain, checked.
struct Beginning {
    head: Head,
    rows: i64,
    records: i64,
    newest_at: Timestamp,
}

/// Walks the old beginning of a chain, up to [`ROWS_A_CUT`]; `None` when nothing is old.
async fn beginning(
    store: &Store,
    writer: &str,
    from: Head,
    before: Timestamp,
) -> Result<Option<Beginning>, RetentionError> {
    let mut found = Beginning { head: from, rows: 0, records: 0, newest_at: Timestamp(i64::MIN) };
    let mut reader = store.read().await?;
    while found.rows < ROWS_A_CUT {
        let after = i64::try_from(found.head.number).unwrap_or(i64::MAX);
        let read = audit::chain(&mut reader, writer, after, STEP).await?;
        let old = old(&read, before);
        let broken = |broken: String| RetentionError::Broken { writer: writer.to_owned(), broken };
        found.head = whole_chain(writer, found.head, old).map_err(broken)?;
        for record in old {
            found.rows += 1;
            found.records += i64::try_from(batch::records(&record.body)).unwrap_or(0);
            found.newest_at = found.newest_at.max(newest_in(&record.body).unwrap_or(found.newest_at));
        }
        if i64::try_from(old.len()).is_ok_and(|count| count < STEP) {
            break;
        }
    }
    Ok((found.rows > 0).then_some(found))
}

/// Cuts what is older than `before` from one chain, in one transaction; how many records, and whether there is more.
async fn cut_chain(
    broker: &Broker,
    keys: &mut Option<PublicKeys>,
    writer: &str,
    before: Timestamp,
) -> Result<(i64, bool), RetentionError> {
    let (store, vault) = (&broker.parts.store, &broker.parts.vault);
    let mut reader = store.read().await?;
    let anchor = rows::anchor(&mut reader, writer).await?;
    drop(reader);
    let from = match &anchor {
        None => Head::START,
        Some(anchor) => {
            if keys.is_none() {
                *keys = Some(PublicKeys::of(store, vault).await?);
            }
            let signed = keys.as_ref().is_some_and(|keys| is_signed(anchor, keys));
            head_of(anchor).filter(|_| signed).ok_or_else(|| RetentionError::Broken {
                writer: writer.to_owned(),
                broken: "its anchor is not signed".into(),
            })?
        }
    };
    let Some(old) = beginning(store, writer, from, before).await? else { return Ok((0, false)) };
    let signer = Signer::current(store, vault).await?;
    let mut new = AnchorRow {
        writer: writer.to_owned(),
        number: i64::try_from(old.head.number).unwrap_or(i64::MAX),
        hash: old.head.hash.to_vec(),
        records: anchor.as_ref().map_or(0, |anchor| anchor.records) + old.records,
        newest_at: anchor.as_ref().map_or(old.newest_at, |anchor| anchor.newest_at.max(old.newest_at)),
        cut_at: broker.now(),
        key_id: signer.id.clone(),
        signature: Vec::new(),
    };
    new.signature = signer.sign(vault, Signed::Anchor, &text(&new).map_err(SigningError::from)?)?;
    let mut tx = store.begin_upkeep().await?;
    rows::cut(&mut tx, &new, anchor.as_ref().map_or(0, |anchor| anchor.number)).await?;
    let event = Event::new("audit.cut")
        .target(writer)
        .detail("records", old.records)
        .detail("up_to", new.number)
        .detail("hash", hex(&new.hash))
        .detail("older_than", before.to_rfc3339());
    let actor = Actor::operator();
    events::append(&mut tx, &broker.parts.server, broker.now(), &[(&actor, event)]).await?;
    tx.commit().await?;
    Ok((old.records, old.rows >= ROWS_A_CUT))
}

/// Walks the links, and compares what stands beside them.
fn whole_chain(writer: &str, from: Head, records: &[AuditRecord]) -> Result<Head, String> {
    let mut head = from;
    for record in records {
        let link = Link {
            number: u64::try_from(record.number).unwrap_or(0),
            previous: record.previous.as_slice().try_into().unwrap_or_default(),
            hash: record.hash.as_slice().try_into().unwrap_or_default(),
            body: record.body.as_bytes(),
        };
        head = chain::verify(writer, head, [link]).map_err(|broken| broken.to_string())?;
        if !body::columns(&record.body).are_of(record) {
            return Err(format!("the columns of record {} do not say what its text says", record.number));
        }
    }
    Ok(head)
}

impl Broker {
    /// Cuts records that are older than the retention. Chains that are broken keep theirs, which is told.
    pub async fn cut_old_records(&self, retention: Duration) -> Result<Again, RetentionError> {
        let millis = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp(self.now().millis().saturating_sub(millis));
        let mut reader = self.parts.store.read().await?;
        let chains = audit::journals(&mut reader).await?;
        drop(reader);
        let (mut keys, mut records, mut more, mut kept) = (None, 0, false, None);
        for chain in chains {
            match cut_chain(self, &mut keys, &chain.writer, before).await {
                Ok((cut, goes_on)) => {
                    records += cut;
                    more |= goes_on;
                }
                // Another server was there first.
                Err(RetentionError::Store(StoreError::Moved)) => {}
                Err(error @ RetentionError::Broken { .. }) => kept = Some(error),
                Err(error) => return Err(error),
            }
        }
        if records > 0 {
            tracing::info!(records, older_than = %before.to_rfc3339(), "old audit records were cut away");
        }
        match kept {
            _ if more => Ok(Again::Now),
            Some(error) => Err(error),
            None => Ok(Again::Later),
        }
    }
}
