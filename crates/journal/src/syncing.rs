//! fsync off the cores: one thread for the whole journal, asleep while nothing is written.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

/// An open segment, shared by its writer and whoever syncs it.
pub(crate) struct SegmentFile {
    pub file: File,
    /// Written to since the last fsync began.
    pub dirty: AtomicBool,
    /// An fsync failed. The kernel may have dropped what it could not write and report nothing the
    /// next time, so nothing more is written here.
    pub failed: AtomicBool,
}

impl SegmentFile {
    pub fn new(file: File) -> Self {
        Self { file, dirty: AtomicBool::new(false), failed: AtomicBool::new(false) }
    }

    /// Blocks until the disk has it.
    pub fn sync(&self) -> io::Result<()> {
        self.dirty.store(false, Ordering::SeqCst);
        let synced = self.file.sync_data();
        if synced.is_err() {
            self.failed.store(true, Ordering::SeqCst);
        }
        synced
    }
}

#[derive(Default)]
struct Queue {
    files: Vec<Arc<SegmentFile>>,
    /// A file was made: its name has to be synced as well.
    directory: bool,
    stop: bool,
}

pub(crate) struct Syncer {
    queue: Mutex<Queue>,
    changed: Condvar,
    directory: PathBuf,
}

impl Syncer {
    pub fn new(directory: PathBuf) -> Self {
        Self { queue: Mutex::default(), changed: Condvar::new(), directory }
    }

    // The queue is whole after every statement that changes it.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for an fsync within the interval. Cheap while the file is already waiting for one.
    pub fn written(&self, segment: &Arc<SegmentFile>) {
        if !segment.dirty.swap(true, Ordering::SeqCst) {
            self.lock().files.push(segment.clone());
            self.changed.notify_one();
        }
    }

    pub fn created(&self) {
        self.lock().directory = true;
    }

    /// Blocks until all that was written so far is on disk.
    pub fn sync_now(&self) -> io::Result<()> {
        let (files, directory) = {
            let mut queue = self.lock();
            (std::mem::take(&mut queue.files), std::mem::take(&mut queue.directory))
        };
        let mut result = Ok(());
        if directory {
            result = self.sync_directory();
            if result.is_err() {
                // Whoever comes next tries again: the names are not there yet.
                self.created();
            }
        }
        for file in files {
            result = result.and(file.sync());
        }
        result
    }

    /// Blocks until the names of all segments are on disk.
    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.directory).and_then(|directory| directory.sync_all())
    }

    /// Starts the thread. The first write after a pause is synced at once, later ones together
    /// after the interval: never is a byte older than that without an fsync having begun.
    pub fn start(self: &Arc<Self>, interval: Duration) -> io::Result<JoinHandle<()>> {
        let syncer = self.clone();
        std::thread::Builder::new().name("journal-sync".into()).spawn(move || syncer.run(interval))
    }

    fn run(&self, interval: Duration) {
        loop {
            let mut queue = self.lock();
            while queue.files.is_empty() && !queue.stop {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let stop = queue.stop;
            drop(queue);
            if let Err(error) = self.sync_now() {
                tracing::error!(
                    %error,
                    "fsync of the journal failed; what was written in the last moments may be lost \
                     in a power cut: check the disk"
                );
            }
            if stop {
                return;
            }
            let queue = self.lock();
            let rest = self.changed.wait_timeout_while(queue, interval, |queue| !queue.stop);
            drop(rest.unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_all();
    }
}

/// A writer's own thread, where every group is waited for: threads that all share are busy with what others have them do,
/// such as looking up names that nobody answers for.
pub(crate) struct OwnThread {
    asks: mpsc::Sender<Ask>,
}

struct Ask {
    segment: Arc<SegmentFile>,
    /// The segment's name may not be on disk yet.
    unnamed: bool,
    done: oneshot::Sender<io::Result<()>>,
}

impl OwnThread {
    /// It ends with what is given back.
    pub fn start(syncer: Arc<Syncer>) -> io::Result<Self> {
        let (asks, asked) = mpsc::channel::<Ask>();
        std::thread::Builder::new().name("journal-group".into()).spawn(move || {
            for Ask { segment, unnamed, done } in asked {
                let named = if unnamed { syncer.sync_directory() } else { Ok(()) };
                // Whoever does not wait any more has gone with the server.
                let _ = done.send(named.and(syncer.sync_now()).and(segment.sync()));
            }
        })?;
        Ok(Self { asks })
    }

    /// `None`: the thread is gone.
    pub async fn sync(&self, segment: Arc<SegmentFile>, unnamed: bool) -> Option<io::Result<()>> {
        let (done, synced) = oneshot::channel();
        self.asks.send(Ask { segment, unnamed, done }).ok()?;
        synced.await.ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_is_written_is_synced_by_the_thread_and_again_at_the_end() {
        let folder = std::env::temp_dir();
        let path = folder.join(format!("journal-sync-{}", std::process::id()));
        let segment = Arc::new(SegmentFile::new(File::create(&path).unwrap()));
        let syncer = Arc::new(Syncer::new(folder));
        // So long that only the first write and the end can be meant.
        let thread = syncer.start(Duration::from_secs(3600)).unwrap();
        syncer.created();
        syncer.written(&segment);
        let begin = Instant::now();
        while segment.dirty.load(Ordering::SeqCst) {
            assert!(begin.elapsed() < Duration::from_secs(30), "no fsync began");
            std::thread::yield_now();
        }
        syncer.written(&segment);
        assert!(segment.dirty.load(Ordering::SeqCst), "the interval is not over");
        syncer.stop();
        thread.join().unwrap();
        assert!(!segment.dirty.load(Ordering::SeqCst));
        assert!(!segment.failed.load(Ordering::SeqCst));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_failed_fsync_ends_a_segment() {
        // A pipe cannot be synced (EINVAL).
        let (_reader, writer) = io::pipe().unwrap();
        let segment = Arc::new(SegmentFile::new(File::from(OwnedFd::from(writer))));
        let syncer = Syncer::new(std::env::temp_dir());
        syncer.written(&segment);
        assert!(syncer.sync_now().is_err());
        assert!(segment.failed.load(Ordering::SeqCst));
        assert!(syncer.sync_now().is_ok(), "it is not tried for ever");
    }

    #[test]
    fn a_name_that_could_not_be_synced_is_tried_again() {
        let folder = std::env::temp_dir().join(format!("journal-names-{}", std::process::id()));
        let syncer = Syncer::new(folder.clone());
        syncer.created();
        assert!(syncer.sync_now().is_err(), "there is no such folder");
        assert!(syncer.sync_now().is_err());
        std::fs::create_dir(&folder).unwrap();
        assert!(syncer.sync_now().is_ok());
        assert!(!syncer.lock().directory);
        std::fs::remove_dir(folder).unwrap();
    }

    #[tokio::test]
    async fn who_made_a_segment_waits_for_its_name() {
        let folder = std::env::temp_dir().join(format!("journal-own-{}", std::process::id()));
        let path = std::env::temp_dir().join(format!("journal-own-{}.log", std::process::id()));
        let segment = Arc::new(SegmentFile::new(File::create(&path).unwrap()));
        let own = OwnThread::start(Arc::new(Syncer::new(folder.clone()))).unwrap();
        assert!(own.sync(segment.clone(), true).await.unwrap().is_err(), "the folder is not there");
        assert!(own.sync(segment.clone(), false).await.unwrap().is_ok(), "and nobody else's business");
        std::fs::create_dir(&folder).unwrap();
        assert!(own.sync(segment, true).await.unwrap().is_ok());
        std::fs::remove_dir(folder).unwrap();
        std::fs::remove_file(path).unwrap();
    }
}
