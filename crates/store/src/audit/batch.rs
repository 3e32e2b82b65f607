//! Calls in the database: a batch is one row whose body is the records of many calls, as their journal had
//! them, one a line. It always has two lines or more, which tells it from every other body.
//!
//! [`peek`] reads of a line only what shipping needs, in about half a microsecond; lists read more of those
//! lines that somebody is to see.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use latchstring_model::Timestamp;
use latchstring_model::entity::{Fact, Outcome};
use latchstring_model::id::{CallId, CredentialId, ProjectId};
use serde::{Deserialize, Serialize};

use super::{AuditFilter, AuditItem, AuditRecord, CallEnd};

/// Lines of one batch.
pub const MAX_LINES: usize = 1_000;
/// A batch that has as many bytes takes no further line.
pub const MAX_BYTES: usize = 256 << 10;
/// Places for items in one row's share of the numbers that lists give; more than [`MAX_LINES`]. Rows times
/// places stay below 2^53 for two million million rows.
pub const SLOTS: i64 = 4096;
/// The highest `seq` of a row that lists reach.
pub const LAST_ROW: i64 = i64::MAX / SLOTS;

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
    as_written(line).or_else(|| serde_json::from_str(line).ok())
}

/// Reads the first members of a line as the journal writes them: in their order, without blanks, without
/// escapes. Each line is peeked at while it is shipped, and a whole JSON parser would cost more than the rest
/// of it. Anything else is left to that parser.
fn as_written(line: &str) -> Option<Peek<'_>> {
    let rest = line.strip_prefix(r#"{"fact":""#)?;
    let (fact, rest) = match rest.strip_prefix("intent") {
        Some(rest) => (CallFact::Intent, rest),
        None => (CallFact::Result, rest.strip_prefix("result")?),
    };
    let (call_id, rest) = plain_text(rest.strip_prefix(r#"","call_id":""#)?)?;
    let rest = rest.strip_prefix(r#","at":"#)?;
    let (at, rest) = rest.split_once(',')?;
    let at = Timestamp(at.parse().ok()?);
    if fact == CallFact::Result {
        // Nothing that a result has behind its time is looked for.
        return rest.starts_with(r#""outcome":""#).then_some(Peek {
            fact,
            call_id,
            at,
            project_id: None,
            credential_id: None,
        });
    }
    let (project_id, rest) = match rest.strip_prefix(r#""project_id":""#) {
        Some(rest) => {
            let (project, rest) = plain_text(rest)?;
            (Some(project), rest.strip_prefix(',')?)
        }
        None => (None, rest),
    };
    let (credential_id, rest) = plain_text(rest.strip_prefix(r#""credential_id":""#)?)?;
    rest.starts_with(r#","actor":{"#).then_some(Peek {
        fact,
        call_id,
        at,
        project_id,
        credential_id: Some(credential_id),
    })
}

/// A JSON text without escapes, up to its closing quote, and what follows that.
fn plain_text(text: &str) -> Option<(&str, &str)> {
    let (value, rest) = text.split_once('"')?;
    (!value.contains('\\')).then_some((value, rest))
}

/// Whether a record's text is a batch.
pub fn is_batch(body: &str) -> bool {
    body.contains('\n')
}

/// The last line of a batch that holds results of calls which lie in earlier batches: their numbers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Follows {
    fact: FollowsFact,
    batches: Vec<i64>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FollowsFact {
    Follows,
}

/// The line that says which batches of the same writer this one has results for.
pub fn follows_line(batches: impl IntoIterator<Item = i64>) -> String {
    let line = Follows { fact: FollowsFact::Follows, batches: batches.into_iter().collect() };
    // Numbers alone: nothing in it can fail.
    serde_json::to_string(&line).unwrap_or_default()
}

fn follows(line: &str) -> Option<Vec<i64>> {
    // A look at its beginning spares all other lines the parser.
    line.starts_with(r#"{"fact":"follows""#)
        .then(|| serde_json::from_str::<Follows>(line).ok())?
        .map(|line| line.batches)
}

/// The records of a batch: its lines, less the one that says what it follows.
pub fn records(body: &str) -> usize {
    body.split('\n').filter(|line| follows(line).is_none()).count()
}

/// By what a batch with results of that batch's calls is found.
pub fn follower_scope(writer: &str, number: i64) -> String {
    format!("{writer}/{number}")
}

/// By what a batch is found: the projects and credentials of its calls, and the batches that it has results for.
pub fn scopes<'a>(writer: &str, body: &'a str) -> BTreeSet<Cow<'a, str>> {
    let mut scopes = BTreeSet::new();
    for line in body.split('\n') {
        if let Some(line) = peek(line) {
            scopes.extend([line.project_id, line.credential_id].into_iter().flatten().map(Cow::Borrowed));
        } else if let Some(batches) = follows(line) {
            scopes.extend(batches.into_iter().map(|number| Cow::Owned(follower_scope(writer, number))));
        }
    }
    scopes
}

/// What tells a call that was made with a key.
#[derive(Deserialize)]
struct Called<'a> {
    at: Timestamp,
    #[serde(borrow)]
    actor: CalledBy<'a>,
    #[serde(borrow)]
    purpose: Cow<'a, str>,
}

#[derive(Deserialize)]
struct CalledBy<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
}

/// Of a batch's calls with a credential (in one project, or in all) those that keys made: which key, and when.
pub(crate) fn key_calls<'a>(
    body: &'a str,
    credential: &'a CredentialId,
    project: Option<&'a ProjectId>,
) -> impl Iterator<Item = (Cow<'a, str>, Timestamp)> {
    let lines = body.split('\n').filter(move |line| {
        peek(line).is_some_and(|peeked| {
            peeked.fact == CallFact::Intent
                && peeked.credential_id == Some(credential.as_str())
                && project.is_none_or(|project| peeked.project_id == Some(project.as_str()))
        })
    });
    lines.filter_map(|line| {
        let called: Called<'a> = serde_json::from_str(line).ok()?;
        if called.actor.kind != "key" || action(&called.purpose) != Some(USE) {
            return None;
        }
        Some((called.actor.id?, called.at))
    })
}

/// Of a batch's results those that somebody looks for.
pub(super) fn ends_of<'a>(body: &str, wanted: impl Fn(&str) -> Option<&'a CallId>) -> Vec<(CallId, CallEnd)> {
    let lines = body.split('\n').filter_map(|line| Some((line, peek(line)?)));
    lines
        .filter(|(_, peeked)| peeked.fact == CallFact::Result)
        .filter_map(|(line, peeked)| Some((wanted(peeked.call_id)?.clone(), end(line)?)))
        .collect()
}

/// The action of a call that somebody made with a credential.
pub const USE: &str = "credential.use";

/// What a secret left for, as an action; by the journal's word. `None`: a word of a newer version.
pub fn action(purpose: &str) -> Option<&'static str> {
    match purpose {
        "call" | "metadata" | "operation" | "database" => Some(USE),
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
pub(crate) struct Wanted<'a> {
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
            && self.filter.from.is_none_or(|from| record.at >= from)
            && self.filter.to.is_none_or(|to| record.at < to)
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
    let (intents, results) = facts(start, row, wanted, |seq| seq < before);
    intents.into_iter().rev().filter_map(|intent| item(row, wanted, &results, intent)).take(limit).collect()
}

/// The same the other way round: those after `after`.
pub(crate) fn oldest_first(
    start: i64,
    row: &AuditRecord,
    wanted: &Wanted<'_>,
    after: i64,
    limit: usize,
) -> Vec<AuditItem> {
    let (intents, results) = facts(start, row, wanted, |seq| seq > after);
    intents.into_iter().filter_map(|intent| item(row, wanted, &results, intent)).take(limit).collect()
}

/// An intent's place, call and line.
type PlacedIntent<'a> = (i64, &'a str, &'a str);

fn facts<'a>(
    start: i64,
    row: &'a AuditRecord,
    wanted: &Wanted<'_>,
    place: impl Fn(i64) -> bool,
) -> (Vec<PlacedIntent<'a>>, HashMap<&'a str, &'a str>) {
    let mut intents = Vec::new();
    let mut results = HashMap::new();
    for (seq, line) in (start..start.saturating_add(SLOTS)).zip(row.body.split('\n')) {
        let Some(peeked) = peek(line) else { continue };
        match peeked.fact {
            CallFact::Intent if place(seq) && wanted.scopes(&peeked) => {
                intents.push((seq, peeked.call_id, line));
            }
            CallFact::Intent => {}
            CallFact::Result => {
                results.insert(peeked.call_id, line);
            }
        }
    }
    (intents, results)
}

fn item(
    row: &AuditRecord,
    wanted: &Wanted<'_>,
    results: &HashMap<&str, &str>,
    (seq, call, line): PlacedIntent<'_>,
) -> Option<AuditItem> {
    let record = record(row, line).filter(|record| wanted.columns(record))?;
    Some(AuditItem { seq, record, result: results.get(call).and_then(|line| end(line)) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_batch_is_found_by_the_batches_that_it_follows() {
        let result = r#"{"fact":"result","call_id":"cal_1","at":6,"outcome":"ok","duration_ms":1}"#;
        let body = [result, &follows_line([3, 12])].join("\n");
        let found: Vec<_> = scopes("srv_1.0", &body).into_iter().collect();
        assert_eq!(found, ["srv_1.0/12", "srv_1.0/3"]);
        assert_eq!(records(&body), 1);
        assert_eq!(follows(r#"{"fact":"follows","batches":"x"}"#), None);
    }

    #[test]
    fn calls_with_keys_are_found_and_no_others() {
        let (crd, other) = ("crd_0000000001zzzzzzzzzzzzzzzz", "crd_0000000002zzzzzzzzzzzzzzzz");
        let (prj, elsewhere) = ("prj_0000000001zzzzzzzzzzzzzzzz", "prj_0000000002zzzzzzzzzzzzzzzz");
        let intent = |at: i64, project: &str, credential: &str, actor: &str, purpose: &str| {
            format!(
                r#"{{"fact":"intent","call_id":"cal_{at}","at":{at},"project_id":"{project}","credential_id":"{credential}","actor":{actor},"environment":"a\"b","purpose":"{purpose}"}}"#
            )
        };
        let key = r#"{"type":"key","id":"key_1"}"#;
        let person = r#"{"type":"user","id":"usr_1","email":"a@example.com"}"#;
        let body = [
            intent(1, prj, crd, key, "call"),
            intent(2, elsewhere, crd, key, "operation"),
            intent(3, prj, other, key, "call"),
            intent(4, prj, crd, person, "call"),
            intent(5, prj, crd, key, "token"),
            intent(6, prj, crd, r#"{"type":"key"}"#, "call"),
            r#"{"fact":"result","call_id":"cal_1","at":6,"outcome":"ok","duration_ms":1}"#.to_owned(),
        ]
        .join("\n");
        let (credential, project) = (crd.parse().unwrap(), prj.parse().unwrap());
        let found = |project| {
            key_calls(&body, &credential, project)
                .map(|(key, at)| (key.into_owned(), at.0))
                .collect::<Vec<_>>()
        };
        assert_eq!(found(None), [("key_1".to_owned(), 1), ("key_1".to_owned(), 2)]);
        assert_eq!(found(Some(&project)), [("key_1".to_owned(), 1)]);
    }

    #[test]
    fn the_short_way_reads_what_the_parser_reads() {
        let by_parser = |line| serde_json::from_str::<Peek<'_>>(line).ok();
        for line in [
            r#"{"fact":"intent","call_id":"cal_1","at":5,"project_id":"prj_1","credential_id":"crd_1","actor":{"type":"key"},"path":"/a\n"}"#,
            r#"{"fact":"intent","call_id":"cal_1","at":-5,"credential_id":"crd_1","actor":{"type":"key"}}"#,
            r#"{"fact":"result","call_id":"cal_1","at":6,"outcome":"ok","duration_ms":1}"#,
        ] {
            assert!(as_written(line).is_some(), "{line}");
            assert_eq!(as_written(line), by_parser(line), "{line}");
        }
        for line in [
            "",
            "{}",
            r#"{"fact":"other","call_id":"cal_1","at":6}"#,
            r#"{"fact":"intent","call_id":"a\"b","at":5,"credential_id":"c","actor":{}}"#,
            r#"{"fact":"intent","call_id":"a\u0041","at":5,"credential_id":"c","actor":{}}"#,
            r#"{"fact":"intent","at":5,"call_id":"cal_1","credential_id":"c","actor":{}}"#,
            r#"{"fact": "result","call_id":"cal_1","at":6,"outcome":"ok"}"#,
            r#"{"fact":"result","call_id":"cal_1","at":x,"outcome":"ok"}"#,
        ] {
            assert_eq!(as_written(line), None, "{line}");
            assert_eq!(peek(line), by_parser(line), "{line}");
        }
    }
}
