//! fsync off the cores: one thread for the whole journal, asleep while nothing is written.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

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
            result = File::open(&self.directory).and_then(|directory| directory.sync_all());
        }
        for file in files {
            result = result.and(file.sync());
        }
        result
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
