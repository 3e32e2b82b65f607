//! Connectors, explained: methods, fields and how to get them, what is sent, what its refusals mean.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_broker::definitions::{AuthMethod, Definition, Field as Defined, Operation as Defines};
use latchstring_model::{Code, Problem};

use super::frame;
use crate::App;
use crate::extract::path::Named;
use crate::pages::credentials::fields::{label_of, shown};
use crate::pages::credentials::sent;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Frame, Visitor};
use crate::pages::ui::Tile;
use crate::texts::{Rich, T};

struct Field {
    label: String,
    name: String,
    marks: Vec<String>,
    help: Option<Rich>,
    notes: Vec<Rich>,
}

struct Method {
    id: String,
    label: String,
    kind: &'static str,
    help: Option<Rich>,
    warning: Option<&'static str>,
    docs: Option<String>,
    sent: Rich,
    fields: Vec<Field>,
}

struct Operation {
    name: String,
    label: String,
    method: String,
    help: Option<String>,
    input: Vec<Field>,
    filtered: bool,
}

/// All about one connector.
#[derive(Template)]
#[template(path = "docs/sheet.html")]
pub struct Sheet {
    t: T,
    methods: Vec<Method>,
    operations: Vec<Operation>,
    metadata: Vec<Operation>,
    hosts: Vec<String>,
    verify: Option<String>,
    errors: Vec<(String, String)>,
    docs: Option<String>,
}

impl askama::filters::HtmlSafe for Sheet {}

impl Sheet {
    fn icon(&self, name: &'static str) -> crate::pages::ui::Icon {
        crate::pages::ui::Icon(name)
    }
}

fn field(t: T, of: &Defined, all: &[Defined]) -> Field {
    let d = &t.docs;
    let mut marks = vec![of.ty.as_str().to_owned()];
    if of.secret {
        marks.push(d.secret.to_string());
    }
    if of.optional {
        marks.push(d.optional.to_string());
    }
    let mut notes = Vec::new();
    if let Some(default) = &of.default {
        notes.push(d.default_value.with("value", &format!("`{}`", shown(default))).rich());
    }
    if !of.options.is_empty() {
        let options: Vec<String> =
            of.options.iter().map(|(value, label)| format!("`{value}` ({label})")).collect();
        notes.push(d.options.with("options", &options.join(", ")).rich());
    }
    for (name, values) in &of.visible_when {
        let other = all.iter().find(|field| field.name == *name).map_or_else(|| name.clone(), label_of);
        let values: Vec<String> = values.iter().map(|value| format!("`{}`", shown(value))).collect();
        notes.push(d.only_when.with("when", &format!("{other} = {}", values.join(", "))).rich());
    }
    if let Some(example) = of.examples.first() {
        notes.push(t.common.example.with("example", &format!("`{}`", shown(example))).rich());
    }
    Field { label: label_of(of), name: of.name.clone(), marks, help: of.help.as_deref().map(Rich::of), notes }
}

fn method(t: T, of: &AuthMethod) -> Method {
    Method {
        id: of.id.clone(),
        label: of.label.clone(),
        kind: of.scheme.ty.as_str(),
        help: of.help.as_deref().map(Rich::of),
        warning: of.scheme.ty.warning(),
        docs: of.docs_url.clone(),
        sent: sent(t, of.scheme.ty).rich(),
        fields: of.fields.iter().map(|one| field(t, one, &of.fields)).collect(),
    }
}

fn operation(t: T, of: &Defines) -> Operation {
    Operation {
        name: of.name.clone(),
        label: of.label.clone().unwrap_or_else(|| of.name.clone()),
        method: of.request.method.to_string(),
        help: of.help.clone(),
        input: of.input.iter().map(|one| field(t, one, &of.input)).collect(),
        filtered: of.keeps_back(),
    }
}

pub fn sheet(t: T, definition: &Definition) -> Sheet {
    let verify = definition
        .verify
        .as_ref()
        .map(|request| format!("{} {}", request.method, request.literal_path().unwrap_or("…")));
    Sheet {
        t,
        methods: definition.auth_methods.iter().map(|one| method(t, one)).collect(),
        operations: definition.operations.iter().map(|one| operation(t, one)).collect(),
        metadata: definition.metadata.iter().map(|one| operation(t, one)).collect(),
        hosts: definition.hosts.iter().map(ToString::to_string).collect(),
        verify,
        errors: definition
            .errors
            .iter()
            .map(|rule| (rule.when_text(), rule.explanation().to_owned()))
            .collect(),
        docs: definition.docs_url.clone(),
    }
}

struct Book {
    tile: Tile,
    id: String,
    name: String,
    about: String,
}

#[derive(Template)]
#[template(path = "docs/connectors.html")]
struct List {
    f: Frame,
    books: Vec<Book>,
}

pub async fn list(State(app): State<App>, visitor: Visitor) -> Result<Response, Refused> {
    let books = app.broker().catalog().all_builtin().iter().map(|definition| Book {
        tile: Tile::new(&definition.name, &definition.id),
        id: definition.id.clone(),
        name: definition.name.clone(),
        about: definition.description.clone().unwrap_or_default(),
    });
    Ok(visitor.show(&List { books: books.collect(), f: frame(&app, &visitor).await? }))
}

#[derive(Template)]
#[template(path = "docs/connector.html")]
struct One {
    f: Frame,
    tile: Tile,
    name: String,
    about: String,
    sheet: Sheet,
}

pub async fn show(
    State(app): State<App>,
    visitor: Visitor,
    Named(id): Named<String>,
) -> Result<Response, Refused> {
    let definition = app.broker().catalog().builtin(&id);
    let definition =
        definition.ok_or_else(|| Box::new(Problem::new(Code::NotFound, visitor.t.docs.no_connector.0)))?;
    let page = One {
        f: frame(&app, &visitor).await?,
        tile: Tile::new(&definition.name, &definition.id).large(),
        name: definition.name.clone(),
        about: definition.description.clone().unwrap_or_default(),
        sheet: sheet(visitor.t, &definition),
    };
    Ok(visitor.show(&page))
}
