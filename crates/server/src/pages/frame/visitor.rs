//! Who looks at a page.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use latchstring_broker::{Actor, Via, Who};
use latchstring_model::{Code, Problem};

use super::{Flash, Theme, html};
use crate::extract::actor::Anyone;
use crate::pages::credentials::fields::Pairs;
use crate::problem::ApiError;
use crate::texts::{EN, T};

/// Anybody.
pub struct Visitor {
    pub actor: Actor,
    pub t: T,
    pub theme: Theme,
    pub flash: Option<Flash>,
    /// Path and query that were asked for.
    pub path: String,
    pub headers: HeaderMap,
    /// The form is sent in the background: what was typed stays where it is.
    pub stays: bool,
}

/// Somebody in a browser session; everybody else is shown the way in. Keys are for programs.
pub struct Signed(pub Visitor);

impl Visitor {
    pub fn is_signed_in(&self) -> bool {
        matches!(&self.actor.who, Who::Person { via: Via::Session { .. }, .. })
    }

    /// What has to be typed again where it is secret: nothing, while the page stays.
    pub fn typed<'p>(&self, pairs: &'p Pairs) -> Vec<(&'p str, &'p str)> {
        if self.stays { Vec::new() } else { pairs.iter().collect() }
    }

    pub fn show(&self, page: &impl askama::Template) -> Response {
        html(StatusCode::OK, page)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let actor = match Anyone::from_request_parts(parts, state).await {
            Ok(Anyone(actor)) => actor,
            Err(_) => Actor { who: Who::Anonymous, address: None },
        };
        Ok(Self {
            actor,
            t: &EN,
            theme: Theme::of(&parts.headers),
            flash: Flash::of(&parts.headers),
            path: parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            headers: parts.headers.clone(),
            stays: parts.headers.contains_key(crate::pages::FORM),
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Signed {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let visitor = match Visitor::from_request_parts(parts, state).await {
            Ok(visitor) => visitor,
            Err(never) => match never {},
        };
        if visitor.is_signed_in() {
            return Ok(Self(visitor));
        }
        let e = &visitor.t.entrance;
        Err(Problem::new(Code::Unauthenticated, e.people_only.0).hint(e.people_only_hint.0).into())
    }
}
