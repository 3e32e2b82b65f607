//! Looking at connectors.

use std::collections::HashMap;

use latchstring_model::entity::Principal;
use latchstring_model::id::ProjectId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem};
use latchstring_store::credentials;
use latchstring_store::oauth_clients::{self, Offered};
use latchstring_store::{Tx, connectors, users};

use super::{Connector, ConsentOffer};
use crate::actor::{Actor, Who};
use crate::catalog::BUILTIN;
use crate::oauth_clients::ANY_SERVER;
use crate::permissions::Operation;
use crate::projects::access;
use crate::{Broker, refusals};

pub(super) fn no_such_connector() -> Box<Problem> {
    Problem::new(Code::NotFound, "There is no such connector.")
        .hint("GET /api/v1/connectors?project={project} lists the built-in ones and the project's own. `http` serves any API that has none yet.")
        .into()
}

/// How many credentials of each connector somebody owns.
async fn counts_of_owner(tx: &mut impl Tx, owner: Principal) -> Refused<HashMap<String, i64>> {
    let counts = credentials::count_per_connector_of_owner(tx, &owner).await.map_err(refusals::store)?;
    Ok(counts.into_iter().collect())
}

async fn counts(
    tx: &mut impl Tx,
    actor: &Actor,
    project: Option<&ProjectId>,
) -> Refused<HashMap<String, i64>> {
    match project {
        Some(project) => Ok(credentials::count_per_connector(tx, project)
            .await
            .map_err(refusals::store)?
            .into_iter()
            .collect()),
        None => match &actor.who {
            Who::Account { project, .. } => counts_of_owner(tx, Principal::Project(project.clone())).await,
            _ => counts_of_owner(tx, Principal::User(actor.person()?.id.clone())).await,
        },
    }
}

async fn offers(
    tx: &mut impl Tx,
    actor: &Actor,
    project: Option<&ProjectId>,
) -> Refused<(Vec<Offered>, Vec<String>)> {
    let clients = match (actor.as_user(), project) {
        (Some(_), Some(project)) => oauth_clients::offered(tx, project).await,
        (Some(person), None) => oauth_clients::offered_to_member(tx, &person.id).await,
        // Nobody consents in a service account's name.
        (None, _) => Ok(Vec::new()),
    };
    Ok((clients.map_err(refusals::store)?, users::superusers(tx, ASKED).await.map_err(refusals::store)?))
}

/// Superusers that are named: enough to find one who is there.
const ASKED: i64 = 5;

/// Which of the clients serve this connector, or whom to ask for one.
fn offer(connector: &Connector, clients: &[Offered], superusers: &[String]) -> Option<ConsentOffer> {
    connector.definition.consent_methods().next()?;
    let any_server = connector.uid == format!("{BUILTIN}{ANY_SERVER}");
    let serves = |client: &&Offered| match &client.connector {
        Some(uid) => *uid == connector.uid,
        None => any_server,
    };
    let clients: Vec<(String, String)> =
        clients.iter().filter(serves).map(|client| (client.id.to_string(), client.name.clone())).collect();
    let ask = if clients.is_empty() { superusers.to_vec() } else { Vec::new() };
    Some(ConsentOffer { clients, ask })
}

impl Broker {
    /// The built-in ones and the project's own, by name.
    pub async fn connectors(&self, actor: &Actor, project: Option<&str>) -> Refused<Vec<Connector>> {
        actor.may_look()?;
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let project = match project {
            Some(named) => Some(
                access::member(&mut tx, actor, named, Operation::ProjectConnectorsLook).await?.project.id,
            ),
            None => None,
        };
        let mut all: Vec<Connector> = self.catalog.all_builtin().iter().map(Connector::builtin).collect();
        if let Some(project) = &project {
            for row in connectors::list(&mut tx, project).await.map_err(refusals::store)? {
                let (uid, id) = (row.uid.clone(), row.id.clone());
                // One that this version cannot read is told when it is asked for; it must not hide the others.
                match self.definition_by_uid(&mut tx, &uid).await {
                    Ok(found) => all.push(Connector::of(found)),
                    Err(problem) => {
                        tracing::warn!(connector = %id, problem = %problem, "a connector is not listed");
                    }
                }
            }
        }
        let counts = counts(&mut tx, actor, project.as_ref()).await?;
        let (clients, superusers) = offers(&mut tx, actor, project.as_ref()).await?;
        for connector in &mut all {
            connector.credentials = counts.get(&connector.uid).copied().unwrap_or(0);
            connector.consent = offer(connector, &clients, &superusers);
        }
        all.sort_by_cached_key(|connector| {
            (connector.definition.name.to_lowercase(), connector.definition.id.clone())
        });
        Ok(all)
    }

    /// One connector, by its id; a project's own only with the project.
    pub async fn connector(&self, actor: &Actor, project: Option<&str>, id: &str) -> Refused<Connector> {
        actor.may_look()?;
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let project = match project {
            Some(named) => Some(
                access::member(&mut tx, actor, named, Operation::ProjectConnectorsLook).await?.project.id,
            ),
            None => None,
        };
        let mut found = match (self.catalog.builtin(id), &project) {
            (Some(definition), _) => Connector::builtin(&definition),
            (None, None) => return Err(no_such_connector()),
            (None, Some(project)) => {
                let row = connectors::by_id(&mut tx, project, id).await.map_err(refusals::store)?;
                let row = row.ok_or_else(no_such_connector)?;
                Connector::of(self.definition_by_uid(&mut tx, &row.uid).await?)
            }
        };
        let counts = counts(&mut tx, actor, project.as_ref()).await?;
        found.credentials = counts.get(&found.uid).copied().unwrap_or(0);
        let (clients, superusers) = offers(&mut tx, actor, project.as_ref()).await?;
        found.consent = offer(&found, &clients, &superusers);
        Ok(found)
    }
}
