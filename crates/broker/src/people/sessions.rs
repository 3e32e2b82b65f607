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

use crate::actor::{Actor, Person, Via, Who};
use crate::audit::Event;
use crate::people::code_page::CodePage;
use crate::people::entry::Door;
use crate::people::identities::{password_sign_in_off, takes_password};
use crate::people::instance::PasswordSignIn;
use crate::people::limits::Limits;
use crate::people::{User, random, second_factor};
use crate::permissions::Operation;
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
const LONGEST_AGENT: usize = 200;

pub struct SignIn {
    pub email: String,
    pub password: SecretString,
    /// The code of a second factor, or a recovery code.
    pub totp: Option<SecretString>,
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
    /// Whether a second factor was shown in it.
    pub second_factor: bool,
}

impl Broker {
    /// Writes a session; the token is for the cookie.
    pub(crate) async fn open_session(
        &self,
        tx: &mut WriteTx,
        user: &UserRow,
        address: Option<IpAddr>,
        agent: &str,
        second_factor: bool,
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
            second_factor,
        };
        store_sessions::create(tx, &row, &random::hash(token.expose())).await.map_err(refusals::store)?;
        let via = Via::Session { id: row.id.clone(), confirmed_at: now };
        let person = Person { second_factor, ..Person::of(user) };
        let actor = Actor { who: Who::Person { person, via }, address };
        let event = Event::new("session.create").target(row.id.as_str());
        self.record(tx, &actor, event.detail("second_factor", second_factor)).await?;
        Ok((actor, token))
    }

    /// Ends the session that asks; with a key there is none.
    pub async fn sign_out(&self, actor: &Actor) -> Refused<()> {
        let (person, session, _) = actor.in_session_for(Operation::SessionsEnd)?;
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        if store_sessions::end(&mut tx, &person.id, session).await.map_err(refusals::store)? {
            self.record(&mut tx, actor, Event::new("session.delete").target(session.as_str())).await?;
        }
        tx.commit().await.map_err(refusals::store)?;
        Ok(())
    }

    /// One's own living sessions, newest first, at most 200.
    pub async fn sessions(&self, actor: &Actor) -> Refused<Vec<Session>> {
        let (person, current, _) = actor.in_session_for(Operation::SessionsLook)?;
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
                second_factor: row.second_factor,
            })
            .collect())
    }

    pub async fn end_session(&self, actor: &Actor, id: &str) -> Refused<()> {
        let (person, _, _) = actor.in_session_for(Operation::SessionsEnd)?;
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
        let (person, current, _) = actor.in_session_for(Operation::SessionsEnd)?;
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        let ended =
            store_sessions::end_all(&mut tx, &person.id, Some(current)).await.map_err(refusals::store)?;
        self.record(&mut tx, actor, Event::new("session.delete").target("others").detail("ended", ended))
            .await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(ended)
    }
}

/// Somebody whose password is right.
pub(crate) struct FirstFactor {
    pub user: UserRow,
    /// The hash that it fitted.
    hash: String,
    account: String,
}

/// How a sign-in on a page goes on.
pub enum SignedIn {
    Entered(Entered),
    /// The code is asked for on a page of its own, which this browser alone gets further with.
    CodeWanted(CodePage),
}

impl Door {
    /// E-mail address and password. An unknown account, one that is not active, one without a password and a
    /// wrong password look the same and take the same work.
    async fn first_factor(
        &self,
        email: &str,
        password: SecretString,
        anonymous: &Actor,
    ) -> Refused<FirstFactor> {
        let broker = &self.broker;
        let address = anonymous.address;
        let account = fold(email);
        Limits::check_account(&account)?;
        passwords::check_length(&password, "/password")?;
        let settings = broker.instance().await?;
        if settings.password_sign_in == PasswordSignIn::Nobody {
            return Err(password_sign_in_off());
        }
        if let Err(problem) = self.limits.password(address, &account) {
            self.note_refusal(anonymous, Event::new("session.refuse").detail("reason", "too_many_requests"))
                .await;
            return Err(problem);
        }
        let mut reader = broker.parts.store.read().await.map_err(refusals::store)?;
        let user = users::by_email(&mut reader, email).await.map_err(refusals::store)?;
        let user = user.filter(|user| user.fields.active);
        let stored = match &user {
            Some(user) => users::password_hash(&mut reader, &user.id).await.map_err(refusals::store)?,
            None => None,
        };
        drop(reader);
        let fits = passwords::fits(password, stored.clone()).await?;
        // What was typed as an address is not recorded: now and then it is a password.
        let (Some(user), Some(hash), true) = (user, stored, fits) else {
            return Err(self.turned_away(anonymous, &account).await);
        };
        self.limits.fitted(address, &account);
        // Only whoever knows the password learns that it is not taken.
        if !takes_password(&settings, user.fields.superuser) {
            let event = Event::new("session.refuse").target(user.id.as_str());
            self.note_refusal(anonymous, event.detail("reason", "password_sign_in_off")).await;
            return Err(password_sign_in_off());
        }
        Ok(FirstFactor { user, hash, account })
    }

    /// The person behind a first factor, under the lock: between the look and the lock the password may have been
    /// changed, or the person deactivated.
    async fn still(&self, tx: &mut WriteTx, first: &FirstFactor) -> Refused<Option<UserRow>> {
        let again = users::by_id(tx, &first.user.id).await.map_err(refusals::store)?;
        let hash = users::password_hash(tx, &first.user.id).await.map_err(refusals::store)?;
        Ok(again.filter(|user| user.fields.active && hash.as_ref() == Some(&first.hash)))
    }

    /// In one request: password, and the code where a second factor is set up.
    pub async fn sign_in(&self, ask: SignIn, address: Option<IpAddr>) -> Refused<Entered> {
        let broker = &self.broker;
        let anonymous = Actor { who: Who::Anonymous, address };
        let first = self.first_factor(&ask.email, ask.password, &anonymous).await?;
        let factor = broker.factor(&first.user.id).await?;
        if factor.is_some() {
            if ask.totp.is_none() {
                return Err(second_factor::needed());
            }
            self.count_code(&anonymous, &first.user.id).await?;
        }
        let mut tx =
            broker.parts.store.begin_write(&[first.user.id.as_str()]).await.map_err(refusals::store)?;
        let Some(user) = self.still(&mut tx, &first).await? else {
            tx.rollback().await.map_err(refusals::store)?;
            return Err(self.turned_away(&anonymous, &first.account).await);
        };
        let shown = match (&factor, &ask.totp) {
            (Some(factor), Some(typed)) => broker.show_code(&mut tx, &user.id, factor, typed).await?,
            _ => None,
        };
        if shown.is_none() && (factor.is_some() || user.second_factor) {
            tx.rollback().await.map_err(refusals::store)?;
            // One that was set up a moment ago was not asked for yet.
            return match factor {
                Some(_) => Err(self.wrong_code(&anonymous, &user.id).await),
                None => Err(second_factor::needed()),
            };
        }
        let (actor, token) =
            broker.open_session(&mut tx, &user, address, &ask.agent, shown.is_some()).await?;
        broker.tell_of_recovery(&mut tx, &actor, &user.id, shown).await?;
        tx.commit().await.map_err(refusals::store)?;
        if shown.is_some() {
            self.limits.code_fitted(&user.id);
        }
        Ok(Entered { user: user.into(), cookie: self.cookie(&token) })
    }

    /// On a page: the code is asked for on the next one, so that no page has to hold a password.
    pub async fn sign_in_on_page(
        &self,
        ask: SignIn,
        return_to: Option<String>,
        address: Option<IpAddr>,
    ) -> Refused<SignedIn> {
        let broker = &self.broker;
        let anonymous = Actor { who: Who::Anonymous, address };
        let first = self.first_factor(&ask.email, ask.password, &anonymous).await?;
        let mut tx =
            broker.parts.store.begin_write(&[first.user.id.as_str()]).await.map_err(refusals::store)?;
        let Some(user) = self.still(&mut tx, &first).await? else {
            tx.rollback().await.map_err(refusals::store)?;
            return Err(self.turned_away(&anonymous, &first.account).await);
        };
        if user.second_factor {
            let page = self.want_code(&mut tx, &user.id, return_to).await?;
            tx.commit().await.map_err(refusals::store)?;
            return Ok(SignedIn::CodeWanted(page));
        }
        let (_, token) = broker.open_session(&mut tx, &user, address, &ask.agent, false).await?;
        tx.commit().await.map_err(refusals::store)?;
        Ok(SignedIn::Entered(Entered { user: user.into(), cookie: self.cookie(&token) }))
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
