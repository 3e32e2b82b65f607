//! `/api/v1/connectors` and `/api/v1/projects/{project}/connectors`: what can be connected to, and how.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use latchstring_broker::definitions as broker;
use latchstring_model::{Code, FieldError, Problem};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::body;
use crate::extract::page::Listed;
use crate::extract::path::{Asked, Named};
use crate::extract::precondition::{IfMatch, etag};
use crate::extract::time::Time;
use crate::problem::{ApiError, ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_connectors))
        .routes(routes!(get_connector))
        .routes(routes!(create_connector))
        .routes(routes!(put_connector, delete_connector))
}

/// One that a credential may name.
#[derive(Serialize, ToSchema)]
struct OfferedClient {
    #[schema(example = "oac_01k9x0000000000000000000zz")]
    id: String,
    name: String,
}

/// What a method with consent needs beside its fields.
#[derive(Serialize, ToSchema)]
struct ConsentOffer {
    /// OAuth clients that the project may use with it; without a project, those of all my projects. More than one:
    /// choose.
    oauth_clients: Vec<OfferedClient>,
    /// Names of superusers to ask for an OAuth client, where there is none.
    ask: Vec<String>,
}

impl From<&broker::ConsentOffer> for ConsentOffer {
    fn from(offer: &broker::ConsentOffer) -> Self {
        let client = |(id, name): &(String, String)| OfferedClient { id: id.clone(), name: name.clone() };
        Self { oauth_clients: offer.clients.iter().map(client).collect(), ask: offer.ask.clone() }
    }
}

/// One way to be authenticated.
#[derive(Serialize, ToSchema)]
struct AuthMethod {
    id: String,
    label: String,
    /// The scheme's type, such as `api_key` or `oauth2_client_credentials`.
    #[serde(rename = "type")]
    kind: &'static str,
    help: Option<String>,
    /// What whoever chooses this method should know beforehand.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
    docs_url: Option<String>,
    /// JSON Schema of the values that a credential has.
    #[schema(value_type = Object)]
    fields: Value,
    /// Only there when people consent.
    #[serde(skip_serializing_if = "Option::is_none")]
    consent: Option<ConsentOffer>,
}

/// Something that can be asked by name.
#[derive(Serialize, ToSchema)]
struct Operation {
    name: String,
    label: Option<String>,
    help: Option<String>,
    /// The HTTP method of the request behind it, which a key may be limited to.
    method: String,
    /// JSON Schema of what a caller gives.
    #[schema(value_type = Object)]
    input: Value,
    /// A part of the answer is kept from callers.
    filtered: bool,
}

/// The description of one external API.
#[derive(Serialize, ToSchema)]
struct Connector {
    id: String,
    /// `builtin/<id>` or `<project>/<id>`: what a credential pins.
    uid: String,
    name: String,
    /// As the definition says.
    version: String,
    docs_url: Option<String>,
    description: Option<String>,
    categories: Vec<String>,
    auth_methods: Vec<AuthMethod>,
    operations: Vec<Operation>,
    metadata: Vec<Operation>,
    /// Credentials of it that are shared with the project that was asked for; without one, my own.
    credential_count: i64,
    /// Belongs to a project; built in otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<String>,
    /// Of a project's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<Time>,
}

fn operation(
    definition: &latchstring_broker::definitions::Definition,
    of: &latchstring_broker::definitions::Operation,
) -> Operation {
    Operation {
        name: of.name.clone(),
        label: of.label.clone(),
        help: of.help.clone(),
        method: of.request.method.to_string(),
        input: definition.openapi_input(of),
        filtered: of.keeps_back(),
    }
}

impl From<&broker::Connector> for Connector {
    fn from(connector: &broker::Connector) -> Self {
        let definition = &*connector.definition;
        let operations =
            |list: &[broker::Operation]| list.iter().map(|of| operation(definition, of)).collect();
        Self {
            id: definition.id.clone(),
            uid: connector.uid.clone(),
            name: definition.name.clone(),
            version: definition.version.clone(),
            docs_url: definition.docs_url.clone(),
            description: definition.description.clone(),
            categories: definition.categories.clone(),
            auth_methods: definition
                .auth_methods
                .iter()
                .map(|method| AuthMethod {
                    id: method.id.clone(),
                    label: method.label.clone(),
                    kind: method.scheme.ty.as_str(),
                    help: method.help.clone(),
                    warning: method.scheme.ty.warning(),
                    docs_url: method.docs_url.clone(),
                    fields: definition.openapi_fields(method),
                    consent: connector
                        .consent
                        .as_ref()
                        .filter(|_| method.needs_consent())
                        .map(ConsentOffer::from),
                })
                .collect(),
            operations: operations(&definition.operations),
            metadata: operations(&definition.metadata),
            credential_count: connector.credentials,
            project_id: connector.own.as_ref().map(|own| own.project.to_string()),
            updated_at: connector.own.as_ref().map(|own| own.updated_at.into()),
        }
    }
}

/// What an API's refusal means for its user.
#[derive(Serialize, ToSchema)]
struct Explanation {
    /// A status, or a text that the answer holds.
    when: String,
    explanation: String,
}

/// One connector with what only its own page needs.
#[derive(Serialize, ToSchema)]
struct WholeConnector {
    #[serde(flatten)]
    connector: Connector,
    /// Where alone credentials may be pinned; empty: wherever their owner says.
    hosts: Vec<String>,
    /// Plain http may be used too, in networks that the operator allows.
    allow_http: bool,
    errors: Vec<Explanation>,
    /// Names of the API's rate-limit headers.
    #[schema(value_type = Object)]
    rate_limit: Option<Value>,
    /// How the API's pages follow each other.
    #[schema(value_type = Object)]
    pagination: Option<Value>,
    /// Changes of a project's own, when what decides where values go changes with them.
    digest: String,
    /// Of a project's own: the definition as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// Of a project's own: counts changes, from 1; the `ETag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Time>,
}

impl From<&broker::Connector> for WholeConnector {
    fn from(connector: &broker::Connector) -> Self {
        let definition = &*connector.definition;
        let own = connector.own.as_ref();
        Self {
            hosts: definition.hosts.iter().map(ToString::to_string).collect(),
            allow_http: definition.allow_http,
            errors: definition
                .errors
                .iter()
                .map(|rule| Explanation {
                    when: rule.when_text(),
                    explanation: rule.explanation().to_owned(),
                })
                .collect(),
            rate_limit: definition.rate_limit.clone(),
            pagination: definition.pagination.clone(),
            digest: definition.digest().to_owned(),
            source: own.map(|own| own.source.clone()),
            revision: own.map(|own| own.revision),
            created_at: own.map(|own| own.created_at.into()),
            connector: connector.into(),
        }
    }
}

/// A definition that was put in an older one's place.
#[derive(Serialize, ToSchema)]
struct PutConnector {
    #[serde(flatten)]
    connector: WholeConnector,
    /// What decides where values go has changed: until each owner approves, calls answer `connector_changed`.
    destinations_changed: bool,
    /// Credentials that wait for that.
    credentials_waiting: i64,
}

/// A definition as it was sent: YAML or JSON.
pub struct Source(String);

impl<S: Send + Sync> FromRequest<S> for Source {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind =
            request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let kind = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        let known =
            ["application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "application/json"];
        if !known.contains(&kind.as_str()) {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                "A definition is sent as application/yaml or application/json.",
            )
            .hint("With curl: -H 'Content-Type: application/yaml' --data-binary @connector.yaml")
            .into());
        }
        let bytes = body::read(request, state).await?;
        if bytes.len() > broker::MOST_BYTES {
            return Err(broker::too_large().into());
        }
        match String::from_utf8(bytes.to_vec()) {
            Ok(text) => Ok(Self(text)),
            Err(error) => Err(Problem::invalid(vec![FieldError::new(
                "",
                format!(
                    "the definition is not UTF-8 text: byte {} is wrong",
                    error.utf8_error().valid_up_to()
                ),
            )])
            .into()),
        }
    }
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Slug or id: that project's own connectors too. Without it, the built-in ones.
    project: Option<String>,
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WhichPage {
    /// Slug or id: that project's own connectors too. Without it, the built-in ones.
    project: Option<String>,
    /// Items on the page, from 1 on. Without it, all.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Connectors: the built-in ones, and a project's own with `?project=`.
#[utoipa::path(get, path = "/api/v1/connectors", tag = "Connectors", params(WhichPage), responses((status = 200, body = Listed<Connector>), Refusals))]
async fn list_connectors(
    State(app): State<App>,
    Acting(actor): Acting,
    Asked(which): Asked<WhichPage>,
) -> ApiResult<Json<Listed<Connector>>> {
    if which.limit == Some(0) {
        return Err(Problem::new(Code::Invalid, "`limit` is a number from 1 on.")
            .hint("Leave `limit` out, or ask for at least one.")
            .into());
    }
    let all = app.broker().connectors(&actor, which.project.as_deref()).await?;
    // The cursor is the id of the last one given; whether it still exists does not matter for what follows it.
    let after = match &which.cursor {
        None => 0,
        Some(last) => {
            all.iter().position(|one| one.definition.id == *last).map(|at| at + 1).ok_or_else(|| {
                Problem::new(Code::CursorInvalid, "`cursor` is none of a page of this list.")
                    .hint("Hand back `next_cursor` as it came, with the same `project`.")
            })?
        }
    };
    let rest = all.get(after..).unwrap_or_default();
    let page = rest.get(..which.limit.unwrap_or(rest.len()).min(rest.len())).unwrap_or(rest);
    let next_cursor =
        page.last().filter(|_| page.len() < rest.len()).map(|last| last.definition.id.to_string());
    Ok(Json(Listed { items: page.iter().map(Connector::from).collect(), next_cursor }))
}

/// With an `ETag` when it is a project's own.
fn answer(status: StatusCode, connector: &broker::Connector, body: impl Serialize) -> Response {
    let json = (status, Json(body));
    match &connector.own {
        Some(own) => (etag(own.revision), json).into_response(),
        None => json.into_response(),
    }
}

/// One connector, with hosts, explanations and the definition of a project's own.
#[utoipa::path(get, path = "/api/v1/connectors/{id}", tag = "Connectors", params(("id" = String, Path, description = "Such as `salesforce`"), Which), responses((status = 200, body = WholeConnector), Refusals))]
async fn get_connector(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    Asked(which): Asked<Which>,
) -> ApiResult<Response> {
    let found = app.broker().connector(&actor, which.project.as_deref(), &id).await?;
    Ok(answer(StatusCode::OK, &found, WholeConnector::from(&found)))
}

/// Uploads a connector of the project's own; for admins and owners.
///
/// The definition language is described in docs/connectors.md. What is wrong with a definition comes all at once,
/// each with its pointer, line and column.
#[utoipa::path(post, path = "/api/v1/projects/{project}/connectors", tag = "Connectors", params(("project" = String, Path, description = "Slug or id")), request_body(content((String = "application/yaml"), (Object = "application/json")), description = "At most 262144 bytes"), responses((status = 201, body = WholeConnector), Refusals))]
async fn create_connector(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(project): Named<String>,
    Source(source): Source,
) -> ApiResult<Response> {
    let made = app.broker().create_connector(&actor, &project, &source).await?;
    let mut response = answer(StatusCode::CREATED, &made, WholeConnector::from(&made));
    if let Some(own) = &made.own
        && let Ok(at) = HeaderValue::try_from(format!(
            "/api/v1/connectors/{}?project={}",
            made.definition.id, own.project
        ))
    {
        response.headers_mut().insert(header::LOCATION, at);
    }
    Ok(response)
}

/// Puts another definition in the place of one of the project's own; for admins and owners.
///
/// When what decides where values go changes (hosts, URLs, schemes, templates that see a value), its credentials
/// answer `connector_changed` until their owners approve. Labels, help texts and the like change nothing for them.
#[utoipa::path(put, path = "/api/v1/projects/{project}/connectors/{id}", tag = "Connectors", params(("project" = String, Path, description = "Slug or id"), ("id" = String, Path)), request_body(content((String = "application/yaml"), (Object = "application/json")), description = "At most 262144 bytes"), responses((status = 200, body = PutConnector), Refusals))]
async fn put_connector(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, id)): Named<(String, String)>,
    IfMatch(version): IfMatch,
    Source(source): Source,
) -> ApiResult<Response> {
    let put = app.broker().put_connector(&actor, &project, &id, &source, version).await?;
    let body = PutConnector {
        connector: WholeConnector::from(&put.connector),
        destinations_changed: put.destinations_changed,
        credentials_waiting: put.waiting,
    };
    Ok(answer(StatusCode::OK, &put.connector, body))
}

/// Deletes one of the project's own that has no credentials; for admins and owners.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/connectors/{id}", tag = "Connectors", params(("project" = String, Path, description = "Slug or id"), ("id" = String, Path)), responses((status = 204, description = "Deleted"), Refusals))]
async fn delete_connector(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, id)): Named<(String, String)>,
    IfMatch(version): IfMatch,
) -> ApiResult<StatusCode> {
    app.broker().delete_connector(&actor, &project, &id, version).await?;
    Ok(StatusCode::NO_CONTENT)
}
