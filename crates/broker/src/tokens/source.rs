//! Asking for a token: one request for a grant, several for a login in steps. Used by the refresh protocol and
//! by verification, which asks before anything is stored.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use latchstring_connectors::{StepsNext, StepsRun, TokenPolicy};
use latchstring_egress::Identity;
use latchstring_journal::Purpose;
use latchstring_model::id::{CredentialId, ProjectId};
use latchstring_model::{Code, Pin, PinPurpose, Problem, SecretString, Timestamp};
use latchstring_schemes::oauth2::{ANSWER_LIMIT, ErrorClass, OAuthError, secrets_in};
use latchstring_schemes::refresh::{ASK_LIMIT_MS, Reuse};
use latchstring_schemes::scheme::Prepared;
use latchstring_schemes::token::TokenSet;
use latchstring_schemes::wire::{WireAnswer, WireRequest};
use serde_json::{Value, json};

use crate::Broker;
use crate::actor::Actor;
use crate::credentials::preview::{OPEN_PARAMETERS, request_json};
use crate::road::mask::{MaskSet, Masker};
use crate::road::materials::{Materials, render_problem};
use crate::road::own::{OwnCall, OwnFailure};
use crate::road::plan;
use crate::road::veil::Veil;

/// How long one request of a token's may take, answer included.
const ASK_LIMIT: Duration = Duration::from_millis(ASK_LIMIT_MS as u64);

/// Why there is no token.
pub struct AskFailure {
    pub class: AskClass,
    pub problem: Box<Problem>,
    /// What was asked and answered, masked, for whoever verifies.
    pub exchange: Option<Box<Exchange>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskClass {
    /// The provider says that the grant is over.
    Dead,
    /// The provider refused these values: nothing was spent.
    Refused,
    /// Nothing was sent, or an error answer: nothing was spent.
    Failed { retry_after_ms: i64 },
    /// Sent, and no answer that can be read.
    Ambiguous,
}

/// One request of ours and what came back, as people may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// As a preview shows it.
    pub request: Value,
    pub status: Option<u16>,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Exchange {
    fn bare(request: Value, status: Option<u16>) -> Self {
        Self { request, status, headers: Vec::new(), body: String::new() }
    }

    /// Of a token request.
    fn new(
        secrets: &[SecretString],
        of_project: bool,
        request: &WireRequest,
        answer: Option<&WireAnswer>,
        body: String,
    ) -> Self {
        /// What says how an answer is meant, and why it is a refusal.
        const SHOWN: [HeaderName; 2] = [CONTENT_TYPE, WWW_AUTHENTICATE];
        let masker = Masker::new(Some(Arc::new(MaskSet::new(secrets))), None);
        let headers = answer.into_iter().flat_map(|answer| &answer.headers);
        let headers = headers.filter(|(name, _)| SHOWN.contains(name)).map(|(name, value)| {
            let text = masker.mask_own_header(&String::from_utf8_lossy(value.as_bytes()));
            (name.to_string(), shown(&masker, &text))
        });
        let headers = headers.collect();
        let veil = Veil::new(masker, secrets.to_vec(), BTreeSet::new()).strictly(of_project);
        Self {
            request: request_json(&veil, request, Some(OPEN_PARAMETERS)),
            status: answer.map(|answer| answer.status),
            headers,
            body,
        }
    }
}

/// Everything that asking needs.
pub struct TokenSource<'a> {
    pub materials: &'a Materials,
    pub pins: &'a Arc<[Pin]>,
    pub actor: &'a Actor,
    pub project: Option<&'a ProjectId>,
    pub credential: &'a CredentialId,
    pub environment: &'a str,
    /// The token that is there now, for grants that renew one.
    pub current: Option<&'a TokenSet>,
}

/// What came of it, with what decides how it is kept.
pub struct Obtained {
    pub set: TokenSet,
    pub policy: TokenPolicy,
}

/// How often a token request may be repeated after its answer was lost.
pub fn reuse(prepared: Option<&Prepared>, policy: &TokenPolicy) -> Reuse {
    use latchstring_connectors::RefreshReuse;
    // Nobody but a person can bring another one.
    if prepared.is_some_and(|prepared| !prepared.renews()) {
        return Reuse::SingleUse;
    }
    match prepared.and_then(Prepared::grant) {
        Some(grant) if grant.spends_refresh_token() => match policy.reuse {
            RefreshReuse::SingleUse => Reuse::SingleUse,
            RefreshReuse::Grace => Reuse::Grace,
            RefreshReuse::Nonrotating => Reuse::NonRotating,
        },
        // Client credentials, assertions and logins spend nothing.
        _ => Reuse::Repeatable,
    }
}

impl Broker {
    /// Asks once. The journal has the intent of every request before it is sent.
    pub(crate) async fn ask_for_token(&self, source: &TokenSource<'_>) -> Result<Obtained, AskFailure> {
        let asked = self.ask_once(source).await;
        self.metrics.token_request(asked.as_ref().err().map(|failure| failure.class));
        asked
    }

    async fn ask_once(&self, source: &TokenSource<'_>) -> Result<Obtained, AskFailure> {
        let now = self.now();
        let resolved =
            source.materials.resolve(source.current, now, &*self.parts.entropy).map_err(not_sent)?;
        plan::check_restricted(&resolved.token_uses, source.pins).map_err(not_sent)?;
        let policy = resolved.policy.clone();
        let mask = resolved.mask.clone();
        let of_project = resolved.uses.secrets().next().is_some();
        let ca = resolved.ca_certificate.clone();
        let prepared = source
            .materials
            .prepare(resolved.scheme)
            .map_err(|error| not_sent(crate::credentials::scheme_problem(&error)))?;
        if !prepared.renews() {
            let problem = Problem::new(Code::NeedsReconnect, "A token of OAuth 1.0a is not renewed.").hint(
                "If the API does not accept it any more, the credential's owner connects it once more.",
            );
            return Err(not_sent(problem.into()));
        }
        let identity = plan::identity(self, source.materials, &prepared, ca.as_ref()).map_err(not_sent)?;
        let set = match prepared.grant() {
            Some(_) => self.ask_grant(source, &prepared, identity.as_ref(), (&mask, of_project), now).await?,
            None => self.ask_steps(source, identity.as_ref(), &mask, now).await?,
        };
        Ok(Obtained { set, policy })
    }

    async fn ask_grant(
        &self,
        source: &TokenSource<'_>,
        prepared: &Prepared,
        identity: Option<&Identity>,
        (mask, of_project): (&[SecretString], bool),
        now: Timestamp,
    ) -> Result<TokenSet, AskFailure> {
        let Some(grant) = prepared.grant() else {
            return Err(not_sent(crate::refusals::internal(&"a grant was expected")));
        };
        let ask = || {
            grant.token_request(source.current, now, &*self.parts.entropy).map_err(|error| oauth(error, None))
        };
        let mut request = ask()?;
        let mut secrets = grant.secrets(source.current);
        secrets.extend(mask.iter().cloned());
        secrets.extend(secrets_in(&request));
        let own = own(source, Purpose::Token, PinPurpose::Token, identity, "(token request)");
        let mut answer = self.fetch(own, request.clone()).await;
        // RFC 9449 section 8: a server that wants its nonce has done nothing yet. Made anew, because an assertion is
        // good once too.
        if answer.as_ref().is_ok_and(|answer| grant.learn_nonce(answer)) {
            request = ask()?;
            secrets.extend(secrets_in(&request));
            answer = self.fetch(own, request.clone()).await;
        }
        let shown = |answer: Option<&WireAnswer>, body: String| {
            Exchange::new(&secrets, of_project, &request, answer, body)
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => return Err(no_answer(failure, shown(None, String::new()))),
        };
        grant.learn_nonce(&answer);
        grant.read_answer(&answer, source.current, now).map_err(|error| {
            let error = error.mask(&secrets);
            let exchange = shown(Some(&answer), words(&error));
            let mut failure = oauth(error, Some(exchange));
            // The connector may know what the provider's words mean for its user.
            let method = source.materials.definition.method(&source.materials.method);
            let text = String::from_utf8_lossy(&answer.body);
            if let Some(explained) = source.materials.definition.explain(method, answer.status, &text) {
                failure.problem.hint = Some(explained.to_owned().into());
            }
            failure
        })
    }

    async fn ask_steps(
        &self,
        source: &TokenSource<'_>,
        identity: Option<&Identity>,
        mask: &[SecretString],
        now: Timestamp,
    ) -> Result<TokenSet, AskFailure> {
        let mut run = StepsRun::new(now);
        let method = source.materials.auth_method().map_err(not_sent)?;
        let mut last = None;
        loop {
            let context = source.materials.context(None, None, now, &*self.parts.entropy);
            let next = run
                .next(&source.materials.definition, method, &context)
                .map_err(|error| not_sent(render_problem(&error)))?;
            let request = match next {
                StepsNext::Done(set) => return Ok(*set),
                StepsNext::Failed(failed) => {
                    return Err(steps_failed(source, &failed, &steps_masker(mask, &run), last, ""));
                }
                StepsNext::Send(request) => request,
            };
            let asked = json!({
                "method": request.method.as_str(),
                "url": steps_masker(mask, &run).mask_url(&request.address.to_string()),
                "headers": {},
            });
            let own = own(source, Purpose::Step, PinPurpose::Step, identity, "(login step)");
            let answer = match self.fetch(own, request).await {
                Ok(answer) => answer,
                Err(failure) => return Err(no_answer(failure, Exchange::bare(asked, None))),
            };
            // A login's answer may hold a session that no mask knows yet: its text is not shown.
            last = Some(Exchange::bare(asked, Some(answer.status)));
            if let Some(failed) = run.answered(method, &answer) {
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                return Err(steps_failed(source, &failed, &steps_masker(mask, &run), last, &text));
            }
        }
    }
}

fn own<'a>(
    source: &TokenSource<'a>,
    purpose: Purpose,
    pin: PinPurpose,
    identity: Option<&'a Identity>,
    path: &'a str,
) -> OwnCall<'a> {
    OwnCall {
        actor: source.actor,
        project: source.project,
        credential: source.credential,
        environment: source.environment,
        project_environment: None,
        purpose,
        pins: source.pins,
        pin,
        identity,
        path,
        acts_as: None,
        max_body: ANSWER_LIMIT + 1,
        within: ASK_LIMIT,
    }
}

/// Of a token endpoint's answer only the error fields are shown, masked: the rest may be tokens.
fn words(error: &OAuthError) -> String {
    let Some(words) = error.provider_words() else { return String::new() };
    let mut shown = serde_json::Map::new();
    for (name, text) in [("error", &words.error), ("error_description", &words.description)] {
        if let Some(text) = text {
            shown.insert(name.into(), text.as_str().into());
        }
    }
    Value::Object(shown).to_string()
}

/// The beginning of an answer, masked; what is no text is only counted.
pub(crate) fn excerpt(masker: &Masker, answer: &WireAnswer) -> String {
    /// Bytes of an answer that are shown.
    const SHOWN: usize = 2048;
    match std::str::from_utf8(&answer.body) {
        Ok(text) => {
            // Masked whole before it is cut: a cut secret would not be found.
            let masked = masker.mask_text(text);
            match masked.char_indices().nth(SHOWN) {
                Some((at, _)) => format!("{}…", masked.get(..at).unwrap_or_default()),
                None => masked,
            }
        }
        Err(_) => format!("({} bytes that are not text)", answer.body.len()),
    }
}

fn not_sent(problem: Box<Problem>) -> AskFailure {
    AskFailure { class: AskClass::Failed { retry_after_ms: 0 }, problem, exchange: None }
}

fn no_answer(failure: OwnFailure, exchange: Exchange) -> AskFailure {
    let class =
        if failure.maybe_processed { AskClass::Ambiguous } else { AskClass::Failed { retry_after_ms: 0 } };
    let mut problem = failure.problem;
    if matches!(problem.code, Code::UpstreamUnreachable | Code::UpstreamTimeout) {
        problem.code = Code::TokenEndpointError;
        problem.detail = format!("The token endpoint gave no token. {}", problem.detail).into();
    }
    AskFailure { class, problem, exchange: Some(Box::new(exchange)) }
}

fn oauth(error: OAuthError, exchange: Option<Exchange>) -> AskFailure {
    let retry_after_ms = i64::from(error.retry_after_secs.unwrap_or(0)) * 1000;
    let class = match error.class {
        ErrorClass::DeadGrant => AskClass::Dead,
        ErrorClass::WrongClient | ErrorClass::Rejected => AskClass::Refused,
        ErrorClass::Ambiguous => AskClass::Ambiguous,
        _ => AskClass::Failed { retry_after_ms },
    };
    AskFailure { class, problem: Box::new(error.to_problem()), exchange: exchange.map(Box::new) }
}

/// Knows what the login was resolved with, what its requests were made of, and what came back.
fn steps_masker(mask: &[SecretString], run: &StepsRun) -> Masker {
    let mut secrets = run.mask();
    secrets.extend(mask.iter().cloned());
    Masker::new(Some(Arc::new(MaskSet::new(&secrets))), None)
}

/// Masked whole before it is cut: a cut secret would not be found.
fn shown(masker: &Masker, text: &str) -> String {
    /// Characters of an API's own words that are shown.
    const SHOWN: usize = 300;
    let masked = masker.mask_text(text);
    match masked.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", masked.get(..at).unwrap_or_default()),
        None => masked,
    }
}

fn steps_failed(
    source: &TokenSource<'_>,
    failed: &latchstring_connectors::StepsFailed,
    masker: &Masker,
    exchange: Option<Exchange>,
    body: &str,
) -> AskFailure {
    let method = source.materials.definition.method(&source.materials.method);
    let explained = source
        .materials
        .definition
        .explain(method, failed.status.unwrap_or(0), body)
        .map(|text| text.to_string());
    let hint = explained.unwrap_or_else(|| {
        "Compare the credential's fields with what the API's documentation asks for.".to_owned()
    });
    let said = shown(masker, &failed.to_string());
    AskFailure {
        class: if failed.refused { AskClass::Refused } else { AskClass::Failed { retry_after_ms: 0 } },
        problem: Box::new(
            Problem::new(Code::TokenEndpointError, format!("The login did not get through at step {said}."))
                .hint(hint),
        ),
        exchange: exchange.map(Box::new),
    }
}
