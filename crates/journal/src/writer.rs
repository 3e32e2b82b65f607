//! A core's writer: a buffer that callers push into, and one flusher that writes it.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::frame;
use crate::journal::{Durability, Shared};
use crate::record::Record;
use crate::segment::{SegmentId, WriterId};
use crate::syncing::{OwnThread, SegmentFile};

/// How long an outcome waits for a group to go with.
const LATER: Duration = Duration::from_millis(5);
/// How soon outcomes are tried again after the disk refused them.
const RETRY: Duration = Duration::from_millis(250);
/// Outcomes kept while the disk refuses them, in bytes. Calls are refused then, so only those
/// under way add to it.
const KEPT: usize = 8 << 20;
/// A buffer that a burst made larger than this is given back.
const ROOMY: usize = 1 << 20;

/// Why a record is not in the journal. The call must not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error(
        "{unshipped} bytes of the journal are not in the database yet (the limit is {limit}); calls \
         are refused until it catches up: check that the database can be reached"
    )]
    Backlog { unshipped: u64, limit: u64 },
    #[error("a record of {bytes} bytes is too long for the journal (1 MiB is the end): shorten the path")]
    TooLong { bytes: usize },
    #[error("the journal's volume is full; calls are refused until there is room: {detail}")]
    Full { detail: String },
    #[error("the journal cannot be written; calls are refused until it can: {detail}; check its disk")]
    Disk { kind: io::ErrorKind, detail: String },
    #[error("the journal is closed; the server is stopping")]
    Closed,
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        let detail = error.to_string();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { detail },
            kind => Self::Disk { kind, detail },
        }
    }
}

/// What a writer has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub records: u64,
    /// Calls of write(2).
    pub writes: u64,
    pub bytes: u64,
    pub segments: u64,
    /// Groups that the disk refused.
    pub failures: u64,
    /// Outcomes dropped because the disk refused them for too long.
    pub lost: u64,
}

/// Appends records to one core's segments. Clone it on that core; the last clone to go closes it.
#[derive(Clone)]
pub struct Writer {
    handle: Arc<Handle>,
}

struct Handle {
    core: Arc<Core>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.lock().closed = true;
        self.core.wake.notify_one();
    }
}

struct Core {
    id: WriterId,
    shared: Arc<Shared>,
    /// Taken on the core itself, so never waited for.
    state: Mutex<State>,
    wake: Notify,
}

struct State {
    /// Records that somebody waits for.
    urgent: Vec<u8>,
    /// Outcomes.
    later: Vec<u8>,
    /// Those who wait for the next write.
    group: Arc<Group>,
    /// Somebody waits, and the flusher knows.
    waited_for: bool,
    /// Outcomes are there, and the flusher knows.
    timed: bool,
    closed: bool,
    /// The flusher is gone: nobody finishes a group any more.
    ended: bool,
    counts: Counts,
}

#[derive(Default)]
struct Group {
    done: OnceLock<Result<(), AppendError>>,
    finished: Notify,
}

impl Group {
    fn finish(&self, result: Result<(), AppendError>) {
        // Finished at most once; a second result would change nothing.
        let _ = self.done.set(result);
        self.finished.notify_waiters();
    }

    async fn wait(&self) -> Result<(), AppendError> {
        // Made before the look, so that what happens in between is not missed.
        let finished = self.finished.notified();
        if self.done.get().is_none() {
            finished.await;
        }
        self.done.get().cloned().unwrap_or(Err(AppendError::Closed))
    }
}

impl Core {
    // Every change below leaves whole frames in the buffers.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    pub(crate) fn start(shared: Arc<Shared>, id: WriterId) -> Self {
        let core = Arc::new(Core {
            id,
            shared,
            state: Mutex::new(State {
                urgent: Vec::new(),
                later: Vec::new(),
                group: Arc::default(),
                waited_for: false,
                timed: false,
                closed: false,
                ended: false,
                counts: Counts::default(),
            }),
            wake: Notify::new(),
        });
        let flusher = Flusher {
            core: core.clone(),
            segment: None,
            number: 0,
            length: 0,
            out: Vec::new(),
            group: None,
            failing: false,
            unnamed: false,
            own: None,
        };
        tokio::spawn(flusher.run());
        Self { handle: Arc::new(Handle { core }) }
    }

    pub fn id(&self) -> &WriterId {
        &self.handle.core.id
    }

    /// Returns when the record has been handed to the kernel (and, with
    /// [`Durability::EveryWrite`], is on disk). On an error the secret must not leave. A caller
    /// that stops waiting takes nothing back: the record is written all the same.
    pub fn append(
        &self,
        record: &Record<'_>,
    ) -> impl Future<Output = Result<(), AppendError>> + Send + use<> {
        // Taken at once: the wait, which is a part of every call's future, holds no record.
        let group = self.take(record);
        async move { group?.wait().await }
    }

    fn take(&self, record: &Record<'_>) -> Result<Arc<Group>, AppendError> {
        let core = &self.handle.core;
        let mut state = core.lock();
        if state.closed {
            return Err(AppendError::Closed);
        }
        let limit = core.shared.settings.backlog_limit;
        let unshipped =
            core.shared.unshipped.load(Ordering::Relaxed) + (state.urgent.len() + state.later.len()) as u64;
        if unshipped >= limit {
            return Err(AppendError::Backlog { unshipped, limit });
        }
        frame::push(&mut state.urgent, |out| record.write(out))
            .map_err(|bytes| AppendError::TooLong { bytes })?;
        state.counts.records += 1;
        if !state.waited_for {
            state.waited_for = true;
            core.wake.notify_one();
        }
        Ok(state.group.clone())
    }

    /// Leaves an outcome to be written with the next group, or within 5 ms. It is taken beyond the
    /// backlog limit, too: its call has been made.
    pub fn append_later(&self, record: &Record<'_>) -> Result<(), AppendError> {
        let core = &self.handle.core;
        let mut state = core.lock();
        if state.closed {
            return Err(AppendError::Closed);
        }
        frame::push(&mut state.later, |out| record.write(out))
            .map_err(|bytes| AppendError::TooLong { bytes })?;
        state.counts.records += 1;
        if !state.timed {
            state.timed = true;
            core.wake.notify_one();
        }
        Ok(())
    }

    /// Returns when all that was appended, outcomes too, has been handed to the kernel.
    pub async fn flush(&self) -> Result<(), AppendError> {
        let group = {
            let mut state = self.handle.core.lock();
            if state.closed {
                return Err(AppendError::Closed);
            }
            state.waited_for = true;
            state.group.clone()
        };
        self.handle.core.wake.notify_one();
        group.wait().await
    }

    /// Writes and syncs what is left, and refuses what comes after. For an orderly stop.
    pub async fn close(&self) -> Result<(), AppendError> {
        let group = {
            let mut state = self.handle.core.lock();
            if state.ended {
                return Ok(());
            }
            state.closed = true;
            state.group.clone()
        };
        self.handle.core.wake.notify_one();
        group.wait().await
    }

    pub fn counts(&self) -> Counts {
        self.handle.core.lock().counts
    }
}

/// The task that writes. It owns the file, so that there is one writer by construction.
struct Flusher {
    core: Arc<Core>,
    segment: Option<Arc<SegmentFile>>,
    /// Of the segment that was begun last; 0 before the first.
    number: u64,
    /// Bytes in `segment`.
    length: u64,
    /// The group that is being written.
    out: Vec<u8>,
    group: Option<Arc<Group>>,
    /// The last write failed: said once, not for every try.
    failing: bool,
    /// The segment's name may not be on disk yet.
    unnamed: bool,
    /// Syncs what is waited for; begun with the first.
    own: Option<OwnThread>,
}

impl Flusher {
    async fn run(mut self) {
        let core = self.core.clone();
        let timer = tokio::time::sleep(LATER);
        tokio::pin!(timer);
        let mut armed = false;
        loop {
            let due = tokio::select! {
                biased;
                () = core.wake.notified() => false,
                () = &mut timer, if armed => true,
            };
            let closed = {
                let state = core.lock();
                if state.timed && !armed && !due {
                    timer.as_mut().reset(Instant::now() + LATER);
                    armed = true;
                }
                if !(state.waited_for || due || state.closed) {
                    continue;
                }
                state.closed
            };
            // Tokio polls the network before it runs a task that yielded: whoever is ready, or
            // becomes ready by that, joins this group. With nobody ready this costs one poll.
            if !closed {
                tokio::task::yield_now().await;
            }
            if due {
                armed = false;
                core.lock().timed = false;
            }
            let written = self.write_group(closed).await;
            if written.is_err() && !closed && !core.lock().later.is_empty() {
                core.lock().timed = true;
                timer.as_mut().reset(Instant::now() + RETRY);
                armed = true;
            }
            if closed {
                return;
            }
        }
    }

    /// Writes what has come together and tells those who wait.
    async fn write_group(&mut self, closing: bool) -> Result<(), AppendError> {
        let mut written = self.write_out();
        let every = self.core.shared.settings.durability == Durability::EveryWrite;
        if let (Ok(true), true) = (&written, every || closing) {
            written = self.sync().await.map(|()| true);
        }
        let result = written.map(|_| ());
        if let Some(group) = self.group.take() {
            group.finish(result.clone());
        }
        result
    }

    /// Gives back whether there was anything to write.
    fn write_out(&mut self) -> Result<bool, AppendError> {
        self.out.clear();
        let outcomes = {
            let mut state = self.core.lock();
            std::mem::swap(&mut self.out, &mut state.later);
            let outcomes = self.out.len();
            self.out.append(&mut state.urgent);
            if state.urgent.capacity() > ROOMY {
                state.urgent = Vec::new();
            }
            state.waited_for = false;
            self.group = Some(std::mem::take(&mut state.group));
            outcomes
        };
        if self.out.is_empty() {
            return Ok(false);
        }
        let result = match self.write_to_segment() {
            Ok(()) => {
                if self.failing {
                    tracing::info!("the journal can be written again");
                }
                self.failing = false;
                Ok(true)
            }
            Err((written, error)) => {
                self.keep_outcomes(outcomes, written);
                let error = AppendError::from(error);
                if !self.failing {
                    tracing::error!(%error, writer = %self.core.id, "journal");
                }
                self.failing = true;
                Err(error)
            }
        };
        if self.out.capacity() > ROOMY {
            self.out = Vec::new();
        }
        result
    }

    /// After a failure: callers who wait are refused, and their records dropped. Outcomes of calls
    /// that were made are kept for the next try, except those that lie whole in the file.
    fn keep_outcomes(&mut self, outcomes: usize, written: usize) {
        let there = frame::whole_within(&self.out[..outcomes], written);
        let mut kept = self.out[there..outcomes].to_vec();
        let mut state = self.core.lock();
        state.counts.failures += 1;
        kept.append(&mut state.later);
        let mut over = 0;
        while kept.len() - over > KEPT {
            let frame::Parsed::Frame { length, .. } = frame::parse(&kept[over..]) else {
                break;
            };
            over += length;
            state.counts.lost += 1;
        }
        kept.drain(..over);
        state.later = kept;
    }

    /// An error comes with the number of bytes that are in the file nevertheless.
    fn write_to_segment(&mut self) -> Result<(), (usize, io::Error)> {
        let segment = self.segment().map_err(|error| (0, error))?;
        let mut written = 0;
        let mut calls = 0;
        let result = loop {
            if written == self.out.len() {
                break Ok(());
            }
            calls += 1;
            match io::Write::write(&mut &segment.file, &self.out[written..]) {
                Ok(0) => break Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(some) => written += some,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        if written > 0 {
            self.length += written as u64;
            self.core.shared.unshipped.fetch_add(written as u64, Ordering::Relaxed);
            if let Durability::Every(_) = self.core.shared.settings.durability {
                self.core.shared.syncer.written(&segment);
            }
        }
        {
            let mut state = self.core.lock();
            state.counts.writes += calls;
            state.counts.bytes += written as u64;
        }
        result.map_err(|error| {
            if self.length > 0 {
                // A reader may have stored an offset within what is there: it is not cut away. The
                // next try begins a new segment, and this one's tail is reported and skipped. An
                // empty one is tried again, so that a full disk is not strewn with empty files.
                self.segment = None;
            }
            (written, error)
        })
    }

    /// The segment to write to: the open one while there is room and its disk has not failed.
    fn segment(&mut self) -> io::Result<Arc<SegmentFile>> {
        let limit = self.core.shared.settings.segment_bytes;
        if let Some(open) = &self.segment {
            let fits = self.length == 0 || self.length + self.out.len() as u64 <= limit;
            if fits && !open.failed.load(Ordering::SeqCst) {
                return Ok(open.clone());
            }
        }
        let id = SegmentId { writer: self.core.id.clone(), number: self.number + 1 };
        let path = self.core.shared.settings.directory.join(id.file_name());
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        let segment = Arc::new(SegmentFile::new(file));
        self.core.shared.syncer.created();
        self.unnamed = true;
        self.core.lock().counts.segments += 1;
        self.number += 1;
        self.length = 0;
        self.segment = Some(segment.clone());
        Ok(segment)
    }

    /// Forces the group to the disk, off this core.
    async fn sync(&mut self) -> Result<(), AppendError> {
        let Some(segment) = self.segment.clone() else {
            return Ok(());
        };
        let own = match &self.own {
            Some(own) => own,
            None => self.own.insert(OwnThread::start(self.core.shared.syncer.clone())?),
        };
        let synced = own.sync(segment, self.unnamed).await.ok_or(AppendError::Closed)?;
        synced?;
        self.unnamed = false;
        Ok(())
    }
}

impl Drop for Flusher {
    /// The runtime may be taken down with outcomes still in memory: they are written now.
    fn drop(&mut self) {
        {
            let mut state = self.core.lock();
            state.closed = true;
            state.ended = true;
        }
        if let Some(group) = self.group.take() {
            group.finish(Err(AppendError::Closed));
        }
        let written = self.write_out();
        if let Some(group) = self.group.take() {
            group.finish(written.map(|_| ()));
        }
    }
}

// The control runtime's tasks, which hold a writer, may move between threads.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Writer>();
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        // ENOSPC, EDQUOT, EIO on Linux.
        let error = |number| AppendError::from(io::Error::from_raw_os_error(number));
        assert!(matches!(error(28), AppendError::Full { .. }));
        assert!(matches!(error(122), AppendError::Full { .. }));
        assert!(matches!(error(5), AppendError::Disk { .. }));
    }
}
