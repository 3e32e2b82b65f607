//! What went wrong with a token request, whose fault it is, and what helps.
//!
//! The provider's own words are taken from its error fields only, and are not shown before
//! [`OAuthError::mask`] has removed what was sent in the request.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use latchstring_model::{Code, Problem, SecretString};
use serde::{Deserialize, Serialize};

use super::request::form_encode;

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
    words: Words,
    masked: bool,
}

/// Words are kept up to this many characters.
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
        self.words = Words { error: error.and_then(clean), description: description.and_then(clean) };
        self
    }

    /// Takes everything that was sent, or is otherwise secret, out of the provider's words. Without
    /// this call they are never shown.
    #[must_use]
    pub fn mask(mut self, secrets: &[SecretString]) -> Self {
        for text in [&mut self.words.error, &mut self.words.description].into_iter().flatten() {
            *text = mask_text(text, secrets);
        }
        self.masked = true;
        self
    }

    /// The provider's words, once masked.
    pub fn provider_words(&self) -> Option<&Words> {
        (self.masked && self.words != Words::default()).then_some(&self.words)
    }

    fn error_word(&self) -> &str {
        self.words.error.as_deref().unwrap_or_default()
    }

    /// Whether the same request may be tried again after a while.
    pub fn is_transient(&self) -> bool {
        matches!(self.class, ErrorClass::Transient | ErrorClass::Ambiguous | ErrorClass::NotAToken)
    }

    /// What happened and why that usually is.
    pub fn explanation(&self) -> String {
        let status = self.status.map(|s| format!(" (HTTP {s})")).unwrap_or_default();
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

/// Why a provider usually says that.
fn usually(word: &str, class: ErrorClass) -> &'static str {
    match (word, class) {
        ("invalid_grant", ErrorClass::DeadGrant) => {
            "The refresh token or assertion was revoked, has expired, was already used, or is for another client; \
             with JWT bearer the user may not be pre-authorised, or the audience or clock may be off."
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
fn clean(text: String) -> Option<String> {
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
    let mut forms = Vec::new();
    for secret in secrets {
        let raw = secret.expose();
        if raw.len() < SHORTEST_MASKED {
            continue;
        }
        let mut hex = String::with_capacity(raw.len() * 2);
        let mut percent = String::with_capacity(raw.len() * 3);
        for byte in raw.bytes() {
            hex.push_str(&format!("{byte:02x}"));
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                percent.push(char::from(byte));
            } else {
                percent.push_str(&format!("%{byte:02X}"));
            }
        }
        let json = serde_json::Value::from(raw).to_string();
        forms.extend([
            raw.to_owned(),
            STANDARD.encode(raw),
            STANDARD_NO_PAD.encode(raw),
            URL_SAFE.encode(raw),
            URL_SAFE_NO_PAD.encode(raw),
            hex.to_uppercase(),
            hex,
            percent.replace('%', "%25"),
            percent.to_lowercase(),
            percent,
            form_encode(raw),
            json[1..json.len() - 1].to_owned(),
        ]);
    }
    // Longest first, so that a form within another does not leave the rest of the longer one readable.
    forms.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
    forms.dedup();
    let mut masked = text.to_owned();
    for form in forms.iter().filter(|form| masked_contains(text, form)) {
        masked = masked.replace(form.as_str(), &"*".repeat(form.chars().count()));
    }
    zeroize::Zeroize::zeroize(&mut forms);
    masked
}

fn masked_contains(text: &str, form: &str) -> bool {
    !form.is_empty() && text.contains(form)
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
