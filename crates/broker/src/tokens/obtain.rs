//! One wish for a token, from a cold or expired slot to an opened token. The work is a task of its own: a
//! caller that hangs up cancels nothing, and everybody who waits gets the same end.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use latchstring_model::entity::Status;
use latchstring_model::problem::Refused;
use latchstring_model::{Clock, Code, OpenTicket, Problem, Timestamp};
use latchstring_schemes::refresh::{
    Answer, Command, Ended, Event, HEARTBEAT_MS, Machine, Need, WAIT_LIMIT_MS,
};
use latchstring_schemes::token::TokenSet;
use latchstring_store::tokens::{self, TokenKey};
use latchstring_store::{credentials, values};
use tokio::sync::watch;
use tokio::time::Instant;

use super::background::Rebuilt;
use super::driver::{Held, answer_of, life_of, row_of, shown};
use super::source::{AskFailure, Obtained, TokenSource, reuse};
use super::{Flight, Landing, LiveToken, TokenSlot};
use crate::actor::Actor;
use crate::road::authorise;
use crate::road::route::Route;
use crate::sealing::token_aad;
use crate::{Broker, refusals};

/// How long a caller waits for somebody's refresh before it is told that it is busy.
const WAIT: Duration = Duration::from_millis(WAIT_LIMIT_MS as u64);

fn busy() -> Box<Problem> {
    Problem::new(
        Code::Busy,
        "The credential's token is being renewed, and that takes longer than a caller should wait.",
    )
    .hint("Try again in a few seconds; if it stays so, the provider's token endpoint is slow.")
    .retry_after(5)
    .into()
}

/// What a token is asked for with: a caller's route, or what was put together without one.
pub(super) enum Behind {
    Caller(Arc<Route>),
    /// In the background: on nobody's behalf, with a living route's materials.
    Route(Arc<Route>, Box<Actor>),
    Rebuilt(Box<Rebuilt>),
}

impl Behind {
    pub(super) fn source<'a>(&'a self, current: Option<&'a TokenSet>) -> TokenSource<'a> {
        match self {
            Behind::Caller(route) | Behind::Route(route, _) => TokenSource {
                materials: &route.materials,
                pins: &route.pins,
                actor: match self {
                    Behind::Route(_, actor) => actor,
                    _ => &route.caller.actor,
                },
                project: Some(&route.caller.project.id),
                credential: &route.credential,
                environment: &route.credential_environment,
                current,
            },
            Behind::Rebuilt(rebuilt) => TokenSource {
                materials: &rebuilt.materials,
                pins: &rebuilt.pins,
                actor: &rebuilt.actor,
                project: rebuilt.project.as_ref(),
                credential: &rebuilt.credential,
                environment: &rebuilt.environment,
                current,
            },
        }
    }
}

/// What one attempt learned, beside what the machine says.
#[derive(Default)]
struct Learned {
    obtained: Option<Obtained>,
    failure: Option<AskFailure>,
}

/// The time since one attempt began. Two clocks tell it, and the longer time counts: one of them is never set back, the
/// other does not stand still while the machine sleeps.
struct Elapsed<'a> {
    clock: &'a dyn Clock,
    began: (Instant, Timestamp),
}

impl<'a> Elapsed<'a> {
    fn of(clock: &'a dyn Clock) -> Self {
        Self { clock, began: (Instant::now(), clock.now()) }
    }

    fn millis(&self) -> i64 {
        let steady = i64::try_from(self.began.0.elapsed().as_millis()).unwrap_or(i64::MAX);
        steady.max(self.clock.now().millis() - self.began.1.millis())
    }
}

impl Broker {
    /// A token for a call. `rejected`: the version that the API answered 401 to.
    pub(crate) async fn obtain_token(
        self: &Arc<Self>,
        route: &Arc<Route>,
        rejected: Option<i64>,
    ) -> Refused<Arc<LiveToken>> {
        let Some(slot) = route.token.clone() else {
            return Err(refusals::internal(&"a token was asked for that the method does not have"));
        };
        // However often it is tried, nobody waits longer than for one.
        tokio::time::timeout(WAIT, self.wait_for_token(route, &slot, rejected))
            .await
            .unwrap_or_else(|_| Err(busy()))
    }

    async fn wait_for_token(
        self: &Arc<Self>,
        route: &Arc<Route>,
        slot: &Arc<TokenSlot>,
        rejected: Option<i64>,
    ) -> Refused<Arc<LiveToken>> {
        let need = rejected.map_or(Need::Usable, |version| Need::Rejected { version });
        // A renewal ahead of need may fail while the token that is there would still do, and one that a 401 asked for may be
        // none because there was one a moment ago.
        for _ in 0..4 {
            if rejected.is_none()
                && let Some(live) = slot.fresh(self.now())
            {
                return Ok(live);
            }
            let flight = self.fly(slot, need, || Behind::Caller(Arc::clone(route)));
            let landed = wait(flight.landing).await;
            let anothers = flight.ahead || (flight.forced && rejected.is_none());
            if landed.is_ok() || !anothers {
                return landed;
            }
        }
        Err(busy())
    }

    /// The attempt that is under way, or a new one. The work is a task of its own.
    pub(super) fn fly(
        self: &Arc<Self>,
        slot: &Arc<TokenSlot>,
        need: Need,
        behind: impl FnOnce() -> Behind,
    ) -> Flight {
        let mut flight = slot.flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(under_way) = flight.as_ref() {
            return under_way.clone();
        }
        let (sender, receiver) = watch::channel(None);
        // Between the caller's look and this lock somebody may have landed.
        if need == Need::Usable
            && let Some(live) = slot.current(self.now())
        {
            // The receiver is here: it cannot be gone.
            let _ = sender.send(Some(Ok(live)));
            return Flight { landing: receiver, ahead: false, forced: false };
        }
        let begun = Flight {
            landing: receiver,
            ahead: matches!(need, Need::Ahead { .. }),
            forced: matches!(need, Need::Rejected { .. }),
        };
        *flight = Some(begun.clone());
        let (broker, slot, behind) = (Arc::clone(self), Arc::clone(slot), behind());
        self.parts.control.spawn(async move {
            let landed = broker.refresh(&behind, &slot, need).await;
            // First the slot is free again, then those who wait are told.
            *slot.flight.lock().unwrap_or_else(PoisonError::into_inner) = None;
            // Nobody may be waiting any more.
            let _ = sender.send(Some(landed));
        });
        begun
    }

    /// After a 401: another token, if there is reason to think that one helps.
    pub(crate) async fn renew_token(
        self: &Arc<Self>,
        route: &Arc<Route>,
        refused: &LiveToken,
        began: Timestamp,
    ) -> Refused<Option<Arc<LiveToken>>> {
        let Some(slot) = &route.token else { return Ok(None) };
        // Of OAuth 1.0a there is no other. Its 401 may mean anything (the clock, the signature), so that it ends no
        // grant either: a verification says how it stands.
        if !route.plan(self, Some(refused), self.now())?.prepared.renews() {
            return Ok(None);
        }
        // Somebody renewed it while this call was under way.
        if let Some(live) = slot.fresh(self.now())
            && live.version > refused.version
        {
            return Ok(Some(live));
        }
        // A token that is younger than the request cannot have expired: the 401 has another cause. One from the future
        // is not younger: the clock was set back.
        if refused.set.obtained_at > began && refused.set.obtained_at <= self.now() {
            return Ok(None);
        }
        match self.obtain_token(route, Some(refused.version)).await {
            Ok(live) if live.version > refused.version => Ok(Some(live)),
            Ok(_) => Ok(None),
            Err(problem) => {
                tracing::info!(problem = %problem, "after a 401 the token could not be renewed");
                Ok(None)
            }
        }
    }

    async fn refresh(
        self: &Arc<Self>,
        behind: &Behind,
        slot: &Arc<TokenSlot>,
        need: Need,
    ) -> Refused<Arc<LiveToken>> {
        let key = TokenKey {
            id: slot.id.clone(),
            credential_id: slot.credential.clone(),
            environment: slot.environment.clone(),
            values_version: slot.values_version,
            name: "default".into(),
        };
        let materials = behind.source(None).materials;
        let bare = materials.resolve(None, self.now(), &*self.parts.entropy)?;
        let policy = bare.policy.clone();
        let prepared =
            materials.prepare(bare.scheme).map_err(|error| crate::credentials::scheme_problem(&error))?;
        let clock = Elapsed::of(&*self.parts.clock);
        let mut machine = Machine::new(
            self.parts.server.to_string(),
            need,
            reuse(Some(&prepared), &policy),
            clock.millis(),
        );
        let mut learned = Learned::default();
        let mut command = machine.begin();
        let ended = loop {
            let event = match command {
                Command::Done(ended) => break ended,
                Command::Read => self.read_event(&key).await,
                Command::Run(step) => {
                    let error = learned
                        .failure
                        .as_ref()
                        .map(|failure| shown(&failure.problem.detail, &[]))
                        .unwrap_or_default();
                    let held = Held {
                        key: &key,
                        obtained: learned.obtained.as_ref().map(|obtained| &obtained.set),
                        error: &error,
                        rejected: matches!(need, Need::Rejected { .. }),
                    };
                    Event::Ran(self.run_step(&step, &held).await)
                }
                Command::Ask => Event::Answered(self.ask(behind, slot, &machine, &key, &mut learned).await),
                Command::Sleep { ms } => {
                    tokio::time::sleep(Duration::from_millis(u64::try_from(ms).unwrap_or(0))).await;
                    Event::Woke
                }
            };
            command = machine.on(event, clock.millis(), &*self.parts.entropy);
        };
        match ended {
            Ended::Saved { version } => match learned.obtained {
                Some(obtained) => {
                    let live = Arc::new(LiveToken::new(obtained.set, version, policy.expiry_margin_ms));
                    slot.keep(Arc::clone(&live));
                    Ok(live)
                }
                None => Err(refusals::internal(&"a token was saved that was not obtained")),
            },
            Ended::Use { .. } => self.stored(slot, policy.expiry_margin_ms).await,
            Ended::NeedsConsent => Err(self.without_consent(&key).await),
            Ended::NeedsReconnect if matches!(need, Need::Rejected { .. }) => {
                // The API does not take what is here, and nothing else will come.
                slot.forget();
                Err(refused(ended, learned.failure, self.stored_error(&key).await))
            }
            other => Err(refused(other, learned.failure, self.stored_error(&key).await)),
        }
    }

    async fn read_event(&self, key: &TokenKey) -> Event {
        for _ in 0..2 {
            match self.read_token(&key.id).await {
                Ok(Some((row, now_db))) => return Event::Row { row: row_of(&row), now_db },
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(error = %error, "a token's row could not be read");
                    return Event::NotRead;
                }
            }
            let ensured = async {
                let mut tx = self.parts.store.begin_upkeep().await?;
                tokens::ensure(&mut tx, key).await?;
                tx.commit().await
            };
            if let Err(error) = ensured.await {
                tracing::warn!(error = %error, "a token's row could not be made");
                return Event::NotRead;
            }
        }
        Event::NoRow
    }

    /// Asks the provider, and keeps the lease alive meanwhile.
    async fn ask(
        &self,
        behind: &Behind,
        slot: &TokenSlot,
        machine: &Machine,
        key: &TokenKey,
        learned: &mut Learned,
    ) -> Answer {
        let current = match self.open_stored(slot).await {
            Ok(found) => found.map(|(set, _)| set),
            Err(problem) => {
                learned.failure = Some(AskFailure {
                    class: super::source::AskClass::Failed { retry_after_ms: 0 },
                    problem,
                    exchange: None,
                });
                return Answer::Failed { retry_after_ms: 0 };
            }
        };
        let source = behind.source(current.as_ref());
        let asking = self.ask_for_token(&source);
        tokio::pin!(asking);
        let mut beat = tokio::time::interval(Duration::from_millis(HEARTBEAT_MS as u64));
        beat.tick().await;
        let answered = loop {
            tokio::select! {
                answered = asking.as_mut() => break answered,
                _ = beat.tick() => {
                    if let Some(step) = machine.heartbeat() {
                        self.run_step(&step, &Held { key, obtained: None, error: "", rejected: false }).await;
                    }
                }
            }
        };
        match answered {
            Ok(obtained) => {
                let life = life_of(&obtained.set, &obtained.policy);
                learned.obtained = Some(obtained);
                Answer::Token(life)
            }
            Err(failure) => {
                let answer = answer_of(failure.class);
                learned.failure = Some(failure);
                answer
            }
        }
    }

    /// The stored token of a slot, opened, with its version.
    pub(super) async fn open_stored(&self, slot: &TokenSlot) -> Refused<Option<(TokenSet, i64)>> {
        let Some((row, _)) = self.read_token(&slot.id).await.map_err(refusals::store)? else {
            return Ok(None);
        };
        let Some((sealed, data_key)) = &row.sealed else { return Ok(None) };
        self.ensure_data_key(data_key).await?;
        let ticket: OpenTicket = authorise::token_opens();
        let aad = token_aad(&slot.id, &slot.environment, row.version);
        let bytes = self.open(&ticket, &aad, sealed)?;
        let set = TokenSet::from_bytes(&bytes).map_err(|error| refusals::internal(&error))?;
        Ok(Some((set, row.version)))
    }

    async fn stored(&self, slot: &TokenSlot, own_margin_ms: Option<i64>) -> Refused<Arc<LiveToken>> {
        match self.open_stored(slot).await? {
            Some((set, version)) => {
                let live = Arc::new(LiveToken::new(set, version, own_margin_ms));
                slot.keep(Arc::clone(&live));
                Ok(live)
            }
            None => {
                slot.forget();
                Err(busy())
            }
        }
    }

    /// There is no grant: nobody ever gave one, or what it was given for has changed (the OAuth client's endpoints).
    async fn without_consent(&self, key: &TokenKey) -> Box<Problem> {
        let values = async {
            let mut reader = self.parts.store.read().await.ok()?;
            let credential = credentials::for_upkeep(&mut reader, &key.credential_id).await.ok()??;
            values::one(&mut reader, &credential, &key.environment).await.ok()?
        };
        match values.await.map(|values| values.standing) {
            Some(standing) if standing.status == Status::NeedsReconnect => {
                refused(Ended::NeedsReconnect, None, standing.check_error)
            }
            _ => refused(Ended::NeedsConsent, None, None),
        }
    }

    async fn stored_error(&self, key: &TokenKey) -> Option<String> {
        self.read_token(&key.id)
            .await
            .ok()
            .flatten()
            .and_then(|(row, _)| row.last_error)
            .filter(|text| !text.is_empty())
    }
}

pub(super) async fn wait(mut landing: Landing) -> Refused<Arc<LiveToken>> {
    let landed = tokio::time::timeout(WAIT, landing.wait_for(Option::is_some)).await;
    match landed {
        Ok(Ok(landed)) => landed.clone().unwrap_or_else(|| Err(busy())),
        // The task ended without a word: it panicked.
        Ok(Err(_)) => Err(refusals::internal(&"a token's refresh ended without a result")),
        Err(_) => Err(busy()),
    }
}

/// What those who wait are told.
fn refused(ended: Ended, failure: Option<AskFailure>, stored: Option<String>) -> Box<Problem> {
    if let Some(failure) = failure {
        return failure.problem;
    }
    let said = stored.map(|text| format!(" The last error was: {text}")).unwrap_or_default();
    match ended {
        Ended::NeedsReconnect => Problem::new(Code::NeedsReconnect, format!("The credential's grant is dead.{said}"))
            .hint("Its owner has to connect it once more.")
            .into(),
        Ended::NeedsConsent => Problem::new(Code::NeedsAuthorization, "Consent has not been given for this credential yet.")
            .hint("Its owner starts the consent: POST /api/v1/credentials/{id}/authorize.")
            .into(),
        Ended::BackOff { .. } | Ended::Failed { .. } => {
            Problem::new(Code::TokenEndpointError, format!("A token could not be obtained a moment ago, and it is not tried again at once.{said}"))
                .hint("Try again in half a minute. If it stays so, verify the credential: POST /api/v1/credentials/{id}/verify says what the provider answers.")
                .retry_after(30)
                .into()
        }
        Ended::StoreUnavailable => Problem::new(Code::Unavailable, "The token cannot be renewed while the database cannot be reached.")
            .hint("Try again soon.")
            .retry_after(2)
            .into(),
        Ended::Gone => Problem::new(Code::CredentialNotFound, "The credential was removed or changed meanwhile.").hint("Try again.").into(),
        Ended::JustForced | Ended::Busy | Ended::Use { .. } | Ended::Saved { .. } => busy(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    struct Set(AtomicI64);

    impl Clock for Set {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn neither_a_clock_that_is_set_back_nor_a_sleep_hides_a_pause() {
        let clock = Set(AtomicI64::new(7_200_000));
        let elapsed = Elapsed::of(&clock);
        assert_eq!(elapsed.millis(), 0);
        clock.0.store(0, Ordering::Relaxed);
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!(elapsed.millis(), 50_000);
        clock.0.store(7_290_000, Ordering::Relaxed);
        assert_eq!(elapsed.millis(), 90_000);
    }
}
