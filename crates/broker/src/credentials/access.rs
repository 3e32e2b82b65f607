//! How somebody stands to a credential. The one place that answers, from the table in [`crate::permissions`].
//!
//! A credential that does not exist and one that is nothing to this person are the same 404, found by the same one
//! statement.

use latchstring_model::entity::{Principal, Role};
use latchstring_model::id::{ConnectSessionId, CredentialId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem};
use latchstring_store::credentials::{self as rows, CredentialRow, Tie};
use latchstring_store::{Tx, connect_sessions, shares};

use crate::actor::{Actor, Person, Who};
use crate::permissions::{Ground, Operation, misplaced};
use crate::projects::access::{self, least_role, role_may};
use crate::refusals;

/// Whoever only uses it is told the same as a stranger when they would do what its owner may: it has to be true for both.
pub(crate) fn no_such_credential() -> Box<Problem> {
    refusals::not_found("There is no such credential.")
        .hint(
            "It does not exist, or it is not yours; both look the same from outside. Ask its owner for what only the \
             owner may: to read or edit its fields, to share it, to hand it on, to delete it.",
        )
        .into()
}

/// What a credential is to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// Theirs, alone or as an owner or admin of the project that owns it.
    Owner,
    /// A project of theirs uses it, or owns it without their having a say; with their highest role.
    Member { project: ProjectId, role: Role },
}

pub struct Held {
    pub row: CredentialRow,
    pub stand: Stand,
}

/// The credential, if this person may do that with it.
pub async fn held(tx: &mut impl Tx, actor: &Actor, id: &str, operation: Operation) -> Refused<Held> {
    if let Who::Account { project, .. } = &actor.who {
        return held_by_account(tx, actor, project, id, operation).await;
    }
    if let Who::EndUser { session, project } = &actor.who {
        return held_by_end_user(tx, session, project, id, operation).await;
    }
    let person = match operation.ground() {
        Ground::Seen => actor.person()?,
        Ground::Owner(_) | Ground::Used(_) => actor.manager()?,
        _ => return Err(misplaced(operation)),
    };
    let id: CredentialId = id.parse().map_err(|_| no_such_credential())?;
    let found = rows::for_person(tx, &person.id, &id).await.map_err(refusals::store)?;
    let (row, mut tie) = found.ok_or_else(no_such_credential)?;
    if let Principal::Project(project) = &row.owner
        && tie.owning_role.is_some()
        && !access::open_to(tx, person, project).await?
    {
        tie.owning_role = None;
    }
    let stand = stand(tx, person, &row, &tie, operation).await?;
    match (&stand, operation.ground()) {
        (Stand::Owner, _) | (Stand::Member { .. }, Ground::Seen) => Ok(Held { row, stand }),
        // Who only uses it knows that it is there, and still nothing of the rest.
        (Stand::Member { .. }, Ground::Owner(_)) => Err(no_such_credential()),
        (Stand::Member { project, role }, _) => {
            if role_may(Some(*role), operation) {
                return Ok(Held { row, stand });
            }
            let needed = least_role(operation);
            Err(Problem::new(
                Code::Forbidden,
                format!("Your role in the projects that use it is at most {role}; this needs {needed}."),
            )
            .hint("Ask an admin of the project for that role, or the credential's owner to do it.")
            .with("project", project.as_str().into())
            .with("needed_role", needed.as_str().into())
            .into())
        }
    }
}

/// An end user consents for what waits for them in their connect session, and comes near nothing else.
async fn held_by_end_user(
    tx: &mut impl Tx,
    session: &ConnectSessionId,
    project: &ProjectId,
    id: &str,
    operation: Operation,
) -> Refused<Held> {
    if operation != Operation::CredentialAuthorize {
        return Err(no_such_credential());
    }
    let id: CredentialId = id.parse().map_err(|_| no_such_credential())?;
    let session = connect_sessions::by_id(tx, session).await.map_err(refusals::store)?;
    let waits = session.is_some_and(|session| {
        session.ended_at.is_none()
            && session.credential_id.as_ref() == Some(&id)
            && session.project_id == *project
    });
    if !waits {
        return Err(no_such_credential());
    }
    let row = rows::for_upkeep(tx, &id).await.map_err(refusals::store)?;
    let row = row.filter(|row| matches!(&row.owner, Principal::Project(owner) if owner == project));
    Ok(Held { row: row.ok_or_else(no_such_credential)?, stand: Stand::Owner })
}

/// What its project owns is a service account's, less what is kept to people; what its project uses it sees, and
/// trying that is using it.
async fn held_by_account(
    tx: &mut impl Tx,
    actor: &Actor,
    project: &ProjectId,
    id: &str,
    operation: Operation,
) -> Refused<Held> {
    let id: CredentialId = id.parse().map_err(|_| no_such_credential())?;
    let row = rows::for_upkeep(tx, &id).await.map_err(refusals::store)?;
    let own = row.as_ref().map(|row| &row.owner);
    let stand = if matches!(own, Some(Principal::Project(owner)) if owner == project) {
        Stand::Owner
    } else {
        // Also where there is none: what is somebody else's takes the same work.
        shares::in_project(tx, project, id.as_str())
            .await
            .map_err(refusals::store)?
            .filter(|share| share.credential_id == id)
            .ok_or_else(no_such_credential)?;
        Stand::Member { project: project.clone(), role: access::ACCOUNT }
    };
    let row = row.ok_or_else(no_such_credential)?;
    match (&stand, operation.ground()) {
        (Stand::Owner, Ground::Seen | Ground::Owner(_) | Ground::Used(_)) => {
            access::not_kept(actor, operation)?
        }
        (Stand::Member { .. }, Ground::Seen) => {}
        (Stand::Member { .. }, Ground::Owner(_)) => return Err(no_such_credential()),
        (Stand::Member { .. }, Ground::Used(_)) => access::not_an_account(actor)?,
        _ => return Err(misplaced(operation)),
    }
    Ok(Held { row, stand })
}

/// The same for what only owners do.
pub async fn owned(
    tx: &mut impl Tx,
    actor: &Actor,
    id: &str,
    operation: Operation,
) -> Refused<CredentialRow> {
    let Held { row, stand } = held(tx, actor, id, operation).await?;
    if stand == Stand::Owner { Ok(row) } else { Err(no_such_credential()) }
}

/// Whether a member of the owning project is as good as its owner. What is asked for does not matter: all that
/// owners do takes the same role.
fn is_owner(tie: &Tie) -> bool {
    tie.own || role_may(tie.owning_role, Operation::CredentialChange)
}

async fn stand(
    tx: &mut impl Tx,
    person: &Person,
    row: &CredentialRow,
    tie: &Tie,
    operation: Operation,
) -> Refused<Stand> {
    if is_owner(tie) {
        return Ok(Stand::Owner);
    }
    if matches!(operation.ground(), Ground::Owner(_)) {
        return Err(no_such_credential());
    }
    let mut best: Option<(ProjectId, Role)> = match (&row.owner, tie.owning_role) {
        (Principal::Project(project), Some(role)) => Some((project.clone(), role)),
        _ => None,
    };
    for (project, role) in rows::roles_of(tx, &person.id, row).await.map_err(refusals::store)? {
        if best.as_ref().is_none_or(|(_, best)| role > *best) && access::open_to(tx, person, &project).await?
        {
            best = Some((project, role));
        }
    }
    best.map(|(project, role)| Stand::Member { project, role }).ok_or_else(no_such_credential)
}
