//! The canonical text of a record, and the columns that repeat parts of it for searching.
//!
//! The text alone is hashed. The columns follow from it by one function, so that verification finds a column
//! that was changed beside an untouched text.

use std::borrow::Cow;
use std::collections::BTreeMap;

use latchstring_journal::{Actor as JournalActor, ActorKind, CallResult, Intent, Purpose, Record};
use latchstring_model::Timestamp;
use latchstring_model::entity::{Fact, Outcome};
use latchstring_model::id::{CallId, CredentialId, ProjectId};
use latchstring_store::audit::AuditRecord;
use latchstring_store::audit::batch::{self, plain};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::events::Event;
use crate::actor::{Actor, Via, Who};

/// Longer targets are cut: they can come from strangers.
const MAX_TARGET: usize = 1024;

/// An event as it is hashed: compact JSON, members in this order, absent members left out, times in
/// milliseconds since 1970 (UTC), the members of `detail` sorted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EventBody<'a> {
    /// Always `event`.
    pub fact: Fact,
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<Cow<'a, ProjectId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_id: Option<Cow<'a, CredentialId>>,
    pub actor: JournalActor<'a>,
    /// The session or key with which a person came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Cow<'a, str>>,
    /// The caller's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    pub action: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Cow<'a, str>>,
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: BTreeMap<Cow<'a, str>, Cow<'a, Value>>,
}

impl<'a> EventBody<'a> {
    pub fn of(actor: &'a Actor, event: &'a Event, now: Timestamp) -> Self {
        let (kind, id, email) = actor.audited();
        let via = match &actor.who {
            Who::Person { via: Via::Session { id, .. }, .. } => Some(id.as_str()),
            Who::Person { via: Via::Key { id, .. }, .. } => Some(id.as_str()),
            _ => None,
        };
        Self {
            fact: Fact::Event,
            at: now,
            project_id: event.project.as_ref().map(Cow::Borrowed),
            credential_id: event.credential.as_ref().map(Cow::Borrowed),
            actor: JournalActor { kind: kind_of(kind), id: id.map(Cow::Owned), email: email.map(Cow::Owned) },
            via: via.map(Cow::Borrowed),
            client: actor.address.map(|address| address.to_string()),
            action: Cow::Borrowed(event.action),
            target: event.target.as_deref().map(cut),
            environment: event.environment.as_deref().map(Cow::Borrowed),
            outcome: event.outcome,
            detail: event
                .detail
                .iter()
                .map(|(name, value)| (Cow::Borrowed(name.as_str()), Cow::Borrowed(value)))
                .collect(),
        }
    }

    pub fn to_text(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

fn kind_of(word: &str) -> ActorKind {
    ActorKind::ALL.iter().copied().find(|kind| kind.as_str() == word).unwrap_or(ActorKind::Anonymous)
}

fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TARGET {
        return Cow::Borrowed(text);
    }
    let mut end = MAX_TARGET;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}…", &text[..end]))
}

/// What is known of a text that a journal or this module wrote.
pub(crate) enum Known<'a> {
    Event(Box<EventBody<'a>>),
    Intent(Box<Intent<'a>>),
    Result(Box<CallResult<'a>>),
    /// By a newer version, most likely: kept and hashed as it is.
    Unknown,
}

pub(crate) fn read(text: &str) -> Known<'_> {
    match Record::parse(text.as_bytes()) {
        Ok(Record::Intent(intent)) => Known::Intent(Box::new(intent)),
        Ok(Record::Result(result)) => Known::Result(Box::new(result)),
        Err(_) => match serde_json::from_str::<EventBody<'_>>(text) {
            Ok(event) if event.fact == Fact::Event => Known::Event(Box::new(event)),
            _ => Known::Unknown,
        },
    }
}

/// What a secret left for, as an action.
fn action(purpose: Purpose) -> &'static str {
    batch::action(purpose.as_str()).unwrap_or("credential.use")
}

/// Everything in a row that follows from its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    pub at: Timestamp,
    pub fact: Fact,
    pub call_id: Option<CallId>,
    pub project_id: Option<ProjectId>,
    pub credential_id: Option<CredentialId>,
    pub actor_type: String,
    pub actor_id: Option<String>,
    pub actor_email: Option<String>,
    pub action: String,
    pub target: Option<String>,
    pub environment: Option<String>,
    pub outcome: Outcome,
}

/// A batch says no more of itself than when its first record was made: its calls are found by its scopes.
fn of_batch(text: &str) -> Columns {
    let first = text.split('\n').next().and_then(batch::peek);
    Columns {
        at: first.map_or(Timestamp(0), |first| first.at),
        fact: Fact::Batch,
        call_id: None,
        project_id: None,
        credential_id: None,
        actor_type: ActorKind::Server.as_str().to_owned(),
        actor_id: None,
        actor_email: None,
        action: "calls".to_owned(),
        target: None,
        environment: None,
        outcome: Outcome::Ok,
    }
}

pub(crate) fn columns(text: &str) -> Columns {
    if batch::is_batch(text) {
        return of_batch(text);
    }
    match read(text) {
        Known::Event(event) => Columns {
            at: event.at,
            fact: Fact::Event,
            call_id: None,
            project_id: event.project_id.map(Cow::into_owned),
            credential_id: event.credential_id.map(Cow::into_owned),
            actor_type: event.actor.kind.as_str().to_owned(),
            actor_id: event.actor.id.map(plain),
            actor_email: event.actor.email.map(plain),
            action: plain(event.action),
            target: event.target.map(plain),
            environment: event.environment.map(plain),
            outcome: event.outcome,
        },
        Known::Intent(intent) => Columns {
            at: intent.at,
            fact: Fact::Intent,
            call_id: Some(intent.call_id.into_owned()),
            project_id: intent.project_id.map(Cow::into_owned),
            target: Some(intent.credential_id.to_string()),
            credential_id: Some(intent.credential_id.into_owned()),
            actor_type: intent.actor.kind.as_str().to_owned(),
            actor_id: intent.actor.id.map(plain),
            actor_email: intent.actor.email.map(plain),
            action: action(intent.purpose).to_owned(),
            environment: Some(plain(intent.environment)),
            // That it was recorded went well. How the call ended is the result's to say, and the list joins both.
            outcome: Outcome::Ok,
        },
        // Found through its call alone: it has no project and no credential of its own.
        Known::Result(result) => Columns {
            at: result.at,
            fact: Fact::Result,
            call_id: Some(result.call_id.into_owned()),
            project_id: None,
            credential_id: None,
            actor_type: ActorKind::Server.as_str().to_owned(),
            actor_id: None,
            actor_email: None,
            action: "call.end".to_owned(),
            target: None,
            environment: None,
            outcome: result.outcome,
        },
        Known::Unknown => Columns {
            at: Timestamp(0),
            fact: Fact::Event,
            call_id: None,
            project_id: None,
            credential_id: None,
            actor_type: ActorKind::Server.as_str().to_owned(),
            actor_id: None,
            actor_email: None,
            action: "record.unknown".to_owned(),
            target: None,
            environment: None,
            outcome: Outcome::Ok,
        },
    }
}

impl Columns {
    pub fn into_record(
        self,
        writer: &str,
        number: i64,
        body: String,
        previous: &[u8],
        hash: &[u8],
    ) -> AuditRecord {
        AuditRecord {
            writer: writer.to_owned(),
            number,
            at: self.at,
            fact: self.fact,
            call_id: self.call_id,
            project_id: self.project_id,
            credential_id: self.credential_id,
            actor_type: self.actor_type,
            actor_id: self.actor_id,
            actor_email: self.actor_email,
            action: self.action,
            target: self.target,
            environment: self.environment,
            outcome: self.outcome,
            body,
            previous: previous.to_vec(),
            hash: hash.to_vec(),
        }
    }

    pub fn are_of(&self, record: &AuditRecord) -> bool {
        let columns = Columns {
            at: record.at,
            fact: record.fact,
            call_id: record.call_id.clone(),
            project_id: record.project_id.clone(),
            credential_id: record.credential_id.clone(),
            actor_type: record.actor_type.clone(),
            actor_id: record.actor_id.clone(),
            actor_email: record.actor_email.clone(),
            action: record.action.clone(),
            target: record.target.clone(),
            environment: record.environment.clone(),
            outcome: record.outcome,
        };
        *self == columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_is_an_action() {
        for purpose in Purpose::ALL {
            assert!(batch::action(purpose.as_str()).is_some(), "{}", purpose.as_str());
        }
    }
}
