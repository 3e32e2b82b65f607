//! The trail as text, from the oldest record on: for archives, spreadsheets, and programs that collect logs.
//!
//! It is read part by part, and every part asks anew whether the person may still see it. Somebody who follows goes
//! on behind the last `seq`: it grows with commits. A call that goes on is told without its end, which is not told
//! again; who needs it stays some minutes behind.

use std::fmt::Write as _;

use latchstring_model::Timestamp;
use latchstring_model::id::{ProjectId, ServerId};
use latchstring_model::problem::Refused;
use latchstring_store::audit::AuditFilter;
use latchstring_store::audit_forward::{self as forward, Of};
use latchstring_store::{Store, StoreError, projects, shares};
use serde_json::{Map, Value, json};

use super::events::{self, Event};
use super::list::{Filter, Item, Seen, Whose};
use crate::actor::Actor;
use crate::{Broker, refusals};

/// Items that are read at once.
const PART: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line, as lists have them.
    JsonLines,
    /// RFC 4180, with names in the first line.
    Csv,
}

/// A part of an export.
pub struct Part {
    pub items: Vec<Item>,
    /// Behind which `seq` it goes on.
    pub next: i64,
    pub more: bool,
}

fn read(part: forward::Part) -> Part {
    let forward::Part { items, next, more } = part;
    Part { items: items.into_iter().map(Item::of).collect(), next, more }
}

impl Broker {
    /// What lies behind `after`, oldest first; at most `limit` items, and no more than are read at once.
    pub async fn audit_after(
        &self,
        actor: &Actor,
        whose: &Whose,
        filter: &Filter,
        after: i64,
        limit: Option<usize>,
    ) -> Refused<Part> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let (seen, filter) = self.seen(&mut tx, actor, whose, filter).await?;
        let of = match &seen {
            Seen::Project(project) => Of::Project(project),
            Seen::Credential(row) => Of::Credential(&row.id),
            Seen::Instance => Of::Instance,
        };
        let limit = limit.unwrap_or(PART).min(PART);
        forward::part(&mut tx, of, &filter, after, limit).await.map(read).map_err(refusals::store)
    }

    /// Somebody takes a copy of the trail with them: recorded before its first line leaves.
    pub async fn note_export(
        &self,
        actor: &Actor,
        whose: &Whose,
        filter: &Filter,
        format: Format,
    ) -> Refused<()> {
        let mut reader = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let (seen, _) = self.seen(&mut reader, actor, whose, filter).await?;
        drop(reader);
        let mut event = exported(filter, format);
        match &seen {
            Seen::Project(project) => event = event.project(project),
            Seen::Credential(row) => event = event.credential(&row.id),
            Seen::Instance => {}
        }
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        self.record(&mut tx, actor, event).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }
}

/// The event of an export.
fn exported(filter: &Filter, format: Format) -> Event {
    let narrowed = [
        ("credential", filter.credential.clone()),
        ("actor", filter.actor.clone()),
        ("action", filter.action.clone()),
        ("from", filter.from.map(|at| at.to_rfc3339())),
        ("to", filter.to.map(|at| at.to_rfc3339())),
    ];
    let event =
        Event::new("audit.export").detail("format", if format == Format::Csv { "csv" } else { "jsonl" });
    narrowed
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .fold(event, |event, (name, value)| event.detail(name, value))
}

/// What the operator wants, who may see everything.
#[derive(Clone, Debug, Default)]
pub struct ForOperator {
    project: Option<ProjectId>,
    instance: bool,
    filter: AuditFilter,
}

impl ForOperator {
    /// `project`: slug or id. `instance`: only what belongs to no project and no credential. The filter's credential
    /// is an id or, with a project, its slug there.
    pub async fn of(store: &Store, project: Option<&str>, instance: bool, filter: &Filter) -> Refused<Self> {
        let mut reader = store.read().await.map_err(refusals::store)?;
        let project = match project {
            None => None,
            Some(named) => {
                let found = projects::by_slug_or_id(&mut reader, named).await.map_err(refusals::store)?;
                let id = found.map(|found| found.id).or_else(|| named.parse().ok());
                Some(id.ok_or_else(|| {
                    refusals::not_found("There is no such project; one that was deleted is found by its id.")
                })?)
            }
        };
        let credential = match &filter.credential {
            None => None,
            Some(named) => {
                let share = match &project {
                    Some(project) => {
                        shares::in_project(&mut reader, project, named).await.map_err(refusals::store)?
                    }
                    None => None,
                };
                let id = share.map(|share| share.credential_id).or_else(|| named.parse().ok());
                Some(id.ok_or_else(|| {
                    refusals::not_found(
                        "There is no such credential; name it by its id, or by its slug with a project.",
                    )
                })?)
            }
        };
        let Filter { actor, action, from, to, .. } = filter.clone();
        Ok(Self { project, instance, filter: AuditFilter { credential, actor, action, from, to } })
    }

    /// What lies behind `after`, oldest first.
    pub async fn part(&self, store: &Store, after: i64) -> Result<Part, StoreError> {
        let of = match &self.project {
            _ if self.instance => Of::Instance,
            Some(project) => Of::Project(project),
            None => Of::Everything,
        };
        let mut tx = store.begin_read().await?;
        forward::part(&mut tx, of, &self.filter, after, PART).await.map(read)
    }

    /// Records that the operator took a copy.
    pub async fn note(
        &self,
        store: &Store,
        server: &ServerId,
        now: Timestamp,
        filter: &Filter,
        format: Format,
    ) -> Result<(), StoreError> {
        let mut event = exported(filter, format);
        event.project.clone_from(&self.project);
        let mut tx = store.begin_upkeep().await?;
        events::append(&mut tx, server, now, &[(&Actor::operator(), event)]).await?;
        tx.commit().await.map(drop)
    }
}

/// An item as JSON: what lists answer.
pub fn as_json(item: &Item) -> Value {
    let mut actor = json!({ "type": item.actor.kind, "id": item.actor.id });
    insert(&mut actor, "email", item.actor.email.as_deref());
    let mut out = json!({
        "seq": item.seq, "at": item.at.to_rfc3339(), "actor": actor, "action": item.action,
        "target": item.target, "outcome": item.outcome.as_str(), "hash": item.hash,
    });
    insert(&mut out, "environment", item.environment.as_deref());
    insert(&mut out, "client", item.client.as_deref());
    if let Some(call) = &item.call {
        let mut told = json!({
            "id": call.id.as_str(), "method": call.method, "host": call.host, "path": call.path,
            "status": call.status, "duration_ms": call.duration_ms,
        });
        insert(&mut told, "code", call.code.as_deref());
        insert(&mut told, "acts_as", call.acts_as.as_deref());
        insert(&mut told, "project_environment", call.project_environment.as_deref());
        set(&mut out, "call", told);
    }
    if !item.detail.is_empty() {
        set(&mut out, "detail", Value::Object(item.detail.clone()));
    }
    out
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

fn insert(object: &mut Value, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        set(object, name, value.into());
    }
}

/// The columns of a CSV export.
const COLUMNS: [&str; 21] = [
    "seq",
    "at",
    "actor_type",
    "actor_id",
    "actor_email",
    "action",
    "target",
    "environment",
    "outcome",
    "call_id",
    "method",
    "host",
    "path",
    "status",
    "duration_ms",
    "code",
    "acts_as",
    "project_environment",
    "client",
    "detail",
    "hash",
];

/// What stands before the first item.
pub fn head(format: Format) -> String {
    match format {
        Format::JsonLines => String::new(),
        Format::Csv => COLUMNS.join(",") + "\r\n",
    }
}

/// Items as text, each with its line break.
pub fn lines(format: Format, items: &[Item]) -> String {
    let mut out = String::with_capacity(items.len() * 256);
    for item in items {
        match format {
            Format::JsonLines => {
                // Writing into a text cannot fail.
                let _ = writeln!(out, "{}", as_json(item));
            }
            Format::Csv => row(&mut out, item),
        }
    }
    out
}

fn row(out: &mut String, item: &Item) {
    let call = item.call.as_ref();
    let detail = if item.detail.is_empty() { String::new() } else { text_of(&item.detail) };
    let cells: [&str; 21] = [
        &item.seq.to_string(),
        &item.at.to_rfc3339(),
        &item.actor.kind,
        item.actor.id.as_deref().unwrap_or_default(),
        item.actor.email.as_deref().unwrap_or_default(),
        &item.action,
        item.target.as_deref().unwrap_or_default(),
        item.environment.as_deref().unwrap_or_default(),
        item.outcome.as_str(),
        call.map_or("", |call| call.id.as_str()),
        call.map_or("", |call| &call.method),
        call.map_or("", |call| &call.host),
        call.map_or("", |call| &call.path),
        &call.and_then(|call| call.status).map(|status| status.to_string()).unwrap_or_default(),
        &call.and_then(|call| call.duration_ms).map(|millis| millis.to_string()).unwrap_or_default(),
        call.and_then(|call| call.code.as_deref()).unwrap_or_default(),
        call.and_then(|call| call.acts_as.as_deref()).unwrap_or_default(),
        call.and_then(|call| call.project_environment.as_deref()).unwrap_or_default(),
        item.client.as_deref().unwrap_or_default(),
        &detail,
        &item.hash,
    ];
    for (at, value) in cells.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        cell(out, value);
    }
    out.push_str("\r\n");
}

fn text_of(detail: &Map<String, Value>) -> String {
    serde_json::to_string(detail).unwrap_or_default()
}

/// What spreadsheets begin formulas with, full-width forms too.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// One cell. What a spreadsheet would take for a formula gets an apostrophe before it: names and paths come from
/// strangers, and opening an export must run nothing.
fn cell(out: &mut String, value: &str) {
    let formula = value.trim_start_matches(' ').starts_with(FORMULA);
    let quoted = formula || value.contains([',', '"', '\r', '\n', '\t']) || value.starts_with(' ');
    if !quoted {
        out.push_str(value);
        return;
    }
    out.push('"');
    if formula {
        out.push('\'');
    }
    for c in value.chars() {
        if c == '"' {
            out.push('"');
        }
        // A row stays a row, also for programs that read line by line.
        out.push(if matches!(c, '\r' | '\n') { ' ' } else { c });
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn celled(value: &str) -> String {
        let mut out = String::new();
        cell(&mut out, value);
        out
    }

    #[test]
    fn no_cell_is_a_formula_or_more_than_one() {
        for (value, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("  =1", "\"'  =1\""),
            ("a\r\nb,=1", "\"a  b,=1\""),
            ("\n=1", "\"' =1\""),
            ("＝1", "\"'＝1\""),
            ("/a=b", "/a=b"),
        ] {
            assert_eq!(celled(value), expected, "{value:?}");
        }
    }
}
