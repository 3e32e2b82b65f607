//! What people leave behind who have left for good: a superuser may give it to another member of the projects that use
//! it, and reads nothing of it. Neither does the new owner: what was set before stays withheld until it is set anew.

use latchstring_model::entity::Principal;
use latchstring_model::id::{CredentialId, UserId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, Timestamp};
use latchstring_store::credentials::{self as rows, CredentialRow};
use latchstring_store::shares::{self, ShareWithGrants};
use latchstring_store::{Paging, Tx, members, users};

use super::access::no_such_credential;
use super::save::told;
use super::transfer::recipient;
use crate::actor::Actor;
use crate::audit::Event;
use crate::notices::{self, GIVEN};
use crate::people::Page;
use crate::people::recent::Deed;
use crate::permissions::Operation;
use crate::{Broker, refusals};

/// A credential without an owner, as superusers see it: never its fields.
pub struct LeftBehind {
    pub id: CredentialId,
    pub name: String,
    pub connector: String,
    pub auth_method: String,
    pub disabled: bool,
    pub deletes_at: Option<Timestamp>,
    /// Slugs of the projects that use it.
    pub projects: Vec<String>,
    pub created_at: Timestamp,
}

/// How it was given.
pub struct Given {
    pub id: CredentialId,
    pub owner: UserId,
    pub owner_email: String,
}

fn still_here() -> Box<Problem> {
    Problem::new(Code::OwnerActive, "This person's account is active: what they own is theirs to hand on.")
        .hint("Ask them to offer it to somebody (POST /api/v1/credentials/{id}/transfer). Only what somebody left behind whose account is not active can be given away.")
        .into()
}

/// Everybody who is there, in all of these projects.
async fn everybody(tx: &mut impl Tx, shares: &[ShareWithGrants]) -> Refused<Vec<UserId>> {
    let mut people: Vec<UserId> = Vec::new();
    for share in shares {
        let mut cursor = None;
        loop {
            let paging = Paging::new(cursor, Some(Paging::MAX_LIMIT));
            let page = members::list(tx, &share.share.project_id, &paging).await.map_err(refusals::store)?;
            for member in page.items.into_iter().filter(|member| member.active) {
                if !people.contains(&member.user_id) {
                    people.push(member.user_id);
                }
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
    }
    Ok(people)
}

impl Broker {
    /// What a person whose account is not active owns.
    pub async fn left_behind(&self, actor: &Actor, user: &str, paging: &Paging) -> Refused<Page<LeftBehind>> {
        actor.may(Operation::UsersLook)?;
        let unknown = || refusals::not_found("There is no such person.");
        let id: UserId = user.parse().map_err(|_| unknown())?;
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let user = users::by_id(&mut tx, &id).await.map_err(refusals::store)?.ok_or_else(unknown)?;
        if user.fields.active {
            return Err(still_here());
        }
        let page = rows::orphans_of(&mut tx, &id, paging).await.map_err(refusals::store)?;
        let mut items = Vec::with_capacity(page.items.len());
        for row in page.items {
            let shares = shares::list_of_credential(&mut tx, &row).await.map_err(refusals::store)?;
            items.push(LeftBehind {
                projects: shares.into_iter().map(|share| share.project_slug).collect(),
                id: row.id,
                name: row.name,
                connector: row.connector.rsplit('/').next().unwrap_or(&row.connector).to_owned(),
                auth_method: row.auth_method,
                disabled: row.disabled,
                deletes_at: row.deletes_at,
                created_at: row.created_at,
            });
        }
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    /// Gives it to an active member of every project that uses it. Everybody in those projects is told.
    pub async fn give_credential(&self, actor: &Actor, id: &str, email: &str) -> Refused<Given> {
        actor.may(Operation::CredentialGive)?;
        let id: CredentialId = id.parse().map_err(|_| no_such_credential())?;
        let (row, shares, to) = {
            let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
            let (row, shares) = orphan(&mut tx, &id).await?;
            self.unfrozen(actor)?;
            self.recent(actor, Deed::ChangeOwner).await?;
            let to = recipient(&mut tx, email, &shares).await?;
            (row, shares, to)
        };
        if shares.is_empty() {
            return Err(Problem::new(
                Code::NotShared,
                "No project uses this credential, so there is nobody who could go on with it.",
            )
            .hint("It is of no use to anybody any more. Whoever needs it makes one of their own.")
            .into());
        }
        let now = self.now();
        let before = row.owner.clone();
        let mut scopes: Vec<&str> = vec![row.id.as_str(), before.id(), to.id.as_str()];
        scopes.extend(shares.iter().map(|share| share.share.project_id.as_str()));
        let mut tx = self.parts.store.begin_write(&scopes).await.map_err(refusals::store)?;
        // Under the locks once more: the owner may be back, the recipient gone.
        let (row, shares) = orphan(&mut tx, &id).await?;
        let to = recipient(&mut tx, email, &shares).await?;
        self.withhold_all(&mut tx, &row).await?;
        let row = self.hand_over(&mut tx, row, &Principal::User(to.id.clone()), now).await?;
        let mut people = everybody(&mut tx, &shares).await?;
        if !people.contains(&to.id) {
            people.push(to.id.clone());
        }
        let telling = notices::ToPeople {
            event: GIVEN,
            sameness: format!("{GIVEN}/{}/{}", row.id, row.version),
            credential: &row,
            people,
            more: notices::more([("to", to.fields.email.as_str().into())]),
        };
        notices::tell_people(&mut tx, now, &*self.parts.entropy, telling).await.map_err(refusals::store)?;
        let event = Event::new("credential.transfer")
            .detail("step", "given")
            .detail("owner_before", before.id())
            .detail("owner", to.id.as_str());
        self.record_all(&mut tx, actor, told(&row, &shares, &event)).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(Given { id: row.id, owner: to.id, owner_email: to.fields.email })
    }
}

/// A credential whose owner has left for good. One whose owner is there looks like none.
async fn orphan(tx: &mut impl Tx, id: &CredentialId) -> Refused<(CredentialRow, Vec<ShareWithGrants>)> {
    let row = rows::orphan(tx, id).await.map_err(refusals::store)?.ok_or_else(no_such_credential)?;
    let shares = shares::list_of_credential(tx, &row).await.map_err(refusals::store)?;
    Ok((row, shares))
}
