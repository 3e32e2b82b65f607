//! What superusers decide about the server.

use latchstring_broker::people::oidc::{OidcSettings, OidcText};
use latchstring_testkit::FakeClock;
use serde_json::json;

use crate::app::{Db, PASSWORD, TestApp, both};

both! {
    async fn everybody_reads_and_superusers_change(app) {
        let ada = app.superuser("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        let before = app.get("/api/v1/instance").key(&bob.key).is(200).await;
        assert_eq!(before.header("etag"), "\"1\"");
        let settings = before.json();
        assert_eq!((settings["name"].as_str(), settings["password_sign_in"].as_str()), (Some("Latchstring"), Some("everyone")));
        assert_eq!((settings["recent_sign_in_minutes"].as_i64(), settings["provider"].is_null()), (Some(15), true));
        app.get("/api/v1/instance").is(401).await;
        assert_eq!(app.patch("/api/v1/instance", json!({"name": "x"})).key(&bob.key).is(403).await.code(), "forbidden");
        let changed = app.patch("/api/v1/instance", json!({"name": "Acme Keys"})).key(&ada.key).header("if-match", "\"1\"").is(200).await;
        assert_eq!(changed.header("etag"), "\"2\"");
        app.patch("/api/v1/instance", json!({"name": "Eve"})).key(&ada.key).header("if-match", "\"1\"").is(412).await;
        assert_eq!(app.get("/api/v1/session/ways").is(200).await.json()["name"], "Acme Keys");
        let wrong = app.patch("/api/v1/instance", json!({"name": "", "recent_sign_in_minutes": 0})).key(&ada.key).is(422).await;
        assert_eq!(wrong.pointers(), ["/name", "/recent_sign_in_minutes"]);
        assert_eq!(app.patch("/api/v1/instance", json!({"password_sign_in": "robots"})).key(&ada.key).is(422).await.pointers(), ["/password_sign_in"]);
        assert_eq!(app.patch("/api/v1/instance", json!({"public_url": "https://evil.example"})).key(&ada.key).is(422).await.pointers(), ["/public_url"]);
        let record = app.records().await.into_iter().rfind(|record| record.action == "instance.update" && record.outcome.as_str() == "ok").unwrap();
        assert!(record.body.contains("\"before\":\"Latchstring\"") && record.body.contains("\"after\":\"Acme Keys\""), "{}", record.body);
    }

    async fn projects_can_be_kept_to_superusers(app) {
        let ada = app.superuser("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.post("/api/v1/projects", json!({"name": "One"})).key(&bob.key).is(201).await;
        app.patch("/api/v1/instance", json!({"projects_by": "superusers"})).key(&ada.key).is(200).await;
        assert_eq!(app.post("/api/v1/projects", json!({"name": "Two"})).key(&bob.key).is(403).await.code(), "forbidden");
        app.post("/api/v1/projects", json!({"name": "Two"})).key(&ada.key).is(201).await;
    }

    async fn superusers_can_be_held_to_a_second_factor(app) {
        let ada = app.superuser("ada@example.org").await;
        let bob = app.superuser("bob@example.org").await;
        let demand = json!({"second_factor_for": "superusers"});
        assert_eq!(app.patch("/api/v1/instance", demand.clone()).cookie(&ada.cookie).is(403).await.code(), "second_factor_required");
        app.second_factor(&ada).await;
        app.patch("/api/v1/instance", demand).cookie(&ada.cookie).is(200).await;
        // Who has none is a person like any other, in a session and with a key.
        for call in [app.get("/api/v1/users").cookie(&bob.cookie), app.get("/api/v1/users").key(&bob.key)] {
            assert_eq!(call.is(403).await.code(), "second_factor_required");
        }
        app.post("/api/v1/projects", json!({"name": "Bobs"})).key(&bob.key).is(201).await;
        app.get("/api/v1/users").cookie(&ada.cookie).is(200).await;
        app.get("/api/v1/users").key(&ada.key).is(200).await;
        app.second_factor(&bob).await;
        app.get("/api/v1/users").cookie(&bob.cookie).is(200).await;
        app.get("/api/v1/users").key(&bob.key).is(200).await;
        app.delete("/api/v1/me/totp").cookie(&bob.cookie).is(204).await;
        app.get("/api/v1/users").key(&bob.key).is(403).await;
    }

    async fn passwords_cannot_be_done_without_alone(app) {
        let ada = app.superuser("ada@example.org").await;
        for word in ["superusers", "nobody"] {
            let refused = app.patch("/api/v1/instance", json!({"password_sign_in": word})).cookie(&ada.cookie).is(409).await;
            assert_eq!(refused.code(), "not_set_up");
        }
    }

    async fn a_stored_word_that_is_not_known_is_not_the_default(app) {
        app.person("ada@example.org").await;
        let mut tx = app.store.begin_write(&["instance"]).await.unwrap();
        latchstring_store::instance::set(&mut tx, "settings", r#"{"password_sign_in": "of the future"}"#).await.unwrap();
        tx.commit().await.unwrap();
        app.post("/api/v1/session", json!({"email": "ada@example.org", "password": PASSWORD})).is(500).await;
    }
}

async fn with_provider(db: Db) -> TestApp {
    TestApp::built(db, "http://127.0.0.1:5282", FakeClock::default(), Vec::new(), |settings| {
        let text = OidcText {
            issuer: Some("https://id.example.com".into()),
            client_id: Some("latchstring".into()),
            name: Some("Acme ID".into()),
            ..OidcText::default()
        };
        settings.oidc = OidcSettings::read(text).unwrap();
    })
    .await
}

#[tokio::test]
async fn passwords_of_superusers_alone_and_the_way_back() {
    for db in [Db::Sqlite, Db::Postgres] {
        let app = with_provider(db).await;
        let ada = app.superuser("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        let ways = app.get("/api/v1/session/ways").is(200).await.json();
        assert_eq!(
            ways["provider"],
            json!({"name": "Acme ID", "url": "http://127.0.0.1:5282/sign-in/provider"})
        );
        assert!(app.get("/sign-in").is(200).await.text.contains("Sign in with Acme ID"));
        // Whoever sets `nobody` must not shut themselves out.
        let refused = app
            .patch("/api/v1/instance", json!({"password_sign_in": "nobody"}))
            .cookie(&ada.cookie)
            .is(409)
            .await;
        assert_eq!(refused.code(), "not_linked");
        app.patch("/api/v1/instance", json!({"password_sign_in": "superusers"}))
            .cookie(&ada.cookie)
            .is(200)
            .await;
        let in_with = |email: &str, password: &str| {
            app.post("/api/v1/session", json!({"email": email, "password": password}))
        };
        in_with("ada@example.org", PASSWORD).is(204).await;
        assert_eq!(in_with("bob@example.org", PASSWORD).is(403).await.code(), "password_sign_in_off");
        // Only whoever knows the password learns that it is not taken.
        assert_eq!(in_with("bob@example.org", "incorrect horse").is(401).await.code(), "unauthenticated");
        assert_eq!(in_with("nobody@example.org", PASSWORD).is(401).await.code(), "unauthenticated");
        let change = json!({"current_password": PASSWORD, "new_password": "another horse battery"});
        assert_eq!(
            app.put("/api/v1/me/password", change).cookie(&bob.cookie).is(403).await.code(),
            "password_sign_in_off"
        );
        let confirm = app
            .post("/api/v1/session/confirm", json!({"password": PASSWORD}))
            .cookie(&bob.cookie)
            .is(403)
            .await;
        assert_eq!(confirm.code(), "password_sign_in_off");
        let invite = app
            .post("/api/v1/invites", json!({"email": "cat@example.org"}))
            .cookie(&ada.cookie)
            .is(201)
            .await
            .json();
        let token = invite["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let taken =
            app.post("/api/v1/invites/accept", json!({"token": token, "password": PASSWORD})).is(403).await;
        assert_eq!(taken.code(), "password_sign_in_off");
        assert!(
            app.broker
                .operator_reset_password(&latchstring_broker::Actor::operator(), "bob@example.org")
                .await
                .is_err()
        );
        assert!(app.broker.operator_allow_passwords(&latchstring_broker::Actor::operator()).await.unwrap());
        assert!(!app.broker.operator_allow_passwords(&latchstring_broker::Actor::operator()).await.unwrap());
        in_with("bob@example.org", PASSWORD).is(204).await;
    }
}
