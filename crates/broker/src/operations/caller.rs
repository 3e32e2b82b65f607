//! Who calls on the API: the same caller as on `/proxy`, from what the door found out.

use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, Timestamp};
use latchstring_store::api_keys::{self, KeyCaller, KeyOwner};
use latchstring_store::{ReadTx, scopes};

use super::Wish;
use crate::actor::{Actor, Who};
use crate::freshness::Basis;
use crate::projects::access;
use crate::projects::service_keys::read_limits;
use crate::refusals;
use crate::road::accept::unauthenticated;
use crate::road::authorise::{self, Caller, EnvironmentAt, ProjectAt};
use crate::road::limits::KeyLimits;

/// A person with a session or a key of either scope, or the project's own service key.
pub(super) async fn caller(
    tx: &mut ReadTx,
    actor: &Actor,
    wish: &Wish<'_>,
    now: Timestamp,
    basis: &mut Basis,
) -> Refused<Caller> {
    match &actor.who {
        Who::Person { person, .. } => {
            if wish.user.is_some_and(|named| {
                !named.eq_ignore_ascii_case(&person.email) && named != person.id.as_str()
            }) {
                return Err(Problem::new(Code::NotAllowed, "A person calls as themselves only.")
                    .hint("Leave Latchstring-User out, or use a service key with `may_act_for`.")
                    .into());
            }
            let epoch = scopes::epoch(tx, person.id.as_str()).await.map_err(refusals::store)?;
            basis.add(person.id.as_str(), epoch);
            let (project, environment) =
                authorise::place(tx, person, Some(wish.project), Some(wish.environment), basis).await?;
            Ok(Caller {
                actor: actor.clone(),
                // Personal keys have a scope and an end, both of which the door looked at.
                limits: KeyLimits::default(),
                expires_at: None,
                project,
                environment,
                user: Some(person.clone()),
            })
        }
        Who::Service { key, project, environment, .. } => {
            let found = api_keys::by_id(tx, key, now).await.map_err(refusals::store)?;
            let KeyCaller { key, owner, epoch } = found.ok_or_else(unauthenticated)?;
            let KeyOwner::Project { slug, name, environment: own } = owner else {
                return Err(refusals::internal(&"a service key without a project"));
            };
            if wish.project != slug && wish.project != project.as_str() {
                return Err(access::unknown());
            }
            if wish.environment != own {
                return Err(Problem::new(
                    Code::NotAllowed,
                    format!("This service key belongs to the environment {own}, and to no other."),
                )
                .hint("A project admin can make a key for another environment.")
                .into());
            }
            basis.add(project.as_str(), epoch);
            let limits = read_limits(&key.limits)?;
            let user = match wish.user {
                None => None,
                Some(named) => Some(authorise::acted_for(tx, &limits, project, named, basis).await?),
            };
            Ok(Caller {
                actor: actor.clone(),
                limits,
                expires_at: key.expires_at,
                project: ProjectAt { id: project.clone(), slug, name },
                environment: EnvironmentAt { id: environment.clone(), name: own },
                user,
            })
        }
        Who::Account { .. } => Err(Problem::new(
            Code::NotAllowed,
            "This key is a service account's: it manages its project, and calls nothing.",
        )
        .hint("Calls take a service key, which is bound to one environment; a project admin makes one.")
        .into()),
        Who::Anonymous | Who::EndUser { .. } | Who::Operator => Err(unauthenticated()),
    }
}
