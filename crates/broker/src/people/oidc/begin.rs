//! A sign-in at the provider begins: a row with what the answer will be compared with, a cookie for this browser,
//! and the way to the provider.

use std::net::IpAddr;

use http::HeaderValue;
use latchstring_model::id::{SessionId, SignInId, UserId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem, SecretString, Timestamp};
use latchstring_schemes::oauth2::PkceVerifier;
use latchstring_store::sign_ins::{self, Purpose, SignInRow, Started, State};
use serde_json::Map;

use super::LIFE;
use crate::actor::Actor;
use crate::consent::own_path;
use crate::people::code_page::CODE_LIFE;
use crate::people::entry::Door;
use crate::people::recent::Deed;
use crate::people::{ShownOnce, random};
use crate::sealing::sign_in_aad;
use crate::{Broker, refusals};

/// Where the browser goes, and what it takes along.
pub struct Begun {
    /// `Location`: the provider's page. Holds `state`, and is marked as sensitive.
    pub location: HeaderValue,
    /// `Set-Cookie`.
    pub cookie: String,
}

/// A link of our own that leads to the provider, in the session of who asked for it.
pub struct Link {
    pub url: ShownOnce,
    pub expires_at: Timestamp,
}

pub(super) fn unknown() -> Box<Problem> {
    Problem::new(
        Code::ConsentInvalid,
        "This does not belong to a sign-in that was begun here, or it has been used already.",
    )
    .hint("Sign in again from the beginning.")
    .into()
}

pub(super) fn elsewhere(detail: &'static str) -> Box<Problem> {
    Problem::new(Code::ConsentElsewhere, detail)
        .hint("Use the browser, and the session here, with which it was begun; or begin anew.")
        .into()
}

pub(super) fn expired() -> Box<Problem> {
    Problem::new(
        Code::ConsentExpired,
        format!(
            "The sign-in was not finished within {} minutes, so its answer is not taken any more.",
            LIFE / 60_000
        ),
    )
    .hint("Sign in again from the beginning.")
    .into()
}

impl Broker {
    fn new_flow(&self, purpose: Purpose, return_to: Option<String>) -> SignInRow {
        let now = self.now();
        SignInRow {
            id: SignInId::new(now, &*self.parts.entropy),
            purpose,
            state: State::Begun,
            browser_hash: None,
            sealed: None,
            user_id: None,
            session_id: None,
            return_to,
            created_at: now,
            expires_at: now.plus_millis(LIFE),
        }
    }
}

/// What the provider is asked for besides.
fn wishes(purpose: Purpose) -> &'static [(&'static str, &'static str)] {
    match purpose {
        Purpose::SignIn => &[],
        // Whoever sits there shows who they are, and sees as whom.
        Purpose::Link | Purpose::Invite => &[("prompt", "login")],
        Purpose::Confirm => &[("prompt", "login"), ("max_age", "0")],
    }
}

impl Door {
    /// `new`: the row is yet to be written.
    async fn to_provider(&self, row: &SignInRow, new: bool) -> Refused<Begun> {
        let broker = &self.broker;
        let entropy = &*broker.parts.entropy;
        let state = random::new_token(entropy);
        let nonce = random::new_token(entropy);
        let browser = random::new_token(entropy);
        let verifier = PkceVerifier::new(entropy);
        let mut more: Vec<(String, String)> = wishes(row.purpose)
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        more.push(("nonce".to_owned(), nonce.expose().to_owned()));
        let (grant, _) = broker.sign_in_grant(more).await?;
        let mut location = HeaderValue::try_from(grant.authorize_url(&state, &verifier).expose())
            .map_err(|_| refusals::internal(&"the provider's address cannot stand in a redirect"))?;
        location.set_sensitive(true);
        let mut kept = Map::new();
        kept.insert("verifier".into(), verifier.expose().into());
        kept.insert("nonce".into(), nonce.expose().into());
        let sealed = broker.seal_json(&sign_in_aad(&row.id), &kept)?;
        let started = Started {
            state_hash: &random::hash(state.expose()),
            browser_hash: &random::hash(browser.expose()),
            sealed: &sealed.bytes,
            data_key: &sealed.data_key,
        };
        let now = broker.now();
        let mut tx = broker.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        if new {
            sign_ins::create(&mut tx, row, None).await.map_err(refusals::store)?;
        }
        let held = sign_ins::start(&mut tx, &row.id, &started, now).await.map_err(refusals::store)?;
        tx.commit().await.map_err(refusals::store)?;
        if !held {
            return Err(unknown());
        }
        let left = row.expires_at.millis() - now.millis();
        // A second factor may be asked for behind it.
        Ok(Begun { location, cookie: self.flow_cookie(&row.id, &browser, left + CODE_LIFE) })
    }

    /// Anybody may sign in. `return_to` has been looked at ([`own_path`]).
    pub async fn begin_sign_in(&self, return_to: Option<String>, address: Option<IpAddr>) -> Refused<Begun> {
        self.broker.oidc()?;
        self.limits.begin(address)?;
        let row = self.broker.new_flow(Purpose::SignIn, return_to);
        self.to_provider(&row, true).await
    }

    /// Somebody who was invited, and whose invitation was looked at.
    pub(crate) async fn begin_invited(&self, user: &UserId, address: Option<IpAddr>) -> Refused<Begun> {
        self.broker.oidc()?;
        self.limits.begin(address)?;
        let row = SignInRow { user_id: Some(user.clone()), ..self.broker.new_flow(Purpose::Invite, None) };
        self.to_provider(&row, true).await
    }

    async fn begin_in_session(
        &self,
        purpose: Purpose,
        person: &UserId,
        session: &SessionId,
        return_to: Option<&str>,
    ) -> Refused<Link> {
        let broker = &self.broker;
        broker.oidc()?;
        let return_to = match return_to {
            None => None,
            Some(given) => Some(own_path(&broker.settings.public_url, given).ok_or_else(|| {
                let detail = "is a path on this server, such as /account; nobody is sent elsewhere";
                Problem::invalid(vec![FieldError::new("/return_to", detail)])
            })?),
        };
        let row = SignInRow {
            user_id: Some(person.clone()),
            session_id: Some(session.clone()),
            ..broker.new_flow(purpose, return_to)
        };
        let token = random::new_token(&*broker.parts.entropy);
        let mut tx = broker.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        sign_ins::create(&mut tx, &row, Some(&random::hash(token.expose())))
            .await
            .map_err(refusals::store)?;
        tx.commit().await.map_err(refusals::store)?;
        let url = format!("{}/sign-in/provider/{}", broker.settings.public_url, token.expose());
        Ok(Link { url: ShownOnce(SecretString::new(url)), expires_at: row.expires_at })
    }

    /// To link one's account with one's identity at the provider.
    pub async fn begin_link(&self, actor: &Actor, return_to: Option<&str>) -> Refused<Link> {
        let (person, session, _) = actor.in_session()?;
        self.broker.recent(actor, Deed::Identity).await?;
        self.begin_in_session(Purpose::Link, &person.id, session, return_to).await
    }

    /// To show once more who one is, at the provider.
    pub async fn begin_confirm(&self, actor: &Actor, return_to: Option<&str>) -> Refused<Link> {
        let (person, session, _) = actor.in_session()?;
        self.begin_in_session(Purpose::Confirm, &person.id, session, return_to).await
    }

    /// The link is opened, in the session of who asked for it. Opened again, it begins again; what was given out
    /// before is void.
    pub async fn open_sign_in_link(&self, actor: &Actor, token: &str) -> Refused<Begun> {
        if !random::is_token(token) {
            return Err(unknown());
        }
        let (person, session, _) = actor.in_session()?;
        let mut reader = self.broker.parts.store.read().await.map_err(refusals::store)?;
        let row = sign_ins::by_start(&mut reader, &random::hash(token)).await.map_err(refusals::store)?;
        drop(reader);
        let row = row.ok_or_else(unknown)?;
        if row.user_id.as_ref() != Some(&person.id) || row.session_id.as_ref() != Some(session) {
            return Err(elsewhere("This was begun in another session; it goes on in that one only."));
        }
        if row.expires_at <= self.broker.now() {
            return Err(expired());
        }
        self.to_provider(&row, false).await
    }
}
