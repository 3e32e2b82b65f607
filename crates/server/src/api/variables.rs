//! `/api/v1/projects/{project}/environments/{environment}/variables`: what templates read with `get_variable`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use latchstring_broker::projects::values::{NewValue, SecretKind, Value};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::page::{Listed, Page};
use crate::extract::path::{Asked, Named};
use crate::extract::secret::Secret;
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_variables)).routes(routes!(
        get_variable,
        set_variable,
        delete_variable
    ))
}

/// A variable of an environment.
#[derive(Serialize, ToSchema)]
struct Variable {
    name: String,
    value: String,
    /// Where a template may send it; empty: wherever.
    hosts: Vec<String>,
    set_at: Time,
    /// A person's id.
    set_by: String,
}

impl From<Value> for Variable {
    fn from(value: Value) -> Self {
        Self {
            name: value.name,
            value: value.value.unwrap_or_default(),
            hosts: value.hosts,
            set_at: value.set_at.into(),
            set_by: value.set_by,
        }
    }
}

/// The variables with their values, by name; for any member.
#[utoipa::path(get, path = "/api/v1/projects/{project}/environments/{environment}/variables", tag = "Secrets and variables", params(("project" = String, Path, description = "Slug or id"), ("environment" = String, Path), Page), responses((status = 200, body = Listed<Variable>), Refusals))]
async fn list_variables(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, environment)): Named<(String, String)>,
    Asked(page): Asked<Page>,
) -> ApiResult<Json<Listed<Variable>>> {
    let limit = page.limit()?;
    let page = app
        .broker()
        .values(&actor, &project, &environment, SecretKind::Variable, page.cursor.as_deref(), limit)
        .await?;
    Ok(Json(Listed {
        items: page.items.into_iter().map(Variable::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// One variable, with its value; for any member.
#[utoipa::path(get, path = "/api/v1/projects/{project}/environments/{environment}/variables/{name}", tag = "Secrets and variables", params(("project" = String, Path, description = "Slug or id"), ("environment" = String, Path), ("name" = String, Path)), responses((status = 200, body = Variable), Refusals))]
async fn get_variable(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, environment, name)): Named<(String, String, String)>,
) -> ApiResult<Json<Variable>> {
    let value = app.broker().value(&actor, &project, &environment, SecretKind::Variable, &name).await?;
    Ok(Json(value.into()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetVariable {
    /// At most 65536 bytes.
    #[schema(value_type = String)]
    value: Secret,
    /// At most 50 hosts (`api.example.org`, `*.example.org`) that a template may send it to; without it, any.
    #[serde(default)]
    hosts: Vec<String>,
}

/// Sets a variable, new or again; for editors, admins and owners.
#[utoipa::path(put, path = "/api/v1/projects/{project}/environments/{environment}/variables/{name}", tag = "Secrets and variables", params(("project" = String, Path, description = "Slug or id"), ("environment" = String, Path), ("name" = String, Path, description = "`[A-Za-z_][A-Za-z0-9_]*`, at most 128 characters")), request_body = SetVariable, responses((status = 204, description = "Set"), Refusals))]
async fn set_variable(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, environment, name)): Named<(String, String, String)>,
    Body(body): Body<SetVariable>,
) -> ApiResult<StatusCode> {
    let new = NewValue { value: body.value.0, hosts: body.hosts };
    app.broker().set_value(&actor, &project, &environment, SecretKind::Variable, &name, new).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a variable; for editors, admins and owners. A template that needs it fails from now on.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/environments/{environment}/variables/{name}", tag = "Secrets and variables", params(("project" = String, Path, description = "Slug or id"), ("environment" = String, Path), ("name" = String, Path)), responses((status = 204, description = "Deleted"), Refusals))]
async fn delete_variable(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, environment, name)): Named<(String, String, String)>,
) -> ApiResult<StatusCode> {
    app.broker().delete_value(&actor, &project, &environment, SecretKind::Variable, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
