//! The browser comes back. In this order: the flow that `state` (or the temporary token) names, the client whose redirect
//! URI this is, the person in whose session the browser is (or the connect session, if it is still open), the browser
//! itself by the flow's cookie, the ten minutes. What fails one of these uses nothing up. Then the flow is taken by one of
//! all who bring it, and only that one looks at what the provider said and exchanges the code. From there on it is a task
//! of its own: a browser that hangs up does not lose a token that the provider has given out.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::HeaderMap;
use latchstring_journal::Purpose;
use latchstring_model::entity::Outcome;
use latchstring_model::id::{ConnectSessionId, UserId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, OpenTicket, Problem, SecretString, Timestamp};
use latchstring_schemes::oauth1::callback_token;
use latchstring_schemes::oauth2::{
    Callback, CallbackRefused, Grant, PkceVerifier, callback_state, read_callback, secrets_in,
};
use latchstring_store::consents::{self, By, ConsentRow, State};

use super::begin::{refused, unanswered};
use super::finish::Connected;
use super::ground::Way;
use super::oauth1;
use super::start::{cookie_name, elsewhere, expired, unknown};
use crate::actor::Actor;
use crate::audit::Event;
use crate::cookies::cookie;
use crate::credentials::check::Checked;
use crate::people::entry::Door;
use crate::people::random;
use crate::returned::Returned;
use crate::road::authorise;
use crate::sealing::consent_aad;
use crate::{Broker, refusals};

/// What the provider said at the redirect URI, as a refusal.
fn said(refused: CallbackRefused) -> Box<Problem> {
    let code = match &refused {
        CallbackRefused::Provider { error, .. } if error == "access_denied" => Code::ConsentDenied,
        CallbackRefused::Provider { .. } => Code::TokenEndpointError,
        _ => Code::ConsentInvalid,
    };
    let hint = match &refused {
        CallbackRefused::Provider { error, .. } => match error.as_str() {
            "access_denied" => {
                "Start the sign-in again, and agree at the provider. If an administrator has to agree first, ask for that."
            }
            "invalid_scope" => {
                "Ask for other scopes, or have the client's scopes corrected by a superuser; then start again."
            }
            "unauthorized_client" | "invalid_client" => {
                "A superuser compares the OAuth client with its registration at the provider."
            }
            "temporarily_unavailable" | "server_error" => "Wait a few minutes and start again.",
            _ => "Start the sign-in again. If it stays so, a superuser looks at the OAuth client.",
        },
        _ => "Start the sign-in again.",
    };
    let text = refused.to_string();
    let mut letters = text.chars();
    let first: String = letters.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    Problem::new(code, format!("{first}{}.", letters.as_str().trim_end_matches('.'))).hint(hint).into()
}

/// The connector may know what the provider's words mean for its user: which setting, and where.
pub(super) fn explained(mut problem: Box<Problem>, checked: &Checked, words: &str) -> Box<Problem> {
    if let Some(explained) = checked.definition.explain_words(Some(&checked.method), words) {
        let again = match explained.to_lowercase().contains("connect again") {
            true => "",
            false => " Then start the sign-in again.",
        };
        problem.hint = Some(format!("{explained}{again}").into());
    }
    problem
}

/// The person who is signed in here, if it is the one who began.
fn begun_here(actor: &Actor, user: &UserId) -> Refused<Actor> {
    let (person, _, _) = actor.in_session().map_err(|_| {
        elsewhere(
            "The sign-in was begun by somebody who is not signed in to Latchstring in this browser any more.",
        )
    })?;
    if person.id != *user {
        return Err(elsewhere(
            "The sign-in was begun by somebody else than the person who is signed in to Latchstring in this browser.",
        ));
    }
    Ok(actor.clone())
}

/// How a consent came back.
pub struct CameBack {
    pub returned: Returned<Connected>,
    /// It was an end user's: that session's page goes on.
    pub connect_session: Option<ConnectSessionId>,
}

impl Door {
    /// The provider's answer, as a browser brings it to the redirect URI of `client`.
    pub async fn finish_consent(
        &self,
        actor: &Actor,
        client: &str,
        query: &str,
        headers: &HeaderMap,
    ) -> CameBack {
        let (row, state, actor) = match self.consent_of_callback(actor, client, query, headers).await {
            Ok(found) => found,
            Err(problem) => {
                let event = Event::new("credential.authorize").detail("code", problem.code.as_str());
                self.note_refusal(actor, event).await;
                return CameBack { returned: problem.into(), connect_session: None };
            }
        };
        let connect_session = match &row.by {
            By::User(_) => None,
            By::ConnectSession(session) => Some(session.clone()),
        };
        let broker = Arc::clone(&self.broker);
        let (return_to, name) = (row.return_to.clone(), cookie_name(&row.id, self.is_secure()));
        let secure = if self.is_secure() { "; Secure" } else { "" };
        let no_cookie =
            format!("{name}=; Path=/oauth/callback/{client}; HttpOnly; SameSite=Lax; Max-Age=0{secure}");
        let query = query.to_owned();
        let task = self.broker.parts.control.spawn(async move {
            let result = broker.exchange_code(&actor, &row, &query, &state).await;
            if let Err(problem) = &result {
                broker.end_consent(&actor, &row, problem).await;
            }
            result
        });
        let result = match task.await {
            Ok(result) => result,
            Err(_) => Err(refusals::internal(&"a consent ended without a result")),
        };
        let returned = Returned { result, return_to, no_cookie: Some(no_cookie) };
        CameBack { returned, connect_session }
    }

    /// Whose answer this is, taken: nobody else gets it after that; and as whom it is looked at.
    async fn consent_of_callback(
        &self,
        actor: &Actor,
        client: &str,
        query: &str,
        headers: &HeaderMap,
    ) -> Refused<(ConsentRow, SecretString, Actor)> {
        let broker = &self.broker;
        let state = match callback_state(query) {
            Some(state) => state,
            // OAuth 1.0a has no `state`: the temporary credentials say whose answer it is.
            None => {
                let token = callback_token(query).ok_or_else(unknown)?;
                oauth1::known_by(&client.parse().map_err(|_| unknown())?, &token)
            }
        };
        let mut reader = broker.parts.store.read().await.map_err(refusals::store)?;
        let row =
            consents::by_state(&mut reader, &random::hash(state.expose())).await.map_err(refusals::store)?;
        drop(reader);
        let row = row.ok_or_else(unknown)?;
        // Another provider's answer at this client's address: a mix-up, or somebody who tries.
        if row.oauth_client_id.as_ref().is_none_or(|id| id.as_str() != client) {
            return Err(unknown());
        }
        let actor = match &row.by {
            By::User(user) => begun_here(actor, user)?,
            By::ConnectSession(session) => self.end_user_of(session, actor.address).await?,
        };
        let brought = cookie(headers, &cookie_name(&row.id, self.is_secure())).unwrap_or_default();
        let same = row
            .browser_hash
            .as_ref()
            .is_some_and(|kept| verify_slices_are_equal(kept, &random::hash(brought)).is_ok());
        if !same {
            return Err(elsewhere(
                "The sign-in was begun in another browser, or this one has not kept the cookie for it.",
            ));
        }
        if row.state != State::AtProvider {
            return Err(unknown());
        }
        let now = broker.now();
        if row.expires_at <= now {
            return Err(expired());
        }
        let mut tx = broker.parts.store.begin_upkeep().await.map_err(refusals::store)?;
        let taken = consents::claim(&mut tx, &row.id, now).await.map_err(refusals::store)?;
        tx.commit().await.map_err(refusals::store)?;
        if taken { Ok((row, state, actor)) } else { Err(unknown()) }
    }
}

impl Broker {
    async fn exchange_code(
        self: &Arc<Self>,
        actor: &Actor,
        row: &ConsentRow,
        query: &str,
        state: &SecretString,
    ) -> Refused<Connected> {
        let checked = self.ground_of(actor, row).await?;
        let ready = self.consent_ready(actor, &checked)?;
        let grant = match &ready.way {
            Way::OAuth1(scheme) => {
                let set = self.exchange_verifier(actor, row, (&checked, &ready), scheme, query).await?;
                return self.finish(actor, row, &checked, &ready, set).await;
            }
            Way::OAuth2(grant) => match &**grant {
                Grant::AuthorizationCode(grant) => grant,
                _ => return Err(unknown()),
            },
        };
        let issuer = ready.consent.issuer.as_deref();
        let Callback { code, params } = read_callback(query, state, issuer, ready.consent.issuer_required)
            .map_err(|refused| {
                let words = match &refused {
                    CallbackRefused::Provider { error, description } => {
                        format!("{error} {}", description.as_deref().unwrap_or_default())
                    }
                    _ => String::new(),
                };
                explained(said(refused), &checked, &words)
            })?;
        let verifier = PkceVerifier::restore(self.open_consent(row).await?);
        let sent_at: Timestamp = self.now();
        let mut secrets = ready.secrets();
        secrets.extend([code.clone(), verifier.expose().into()]);
        let request = || {
            grant
                .code_request(&code, &verifier, sent_at, &*self.parts.entropy)
                .map_err(|error| refused(error, &ready.secrets()))
        };
        let ask =
            |request| self.ask_provider(actor, &checked, &ready, Purpose::Token, "(code exchange)", request);
        let first = request()?;
        secrets.extend(secrets_in(&first));
        let mut answer = ask(first).await;
        // RFC 9449 section 8: a server that wants its nonce first has not looked at the code.
        if answer.as_ref().is_ok_and(|answer| grant.endpoint.learn_nonce(answer)) {
            let again = request()?;
            secrets.extend(secrets_in(&again));
            answer = ask(again).await;
        }
        let answer = answer
            .map_err(|failure| {
                let mut problem = unanswered(failure, "The provider's token endpoint did not take the code.");
                if problem.code == Code::TokenEndpointError {
                    problem.hint = Some("A code is good once, so it is not sent again. Start the sign-in again; if it stays so, a superuser looks at the client's token endpoint.".into());
                }
                problem
            })?;
        let mut set = grant.read_code_answer(&answer, sent_at).map_err(|error| {
            let next = error.hint_of_consent();
            let mut problem = refused(error, &secrets);
            problem.hint = Some(next.into());
            let mut problem = explained(problem, &checked, &String::from_utf8_lossy(&answer.body));
            // A code that was refused is no grant that has died.
            if problem.code == Code::NeedsReconnect {
                problem.code = Code::TokenEndpointError;
                problem.hint = Some("The provider did not accept the code. Start the sign-in again; if it stays so, the client's redirect URI, secret or PKCE setting may differ from the provider's.".into());
            }
            problem
        })?;
        for (name, parameter) in &ready.consent.callback_metadata {
            if let Some((_, value)) = params.iter().find(|(known, _)| known == parameter) {
                set.metadata.insert(name.clone(), value.as_str().into());
            }
        }
        self.finish(actor, row, &checked, &ready, set).await
    }

    /// What is sealed of a consent.
    pub(super) async fn open_consent(&self, row: &ConsentRow) -> Refused<SecretString> {
        let Some((sealed, key)) = &row.sealed else { return Err(unknown()) };
        self.ensure_data_key(key).await?;
        let ticket: OpenTicket = authorise::token_opens();
        let bytes = self.open(&ticket, &consent_aad(&row.id, row.sealed_version), sealed)?;
        std::str::from_utf8(bytes.expose())
            .map(SecretString::from)
            .map_err(|_| refusals::internal(&"what is sealed of a consent is not text"))
    }

    /// Writes how a consent failed, for whoever asks for it later and into the audit trail.
    pub(super) async fn end_consent(&self, actor: &Actor, row: &ConsentRow, problem: &Problem) {
        let ending = consents::Ending {
            outcome: problem.code.as_str().to_owned(),
            detail: Some(problem.detail.to_string()),
            hint: problem.hint.as_ref().map(ToString::to_string),
            at: self.now(),
        };
        let outcome = match problem.code {
            Code::ConsentDenied | Code::Forbidden | Code::ConsentInvalid => Outcome::Refused,
            _ => Outcome::Failed,
        };
        let event = Event::new("credential.authorize")
            .credential(&row.credential_id)
            .environment(row.environment.as_str())
            .outcome(outcome)
            .detail("code", problem.code.as_str());
        let written: Refused<()> = async {
            let mut tx = self.parts.store.begin_upkeep().await.map_err(refusals::store)?;
            if consents::end(&mut tx, &row.id, false, &ending).await.map_err(refusals::store)? {
                self.record(&mut tx, actor, event).await?;
            }
            tx.commit().await.map_err(refusals::store)?;
            Ok(())
        }
        .await;
        if let Err(problem) = written {
            tracing::warn!(problem = %problem, "the end of a consent could not be recorded");
        }
    }
}
