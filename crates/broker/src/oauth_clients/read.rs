//! Looking at clients. Superusers see all of each; members of its projects see what they need to choose one.

use std::collections::BTreeMap;

use latchstring_model::Timestamp;
use latchstring_model::entity::Principal;
use latchstring_model::id::{OAuthClientId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_store::oauth_clients::{self as rows, OAuthClientRow, UsedBy};
use latchstring_store::{Tx, projects, users};
use serde_json::{Value, json};

use super::{endpoints, secrets};
use crate::actor::{Actor, Person, Who};
use crate::catalog::Found;
use crate::people::{Page, Paging};
use crate::permissions::Operation;
use crate::projects::access;
use crate::{Broker, refusals};

/// Whom people ask about a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub id: String,
    pub email: String,
    pub name: String,
}

/// What everybody sees who may use it.
#[derive(Clone, Debug)]
pub struct ClientView {
    pub id: OAuthClientId,
    pub name: String,
    /// Its id; `http` for a client without one.
    pub connector: String,
    pub connector_uid: Option<String>,
    pub owner: Owner,
    pub draft: bool,
    pub mandatory_scopes: Vec<String>,
    pub optional_scopes: Vec<String>,
    pub scopes_doc_url: Option<String>,
    pub redirect_uri: String,
    pub global: bool,
    pub version: i64,
    pub whole: Option<Whole>,
}

/// What only superusers see.
#[derive(Clone, Debug)]
pub struct Whole {
    pub client_id: Option<String>,
    pub client_auth: String,
    /// `client_secret`, `private_key`, `dpop_key`, where they are set.
    pub secret_fields: Vec<String>,
    pub key_algorithm: Option<String>,
    pub key_id: Option<String>,
    pub public_key: Option<Value>,
    /// PEM.
    pub certificate: Option<String>,
    /// Thumbprint of the key that tokens are bound to.
    pub dpop_jkt: Option<String>,
    pub resource: Vec<String>,
    pub issuer: Option<String>,
    /// The provider announces that callbacks carry `iss`.
    pub issuer_in_callback: bool,
    /// Address, and where it comes from: `request`, `issuer` or `connector`.
    pub endpoints: BTreeMap<&'static str, (String, &'static str)>,
    pub authorize_params: BTreeMap<String, String>,
    /// Their values may be secret and are never shown.
    pub token_param_names: Vec<String>,
    pub hosts: Vec<String>,
    pub pkce: bool,
    /// Slugs.
    pub projects: Vec<String>,
    pub used_by_count: i64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// What looked odd when it was written.
    pub warnings: Vec<String>,
}

pub(super) fn unknown() -> Box<latchstring_model::Problem> {
    refusals::not_found("There is no such OAuth client.")
}

/// For the list that keeps a client from being deleted.
pub(super) fn told(used: &[UsedBy]) -> Value {
    used.iter()
        .map(|used| {
            let owner = match &used.owner {
                Principal::User(id) => json!({"type": "user", "id": id.as_str(), "email": used.owner_name}),
                Principal::Project(id) => {
                    json!({"type": "project", "id": id.as_str(), "slug": used.owner_name})
                }
            };
            json!({"id": used.id.as_str(), "name": used.name, "owner": owner})
        })
        .collect()
}

impl Broker {
    /// A client that this person may see, by its id.
    pub(super) async fn seen_client(
        &self,
        tx: &mut impl Tx,
        person: &Person,
        named: &str,
    ) -> Refused<OAuthClientRow> {
        let id: OAuthClientId = named.parse().map_err(|_| unknown())?;
        let found = if person.superuser {
            rows::by_id(tx, &id).await
        } else {
            rows::for_member(tx, &person.id, &id).await
        };
        found.map_err(refusals::store)?.ok_or_else(unknown)
    }

    pub(super) async fn member_view(&self, tx: &mut impl Tx, row: &OAuthClientRow) -> Refused<ClientView> {
        let owner = users::by_id(tx, &row.owner_id).await.map_err(refusals::store)?;
        let owner = owner.ok_or_else(|| refusals::internal(&"the owner of an OAuth client is gone"))?;
        let connector = row.connector.as_deref().and_then(|uid| uid.rsplit('/').next());
        Ok(ClientView {
            id: row.id.clone(),
            name: row.name.clone(),
            connector: connector.unwrap_or(super::usable::ANY_SERVER).to_owned(),
            connector_uid: row.connector.clone(),
            owner: Owner { id: owner.id.to_string(), email: owner.fields.email, name: owner.fields.name },
            draft: row.client_id.is_none(),
            mandatory_scopes: row.mandatory_scopes.clone(),
            optional_scopes: row.optional_scopes.clone(),
            scopes_doc_url: row.scopes_doc_url.clone(),
            redirect_uri: self.redirect_uri(&row.id),
            global: row.global,
            version: row.version,
            whole: None,
        })
    }

    pub(super) async fn whole_view(
        &self,
        tx: &mut impl Tx,
        row: &OAuthClientRow,
        found: Option<&Found>,
        warnings: Vec<String>,
    ) -> Refused<ClientView> {
        let mut view = self.member_view(tx, row).await?;
        let projects = rows::projects(tx, &row.id).await.map_err(refusals::store)?;
        view.whole = Some(Whole {
            client_id: row.client_id.clone(),
            client_auth: row.client_auth.clone(),
            secret_fields: secrets::field_names(&row.secret_fields),
            key_algorithm: row.key_algorithm.clone(),
            key_id: row.key_id.clone(),
            public_key: row.public_key.clone(),
            certificate: row.certificate.clone(),
            dpop_jkt: row.dpop_jkt.clone(),
            resource: row.resource.clone(),
            issuer: row.issuer.clone(),
            issuer_in_callback: row.issuer_in_callback,
            endpoints: endpoints::shown(found, &row.endpoints),
            authorize_params: row.authorize_params.clone(),
            token_param_names: secrets::token_param_names(&row.secret_fields),
            hosts: row.hosts.clone(),
            pkce: row.pkce,
            projects: projects.into_iter().map(|(_, slug)| slug).collect(),
            used_by_count: rows::count_uses(tx, &row.id).await.map_err(refusals::store)?,
            created_by: row.created_by.clone(),
            created_at: row.created_at,
            updated_at: row.updated_at,
            warnings,
        });
        Ok(view)
    }

    async fn view_for(&self, tx: &mut impl Tx, actor: &Actor, row: &OAuthClientRow) -> Refused<ClientView> {
        // A superuser's key of scope call looks like everybody else does.
        if actor.superuser().is_err() {
            return self.member_view(tx, row).await;
        }
        let found = match &row.connector {
            // A connector that is gone hides nothing else.
            Some(uid) => self.definition_by_uid(tx, uid).await.ok(),
            None => None,
        };
        self.whole_view(tx, row, found.as_ref(), Vec::new()).await
    }

    /// One, for superusers and members of its projects.
    pub async fn oauth_client(&self, actor: &Actor, id: &str) -> Refused<ClientView> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let row = match &actor.who {
            Who::Account { project, .. } => {
                let id: OAuthClientId = id.parse().map_err(|_| unknown())?;
                let own = rows::available(&mut tx, &id, project).await.map_err(refusals::store)?;
                let row = rows::by_id(&mut tx, &id).await.map_err(refusals::store)?;
                row.filter(|_| own).ok_or_else(unknown)?
            }
            _ => self.seen_client(&mut tx, actor.person()?, id).await?,
        };
        self.view_for(&mut tx, actor, &row).await
    }

    /// All that I may see; those that a project may use, for its members and superusers. Oldest first.
    pub async fn oauth_clients(
        &self,
        actor: &Actor,
        project: Option<&str>,
        paging: &Paging,
    ) -> Refused<Page<ClientView>> {
        actor.may_look()?;
        let superuser = actor.as_user().is_some_and(|person| person.superuser);
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let project: Option<ProjectId> = match (project, &actor.who) {
            (None, Who::Account { project, .. }) => Some(project.clone()),
            (None, _) => None,
            (Some(named), _) if superuser => {
                let found = projects::by_slug_or_id(&mut tx, named).await.map_err(refusals::store)?;
                Some(found.ok_or_else(access::unknown)?.id)
            }
            (Some(named), _) => {
                Some(access::member(&mut tx, actor, named, Operation::ProjectClientsLook).await?.project.id)
            }
        };
        let page = match &project {
            Some(project) => rows::list(&mut tx, Some(project), paging).await,
            None if superuser => rows::list(&mut tx, None, paging).await,
            None => rows::list_of_member(&mut tx, &actor.person()?.id, paging).await,
        };
        let page = page.map_err(refusals::store)?;
        let mut items = Vec::with_capacity(page.items.len());
        for row in &page.items {
            items.push(self.view_for(&mut tx, actor, row).await?);
        }
        Ok(Page { items, next_cursor: page.next_cursor })
    }
}
