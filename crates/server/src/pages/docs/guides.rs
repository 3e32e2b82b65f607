//! `/docs/guides/{name}` and `/docs/errors`: the repository's own guides, part of the binary.

use std::collections::HashMap;
use std::sync::LazyLock;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_model::{Code, Problem};

use super::{frame, markdown};
use crate::App;
use crate::extract::path::Named;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Frame, Visitor};
use crate::texts::EN;

macro_rules! guides {
    ($($name:literal $title:literal $file:literal;)*) => {
        /// Name, title, text; in the order in which they are listed.
        const GUIDES: &[(&str, &str, &str)] =
            &[$(($name, $title, include_str!(concat!("../../../../../docs/", $file)))),*];
    };
}

guides! {
    "oauth-clients" "OAuth clients" "oauth-clients.md";
    "consent" "Consent: connecting accounts" "consent.md";
    "google" "Google" "google.md";
    "salesforce" "Salesforce" "salesforce.md";
    "embedding" "Embedding: your customers connect their accounts" "embedding.md";
    "notifications" "Notifications and webhooks" "notifications.md";
    "audit" "The audit trail" "audit.md";
    "connectors" "Connector definitions: the reference" "connectors.md";
    "templates" "Templates, with examples" "templates.md";
    "README" "How credentials are sent, and how tokens live" "auth/README.md";
    "none" "No authentication" "auth/none.md";
    "api_key" "API key" "auth/api_key.md";
    "basic" "User name and password" "auth/basic.md";
    "bearer" "Bearer token" "auth/bearer.md";
    "oauth2_client_credentials" "OAuth 2 client credentials" "auth/oauth2_client_credentials.md";
    "oauth2_authorization_code" "OAuth 2 authorization code" "auth/oauth2_authorization_code.md";
    "oauth2_device_code" "OAuth 2 device code" "auth/oauth2_device_code.md";
    "oauth2_jwt_bearer" "OAuth 2 JWT bearer" "auth/oauth2_jwt_bearer.md";
    "oauth2_token_exchange" "OAuth 2 token exchange" "auth/oauth2_token_exchange.md";
    "oauth2_password" "OAuth 2 password" "auth/oauth2_password.md";
    "jwt" "Signed JWT" "auth/jwt.md";
    "oauth1" "OAuth 1.0a" "auth/oauth1.md";
    "aws_sigv4" "AWS Signature V4" "auth/aws_sigv4.md";
    "digest" "Digest" "auth/digest.md";
    "hmac" "HMAC" "auth/hmac.md";
    "mutual_tls" "Client certificate" "auth/mutual_tls.md";
    "steps" "Logins in steps" "auth/steps.md";
    "custom" "Custom" "auth/custom.md";
    "SECURITY" "Security" "SECURITY.md";
}

const ERRORS: &str = include_str!("../../../../../docs/errors.md");

pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    GUIDES.iter().map(|(name, title, _)| (*name, *title))
}

pub fn text(name: &str) -> Option<&'static str> {
    GUIDES.iter().find(|(known, ..)| *known == name).map(|(_, _, text)| *text)
}

/// Rendered once: the texts do not change while we run.
static RENDERED: LazyLock<HashMap<&'static str, String>> = LazyLock::new(|| {
    let table = EN.docs.table.0;
    let guides = GUIDES.iter().map(|(name, _, text)| (*name, markdown::html(text, table)));
    guides.chain([("errors", markdown::html(ERRORS, table))]).collect()
});

#[derive(Template)]
#[template(path = "docs/text.html")]
struct Page<'a> {
    f: Frame,
    title: &'a str,
    /// Our own text, so its HTML is trusted.
    body: &'a str,
}

async fn page(app: &App, visitor: &Visitor, name: &str, title: &str) -> Result<Response, Refused> {
    let body = RENDERED.get(name).map_or("", String::as_str);
    Ok(visitor.show(&Page { f: frame(app, visitor).await?, title, body }))
}

pub async fn show(
    State(app): State<App>,
    visitor: Visitor,
    Named(name): Named<String>,
) -> Result<Response, Refused> {
    let found = all().find(|(known, _)| *known == name);
    let (name, title) =
        found.ok_or_else(|| Box::new(Problem::new(Code::NotFound, "There is no such guide.")))?;
    page(&app, &visitor, name, title).await
}

/// Where a problem's `type` points, with an anchor for every code.
pub async fn errors(State(app): State<App>, visitor: Visitor) -> Result<Response, Refused> {
    page(&app, &visitor, "errors", visitor.t.docs.errors.0).await
}
