//! The grant that a person consented to, as it is stored: made fresh where it has to be, by the same protocol
//! as for a call. For whoever works with a credential instead of calling through it.

use std::sync::Arc;

use latchstring_connectors::Values;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Pin};
use latchstring_schemes::refresh::Need;
use latchstring_schemes::token::TokenSet;
use latchstring_store::ReadTx;
use latchstring_store::credentials::CredentialRow;
use latchstring_store::tokens::{self, TokenState};
use latchstring_store::values::ValuesRow;

use super::background::Rebuilt;
use super::obtain::{Behind, wait};
use super::{TokenSlot, token_id};
use crate::actor::Actor;
use crate::consent::ground::depends_on;
use crate::credentials::attempt::{Attempt, Place, contexts};
use crate::credentials::check::Checked;
use crate::credentials::input::Verify;
use crate::credentials::verify::Granted;
use crate::road::materials::Materials;
use crate::{Broker, refusals};

impl Broker {
    /// The living grant of values that are checked: `None` where the method knows no consent.
    /// `needs_authorization` and `needs_reconnect` are refusals.
    pub(crate) async fn grant_of(
        self: &Arc<Self>,
        actor: &Actor,
        checked: &Checked,
    ) -> Refused<Option<Granted>> {
        if !checked.method.needs_consent() {
            return Ok(None);
        }
        let places: Vec<&Place> = checked.places.iter().collect();
        let attempt = checked.attempt(actor, Verify::Required, None, None);
        let materials = one_that_renders(self, contexts(&attempt, &checked.read, &places)?)?;
        let pins = checked.values.pins.clone().into();
        self.stored_grant(actor, &checked.row, &checked.values, materials, pins).await.map(Some)
    }

    /// The grant that stays when values are edited, because nothing that it depends on is edited: to be used for
    /// the verification, and to move to the new values. `None`: there is none, or it has to be given anew.
    pub(crate) async fn carried(
        self: &Arc<Self>,
        attempt: &Attempt<'_>,
        row: &CredentialRow,
        (values, before): (&ValuesRow, &Values),
        after: &Values,
        places: &[&Place],
    ) -> Refused<Option<Granted>> {
        let now = self.now();
        let old = one_that_renders(self, contexts(attempt, before, places)?);
        let new = one_that_renders(self, contexts(attempt, after, places)?);
        let (Ok(old), Ok(new)) = (old, new) else { return Ok(None) };
        let (was, is) =
            (old.resolve(None, now, &*self.parts.entropy)?, new.resolve(None, now, &*self.parts.entropy)?);
        if depends_on(&was) != depends_on(&is) {
            return Ok(None);
        }
        if attempt.verify == Verify::Skip {
            // Nobody is asked anything: it moves as it is.
            let id = token_id(row, values, old.client.as_deref(), &was.token_uses);
            let slot = self.tokens.slot(&id, &row.id, &values.environment, values.version);
            let found = self.open_stored(&slot).await?;
            let dead = self.is_dead(&id).await?;
            return Ok(found
                .filter(|_| !dead)
                .map(|(set, version)| Granted { set, stored: Some((id, version)) }));
        }
        match self.stored_grant(attempt.actor, row, values, old, values.pins.clone().into()).await {
            Ok(granted) => Ok(Some(granted)),
            Err(problem) if matches!(problem.code, Code::NeedsAuthorization | Code::NeedsReconnect) => {
                Ok(None)
            }
            Err(problem) => Err(problem),
        }
    }

    /// The living grant of these values.
    pub(crate) async fn stored_grant(
        self: &Arc<Self>,
        actor: &Actor,
        row: &CredentialRow,
        values: &ValuesRow,
        materials: Materials,
        pins: Arc<[Pin]>,
    ) -> Refused<Granted> {
        let bare = materials.resolve(None, self.now(), &*self.parts.entropy)?;
        let id = token_id(row, values, materials.client.as_deref(), &bare.token_uses);
        let slot = self.tokens.slot(&id, &row.id, &values.environment, values.version);
        // What another server has renewed counts, not what this one remembers.
        if let Some((set, version)) = self.open_stored(&slot).await?
            && set.is_fresh(self.now(), bare.policy.expiry_margin_ms)
            && !self.is_dead(&id).await?
        {
            return Ok(Granted { set, stored: Some((id, version)) });
        }
        let rebuilt = Rebuilt {
            materials,
            pins,
            actor: actor.clone(),
            project: None,
            credential: row.id.clone(),
            environment: values.environment.clone(),
        };
        let flight = self.fly(&slot, Need::Usable, || Behind::Rebuilt(Box::new(rebuilt)));
        let live = wait(flight.landing).await?;
        Ok(Granted { set: live.set.clone(), stored: Some((id, live.version)) })
    }

    /// Forgets what is remembered of a token when something else stands in its place: a new consent, or a dead grant.
    /// Whatever changes that raises the credential's scope, and so every route of it comes through here.
    pub(crate) async fn look_again(&self, tx: &mut ReadTx, slot: &TokenSlot) -> Refused<()> {
        let Some(known) = slot.any() else { return Ok(()) };
        let stored = tokens::by_id(tx, &slot.id).await.map_err(refusals::store)?;
        if stored.is_none_or(|(row, _)| row.version != known.version || row.state != TokenState::Live) {
            slot.forget();
        }
        Ok(())
    }

    /// What is stored under an id, opened, with its version, if the grant is alive.
    pub(crate) async fn living_set(
        &self,
        id: &str,
        row: &CredentialRow,
        values: &ValuesRow,
    ) -> Refused<Option<(TokenSet, i64)>> {
        let slot = self.tokens.slot(id, &row.id, &values.environment, values.version);
        let Some(found) = self.open_stored(&slot).await? else { return Ok(None) };
        Ok((!self.is_dead(id).await?).then_some(found))
    }

    /// Whether the provider has ended the grant, though its last access token may still live.
    async fn is_dead(&self, id: &str) -> Refused<bool> {
        let row = self.read_token(id).await.map_err(refusals::store)?;
        Ok(row.is_some_and(|(row, _)| row.state == TokenState::NeedsReconnect))
    }
}

/// The first context in which everything that the scheme reads is there: a grant is the same in all of them.
pub(crate) fn one_that_renders<P>(broker: &Broker, contexts: Vec<(P, Materials)>) -> Refused<Materials> {
    let mut refused = None;
    for (_, materials) in contexts {
        match materials.resolve(None, broker.now(), &*broker.parts.entropy) {
            Ok(_) => return Ok(materials),
            Err(problem) => refused = refused.or(Some(problem)),
        }
    }
    Err(refused.unwrap_or_else(|| {
        latchstring_model::Problem::new(Code::TemplateError, "There is no context to render the values in.")
            .hint("Share the credential with a project and grant it these values, then try again.")
            .into()
    }))
}
