//! Looking at credentials: one's own, and those that are shared with a project.

use latchstring_model::entity::{Principal, Status};
use latchstring_model::id::{ProjectId, UserId};
use latchstring_model::problem::Refused;
use latchstring_store::credentials::{self as rows, CredentialFilter, CredentialRow};
use latchstring_store::projects::MemberProject;
use latchstring_store::{Page, Paging, Tx, fold, shares, users};
use serde_json::Value;

use super::access::{Held, Stand, held};
use super::view::{Sight, View};
use crate::actor::{Actor, Who};
use crate::audit::Event;
use crate::permissions::Operation;
use crate::projects::access::{self, role_may};
use crate::{Broker, refusals};

/// What a list is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Slug or id: what is shared with that project. Without it, my own.
    pub project: Option<String>,
    pub connector: Option<String>,
    pub status: Option<Status>,
    pub q: Option<String>,
    /// An e-mail address, an id, or a project's slug.
    pub owner: Option<String>,
}

/// Which fields an answer shows, by environment; their names alone.
fn fields_shown(view: &View) -> Value {
    let shown = view.environments.iter().map(|(environment, values)| {
        let names = values.fields.iter().flat_map(|fields| fields.keys().cloned());
        (environment.clone(), names.collect::<Vec<_>>().into())
    });
    Value::Object(shown.collect())
}

impl Broker {
    /// Of an owner who does not look at fields now.
    pub(super) fn owners_sight(&self, actor: &Actor) -> Sight<'static> {
        if self.is_frozen(actor) { Sight::Resting } else { Sight::Owner { with_fields: false } }
    }

    /// Mine or shared with a project of mine. The owner's look at fields is recorded.
    pub async fn credential(&self, actor: &Actor, id: &str) -> Refused<View> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let Held { row, stand } = held(&mut tx, actor, id, Operation::CredentialLook).await?;
        match stand {
            // A key that only calls does not read fields either; and while owner rights rest, an owner sees what
            // everybody sees who uses it.
            Stand::Owner if actor.may_manage().is_err() || self.is_frozen(actor) => {
                self.credential_view(&mut tx, row, self.owners_sight(actor)).await
            }
            Stand::Owner => {
                let shared = shares::list_of_credential(&mut tx, &row).await.map_err(refusals::store)?;
                let sight = Sight::Owner { with_fields: true };
                let view = self.credential_view(&mut tx, row.clone(), sight).await?;
                drop(tx);
                // Those who use it see that its owner has looked at the fields, and so that nobody else has.
                let event = Event::new("credential.view").detail("environments", fields_shown(&view));
                let events = super::save::told(&row, &shared, &event);
                let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
                self.record_all(&mut tx, actor, events).await?;
                tx.commit().await.map_err(refusals::store)?;
                Ok(view)
            }
            Stand::Member { project, role } => {
                let admin = role_may(Some(role), Operation::ShareAccept);
                self.credential_view(&mut tx, row, Sight::Member { project: &project, admin }).await
            }
        }
    }

    /// My own, those of a project of mine that owns some, or those that a project of mine uses.
    pub async fn credentials(&self, actor: &Actor, wanted: &Wanted, paging: &Paging) -> Refused<Page<View>> {
        if actor.as_user().is_none() {
            actor.may_look()?;
        } else {
            actor.may(Operation::CredentialsList)?;
        }
        let mut filter = CredentialFilter {
            connector: None,
            status: wanted.status,
            q: wanted.q.clone().filter(|q| !q.is_empty()),
            owner: None,
        };
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let page = match &wanted.project {
            Some(name) => {
                let member = access::member(&mut tx, actor, name, Operation::ProjectCredentialsList).await?;
                let id = &member.project.id;
                filter.connector =
                    self.uid_of(&mut tx, std::slice::from_ref(id), wanted.connector.as_deref()).await?;
                filter.owner = owner_of(&mut tx, &member, wanted.owner.as_deref()).await?;
                let page =
                    rows::list_of_project(&mut tx, id, &filter, paging).await.map_err(refusals::store)?;
                let admin = role_may(Some(member.role), Operation::ShareAccept);
                let sight = |row: &CredentialRow| match owns(actor, row, &member) {
                    true => self.owners_sight(actor),
                    false => Sight::Member { project: id, admin },
                };
                let seen = page.items.into_iter().map(|row| (sight(&row), row)).map(|(s, row)| (row, s));
                let mut items = self.credential_views(&mut tx, seen.collect()).await?;
                for view in &mut items {
                    if let Some(here) = view.shares.iter().find(|share| share.project == member.project.slug)
                    {
                        view.slug = Some(here.slug.clone());
                        view.external_id.clone_from(&here.external_id);
                    }
                }
                return Ok(Page { items, next_cursor: page.next_cursor });
            }
            None => {
                let owner = self.whose(&mut tx, actor, wanted.owner.as_deref()).await?;
                filter.connector = self.uid_of(&mut tx, &[], wanted.connector.as_deref()).await?;
                match owner {
                    Some(owner) => rows::list_of_owner(&mut tx, &owner, &filter, paging)
                        .await
                        .map_err(refusals::store)?,
                    None => Page { items: Vec::new(), next_cursor: None },
                }
            }
        };
        let seen = page.items.into_iter().map(|row| (row, self.owners_sight(actor)));
        let items = self.credential_views(&mut tx, seen.collect()).await?;
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    /// Whose credentials are listed without a project: one's own, or those of a project whose credentials one edits.
    async fn whose(
        &self,
        tx: &mut impl Tx,
        actor: &Actor,
        named: Option<&str>,
    ) -> Refused<Option<Principal>> {
        let (own, email) = match &actor.who {
            // A service account has nothing of its own; what its project owns is what it looks after.
            Who::Account { project, .. } => (Principal::Project(project.clone()), None),
            _ => {
                let person = actor.person()?;
                (Principal::User(person.id.clone()), Some(fold(&person.email)))
            }
        };
        let Some(named) = named else { return Ok(Some(own)) };
        if named == own.id() || Some(fold(named)) == email {
            return Ok(Some(own));
        }
        if named.contains('@') || named.starts_with(UserId::PREFIX) {
            return Ok(None);
        }
        let member = access::member(tx, actor, named, Operation::ProjectCredentialsList).await?;
        let edits = role_may(Some(member.role), Operation::CredentialChange);
        Ok(edits.then_some(Principal::Project(member.project.id)))
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

/// The id of an owner as people name one: an e-mail address, an id, the project's own slug. Whom nobody knows owns
/// nothing.
async fn owner_of(tx: &mut impl Tx, here: &MemberProject, named: Option<&str>) -> Refused<Option<String>> {
    let Some(named) = named else { return Ok(None) };
    if named == here.project.slug {
        return Ok(Some(here.project.id.to_string()));
    }
    if !named.contains('@') {
        return Ok(Some(named.to_owned()));
    }
    let found = users::by_email(tx, named).await.map_err(refusals::store)?;
    Ok(Some(found.map_or_else(|| named.to_owned(), |user| user.id.to_string())))
}

/// Whether somebody who looks at a project's list owns what they see.
fn owns(actor: &Actor, row: &CredentialRow, here: &MemberProject) -> bool {
    match &row.owner {
        Principal::User(id) => actor.as_user().is_some_and(|person| *id == person.id),
        Principal::Project(project) => {
            here.project.id == *project && role_may(Some(here.role), Operation::CredentialChange)
        }
    }
}
