//! The sample data: a few people, a page at a time, and room for some more.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Sandbox;
use crate::access::Caller;
use crate::refusal::Refusal;

/// So many people fit in at most: the sandbox is no database.
const MOST: usize = 200;

#[derive(Clone, Debug, Serialize)]
pub struct Person {
    pub id: usize,
    pub name: String,
    pub email: String,
    pub role: String,
    pub city: String,
}

pub struct People(Mutex<Vec<Person>>);

const FIRST: &[(&str, &str, &str, &str)] = &[
    ("Ada Lovelace", "ada@example.com", "analyst", "London"),
    ("Grace Hopper", "grace@example.com", "engineer", "Arlington"),
    ("Katherine Johnson", "katherine@example.com", "analyst", "Hampton"),
    ("Alan Turing", "alan@example.com", "engineer", "Manchester"),
    ("Mary Seacole", "mary@example.com", "nurse", "Kingston"),
    ("Srinivasa Ramanujan", "srinivasa@example.com", "analyst", "Kumbakonam"),
    ("Wangari Maathai", "wangari@example.com", "forester", "Nyeri"),
    ("Tu Youyou", "youyou@example.com", "pharmacist", "Beijing"),
    ("Joseph Lister", "joseph@example.com", "surgeon", "Glasgow"),
    ("Rosalind Franklin", "rosalind@example.com", "chemist", "London"),
];

impl Default for People {
    fn default() -> Self {
        let person = |(i, &(name, email, role, city)): (usize, &(&str, &str, &str, &str))| Person {
            id: i + 1,
            name: name.to_owned(),
            email: email.to_owned(),
            role: role.to_owned(),
            city: city.to_owned(),
        };
        Self(Mutex::new(FIRST.iter().enumerate().map(person).collect()))
    }
}

/// Who you are to the sandbox: what a dry request asks for.
pub async fn me(Extension(caller): Extension<Caller>) -> Json<Caller> {
    Json(caller)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    limit: Option<usize>,
    /// The id after which the page begins.
    cursor: Option<usize>,
    role: Option<String>,
}

pub async fn list(State(sandbox): State<Arc<Sandbox>>, Query(page): Query<Page>) -> Json<Value> {
    let limit = page.limit.unwrap_or(5).clamp(1, 50);
    let people = sandbox.people.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found: Vec<&Person> = people
        .iter()
        .filter(|person| person.id > page.cursor.unwrap_or(0))
        .filter(|person| page.role.as_ref().is_none_or(|role| *role == person.role))
        .take(limit + 1)
        .collect();
    let more = found.len() > limit;
    found.truncate(limit);
    let next = if more { found.last().map(|person| person.id) } else { None };
    Json(json!({"items": found, "next_cursor": next}))
}

pub async fn one(
    State(sandbox): State<Arc<Sandbox>>,
    Path(id): Path<String>,
) -> Result<Json<Person>, Refusal> {
    let people = sandbox.people.0.lock().unwrap_or_else(PoisonError::into_inner);
    let found = id.parse().ok().and_then(|id: usize| people.iter().find(|person| person.id == id));
    found.cloned().map(Json).ok_or_else(|| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("There is no person {id:?}."),
            "GET /v1/people lists them.",
        )
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPerson {
    name: String,
    email: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    city: String,
}

pub async fn create(
    State(sandbox): State<Arc<Sandbox>>,
    body: Result<Json<NewPerson>, JsonRejection>,
) -> Result<impl IntoResponse, Refusal> {
    let Json(new) = body.map_err(|rejection| {
        Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_person",
            rejection.body_text(),
            "Send JSON such as {\"name\": \"Marie Curie\", \"email\": \"marie@example.com\"}; role and city may be added.",
        )
    })?;
    let mut people = sandbox.people.0.lock().unwrap_or_else(PoisonError::into_inner);
    if people.len() >= MOST {
        return Err(Refusal::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "full",
            "The sandbox holds no more people.",
            "Start it again: it forgets them all.",
        ));
    }
    let person =
        Person { id: people.len() + 1, name: new.name, email: new.email, role: new.role, city: new.city };
    people.push(person.clone());
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/v1/people/{}", person.id))], Json(person)))
}
