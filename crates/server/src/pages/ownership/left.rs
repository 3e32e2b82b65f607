//! `/people/{id}/credentials`: what somebody left behind, for superusers to give to another member.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::credentials::orphans::LeftBehind;
use latchstring_broker::people::Paging;
use latchstring_model::{Code, Timestamp};
use serde::Deserialize;

use crate::App;
use crate::extract::form::Filled;
use crate::extract::path::{Asked, Named};
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{self, Flash, Frame, Place, Signed, Visitor, html};
use crate::pages::go;
use crate::pages::ui::{Field, Tile, When, Wrong};
use crate::texts::Rich;

#[derive(Deserialize)]
pub struct Query {
    cursor: Option<String>,
}

struct Line {
    tile: Tile,
    id: String,
    name: String,
    about: String,
    used: String,
    disabled: bool,
    deletes: Option<Rich>,
    /// Who gets it, where there is anybody to get it.
    to: Option<Field>,
}

#[derive(Template)]
#[template(path = "ownership/left.html")]
struct Page {
    f: Frame,
    title: String,
    path: String,
    wrong: Wrong,
    lines: Vec<Line>,
    next: Option<String>,
}

/// What was typed, and for which credential.
#[derive(Default, Deserialize)]
pub struct Form {
    credential: String,
    email: String,
}

fn line(visitor: &Visitor, left: LeftBehind, form: &Form, wrong: &mut Wrong, now: Timestamp) -> Line {
    let (t, o) = (visitor.t, &visitor.t.ownership);
    let id = left.id.to_string();
    let to = (!left.projects.is_empty() && left.deletes_at.is_none()).then(|| {
        let field = Field::email(t, "email", o.give_to_named.with("name", &left.name))
            .placeholder(o.give_to)
            .autocomplete("off")
            .id(format!("to-{id}"));
        // What is wrong belongs to the one that was sent.
        if form.credential == id { field.value(&form.email).wrong(wrong) } else { field }
    });
    Line {
        tile: Tile::new(&left.connector, &left.connector),
        about: format!("{} · {}", left.connector, left.auth_method),
        used: if left.projects.is_empty() {
            o.left_unused.to_string()
        } else {
            o.left_used.with("projects", &left.projects.join(", ")).0
        },
        disabled: left.disabled,
        deletes: left.deletes_at.map(|at| o.left_deletes.rich().part("when", &When::near(t, at, now))),
        to,
        name: left.name,
        id,
    }
}

async fn page(
    app: &App,
    visitor: &Visitor,
    id: &str,
    cursor: Option<String>,
    form: &Form,
    mut wrong: Wrong,
) -> Result<Page, Refused> {
    let now = app.broker().now();
    let found = app.broker().left_behind(&visitor.actor, id, &Paging::new(cursor, Some(50))).await?;
    let user = app.broker().user(&visitor.actor, id).await?;
    let path = format!("/people/{}/credentials", user.id);
    Ok(Page {
        lines: found.items.into_iter().map(|left| line(visitor, left, form, &mut wrong, now)).collect(),
        next: found.next_cursor.map(|cursor| format!("{path}?cursor={}", go::part(&cursor))),
        title: visitor.t.ownership.left.with("name", &user.name).0,
        path,
        wrong,
        f: Frame::of(app, visitor, Place::People, None).await?,
    })
}

pub async fn show(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Asked(query): Asked<Query>,
) -> Result<Response, Refused> {
    let wrong = Wrong::none(visitor.t);
    Ok(visitor.show(&page(&app, &visitor, &id, query.cursor, &Form::default(), wrong).await?))
}

pub async fn give(
    State(app): State<App>,
    Signed(visitor): Signed,
    Named(id): Named<String>,
    Filled(form): Filled<Form>,
) -> Result<Response, Refused> {
    match Box::pin(app.broker().give_credential(&visitor.actor, &form.credential, &form.email)).await {
        Ok(_) => Ok(go::saying(&format!("/people/{}/credentials", go::part(&id)), Flash::CredentialGiven)),
        Err(problem) if problem.code == Code::Invalid || frame::in_the_way(&problem) => {
            let wrong = Wrong::of(visitor.t, &problem, []);
            let page = page(&app, &visitor, &id, None, &form, wrong).await?;
            Ok(html(frame::status(&problem), &page))
        }
        Err(problem) => Err(problem.into()),
    }
}
