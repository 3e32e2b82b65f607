//! `/api/v1/projects/{project}/webhooks`: programs that are told of events.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use latchstring_broker::people::{self, Paging};
use latchstring_broker::projects::webhooks::{self as broker, DeliveryRow};
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
use crate::guard::repeat::ShownOnce;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_webhooks, create_webhook))
        .routes(routes!(get_webhook, change_webhook, delete_webhook))
        .routes(routes!(rotate_webhook_secret))
        .routes(routes!(list_deliveries))
        .routes(routes!(redeliver))
}

/// An endpoint that is told of the project's events, signed as Standard Webhooks has it.
#[derive(Serialize, ToSchema)]
struct Webhook {
    #[schema(example = "whk_01k9x0000000000000000000zz")]
    id: String,
    url: String,
    description: String,
    /// Empty: all.
    events: Vec<String>,
    disabled: bool,
    disabled_reason: Option<String>,
    /// No delivery has got through since; after five days the webhook is disabled.
    failing_since: Option<Time>,
    /// Until then deliveries have a signature of the secret before, too.
    old_secret_until: Option<Time>,
    created_at: Time,
    updated_at: Time,
}

impl From<broker::Webhook> for Webhook {
    fn from(webhook: broker::Webhook) -> Self {
        Self {
            id: webhook.id.to_string(),
            url: webhook.url,
            description: webhook.description,
            events: webhook.events,
            disabled: webhook.disabled,
            disabled_reason: webhook.disabled_why,
            failing_since: webhook.failing_since.map(Time),
            old_secret_until: webhook.old_secret_until.map(Time),
            created_at: webhook.created_at.into(),
            updated_at: webhook.updated_at.into(),
        }
    }
}

/// The project's webhooks, oldest first; for admins and owners.
#[utoipa::path(get, path = "/api/v1/projects/{project}/webhooks", tag = "Webhooks", params(("project" = String, Path, description = "Slug or id"), Page), responses((status = 200, body = Listed<Webhook>), Refusals))]
async fn list_webhooks(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(project): Named<String>,
    Asked(page): Asked<Page>,
) -> ApiResult<Json<Listed<Webhook>>> {
    let paging = Paging::new(page.cursor.clone(), Some(page.limit()?));
    let page = app.broker().webhooks(&actor, &project, &paging).await?;
    Ok(Json(Listed {
        items: page.items.into_iter().map(Webhook::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// Where events go. Unknown events are refused.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateWebhook {
    /// https, at most 2000 characters; http only to networks that the operator allows. Redirects are not followed.
    #[schema(example = "https://hooks.example.com/latchstring")]
    url: String,
    /// `credential.needs_reconnect`, `credential.grant_expiring`, `credential.failing`; left out or empty: all,
    /// also those that later versions add.
    #[serde(default)]
    events: Vec<String>,
    /// At most 500 characters.
    #[serde(default)]
    description: String,
}

#[derive(Serialize, ToSchema)]
struct MadeWebhook {
    /// What deliveries are signed with; shown now and never again.
    #[schema(value_type = String, example = "whsec_…")]
    secret: people::ShownOnce,
    #[serde(flatten)]
    about: Webhook,
}

/// Makes a webhook, at most 20 in a project; for admins and owners. The answer holds its secret, once.
#[utoipa::path(post, path = "/api/v1/projects/{project}/webhooks", tag = "Webhooks", params(("project" = String, Path, description = "Slug or id")), request_body = CreateWebhook, responses((status = 201, body = MadeWebhook), Refusals))]
async fn create_webhook(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(project): Named<String>,
    Body(body): Body<CreateWebhook>,
) -> ApiResult<impl IntoResponse> {
    let new = broker::NewWebhook { url: body.url, description: body.description, events: body.events };
    let made = app.broker().create_webhook(&actor, &project, new).await?;
    let once = Extension(ShownOnce(format!("The secret of {}", made.webhook.id)));
    let tag = etag(made.webhook.version);
    Ok((
        StatusCode::CREATED,
        tag,
        once,
        Json(MadeWebhook { secret: made.secret, about: made.webhook.into() }),
    ))
}

/// One webhook; for admins and owners.
#[utoipa::path(get, path = "/api/v1/projects/{project}/webhooks/{id}", tag = "Webhooks", params(("project" = String, Path, description = "Slug or id"), ("id" = String, Path)), responses((status = 200, body = Webhook), Refusals))]
async fn get_webhook(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, id)): Named<(String, String)>,
) -> ApiResult<impl IntoResponse> {
    let webhook = app.broker().webhook(&actor, &project, &id).await?;
    Ok((etag(webhook.version), Json(Webhook::from(webhook))))
}

/// What is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeWebhook {
    url: Option<String>,
    events: Option<Vec<String>>,
    description: Option<String>,
    /// `true` drops what waits for it; `false` enables it again, also after Latchstring had disabled it.
    disabled: Option<bool>,
}

/// Changes a webhook; for admins and owners.
#[utoipa::path(patch, path = "/api/v1/projects/{project}/webhooks/{id}", tag = "Webhooks", params(("project" = String, Path, description = "Slug or id"), ("id" = String, Path)), request_body = ChangeWebhook, responses((status = 200, body = Webhook), Refusals))]
async fn change_webhook(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, id)): Named<(String, String)>,
    IfMatch(if_match): IfMatch,
    Body(body): Body<ChangeWebhook>,
) -> ApiResult<impl IntoResponse> {
    let change = broker::WebhookChange {
        url: body.url,
        description: body.description,
        events: body.events,
        disabled: body.disabled,
    };
    let webhook = app.broker().change_webhook(&actor, &project, &id, change, if_match).await?;
    Ok((etag(webhook.version), Json(Webhook::from(webhook))))
}

/// Deletes a webhook with its delivery log; for admins and owners.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/webhooks/{id}", tag = "Webhooks", params(("project" = String, Path, description = "Slug or id"), ("id" = String, Path)), responses((status = 204, description = "Deleted"), Refusals))]
async fn delete_webhook(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, id)): Named<(String, String)>,
) -> ApiResult<StatusCode> {
    app.broker().delete_webhook(&actor, &project, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a new secret; for admins and owners.
///
/// For a day deliveries have two signatures, of the new secret and of the one before it, so that the receiver can
/// change over in between.
#[utoipa::path(post, path = "/api/v1/projects/{project}/webhooks/{id}/rotate-secret", tag = "Webhooks", params(("project" = String, Path, description = "Slug or id"), ("id" = String, Path)), responses((status = 200, body = MadeWebhook), Refusals))]
async fn rotate_webhook_secret(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, id)): Named<(String, String)>,
) -> ApiResult<impl IntoResponse> {
    let made = app.broker().rotate_webhook_secret(&actor, &project, &id).await?;
    let once = Extension(ShownOnce(format!("The secret of {}", made.webhook.id)));
    Ok((
        etag(made.webhook.version),
        once,
        Json(MadeWebhook { secret: made.secret, about: made.webhook.into() }),
    ))
}

/// One try of a delivery.
#[derive(Serialize, ToSchema)]
struct Try {
    at: Time,
    /// The endpoint's answer, when there was one.
    status: Option<u16>,
    error: Option<String>,
    duration_ms: i64,
}

/// One event on its way to one webhook.
#[derive(Serialize, ToSchema)]
struct Delivery {
    #[schema(example = "dlv_01k9x0000000000000000000zz")]
    id: String,
    /// As in `webhook-id`: the same with every try.
    event_id: String,
    event: String,
    /// `waiting`, `done` or `failed`.
    state: &'static str,
    /// Since it was last put into the queue.
    attempts: i64,
    /// While it waits.
    next_try_at: Option<Time>,
    created_at: Time,
    ended_at: Option<Time>,
    /// The last 20, oldest first.
    tries: Vec<Try>,
}

impl From<DeliveryRow> for Delivery {
    fn from(row: DeliveryRow) -> Self {
        let waiting = row.ended_at.is_none();
        Self {
            id: row.id.to_string(),
            event_id: row.notice.id.to_string(),
            event: row.notice.event,
            state: row.state.as_str(),
            attempts: row.attempts,
            next_try_at: waiting.then(|| row.next_at.into()),
            created_at: row.created_at.into(),
            ended_at: row.ended_at.map(Time),
            tries: row
                .tries
                .into_iter()
                .map(|one| Try {
                    at: one.at.into(),
                    status: one.status,
                    error: one.error,
                    duration_ms: one.duration_ms,
                })
                .collect(),
        }
    }
}

/// The delivery log, newest first, kept for thirty days; for admins and owners.
#[utoipa::path(get, path = "/api/v1/projects/{project}/webhooks/{id}/deliveries", tag = "Webhooks", params(("project" = String, Path, description = "Slug or id"), ("id" = String, Path), Page), responses((status = 200, body = Listed<Delivery>), Refusals))]
async fn list_deliveries(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, id)): Named<(String, String)>,
    Asked(page): Asked<Page>,
) -> ApiResult<Json<Listed<Delivery>>> {
    let paging = Paging::new(page.cursor.clone(), Some(page.limit()?));
    let page = app.broker().webhook_deliveries(&actor, &project, &id, &paging).await?;
    Ok(Json(Listed {
        items: page.items.into_iter().map(Delivery::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// Sends a delivery that has ended once more, with the same `webhook-id`; for admins and owners.
#[utoipa::path(post, path = "/api/v1/projects/{project}/webhooks/{id}/deliveries/{delivery}/redeliver", tag = "Webhooks", params(("project" = String, Path, description = "Slug or id"), ("id" = String, Path), ("delivery" = String, Path)), responses((status = 202, body = Delivery), Refusals))]
async fn redeliver(
    State(app): State<App>,
    Acting(actor): Acting,
    Named((project, id, delivery)): Named<(String, String, String)>,
) -> ApiResult<impl IntoResponse> {
    let row = app.broker().redeliver(&actor, &project, &id, &delivery).await?;
    Ok((StatusCode::ACCEPTED, Json(Delivery::from(row))))
}
