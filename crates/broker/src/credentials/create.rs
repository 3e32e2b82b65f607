//! Making a credential: checked, verified by a dry request in every context that it is granted to, then saved
//! whole. One environment that fails saves none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use latchstring_connectors::{AuthMethod, Definition, OAuthClient, SchemeType, Values};
use latchstring_model::entity::Principal;
use latchstring_model::id::{CredentialId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem};
use latchstring_store::credentials::{self as rows, CredentialRow};
use latchstring_store::{StoreError, connectors};
use serde_json::{Map, Value, json};

use super::attempt::{Attempt, Place};
use super::input::{NewCredential, escape};
use super::save::{self, Ready};
use super::sharing::{self, Placed, Wanted};
use super::view::{Sight, View};
use crate::actor::Actor;
use crate::audit::Event;
use crate::catalog::Found;
use crate::permissions::Operation;
use crate::{Broker, refusals};

/// A credential that is to be made: looked up and checked, nothing of it tried or saved.
pub(super) struct Drafted {
    pub owner: Principal,
    pub placed: Vec<Placed>,
    pub project_ids: Vec<ProjectId>,
    pub found: Found,
    pub method: AuthMethod,
    pub id: CredentialId,
    pub places: Vec<Place>,
    /// For methods that need consent.
    pub client: Option<OAuthClient>,
    /// By the credential's own environments.
    pub checked: Vec<(String, Values)>,
}

fn unknown_connector(detail: String) -> Box<Problem> {
    let problem = Problem::invalid(vec![FieldError::new("/connector", detail)])
        .hint("GET /api/v1/connectors?project={project} lists them with those of the project; `http` serves any API that has none yet.");
    Box::new(problem)
}

impl Broker {
    async fn wanted_connector(
        &self,
        tx: &mut impl latchstring_store::Tx,
        projects: &[ProjectId],
        named: &str,
    ) -> Refused<Found> {
        if let Some(found) = self.definition_named(tx, projects, named).await? {
            return Ok(found);
        }
        Err(unknown_connector(self.catalog.no_connector(named)))
    }

    /// Everything up to where values are tried: who may, with which connector and client, in which places. Keys that are
    /// to be made here stand in `new` afterwards.
    pub(super) async fn draft(&self, actor: &Actor, new: &mut NewCredential) -> Refused<Drafted> {
        actor.may_manage()?;
        let errors = new.check();
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let environments: BTreeSet<String> = new.values.keys().cloned().collect();
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let owner = self.owner_of(&mut tx, actor, new.owner_project.as_deref()).await?;
        let wanted = Wanted {
            actor,
            owner: &owner,
            name: &new.name,
            slug: None,
            external_id: Some(new.external_id.as_deref()),
            shares: &new.shares,
            existing: &[],
            values: &environments,
        };
        let placed = sharing::place(&mut tx, &wanted).await?;
        let mut project_ids: Vec<ProjectId> = placed.iter().map(|place| place.project.id.clone()).collect();
        if let Principal::Project(project) = &owner
            && !project_ids.contains(project)
        {
            // Its own connectors can be used without a share.
            project_ids.push(project.clone());
        }
        let found = self.wanted_connector(&mut tx, &project_ids, &new.connector).await?;
        let method = wanted_method(&found.definition, &new.auth_method)?.clone();
        let id = CredentialId::new(self.now(), &*self.parts.entropy);
        let places = self.places(&mut tx, &placed).await?;
        let client = self.wanted_client(&mut tx, actor, new, &found, &method, &project_ids).await?;
        drop(tx);
        let mut given =
            std::mem::take(&mut new.values).into_iter().map(|(name, one)| (name, Some(one))).collect();
        self.make_keys(&method, &new.name, new.verify, &mut given).await?;
        new.values = given.into_iter().filter_map(|(name, one)| Some((name, one?))).collect();
        let checked = check_values(&found.definition, &method, &new.values)?;
        Ok(Drafted { owner, placed, project_ids, found, method, id, places, client, checked })
    }

    pub async fn create_credential(self: &Arc<Self>, actor: &Actor, mut new: NewCredential) -> Refused<View> {
        let Drafted { owner, placed, project_ids, found, method, id, places, client, checked } =
            self.draft(actor, &mut new).await?;

        let attempt = Attempt {
            actor,
            person: actor.as_user(),
            id: &id,
            definition: &found.definition,
            method: &method,
            verify: new.verify,
            writes: true,
            held: None,
            client: client.clone().map(Arc::new),
            grant: None,
        };
        let mut ready = Vec::with_capacity(checked.len());
        for (environment, values) in checked {
            let here: Vec<&Place> = places.iter().filter(|place| place.ours == environment).collect();
            let outcome = match new.token.get(&environment) {
                Some(brought) => self.try_brought(&attempt, &environment, &values, &here, brought).await,
                None => self.try_environment(&attempt, &environment, &values, 1, &here).await,
            }
            .map_err(save::nothing_saved)?;
            let secret_fields = save::secret_fields(&method, &values, &[]);
            ready.push(Ready {
                environment,
                values,
                version: 1,
                secret_fields,
                withheld: Vec::new(),
                outcome,
            });
        }

        let now = self.now();
        let row = CredentialRow {
            id: id.clone(),
            owner: owner.clone(),
            connector: found.uid.clone(),
            auth_method: method.id.clone(),
            digest: found.definition.digest().to_owned(),
            oauth_client_id: client.as_ref().map(|client| client.id.clone()),
            name: new.name.trim().to_owned(),
            note: new.note,
            acts_as: new.acts_as,
            disabled: false,
            expires_on: new.expires_on,
            deletes_at: None,
            version: 1,
            created_by: actor.signature(),
            created_at: now,
            updated_at: now,
        };
        let mut scopes: Vec<&str> = project_ids.iter().map(ProjectId::as_str).collect();
        scopes.extend([id.as_str(), owner.id()]);
        // With the connector's own scope held, nobody deletes or changes it between this look and the end.
        scopes.extend(found.row.as_ref().map(|row| row.uid.as_str()));
        scopes.extend(client.as_ref().map(|client| client.id.as_str()));
        let mut tx = self.parts.store.begin_write(&scopes).await.map_err(refusals::store)?;
        // The role may have changed while the API was asked.
        if self.owner_of(&mut tx, actor, new.owner_project.as_deref()).await? != owner {
            return Err(refusals::internal(&"the owner of a new credential changed while it was made"));
        }
        if let Some(tried) = &found.row {
            let now = connectors::by_uid(&mut tx, &tried.uid).await.map_err(refusals::store)?;
            if now.is_none_or(|now| now.version != tried.version) {
                return Err(changed_meanwhile(&found.definition.name));
            }
        }
        if let Some(client) = &client {
            // The client may have been taken from the project, or changed, meanwhile.
            let id = client.id.as_str();
            let now = self.usable_client(&mut tx, actor, id, &found, &project_ids).await?;
            if now.digest != client.digest {
                return Err(refusals::store(StoreError::Moved));
            }
        }
        rows::create(&mut tx, &row).await.map_err(refusals::store)?;
        for one in &ready {
            let changed: Vec<String> = one.values.names().map(str::to_owned).collect();
            self.put_values(&mut tx, actor, &row, one, None, &changed, now).await?;
        }
        for place in &self.with_roles_now(&mut tx, actor, &placed).await? {
            self.still_may_share(place)?;
            self.put_share(&mut tx, actor, &id, place, false).await?;
        }
        let view = self.credential_view(&mut tx, row.clone(), Sight::Owner { with_fields: true }).await?;
        let mut events = save::told(&row, &[], &created(&row, &ready));
        for place in placed.iter().filter(|place| place.project.id.as_str() != row.owner.id()) {
            let event = created(&row, &ready).credential(&row.id).target(row.name.clone());
            events.push(event.project(&place.project.id));
        }
        for place in &placed {
            events.push(save::shared(&row, &place.project.id).detail("grants", json!(place.granted())));
        }
        self.record_all(&mut tx, actor, events).await?;
        match &new.connects {
            None => {}
            Some(connects) if method.needs_consent() => {
                self.wait_for_consent(&mut tx, connects, &row).await?
            }
            Some(connects) => self.end_connect(&mut tx, actor, connects, &row, now).await?,
        }
        tx.commit().await.map_err(refusals::store)?;
        Ok(view)
    }

    /// The OAuth client of a method that needs consent, opened.
    async fn wanted_client(
        &self,
        tx: &mut impl latchstring_store::Tx,
        actor: &Actor,
        new: &NewCredential,
        found: &Found,
        method: &AuthMethod,
        projects: &[ProjectId],
    ) -> Refused<Option<OAuthClient>> {
        let wrong = |pointer: String, detail: &str| Problem::invalid(vec![FieldError::new(pointer, detail)]);
        if !method.needs_consent() {
            if new.oauth_client.is_some() {
                let detail = "this method needs nobody's consent, and so no OAuth client; leave it out";
                return Err(wrong("/oauth_client".into(), detail).into());
            }
            if let Some(environment) = new.token.keys().next() {
                let detail = "this method obtains its own tokens; leave `token` out";
                return Err(wrong(format!("/token/{}", super::input::escape(environment)), detail).into());
            }
            return Ok(None);
        }
        let mut errors = Vec::new();
        for (environment, brought) in &new.token {
            brought.check_for(method, environment, &mut errors);
        }
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let Some(named) = new.oauth_client.as_deref() else {
            if method.scheme.ty == SchemeType::Oauth2DeviceCode {
                // The connector itself may say who we are there.
                return Ok(None);
            }
            let detail = "is missing: people consent to an OAuth client, our registration with the provider";
            return Err(wrong("/oauth_client".into(), detail)
                .hint("GET /api/v1/oauth-clients lists those that you may use; a superuser makes them.")
                .into());
        };
        let row = self.usable_client(tx, actor, named, found, projects).await?;
        let ticket = crate::road::authorise::owner_opens();
        Ok(Some(self.open_client(tx, &ticket, &row.id, found).await?.client))
    }

    async fn owner_of(
        &self,
        tx: &mut impl latchstring_store::Tx,
        actor: &Actor,
        project: Option<&str>,
    ) -> Refused<Principal> {
        match project {
            None if actor.as_user().is_none() => {
                actor.may_manage()?;
                let detail = "a service account owns nothing itself; name its project here";
                Err(Problem::invalid(vec![FieldError::new("/owner_project", detail)]).into())
            }
            None => Ok(Principal::User(actor.may(Operation::CredentialCreate)?.id.clone())),
            Some(name) => {
                let member =
                    crate::projects::access::member(tx, actor, name, Operation::TeamCredentialCreate).await?;
                Ok(Principal::Project(member.project.id))
            }
        }
    }
}

fn changed_meanwhile(name: &str) -> Box<Problem> {
    Problem::new(
        Code::ConnectorChanged,
        format!(
            "The connector {name} was changed or deleted while the values were tried; nothing was saved."
        ),
    )
    .hint("Look at the connector as it is now, and try again.")
    .into()
}

fn wanted_method<'d>(definition: &'d Definition, named: &str) -> Refused<&'d AuthMethod> {
    definition.method(named).ok_or_else(|| {
        let ids: Vec<&str> = definition.auth_methods.iter().map(|method| method.id.as_str()).collect();
        let near = nearest(named, ids.iter().copied());
        let meant = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
        let detail =
            format!("{} has no auth method `{named}`{meant}; it has {}", definition.name, ids.join(", "));
        Problem::invalid(vec![FieldError::new("/auth_method", detail)])
            .hint("GET /api/v1/connectors/{id} lists the methods with their fields.")
            .into()
    })
}

fn created(row: &CredentialRow, ready: &[Ready]) -> Event {
    let mut environments = serde_json::Map::new();
    for one in ready {
        environments.insert(
            one.environment.clone(),
            serde_json::json!({
                "status": one.outcome.tried.status.as_str(),
                "fields": one.values.names().collect::<Vec<_>>(),
                "destinations": super::destinations::origins(&one.outcome.tried.pins),
            }),
        );
    }
    Event::new("credential.create")
        .credential(&row.id)
        .target(row.name.clone())
        .detail("connector", row.connector.as_str())
        .detail("environments", environments)
}

/// All environments' values against the fields; all errors at once.
pub(super) fn check_values(
    definition: &Definition,
    method: &AuthMethod,
    given: &BTreeMap<String, Map<String, Value>>,
) -> Refused<Vec<(String, Values)>> {
    let mut errors = Vec::new();
    let mut checked = Vec::new();
    for (environment, values) in given {
        match definition.check_values(method, values) {
            Ok(values) => checked.push((environment.clone(), values)),
            Err(wrong) => errors.extend(wrong.into_iter().map(|error| {
                FieldError::new(format!("/values/{}{}", escape(environment), error.pointer), error.detail)
            })),
        }
    }
    if errors.is_empty() { Ok(checked) } else { Err(Problem::invalid(errors).into()) }
}

/// The name that was most likely meant: one of few typing errors, or one that contains the other.
pub(crate) fn nearest<'k>(named: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let named = named.trim().to_ascii_lowercase().replace([' ', '-'], "_");
    known
        .map(|name| {
            let part = named.len() >= 3 && (name.contains(&named) || named.contains(name));
            (if part { 1 } else { strsim::damerau_levenshtein(&named, name) }, name)
        })
        .filter(|(distance, name)| *distance <= (name.len().max(named.len()) / 3).clamp(1, 3))
        .min_by_key(|(distance, name)| (*distance, name.len().abs_diff(named.len())))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn what_was_meant_is_found() {
        let known = ["salesforce", "google_sheets", "github", "gitlab", "http"];
        for (named, meant) in [
            ("salesfroce", Some("salesforce")),
            ("Google Sheets", Some("google_sheets")),
            ("sales", Some("salesforce")),
            ("gihtub", Some("github")),
            ("unheard-of", None),
            ("", None),
        ] {
            assert_eq!(nearest(named, known.into_iter()), meant, "{named}");
        }
    }
}
