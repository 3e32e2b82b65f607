//! Looking at credentials: one's own, and those that are shared with a project.

use latchstring_model::entity::{Principal, Role, Status};
use latchstring_model::id::{CredentialId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_store::credentials::{self as rows, CredentialFilter, CredentialRow};
use latchstring_store::{Page, Paging, ReadTx, Tx, projects, shares};

use super::view::{Sight, View};
use crate::actor::{Actor, Who};
use crate::audit::Event;
use crate::projects::access;
use crate::{Broker, refusals};

/// What a list is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Slug or id: what is shared with that project. Without it, my own.
    pub project: Option<String>,
    pub connector: Option<String>,
    pub status: Option<Status>,
    pub q: Option<String>,
}

pub(crate) fn no_such_credential() -> Box<latchstring_model::Problem> {
    refusals::not_found("There is no such credential.")
}

/// The credential, if this person owns it — alone, or as an owner or admin of the project that does.
pub(crate) async fn owned(tx: &mut impl Tx, actor: &Actor, id: &str) -> Refused<CredentialRow> {
    actor.may_manage()?;
    let id: CredentialId = id.parse().map_err(|_| no_such_credential())?;
    if let Some(person) = actor.as_user()
        && let Some(row) =
            rows::of_owner(tx, &Principal::User(person.id.clone()), &id).await.map_err(refusals::store)?
    {
        return Ok(row);
    }
    // A project's credential: its owners and admins may edit it.
    let row = rows::for_upkeep(tx, &id).await.map_err(refusals::store)?.ok_or_else(no_such_credential)?;
    match &row.owner {
        Principal::Project(project) => {
            let role = access::role(tx, actor, project).await?;
            if role.is_some_and(|role| role >= Role::Admin) { Ok(row) } else { Err(no_such_credential()) }
        }
        Principal::User(_) => Err(no_such_credential()),
    }
}

impl Broker {
    /// Mine or shared with a project of mine. The owner's look at fields is recorded.
    pub async fn credential(&self, actor: &Actor, id: &str) -> Refused<View> {
        actor.may_look()?;
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        match owned(&mut tx, actor, id).await {
            // While owner rights rest, an owner sees what everybody sees who uses it.
            Ok(row) if self.is_frozen(actor) => {
                self.credential_view(&mut tx, row, Sight::Owner { with_fields: false }).await
            }
            Ok(row) => {
                let shared = shares::list_of_credential(&mut tx, &row).await.map_err(refusals::store)?;
                // Those who use it see that its owner has looked at the fields, and so that nobody else has.
                let events = super::save::told(&row, &shared, &Event::new("credential.view"));
                let view = self.credential_view(&mut tx, row, Sight::Owner { with_fields: true }).await?;
                drop(tx);
                let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
                self.record_all(&mut tx, actor, events).await?;
                tx.commit().await.map_err(refusals::store)?;
                Ok(view)
            }
            Err(refused) => match self.shared_with(&mut tx, actor, id).await? {
                Some((row, member)) => {
                    let admin = member.1.may_administer();
                    self.credential_view(&mut tx, row, Sight::Member { project: &member.0, admin }).await
                }
                None => Err(refused),
            },
        }
    }

    /// A project of this actor's that uses the credential, and their role there: the highest.
    pub(crate) async fn shared_with(
        &self,
        tx: &mut ReadTx,
        actor: &Actor,
        id: &str,
    ) -> Refused<Option<(CredentialRow, (ProjectId, Role))>> {
        let Ok(id) = id.parse::<CredentialId>() else { return Ok(None) };
        let Some(row) = rows::for_upkeep(tx, &id).await.map_err(refusals::store)? else { return Ok(None) };
        let mut best: Option<(ProjectId, Role)> = None;
        for share in shares::list_of_credential(tx, &row).await.map_err(refusals::store)? {
            let role = access::role(tx, actor, &share.share.project_id).await?;
            if let Some(role) = role.filter(|role| best.as_ref().is_none_or(|(_, best)| role > best)) {
                best = Some((share.share.project_id, role));
            }
        }
        Ok(best.map(|best| (row, best)))
    }

    pub async fn credentials(&self, actor: &Actor, wanted: &Wanted, paging: &Paging) -> Refused<Page<View>> {
        actor.may_look()?;
        let mut filter = CredentialFilter {
            connector: None,
            status: wanted.status,
            q: wanted.q.clone().filter(|q| !q.is_empty()),
        };
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let mut items = Vec::new();
        let next_cursor = match &wanted.project {
            Some(name) => {
                let member = access::look(&mut tx, actor, name).await?;
                filter.connector = self
                    .uid_of(&mut tx, std::slice::from_ref(&member.project.id), wanted.connector.as_deref())
                    .await?;
                let page = rows::list_of_project(&mut tx, &member.project.id, &filter, paging)
                    .await
                    .map_err(refusals::store)?;
                for (row, _) in page.items {
                    let sight = if owns(&mut tx, actor, &row, Some(&member)).await? {
                        Sight::Owner { with_fields: false }
                    } else {
                        let admin = member.role.may_administer();
                        Sight::Member { project: &member.project.id, admin }
                    };
                    let mut view = self.credential_view(&mut tx, row, sight).await?;
                    if let Some(here) = view.shares.iter().find(|share| share.project == member.project.slug)
                    {
                        view.slug = Some(here.slug.clone());
                        view.external_id.clone_from(&here.external_id);
                    }
                    items.push(view);
                }
                page.next_cursor
            }
            None => {
                filter.connector = self.uid_of(&mut tx, &[], wanted.connector.as_deref()).await?;
                let owner = match &actor.who {
                    Who::Account { project, .. } => Principal::Project(project.clone()),
                    _ => Principal::User(actor.person()?.id.clone()),
                };
                let page =
                    rows::list_of_owner(&mut tx, &owner, &filter, paging).await.map_err(refusals::store)?;
                for row in page.items {
                    items
                        .push(self.credential_view(&mut tx, row, Sight::Owner { with_fields: false }).await?);
                }
                page.next_cursor
            }
        };
        Ok(Page { items, next_cursor })
    }

    /// The uid that a person means; what is no connector matches nothing.
    async fn uid_of(
        &self,
        tx: &mut impl Tx,
        projects: &[ProjectId],
        named: Option<&str>,
    ) -> Refused<Option<String>> {
        let Some(named) = named else { return Ok(None) };
        Ok(Some(
            self.definition_named(tx, projects, named)
                .await?
                .map_or_else(|| named.to_owned(), |found| found.uid),
        ))
    }
}

async fn owns(
    tx: &mut impl Tx,
    actor: &Actor,
    row: &CredentialRow,
    here: Option<&projects::MemberProject>,
) -> Refused<bool> {
    Ok(match &row.owner {
        Principal::User(id) => actor.as_user().is_some_and(|person| *id == person.id),
        Principal::Project(project) => match here.filter(|member| member.project.id == *project) {
            Some(member) => member.role >= Role::Admin,
            None => access::role(tx, actor, project).await?.is_some_and(|role| role >= Role::Admin),
        },
    })
}
