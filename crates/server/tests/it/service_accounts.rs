//! A project's service account: what it may and what it may not, cell by cell.

use axum::http::Method;
use serde_json::{Value, json};

use crate::app::{Somebody, TestApp, both};

struct World {
    ada: Somebody,
    bob: Somebody,
    key: String,
    id: String,
    /// Owned by the project.
    ours: String,
    /// Bob's, shared with the project.
    bobs: String,
    service: String,
}

async fn world(app: &TestApp) -> World {
    let ada = app.person("ada@example.org").await;
    let bob = app.person("bob@example.org").await;
    let cat = app.person("cat@example.org").await;
    app.person("dan@example.org").await;
    app.project(&ada, "acme").await;
    app.project(&ada, "other").await;
    app.member(&ada, "acme", &bob, "editor").await;
    app.member(&ada, "acme", &cat, "admin").await;
    let made = app
        .post("/api/v1/projects/acme/api-keys", json!({"name": "ci", "scope": "manage"}))
        .key(&ada.key)
        .is(201)
        .await
        .json();
    let service = app.service_key(&ada, "acme", json!({})).await;
    let own = json!({
        "name": "Ours", "connector": "http", "auth_method": "bearer", "verify": "skip", "owner_project": "acme",
        "values": {"production": {"base_url": "https://a.example.com", "token": "s3cret"}},
    });
    let ours = app.post("/api/v1/credentials", own).key(&ada.key).is(201).await.json();
    let theirs = json!({
        "name": "Bobs", "connector": "http", "auth_method": "bearer", "verify": "skip",
        "values": {"production": {"base_url": "https://b.example.com", "token": "s3cret"}},
        "shares": [{"project": "acme", "slug": "bobs", "grants": {"production": "production"}}],
    });
    let bobs = app.post("/api/v1/credentials", theirs).key(&bob.key).is(201).await.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    World {
        key: text(&made["key"]),
        id: text(&made["id"]),
        ours: text(&ours["id"]),
        bobs: text(&bobs["id"]),
        service: text(&service["id"]),
        ada,
        bob,
    }
}

/// Method, path, body, the status that is wanted and the refusal's code.
type Cell = (Method, String, Value, u16, &'static str);

fn cells(world: &World) -> Vec<Cell> {
    let (get, post, put, patch, delete) =
        (Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE);
    let acme = |path: &str| format!("/api/v1/projects/acme{path}");
    let credential = |id: &str, more: &str| format!("/api/v1/credentials/{id}{more}");
    let none = Value::Null;
    let connector = json!({
        "id": "crm", "name": "CRM", "hosts": ["crm.example.com"], "base_url": "https://crm.example.com",
        "auth_methods": {"key": {"label": "Key", "fields": {"key": {"type": "text", "secret": true}},
            "scheme": {"type": "api_key", "in": "header", "key": "X-Key", "value": "{{ key }}"}}},
    });
    let new = |owner: Value| {
        json!({
            "name": "New", "connector": "http", "auth_method": "bearer", "verify": "skip", "owner_project": owner,
            "values": {"production": {"base_url": "https://n.example.com", "token": "s3cret"}},
            "shares": [{"project": "acme", "slug": "new", "grants": {"production": "production"}}],
        })
    };
    let refused = "not_allowed";
    vec![
        // Its project.
        (get.clone(), "/api/v1/projects".into(), none.clone(), 200, ""),
        (get.clone(), acme(""), none.clone(), 200, ""),
        (
            patch.clone(),
            acme(""),
            json!({"name": "Acme", "environments": ["staging", "production", "test"]}),
            200,
            "",
        ),
        (patch.clone(), acme(""), json!({"require_second_factor": true}), 403, refused),
        (delete.clone(), acme(""), none.clone(), 403, refused),
        (post.clone(), "/api/v1/projects".into(), json!({"name": "Mine"}), 403, refused),
        (get.clone(), "/api/v1/projects/other".into(), none.clone(), 404, "not_found"),
        (patch.clone(), "/api/v1/projects/other".into(), json!({"name": "x"}), 404, "not_found"),
        // Members, below admins.
        (get.clone(), acme("/members"), none.clone(), 200, ""),
        (put.clone(), acme("/members/dan@example.org"), json!({"role": "viewer"}), 200, ""),
        (put.clone(), acme("/members/dan@example.org"), json!({"role": "editor"}), 200, ""),
        (put.clone(), acme("/members/dan@example.org"), json!({"role": "admin"}), 403, refused),
        (put.clone(), acme("/members/dan@example.org"), json!({"role": "owner"}), 403, refused),
        (put.clone(), acme("/members/cat@example.org"), json!({"role": "viewer"}), 403, refused),
        (put.clone(), acme("/members/ada@example.org"), json!({"role": "viewer"}), 403, refused),
        (delete.clone(), acme("/members/cat@example.org"), none.clone(), 403, refused),
        (delete.clone(), acme("/members/ada@example.org"), none.clone(), 403, refused),
        (delete.clone(), acme("/members/dan@example.org"), none.clone(), 204, ""),
        (delete.clone(), acme("/members/bob@example.org"), none.clone(), 409, "member_owns_credentials"),
        // Keys: seen, never made, never ended.
        (get.clone(), acme("/api-keys"), none.clone(), 200, ""),
        (post.clone(), acme("/api-keys"), json!({"name": "x", "environment": "staging"}), 403, refused),
        (post.clone(), acme("/api-keys"), json!({"name": "x", "scope": "manage"}), 403, refused),
        (delete.clone(), acme(&format!("/api-keys/{}", world.service)), none.clone(), 403, refused),
        // Secrets and variables.
        (put.clone(), acme("/environments/production/secrets/a"), json!({"value": "b"}), 204, ""),
        (get.clone(), acme("/environments/production/secrets"), none.clone(), 200, ""),
        (delete.clone(), acme("/environments/production/secrets/a"), none.clone(), 204, ""),
        (put.clone(), acme("/environments/production/variables/a"), json!({"value": "b"}), 204, ""),
        (get.clone(), acme("/environments/production/variables/a"), none.clone(), 200, ""),
        // Connectors.
        (get.clone(), "/api/v1/connectors".into(), none.clone(), 200, ""),
        (get.clone(), "/api/v1/connectors?project=acme".into(), none.clone(), 200, ""),
        (get.clone(), "/api/v1/connectors?project=other".into(), none.clone(), 404, "not_found"),
        (post.clone(), acme("/connectors"), connector.clone(), 201, ""),
        (put.clone(), acme("/connectors/crm"), connector, 200, ""),
        (delete.clone(), acme("/connectors/crm"), none.clone(), 204, ""),
        (get.clone(), "/api/v1/oauth-clients?project=acme".into(), none.clone(), 200, ""),
        (get.clone(), "/api/v1/oauth-clients?project=other".into(), none.clone(), 404, "not_found"),
        (
            post.clone(),
            "/api/v1/oauth-clients".into(),
            json!({"name": "x", "client_auth": "none"}),
            403,
            refused,
        ),
        // Keychains, and what `apply` has made.
        (
            post.clone(),
            acme("/keychains"),
            json!({"name": "Shops", "connector": "http", "by": "{{ input.shop }}"}),
            201,
            "",
        ),
        (patch.clone(), acme("/keychains/shops"), json!({"name": "Shops too"}), 200, ""),
        (put.clone(), acme("/applied/environment/staging"), none.clone(), 204, ""),
        (get.clone(), acme("/applied"), none.clone(), 200, ""),
        (delete.clone(), acme("/applied/environment/staging"), none.clone(), 204, ""),
        (delete.clone(), acme("/keychains/shops"), none.clone(), 204, ""),
        // What the project owns.
        (get.clone(), "/api/v1/credentials".into(), none.clone(), 200, ""),
        (get.clone(), "/api/v1/credentials?project=acme".into(), none.clone(), 200, ""),
        (get.clone(), "/api/v1/credentials?project=other".into(), none.clone(), 404, "not_found"),
        (post.clone(), "/api/v1/credentials".into(), new(Value::Null), 422, "invalid"),
        (post.clone(), "/api/v1/credentials".into(), new("other".into()), 404, "not_found"),
        (post.clone(), "/api/v1/credentials".into(), new("acme".into()), 201, ""),
        (get.clone(), credential(&world.ours, ""), none.clone(), 200, ""),
        (patch.clone(), credential(&world.ours, ""), json!({"name": "Ours too", "verify": "skip"}), 200, ""),
        (
            patch.clone(),
            credential(&world.ours, ""),
            json!({"values": {"production": {"token": "n3w"}}, "verify": "skip"}),
            200,
            "",
        ),
        (
            patch.clone(),
            credential(&world.ours, ""),
            json!({"shares": [{"project": "acme", "slug": "ours", "grants": {"production": "production"}}]}),
            200,
            "",
        ),
        (get.clone(), credential(&world.ours, "/usage"), none.clone(), 200, ""),
        (get.clone(), credential(&world.ours, "/versions"), none.clone(), 200, ""),
        (post.clone(), credential(&world.ours, "/versions/1/restore"), json!({"verify": "skip"}), 200, ""),
        (post.clone(), credential(&world.ours, "/disable"), json!({}), 200, ""),
        (post.clone(), credential(&world.ours, "/enable"), json!({}), 200, ""),
        (post.clone(), credential(&world.ours, "/approve"), json!({}), 403, refused),
        (
            post.clone(),
            credential(&world.ours, "/authorize"),
            json!({"environment": "production"}),
            403,
            refused,
        ),
        (delete.clone(), credential(&world.ours, "?purge=true"), none.clone(), 403, refused),
        (delete.clone(), credential(&world.ours, ""), none.clone(), 200, ""),
        (post.clone(), credential(&world.ours, "/restore"), json!({}), 200, ""),
        // What a person owns and shares: seen as everybody sees it, and withdrawn.
        (get.clone(), credential(&world.bobs, ""), none.clone(), 200, ""),
        (patch.clone(), credential(&world.bobs, ""), json!({"name": "x"}), 404, "not_found"),
        (
            post.clone(),
            credential(&world.bobs, "/verify"),
            json!({"environment": "production"}),
            403,
            refused,
        ),
        (post.clone(), credential(&world.bobs, "/disable"), json!({}), 404, "not_found"),
        (delete.clone(), credential(&world.bobs, ""), none.clone(), 404, "not_found"),
        (post.clone(), acme(&format!("/credentials/{}/accept", world.bobs)), json!({}), 403, refused),
        (delete.clone(), acme(&format!("/credentials/{}", world.bobs)), none.clone(), 204, ""),
        // Calls are somebody's, in an environment.
        (
            post.clone(),
            acme("/environments/production/credentials/ours/call/request"),
            json!({}),
            403,
            refused,
        ),
        (
            get.clone(),
            acme("/environments/production/credentials/ours/metadata/x"),
            none.clone(),
            403,
            refused,
        ),
        // Webhooks and the trail.
        (get.clone(), acme("/webhooks"), none.clone(), 200, ""),
        (get.clone(), acme("/audit"), none.clone(), 200, ""),
        (get.clone(), acme("/audit/export"), none.clone(), 200, ""),
        (get.clone(), "/api/v1/audit".into(), none.clone(), 403, refused),
        // A person's, a superuser's.
        (get.clone(), "/api/v1/me".into(), none.clone(), 403, refused),
        (patch.clone(), "/api/v1/me".into(), json!({"name": "x"}), 403, refused),
        (get.clone(), "/api/v1/me/keys".into(), none.clone(), 403, refused),
        (post.clone(), "/api/v1/me/keys".into(), json!({"name": "x"}), 403, refused),
        (get.clone(), "/api/v1/me/sessions".into(), none.clone(), 403, refused),
        (get.clone(), "/api/v1/me/totp".into(), none.clone(), 403, refused),
        (post.clone(), "/api/v1/me/totp".into(), json!({}), 403, refused),
        (get.clone(), "/api/v1/me/identities".into(), none.clone(), 403, refused),
        (
            put.clone(),
            "/api/v1/me/password".into(),
            json!({"new_password": "another horse battery"}),
            403,
            refused,
        ),
        (post.clone(), "/api/v1/session/confirm".into(), json!({"password": "x"}), 403, refused),
        (get.clone(), "/api/v1/instance".into(), none.clone(), 403, refused),
        (patch.clone(), "/api/v1/instance".into(), json!({"name": "x"}), 403, refused),
        (get.clone(), "/api/v1/users".into(), none.clone(), 403, refused),
        (post, "/api/v1/invites".into(), json!({"email": "x@example.org"}), 403, refused),
        // Itself, at last.
        (delete.clone(), acme(&format!("/api-keys/{}", world.id)), none.clone(), 204, ""),
        (get, acme(""), none, 401, "unauthenticated"),
    ]
}

both! {
    async fn cell_by_cell(app) {
        let world = world(&app).await;
        for (method, path, body, status, code) in cells(&world) {
            let call = app.call(method.clone(), &path).key(&world.key);
            let answer = if body.is_null() { call.send().await } else { call.json(body).send().await };
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
            if !code.is_empty() {
                assert_eq!(answer.code(), code, "{method} {path}: {}", answer.text);
            }
            assert!(!answer.text.contains("s3cret") && !answer.text.contains("n3w"), "{method} {path}");
        }
        // What it did is told as its own.
        let records = app.records().await;
        let made = records.iter().find(|record| record.action == "credential.create" && record.body.contains("New")).unwrap();
        assert_eq!((made.actor_type.as_str(), made.actor_id.as_deref()), ("key", Some(world.id.as_str())));
        assert!(records.iter().any(|record| record.action == "key.create" && record.outcome.as_str() == "refused" && record.actor_id.as_deref() == Some(world.id.as_str())));
    }

    async fn fields_of_what_the_project_owns_are_its_to_see(app) {
        let world = world(&app).await;
        let ours = app.get(&format!("/api/v1/credentials/{}", world.ours)).key(&world.key).is(200).await.json();
        assert_eq!(ours["environments"]["production"]["fields"]["base_url"], "https://a.example.com");
        assert_eq!(ours["environments"]["production"]["secret_fields"], json!(["token"]));
        let bobs = app.get(&format!("/api/v1/credentials/{}", world.bobs)).key(&world.key).is(200).await.json();
        assert!(bobs["environments"]["production"]["fields"].is_null(), "{bobs}");
        let _ = (&world.ada, &world.bob);
    }

    async fn it_is_made_without_an_environment_and_without_limits_on_calls(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        let path = "/api/v1/projects/acme/api-keys";
        let wrong = json!({"name": "ci", "scope": "manage", "environment": "staging", "methods": ["GET"], "operations_only": true});
        assert_eq!(app.post(path, wrong).key(&ada.key).is(422).await.pointers(), ["/environment", "/operations_only", "/methods"]);
        assert_eq!(app.post(path, json!({"name": "x"})).key(&ada.key).is(422).await.pointers(), ["/environment"]);
        let made = app.post(path, json!({"name": "ci", "scope": "manage", "networks": ["192.0.2.0/24"]})).key(&ada.key).is(201).await.json();
        assert_eq!((made["scope"].as_str(), made["environment"].is_null()), (Some("manage"), true));
        let key = made["key"].as_str().unwrap();
        app.get("/api/v1/projects/acme").key(key).is(200).await;
        assert_eq!(app.get("/api/v1/projects/acme").key(key).from("198.51.100.1").is(403).await.code(), "not_allowed");
        let listed = app.get(path).key(&ada.key).is(200).await.json();
        assert_eq!(listed["items"][0]["scope"], "manage");
        // Environments come and go; it stays.
        app.patch("/api/v1/projects/acme", json!({"environments": ["test"]})).key(&ada.key).is(200).await;
        app.get("/api/v1/projects/acme").key(key).is(200).await;
        app.delete("/api/v1/projects/acme").key(&ada.key).is(204).await;
        app.get("/api/v1/projects/acme").key(key).is(401).await;
    }

    async fn an_answer_is_given_again_to_it(app) {
        let world = world(&app).await;
        let put = || app.post("/api/v1/projects/acme/connectors", json!({"id": "x"})).key(&world.key).header("idempotency-key", "one");
        let first = put().send().await;
        let second = put().send().await;
        assert_eq!((first.status, &first.text), (second.status, &second.text));
        assert_eq!(second.header("idempotency-replayed"), "true");
    }
}
