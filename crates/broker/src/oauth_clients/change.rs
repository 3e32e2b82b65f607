//! Making, changing and deleting clients; for superusers.

use latchstring_model::id::{CredentialId, OAuthClientId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem};
use latchstring_store::oauth_clients::{self as rows, OAuthClientRow, UsedBy};
use latchstring_store::{StoreError, WriteTx};

use super::read::{ClientView, told, unknown};
use super::settle::{Before, Settled, blank};
use super::{ClientInput, Secrets, bound};
use crate::actor::Actor;
use crate::audit::Event;
use crate::people::me::same_version;
use crate::permissions::Operation;
use crate::road::authorise;
use crate::sealing::oauth_client_aad;
use crate::{Broker, refusals};

/// Credentials that a refusal lists.
const LISTED: i64 = 100;
/// A deployment has a few dozen; this bounds what one superuser's script can do.
const MOST: usize = 1000;

fn in_use(detail: String, hint: &'static str, used: &[UsedBy], count: i64) -> Box<Problem> {
    Problem::new(Code::OAuthClientInUse, detail)
        .hint(hint)
        .with("used_by", told(used))
        .with("used_by_count", count.into())
        .into()
}

/// Names of what was sent, for the audit trail; never values.
fn changed(input: &ClientInput) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = [
        ("name", input.name.is_some()),
        ("owner", input.owner.is_some()),
        ("connector", input.connector.is_some()),
        ("client_id", input.client_id.is_some()),
        ("client_secret", input.client_secret.is_some()),
        ("client_auth", input.client_auth.is_some()),
        ("private_key", input.private_key.is_some() || input.generate_key.is_some()),
        ("certificate", input.certificate.is_some()),
        ("dpop", input.dpop.is_some()),
        ("resource", input.resource.is_some()),
        ("key_algorithm", input.key_algorithm.is_some()),
        ("key_id", input.key_id.is_some()),
        ("issuer", input.issuer.is_some()),
        ("mandatory_scopes", input.mandatory_scopes.is_some()),
        ("optional_scopes", input.optional_scopes.is_some()),
        ("scopes_doc_url", input.scopes_doc_url.is_some()),
        ("authorize_params", input.authorize_params.is_some()),
        ("token_params", !input.token_params.is_empty()),
        ("hosts", input.hosts.is_some()),
        ("pkce", input.pkce.is_some()),
        ("global", input.global.is_some()),
        ("projects", input.projects.is_some()),
    ]
    .into_iter()
    .filter(|(_, named)| *named)
    .map(|(name, _)| name)
    .collect();
    names.extend(input.endpoints.keys().copied());
    names
}

/// What a project's members see of a client anyway; how it is registered is for superusers.
const FOR_PROJECTS: [&str; 4] = ["oauth_client", "connector", "global", "changed"];

/// The whole event for the instance, and one for each of the client's projects, with what their members may see.
fn events(event: &Event, projects: &[ProjectId]) -> Vec<Event> {
    let mut told = event.clone();
    told.detail.retain(|name, _| FOR_PROJECTS.contains(&name.as_str()));
    let mut all = vec![event.clone()];
    all.extend(projects.iter().map(|project| told.clone().project(project)));
    all
}

fn described(action: &'static str, row: &OAuthClientRow) -> Event {
    let endpoints: serde_json::Map<String, serde_json::Value> =
        row.endpoints.iter().map(|(name, endpoint)| (name.clone(), endpoint.url.as_str().into())).collect();
    Event::new(action)
        .target(row.name.clone())
        .detail("oauth_client", row.id.as_str())
        .detail("connector", row.connector.clone())
        .detail("client_id", row.client_id.clone())
        .detail("issuer", row.issuer.clone())
        .detail("endpoints", endpoints)
        .detail("hosts", row.hosts.clone())
        .detail("global", row.global)
}

impl Broker {
    /// Seals what is secret, when it is another than before.
    fn seal_client(&self, row: &mut OAuthClientRow, before: &Secrets, secrets: &Secrets) -> Refused<()> {
        if secrets == before {
            return Ok(());
        }
        row.sealed_version += 1;
        row.sealed = if secrets.names().is_empty() {
            None
        } else {
            let sealed = self.seal(&oauth_client_aad(&row.id, row.sealed_version), &secrets.to_bytes()?)?;
            Some((sealed.bytes, sealed.data_key))
        };
        Ok(())
    }

    pub async fn create_oauth_client(&self, actor: &Actor, input: ClientInput) -> Refused<ClientView> {
        let person = actor.may(Operation::ClientCreate)?.clone();
        {
            let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
            if rows::count(&mut reader).await.map_err(refusals::store)? >= MOST as i64 {
                return Err(refusals::limit_reached(
                    MOST as i64,
                    format!("There are {MOST} OAuth clients already."),
                    "Delete those that nobody uses.",
                ));
            }
        }
        let now = self.now();
        let id = OAuthClientId::new(now, &*self.parts.entropy);
        let before = Before {
            row: blank(id.clone(), &person.id, actor.signature(), now),
            secrets: Secrets::default(),
            projects: Vec::new(),
        };
        let Settled { mut row, secrets, projects, found, warnings } =
            self.settle(actor, before, input, true).await?;
        self.seal_client(&mut row, &Secrets::default(), &secrets)?;
        let project_ids: Vec<ProjectId> = projects.into_iter().map(|(id, _)| id).collect();
        let mut tx = self.parts.store.begin_write(&[id.as_str()]).await.map_err(refusals::store)?;
        rows::create(&mut tx, &row).await.map_err(refusals::store)?;
        rows::replace_projects(&mut tx, &id, &project_ids).await.map_err(refusals::store)?;
        let view = self.whole_view(&mut tx, &row, found.as_ref(), warnings).await?;
        let event = described("oauth_client.create", &row);
        self.record_all(&mut tx, actor, events(&event, &project_ids)).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(view)
    }

    /// What is not named stays. When what grants are bound to changes (client id, issuer, an endpoint's origin),
    /// every credential that was connected through it has to be connected anew.
    pub async fn change_oauth_client(
        &self,
        actor: &Actor,
        id: &str,
        input: ClientInput,
        version: Option<i64>,
    ) -> Refused<ClientView> {
        let person = actor.manager()?.clone();
        let (before, granted) = {
            let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
            let row = self.seen_client(&mut tx, &person, id).await?;
            let ticket = authorise::superuser_opens(actor)?;
            same_version(version, row.version)?;
            let secrets = self.open_client_secrets(&ticket, &row).await?;
            let projects = rows::projects(&mut tx, &row.id).await.map_err(refusals::store)?;
            let granted = rows::granted(&mut tx, &row.id).await.map_err(refusals::store)?;
            (Before { row, secrets, projects }, granted)
        };
        let names = changed(&input);
        let (old_row, old_secrets) = (before.row.clone(), before.secrets.clone());
        let old_projects: Vec<ProjectId> = before.projects.iter().map(|(id, _)| id.clone()).collect();
        let Settled { mut row, secrets, projects, found, warnings } =
            self.settle(actor, before, input, false).await?;
        self.seal_client(&mut row, &old_secrets, &secrets)?;
        let project_ids: Vec<ProjectId> = projects.into_iter().map(|(id, _)| id).collect();

        let ends = row.digest != old_row.digest;
        let mut scopes: Vec<&str> = vec![row.id.as_str()];
        if ends {
            scopes.extend(granted.iter().map(CredentialId::as_str));
        }
        let mut tx = self.parts.store.begin_write(&scopes).await.map_err(refusals::store)?;
        let now = self.now();
        row.version = rows::update(&mut tx, &row, now).await.map_err(refusals::store)?;
        row.updated_at = now;
        rows::replace_projects(&mut tx, &row.id, &project_ids).await.map_err(refusals::store)?;
        self.still_serves(&mut tx, &old_row, &row).await?;
        let ended = if ends {
            let reason = "The OAuth client was changed: its provider is asked at another place, under another client \
                          id, or for tokens of another kind. Connect again.";
            for credential in rows::granted(&mut tx, &row.id).await.map_err(refusals::store)? {
                self.tell_client_changed(&mut tx, &row, &credential, reason)
                    .await
                    .map_err(refusals::store)?;
            }
            bound::end_grants(&mut tx, &row, reason, now).await?
        } else {
            Vec::new()
        };
        let view = self.whole_view(&mut tx, &row, found.as_ref(), warnings).await?;
        let mut all = project_ids;
        all.extend(old_projects);
        all.sort_unstable();
        all.dedup();
        let mut event = described("oauth_client.update", &row).detail("changed", names);
        if !ended.is_empty() {
            let ids: Vec<&str> = ended.iter().map(CredentialId::as_str).collect();
            event = event.detail("needs_reconnect", ids);
        }
        let mut told = events(&event, &all);
        for credential in &ended {
            told.push(
                Event::new("credential.disconnect")
                    .credential(credential)
                    .target(row.name.clone())
                    .detail("oauth_client", row.id.as_str()),
            );
        }
        self.record_all(&mut tx, actor, told).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(view)
    }

    /// Credentials that use it must still be served: the same connector, all of their projects.
    async fn still_serves(
        &self,
        tx: &mut WriteTx,
        before: &OAuthClientRow,
        row: &OAuthClientRow,
    ) -> Refused<()> {
        if before.connector != row.connector {
            let used = rows::used_by(tx, &row.id, LISTED).await.map_err(refusals::store)?;
            if !used.is_empty() {
                let count = rows::count_uses(tx, &row.id).await.map_err(refusals::store)?;
                return Err(in_use(
                    format!(
                        "{count} credentials of its connector use this OAuth client; for another connector it could not serve them."
                    ),
                    "Make another OAuth client for the other connector.",
                    &used,
                    count,
                ));
            }
        }
        if !row.global {
            let outside = rows::used_outside(tx, &row.id, LISTED).await.map_err(refusals::store)?;
            if !outside.is_empty() {
                let count = i64::try_from(outside.len()).unwrap_or(LISTED);
                return Err(in_use(
                    "Credentials of projects that the client would no longer be for use it.".to_owned(),
                    "Their owners choose another OAuth client or withdraw those shares first; `used_by` lists them.",
                    &outside,
                    count,
                ));
            }
        }
        Ok(())
    }

    pub async fn delete_oauth_client(&self, actor: &Actor, id: &str, version: Option<i64>) -> Refused<()> {
        let person = actor.manager()?.clone();
        let id = {
            let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
            let row = self.seen_client(&mut reader, &person, id).await?;
            actor.may(Operation::ClientChange)?;
            row.id
        };
        let mut tx = self.parts.store.begin_write(&[id.as_str()]).await.map_err(refusals::store)?;
        let row = rows::by_id(&mut tx, &id).await.map_err(refusals::store)?.ok_or_else(unknown)?;
        same_version(version, row.version)?;
        let projects = rows::projects(&mut tx, &id).await.map_err(refusals::store)?;
        match rows::delete(&mut tx, &row).await {
            Ok(()) => {}
            Err(StoreError::StillUsed) => {
                let used = rows::used_by(&mut tx, &id, LISTED).await.map_err(refusals::store)?;
                let count = rows::count_uses(&mut tx, &id).await.map_err(refusals::store)?;
                return Err(in_use(
                    format!(
                        "{count} credentials use this OAuth client; without it they could not be renewed."
                    ),
                    "Their owners choose another OAuth client or delete them; those that are scheduled for deletion count until then.",
                    &used,
                    count,
                ));
            }
            Err(error) => return Err(refusals::store(error)),
        }
        let projects: Vec<ProjectId> = projects.into_iter().map(|(id, _)| id).collect();
        let event = Event::new("oauth_client.delete")
            .target(row.name.clone())
            .detail("oauth_client", row.id.as_str())
            .detail("client_id", row.client_id.clone());
        self.record_all(&mut tx, actor, events(&event, &projects)).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }
}
