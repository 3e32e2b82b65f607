//! Segments: their names, and who still writes them.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use latchstring_model::id::ServerId;

const SUFFIX: &str = ".lsj1";
const LOCK: &str = ".lock";

/// One core of one server process: `srv_….3`. The name of its chain, too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriterId {
    pub server: ServerId,
    pub core: u16,
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.server, self.core)
    }
}

/// A text that is not `srv_….<core>`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a journal writer (srv_….<core>)")]
pub struct NotAWriter;

impl FromStr for WriterId {
    type Err = NotAWriter;

    fn from_str(text: &str) -> Result<Self, NotAWriter> {
        let (server, core) = text.split_once('.').ok_or(NotAWriter)?;
        let id = Self {
            server: server.parse().map_err(|_| NotAWriter)?,
            core: core.parse().map_err(|_| NotAWriter)?,
        };
        // One spelling: `+3` and `03` are none.
        if id.to_string() == text { Ok(id) } else { Err(NotAWriter) }
    }
}

/// One file of one writer. Numbers begin at 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId {
    pub writer: WriterId,
    pub number: u64,
}

impl SegmentId {
    pub fn file_name(&self) -> String {
        format!("{}.{:08}{SUFFIX}", self.writer, self.number)
    }

    fn parse(name: &str) -> Option<Self> {
        let (writer, number) = name.strip_suffix(SUFFIX)?.rsplit_once('.')?;
        let id = Self { writer: writer.parse().ok()?, number: number.parse().ok()? };
        (id.file_name() == name).then_some(id)
    }
}

/// A segment found in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub id: SegmentId,
    pub path: PathBuf,
    /// Its length when it was listed.
    pub bytes: u64,
    /// Nothing will be appended any more: its writer has begun a later one, or is dead.
    pub complete: bool,
}

/// All segments in the directory, those of dead processes too, by writer and number.
/// Other files are left alone.
pub fn list(directory: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(SegmentId::parse) else {
            continue;
        };
        match entry.metadata() {
            Ok(metadata) => {
                found.push(Segment { id, path: entry.path(), bytes: metadata.len(), complete: false })
            }
            // Shipped and deleted meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));

    // After the listing: whoever is dead now has written his last byte, so what a reader finds
    // behind this point is all there will ever be.
    let mut alive: HashMap<ServerId, bool> = HashMap::new();
    for index in 0..found.len() {
        let id = found[index].id.clone();
        let later = found.get(index + 1).is_some_and(|next| next.id.writer == id.writer);
        let complete = later || {
            let server = id.writer.server;
            let known = alive.get(&server).copied();
            let alive_now = match known {
                Some(known) => known,
                None => {
                    let now = is_alive(directory, &server)?;
                    alive.insert(server, now);
                    now
                }
            };
            !alive_now
        };
        found[index].complete = complete;
    }
    Ok(found)
}

fn lock_path(directory: &Path, server: &ServerId) -> PathBuf {
    directory.join(format!("{server}{LOCK}"))
}

/// Takes the lock that says "this process lives". It is renamed into place locked, so that nobody
/// ever sees it unlocked while its process lives.
pub(crate) fn take_lock(directory: &Path, server: &ServerId) -> io::Result<File> {
    let beside = directory.join(format!("{server}{LOCK}.new"));
    let file = File::create_new(&beside)?;
    file.try_lock()?;
    fs::rename(&beside, lock_path(directory, server))?;
    Ok(file)
}

/// Whether the process holds its lock.
fn is_alive(directory: &Path, server: &ServerId) -> io::Result<bool> {
    let file = match File::open(lock_path(directory, server)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    // Shared, so that two readers who look at the same time do not take each other for the writer.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// Processes that once held a lock in this directory and do not live any more.
pub(crate) fn ended(directory: &Path) -> io::Result<Vec<ServerId>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let Some(server) = name.to_str().and_then(|name| name.strip_suffix(LOCK)) else { continue };
        let Ok(server) = server.parse::<ServerId>() else { continue };
        if !is_alive(directory, &server)? {
            found.push(server);
        }
    }
    Ok(found)
}

/// Removes lock files of dead processes that have no segment left.
pub(crate) fn sweep_locks(directory: &Path, segments: &[Segment]) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(server) = name.to_str().and_then(|name| name.strip_suffix(LOCK)) else {
            continue;
        };
        let Ok(server) = server.parse::<ServerId>() else {
            continue;
        };
        let used = segments.iter().any(|segment| segment.id.writer.server == server);
        if !used && !is_alive(directory, &server)? {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a file; one that is gone already is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        let server = "srv_00000000010000000000000000";
        let name = format!("{server}.3.00000012.lsj1");
        let id = SegmentId::parse(&name).unwrap();
        assert_eq!(id.file_name(), name);
        assert_eq!((id.writer.core, id.number), (3, 12));
        assert_eq!(id.writer.to_string().parse::<WriterId>().as_ref(), Ok(&id.writer));
        for bad in [
            format!("{server}.03.00000012.lsj1"),
            format!("{server}.+3.00000012.lsj1"),
            format!("{server}.3.12.lsj1"),
            format!("{server}.3.00000012.lsj2"),
            format!("{server}.00000012.lsj1"),
            format!("{server}.lock"),
            "x.3.00000012.lsj1".to_owned(),
        ] {
            assert_eq!(SegmentId::parse(&bad), None, "{bad}");
        }
    }
}
