use base64::Engine as _;
use serde_json::json;

use crate::app::{Db, TestApp, both};
use crate::calling::both_worlds;

both! {
    async fn a_key_comes_in_three_ways(app) {
        let ada = app.person("ada@example.org").await;
        app.get("/api/v1/me").key(&ada.key).is(200).await;
        app.get("/api/v1/me").header("latchstring-key", &ada.key).is(200).await;
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("anybody:{}", ada.key));
        app.get("/api/v1/me").header("authorization", &format!("Basic {basic}")).is(200).await;
        app.get("/api/v1/me").header("latchstring-key", &ada.key).header("authorization", "Bearer an-sdks-own").is(200).await;
    }

    async fn a_key_that_is_given_and_wrong_is_refused_and_recorded(app) {
        let ada = app.person("ada@example.org").await;
        let mut other = ada.key.clone();
        other.replace_range(4..6, "__");
        for wrong in [other.as_str(), "lst_", "hello", ""] {
            let answer = app.get("/api/v1/me").key(wrong).is(401).await;
            assert_eq!(answer.code(), "unauthenticated");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
        }
        app.get("/api/v1/me").header("authorization", "Negotiate abc").is(401).await;
        // Also where nobody needs a key, and beside a good cookie.
        app.get("/sign-in").key(&other).is(401).await;
        app.get("/api/v1/me").cookie(&ada.cookie).key(&other).is(401).await;
        let records = app.records().await;
        let refused: Vec<_> = records.iter().filter(|record| record.action == "key.refuse").collect();
        assert_eq!(refused.len(), 7);
        assert!(refused.iter().all(|record| !record.body.contains(&other[4..20])));
    }

    async fn a_flood_of_wrong_keys_does_not_fill_the_disk(app) {
        for _ in 0..250 {
            app.get("/api/v1/me").key("lst_wrong").is(401).await;
        }
        assert_eq!(app.records().await.len(), 200);
        app.clock.advance_secs(30);
        app.get("/api/v1/me").key("lst_wrong").is(401).await;
        let last = app.records().await.pop().unwrap();
        assert!(last.body.contains("\"unrecorded_before\":50"), "{}", last.body);
    }

    async fn nobody_and_an_old_cookie_are_nobody(app) {
        let first = app.get("/api/v1/me").is(401).await;
        let second = app.get("/api/v1/me").cookie(&format!("latchstring_session={}", "A".repeat(43))).is(401).await;
        assert_eq!(first.text, second.text);
        // Before anything else of the request is looked at.
        assert_eq!(app.post("/api/v1/projects", json!({"nonsense": 1})).is(401).await.code(), "unauthenticated");
        app.patch("/api/v1/projects/acme", json!(7)).is(401).await;
    }

    async fn a_key_ends_with_its_time(app) {
        let ada = app.person("ada@example.org").await;
        let ends = app.broker.now().plus_secs(60).to_rfc3339();
        let made = app.post("/api/v1/me/keys", json!({"name": "short", "expires_at": ends})).cookie(&ada.cookie).is(201).await.json();
        let key = made["key"].as_str().unwrap();
        app.get("/api/v1/me").key(key).is(200).await;
        app.clock.advance_secs(60);
        app.get("/api/v1/me").key(key).is(401).await;
    }

    async fn when_a_key_was_last_used_is_known_to_the_minute(app) {
        let ada = app.person("ada@example.org").await;
        let shown = async || app.get("/api/v1/me/keys").cookie(&ada.cookie).is(200).await.json()["items"][0]["last_used_at"].clone();
        app.get("/api/v1/me").key(&ada.key).is(200).await;
        let first = shown().await;
        assert_eq!(first, json!(app.broker.now().to_rfc3339()));
        app.clock.advance_secs(59);
        app.get("/api/v1/me").key(&ada.key).is(200).await;
        assert_eq!(shown().await, first);
        app.clock.advance_secs(1);
        app.get("/api/v1/me").key(&ada.key).is(200).await;
        assert_eq!(shown().await, json!(app.broker.now().to_rfc3339()));
    }

    async fn a_service_key_has_its_networks_and_reaches_nothing_but_calls(app) {
        let ada = app.person("ada@example.org").await;
        let project = app.project(&ada, "acme").await;
        let made = app.service_key(&ada, "acme", json!({"networks": ["198.51.100.0/24"]})).await;
        let key = made["key"].as_str().unwrap();
        let outside = app.get("/api/v1/me").key(key).is(403).await;
        assert!(outside.json()["detail"].as_str().unwrap().contains("192.0.2.1"), "{}", outside.text);
        let event = &app.audit(&project).await[0].record;
        assert_eq!((event.action.as_str(), event.actor_id.as_deref()), ("key.refuse", made["id"].as_str()));
        for path in ["/api/v1/me", "/api/v1/projects", "/api/v1/projects/acme", "/api/v1/projects/acme/members", "/api/v1/users", "/api/v1/projects/acme/environments/staging/variables"] {
            assert_eq!(app.get(path).key(key).from("198.51.100.9").is(403).await.code(), "not_allowed", "{path}");
        }
        let set = app.put("/api/v1/projects/acme/environments/staging/secrets/x", json!({"value": "v"})).key(key).from("198.51.100.9");
        assert_eq!(set.is(403).await.code(), "not_allowed");
        let event = &app.audit(&project).await[0].record;
        assert_eq!((event.action.as_str(), event.outcome.as_str()), ("secret.set", "refused"));
    }
}

#[tokio::test]
async fn a_key_of_scope_call_looks_and_manages_nothing() {
    let app = TestApp::new(Db::Sqlite).await;
    let ada = app.superuser("ada@example.org").await;
    app.project(&ada, "acme").await;
    let made =
        app.post("/api/v1/me/keys", json!({"name": "caller"})).cookie(&ada.cookie).is(201).await.json();
    assert_eq!(made["scope"], "call");
    let key = made["key"].as_str().unwrap();
    for path in ["/api/v1/me", "/api/v1/projects", "/api/v1/projects/acme", "/api/v1/projects/acme/members"] {
        app.get(path).key(key).is(200).await;
    }
    let calls = [
        app.post("/api/v1/projects", json!({"slug": "two", "name": "Two"})),
        app.patch("/api/v1/projects/acme", json!({"name": "x"})),
        app.delete("/api/v1/projects/acme"),
        app.patch("/api/v1/me", json!({"name": "x"})),
        app.post("/api/v1/users", json!({"email": "x@example.org"})),
        app.put("/api/v1/projects/acme/members/ada@example.org", json!({"role": "admin"})),
        app.delete("/api/v1/projects/acme/members/ada@example.org"),
        app.post("/api/v1/projects/acme/api-keys", json!({"name": "x", "environment": "staging"})),
        app.put("/api/v1/projects/acme/environments/staging/secrets/x", json!({"value": "v"})),
        app.get("/api/v1/users"),
    ];
    for call in calls {
        assert_eq!(call.key(key).is(403).await.code(), "not_allowed");
    }
}

both_worlds! {
    async fn when_a_service_key_has_last_called_is_known(world) {
        let mut world = world;
        world.run_jobs();
        world.credential("acme", "sandbox", "api_key", "one").await;
        let key = world.app.service_key(&world.ada, "acme", json!({})).await;
        let other = world.app.service_key(&world.ada, "acme", json!({"name": "idle"})).await;
        let used = async |of: &serde_json::Value| {
            let list = world.app.get("/api/v1/projects/acme/api-keys").key(&world.ada.key).is(200).await.json();
            let found = list["items"].as_array().unwrap().iter().find(|item| item["id"] == of["id"]).cloned();
            found.unwrap()["last_used_at"].clone()
        };
        assert!(used(&key).await.is_null());
        let bearer = format!("Bearer {}", key["key"].as_str().unwrap());
        let called = world.now();
        assert_eq!(world.proxy("one/v1/me", &[("authorization", &bearer)]).await.status, 200);
        // They are written every ten seconds.
        let since = std::time::Instant::now();
        while used(&key).await.is_null() {
            assert!(since.elapsed() < std::time::Duration::from_secs(30), "the call is not known of");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(used(&key).await, json!(called.to_rfc3339()));
        assert!(used(&other).await.is_null(), "of the key that called, and no other");
    }
}
