//! What `latchstring apply` has made in a project. A mark is no right: it is what `apply --prune` goes by, and what
//! it then asks for is decided as for everybody else. Marks go with their things, so that what a person makes anew
//! under the same name is theirs.

use latchstring_model::id::{ProjectId, UserId, WebhookId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, Timestamp};
use latchstring_store::applied::{self as store, AppliedKind, AppliedRow, Thing};
use latchstring_store::{Tx, connectors, environments, keychains, members, secrets, shares, webhooks};

use crate::actor::Actor;
use crate::audit::Event;
use crate::people::{Page, Paging};
use crate::permissions::Operation;
use crate::projects::access;
use crate::projects::values::SecretKind;
use crate::{Broker, refusals};

/// Of one project: more than a file that somebody reads has things.
const MOST: i64 = 20_000;

/// As it is shown: `production/REGION` for what is in an environment.
pub struct Applied {
    pub kind: &'static str,
    pub name: String,
    pub marked_by: String,
    pub marked_at: Timestamp,
}

impl Applied {
    /// Where it stands in the list.
    fn place(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

impl From<AppliedRow> for Applied {
    fn from(row: AppliedRow) -> Self {
        let Thing { kind, environment, name } = row.thing;
        Self {
            kind: kind.as_str(),
            name: if environment.is_empty() { name } else { format!("{environment}/{name}") },
            marked_by: row.marked_by,
            marked_at: row.marked_at,
        }
    }
}

fn no_such_kind() -> Box<Problem> {
    let words: Vec<&str> = AppliedKind::ALL.iter().map(|kind| kind.as_str()).collect();
    Problem::new(Code::Invalid, format!("`kind` is one of {}.", words.join(", ")))
        .hint("Ask again with one of these in the address.")
        .into()
}

fn no_such_thing() -> Box<Problem> {
    refusals::not_found("The project has no such thing to be marked.")
}

fn no_such_mark() -> Box<Problem> {
    refusals::not_found("The project has no such mark.")
}

fn thing(kind: &str, name: &str) -> Refused<Thing> {
    let kind = AppliedKind::parse(kind).ok_or_else(no_such_kind)?;
    match kind {
        AppliedKind::Variable | AppliedKind::Secret => {
            let (environment, name) = name.split_once('/').ok_or_else(no_such_thing)?;
            Ok(Thing::within(kind, environment, name))
        }
        _ => Ok(Thing::new(kind, name)),
    }
}

pub(crate) fn value(kind: SecretKind, environment: &str, name: &str) -> Thing {
    let kind = match kind {
        SecretKind::Secret => AppliedKind::Secret,
        SecretKind::Variable => AppliedKind::Variable,
    };
    Thing::within(kind, environment, name)
}

/// A mark for what is not there yet would be somebody else's thing later.
async fn is_there(tx: &mut impl Tx, project: &ProjectId, thing: &Thing) -> Refused<bool> {
    let name = thing.name.as_str();
    let kind = match thing.kind {
        AppliedKind::Variable => SecretKind::Variable,
        _ => SecretKind::Secret,
    };
    match thing.kind {
        AppliedKind::Environment => {
            Ok(environments::by_name(tx, project, name).await.map_err(refusals::store)?.is_some())
        }
        AppliedKind::Member => {
            let Ok(id) = name.parse::<UserId>() else { return Ok(false) };
            Ok(members::role(tx, project, &id).await.map_err(refusals::store)?.is_some())
        }
        AppliedKind::Connector => {
            Ok(connectors::by_id(tx, project, name).await.map_err(refusals::store)?.is_some())
        }
        AppliedKind::Variable | AppliedKind::Secret => {
            let found = environments::by_name(tx, project, &thing.environment).await;
            match found.map_err(refusals::store)? {
                Some(environment) => {
                    let found = secrets::one(tx, project, &environment.id, kind, name).await;
                    Ok(found.map_err(refusals::store)?.is_some())
                }
                None => Ok(false),
            }
        }
        AppliedKind::Credential => {
            let share = shares::in_project(tx, project, name).await.map_err(refusals::store)?;
            Ok(share.is_some_and(|share| share.credential_id.as_str() == name))
        }
        AppliedKind::Keychain => {
            let found = keychains::in_project(tx, project, name).await.map_err(refusals::store)?;
            Ok(found.is_some_and(|keychain| keychain.id.as_str() == name))
        }
        AppliedKind::Webhook => {
            let Ok(id) = name.parse::<WebhookId>() else { return Ok(false) };
            Ok(webhooks::one(tx, project, &id).await.map_err(refusals::store)?.is_some())
        }
    }
}

impl Broker {
    /// By kind and name, for any member.
    pub async fn applied(
        &self,
        actor: &Actor,
        project: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Refused<Page<Applied>> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let found = access::member(&mut tx, actor, project, Operation::AppliedList).await?;
        let rows = store::list(&mut tx, &found.project.id).await.map_err(refusals::store)?;
        let mut all: Vec<Applied> = rows.into_iter().map(Applied::from).collect();
        // Not the database's order, which depends on its collation.
        all.sort_by_key(Applied::place);
        let after = all.partition_point(|mark| cursor.is_some_and(|cursor| mark.place().as_str() <= cursor));
        let limit = usize::try_from(limit.clamp(1, Paging::MAX_LIMIT)).unwrap_or(1);
        let more = all.len() > after.saturating_add(limit);
        let items: Vec<Applied> = all.into_iter().skip(after).take(limit).collect();
        let next_cursor = items.last().filter(|_| more).map(Applied::place);
        Ok(Page { items, next_cursor })
    }

    /// Says that `apply` made it. Said again, it changes nothing.
    pub async fn mark_applied(&self, actor: &Actor, project: &str, kind: &str, name: &str) -> Refused<()> {
        let (mut tx, found) = self.write_in_project(actor, project, Operation::AppliedMark, &[]).await?;
        let project = &found.project.id;
        let thing = thing(kind, name)?;
        if !is_there(&mut tx, project, &thing).await? {
            return Err(no_such_thing());
        }
        if store::count(&mut tx, project).await.map_err(refusals::store)? >= MOST {
            return Err(refusals::limit_reached(
                MOST,
                format!("The project has {MOST} marks already."),
                "Take those away that are for nothing any more: GET …/applied lists them.",
            ));
        }
        let row = AppliedRow { thing, marked_by: actor.signature(), marked_at: self.now() };
        if store::mark(&mut tx, project, &row).await.map_err(refusals::store)? {
            let shown = Applied::from(row);
            let event = Event::new("applied.mark").project(project).target(shown.name);
            self.record(&mut tx, actor, event.detail("kind", shown.kind)).await?;
        }
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }

    /// Says that it is a person's from now on.
    pub async fn unmark_applied(&self, actor: &Actor, project: &str, kind: &str, name: &str) -> Refused<()> {
        let (mut tx, found) = self.write_in_project(actor, project, Operation::AppliedMark, &[]).await?;
        let project = &found.project.id;
        if !store::forget(&mut tx, project, &thing(kind, name)?).await.map_err(refusals::store)? {
            return Err(no_such_mark());
        }
        let event = Event::new("applied.unmark").project(project).target(name);
        self.record(&mut tx, actor, event.detail("kind", kind)).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }
}
