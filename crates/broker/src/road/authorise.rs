//! Step 2, authorise: may this caller use this credential here? Share → grant → values.
//!
//! A credential that does not exist, one of another project, and one whose owner has left answer the same 404.

use latchstring_model::entity::KeyScope;
use latchstring_model::id::{EnvironmentId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, OpenTicket, Problem, Timestamp};
use latchstring_store::api_keys::{KeyBelongs, KeyCaller, KeyOwner};
use latchstring_store::credentials::CredentialRow;
use latchstring_store::values::ValuesRow;
use latchstring_store::{ReadTx, api_keys, environments, members, projects, resolve, users};

use super::accept::{RouteAsk, unauthenticated};
use super::limits::KeyLimits;
use crate::actor::{Actor, Person, Via, Who};
use crate::freshness::Basis;
use crate::keychains::choose::{Data, choose, not_a_keychain};
use crate::permissions::Operation;
use crate::projects::access;
use crate::refusals;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectAt {
    pub id: ProjectId,
    pub slug: String,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentAt {
    pub id: EnvironmentId,
    pub name: String,
}

/// Who calls, for which project and environment, and on whose behalf.
pub struct Caller {
    pub actor: Actor,
    pub limits: KeyLimits,
    pub expires_at: Option<Timestamp>,
    pub project: ProjectAt,
    pub environment: EnvironmentAt,
    /// `user` in templates: the person who calls, or a member that the key may act for. Absent otherwise.
    pub user: Option<Person>,
}

/// A caller, and the credential that it may use here.
pub struct Authorised {
    pub caller: Caller,
    pub credential: CredentialRow,
    pub values: ValuesRow,
    pub slug: String,
    pub basis: Basis,
    pub ticket: OpenTicket,
}

pub fn credential_not_found() -> Box<Problem> {
    Problem::new(Code::CredentialNotFound, "This project has no credential of that name.")
        .hint("Use its slug or id as the project's credentials list shows it; its owner may have to share it with the project first.")
        .into()
}

fn context_missing(what: &'static str, header: &'static str) -> Box<Problem> {
    Problem::new(
        Code::ContextMissing,
        format!("A personal key belongs to a person, not to a project: the request has to name the {what}."),
    )
    .hint(format!("Send `{header}`, or use a service key, which is bound to one project and environment."))
    .into()
}

/// The caller of a `/proxy` request, from its key and headers.
pub async fn caller(tx: &mut ReadTx, ask: &RouteAsk, now: Timestamp, basis: &mut Basis) -> Refused<Caller> {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, ask.key.expose().as_bytes());
    let found = api_keys::by_secret_hash(tx, hash.as_ref(), now).await.map_err(refusals::store)?;
    let KeyCaller { key, owner, epoch } = found.ok_or_else(unauthenticated)?;
    let limits: KeyLimits =
        serde_json::from_value(key.limits.clone()).map_err(|error| refusals::internal(&error))?;
    match key.belongs.clone() {
        KeyBelongs::Service { project_id, environment_id } => {
            basis.add(project_id.as_str(), epoch);
            let KeyOwner::Project { slug, name, environment } = owner else {
                return Err(refusals::internal(&"a service key without a project"));
            };
            // Headers never widen a service key: naming anything else than its own is a mistake worth telling.
            let other = |named: &Option<String>, own: [&str; 2]| {
                named.as_deref().is_some_and(|named| !own.contains(&named))
            };
            if other(&ask.project, [&slug, project_id.as_str()])
                || other(&ask.environment, [&environment, &environment])
            {
                return Err(Problem::new(Code::NotAllowed, "This service key belongs to another project or environment than the headers name.")
                    .hint("Leave Latchstring-Project and Latchstring-Environment out: a service key has one of each.")
                    .into());
            }
            let user = match &ask.user {
                None => None,
                Some(named) => Some(acted_for(tx, &limits, &project_id, named, basis).await?),
            };
            Ok(Caller {
                actor: Actor {
                    who: Who::Service {
                        key: key.id,
                        name: key.name,
                        project: project_id.clone(),
                        environment: environment_id.clone(),
                    },
                    address: None,
                },
                limits,
                expires_at: key.expires_at,
                project: ProjectAt { id: project_id, slug, name },
                environment: EnvironmentAt { id: environment_id, name: environment },
                user,
            })
        }
        KeyBelongs::Account { .. } => Err(Problem::new(
            Code::NotAllowed,
            "This key is a service account's: it manages its project, and calls nothing.",
        )
        .hint("Calls take a service key, which is bound to one environment; a project admin makes one.")
        .into()),
        KeyBelongs::Personal { user_id } => {
            basis.add(user_id.as_str(), epoch);
            let person = Person::of_key(user_id, &owner)
                .ok_or_else(|| refusals::internal(&"a personal key without a person"))?;
            if ask.user.as_ref().is_some_and(|named| {
                !named.eq_ignore_ascii_case(&person.email) && named != person.id.as_str()
            }) {
                return Err(Problem::new(Code::NotAllowed, "A personal key acts as its own person only.")
                    .hint("Leave Latchstring-User out, or use a service key with `may_act_for`.")
                    .into());
            }
            let scope: KeyScope = key.scope;
            let actor = Actor {
                who: Who::Person { person: person.clone(), via: Via::Key { id: key.id, scope } },
                address: None,
            };
            let (project, environment) =
                place(tx, &person, ask.project.as_deref(), ask.environment.as_deref(), basis).await?;
            Ok(Caller { actor, limits, expires_at: key.expires_at, project, environment, user: Some(person) })
        }
    }
}

/// Project and environment that a person names, if they may call there.
pub async fn place(
    tx: &mut ReadTx,
    person: &Person,
    project: Option<&str>,
    environment: Option<&str>,
    basis: &mut Basis,
) -> Refused<(ProjectAt, EnvironmentAt)> {
    let project = project.ok_or_else(|| context_missing("project", "Latchstring-Project: <slug>"))?;
    let environment =
        environment.ok_or_else(|| context_missing("environment", "Latchstring-Environment: <name>"))?;
    let member = projects::for_member(tx, &person.id, project).await.map_err(refusals::store)?;
    let member = member.ok_or_else(|| {
        Problem::new(Code::CredentialNotFound, "There is no such project, or you are not a member of it.")
            .hint("Use the project's slug or id; its admins can add you.")
    })?;
    let epoch =
        latchstring_store::scopes::epoch(tx, member.project.id.as_str()).await.map_err(refusals::store)?;
    basis.add(member.project.id.as_str(), epoch);
    access::second_factor(person, &member.project)?;
    if !access::role_may(Some(member.role), Operation::Call) {
        let needed = access::least_role(Operation::Call);
        return Err(Problem::new(
            Code::Forbidden,
            format!("Your role in this project is {}; calls need {needed}.", member.role),
        )
        .hint("Ask an admin of the project for the role editor.")
        .into());
    }
    let found = environments::by_name(tx, &member.project.id, environment).await.map_err(refusals::store)?;
    let found = found.ok_or_else(|| {
        Problem::new(Code::CredentialNotFound, "The project has no environment of that name.")
            .hint("GET /api/v1/projects/{project} lists its environments.")
    })?;
    Ok((
        ProjectAt { id: member.project.id, slug: member.project.slug, name: member.project.name },
        EnvironmentAt { id: found.id, name: found.name },
    ))
}

pub(crate) async fn acted_for(
    tx: &mut ReadTx,
    limits: &KeyLimits,
    project: &ProjectId,
    named: &str,
    basis: &mut Basis,
) -> Refused<Person> {
    let refuse = || {
        Problem::new(Code::NotAllowed, "This key may not act for that person.")
            .hint("A project admin names in `may_act_for` which members a key may act for; they must be active members.")
    };
    let listed = limits
        .may_act_for
        .as_ref()
        .is_some_and(|list| list.iter().any(|email| email.eq_ignore_ascii_case(named)));
    if !listed {
        return Err(refuse().into());
    }
    let row = users::by_email(tx, named).await.map_err(refusals::store)?.ok_or_else(refuse)?;
    let role = members::role(tx, project, &row.id).await.map_err(refusals::store)?;
    if role.is_none() || !row.fields.active {
        return Err(refuse().into());
    }
    let epoch = latchstring_store::scopes::epoch(tx, row.id.as_str()).await.map_err(refusals::store)?;
    basis.add(row.id.as_str(), epoch);
    Ok(Person::of(&row))
}

/// Share → grant → values, in one look-up. Only this function mints an [`OpenTicket`] for calls.
pub async fn credential(
    tx: &mut ReadTx,
    caller: Caller,
    named: &str,
    data: Data<'_>,
    mut basis: Basis,
) -> Refused<Authorised> {
    let (project, environment) = (caller.project.id.clone(), caller.environment.name.clone());
    let mut found = resolve::route(tx, &project, &environment, named).await.map_err(refusals::store)?;
    match &found {
        Some(_) if data.external_id.is_some() => return Err(not_a_keychain()),
        Some(_) => {}
        None => {
            if let Some(chosen) = choose(tx, &project, named, data).await? {
                found = resolve::route(tx, &project, &environment, chosen.as_str())
                    .await
                    .map_err(refusals::store)?;
            }
        }
    }
    let route = found.filter(|route| route.owner_living).ok_or_else(credential_not_found)?;
    basis.add(caller.project.id.as_str(), route.epochs.project);
    basis.add(route.credential.id.as_str(), route.epochs.credential);
    basis.add(route.credential.owner.id(), route.epochs.owner);
    caller.limits.check_credential(&route.credential.id)?;
    if route.credential.deletes_at.is_some() {
        return Err(Problem::new(
            Code::CredentialDisabled,
            "The credential is going to be deleted and cannot be used any more.",
        )
        .hint("Its owner can restore it until the day of deletion.")
        .into());
    }
    if route.credential.disabled {
        return Err(Problem::new(Code::CredentialDisabled, "The credential's owner has disabled it.")
            .hint("Ask its owner to enable it again.")
            .into());
    }
    if route.share.suspended {
        return Err(Problem::new(
            Code::DestinationNotAllowed,
            "The credential's destination has changed, and a project admin has not accepted the new one yet.",
        )
        .hint("A project admin looks at the new destination and accepts it, or withdraws the share.")
        .into());
    }
    let Some(values) = route.values else {
        return Err(Problem::new(
            Code::NoGrant,
            format!(
                "The credential is shared with this project, but not granted to its environment {}.",
                caller.environment.name
            ),
        )
        .hint("Its owner decides in the share's grants which of its values each environment may use.")
        .into());
    };
    Ok(Authorised {
        caller,
        credential: route.credential,
        values,
        slug: route.share.slug,
        basis,
        ticket: OpenTicket::mint(),
    })
}

/// For a person who works on values of their own (verification, editing): they were loaded through the owner.
pub fn owner_opens() -> OpenTicket {
    OpenTicket::mint()
}

/// For the secret that a project's own webhook is signed with.
pub fn webhook_opens() -> OpenTicket {
    OpenTicket::mint()
}

/// For a superuser who looks at or changes an OAuth client: who it is was asked before.
pub fn superuser_opens(actor: &Actor) -> Refused<OpenTicket> {
    actor.may(Operation::ClientChange)?;
    Ok(OpenTicket::mint())
}

/// For the code of a person who is signing in, or works on their own second factor.
pub(crate) fn second_factor_opens() -> OpenTicket {
    OpenTicket::mint()
}

/// For a sign-in under way: what the browser that began it has to bring back, and a reset's link on its way into a
/// mail to its own person.
pub(crate) fn sign_in_opens() -> OpenTicket {
    OpenTicket::mint()
}

/// For the refresh of a token whose credential some authorised call needs, or that is kept alive in the background.
pub fn token_opens() -> OpenTicket {
    OpenTicket::mint()
}
