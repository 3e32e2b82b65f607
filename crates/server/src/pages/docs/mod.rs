//! The documentation inside: guides, connectors, the API, error codes. Read without an account.

mod api;
mod connectors;
mod guides;
mod markdown;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

pub use connectors::{Sheet, sheet};

use crate::App;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Frame, Place, Visitor};
use crate::pages::routes::Pages;

pub fn pages(pages: Pages) -> Pages {
    pages
        .show("/docs", index)
        .show("/docs/errors", guides::errors)
        .show("/docs/guides/{name}", guides::show)
        .show("/docs/connectors", connectors::list)
        .show("/docs/connectors/{id}", connectors::show)
        .show("/docs/api", api::index)
        .show("/docs/api/{tag}", api::show)
}

async fn frame(app: &App, visitor: &Visitor) -> Result<Frame, Refused> {
    if visitor.is_signed_in() {
        return Ok(Frame::of(app, visitor, Place::Docs, None).await?);
    }
    Ok(Frame { place: Place::Docs, ..Frame::alone(visitor) })
}

struct Entry {
    path: String,
    title: String,
    about: String,
}

#[derive(Template)]
#[template(path = "docs/index.html")]
struct Index {
    f: Frame,
    main: Vec<Entry>,
    guides: Vec<Entry>,
}

async fn index(State(app): State<App>, visitor: Visitor) -> Result<Response, Refused> {
    let d = &visitor.t.docs;
    let entry = |path: &str, title: &crate::texts::Text, about: &crate::texts::Text| Entry {
        path: path.to_owned(),
        title: title.to_string(),
        about: about.to_string().replace('`', ""),
    };
    let main = vec![
        entry("/docs/connectors", &d.connectors, &d.connectors_lead),
        entry("/docs/guides/templates", &d.templates, &d.templates_lead),
        entry("/docs/api", &d.api, &d.api_lead),
        entry("/docs/errors", &d.errors, &d.errors_lead),
    ];
    let guides = guides::all(visitor.t).map(|(name, title)| Entry {
        path: format!("/docs/guides/{name}"),
        title: title.to_string(),
        about: String::new(),
    });
    let page = Index { f: frame(&app, &visitor).await?, main, guides: guides.collect() };
    Ok(visitor.show(&page))
}
