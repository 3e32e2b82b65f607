//! Calls in the database: a batch is one row whose body is the records of many calls, as their journal had
//! them, one a line. It always has two lines or more, which tells it from every other body.
//!
//! [`peek`] reads of a line only what shipping needs, in about half a microsecond; lists read more of those
//! lines that somebody is to see.

use std::collections::{BTreeSet, HashMap};

use latchstring_model::Timestamp;
use latchstring_model::entity::{Fact, Outcome};
use latchstring_model::id::{CallId, CredentialId, ProjectId};
use serde::Deserialize;

use super::{AuditFilter, AuditItem, AuditRecord, CallEnd};

/// Lines of one batch.
pub const MAX_LINES: usize = 1_000;
/// A batch that has as many bytes takes no further line.
pub const MAX_BYTES: usize = 256 << 10;
/// Places for items in one row's share of the numbers that lists give; more than [`MAX_LINES`]. Rows times
/// places stay below 2^53 for two million million rows.
pub const SLOTS: i64 = 4096;

/// What shipping needs to know of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Peek<'a> {
    pub fact: CallFact,
    pub call_id: &'a str,
    pub at: Timestamp,
    #[serde(borrow, default)]
    pub project_id: Option<&'a str>,
    #[serde(borrow, default)]
    pub credential_id: Option<&'a str>,
}

/// The facts that a line of a batch can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallFact {
    Intent,
    Result,
}

/// `None`: no record of a call that this version knows.
pub fn peek(line: &str) -> Option<Peek<'_>> {
    serde_json::from_str(line).ok()
}

/// Whether a record's text is a batch.
pub fn is_batch(body: &str) -> bool {
    body.contains('\n')
}

/// The projects and credentials of a batch's calls.
pub fn scopes(body: &str) -> BTreeSet<&str> {
    body.split('\n')
        .filter_map(peek)
        .flat_map(|line| [line.project_id, line.credential_id])
        .flatten()
        .collect()
}

/// What a secret left for, as an action; by the journal's word. `None`: a word of a newer version.
pub fn action(purpose: &str) -> Option<&'static str> {
    match purpose {
        "call" | "metadata" | "operation" | "database" => Some("credential.use"),
        "verify" => Some("credential.verify"),
        // A step obtains a session, which is a token like any other.
        "token" | "step" => Some("token.refresh"),
        "revoke" => Some("token.revoke"),
        "webhook" => Some("webhook.deliver"),
        _ => None,
    }
}

/// PostgreSQL's TEXT cannot hold NUL; JSON writes it as an escape, a column needs another sign.
pub fn plain(text: impl Into<String>) -> String {
    let text = text.into();
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// What a list is narrowed to.
pub(super) struct Wanted<'a> {
    pub project: Option<&'a ProjectId>,
    pub filter: &'a AuditFilter,
}

impl Wanted<'_> {
    fn scopes(&self, line: &Peek<'_>) -> bool {
        self.project.is_none_or(|project| line.project_id == Some(project.as_str()))
            && self.filter.credential.as_ref().is_none_or(|id| line.credential_id == Some(id.as_str()))
    }

    fn columns(&self, record: &AuditRecord) -> bool {
        let by = |actor: &String| {
            record.actor_id.as_ref() == Some(actor) || record.actor_email.as_ref() == Some(actor)
        };
        self.filter.actor.as_ref().is_none_or(by)
            && self.filter.action.as_ref().is_none_or(|action| record.action == *action)
    }
}

#[derive(Deserialize)]
struct Intent {
    call_id: CallId,
    at: Timestamp,
    #[serde(default)]
    project_id: Option<ProjectId>,
    credential_id: CredentialId,
    actor: Actor,
    environment: String,
    purpose: String,
}

#[derive(Deserialize)]
struct Actor {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    email: Option<String>,
}

#[derive(Deserialize)]
struct End {
    at: Timestamp,
    outcome: Outcome,
}

/// The intent of a batch as if it had a row of its own. `None` for a record that this version does not know.
fn record(row: &AuditRecord, line: &str) -> Option<AuditRecord> {
    let intent: Intent = serde_json::from_str(line).ok()?;
    Some(AuditRecord {
        writer: row.writer.clone(),
        number: row.number,
        at: intent.at,
        fact: Fact::Intent,
        call_id: Some(intent.call_id),
        project_id: intent.project_id,
        target: Some(intent.credential_id.to_string()),
        credential_id: Some(intent.credential_id),
        actor_type: intent.actor.kind,
        actor_id: intent.actor.id.map(plain),
        actor_email: intent.actor.email.map(plain),
        action: action(&intent.purpose)?.to_owned(),
        environment: Some(plain(intent.environment)),
        outcome: Outcome::Ok,
        body: line.to_owned(),
        previous: row.previous.clone(),
        hash: row.hash.clone(),
    })
}

fn end(line: &str) -> Option<CallEnd> {
    let end: End = serde_json::from_str(line).ok()?;
    Some(CallEnd { at: end.at, outcome: end.outcome, body: line.to_owned() })
}

/// At most `limit` calls of a batch, newest first. Its first item would have `start` as its number; only
/// those before `before` are given.
pub(super) fn newest_first(
    start: i64,
    row: &AuditRecord,
    wanted: &Wanted<'_>,
    before: i64,
    limit: usize,
) -> Vec<AuditItem> {
    let mut intents: Vec<(i64, &str, &str)> = Vec::new();
    let mut results: HashMap<&str, &str> = HashMap::new();
    for (seq, line) in (start..start.saturating_add(SLOTS)).zip(row.body.split('\n')) {
        let Some(peeked) = peek(line) else { continue };
        match peeked.fact {
            CallFact::Intent if seq < before && wanted.scopes(&peeked) => {
                intents.push((seq, peeked.call_id, line));
            }
            CallFact::Intent => {}
            CallFact::Result => {
                results.insert(peeked.call_id, line);
            }
        }
    }
    let item = |(seq, call, line): (i64, &str, &str)| {
        let record = record(row, line).filter(|record| wanted.columns(record))?;
        Some(AuditItem { seq, record, result: results.get(call).and_then(|line| end(line)) })
    };
    intents.into_iter().rev().filter_map(item).take(limit).collect()
}
