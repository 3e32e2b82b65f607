//! Members of a project and their roles.
//!
//! Admins manage members but make and unmake no owners; the last active owner stays. Whoever owns credentials
//! that are shared with the project is not removed unless their shares are withdrawn with them.

use latchstring_model::entity::{Principal, Role};
use latchstring_model::id::{CredentialId, ProjectId, UserId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, Timestamp};
use latchstring_store::callers::Reach;
use latchstring_store::credentials::{self, CredentialRow};
use latchstring_store::members::{self as store, MemberRow};
use latchstring_store::projects::MemberProject;
use latchstring_store::shares::{self, ShareRow};
use latchstring_store::users::{self, UserRow};
use latchstring_store::{Tx, WriteTx, group_roles};
use serde_json::json;

use crate::actor::Actor;
use crate::audit::Event;
use crate::credentials::key_use::Place;
use crate::credentials::uses::By;
use crate::people::oidc::given_by_hand;
use crate::people::recent::Deed;
use crate::people::{Page, Paging};
use crate::permissions::Operation;
use crate::projects::access::{self, role_may};
use crate::projects::ended;
use crate::{Broker, refusals};

/// What is read of the trail to find the keys that would stop, of all credentials together: others wait meanwhile.
const REACH: Reach = Reach { bytes: 8 << 20, rows: 5_000 };

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

/// A credential that the project can no longer use when its owner goes, and what stops with it.
#[derive(Debug)]
pub struct Stops {
    pub id: CredentialId,
    pub name: String,
    pub slug: String,
    /// The project's environments that were granted values of it.
    pub environments: Vec<String>,
    /// Slugs of keychains that fall back to it.
    pub keychains: Vec<String>,
    /// Names of service keys that have called with it, or are made for it.
    pub api_keys: Vec<String>,
    /// Otherwise some of them may only have called before `looked_back_to`.
    pub complete: bool,
    pub looked_back_to: Option<Timestamp>,
}

impl Stops {
    fn to_json(&self) -> serde_json::Value {
        json!({
            "id": self.id, "name": self.name, "slug": self.slug, "environments": self.environments,
            "keychains": self.keychains, "api_keys": self.api_keys, "complete": self.complete,
            "looked_back_to": self.looked_back_to.map(Timestamp::to_rfc3339),
        })
    }
}

fn owners_only(found: &MemberProject) -> Box<Problem> {
    Problem::new(Code::Forbidden, "Only an owner makes or unmakes owners; you are an admin of this project.")
        .hint("Ask one of the project's owners.")
        .with("project", found.project.id.as_str().into())
        .with("needed_role", Role::Owner.as_str().into())
        .into()
}

fn removal(leaves: bool) -> Operation {
    if leaves { Operation::MemberLeave } else { Operation::MemberRemove }
}

fn not_a_member() -> Box<Problem> {
    refusals::not_found("Nobody with that e-mail address is a member of the project.")
}

/// What somebody shares with the project.
pub(crate) async fn shared_here(
    tx: &mut impl Tx,
    user: &UserId,
    project: &ProjectId,
) -> Refused<Vec<(CredentialRow, ShareRow)>> {
    let owner = Principal::User(user.clone());
    credentials::shared_of_owner(tx, &owner, project).await.map_err(refusals::store)
}

impl Broker {
    async fn account(&self, tx: &mut impl Tx, email: &str) -> Refused<Option<UserRow>> {
        users::by_email(tx, email).await.map_err(refusals::store)
    }

    pub async fn members(&self, actor: &Actor, project: &str, paging: &Paging) -> Refused<Page<Member>> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let found = access::member(&mut tx, actor, project, Operation::MembersList).await?;
        let page = store::list(&mut tx, &found.project.id, paging).await.map_err(refusals::store)?;
        Ok(Page { items: page.items.into_iter().map(Member::from).collect(), next_cursor: page.next_cursor })
    }

    /// Makes somebody with an account a member, or changes the role of one.
    pub async fn set_member(&self, actor: &Actor, project: &str, email: &str, role: Role) -> Refused<Member> {
        // Who may not manage members learns nothing about who has an account.
        let user = {
            let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
            access::member(&mut reader, actor, project, Operation::MemberSet).await?;
            self.account(&mut reader, email).await?
        };
        // Who comes in by a reset mailbox or an open browser gives nobody else a way in.
        self.unfrozen(actor)?;
        self.recent(actor, Deed::Members).await?;
        let user = user.filter(|user| user.fields.active).ok_or_else(|| {
            Problem::new(Code::UserNotFound, "Nobody with that e-mail address has an active account here.")
                .hint("A superuser can make the account or send an invitation (POST /api/v1/invites); then add the person.")
        })?;
        let (mut tx, found) =
            self.write_in_project(actor, project, Operation::MemberSet, &[user.id.as_str()]).await?;
        let id = &found.project.id;
        let now = self.now();
        let before = store::role(&mut tx, id, &user.id).await.map_err(refusals::store)?;
        if role >= Role::Admin || before >= Some(Role::Admin) {
            access::not_an_account(actor)?;
        }
        if (role == Role::Owner || before == Some(Role::Owner))
            && before != Some(role)
            && !role_may(Some(found.role), Operation::OwnersManage)
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
            Code::LastOwner,
            "This is the project's last owner; without one nobody could decide about it.",
        )
        .hint("Make somebody else an owner first.")
        .into())
    }

    /// What stops in a project without these credentials.
    async fn what_stops(
        &self,
        tx: &mut impl Tx,
        project: &ProjectId,
        shared: &[(CredentialRow, ShareRow)],
    ) -> Refused<Vec<Stops>> {
        if shared.is_empty() {
            return Ok(Vec::new());
        }
        let keys = ended::living(tx, ended::Of::Project(project)).await?;
        let mut stops = Vec::with_capacity(shared.len());
        let mut reach = REACH;
        for (at, (row, share)) in shared.iter().enumerate() {
            let grants = shares::grants(tx, share).await.map_err(refusals::store)?;
            let granted = grants.iter().map(|grant| grant.environment_id.clone()).collect();
            let place = Place { slug: "", keys: &keys, granted };
            // What one credential does not need, the others may have.
            let given = reach.part(shared.len() - at);
            let mut left = given;
            let used = self.keys_in_use(tx, &row.id, Some(project), &[place], &mut left).await?;
            reach.take_back(given, left);
            let uses = self.used_by(tx, &row.id, Some(project)).await?;
            stops.push(Stops {
                id: row.id.clone(),
                name: row.name.clone(),
                slug: share.slug.clone(),
                environments: grants.into_iter().map(|grant| grant.environment).collect(),
                keychains: uses
                    .into_iter()
                    .filter_map(|used| match used.by {
                        By::Keychain { keychain } => Some(keychain),
                        By::Workflow { .. } => None,
                    })
                    .collect(),
                api_keys: used.keys.into_iter().filter_map(|key| key.name).collect(),
                complete: used.complete,
                looked_back_to: used.back_to,
            });
        }
        Ok(stops)
    }

    /// Removes a member; anybody may leave. `withdraw`: their credentials' shares with this project go too, and the
    /// answer says what stops.
    pub async fn remove_member(
        &self,
        actor: &Actor,
        project: &str,
        email: &str,
        withdraw: bool,
    ) -> Refused<Vec<Stops>> {
        actor.may_manage()?;
        let (user, leaves, shared) = {
            let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
            let user = self.account(&mut tx, email).await?;
            let leaves =
                user.as_ref().is_some_and(|user| actor.as_user().is_some_and(|person| user.id == person.id));
            let found = access::member(&mut tx, actor, project, removal(leaves)).await?;
            let user = user.ok_or_else(not_a_member)?;
            let shared = shared_here(&mut tx, &user.id, &found.project.id).await?;
            (user, leaves, shared)
        };
        // What is withdrawn ends the routes of those credentials.
        let mut scopes = vec![user.id.as_str()];
        scopes.extend(shared.iter().map(|(row, _)| row.id.as_str()));
        let (mut tx, found) = self.write_in_project(actor, project, removal(leaves), &scopes).await?;
        let id = &found.project.id;
        let role =
            store::role(&mut tx, id, &user.id).await.map_err(refusals::store)?.ok_or_else(not_a_member)?;
        if role >= Role::Admin {
            access::not_an_account(actor)?;
        }
        if role == Role::Owner {
            if !leaves && !role_may(Some(found.role), Operation::OwnersManage) {
                return Err(owners_only(&found));
            }
            // An owner whose account is not active does not count, and may always go.
            if user.fields.active {
                self.not_the_last_owner(&mut tx, id).await?;
            }
        }
        // Under the lock once more: something may have been shared meanwhile.
        let shared = shared_here(&mut tx, &user.id, id).await?;
        let stops = self.what_stops(&mut tx, id, &shared).await?;
        if !stops.is_empty() && !withdraw {
            let list: Vec<_> = stops.iter().map(Stops::to_json).collect();
            return Err(Problem::new(Code::MemberOwnsCredentials, format!("They own {} of the credentials that this project uses; `credentials` lists them, with what would stop.", list.len()))
                .hint("Have them offered to another member first (POST /api/v1/credentials/{id}/transfer), or repeat with ?withdraw=true: then the project can no longer use them.")
                .with("credentials", list.into())
                .with("project", id.as_str().into())
                .into());
        }
        for (row, share) in &shared {
            tx.raise(&[row.id.as_str()]).await.map_err(refusals::store)?;
            shares::remove(&mut tx, share).await.map_err(refusals::store)?;
            let event =
                Event::new("credential.share").project(id).credential(&row.id).target(row.id.as_str());
            let event = event.detail("withdrawn", true).detail("slug", share.slug.as_str());
            self.record(&mut tx, actor, event.detail("because", "member.delete")).await?;
        }
        store::remove(&mut tx, id, &user.id).await.map_err(refusals::store)?;
        group_roles::remove(&mut tx, &user.id, id.as_str()).await.map_err(refusals::store)?;
        let event = Event::new("member.delete")
            .project(id)
            .target(user.id.as_str())
            .detail("email", user.fields.email.as_str());
        self.record(&mut tx, actor, event.detail("role", role.as_str())).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(stops)
    }
}
