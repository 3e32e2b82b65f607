//! OAuth 1.0a (RFC 5849 section 2) within the same flow: temporary credentials are asked for when the link is opened,
//! and exchanged with the verifier when the browser comes back. Their token stands for `state`: the provider chose it,
//! so the flow's cookie is what binds the browser, and the verifier, which only that page gives out, what binds the
//! consent. What is asked for is asked once.

use latchstring_journal::Purpose;
use latchstring_model::id::OAuthClientId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, SecretString};
use latchstring_schemes::oauth1::{
    Credentials, OAuth1Error, TemporaryCredentials, ThreeLegged, read_callback,
};
use latchstring_schemes::token::TokenSet;
use latchstring_schemes::wire::WireAnswer;
use latchstring_store::StoreError;
use latchstring_store::consents::ConsentRow;

use super::begin::unanswered;
use super::callback::explained;
use super::ground::Ready;
use crate::actor::Actor;
use crate::credentials::check::Checked;
use crate::{Broker, refusals};

/// By which the answer is told apart: two providers may give out the same token.
pub(super) fn known_by(client: &OAuthClientId, token: &SecretString) -> SecretString {
    SecretString::new(format!("oauth1 {client} {}", token.expose()))
}

/// Temporary credentials that another flow of the same client has already: that answer could not be told apart.
pub(super) fn given_before(error: StoreError) -> Box<Problem> {
    match error {
        StoreError::Taken(_) => Problem::new(
            Code::TokenEndpointError,
            "The provider gave temporary credentials that it had given before, so its answer could not be told apart.",
        )
        .hint("Start the sign-in again. If it stays so, a superuser looks at the client's request token endpoint.")
        .into(),
        other => refusals::store(other),
    }
}

fn problem(error: &OAuth1Error, what: &str) -> Box<Problem> {
    let code = match error {
        OAuth1Error::NotSent(source) => return crate::credentials::scheme_problem(source),
        OAuth1Error::Denied => Code::ConsentDenied,
        OAuth1Error::WrongToken => Code::ConsentInvalid,
        _ => Code::TokenEndpointError,
    };
    let what = if code == Code::TokenEndpointError { format!("{what} ") } else { String::new() };
    Problem::new(code, format!("{what}{error}")).hint(error.hint()).into()
}

/// As the connector explains it, where it was the provider's doing.
fn told(error: &OAuth1Error, what: &str, checked: &Checked, answer: &WireAnswer) -> Box<Problem> {
    let problem = problem(error, what);
    match problem.code {
        Code::TokenEndpointError => explained(problem, checked, &String::from_utf8_lossy(&answer.body)),
        _ => problem,
    }
}

impl Broker {
    /// Section 2.1.
    pub(super) async fn ask_for_temporary(
        &self,
        actor: &Actor,
        checked: &Checked,
        ready: &Ready,
        scheme: &ThreeLegged,
    ) -> Refused<TemporaryCredentials> {
        const WHAT: &str = "The provider gave no temporary credentials, with which a sign-in begins.";
        let request = scheme
            .temporary_request(self.now(), &*self.parts.entropy)
            .map_err(|error| problem(&error, WHAT))?;
        let answer = self
            .ask_provider(actor, checked, ready, Purpose::Token, "(temporary credentials)", request)
            .await
            .map_err(|failure| unanswered(failure, WHAT))?;
        scheme.read_temporary(&answer).map_err(|error| told(&error, WHAT, checked, &answer))
    }

    /// Sections 2.2 and 2.3: what came back, exchanged for the token.
    pub(super) async fn exchange_verifier(
        &self,
        actor: &Actor,
        row: &ConsentRow,
        (checked, ready): (&Checked, &Ready),
        scheme: &ThreeLegged,
        query: &str,
    ) -> Refused<TokenSet> {
        const WHAT: &str = "The provider did not exchange the consent for a token.";
        let temporary = Credentials::from_text(&self.open_consent(row).await?)
            .ok_or_else(|| refusals::internal(&"what is sealed of a consent is no temporary credentials"))?;
        let verifier = read_callback(query, &temporary).map_err(|error| problem(&error, WHAT))?;
        let sent_at = self.now();
        let request = scheme
            .token_request(&temporary, &verifier, sent_at, &*self.parts.entropy)
            .map_err(|error| problem(&error, WHAT))?;
        let answer = self
            .ask_provider(actor, checked, ready, Purpose::Token, "(token credentials)", request)
            .await
            .map_err(|failure| unanswered(failure, WHAT))?;
        scheme.read_token(&answer, sent_at).map_err(|error| told(&error, WHAT, checked, &answer))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn two_clients_never_share_an_answer() {
        let id = |text: &str| text.parse::<OAuthClientId>().unwrap();
        let one = id("oac_01k9x0000000000000000000zz");
        let two = id("oac_01k9x0000000000000000000zy");
        assert_ne!(known_by(&one, &"t".into()).expose(), known_by(&two, &"t".into()).expose());
        assert_ne!(known_by(&one, &"t".into()).expose(), known_by(&one, &"u".into()).expose());
    }

    #[test]
    fn what_went_wrong_is_told_with_the_next_step() {
        let told = |error: OAuth1Error| {
            let told = problem(&error, "Nothing came.");
            (told.code, told.detail.into_owned(), told.hint.unwrap().into_owned())
        };
        let (code, detail, hint) =
            told(OAuth1Error::Refused { status: 401, word: Some("timestamp_refused".into()) });
        assert_eq!(code, Code::TokenEndpointError);
        assert!(
            detail.starts_with("Nothing came. The provider refused") && detail.contains("timestamp_refused"),
            "{detail}"
        );
        assert!(hint.contains("clock"), "{hint}");
        let (code, detail, _) = told(OAuth1Error::Denied);
        assert_eq!(code, Code::ConsentDenied);
        assert!(!detail.contains("Nothing came"), "{detail}");
    }
}
