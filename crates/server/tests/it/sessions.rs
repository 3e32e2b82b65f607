use serde_json::json;

use crate::app::{Db, PASSWORD, TestApp, both};
use crate::calling::{World, code};
use crate::credentials_upstream::Upstream;

both! {
    async fn in_and_out(app) {
        let ada = app.person("ada@example.org").await;
        let answer = app.post("/api/v1/session", json!({"email": "ADA@example.org", "password": PASSWORD})).is(204).await;
        let set = answer.header("set-cookie").to_owned();
        assert!(set.starts_with("latchstring_session="), "{set}");
        assert!(set.contains("; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000"), "{set}");
        assert!(!set.contains("Secure"), "http has no secure cookies");
        let cookie = answer.cookie();
        assert_ne!(cookie, ada.cookie);
        app.get("/api/v1/me").cookie(&cookie).is(200).await;
        let out = app.delete("/api/v1/session").cookie(&cookie).is(204).await;
        assert!(out.header("set-cookie").contains("Max-Age=0"));
        app.get("/api/v1/me").cookie(&cookie).is(401).await;
        app.get("/api/v1/me").cookie(&ada.cookie).is(200).await;
        let recorded = app.recorded().await;
        assert_eq!(recorded[recorded.len() - 2..], ["session.create ok", "session.delete ok"]);
    }

    async fn a_wrong_password_and_an_unknown_account_look_the_same(app) {
        app.person("ada@example.org").await;
        let wrong = app.post("/api/v1/session", json!({"email": "ada@example.org", "password": "incorrect horse"})).is(401).await;
        let unknown = app.post("/api/v1/session", json!({"email": "eve@example.org", "password": PASSWORD})).is(401).await;
        assert_eq!(wrong.text, unknown.text);
        assert_eq!(wrong.code(), "unauthenticated");
        assert!(wrong.headers.get("set-cookie").is_none());
        let records = app.records().await;
        let refused: Vec<_> = records.iter().filter(|record| record.action == "session.refuse").collect();
        assert_eq!(refused.len(), 2);
        assert!(refused[0].target.is_some() && refused[1].target.is_none());
        assert!(records.iter().all(|record| !record.body.contains("incorrect horse") && !record.body.contains("eve@")));
    }

    async fn tries_are_counted_per_account_and_address(app) {
        app.person("ada@example.org").await;
        app.clock.advance_secs(3600);
        let wrong = json!({"email": "ada@example.org", "password": "incorrect horse"});
        // One more than are counted: the person came in last time.
        for _ in 0..11 {
            app.post("/api/v1/session", wrong.clone()).is(401).await;
        }
        let answer = app.post("/api/v1/session", json!({"email": "Ada@example.org", "password": PASSWORD})).is(429).await;
        assert_eq!((answer.code().as_str(), answer.header("retry-after")), ("too_many_requests", "30"));
        app.post("/api/v1/session", wrong.clone()).from("192.0.2.9").is(401).await;
        app.clock.advance_secs(30);
        app.post("/api/v1/session", json!({"email": "ada@example.org", "password": PASSWORD})).is(204).await;
        app.post("/api/v1/session", wrong.clone()).is(401).await;
        app.post("/api/v1/session", wrong).is(429).await;
    }

    async fn what_no_account_can_have_is_said_and_not_counted(app) {
        app.person("ada@example.org").await;
        let before = app.recorded().await.len();
        for _ in 0..30 {
            let long = json!({"email": "ada@example.org", "password": "x".repeat(257)});
            assert_eq!(app.post("/api/v1/session", long).is(422).await.pointers(), ["/password"]);
            let far = json!({"email": format!("{}@example.org", "a".repeat(320)), "password": PASSWORD});
            assert_eq!(app.post("/api/v1/session", far).is(422).await.pointers(), ["/email"]);
        }
        assert_eq!(app.recorded().await.len(), before, "nobody was refused for trying too often");
        app.post("/api/v1/session", json!({"email": "ada@example.org", "password": PASSWORD})).is(204).await;
    }

    async fn it_ends_twelve_hours_after_its_last_use(app) {
        let ada = app.person("ada@example.org").await;
        for _ in 0..3 {
            app.clock.advance_secs(11 * 3600);
            app.get("/api/v1/me").cookie(&ada.cookie).is(200).await;
        }
        app.clock.advance_secs(12 * 3600);
        app.get("/api/v1/me").cookie(&ada.cookie).is(401).await;
    }

    async fn it_ends_after_thirty_days_whatever_is_done(app) {
        let ada = app.person("ada@example.org").await;
        for _ in 0..89 {
            app.clock.advance_secs(8 * 3600);
            app.get("/api/v1/me").cookie(&ada.cookie).is(200).await;
        }
        app.clock.advance_secs(8 * 3600);
        app.get("/api/v1/me").cookie(&ada.cookie).is(401).await;
    }

    async fn ones_own_sessions_are_seen_and_ended(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        let second = app.sign_in("ada@example.org").await;
        let third = app.sign_in("ada@example.org").await;
        let list = app.get("/api/v1/me/sessions").cookie(&ada.cookie).is(200).await.json();
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), 3);
        assert_eq!(items.iter().filter(|item| item["current"] == true).count(), 1);
        assert_eq!(items[0]["address"], "192.0.2.1");
        let bobs = app.get("/api/v1/me/sessions").cookie(&bob.cookie).is(200).await.json();
        let foreign = app.delete(&format!("/api/v1/me/sessions/{}", bobs["items"][0]["id"].as_str().unwrap())).cookie(&ada.cookie).is(404).await;
        let missing = app.delete("/api/v1/me/sessions/ses_0000000001zzzzzzzzzzzzzzzz").cookie(&ada.cookie).is(404).await;
        assert_eq!(foreign.text, missing.text);
        app.get("/api/v1/me").cookie(&bob.cookie).is(200).await;
        let other = items.iter().find(|item| item["current"] == false).unwrap()["id"].as_str().unwrap().to_owned();
        app.delete(&format!("/api/v1/me/sessions/{other}")).cookie(&ada.cookie).is(204).await;
        let living = [app.get("/api/v1/me").cookie(&second).send().await.status, app.get("/api/v1/me").cookie(&third).send().await.status];
        assert_eq!(living.iter().filter(|status| **status == 200).count(), 1);
        app.delete("/api/v1/me/sessions").cookie(&ada.cookie).is(204).await;
        app.get("/api/v1/me").cookie(&third).is(401).await;
        app.get("/api/v1/me").cookie(&second).is(401).await;
        app.get("/api/v1/me").cookie(&ada.cookie).is(200).await;
        app.get("/api/v1/me/sessions").key(&ada.key).is(403).await;
    }
}

#[tokio::test]
async fn on_https_the_cookie_is_bound_to_the_host() {
    let app = TestApp::at(Db::Sqlite, "https://keys.example.org").await;
    let ada = app.person("ada@example.org").await;
    assert!(ada.cookie.starts_with("__Host-latchstring_session="), "{}", ada.cookie);
    let plain = ada.cookie.replace("__Host-", "");
    app.get("/api/v1/me").cookie(&ada.cookie).is(200).await;
    app.get("/api/v1/me").cookie(&plain).is(401).await;
    let answer = app.post("/api/v1/session", json!({"email": ada.email, "password": PASSWORD})).is(204).await;
    assert!(answer.header("set-cookie").ends_with("; Secure"));
}

/// What signs a browser in calls nothing: a page of elsewhere could make a browser send it.
async fn a_session_is_no_key(db: Db) {
    let up = Upstream::start().await;
    let at = up.url.trim_start_matches("http://").parse().unwrap();
    let world = World::reaching(db, true, &[at]).await;
    let values = json!({"base_url": up.url, "token": "planted-bearer-token-1"});
    world.stored("acme", "http", "bearer", "One", values).await;
    let place = [("latchstring-project", "acme"), ("latchstring-environment", "staging")];
    world.app.get("/api/v1/me").cookie(&world.ada.cookie).is(200).await;
    let token = world.ada.cookie.split_once('=').unwrap().1;
    let bearer = format!("Bearer {token}");
    for with in
        [("cookie", world.ada.cookie.as_str()), ("authorization", &bearer), ("latchstring-key", token)]
    {
        // Cold and warm.
        for _ in 0..2 {
            let answer = world.proxy("one/me", &[place[0], place[1], with]).await;
            assert_eq!((answer.status, code(&answer)), (401, "unauthenticated".to_owned()), "{}", with.0);
        }
        assert_eq!(up.asked(), 0, "{}", with.0);
    }
    world.proxy_as_ada("one/me").await;
    assert_eq!(up.asked(), 1, "with her key it goes there");
    let answer = world.proxy("one/me", &[place[0], place[1], ("cookie", &world.ada.cookie)]).await;
    assert_eq!((answer.status, up.asked()), (401, 1));
}

#[tokio::test]
async fn a_session_calls_nothing_sqlite() {
    a_session_is_no_key(Db::Sqlite).await;
}

#[tokio::test]
async fn a_session_calls_nothing_postgres() {
    a_session_is_no_key(Db::Postgres).await;
}
