//! `…/credentials/{credential}/call/{operation}` and `…/metadata/{name}`: what a connector can be asked by name.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use latchstring_broker::operations::{Input, Kind, Reply, Wish};
use latchstring_model::id::CallId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::path::{Asked, Named};
use crate::problem::{ApiError, ApiResult, Refusals};

const CALL_ID: HeaderName = HeaderName::from_static("latchstring-call-id");
const ERROR: HeaderName = HeaderName::from_static("latchstring-error");
const USER: HeaderName = HeaderName::from_static("latchstring-user");
const EXTERNAL_ID: HeaderName = HeaderName::from_static("latchstring-external-id");

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(call_operation)).routes(routes!(read_metadata))
}

/// What an operation is given.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `input` reads")]
struct CallOperation {
    /// The operation's fields, as the connector lists them. They may also stand in the body by themselves,
    /// without `input` around them.
    #[schema(value_type = Object)]
    input: Map<String, Value>,
}

/// `{"input": {…}}`, or the fields themselves: no field is called `input`.
fn input(mut body: Map<String, Value>) -> ApiResult<Input> {
    let Some(given) = body.remove("input") else { return Ok(Input::json("", body)) };
    let mut errors: Vec<FieldError> = body
        .keys()
        .map(|name| {
            FieldError::new(
                format!("/{}", name.replace('~', "~0").replace('/', "~1")),
                "the operation's fields stand inside of `input`",
            )
        })
        .collect();
    match given {
        Value::Object(given) if errors.is_empty() => Ok(Input::json("/input", given)),
        Value::Object(_) => Err(Problem::invalid(errors).into()),
        _ => {
            errors.push(FieldError::new("/input", "is an object of the operation's fields"));
            Err(Problem::invalid(errors).into())
        }
    }
}

fn named<'h>(headers: &'h HeaderMap, name: &HeaderName, hint: &'static str) -> ApiResult<Option<&'h str>> {
    match headers.get(name).map(HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok(text)) if !text.trim().is_empty() => Ok(Some(text.trim())),
        Some(_) => {
            Err(Problem::new(Code::BadRequest, format!("The header {name} is empty or not plain text."))
                .hint(hint)
                .into())
        }
    }
}

fn named_user(headers: &HeaderMap) -> ApiResult<Option<&str>> {
    named(headers, &USER, "Send the e-mail address of a member that the key may act for.")
}

fn external_id(headers: &HeaderMap) -> ApiResult<Option<&str>> {
    named(headers, &EXTERNAL_ID, "Send the `external_id` of one of the keychain's credentials.")
}

fn answer((call, done): (CallId, Refused<Reply>)) -> Response {
    let mut code = None;
    let mut response = match done {
        Ok(Reply::Empty) => StatusCode::NO_CONTENT.into_response(),
        Ok(Reply::Json(body)) => {
            ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
        }
        Err(problem) => {
            code = Some(HeaderValue::from_static(problem.code.as_str()));
            ApiError(problem).into_response()
        }
    };
    let headers = response.headers_mut();
    if let Ok(call) = HeaderValue::try_from(call.as_str()) {
        headers.insert(CALL_ID, call);
    }
    if let Some(code) = code {
        headers.insert(ERROR, code);
    }
    response
}

/// Calls an operation of the credential's connector.
///
/// For editors, admins and owners (a session, or a key of either scope), and for the environment's service keys.
/// The request is the definition's; the answer is the API's JSON (what is none comes as `{content_type, text}` or
/// `{content_type, base64}`; an empty one as 204), after the definition's `filter`. A refusal of the API is a 502
/// `upstream_error` with `upstream: {status, body_excerpt}`; of a filtered operation only the status is shown.
/// `Latchstring-Call-Id` names the call.
#[utoipa::path(post, path = "/api/v1/projects/{project}/environments/{environment}/credentials/{credential}/call/{operation}", tag = "Calls", params(("project" = String, Path, description = "Slug or id"), ("environment" = String, Path), ("credential" = String, Path, description = "Slug or id of a credential or a keychain"), ("operation" = String, Path), ("Latchstring-User" = Option<String>, Header, description = "The member that a service key acts for"), ("Latchstring-External-Id" = Option<String>, Header, description = "Which credential of a keychain, instead of what its template gives for the input")), request_body = CallOperation, responses((status = 200, body = Object, description = "What the API answered, filtered"), (status = 204, description = "The API answered with nothing"), Refusals))]
async fn call_operation(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, environment, credential, operation)): Named<(String, String, String, String)>,
    headers: HeaderMap,
    Body(body): Body<Map<String, Value>>,
) -> ApiResult<Response> {
    let wish = Wish {
        project: &project,
        environment: &environment,
        credential: &credential,
        kind: Kind::Operation,
        name: &operation,
        input: input(body)?,
        user: named_user(&headers)?,
        external_id: external_id(&headers)?,
    };
    Ok(answer(Box::pin(app.broker().operate(&actor, &wish)).await))
}

/// Reads metadata of the credential's connector: lists of choices, such as the objects that it knows.
///
/// A call like any other, for the same callers as `call`; nothing of it is kept. Fields that it takes stand in
/// the query. With the definition's `select` the answer is a list of `{value, label, …}`.
#[utoipa::path(get, path = "/api/v1/projects/{project}/environments/{environment}/credentials/{credential}/metadata/{name}", tag = "Calls", params(("project" = String, Path, description = "Slug or id"), ("environment" = String, Path), ("credential" = String, Path, description = "Slug or id of a credential or a keychain"), ("name" = String, Path), ("Latchstring-User" = Option<String>, Header, description = "The member that a service key acts for"), ("Latchstring-External-Id" = Option<String>, Header, description = "Which credential of a keychain, instead of what its template gives for the input")), responses((status = 200, body = Object), (status = 204, description = "The API answered with nothing"), Refusals))]
async fn read_metadata(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, environment, credential, name)): Named<(String, String, String, String)>,
    Asked(texts): Asked<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let wish = Wish {
        project: &project,
        environment: &environment,
        credential: &credential,
        kind: Kind::Metadata,
        name: &name,
        input: Input::texts(texts),
        user: named_user(&headers)?,
        external_id: external_id(&headers)?,
    };
    Ok(answer(Box::pin(app.broker().operate(&actor, &wish)).await))
}
