use serde_json::json;

use crate::app::both;

both! {
    async fn made_listed_and_ended(app) {
        let ada = app.person("ada@example.org").await;
        let made = app.post("/api/v1/me/keys", json!({"name": "laptop", "scope": "manage"})).cookie(&ada.cookie).is(201).await.json();
        let key = made["key"].as_str().unwrap();
        assert!(key.starts_with("lst_") && key.len() == 47, "{key}");
        assert_eq!(made["hint"], key[43..]);
        let listed = app.get("/api/v1/me/keys").cookie(&ada.cookie).is(200).await;
        assert!(!listed.text.contains(key));
        let item = &listed.json()["items"][1];
        assert_eq!((item["name"].as_str(), item["scope"].as_str(), item["id"].as_str()), (Some("laptop"), Some("manage"), made["id"].as_str()));
        app.post("/api/v1/projects", json!({"slug": "acme", "name": "Acme"})).key(key).is(201).await;
        let path = format!("/api/v1/me/keys/{}", made["id"].as_str().unwrap());
        app.delete(&path).cookie(&ada.cookie).is(204).await;
        app.get("/api/v1/me").key(key).is(401).await;
        app.delete(&path).cookie(&ada.cookie).is(404).await;
        assert_eq!(app.get("/api/v1/me/keys").cookie(&ada.cookie).is(200).await.json()["items"].as_array().unwrap().len(), 1);
        assert!(app.records().await.iter().all(|record| !record.body.contains(key)));
    }

    async fn no_key_reaches_keys_but_itself(app) {
        let ada = app.person("ada@example.org").await;
        let made = app.post("/api/v1/me/keys", json!({"name": "other"})).cookie(&ada.cookie).is(201).await.json();
        let other = format!("/api/v1/me/keys/{}", made["id"].as_str().unwrap());
        app.get("/api/v1/me/keys").key(&ada.key).is(403).await;
        app.post("/api/v1/me/keys", json!({"name": "x"})).key(&ada.key).is(403).await;
        assert_eq!(app.delete(&other).key(&ada.key).is(403).await.code(), "not_allowed");
        app.delete(&other).key(made["key"].as_str().unwrap()).is(204).await;
        app.get("/api/v1/me").key(made["key"].as_str().unwrap()).is(401).await;
    }

    async fn making_one_wants_a_recent_sign_in(app) {
        let ada = app.person("ada@example.org").await;
        app.clock.advance_secs(899);
        app.post("/api/v1/me/keys", json!({"name": "x"})).cookie(&ada.cookie).is(201).await;
        app.clock.advance_secs(2);
        let late = app.post("/api/v1/me/keys", json!({"name": "x"})).cookie(&ada.cookie).is(403).await;
        assert_eq!(late.code(), "recent_sign_in_required");
        let again = app.sign_in("ada@example.org").await;
        app.post("/api/v1/me/keys", json!({"name": "x"})).cookie(&again).is(201).await;
        assert!(app.recorded().await.contains(&"key.create refused".to_owned()));
    }

    async fn what_is_wrong_is_pointed_at(app) {
        let ada = app.person("ada@example.org").await;
        let past = app.broker.now().to_rfc3339();
        let wrong = app.post("/api/v1/me/keys", json!({"name": "", "expires_at": past})).cookie(&ada.cookie).is(422).await;
        assert_eq!(wrong.pointers(), ["/name", "/expires_at"]);
        assert_eq!(app.post("/api/v1/me/keys", json!({"name": "x", "scope": "root"})).cookie(&ada.cookie).is(422).await.pointers(), ["/scope"]);
        assert_eq!(app.post("/api/v1/me/keys", json!({"name": "x", "expires_at": "tomorrow"})).cookie(&ada.cookie).is(422).await.pointers(), ["/expires_at"]);
    }

    async fn somebody_elses_key_is_no_key(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        let made = app.post("/api/v1/me/keys", json!({"name": "x"})).cookie(&ada.cookie).is(201).await.json();
        let foreign = app.delete(&format!("/api/v1/me/keys/{}", made["id"].as_str().unwrap())).cookie(&bob.cookie).is(404).await;
        let missing = app.delete("/api/v1/me/keys/key_0000000001zzzzzzzzzzzzzzzz").cookie(&bob.cookie).is(404).await;
        let nonsense = app.delete("/api/v1/me/keys/x").cookie(&bob.cookie).is(404).await;
        assert_eq!(foreign.text, missing.text);
        assert_eq!(foreign.text, nonsense.text);
        app.get("/api/v1/me").key(made["key"].as_str().unwrap()).is(200).await;
    }
}
