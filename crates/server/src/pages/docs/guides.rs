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
use crate::texts::docs::Docs;
use crate::texts::{EN, T, Text};

macro_rules! guides {
    ($($name:literal $title:ident $file:literal;)*) => {
        /// Name, title, text; in the order in which they are listed.
        const GUIDES: &[(&str, fn(&Docs) -> Text, &str)] =
            &[$(($name, |docs: &Docs| docs.$title, include_str!(concat!("../../../../../docs/", $file)))),*];
    };
}

guides! {
    "oauth-clients" guide_oauth_clients "oauth-clients.md";
    "consent" guide_consent "consent.md";
    "google" guide_google "google.md";
    "salesforce" guide_salesforce "salesforce.md";
    "embedding" guide_embedding "embedding.md";
    "notifications" guide_notifications "notifications.md";
    "audit" guide_audit "audit.md";
    "connectors" guide_connectors "connectors.md";
    "templates" guide_templates "templates.md";
    "README" guide_sending "auth/README.md";
    "none" guide_none "auth/none.md";
    "api_key" guide_api_key "auth/api_key.md";
    "basic" guide_basic "auth/basic.md";
    "bearer" guide_bearer "auth/bearer.md";
    "oauth2_client_credentials" guide_oauth2_client_credentials "auth/oauth2_client_credentials.md";
    "oauth2_authorization_code" guide_oauth2_authorization_code "auth/oauth2_authorization_code.md";
    "oauth2_device_code" guide_oauth2_device_code "auth/oauth2_device_code.md";
    "oauth2_jwt_bearer" guide_oauth2_jwt_bearer "auth/oauth2_jwt_bearer.md";
    "oauth2_token_exchange" guide_oauth2_token_exchange "auth/oauth2_token_exchange.md";
    "oauth2_password" guide_oauth2_password "auth/oauth2_password.md";
    "jwt" guide_jwt "auth/jwt.md";
    "oauth1" guide_oauth1 "auth/oauth1.md";
    "aws_sigv4" guide_aws_sigv4 "auth/aws_sigv4.md";
    "digest" guide_digest "auth/digest.md";
    "hmac" guide_hmac "auth/hmac.md";
    "mutual_tls" guide_mutual_tls "auth/mutual_tls.md";
    "steps" guide_steps "auth/steps.md";
    "custom" guide_custom "auth/custom.md";
    "SECURITY" guide_security "SECURITY.md";
}

const ERRORS: &str = include_str!("../../../../../docs/errors.md");

pub fn all(t: T) -> impl Iterator<Item = (&'static str, Text)> {
    GUIDES.iter().map(|(name, title, _)| (*name, title(&t.docs)))
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
    let found = all(visitor.t).find(|(known, _)| *known == name);
    let (name, title) =
        found.ok_or_else(|| Box::new(Problem::new(Code::NotFound, visitor.t.docs.no_guide.0)))?;
    page(&app, &visitor, name, title.0).await
}

/// Where a problem's `type` points, with an anchor for every code.
pub async fn errors(State(app): State<App>, visitor: Visitor) -> Result<Response, Refused> {
    page(&app, &visitor, "errors", visitor.t.docs.errors.0).await
}
