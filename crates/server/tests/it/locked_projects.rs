//! A project that wants a second factor of its people.

use axum::http::Method;
use serde_json::{Value, json};

use crate::app::{Somebody, TestApp, both};
use crate::credentials_upstream::both_shops;

async fn everything(app: &TestApp, crm: &str) -> Vec<(Method, String, Value)> {
    let at = |method: Method, path: &str, body: Value| (method, format!("/api/v1/projects/acme{path}"), body);
    let values = "/environments/production";
    let _ = app;
    vec![
        at(Method::GET, "", Value::Null),
        at(Method::PATCH, "", json!({"name": "x"})),
        at(Method::GET, "/members", Value::Null),
        at(Method::PUT, "/members/ada@example.org", json!({"role": "owner"})),
        at(Method::DELETE, "/members/bob@example.org", Value::Null),
        at(Method::GET, "/api-keys", Value::Null),
        at(Method::POST, "/api-keys", json!({"name": "x", "environment": "production"})),
        at(Method::GET, "/audit", Value::Null),
        at(Method::GET, "/audit?after=0", Value::Null),
        at(Method::GET, "/audit/export", Value::Null),
        at(Method::GET, &format!("{values}/secrets"), Value::Null),
        at(Method::PUT, &format!("{values}/secrets/a"), json!({"value": "b"})),
        at(Method::GET, &format!("{values}/variables"), Value::Null),
        at(Method::GET, "/webhooks", Value::Null),
        at(Method::POST, &format!("{values}/credentials/crm/call/ping"), json!({})),
        at(Method::GET, &format!("{values}/credentials/crm/metadata/things"), Value::Null),
        at(Method::DELETE, &format!("/credentials/{crm}"), Value::Null),
        at(Method::POST, &format!("/credentials/{crm}/accept"), json!({})),
        (Method::GET, "/api/v1/credentials?project=acme".into(), Value::Null),
        (Method::GET, "/api/v1/connectors?project=acme".into(), Value::Null),
        (Method::GET, "/api/v1/oauth-clients?project=acme".into(), Value::Null),
    ]
}

async fn try_all(app: &TestApp, who: impl Fn(crate::app::Call<'_>) -> crate::app::Call<'_>, crm: &str) {
    for (method, path, body) in everything(app, crm).await {
        let call = who(app.call(method.clone(), &path));
        let answer = if body.is_null() { call.send().await } else { call.json(body).send().await };
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "second_factor_required"),
            "{method} {path}: {}",
            answer.text
        );
    }
}

async fn share(app: &TestApp, ada: &Somebody) -> String {
    let make = json!({
        "name": "CRM", "connector": "http", "auth_method": "bearer", "verify": "skip",
        "values": {"production": {"base_url": "https://crm.example.com", "token": "s3cret"}},
        "shares": [{"project": "acme", "slug": "crm", "grants": {"production": "production"}}],
    });
    app.post("/api/v1/credentials", make).key(&ada.key).is(201).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

both! {
    async fn who_has_none_is_shut_out_and_who_has_one_is_not(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.project(&ada, "acme").await;
        app.member(&ada, "acme", &bob, "admin").await;
        let crm = share(&app, &ada).await;
        // Owners alone decide, and with one of their own.
        let demand = json!({"require_second_factor": true});
        assert_eq!(app.patch("/api/v1/projects/acme", demand.clone()).cookie(&bob.cookie).is(403).await.code(), "forbidden");
        assert_eq!(app.patch("/api/v1/projects/acme", demand.clone()).cookie(&ada.cookie).is(403).await.code(), "second_factor_required");
        app.second_factor(&ada).await;
        let changed = app.patch("/api/v1/projects/acme", demand).cookie(&ada.cookie).is(200).await.json();
        assert_eq!((changed["require_second_factor"].as_bool(), changed["locked"].as_bool()), (Some(true), Some(false)));
        try_all(&app, |call| call.cookie(&bob.cookie), &crm).await;
        try_all(&app, |call| call.key(&bob.key), &crm).await;
        // It is named, so that people learn what to do, and nothing in it is shown.
        let listed = app.get("/api/v1/projects").key(&bob.key).is(200).await.json();
        assert_eq!((listed["items"][0]["slug"].as_str(), listed["items"][0]["locked"].as_bool()), (Some("acme"), Some(true)));
        assert_eq!(listed["items"][0]["environments"], json!([]));
        // A credential that they see through this project alone is none of theirs meanwhile.
        app.get(&format!("/api/v1/credentials/{crm}")).key(&bob.key).is(404).await;
        app.get("/api/v1/projects/acme").key(&ada.key).is(200).await;
        app.get("/api/v1/projects/acme").cookie(&ada.cookie).is(200).await;
        app.get(&format!("/api/v1/credentials/{crm}")).key(&ada.key).is(200).await;
        // With one set up, in this session and with the keys that were there before.
        app.second_factor(&bob).await;
        app.get("/api/v1/projects/acme").cookie(&bob.cookie).is(200).await;
        app.get("/api/v1/projects/acme").key(&bob.key).is(200).await;
        app.get(&format!("/api/v1/credentials/{crm}")).key(&bob.key).is(200).await;
        app.delete("/api/v1/me/totp").cookie(&bob.cookie).is(204).await;
        app.get("/api/v1/projects/acme").cookie(&bob.cookie).is(403).await;
        app.get("/api/v1/projects/acme").key(&bob.key).is(403).await;
    }

    async fn nothing_is_shared_with_it_by_who_is_shut_out(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.project(&ada, "acme").await;
        app.member(&ada, "acme", &bob, "admin").await;
        let make = |share: Value| json!({
            "name": "Mine", "connector": "raw", "auth_method": "custom", "verify": "skip",
            "values": {"production": {"a": "b"}}, "shares": share,
        });
        let share = json!([{"project": "acme", "slug": "mine", "grants": {"production": "production"}}]);
        let mine = app.post("/api/v1/credentials", make(json!([]))).key(&bob.key).is(201).await.json();
        let mine = format!("/api/v1/credentials/{}", mine["id"].as_str().unwrap());
        app.second_factor(&ada).await;
        app.patch("/api/v1/projects/acme", json!({"require_second_factor": true})).cookie(&ada.cookie).is(200).await;
        // As with a project that is none of theirs.
        let refused = app.post("/api/v1/credentials", make(share.clone())).key(&bob.key).is(422).await.json();
        assert_eq!(refused["errors"][0]["pointer"], "/shares/0/project", "{refused}");
        app.patch(&mine, json!({"shares": share})).key(&bob.key).is(422).await;
        app.second_factor(&bob).await;
        app.patch(&mine, json!({"shares": share})).key(&bob.key).is(200).await;
    }

    async fn who_asks_from_outside_learns_nothing(app) {
        let ada = app.person("ada@example.org").await;
        let eve = app.person("eve@example.org").await;
        app.project(&ada, "acme").await;
        app.second_factor(&ada).await;
        app.patch("/api/v1/projects/acme", json!({"require_second_factor": true})).cookie(&ada.cookie).is(200).await;
        let foreign = app.get("/api/v1/projects/acme").key(&eve.key).is(404).await;
        let missing = app.get("/api/v1/projects/nowhere").key(&eve.key).is(404).await;
        assert_eq!(foreign.text, missing.text);
    }

    async fn a_projects_own_credential_is_closed_with_it(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.project(&ada, "acme").await;
        app.member(&ada, "acme", &bob, "admin").await;
        let make = json!({
            "name": "Ours", "connector": "raw", "auth_method": "custom", "verify": "skip", "owner_project": "acme",
            "values": {"production": {"a": "b"}},
        });
        let made = app.post("/api/v1/credentials", make).key(&bob.key).is(201).await.json();
        let path = format!("/api/v1/credentials/{}", made["id"].as_str().unwrap());
        app.get(&path).key(&bob.key).is(200).await;
        app.second_factor(&ada).await;
        app.patch("/api/v1/projects/acme", json!({"require_second_factor": true})).cookie(&ada.cookie).is(200).await;
        app.get(&path).key(&bob.key).is(404).await;
        app.patch(&path, json!({"name": "Mine"})).key(&bob.key).is(404).await;
        app.get(&path).key(&ada.key).is(200).await;
    }
}

both_shops! {
    async fn a_check_leaves_it_out_for_who_is_shut_out(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.project(&shop.ada, "beta").await;
        for project in ["acme", "beta"] {
            shop.app.member(&shop.ada, project, &bob, "editor").await;
        }
        let grants = json!({"production": "production"});
        let make = json!({
            "name": "Both", "connector": "http", "auth_method": "custom", "verify": "skip",
            "values": {"production": {"base_url": shop.up.url, "headers": {"X-Project": "{{ project.slug }}"}, "test_path": "/me"}},
            "shares": [{"project": "acme", "grants": grants}, {"project": "beta", "grants": grants}],
        });
        let made = shop.create(make).is(201).await.json();
        let checked = async |key: &str| {
            let before = shop.up.seen("/me").len();
            shop.verify(&made, "production").key(key).is(200).await;
            let mut seen: Vec<String> = shop.up.seen("/me")[before..].iter().map(|seen| seen.headers["x-project"].to_str().unwrap().to_owned()).collect();
            seen.sort();
            seen
        };
        assert_eq!(checked(&bob.key).await, ["acme", "beta"]);
        shop.app.second_factor(&shop.ada).await;
        shop.app.patch("/api/v1/projects/acme", json!({"require_second_factor": true})).cookie(&shop.ada.cookie).is(200).await;
        assert_eq!(checked(&bob.key).await, ["beta"]);
        assert_eq!(checked(&shop.ada.key).await, ["acme", "beta"]);
        shop.app.second_factor(&bob).await;
        assert_eq!(checked(&bob.key).await, ["acme", "beta"]);
    }
}
