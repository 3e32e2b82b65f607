//! `POST /account/totp…`: a second factor is set up, its recovery codes are shown once, and it is removed.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use latchstring_broker::people::ShownOnce;
use latchstring_model::Code;
use qrcode::{Color, EcLevel, QrCode};
use serde::Deserialize;

use crate::App;
use crate::extract::actor::Acting;
use crate::extract::form::Filled;
use crate::extract::secret::Secret;
use crate::pages::frame::{self, Refused, html};

/// Free modules around a code (ISO/IEC 18004).
const QUIET: usize = 4;

#[derive(Template)]
#[template(path = "totp.html")]
struct Offer<'a> {
    secret: &'a str,
    uri: &'a str,
    picture: Option<Picture>,
}

#[derive(Template)]
#[template(path = "totp_again.html")]
struct Again {
    trouble: Vec<String>,
}

#[derive(Template)]
#[template(path = "recovery_codes.html")]
struct Codes<'a> {
    codes: Vec<&'a str>,
}

/// A QR code as one SVG path over a square of `side` units.
struct Picture {
    side: usize,
    path: String,
}

impl Picture {
    fn of(text: &str) -> Option<Self> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
        let width = code.width();
        let mut path = String::new();
        for (at, color) in code.to_colors().into_iter().enumerate() {
            if color == Color::Dark {
                path.push_str(&format!("M{} {}h1v1h-1z", at % width + QUIET, at / width + QUIET));
            }
        }
        Some(Self { side: width + 2 * QUIET, path })
    }
}

pub async fn offer(State(app): State<App>, Acting(actor): Acting) -> Result<Response, Refused> {
    let offered = app.broker().offer_second_factor(&actor).await?;
    let uri = offered.uri.reveal();
    let page = Offer { secret: offered.secret.reveal(), uri, picture: Picture::of(uri) };
    Ok(html(StatusCode::OK, &page))
}

#[derive(Deserialize)]
pub struct Form {
    code: Secret,
}

fn shown(codes: &[ShownOnce]) -> Response {
    html(StatusCode::OK, &Codes { codes: codes.iter().map(ShownOnce::reveal).collect() })
}

pub async fn confirm(
    State(app): State<App>,
    Acting(actor): Acting,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    match app.door().confirm_second_factor(&actor, &form.code.0).await {
        Ok(codes) => Ok(shown(&codes)),
        // The secret is not shown again; the app has it, or it is begun anew.
        Err(problem) if matches!(problem.code, Code::Invalid | Code::TooManyRequests) => {
            Ok(html(frame::status(&problem), &Again { trouble: frame::lines(&problem) }))
        }
        Err(problem) => Err(problem.into()),
    }
}

pub async fn codes(State(app): State<App>, Acting(actor): Acting) -> Result<Response, Refused> {
    Ok(shown(&app.broker().new_recovery_codes(&actor).await?))
}

pub async fn remove(State(app): State<App>, Acting(actor): Acting) -> Result<Response, Refused> {
    app.broker().remove_my_second_factor(&actor).await?;
    Ok(Redirect::to("/account").into_response())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_picture_is_one_path_of_plain_signs() {
        let picture = Picture::of(
            "otpauth://totp/Latchstring:ada%40example%2Eorg?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
        )
        .unwrap();
        assert!(picture.side > 21 + 2 * QUIET && picture.path.starts_with("M4 4h1v1h-1z"));
        assert!(picture.path.bytes().all(|b| b.is_ascii_digit() || b"Mhvz -".contains(&b)));
        assert!(Picture::of(&"x".repeat(10_000)).is_none());
    }
}
