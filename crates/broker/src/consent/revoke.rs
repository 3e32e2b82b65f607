//! Tokens of a credential that is purged, and of an environment that is removed, are given back to the provider (RFC
//! 7009): the refresh token, which ends the grant with most, and the access token. As good as it goes: a provider that
//! does not answer keeps nobody from deleting. What came of it is in the audit trail as `token.revoke`.
//!
//! A purge gives back first, so that a server that dies in between has lost nothing that still lives. Removing an
//! environment is one part of a change that may be refused as a whole: what is needed to ask is put together before it
//! ([`Broker::revocable`]), and asked when it is done.

use std::time::Duration;

use latchstring_journal::Purpose;
use latchstring_model::entity::Outcome;
use latchstring_model::problem::Refused;
use latchstring_model::{PinPurpose, SecretString};
use latchstring_schemes::oauth2::secrets_in;
use latchstring_schemes::token::TokenSet;
use latchstring_store::credentials::CredentialRow;
use latchstring_store::tokens::{self, TokenRow};

use crate::actor::Actor;
use crate::audit::Event;
use crate::road::own::OwnCall;
use crate::sealing::token_aad;
use crate::tokens::background::Rebuilt;
use crate::{Broker, refusals};

/// One request; and all of a credential's together.
const WITHIN: Duration = Duration::from_secs(5);
const ALL_WITHIN: Duration = Duration::from_secs(20);
/// A provider's answer says nothing worth more.
const READ: usize = 16 * 1024;

/// What came of one token row.
struct Revoked {
    environment: String,
    /// Requests that the provider took, of so many.
    taken: usize,
    of: usize,
    /// Why not, masked.
    trouble: Option<String>,
}

/// Said in the audit trail where nobody could be asked.
const LOST: &str = "what the token was obtained with is not there any more: the connector, the values or the OAuth \
                    client were changed since; end the access at the provider";
const NO_GRANT: &str = "the method has no grant that could be given back; end the session at the provider";

fn not_asked(token: &TokenRow, why: &str) -> Revoked {
    Revoked { environment: token.key.environment.clone(), taken: 0, of: 1, trouble: Some(why.to_owned()) }
}

/// A token with what it is given back with, put together while that is still there.
pub(crate) struct Revocable {
    token: TokenRow,
    set: TokenSet,
    /// `None`: see [`LOST`].
    behind: Option<Rebuilt>,
}

impl Broker {
    /// Gives back what is stored of a credential. Never fails: what went wrong is recorded.
    pub(crate) async fn revoke_grants(&self, actor: &Actor, row: &CredentialRow) {
        match tokio::time::timeout(ALL_WITHIN, self.revocable(row, |_| true)).await {
            Ok(Ok(found)) => self.revoke(actor, row, found).await,
            Ok(Err(problem)) => {
                tracing::warn!(problem = %problem, "tokens of a credential could not be revoked");
            }
            Err(_) => tracing::warn!("the database took too long to say which tokens are to be revoked"),
        }
    }

    /// The tokens of those environments, opened.
    pub(crate) async fn revocable(
        &self,
        row: &CredentialRow,
        of: impl Fn(&str) -> bool,
    ) -> Refused<Vec<Revocable>> {
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let rows = tokens::list_of_credential(&mut reader, row).await.map_err(refusals::store)?;
        drop(reader);
        let mut found = Vec::new();
        for token in rows.into_iter().filter(|token| of(&token.key.environment)) {
            let Some(set) = self.opened_token(&token).await? else { continue };
            // What cannot be put together any more is told, and keeps nobody from deleting.
            let behind = self.rebuilt(&token).await.unwrap_or_else(|problem| {
                tracing::info!(problem = %problem, "what a token was obtained with cannot be put together");
                None
            });
            found.push(Revocable { token, set, behind });
        }
        Ok(found)
    }

    /// Gives them back, within bounds, and writes what came of it.
    pub(crate) async fn revoke(&self, actor: &Actor, row: &CredentialRow, found: Vec<Revocable>) {
        let mut done = Vec::new();
        let mut late = Vec::new();
        let until = tokio::time::Instant::now() + ALL_WITHIN;
        for one in found {
            let environment = one.token.key.environment.clone();
            match tokio::time::timeout_at(until, self.revoke_one(actor, one)).await {
                Ok(Ok(Some(revoked))) => done.push(revoked),
                // Nowhere to give it back to.
                Ok(Ok(None)) => {}
                Ok(Err(problem)) => {
                    let trouble = Some(problem.detail.into_owned());
                    done.push(Revoked { environment, taken: 0, of: 1, trouble });
                }
                Err(_) => late.push(environment),
            }
        }
        let late = late.into_iter().map(|environment| Revoked {
            environment,
            taken: 0,
            of: 1,
            trouble: Some("the provider took too long".into()),
        });
        done.extend(late);
        if done.is_empty() {
            return;
        }
        let written: Refused<()> = async {
            let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
            let events = done
                .into_iter()
                .map(|revoked| {
                    let outcome = if revoked.taken == revoked.of { Outcome::Ok } else { Outcome::Failed };
                    let mut event = Event::new("token.revoke")
                        .credential(&row.id)
                        .target(row.name.clone())
                        .environment(revoked.environment)
                        .outcome(outcome)
                        .detail("revoked", revoked.taken)
                        .detail("tokens", revoked.of);
                    if let latchstring_model::entity::Principal::Project(project) = &row.owner {
                        event = event.project(project);
                    }
                    if let Some(trouble) = revoked.trouble {
                        event = event.detail("trouble", trouble);
                    }
                    event
                })
                .collect();
            self.record_all(&mut tx, actor, events).await?;
            tx.commit().await.map_err(refusals::store)?;
            Ok(())
        }
        .await;
        if let Err(problem) = written {
            tracing::warn!(problem = %problem, "what came of revoking tokens could not be recorded");
        }
    }

    /// `None`: the provider has no revocation endpoint.
    async fn revoke_one(&self, actor: &Actor, one: Revocable) -> Refused<Option<Revoked>> {
        let Revocable { token, set, behind } = one;
        let Some(behind) = behind else { return Ok(Some(not_asked(&token, LOST))) };
        let resolved = behind.materials.resolve(None, self.now(), &*self.parts.entropy)?;
        let Some(url) = resolved.policy.revocation_url.clone() else { return Ok(None) };
        let mut secrets = resolved.mask.clone();
        let ca = resolved.ca_certificate.clone();
        let prepared = behind
            .materials
            .prepare(resolved.scheme)
            .map_err(|error| crate::credentials::scheme_problem(&error))?;
        let identity = crate::road::plan::identity(self, &behind.materials, &prepared, ca.as_ref())?;
        let Some(grant) = prepared.grant() else { return Ok(Some(not_asked(&token, NO_GRANT))) };
        secrets.extend(grant.secrets(Some(&set)));
        let revocation = grant.revocation(url);
        let requests = revocation
            .requests(&set, self.now(), &*self.parts.entropy)
            .map_err(|error| Box::new(error.mask(&secrets).to_problem()))?;
        let mut revoked = Revoked {
            environment: token.key.environment.clone(),
            taken: 0,
            of: requests.len(),
            trouble: None,
        };
        for request in requests {
            secrets.extend(secrets_in(&request));
            let own = OwnCall {
                actor,
                project: None,
                credential: &token.key.credential_id,
                environment: &token.key.environment,
                project_environment: None,
                purpose: Purpose::Revoke,
                pins: &behind.pins,
                pin: PinPurpose::Token,
                identity: identity.as_ref(),
                path: "(revocation)",
                acts_as: None,
                max_body: READ,
                within: WITHIN,
            };
            match self.fetch(own, request).await {
                Ok(answer) => match revocation.read_answer(&answer) {
                    Ok(()) => revoked.taken += 1,
                    Err(error) => revoked.trouble = Some(said(error.mask(&secrets).to_string(), &secrets)),
                },
                Err(failure) => revoked.trouble = Some(failure.problem.detail.into_owned()),
            }
        }
        Ok(Some(revoked))
    }

    async fn opened_token(&self, token: &TokenRow) -> Refused<Option<TokenSet>> {
        let Some((sealed, data_key)) = &token.sealed else { return Ok(None) };
        self.ensure_data_key(data_key).await?;
        let ticket = crate::road::authorise::token_opens();
        let aad = token_aad(&token.key.id, &token.key.environment, token.version);
        let bytes = self.open(&ticket, &aad, sealed)?;
        TokenSet::from_bytes(&bytes).map(Some).map_err(|error| refusals::internal(&error))
    }
}

fn said(text: String, secrets: &[SecretString]) -> String {
    latchstring_schemes::oauth2::mask_text(&text, secrets).chars().take(300).collect()
}
