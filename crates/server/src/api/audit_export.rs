//! The audit trail as text: `…/audit/export`, streamed part by part.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::body::Frame;
use latchstring_broker::Actor;
use latchstring_broker::audit::export::{self, Format};
use latchstring_broker::audit::list::{Filter, Whose};
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::path::{Asked, Named};
use crate::extract::time::Time;
use crate::problem::{ApiResult, Refusals};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(export_audit))
        .routes(routes!(export_credential_audit))
        .routes(routes!(export_instance_audit))
}

/// As what.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TextFormat {
    #[default]
    Jsonl,
    Csv,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ExportQuery {
    /// `jsonl` (default): a JSON object a line, as the list has them; `csv`: RFC 4180, with names in the first line.
    #[param(inline)]
    format: Option<TextFormat>,
    /// Only this credential: its slug in the project, or its id.
    credential: Option<String>,
    /// Only this actor: an id or an e-mail address.
    actor: Option<String>,
    /// Only this action.
    action: Option<String>,
    /// From this moment on.
    #[param(value_type = Option<String>, example = "2027-01-31T12:00:00Z")]
    from: Option<Time>,
    /// Before this moment.
    #[param(value_type = Option<String>)]
    to: Option<Time>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WholeExportQuery {
    /// `jsonl` (default): a JSON object a line, as the list has them; `csv`: RFC 4180, with names in the first line.
    #[param(inline)]
    format: Option<TextFormat>,
    /// Only this actor: an id or an e-mail address.
    actor: Option<String>,
    /// Only this action.
    action: Option<String>,
    /// From this moment on.
    #[param(value_type = Option<String>, example = "2027-01-31T12:00:00Z")]
    from: Option<Time>,
    /// Before this moment.
    #[param(value_type = Option<String>)]
    to: Option<Time>,
}

impl From<WholeExportQuery> for ExportQuery {
    fn from(query: WholeExportQuery) -> Self {
        let WholeExportQuery { format, actor, action, from, to } = query;
        Self { format, credential: None, actor, action, from, to }
    }
}

/// A body that a task writes.
struct Written(mpsc::Receiver<Result<Bytes, axum::Error>>);

impl HttpBody for Written {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.0.poll_recv(context).map(|part| part.map(|part| part.map(Frame::data)))
    }
}

async fn exported(app: App, actor: Actor, whose: Whose, query: ExportQuery) -> ApiResult<Response> {
    let format = match query.format.unwrap_or_default() {
        TextFormat::Jsonl => Format::JsonLines,
        TextFormat::Csv => Format::Csv,
    };
    let filter = Filter {
        credential: query.credential,
        actor: query.actor,
        action: query.action,
        from: query.from.map(|time| time.0),
        to: query.to.map(|time| time.0),
    };
    // Refusals come before the first byte. The export ends where the trail ended when it began.
    app.broker().note_export(&actor, &whose, &filter, format).await?;
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        let mut text = export::head(format);
        let mut after = 0;
        loop {
            // The right is asked for with every part: it may be taken while an export goes on.
            let part = match app.broker().audit_after(&actor, &whose, &filter, after, None).await {
                Ok(part) => part,
                Err(problem) => {
                    tracing::warn!(problem = %problem, "an export of the audit trail broke off");
                    let _ = sender.send(Err(axum::Error::new(std::io::Error::other("broken off")))).await;
                    return;
                }
            };
            text.push_str(&export::lines(format, &part.items));
            // Whoever asked has gone: so do we.
            if !text.is_empty() && sender.send(Ok(Bytes::from(std::mem::take(&mut text)))).await.is_err() {
                return;
            }
            if !part.more {
                return;
            }
            after = part.next;
        }
    });
    let (media, name) = match format {
        Format::JsonLines => ("application/jsonl", "attachment; filename=\"audit.jsonl\""),
        Format::Csv => ("text/csv; charset=utf-8; header=present", "attachment; filename=\"audit.csv\""),
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(name));
    Ok((headers, Body::new(Written(receiver).boxed_unsync())).into_response())
}

/// What happened in the project as text, oldest first; for any member. That somebody took it is recorded.
#[utoipa::path(get, path = "/api/v1/projects/{project}/audit/export", tag = "Audit", params(("project" = String, Path, description = "Slug or id"), ExportQuery), responses((status = 200, content((String = "application/jsonl"), (String = "text/csv"))), Refusals))]
async fn export_audit(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(project): Named<String>,
    Asked(query): Asked<ExportQuery>,
) -> ApiResult<Response> {
    exported(app, actor, Whose::Project(project), query).await
}

/// What happened with the credential as text, oldest first; for its owner.
#[utoipa::path(get, path = "/api/v1/credentials/{id}/audit/export", tag = "Audit", params(("id" = String, Path), WholeExportQuery), responses((status = 200, content((String = "application/jsonl"), (String = "text/csv"))), Refusals))]
async fn export_credential_audit(
    State(app): State<App>,
    Acting(actor): Acting,
    Named(id): Named<String>,
    Asked(query): Asked<WholeExportQuery>,
) -> ApiResult<Response> {
    exported(app, actor, Whose::Credential(id), query.into()).await
}

/// What happened to the installation as text, oldest first; for superusers.
#[utoipa::path(get, path = "/api/v1/audit/export", tag = "Audit", params(WholeExportQuery), responses((status = 200, content((String = "application/jsonl"), (String = "text/csv"))), Refusals))]
async fn export_instance_audit(
    State(app): State<App>,
    Acting(actor): Acting,
    Asked(query): Asked<WholeExportQuery>,
) -> ApiResult<Response> {
    exported(app, actor, Whose::Instance, query.into()).await
}
