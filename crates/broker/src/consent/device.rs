//! Device code (RFC 8628 section 3.4): the server asks until the person has decided. Which server: the one that
//! moves the row's next time, which is the lease; if it dies, another asks after that time. The device code is
//! spent by the answer that carries the token, so an answer that is lost ends the flow.

use std::sync::Arc;

use latchstring_journal::Purpose;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem};
use latchstring_schemes::oauth2::{ErrorClass, Grant, OAuthError, secrets_in};
use latchstring_store::consents::{self, By, ConsentRow, Kind};
use latchstring_store::{scopes, users};

use super::begin::{refused, unanswered};
use super::ground::Way;
use super::start::expired;
use crate::actor::{Actor, Person, Via, Who};
use crate::{Broker, refusals};

/// Flows that one turn looks at.
const LOOKED_AT: i64 = 50;
/// How long one question may take with all that follows it; in milliseconds. Longer than its request may.
const LEASE: i64 = 60_000;
/// `slow_down` adds five seconds (section 3.5).
const SLOWER: i64 = 5_000;
/// The slowest, in milliseconds.
const SLOWEST: i64 = 300_000;

/// What one question brought.
enum Polled {
    Connected,
    /// Not decided yet; asked again after so many milliseconds.
    Again(i64),
}

impl Broker {
    /// One turn: asks for every flow whose time has come. The handles are for whoever wants to wait.
    pub async fn poll_devices(self: &Arc<Self>) -> Refused<Vec<tokio::task::JoinHandle<()>>> {
        let mut reader = self.parts.store.begin_read().await.map_err(refusals::store)?;
        let db_now = scopes::db_now(&mut reader).await.map_err(refusals::store)?;
        let due = consents::due(&mut reader, db_now, LOOKED_AT).await.map_err(refusals::store)?;
        drop(reader);
        let mut begun = Vec::new();
        for row in due.into_iter().filter(|row| row.kind == Kind::Device) {
            let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
            let mine = consents::take_poll(&mut tx, &row, LEASE).await.map_err(refusals::store)?;
            tx.commit().await.map_err(refusals::store)?;
            if !mine {
                continue;
            }
            let broker = Arc::clone(self);
            begun.push(self.parts.control.spawn(async move { broker.poll_device(&row).await }));
        }
        Ok(begun)
    }

    async fn poll_device(self: &Arc<Self>, row: &ConsentRow) {
        let actor = match self.begun_by(row).await {
            Ok(actor) => actor,
            Err(problem) => {
                self.end_consent(&Actor::operator(), row, &problem).await;
                return;
            }
        };
        let every = match self.ask_device(&actor, row).await {
            Ok(Polled::Connected) => return,
            Ok(Polled::Again(every)) => every,
            // Our own database was away: the person has still to decide.
            Err(problem) if matches!(problem.code, Code::Unavailable | Code::Busy) => {
                row.poll_every_ms.unwrap_or(SLOWER)
            }
            Err(problem) => {
                self.end_consent(&actor, row, &problem).await;
                return;
            }
        };
        let again = async {
            let mut tx = self.parts.store.begin_upkeep().await?;
            consents::poll_again(&mut tx, &row.id, every).await?;
            tx.commit().await
        };
        if let Err(error) = again.await {
            tracing::warn!(error = %error, "when a device flow is asked about next could not be written");
        }
    }

    /// The person who began it, with the rights that they have now.
    async fn begun_by(&self, row: &ConsentRow) -> Refused<Actor> {
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let By::User(user) = &row.by else { return Err(super::start::unknown()) };
        let user = users::by_id(&mut reader, user).await.map_err(refusals::store)?;
        let user = user.filter(|user| user.fields.active).ok_or_else(|| {
            Problem::new(Code::Forbidden, "Whoever began this sign-in is not active any more.")
                .hint("Somebody who owns the credential begins it anew.")
        })?;
        Ok(Actor { who: Who::Person { person: Person::of(&user), via: Via::Begun }, address: None })
    }

    async fn ask_device(self: &Arc<Self>, actor: &Actor, row: &ConsentRow) -> Refused<Polled> {
        if row.expires_at <= self.now() {
            return Err(expired());
        }
        let checked = self.ground_of(actor, row).await?;
        let ready = self.consent_ready(actor, &checked)?;
        let Way::OAuth2(way) = &ready.way else { return Err(super::start::unknown()) };
        let Grant::DeviceCode(grant) = &**way else { return Err(super::start::unknown()) };
        let device_code = self.open_consent(row).await?;
        let mut secrets = ready.secrets();
        secrets.push(device_code.clone());
        let sent_at = self.now();
        let every = row.poll_every_ms.unwrap_or(SLOWER);
        let request = || {
            grant
                .poll_request(&device_code, sent_at, &*self.parts.entropy)
                .map_err(|error| refused(error, &ready.secrets()))
        };
        let ask =
            |request| self.ask_provider(actor, &checked, &ready, Purpose::Token, "(device poll)", request);
        let first = request()?;
        secrets.extend(secrets_in(&first));
        let mut answer = ask(first).await;
        // RFC 9449 section 8: with the server's nonce, once more.
        if answer.as_ref().is_ok_and(|answer| grant.endpoint.learn_nonce(answer)) {
            let again = request()?;
            secrets.extend(secrets_in(&again));
            answer = ask(again).await;
        }
        let answer = match answer {
            Ok(answer) => answer,
            // Section 3.5: on a time-out, less often. Nothing of the request left: the same.
            Err(failure) if failure.problem.code == Code::UpstreamTimeout || !failure.maybe_processed => {
                return match failure.problem.code {
                    Code::UpstreamUnreachable | Code::UpstreamTimeout | Code::Busy | Code::Unavailable => {
                        Ok(Polled::Again((every * 2).min(SLOWEST)))
                    }
                    _ => Err(unanswered(failure, "The provider could not be asked.")),
                };
            }
            Err(failure) => return Err(unanswered(failure, "The provider's answer was lost.")),
        };
        match grant.read_poll_answer(&answer, sent_at) {
            Ok(set) => {
                // Nobody else asks while this one is looked at, however long that takes.
                let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
                let mine = consents::claim(&mut tx, &row.id, sent_at).await.map_err(refusals::store)?;
                tx.commit().await.map_err(refusals::store)?;
                if !mine {
                    return Err(super::start::unknown());
                }
                self.finish(actor, row, &checked, &ready, set).await.map(|_| Polled::Connected)
            }
            Err(error) => match error.class {
                ErrorClass::Pending => Ok(Polled::Again(every)),
                ErrorClass::SlowDown => Ok(Polled::Again((every + SLOWER).min(SLOWEST))),
                ErrorClass::Transient => Ok(Polled::Again((every * 2).min(SLOWEST))),
                _ => Err(decided(error, &secrets)),
            },
        }
    }
}

/// `access_denied` and `expired_token` are answers of the person, or of time.
fn decided(error: OAuthError, secrets: &[latchstring_model::SecretString]) -> Box<Problem> {
    let error = error.mask(secrets);
    match error.provider_words().and_then(|words| words.error.clone()).as_deref() {
        Some("access_denied") => {
            Problem::new(Code::ConsentDenied, "The person, or an administrator, did not agree.")
                .hint("Begin it anew if that was not intended: POST /api/v1/credentials/{id}/authorize.")
                .into()
        }
        Some("expired_token") => Problem::new(Code::ConsentExpired, "The code was not entered in time.")
            .hint("Begin it anew: POST /api/v1/credentials/{id}/authorize gives another code.")
            .into(),
        _ => {
            let mut problem = Box::new(error.to_problem());
            problem.hint = Some(error.hint_of_consent().into());
            if problem.code == Code::NeedsReconnect {
                problem.code = Code::TokenEndpointError;
            }
            problem
        }
    }
}
