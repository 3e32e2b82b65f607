//! The messages by which a person's token is obtained (RFC 5849 section 2): what is asked, what the answers and the
//! callback say. [`super::ThreeLegged`] puts them in order.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, Method};
use latchstring_model::address::Address;
use latchstring_model::{Entropy, SecretBytes, SecretString, Timestamp};

use zeroize::Zeroizing;

use super::OAuth1;
use crate::apply::{decode_query, encode};
use crate::error::SchemeError;
use crate::keys::ParsedKeys;
use crate::wire::{Outgoing, WireAnswer, WireRequest};

/// Answers are read up to this many bytes; real ones have some hundred.
pub const ANSWER_LIMIT: usize = 64 * 1024;

/// Why there are no credentials. Never holds what the other side sent but its status and, where there is one, the
/// problem's word (`signature_invalid`): it comes from a short alphabet, so that no secret can stand in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OAuth1Error {
    #[error(transparent)]
    NotSent(#[from] SchemeError),
    #[error("The provider refused the request (HTTP {status}{}).", said(word))]
    Refused { status: u16, word: Option<String> },
    #[error("The provider had trouble (HTTP {status}). Try again in a few minutes.")]
    Trouble { status: u16 },
    #[error(
        "The provider's answer holds no `{missing}`. Check the URL: a sign-in page or another API's address is the \
         usual cause."
    )]
    NoCredentials { missing: &'static str },
    #[error(
        "The provider speaks OAuth 1.0 without the callback's confirmation, which RFC 5849 forbids because a stranger \
         could finish the consent. It cannot be used."
    )]
    NotConfirmed,
    #[error("The answer does not belong to a consent that was begun here. Start again.")]
    WrongToken,
    #[error(
        "The provider sent neither a verifier nor a token: consent was not given. Start again if it should be."
    )]
    Denied,
}

fn said(word: &Option<String>) -> String {
    word.as_ref().map(|word| format!(", {word}")).unwrap_or_default()
}

impl OAuth1Error {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            OAuth1Error::NotSent(_) => "Nothing was sent. A superuser looks at the OAuth client.",
            OAuth1Error::Refused { word, .. } => match word.as_deref() {
                Some("timestamp_refused") => {
                    "This server's clock is off, as the provider sees it. An operator sets it right; then start again."
                }
                Some("consumer_key_unknown" | "consumer_key_rejected" | "consumer_key_refused") => {
                    "The provider does not know the consumer key (any more). A superuser compares the OAuth client with its page at the provider."
                }
                Some("signature_invalid" | "signature_method_rejected") => {
                    "Usually the consumer secret is wrong, or the provider wants another signature method. A superuser compares the OAuth client with its page at the provider."
                }
                Some("token_expired" | "token_used" | "token_rejected" | "verifier_invalid") => {
                    "The sign-in took too long, or was finished elsewhere. Start it again."
                }
                _ => {
                    "Usually the consumer key or secret is wrong, the redirect URI is not the registered one, or the clock is off. A superuser compares the OAuth client with its page at the provider."
                }
            },
            OAuth1Error::Trouble { .. } => "Wait a few minutes and start again.",
            OAuth1Error::NoCredentials { .. } | OAuth1Error::NotConfirmed => {
                "A superuser looks at the endpoints of the OAuth client."
            }
            OAuth1Error::WrongToken => "Start the sign-in again.",
            OAuth1Error::Denied => "Start the sign-in again, and agree at the provider.",
        }
    }
}

/// A token with its secret.
#[derive(Clone)]
pub struct Credentials {
    pub token: SecretString,
    pub secret: SecretString,
    /// What else came: `screen_name`, `user_id`.
    pub more: Vec<(String, String)>,
}

/// Good until the person has decided.
pub type TemporaryCredentials = Credentials;

impl Credentials {
    /// As one text, to be sealed while the person is away.
    pub fn to_text(&self) -> SecretString {
        let (token, secret) = (encode(self.token.expose()), encode(self.secret.expose()));
        let (token, secret) = (Zeroizing::new(token), Zeroizing::new(secret));
        SecretString::new(format!("oauth_token={}&oauth_token_secret={}", *token, *secret))
    }

    /// Reads what [`Credentials::to_text`] wrote.
    pub fn from_text(text: &SecretString) -> Option<Self> {
        of_pairs(pairs(text.expose())).ok()
    }
}

/// One of the two requests of section 2: without a body, everything stands in the header.
pub(super) fn request(
    url: &Address,
    signer: &OAuth1,
    more: &[(&str, &str)],
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<WireRequest, OAuth1Error> {
    let mut headers = HeaderMap::new();
    let mut target = url.target();
    let mut out =
        Outgoing { method: &Method::POST, origin: &url.origin, target: &mut target, headers: &mut headers };
    // An application that people consent to has its key parsed already.
    signer.prepare(&ParsedKeys::default())?.sign_with(&mut out, Some(b""), more, now, entropy)?;
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target, None),
    };
    let address = Address { origin: url.origin.clone(), path, query };
    Ok(WireRequest { method: Method::POST, address, headers, body: SecretBytes::default() })
}

/// Section 2.1: a provider that does not confirm the callback would let a stranger finish the consent.
pub(super) fn temporary(answer: &WireAnswer) -> Result<TemporaryCredentials, OAuth1Error> {
    let mut found = credentials(answer)?;
    let at = found.more.iter().position(|(name, _)| name == "oauth_callback_confirmed");
    match at.map(|at| found.more.swap_remove(at).1) {
        Some(word) if word == "true" => Ok(found),
        _ => Err(OAuth1Error::NotConfirmed),
    }
}

/// The token of a callback, to find out whose answer it is. `None` when there is none, or more than one.
pub fn callback_token(query: &str) -> Option<SecretString> {
    let mut found = pairs(query).into_iter().filter(|(name, _)| name == "oauth_token" || name == "denied");
    let (_, token) = found.next().filter(|(_, token)| !token.is_empty())?;
    found.next().is_none().then(|| token.into())
}

/// What came to the callback: the verifier, if it is the answer to the question that was asked.
pub fn read_callback(query: &str, temporary: &TemporaryCredentials) -> Result<SecretString, OAuth1Error> {
    let pairs = pairs(query);
    let find = |wanted: &str| {
        let mut found = pairs.iter().filter(|(name, _)| name == wanted);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value.as_str()).filter(|value| !value.is_empty()),
            _ => None,
        }
    };
    if find("denied").is_some() {
        return Err(OAuth1Error::Denied);
    }
    let token = find("oauth_token").ok_or(OAuth1Error::WrongToken)?;
    verify_slices_are_equal(token.as_bytes(), temporary.token.expose().as_bytes())
        .map_err(|_| OAuth1Error::WrongToken)?;
    find("oauth_verifier").map(SecretString::from).ok_or(OAuth1Error::Denied)
}

pub(super) fn credentials(answer: &WireAnswer) -> Result<Credentials, OAuth1Error> {
    match answer.status {
        200..300 => {}
        500.. | 429 => return Err(OAuth1Error::Trouble { status: answer.status }),
        status => return Err(OAuth1Error::Refused { status, word: problem(answer) }),
    }
    match std::str::from_utf8(&answer.body) {
        Ok(text) if !answer.truncated && text.len() <= ANSWER_LIMIT => of_pairs(pairs(text.trim())),
        _ => Err(OAuth1Error::NoCredentials { missing: "oauth_token" }),
    }
}

fn of_pairs(mut more: Vec<(String, String)>) -> Result<Credentials, OAuth1Error> {
    let mut take = |wanted: &'static str| {
        let at = more.iter().position(|(name, _)| name == wanted);
        at.map(|at| more.swap_remove(at).1).ok_or(OAuth1Error::NoCredentials { missing: wanted })
    };
    let token = take("oauth_token")?;
    if token.is_empty() {
        return Err(OAuth1Error::NoCredentials { missing: "oauth_token" });
    }
    // An empty secret is one (section 2.1 asks for the parameter, not for a length).
    let secret = take("oauth_token_secret")?;
    Ok(Credentials { token: token.into(), secret: secret.into(), more })
}

/// The word by which most providers say what was wrong (the OAuth Problem Reporting extension), in the body or the
/// header; `oauthlib` calls it `error`.
fn problem(answer: &WireAnswer) -> Option<String> {
    let header = answer.headers.get(WWW_AUTHENTICATE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let header = header.unwrap_or_default().replace([',', ' '], "&").replace('"', "");
    let body = String::from_utf8_lossy(answer.body.get(..answer.body.len().min(ANSWER_LIMIT))?).into_owned();
    let wanted = |(name, _): &(String, String)| name == "oauth_problem" || name == "error";
    let (_, word) = pairs(&header).into_iter().chain(pairs(body.trim())).find(wanted)?;
    let plain = (1..=40).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    plain.then_some(word)
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let read = |part: &str| String::from_utf8_lossy(&decode_query(part)).into_owned();
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (read(name), read(value)))
        .collect()
}
