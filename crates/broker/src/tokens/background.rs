//! Tokens renewed ahead of their end, so that no call has to wait for it.
//!
//! | grant | renewed ahead |
//! | --- | --- |
//! | one that a refresh token keeps alive (consent) | always: a grant that is left alone may end |
//! | one that can be repeated (client credentials, JWT bearer, password, login in steps) | only if a call of this server used the token that is about to end: asking for tokens that nobody uses costs the provider's patience, and each could be had again at any time |
//!
//! How early: a tenth of the token's time, at most a minute, before it is no longer fresh, and for each server
//! and token a little different, so that neither all servers nor all tokens of one hour come at once. It is the
//! same protocol as a call's ([`Need::Ahead`]): the lease lets one server ask, failures wait as long as they
//! say. At most [`AT_ONCE`] are under way, and [`EACH_AT_ONCE`] of one owner: a provider that does not
//! answer holds its place for 45 s.
//!
//! What is needed to ask is taken from a living route, or put together from the credential: without a caller,
//! so a token whose templates read who calls is renewed by the next call of that person instead.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use latchstring_model::entity::Principal;
use latchstring_model::id::{CredentialId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{Pin, Timestamp};
use latchstring_schemes::refresh::Need;
use latchstring_schemes::scheme::Prepared;
use latchstring_store::credentials::{self, CredentialRow};
use latchstring_store::tokens::{self, TokenRow};
use latchstring_store::values::{self, ValuesRow};
use latchstring_store::{ReadTx, environments, oauth_clients, projects, scopes, shares, users};
use tokio::task::JoinHandle;

use super::obtain::Behind;
use super::{TokenSlot, token_id};
use crate::actor::Actor;
use crate::catalog::Found;
use crate::jobs::places::{Full, Places};
use crate::road::authorise::{self, EnvironmentAt, ProjectAt};
use crate::road::materials::{Materials, Names};
use crate::sealing::values_aad;
use crate::{Broker, refusals};

/// Renewals that are under way at the same time; and of credentials of one owner.
pub const AT_ONCE: usize = 8;
pub const EACH_AT_ONCE: usize = 2;

/// The longest that a token is renewed before it stops being fresh, in milliseconds.
const EARLIEST: i64 = 60_000;
/// How far back every turn looks; what lapsed earlier is gone through bit by bit. In milliseconds.
const LATELY: i64 = 600_000;
/// Tokens that one turn looks at, of each kind.
const LOOKED_AT: i64 = 200;
/// Contexts in which a token without a living route is looked for.
const MOST_CONTEXTS: usize = 100;

/// What goes on from turn to turn.
pub(crate) struct Turns {
    places: Places,
    /// Where the walk through what lapsed long ago stands.
    at: Mutex<(Timestamp, String)>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { places: Places::new(AT_ONCE, EACH_AT_ONCE), at: Mutex::new((Timestamp(0), String::new())) }
    }
}

/// What a token is asked for with, put together without a caller.
pub(crate) struct Rebuilt {
    pub materials: Materials,
    pub pins: Arc<[Pin]>,
    pub actor: Actor,
    pub project: Option<ProjectId>,
    pub credential: CredentialId,
    pub environment: String,
}

/// A due token with what its renewal needs.
struct Due {
    slot: Arc<TokenSlot>,
    behind: Behind,
}

/// From when on a token is renewed. `salt` differs by server and token.
fn renewed_from(obtained_at: Timestamp, fresh_until: Timestamp, salt: &str) -> Timestamp {
    let early = ((fresh_until.millis() - obtained_at.millis()) / 10).clamp(0, EARLIEST);
    let byte = digest(&SHA256, salt.as_bytes()).as_ref().first().copied().unwrap_or_default();
    // Between half of that and all of it.
    fresh_until.plus_millis(-(early / 2 + early * i64::from(byte) / 512))
}

impl Broker {
    /// One turn: begins what is due, as far as there are places, and does not wait for it. The handles are for
    /// whoever wants to.
    pub async fn refresh_due_tokens(self: &Arc<Self>) -> Refused<Vec<JoinHandle<()>>> {
        let mut begun = Vec::new();
        if !self.settings.background_refresh {
            return Ok(begun);
        }
        let now = self.now();
        self.tokens.sweep(now);
        for row in self.due_rows(now).await? {
            if self.turns.places.are_full() {
                break;
            }
            let Some(owner) = self.owner_of_token(&row).await? else { continue };
            let place = match self.turns.places.take(&owner) {
                Ok(place) => place,
                Err(Full::Theirs) => continue,
                Err(Full::All) => break,
            };
            let (id, version) = (row.key.id.clone(), row.version);
            let due = match self.due(row).await {
                Ok(Some(due)) => due,
                Ok(None) => continue,
                Err(problem) => {
                    // It has the same trouble with every call; there it is told.
                    tracing::debug!(token = %id, problem = %problem, "a token is not renewed ahead");
                    continue;
                }
            };
            self.metrics.renewed_ahead();
            let Due { slot, behind } = due;
            let mut flight = self.fly(&slot, Need::Ahead { version }, || behind);
            begun.push(tokio::spawn(async move {
                let landed = flight.landing.wait_for(Option::is_some).await.ok().and_then(|landed| landed.clone());
                if let Some(Err(problem)) = landed {
                    tracing::info!(token = %id, problem = %problem, "a token could not be renewed ahead of its end");
                }
                // The slot lives as long as its renewal.
                drop((slot, place));
            }));
        }
        Ok(begun)
    }

    async fn owner_of_token(&self, row: &TokenRow) -> Refused<Option<String>> {
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let credential = credentials::for_upkeep(&mut reader, &row.key.credential_id).await;
        Ok(credential.map_err(refusals::store)?.map(|credential| credential.owner.id().to_owned()))
    }

    /// What ends soon or did lately, and a part of what lapsed longer ago.
    async fn due_rows(&self, now: Timestamp) -> Refused<Vec<TokenRow>> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let db_now = scopes::db_now(&mut tx).await.map_err(refusals::store)?;
        let lately = now.plus_millis(-LATELY);
        let soon = now.plus_millis(EARLIEST);
        let mut rows =
            tokens::due(&mut tx, (lately, ""), soon, db_now, LOOKED_AT).await.map_err(refusals::store)?;
        let (since, id) = self.turns.at.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let before = lately.plus_millis(-1);
        let old =
            tokens::due(&mut tx, (since, &id), before, db_now, LOOKED_AT).await.map_err(refusals::store)?;
        let full = i64::try_from(old.len()).is_ok_and(|count| count >= LOOKED_AT);
        let stands =
            old.last().filter(|_| full).and_then(|row| Some((row.life?.fresh_until?, row.key.id.clone())));
        *self.turns.at.lock().unwrap_or_else(PoisonError::into_inner) = stands.unwrap_or_default();
        rows.extend(old);
        let server = self.parts.server.as_str();
        rows.retain(|row| {
            row.life.and_then(|life| Some((life, life.fresh_until?))).is_some_and(|(life, until)| {
                now >= renewed_from(life.obtained_at, until, &format!("{server}/{}", row.key.id))
            })
        });
        Ok(rows)
    }

    /// `None`: its time has not come, or nobody needs it.
    async fn due(&self, row: TokenRow) -> Refused<Option<Due>> {
        let known = self.tokens.find(&row.key.id);
        let used = match (&known, &row.life) {
            (Some(slot), Some(life)) => slot.used_since(life.obtained_at),
            _ => false,
        };
        let route = known.as_ref().and_then(|slot| slot.route()).filter(|route| route.is_valid(self.now()));
        let behind = match route {
            Some(route) => Behind::Route(route, Box::new(Actor::operator())),
            None => match self.rebuilt(&row).await? {
                Some(rebuilt) => Behind::Rebuilt(Box::new(rebuilt)),
                None => return Ok(None),
            },
        };
        if !used && !self.spends_refresh_token(&behind)? {
            return Ok(None);
        }
        if matches!(behind, Behind::Rebuilt(_)) && !self.client_is_somebodys(&row.key.credential_id).await? {
            return Ok(None);
        }
        let slot = known.unwrap_or_else(|| {
            let key = &row.key;
            self.tokens.slot(&key.id, &key.credential_id, &key.environment, key.values_version)
        });
        Ok(Some(Due { slot, behind }))
    }

    /// Whether anybody may still go through the credential's OAuth client: its owner, or a project that has it. A
    /// route has been looked at when it was built.
    async fn client_is_somebodys(&self, credential: &CredentialId) -> Refused<bool> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let row = credentials::for_upkeep(&mut tx, credential).await.map_err(refusals::store)?;
        let Some(row) = row else { return Ok(false) };
        let Some(client) = &row.oauth_client_id else { return Ok(true) };
        let mut projects = Vec::new();
        match &row.owner {
            Principal::Project(project) => projects.push(project.clone()),
            Principal::User(user) => {
                let seen = oauth_clients::for_member(&mut tx, user, client).await.map_err(refusals::store)?;
                let person = users::by_id(&mut tx, user).await.map_err(refusals::store)?;
                if seen.is_some() || person.is_some_and(|person| person.fields.superuser) {
                    return Ok(true);
                }
            }
        }
        let shares = shares::list_of_credential(&mut tx, &row).await.map_err(refusals::store)?;
        projects.extend(shares.into_iter().map(|share| share.share.project_id));
        for project in projects {
            if oauth_clients::available(&mut tx, client, &project).await.map_err(refusals::store)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn spends_refresh_token(&self, behind: &Behind) -> Refused<bool> {
        let materials = behind.source(None).materials;
        let bare = materials.resolve(None, self.now(), &*self.parts.entropy)?;
        let prepared =
            materials.prepare(bare.scheme).map_err(|error| crate::credentials::scheme_problem(&error))?;
        Ok(Prepared::grant(&prepared).is_some_and(|grant| grant.spends_refresh_token()))
    }

    /// The materials that give a token this id, without a caller: those of the credential alone, or in one of
    /// the environments that it is granted to.
    pub(crate) async fn rebuilt(&self, row: &TokenRow) -> Refused<Option<Rebuilt>> {
        let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let Some(credential) =
            credentials::for_upkeep(&mut tx, &row.key.credential_id).await.map_err(refusals::store)?
        else {
            return Ok(None);
        };
        let values =
            values::one(&mut tx, &credential, &row.key.environment).await.map_err(refusals::store)?;
        let Some(values) = values.filter(|values| values.version == row.key.values_version) else {
            return Ok(None);
        };
        let found = self.definition_by_uid(&mut tx, &credential.connector).await?;
        if found.row.is_some() && found.definition.digest() != credential.digest {
            return Ok(None);
        }
        let ticket = authorise::token_opens();
        let client = self.client_of(&mut tx, &ticket, &credential, &found).await?;
        let client = client.map(|opened| Arc::new(opened.client));
        let alone =
            self.materials_of(&credential, &values, &found, Names::default())?.with_client(client.clone());
        if let Some(rebuilt) = self.fits(row, &credential, &values, alone, None) {
            return Ok(Some(rebuilt));
        }
        for (project, environment) in contexts(&mut tx, &credential, &values.environment).await? {
            let names = self.names(&mut tx, &ticket, &project.id, &environment.id).await?;
            let materials = self
                .materials_of(&credential, &values, &found, names)?
                .with_client(client.clone())
                .for_caller(None, &project, &environment);
            if let Some(rebuilt) = self.fits(row, &credential, &values, materials, Some(project.id)) {
                return Ok(Some(rebuilt));
            }
        }
        Ok(None)
    }

    fn materials_of(
        &self,
        credential: &CredentialRow,
        values: &ValuesRow,
        found: &Found,
        names: Names,
    ) -> Refused<Materials> {
        let aad = values_aad(&credential.id, &credential.owner, &values.environment, values.version);
        let opened = self.open_json(&authorise::token_opens(), &aad, &values.sealed)?;
        let changed = || crate::road::route::connector_changed(&found.definition.name);
        let method = found.definition.method(&credential.auth_method).ok_or_else(changed)?;
        let checked = found.definition.load_values(method, &opened).map_err(|_| changed())?;
        Ok(Materials::new(Arc::clone(&found.definition), &credential.auth_method, checked, Arc::new(names)))
    }

    /// What does not render, or gives another token's id, is not it.
    fn fits(
        &self,
        row: &TokenRow,
        credential: &CredentialRow,
        values: &ValuesRow,
        materials: Materials,
        project: Option<ProjectId>,
    ) -> Option<Rebuilt> {
        let bare = materials.resolve(None, self.now(), &*self.parts.entropy).ok()?;
        let id = token_id(credential, values, materials.client.as_deref(), &bare.token_uses);
        (bare.needs_token && id == row.key.id).then(|| Rebuilt {
            materials,
            pins: values.pins.clone().into(),
            actor: Actor::operator(),
            project,
            credential: credential.id.clone(),
            environment: values.environment.clone(),
        })
    }
}

/// The project environments that may use these values.
async fn contexts(
    tx: &mut ReadTx,
    credential: &CredentialRow,
    values: &str,
) -> Refused<Vec<(ProjectAt, EnvironmentAt)>> {
    let mut found = Vec::new();
    for share in shares::list_of_credential(tx, credential).await.map_err(refusals::store)? {
        if share.share.suspended {
            continue;
        }
        let granted: Vec<_> =
            share.grants.iter().filter(|grant| grant.credential_environment == values).collect();
        if granted.is_empty() {
            continue;
        }
        let id = share.share.project_id.as_str();
        let Some(project) = projects::by_slug_or_id(tx, id).await.map_err(refusals::store)? else { continue };
        for environment in environments::list(tx, &project.id).await.map_err(refusals::store)? {
            if granted.iter().any(|grant| grant.environment_id == environment.id) {
                let at = ProjectAt {
                    id: project.id.clone(),
                    slug: project.slug.clone(),
                    name: project.name.clone(),
                };
                found.push((at, EnvironmentAt { id: environment.id, name: environment.name }));
            }
            if found.len() >= MOST_CONTEXTS {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_come_early_and_not_all_at_once() {
        let (obtained, until) = (Timestamp(0), Timestamp(3_540_000));
        let times: std::collections::BTreeSet<i64> =
            (0..100).map(|i| renewed_from(obtained, until, &format!("srv/{i}")).millis()).collect();
        assert!(times.len() > 50, "{times:?}");
        assert!(times.iter().all(|at| (3_480_000..=3_510_000).contains(at)), "{times:?}");
        // A token of a minute is not renewed all the time.
        let short = renewed_from(obtained, Timestamp(54_000), "srv/x").millis();
        assert!((48_600..=51_300).contains(&short), "{short}");
    }
}
