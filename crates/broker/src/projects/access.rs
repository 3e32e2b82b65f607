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
use latchstring_store::{Tx, WriteTx};

use crate::actor::Actor;
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

/// A person who does this in a project. `name` is the project's slug or id.
pub async fn member(
    tx: &mut impl Tx,
    actor: &Actor,
    name: &str,
    operation: Operation,
) -> Refused<MemberProject> {
    let (person, least) = match operation.ground() {
        Ground::Look | Ground::LookOrSuperuser => (actor.person()?, Role::Viewer),
        Ground::Member(least) => (actor.manager()?, least),
        Ground::Call(least) => (actor.person()?, least),
        _ => return Err(misplaced(operation)),
    };
    let found =
        projects::for_member(tx, &person.id, name).await.map_err(refusals::store)?.ok_or_else(unknown)?;
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
