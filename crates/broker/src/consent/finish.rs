//! What came back is looked at before it is saved: the scopes against those that were asked for, a refresh token
//! where one must come, one use of the access token. The grant that was there before stands until the transaction
//! that puts the new one in its place.

use std::sync::Arc;

use latchstring_model::entity::Status;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, Timestamp};
use latchstring_schemes::token::TokenSet;
use latchstring_store::consents::{self, By, ConsentRow, Ending};
use latchstring_store::tokens::{self, TokenState};
use latchstring_store::values::{self, Standing};
use latchstring_store::{StoreError, WriteTx};

use super::ground::Ready;
use super::outcome::{incomplete, no_refresh_token, not_bound};
use crate::actor::Actor;
use crate::audit::Event;
use crate::credentials::attempt::{Outcome, Place};
use crate::credentials::check::Checked;
use crate::credentials::input::Verify;
use crate::credentials::save::{not_being_renewed, told};
use crate::credentials::verify::Granted;
use crate::sealing::token_aad;
use crate::{Broker, refusals};

/// A consent that went well.
#[derive(Debug)]
pub struct Connected {
    pub credential: String,
    pub credential_name: String,
    pub environment: String,
    pub account: Option<String>,
    pub scopes: Vec<String>,
    /// Optional scopes that were asked for and not granted.
    pub missing: Vec<String>,
    pub status: Status,
    /// The API could not say whether the token works.
    pub note: Option<String>,
}

/// Both sides of a grant that is being judged.
struct Judged {
    set: TokenSet,
    missing: Vec<String>,
    account: Option<String>,
    /// A userinfo endpoint took the token.
    used: bool,
    /// The refresh token is the one that stands: id of its row, and the version that was read.
    kept: Option<(String, i64)>,
}

/// Takes the refresh token of an older grant of the same person. Whether it did.
fn keep_refresh_token(set: &mut TokenSet, old: &TokenSet) -> bool {
    if set.subject.is_none() || set.subject != old.subject || old.refresh_token.is_none() {
        return false;
    }
    set.refresh_token.clone_from(&old.refresh_token);
    set.grant_expires_at = set.grant_expires_at.or(old.grant_expires_at);
    true
}

impl Broker {
    /// Looks at a new grant, uses it once, and saves it.
    pub(super) async fn finish(
        self: &Arc<Self>,
        actor: &Actor,
        row: &ConsentRow,
        checked: &Checked,
        ready: &Ready,
        set: TokenSet,
    ) -> Refused<Connected> {
        let judged = self.judge_grant(actor, row, checked, ready, set).await?;
        let granted = Granted { set: judged.set.clone(), stored: None };
        let (outcome, note) = self.use_once(actor, checked, &granted).await?;
        self.save_grant(actor, row, checked, judged, outcome, note).await
    }

    async fn judge_grant(
        &self,
        actor: &Actor,
        row: &ConsentRow,
        checked: &Checked,
        ready: &Ready,
        mut set: TokenSet,
    ) -> Refused<Judged> {
        if ready.consent.bound_tokens && !set.is_dpop() {
            return Err(not_bound());
        }
        let missing: Vec<String> = ready
            .consent
            .missing(&row.scopes, set.scopes.as_deref())
            .into_iter()
            .map(str::to_owned)
            .collect();
        let needed: Vec<&str> = missing
            .iter()
            .filter(|scope| ready.consent.mandatory.contains(scope))
            .map(String::as_str)
            .collect();
        if !needed.is_empty() {
            return Err(incomplete(&needed));
        }
        if set.scopes.is_none() {
            set.scopes = Some(row.scopes.clone());
        }
        let account = self.signed_in_account(actor, checked, ready, &set).await;
        let used = account.as_ref().is_some_and(|account| account.accepted);
        set.subject = account.as_ref().and_then(|account| account.subject.clone());
        let account = account.and_then(|account| account.name);
        let mut kept = None;
        // Some give a refresh token at the first consent only; it is still good, if it is the same person's. Names
        // do not say that: two people can have the same.
        if set.refresh_token.is_none()
            && set.subject.is_some()
            && let Some((old, at)) = self.kept_grant(checked, ready).await?
            && keep_refresh_token(&mut set, &old)
        {
            kept = Some(at);
        }
        if set.refresh_token.is_none() && ready.consent.refresh_required {
            return Err(no_refresh_token(ready.consent.refresh_hint.as_deref()));
        }
        Ok(Judged { set, missing, account, used, kept })
    }

    /// One use in every context that the values are granted to. An API that gives no clear answer does not cost
    /// the person the consent: it is saved as not verified, with the reason.
    pub(super) async fn use_once(
        self: &Arc<Self>,
        actor: &Actor,
        checked: &Checked,
        granted: &Granted,
    ) -> Refused<(Outcome, Option<String>)> {
        let places: Vec<&Place> = checked.places.iter().collect();
        let (environment, version) = (checked.values.environment.as_str(), checked.values.version);
        let attempt = checked.attempt(actor, Verify::Required, checked.held(), Some(granted));
        match self.try_environment(&attempt, environment, &checked.read, version, &places).await {
            Ok(outcome) => Ok((outcome, None)),
            Err(problem) if problem.code == Code::VerificationInconclusive => {
                let attempt = checked.attempt(actor, Verify::Skip, checked.held(), Some(granted));
                let outcome =
                    self.try_environment(&attempt, environment, &checked.read, version, &places).await?;
                Ok((outcome, Some(problem.detail.into_owned())))
            }
            Err(problem) => Err(problem),
        }
    }

    async fn save_grant(
        &self,
        actor: &Actor,
        row: &ConsentRow,
        checked: &Checked,
        judged: Judged,
        outcome: Outcome,
        note: Option<String>,
    ) -> Refused<Connected> {
        let now = self.now();
        let Outcome { tried, mut staged } = outcome;
        let asked = tried.status == Status::Verified || judged.used && note.is_none();
        let status = if asked { Status::Verified } else { Status::Unverified };
        let scopes = judged.set.scopes.clone().unwrap_or_default();
        let account = judged.account.or(tried.account);
        let standing = Standing {
            status,
            verified_at: asked.then_some(now),
            checked_at: (asked || note.is_some()).then_some(now),
            check_error: note.as_ref().map(|note| format!("Not clear: {note}")),
            account: account.clone(),
            scopes: Some(scopes.clone()),
        };
        let credential = &checked.row;
        let mut lock: Vec<&str> = vec![credential.id.as_str()];
        lock.extend(row.oauth_client_id.as_ref().map(|id| id.as_str()));
        lock.extend(checked.shares.iter().map(|share| share.share.project_id.as_str()));
        let mut tx = self.parts.store.begin_write(&lock).await.map_err(refusals::store)?;
        self.still_stands(&mut tx, actor, row, checked).await?;
        if let Some(at) = &judged.kept {
            for one in &mut staged {
                self.still_kept(&mut tx, checked, at, &mut one.set).await?;
            }
        }
        let environment = checked.values.environment.as_str();
        let version = checked.values.version;
        let held = values::set_standing(&mut tx, credential, environment, version, &standing)
            .await
            .map_err(refusals::store)?;
        if !held {
            return Err(refusals::store(StoreError::Moved));
        }
        let mut event = Event::new("credential.authorize").environment(environment);
        event = event.detail("scopes", scopes.clone()).detail("status", status.as_str());
        if let Some(account) = &account {
            event = event.detail("account", account.as_str());
        }
        if tried.pins != checked.values.pins {
            values::set_pins(&mut tx, credential, environment, version, &tried.pins)
                .await
                .map_err(refusals::store)?;
            let suspended = self.suspend_others(&mut tx, actor, checked, &tried.pins).await?;
            if !suspended.is_empty() {
                event = event.detail("suspended", suspended);
            }
            event = event.detail("destinations", crate::credentials::destinations::origins(&tried.pins));
        }
        self.keep_tokens(&mut tx, credential, environment, version, &staged).await?;
        let kept: Vec<&str> = staged.iter().map(|one| one.id.as_str()).collect();
        for other in tokens::list_of_credential(&mut tx, credential).await.map_err(refusals::store)? {
            if other.key.environment == environment && !kept.contains(&other.key.id.as_str()) {
                tokens::delete(&mut tx, credential, &other.key.id).await.map_err(refusals::store)?;
            }
        }
        let ending = Ending { outcome: "ok".into(), detail: None, hint: None, at: now };
        if !consents::end(&mut tx, &row.id, true, &ending).await.map_err(refusals::store)? {
            return Err(super::start::unknown());
        }
        if let By::ConnectSession(session) = &row.by {
            self.end_connect_by_consent(&mut tx, actor, session, credential, row.created_at).await?;
        }
        self.record_all(&mut tx, actor, told(credential, &checked.shares, &event)).await?;
        tx.commit().await.map_err(refusals::store)?;
        for id in kept {
            self.tokens.forget(id);
        }
        Ok(Connected {
            credential: credential.id.to_string(),
            credential_name: credential.name.clone(),
            environment: environment.to_owned(),
            account,
            scopes,
            missing: judged.missing,
            status,
            note,
        })
    }

    /// Under the locks once more: the person still owns it, the client is still the one that was consented to.
    async fn still_stands(
        &self,
        tx: &mut WriteTx,
        actor: &Actor,
        row: &ConsentRow,
        checked: &Checked,
    ) -> Refused<()> {
        let current = crate::credentials::access::owned(
            tx,
            actor,
            checked.row.id.as_str(),
            crate::permissions::Operation::CredentialAuthorize,
        )
        .await?;
        let mut same = current.owner == checked.row.owner
            && current.oauth_client_id == row.oauth_client_id
            && current.deletes_at.is_none();
        if let (Some(client), Some(digest)) = (&row.oauth_client_id, &row.client_digest) {
            same &= crate::oauth_clients::bound::still_holds(tx, client, digest).await?;
        }
        if same {
            return self.client_stays(tx, actor, checked).await;
        }
        Err(Problem::new(Code::ConsentInvalid, "The credential or its OAuth client was changed while you were at the provider; nothing was saved.")
            .hint("Start the sign-in again.")
            .into())
    }

    /// A refresh token that was kept, looked at under the lock: it may have been used up since, and then the one that
    /// came for it is kept.
    async fn still_kept(
        &self,
        tx: &mut WriteTx,
        checked: &Checked,
        (id, version): &(String, i64),
        set: &mut TokenSet,
    ) -> Refused<()> {
        let moved = || refusals::store(StoreError::Moved);
        let row = tokens::locked(tx, id).await.map_err(refusals::store)?.ok_or_else(moved)?;
        not_being_renewed(tx, &row)?;
        if row.state != TokenState::Live {
            return Err(moved());
        }
        if row.version == *version {
            return Ok(());
        }
        let (sealed, data_key) = row.sealed.as_ref().ok_or_else(moved)?;
        self.ensure_data_key(data_key).await?;
        let aad = token_aad(id, &checked.values.environment, row.version);
        let bytes = self.open(&crate::road::authorise::token_opens(), &aad, sealed)?;
        let now = TokenSet::from_bytes(&bytes).map_err(|error| refusals::internal(&error))?;
        set.refresh_token = None;
        if keep_refresh_token(set, &now) { Ok(()) } else { Err(moved()) }
    }

    /// The grant that stands now, if it is alive, and where: the id of its row and its version.
    async fn kept_grant(
        &self,
        checked: &Checked,
        ready: &Ready,
    ) -> Refused<Option<(TokenSet, (String, i64))>> {
        let now: Timestamp = self.now();
        let bare = ready.materials.resolve(None, now, &*self.parts.entropy)?;
        let client = checked.client.as_deref();
        let id = crate::tokens::token_id(&checked.row, &checked.values, client, &bare.token_uses);
        let found = self.living_set(&id, &checked.row, &checked.values).await?;
        Ok(found.map(|(set, version)| (set, (id, version))))
    }
}
