//! The OAuth client of a credential: changed by its owner, and for every project that it is shared with.

use latchstring_model::entity::Principal;
use latchstring_model::id::{OAuthClientId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{FieldError, Problem};
use latchstring_store::credentials::{self as rows, CredentialRow};
use latchstring_store::{StoreError, Tx, oauth_clients, shares};

use super::access::owned;
use super::input::CredentialChange;
use super::save::told;
use super::sharing::Placed;
use super::view::{Sight, View};
use crate::actor::Actor;
use crate::audit::Event;
use crate::people::me::same_version;
use crate::permissions::Operation;
use crate::{Broker, refusals};

fn wrong(pointer: &str, detail: &str) -> Box<Problem> {
    Problem::invalid(vec![FieldError::new(pointer, detail)]).into()
}

/// A change of the client says nothing else: what else it said could not be tried before the new consent.
fn alone(change: &CredentialChange) -> bool {
    change.name.is_none()
        && change.note.is_none()
        && change.acts_as.is_none()
        && change.external_id.is_none()
        && change.expires_on.is_none()
        && change.slug.is_none()
        && change.values.is_empty()
        && change.shares.is_none()
}

impl Broker {
    /// Shares that give a project something need a client that is for it; taking away does not.
    pub(super) async fn client_is_for(
        &self,
        tx: &mut impl Tx,
        row: &CredentialRow,
        placed: &[Placed],
    ) -> Refused<()> {
        let Some(client) = &row.oauth_client_id else { return Ok(()) };
        for (i, place) in placed.iter().enumerate().filter(|(_, place)| place.widens()) {
            self.client_is_available(tx, client, &place.project.id, format!("/shares/{i}/project")).await?;
        }
        Ok(())
    }

    /// Names another client. What was consented to belongs to the one before: every environment is to be
    /// connected anew, and until then nothing is sent.
    pub(super) async fn change_client(
        &self,
        actor: &Actor,
        id: &str,
        change: &CredentialChange,
        named: &str,
        if_match: Option<i64>,
    ) -> Refused<View> {
        actor.may_manage()?;
        self.unfrozen(actor)?;
        if !alone(change) {
            return Err(wrong("/oauth_client", "is changed in a request of its own; send the rest after it"));
        }
        let (mut row, found, projects) = {
            let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
            let row = owned(&mut tx, actor, id, Operation::CredentialChange).await?;
            same_version(if_match, row.version)?;
            let found = self.definition_by_uid(&mut tx, &row.connector).await?;
            let consents =
                found.definition.method(&row.auth_method).is_some_and(|method| method.needs_consent());
            if !consents {
                let detail = "this credential's method needs nobody's consent, and so no OAuth client";
                return Err(wrong("/oauth_client", detail));
            }
            let known = shares::list_of_credential(&mut tx, &row).await.map_err(refusals::store)?;
            let mut projects: Vec<ProjectId> =
                known.into_iter().map(|share| share.share.project_id).collect();
            if let Principal::Project(owner) = &row.owner
                && !projects.contains(owner)
            {
                projects.push(owner.clone());
            }
            let client = self.usable_client(&mut tx, actor, named, &found, &projects).await?;
            if row.oauth_client_id.as_ref() == Some(&client.id) {
                drop(tx);
                // No change, but a look at the fields, which is recorded.
                return self.credential(actor, id).await;
            }
            (row, found, projects)
        };
        let before = row.oauth_client_id.clone();
        let mut scopes: Vec<&str> = vec![row.id.as_str(), row.owner.id(), named];
        scopes.extend(before.as_ref().map(OAuthClientId::as_str));
        scopes.extend(projects.iter().map(ProjectId::as_str));
        let mut tx = self.parts.store.begin_write(&scopes).await.map_err(refusals::store)?;
        let current = owned(&mut tx, actor, row.id.as_str(), Operation::CredentialChange).await?;
        if current.version != row.version || current.owner != row.owner {
            return Err(refusals::store(StoreError::Moved));
        }
        let client = self.usable_client(&mut tx, actor, named, &found, &projects).await?;
        let known = shares::list_of_credential(&mut tx, &row).await.map_err(refusals::store)?;
        if known.iter().any(|share| !projects.contains(&share.share.project_id)) {
            return Err(refusals::store(StoreError::Moved));
        }
        let now = self.now();
        row.oauth_client_id = Some(client.id.clone());
        row.version = rows::update(&mut tx, &row, now).await.map_err(refusals::store)?;
        row.updated_at = now;
        let reason = "The credential was given another OAuth client. Connect again.";
        oauth_clients::end_grants_of(&mut tx, &row, reason, now).await.map_err(refusals::store)?;
        let view = self.credential_view(&mut tx, row.clone(), Sight::Owner { with_fields: true }).await?;
        let event = Event::new("credential.update")
            .detail("changed", vec!["oauth_client"])
            .detail("oauth_client", client.id.as_str())
            .detail("oauth_client_before", before.map(|id| id.to_string()));
        self.record_all(&mut tx, actor, told(&row, &known, &event)).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(view)
    }
}
