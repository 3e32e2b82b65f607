//! Reading a segment, also one that is being written.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use crate::frame::{self, Parsed};
use crate::segment::Segment;

const CHUNK: usize = 256 << 10;

/// What comes next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A whole record. `end` is the offset to go on from: store it with the record, in the same
    /// transaction.
    Record { body: &'a [u8], end: u64 },
    /// Bytes that are no record, and will not become one: a write that a dead process or a full
    /// disk cut short, or damage. Report them; reading goes on at `end`.
    Torn { from: u64, end: u64 },
    /// Nothing whole yet; the writer lives. Ask again later.
    NotYet,
    /// The end of a segment that nobody writes any more: when this is shipped, delete it.
    End,
}

#[derive(Debug, thiserror::Error)]
#[error("the journal segment {path} cannot be read: {source}; check the disk and the file's mode")]
pub struct ReadError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// Reads one segment from an offset. Blocks on the disk: for `spawn_blocking` or a thread.
pub struct Reader {
    file: File,
    path: PathBuf,
    complete: bool,
    /// Of the first byte in `buffer`.
    base: u64,
    buffer: Vec<u8>,
    at: usize,
    end_of_file: bool,
}

impl Reader {
    /// `from` is 0 or an `end` that was read before. Whether the segment is complete is taken from
    /// the listing: list again to learn that a writer has died.
    pub fn open(segment: &Segment, from: u64) -> Result<Self, ReadError> {
        let path = segment.path.clone();
        let open = || {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(from))?;
            Ok(file)
        };
        match open() {
            Ok(file) => Ok(Self {
                file,
                path,
                complete: segment.complete,
                base: from,
                buffer: Vec::new(),
                at: 0,
                end_of_file: false,
            }),
            Err(source) => Err(ReadError { path, source }),
        }
    }

    /// The offset to go on from.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The next step. After [`Step::NotYet`] it may be asked again.
    pub fn step(&mut self) -> Result<Step<'_>, ReadError> {
        self.end_of_file = false;
        loop {
            match frame::parse(&self.buffer[self.at..]) {
                Parsed::Frame { length, .. } => return Ok(self.record(length)),
                Parsed::Short if !self.end_of_file => self.fill()?,
                Parsed::Short | Parsed::Bad => return self.torn(),
            }
        }
    }

    fn record(&mut self, length: usize) -> Step<'_> {
        let start = self.at;
        self.at += length;
        let end = self.offset();
        Step::Record { body: &self.buffer[start + frame::HEADER..start + length - 1], end }
    }

    /// What begins here is no whole record. If one begins behind a later line break, this is
    /// damage; if none does, it is the tail.
    fn torn(&mut self) -> Result<Step<'_>, ReadError> {
        let from = self.offset();
        let mut tried = self.at;
        loop {
            let next_line = self.buffer[tried..].iter().position(|byte| *byte == b'\n');
            match next_line.map(|line| tried + line + 1) {
                Some(begin) => match frame::parse(&self.buffer[begin..]) {
                    Parsed::Frame { .. } => {
                        self.at = begin;
                        return Ok(Step::Torn { from, end: self.offset() });
                    }
                    Parsed::Short if !self.end_of_file => {
                        let moved = self.at;
                        self.fill()?;
                        // `fill` has moved the buffer so that it begins at `at`.
                        tried -= moved;
                    }
                    Parsed::Short | Parsed::Bad => tried = begin,
                },
                None if !self.end_of_file => {
                    let moved = self.at;
                    tried = self.buffer.len() - moved;
                    self.fill()?;
                }
                None if !self.complete => return Ok(Step::NotYet),
                None if self.at == self.buffer.len() => return Ok(Step::End),
                None => {
                    self.at = self.buffer.len();
                    return Ok(Step::Torn { from, end: self.offset() });
                }
            }
        }
    }

    /// Reads on, and drops what lies before `at`.
    fn fill(&mut self) -> Result<(), ReadError> {
        self.base += self.at as u64;
        self.buffer.drain(..self.at);
        self.at = 0;
        let before = self.buffer.len();
        let mut some = (&self.file).take(CHUNK as u64);
        match some.read_to_end(&mut self.buffer) {
            Ok(_) => {
                self.end_of_file = self.buffer.len() == before;
                Ok(())
            }
            Err(source) => Err(ReadError { path: self.path.clone(), source }),
        }
    }
}
