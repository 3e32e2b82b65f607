use serde_json::json;

use crate::app::{PASSWORD, both};

both! {
    async fn names_are_changed_on_top_of_what_was_read(app) {
        let ada = app.person("ada@example.org").await;
        let before = app.get("/api/v1/me").key(&ada.key).is(200).await;
        assert_eq!(before.header("etag"), "\"1\"");
        assert_eq!(before.json()["name"], "ada");
        let change = json!({"name": "Ada Lovelace", "first_name": "Ada", "last_name": "Lovelace", "username": "ada"});
        let after = app.patch("/api/v1/me", change).key(&ada.key).header("if-match", "\"1\"").is(200).await;
        assert_eq!(after.header("etag"), "\"2\"");
        assert_eq!(after.json()["username"], "ada");
        let late = app.patch("/api/v1/me", json!({"name": "Eve"})).key(&ada.key).header("if-match", "\"1\"").is(412).await;
        assert_eq!(late.code(), "precondition_failed");
        assert_eq!(app.get("/api/v1/me").key(&ada.key).is(200).await.json()["name"], "Ada Lovelace");
        let removed = app.patch("/api/v1/me", json!({"username": ""})).key(&ada.key).header("if-match", "*").is(200).await;
        assert!(removed.json()["username"].is_null());
    }

    async fn what_is_wrong_is_pointed_at(app) {
        let ada = app.person("ada@example.org").await;
        let wrong = json!({"name": " ", "first_name": "x".repeat(201), "last_name": "a\nb"});
        assert_eq!(app.patch("/api/v1/me", wrong).key(&ada.key).is(422).await.pointers(), ["/first_name", "/last_name", "/name"]);
        assert_eq!(app.patch("/api/v1/me", json!({"email": "x@example.org"})).key(&ada.key).is(422).await.pointers(), ["/email"]);
        assert_eq!(app.patch("/api/v1/me", json!({"superuser": true})).key(&ada.key).is(422).await.pointers(), ["/superuser"]);
    }

    async fn a_new_password_ends_all_other_sessions(app) {
        let ada = app.person("ada@example.org").await;
        let other = app.sign_in("ada@example.org").await;
        let change = json!({"current_password": PASSWORD, "new_password": "another horse battery"});
        app.put("/api/v1/me/password", change).cookie(&ada.cookie).is(204).await;
        app.get("/api/v1/me").cookie(&ada.cookie).is(200).await;
        app.get("/api/v1/me").cookie(&other).is(401).await;
        app.get("/api/v1/me").key(&ada.key).is(200).await;
        app.post("/api/v1/session", json!({"email": ada.email, "password": PASSWORD})).is(401).await;
        app.post("/api/v1/session", json!({"email": ada.email, "password": "another horse battery"})).is(204).await;
    }

    async fn a_password_is_changed_in_a_session_with_the_current_one(app) {
        let ada = app.person("ada@example.org").await;
        let change = |current: &str, new: &str| json!({"current_password": current, "new_password": new});
        let by_key = app.put("/api/v1/me/password", change(PASSWORD, "another horse battery")).key(&ada.key).is(403).await;
        assert_eq!(by_key.code(), "not_allowed");
        let wrong = app.put("/api/v1/me/password", change("incorrect horse", "another horse battery")).cookie(&ada.cookie).is(422).await;
        assert_eq!(wrong.pointers(), ["/current_password"]);
        let short = app.put("/api/v1/me/password", change(PASSWORD, "short")).cookie(&ada.cookie).is(422).await;
        assert_eq!(short.pointers(), ["/new_password"]);
        let recorded = app.recorded().await;
        assert_eq!(recorded[recorded.len() - 2..], ["password.set refused", "password.set refused"]);
        for _ in 0..20 {
            app.put("/api/v1/me/password", change("incorrect horse", "another horse battery")).cookie(&ada.cookie).send().await;
        }
        let counted = app.put("/api/v1/me/password", change(PASSWORD, "another horse battery")).cookie(&ada.cookie).is(429).await;
        assert_eq!(counted.code(), "too_many_requests");
    }
}
