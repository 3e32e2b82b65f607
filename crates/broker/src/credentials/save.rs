//! What a change writes: sealed values with their version, the tokens that were obtained on the way, and who is
//! told of it in the audit trail.

use latchstring_connectors::{AuthMethod, Values};
use latchstring_model::entity::{Principal, Status};
use latchstring_model::id::ProjectId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, Timestamp};
use latchstring_schemes::keys;
use latchstring_store::credentials::CredentialRow;
use latchstring_store::shares::ShareWithGrants;
use latchstring_store::tokens::{self, TokenKey};
use latchstring_store::values::{self, Standing, ValuesRow};
use latchstring_store::{StoreError, WriteTx};

use super::attempt::Outcome;
use super::verify::Staged;
use crate::actor::Actor;
use crate::audit::Event;
use crate::sealing::values_aad;
use crate::{Broker, refusals};

/// One environment's values, checked and tried.
pub(crate) struct Ready {
    pub environment: String,
    pub values: Values,
    pub version: i64,
    pub secret_fields: Vec<String>,
    /// What the owner may use and not read.
    pub withheld: Vec<String>,
    pub outcome: Outcome,
}

/// Fields that are secret: those that the definition says, those it does not know, and those that once were.
pub(crate) fn secret_fields(method: &AuthMethod, values: &Values, before: &[String]) -> Vec<String> {
    let mut names: Vec<String> = values
        .names()
        .filter(|name| {
            method.field(name).is_none_or(|field| field.secret) || before.iter().any(|known| known == name)
        })
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

/// When the first of the certificates ends that stand in values: a client's, one behind a private key, an
/// authority's. 0 where there is none.
pub(crate) fn certificates_end(values: &serde_json::Map<String, serde_json::Value>) -> Timestamp {
    let texts = values.values().filter_map(serde_json::Value::as_str);
    let ends = texts.filter(|text| text.contains("CERTIFICATE-----")).filter_map(keys::certificates_end);
    ends.min().unwrap_or(Timestamp(0))
}

/// For refusals of a verification that would have saved something.
pub(crate) fn nothing_saved(mut problem: Box<Problem>) -> Box<Problem> {
    if matches!(problem.code, Code::VerificationFailed | Code::VerificationInconclusive) {
        problem.detail = format!("{} Nothing was saved.", problem.detail).into();
    }
    problem
}

pub(crate) fn shared(row: &CredentialRow, project: &ProjectId) -> Event {
    Event::new("credential.share").project(project).credential(&row.id).target(row.name.clone())
}

/// The event for the owner, and one for each other project that uses the credential.
pub(crate) fn told(row: &CredentialRow, shares: &[ShareWithGrants], event: &Event) -> Vec<Event> {
    let event = event.clone().credential(&row.id).target(row.name.clone());
    let mut events = vec![match &row.owner {
        Principal::Project(project) => event.clone().project(project),
        Principal::User(_) => event.clone(),
    }];
    for share in shares {
        if row.owner.id() != share.share.project_id.as_str() {
            events.push(event.clone().project(&share.share.project_id));
        }
    }
    events
}

/// A grant moves to new values only while it is what was read, and nobody is renewing it: a renewal under way
/// would save the only living refresh token where nobody looks any more.
async fn still_there(tx: &mut WriteTx, staged: &[Staged]) -> Refused<()> {
    for (id, version) in staged.iter().filter_map(|staged| staged.stored.as_ref()) {
        let row = tokens::locked(tx, id).await.map_err(refusals::store)?;
        let Some(row) = row.filter(|row| row.version == *version) else {
            return Err(refusals::store(StoreError::Moved));
        };
        not_being_renewed(tx, &row)?;
    }
    Ok(())
}

/// Of a row that is locked.
pub(crate) fn not_being_renewed(tx: &WriteTx, row: &tokens::TokenRow) -> Refused<()> {
    let now = tx.db_now();
    let leased = row.lease.as_ref().is_some_and(|lease| now < lease.deadline);
    if !leased && !matches!(row.intent, tokens::Intent::Sent { .. }) {
        return Ok(());
    }
    Err(Problem::new(
        Code::Busy,
        "The credential's token is being renewed at this moment; nothing was changed.",
    )
    .hint("Try again in a few seconds.")
    .retry_after(5)
    .into())
}

impl Broker {
    /// Seals and writes one environment's values, and the tokens that verification obtained. Tokens of older
    /// values go; so do values that are too old to be kept.
    #[allow(clippy::too_many_arguments, reason = "the parts of one write, each looked up before")]
    pub(crate) async fn put_values(
        &self,
        tx: &mut WriteTx,
        actor: &Actor,
        row: &CredentialRow,
        ready: &Ready,
        expected: Option<i64>,
        changed: &[String],
        now: Timestamp,
    ) -> Refused<()> {
        let (environment, version) = (&ready.environment, ready.version);
        // What verification obtained is bound to the number that it was foretold.
        if values::next_version(tx, row, environment).await.map_err(refusals::store)? != version {
            return Err(refusals::store(StoreError::Moved));
        }
        let aad = values_aad(&row.id, &row.owner, environment, version);
        let plain = ready.values.to_json();
        let sealed = self.seal_json(&aad, &plain)?;
        let tried = &ready.outcome.tried;
        let asked = tried.status == Status::Verified;
        let new = ValuesRow {
            environment: environment.clone(),
            version,
            sealed: sealed.bytes,
            data_key: sealed.data_key,
            secret_fields: ready.secret_fields.clone(),
            pins: tried.pins.clone(),
            standing: Standing {
                status: tried.status,
                verified_at: asked.then_some(tried.checked_at),
                checked_at: asked.then_some(tried.checked_at),
                check_error: None,
                account: tried.account.clone(),
                scopes: tried.scopes.clone(),
            },
            withheld: ready.withheld.clone(),
            certificate_ends_at: Some(certificates_end(&plain)),
            set_by: actor.signature(),
            set_at: now,
        };
        values::put(tx, row, &new, expected, changed).await.map_err(refusals::store)?;
        still_there(tx, &ready.outcome.staged).await?;
        tokens::delete_superseded(tx, row, environment, version).await.map_err(refusals::store)?;
        // Of older ones only the list stays.
        let keep_from = version.saturating_sub(self.settings.keep_versions.max(1)) + 1;
        values::wipe_versions(tx, row, environment, keep_from).await.map_err(refusals::store)?;
        self.keep_tokens(tx, row, environment, version, &ready.outcome.staged).await
    }

    /// Promotes tokens that verification obtained, in the transaction that makes their values count.
    pub(crate) async fn keep_tokens(
        &self,
        tx: &mut WriteTx,
        row: &CredentialRow,
        environment: &str,
        version: i64,
        staged: &[Staged],
    ) -> Refused<()> {
        for staged in staged {
            // Where it is, it may have been renewed since it was read.
            if staged.stored.as_ref().is_some_and(|(id, _)| *id == staged.id) {
                continue;
            }
            let key = TokenKey {
                id: staged.id.clone(),
                credential_id: row.id.clone(),
                environment: environment.to_owned(),
                values_version: version,
                name: "default".into(),
            };
            tokens::ensure(tx, &key).await.map_err(refusals::store)?;
            let Some(held) = tokens::locked(tx, &key.id).await.map_err(refusals::store)? else { continue };
            let new = self
                .sealed_token(&key, &staged.set, held.version + 1, &staged.policy)
                .map_err(refusals::store)?;
            tokens::save(tx, &key.id, held.version, &new).await.map_err(refusals::store)?;
        }
        Ok(())
    }
}
