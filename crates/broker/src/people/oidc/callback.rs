//! The browser comes back. In this order: the flow that `state` names, the session in which it was begun (where it
//! was), the browser itself by the flow's cookie, the ten minutes. What fails one of these uses nothing up. Then
//! the flow is taken by one of all who bring it; only that one looks at what the provider said (whose `iss`, where
//! it gives one, has to be the issuer's: RFC 9207), exchanges the code and verifies the ID token. From there on it
//! is a task of its own: a browser that hangs up leaves nothing half done.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, SecretString};
use latchstring_schemes::oauth2::{Callback, CallbackRefused, PkceVerifier, callback_state, read_callback};
use latchstring_store::sign_ins::{self, Purpose, SignInRow, State};
use serde_json::Value;

use super::arrive::{Arrived, Guest};
use super::begin::{elsewhere, expired, unknown};
use super::provider::trouble;
use crate::actor::Actor;
use crate::audit::Event;
use crate::people::entry::Door;
use crate::people::random;
use crate::returned::Returned;
use crate::road::authorise;
use crate::sealing::sign_in_aad;
use crate::{Broker, refusals};

/// What the provider said at the redirect URI, as a refusal.
fn said(refused: CallbackRefused) -> Box<Problem> {
    let code = match &refused {
        CallbackRefused::Provider { error, .. } if error == "access_denied" => Code::ConsentDenied,
        CallbackRefused::Provider { .. } => Code::SignInProviderError,
        _ => Code::ConsentInvalid,
    };
    let detail = match &refused {
        CallbackRefused::State => "The answer does not belong to a sign-in that was begun here.".to_owned(),
        CallbackRefused::Issuer => {
            "The answer comes from another provider than the one that was asked; nothing was sent to either."
                .into()
        }
        CallbackRefused::Doubled => "A parameter came twice, which a provider never sends.".into(),
        CallbackRefused::NoCode => "The provider's answer has neither a code nor an error.".into(),
        CallbackRefused::Provider { error, description: Some(text) } => {
            format!("The provider did not sign you in ({error}: {text}).")
        }
        CallbackRefused::Provider { error, description: None } => {
            format!("The provider did not sign you in ({error}).")
        }
    };
    Problem::new(code, detail).hint("Sign in again from the beginning.").into()
}

impl Door {
    /// The provider's answer, as a browser brings it.
    pub async fn finish_at_provider(
        &self,
        actor: &Actor,
        query: &str,
        headers: &HeaderMap,
        agent: &str,
    ) -> Returned<Arrived> {
        let (row, state) = match self.flow_of_callback(actor, query, headers).await {
            Ok(found) => found,
            Err(problem) => {
                let event = Event::new("session.refuse").detail("reason", problem.code.as_str());
                self.note_refusal(actor, event.detail("at", "provider")).await;
                return problem.into();
            }
        };
        let (return_to, no_cookie) = (row.return_to.clone(), self.no_flow_cookie(&row.id));
        let broker = Arc::clone(&self.broker);
        let (asked, query) = (row.clone(), query.to_owned());
        let task = self
            .broker
            .parts
            .control
            .spawn(async move { Box::pin(broker.guest_of(&asked, &query, &state)).await });
        let guest = match task.await {
            Ok(guest) => guest,
            Err(_) => Err(refusals::internal(&"a sign-in ended without a result")),
        };
        let address: Option<IpAddr> = actor.address;
        let result = match guest {
            Ok(guest) => Box::pin(self.arrive(actor, &row, guest, agent, address)).await,
            Err(problem) => Err(problem),
        };
        if let Err(problem) = &result {
            let mut event = Event::new("session.refuse").detail("reason", problem.code.as_str());
            if let Some(user) = &row.user_id {
                event = event.target(user.as_str());
            }
            self.note_refusal(actor, event.detail("at", "provider")).await;
        }
        // While a code is wanted the cookie is still needed.
        let no_cookie = Some(no_cookie).filter(|_| !matches!(result, Ok(Arrived::CodeWanted(_))));
        Returned { result, return_to, no_cookie }
    }

    /// Whose answer this is, taken: nobody else gets it after that.
    async fn flow_of_callback(
        &self,
        actor: &Actor,
        query: &str,
        headers: &HeaderMap,
    ) -> Refused<(SignInRow, SecretString)> {
        let broker = &self.broker;
        let state = callback_state(query).ok_or_else(unknown)?;
        let mut reader = broker.parts.store.read().await.map_err(refusals::store)?;
        let row =
            sign_ins::by_state(&mut reader, &random::hash(state.expose())).await.map_err(refusals::store)?;
        drop(reader);
        let row = row.ok_or_else(unknown)?;
        if matches!(row.purpose, Purpose::Link | Purpose::Confirm) {
            let same = actor.in_session().is_ok_and(|(person, session, _)| {
                row.user_id.as_ref() == Some(&person.id) && row.session_id.as_ref() == Some(session)
            });
            if !same {
                return Err(elsewhere(
                    "This was begun in another session than the one of this browser, or that one has ended.",
                ));
            }
        }
        if !self.began_here(&row, headers) {
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
        let taken = sign_ins::claim(&mut tx, &row.id, now).await.map_err(refusals::store)?;
        tx.commit().await.map_err(refusals::store)?;
        if taken { Ok((row, state)) } else { Err(unknown()) }
    }
}

impl Broker {
    /// Who it is, as the provider says and we believe.
    async fn guest_of(&self, row: &SignInRow, query: &str, state: &SecretString) -> Refused<Guest> {
        let oidc = self.oidc()?;
        let (grant, metadata) = self.sign_in_grant(Vec::new()).await?;
        let Callback { code, .. } =
            read_callback(query, state, Some(&oidc.issuer), metadata.issuer_in_answer).map_err(said)?;
        let (sealed, key) = row.sealed.as_ref().ok_or_else(unknown)?;
        self.ensure_data_key(key).await?;
        let kept = self.open_json(&authorise::sign_in_opens(), &sign_in_aad(&row.id), sealed)?;
        let text = |name: &str| kept.get(name).and_then(Value::as_str).map(SecretString::from);
        let (Some(verifier), Some(nonce)) = (text("verifier"), text("nonce")) else {
            return Err(refusals::internal(&"what is sealed of a sign-in is not whole"));
        };
        let verifier = PkceVerifier::restore(verifier);
        let exchanged = self.exchange_sign_in_code(&grant, &code, &verifier).await?;
        let since = (row.purpose == Purpose::Confirm).then_some(row.created_at);
        let token = self.believe(&exchanged, &nonce, since).await?;
        let second_factor = token.has_second_factor();
        let mut claims = token.claims;
        let wants_groups = !oidc.group_roles.is_empty() && !claims.contains_key(&oidc.groups_claim);
        if !claims.contains_key("email") || wants_groups {
            let further = self.further_claims(&metadata, &exchanged, &token.subject).await?;
            for (name, value) in further {
                // What was signed wins.
                claims.entry(name).or_insert(value);
            }
        }
        if claims.get("_claim_names").is_some_and(|names| names.get(&oidc.groups_claim).is_some()) {
            return Err(trouble(
                "The provider does not list this person's groups, because they are too many (it gives a link instead). Have it send only those groups that are assigned to this application.",
            ));
        }
        Ok(Guest::of(oidc, token.subject, second_factor, &claims))
    }
}
