//! Tokens of a credential that is purged are given back to the provider (RFC 7009): the refresh token, which ends
//! the grant with most, and the access token. As good as it goes: a provider that does not answer keeps nobody
//! from deleting. What came of it is in the audit trail as `token.revoke`.

use std::time::Duration;

use latchstring_journal::Purpose;
use latchstring_model::entity::Outcome;
use latchstring_model::problem::Refused;
use latchstring_model::{PinPurpose, SecretString};
use latchstring_schemes::token::TokenSet;
use latchstring_store::credentials::CredentialRow;
use latchstring_store::tokens::{self, TokenRow};

use crate::actor::Actor;
use crate::audit::Event;
use crate::road::own::OwnCall;
use crate::sealing::token_aad;
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

impl Broker {
    /// Gives back what is stored of a credential. Never fails: what went wrong is recorded.
    pub(crate) async fn revoke_grants(&self, actor: &Actor, row: &CredentialRow) {
        let all = async {
            let mut done = Vec::new();
            let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
            let rows = tokens::list_of_credential(&mut reader, row).await.map_err(refusals::store)?;
            drop(reader);
            for token in rows.into_iter().filter(|token| token.sealed.is_some()) {
                let environment = token.key.environment.clone();
                match self.revoke_one(actor, token).await {
                    Ok(Some(revoked)) => done.push(revoked),
                    // Nowhere to give it back to.
                    Ok(None) => {}
                    Err(problem) => {
                        let trouble = Some(problem.detail.into_owned());
                        done.push(Revoked { environment, taken: 0, of: 1, trouble });
                    }
                }
            }
            Refused::Ok(done)
        };
        let done = match tokio::time::timeout(ALL_WITHIN, all).await {
            Ok(Ok(done)) => done,
            Ok(Err(problem)) => {
                tracing::warn!(problem = %problem, "tokens of a credential could not be revoked");
                return;
            }
            Err(_) => vec![Revoked {
                environment: String::new(),
                taken: 0,
                of: 1,
                trouble: Some("the provider took too long".into()),
            }],
        };
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
    async fn revoke_one(&self, actor: &Actor, token: TokenRow) -> Refused<Option<Revoked>> {
        let Some(behind) = self.rebuilt(&token).await? else { return Ok(Some(not_asked(&token, LOST))) };
        let resolved = behind.materials.resolve(None, self.now(), &*self.parts.entropy)?;
        let Some(url) = resolved.policy.revocation_url.clone() else { return Ok(None) };
        let mut secrets = resolved.mask.clone();
        let ca = resolved.ca_certificate.clone();
        let prepared =
            resolved.scheme.prepare().map_err(|error| crate::credentials::scheme_problem(&error))?;
        let identity = crate::road::plan::identity(self, &prepared, ca.as_ref())?;
        let Some(grant) = prepared.grant() else { return Ok(Some(not_asked(&token, NO_GRANT))) };
        let set = self.opened_token(&token).await?;
        let Some(set) = set else { return Ok(None) };
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
            let own = OwnCall {
                actor,
                project: None,
                credential: &token.key.credential_id,
                environment: &token.key.environment,
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
