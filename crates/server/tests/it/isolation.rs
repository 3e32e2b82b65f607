//! What is another tenant's and what does not exist answer the same bytes.

use axum::http::Method;
use serde_json::{Value, json};

use crate::app::{Somebody, TestApp, both};

fn attempts(project: &str) -> Vec<(Method, String, Value)> {
    let base = format!("/api/v1/projects/{project}");
    let at = |method: Method, path: &str, body: Value| (method, format!("{base}{path}"), body);
    let mut list = vec![
        at(Method::GET, "", Value::Null),
        at(Method::PATCH, "", json!({"name": "x"})),
        at(Method::PATCH, "", json!({"slug": "Not one"})),
        at(Method::DELETE, "", Value::Null),
        at(Method::GET, "/members", Value::Null),
        at(Method::PUT, "/members/ada@example.org", json!({"role": "viewer"})),
        at(Method::PUT, "/members/nobody@example.org", json!({"role": "viewer"})),
        at(Method::DELETE, "/members/ada@example.org", Value::Null),
        at(Method::DELETE, "/members/eve@example.org", Value::Null),
        at(Method::GET, "/api-keys", Value::Null),
        at(Method::POST, "/api-keys", json!({"name": "x", "environment": "staging"})),
        at(Method::POST, "/api-keys", json!({"name": "", "environment": "moon"})),
        at(Method::DELETE, "/api-keys/key_0000000001zzzzzzzzzzzzzzzz", Value::Null),
    ];
    for kind in ["secrets", "variables"] {
        for environment in ["staging", "moon"] {
            let values = format!("/environments/{environment}/{kind}");
            list.push(at(Method::GET, &values, Value::Null));
            list.push(at(Method::GET, &format!("{values}/token"), Value::Null));
            list.push(at(Method::PUT, &format!("{values}/token"), json!({"value": "v"})));
            list.push(at(Method::PUT, &format!("{values}/1"), json!({"value": "v"})));
            list.push(at(Method::DELETE, &format!("{values}/token"), Value::Null));
        }
    }
    list
}

async fn answers(app: &TestApp, eve: &Somebody, project: &str) -> Vec<(u16, String)> {
    let mut list = Vec::new();
    for (method, path, body) in attempts(project) {
        let call = app.call(method, &path).key(&eve.key);
        let call = if body.is_null() { call } else { call.json(body) };
        let answer = call.send().await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
        list.push((answer.status, answer.text));
    }
    list
}

both! {
    async fn foreign_is_missing(app) {
        let ada = app.person("ada@example.org").await;
        let eve = app.superuser("eve@example.org").await;
        let project = app.project(&ada, "acme").await;
        app.put("/api/v1/projects/acme/environments/staging/secrets/token", json!({"value": "s"})).key(&ada.key).is(204).await;
        app.put("/api/v1/projects/acme/environments/staging/variables/token", json!({"value": "v"})).key(&ada.key).is(204).await;
        let before = app.records().await;
        let missing = answers(&app, &eve, "nowhere").await;
        assert_eq!(answers(&app, &eve, "acme").await, missing);
        assert_eq!(answers(&app, &eve, project["id"].as_str().unwrap()).await, missing);
        // Tries are recorded, with nobody's project: not with the one that they were about.
        let after = app.records().await;
        assert!(after.len() > before.len());
        let of_acme = |records: &[latchstring_store::audit::AuditRecord]| {
            records.iter().filter(|record| record.project_id.is_some()).count()
        };
        assert_eq!(of_acme(&after), of_acme(&before), "nor does it write into another's trail");
        assert_eq!(app.get("/api/v1/projects").key(&eve.key).is(200).await.json()["items"], json!([]));
    }

    async fn a_key_of_one_project_ends_only_there(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "one").await;
        app.project(&ada, "two").await;
        let key = app.service_key(&ada, "one", json!({})).await;
        let id = key["id"].as_str().unwrap();
        let foreign = app.delete(&format!("/api/v1/projects/two/api-keys/{id}")).key(&ada.key).is(404).await;
        let missing = app.delete("/api/v1/projects/two/api-keys/key_0000000001zzzzzzzzzzzzzzzz").key(&ada.key).is(404).await;
        assert_eq!(foreign.text, missing.text);
        assert_eq!(app.get("/api/v1/projects/two/api-keys").key(&ada.key).is(200).await.json()["items"], json!([]));
        app.delete(&format!("/api/v1/projects/one/api-keys/{id}")).key(&ada.key).is(204).await;
    }

    async fn values_of_one_environment_are_not_anothers(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "one").await;
        app.project(&ada, "two").await;
        for (place, value) in [("one/environments/staging", "1s"), ("one/environments/production", "1p"), ("two/environments/staging", "2s")] {
            app.put(&format!("/api/v1/projects/{place}/variables/x"), json!({"value": value})).key(&ada.key).is(204).await;
        }
        for (place, value) in [("one/environments/staging", "1s"), ("one/environments/production", "1p"), ("two/environments/staging", "2s")] {
            let seen = app.get(&format!("/api/v1/projects/{place}/variables/x")).key(&ada.key).is(200).await.json();
            assert_eq!(seen["value"], value);
        }
        app.get("/api/v1/projects/two/environments/production/variables/x").key(&ada.key).is(404).await;
    }
}
