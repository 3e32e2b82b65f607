//! The outside face: `/api/v1` and the pages, on axum. It translates and decides nothing: every handler turns a
//! request into one use case of `latchstring_broker` and its answer into JSON or HTML.
//!
//! A request passes, from the outside in:
//! 1. [`guard::headers`] gives it an id, its answer the security headers, and the log a line
//! 2. [`pages::for_people`] shows people in a browser a page instead of a problem's JSON; then the body limit
//! 3. [`guard::enter`] finds out who it is ([`Door::enter`]), wants a browser's unsafe requests to come from our own
//!    pages, and records refused changes
//! 4. [`guard::repeat`] looks at `Idempotency-Key`
//! 5. the handler
//!
//! Who is at the other end of the connection is told by an extension of the request,
//! [`latchstring_broker::road::Peer`], which the binary's listener puts there.

pub mod api;
pub mod extract;
pub mod guard;
pub mod pages;
pub mod problem;
pub mod texts;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use latchstring_broker::Broker;
use latchstring_broker::people::entry::Door;
use latchstring_model::{Code, Problem};

use crate::api::actions;
use crate::extract::body::LIMIT;
use crate::problem::ApiError;

/// One thing that readiness looks at.
pub struct Check {
    /// `database`, `key`, `migrations`, `journal`.
    pub name: &'static str,
    /// `None` when it is well; otherwise why not, in words that anybody may read.
    pub trouble: Option<String>,
}

pub type Ready = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Vec<Check>> + Send>> + Send + Sync>;

/// What the binary brings.
#[derive(Clone)]
pub struct Options {
    pub ready: Ready,
    /// All metrics as Prometheus text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// What every handler can ask for.
#[derive(Clone)]
pub struct App {
    door: Arc<Door>,
    options: Arc<Options>,
    /// What refused forms are called in the audit trail, by the page's path.
    form_actions: Arc<HashMap<&'static str, &'static str>>,
}

impl App {
    pub fn door(&self) -> &Door {
        &self.door
    }

    pub fn broker(&self) -> &Arc<Broker> {
        self.door.broker()
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What a refused change is called in the audit trail; `None` where the use case records it.
    pub fn action_of(&self, method: &Method, path: &str) -> Option<&'static str> {
        let form = || self.form_actions.get(path).copied().filter(|action| !action.is_empty());
        actions::of(method, path).or_else(form)
    }
}

/// Everything but `/proxy`. One per process: the door counts tries.
pub fn router(broker: Arc<Broker>, options: Options) -> Router {
    let (pages, form_actions) = pages::pages().split();
    let app = App {
        door: Arc::new(Door::new(broker)),
        options: Arc::new(options),
        form_actions: Arc::new(form_actions),
    };
    let (api, _) = api::router().split_for_parts();
    let entered = api
        .merge(pages)
        .layer(from_fn_with_state(app.clone(), guard::repeat::layer))
        .layer(from_fn_with_state(app.clone(), guard::enter::layer));
    Router::new()
        .merge(entered)
        .route("/api/v1/openapi.json", get(api::openapi::get))
        .merge(pages::open_router())
        .merge(api::health::router())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(LIMIT))
        .layer(from_fn(pages::for_people))
        .layer(from_fn_with_state(app.clone(), guard::headers::layer))
        .with_state(app)
}

async fn not_found() -> ApiError {
    Problem::new(Code::NotFound, "Nothing lives at this address.")
        .hint("GET /api/v1/openapi.json describes every address there is.")
        .into()
}

async fn method_not_allowed() -> ApiError {
    Problem::new(Code::MethodNotAllowed, "This address exists, but not for that method.")
        .hint("The answer's Allow header lists the methods; GET /api/v1/openapi.json describes them.")
        .into()
}
