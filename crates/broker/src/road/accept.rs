//! Step 1, accept: what a caller says about itself, read from the request without looking anything up.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, header};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, SecretString};

use crate::keychains::choose::Data;

/// Every key of ours begins so; what does not is somebody else's and is not looked up.
pub const KEY_PREFIX: &str = "lst_";

const KEY: HeaderName = HeaderName::from_static("latchstring-key");
const PROJECT: HeaderName = HeaderName::from_static("latchstring-project");
const ENVIRONMENT: HeaderName = HeaderName::from_static("latchstring-environment");
const USER: HeaderName = HeaderName::from_static("latchstring-user");
const EXTERNAL_ID: HeaderName = HeaderName::from_static("latchstring-external-id");

/// What decides which route a call takes, borrowed from the request.
pub struct Ask<'a> {
    pub key: SecretString,
    pub project: Option<&'a str>,
    pub environment: Option<&'a str>,
    /// For a key that may act for a member.
    pub user: Option<&'a str>,
    /// Which credential of a keychain.
    pub external_id: Option<&'a str>,
    pub credential: &'a str,
}

/// The same, owned, for the way to the control runtime.
#[derive(Clone)]
pub struct RouteAsk {
    pub key: SecretString,
    pub project: Option<String>,
    pub environment: Option<String>,
    pub user: Option<String>,
    pub external_id: Option<String>,
    pub credential: String,
}

impl RouteAsk {
    /// What a keychain chooses by.
    pub fn data(&self) -> Data<'_> {
        Data { external_id: self.external_id.as_deref(), input: None }
    }
}

/// SHA-256 over everything in an [`Ask`]: what a data core finds its route by. The key itself is kept nowhere.
pub type RouteId = [u8; 32];

/// The key, from `Latchstring-Key`, `Authorization: Bearer lst_…`, or Basic with the key as password.
/// `Latchstring-Key` wins: with it, `Authorization` is free for what an SDK insists on sending.
pub fn caller_key(headers: &HeaderMap) -> Option<SecretString> {
    if let Some(value) = headers.get(KEY).and_then(|value| value.to_str().ok()) {
        return Some(SecretString::new(value.trim()));
    }
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(SecretString::new(rest));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = zeroize::Zeroizing::new(STANDARD.decode(rest).ok()?);
        let text = std::str::from_utf8(&decoded).ok()?;
        let (user, password) = text.split_once(':')?;
        // `curl -u lst_…:` puts the key where the user name goes; it is as good there.
        let key = if password.is_empty() { user } else { password };
        return Some(SecretString::new(key));
    }
    None
}

/// The 401 of a missing, malformed, unknown, ended or expired key: always the same.
pub fn unauthenticated() -> Box<Problem> {
    Problem::new(Code::Unauthenticated, "The request carries no valid Latchstring key: it is missing, mistyped, ended or expired.")
        .hint("Send `Authorization: Bearer lst_…`, or `Latchstring-Key: lst_…` when the Authorization header is taken. A project admin can make a service key.")
        .into()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Refused<Option<&str>> {
    match headers.get(&name).map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(text)) if !text.trim().is_empty() => Ok(Some(text.trim())),
        Some(_) => {
            Err(Problem::new(Code::BadRequest, format!("The header {name} is empty or not plain text."))
                .hint("Send a slug or an id, as shown in the project's settings.")
                .into())
        }
    }
}

/// Reads a request's headers; `credential` comes from the path.
pub fn ask<'a>(headers: &'a HeaderMap, credential: &'a str) -> Refused<Ask<'a>> {
    let key =
        caller_key(headers).filter(|key| key.expose().starts_with(KEY_PREFIX)).ok_or_else(unauthenticated)?;
    Ok(Ask {
        key,
        project: text(headers, PROJECT)?,
        environment: text(headers, ENVIRONMENT)?,
        user: text(headers, USER)?,
        external_id: text(headers, EXTERNAL_ID)?,
        credential,
    })
}

impl Ask<'_> {
    pub fn id(&self) -> RouteId {
        use aws_lc_rs::digest::{Context, SHA256};
        let mut context = Context::new(&SHA256);
        // Addresses are compared in any case: spellings of one must not multiply routes.
        let user = self.user.map(str::to_lowercase);
        let parts = [
            Some(self.key.expose()),
            self.project,
            self.environment,
            user.as_deref(),
            Some(self.credential),
            self.external_id,
        ];
        for part in parts {
            // Lengths keep the parts apart; an absent part differs from an empty one.
            context.update(
                &part
                    .map_or(u32::MAX, |part| u32::try_from(part.len()).unwrap_or(u32::MAX - 1))
                    .to_le_bytes(),
            );
            context.update(part.unwrap_or_default().as_bytes());
        }
        let mut id = [0; 32];
        id.copy_from_slice(context.finish().as_ref());
        id
    }

    pub fn to_owned(&self) -> RouteAsk {
        RouteAsk {
            key: self.key.clone(),
            project: self.project.map(str::to_owned),
            environment: self.environment.map(str::to_owned),
            user: self.user.map(str::to_owned),
            external_id: self.external_id.map(str::to_owned),
            credential: self.credential.to_owned(),
        }
    }
}

/// `/proxy/{credential}/{path…}` → credential and the rest, byte for byte, with its leading slash: `/proxy/x` asks for
/// the base URL as it is, `/proxy/x/` for what is below it.
pub fn split_path(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/proxy/")?;
    let (credential, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    (!credential.is_empty()).then_some((credential, rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::HeaderValue;

    fn key_of(pairs: &[(&'static str, &str)]) -> Option<String> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        caller_key(&headers).map(|key| key.expose().to_owned())
    }

    #[test]
    fn a_key_comes_in_four_ways() {
        assert_eq!(key_of(&[("authorization", "Bearer lst_a")]).as_deref(), Some("lst_a"));
        assert_eq!(key_of(&[("authorization", "bearer  lst_a")]).as_deref(), Some("lst_a"));
        assert_eq!(
            key_of(&[("latchstring-key", "lst_b"), ("authorization", "Bearer sdk")]).as_deref(),
            Some("lst_b")
        );
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(key_of(&[("authorization", &basic("any:lst_c"))]).as_deref(), Some("lst_c"));
        assert_eq!(key_of(&[("authorization", &basic("lst_d:"))]).as_deref(), Some("lst_d"));
        assert_eq!(key_of(&[("authorization", "Digest x")]), None);
        assert_eq!(key_of(&[]), None);
    }

    #[test]
    fn another_ask_has_another_id() {
        let ask = |project, credential| {
            Ask {
                key: "lst_a".into(),
                project,
                environment: None,
                user: None,
                external_id: None,
                credential,
            }
            .id()
        };
        assert_eq!(ask(Some("p"), "c"), ask(Some("p"), "c"));
        let all = [
            ask(Some("p"), "c"),
            ask(None, "c"),
            ask(Some(""), "c"),
            ask(Some("pc"), ""),
            ask(Some("p"), "cc"),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|b| a != b));
        }
    }

    #[test]
    fn an_address_is_one_in_any_case() {
        let ask = |user| {
            let (project, environment, external_id) = (None, None, None);
            Ask { key: "lst_a".into(), project, environment, user, external_id, credential: "c" }.id()
        };
        assert_eq!(ask(Some("Ada@Example.org")), ask(Some("ada@example.ORG")));
        assert_ne!(ask(Some("ada@example.org")), ask(Some("bob@example.org")));
        assert_ne!(ask(Some("ada@example.org")), ask(None));
    }

    #[test]
    fn the_path_is_split_once() {
        assert_eq!(split_path("/proxy/crm/a//b%2F"), Some(("crm", "/a//b%2F")));
        assert_eq!(split_path("/proxy/crm"), Some(("crm", "")));
        assert_eq!(split_path("/proxy/crm/"), Some(("crm", "/")));
        assert_eq!(split_path("/proxy//x"), None);
        assert_eq!(split_path("/proxyx/a"), None);
    }
}
