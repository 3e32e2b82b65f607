//! Packing: many records of calls become one row of the trail.
//!
//! A row costs the database many times what a call costs us, so the records of calls lie in batches
//! ([`batch`]), byte for byte as the journal had them. A record that a batch would hide gets a row of its own,
//! behind the batch: a result whose intent went before, which is found by its call alone, and whatever this
//! version does not know. So does an intent that would be alone.

use std::collections::{BTreeSet, HashMap, HashSet};

use latchstring_store::audit::batch::{self, CallFact, MAX_BYTES, MAX_LINES};

/// One row to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    pub body: String,
    /// By what a batch is found; empty for a row of its own.
    pub scopes: Vec<String>,
}

/// Calls of one writer whose intent went with a batch and whose result has not come, with that batch's number.
/// Only this process's memory knows them: a result of a call that is not here is a row of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Open {
    calls: HashMap<String, i64>,
    /// In how many later batches a batch has results.
    followers: HashMap<i64, usize>,
}

/// Open calls that are remembered. Beyond, results are rows of their own, which costs more and loses nothing.
const MOST_OPEN: usize = 65_536;
/// So many later batches may have results of a batch: a list reads them all to find one.
const MOST_FOLLOWERS: usize = 32;

impl Open {
    /// The batch with the call's intent, if its result may go with a later batch.
    fn batch_of(&self, call: &str, following: &BTreeSet<i64>) -> Option<i64> {
        let number = *self.calls.get(call)?;
        let followers = self.followers.get(&number).copied().unwrap_or(0);
        (followers < MOST_FOLLOWERS || following.contains(&number)).then_some(number)
    }

    fn add(&mut self, number: i64, calls: HashSet<&str>) {
        if self.calls.len() + calls.len() > MOST_OPEN {
            self.calls.clear();
            self.followers.clear();
        }
        if self.calls.is_empty() {
            // Nobody is left who could be followed.
            self.followers.clear();
        }
        self.calls.extend(calls.into_iter().map(|call| (call.to_owned(), number)));
    }
}

/// Records of one writer, in the order of its journal. `next` is the number of the first row that is made.
pub(crate) fn pack<'a>(
    writer: &str,
    next: i64,
    lines: impl Iterator<Item = &'a str>,
    open: &mut Open,
) -> Vec<Packed> {
    let mut rows = Vec::new();
    let mut batch = Batch::default();
    for line in lines {
        batch.take(line, open);
        if batch.read >= MAX_LINES || batch.bytes >= MAX_BYTES {
            std::mem::take(&mut batch).close(writer, next, &mut rows, open);
        }
    }
    batch.close(writer, next, &mut rows, open);
    rows
}

#[derive(Default)]
struct Batch<'a> {
    read: usize,
    bytes: usize,
    lines: Vec<&'a str>,
    alone: Vec<&'a str>,
    /// Calls that have begun here and not ended.
    calls: HashSet<&'a str>,
    scopes: BTreeSet<&'a str>,
    /// Of the intent before: mostly they are the next one's too.
    last: [Option<&'a str>; 2],
    /// Earlier batches whose calls have ended here, and those calls.
    follows: BTreeSet<i64>,
    ended: Vec<&'a str>,
}

impl<'a> Batch<'a> {
    fn take(&mut self, line: &'a str, open: &Open) {
        self.read += 1;
        self.bytes += line.len() + 1;
        let Some(peeked) = batch::peek(line) else { return self.alone.push(line) };
        match peeked.fact {
            CallFact::Intent => {
                self.calls.insert(peeked.call_id);
                let scopes = [peeked.project_id, peeked.credential_id];
                if scopes != self.last {
                    self.scopes.extend(scopes.into_iter().flatten());
                    self.last = scopes;
                }
                self.lines.push(line);
            }
            CallFact::Result if self.calls.remove(peeked.call_id) => self.lines.push(line),
            CallFact::Result => match open.batch_of(peeked.call_id, &self.follows) {
                Some(number) => {
                    self.follows.insert(number);
                    self.ended.push(peeked.call_id);
                    self.lines.push(line);
                }
                None => self.alone.push(line),
            },
        }
    }

    fn close(self, writer: &str, next: i64, rows: &mut Vec<Packed>, open: &mut Open) {
        let number = next.saturating_add(i64::try_from(rows.len()).unwrap_or(i64::MAX));
        for call in &self.ended {
            open.calls.remove(*call);
        }
        match self.lines.as_slice() {
            [] => {}
            // A row of its own is found by its call alone.
            [line] => rows.push(Packed { body: (*line).to_owned(), scopes: Vec::new() }),
            lines => {
                let mut body = lines.join("\n");
                let mut scopes: Vec<String> = self.scopes.iter().map(|scope| (*scope).to_owned()).collect();
                if !self.follows.is_empty() {
                    body.push('\n');
                    body.push_str(&batch::follows_line(self.follows.iter().copied()));
                    scopes.extend(self.follows.iter().map(|number| batch::follower_scope(writer, *number)));
                }
                for followed in &self.follows {
                    *open.followers.entry(*followed).or_default() += 1;
                }
                open.add(number, self.calls);
                rows.push(Packed { body, scopes });
            }
        }
        rows.extend(self.alone.into_iter().map(|line| Packed { body: line.to_owned(), scopes: Vec::new() }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(call: usize, project: &str, credential: &str) -> String {
        format!(
            r#"{{"fact":"intent","call_id":"cal_{call}","at":5,"project_id":"{project}","credential_id":"{credential}","actor":{{"type":"key","id":"k"}},"path":"/a"}}"#
        )
    }

    fn result(call: usize) -> String {
        format!(r#"{{"fact":"result","call_id":"cal_{call}","at":6,"outcome":"ok","duration_ms":1}}"#)
    }

    #[test]
    fn a_result_goes_with_its_intent_or_alone() {
        let lines =
            [result(9), intent(1, "prj_a", "crd_a"), "{}".into(), intent(2, "prj_b", "crd_a"), result(1)];
        let rows = pack("w", 1, lines.iter().map(String::as_str), &mut Open::default());
        let bodies: Vec<&str> = rows.iter().map(|row| row.body.as_str()).collect();
        let batch = [lines[1].as_str(), &lines[3], &lines[4]].join("\n");
        assert_eq!(bodies, [batch.as_str(), &lines[0], "{}"]);
        assert_eq!(rows[0].scopes, ["crd_a", "prj_a", "prj_b"]);
        assert!(rows[1].scopes.is_empty() && rows[2].scopes.is_empty());
        let found: Vec<_> = batch::scopes("w", &rows[0].body).into_iter().collect();
        assert_eq!(found, rows[0].scopes, "as verification finds them");
    }

    #[test]
    fn a_late_result_goes_with_a_later_batch_that_names_the_first() {
        let mut open = Open::default();
        let first = [intent(1, "p", "c"), intent(2, "p", "c"), intent(3, "p", "c"), result(2)];
        assert_eq!(pack("w", 7, first.iter().map(String::as_str), &mut open).len(), 1);
        let second = [result(1), intent(4, "p", "c"), result(9)];
        let rows = pack("w", 8, second.iter().map(String::as_str), &mut open);
        let body =
            [&second[0], &second[1], r#"{"fact":"follows","batches":[7]}"#].map(str::to_owned).join("\n");
        assert_eq!((rows[0].body.as_str(), rows[1].body.as_str()), (body.as_str(), second[2].as_str()));
        let mut scopes = rows[0].scopes.clone();
        scopes.sort();
        let found: Vec<_> = batch::scopes("w", &rows[0].body).into_iter().collect();
        assert_eq!(found, scopes, "as verification finds them");
        assert_eq!(scopes, ["c", "p", "w/7"]);
        // A result that comes by itself has nothing to go with; a second result of a call is nobody's.
        let third = [result(3)];
        let rows = pack("w", 10, third.iter().map(String::as_str), &mut open);
        assert_eq!(rows, [Packed { body: third[0].clone(), scopes: vec![] }]);
        let fourth = [result(4), result(1)];
        let rows = pack("w", 11, fourth.iter().map(String::as_str), &mut open);
        assert!(rows.iter().all(|row| row.scopes.is_empty()), "{rows:?}");
        assert!(open.calls.is_empty(), "{open:?}");
    }

    #[test]
    fn a_batch_has_few_followers() {
        let mut open = Open::default();
        let first: Vec<String> = (0..200).map(|call| intent(call, "p", "c")).collect();
        pack("w", 1, first.iter().map(String::as_str), &mut open);
        let mut followers = 0;
        for call in 0..100 {
            let lines = [result(2 * call), result(2 * call + 1)];
            let rows = pack("w", 2 + call as i64, lines.iter().map(String::as_str), &mut open);
            followers += rows.iter().filter(|row| !row.scopes.is_empty()).count();
            assert_eq!(rows.len(), if call < MOST_FOLLOWERS { 1 } else { 2 });
        }
        assert_eq!(followers, MOST_FOLLOWERS);
    }

    #[test]
    fn an_intent_alone_is_no_batch() {
        let line = intent(1, "prj_a", "crd_a");
        let rows = pack("w", 1, [line.as_str()].into_iter(), &mut Open::default());
        assert_eq!(rows, [Packed { body: line, scopes: Vec::new() }]);
        assert!(pack("w", 1, std::iter::empty(), &mut Open::default()).is_empty());
    }

    #[test]
    fn batches_are_bounded_and_lose_nothing() {
        let mut lines: Vec<String> =
            (0..5_000).flat_map(|call| [intent(call, "p", "c"), result(call)]).collect();
        lines.push(intent(5_000, "p", &"c".repeat(MAX_BYTES)));
        let rows = pack("w", 1, lines.iter().map(String::as_str), &mut Open::default());
        assert!(rows.iter().all(|row| row.body.lines().count() <= MAX_LINES));
        assert!(rows.len() <= 15, "{}", rows.len());
        let mut packed: Vec<&str> = rows.iter().flat_map(|row| row.body.split('\n')).collect();
        let mut all: Vec<&str> = lines.iter().map(String::as_str).collect();
        packed.sort_unstable();
        all.sort_unstable();
        assert!(packed == all);
    }
}
