//! `/api/v1/instance`: what superusers decide about this server while it runs.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use latchstring_broker::people::instance::{self, InstanceChange, InstanceSettings};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::body::Body;
use crate::extract::precondition::{IfMatch, etag};
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_instance, change_instance))
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident),* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        enum $name { $($variant,)* }

        impl From<$name> for instance::$name {
            fn from(word: $name) -> Self {
                match word { $($name::$variant => Self::$variant,)* }
            }
        }

        impl From<instance::$name> for $name {
            fn from(word: instance::$name) -> Self {
                match word { $(instance::$name::$variant => Self::$variant,)* }
            }
        }
    )*};
}

words! {
    /// Who may make projects.
    ProjectMakers { Everyone, Superusers }
    /// Whose passwords are taken.
    PasswordSignIn { Everyone, Superusers, Nobody }
    /// Of whom a second factor is wanted, whatever their projects want.
    SecondFactorFor { Nobody, Superusers }
    /// `sessions`: browser sessions need a recent sign-in for what matters, keys of scope manage go on as they are.
    /// `everything`: what matters is done in a browser only.
    RecentSignInFor { Sessions, Everything }
}

#[derive(Serialize, ToSchema)]
struct Instance {
    /// What this server is called: on pages, and in authenticator apps.
    name: String,
    projects_by: ProjectMakers,
    password_sign_in: PasswordSignIn,
    second_factor_for: SecondFactorFor,
    recent_sign_in_for: RecentSignInFor,
    /// How long a sign-in counts as recent, 1 to 60 minutes.
    recent_sign_in_minutes: i64,
    /// Configuration, to look at: the sign-in provider's name.
    provider: Option<String>,
    /// Configuration, to look at: whether mail is sent.
    mail: bool,
    /// Configuration, to look at.
    public_url: String,
    /// Of the program.
    version: &'static str,
}

fn shown(app: &App, settings: InstanceSettings) -> impl IntoResponse + use<> {
    let configured = app.broker().settings();
    let tag = etag(settings.version);
    let body = Instance {
        name: settings.name,
        projects_by: settings.projects_by.into(),
        password_sign_in: settings.password_sign_in.into(),
        second_factor_for: settings.second_factor_for.into(),
        recent_sign_in_for: settings.recent_sign_in_for.into(),
        recent_sign_in_minutes: settings.recent_sign_in_minutes,
        provider: configured.oidc.as_ref().map(|oidc| oidc.name.clone()),
        mail: configured.mail.is_some(),
        public_url: configured.public_url.clone(),
        version: env!("CARGO_PKG_VERSION"),
    };
    (tag, Json(body))
}

/// This server's settings; for any signed-in person.
#[utoipa::path(get, path = "/api/v1/instance", tag = "Instance", responses((status = 200, body = Instance), Refusals))]
async fn get_instance(State(app): State<App>, Acting(actor): Acting) -> ApiResult<impl IntoResponse> {
    let settings = app.broker().instance_settings(&actor).await?;
    Ok(shown(&app, settings))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeInstance {
    /// 1 to 200 characters.
    name: Option<String>,
    projects_by: Option<ProjectMakers>,
    /// Less than `everyone` needs a sign-in provider; `nobody` also that my own account is linked there.
    password_sign_in: Option<PasswordSignIn>,
    /// `superusers` needs that I have one.
    second_factor_for: Option<SecondFactorFor>,
    recent_sign_in_for: Option<RecentSignInFor>,
    /// 1 to 60.
    recent_sign_in_minutes: Option<i64>,
}

/// Changes this server's settings; for superusers, with a recent sign-in. All servers follow within a second.
///
/// What is configuration (addresses, the sign-in provider, mail) is changed where the server runs.
#[utoipa::path(patch, path = "/api/v1/instance", tag = "Instance", params(("If-Match" = Option<String>, Header, description = "The `ETag` that is edited")), request_body = ChangeInstance, responses((status = 200, body = Instance), Refusals))]
async fn change_instance(
    State(app): State<App>,
    Acting(actor): Acting,
    IfMatch(version): IfMatch,
    Body(body): Body<ChangeInstance>,
) -> ApiResult<impl IntoResponse> {
    let change = InstanceChange {
        name: body.name,
        projects_by: body.projects_by.map(Into::into),
        password_sign_in: body.password_sign_in.map(Into::into),
        second_factor_for: body.second_factor_for.map(Into::into),
        recent_sign_in_for: body.recent_sign_in_for.map(Into::into),
        recent_sign_in_minutes: body.recent_sign_in_minutes,
    };
    let settings = app.broker().change_instance(&actor, change, version).await?;
    Ok(shown(&app, settings))
}
