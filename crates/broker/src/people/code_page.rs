//! The page between the first factor and the second: it is bound to the browser that showed the first by a cookie
//! of its own, lives for a few minutes, and holds no password.

use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::HeaderMap;
use latchstring_model::id::{SignInId, UserId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, SecretString, Timestamp};
use latchstring_store::sign_ins::{self, Purpose, SignInRow, State};
use latchstring_store::{WriteTx, sessions, users};

use crate::actor::{Actor, Who};
use crate::audit::Event;
use crate::cookies::cookie;
use crate::people::entry::Door;
use crate::people::random;
use crate::people::sessions::Entered;
use crate::refusals;

/// How long a person has to type the code; in milliseconds.
pub(crate) const CODE_LIFE: i64 = 300_000;

/// Where the browser goes, and what it takes along.
pub struct CodePage {
    /// A path on this server.
    pub path: String,
    /// `Set-Cookie`.
    pub cookie: String,
}

/// The code was right.
pub struct Passed {
    /// `None`: no new session, but one that was confirmed.
    pub entered: Option<Entered>,
    pub return_to: Option<String>,
    /// `Set-Cookie` that takes the page's cookie away.
    pub no_cookie: String,
}

pub(crate) fn gone() -> Box<Problem> {
    Problem::new(
        Code::ConsentExpired,
        "This sign-in is over: it took too long, was finished already, or was begun in another browser.",
    )
    .hint("Sign in again from the beginning.")
    .into()
}

impl Door {
    /// A flow's own, so that two at the same time do not disturb each other.
    fn flow_cookie_name(&self, id: &SignInId) -> String {
        let own = id.as_str().trim_start_matches(SignInId::PREFIX);
        format!("{}latchstring_sign_in_{own}", if self.is_secure() { "__Secure-" } else { "" })
    }

    pub(crate) fn flow_cookie(&self, id: &SignInId, token: &SecretString, life: i64) -> String {
        let secure = if self.is_secure() { "; Secure" } else { "" };
        let (name, secs) = (self.flow_cookie_name(id), life.max(0) / 1000);
        // `Lax`: the provider's page leads back here.
        format!("{name}={}; Path=/sign-in; HttpOnly; SameSite=Lax; Max-Age={secs}{secure}", token.expose())
    }

    pub(crate) fn no_flow_cookie(&self, id: &SignInId) -> String {
        let secure = if self.is_secure() { "; Secure" } else { "" };
        format!("{}=; Path=/sign-in; HttpOnly; SameSite=Lax; Max-Age=0{secure}", self.flow_cookie_name(id))
    }

    /// Whether this browser began it.
    pub(crate) fn began_here(&self, row: &SignInRow, headers: &HeaderMap) -> bool {
        let brought = cookie(headers, &self.flow_cookie_name(&row.id)).unwrap_or_default();
        row.browser_hash
            .as_ref()
            .is_some_and(|kept| verify_slices_are_equal(kept, &random::hash(brought)).is_ok())
    }

    /// The password was right; the code is to come.
    pub(crate) async fn want_code(
        &self,
        tx: &mut WriteTx,
        user: &UserId,
        return_to: Option<String>,
    ) -> Refused<CodePage> {
        let broker = &self.broker;
        let now = broker.now();
        let token = random::new_token(&*broker.parts.entropy);
        let row = SignInRow {
            id: SignInId::new(now, &*broker.parts.entropy),
            purpose: Purpose::SignIn,
            state: State::CodeWanted,
            browser_hash: Some(random::hash(token.expose()).to_vec()),
            sealed: None,
            user_id: Some(user.clone()),
            session_id: None,
            return_to,
            created_at: now,
            expires_at: now.plus_millis(CODE_LIFE),
        };
        sign_ins::create(tx, &row, None).await.map_err(refusals::store)?;
        Ok(CodePage { path: code_path(&row.id), cookie: self.flow_cookie(&row.id, &token, CODE_LIFE) })
    }

    async fn code_wanted(&self, id: &str, headers: &HeaderMap) -> Refused<(SignInRow, UserId)> {
        let id: SignInId = id.parse().map_err(|_| gone())?;
        let mut reader = self.broker.parts.store.read().await.map_err(refusals::store)?;
        let row = sign_ins::by_id(&mut reader, &id).await.map_err(refusals::store)?.ok_or_else(gone)?;
        let good = row.state == State::CodeWanted
            && row.expires_at > self.broker.now()
            && self.began_here(&row, headers);
        match row.user_id.clone().filter(|_| good) {
            Some(user) => Ok((row, user)),
            None => Err(gone()),
        }
    }

    /// Whether the page should show its form.
    pub async fn look_at_code_page(
        &self,
        id: &str,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Refused<()> {
        self.limits.link(address)?;
        self.code_wanted(id, headers).await.map(|_| ())
    }

    /// The code, in the browser that showed the first factor.
    pub async fn pass_code(
        &self,
        id: &str,
        typed: &SecretString,
        headers: &HeaderMap,
        agent: &str,
        address: Option<IpAddr>,
    ) -> Refused<Passed> {
        let broker = &self.broker;
        let anonymous = Actor { who: Who::Anonymous, address };
        let (row, user) = self.code_wanted(id, headers).await?;
        let factor = broker.factor(&user).await?.ok_or_else(gone)?;
        self.count_code(&anonymous, &user).await?;
        let mut tx = broker.parts.store.begin_write(&[user.as_str()]).await.map_err(refusals::store)?;
        let found = users::by_id(&mut tx, &user).await.map_err(refusals::store)?;
        let found = found.filter(|user| user.fields.active).ok_or_else(gone)?;
        let Some(shown) = broker.show_code(&mut tx, &user, &factor, typed).await? else {
            tx.rollback().await.map_err(refusals::store)?;
            return Err(self.wrong_code(&anonymous, &user).await);
        };
        if !sign_ins::end(&mut tx, &row.id, State::CodeWanted).await.map_err(refusals::store)? {
            return Err(gone());
        }
        let now: Timestamp = broker.now();
        let (entered, actor) = match (row.purpose, &row.session_id) {
            (Purpose::Confirm, Some(session)) => {
                let alive = sessions::by_id(&mut tx, &user, session, now).await.map_err(refusals::store)?;
                alive.ok_or_else(gone)?;
                sessions::confirm(&mut tx, &user, session, true, now).await.map_err(refusals::store)?;
                let event = Event::new("session.confirm").target(session.as_str());
                broker.record(&mut tx, &anonymous, event.detail("user", user.as_str())).await?;
                (None, anonymous)
            }
            _ => {
                let (actor, token) = broker.open_session(&mut tx, &found, address, agent, true).await?;
                let entered = Entered { user: found.into(), cookie: self.cookie(&token) };
                (Some(entered), actor)
            }
        };
        broker.tell_of_recovery(&mut tx, &actor, &user, Some(shown)).await?;
        tx.commit().await.map_err(refusals::store)?;
        self.limits.code_fitted(&user);
        Ok(Passed { entered, return_to: row.return_to, no_cookie: self.no_flow_cookie(&row.id) })
    }
}

/// Where the code is asked for.
pub(crate) fn code_path(id: &SignInId) -> String {
    format!("/sign-in/code/{id}")
}
