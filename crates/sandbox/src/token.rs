//! The sandbox's authorization server: `POST /oauth/token` (RFC 6749 section 4.4, RFC 7523) and
//! `POST /oauth/revoke` (RFC 7009). Tokens are opaque, short-lived and kept in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use latchstring_model::Entropy;
use serde_json::json;

use crate::Sandbox;
use crate::access::decode_basic;
use crate::demo::DEMO;
use crate::form;
use crate::jwt::{self, Wanted};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Seconds that an access token lives: short, so that a refresh can be watched.
pub const TOKEN_TTL: i64 = 120;
/// Seconds that an assertion's expiry may lie ahead.
const ASSERTION_TTL: i64 = 300;
/// So many living tokens and assertions are remembered at most.
const MOST: usize = 10_000;

#[derive(Clone, Debug)]
pub struct Grant {
    pub subject: String,
    pub scopes: Vec<String>,
    expires: i64,
}

/// Living tokens, and assertions that were used.
#[derive(Default)]
pub struct Tokens {
    living: Mutex<HashMap<String, Grant>>,
    used: Mutex<HashMap<String, i64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tokens {
    pub fn find(&self, token: &str, now: i64) -> Option<Grant> {
        lock(&self.living).get(token).filter(|grant| grant.expires > now).cloned()
    }

    fn make(&self, subject: &str, scopes: Vec<String>, now: i64, entropy: &dyn Entropy) -> String {
        let mut random = [0; 24];
        entropy.fill(&mut random);
        let token = format!("sbx_{}", URL_SAFE_NO_PAD.encode(random));
        let mut living = lock(&self.living);
        if living.len() >= MOST {
            living.retain(|_, grant| grant.expires > now);
        }
        if living.len() >= MOST {
            living.clear();
        }
        living.insert(token.clone(), Grant { subject: subject.to_owned(), scopes, expires: now + TOKEN_TTL });
        token
    }

    fn revoke(&self, token: &str) {
        lock(&self.living).remove(token);
    }

    /// Whether this is the first use.
    fn first_use(&self, assertion: &str, now: i64) -> bool {
        let mut used = lock(&self.used);
        if used.len() >= MOST {
            used.retain(|_, until| *until > now);
        }
        // Twice the life: the skew is allowed on top.
        used.len() < MOST && used.insert(assertion.to_owned(), now + 2 * ASSERTION_TTL).is_none()
    }
}

/// RFC 6749 section 5.2.
struct OAuthError(StatusCode, &'static str, String);

impl OAuthError {
    fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, code, text.into())
    }

    fn client(text: impl Into<String>) -> Self {
        Self(StatusCode::UNAUTHORIZED, "invalid_client", text.into())
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let mut response =
            (self.0, Json(json!({"error": self.1, "error_description": self.2}))).into_response();
        no_store(response.headers_mut());
        if self.0 == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"sandbox\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

fn no_store(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

type Params = HashMap<String, String>;

fn read(headers: &HeaderMap, body: &Bytes) -> Result<Params, OAuthError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let params = if kind.starts_with("application/json") {
        serde_json::from_slice(body).ok()
    } else if kind.starts_with("application/x-www-form-urlencoded") {
        form::read(body)
    } else {
        None
    };
    params.ok_or_else(|| {
        OAuthError::new(
            "invalid_request",
            "The body must be a form (or a JSON object of texts), with its content type.",
        )
    })
}

pub async fn token(State(sandbox): State<Arc<Sandbox>>, headers: HeaderMap, body: Bytes) -> Response {
    match answer(&sandbox, &headers, &body) {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

fn answer(sandbox: &Sandbox, headers: &HeaderMap, body: &Bytes) -> Result<Response, OAuthError> {
    let params = read(headers, body)?;
    let subject = match params.get("grant_type").map(String::as_str) {
        Some("client_credentials") => {
            client(headers, &params)?;
            DEMO.client_id.to_owned()
        }
        Some(kind @ ("authorization_code" | "refresh_token")) => {
            client(headers, &params)?;
            return consented(sandbox, kind, &params);
        }
        Some(JWT_BEARER) => by_assertion(sandbox, &params)?,
        Some(_) => {
            let text = format!(
                "The sandbox knows client_credentials, authorization_code, refresh_token and {JWT_BEARER}."
            );
            return Err(OAuthError::new("unsupported_grant_type", text));
        }
        None => return Err(OAuthError::new("invalid_request", "grant_type is missing.")),
    };
    let scopes = scopes(params.get("scope").map(String::as_str).unwrap_or_default())?;
    let scope = scopes.join(" ");
    let token = sandbox.tokens.make(&subject, scopes, sandbox.now(), sandbox.entropy.as_ref());
    let body =
        json!({"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_TTL, "scope": scope});
    let mut response = Json(body).into_response();
    no_store(response.headers_mut());
    Ok(response)
}

/// A token on behalf of the person who agreed (RFC 6749 sections 4.1.3 and 6). Refresh tokens are used once.
fn consented(sandbox: &Sandbox, kind: &str, params: &Params) -> Result<Response, OAuthError> {
    let text = |name: &str| params.get(name).map(String::as_str).unwrap_or_default();
    let (consents, now) = (&sandbox.consents, sandbox.now());
    let scopes = if kind == "refresh_token" {
        consents.renew(text("refresh_token")).ok_or("the refresh token is unknown or was used before")
    } else {
        consents.take(text("code"), text("redirect_uri"), text("code_verifier"), now)
    }
    .map_err(|why| OAuthError::new("invalid_grant", format!("Refused: {why}.")))?;
    let refresh = consents.keep(&scopes, sandbox.entropy.as_ref());
    let scope = scopes.join(" ");
    let token = sandbox.tokens.make(DEMO.subject, scopes, now, sandbox.entropy.as_ref());
    let body = json!({
        "access_token": token, "token_type": "Bearer", "expires_in": TOKEN_TTL, "refresh_token": refresh, "scope": scope,
    });
    let mut response = Json(body).into_response();
    no_store(response.headers_mut());
    Ok(response)
}

/// Client authentication by Basic or in the body (RFC 6749 section 2.3.1).
fn client(headers: &HeaderMap, params: &Params) -> Result<(), OAuthError> {
    let basic = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Basic ").and_then(decode_basic))
        // Both halves are form-encoded before base64.
        .and_then(|(id, secret)| Some((form::decode(&id)?, form::decode(&secret)?)));
    let in_body = || Some((params.get("client_id")?.clone(), params.get("client_secret")?.clone()));
    let Some((id, secret)) = basic.or_else(in_body) else {
        return Err(OAuthError::client("Send client_id and client_secret, as Basic or in the body."));
    };
    if id != DEMO.client_id {
        return Err(OAuthError::client("There is no client with this client_id."));
    }
    if secret != DEMO.client_secret {
        return Err(OAuthError::client("The client_secret is wrong."));
    }
    Ok(())
}

/// RFC 7523 section 3.
fn by_assertion(sandbox: &Sandbox, params: &Params) -> Result<String, OAuthError> {
    let assertion =
        params.get("assertion").ok_or_else(|| OAuthError::new("invalid_request", "assertion is missing."))?;
    let audiences = [sandbox.token_url(), sandbox.base_url.clone()];
    let wanted = Wanted {
        algorithms: &["RS256"],
        audiences: &audiences,
        audience_optional: false,
        longest_life: ASSERTION_TTL,
    };
    let claims = jwt::verify(assertion, &wanted, sandbox.now())
        .map_err(|why| OAuthError::new("invalid_grant", format!("The assertion was refused: {why}.")))?;
    let subject = claims["sub"].as_str().unwrap_or_default();
    if subject == DEMO.unapproved_subject {
        return Err(OAuthError::new("invalid_grant", "user hasn't approved this consumer"));
    }
    if subject != DEMO.subject {
        return Err(OAuthError::new(
            "invalid_grant",
            format!("There is no person `{subject}`; sub must be an e-mail address of one."),
        ));
    }
    if !sandbox.tokens.first_use(assertion, sandbox.now()) {
        return Err(OAuthError::new(
            "invalid_grant",
            "The assertion was used before; give each its own jti.",
        ));
    }
    Ok(subject.to_owned())
}

/// All scopes when none is asked for.
fn scopes(asked: &str) -> Result<Vec<String>, OAuthError> {
    if let Some(unknown) = asked.split_whitespace().find(|scope| !DEMO.scopes.contains(scope)) {
        let text = format!("There is no scope `{unknown}`; there are {}.", DEMO.scopes.join(" and "));
        return Err(OAuthError::new("invalid_scope", text));
    }
    let wanted =
        |scope: &&&str| asked.trim().is_empty() || asked.split_whitespace().any(|one| one == **scope);
    Ok(DEMO.scopes.iter().filter(wanted).map(|scope| (*scope).to_owned()).collect())
}

pub async fn revoke(State(sandbox): State<Arc<Sandbox>>, headers: HeaderMap, body: Bytes) -> Response {
    let done = read(&headers, &body).and_then(|params| {
        client(&headers, &params)?;
        // An unknown token is as good as a revoked one (RFC 7009 section 2.2).
        let token = params.get("token").map(String::as_str).unwrap_or_default();
        sandbox.tokens.revoke(token);
        sandbox.consents.renew(token);
        Ok(())
    });
    match done {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => error.into_response(),
    }
}
