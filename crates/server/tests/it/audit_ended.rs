//! What ends by the way has a record like what somebody ends by itself: keys, shares and grants that go with a project,
//! an environment, a member or a person.

use serde_json::{Value, json};

use crate::app::{Somebody, TestApp, both};

/// Bob's, granted to environments of acme.
async fn shared(app: &TestApp, bob: &Somebody, name: &str, grants: Value) -> Value {
    let body = json!({
        "name": name, "connector": "raw", "auth_method": "custom", "verify": "skip", "values": {"live": {"a": "b"}},
        "shares": [{"project": "acme", "grants": grants}],
    });
    app.post("/api/v1/credentials", body).key(&bob.key).is(201).await.json()
}

/// What a list of the trail tells of an action, newest first.
async fn told(app: &TestApp, path: &str, who: &Somebody, action: &str) -> Vec<Value> {
    let page = app.get(&format!("{path}?limit=200&action={action}")).key(&who.key).is(200).await.json();
    page["items"].as_array().unwrap().clone()
}

async fn of_credential(app: &TestApp, made: &Value, owner: &Somebody) -> Vec<Value> {
    let path = format!("/api/v1/credentials/{}/audit", made["id"].as_str().unwrap());
    told(app, &path, owner, "credential.share").await
}

/// Every `key.delete` that was recorded: target, and its detail.
async fn ended(app: &TestApp) -> Vec<(String, Value)> {
    let records = app.records().await.into_iter().filter(|record| record.action == "key.delete");
    let read = |body: &str| serde_json::from_str::<Value>(body).unwrap()["detail"].clone();
    records.map(|record| (record.target.clone().unwrap(), read(&record.body))).collect()
}

both! {
    async fn what_goes_with_a_project(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.project(&ada, "acme").await;
        app.member(&ada, "acme", &bob, "editor").await;
        let one = shared(&app, &bob, "One", json!({"staging": "live", "production": "live"})).await;
        let two = shared(&app, &bob, "Two", json!({})).await;
        let mut keys = Vec::new();
        for number in 0..20 {
            keys.push(app.service_key(&ada, "acme", json!({"name": format!("n{number}")})).await);
        }
        let account = json!({"name": "ci", "scope": "manage"});
        keys.push(app.post("/api/v1/projects/acme/api-keys", account).key(&ada.key).is(201).await.json());
        // One that has ended already does not end again.
        let path = format!("/api/v1/projects/acme/api-keys/{}", keys[0]["id"].as_str().unwrap());
        app.delete(&path).key(&ada.key).is(204).await;
        app.delete("/api/v1/projects/acme").key(&ada.key).is(204).await;

        for (made, slug, grants) in [(&one, "one", json!({"staging": "live", "production": "live"})), (&two, "two", json!({}))] {
            let newest = &of_credential(&app, made, &bob).await[0];
            assert_eq!((&newest["actor"]["id"], &newest["target"], &newest["outcome"]), (&json!(ada.id), &made["name"], &json!("ok")));
            let detail = json!({"slug": slug, "withdrawn": true, "because": "project.delete", "grants_before": grants});
            assert_eq!(newest["detail"], detail, "in its owner's trail");
        }
        let ended = ended(&app).await;
        let mut seen: Vec<&str> = ended.iter().map(|(id, _)| id.as_str()).collect();
        let mut made: Vec<&str> = keys.iter().map(|key| key["id"].as_str().unwrap()).collect();
        seen.sort_unstable();
        made.sort_unstable();
        assert_eq!(seen, made, "each once");
        let because = ended.iter().filter(|(_, detail)| detail["because"] == "project.delete" && detail["name"].is_string());
        assert_eq!(because.count(), 20);
        let recorded = app.recorded().await;
        assert_eq!(recorded.iter().filter(|known| *known == "project.delete ok").count(), 1, "and the summary");
    }

    async fn what_goes_with_an_environment(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.project(&ada, "acme").await;
        app.member(&ada, "acme", &bob, "editor").await;
        let both = shared(&app, &bob, "Both", json!({"staging": "live", "production": "live"})).await;
        let elsewhere = shared(&app, &bob, "Elsewhere", json!({"production": "live"})).await;
        let gone = app.service_key(&ada, "acme", json!({"name": "gone"})).await;
        app.service_key(&ada, "acme", json!({"name": "stays", "environment": "production"})).await;
        let before = of_credential(&app, &elsewhere, &bob).await;
        let body = json!({"environments": ["production"], "remove_environments": ["staging"]});
        app.patch("/api/v1/projects/acme", body).key(&ada.key).is(200).await;

        let newest = &of_credential(&app, &both, &bob).await[0];
        assert_eq!((&newest["actor"]["id"], &newest["target"]), (&json!(ada.id), &json!("Both")));
        let detail = json!({
            "slug": "both", "because": "environment.delete",
            "grants_before": {"staging": "live", "production": "live"}, "grants": {"production": "live"},
        });
        assert_eq!(newest["detail"], detail, "in its owner's trail");
        assert_eq!(of_credential(&app, &elsewhere, &bob).await, before, "nothing happened to it");
        let base = "/api/v1/projects/acme/audit";
        let keys = told(&app, base, &ada, "key.delete").await;
        assert_eq!(keys.len(), 1, "{keys:?}");
        assert_eq!((&keys[0]["target"], &keys[0]["environment"]), (&gone["id"], &json!("staging")));
        assert_eq!(keys[0]["detail"], json!({"name": "gone", "because": "environment.delete"}));
        let summary = told(&app, base, &ada, "environment.delete").await;
        assert_eq!(summary[0]["detail"]["api_keys"], json!(["gone"]), "and the summary");
    }

    async fn what_goes_with_a_member(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.project(&ada, "acme").await;
        app.member(&ada, "acme", &bob, "editor").await;
        let made = shared(&app, &bob, "One", json!({"staging": "live"})).await;
        app.delete("/api/v1/projects/acme/members/bob@example.org?withdraw=true").key(&ada.key).is(200).await;
        let newest = &of_credential(&app, &made, &bob).await[0];
        assert_eq!(newest["detail"], json!({"slug": "one", "withdrawn": true, "because": "member.delete"}));
    }

    async fn what_goes_with_a_person(app) {
        let root = app.superuser("root@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.post("/api/v1/me/keys", json!({"name": "laptop"})).cookie(&bob.cookie).is(201).await;
        let eve = app.person("eve@example.org").await;
        app.patch(&format!("/api/v1/users/{}", bob.id), json!({"active": false})).key(&root.key).is(200).await;
        let keys = told(&app, "/api/v1/audit", &root, "key.delete").await;
        let mut names: Vec<&str> = keys.iter().map(|key| key["detail"]["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["laptop", "test"], "bob's, each by itself");
        for key in &keys {
            assert_eq!((&key["detail"]["user"], &key["detail"]["because"]), (&json!(bob.id), &json!("user.update")));
            assert_eq!(key["actor"]["id"], root.id);
        }
        let summary = told(&app, "/api/v1/audit", &root, "user.update").await;
        assert_eq!(summary[0]["detail"]["ended_keys"], 2, "and the summary");
        app.get("/api/v1/me").key(&eve.key).is(200).await;
    }
}
