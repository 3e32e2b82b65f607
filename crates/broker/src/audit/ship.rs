//! Shipping: what the journals hold goes into the database, byte for byte and exactly once.
//!
//! A batch is stored in one transaction with the place up to which its journal is read and with the head of
//! its chain. Whoever ships next, this process or another after a kill, goes on from the row that the
//! transaction left; a writer whose row is not where we thought has been shipped by somebody else, and is read
//! again from there. So a crash between the commit and [`Journal::shipped`] repeats nothing.
//!
//! Many records become one row ([`super::pack`]).
//!
//! An intent is stored with the outcome `ok`: it says that the use was recorded. How the call ended stands in
//! its result, which the list joins by the call's id; without one the call goes on, or its server died.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use latchstring_journal::chain::Head;
use latchstring_journal::{Journal, ReadError, Reader, Segment, SegmentId, Step, WriterId};
use latchstring_model::Clock;
use latchstring_model::entity::Outcome;
use latchstring_model::id::ServerId;
use latchstring_store::audit::{self, JournalRow, Shipped};
use latchstring_store::{Store, StoreError};

use super::events::{self, Event, Linker};
use super::pack::{Open, pack};
use crate::actor::Actor;

/// Records in one transaction: SQLite has one writer, and people wait for it. A few rows, mostly; if every one needs a
/// row of its own and that lasts longer than a write may, the batch is halved. With fewer, calls that are spread over
/// many credentials cost more: each transaction changes a page of the index for each of them.
const BATCH: usize = 16_000;
const SMALLEST_BATCH: usize = 8;
/// Bytes of bodies in one transaction.
const BATCH_BYTES: usize = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    #[error("the journal's folder cannot be read: {0}; check the disk and the folder's mode")]
    Folder(#[from] io::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the audit trail cannot be written: {0}")]
    Store(#[from] StoreError),
    #[error("a worker thread ended early")]
    Worker(#[from] tokio::task::JoinError),
}

/// What one round did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    pub records: usize,
    /// There is more to ship at once.
    pub more: bool,
}

pub struct Shipper {
    store: Store,
    journal: Arc<Journal>,
    server: ServerId,
    clock: Arc<dyn Clock>,
    /// As the database has it, by writer; forgotten when in doubt.
    known: HashMap<WriterId, JournalRow>,
    /// Calls under way, by writer.
    open: HashMap<WriterId, Open>,
    batch: usize,
}

/// What was read of one segment.
struct Part {
    segment: Segment,
    from: u64,
    end: u64,
    /// The records, one behind the other, and where each ends.
    text: String,
    ends: Vec<usize>,
    /// Bytes that are no record: from, to.
    torn: Vec<(u64, u64)>,
    /// Segments of this writer that should lie before this one and do not.
    missing: Option<(u64, u64)>,
    stop: Stop,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Full,
    NotYet,
    End,
}

impl Part {
    fn records(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, end)| self.text.get(start..*end))
    }

    fn has_news(&self) -> bool {
        self.end > self.from || self.missing.is_some()
    }
}

impl Shipper {
    pub fn new(store: Store, journal: Arc<Journal>, server: ServerId, clock: Arc<dyn Clock>) -> Self {
        Self { store, journal, server, clock, known: HashMap::new(), open: HashMap::new(), batch: BATCH }
    }

    /// One batch. After an error the next call goes on where the last good one ended.
    pub async fn round(&mut self) -> Result<Round, ShipError> {
        let journal = Arc::clone(&self.journal);
        let segments = tokio::task::spawn_blocking(move || journal.segments()).await??;
        self.learn(&segments).await?;
        let (parts, finished, more) = self.read(&segments).await?;
        let records = parts.iter().map(|part| part.ends.len()).sum();
        let stored = if parts.is_empty() { true } else { self.store_parts(&parts).await? };
        if !stored {
            return Ok(Round { records: 0, more: true });
        }
        let done = parts.into_iter().filter(|part| part.stop == Stop::End).map(|part| part.segment);
        let finished: Vec<Segment> = finished.into_iter().chain(done).collect();
        if !finished.is_empty() {
            let journal = Arc::clone(&self.journal);
            tokio::task::spawn_blocking(move || {
                finished.iter().try_for_each(|segment| journal.delete(segment).map(drop))
            })
            .await??;
        }
        Ok(Round { records, more })
    }

    /// Finds out how far the journals of writers that we have not met yet are shipped, and tells the backlog.
    async fn learn(&mut self, segments: &[Segment]) -> Result<(), StoreError> {
        self.known.retain(|writer, _| segments.iter().any(|segment| &segment.id.writer == writer));
        self.open.retain(|writer, _| segments.iter().any(|segment| &segment.id.writer == writer));
        if segments.iter().all(|segment| self.known.contains_key(&segment.id.writer)) {
            return Ok(());
        }
        let mut reader = self.store.read().await?;
        let rows = audit::journals(&mut reader).await?;
        drop(reader);
        let mut rows: HashMap<String, JournalRow> =
            rows.into_iter().map(|row| (row.writer.clone(), row)).collect();
        for segment in segments {
            let writer = &segment.id.writer;
            let row = match self.known.get(writer) {
                Some(_) => continue,
                None => rows.remove(&writer.to_string()).unwrap_or_else(|| start(writer)),
            };
            for of_writer in segments.iter().filter(|other| &other.id.writer == writer) {
                match place(&of_writer.id, &row) {
                    Place::Before => self.journal.shipped(&of_writer.id, of_writer.bytes),
                    Place::At(offset) => self.journal.shipped(&of_writer.id, offset),
                    Place::After => {}
                }
            }
            self.known.insert(writer.clone(), row);
        }
        Ok(())
    }

    /// The next batch, over all writers; also the segments that hold nothing more to ship.
    async fn read(&mut self, segments: &[Segment]) -> Result<(Vec<Part>, Vec<Segment>, bool), ShipError> {
        let (mut rows, mut bytes) = (self.batch, BATCH_BYTES);
        let (mut parts, mut finished): (Vec<Part>, Vec<Segment>) = (Vec::new(), Vec::new());
        for segment in segments {
            let Some(row) = self.known.get(&segment.id.writer) else { continue };
            let from = match place(&segment.id, row) {
                Place::Before => {
                    finished.push(segment.clone());
                    continue;
                }
                Place::At(offset) => offset,
                Place::After => 0,
            };
            if !segment.complete && segment.bytes <= from {
                continue;
            }
            let before = match parts.last() {
                Some(part) if part.segment.id.writer == segment.id.writer => part.segment.id.number,
                _ => u64::try_from(row.segment).unwrap_or(0),
            };
            let missing = (segment.id.number > before + 1).then_some((before + 1, segment.id.number - 1));
            let copy = segment.clone();
            let read = tokio::task::spawn_blocking(move || read_segment(copy, from, rows, bytes)).await?;
            let mut part = match read {
                Ok(part) => part,
                // Another process shipped and deleted it since the listing: look again.
                Err(error) if error.source.kind() == io::ErrorKind::NotFound => {
                    self.known.remove(&segment.id.writer);
                    return Ok((Vec::new(), Vec::new(), true));
                }
                Err(error) => return Err(error.into()),
            };
            part.missing = missing;
            rows = rows.saturating_sub(part.ends.len());
            bytes = bytes.saturating_sub(part.text.len());
            let full = part.stop == Stop::Full;
            if part.has_news() {
                parts.push(part);
            } else if part.stop == Stop::End {
                finished.push(part.segment);
            }
            if full {
                return Ok((parts, finished, true));
            }
        }
        Ok((parts, finished, false))
    }

    /// Stores a batch. `false`: somebody else has shipped some of it; read again.
    async fn store_parts(&mut self, parts: &[Part]) -> Result<bool, StoreError> {
        match self.try_store(parts).await {
            Ok(stored) => {
                self.batch = (self.batch * 2).min(BATCH);
                Ok(stored)
            }
            Err(error) => {
                // A slow database gets less at once: a write may take only so long.
                if error.is_transient() {
                    self.batch = (self.batch / 2).max(SMALLEST_BATCH);
                }
                self.known.clear();
                Err(error)
            }
        }
    }

    async fn try_store(&mut self, parts: &[Part]) -> Result<bool, StoreError> {
        // Packed and hashed before the database is locked: others wait for that.
        let mut of_writers = Vec::new();
        for of_writer in parts.chunk_by(|one, other| one.segment.id.writer == other.segment.id.writer) {
            let (Some(first), Some(last)) = (of_writer.first(), of_writer.last()) else { continue };
            let writer = &first.segment.id.writer;
            let Some(from) = self.known.get(writer) else { return Ok(false) };
            let mut link = Linker::after(from)?;
            let mut shipped = Vec::new();
            // A copy, which counts once the rows are stored.
            let mut open = self.open.get(writer).cloned().unwrap_or_default();
            let next = from.number.saturating_add(1);
            for packed in pack(&from.writer, next, of_writer.iter().flat_map(Part::records), &mut open) {
                let record = link.next(&from.writer, packed.body)?;
                shipped.push(Shipped { record, scopes: packed.scopes });
            }
            let to = JournalRow {
                writer: from.writer.clone(),
                segment: i64::try_from(last.segment.id.number).unwrap_or(i64::MAX),
                shipped: i64::try_from(last.end).unwrap_or(i64::MAX),
                number: link.number(),
                head: link.hash(),
            };
            of_writers.push((writer, shipped, to, open));
        }
        let mut tx = self.store.begin_upkeep().await?;
        for (writer, shipped, to, _) in &of_writers {
            let from = audit::lock_head(&mut tx, &to.writer, &Head::START.hash).await?;
            if self.known.get(*writer) != Some(&from) {
                tx.rollback().await?;
                self.known.remove(*writer);
                return Ok(false);
            }
            audit::append_shipped(&mut tx, &from, shipped, to).await?;
        }
        let actor = Actor::operator();
        let damage: Vec<Event> = parts.iter().flat_map(damage).collect();
        let events: Vec<(&Actor, Event)> = damage.into_iter().map(|event| (&actor, event)).collect();
        events::append(&mut tx, &self.server, self.clock.now(), &events).await?;
        tx.commit().await?;

        for (writer, _, to, open) in of_writers {
            self.known.insert(writer.clone(), to);
            self.open.insert(writer.clone(), open);
        }
        for part in parts {
            self.journal.shipped(&part.segment.id, part.end);
            for (from, end) in &part.torn {
                tracing::warn!(segment = %part.segment.id.file_name(), from, end,
                    "the journal holds bytes that are no record: a write was cut short by a dead process or a full disk, or the file was damaged");
            }
            if let Some((first, last)) = part.missing {
                tracing::error!(writer = %part.segment.id.writer, first, last, "segments of the journal are gone that were not shipped; what they held is lost");
            }
        }
        Ok(true)
    }
}

/// What is not as it should be in a journal belongs into the trail itself.
fn damage(part: &Part) -> impl Iterator<Item = Event> {
    let writer = part.segment.id.writer.to_string();
    let number = part.segment.id.number;
    let missing = part.missing.map(|(first, last)| {
        Event::new("journal.missing")
            .target(writer.clone())
            .outcome(Outcome::Failed)
            .detail("first", first)
            .detail("last", last)
    });
    let torn = part.torn.iter().map(move |(from, end)| {
        Event::new("journal.torn")
            .target(writer.clone())
            .outcome(Outcome::Failed)
            .detail("segment", number)
            .detail("from", *from)
            .detail("end", *end)
    });
    missing.into_iter().chain(torn)
}

fn start(writer: &WriterId) -> JournalRow {
    JournalRow {
        writer: writer.to_string(),
        segment: 0,
        shipped: 0,
        number: 0,
        head: Head::START.hash.to_vec(),
    }
}

enum Place {
    Before,
    At(u64),
    After,
}

/// Where a segment lies, seen from how far its writer is shipped.
fn place(id: &SegmentId, row: &JournalRow) -> Place {
    let shipped_to = u64::try_from(row.segment).unwrap_or(0);
    match id.number.cmp(&shipped_to) {
        std::cmp::Ordering::Less => Place::Before,
        std::cmp::Ordering::Equal => Place::At(u64::try_from(row.shipped).unwrap_or(0)),
        std::cmp::Ordering::Greater => Place::After,
    }
}

/// Blocks on the disk.
fn read_segment(segment: Segment, from: u64, rows: usize, bytes: usize) -> Result<Part, ReadError> {
    let mut reader = Reader::open(&segment, from)?;
    let mut part = Part {
        segment,
        from,
        end: from,
        text: String::new(),
        ends: Vec::new(),
        torn: Vec::new(),
        missing: None,
        stop: Stop::Full,
    };
    while part.ends.len() < rows && part.text.len() < bytes {
        match reader.step()? {
            Step::Record { body, end } => {
                match std::str::from_utf8(body) {
                    Ok(text) if memchr::memchr2(b'\n', 0, body).is_none() => {
                        part.text.push_str(text);
                        part.ends.push(part.text.len());
                    }
                    // The checksum fits, and yet it is not one line of text: not ours.
                    _ => part.torn.push((part.end, end)),
                }
                part.end = end;
            }
            Step::Torn { from, end } => {
                part.torn.push((from, end));
                part.end = end;
            }
            Step::NotYet => {
                part.stop = Stop::NotYet;
                break;
            }
            Step::End => {
                part.stop = Stop::End;
                break;
            }
        }
    }
    Ok(part)
}
