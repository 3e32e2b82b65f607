//! Packing: many records of calls become one row of the trail.
//!
//! A row costs the database many times what a call costs us, so the records of calls lie in batches
//! ([`batch`]), byte for byte as the journal had them. A record that a batch would hide gets a row of its own,
//! behind the batch: a result whose intent went before, which is found by its call alone, and whatever this
//! version does not know. So does an intent that would be alone.

use std::collections::{BTreeSet, HashSet};

use latchstring_store::audit::batch::{self, CallFact, MAX_BYTES, MAX_LINES};

/// One row to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    pub body: String,
    /// By what a batch is found; empty for a row of its own.
    pub scopes: Vec<String>,
}

/// Records of one writer, in the order of its journal.
pub(crate) fn pack<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Packed> {
    let (mut rows, mut open) = (Vec::new(), Batch::default());
    for line in lines {
        open.take(line);
        if open.read >= MAX_LINES || open.bytes >= MAX_BYTES {
            std::mem::take(&mut open).close(&mut rows);
        }
    }
    open.close(&mut rows);
    rows
}

#[derive(Default)]
struct Batch<'a> {
    read: usize,
    bytes: usize,
    lines: Vec<&'a str>,
    alone: Vec<&'a str>,
    calls: HashSet<&'a str>,
    scopes: BTreeSet<&'a str>,
    /// Of the intent before: mostly they are the next one's too.
    last: [Option<&'a str>; 2],
}

impl<'a> Batch<'a> {
    fn take(&mut self, line: &'a str) {
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
            CallFact::Result if self.calls.contains(peeked.call_id) => self.lines.push(line),
            CallFact::Result => self.alone.push(line),
        }
    }

    fn close(self, rows: &mut Vec<Packed>) {
        match self.lines.as_slice() {
            [] => {}
            [line] => rows.push(Packed { body: (*line).to_owned(), scopes: Vec::new() }),
            lines => rows.push(Packed {
                body: lines.join("\n"),
                scopes: self.scopes.into_iter().map(str::to_owned).collect(),
            }),
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
        let rows = pack(lines.iter().map(String::as_str));
        let bodies: Vec<&str> = rows.iter().map(|row| row.body.as_str()).collect();
        let batch = [lines[1].as_str(), &lines[3], &lines[4]].join("\n");
        assert_eq!(bodies, [batch.as_str(), &lines[0], "{}"]);
        assert_eq!(rows[0].scopes, ["crd_a", "prj_a", "prj_b"]);
        assert!(rows[1].scopes.is_empty() && rows[2].scopes.is_empty());
        let found: Vec<&str> = batch::scopes(&rows[0].body).into_iter().collect();
        assert_eq!(found, rows[0].scopes, "as verification finds them");
    }

    #[test]
    fn an_intent_alone_is_no_batch() {
        let line = intent(1, "prj_a", "crd_a");
        let rows = pack([line.as_str()].into_iter());
        assert_eq!(rows, [Packed { body: line, scopes: Vec::new() }]);
        assert!(pack(std::iter::empty()).is_empty());
    }

    #[test]
    fn batches_are_bounded_and_lose_nothing() {
        let mut lines: Vec<String> =
            (0..5_000).flat_map(|call| [intent(call, "p", "c"), result(call)]).collect();
        lines.push(intent(5_000, "p", &"c".repeat(MAX_BYTES)));
        let rows = pack(lines.iter().map(String::as_str));
        assert!(rows.iter().all(|row| row.body.lines().count() <= MAX_LINES));
        assert!(rows.len() <= 15, "{}", rows.len());
        let mut packed: Vec<&str> = rows.iter().flat_map(|row| row.body.split('\n')).collect();
        let mut all: Vec<&str> = lines.iter().map(String::as_str).collect();
        packed.sort_unstable();
        all.sort_unstable();
        assert!(packed == all);
    }
}
