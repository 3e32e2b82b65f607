//! The link is opened: in a session of the person who asked, the browser gets the flow's cookie and goes to the
//! provider with a new `state` and PKCE challenge, or with temporary credentials (OAuth 1.0a). Opened again, it does so
//! again; what was given out before is void.

use http::HeaderValue;
use latchstring_model::id::ConsentId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, SecretString};
use latchstring_schemes::oauth2::{AuthorizationCode, Grant, PkceVerifier};
use latchstring_store::consents::{self, By, ConsentRow, State};

use super::ground::Way;
use super::{LIFE, oauth1};
use crate::actor::Actor;
use crate::people::entry::Door;
use crate::people::random;
use crate::sealing::consent_aad;
use crate::{Broker, refusals};

/// Where the browser goes, and what it takes along.
pub struct Started {
    /// `Location`: the provider's page. Holds `state`, and is marked as sensitive.
    pub location: HeaderValue,
    /// `Set-Cookie`.
    pub cookie: String,
}

pub(super) fn unknown() -> Box<Problem> {
    Problem::new(
        Code::ConsentInvalid,
        "This does not belong to a sign-in that was begun here, or it has been used already.",
    )
    .hint("Start the sign-in again.")
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
    .hint("Start it again; nothing has changed.")
    .into()
}

pub(super) fn elsewhere(detail: &'static str) -> Box<Problem> {
    Problem::new(Code::ConsentElsewhere, detail)
        .hint("Use the browser, and the account here, with which the sign-in was begun; or begin it anew.")
        .into()
}

/// A flow's own, so that two at the same time do not disturb each other.
pub(super) fn cookie_name(id: &ConsentId, secure: bool) -> String {
    let own = id.as_str().trim_start_matches(ConsentId::PREFIX);
    format!("{}latchstring_consent_{own}", if secure { "__Secure-" } else { "" })
}

impl Door {
    /// Opens the link that `authorize` gave out.
    pub async fn start_consent(&self, actor: &Actor, token: &str) -> Refused<Started> {
        let broker = &self.broker;
        if !random::is_token(token) {
            return Err(unknown());
        }
        let (person, _, _) = actor.in_session()?;
        let mut reader = broker.parts.store.read().await.map_err(refusals::store)?;
        let row = consents::by_start(&mut reader, &random::hash(token)).await.map_err(refusals::store)?;
        drop(reader);
        let row = row.ok_or_else(unknown)?;
        if row.by != By::User(person.id.clone()) {
            return Err(elsewhere(
                "Somebody else asked for this sign-in; it works in that person's session only.",
            ));
        }
        broker.send_to_provider(actor, &row, self.is_secure()).await
    }
}

/// How a browser leaves for the provider.
struct Leaving {
    page: SecretString,
    /// By which the answer is told apart from others.
    known_by: SecretString,
    /// What the exchange needs.
    kept: SecretString,
}

impl Broker {
    fn leaving(&self, grant: &AuthorizationCode) -> Leaving {
        let state = random::new_token(&*self.parts.entropy);
        let verifier = PkceVerifier::new(&*self.parts.entropy);
        let page = grant.authorize_url(&state, &verifier);
        Leaving { page, known_by: state.expose().into(), kept: verifier.expose().into() }
    }

    pub(super) async fn send_to_provider(
        &self,
        actor: &Actor,
        row: &ConsentRow,
        secure: bool,
    ) -> Refused<Started> {
        if !matches!(row.state, State::Begun | State::AtProvider) {
            return Err(unknown());
        }
        if row.expires_at <= self.now() {
            return Err(expired());
        }
        let checked = self.ground_of(actor, row).await?;
        let mut ready = self.consent_ready(actor, &checked)?;
        ready.ask_for(&row.scopes);
        let Some(client) = &row.oauth_client_id else { return Err(unknown()) };
        let browser = random::new_token(&*self.parts.entropy);
        let Leaving { page, known_by, kept } = match &ready.way {
            Way::OAuth2(grant) => match &**grant {
                Grant::AuthorizationCode(grant) => self.leaving(grant),
                _ => return Err(unknown()),
            },
            Way::OAuth1(scheme) => {
                let asked = self.ask_for_temporary(actor, &checked, &ready, scheme).await;
                match asked {
                    Ok(temporary) => Leaving {
                        page: scheme.authorize_url(&temporary),
                        known_by: oauth1::known_by(client, &temporary.token),
                        kept: temporary.to_text(),
                    },
                    Err(problem) => {
                        self.end_consent(actor, row, &problem).await;
                        return Err(problem);
                    }
                }
            }
        };
        let mut location = HeaderValue::try_from(page.expose())
            .map_err(|_| refusals::internal(&"the provider's address cannot stand in a redirect"))?;
        location.set_sensitive(true);
        let aad = consent_aad(&row.id, row.sealed_version + 1);
        let sealed = self.seal(&aad, kept.expose().as_bytes())?;
        let started = consents::Started {
            state_hash: &random::hash(known_by.expose()),
            browser_hash: &random::hash(browser.expose()),
            sealed: &sealed.bytes,
            data_key: &sealed.data_key,
        };
        let now = self.now();
        let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        let held = consents::start(&mut tx, row, &started, now).await.map_err(oauth1::given_before)?;
        tx.commit().await.map_err(refusals::store)?;
        if !held {
            return Err(unknown());
        }
        let left = (row.expires_at.millis() - now.millis()).max(0) / 1000;
        let cookie = format!(
            "{}={}; Path=/oauth/callback/{client}; HttpOnly; SameSite=Lax; Max-Age={left}{}",
            cookie_name(&row.id, secure),
            browser.expose(),
            if secure { "; Secure" } else { "" }
        );
        Ok(Started { location, cookie })
    }
}
