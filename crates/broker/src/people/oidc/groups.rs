//! Roles that come from the provider's groups, looked at anew at each sign-in.
//!
//! What a group gave is remembered beside what somebody gave by hand. In the group a person has the higher of the
//! two; out of it, what was given by hand, or nothing. The last owner of a project and the last superuser stay what
//! they are, whatever the groups say; it is tried again at their next sign-in. Shares of somebody who leaves a
//! project in this way rest, as those of somebody whose account is not active: a provider that forgets a group for
//! a day must not undo what nobody can bring back.

use std::collections::{BTreeMap, BTreeSet};

use latchstring_model::entity::{Outcome, Role};
use latchstring_model::id::{ProjectId, UserId};
use latchstring_model::problem::Refused;
use latchstring_store::group_roles::{self, GroupRoleRow, INSTANCE, SUPERUSER};
use latchstring_store::users::UserRow;
use latchstring_store::{WriteTx, identities, members, projects, scopes, users};

use super::settings::Gives;
use crate::audit::Event;
use crate::projects::members::shared_here;
use crate::{Broker, refusals};

/// What the groups of somebody give: place → role.
pub(super) struct Plan {
    /// `None`: nobody is linked with the identity yet.
    user: Option<UserId>,
    wanted: BTreeMap<String, String>,
    /// Where something is to be given or taken.
    places: BTreeSet<String>,
}

impl Plan {
    /// For the write: it makes accounts and superusers, and changes members.
    pub fn scopes(&self) -> Vec<&str> {
        let mut scopes: Vec<&str> = self.places.iter().map(String::as_str).collect();
        match &self.user {
            Some(user) => scopes.push(user.as_str()),
            None => scopes.push(scopes::INSTANCE),
        }
        scopes
    }
}

fn higher(a: Option<Role>, b: Option<Role>) -> Option<Role> {
    a.max(b)
}

/// Somebody gave a role by hand, or took it: what a group gave besides is still remembered.
pub(crate) async fn given_by_hand(
    tx: &mut WriteTx,
    user: &UserId,
    place: &str,
    role: Option<&str>,
) -> Refused<()> {
    let Some(mut row) = group_roles::get(tx, user, place).await.map_err(refusals::store)? else {
        return Ok(());
    };
    row.by_hand = role.map(str::to_owned);
    group_roles::set(tx, user, &row).await.map_err(refusals::store)
}

impl Broker {
    pub(super) async fn plan_groups(&self, issuer: &str, subject: &str, groups: &[String]) -> Refused<Plan> {
        let oidc = self.oidc()?;
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let linked = identities::by_subject(&mut reader, issuer, subject).await.map_err(refusals::store)?;
        let user = linked.map(|identity| identity.user_id);
        let mut wanted: BTreeMap<String, String> = BTreeMap::new();
        for mapped in oidc.group_roles.iter().filter(|mapped| groups.contains(&mapped.group)) {
            match &mapped.gives {
                Gives::Superuser => {
                    wanted.insert(INSTANCE.to_owned(), SUPERUSER.to_owned());
                }
                Gives::Role { project, role } => {
                    let found =
                        projects::by_slug_or_id(&mut reader, project).await.map_err(refusals::store)?;
                    let Some(found) = found else {
                        tracing::warn!(
                            project,
                            group = mapped.group,
                            "a group is to give a role in a project that does not exist"
                        );
                        continue;
                    };
                    let before = wanted.get(found.id.as_str()).and_then(|known| Role::parse(known));
                    if before < Some(*role) {
                        wanted.insert(found.id.to_string(), role.as_str().to_owned());
                    }
                }
            }
        }
        let mut places: BTreeSet<String> = wanted.keys().cloned().collect();
        if let Some(user) = &user {
            let had = group_roles::list(&mut reader, user).await.map_err(refusals::store)?;
            places.extend(had.into_iter().map(|row| row.place));
        }
        Ok(Plan { user, wanted, places })
    }

    /// Gives and takes, in the write of the sign-in. What to record comes back.
    pub(super) async fn apply_groups(
        &self,
        tx: &mut WriteTx,
        user: &UserRow,
        plan: &Plan,
    ) -> Refused<Vec<Event>> {
        let mut events = Vec::new();
        for place in &plan.places {
            let had = group_roles::get(tx, &user.id, place).await.map_err(refusals::store)?;
            let wanted = plan.wanted.get(place).map(String::as_str);
            if had.is_none() && wanted.is_none() {
                continue;
            }
            let event = if place == INSTANCE {
                self.apply_superuser(tx, user, had, wanted.is_some()).await?
            } else {
                let Ok(project) = place.parse::<ProjectId>() else { continue };
                let wanted = wanted.and_then(Role::parse);
                self.apply_role(tx, user, &project, had, wanted).await?
            };
            events.extend(event);
        }
        Ok(events)
    }

    async fn remember(
        &self,
        tx: &mut WriteTx,
        user: &UserId,
        place: &str,
        role: &str,
        by_hand: Option<String>,
    ) -> Refused<()> {
        let row =
            GroupRoleRow { place: place.to_owned(), role: role.to_owned(), by_hand, granted_at: self.now() };
        group_roles::set(tx, user, &row).await.map_err(refusals::store)
    }

    async fn apply_superuser(
        &self,
        tx: &mut WriteTx,
        user: &UserRow,
        had: Option<GroupRoleRow>,
        wanted: bool,
    ) -> Refused<Option<Event>> {
        let is = user.fields.superuser;
        let by_hand = match &had {
            Some(row) => row.by_hand.clone(),
            None => is.then(|| SUPERUSER.to_owned()),
        };
        let event = |superuser: bool| {
            Event::new("user.update")
                .target(user.id.as_str())
                .detail("email", user.fields.email.as_str())
                .detail("superuser", superuser)
                .detail("from", "group")
        };
        let becomes = wanted || by_hand.is_some();
        if is && !becomes && users::count_superusers(tx).await.map_err(refusals::store)? <= 1 {
            tracing::warn!(user = %user.id, "the last superuser has left the group that makes superusers, and stays one");
            return Ok(Some(event(false).outcome(Outcome::Refused).detail("reason", "last_superuser")));
        }
        if wanted {
            self.remember(tx, &user.id, INSTANCE, SUPERUSER, by_hand).await?;
        } else {
            group_roles::remove(tx, &user.id, INSTANCE).await.map_err(refusals::store)?;
        }
        if is == becomes {
            return Ok(None);
        }
        let now = users::by_id(tx, &user.id).await.map_err(refusals::store)?;
        let Some(now) = now else { return Ok(None) };
        let fields = latchstring_store::users::UserFields { superuser: becomes, ..now.fields };
        users::update(tx, &user.id, now.version, &fields, self.now()).await.map_err(refusals::store)?;
        Ok(Some(event(becomes)))
    }

    async fn apply_role(
        &self,
        tx: &mut WriteTx,
        user: &UserRow,
        project: &ProjectId,
        had: Option<GroupRoleRow>,
        wanted: Option<Role>,
    ) -> Refused<Option<Event>> {
        let is = members::role(tx, project, &user.id).await.map_err(refusals::store)?;
        let by_hand = match &had {
            Some(row) => row.by_hand.as_deref().and_then(Role::parse),
            None => is,
        };
        let becomes = higher(by_hand, wanted);
        let event = |action: &'static str, role: Option<Role>| {
            Event::new(action)
                .project(project)
                .target(user.id.as_str())
                .detail("email", user.fields.email.as_str())
                .detail("role", role.map(Role::as_str))
                .detail("role_before", is.map(Role::as_str))
                .detail("from", "group")
        };
        let steps_down = is == Some(Role::Owner) && becomes < Some(Role::Owner);
        if steps_down && members::count_owners(tx, project).await.map_err(refusals::store)? <= 1 {
            tracing::warn!(user = %user.id, %project, "the last owner of a project has left the group that gives the role, and stays");
            let refused = event("member.set", becomes).outcome(Outcome::Refused);
            return Ok(Some(refused.detail("reason", "last_owner")));
        }
        match wanted {
            Some(role) => {
                let by_hand = by_hand.map(|role| role.as_str().to_owned());
                self.remember(tx, &user.id, project.as_str(), role.as_str(), by_hand).await?;
            }
            None => {
                group_roles::remove(tx, &user.id, project.as_str()).await.map_err(refusals::store)?;
            }
        }
        if becomes == is {
            return Ok(None);
        }
        match becomes {
            Some(role) => {
                members::set(tx, project, &user.id, role, self.now()).await.map_err(refusals::store)?;
                Ok(Some(event("member.set", becomes)))
            }
            None => {
                let rests: Vec<String> = shared_here(tx, &user.id, project)
                    .await?
                    .into_iter()
                    .map(|(_, share)| share.slug)
                    .collect();
                members::remove(tx, project, &user.id).await.map_err(refusals::store)?;
                let event = event("member.delete", None);
                Ok(Some(if rests.is_empty() { event } else { event.detail("rests", rests) }))
            }
        }
    }
}
