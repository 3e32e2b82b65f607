//! Reading checkpoints: whether the lines are what servers wrote, and what they say the trail must hold.
//!
//! Lines may lie in several files (one of each server, older parts that were moved away) and between other lines
//! of a log. What is wrong with them is broken evidence, and found as such:
//!
//! * a line that was changed, forged, or signed by another installation;
//! * lines that were taken out, swapped or put in: each names the hash of the one before. Only the first line of a
//!   file may name one that is not there, because files are moved away; that is told.
//!
//! What no line can show is that the last ones are missing. So a report says how far the lines reach.

use std::collections::{BTreeMap, HashMap, HashSet};

use latchstring_model::Timestamp;

use super::line::{self, BEGINS, Checkpoint, NotACheckpoint};
use crate::audit::signing::PublicKeys;

/// Heads that are remembered of one chain: enough to say where it was changed. Beyond, every other one is dropped.
const POINTS: usize = 4_096;

/// A line that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct LineError {
    pub file: String,
    pub line: u64,
    pub what: LineTrouble,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineTrouble {
    #[error("no checkpoint: {0}")]
    NotACheckpoint(#[from] NotACheckpoint),
    #[error("a checkpoint before this one is missing, or lines were swapped or put in")]
    Missing,
    #[error(
        "two checkpoints follow the same one: lines were put in, or the place was put back to an older state"
    )]
    Forked,
    #[error("its number does not follow the one before")]
    Number,
    #[error(
        "the chain {writer} had {before} records in an earlier checkpoint and has {now} in this one: the database was put back to an older state"
    )]
    WentBack { writer: String, before: u64, now: u64 },
    #[error("the line cannot be read: {0}")]
    Unreadable(String),
}

/// A head that a checkpoint names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Hexadecimal.
    pub hash: String,
    /// Where it stands: file and line.
    pub stands: (usize, u64),
}

/// What the trail must hold, according to all lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoints {
    pub files: Vec<String>,
    pub lines: u64,
    /// Of the newest line.
    pub last_at: Option<Timestamp>,
    /// Files whose first line follows one that is not there.
    pub begin_later: Vec<String>,
    /// Lines that were cut off by a crash; what follows them shows that nothing is missing.
    pub torn: u64,
    /// By writer: its heads, by number.
    pub(crate) chains: BTreeMap<String, BTreeMap<u64, Point>>,
    pub(crate) credentials: BTreeMap<String, CredentialPoint>,
}

/// The newest that is known of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CredentialPoint {
    pub version: Option<i64>,
    pub values: BTreeMap<String, i64>,
    pub stands: (usize, u64),
}

impl Checkpoints {
    pub(crate) fn place(&self, stands: (usize, u64)) -> String {
        let file = self.files.get(stands.0).map_or("", String::as_str);
        format!("{file}:{}", stands.1)
    }
}

/// The last of lines that follow each other.
#[derive(Default)]
struct End {
    number: u64,
    /// The newest number of each chain in them.
    heads: HashMap<String, u64>,
}

/// Reads line after line.
pub struct Reading<'k> {
    keys: &'k PublicKeys,
    found: Checkpoints,
    /// Lines that no other line has named yet, by their hash.
    ends: HashMap<String, End>,
    seen: HashSet<String>,
    /// Files whose first line follows one that was not there yet: the line's hash.
    begin_later: Vec<(String, String)>,
    line: u64,
    first_of_file: bool,
    torn: Option<LineError>,
}

impl<'k> Reading<'k> {
    pub fn new(keys: &'k PublicKeys) -> Self {
        Self {
            keys,
            found: Checkpoints::default(),
            ends: HashMap::new(),
            seen: HashSet::new(),
            begin_later: Vec::new(),
            line: 0,
            first_of_file: true,
            torn: None,
        }
    }

    /// The lines that follow are of this file.
    pub fn file(&mut self, name: &str) {
        // A torn line at the very end of a file: the server died there, and nothing follows.
        self.found.torn += u64::from(self.torn.take().is_some());
        self.found.files.push(name.to_owned());
        self.line = 0;
        self.first_of_file = true;
    }

    fn error(&self, what: LineTrouble) -> LineError {
        let file = self.found.files.last().cloned().unwrap_or_default();
        LineError { file, line: self.line, what }
    }

    /// One line, without its line break. What does not begin like a checkpoint is passed over.
    pub fn line(&mut self, text: &str) -> Result<(), LineError> {
        self.line += 1;
        let text = text.trim_end_matches('\r');
        let Some(at) = text.find(BEGINS) else { return Ok(()) };
        // Collected logs put times and names before it.
        let text = &text[at..];
        let hash = line::hash(text);
        if self.seen.contains(&hash) {
            // The same line twice: whoever collects logs may deliver twice.
            return Ok(());
        }
        let checkpoint = match line::verified(text, self.keys) {
            Ok(checkpoint) => checkpoint,
            Err(error @ NotACheckpoint::Unreadable) => {
                // A crash cuts a line off; then the next one follows the one before it.
                let trouble = self.error(error.into());
                self.torn.get_or_insert(trouble);
                return Ok(());
            }
            Err(error) => return Err(self.error(error.into())),
        };
        let mut end = self.follows(&checkpoint)?;
        end.number = checkpoint.number;
        for head in &checkpoint.heads {
            let before = end.heads.insert(head.writer.clone(), head.number).unwrap_or(0);
            if before > head.number {
                let (writer, now) = (head.writer.clone(), head.number);
                return Err(self.error(LineTrouble::WentBack { writer, before, now }));
            }
        }
        self.seen.insert(hash.clone());
        self.ends.insert(hash, end);
        self.first_of_file = false;
        self.take(checkpoint);
        Ok(())
    }

    /// Whether it follows a line that is there and that nothing else follows.
    fn follows(&mut self, checkpoint: &Checkpoint) -> Result<End, LineError> {
        let end = match &checkpoint.previous {
            None if checkpoint.number == 1 => End::default(),
            None => return Err(self.error(LineTrouble::Number)),
            Some(previous) => match self.ends.remove(previous) {
                Some(end) if end.number.checked_add(1) == Some(checkpoint.number) => end,
                Some(_) => return Err(self.error(LineTrouble::Number)),
                None if self.seen.contains(previous) => return Err(self.error(LineTrouble::Forked)),
                None if self.first_of_file => {
                    let file = self.found.files.last().cloned().unwrap_or_default();
                    self.begin_later.push((file, previous.clone()));
                    End::default()
                }
                // What could not be read was no torn line: it is the one that is missing.
                None => return Err(self.torn.take().unwrap_or_else(|| self.error(LineTrouble::Missing))),
            },
        };
        self.found.torn += u64::from(self.torn.take().is_some());
        Ok(end)
    }

    fn take(&mut self, checkpoint: Checkpoint) {
        let stands = (self.found.files.len().saturating_sub(1), self.line);
        self.found.lines += 1;
        self.found.last_at = self.found.last_at.max(checkpoint.time());
        for head in checkpoint.heads {
            let points = self.found.chains.entry(head.writer).or_default();
            points.insert(head.number, Point { hash: head.hash, stands });
            if points.len() > POINTS {
                thin(points);
            }
        }
        for credential in checkpoint.credentials {
            let new = CredentialPoint { version: credential.version, values: credential.values, stands };
            let known = self.found.credentials.entry(credential.id).or_insert_with(|| new.clone());
            // What is gone for good stays gone; otherwise the higher version is the later one.
            if known.version.is_some() && (new.version.is_none() || new.version >= known.version) {
                *known = new;
            }
        }
    }

    /// What the lines say.
    pub fn finish(mut self) -> Checkpoints {
        self.found.torn += u64::from(self.torn.take().is_some());
        let missing = self.begin_later.drain(..).filter(|(_, previous)| !self.seen.contains(previous));
        self.found.begin_later = missing.map(|(file, _)| file).collect();
        self.found
    }
}

/// Drops every other point, never the last.
fn thin(points: &mut BTreeMap<u64, Point>) {
    let last = points.keys().next_back().copied();
    let mut keep = false;
    points.retain(|number, _| {
        keep = !keep;
        keep || Some(*number) == last
    });
}
