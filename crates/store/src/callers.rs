//! Which keys have called with a credential, how often and when last: read off the trail, newest first, part by part.
//!
//! No index knows it. Calls lie many in a row, which is found by its credentials and projects; to note each key beside
//! them would cost every call. So it takes reading, and whoever asks bounds that and says how far it went.

use std::collections::HashMap;

use latchstring_model::Timestamp;
use latchstring_model::id::{CredentialId, ProjectId};

use crate::audit::batch::{self, MAX_BYTES};
use crate::error::Result;
use crate::sql::statements;
use crate::tx::Tx;

/// Rows of their own that are read at once; they are small.
const ROWS: i64 = 500;
/// Batches that are read at once, at most.
const BATCHES: usize = 16;

statements! {
    OWN_ROWS = "SELECT a.seq, a.at, a.fact, a.action, a.project_id, a.actor_type, a.actor_id FROM audit a
        WHERE a.credential_id = $1 AND a.seq < $2 ORDER BY a.seq DESC LIMIT $3";
    WITH_CREDENTIAL = "SELECT a.seq, a.at, a.body FROM audit_batch_scopes s
        JOIN audit a ON a.seq = s.seq AND a.fact = 'batch'
        WHERE s.scope_id = $1 AND s.seq < $2 ORDER BY s.seq DESC LIMIT $3";
    WITH_BOTH = "SELECT a.seq, a.at, a.body FROM audit_batch_scopes s
        JOIN audit_batch_scopes p ON p.seq = s.seq AND p.scope_id = $4
        JOIN audit a ON a.seq = s.seq AND a.fact = 'batch'
        WHERE s.scope_id = $1 AND s.seq < $2 ORDER BY s.seq DESC LIMIT $3";
}

/// How much may still be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Of batches.
    pub bytes: usize,
    pub rows: usize,
}

impl Reach {
    pub fn is_spent(&self) -> bool {
        self.bytes == 0 || self.rows == 0
    }

    /// A share of it, for one of so many.
    #[must_use]
    pub fn part(&self, of: usize) -> Self {
        let of = of.max(1);
        Self { bytes: self.bytes / of, rows: self.rows / of }
    }

    /// What `part` has left of what it was goes on here.
    pub fn take_back(&mut self, given: Self, left: Self) {
        self.bytes = self.bytes.saturating_sub(given.bytes.saturating_sub(left.bytes));
        self.rows = self.rows.saturating_sub(given.rows.saturating_sub(left.rows));
    }
}

/// The calls of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyCalls {
    pub calls: u64,
    pub last_at: Timestamp,
}

/// How far one of the two kinds of rows is read.
#[derive(Clone, Copy)]
struct Place {
    before: i64,
    at: Timestamp,
    whole: bool,
}

impl Place {
    fn went(&mut self, read: usize, wanted: i64, last: Option<(i64, Timestamp)>) {
        if let Some((seq, at)) = last {
            *self = Self { before: seq, at, whole: false };
        }
        self.whole = i64::try_from(read).is_ok_and(|read| read < wanted);
    }
}

/// What was found so far.
pub struct Callers<'a> {
    credential: &'a CredentialId,
    /// In this one alone.
    project: Option<&'a ProjectId>,
    rows: Place,
    batches: Place,
    keys: HashMap<String, KeyCalls>,
}

impl<'a> Callers<'a> {
    pub fn new(credential: &'a CredentialId, project: Option<&'a ProjectId>, now: Timestamp) -> Self {
        let start = Place { before: i64::MAX, at: now, whole: false };
        Self { credential, project, rows: start, batches: start, keys: HashMap::new() }
    }

    pub fn keys(&self) -> &HashMap<String, KeyCalls> {
        &self.keys
    }

    /// Everything that is recorded was looked through.
    pub fn is_whole(&self) -> bool {
        self.rows.whole && self.batches.whole
    }

    /// Back to about when, unless it was everything: servers ship their records a moment after each other.
    pub fn back_to(&self) -> Option<Timestamp> {
        let left = [self.rows, self.batches].into_iter().filter(|place| !place.whole);
        left.map(|place| place.at).max()
    }

    /// Reads the next part.
    pub async fn further(&mut self, tx: &mut impl Tx, reach: &mut Reach) -> Result<()> {
        if !self.rows.whole {
            self.own_rows(tx, reach).await?;
        }
        if !self.batches.whole {
            self.next_batches(tx, reach).await?;
        }
        Ok(())
    }

    fn note(&mut self, key: &str, at: Timestamp) {
        match self.keys.get_mut(key) {
            Some(known) => {
                known.calls += 1;
                known.last_at = known.last_at.max(at);
            }
            None => {
                self.keys.insert(key.to_owned(), KeyCalls { calls: 1, last_at: at });
            }
        }
    }

    /// Calls that have a row of their own, among all that happened to the credential.
    async fn own_rows(&mut self, tx: &mut impl Tx, reach: &mut Reach) -> Result<()> {
        let project = self.project.map(ProjectId::as_str);
        let found = OWN_ROWS.on(tx).bind(self.credential).bind(self.rows.before).bind(ROWS);
        let found = found
            .all(|row| {
                let (seq, at) = (row.int()?, row.time()?);
                let (fact, action, of) = (row.text()?, row.text()?, row.text_or()?);
                let (kind, actor) = (row.text()?, row.text_or()?);
                let call = fact == "intent" && action == batch::USE && kind == "key";
                let here = project.is_none_or(|project| of.as_deref() == Some(project));
                Ok((seq, at, actor.filter(|_| call && here)))
            })
            .await?;
        reach.rows = reach.rows.saturating_sub(found.len());
        self.rows.went(found.len(), ROWS, found.last().map(|(seq, at, _)| (*seq, *at)));
        for (_, at, key) in found {
            if let Some(key) = key {
                self.note(&key, at);
            }
        }
        Ok(())
    }

    async fn next_batches(&mut self, tx: &mut impl Tx, reach: &mut Reach) -> Result<()> {
        // Fewer where little may be read: one at least, or it would not go on.
        let wanted = i64::try_from((reach.bytes / MAX_BYTES).clamp(1, BATCHES)).unwrap_or(1);
        let before = self.batches.before;
        let run = match self.project {
            None => WITH_CREDENTIAL.on(tx).bind(self.credential).bind(before).bind(wanted),
            Some(project) => WITH_BOTH.on(tx).bind(self.credential).bind(before).bind(wanted).bind(project),
        };
        let found = run.all(|row| Ok((row.int()?, row.time()?, row.text()?))).await?;
        self.batches.went(found.len(), wanted, found.last().map(|(seq, at, _)| (*seq, *at)));
        reach.rows = reach.rows.saturating_sub(found.len());
        for (_, _, body) in &found {
            reach.bytes = reach.bytes.saturating_sub(body.len());
            for (key, at) in batch::key_calls(body, self.credential, self.project) {
                self.note(&key, at);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_part_leaves_goes_to_the_others() {
        let mut reach = Reach { bytes: 90, rows: 9 };
        let given = reach.part(3);
        assert_eq!(given, Reach { bytes: 30, rows: 3 });
        reach.take_back(given, Reach { bytes: 20, rows: 0 });
        assert_eq!(reach, Reach { bytes: 80, rows: 6 });
        assert_eq!(reach.part(0), reach);
        assert!(!reach.is_spent() && reach.part(7).is_spent());
    }
}
