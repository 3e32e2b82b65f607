//! Requests that a definition describes — a verification, metadata, an operation — signed like a call and sent
//! as one of our own.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use latchstring_connectors::{OwnRequest, To};
use latchstring_journal::Purpose;
use latchstring_model::address::Address;
use latchstring_model::id::{CallId, CredentialId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, PinPurpose, Problem, SecretBytes};
use latchstring_schemes::wire::{Outgoing, WireAnswer, WireRequest};

use super::bind;
use super::mask::Masker;
use super::own::{OwnCall, OwnFailure};
use super::plan::Plan;
use crate::Broker;
use crate::actor::Actor;
use crate::tokens::LiveToken;

/// On whose behalf a described request is made.
#[derive(Clone, Copy)]
pub struct Behalf<'a> {
    pub actor: &'a Actor,
    pub project: Option<&'a ProjectId>,
    pub credential: &'a CredentialId,
    pub environment: &'a str,
    /// Of calls: the project's environment.
    pub project_environment: Option<&'a str>,
    pub purpose: Purpose,
    /// What the record shows as the path.
    pub path: &'a str,
    /// Of calls for somebody: whom the other side takes for who did it.
    pub acts_as: Option<&'a str>,
    pub max_body: usize,
    pub within: Duration,
}

/// What was asked, as people may see it: every secret masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownRequest {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
}

/// An answer, what it must be masked with, and the request that it answers.
pub struct Described {
    pub answer: WireAnswer,
    pub masker: Masker,
    pub request: ShownRequest,
    /// Under which it is recorded.
    pub call: CallId,
}

/// The same without an answer.
pub struct Undelivered {
    pub failure: OwnFailure,
    pub request: Option<ShownRequest>,
}

impl From<Box<Problem>> for Undelivered {
    fn from(problem: Box<Problem>) -> Self {
        Self { failure: problem.into(), request: None }
    }
}

fn not_a_header(name: &str) -> Box<Problem> {
    Problem::new(
        Code::TemplateError,
        format!("The connector's header {name} holds characters that headers may not have."),
    )
    .hint("Check the value that goes into it.")
    .into()
}

fn address(plan: &Plan, request: &OwnRequest) -> Refused<Address> {
    let mut address = match &request.to {
        To::Url(address) => address.clone(),
        To::Path(path) => {
            let (path, query) = path
                .expose()
                .split_once('?')
                .map_or((path.expose(), None), |(path, query)| (path, Some(query)));
            // A definition's `/` is the base URL, whether that ends in a slash or not.
            let path = path.trim_start_matches('/');
            let path = if path.is_empty() { String::new() } else { format!("/{path}") };
            let target = bind::join(&plan.base, &path, query)?;
            let (path, query) =
                target.split_once('?').map_or((target.as_str(), None), |(path, query)| (path, Some(query)));
            Address {
                origin: plan.base.origin.clone(),
                path: path.to_owned(),
                query: query.map(str::to_owned),
            }
        }
    };
    if let Some(query) = request.encoded_query() {
        address.query = Some(match address.query {
            Some(first) if !first.is_empty() => format!("{first}&{}", query.expose()),
            _ => query.expose().to_owned(),
        });
    }
    Ok(address)
}

const ACCEPT: HeaderValue = HeaderValue::from_static("application/json, */*;q=0.8");
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("Latchstring/", env!("CARGO_PKG_VERSION")));

impl Broker {
    /// Sends a described request, with at most one replay when the refusal taught the scheme something.
    pub(crate) async fn describe(
        &self,
        plan: &Plan,
        token: Option<&LiveToken>,
        request: &OwnRequest,
        behalf: Behalf<'_>,
    ) -> Result<Described, Undelivered> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (wire, masker, shown) = self.signed(plan, token, request)?;
            let own = OwnCall {
                actor: behalf.actor,
                project: behalf.project,
                credential: behalf.credential,
                environment: behalf.environment,
                project_environment: behalf.project_environment,
                purpose: behalf.purpose,
                pins: &plan.pins,
                pin: PinPurpose::Call,
                identity: plan.identity.as_ref(),
                path: behalf.path,
                acts_as: behalf.acts_as,
                max_body: behalf.max_body,
                within: behalf.within,
            };
            let call = CallId::new(self.now(), &*self.parts.entropy);
            match self.fetch_as(call.clone(), own, wire).await {
                Ok(answer) if tries == 1 && plan.prepared.challenge(answer.status, &answer.headers) => {}
                Ok(answer) => return Ok(Described { answer, masker, request: shown, call }),
                Err(failure) => return Err(Undelivered { failure, request: Some(shown) }),
            }
        }
    }

    /// The request as it would leave, what it must be masked with, and what people may see of it.
    pub(crate) fn signed(
        &self,
        plan: &Plan,
        token: Option<&LiveToken>,
        request: &OwnRequest,
    ) -> Refused<(WireRequest, Masker, ShownRequest)> {
        let address = address(plan, request)?;
        let mut headers = HeaderMap::new();
        plan.place_headers(&mut headers);
        // Ours only where the connector has none, of which it may let a caller choose another.
        headers.entry(header::ACCEPT).or_insert(ACCEPT);
        headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
        for (name, value) in &request.headers {
            let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| not_a_header(name))?;
            let value = HeaderValue::from_bytes(value.expose().as_bytes()).map_err(|_| not_a_header(name))?;
            headers.insert(parsed, value);
        }
        let mut body = SecretBytes::default();
        if let Some(own) = &request.body {
            // What the request itself says stands: `application/fhir+json` is JSON, too.
            if !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                headers.insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_str(&own.content_type).map_err(|_| not_a_header("content-type"))?,
                );
            }
            body = own.bytes.clone();
        } else if let Some(own) = plan.prepared.own_body().filter(|own| own.goes_with(&request.method)) {
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_str(&own.content_type).map_err(|_| not_a_header("content-type"))?,
            );
            body = own.bytes.clone();
        }
        let mut target = plan.place_query(address.target());
        let mut out = Outgoing {
            method: &request.method,
            origin: &address.origin,
            target: &mut target,
            headers: &mut headers,
        };
        let now = self.now();
        let fresh = plan
            .prepared
            .sign(&mut out, Some(body.expose()), token.map(|token| &token.set), now, &*self.parts.entropy)
            .map_err(|error| crate::credentials::scheme_problem(&error))?;
        let mut masker =
            Masker::new(Some(Arc::clone(&plan.mask)), token.map(|token| Arc::clone(&token.mask)));
        if let Some(fresh) = fresh {
            masker.add_fresh(fresh);
        }
        let (path, query) =
            target.split_once('?').map_or((target.as_str(), None), |(path, query)| (path, Some(query)));
        let address =
            Address { origin: address.origin, path: path.to_owned(), query: query.map(str::to_owned) };
        let shown = ShownRequest {
            method: request.method.to_string(),
            url: masker.mask_url(&address.to_string()),
            headers: shown_headers(&headers, &masker),
        };
        Ok((WireRequest { method: request.method.clone(), address, headers, body }, masker, shown))
    }
}

/// Headers as people may see them. A value that a scheme marked as secret is hidden but for its first word,
/// which says what kind it is.
pub(crate) fn shown_headers(headers: &HeaderMap, masker: &Masker) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let text = String::from_utf8_lossy(value.as_bytes());
            let shown = if value.is_sensitive() {
                match text.split_once(' ') {
                    Some((word, rest))
                        if word.len() <= 16
                            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') =>
                    {
                        format!("{word} {}", "*".repeat(rest.len().min(24)))
                    }
                    _ => "*".repeat(text.len().min(24)),
                }
            } else {
                masker.mask_own_header(&text)
            };
            (name.to_string(), shown)
        })
        .collect()
}
