//! `/account/totp`: the second factor: set up, its recovery codes shown once, and removed.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use latchstring_broker::people::ShownOnce;
use latchstring_model::Code;
use qrcode::{Color, EcLevel, QrCode};
use serde::Deserialize;

use super::{Link, Tab, tabs};
use crate::App;
use crate::extract::form::Filled;
use crate::extract::secret::Secret;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Place, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Field, When, Wrong};
use crate::texts::Rich;

/// Free modules around a code (ISO/IEC 18004).
const QUIET: usize = 4;

#[derive(Template)]
#[template(path = "account/factor.html")]
struct Page {
    f: Frame,
    tabs: Vec<Link>,
    /// Since when, where there is one.
    since: Option<Rich>,
    left: String,
}

/// The secret, now and never again.
#[derive(Template)]
#[template(path = "account/factor_offer.html")]
struct Offer<'a> {
    f: Frame,
    tabs: Vec<Link>,
    secret: &'a str,
    uri: &'a str,
    picture: Option<Picture>,
    code: Field,
}

#[derive(Template)]
#[template(path = "account/factor_again.html")]
struct Again {
    f: Frame,
    tabs: Vec<Link>,
    wrong: Wrong,
    code: Field,
}

#[derive(Template)]
#[template(path = "account/recovery_codes.html")]
struct Codes {
    f: Frame,
    tabs: Vec<Link>,
    codes: String,
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

/// The frame of a page that answers a form: what is of the frame leads back to the page with the form.
async fn framed(app: &App, visitor: &Visitor) -> Result<Frame, Refused> {
    let frame = Frame::of(app, visitor, Place::Account, None).await?;
    Ok(Frame { path: "/account/totp".to_owned(), ..frame })
}

fn code(visitor: &Visitor) -> Field {
    Field::code(visitor.t, "code", visitor.t.account.factor_code)
}

pub async fn show(State(app): State<App>, Signed(visitor): Signed) -> Result<Response, Refused> {
    let (t, a, now) = (visitor.t, &visitor.t.account, app.broker().now());
    let status = app.broker().second_factor(&visitor.actor).await?;
    let page = Page {
        f: framed(&app, &visitor).await?,
        tabs: tabs(&app, &visitor, Tab::SecondFactor).await?,
        since: status.confirmed_at.map(|at| a.factor_since.rich().part("when", &When::near(t, at, now))),
        left: t.number(&a.factor_left, status.recovery_codes_left),
    };
    Ok(visitor.show(&page))
}

pub async fn offer(State(app): State<App>, Signed(visitor): Signed) -> Result<Response, Refused> {
    let offered = app.broker().offer_second_factor(&visitor.actor).await?;
    let uri = offered.uri.reveal();
    let page = Offer {
        f: framed(&app, &visitor).await?,
        tabs: tabs(&app, &visitor, Tab::SecondFactor).await?,
        secret: offered.secret.reveal(),
        uri,
        picture: Picture::of(uri),
        code: code(&visitor),
    };
    Ok(html(StatusCode::OK, &page))
}

#[derive(Deserialize)]
pub struct Form {
    code: Secret,
}

async fn shown(app: &App, visitor: &Visitor, codes: &[ShownOnce]) -> Result<Response, Refused> {
    let codes: Vec<&str> = codes.iter().map(ShownOnce::reveal).collect();
    let page = Codes {
        f: framed(app, visitor).await?,
        tabs: tabs(app, visitor, Tab::SecondFactor).await?,
        codes: codes.join("\n"),
    };
    Ok(html(StatusCode::OK, &page))
}

pub async fn confirm(
    State(app): State<App>,
    Signed(visitor): Signed,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    match app.door().confirm_second_factor(&visitor.actor, &form.code.0).await {
        Ok(codes) => shown(&app, &visitor, &codes).await,
        // The secret is not shown again; the app has it, or it is begun anew.
        Err(problem) if matches!(problem.code, Code::Invalid | Code::TooManyRequests) => {
            let mut wrong = Wrong::of(visitor.t, &problem, []);
            let page = Again {
                f: framed(&app, &visitor).await?,
                tabs: tabs(&app, &visitor, Tab::SecondFactor).await?,
                code: code(&visitor).wrong(&mut wrong),
                wrong,
            };
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}

pub async fn codes(State(app): State<App>, Signed(visitor): Signed) -> Result<Response, Refused> {
    let codes = app.broker().new_recovery_codes(&visitor.actor).await?;
    shown(&app, &visitor, &codes).await
}

pub async fn remove(State(app): State<App>, Signed(visitor): Signed) -> Result<Response, Refused> {
    app.broker().remove_my_second_factor(&visitor.actor).await?;
    Ok(go::saying("/account/totp", Flash::FactorRemoved))
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
