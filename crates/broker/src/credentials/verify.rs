//! Verification: the dry request that shows that a credential works, before anything is saved.
//!
//! What an answer means: 2xx, or what the connector expects, is good; 401 and 403 are a refusal; everything else
//! — 404, 429, 5xx, no answer — is inconclusive. Either way the person sees what was asked and what was
//! answered, side by side, with secrets masked.

use std::sync::Arc;
use std::time::Duration;

use latchstring_connectors::{Definition, TokenPolicy};
use latchstring_journal::Purpose;
use latchstring_model::entity::Status;
use latchstring_model::id::CredentialId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Pin, Problem, Timestamp};
use latchstring_schemes::token::TokenSet;
use serde_json::{Value, json};

use super::problems::Spot;
use crate::Broker;
use crate::actor::Actor;
use crate::road::authorise::ProjectAt;
use crate::road::described::{Behalf, Described, ShownRequest, Undelivered, shown_headers};
use crate::road::materials::Materials;
use crate::road::plan::{Plan, check_place, check_restricted};
use crate::tokens::{AskClass, AskFailure, LiveToken, TokenSource, bound_to, excerpt, id_of};

/// How long a verification may wait for the API.
const WITHIN: Duration = Duration::from_secs(30);
/// How long it may wait for a token, all steps of a login together: a person sits before it.
const TOKEN_WITHIN: Duration = Duration::from_secs(20);
/// Bytes of the answer that are read.
const READ: usize = 256 * 1024;

/// Whose values are tried, and as whom.
pub struct Trial<'a> {
    pub actor: &'a Actor,
    pub credential: &'a CredentialId,
    /// The credential's environment.
    pub environment: &'a str,
    pub values_version: i64,
    pub project: Option<&'a ProjectAt>,
    pub materials: &'a Materials,
    /// Pins that hold: nothing may go elsewhere. `None` for values that get new ones.
    pub held: Option<&'a [Pin]>,
    /// Whether the API is asked at all.
    pub ask: bool,
    /// A grant that consent brought or that is stored: it is used, none is asked for.
    pub grant: Option<&'a Granted>,
}

/// A grant in hand.
#[derive(Clone)]
pub struct Granted {
    pub set: TokenSet,
    /// Where it is stored, if it is: the id of its row and the version that was read. It is promoted only while
    /// that is what stands there.
    pub stored: Option<(String, i64)>,
}

/// A token that was obtained on the way, to be kept if the values are.
pub struct Staged {
    pub id: String,
    pub set: TokenSet,
    pub policy: TokenPolicy,
    /// Of a grant that is stored under other values: see [`Granted`].
    pub stored: Option<(String, i64)>,
}

pub struct Tried {
    pub status: Status,
    pub checked_at: Timestamp,
    pub pins: Vec<Pin>,
    pub account: Option<String>,
    /// Of the grant.
    pub scopes: Option<Vec<String>>,
    pub staged: Option<Staged>,
    pub shown: Option<Shown>,
}

impl Tried {
    /// Nothing was asked, and nothing is known of where the values would go.
    pub fn untried(now: Timestamp) -> Self {
        Self {
            status: Status::Unverified,
            checked_at: now,
            pins: Vec::new(),
            account: None,
            scopes: None,
            staged: None,
            shown: None,
        }
    }
}

/// What was asked and answered, masked.
#[derive(Clone, Debug)]
pub struct Shown {
    pub request: ShownRequest,
    pub status: Option<u16>,
    pub headers: Vec<(String, String)>,
    pub body_excerpt: String,
}

impl Shown {
    pub fn request_json(&self) -> Value {
        json!({
            "method": self.request.method,
            "url": self.request.url,
            "headers": headers_json(&self.request.headers),
        })
    }

    pub fn response_json(&self) -> Value {
        json!({ "status": self.status, "headers": headers_json(&self.headers), "body_excerpt": self.body_excerpt })
    }
}

fn headers_json(headers: &[(String, String)]) -> Value {
    let mut map = serde_json::Map::new();
    for (name, value) in headers {
        match map.get_mut(name) {
            Some(Value::String(known)) => known.push_str(&format!(", {value}")),
            _ => {
                map.insert(name.clone(), value.as_str().into());
            }
        }
    }
    Value::Object(map)
}

/// What a status usually means, where the connector has nothing better to say.
fn usually(status: u16) -> (&'static str, &'static str) {
    match status {
        401 => (
            "The API does not accept the credential",
            "Check that the values are whole (no blank or line end from copying), still valid, and meant for this environment.",
        ),
        403 => (
            "The API knows the credential but does not allow the request",
            "Check the rights of the account or key, and whether the API limits from which addresses it may be used.",
        ),
        404 => (
            "The API has nothing at that address",
            "Check the base URL and the test path for a part that is missing or doubled, such as /api or /v1.",
        ),
        407 => (
            "A proxy on the way wants its own authentication",
            "Ask whoever runs this server about the outbound proxy.",
        ),
        408 | 425 | 429 => ("The API asks to slow down", "Wait a little and try again."),
        300..=399 => (
            "The API answered with a redirect, which is not followed with a credential",
            "Use the address that it points to as base URL (often https instead of http, or another host).",
        ),
        400..=499 => (
            "The API did not like the request",
            "Check the base URL, the test path and the fields; the answer may say which.",
        ),
        500..=599 => (
            "The API has trouble of its own",
            "Try again later; its status page may say more. With `\"verify\": \"skip\"` the credential can be saved unverified.",
        ),
        _ => ("The API's answer is not one that says whether the credential works", "Try another test path."),
    }
}

fn refused(code: Code, what: String, hint: String, shown: Option<&Shown>) -> Box<Problem> {
    let mut problem = Problem::new(code, what).hint(hint);
    if let Some(shown) = shown {
        problem = problem
            .with("upstream", json!({ "status": shown.status, "body_excerpt": shown.body_excerpt }))
            .with("request", shown.request_json())
            .with("response", shown.response_json());
    }
    problem.into()
}

/// What an answer says about the credential.
fn judge(
    definition: &Definition,
    trial: &Trial<'_>,
    described: &Described,
    expect: &latchstring_connectors::Expect,
    shown: &Shown,
) -> Refused<()> {
    let answer = &described.answer;
    if expect.fits(answer.status, &answer.body) {
        return Ok(());
    }
    let method = definition.method(&trial.materials.method);
    let explained = definition
        .explain(method, answer.status, &String::from_utf8_lossy(&answer.body))
        .map(|text| text.to_string());
    // Kept with the credential, where members see it: without the path, which is the owner's.
    let place =
        format!(" ({} answered {}, {})", answer_host(&shown.request.url), answer.status, trial.environment);
    if expect.status_fits(answer.status) {
        let what = format!(
            "The API answered {}, but what it answered is not what a working credential gets{place}.",
            answer.status
        );
        let hint = explained.unwrap_or_else(|| "Read the answer: many APIs write an error into a 200. Check the values and the account's rights.".into());
        return Err(refused(Code::VerificationFailed, what, hint, Some(shown)));
    }
    let (what, hint) = usually(answer.status);
    let code = if matches!(answer.status, 401 | 403) {
        Code::VerificationFailed
    } else {
        Code::VerificationInconclusive
    };
    Err(refused(code, format!("{what}{place}."), explained.unwrap_or_else(|| hint.into()), Some(shown)))
}

fn answer_host(url: &str) -> &str {
    url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or("the API")
}

/// A token request that did not bring a token.
fn token_refused(failure: AskFailure, spot: &Spot<'_>) -> Box<Problem> {
    let code = match failure.class {
        AskClass::Dead | AskClass::Refused => Code::VerificationFailed,
        _ if matches!(failure.problem.code, Code::TokenEndpointError) => Code::VerificationInconclusive,
        // A missing secret, a template, a destination: said as it is.
        _ => return failure.problem,
    };
    let mut problem = failure.problem;
    problem.code = code;
    problem.detail = format!("{} ({}).", problem.detail.trim_end_matches('.'), spot.environment).into();
    if let Some(exchange) = failure.exchange {
        if exchange.status.is_none() {
            problem.errors = vec![FieldError::new(spot.pointer("token_url"), "no token came from there")];
        }
        problem
            .extra
            .insert("upstream".into(), json!({ "status": exchange.status, "body_excerpt": exchange.body }));
        problem.extra.insert("request".into(), exchange.request);
        problem.extra.insert(
            "response".into(),
            json!({ "status": exchange.status, "headers": headers_json(&exchange.headers), "body_excerpt": exchange.body }),
        );
    }
    problem
}

/// The token endpoint took the request and said nothing.
fn token_never(spot: &Spot<'_>) -> Box<Problem> {
    let waited = TOKEN_WITHIN.as_secs();
    let detail = format!(
        "The token endpoint took the request and did not answer within {waited} seconds ({}).",
        spot.environment
    );
    Problem::new(Code::VerificationInconclusive, detail)
        .hint("Check the token URL: a wrong port or a gateway that waits behaves like this. If it is right, the provider is overloaded; try again later.")
        .errors(vec![FieldError::new(spot.pointer("token_url"), "no answer came from there")])
        .with("upstream", json!({ "status": null, "body_excerpt": "" }))
        .into()
}

impl Broker {
    /// Renders the values for one context, finds out where they would go, and asks.
    pub(crate) async fn try_values(&self, trial: &Trial<'_>) -> Refused<Tried> {
        let definition = &trial.materials.definition;
        let checked_at = self.now();
        let method = trial.materials.auth_method()?;
        let spot = Spot { method, environment: trial.environment };
        let bare = trial.materials.resolve(None, checked_at, &*self.parts.entropy)?;
        let mut pins: Vec<Pin> = match trial.held {
            Some(held) => held.to_vec(),
            None => bare.destinations.iter().map(|place| place.pin.clone()).collect(),
        };
        for place in &bare.destinations {
            check_place(self, definition, &bare.client_hosts, place)
                .map_err(|problem| spot.destination(&place.from, *problem))?;
        }
        check_restricted(&bare.uses, &pins).map_err(|problem| spot.destination("", *problem))?;
        let from_token = bare.needs_token && bare.base_url.is_none();
        let mut tried = Tried::untried(checked_at);
        let staged = |set: TokenSet, policy: TokenPolicy, stored: Option<(String, i64)>| Staged {
            id: id_of(
                trial.credential.as_str(),
                trial.environment,
                trial.values_version,
                trial.materials.client.as_deref().map(bound_to).as_deref(),
                "default",
                &bare.token_uses,
            ),
            set,
            policy,
            stored,
        };
        let mut live = None;
        if let Some(granted) = trial.grant {
            tried.scopes.clone_from(&granted.set.scopes);
            live = Some(LiveToken::new(granted.set.clone(), 1, bare.policy.expiry_margin_ms));
            tried.staged = Some(staged(granted.set.clone(), bare.policy.clone(), granted.stored.clone()));
        } else if !trial.ask || method.needs_consent() {
            tried.pins = pins;
            return Ok(tried);
        } else if bare.needs_token {
            let held: Arc<[Pin]> = pins.clone().into();
            let source = TokenSource {
                materials: trial.materials,
                pins: &held,
                actor: trial.actor,
                project: trial.project.map(|project| &project.id),
                credential: trial.credential,
                environment: trial.environment,
                current: None,
            };
            let asked = tokio::time::timeout(TOKEN_WITHIN, Box::pin(self.ask_for_token(&source))).await;
            let obtained = match asked {
                Ok(answered) => answered.map_err(|failure| token_refused(failure, &spot))?,
                Err(_) => return Err(token_never(&spot)),
            };
            live = Some(LiveToken::new(obtained.set.clone(), 1, obtained.policy.expiry_margin_ms));
            tried.staged = Some(staged(obtained.set, obtained.policy, None));
        }
        let resolved = match &live {
            Some(live) => trial.materials.resolve(Some(&live.set), self.now(), &*self.parts.entropy)?,
            None => bare,
        };
        for place in &resolved.destinations {
            // Held pins stay as they are, but for a base URL that the token's answer brings.
            if !pins.contains(&place.pin) && trial.held.is_none() {
                check_place(self, definition, &resolved.client_hosts, place)
                    .map_err(|problem| spot.destination(&place.from, *problem))?;
                pins.push(place.pin.clone());
            }
        }
        tried.pins.clone_from(&pins);
        let mut resolved = resolved;
        let Some(request) = resolved.verify.take().filter(|_| trial.ask) else { return Ok(tried) };
        let plan = Plan::build(self, trial.materials, resolved, &pins.into(), None, from_token)?;
        let behalf = Behalf {
            actor: trial.actor,
            project: trial.project.map(|project| &project.id),
            credential: trial.credential,
            environment: trial.environment,
            project_environment: None,
            purpose: Purpose::Verify,
            path: "(verification)",
            acts_as: None,
            max_body: READ,
            within: WITHIN,
        };
        let described = match self.describe(&plan, live.as_ref(), &request, behalf).await {
            Ok(described) => described,
            Err(Undelivered { failure, request }) => {
                return Err(inconclusive(failure.problem, request, &spot));
            }
        };
        let shown = Shown {
            request: described.request.clone(),
            status: Some(described.answer.status),
            headers: shown_headers(&described.answer.headers, &described.masker),
            body_excerpt: excerpt(&described.masker, &described.answer),
        };
        judge(definition, trial, &described, &request.expect, &shown)?;
        tried.account = request
            .account
            .as_ref()
            .and_then(|path| {
                serde_json::from_slice::<Value>(&described.answer.body).ok().and_then(|body| path.get(&body))
            })
            .and_then(|value| match value {
                Value::String(text) => Some(described.masker.mask_text(&text)),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            });
        tried.status = Status::Verified;
        tried.shown = Some(shown);
        Ok(tried)
    }
}

/// No answer: the API was not reached, or did not answer in time.
fn inconclusive(problem: Box<Problem>, request: Option<ShownRequest>, spot: &Spot<'_>) -> Box<Problem> {
    if !matches!(problem.code, Code::UpstreamUnreachable | Code::UpstreamTimeout) {
        return problem;
    }
    let shown = request.map(|request| Shown {
        request,
        status: None,
        headers: Vec::new(),
        body_excerpt: String::new(),
    });
    let mut answer = refused(
        Code::VerificationInconclusive,
        format!("The API gave no answer ({}). {}", spot.environment, problem.detail),
        problem.hint.map(|hint| hint.into_owned()).unwrap_or_default(),
        shown.as_ref(),
    );
    answer.errors = vec![FieldError::new(spot.pointer("base_url"), "no answer came from there")];
    answer.extra.entry("upstream").or_insert_with(|| json!({ "status": null, "body_excerpt": "" }));
    answer
}
