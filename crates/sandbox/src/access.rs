//! Who is calling: the four ways of proving it, each with its own words when it fails.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, StatusCode, header};
use serde::Serialize;

use crate::Sandbox;
use crate::demo::DEMO;
use crate::jwt::{self, Wanted};
use crate::refusal::Refusal;

/// How a caller proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    ApiKey,
    Basic,
    AccessToken,
    SignedJwt,
}

/// What a part of the API asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Whichever of the four is sent.
    Any,
    Only(Proof),
}

#[derive(Clone, Debug, Serialize)]
pub struct Caller {
    pub signed_in_with: Proof,
    pub subject: String,
    pub scopes: Vec<String>,
}

const API_KEY: &str = "x-api-key";
const HINT_ANY: &str =
    "Send an X-API-Key header, a Basic user, an OAuth access token or a signed JWT; GET / lists them all.";

/// Lets a request through with its [`Caller`], or refuses it.
pub async fn check(
    State((sandbox, demand)): State<(Arc<Sandbox>, Demand)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let caller = caller(&sandbox, demand, request.headers())?;
    let needed =
        if matches!(*request.method(), Method::GET | Method::HEAD) { "people:read" } else { "people:write" };
    if !caller.scopes.iter().any(|scope| scope == needed) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "not_permitted",
            format!(
                "You are known as `{}`, but may not do this: it takes the scope `{needed}`.",
                caller.subject
            ),
            "Use a credential that may write, or ask for the scope with the token request.",
        ));
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

fn caller(sandbox: &Sandbox, demand: Demand, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let key = headers.get(API_KEY).map(|value| value.to_str().unwrap_or_default());
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, value) = authorization.and_then(|text| text.split_once(' ')).unwrap_or_default();
    let value = value.trim();
    let (basic, bearer) = (scheme.eq_ignore_ascii_case("basic"), scheme.eq_ignore_ascii_case("bearer"));
    let asked = match demand {
        Demand::Only(proof) => proof,
        Demand::Any if key.is_some() => Proof::ApiKey,
        Demand::Any if basic => Proof::Basic,
        // A JWT has two dots, an access token of this server has none.
        Demand::Any if value.matches('.').count() == 2 => Proof::SignedJwt,
        Demand::Any => Proof::AccessToken,
    };
    match (asked, key) {
        (Proof::ApiKey, Some(key)) => by_api_key(key),
        (Proof::Basic, _) if basic => by_basic(value),
        (Proof::AccessToken, _) if bearer => by_access_token(sandbox, value),
        (Proof::SignedJwt, _) if bearer => by_jwt(sandbox, value),
        _ => Err(nothing_sent(demand)),
    }
}

fn nothing_sent(demand: Demand) -> Refusal {
    let (wanted, hint, challenge) = match demand {
        Demand::Any => ("a credential", HINT_ANY, "Bearer realm=\"sandbox\", Basic realm=\"sandbox\""),
        Demand::Only(Proof::ApiKey) => {
            ("an API key", "Send it in the header X-API-Key.", "ApiKey realm=\"sandbox\"")
        }
        Demand::Only(Proof::Basic) => {
            ("a user name and password", "Send them as HTTP Basic.", "Basic realm=\"sandbox\"")
        }
        Demand::Only(Proof::AccessToken) => (
            "an access token",
            "Ask POST /oauth/token for one and send it as `Authorization: Bearer …`.",
            "Bearer realm=\"sandbox\"",
        ),
        Demand::Only(Proof::SignedJwt) => (
            "a signed JWT",
            "Sign one with RS256 or HS256 and send it as `Authorization: Bearer …`.",
            "Bearer realm=\"sandbox\"",
        ),
    };
    Refusal::unauthorized(
        "credential_missing",
        format!("This part of the API wants {wanted}."),
        hint,
        challenge,
    )
}

fn caller_of(proof: Proof, subject: &str, scopes: &[&str]) -> Caller {
    Caller {
        signed_in_with: proof,
        subject: subject.to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
    }
}

fn by_api_key(key: &str) -> Result<Caller, Refusal> {
    if key == DEMO.api_key {
        Ok(caller_of(Proof::ApiKey, "api-key", DEMO.scopes))
    } else if key == DEMO.read_only_api_key {
        Ok(caller_of(Proof::ApiKey, "read-only-api-key", &["people:read"]))
    } else {
        Err(Refusal::unauthorized(
            "wrong_api_key",
            "The API key in X-API-Key is not known here.",
            "Copy the key again, whole and without blanks; GET / shows the sandbox's own.",
            "ApiKey realm=\"sandbox\", error=\"invalid_key\"",
        ))
    }
}

fn by_basic(value: &str) -> Result<Caller, Refusal> {
    match decode_basic(value) {
        Some((user, password)) if user == DEMO.username && password == DEMO.password => {
            Ok(caller_of(Proof::Basic, DEMO.username, DEMO.scopes))
        }
        _ => Err(Refusal::unauthorized(
            "wrong_password",
            "The user name or the password is wrong.",
            "GET / shows the sandbox's own.",
            "Basic realm=\"sandbox\"",
        )),
    }
}

/// RFC 7617: base64 of `user:password`.
pub fn decode_basic(value: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

fn by_access_token(sandbox: &Sandbox, token: &str) -> Result<Caller, Refusal> {
    match sandbox.tokens.find(token, sandbox.now()) {
        Some(grant) => {
            Ok(Caller { signed_in_with: Proof::AccessToken, subject: grant.subject, scopes: grant.scopes })
        }
        None => Err(Refusal::unauthorized(
            "invalid_token",
            "The access token is not known here, has expired or was revoked.",
            "Ask POST /oauth/token for a new one.",
            "Bearer realm=\"sandbox\", error=\"invalid_token\"",
        )),
    }
}

fn by_jwt(sandbox: &Sandbox, token: &str) -> Result<Caller, Refusal> {
    let audiences = [sandbox.base_url.clone(), format!("{}/", sandbox.base_url)];
    let wanted = Wanted {
        algorithms: &["RS256", "HS256"],
        audiences: &audiences,
        audience_optional: true,
        longest_life: 3600,
    };
    match jwt::verify(token, &wanted, sandbox.now()) {
        Ok(claims) => {
            Ok(caller_of(Proof::SignedJwt, claims["sub"].as_str().unwrap_or(DEMO.issuer), DEMO.scopes))
        }
        Err(why) => Err(Refusal::unauthorized(
            "invalid_jwt",
            format!("The JWT was refused: {why}."),
            "Sign a fresh one for every request; GET / says with which key and claims.",
            "Bearer realm=\"sandbox\", error=\"invalid_token\"",
        )),
    }
}
