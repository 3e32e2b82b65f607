//! A small external API with its own authorization server, to try Latchstring with: no account
//! anywhere, no internet. `latchstring serve --sandbox` starts it on a loopback port.
//!
//! It wants an API key, HTTP Basic, an OAuth access token (client credentials or a JWT assertion) or
//! a signed JWT. Its credentials ([`DEMO`]) are public and guard sample data. It knows nothing of
//! Latchstring: it verifies with its own code what Latchstring signs.
//!
//! | path | wants | gives |
//! | --- | --- | --- |
//! | `/` | nothing | what there is, and the credentials |
//! | `/v1/…` | any of the four | `me`, `people`, `people/{id}`, `events`, `limited`, `status/{code}` |
//! | `/api-key/v1/…`, `/basic/v1/…`, `/bearer/v1/…`, `/jwt/v1/…` | that one | the same |
//! | `/oauth/authorize` | a person in a browser | a page that asks for consent (RFC 6749 section 4.1, PKCE) |
//! | `/oauth/token`, `/oauth/revoke` | a client, a code or an assertion | RFC 6749, 7523, 7009 |
//! | `/oauth/userinfo` | an access token | whose it is |
//! | `/echo`, `/echo/…` | nothing | the request, its secrets masked; `?unmasked=true` does not |

mod access;
mod consent;
mod demo;
mod form;
mod jwt;
mod people;
mod refusal;
mod samples;
mod token;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{any, get, post};
use axum::{Json, Router, response::IntoResponse};
use http::{StatusCode, Uri};
use latchstring_model::{Clock, Entropy};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use access::{Demand, Proof};
pub use demo::{DEMO, Demo};
use refusal::Refusal;
pub use token::TOKEN_TTL;

/// What all handlers share.
struct Sandbox {
    /// `http://127.0.0.1:PORT`, without a slash at the end.
    base_url: String,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    tokens: token::Tokens,
    consents: consent::Consents,
    people: people::People,
    limit: samples::Limit,
}

impl Sandbox {
    fn now(&self) -> i64 {
        self.clock.now().secs()
    }

    fn token_url(&self) -> String {
        format!("{}/oauth/token", self.base_url)
    }
}

/// Answers until the future is dropped. The listener must be on a loopback address: everybody who
/// reaches it may know its credentials.
pub async fn serve(
    listener: TcpListener,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    only_loopback(address)?;
    axum::serve(listener, router(&format!("http://{address}"), clock, entropy)).await
}

fn only_loopback(address: SocketAddr) -> io::Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let text = format!("the sandbox listens on loopback addresses only, not on {address}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// The API by itself; `base_url` is where it is reached, without a slash at the end.
pub fn router(base_url: &str, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Router {
    let sandbox = Arc::new(Sandbox {
        base_url: base_url.to_owned(),
        clock,
        entropy,
        tokens: token::Tokens::default(),
        consents: consent::Consents::default(),
        people: people::People::default(),
        limit: samples::Limit::default(),
    });
    let resources = |demand| {
        Router::new()
            .route("/me", get(people::me))
            .route("/people", get(people::list).post(people::create))
            .route("/people/{id}", get(people::one))
            .route("/events", get(samples::events))
            .route("/limited", get(samples::limited))
            .route("/status/{code}", any(samples::status))
            .route_layer(from_fn_with_state((sandbox.clone(), demand), access::check))
    };
    Router::new()
        .route("/", get(index))
        .nest("/v1", resources(Demand::Any))
        .nest("/api-key/v1", resources(Demand::Only(Proof::ApiKey)))
        .nest("/basic/v1", resources(Demand::Only(Proof::Basic)))
        .nest("/bearer/v1", resources(Demand::Only(Proof::AccessToken)))
        .nest("/jwt/v1", resources(Demand::Only(Proof::SignedJwt)))
        .route("/oauth/authorize", get(consent::ask).post(consent::answer))
        .route("/oauth/userinfo", get(consent::userinfo))
        .route("/oauth/token", post(token::token))
        .route("/oauth/revoke", post(token::revoke))
        .route("/echo", any(samples::echo))
        .route("/echo/{*rest}", any(samples::echo))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(1024 * 1024))
        .with_state(sandbox)
}

async fn not_found(uri: Uri) -> Response {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("There is nothing at {}.", uri.path()),
        "GET / lists what there is.",
    )
    .into_response()
}

async fn wrong_method(uri: Uri) -> Response {
    let text = format!("{} does not take this method.", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text, "GET / lists what there is.")
        .into_response()
}

async fn index(State(sandbox): State<Arc<Sandbox>>) -> Json<Value> {
    let base = &sandbox.base_url;
    Json(json!({
        "name": "Latchstring sandbox",
        "about": "A small API with sample data. Its credentials are public and guard nothing; it forgets everything at the end.",
        "paths": {
            "/v1/me": "who you are here",
            "/v1/people": "GET a page (?limit=, ?cursor=, ?role=), POST {name, email, role?, city?}",
            "/v1/people/{id}": "one of them",
            "/v1/events": "server-sent events (?count=, ?interval_ms=)",
            "/v1/limited": "three requests in ten seconds, then 429",
            "/v1/status/{code}": "that status",
            "/api-key/v1/…, /basic/v1/…, /bearer/v1/…, /jwt/v1/…": "the same, with that one credential only",
            "/oauth/authorize": "a page that asks a person for consent (authorization code with PKCE)",
            "/oauth/token": "client_credentials, authorization_code, refresh_token and urn:ietf:params:oauth:grant-type:jwt-bearer",
            "/oauth/userinfo": "whose access token it is",
            "/oauth/revoke": "ends an access token or a refresh token",
            "/echo": "what you sent, with its secrets masked",
        },
        "credentials": {
            "api_key": {"header": "X-API-Key", "key": DEMO.api_key, "read_only_key": DEMO.read_only_api_key},
            "basic": {"username": DEMO.username, "password": DEMO.password},
            "client_credentials": {
                "token_url": sandbox.token_url(), "client_id": DEMO.client_id, "client_secret": DEMO.client_secret,
                "scopes": DEMO.scopes, "token_lives_seconds": TOKEN_TTL,
            },
            "jwt_bearer": {
                "token_url": sandbox.token_url(), "issuer": DEMO.issuer, "subject": DEMO.subject,
                "audience": sandbox.token_url(), "algorithm": "RS256", "private_key": DEMO.private_key,
                "a_subject_that_refuses": DEMO.unapproved_subject,
            },
            "jwt": {
                "issuer": DEMO.issuer, "audience": base, "RS256_private_key": DEMO.private_key,
                "HS256_secret": DEMO.shared_secret,
            },
        },
    }))
}

#[cfg(test)]
mod tests;
