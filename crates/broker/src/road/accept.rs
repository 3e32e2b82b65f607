//! Step 1, accept: what a caller says about itself, read from the request without looking anything up.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, SecretString};

use crate::keychains::choose::Data;

/// Every key of ours begins so; what does not is somebody else's and is not looked up.
pub const KEY_PREFIX: &str = "lst_";

/// What all names of headers that are for us begin with.
const OURS: &str = "latchstring-";

/// A caller's key: as it stands in a header, or taken out of one.
pub enum CallerKey<'a> {
    Sent(&'a str),
    Decoded(SecretString),
}

impl CallerKey<'_> {
    pub fn expose(&self) -> &str {
        match self {
            Self::Sent(key) => key,
            Self::Decoded(key) => key.expose(),
        }
    }
}

/// What decides which route a call takes, borrowed from the request.
pub struct Ask<'a> {
    pub key: CallerKey<'a>,
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

/// SHA-256 over everything in an [`Ask`]: by it the cores find what one of them has looked up.
pub type RouteId = [u8; 32];

/// The headers that say who asks and for what. A name that comes twice counts once: the first is read.
#[derive(Default)]
struct Said<'a> {
    authorization: Option<&'a HeaderValue>,
    key: Option<&'a HeaderValue>,
    project: Option<&'a HeaderValue>,
    environment: Option<&'a HeaderValue>,
    user: Option<&'a HeaderValue>,
    external_id: Option<&'a HeaderValue>,
}

impl<'a> Said<'a> {
    /// One pass over the few headers that are there, which costs less than a search for each of five names.
    fn read(headers: &'a HeaderMap) -> Self {
        let mut said = Self::default();
        for (name, value) in headers {
            let place = match name.as_str() {
                "authorization" => &mut said.authorization,
                name => match name.strip_prefix(OURS) {
                    Some("key") => &mut said.key,
                    Some("project") => &mut said.project,
                    Some("environment") => &mut said.environment,
                    Some("user") => &mut said.user,
                    Some("external-id") => &mut said.external_id,
                    _ => continue,
                },
            };
            place.get_or_insert(value);
        }
        said
    }

    /// The key, from `Latchstring-Key`, `Authorization: Bearer lst_…`, or Basic with the key as password.
    /// `Latchstring-Key` wins: with it, `Authorization` is free for what an SDK insists on sending.
    fn caller_key(&self) -> Option<CallerKey<'a>> {
        if let Some(value) = self.key.and_then(|value| value.to_str().ok()) {
            return Some(CallerKey::Sent(value.trim()));
        }
        let value = self.authorization?.to_str().ok()?;
        let (scheme, rest) = value.split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(CallerKey::Sent(rest));
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let decoded = zeroize::Zeroizing::new(STANDARD.decode(rest).ok()?);
            let text = std::str::from_utf8(&decoded).ok()?;
            let (user, password) = text.split_once(':')?;
            // `curl -u lst_…:` puts the key where the user name goes; it is as good there.
            let key = if password.is_empty() { user } else { password };
            return Some(CallerKey::Decoded(SecretString::new(key)));
        }
        None
    }
}

/// The key that a request brings, whether or not it is one of ours.
pub fn caller_key(headers: &HeaderMap) -> Option<CallerKey<'_>> {
    Said::read(headers).caller_key()
}

/// The 401 of a missing, malformed, unknown, ended or expired key: always the same.
pub fn unauthenticated() -> Box<Problem> {
    Problem::new(Code::Unauthenticated, "The request carries no valid Latchstring key: it is missing, mistyped, ended or expired.")
        .hint("Send `Authorization: Bearer lst_…`, or `Latchstring-Key: lst_…` when the Authorization header is taken. A project admin can make a service key.")
        .into()
}

fn text<'a>(name: &str, value: Option<&'a HeaderValue>) -> Refused<Option<&'a str>> {
    match value.map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(text)) if !text.trim().is_empty() => Ok(Some(text.trim())),
        Some(_) => Err(Problem::new(
            Code::BadRequest,
            format!("The header {OURS}{name} is empty or not plain text."),
        )
        .hint("Send a slug or an id, as shown in the project's settings.")
        .into()),
    }
}

/// Reads a request's headers; `credential` comes from the path.
pub fn ask<'a>(headers: &'a HeaderMap, credential: &'a str) -> Refused<Ask<'a>> {
    let said = Said::read(headers);
    let key =
        said.caller_key().filter(|key| key.expose().starts_with(KEY_PREFIX)).ok_or_else(unauthenticated)?;
    Ok(Ask {
        key,
        project: text("project", said.project)?,
        environment: text("environment", said.environment)?,
        user: text("user", said.user)?,
        external_id: text("external-id", said.external_id)?,
        credential,
    })
}

impl Ask<'_> {
    /// Addresses are compared in any case: spellings of one must not multiply routes.
    fn folded_user(&self) -> Option<String> {
        self.user.map(str::to_lowercase)
    }

    fn parts<'b>(&'b self, folded_user: Option<&'b str>) -> [Option<&'b str>; 6] {
        [
            Some(self.key.expose()),
            self.project,
            self.environment,
            folded_user,
            Some(self.credential),
            self.external_id,
        ]
    }

    /// A number that only says where to look: what lies there is compared in full ([`Ask::is`]). So it is made of
    /// what nearly always tells asks apart.
    pub fn place(&self, hashing: &RandomState) -> u64 {
        let mut hasher = hashing.build_hasher();
        hasher.write(self.key.expose().as_bytes());
        hasher.write(self.credential.as_bytes());
        for named in [self.project, self.environment, self.external_id].into_iter().flatten() {
            hasher.write(named.as_bytes());
        }
        if self.user.is_some() {
            hasher.write(self.folded_user().unwrap_or_default().as_bytes());
        }
        hasher.finish()
    }

    /// Whether it is the same ask as one that was kept.
    pub fn is(&self, kept: &RouteAsk) -> bool {
        let same_user = match (self.user, &kept.user) {
            (None, None) => true,
            (Some(user), Some(kept)) => user == kept || user.to_lowercase() == kept.to_lowercase(),
            _ => false,
        };
        same_user
            && self.project == kept.project.as_deref()
            && self.environment == kept.environment.as_deref()
            && self.credential == kept.credential
            && self.external_id == kept.external_id.as_deref()
            // Last, and without a hint of how much of it fits.
            && aws_lc_rs::constant_time::verify_slices_are_equal(
                self.key.expose().as_bytes(),
                kept.key.expose().as_bytes(),
            )
            .is_ok()
    }

    pub fn id(&self) -> RouteId {
        use aws_lc_rs::digest::{Context, SHA256};
        let mut context = Context::new(&SHA256);
        let user = self.folded_user();
        for part in self.parts(user.as_deref()) {
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
            key: SecretString::new(self.key.expose()),
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
    use http::HeaderName;

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
                key: CallerKey::Sent("lst_a"),
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
        let ask = |user| Ask {
            key: CallerKey::Sent("lst_a"),
            project: None,
            environment: None,
            user,
            external_id: None,
            credential: "c",
        };
        let users = [Some("Ada@Example.org"), Some("ada@example.ORG"), Some("bob@example.org"), None];
        let hashing = RandomState::new();
        for (i, one) in users.into_iter().enumerate() {
            for (j, other) in users.into_iter().enumerate() {
                let (one, other) = (ask(one), ask(other));
                let same = i == j || i + j == 1;
                assert_eq!(one.id() == other.id(), same, "{i} {j}");
                assert_eq!(one.place(&hashing) == other.place(&hashing), same, "{i} {j}");
                assert_eq!(one.is(&other.to_owned()), same, "{i} {j}");
            }
        }
    }

    #[test]
    fn a_kept_ask_is_only_the_same_one() {
        let ask = || Ask {
            key: CallerKey::Sent("lst_a"),
            project: Some("p"),
            environment: Some("e"),
            user: Some("u"),
            external_id: Some("x"),
            credential: "c",
        };
        let kept = ask().to_owned();
        assert!(ask().is(&kept));
        for other in [
            Ask { key: CallerKey::Sent("lst_b"), ..ask() },
            Ask { key: CallerKey::Sent("lst_ab"), ..ask() },
            Ask { project: None, ..ask() },
            Ask { project: Some("q"), ..ask() },
            Ask { environment: None, ..ask() },
            Ask { environment: Some("f"), ..ask() },
            Ask { user: None, ..ask() },
            Ask { user: Some("v"), ..ask() },
            Ask { external_id: None, ..ask() },
            Ask { external_id: Some("y"), ..ask() },
            Ask { credential: "d", ..ask() },
        ] {
            assert!(!other.is(&kept));
        }
    }

    #[test]
    fn of_a_header_that_comes_twice_the_first_is_read() {
        let pairs = [("latchstring-key", "lst_a"), ("latchstring-key", "lst_b")];
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_static(value));
        }
        assert_eq!(caller_key(&headers).map(|key| key.expose().to_owned()).as_deref(), Some("lst_a"));
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
