//! One server process's journal: its directory, its lock, its backlog.

use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use latchstring_model::id::ServerId;

use crate::segment::{self, Segment, SegmentId, WriterId};
use crate::syncing::Syncer;
use crate::writer::Writer;

/// When written records are forced to the disk itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before `append` returns: a power loss costs nothing, each group waits for the disk.
    EveryWrite,
    /// At most this long after the write; a power loss costs at most that.
    Every(Duration),
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// Made (mode 0700) when it is missing. Best on a volume of its own; a local one, as the locks
    /// of network file systems do not tell a dead process from a live one.
    pub directory: PathBuf,
    /// A segment that would grow beyond this is followed by the next. Bytes; 16 MiB.
    pub segment_bytes: u64,
    /// Beyond this many bytes that are not shipped, calls are refused. 256 MiB, which is about
    /// half a million calls.
    pub backlog_limit: u64,
    /// One second.
    pub durability: Durability,
}

impl Settings {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            segment_bytes: 16 << 20,
            backlog_limit: 256 << 20,
            durability: Durability::Every(Duration::from_secs(1)),
        }
    }
}

/// Why the journal could not be opened: the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the journal's folder {path} cannot be made or read: {source}; check its owner and mode")]
    Directory { path: PathBuf, source: io::Error },
    #[error(
        "the journal's folder {path} cannot be locked: {source}; it must be on a local, writable \
         volume with room left"
    )]
    Lock { path: PathBuf, source: io::Error },
    #[error("the thread that syncs the journal could not be started: {source}")]
    Thread { source: io::Error },
}

/// Shared by all cores; cheap to clone. The last clone (and writer) to go syncs and unlocks.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub settings: Settings,
    pub syncer: Arc<Syncer>,
    pub unshipped: AtomicU64,
    server: ServerId,
    cores: AtomicU16,
    /// How far each segment has been shipped.
    marks: Mutex<HashMap<SegmentId, u64>>,
    thread: Option<JoinHandle<()>>,
    /// Processes that had ended when this one began.
    ended: Vec<ServerId>,
    _alive: File,
}

impl Shared {
    fn marks(&self) -> MutexGuard<'_, HashMap<SegmentId, u64>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.syncer.stop();
        if let Some(thread) = self.thread.take() {
            // It ends after its last fsync; a panic there was logged where it happened.
            let _ = thread.join();
        }
    }
}

impl Journal {
    /// Opens the directory for this process. Blocks on the disk; at start only. What earlier
    /// processes left counts as backlog until [`Journal::shipped`] has said otherwise.
    pub fn open(settings: Settings, server: ServerId) -> Result<Self, OpenError> {
        let path = &settings.directory;
        let directory = |source| OpenError::Directory { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(directory)?;
        let alive = segment::take_lock(path, &server)
            .map_err(|source| OpenError::Lock { path: path.clone(), source })?;
        let found = segment::list(path).map_err(directory)?;
        let ended = segment::ended(path).map_err(directory)?;

        let syncer = Arc::new(Syncer::new(path.clone()));
        let thread = match settings.durability {
            Durability::EveryWrite => None,
            Durability::Every(interval) => {
                Some(syncer.start(interval).map_err(|source| OpenError::Thread { source })?)
            }
        };
        let unshipped = found.iter().map(|segment| segment.bytes).sum();
        Ok(Self {
            shared: Arc::new(Shared {
                settings,
                syncer,
                unshipped: AtomicU64::new(unshipped),
                server,
                cores: AtomicU16::new(0),
                marks: Mutex::default(),
                thread,
                ended,
                _alive: alive,
            }),
        })
    }

    /// A writer with its own segments. Call it once on each core, from within that core's tokio
    /// runtime (time enabled), where its flusher then runs; clone the writer on that core.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn writer(&self) -> Writer {
        let core = self.shared.cores.fetch_add(1, Ordering::Relaxed);
        Writer::start(self.shared.clone(), WriterId { server: self.shared.server.clone(), core })
    }

    /// Processes that wrote here and had ended for certain when this one opened the directory: the kernel had
    /// let go of their locks.
    pub fn ended(&self) -> &[ServerId] {
        &self.shared.ended
    }

    /// All segments in the directory, oldest of each writer first; also sweeps up what dead
    /// processes left, and counts the backlog anew. Blocks on the disk: a few small calls.
    pub fn segments(&self) -> io::Result<Vec<Segment>> {
        let directory = &self.shared.settings.directory;
        let found = segment::list(directory)?;
        segment::sweep_locks(directory, &found)?;
        let mut marks = self.shared.marks();
        marks.retain(|id, _| found.iter().any(|segment| &segment.id == id));
        // Bytes that a core writes at this very moment may be missed until the next listing.
        let unshipped = found
            .iter()
            .map(|found| found.bytes.saturating_sub(marks.get(&found.id).copied().unwrap_or(0)))
            .sum();
        self.shared.unshipped.store(unshipped, Ordering::Relaxed);
        Ok(found)
    }

    /// Says that the segment is in the database up to this offset: room in the backlog. Offsets
    /// that go back are ignored.
    pub fn shipped(&self, segment: &SegmentId, up_to: u64) {
        let mut marks = self.shared.marks();
        let mark = marks.entry(segment.clone()).or_insert(0);
        let moved = up_to.saturating_sub(*mark);
        *mark = (*mark).max(up_to);
        self.shared.release(moved);
    }

    /// Deletes a shipped segment. One that may still grow is kept: gives back whether it is gone.
    pub fn delete(&self, segment: &Segment) -> io::Result<bool> {
        if !segment.complete {
            return Ok(false);
        }
        segment::remove(&segment.path)?;
        let mark = self.shared.marks().remove(&segment.id).unwrap_or(0);
        self.shared.release(segment.bytes.saturating_sub(mark));
        Ok(true)
    }

    /// Bytes in the journal that are not in the database yet.
    pub fn unshipped(&self) -> u64 {
        self.shared.unshipped.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn release(&self, bytes: u64) {
        // The closure never refuses, so there is no error to look at.
        let _ = self.unshipped.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |unshipped| {
            Some(unshipped.saturating_sub(bytes))
        });
    }
}
