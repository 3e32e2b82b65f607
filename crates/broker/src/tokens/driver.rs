//! The refresh protocol's steps on the database: each command of the state machine is one transaction.

use latchstring_connectors::TokenPolicy;
use latchstring_model::SecretString;
use latchstring_schemes::refresh::{self, Intent, LEASE_MS, Lease, Life, Ran, Step, TokenRow, TokenState};
use latchstring_schemes::token::TokenSet;
use latchstring_store::tokens::{self, NewToken, TokenKey};
use latchstring_store::{StoreError, tokens as rows, values};

use crate::Broker;
use crate::sealing::token_aad;

const LOST_ANSWER: &str =
    "a token request was sent and its answer never arrived; the provider may have used up the refresh token";

/// What a step may need beside itself.
pub(super) struct Held<'a> {
    pub key: &'a TokenKey,
    /// What was just obtained; saved by `Save`.
    pub obtained: Option<&'a TokenSet>,
    /// What went wrong, masked, for people; stored by `Fail` and `Dead`.
    pub error: &'a str,
    /// The API has refused the token that is there: with a dead grant it is worth nothing any more.
    pub rejected: bool,
}

pub(super) fn row_of(row: &rows::TokenRow) -> TokenRow {
    TokenRow {
        state: match row.state {
            rows::TokenState::Empty => TokenState::Empty,
            rows::TokenState::Live => TokenState::Live,
            rows::TokenState::NeedsReconnect => TokenState::NeedsReconnect,
        },
        version: row.version,
        life: row.life.map(|life| Life {
            obtained_at: life.obtained_at,
            fresh_until: life.fresh_until,
            expires_at: life.expires_at,
        }),
        fence: row.fence,
        lease: row.lease.clone().map(|lease| Lease { owner: lease.owner, deadline: lease.deadline }),
        intent: match row.intent {
            rows::Intent::None => Intent::None,
            rows::Intent::Prepared { fence } => Intent::Prepared { fence },
            rows::Intent::Sent { fence, deadline } => Intent::Sent { fence, deadline },
        },
        failures: u32::try_from(row.failures).unwrap_or(u32::MAX),
        retry_at: row.retry_at,
        forced_at: row.forced_at,
    }
}

impl Broker {
    /// Runs one step. A database that does not answer leaves it unknown whether it was done.
    pub(super) async fn run_step(&self, step: &Step, held: &Held<'_>) -> Ran {
        match self.try_step(step, held).await {
            Ok(true) => Ran::Done,
            Ok(false) => Ran::Refused,
            Err(error) => {
                tracing::warn!(error = %error, token = %held.key.id, "a step of a token's refresh did not reach the database");
                Ran::Unknown
            }
        }
    }

    async fn try_step(&self, step: &Step, held: &Held<'_>) -> Result<bool, StoreError> {
        let id = held.key.id.as_str();
        // Save, Dead, Orphan and Replace change what calls may use; the others nobody caches.
        let scope = [held.key.credential_id.as_str()];
        let changes = matches!(
            step,
            Step::Save { .. } | Step::Dead { .. } | Step::Orphan { .. } | Step::Replace { .. }
        );
        let mut tx = if changes {
            self.parts.store.begin_write(&scope).await?
        } else {
            self.parts.store.begin_upkeep().await?
        };
        let done = match step {
            Step::Take { owner, seen_fence, version, may_repeat, patience_ms, forced } => {
                let take = tokens::Take {
                    owner,
                    seen_fence: *seen_fence,
                    version: *version,
                    may_repeat: *may_repeat,
                    patience_ms: *patience_ms,
                    forced: *forced,
                    lease_ms: LEASE_MS,
                };
                tokens::take(&mut tx, id, &take).await?
            }
            Step::Renew { fence } => tokens::renew(&mut tx, id, *fence, LEASE_MS).await?,
            Step::Prepare { fence, version } => tokens::prepare(&mut tx, id, *fence, *version).await?,
            Step::MarkSent { fence, version } => {
                tokens::mark_sent(&mut tx, id, *fence, *version, LEASE_MS).await?
            }
            Step::Save { version, life } => match held.obtained {
                Some(set) => {
                    tokens::save(&mut tx, id, *version, &self.sealed(held.key, set, *version + 1, *life)?)
                        .await?
                }
                None => false,
            },
            Step::Fail { fence, version, retry_ms } => {
                tokens::fail(&mut tx, id, *fence, *version, *retry_ms, held.error).await?
            }
            Step::Dead { fence, version } => tokens::dead(&mut tx, id, *fence, *version, held.error).await?,
            Step::Release { fence } => tokens::release(&mut tx, id, *fence).await?,
            Step::Orphan { seen_fence, version } => {
                tokens::orphan(&mut tx, id, *seen_fence, *version, LOST_ANSWER).await?
            }
            Step::Bury { owner } => tokens::bury(&mut tx, owner).await? > 0,
            Step::Replace { life } => match (held.obtained, tokens::locked(&mut tx, id).await?) {
                (Some(set), Some(row)) => {
                    tokens::save(
                        &mut tx,
                        id,
                        row.version,
                        &self.sealed(held.key, set, row.version + 1, *life)?,
                    )
                    .await?
                }
                _ => false,
            },
        };
        if done && let Step::Dead { .. } | Step::Orphan { .. } = step {
            let key = held.key;
            values::grant_ended(&mut tx, &key.credential_id, &key.environment, key.values_version).await?;
            if held.rejected {
                tokens::spent(&mut tx, id).await?;
            }
        }
        if done {
            // Told in the same transaction: neither is there without the other.
            match step {
                Step::Dead { version, .. } => {
                    self.tell_needs_reconnect(&mut tx, held.key, *version, held.error).await?;
                }
                Step::Orphan { version, .. } => {
                    self.tell_needs_reconnect(&mut tx, held.key, *version, LOST_ANSWER).await?;
                }
                _ => {}
            }
            tx.commit().await?;
        } else {
            tx.rollback().await?;
        }
        Ok(done)
    }

    /// Sealed for exactly the version that it will be.
    pub(crate) fn sealed_token(
        &self,
        key: &TokenKey,
        set: &TokenSet,
        version: i64,
        policy: &TokenPolicy,
    ) -> Result<NewToken, StoreError> {
        self.sealed(key, set, version, life_of(set, policy))
    }

    fn sealed(
        &self,
        key: &TokenKey,
        set: &TokenSet,
        version: i64,
        life: Life,
    ) -> Result<NewToken, StoreError> {
        let aad = token_aad(&key.id, &key.environment, version);
        let sealed = self
            .parts
            .vault
            .seal(&aad, set.to_bytes().expose(), &*self.parts.entropy)
            .map_err(|error| StoreError::BadRow(error.to_string()))?;
        Ok(NewToken {
            sealed: sealed.bytes,
            data_key: sealed.data_key,
            life: rows::Life {
                obtained_at: life.obtained_at,
                fresh_until: life.fresh_until,
                expires_at: life.expires_at,
            },
            grant_expires_at: set.grant_expires_at,
        })
    }

    /// Clears what processes that have ended left open, before this one begins: their tokens can be asked for at
    /// once instead of when the leases run out. How many there were.
    pub async fn bury_ended(&self) -> Result<u64, StoreError> {
        let mut tx = self.parts.store.begin_upkeep().await?;
        let mut cleared = 0;
        for server in self.parts.journal.ended() {
            cleared += tokens::bury(&mut tx, server.as_str()).await?;
        }
        tx.commit().await?;
        Ok(cleared)
    }

    /// Reads a stored token: the row is the state machine's, the set is opened.
    pub(super) async fn read_token(
        &self,
        id: &str,
    ) -> Result<Option<(rows::TokenRow, latchstring_model::Timestamp)>, StoreError> {
        let mut tx = self.parts.store.read().await?;
        tokens::by_id(&mut tx, id).await
    }
}

/// A grant that dies when it is left alone is renewed in time, however long its access token lives.
pub(super) fn life_of(set: &TokenSet, policy: &TokenPolicy) -> Life {
    let fresh_until = set.fresh_until(policy.expiry_margin_ms);
    let kept_alive = policy
        .keep_alive_secs
        .filter(|_| set.refresh_token.is_some())
        .map(|secs| set.obtained_at.plus_secs(secs));
    Life {
        obtained_at: set.obtained_at,
        fresh_until: [fresh_until, kept_alive].into_iter().flatten().min(),
        expires_at: set.expires_at,
    }
}

/// The machine tells an answer apart by its times only; its text stays here.
pub(super) fn answer_of(class: super::source::AskClass) -> refresh::Answer {
    use super::source::AskClass;
    match class {
        AskClass::Dead => refresh::Answer::Dead,
        AskClass::Refused => refresh::Answer::Failed { retry_after_ms: 0 },
        AskClass::Failed { retry_after_ms } => refresh::Answer::Failed { retry_after_ms },
        AskClass::Ambiguous => refresh::Answer::Ambiguous,
    }
}

/// What is stored about a failure: for people, masked, short.
pub(super) fn shown(text: &str, secrets: &[SecretString]) -> String {
    latchstring_schemes::oauth2::mask_text(text, secrets).chars().take(500).collect()
}
