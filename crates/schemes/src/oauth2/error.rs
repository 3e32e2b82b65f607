//! What went wrong with a token request, whose fault it is, and what helps.
//!
//! The provider's own words are taken from its error fields only, and are not shown before
//! [`OAuthError::mask`] has removed what was sent in the request.

use std::fmt;

use latchstring_model::{Code, Problem, SecretString};
use serde::{Deserialize, Serialize};

use crate::echo;

/// Whose fault, and whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The grant is over: only its owner can give a new one.
    DeadGrant,
    /// The provider does not accept our client: its id, its proof, or what it may do.
    WrongClient,
    /// The provider's trouble; the same request may work later.
    Transient,
    /// Asked, and no usable answer: it may have been done or not.
    Ambiguous,
    /// Refused for another reason that trying again does not cure.
    Rejected,
    /// An answer, but not one of a token endpoint.
    NotAToken,
    /// Device code (RFC 8628 §3.5): the person has not decided yet.
    Pending,
    /// Device code: as `pending`, and ask five seconds less often.
    SlowDown,
    /// Nothing was sent: the request could not be put together from these values.
    NotSent,
    /// Consent has not been given yet, so there is nothing to ask with.
    NeedsConsent,
}

/// The provider's own words.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Words {
    pub error: Option<String>,
    pub description: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct OAuthError {
    pub class: ErrorClass,
    pub status: Option<u16>,
    /// Seconds that the provider asked us to wait.
    pub retry_after_secs: Option<u32>,
    /// Our own sentence about what happened, where the class alone does not say it.
    what: Option<String>,
    /// Whole until they are shown: of a secret that was cut nothing would be found.
    words: Words,
    masked: bool,
    /// Of a grant that was refused and that no person can give anew.
    proof: Option<Proof>,
}

/// What stands behind a grant that needs no person: what is looked at when it is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    Client,
    Assertion,
    Password,
    SubjectToken,
}

/// Words are shown up to this many characters.
const WORDS_LIMIT: usize = 500;

impl OAuthError {
    pub(super) fn new(class: ErrorClass) -> Self {
        Self {
            class,
            status: None,
            retry_after_secs: None,
            what: None,
            words: Words::default(),
            masked: false,
            proof: None,
        }
    }

    /// The request could not be put together; the text says why and holds no value.
    pub(super) fn not_sendable(what: impl Into<String>) -> Self {
        Self { what: Some(what.into()), ..Self::new(ErrorClass::NotSent) }
    }

    /// The request left and no whole answer came: a time-out, a broken connection.
    pub fn no_answer() -> Self {
        Self::new(ErrorClass::Ambiguous)
    }

    /// The token endpoint was not reached, and nothing of the request left: safe to try again.
    pub fn unreachable() -> Self {
        let mut error = Self::new(ErrorClass::Transient);
        error.what = Some("the token endpoint could not be reached".into());
        error
    }

    pub(super) fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    pub(super) fn what(mut self, what: impl Into<String>) -> Self {
        self.what = Some(what.into());
        self
    }

    pub(super) fn retry_after(mut self, secs: Option<u32>) -> Self {
        self.retry_after_secs = secs;
        self
    }

    pub(super) fn words(mut self, error: Option<String>, description: Option<String>) -> Self {
        self.words = Words { error, description };
        self
    }

    /// A grant that nobody consented to does not die: with other values, or at another time, it is accepted.
    pub(super) fn without_consent(mut self, proof: Proof) -> Self {
        if self.class == ErrorClass::DeadGrant {
            self.class = ErrorClass::Rejected;
            self.proof = Some(proof);
        }
        self
    }

    /// Takes everything that was sent ([`super::secrets_in`]), or is otherwise secret, out of the provider's words.
    /// Without this call they are never shown.
    #[must_use]
    pub fn mask(mut self, secrets: &[SecretString]) -> Self {
        for text in [&mut self.words.error, &mut self.words.description].into_iter().flatten() {
            *text = mask_text(text, secrets);
        }
        self.masked = true;
        self
    }

    /// The provider's words, once masked.
    pub fn provider_words(&self) -> Option<Words> {
        let shown = |text: &Option<String>| text.as_deref().and_then(clean);
        let words = Words { error: shown(&self.words.error), description: shown(&self.words.description) };
        (self.masked && words != Words::default()).then_some(words)
    }

    fn error_word(&self) -> &str {
        self.words.error.as_deref().unwrap_or_default().trim()
    }

    /// Whether the same request may be tried again after a while.
    pub fn is_transient(&self) -> bool {
        matches!(self.class, ErrorClass::Transient | ErrorClass::Ambiguous | ErrorClass::NotAToken)
    }

    /// What happened and why that usually is.
    pub fn explanation(&self) -> String {
        let status = self.status.map(|s| format!(" (HTTP {s})")).unwrap_or_default();
        if let Some(proof) = self.proof {
            return format!(
                "The token endpoint does not accept {}{status}. {}",
                proof.name(),
                proof.usually()
            );
        }
        let what = match (&self.what, self.class) {
            (Some(what), _) => return sentence(&format!("{what}{status}")),
            (None, ErrorClass::DeadGrant) => "The provider no longer accepts this grant",
            (None, ErrorClass::WrongClient) => "The provider does not accept the client",
            (None, ErrorClass::Transient) => "The token endpoint could not answer right now",
            (None, ErrorClass::Ambiguous) => "The token request was sent, but no whole answer came back",
            (None, ErrorClass::Rejected) => "The token endpoint refused the request",
            (None, ErrorClass::NotAToken) => "The token endpoint answered something that is not a token",
            (None, ErrorClass::Pending | ErrorClass::SlowDown) => "The person has not confirmed yet",
            (None, ErrorClass::NotSent) => "The token request could not be put together; nothing was sent",
            (None, ErrorClass::NeedsConsent) => "Nobody has given consent yet",
        };
        match usually(self.error_word(), self.class) {
            "" => sentence(&format!("{what}{status}")),
            why => format!("{} {why}", sentence(&format!("{what}{status}"))),
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        if let Some(proof) = self.proof {
            return proof.hint();
        }
        match (self.class, self.error_word()) {
            (ErrorClass::DeadGrant, _) => "Reconnect: the owner signs in at the provider once more.",
            (ErrorClass::WrongClient, "unauthorized_client") => {
                "In the provider's settings of this client, allow this grant type (and, for JWT bearer, pre-authorise the user)."
            }
            (ErrorClass::WrongClient, _) => {
                "Compare client id and secret with the provider's settings, look whether the secret has expired, and try \
                 the other client_auth (basic or post)."
            }
            (ErrorClass::Transient, _) => {
                "Nothing to do: it is tried again by itself. See the provider's status page if it lasts."
            }
            (ErrorClass::Ambiguous, _) => {
                "Nothing to do yet: it is tried again where that is safe. If the provider hands out single-use refresh \
                 tokens, reconnecting may be needed."
            }
            (ErrorClass::Rejected, "invalid_scope") => {
                "Ask only for scopes that the client is registered for, spelt as the provider spells them."
            }
            (ErrorClass::Rejected, "redirect_uri_mismatch") => {
                "Register the client's redirect_uri with the provider exactly as shown here."
            }
            (ErrorClass::Rejected, "unsupported_grant_type") => {
                "Choose another auth method: this token endpoint does not know this grant type."
            }
            (ErrorClass::Rejected, _) => {
                "Compare the credential's fields with what the provider's documentation asks for."
            }
            (ErrorClass::NotAToken, _) => {
                "Check the token URL: a sign-in page, a proxy or the API's own address is the usual cause. If the answer is \
                 right but written in another way, the connector's token_answer rules can say how."
            }
            (ErrorClass::Pending | ErrorClass::SlowDown, _) => {
                "Open the verification address and enter the code."
            }
            (ErrorClass::NotSent, _) => "Correct the field that the message names and try again.",
            (ErrorClass::NeedsConsent, _) => "Start the consent (authorize) for this credential.",
        }
    }

    /// What to do next where a person has just consented: nothing is tried again by itself then, and it is the OAuth
    /// client that may be wrong, not a field of the credential.
    pub fn hint_of_consent(&self) -> &'static str {
        match (self.class, self.error_word()) {
            (ErrorClass::Transient | ErrorClass::Ambiguous, _) => {
                "Wait a few minutes and start the sign-in again. A code is good once, so it is not sent again."
            }
            (ErrorClass::NotAToken, _) => {
                "A superuser looks at the client's token endpoint: a sign-in page or the API's own address is the usual \
                 cause. Then start the sign-in again."
            }
            (ErrorClass::Rejected, "invalid_scope" | "redirect_uri_mismatch" | "unsupported_grant_type") => {
                self.hint()
            }
            (ErrorClass::Rejected, _) => {
                "A superuser compares the OAuth client (endpoints, client id, client_auth, PKCE, parameters) with its \
                 registration at the provider; then start the sign-in again."
            }
            _ => self.hint(),
        }
    }

    /// As the API shows it. Call [`OAuthError::mask`] first, or the provider's words are left out.
    pub fn to_problem(&self) -> Problem {
        let code = match self.class {
            ErrorClass::DeadGrant => Code::NeedsReconnect,
            ErrorClass::NeedsConsent => Code::NeedsAuthorization,
            _ => Code::TokenEndpointError,
        };
        let mut problem = Problem::new(code, self.to_string()).hint(self.hint());
        if let Some(secs) = self.retry_after_secs {
            problem = problem.retry_after(secs);
        }
        problem
    }
}

impl Proof {
    fn name(self) -> &'static str {
        match self {
            Proof::Client => "this client for this grant",
            Proof::Assertion => "the assertion",
            Proof::Password => "the name and password",
            Proof::SubjectToken => "the token that was to be exchanged",
        }
    }

    fn usually(self) -> &'static str {
        match self {
            Proof::Client => {
                "Usually the client may not use this API, or no account stands behind it; some providers say so of a \
                 wrong client id or secret."
            }
            Proof::Assertion => {
                "Usually the provider holds another public key, the audience or the subject is another than it wants, the \
                 subject has not approved the application, or a clock is wrong."
            }
            Proof::Password => {
                "Usually one of them is wrong, the password has expired, the account is locked, or it wants a second factor."
            }
            Proof::SubjectToken => {
                "Usually it has ended, or is from an issuer or for an audience that the provider does not trust."
            }
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Proof::Client => {
                "In the provider's settings of this client, allow this grant and this API (its audience and scopes), and \
                 compare client id and secret."
            }
            Proof::Assertion => {
                "Compare client id, subject, audience and key with the provider's settings, approve the application for \
                 the subject there, and look at this server's clock."
            }
            Proof::Password => {
                "Try to sign in at the provider with this name and password. An account with a second factor needs another \
                 auth method."
            }
            Proof::SubjectToken => {
                "Put in a token that still lives, and compare its issuer and type with what the provider accepts."
            }
        }
    }
}

/// Why a provider usually says that.
fn usually(word: &str, class: ErrorClass) -> &'static str {
    match (word, class) {
        ("invalid_grant", ErrorClass::DeadGrant) => {
            "The code or refresh token was revoked, has expired, was already used, or is for another client."
        }
        ("access_denied", _) => "The person or an administrator said no.",
        ("expired_token", _) => "The code was not confirmed in time.",
        ("interaction_required" | "login_required" | "consent_required", _) => {
            "The provider wants the person to sign in again, often after a change of password or policy."
        }
        ("invalid_client", _) => {
            "Usually a wrong client id or secret, an expired secret, or the wrong way of sending them."
        }
        ("unauthorized_client", _) => "Usually this grant type is not switched on for the client.",
        ("invalid_scope", _) => "A scope is unknown, misspelt or not allowed for this client.",
        ("unsupported_grant_type", _) => "This token endpoint does not offer this grant type.",
        ("invalid_request", _) => "A parameter is missing, doubled or malformed.",
        (_, ErrorClass::DeadGrant) => "It was revoked, has expired, or has been used up.",
        _ => "",
    }
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}

/// Control characters and excess length do not belong into messages and logs.
fn clean(text: &str) -> Option<String> {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_LIMIT).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.explanation())?;
        if let Some(words) = self.provider_words() {
            match (&words.error, &words.description) {
                (Some(error), Some(text)) => write!(f, " The provider says: {error}: {text}")?,
                (Some(text), None) | (None, Some(text)) => write!(f, " The provider says: {text}")?,
                (None, None) => {}
            }
        }
        Ok(())
    }
}

/// The unmasked words stay out of logs.
impl fmt::Debug for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthError")
            .field("class", &self.class)
            .field("status", &self.status)
            .field("retry_after_secs", &self.retry_after_secs)
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for OAuthError {}

/// Secrets shorter than this are not searched for: they would blank out ordinary words.
const SHORTEST_MASKED: usize = 4;

/// The text with every secret, also in base64, base64url, hex, URL- and JSON-escaped form, starred
/// out. Best effort against an echo, never the boundary.
pub fn mask_text(text: &str, secrets: &[SecretString]) -> String {
    let secrets = secrets.iter().map(SecretString::expose).filter(|secret| secret.len() >= SHORTEST_MASKED);
    let mut forms: Vec<String> = secrets.flat_map(echo::forms).collect();
    // In a URL within a URL.
    let twice: Vec<String> =
        forms.iter().filter(|form| form.contains('%')).map(|form| form.replace('%', "%25")).collect();
    forms.extend(twice);
    // Longest first, so that a form within another does not leave the rest of the longer one readable.
    forms.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
    forms.dedup();
    let mut masked = text.to_owned();
    for form in forms.iter().filter(|form| text.contains(form.as_str())) {
        masked = masked.replace(form.as_str(), &"*".repeat(form.chars().count()));
    }
    zeroize::Zeroize::zeroize(&mut forms);
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_shown_masked_or_not_at_all() {
        let error = OAuthError::new(ErrorClass::DeadGrant).status(400).words(
            Some("invalid_grant".into()),
            Some("token s3cr3t/+x or czNjcjN0Lyt4 or s3cr3t%2F%2Bx\u{7} is bad".into()),
        );
        assert!(!error.to_string().contains("s3cr3t"));
        assert!(error.provider_words().is_none());
        assert!(!format!("{error:?}").contains("s3cr3t"));
        let shown = error.mask(&["s3cr3t/+x".into(), "in".into()]).to_string();
        assert!(
            shown.contains("invalid_grant: token ********* or ************ or *************  is bad"),
            "{shown}"
        );
        assert!(shown.contains("(HTTP 400)"), "{shown}");
    }

    #[test]
    fn a_secret_within_a_secret_leaves_nothing() {
        assert_eq!(mask_text("x abcdefgh y", &["cdef".into(), "abcdefgh".into()]), "x ******** y");
    }

    #[test]
    fn an_echo_is_masked_however_it_is_spelled() {
        let secrets: [SecretString; 1] = ["AbC/dEf+gH==".into()];
        for spelled in [
            "AbC/dEf+gH==",
            "AbC%2FdEf%2BgH%3D%3D",
            "AbC%2fdEf%2bgH%3d%3d",
            "AbC%252FdEf%252BgH%253D%253D",
            "AbC%252fdEf%252bgH%253d%253d",
            "AbC/dEf\\u002BgH==",
            "AbC\\/dEf+gH==",
            "4162432f6445662b67483d3d",
            "QWJDL2RFZitnSD09",
        ] {
            let stars = "*".repeat(spelled.len());
            assert_eq!(mask_text(&format!("no {spelled}."), &secrets), format!("no {stars}."), "{spelled}");
        }
    }

    #[test]
    fn words_are_masked_before_they_are_cut() {
        let secret = "0123456789abcdefghijABCDEFGHIJ9876543210";
        let words = format!("{}{secret}", "x".repeat(WORDS_LIMIT - 20));
        let error = OAuthError::new(ErrorClass::Rejected).words(Some(" no\n".into()), Some(words));
        let shown = error.mask(&[secret.into()]).provider_words().unwrap_or_default();
        assert_eq!(shown.error.as_deref(), Some("no"));
        assert_eq!(shown.description, Some(format!("{}{}", "x".repeat(WORDS_LIMIT - 20), "*".repeat(20))));
    }

    #[test]
    fn a_grant_without_a_person_is_not_reconnected() {
        for proof in [Proof::Client, Proof::Assertion, Proof::Password, Proof::SubjectToken] {
            let dead = OAuthError::new(ErrorClass::DeadGrant).status(400);
            let problem = dead.words(Some("access_denied".into()), None).without_consent(proof).to_problem();
            assert_eq!(problem.code, Code::TokenEndpointError);
            let hint = problem.hint.unwrap_or_default();
            let said = format!("{} {hint}", problem.detail);
            assert!(said.contains("(HTTP 400)") && said.ends_with('.'), "{said}");
            for wrong in ["Reconnect", "no longer", "said no", "refresh"] {
                assert!(!said.contains(wrong), "{said}");
            }
        }
        let other = OAuthError::new(ErrorClass::WrongClient).without_consent(Proof::Client);
        assert_eq!(other.class, ErrorClass::WrongClient);
    }

    #[test]
    fn every_class_explains_itself() {
        for class in [
            ErrorClass::DeadGrant,
            ErrorClass::WrongClient,
            ErrorClass::Transient,
            ErrorClass::Ambiguous,
            ErrorClass::Rejected,
            ErrorClass::NotAToken,
            ErrorClass::Pending,
            ErrorClass::SlowDown,
            ErrorClass::NotSent,
            ErrorClass::NeedsConsent,
        ] {
            let problem = OAuthError::new(class).to_problem();
            assert!(problem.detail.ends_with('.') && problem.hint.is_some_and(|hint| hint.ends_with('.')));
        }
    }
}
