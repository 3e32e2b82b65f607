//! `/docs/api`: the API's reference, made of the OpenAPI document that the server serves.

use std::sync::LazyLock;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use latchstring_model::{Code, Problem};
use serde_json::Value;

use super::frame;
use crate::App;
use crate::api::openapi;
use crate::extract::path::Named;
use crate::pages::frame::refused::Refused;
use crate::pages::frame::{Frame, Visitor};
use crate::texts::{Rich, T};

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(openapi::document()).unwrap_or_default());

const VERBS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

struct Tag {
    path: String,
    name: String,
    about: String,
    operations: usize,
}

struct Member {
    name: String,
    kind: String,
    required: bool,
    about: Rich,
}

struct Answer {
    status: String,
    about: String,
    members: Vec<Member>,
}

struct Operation {
    id: String,
    verb: String,
    path: String,
    summary: Rich,
    about: Vec<Rich>,
    parameters: Vec<Member>,
    body: Vec<Member>,
    answers: Vec<Answer>,
}

#[derive(Template)]
#[template(path = "docs/api.html")]
struct Index {
    f: Frame,
    about: Rich,
    tags: Vec<Tag>,
}

#[derive(Template)]
#[template(path = "docs/api_tag.html")]
struct Page {
    f: Frame,
    name: String,
    operations: Vec<Operation>,
}

/// `OAuth clients` → `oauth-clients`.
fn slug(tag: &str) -> String {
    tag.to_lowercase().replace(' ', "-")
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// All operations, with their path and verb.
fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static Value)> {
    let paths = DOCUMENT.get("paths").and_then(Value::as_object).into_iter().flatten();
    paths.flat_map(|(path, item)| {
        VERBS.iter().filter_map(move |verb| Some((path.as_str(), *verb, item.get(*verb)?)))
    })
}

/// Every operation has a tag; what has none in the document's list is listed too.
fn tags() -> Vec<String> {
    let listed = DOCUMENT.get("tags").and_then(Value::as_array).into_iter().flatten();
    let mut tags: Vec<String> = listed.map(|tag| text(tag, "name").to_owned()).collect();
    for (_, _, operation) in operations() {
        let name = tag_of(operation);
        if !tags.contains(&name) {
            tags.push(name);
        }
    }
    tags
}

fn tag_of(operation: &Value) -> String {
    let first = operation.get("tags").and_then(Value::as_array).and_then(|tags| tags.first());
    first.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What a reference points at, once.
fn resolved(schema: &Value) -> &Value {
    let found = schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|at| DOCUMENT.pointer(at.trim_start_matches('#')));
    found.unwrap_or(schema)
}

/// In words.
fn kind(t: T, schema: &Value) -> String {
    let or = format!(" {} ", t.common.or);
    if let Some(at) = schema.get("$ref").and_then(Value::as_str) {
        return at.rsplit('/').next().unwrap_or_default().to_owned();
    }
    for group in ["oneOf", "anyOf", "allOf"] {
        if let Some(list) = schema.get(group).and_then(Value::as_array) {
            let kinds: Vec<String> =
                list.iter().map(|one| kind(t, one)).filter(|one| !one.is_empty() && one != "null").collect();
            return kinds.join(&or);
        }
    }
    let named = match schema.get("type") {
        Some(Value::String(one)) => one.clone(),
        Some(Value::Array(list)) => {
            let names = list.iter().filter_map(Value::as_str).filter(|one| *one != "null");
            names.collect::<Vec<_>>().join(&or)
        }
        _ => String::new(),
    };
    match (named.as_str(), schema.get("items")) {
        ("array", Some(items)) => t.docs.list_of.with("kind", &kind(t, items)).0,
        _ => match schema.get("format").and_then(Value::as_str) {
            Some(format) => format!("{named} ({format})"),
            None => named,
        },
    }
}

fn members(t: T, schema: &Value) -> Vec<Member> {
    let schema = resolved(schema);
    let mut found = Vec::new();
    for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        found.extend(members(t, part));
    }
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, one) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let about = match text(one, "description") {
            "" => text(resolved(one), "description"),
            about => about,
        };
        found.push(Member {
            name: name.clone(),
            kind: kind(t, one),
            required: required.contains(&name.as_str()),
            about: Rich::of(about),
        });
    }
    found
}

fn schema_of(content: &Value) -> Option<&Value> {
    content.get("content").and_then(Value::as_object)?.values().next()?.get("schema")
}

fn operation(t: T, path: &str, verb: &str, of: &Value) -> Operation {
    let parameters = of.get("parameters").and_then(Value::as_array).into_iter().flatten().map(|one| Member {
        name: text(one, "name").to_owned(),
        kind: format!("{}, {}", text(one, "in"), kind(t, one.get("schema").unwrap_or(&Value::Null))),
        required: one.get("required").and_then(Value::as_bool).unwrap_or(false),
        about: Rich::of(text(one, "description")),
    });
    let answers = of.get("responses").and_then(Value::as_object).into_iter().flatten();
    let answers = answers.filter(|(status, _)| *status != "default").map(|(status, one)| Answer {
        status: status.clone(),
        about: text(one, "description").to_owned(),
        members: schema_of(one).map(|schema| members(t, schema)).unwrap_or_default(),
    });
    let about = text(of, "description").split("\n\n").filter(|part| !part.is_empty()).map(Rich::of);
    Operation {
        id: text(of, "operationId").to_owned(),
        verb: verb.to_uppercase(),
        path: path.to_owned(),
        summary: Rich::of(text(of, "summary")),
        about: about.collect(),
        parameters: parameters.collect(),
        body: of.get("requestBody").and_then(schema_of).map(|schema| members(t, schema)).unwrap_or_default(),
        answers: answers.collect(),
    }
}

pub async fn index(State(app): State<App>, visitor: Visitor) -> Result<Response, Refused> {
    let listed: Vec<&Value> = DOCUMENT.get("tags").and_then(Value::as_array).into_iter().flatten().collect();
    let tags = tags().into_iter().map(|name| {
        let about = listed.iter().find(|tag| text(tag, "name") == name);
        Tag {
            path: format!("/docs/api/{}", slug(&name)),
            about: about.map(|tag| text(tag, "description").to_owned()).unwrap_or_default(),
            operations: operations().filter(|(_, _, one)| tag_of(one) == name).count(),
            name,
        }
    });
    let about = DOCUMENT.pointer("/info/description").and_then(Value::as_str).unwrap_or_default();
    let page = Index { about: Rich::of(about), tags: tags.collect(), f: frame(&app, &visitor).await? };
    Ok(visitor.show(&page))
}

pub async fn show(
    State(app): State<App>,
    visitor: Visitor,
    Named(tag): Named<String>,
) -> Result<Response, Refused> {
    let name = tags().into_iter().find(|name| slug(name) == tag);
    let name = name.ok_or_else(|| Box::new(Problem::new(Code::NotFound, visitor.t.docs.no_part.0)))?;
    let of_tag = operations().filter(|(_, _, one)| tag_of(one) == name);
    let operations = of_tag.map(|(path, verb, one)| operation(visitor.t, path, verb, one)).collect();
    Ok(visitor.show(&Page { f: frame(&app, &visitor).await?, name, operations }))
}
