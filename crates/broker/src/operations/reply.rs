//! What of an answer is handed on.

use bytes::Bytes;
use http::header;
use latchstring_connectors::{Context, Operation, RenderError};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem};
use latchstring_schemes::wire::WireAnswer;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::{Kind, MOST_BYTES};
use crate::road::described::Described;
use crate::road::mask::Masker;
use crate::road::materials::Materials;
use crate::tokens::excerpt;

/// An answer for the caller: always JSON, because it is given out under our own origin.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// The API answered well, and with nothing.
    Empty,
    Json(Bytes),
}

/// What a status usually means here, where the connector has nothing better to say.
fn usually(status: u16) -> &'static str {
    match status {
        401 => {
            "The API does not accept the credential: its owner verifies it, POST /api/v1/credentials/{id}/verify."
        }
        403 => "The account behind the credential may not do that; its rights are changed at the API.",
        404 => "The API knows nothing of that name or id.",
        408 | 425 | 429 => "The API asks to slow down: try again later.",
        300..=399 => "The API redirects, and a redirect is not followed with a credential.",
        400..=499 => "The API did not like the input: compare it with the operation's documentation.",
        500..=599 => "The API has trouble of its own: try again later.",
        _ => "The answer is not one that the operation expects.",
    }
}

/// Seconds, as `Retry-After` (RFC 9110, 10.2.3) has them; its form with a date is passed over.
fn retry_after(answer: &WireAnswer) -> Option<u32> {
    answer.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

/// Whether the definition keeps something of the answer back.
fn keeps_back(operation: &Operation) -> bool {
    operation.keeps_back()
}

fn refused(materials: &Materials, operation: &Operation, described: &Described) -> Box<Problem> {
    let answer = &described.answer;
    let text = String::from_utf8_lossy(&answer.body);
    let explained =
        materials.definition.explain(materials.definition.method(&materials.method), answer.status, &text);
    let shown = if keeps_back(operation) { Value::Null } else { excerpt(&described.masker, answer).into() };
    let detail = if operation.request.expect.status_fits(answer.status) {
        format!(
            "{} answered {}, but what it answered is not what `{}` expects.",
            materials.definition.name, answer.status, operation.name
        )
    } else {
        format!("{} answered `{}` with {}.", materials.definition.name, operation.name, answer.status)
    };
    let mut problem = Problem::new(Code::UpstreamError, detail)
        .with("upstream", json!({ "status": answer.status, "body_excerpt": shown }));
    problem = match explained {
        Some(text) => problem.hint(text),
        None => problem.hint(usually(answer.status)),
    };
    if let Some(seconds) = retry_after(answer).filter(|_| matches!(answer.status, 429 | 503)) {
        problem = problem.retry_after(seconds);
    }
    problem.into()
}

fn not_handed_on(operation: &Operation, status: u16, why: &str) -> Box<Problem> {
    Problem::new(
        Code::UpstreamError,
        format!("The answer to `{}` was not what the connector describes, and is not handed on: {why}", operation.name),
    )
    .hint("The connector's `filter` and `select` decide what callers see; who looks after the connector compares them with what the API answers now.")
    .with("upstream", json!({ "status": status, "body_excerpt": null }))
    .into()
}

fn too_long(operation: &Operation, status: u16) -> Box<Problem> {
    Problem::new(
        Code::UpstreamError,
        format!(
            "The answer to `{}` is longer than {MOST_BYTES} bytes, which is more than is held.",
            operation.name
        ),
    )
    .hint("Ask for less at a time (a page, a shorter period), or use /proxy, which streams.")
    .with("upstream", json!({ "status": status, "body_excerpt": null }))
    .into()
}

/// Texts of a JSON value, masked; lengths stay.
fn masked(masker: &Masker, bytes: Vec<u8>) -> Bytes {
    masker.mask(Bytes::from(bytes))
}

/// An answer that nothing is taken out of: JSON byte for byte (numbers keep their digits), else wrapped.
fn whole(described: &Described) -> Reply {
    let body = &described.answer.body;
    if body.iter().all(u8::is_ascii_whitespace) {
        return Reply::Empty;
    }
    if serde_json::from_slice::<IgnoredAny>(body).is_ok() {
        return Reply::Json(masked(&described.masker, body.to_vec()));
    }
    let kind = described.answer.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let wrapped = match std::str::from_utf8(body) {
        Ok(text) => json!({ "content_type": kind, "text": described.masker.mask_text(text) }),
        Err(_) => {
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.encode(body);
            json!({ "content_type": kind, "base64": described.masker.mask_text(&text) })
        }
    };
    Reply::Json(Bytes::from(wrapped.to_string()))
}

/// Judges an answer and cuts it to what the caller may see. `context` has the input.
pub(super) fn reply(
    materials: &Materials,
    operation: &Operation,
    kind: Kind,
    context: &Context<'_>,
    described: &Described,
) -> Refused<Reply> {
    let answer = &described.answer;
    if !operation.request.expect.fits(answer.status, &answer.body) {
        return Err(refused(materials, operation, described));
    }
    if answer.truncated {
        return Err(too_long(operation, answer.status));
    }
    let cut = if keeps_back(operation) || operation.selects() {
        let value: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| not_handed_on(operation, answer.status, "it is not JSON."))?;
        let method = materials.auth_method()?;
        let cut = materials
            .definition
            .apply_filter(operation, method, context, value)
            .map_err(|error: RenderError| not_handed_on(operation, answer.status, &format!("{error}.")))?;
        Some(cut)
    } else {
        None
    };
    let cut = match (cut, kind) {
        (Some(Value::Array(items)), Kind::Metadata) => Some(json!({ "items": items, "next_cursor": null })),
        (cut, _) => cut,
    };
    Ok(match cut {
        Some(value) => Reply::Json(masked(&described.masker, value.to_string().into_bytes())),
        None => whole(described),
    })
}
