//! What the server looks at by itself: stored values are checked again, ends are told ahead, people read it here.

use std::time::Duration;

use latchstring_model::Timestamp;
use serde_json::{Value, json};

use crate::app::{Db, TestApp};
use crate::credentials_upstream::{Shop, Upstream};

const DAY: i64 = 86_400;

/// A shop whose server checks every day.
async fn shop(db: Db) -> Shop {
    Shop::changed(db, |settings| settings.verify_every = Some(Duration::from_secs(86_400))).await
}

/// One turn, to its end; how many checks it began.
async fn turn(shop: &Shop) -> usize {
    let begun = shop.app.broker.check_due_values().await.unwrap();
    let count = begun.len();
    for one in begun {
        one.await.unwrap();
    }
    count
}

async fn turns(shop: &Shop) -> usize {
    let mut all = 0;
    loop {
        match turn(shop).await {
            0 => return all,
            some => all += some,
        }
    }
}

async fn status(shop: &Shop, made: &Value) -> String {
    shop.read(made).await.json()["environments"]["production"]["status"].as_str().unwrap().to_owned()
}

async fn notices(app: &TestApp, key: &str) -> Vec<Value> {
    app.broker.deliver_notices().await.unwrap();
    app.get("/api/v1/me/notices").key(key).is(200).await.json()["items"].as_array().unwrap().clone()
}

macro_rules! both_checked {
    ($(async fn $name:ident($shop:ident) $body:block)*) => {$(
        mod $name {
            use super::*;
            async fn run($shop: Shop) $body
            #[tokio::test]
            async fn sqlite() {
                run(shop(Db::Sqlite).await).await;
            }
            #[tokio::test]
            async fn postgres() {
                run(shop(Db::Postgres).await).await;
            }
        }
    )*};
}

both_checked! {
    async fn two_refusals_fail_and_a_success_clears(shop) {
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        let asked = shop.up.asked();
        assert_eq!(turns(&shop).await, 0, "a time is chosen, within the day");
        shop.app.clock.advance_secs(DAY * 11 / 10);
        assert_eq!((turns(&shop).await, shop.up.asked()), (1, asked + 1));
        assert_eq!(turns(&shop).await, 0, "once, and not again before its time");
        assert_eq!(status(&shop, &made).await, "verified");
        // Refused once: noted, and asked again within the hour. Twice: failing, and told.
        shop.up.json("/me", 401, json!({}));
        shop.app.clock.advance_secs(DAY * 11 / 10);
        turns(&shop).await;
        assert_eq!(status(&shop, &made).await, "verified");
        assert!(notices(&shop.app, &shop.ada.key).await.is_empty());
        shop.app.clock.advance_secs(3600);
        assert_eq!(turns(&shop).await, 1, "within the hour");
        assert_eq!(status(&shop, &made).await, "failing");
        let told = notices(&shop.app, &shop.ada.key).await;
        assert_eq!((told.len(), told[0]["event"].as_str(), told[0]["environment"].as_str()), (1, Some("credential.failing"), Some("production")));
        assert!(told[0]["text"].as_str().unwrap().contains("What to do"));
        // It is told once; calls that used it before are not stopped by a check.
        shop.app.clock.advance_secs(DAY * 11 / 10);
        turns(&shop).await;
        assert_eq!(notices(&shop.app, &shop.ada.key).await.len(), 1);
        shop.up.json("/me", 503, json!({}));
        shop.app.clock.advance_secs(DAY * 11 / 10);
        turns(&shop).await;
        assert_eq!(status(&shop, &made).await, "failing", "what says nothing clears nothing");
        shop.up.json("/me", 200, json!({}));
        shop.app.clock.advance_secs(DAY * 11 / 10);
        turns(&shop).await;
        assert_eq!(status(&shop, &made).await, "verified");
        // In the trail it is the server's, and every one is there.
        let all = shop.app.records().await;
        let checks: Vec<_> = all.iter().filter(|record| record.action == "credential.verify" && record.actor_type == "server").collect();
        assert!(checks.iter().any(|record| record.body.contains("verification_failed")) && checks.len() >= 6, "{}", checks.len());
    }

    async fn what_may_not_be_used_is_left_alone(shop) {
        let bob = shop.app.person("bob@example.org").await;
        let root = shop.app.superuser("root@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        let disabled = shop.create(shop.bearer("Disabled", "planted-bearer-token-1")).is(201).await.json();
        let deleted = shop.create(shop.bearer("Deleted", "planted-bearer-token-1")).is(201).await.json();
        shop.app.post("/api/v1/credentials", shop.bearer("Left", "planted-bearer-token-1")).key(&bob.key).is(201).await;
        let mut nothing = shop.bearer("Nothing to ask", "planted-bearer-token-1");
        nothing["values"]["production"].as_object_mut().unwrap().remove("test_path");
        shop.create(nothing).is(201).await;
        shop.app.post(&shop.at(&disabled, "/disable"), json!({})).key(&shop.ada.key).is(200).await;
        shop.app.delete(&shop.at(&deleted, "")).key(&shop.ada.key).is(200).await;
        shop.app.patch(&format!("/api/v1/users/{}", bob.id), json!({"active": false})).key(&root.key).is(200).await;
        turns(&shop).await;
        let (asked, recorded) = (shop.up.asked(), shop.app.records().await.len());
        shop.app.clock.advance_secs(2 * DAY);
        turns(&shop).await;
        assert_eq!(shop.up.asked(), asked);
        assert_eq!(shop.app.records().await.len(), recorded, "nor is it written down day after day that there is nothing to ask");
    }

    async fn values_of_a_moment_ago_are_not_judged(shop) {
        let made = shop.create(shop.bearer("API", "planted-bearer-token-1")).is(201).await.json();
        turns(&shop).await;
        shop.app.clock.advance_secs(2 * DAY);
        // New values have a time of their own.
        shop.patch(&made, json!({"values": {"production": {"token": "planted-bearer-token-2"}}})).is(200).await;
        let asked = shop.up.asked();
        assert_eq!((turns(&shop).await, shop.up.asked()), (0, asked));
    }

    async fn a_projects_credential_and_one_with_a_token(shop) {
        let mut team = shop.bearer("Team", "planted-bearer-token-1");
        team["owner_project"] = "acme".into();
        let team = shop.create(team).is(201).await.json();
        let tokened = shop.create(shop.tokened("Tokened", "read")).is(201).await.json();
        turns(&shop).await;
        shop.up.json("/me", 403, json!({}));
        for _ in 0..2 {
            shop.app.clock.advance_secs(DAY * 11 / 10);
            turns(&shop).await;
        }
        assert_eq!((status(&shop, &team).await.as_str(), status(&shop, &tokened).await.as_str()), ("failing", "failing"));
        assert_eq!(notices(&shop.app, &shop.ada.key).await.len(), 2, "an owner of the project is told");
    }

    async fn never_a_storm(shop) {
        let slow = Upstream::start().await;
        for number in 0..12 {
            let who = shop.app.person(&format!("p{number}@example.org")).await;
            for name in ["one", "two"] {
                let body = json!({
                    "name": name, "connector": "http", "auth_method": "bearer",
                    "values": {"production": {"base_url": slow.url, "token": "planted-bearer-token-1", "test_path": "/me"}},
                });
                shop.app.post("/api/v1/credentials", body).key(&who.key).is(201).await;
            }
        }
        turns(&shop).await;
        let asked = slow.asked();
        slow.slow("/me", Duration::from_millis(300));
        // All of them are due at once, as after a long time without a server.
        shop.app.clock.advance_secs(5 * DAY);
        let first = shop.app.broker.check_due_values().await.unwrap();
        assert_eq!(first.len(), 4, "so many in all");
        assert!(shop.app.broker.check_due_values().await.unwrap().is_empty(), "and no more while they go on");
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(slow.asked() - asked <= 4);
        for one in first {
            one.await.unwrap();
        }
        slow.json("/me", 200, json!({}));
        let rest = turns(&shop).await;
        assert_eq!((rest, slow.asked() - asked), (20, 24), "each once");
        // Two servers do not ask twice: whoever moved the time on asks.
        assert_eq!(turns(&shop).await, 0);
        // Times of the next round differ, and lie within the day or so.
        let mut reader = shop.app.store.read().await.unwrap();
        let now = shop.app.broker.now();
        let later = latchstring_store::checks::due(&mut reader, now.plus_secs(2 * DAY), 100).await.unwrap();
        let times: std::collections::BTreeSet<i64> = later.iter().map(|due| due.at.millis()).collect();
        assert!(times.len() > 20 && times.iter().all(|at| *at >= now.plus_secs(DAY / 2).millis()), "{times:?}");
    }

    async fn ends_are_told_ahead(shop) {
        let now = Timestamp::from_secs(shop.app.broker.now().secs());
        let in_days = |days: i64| now.plus_secs(days * DAY);
        let mut body = shop.bearer("Dated", "planted-bearer-token-1");
        body["expires_on"] = in_days(40).to_rfc3339().into();
        let dated = shop.create(body).is(201).await.json();
        // A client certificate, and a certificate behind a private key.
        let pem = |days: i64| certificate(in_days(days));
        let mut body = shop.bearer("Certified", "planted-bearer-token-1");
        body["connector"] = "raw".into();
        body["auth_method"] = "custom".into();
        body["values"] = json!({"production": {"baseUrl": shop.up.url, "chain": format!("{}{}", pem(90), pem(20)), "pinned": pem(60)}});
        let certified = shop.create(body).is(201).await.json();
        let shown = shop.read(&certified).await.json();
        assert_eq!(shown["environments"]["production"]["certificate_expires_at"], in_days(20).to_rfc3339(), "the first that ends");
        let events = async || {
            shop.app.clock.advance_millis(1);
            shop.app.broker.tell_of_endings().await.unwrap();
            let told = notices(&shop.app, &shop.ada.key).await;
            told.iter().rev().map(|told| (told["data"]["credential"]["name"].as_str().unwrap().to_owned(), told["data"]["days_ahead"].as_i64().unwrap())).collect::<Vec<_>>()
        };
        let certified_told = |days: i64| ("Certified".to_owned(), days);
        let dated_told = |days: i64| ("Dated".to_owned(), days);
        assert_eq!(events().await, [certified_told(30)]);
        assert_eq!(events().await.len(), 1, "once");
        shop.app.clock.advance_secs(7 * DAY);
        assert_eq!(events().await, [certified_told(30), certified_told(14)]);
        shop.app.clock.advance_secs(5 * DAY);
        assert_eq!(events().await.last(), Some(&dated_told(30)));
        // Another date is another end.
        shop.patch(&dated, json!({"expires_on": shop.app.broker.now().plus_secs(2 * DAY).to_rfc3339()})).is(200).await;
        assert_eq!(events().await.last(), Some(&dated_told(3)));
        shop.app.post(&shop.at(&certified, "/disable"), json!({})).key(&shop.ada.key).is(200).await;
        shop.app.clock.advance_secs(6 * DAY);
        assert_eq!(events().await.len(), 4, "what is disabled is not reminded of, what has ended not either");
    }

    async fn notices_are_ones_own_and_read_once(shop) {
        let bob = shop.app.person("bob@example.org").await;
        shop.app.member(&shop.ada, "acme", &bob, "editor").await;
        let mut body = shop.bearer("Dated", "planted-bearer-token-1");
        body["expires_on"] = shop.app.broker.now().plus_secs(DAY).to_rfc3339().into();
        shop.create(body.clone()).is(201).await;
        body["name"] = "Another".into();
        shop.create(body).is(201).await;
        shop.app.broker.tell_of_endings().await.unwrap();
        let told = notices(&shop.app, &shop.ada.key).await;
        assert_eq!((told.len(), notices(&shop.app, &bob.key).await.len()), (2, 0), "the owner is told");
        let read = |id: &Value, key: &str| shop.app.post(&format!("/api/v1/me/notices/{}/read", id.as_str().unwrap()), json!({})).key(key);
        let foreign = read(&told[0]["id"], &bob.key).is(404).await;
        assert_eq!(foreign.text, read(&json!("evt_0000000001zzzzzzzzzzzzzzzz"), &bob.key).is(404).await.text);
        read(&told[0]["id"], &shop.ada.key).is(204).await;
        read(&told[0]["id"], &shop.ada.key).is(204).await;
        let list = shop.app.get("/api/v1/me/notices?unread=true").key(&shop.ada.key).is(200).await.json();
        assert_eq!((list["items"].as_array().unwrap().len(), list["unread"].as_i64()), (1, Some(1)));
        let page = shop.app.get("/api/v1/me/notices?limit=1").key(&shop.ada.key).is(200).await.json();
        let next = page["next_cursor"].as_str().unwrap();
        let rest = shop.app.get(&format!("/api/v1/me/notices?limit=1&cursor={next}")).key(&shop.ada.key).is(200).await.json();
        assert_eq!((rest["items"][0]["id"].clone(), rest["next_cursor"].clone()), (told[1]["id"].clone(), Value::Null));
        let all = shop.app.post("/api/v1/me/notices/read", json!({})).key(&shop.ada.key).is(200).await.json();
        assert_eq!(all, json!({"read": 1}));
        // They are kept for thirty days.
        shop.app.clock.advance_secs(31 * DAY);
        shop.app.broker.tidy_notices().await.unwrap();
        assert!(notices(&shop.app, &shop.ada.key).await.is_empty());
    }
}

/// A self-signed certificate that ends then, to the second.
fn certificate(ends: Timestamp) -> String {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.not_after = time::OffsetDateTime::from_unix_timestamp(ends.secs()).unwrap();
    params.self_signed(&key).unwrap().pem()
}
