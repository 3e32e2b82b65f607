//! A token that depends on who calls is that caller's: its end is no news of the others'.

use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::app::Db;
use crate::calling::{World, code};
use crate::connectors::definition;

/// A token endpoint that knows everybody but bob.
async fn endpoint() -> std::net::SocketAddr {
    let answer = async |body: String| -> (StatusCode, Json<Value>) {
        if body.contains("bob") {
            return (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"})));
        }
        (
            StatusCode::OK,
            Json(json!({"access_token": "a-token-of-no-use", "token_type": "Bearer", "expires_in": 600})),
        )
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, Router::new().route("/token", post(answer))).into_future());
    at
}

async fn what_one_person_is_refused_is_nobody_elses(db: Db) {
    let at = endpoint().await;
    let world = World::reaching(db, true, &[at]).await;
    let method = |name: &str, client: &str| {
        format!(
            "  {name}:\n    fields: {{base_url: {{type: url}}, token_url: {{type: url}}}}\n    scheme: {{type: \
             oauth2_client_credentials, token_url: \"{{{{ token_url }}}}\", client_id: {client}, client_secret: \
             not-a-secret, client_auth: post}}\n"
        )
    };
    let more = format!("{}{}", method("each", "\"{{ user.email }}\""), method("all", "bob"));
    world.upload("acme", &definition("CRM", "X-API-Key", &more)).await;
    let values = json!({"base_url": world.api, "token_url": format!("http://{at}/token")});
    let mut ids = Vec::new();
    for name in ["each", "all"] {
        let made = world.stored("acme", "crm", name, name, values.clone()).await;
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    let bob = world.app.person("bob@example.org").await;
    world.app.member(&world.ada, "acme", &bob, "editor").await;
    let as_bob = async |path: &str| {
        let key = format!("Bearer {}", bob.key);
        let place = [("latchstring-project", "acme"), ("latchstring-environment", "staging")];
        world.proxy(path, &[("authorization", &key), place[0], place[1]]).await
    };
    let status = async |id: &str| {
        let made =
            world.app.get(&format!("/api/v1/credentials/{id}")).key(&world.ada.key).is(200).await.json();
        made["environments"]["production"]["status"].clone()
    };
    for path in ["each/echo", "all/echo"] {
        assert_eq!(code(&as_bob(path).await), "token_endpoint_error", "{path}");
    }
    // Neither is marked for everybody: a refusal of what can be asked for again at any time ends nothing.
    for id in &ids {
        assert_eq!(status(id).await, "unverified");
    }
    assert_eq!(world.proxy_as_ada("each/echo").await.status, 200);
}

#[tokio::test]
async fn sqlite() {
    what_one_person_is_refused_is_nobody_elses(Db::Sqlite).await;
}

#[tokio::test]
async fn postgres() {
    what_one_person_is_refused_is_nobody_elses(Db::Postgres).await;
}
