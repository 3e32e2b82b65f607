//! `POST /api/v1/setup`: the first account, through the link that the server printed.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use latchstring_broker::people::Names;
use latchstring_broker::people::setup::Setup;
use latchstring_broker::people::users::NewUser;
use latchstring_broker::projects::life::NewProject;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::api::projects::{CreateProject, Project};
use crate::api::session::{agent, set_cookie};
use crate::api::users::User;
use crate::extract::actor::Anyone;
use crate::extract::body::Body;
use crate::extract::secret::Secret;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(set_up))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSetup {
    /// What stands behind `/setup/` in the link; it lives for an hour, while there is no user.
    #[schema(value_type = String, format = Password, write_only)]
    token: Secret,
    #[schema(format = Email)]
    email: String,
    /// At most 200 characters.
    name: Option<String>,
    /// 8 characters to 256 bytes.
    #[schema(value_type = String, format = Password, write_only)]
    password: Secret,
    /// A first project; its owner is the new person.
    project: Option<CreateProject>,
}

#[derive(Serialize, ToSchema)]
struct SetUp {
    user: User,
    project: Option<Project>,
}

/// Makes the first person, a superuser, and signs them in.
#[utoipa::path(post, path = "/api/v1/setup", tag = "Sessions", security(()), request_body = NewSetup, responses((status = 201, body = SetUp), Refusals))]
async fn set_up(
    State(app): State<App>,
    Anyone(actor): Anyone,
    headers: HeaderMap,
    Body(body): Body<NewSetup>,
) -> ApiResult<impl IntoResponse> {
    let names = Names { name: body.name, ..Names::default() };
    let setup = Setup {
        token: body.token.0,
        user: NewUser { email: body.email, names, superuser: true, password: Some(body.password.0) },
        project: body.project.map(NewProject::from),
        agent: agent(&headers),
    };
    let done = app.door().finish_setup(setup, actor.address).await?;
    let cookie = set_cookie(done.entered.cookie)?;
    Ok((
        StatusCode::CREATED,
        cookie,
        Json(SetUp { user: done.entered.user.into(), project: done.project.map(Project::from) }),
    ))
}
