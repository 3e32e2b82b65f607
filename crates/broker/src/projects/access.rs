//! May this person do that in this project? The one place that answers, from the table in [`crate::permissions`].
//!
//! A project that does not exist and one that is somebody else's are the same 404. A role that is too low is a
//! 403 which names the one that is needed: a member knows the project anyway.

use latchstring_model::entity::Role;
use latchstring_model::id::ProjectId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem};
use latchstring_store::environments::{self, EnvironmentRow};
use latchstring_store::projects::{self, MemberProject, ProjectRow};
use latchstring_store::{Tx, WriteTx, members};

use crate::actor::{Actor, Person, Who};
use crate::permissions::{Ground, Operation, misplaced};
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
    Ok(open_to(tx, person, project).await?.then_some(role))
}

/// Whether a project is not closed to a member who came in without a second factor.
pub(crate) async fn open_to(tx: &mut impl Tx, person: &Person, project: &ProjectId) -> Refused<bool> {
    if person.second_factor {
        return Ok(true);
    }
    let found = projects::by_id(tx, project).await.map_err(refusals::store)?;
    Ok(found.is_some_and(|found| second_factor(person, &found).is_ok()))
}

/// What a service account is in its own project: an admin, less what is kept to people ([`not_kept`]).
pub(crate) const ACCOUNT: Role = Role::Admin;

/// What an end user is in the project of their connect session: enough to have one credential shared with it, and
/// too little to take a name that another one had.
const END_USER: Role = Role::Editor;

async fn account(tx: &mut impl Tx, own: &ProjectId, name: &str) -> Refused<MemberProject> {
    let found = projects::by_slug_or_id(tx, name).await.map_err(refusals::store)?;
    let project = found.filter(|found| &found.id == own).ok_or_else(unknown)?;
    Ok(MemberProject { project, role: ACCOUNT })
}

/// The role in which somebody acts in a project: a person's, or a service account's in its own.
pub(crate) async fn role(tx: &mut impl Tx, actor: &Actor, project: &ProjectId) -> Refused<Option<Role>> {
    match &actor.who {
        Who::Account { project: own, .. } => Ok((own == project).then_some(ACCOUNT)),
        Who::EndUser { project: own, .. } => Ok((own == project).then_some(END_USER)),
        _ => role_of(tx, actor.person()?, project).await,
    }
}

/// The same with the project, by its slug or id. `None`: unknown, not theirs, or closed to them.
pub(crate) async fn known(tx: &mut impl Tx, actor: &Actor, name: &str) -> Refused<Option<MemberProject>> {
    if let Who::Account { project, .. } = &actor.who {
        let found = projects::by_slug_or_id(tx, name).await.map_err(refusals::store)?;
        let own = found.filter(|found| &found.id == project);
        return Ok(own.map(|project| MemberProject { project, role: ACCOUNT }));
    }
    if let Who::EndUser { project, .. } = &actor.who {
        let found = projects::by_slug_or_id(tx, name).await.map_err(refusals::store)?;
        let own = found.filter(|found| &found.id == project);
        return Ok(own.map(|project| MemberProject { project, role: END_USER }));
    }
    let person = actor.person()?;
    let found = projects::for_member(tx, &person.id, name).await.map_err(refusals::store)?;
    Ok(found.filter(|found| second_factor(person, &found.project).is_ok()))
}

/// The same, from the table: an operation that is not on the list of those that service accounts do.
pub(crate) fn not_kept(actor: &Actor, operation: Operation) -> Refused<()> {
    if operation.for_accounts() { Ok(()) } else { not_an_account(actor) }
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

/// A person who does this in a project, or the project's service account. `name` is the project's slug or id.
pub async fn member(
    tx: &mut impl Tx,
    actor: &Actor,
    name: &str,
    operation: Operation,
) -> Refused<MemberProject> {
    if let Who::Account { project, .. } = &actor.who {
        let found = account(tx, project, name).await?;
        not_kept(actor, operation)?;
        return match operation.ground() {
            Ground::Look | Ground::LookOrSuperuser | Ground::Member(_)
                if role_may(Some(found.role), operation) =>
            {
                Ok(found)
            }
            _ => Err(misplaced(operation)),
        };
    }
    // The one thing that a connect session is for: a credential of its project, of what was allowed with it.
    if let Who::EndUser { .. } = &actor.who
        && operation == Operation::TeamCredentialCreate
    {
        return known(tx, actor, name).await?.ok_or_else(unknown);
    }
    let (person, least) = match operation.ground() {
        Ground::Look | Ground::LookOrSuperuser => (actor.person()?, Role::Viewer),
        Ground::Member(least) => (actor.manager()?, least),
        Ground::Call(least) => (actor.person()?, least),
        _ => return Err(misplaced(operation)),
    };
    let found =
        projects::for_member(tx, &person.id, name).await.map_err(refusals::store)?.ok_or_else(unknown)?;
    second_factor(person, &found.project)?;
    if found.role < least { Err(too_low(&found.project, found.role, least)) } else { Ok(found) }
}

/// Whether a role that was looked up otherwise is enough: `None` is no member.
pub fn role_may(role: Option<Role>, operation: Operation) -> bool {
    match operation.ground() {
        Ground::Look | Ground::LookOrSuperuser => role.is_some(),
        Ground::Member(least) | Ground::Call(least) | Ground::Owner(least) | Ground::Used(least) => {
            role.is_some_and(|role| role >= least)
        }
        _ => false,
    }
}

/// The lowest role that may, for those who are told what they lack.
pub fn least_role(operation: Operation) -> Role {
    Role::ALL.iter().copied().find(|role| role_may(Some(*role), operation)).unwrap_or(Role::Owner)
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
        operation: Operation,
        scopes: &[&str],
    ) -> Refused<(WriteTx, MemberProject)> {
        let id = {
            let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
            member(&mut reader, actor, name, operation).await?.project.id
        };
        let mut all = vec![id.as_str()];
        all.extend_from_slice(scopes);
        let mut tx = self.parts.store.begin_write(&all).await.map_err(refusals::store)?;
        let found = member(&mut tx, actor, id.as_str(), operation).await?;
        Ok((tx, found))
    }
}
