//! What wants a recent sign-in, and how one confirms.

use std::collections::BTreeSet;

use axum::http::Method;
use latchstring_broker::people::recent::Deed;
use serde_json::{Value, json};

use crate::app::{PASSWORD, Somebody, TestApp, both};

/// Every deed of these endpoints, for a superuser who owns the project acme.
async fn deeds(app: &TestApp, ada: &Somebody, bob: &Somebody) -> Vec<(Method, String, Value)> {
    let credential = async |who: &Somebody, shares: Value| {
        let body = json!({
            "name": "x", "connector": "raw", "auth_method": "custom", "verify": "skip",
            "values": {"production": {"a": "b"}}, "shares": shares,
        });
        let made = app.post("/api/v1/credentials", body).key(&who.key).is(201).await.json();
        format!("/api/v1/credentials/{}", made["id"].as_str().unwrap())
    };
    let purge = format!("{}?purge=true", credential(ada, json!([])).await);
    let own = credential(ada, json!([])).await;
    let bobs = credential(bob, json!([])).await;
    let offer = app.post(&format!("{bobs}/transfer"), json!({"email": ada.email})).key(&bob.key);
    let offered = offer.is(201).await.json();
    // Carol has left for good.
    let carol = app.person("carol@example.org").await;
    app.member(ada, "acme", &carol, "editor").await;
    let orphan = credential(&carol, json!([{"project": "acme", "grants": {}}])).await;
    let path = format!("/api/v1/users/{}", carol.id);
    app.patch(&path, json!({"active": false})).key(&ada.key).is(200).await;
    vec![
        (Method::POST, format!("{own}/transfer"), json!({"email": bob.email})),
        (Method::POST, format!("/api/v1/transfers/{}/accept", offered["token"].as_str().unwrap()), json!({})),
        (Method::POST, format!("{orphan}/owner"), json!({"email": ada.email})),
        (Method::POST, "/api/v1/me/identities".into(), json!({})),
        (Method::POST, "/api/v1/me/keys".into(), json!({"name": "x"})),
        (
            Method::POST,
            "/api/v1/projects/acme/api-keys".into(),
            json!({"name": "x", "environment": "staging"}),
        ),
        (Method::POST, "/api/v1/projects/acme/api-keys".into(), json!({"name": "x", "scope": "manage"})),
        (Method::DELETE, purge, Value::Null),
        (Method::DELETE, "/api/v1/projects/gone".into(), Value::Null),
        (
            Method::PUT,
            "/api/v1/me/password".into(),
            json!({"current_password": PASSWORD, "new_password": PASSWORD}),
        ),
        (Method::POST, "/api/v1/me/totp".into(), json!({})),
        (Method::POST, "/api/v1/me/totp/confirm".into(), json!({"code": "000000"})),
        (Method::POST, "/api/v1/me/totp/recovery-codes".into(), json!({})),
        (Method::DELETE, "/api/v1/me/totp".into(), Value::Null),
        (Method::DELETE, "/api/v1/me/identities/idn_0000000001zzzzzzzzzzzzzzzz".into(), Value::Null),
        (Method::DELETE, format!("/api/v1/users/{}/totp", bob.id), Value::Null),
        (Method::PATCH, "/api/v1/instance".into(), json!({"name": "Acme Keys"})),
        (Method::PUT, format!("/api/v1/projects/acme/members/{}", bob.email), json!({"role": "owner"})),
        (
            Method::POST,
            "/api/v1/users".into(),
            json!({"email": "eve@example.org", "password": PASSWORD, "superuser": true}),
        ),
        (Method::POST, "/api/v1/invites".into(), json!({"email": "mallory@example.org"})),
        (Method::PATCH, format!("/api/v1/users/{}", carol.id), json!({"active": true})),
        (Method::PATCH, format!("/api/v1/users/{}", bob.id), json!({"superuser": true})),
    ]
}

async fn ask(
    app: &TestApp,
    cookie: &str,
    (method, path, body): &(Method, String, Value),
) -> crate::app::Answer {
    let call = app.call(method.clone(), path).cookie(cookie);
    if body.is_null() { call.send().await } else { call.json(body.clone()).send().await }
}

both! {
    async fn each_of_them_wants_it_and_a_confirmation_is_enough(app) {
        let ada = app.superuser("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.project(&ada, "acme").await;
        app.project(&ada, "gone").await;
        let deeds = deeds(&app, &ada, &bob).await;
        app.clock.advance_secs(15 * 60 + 1);
        let mut asked = BTreeSet::new();
        for deed in &deeds {
            let answer = ask(&app, &ada.cookie, deed).await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "recent_sign_in_required"), "{deed:?}");
            let refused = answer.json();
            assert!(refused["hint"].as_str().unwrap().contains("/api/v1/session/confirm"));
            asked.insert(refused["deed"].as_str().unwrap().to_owned());
        }
        let all: BTreeSet<String> = Deed::ALL.iter().map(|deed| deed.as_str().to_owned()).collect();
        assert_eq!(asked, all, "every deed is asked here");
        app.post("/api/v1/session/confirm", json!({"password": PASSWORD})).cookie(&ada.cookie).is(204).await;
        for deed in &deeds {
            let answer = ask(&app, &ada.cookie, deed).await;
            assert!(!answer.text.contains("recent_sign_in_required"), "{deed:?}: {}", answer.text);
        }
        let recorded = app.recorded().await;
        for action in ["member.set", "user.create", "user.update", "credential.transfer", "identity.create", "key.create", "credential.delete", "project.delete", "password.set", "second_factor.offer", "instance.update"] {
            assert!(recorded.contains(&format!("{action} refused")), "{action} in {recorded:?}");
        }
        assert!(recorded.contains(&"session.confirm ok".to_owned()));
    }

    async fn a_confirmation_takes_what_signing_in_takes(app) {
        let ada = app.person("ada@example.org").await;
        let path = "/api/v1/session/confirm";
        let wrong = app.post(path, json!({"password": "incorrect horse"})).cookie(&ada.cookie).is(422).await;
        assert_eq!(wrong.pointers(), ["/password"]);
        assert_eq!(app.post(path, json!({"password": PASSWORD})).key(&ada.key).is(403).await.code(), "not_allowed");
        app.post(path, json!({"password": PASSWORD})).is(401).await;
        let factor = app.second_factor(&ada).await;
        app.clock.advance_secs(16 * 60);
        let needed = app.post(path, json!({"password": PASSWORD})).cookie(&ada.cookie).is(401).await;
        assert_eq!(needed.code(), "second_factor_needed");
        let bad = app.post(path, json!({"password": PASSWORD, "totp": "000000"})).cookie(&ada.cookie).is(401).await;
        assert_eq!(bad.code(), "second_factor_wrong");
        app.post("/api/v1/me/keys", json!({"name": "x"})).cookie(&ada.cookie).is(403).await;
        app.post(path, json!({"password": PASSWORD, "totp": app.next_code(&factor)})).cookie(&ada.cookie).is(204).await;
        app.post("/api/v1/me/keys", json!({"name": "x"})).cookie(&ada.cookie).is(201).await;
        for _ in 0..20 {
            app.post(path, json!({"password": "incorrect horse"})).cookie(&ada.cookie).send().await;
        }
        app.post(path, json!({"password": PASSWORD})).cookie(&ada.cookie).is(429).await;
    }

    async fn one_session_that_is_confirmed_confirms_no_other(app) {
        let ada = app.person("ada@example.org").await;
        app.clock.advance_secs(16 * 60);
        let other = app.sign_in("ada@example.org").await;
        app.clock.advance_secs(16 * 60);
        app.post("/api/v1/session/confirm", json!({"password": PASSWORD})).cookie(&other).is(204).await;
        app.post("/api/v1/me/keys", json!({"name": "x"})).cookie(&other).is(201).await;
        app.post("/api/v1/me/keys", json!({"name": "x"})).cookie(&ada.cookie).is(403).await;
    }

    async fn an_instance_can_shut_keys_out(app) {
        let ada = app.superuser("ada@example.org").await;
        app.project(&ada, "acme").await;
        app.project(&ada, "gone").await;
        let make = json!({"name": "x", "environment": "staging"});
        app.post("/api/v1/projects/acme/api-keys", make.clone()).key(&ada.key).is(201).await;
        app.patch("/api/v1/instance", json!({"recent_sign_in_for": "everything"})).cookie(&ada.cookie).is(200).await;
        for (method, path, body) in [
            (Method::POST, "/api/v1/projects/acme/api-keys", make.clone()),
            (Method::DELETE, "/api/v1/projects/gone", Value::Null),
            (Method::PATCH, "/api/v1/instance", json!({"recent_sign_in_for": "sessions"})),
        ] {
            let call = app.call(method, path).key(&ada.key);
            let refused = if body.is_null() { call.is(403).await } else { call.json(body).is(403).await };
            assert_eq!(refused.code(), "recent_sign_in_required");
            assert!(refused.text.contains("no key reaches it"), "{}", refused.text);
        }
        app.post("/api/v1/projects/acme/api-keys", make.clone()).cookie(&ada.cookie).is(201).await;
        app.patch("/api/v1/instance", json!({"recent_sign_in_for": "sessions"})).cookie(&ada.cookie).is(200).await;
        app.post("/api/v1/projects/acme/api-keys", make).key(&ada.key).is(201).await;
    }

    async fn how_recent_is_a_setting(app) {
        let ada = app.superuser("ada@example.org").await;
        app.patch("/api/v1/instance", json!({"recent_sign_in_minutes": 2})).cookie(&ada.cookie).is(200).await;
        app.clock.advance_secs(119);
        app.post("/api/v1/me/keys", json!({"name": "x"})).cookie(&ada.cookie).is(201).await;
        app.clock.advance_secs(2);
        app.post("/api/v1/me/keys", json!({"name": "x"})).cookie(&ada.cookie).is(403).await;
    }
}
