//! Members of a project and their roles.
//!
//! Admins manage members but make and unmake no owners; the last active owner stays. Whoever owns credentials
//! that are shared with the project is not removed unless their shares are withdrawn with them.

use latchstring_model::entity::{Principal, Role};
use latchstring_model::id::{CredentialId, ProjectId, UserId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, Timestamp};
use latchstring_store::credentials::{self, CredentialFilter};
use latchstring_store::members::{self as store, MemberRow};
use latchstring_store::projects::MemberProject;
use latchstring_store::shares::{self, ShareRow};
use latchstring_store::users::{self, UserRow};
use latchstring_store::{Tx, WriteTx, group_roles};
use serde_json::json;

use crate::actor::Actor;
use crate::audit::Event;
use crate::people::oidc::given_by_hand;
use crate::people::{Page, Paging};
use crate::projects::access;
use crate::{Broker, refusals};

#[derive(Debug)]
pub struct Member {
    pub user_id: UserId,
    pub email: String,
    pub name: String,
    /// Whether the account is; who is not active can do nothing here.
    pub active: bool,
    pub role: Role,
    pub since: Timestamp,
}

impl From<MemberRow> for Member {
    fn from(row: MemberRow) -> Self {
        Self {
            user_id: row.user_id,
            email: row.email,
            name: row.name,
            active: row.active,
            role: row.role,
            since: row.created_at,
        }
    }
}

/// A credential of a member that the project uses.
struct SharedHere {
    id: CredentialId,
    name: String,
    share: ShareRow,
}

fn owners_only(found: &MemberProject) -> Box<Problem> {
    Problem::new(Code::Forbidden, "Only an owner makes or unmakes owners; you are an admin of this project.")
        .hint("Ask one of the project's owners.")
        .with("project", found.project.id.as_str().into())
        .with("needed_role", Role::Owner.as_str().into())
        .into()
}

fn not_a_member() -> Box<Problem> {
    refusals::not_found("Nobody with that e-mail address is a member of the project.")
}

async fn shared_here(tx: &mut impl Tx, user: &UserId, project: &ProjectId) -> Refused<Vec<SharedHere>> {
    let owner = Principal::User(user.clone());
    if !credentials::owner_shares_with(tx, &owner, project).await.map_err(refusals::store)? {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let paging = Paging::new(cursor, Some(Paging::MAX_LIMIT));
        let page = credentials::list_of_owner(tx, &owner, &CredentialFilter::default(), &paging)
            .await
            .map_err(refusals::store)?;
        for row in page.items {
            let share = shares::in_project(tx, project, row.id.as_str()).await.map_err(refusals::store)?;
            if let Some(share) = share.filter(|share| share.credential_id == row.id) {
                found.push(SharedHere { id: row.id, name: row.name, share });
            }
        }
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(found),
        }
    }
}

impl Broker {
    async fn account(&self, tx: &mut impl Tx, email: &str) -> Refused<Option<UserRow>> {
        users::by_email(tx, email).await.map_err(refusals::store)
    }

    pub async fn members(&self, actor: &Actor, project: &str, paging: &Paging) -> Refused<Page<Member>> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let found = access::look(&mut tx, actor, project).await?;
        let page = store::list(&mut tx, &found.project.id, paging).await.map_err(refusals::store)?;
        Ok(Page { items: page.items.into_iter().map(Member::from).collect(), next_cursor: page.next_cursor })
    }

    /// Makes somebody with an account a member, or changes the role of one.
    pub async fn set_member(&self, actor: &Actor, project: &str, email: &str, role: Role) -> Refused<Member> {
        // Who may not manage members learns nothing about who has an account.
        let user = {
            let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
            access::member(&mut reader, actor, project, Role::Admin).await?;
            self.account(&mut reader, email).await?
        };
        // Who comes in by a reset mailbox gives nobody else a way in.
        self.unfrozen(actor)?;
        let user = user.filter(|user| user.fields.active).ok_or_else(|| {
            Problem::new(Code::NotFound, "Nobody with that e-mail address has an active account here.")
                .hint("A superuser can make the account or send an invitation (POST /api/v1/invites); then add the person.")
        })?;
        let (mut tx, found) = self.write_in_project(actor, project, Role::Admin, &[user.id.as_str()]).await?;
        let id = &found.project.id;
        let now = self.now();
        let before = store::role(&mut tx, id, &user.id).await.map_err(refusals::store)?;
        if role >= Role::Admin || before >= Some(Role::Admin) {
            access::not_an_account(actor)?;
        }
        if (role == Role::Owner || before == Some(Role::Owner))
            && before != Some(role)
            && found.role != Role::Owner
        {
            return Err(owners_only(&found));
        }
        if before == Some(Role::Owner) && role != Role::Owner {
            self.not_the_last_owner(&mut tx, id).await?;
        }
        store::set(&mut tx, id, &user.id, role, now).await.map_err(refusals::store)?;
        given_by_hand(&mut tx, &user.id, id.as_str(), Some(role.as_str())).await?;
        let event = Event::new("member.set")
            .project(id)
            .target(user.id.as_str())
            .detail("email", user.fields.email.as_str());
        let event = event.detail("role", role.as_str()).detail("role_before", before.map(Role::as_str));
        self.record(&mut tx, actor, event).await?;
        let listed = store::list(&mut tx, id, &Paging::first()).await.map_err(refusals::store)?;
        let since =
            listed.items.into_iter().find(|row| row.user_id == user.id).map_or(now, |row| row.created_at);
        tx.commit().await.map_err(refusals::store)?;
        Ok(Member {
            user_id: user.id,
            email: user.fields.email,
            name: user.fields.name,
            active: true,
            role,
            since,
        })
    }

    async fn not_the_last_owner(&self, tx: &mut WriteTx, project: &ProjectId) -> Refused<()> {
        if store::count_owners(tx, project).await.map_err(refusals::store)? > 1 {
            return Ok(());
        }
        Err(Problem::new(
            Code::Conflict,
            "This is the project's last owner; without one nobody could decide about it.",
        )
        .hint("Make somebody else an owner first.")
        .into())
    }

    /// Removes a member; anybody may leave. `withdraw`: their credentials' shares with this project go too.
    pub async fn remove_member(
        &self,
        actor: &Actor,
        project: &str,
        email: &str,
        withdraw: bool,
    ) -> Refused<()> {
        actor.may_manage()?;
        let (user, leaves, shared) = {
            let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
            let user = self.account(&mut tx, email).await?;
            let leaves =
                user.as_ref().is_some_and(|user| actor.as_user().is_some_and(|person| user.id == person.id));
            let least = if leaves { Role::Viewer } else { Role::Admin };
            let found = access::member(&mut tx, actor, project, least).await?;
            let user = user.ok_or_else(not_a_member)?;
            let shared = shared_here(&mut tx, &user.id, &found.project.id).await?;
            (user, leaves, shared)
        };
        // What is withdrawn ends the routes of those credentials.
        let mut scopes = vec![user.id.as_str()];
        scopes.extend(shared.iter().map(|shared| shared.id.as_str()));
        let least = if leaves { Role::Viewer } else { Role::Admin };
        let (mut tx, found) = self.write_in_project(actor, project, least, &scopes).await?;
        let id = &found.project.id;
        let role =
            store::role(&mut tx, id, &user.id).await.map_err(refusals::store)?.ok_or_else(not_a_member)?;
        if role >= Role::Admin {
            access::not_an_account(actor)?;
        }
        if role == Role::Owner {
            if found.role != Role::Owner {
                return Err(owners_only(&found));
            }
            // An owner whose account is not active does not count, and may always go.
            if user.fields.active {
                self.not_the_last_owner(&mut tx, id).await?;
            }
        }
        // Under the lock once more: something may have been shared meanwhile.
        let shared = shared_here(&mut tx, &user.id, id).await?;
        if !shared.is_empty() && !withdraw {
            let list: Vec<_> = shared
                .iter()
                .map(|shared| json!({"id": shared.id, "name": shared.name, "slug": shared.share.slug}))
                .collect();
            return Err(Problem::new(Code::MemberOwnsCredentials, format!("They own {} of the credentials that this project uses; `credentials` lists them.", list.len()))
                .hint("Have them handed to another owner first, or repeat with ?withdraw=true: then the project can no longer use them.")
                .with("credentials", list.into())
                .with("project", id.as_str().into())
                .into());
        }
        for gone in &shared {
            tx.raise(&[gone.id.as_str()]).await.map_err(refusals::store)?;
            shares::remove(&mut tx, &gone.share).await.map_err(refusals::store)?;
            let event =
                Event::new("credential.share").project(id).credential(&gone.id).target(gone.id.as_str());
            self.record(
                &mut tx,
                actor,
                event.detail("withdrawn", true).detail("slug", gone.share.slug.as_str()),
            )
            .await?;
        }
        store::remove(&mut tx, id, &user.id).await.map_err(refusals::store)?;
        group_roles::remove(&mut tx, &user.id, id.as_str()).await.map_err(refusals::store)?;
        let event = Event::new("member.delete")
            .project(id)
            .target(user.id.as_str())
            .detail("email", user.fields.email.as_str());
        self.record(&mut tx, actor, event.detail("role", role.as_str())).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }
}
