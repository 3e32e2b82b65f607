//! `/api/v1/projects`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use latchstring_broker::people::Paging;
use latchstring_broker::projects;
use latchstring_broker::projects::life::{NewProject, ProjectChange};
use latchstring_model::entity;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::page::{Listed, Page};
use crate::extract::path::{Asked, Named};
use crate::extract::precondition::{IfMatch, etag};
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_projects, create_project)).routes(routes!(
        get_project,
        change_project,
        delete_project
    ))
}

/// Viewers look; editors call, run and set secrets; admins manage members, service keys and connectors; owners
/// make owners and delete the project.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Owner,
    Admin,
    Editor,
    Viewer,
}

impl From<Role> for entity::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Owner => Self::Owner,
            Role::Admin => Self::Admin,
            Role::Editor => Self::Editor,
            Role::Viewer => Self::Viewer,
        }
    }
}

impl From<entity::Role> for Role {
    fn from(role: entity::Role) -> Self {
        match role {
            entity::Role::Owner => Self::Owner,
            entity::Role::Admin => Self::Admin,
            entity::Role::Editor => Self::Editor,
            entity::Role::Viewer => Self::Viewer,
        }
    }
}

/// The boundary of who sees what.
#[derive(Serialize, ToSchema)]
pub struct Project {
    #[schema(example = "prj_01k9x0000000000000000000zz")]
    id: String,
    slug: String,
    name: String,
    /// In the order that was given.
    environments: Vec<String>,
    /// Mine.
    role: Role,
    /// Whether its people need a second factor.
    require_second_factor: bool,
    /// True: I have none, so nothing more of it is shown, and everything in it answers `second_factor_required`.
    locked: bool,
    created_at: Time,
    updated_at: Time,
}

impl From<projects::Project> for Project {
    fn from(project: projects::Project) -> Self {
        Self {
            id: project.id.to_string(),
            slug: project.slug,
            name: project.name,
            environments: project.environments.into_iter().map(|environment| environment.name).collect(),
            role: project.role.into(),
            require_second_factor: project.require_second_factor,
            locked: project.locked,
            created_at: project.created_at.into(),
            updated_at: project.updated_at.into(),
        }
    }
}

/// The projects that I am a member of, oldest first.
#[utoipa::path(get, path = "/api/v1/projects", tag = "Projects", params(Page), responses((status = 200, body = Listed<Project>), Refusals))]
async fn list_projects(
    State(app): State<App>,
    Acting(actor): Acting,
    Asked(page): Asked<Page>,
) -> ApiResult<Json<Listed<Project>>> {
    let paging = Paging::new(page.cursor.clone(), Some(page.limit()?));
    let page = app.broker().projects(&actor, &paging).await?;
    Ok(Json(Listed {
        items: page.items.into_iter().map(Project::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// 1 to 63 lower-case letters, digits and single hyphens; made from the name when missing.
    slug: Option<String>,
    /// 1 to 200 characters.
    name: String,
    /// 1 to 50 different names of 1 to 63 lower-case letters, digits, hyphens and underscores; `staging` and
    /// `production` when missing.
    environments: Option<Vec<String>>,
}

impl From<CreateProject> for NewProject {
    fn from(body: CreateProject) -> Self {
        Self { slug: body.slug, name: body.name, environments: body.environments }
    }
}

/// Makes a project; I am its owner.
///
/// A slug that is taken is a 409 `slug_taken` with a `suggestion`.
#[utoipa::path(post, path = "/api/v1/projects", tag = "Projects", request_body = CreateProject, responses((status = 201, body = Project), Refusals))]
async fn create_project(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(body): Body<CreateProject>,
) -> ApiResult<impl IntoResponse> {
    let project = app.broker().create_project(&actor, body.into()).await?;
    let location = HeaderValue::try_from(format!("/api/v1/projects/{}", project.id))
        .unwrap_or(HeaderValue::from_static("/api/v1/projects"));
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        etag(project.version),
        Json(Project::from(project)),
    ))
}

/// One project, by slug or id.
#[utoipa::path(get, path = "/api/v1/projects/{project}", tag = "Projects", params(("project" = String, Path, description = "Slug or id")), responses((status = 200, body = Project), Refusals))]
async fn get_project(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(name): Named<String>,
) -> ApiResult<impl IntoResponse> {
    let project = app.broker().project(&actor, &name).await?;
    Ok((etag(project.version), Json(Project::from(project))))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeProject {
    /// As on creation.
    slug: Option<String>,
    /// 1 to 200 characters.
    name: Option<String>,
    /// The whole list, in the wanted order. An environment that is left out is removed; made again later, it is
    /// another one. Where it has secrets, variables, service keys or grants, it has to be named in
    /// `remove_environments` too.
    environments: Option<Vec<String>>,
    /// Environments that `environments` leaves out and that go with what is in them: grants, secrets and variables;
    /// their service keys end.
    #[serde(default)]
    remove_environments: Vec<String>,
    /// For owners, who have one: whether the project's people need a second factor. Members without one are shut out
    /// until they have it, also with their keys; service keys go on.
    require_second_factor: Option<bool>,
}

/// What went with an environment.
#[derive(Serialize, ToSchema)]
struct RemovedEnvironment {
    name: String,
    secrets: Vec<String>,
    variables: Vec<String>,
    /// Names of service keys that ended.
    api_keys: Vec<String>,
    /// Slugs of credentials whose grant was withdrawn.
    credentials: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct ChangedProject {
    #[serde(flatten)]
    project: Project,
    /// Only there when environments were removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    removed: Vec<RemovedEnvironment>,
}

/// Changes name, slug and environments; for admins and owners.
///
/// An environment that has secrets, variables, service keys or grants is not removed by leaving it out (409
/// `environment_in_use` with the list) unless `remove_environments` names it.
#[utoipa::path(patch, path = "/api/v1/projects/{project}", tag = "Projects", params(("project" = String, Path, description = "Slug or id"), ("If-Match" = Option<String>, Header, description = "The `ETag` that is edited")), request_body = ChangeProject, responses((status = 200, body = ChangedProject), Refusals))]
async fn change_project(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(name): Named<String>,
    IfMatch(version): IfMatch,
    Body(body): Body<ChangeProject>,
) -> ApiResult<impl IntoResponse> {
    let change = ProjectChange {
        slug: body.slug,
        name: body.name,
        environments: body.environments,
        remove_environments: body.remove_environments,
        require_second_factor: body.require_second_factor,
    };
    let changed = app.broker().change_project(&actor, &name, change, version).await?;
    let removed = changed
        .removed
        .into_iter()
        .map(|gone| RemovedEnvironment {
            name: gone.name,
            secrets: gone.secrets,
            variables: gone.variables,
            api_keys: gone.api_keys,
            credentials: gone.credentials,
        })
        .collect();
    Ok((etag(changed.project.version), Json(ChangedProject { project: changed.project.into(), removed })))
}

/// Deletes a project with everything that is its own; for owners.
///
/// Credentials that the project owns have to be purged first (409 `credential_in_use` with the list in `used_by`).
#[utoipa::path(delete, path = "/api/v1/projects/{project}", tag = "Projects", params(("project" = String, Path, description = "Slug or id")), responses((status = 204, description = "Deleted"), Refusals))]
async fn delete_project(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(name): Named<String>,
) -> ApiResult<StatusCode> {
    app.broker().delete_project(&actor, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
