//! Marks of what `apply` has made: only for what is there, and gone with it.

use axum::http::Method;
use serde_json::{Value, json};

use crate::app::{Somebody, TestApp, both};

const BASE: &str = "/api/v1/projects/acme";

async fn marks(app: &TestApp, who: &Somebody) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("{BASE}/applied?limit=3{cursor}")).key(&who.key).is(200).await.json();
        let items = page["items"].as_array().unwrap().iter();
        all.extend(
            items
                .map(|mark| format!("{}/{}", mark["kind"].as_str().unwrap(), mark["name"].as_str().unwrap())),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={}", next.replace('/', "%2F")),
            None => return all,
        }
    }
}

async fn mark(app: &TestApp, who: &Somebody, kind: &str, name: &str, status: u16) {
    let path = format!("{BASE}/applied/{kind}/{}", name.replace('/', "%2F"));
    app.call(Method::PUT, &path).key(&who.key).is(status).await;
}

async fn set(app: &TestApp, who: &Somebody, kind: &str, name: &str) {
    let path = format!("{BASE}/environments/staging/{kind}/{name}");
    app.put(&path, json!({"value": "v"})).key(&who.key).is(204).await;
}

both! {
    async fn a_mark_goes_with_what_it_marks(app) {
        let (ada, bob) = (app.person("ada@example.org").await, app.person("bob@example.org").await);
        app.project(&ada, "acme").await;
        app.member(&ada, "acme", &bob, "editor").await;
        set(&app, &ada, "variables", "A").await;
        set(&app, &ada, "variables", "B").await;
        set(&app, &ada, "secrets", "A").await;
        let connector = "id: own\nname: Own\nbase_url: https://api.example.org\nauth_methods:\n  key:\n    label: Key\n    fields:\n      key: {type: text, secret: true}\n    scheme: {type: bearer, token: '{{ key }}'}\n";
        app.call(Method::POST, &format!("{BASE}/connectors")).header("content-type", "application/yaml").body(connector).key(&ada.key).is(201).await;
        let credential = json!({
            "name": "Main", "connector": "http", "auth_method": "bearer", "verify": "skip",
            "values": {"live": {"base_url": "https://api.example.org", "token": "t"}},
            "shares": [{"project": "acme", "grants": {"staging": "live"}}],
        });
        let credential = app.post("/api/v1/credentials", credential).key(&ada.key).is(201).await.json();
        let keychain = json!({"name": "Shops", "connector": "http", "by": "{{ input.shop }}"});
        let keychain = app.post(&format!("{BASE}/keychains"), keychain).key(&ada.key).is(201).await.json();
        let webhook = app.post(&format!("{BASE}/webhooks"), json!({"url": "https://hooks.example.org/x"})).key(&ada.key).is(201).await.json();
        let members = app.get(&format!("{BASE}/members")).key(&ada.key).is(200).await.json();
        let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
        let bobs = members["items"].as_array().unwrap().iter().find(|one| one["email"] == "bob@example.org").unwrap()["user_id"].as_str().unwrap().to_owned();
        let all = [
            ("connector", "own".to_owned()),
            ("credential", id(&credential)),
            ("environment", "staging".to_owned()),
            ("keychain", id(&keychain)),
            ("member", bobs.clone()),
            ("secret", "staging/A".to_owned()),
            ("variable", "staging/A".to_owned()),
            ("variable", "staging/B".to_owned()),
            ("webhook", id(&webhook)),
        ];
        for (kind, name) in &all {
            // Not an editor's to say, and said twice it is there once.
            mark(&app, &bob, kind, name, 403).await;
            mark(&app, &ada, kind, name, 204).await;
            mark(&app, &ada, kind, name, 204).await;
        }
        let shown: Vec<String> = all.iter().map(|(kind, name)| format!("{kind}/{name}")).collect();
        assert_eq!(marks(&app, &bob).await, shown, "by kind and name, over pages");
        // What is not there is not marked; nor is a slug instead of an id.
        for (kind, name) in [
            ("environment", "nowhere"), ("variable", "staging/C"), ("variable", "nowhere/A"), ("variable", "A"), ("secret", "staging/B"),
            ("connector", "http"), ("credential", "main"), ("keychain", "shops"), ("webhook", "x"), ("member", "bob@example.org"),
            ("member", "usr_0000000001zzzzzzzzzzzzzzzz"),
        ] {
            mark(&app, &ada, kind, name, 404).await;
        }
        mark(&app, &ada, "project", "acme", 422).await;
        // Removed and made anew by hand: a person's.
        app.delete(&format!("{BASE}/environments/staging/variables/A")).key(&ada.key).is(204).await;
        set(&app, &ada, "variables", "A").await;
        app.delete(&format!("{BASE}/environments/staging/secrets/A")).key(&ada.key).is(204).await;
        app.delete(&format!("{BASE}/connectors/own")).key(&ada.key).is(204).await;
        app.delete(&format!("{BASE}/keychains/shops")).key(&ada.key).is(204).await;
        app.delete(&format!("{BASE}/webhooks/{}", id(&webhook))).key(&ada.key).is(204).await;
        app.delete(&format!("{BASE}/members/bob@example.org")).key(&ada.key).is(204).await;
        app.delete(&format!("{BASE}/credentials/{}", id(&credential))).key(&ada.key).is(204).await;
        app.member(&ada, "acme", &bob, "editor").await;
        assert_eq!(marks(&app, &bob).await, ["environment/staging", "variable/staging/B"]);
        // With an environment goes what is in it.
        app.patch(BASE, json!({"environments": ["production"], "remove_environments": ["staging"]})).key(&ada.key).is(200).await;
        app.patch(BASE, json!({"environments": ["production", "staging"]})).key(&ada.key).is(200).await;
        set(&app, &ada, "variables", "B").await;
        assert_eq!(marks(&app, &bob).await, [""; 0]);
        // Taken away by hand.
        mark(&app, &ada, "environment", "staging", 204).await;
        let path = format!("{BASE}/applied/environment/staging");
        app.delete(&path).key(&ada.key).is(204).await;
        app.delete(&path).key(&ada.key).is(404).await;
        let records = app.records().await;
        let told = |action: &str| records.iter().filter(|record| record.action == action && record.outcome.as_str() == "ok").count();
        assert_eq!((told("applied.mark"), told("applied.unmark")), (10, 1), "twice is told once");
        app.delete(BASE).key(&ada.key).is(204).await;
    }
}
