//! How a person's token is obtained (RFC 5849 section 2): temporary credentials, the person's consent in the
//! browser, and the exchange of both for the token. An OAuth 1.0a token does not expire by itself.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::{HeaderMap, Method};
use latchstring_model::address::Address;
use latchstring_model::{Entropy, SecretBytes, SecretString, Timestamp};

use super::OAuth1;
use crate::apply::{append_query, decode_query, encode};
use crate::error::SchemeError;
use crate::wire::{Outgoing, WireAnswer, WireRequest};

/// Answers are read up to this many bytes; real ones have some hundred.
pub const ANSWER_LIMIT: usize = 64 * 1024;

/// Why there are no credentials. Never holds what the other side sent but its status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OAuth1Error {
    #[error(transparent)]
    NotSent(#[from] SchemeError),
    #[error(
        "The provider refused the request (HTTP {status}). Usually the consumer key or secret is wrong, the callback \
         is not the registered one, or the clock is off. Compare them with the application's page at the provider."
    )]
    Refused { status: u16 },
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
    #[error("The answer does not belong to a consent that was begun here. Start again from the credential.")]
    WrongToken,
    #[error(
        "The provider sent neither a verifier nor a token: consent was not given. Start again if it should be."
    )]
    Denied,
}

/// Section 2.1.
pub struct TemporaryCredentialsRequest<'a> {
    pub url: &'a Address,
    /// Without a token.
    pub client: &'a OAuth1,
    /// Where the person comes back to, or `oob` to be told a code.
    pub callback: &'a str,
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

/// Section 2.3.
pub struct TokenRequest<'a> {
    pub url: &'a Address,
    pub client: &'a OAuth1,
    pub temporary: &'a TemporaryCredentials,
    pub verifier: &'a SecretString,
}

fn request(
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
    signer.prepare()?.sign_with(&mut out, Some(b""), more, now, entropy)?;
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target, None),
    };
    let address = Address { origin: url.origin.clone(), path, query };
    Ok(WireRequest { method: Method::POST, address, headers, body: SecretBytes::default() })
}

impl TemporaryCredentialsRequest<'_> {
    pub fn request(&self, now: Timestamp, entropy: &dyn Entropy) -> Result<WireRequest, OAuth1Error> {
        request(self.url, self.client, &[("oauth_callback", self.callback)], now, entropy)
    }

    pub fn read(&self, answer: &WireAnswer) -> Result<TemporaryCredentials, OAuth1Error> {
        let mut found = credentials(answer)?;
        let at = found.more.iter().position(|(name, _)| name == "oauth_callback_confirmed");
        match at.map(|at| found.more.swap_remove(at).1) {
            Some(word) if word == "true" => Ok(found),
            _ => Err(OAuth1Error::NotConfirmed),
        }
    }
}

impl TokenRequest<'_> {
    pub fn request(&self, now: Timestamp, entropy: &dyn Entropy) -> Result<WireRequest, OAuth1Error> {
        let signer = OAuth1 {
            token: Some(self.temporary.token.clone()),
            token_secret: self.temporary.secret.clone(),
            ..self.client.clone()
        };
        request(self.url, &signer, &[("oauth_verifier", self.verifier.expose())], now, entropy)
    }

    pub fn read(&self, answer: &WireAnswer) -> Result<Credentials, OAuth1Error> {
        credentials(answer)
    }
}

/// Section 2.2: where to send the person.
pub fn authorize_url(authorize: &Address, temporary: &TemporaryCredentials) -> SecretString {
    let mut url = authorize.to_string();
    append_query(&mut url, &format!("oauth_token={}", encode(temporary.token.expose())));
    SecretString::new(url)
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

fn credentials(answer: &WireAnswer) -> Result<Credentials, OAuth1Error> {
    match answer.status {
        200..300 => {}
        500.. | 429 => return Err(OAuth1Error::Trouble { status: answer.status }),
        status => return Err(OAuth1Error::Refused { status }),
    }
    let text = match std::str::from_utf8(&answer.body) {
        Ok(text) if !answer.truncated && text.len() <= ANSWER_LIMIT => text.trim(),
        _ => return Err(OAuth1Error::NoCredentials { missing: "oauth_token" }),
    };
    let mut more = pairs(text);
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

fn pairs(text: &str) -> Vec<(String, String)> {
    let read = |part: &str| String::from_utf8_lossy(&decode_query(part)).into_owned();
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (read(name), read(value)))
        .collect()
}
