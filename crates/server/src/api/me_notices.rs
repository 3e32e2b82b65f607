//! `/api/v1/me/notices`: what I was told, to be read in the browser.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use latchstring_broker::notices::Told;
use latchstring_broker::people::Paging;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::page::Page;
use crate::extract::path::{Asked, Named};
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_notices))
        .routes(routes!(read_all_notices))
        .routes(routes!(read_notice))
}

/// Something that I was told.
#[derive(Serialize, ToSchema)]
struct Notice {
    #[schema(example = "evt_01k9x0000000000000000000zz")]
    id: String,
    /// `credential.needs_reconnect`, `credential.expiring`, `credential.transferred`, …
    event: String,
    at: Time,
    /// Null until it was read.
    read_at: Option<Time>,
    title: String,
    /// What happened, why that usually is, what to do.
    text: String,
    /// The credential that it is about, if it is about one.
    credential: Option<String>,
    environment: Option<String>,
    /// For programs: names, never values.
    #[schema(value_type = Object)]
    data: Map<String, Value>,
}

impl From<Told> for Notice {
    fn from(told: Told) -> Self {
        Self {
            id: told.id.to_string(),
            event: told.event,
            at: told.at.into(),
            read_at: told.read_at.map(Time::from),
            title: told.title,
            text: told.text,
            credential: told.credential,
            environment: told.environment,
            data: told.data,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Only what I have not read.
    #[serde(default)]
    unread: bool,
    /// Items on the page, 1 to 200 (default 50).
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Notices {
    items: Vec<Notice>,
    /// Hand it back as `cursor` for the next page; null on the last one.
    next_cursor: Option<String>,
    /// How many of all are unread.
    unread: i64,
}

/// What I was told in the last thirty days, newest first; also where no mail is set up.
#[utoipa::path(get, path = "/api/v1/me/notices", tag = "Me", params(Filter), responses((status = 200, body = Notices), Refusals))]
async fn list_notices(
    State(app): State<App>,
    Acting(actor): Acting,
    Asked(filter): Asked<Filter>,
) -> ApiResult<Json<Notices>> {
    let page = Page { limit: filter.limit, cursor: filter.cursor };
    let paging = Paging::new(page.cursor.clone(), Some(page.limit()?));
    let page = app.broker().notices(&actor, filter.unread, &paging).await?;
    let unread = app.broker().unread_notices(&actor).await?;
    Ok(Json(Notices {
        items: page.items.into_iter().map(Notice::from).collect(),
        next_cursor: page.next_cursor,
        unread,
    }))
}

#[derive(Serialize, ToSchema)]
struct ReadNotices {
    /// How many were unread before.
    read: u64,
}

/// Marks all of my notices as read.
#[utoipa::path(post, path = "/api/v1/me/notices/read", tag = "Me", responses((status = 200, body = ReadNotices), Refusals))]
async fn read_all_notices(State(app): State<App>, Acting(actor): Acting) -> ApiResult<Json<ReadNotices>> {
    Ok(Json(ReadNotices { read: app.broker().read_all_notices(&actor).await? }))
}

/// Marks one of my notices as read. Doing it twice changes nothing.
#[utoipa::path(post, path = "/api/v1/me/notices/{id}/read", tag = "Me", params(("id" = String, Path, description = "`evt_…`")), responses((status = 204, description = "Read"), Refusals))]
async fn read_notice(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
) -> ApiResult<StatusCode> {
    app.broker().read_notice(&actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
