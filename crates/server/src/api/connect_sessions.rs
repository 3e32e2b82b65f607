//! `/api/v1/connect-sessions`: a page on which an end user of somebody's product connects an account.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use latchstring_broker::connect_sessions::{self as sessions, NewConnectSession};
use latchstring_broker::people::ShownOnce as Shown;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::time::Time;
use crate::guard::repeat::ShownOnce;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create_connect_session))
}

/// Whose account it is, as your product knows them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EndUser {
    /// Your own id of the person or customer, 1 to 200 characters.
    #[schema(example = "customer-17")]
    id: String,
    /// At most 20 texts, told with the result and noted at the credential.
    #[serde(default)]
    #[schema(value_type = Object, example = json!({"plan": "pro"}))]
    tags: Map<String, Value>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateConnectSession {
    /// Slug or id: owns what is connected.
    project: String,
    /// Ids of the connectors to choose from, 1 to 20. Each needs hosts of its own, and a method that is filled in or an
    /// OAuth client for the project.
    connectors: Vec<String>,
    /// The project's environments that get to use it; all of them when missing.
    environments: Option<Vec<String>>,
    end_user: EndUser,
    /// The credential's, by which keychains find it; unique in the project.
    external_id: Option<String>,
    /// Which OAuth clients to consent to: for connectors that have several in the project. At most 20.
    #[serde(default)]
    oauth_clients: Vec<String>,
    /// The origin of the page that opens the window, exactly as browsers write it: nobody else is told the result.
    #[schema(example = "https://app.example.com")]
    return_origin: String,
}

/// A session that was just made.
#[derive(Serialize, ToSchema)]
struct ConnectSession {
    #[schema(example = "cns_01k9x0000000000000000000zz")]
    id: String,
    /// Shown now and never again: the end user opens it in a window of their own (`connect.js` does), once.
    #[schema(value_type = String)]
    url: Shown,
    expires_at: Time,
}

/// Makes a page on which an end user connects an account, without an account here; for admins, owners and service
/// accounts of the project.
///
/// The link works once, for half an hour, in the browser that opens it first. The project owns the credential that is
/// made. The page that opened the window is told by `postMessage`, to `return_origin` alone; the project's webhooks by
/// the event `credential.connected`.
#[utoipa::path(post, path = "/api/v1/connect-sessions", tag = "Credentials", request_body = CreateConnectSession, responses((status = 201, body = ConnectSession), Refusals))]
async fn create_connect_session(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(body): Body<CreateConnectSession>,
) -> ApiResult<impl IntoResponse> {
    let new = NewConnectSession {
        project: body.project,
        connectors: body.connectors,
        environments: body.environments,
        end_user: sessions::EndUser { id: body.end_user.id, tags: body.end_user.tags },
        external_id: body.external_id,
        oauth_clients: body.oauth_clients,
        return_origin: body.return_origin,
    };
    let made = app.broker().create_connect_session(&actor, new).await?;
    let once = Extension(ShownOnce(format!("The connect session {}", made.id)));
    let answer =
        ConnectSession { id: made.id.to_string(), url: made.url, expires_at: made.expires_at.into() };
    Ok((StatusCode::CREATED, once, Json(answer)))
}
