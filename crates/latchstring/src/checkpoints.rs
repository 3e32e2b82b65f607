//! The second place of the audit trail: a file that is only ever appended to, or standard output.
//!
//! A checkpoint counts once it would survive a power loss, so each write ends with an fsync. Whoever collects the
//! file (a log shipper, `append-only` storage, another machine's mount) makes it a second place in earnest; here
//! it is kept in order: one server writes it, and nobody else.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use latchstring_broker::audit::checkpoint::{Look, Place};

use crate::settings::SettingError;

/// What `LATCHSTRING_AUDIT_CHECKPOINTS` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checkpoints {
    Stdout,
    File(PathBuf),
}

/// A server that ends may hold its file for a moment longer.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// A line of a large installation has some hundred kilobytes; more is none.
const LONGEST_LINE: u64 = 64 << 20;

impl Checkpoints {
    /// `stdout`, or a path.
    pub fn read(text: &str) -> Result<Self, SettingError> {
        let wrong = |what: &str| {
            SettingError(format!("LATCHSTRING_AUDIT_CHECKPOINTS={text:?} cannot be understood: {what}"))
        };
        match text {
            "stdout" | "-" => Ok(Checkpoints::Stdout),
            "stderr" | "off" | "none" | "on" | "true" | "false" | "0" | "1" => {
                Err(wrong("write the path of a file, or stdout; leave it out to write none"))
            }
            _ if text.contains("://") || text.contains('\0') => {
                Err(wrong("write the path of a file on this machine, or stdout"))
            }
            _ if text.ends_with('/') || Path::new(text).is_dir() => {
                Err(wrong("this is a folder; write the path of a file in it"))
            }
            _ => Ok(Checkpoints::File(text.into())),
        }
    }

    /// Opens the place, so that one that cannot be written stops the start.
    pub fn open(&self) -> Result<Box<dyn Place>, SettingError> {
        match self {
            Checkpoints::Stdout => Ok(Box::new(Stdout { begun: false })),
            Checkpoints::File(path) => {
                let opened = open(path, LOCK_WAIT).map_err(|error| {
                    SettingError(format!(
                        "LATCHSTRING_AUDIT_CHECKPOINTS: {} cannot be written: {error}; choose a file that this server alone may append to",
                        path.display()
                    ))
                })?;
                Ok(Box::new(FilePlace { path: path.clone(), open: None, fresh: Some(opened) }))
            }
        }
    }
}

struct Stdout {
    begun: bool,
}

impl Place for Stdout {
    fn look(&mut self) -> io::Result<Look> {
        Ok(if std::mem::replace(&mut self.begun, true) { Look::Same } else { Look::Opened { last: None } })
    }

    fn append(&mut self, lines: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(lines.as_bytes()).and_then(|()| out.flush()).inspect_err(|_| self.begun = false)
    }
}

struct Open {
    file: File,
    /// Device and inode: whether the path still leads here.
    identity: (u64, u64),
    length: u64,
}

struct FilePlace {
    path: PathBuf,
    open: Option<Open>,
    /// Opened at the start, and not looked into yet.
    fresh: Option<Open>,
}

fn identity(about: &std::fs::Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

fn open(path: &Path, wait: Duration) -> io::Result<Open> {
    let new = !path.exists();
    let file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path)?;
    if new {
        // That the file exists has to survive a power loss as well.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    let began = std::time::Instant::now();
    while let Err(error) = file.try_lock() {
        match error {
            TryLockError::WouldBlock if began.elapsed() < wait => {
                std::thread::sleep(Duration::from_millis(50));
            }
            TryLockError::WouldBlock => {
                return Err(io::Error::other(
                    "another server writes its checkpoints there, and each needs a file of its own",
                ));
            }
            TryLockError::Error(error) => return Err(error),
        }
    }
    Ok(Open { length: file.metadata()?.len(), identity: identity(&about), file })
}

/// The last line that is whole; a line that was cut off gets its line break, so that the next one stands alone.
fn last_line(open: &mut Open) -> io::Result<Option<String>> {
    let begins = latchstring_broker::audit::checkpoint::line::BEGINS;
    let mut end = open.length;
    let mut tail: Vec<u8> = Vec::new();
    while end > 0 && tail.len() as u64 <= LONGEST_LINE {
        let step = end.min(64 << 10);
        end -= step;
        let mut part = vec![0; usize::try_from(step).unwrap_or(0)];
        open.file.seek(SeekFrom::Start(end))?;
        open.file.read_exact(&mut part)?;
        part.extend_from_slice(&tail);
        tail = part;
        // From the first line break on these are whole lines, or the file begins here.
        let from =
            if end == 0 { Some(0) } else { tail.iter().position(|byte| *byte == b'\n').map(|at| at + 1) };
        let text = from.and_then(|from| tail.get(from..)).map(String::from_utf8_lossy).unwrap_or_default();
        let found = text.lines().rev().find(|line| line.starts_with(begins) && line.ends_with("\"}"));
        if let Some(found) = found {
            let found = found.to_owned();
            return end_line(open, &tail).map(|()| Some(found));
        }
    }
    end_line(open, &tail).map(|()| None)
}

fn end_line(open: &mut Open, tail: &[u8]) -> io::Result<()> {
    if tail.last().is_some_and(|byte| *byte != b'\n') {
        open.file.write_all(b"\n")?;
        open.file.sync_data()?;
        open.length += 1;
    }
    Ok(())
}

impl FilePlace {
    /// A file that is empty goes on from what was written elsewhere.
    fn reopened(&mut self) -> io::Result<Look> {
        let open = open(&self.path, Duration::ZERO)?;
        if open.length == 0 {
            self.open = Some(open);
            return Ok(Look::Replaced);
        }
        self.opened(open)
    }

    fn opened(&mut self, mut open: Open) -> io::Result<Look> {
        let last = last_line(&mut open)?;
        self.open = Some(open);
        Ok(Look::Opened { last })
    }
}

impl Place for FilePlace {
    fn look(&mut self) -> io::Result<Look> {
        if let Some(fresh) = self.fresh.take() {
            return self.opened(fresh);
        }
        let Some(known) = &mut self.open else { return self.reopened() };
        match std::fs::metadata(&self.path) {
            Ok(about) if identity(&about) == known.identity => {
                if about.len() >= known.length {
                    return Ok(Look::Same);
                }
                // Cut: what was there last is known here, and the next line will name it.
                known.length = about.len();
                return Ok(Look::Replaced);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.open = None;
        self.reopened()
    }

    fn append(&mut self, lines: &str) -> io::Result<()> {
        let Some(known) = &mut self.open else { return Err(io::Error::other("it is not open")) };
        let written = known.file.write_all(lines.as_bytes()).and_then(|()| known.file.sync_data());
        match written {
            Ok(()) => {
                known.length += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Nobody knows how much of it is there: the next look finds out.
                self.open = None;
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("latchstring-checkpoints-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn what_cannot_be_understood_is_said() {
        let folder = folder("understood");
        for wrong in ["off", "true", "s3://bucket/x", "some/folder/", folder.to_str().unwrap()] {
            let error = Checkpoints::read(wrong).unwrap_err();
            assert!(error.0.contains("LATCHSTRING_AUDIT_CHECKPOINTS"), "{}", error.0);
        }
        assert_eq!(Checkpoints::read("stdout").unwrap(), Checkpoints::Stdout);
        let missing = Checkpoints::read(folder.join("no/such/file").to_str().unwrap()).unwrap();
        assert!(missing.open().is_err_and(|error| error.0.contains("cannot be written")));
    }

    #[test]
    fn a_file_is_gone_on_with_and_each_has_one_server() {
        let path = folder("gone_on").join("checkpoints");
        let place = Checkpoints::File(path.clone());
        let line = |number: u32| format!("{{\"checkpoint\":1,\"number\":{number},\"signature\":\"x\"}}");
        let mut first = place.open().unwrap();
        assert_eq!(first.look().unwrap(), Look::Opened { last: None });
        first.append(&format!("{}\n{}\n", line(1), line(2))).unwrap();
        assert_eq!(first.look().unwrap(), Look::Same);
        assert!(open(&path, Duration::ZERO).is_err_and(|error| error.to_string().contains("another server")));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(first);
        // A line that a crash cut off stays, on a line of its own.
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"checkpoint\":1,\"num")
            .unwrap();
        let mut second = place.open().unwrap();
        assert_eq!(second.look().unwrap(), Look::Opened { last: Some(line(2)) });
        second.append(&format!("{}\n", line(3))).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().nth(3), Some(line(3).as_str()));
        // Cut behind the server's back, moved away, and another one put there.
        std::fs::write(&path, "").unwrap();
        assert_eq!(second.look().unwrap(), Look::Replaced);
        std::fs::rename(&path, path.with_extension("old")).unwrap();
        assert_eq!(second.look().unwrap(), Look::Replaced);
        second.append(&format!("{}\n", line(4))).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("\"number\":4"));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, format!("{}\n", line(9))).unwrap();
        assert_eq!(second.look().unwrap(), Look::Opened { last: Some(line(9)) });
    }

    #[test]
    fn long_lines_are_found_from_the_end() {
        let path = folder("long").join("checkpoints");
        let long = format!("{{\"checkpoint\":1,\"pad\":\"{}\",\"signature\":\"x\"}}", "é".repeat(100_000));
        std::fs::write(&path, format!("noise\n{long}\nmore noise\n")).unwrap();
        let mut place = Checkpoints::File(path).open().unwrap();
        assert_eq!(place.look().unwrap(), Look::Opened { last: Some(long) });
    }
}
