//! What people get to see of the trail: the members of a project all that happened in it, the owner of a
//! credential all that happened to it, in whichever project, and superusers what belongs to no project and no
//! credential. Newest first here; [`super::export`] has the same from the oldest on.

use latchstring_model::entity::Outcome;
use latchstring_model::id::{CallId, CredentialId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, Timestamp};
use latchstring_store::audit::{self as rows, AuditFilter, AuditItem};
use latchstring_store::credentials::CredentialRow;
use latchstring_store::{Page, Paging, ReadTx, shares};
use serde_json::{Map, Value};

use super::body::{self, Known};
use crate::actor::Actor;
use crate::credentials::access::owned;
use crate::permissions::Operation;
use crate::projects::access;
use crate::{Broker, refusals};

/// What a list is narrowed to, as people write it.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// A slug in the project, or an id.
    pub credential: Option<String>,
    /// An id or an e-mail address.
    pub actor: Option<String>,
    /// `<thing>.<verb>`.
    pub action: Option<String>,
    /// From this moment on.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub to: Option<Timestamp>,
}

/// Whose records.
#[derive(Clone, Debug)]
pub enum Whose {
    /// Slug or id: for its members.
    Project(String),
    /// Id: for its owner, who may be a project.
    Credential(String),
    /// What belongs to no project and no credential: for superusers.
    Instance,
}

/// Whose records somebody may see, and which of them they want.
pub(super) enum Seen {
    Project(ProjectId),
    Credential(Box<CredentialRow>),
    Instance,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Grows in the order in which rows were stored; several calls lie in one row and have numbers that follow
    /// each other.
    pub seq: i64,
    pub at: Timestamp,
    pub actor: ItemActor,
    pub action: String,
    /// What it was done to; for a call, the credential.
    pub target: Option<String>,
    pub environment: Option<String>,
    pub outcome: Outcome,
    pub call: Option<ItemCall>,
    /// The address that it came from.
    pub client: Option<String>,
    /// More about an event: names, never values; the code of a refusal.
    pub detail: Map<String, Value>,
    /// Of the record in its writer's chain, hexadecimal; for a call, of the batch in which it was stored.
    pub hash: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemActor {
    /// `user`, `key`, `server` or `anonymous`.
    pub kind: String,
    pub id: Option<String>,
    pub email: Option<String>,
}

/// A call. Without a status and a duration it goes on, or its server died; a failed one may have no status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemCall {
    pub id: CallId,
    pub method: String,
    pub host: String,
    pub path: String,
    pub status: Option<u16>,
    pub duration_ms: Option<u64>,
    /// Latchstring's own error code, when the call failed because of that.
    pub code: Option<String>,
    /// Whom the other side takes for who did it, as the credential's owner had noted it then.
    pub acts_as: Option<String>,
    /// The project's environment in which it was made; [`Item::environment`] is the set of values that it used.
    pub project_environment: Option<String>,
}

impl Item {
    pub(crate) fn of(found: AuditItem) -> Self {
        let AuditItem { seq, record, result } = found;
        let (mut client, mut detail, mut call) = (None, Map::new(), None);
        match body::read(&record.body) {
            Known::Intent(intent) => {
                client = intent.client.map(|client| client.into_owned());
                call = Some(ItemCall {
                    id: intent.call_id.into_owned(),
                    method: intent.method.into_owned(),
                    host: intent.host.into_owned(),
                    path: intent.path.into_owned(),
                    status: None,
                    duration_ms: None,
                    code: None,
                    acts_as: intent.acts_as.map(|name| name.into_owned()),
                    project_environment: intent.project_environment.map(|name| name.into_owned()),
                });
            }
            Known::Event(event) => {
                client = event.client;
                detail = event
                    .detail
                    .into_iter()
                    .map(|(name, value)| (name.into_owned(), value.into_owned()))
                    .collect();
            }
            Known::Result(_) | Known::Unknown => {}
        }
        if let (Some(call), Some(end)) = (&mut call, &result)
            && let Known::Result(end) = body::read(&end.body)
        {
            call.status = end.status;
            call.duration_ms = Some(end.duration_ms);
            call.code = end.code.map(|code| code.into_owned());
        }
        Self {
            seq,
            at: record.at,
            actor: ItemActor { kind: record.actor_type, id: record.actor_id, email: record.actor_email },
            action: record.action,
            target: record.target,
            environment: record.environment,
            outcome: result.map_or(record.outcome, |end| end.outcome),
            call,
            client,
            detail,
            hash: record.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

fn items(page: Page<AuditItem>) -> Page<Item> {
    Page { items: page.items.into_iter().map(Item::of).collect(), next_cursor: page.next_cursor }
}

impl Broker {
    /// Whether the actor may see these records, and the filter in the words of the rows.
    pub(super) async fn seen(
        &self,
        tx: &mut ReadTx,
        actor: &Actor,
        whose: &Whose,
        filter: &Filter,
    ) -> Refused<(Seen, AuditFilter)> {
        let mut narrowed = AuditFilter {
            credential: None,
            actor: filter.actor.clone(),
            action: filter.action.clone(),
            from: filter.from,
            to: filter.to,
        };
        let seen = match whose {
            Whose::Project(named) => {
                let project = access::member(tx, actor, named, Operation::AuditLook).await?.project.id;
                if let Some(named) = &filter.credential {
                    narrowed.credential = Some(self.credential_in(tx, &project, named).await?);
                }
                Seen::Project(project)
            }
            Whose::Credential(id) => {
                Seen::Credential(Box::new(owned(tx, actor, id, Operation::CredentialAudit).await?))
            }
            Whose::Instance => {
                actor.may(Operation::InstanceAudit)?;
                Seen::Instance
            }
        };
        Ok((seen, narrowed))
    }

    /// By the slug that it has in the project, or by its id: what was deleted or withdrawn is no longer shared, its
    /// records are still here.
    async fn credential_in(
        &self,
        tx: &mut ReadTx,
        project: &ProjectId,
        named: &str,
    ) -> Refused<CredentialId> {
        let share = shares::in_project(tx, project, named).await.map_err(refusals::store)?;
        let id = share.map(|share| share.credential_id).or_else(|| named.parse::<CredentialId>().ok());
        id.ok_or_else(|| {
            Problem::new(Code::CredentialNotFound, "This project has no credential of that name.")
                .hint("Use its slug or id as the project's credentials list shows it; one that was deleted is found by its id.")
                .into()
        })
    }

    /// Newest first. A call comes once, with how it ended.
    pub async fn audit(
        &self,
        actor: &Actor,
        whose: &Whose,
        filter: &Filter,
        paging: &Paging,
    ) -> Refused<Page<Item>> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let (seen, filter) = self.seen(&mut tx, actor, whose, filter).await?;
        let page = match &seen {
            Seen::Project(project) => rows::list_of_project(&mut tx, project, &filter, paging).await,
            Seen::Credential(row) => rows::list_of_credential(&mut tx, row, &filter, paging).await,
            Seen::Instance => rows::list_of_instance(&mut tx, &filter, paging).await,
        };
        page.map(items).map_err(refusals::store)
    }
}
