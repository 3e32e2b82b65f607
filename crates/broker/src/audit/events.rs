//! Events: what is recorded besides calls.

use latchstring_journal::chain::{self, Head};
use latchstring_model::Timestamp;
use latchstring_model::entity::Outcome;
use latchstring_model::id::{CredentialId, ProjectId, ServerId};
use latchstring_model::problem::Refused;
use latchstring_store::audit::{self, AuditRecord, JournalRow};
use latchstring_store::{StoreError, WriteTx};
use serde_json::{Map, Value};

use super::body::{self, EventBody};
use crate::actor::Actor;
use crate::{Broker, refusals};

/// One event. `action` is `<thing>.<verb>`; `detail` never holds values of secrets, only names.
#[derive(Clone, Debug)]
pub struct Event {
    pub action: &'static str,
    pub target: Option<String>,
    pub project: Option<ProjectId>,
    pub credential: Option<CredentialId>,
    pub environment: Option<String>,
    pub outcome: Outcome,
    pub detail: Map<String, Value>,
}

impl Event {
    pub fn new(action: &'static str) -> Self {
        Self {
            action,
            target: None,
            project: None,
            credential: None,
            environment: None,
            outcome: Outcome::Ok,
            detail: Map::new(),
        }
    }

    #[must_use]
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    #[must_use]
    pub fn project(mut self, project: &ProjectId) -> Self {
        self.project = Some(project.clone());
        self
    }

    #[must_use]
    pub fn credential(mut self, credential: &CredentialId) -> Self {
        self.credential = Some(credential.clone());
        self
    }

    #[must_use]
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }
}

/// The chain of what a server process records itself.
pub(crate) fn writer(server: &ServerId) -> String {
    format!("{server}.events")
}

/// Appends events to the server's chain, in their order. From here until the transaction ends other writers
/// of the trail wait: call it last.
pub(crate) async fn append(
    tx: &mut WriteTx,
    server: &ServerId,
    now: Timestamp,
    events: &[(&Actor, Event)],
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let writer = writer(server);
    let from = audit::lock_head(tx, &writer, &Head::START.hash).await?;
    let mut link = Linker::after(&from)?;
    let mut records = Vec::with_capacity(events.len());
    for (actor, event) in events {
        let text = EventBody::of(actor, event, now).to_text().map_err(unwritable)?;
        records.push(link.next(&writer, text)?);
    }
    let to = JournalRow { number: link.number(), head: link.hash(), ..from.clone() };
    audit::append(tx, &from, &records, &to).await
}

fn unwritable(error: serde_json::Error) -> StoreError {
    StoreError::BadRow(format!("an event cannot be written as JSON: {error}"))
}

/// Makes records that follow each other.
pub(crate) struct Linker {
    head: Head,
}

impl Linker {
    pub fn after(row: &JournalRow) -> Result<Self, StoreError> {
        Ok(Self { head: head_of(row)? })
    }

    pub fn next(&mut self, writer: &str, text: String) -> Result<AuditRecord, StoreError> {
        let number = self.head.number.saturating_add(1);
        let previous = self.head.hash;
        let hash = chain::next(previous, writer, number, text.as_bytes());
        self.head = Head { number, hash };
        let columns = body::columns(&text);
        Ok(columns.into_record(writer, i64::try_from(number).unwrap_or(i64::MAX), text, &previous, &hash))
    }

    pub fn number(&self) -> i64 {
        i64::try_from(self.head.number).unwrap_or(i64::MAX)
    }

    pub fn hash(&self) -> Vec<u8> {
        self.head.hash.to_vec()
    }
}

pub(crate) fn head_of(row: &JournalRow) -> Result<Head, StoreError> {
    let bad = || StoreError::BadRow(format!("the head of the audit chain {}", row.writer));
    let number = u64::try_from(row.number).map_err(|_| bad())?;
    let hash = row.head.as_slice().try_into().map_err(|_| bad())?;
    Ok(Head { number, hash })
}

impl Broker {
    /// Records an event in the transaction of the change that it tells of. Other writers of the trail wait
    /// from here until that transaction ends: call it last.
    pub async fn record(&self, tx: &mut WriteTx, actor: &Actor, event: Event) -> Refused<()> {
        append(tx, &self.parts.server, self.now(), &[(actor, event)]).await.map_err(refusals::store)
    }

    /// Several events of one change at once.
    pub async fn record_all(&self, tx: &mut WriteTx, actor: &Actor, events: Vec<Event>) -> Refused<()> {
        let events: Vec<_> = events.into_iter().map(|event| (actor, event)).collect();
        append(tx, &self.parts.server, self.now(), &events).await.map_err(refusals::store)
    }
}
