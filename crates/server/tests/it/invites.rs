use serde_json::json;

use crate::app::{PASSWORD, both};

fn token(url: &serde_json::Value) -> String {
    url.as_str().unwrap().strip_prefix("http://127.0.0.1:5282/invite/").unwrap().to_owned()
}

both! {
    async fn a_person_comes_in_through_it_once(app) {
        let ada = app.superuser("ada@example.org").await;
        let made = app.post("/api/v1/invites", json!({"email": "bob@example.org", "name": "Bob"})).key(&ada.key).is(201).await.json();
        let token = token(&made["url"]);
        app.post("/api/v1/session", json!({"email": "bob@example.org", "password": PASSWORD})).is(401).await;
        let short = app.post("/api/v1/invites/accept", json!({"token": token, "password": "short"})).is(422).await;
        assert_eq!(short.pointers(), ["/password"]);
        let accepted = app.post("/api/v1/invites/accept", json!({"token": token, "password": PASSWORD})).is(200).await;
        assert_eq!(accepted.json()["email"], "bob@example.org");
        app.get("/api/v1/me").cookie(&accepted.cookie()).is(200).await;
        app.sign_in("bob@example.org").await;
        assert_eq!(app.post("/api/v1/invites/accept", json!({"token": token, "password": PASSWORD})).is(410).await.code(), "gone");
        assert!(app.records().await.iter().all(|record| !record.body.contains(&token)));
    }

    async fn late_replaced_and_wrong_ones_are_gone(app) {
        let ada = app.superuser("ada@example.org").await;
        let invite = async || token(&app.post("/api/v1/invites", json!({"email": "bob@example.org"})).key(&ada.key).is(201).await.json()["url"]);
        let first = invite().await;
        let second = invite().await;
        let mut wrong = second.clone();
        wrong.replace_range(31..35, "AAAA");
        for bad in [first.as_str(), &wrong, "x", "usr_x.y", ""] {
            app.post("/api/v1/invites/accept", json!({"token": bad, "password": PASSWORD})).is(410).await;
        }
        app.clock.advance_secs(7 * 86_400);
        app.post("/api/v1/invites/accept", json!({"token": second, "password": PASSWORD})).is(410).await;
        let third = invite().await;
        app.post("/api/v1/invites/accept", json!({"token": third, "password": PASSWORD})).is(200).await;
        let recorded = app.recorded().await;
        assert_eq!(recorded.iter().filter(|event| *event == "invite.refuse refused").count(), 6);
    }

    async fn nobody_gets_a_way_into_anothers_account(app) {
        let ada = app.superuser("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        assert_eq!(app.post("/api/v1/invites", json!({"email": bob.email})).key(&ada.key).is(409).await.code(), "email_taken");
        let made = app.post("/api/v1/invites", json!({"email": "cat@example.org"})).key(&ada.key).is(201).await.json();
        let cat = format!("/api/v1/users/{}", made["user"]["id"].as_str().unwrap());
        app.patch(&cat, json!({"active": false})).key(&ada.key).is(200).await;
        let again = app.post("/api/v1/invites", json!({"email": "cat@example.org"})).key(&ada.key).is(409).await;
        assert_eq!(again.code(), "account_inactive");
        app.post("/api/v1/invites/accept", json!({"token": token(&made["url"]), "password": PASSWORD})).is(410).await;
    }
}
