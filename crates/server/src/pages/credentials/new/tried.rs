//! The form, tried before it is saved: what would be sent is shown, or sent once and shown with its answer.

use axum::response::Response;
use latchstring_broker::credentials::preview::{Sketch, Trying};
use latchstring_broker::definitions::{AuthMethod, Connector};
use latchstring_model::{Code, Problem};

use super::Desk;
use super::form::{self, Outcome, Part};
use crate::pages::credentials::fields::Pairs;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, html};
use crate::pages::ui::{Badge, Exchange, Sketched, Wrong};

/// Where the form says that it is only tried, and how.
pub const TRY: &str = "try";
/// What is asked where the connector has nothing to ask.
pub const PATH: &str = "try_path";

fn parts_of(desk: &Desk<'_>, sketches: &[Sketch]) -> Vec<Part> {
    let m = &desk.visitor.t.making;
    let title = |of: &str| (sketches.len() > 1).then(|| m.set_of.with("environment", of).0);
    sketches.iter().map(|one| Part::Sketch(Sketched::of(desk.visitor.t, one, title(&one.of)))).collect()
}

fn previewed(desk: &Desk<'_>, method: &AuthMethod, sketches: &[Sketch]) -> Outcome {
    let m = &desk.visitor.t.making;
    Outcome {
        failed: false,
        badge: Badge::new("info", "eye", m.preview_badge),
        title: m.preview_title.to_string(),
        text: m.preview_lead.to_string(),
        hint: method.needs_consent().then(|| m.preview_consent.to_string()),
        parts: parts_of(desk, sketches),
        kept: form::kept(desk, false),
    }
}

fn tested(desk: &Desk<'_>, connector: &Connector, tried: Vec<Trying>) -> Outcome {
    let (t, m) = (desk.visitor.t, &desk.visitor.t.making);
    let name = &connector.definition.name;
    let several = tried.len() > 1;
    let first = tried.iter().find_map(|one| one.refused.clone());
    let account = tried.iter().find_map(|one| one.account.clone());
    let parts = tried
        .iter()
        .filter_map(|one| {
            let title = several.then(|| m.set_of.with("environment", &one.environment).0);
            let exchange = Exchange::of(t, one.request.as_ref(), one.response.as_ref())?;
            Some(Part::Exchange(title, exchange))
        })
        .collect();
    match first {
        Some(problem) => Outcome {
            failed: true,
            badge: form::bad(desk),
            title: form::failure(desk, connector, &problem).unwrap_or_default(),
            text: problem.detail.to_string(),
            hint: problem.hint.as_ref().map(ToString::to_string),
            parts,
            kept: form::kept(desk, true),
        },
        None => Outcome {
            failed: false,
            badge: Badge::new("good", "check-circle", m.result),
            title: m.test_good.with("connector", name).0,
            text: match account {
                Some(account) => m.test_account.with("account", &account).0,
                None => m.test_lead.to_string(),
            },
            hint: None,
            parts,
            kept: form::kept(desk, false),
        },
    }
}

/// The page with what came of it. `Err`: what is typed cannot be tried as it is.
pub async fn answer(
    desk: &Desk<'_>,
    connector: &Connector,
    method: &AuthMethod,
    pairs: &Pairs,
) -> Result<Response, TryError> {
    let mut new = super::send::read(desk, connector, method, pairs)?;
    if new.name.is_empty() {
        // It is not saved, so it needs no name.
        new.name.clone_from(&connector.definition.name);
    }
    let (broker, actor) = (desk.app.broker(), &desk.visitor.actor);
    let path = pairs.given(PATH).unwrap_or_default();
    let (outcome, refused) = if pairs.get(TRY) == Some("test") {
        let tried = Box::pin(broker.test_credential(actor, new, &path)).await?;
        let refused = tried.iter().find_map(|one| one.refused.clone());
        (tested(desk, connector, tried), refused)
    } else {
        let sketches = Box::pin(broker.preview_credential(actor, new, &path)).await?;
        (previewed(desk, method, &sketches), None)
    };
    let typed = desk.visitor.typed(pairs);
    let (wrong, status) = match &refused {
        Some(problem) => (Wrong::beside(desk.visitor.t, problem, typed), frame::status(problem)),
        None => (Wrong::again(desk.visitor.t, typed), axum::http::StatusCode::OK),
    };
    let page = form::page(desk, connector, &method.id, pairs, wrong, Some(outcome)).await?;
    Ok(html(status, &page))
}

/// Of what is typed, to be told beside its fields; or of the page.
pub enum TryError {
    Typed(Box<Problem>),
    Page(Refused),
}

impl From<Box<Problem>> for TryError {
    fn from(problem: Box<Problem>) -> Self {
        match problem.code {
            Code::Forbidden => Self::Page(problem.into()),
            _ => Self::Typed(problem),
        }
    }
}

impl From<Refused> for TryError {
    fn from(refused: Refused) -> Self {
        Self::Page(refused)
    }
}
