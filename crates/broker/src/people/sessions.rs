//! Browser sessions: sign in, sign out, see and end them.
//!
//! A session lives for 12 hours after it was last used, and for 30 days at most. Its use is written down every
//! five minutes, so an idle life can be up to that much shorter.

use std::net::IpAddr;

use latchstring_model::entity::Outcome;
use latchstring_model::id::SessionId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, SecretString, Timestamp};
use latchstring_store::sessions::{self as store_sessions, SessionRow};
use latchstring_store::users::UserRow;
use latchstring_store::{WriteTx, fold, users};

use crate::actor::{Actor, Via, Who};
use crate::audit::Event;
use crate::people::entry::{Door, person};
use crate::people::limits::Limits;
use crate::people::{User, random};
use crate::{Broker, passwords, refusals};

const HOUR: i64 = 3_600_000;
/// Milliseconds after its last use.
pub const IDLE_LIFE: i64 = 12 * HOUR;
/// Milliseconds after it began.
pub const WHOLE_LIFE: i64 = 30 * 24 * HOUR;
/// How often its use is written down, in milliseconds.
pub const NOTED_EVERY: i64 = 300_000;
/// `Max-Age` of the cookie in seconds.
pub const COOKIE_LIFE: i64 = WHOLE_LIFE / 1000;
/// How long a sign-in counts as recent, in milliseconds.
pub const RECENT: i64 = 900_000;
const LONGEST_AGENT: usize = 200;

pub struct SignIn {
    pub email: String,
    pub password: SecretString,
    /// The browser's `User-Agent`, to recognise a session by.
    pub agent: String,
}

/// Somebody came in: who, and the `Set-Cookie` value for the browser.
pub struct Entered {
    pub user: User,
    pub cookie: String,
}

pub struct Session {
    pub id: SessionId,
    pub created_at: Timestamp,
    pub seen_at: Timestamp,
    pub expires_at: Timestamp,
    pub address: String,
    pub agent: String,
    /// Whether it is the one that asks.
    pub current: bool,
}

impl Broker {
    /// Writes a session; the token is for the cookie.
    pub(crate) async fn open_session(
        &self,
        tx: &mut WriteTx,
        user: &UserRow,
        address: Option<IpAddr>,
        agent: &str,
    ) -> Refused<(Actor, SecretString)> {
        let now = self.now();
        let token = random::new_token(self.parts.entropy.as_ref());
        let row = SessionRow {
            id: SessionId::new(now, self.parts.entropy.as_ref()),
            user_id: user.id.clone(),
            created_at: now,
            seen_at: now,
            expires_at: now.plus_millis(IDLE_LIFE),
            confirmed_at: now,
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            agent: agent.chars().filter(|c| !c.is_control()).take(LONGEST_AGENT).collect(),
        };
        store_sessions::create(tx, &row, &random::hash(token.expose())).await.map_err(refusals::store)?;
        let via = Via::Session { id: row.id.clone(), confirmed_at: now };
        let actor = Actor { who: Who::Person { person: person(user), via }, address };
        self.record(tx, &actor, Event::new("session.create").target(row.id.as_str())).await?;
        Ok((actor, token))
    }

    /// Ends the session that asks; with a key there is none.
    pub async fn sign_out(&self, actor: &Actor) -> Refused<()> {
        let (person, session, _) = actor.in_session()?;
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        if store_sessions::end(&mut tx, &person.id, session).await.map_err(refusals::store)? {
            self.record(&mut tx, actor, Event::new("session.delete").target(session.as_str())).await?;
        }
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }

    /// One's own living sessions, newest first, at most 200.
    pub async fn sessions(&self, actor: &Actor) -> Refused<Vec<Session>> {
        let (person, current, _) = actor.in_session()?;
        let mut reader = self.parts.store.read().await.map_err(refusals::store)?;
        let rows =
            store_sessions::list(&mut reader, &person.id, self.now()).await.map_err(refusals::store)?;
        Ok(rows
            .into_iter()
            .map(|row| Session {
                current: &row.id == current,
                id: row.id,
                created_at: row.created_at,
                seen_at: row.seen_at,
                expires_at: row.expires_at,
                address: row.address,
                agent: row.agent,
            })
            .collect())
    }

    pub async fn end_session(&self, actor: &Actor, id: &str) -> Refused<()> {
        let (person, _, _) = actor.in_session()?;
        let unknown = || refusals::not_found("You have no such session.");
        let id: SessionId = id.parse().map_err(|_| unknown())?;
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        if !store_sessions::end(&mut tx, &person.id, &id).await.map_err(refusals::store)? {
            return Err(unknown());
        }
        self.record(&mut tx, actor, Event::new("session.delete").target(id.as_str())).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }

    /// All but the one that asks; how many.
    pub async fn end_other_sessions(&self, actor: &Actor) -> Refused<u64> {
        let (person, current, _) = actor.in_session()?;
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        let ended =
            store_sessions::end_all(&mut tx, &person.id, Some(current)).await.map_err(refusals::store)?;
        self.record(&mut tx, actor, Event::new("session.delete").target("others").detail("ended", ended))
            .await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(ended)
    }
}

impl Broker {
    /// What wants a sign-in of the last fifteen minutes, where somebody comes with a session: a transfer, a purge,
    /// another owner. A key has none.
    pub(crate) fn signed_in_lately(&self, actor: &Actor) -> Refused<()> {
        match &actor.who {
            Who::Person { via: Via::Session { confirmed_at, .. }, .. } => recent(*confirmed_at, self.now()),
            _ => Ok(()),
        }
    }
}

/// What wants a sign-in of the last fifteen minutes.
pub(crate) fn recent(confirmed_at: Timestamp, now: Timestamp) -> Refused<()> {
    if now.millis() - confirmed_at.millis() <= RECENT {
        return Ok(());
    }
    Err(Problem::new(Code::Forbidden, "This wants a sign-in of the last fifteen minutes; yours is older.")
        .hint("Sign in again and repeat it.")
        .into())
}

impl Door {
    /// E-mail address and password. An unknown account, one that is not active, one without a password and a
    /// wrong password look the same and take the same work.
    pub async fn sign_in(&self, ask: SignIn, address: Option<IpAddr>) -> Refused<Entered> {
        let broker = &self.broker;
        let anonymous = Actor { who: Who::Anonymous, address };
        let account = fold(&ask.email);
        Limits::check_account(&account)?;
        passwords::check_length(&ask.password, "/password")?;
        if let Err(problem) = self.limits.password(address, &account) {
            self.note_refusal(&anonymous, Event::new("session.refuse").detail("reason", "too_many_requests"))
                .await;
            return Err(problem);
        }
        let mut reader = broker.parts.store.read().await.map_err(refusals::store)?;
        let user = users::by_email(&mut reader, &ask.email).await.map_err(refusals::store)?;
        let user = user.filter(|user| user.fields.active);
        let stored = match &user {
            Some(user) => users::password_hash(&mut reader, &user.id).await.map_err(refusals::store)?,
            None => None,
        };
        drop(reader);
        let fits = passwords::fits(ask.password, stored.clone()).await?;
        // What was typed as an address is not recorded: now and then it is a password.
        let Some(user) = user.filter(|_| fits) else {
            return Err(self.turned_away(&anonymous, &account).await);
        };
        let mut tx = broker.parts.store.begin_write(&[user.id.as_str()]).await.map_err(refusals::store)?;
        // Between the look and the lock the password may have been changed, or the person deactivated.
        let again =
            users::by_id(&mut tx, &user.id).await.map_err(refusals::store)?.filter(|user| user.fields.active);
        let hash = users::password_hash(&mut tx, &user.id).await.map_err(refusals::store)?;
        let Some(user) = again.filter(|_| hash == stored) else {
            tx.rollback().await.map_err(refusals::store)?;
            return Err(self.turned_away(&anonymous, &account).await);
        };
        let (_, token) = broker.open_session(&mut tx, &user, address, &ask.agent).await?;
        tx.commit().await.map_err(refusals::store)?;
        self.limits.fitted(address, &account);
        Ok(Entered { user: user.into(), cookie: self.cookie(&token) })
    }

    async fn turned_away(&self, anonymous: &Actor, account: &str) -> Box<Problem> {
        let mut event =
            Event::new("session.refuse").outcome(Outcome::Refused).detail("reason", "wrong_password");
        if let Ok(mut reader) = self.broker.parts.store.read().await
            && let Ok(Some(user)) = users::by_email(&mut reader, account).await
        {
            event = event.target(user.id.as_str());
        }
        self.note_refusal(anonymous, event).await;
        Problem::new(
            Code::Unauthenticated,
            "E-mail address and password do not fit together, or the account is not active.",
        )
        .hint("Check both; a superuser of this server can send you a new invitation.")
        .into()
    }
}
