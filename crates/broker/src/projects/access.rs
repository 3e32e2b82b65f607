//! May this person do that in this project? The one place that answers.
//!
//! A project that does not exist and one that is somebody else's are the same 404. A role that is too low is a
//! 403 which names the one that is needed: a member knows the project anyway.

use latchstring_model::entity::Role;
use latchstring_model::id::{EnvironmentId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem};
use latchstring_store::environments::{self, EnvironmentRow};
use latchstring_store::projects::{self, MemberProject, ProjectRow};
use latchstring_store::{Tx, WriteTx, members};

use crate::actor::{Actor, Person, Who};
use crate::{Broker, refusals};

pub(crate) fn unknown() -> Box<Problem> {
    refusals::not_found("There is no such project.")
}

pub(crate) fn unknown_environment() -> Box<Problem> {
    refusals::not_found("The project has no such environment.")
}

/// `project` lets the refusal be recorded where the project's people see it.
fn too_low(project: &ProjectRow, has: Role, needed: Role) -> Box<Problem> {
    let article =
        |role: Role| if matches!(role, Role::Editor | Role::Admin | Role::Owner) { "an" } else { "a" };
    Problem::new(
        Code::Forbidden,
        format!("You are {} {has} of this project; this needs {} {needed}.", article(has), article(needed)),
    )
    .hint(match needed {
        Role::Owner => "Ask one of the project's owners.",
        _ => "Ask one of the project's owners or admins to do it, or to change your role.",
    })
    .with("project", project.id.as_str().into())
    .with("needed_role", needed.as_str().into())
    .into()
}

/// A project can want a second factor of its people. One without is told so; they know the project anyway.
pub(crate) fn second_factor(person: &Person, project: &ProjectRow) -> Refused<()> {
    if person.second_factor || !project.require_second_factor {
        return Ok(());
    }
    Err(Problem::new(
        Code::SecondFactorRequired,
        format!("The project {} is for people with a second factor, and you came in without one.", project.slug),
    )
    .hint("Set one up at /account (POST /api/v1/me/totp), or sign in again with the one that you have. Keys act again as soon as their person has one here.")
    .with("project", project.id.as_str().into())
    .into())
}

/// The role of a person in a project, wherever one is looked up without the project itself. `None` also while a
/// second factor is wanted that they have not got.
pub(crate) async fn role_of(tx: &mut impl Tx, person: &Person, project: &ProjectId) -> Refused<Option<Role>> {
    let Some(role) = members::role(tx, project, &person.id).await.map_err(refusals::store)? else {
        return Ok(None);
    };
    let found = projects::by_id(tx, project).await.map_err(refusals::store)?;
    Ok(found.filter(|found| second_factor(person, found).is_ok()).map(|_| role))
}

/// What a service account is in its own project: an admin, less what [`not_an_account`] keeps to people.
async fn account(tx: &mut impl Tx, own: &ProjectId, name: &str) -> Refused<MemberProject> {
    let found = projects::by_slug_or_id(tx, name).await.map_err(refusals::store)?;
    let project = found.filter(|found| &found.id == own).ok_or_else(unknown)?;
    Ok(MemberProject { project, role: Role::Admin })
}

/// The role in which somebody acts in a project: a person's, or a service account's in its own.
pub(crate) async fn role(tx: &mut impl Tx, actor: &Actor, project: &ProjectId) -> Refused<Option<Role>> {
    match &actor.who {
        Who::Account { project: own, .. } => Ok((own == project).then_some(Role::Admin)),
        _ => role_of(tx, actor.person()?, project).await,
    }
}

/// The same with the project, by its slug or id. `None`: unknown, not theirs, or closed to them.
pub(crate) async fn known(tx: &mut impl Tx, actor: &Actor, name: &str) -> Refused<Option<MemberProject>> {
    if let Who::Account { project, .. } = &actor.who {
        let found = projects::by_slug_or_id(tx, name).await.map_err(refusals::store)?;
        let own = found.filter(|found| &found.id == project);
        return Ok(own.map(|project| MemberProject { project, role: Role::Admin }));
    }
    let person = actor.person()?;
    let found = projects::for_member(tx, &person.id, name).await.map_err(refusals::store)?;
    Ok(found.filter(|found| second_factor(person, &found.project).is_ok()))
}

/// For what an admin may and a service account may not: keys, destinations, people with power.
pub(crate) fn not_an_account(actor: &Actor) -> Refused<()> {
    let Who::Account { project, .. } = &actor.who else { return Ok(()) };
    Err(Problem::new(
        Code::NotAllowed,
        "A service account does not do that: keys, destinations, admins and owners are for people to decide about.",
    )
    .hint("An admin or owner of the project does it, signed in or with a personal key. docs/people.md says what a service account may do.")
    .with("project", project.as_str().into())
    .into())
}

/// A person who manages something, with at least this role, or the project's service account. `name` is the
/// project's slug or id.
pub async fn member(tx: &mut impl Tx, actor: &Actor, name: &str, at_least: Role) -> Refused<MemberProject> {
    if let Who::Account { project, .. } = &actor.who {
        let found = account(tx, project, name).await?;
        if at_least > found.role {
            not_an_account(actor)?;
        }
        return Ok(found);
    }
    let person = actor.manager()?;
    let found =
        projects::for_member(tx, &person.id, name).await.map_err(refusals::store)?.ok_or_else(unknown)?;
    second_factor(person, &found.project)?;
    if found.role < at_least { Err(too_low(&found.project, found.role, at_least)) } else { Ok(found) }
}

/// A person who looks, whatever role and whatever scope of key; or the project's service account.
pub async fn look(tx: &mut impl Tx, actor: &Actor, name: &str) -> Refused<MemberProject> {
    if let Who::Account { project, .. } = &actor.who {
        return account(tx, project, name).await;
    }
    let person = actor.person()?;
    let found =
        projects::for_member(tx, &person.id, name).await.map_err(refusals::store)?.ok_or_else(unknown)?;
    second_factor(person, &found.project)?;
    Ok(found)
}

/// Who calls in a project: a member who may call, or the project's own service key (`role` is `None`).
pub struct Caller {
    pub project: ProjectRow,
    pub role: Option<Role>,
    /// The only environment that a service key may name.
    pub bound_to: Option<EnvironmentId>,
}

/// For what service keys may do too: call operations and read metadata.
pub async fn caller(tx: &mut impl Tx, actor: &Actor, name: &str) -> Refused<Caller> {
    if let Who::Service { project, environment, .. } = &actor.who {
        let found = projects::by_slug_or_id(tx, name).await.map_err(refusals::store)?;
        let project = found.filter(|found| &found.id == project).ok_or_else(unknown)?;
        return Ok(Caller { project, role: None, bound_to: Some(environment.clone()) });
    }
    if matches!(actor.who, Who::Account { .. }) {
        // It has no environment: a call is always somebody's, in one of them.
        actor.person()?;
    }
    let MemberProject { project, role } = look(tx, actor, name).await?;
    if !role.may_call() {
        return Err(too_low(&project, role, Role::Editor));
    }
    Ok(Caller { project, role: Some(role), bound_to: None })
}

/// An environment of a project, by its name.
pub async fn environment(tx: &mut impl Tx, project: &ProjectId, name: &str) -> Refused<EnvironmentRow> {
    environments::by_name(tx, project, name).await.map_err(refusals::store)?.ok_or_else(unknown_environment)
}

impl Broker {
    /// A write in a project: the person's role is looked at before the lock is taken (so that a stranger cannot
    /// raise epochs) and again under it (so that a role that was taken meanwhile does not count).
    /// `scopes`: more than the project's own, such as a member's id.
    pub(crate) async fn write_in_project(
        &self,
        actor: &Actor,
        name: &str,
        at_least: Role,
        scopes: &[&str],
    ) -> Refused<(WriteTx, MemberProject)> {
        let id = {
            let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
            member(&mut reader, actor, name, at_least).await?.project.id
        };
        let mut all = vec![id.as_str()];
        all.extend_from_slice(scopes);
        let mut tx = self.parts.store.begin_write(&all).await.map_err(refusals::store)?;
        let found = member(&mut tx, actor, id.as_str(), at_least).await?;
        Ok((tx, found))
    }
}
