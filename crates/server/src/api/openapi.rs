//! The OpenAPI 3.1 document: what every client and check can rely on. A copy is `docs/openapi.json`.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{OpenApi, PathItem};
use utoipa::{Modify, OpenApi as _};

use crate::api;
use crate::problem;

struct Ways;

impl Modify for Ways {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        let key = |text: &str| Some(text.to_owned());
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.description = key("A personal or service key, `lst_…`");
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let mut basic = Http::new(HttpAuthScheme::Basic);
        basic.description = key("The key as password, for programs that cannot do otherwise");
        components.add_security_scheme("basic", SecurityScheme::Http(basic));
        let header =
            ApiKeyValue::with_description("Latchstring-Key", "The key, where `Authorization` is taken");
        components.add_security_scheme("header", SecurityScheme::ApiKey(ApiKey::Header(header)));
        let cookie = ApiKeyValue::with_description(
            "latchstring_session",
            "A browser's session (`__Host-latchstring_session` on https). Unsafe methods need `Origin` or `Sec-Fetch-Site` to be same-origin.",
        );
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// What is not an endpoint's own.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Latchstring",
        description = "A self-hosted credential broker. Conventions: JSON in snake_case, times RFC 3339 in UTC, opaque ids with a prefix. \
            Lists answer `items` and `next_cursor`, read `limit` and `cursor`. Unknown fields of a body are a 422. Everything refused is \
            `application/problem+json` with `code`, `detail` and mostly `hint`. What is not yours and what does not exist answer the same 404. \
            `ETag` comes with what can be edited, `If-Match` is looked at (412). Every POST reads `Idempotency-Key`: repeated within a day, it \
            does nothing again and answers as the first time, with `Idempotency-Replayed: true`, to whoever may no less than then; of a credential without its fields. In place \
            of an answer that is not kept (what a call answered, what is shown once, what is larger than 64 KiB), or that is no longer for \
            who asks, comes a 409 that says so. The same key with another request is a 422.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    modifiers(&Ways),
    security(("bearer" = []), ("basic" = []), ("header" = []), ("session" = [])),
    tags(
        (name = "Sessions", description = "Set-up, signing in and out"),
        (name = "Me", description = "One's own account, keys and sessions"),
        (name = "Users", description = "For superusers"),
        (name = "Instance", description = "What superusers decide about this server"),
        (name = "Projects", description = "Projects, members, service keys"),
        (name = "Secrets and variables", description = "Named values for templates, per environment"),
        (name = "Keychains", description = "Names for the credential that a call's data says"),
        (name = "Connectors", description = "What can be connected to, and how"),
        (name = "OAuth clients", description = "Our registrations with providers; superusers make them"),
        (name = "Calls", description = "Operations and metadata; any other request goes through /proxy"),
        (name = "Webhooks", description = "Programs that are told of events"),
        (name = "Audit", description = "What happened, and who did it"),
    ),
)]
pub struct Frame;

/// The whole document, as the server serves it.
pub fn document() -> OpenApi {
    let mut document = api::router().into_openapi();
    document.merge(problem::Schemas::openapi());
    document
}

/// The same as text, ending with a line break.
pub fn text() -> String {
    document().to_pretty_json().unwrap_or_default() + "\n"
}

pub async fn get() -> impl IntoResponse {
    static TEXT: LazyLock<String> = LazyLock::new(text);
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str())
}

/// Every operation that changes something, as (method, path).
pub fn changes(document: &OpenApi) -> Vec<(axum::http::Method, String)> {
    use axum::http::Method;
    let of = |path: &str, item: &PathItem| {
        [
            (&item.post, Method::POST),
            (&item.put, Method::PUT),
            (&item.patch, Method::PATCH),
            (&item.delete, Method::DELETE),
        ]
        .into_iter()
        .filter(|(operation, _)| operation.is_some())
        .map(|(_, method)| (method, path.to_owned()))
        .collect::<Vec<_>>()
    };
    document.paths.paths.iter().flat_map(|(path, item)| of(path, item)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::actions;

    #[test]
    fn a_refused_change_has_a_name_in_the_audit_trail() {
        let missing: Vec<_> =
            changes(&document()).into_iter().filter(|(method, path)| !actions::knows(method, path)).collect();
        assert!(missing.is_empty(), "add them to api/actions.rs: {missing:?}");
    }

    #[test]
    fn every_operation_tells_how_it_refuses_and_has_its_own_id() {
        let document = serde_json::to_value(document()).unwrap_or_default();
        let mut seen = std::collections::HashSet::new();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
                assert!(!id.is_empty() && seen.insert(id.clone()), "{method} {path}: operation id {id:?}");
                assert!(operation["responses"]["default"].is_object(), "{method} {path}: no refusals");
                assert!(operation["summary"].is_string(), "{method} {path}: no summary");
            }
        }
        assert_eq!(document["openapi"], "3.1.0");
        assert!(document["components"]["schemas"]["Problem"].is_object());
    }
}
