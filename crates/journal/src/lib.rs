//! The journal: what was about to be done with a secret, on disk before it is done.
//!
//! Each server process has a [`Journal`] on a directory; each core has a [`Writer`] with its own
//! sequence of append-only segments, so cores never wait for each other. The shipper on the
//! control runtime lists segments ([`Journal::segments`]), reads records with their end offsets
//! ([`Reader`]), inserts them into the database in the same transaction that stores the offset,
//! and deletes what is shipped. What a dead process left is found and shipped by the next one.
//!
//! # What is promised
//! - [`Writer::append`] returns after write(2): the record survives `kill -9` of the process. It
//!   survives a power loss after the next fsync: at most [`Settings::durability`] later, and before
//!   `append` returns with [`Durability::EveryWrite`].
//! - Many callers on one core share one write: the first record of a group wakes the core's
//!   flusher, which lets every task that is ready run once and then writes what has come
//!   together. There is no timer in that way, so a lone caller does not wait for company.
//! - [`Writer::append_later`] (outcomes) goes with the next group, or alone within 5 ms.
//! - An error of `append` means: do not send. The record may still be found by a reader when the
//!   disk failed in the middle of a group: an intent without a call, never a call without intent.
//! - Beyond [`Settings::backlog_limit`] bytes that the shipper has not fetched, `append` refuses.
//!
//! # Format
//! One line for each record: `length checksum body\n`, length and checksum as 8 hex digits each.
//! The checksum is CRC-32C (RFC 3720, appendix B.4) over the 8 length digits and the body; the
//! body is compact JSON, which holds no line break. Why JSON: the audit trail keeps and hashes the
//! record as canonical JSON, so the bytes are made once, on the way in, and are shipped and hashed
//! as they lie here, never written anew; and `cut -c19-` shows an operator a journal without our help.
//! Measured: 0.1–0.2 µs of CPU for the JSON, 0.5 µs for a record appended by one of 64 callers
//! with the kernel's part of write(2), 1.2 µs by a lone caller. Binary would save a tenth of that
//! and pay it back when the shipper has to make JSON of it.
//!
//! Files are never cut or overwritten. After a short write the segment is left as it is and the
//! next one begun: an offset that a reader has stored keeps its meaning for ever. A torn tail is
//! "not yet" in a live file and is reported and skipped in one that no one writes any more.
//!
//! Names: `srv_….<core>.<number>.lsj1` (the 1 is the format), and `srv_….lock`, which a live
//! process holds locked (flock): the kernel lets go of it whatever way the process ends.

pub mod chain;
mod frame;
mod journal;
mod reader;
mod record;
mod segment;
mod syncing;
mod writer;

pub use frame::MAX_BODY;
pub use journal::{Durability, Journal, OpenError, Settings};
pub use reader::{ReadError, Reader, Step};
pub use record::{Actor, ActorKind, CallResult, Intent, NotARecord, Purpose, Record};
pub use segment::{NotAWriter, Segment, SegmentId, WriterId, list};
pub use writer::{AppendError, Counts, Writer};
