//! A forgotten password: the link, what it does, and the day after.

use latchstring_broker::notices::mail::MailSettings;
use latchstring_testkit::FakeClock;
use serde_json::{Value, json};

use crate::app::{Db, PASSWORD, TestApp, both};

const NEW: &str = "another horse battery";

async fn with_mail(db: Db) -> TestApp {
    TestApp::built(db, "http://127.0.0.1:5282", FakeClock::default(), Vec::new(), |settings| {
        settings.mail =
            Some(MailSettings::read("smtp://127.0.0.1:9", "l@example.org", "http://127.0.0.1:5282").unwrap());
    })
    .await
}

async fn asked(app: &TestApp) -> Vec<String> {
    // What is looked up behind the answer has happened when the last of it is written.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let mut reader = app.store.read().await.unwrap();
    let told = latchstring_store::notices::unaddressed(&mut reader, 100).await.unwrap();
    told.iter()
        .filter(|notice| notice.event == "account.password_reset_asked")
        .map(|notice| notice.data["user"]["id"].as_str().unwrap().to_owned())
        .collect()
}

/// What somebody's own list tells, newest first.
async fn listed(app: &TestApp, key: &str) -> Vec<String> {
    app.broker.deliver_notices().await.unwrap();
    let told = app.get("/api/v1/me/notices").key(key).is(200).await.json();
    told["items"].as_array().unwrap().iter().map(|item| item["event"].as_str().unwrap().to_owned()).collect()
}

both! {
    async fn a_link_sets_a_password_once(app) {
        let ada = app.person("ada@example.org").await;
        let token = app.reset_token("ADA@example.org").await;
        let page = app.get(&format!("/reset/{token}")).is(200).await;
        assert!(page.text.contains("Choose a new password"));
        let short = app.post("/api/v1/password-resets/accept", json!({"token": token, "password": "short"})).is(422).await;
        assert_eq!(short.pointers(), ["/password"]);
        let done = app.post("/api/v1/password-resets/accept", json!({"token": token, "password": NEW})).is(204).await;
        assert!(done.headers.get("set-cookie").is_none(), "it signs nobody in");
        app.get("/api/v1/me").cookie(&ada.cookie).is(401).await;
        app.get("/api/v1/me").key(&ada.key).is(200).await;
        app.post("/api/v1/session", json!({"email": ada.email, "password": PASSWORD})).is(401).await;
        app.post("/api/v1/session", json!({"email": ada.email, "password": NEW})).is(204).await;
        assert_eq!(app.post("/api/v1/password-resets/accept", json!({"token": token, "password": NEW})).is(410).await.code(), "gone");
        let records = app.records().await;
        assert!(records.iter().all(|record| !record.body.contains(&token)));
        let recorded = app.recorded().await;
        assert!(recorded.contains(&"password.reset_ask ok".to_owned()) && recorded.contains(&"password.reset ok".to_owned()));
        assert!(recorded.contains(&"password.reset refused".to_owned()));
        // Where no mail is set up, the person reads of it here.
        assert_eq!(listed(&app, &ada.key).await, ["account.password_reset"]);
        let told = app.get("/api/v1/me/notices").key(&ada.key).is(200).await.json()["items"][0].clone();
        assert!(told["title"].as_str().unwrap().contains("was reset") && told["text"].as_str().unwrap().contains("What to do: "), "{told}");
    }

    async fn late_replaced_and_wrong_ones_are_gone(app) {
        app.person("ada@example.org").await;
        let first = app.reset_token("ada@example.org").await;
        let second = app.reset_token("ada@example.org").await;
        for bad in [first.as_str(), "x", "", &"A".repeat(43)] {
            app.post("/api/v1/password-resets/accept", json!({"token": bad, "password": NEW})).is(410).await;
        }
        app.get(&format!("/reset/{first}")).is(410).await;
        app.clock.advance_secs(3600);
        app.post("/api/v1/password-resets/accept", json!({"token": second, "password": NEW})).is(410).await;
        let third = app.reset_token("ada@example.org").await;
        app.post("/api/v1/password-resets/accept", json!({"token": third, "password": NEW})).is(204).await;
    }

    async fn of_two_who_bring_it_at_once_one_has_it(app) {
        app.person("ada@example.org").await;
        let token = app.reset_token("ada@example.org").await;
        let body = |password: &str| json!({"token": token, "password": password});
        let (one, two) = tokio::join!(
            app.post("/api/v1/password-resets/accept", body("one horse battery")).send(),
            app.post("/api/v1/password-resets/accept", body("two horse battery")).send(),
        );
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 410], "{} {}", one.text, two.text);
    }

    async fn a_deactivated_account_has_no_link(app) {
        let ada = app.superuser("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        let token = app.reset_token("bob@example.org").await;
        app.patch(&format!("/api/v1/users/{}", bob.id), json!({"active": false})).key(&ada.key).is(200).await;
        app.post("/api/v1/password-resets/accept", json!({"token": token, "password": NEW})).is(410).await;
        app.patch(&format!("/api/v1/users/{}", bob.id), json!({"active": true})).key(&ada.key).is(200).await;
        app.post("/api/v1/password-resets/accept", json!({"token": token, "password": NEW})).is(410).await;
    }

    async fn a_second_factor_stays(app) {
        let ada = app.person("ada@example.org").await;
        let factor = app.second_factor(&ada).await;
        let token = app.reset_token("ada@example.org").await;
        app.post("/api/v1/password-resets/accept", json!({"token": token, "password": NEW})).is(204).await;
        let alone = app.post("/api/v1/session", json!({"email": ada.email, "password": NEW})).is(401).await;
        assert_eq!(alone.code(), "second_factor_needed");
        let code = app.next_code(&factor);
        app.post("/api/v1/session", json!({"email": ada.email, "password": NEW, "totp": code})).is(204).await;
    }

    async fn owner_rights_rest_for_a_day(app) {
        let ada = app.superuser("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        let carol = app.person("carol@example.org").await;
        app.project(&ada, "acme").await;
        app.member(&ada, "acme", &carol, "editor").await;
        let make = json!({
            "name": "CRM", "connector": "http", "auth_method": "bearer", "verify": "skip",
            "values": {"production": {"base_url": "https://crm.example.com", "token": "s3cret"}},
            "shares": [{"project": "acme", "slug": "crm", "grants": {"production": "production"}}],
        });
        let made = app.post("/api/v1/credentials", make.clone()).key(&ada.key).is(201).await.json();
        let at = |made: &Value| format!("/api/v1/credentials/{}", made["id"].as_str().unwrap());
        let crm = at(&made);
        // What bob offers her, and what carol has left behind for good.
        let mut theirs = make.clone();
        theirs["shares"] = json!([]);
        let offered = at(&app.post("/api/v1/credentials", theirs.clone()).key(&bob.key).is(201).await.json());
        let offered = app.post(&format!("{offered}/transfer"), json!({"email": ada.email})).key(&bob.key).is(201).await.json();
        let accept = format!("/api/v1/transfers/{}/accept", offered["token"].as_str().unwrap());
        theirs["shares"] = json!([{"project": "acme", "slug": "left", "grants": {}}]);
        let orphan = at(&app.post("/api/v1/credentials", theirs).key(&carol.key).is(201).await.json());
        app.patch(&format!("/api/v1/users/{}", carol.id), json!({"active": false})).key(&ada.key).is(200).await;
        let give = || app.post(&format!("{orphan}/owner"), json!({"email": ada.email}));
        let connect = json!({
            "project": "acme", "connectors": ["http"], "end_user": {"id": "customer-17"}, "return_origin": "https://app.example.org",
        });
        app.put("/api/v1/projects/acme/environments/production/secrets/planted", json!({"value": "planted-secret"})).key(&ada.key).is(204).await;
        let mut names = make.clone();
        names["values"]["production"]["token"] = "{{ get_secret('planted') }}".into();
        names["shares"][0]["slug"] = "names".into();
        let token = app.reset_token("ada@example.org").await;
        app.post("/api/v1/password-resets/accept", json!({"token": token, "password": NEW})).is(204).await;
        let inside = app.post("/api/v1/session", json!({"email": ada.email, "password": NEW})).is(204).await.cookie();
        let me = app.get("/api/v1/me").cookie(&inside).is(200).await.json();
        let until = me["frozen_until"].as_str().unwrap().to_owned();
        // A look shows what everybody sees who uses it.
        let seen = app.get(&crm).cookie(&inside).is(200).await.json();
        assert!(seen["environments"]["production"]["fields"].is_null(), "{seen}");
        for path in [crm.as_str(), "/api/v1/credentials", "/api/v1/credentials?project=acme"] {
            let seen = app.get(path).cookie(&inside).is(200).await;
            assert!(seen.text.contains("\"crm\"") && !seen.text.contains("crm.example.com"), "{path}: {}", seen.text);
        }
        let edit = |path: &str| app.patch(path, json!({"values": {"production": {"base_url": "https://evil.example.com"}}}));
        let member = format!("/api/v1/projects/acme/members/{}", bob.email);
        // Whichever way the person comes in: also with a key that was there before.
        for by_key in [false, true] {
            let calls = [
                edit(&crm),
                app.patch(&crm, json!({"shares": []})),
                app.patch(&crm, json!({"name": "other"})),
                app.delete(&crm),
                app.delete(&format!("{crm}?purge=true")),
                app.post(&format!("{crm}/restore"), json!({})),
                app.post(&format!("{crm}/approve"), json!({})),
                app.post(&format!("{crm}/enable"), json!({})),
                app.post(&format!("{crm}/authorize"), json!({"environment": "production"})),
                app.post(&format!("{crm}/versions/1/restore"), json!({})),
                app.get(&format!("{crm}/certificate?environment=production")),
                app.post("/api/v1/projects/acme/api-keys", json!({"name": "x", "environment": "staging"})),
                app.put(&member, json!({"role": "viewer"})),
                app.delete("/api/v1/projects/acme"),
                app.post(&format!("{crm}/transfer"), json!({"email": bob.email})),
                app.post(&accept, json!({})),
                give(),
                app.post("/api/v1/projects/acme/credentials/crm/accept", json!({})),
                app.post("/api/v1/connect-sessions", connect.clone()),
                app.post("/api/v1/credentials", names.clone()),
                app.post(&format!("{crm}/approve"), json!({"preview": true})),
                app.post("/api/v1/users", json!({"email": "eve@example.org", "password": PASSWORD, "superuser": true})),
                app.post("/api/v1/invites", json!({"email": "eve@example.org"})),
                app.patch(&format!("/api/v1/users/{}", bob.id), json!({"superuser": true})),
                app.patch(&format!("/api/v1/users/{}", carol.id), json!({"active": true})),
            ];
            for call in calls {
                let call = if by_key { call.key(&ada.key) } else { call.cookie(&inside) };
                let refused = call.is(403).await;
                assert_eq!(refused.code(), "owner_frozen", "{}", refused.text);
                assert_eq!(refused.json()["frozen_until"], until.as_str());
            }
        }
        assert_eq!(app.post("/api/v1/me/keys", json!({"name": "x"})).cookie(&inside).is(403).await.code(), "owner_frozen");
        // Shutting somebody out is never held up.
        app.patch(&format!("/api/v1/users/{}", carol.id), json!({"active": false})).cookie(&inside).is(200).await;
        // A check is what it is for those who may call: it moves nothing and shows no field.
        let checked = app.post(&format!("{crm}/verify"), json!({"environment": "production"})).cookie(&inside).is(200).await;
        assert!(!checked.text.contains("crm.example.com/"), "{}", checked.text);
        // Ending all use at once is never held up, and shows no fields either.
        let disabled = app.post(&format!("{crm}/disable"), json!({})).cookie(&inside).is(200).await.json();
        assert!(disabled["environments"]["production"]["fields"].is_null());
        app.clock.advance_secs(24 * 3600 - 60);
        app.post("/api/v1/session/confirm", json!({"password": NEW})).cookie(&inside).is(401).await;
        let inside = app.post("/api/v1/session", json!({"email": ada.email, "password": NEW})).is(204).await.cookie();
        app.post("/api/v1/me/keys", json!({"name": "x"})).cookie(&inside).is(403).await;
        app.clock.advance_secs(60);
        app.post("/api/v1/me/keys", json!({"name": "x"})).cookie(&inside).is(201).await;
        app.post(&accept, json!({})).cookie(&inside).is(200).await;
        give().cookie(&inside).is(200).await;
        app.post(&format!("{crm}/enable"), json!({})).cookie(&inside).is(200).await;
        assert_eq!(app.get(&crm).cookie(&inside).is(200).await.json()["environments"]["production"]["fields"]["base_url"], "https://crm.example.com");
        let refused = app.recorded().await.iter().filter(|event| *event == "credential.update refused").count();
        assert!(refused >= 6, "{refused}");
    }

    async fn nobody_lifts_it(app) {
        let eve = app.superuser("eve@example.org").await;
        let ada = app.person("ada@example.org").await;
        let token = app.reset_token("ada@example.org").await;
        app.post("/api/v1/password-resets/accept", json!({"token": token, "password": NEW})).is(204).await;
        let path = format!("/api/v1/users/{}", ada.id);
        let refused = app.patch(&path, json!({"frozen_until": null})).key(&eve.key).is(422).await;
        assert_eq!(refused.pointers(), ["/frozen_until"]);
        for change in [json!({"active": false}), json!({"active": true}), json!({"superuser": true})] {
            app.patch(&path, change).key(&eve.key).is(200).await;
        }
        assert!(app.get(&path).key(&eve.key).is(200).await.json()["frozen_until"].is_string());
        let inside = app.post("/api/v1/session", json!({"email": ada.email, "password": NEW})).is(204).await.cookie();
        assert_eq!(app.post("/api/v1/me/keys", json!({"name": "x"})).cookie(&inside).is(403).await.code(), "owner_frozen");
    }
}

/// Asked for by mail: known, unknown, inactive and passwordless look the same, and only one gets a mail.
#[tokio::test]
async fn who_asks_learns_nothing() {
    for db in [Db::Sqlite, Db::Postgres] {
        let app = with_mail(db).await;
        let ada = app.superuser("ada@example.org").await;
        app.post("/api/v1/invites", json!({"email": "invited@example.org"})).key(&ada.key).is(201).await;
        let mut answers = Vec::new();
        for email in ["ada@example.org", "nobody@example.org", "invited@example.org"] {
            let answer = app.post("/api/v1/password-resets", json!({"email": email})).is(202).await;
            answers.push((answer.status, answer.text));
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(asked(&app).await, [ada.id.as_str()]);
        assert!(listed(&app, &ada.key).await.is_empty(), "the link is for the mailbox alone");
        let wrong = app.post("/api/v1/password-resets", json!({"email": "nonsense"})).is(422).await;
        assert_eq!(wrong.pointers(), ["/email"]);
        let page = app.post("/forgotten", json!({})).form(&[("email", "nobody@example.org")]).is(200).await;
        assert!(page.text.contains("If that address has an account"));
    }
}

#[tokio::test]
async fn links_are_few_for_one_account_and_from_one_address() {
    let app = with_mail(Db::Sqlite).await;
    app.person("ada@example.org").await;
    for n in 0..3 {
        app.post("/api/v1/password-resets", json!({"email": "ada@example.org"}))
            .from(&format!("192.0.2.{n}"))
            .is(202)
            .await;
    }
    let counted = app
        .post("/api/v1/password-resets", json!({"email": "ADA@example.org"}))
        .from("192.0.2.9")
        .is(429)
        .await;
    assert_eq!(counted.code(), "too_many_requests");
    for n in 0..10 {
        app.post("/api/v1/password-resets", json!({"email": format!("{n}@example.org")}))
            .from("198.51.100.1")
            .is(202)
            .await;
    }
    app.post("/api/v1/password-resets", json!({"email": "x@example.org"})).from("198.51.100.1").is(429).await;
    app.clock.advance_secs(600);
    app.post("/api/v1/password-resets", json!({"email": "ada@example.org"})).from("192.0.2.9").is(202).await;
}

#[tokio::test]
async fn without_mail_the_command_is_named() {
    let app = TestApp::new(Db::Sqlite).await;
    app.person("ada@example.org").await;
    let answer = app.post("/api/v1/password-resets", json!({"email": "ada@example.org"})).is(409).await;
    assert_eq!(answer.code(), "not_set_up");
    assert!(answer.text.contains("latchstring admin reset-password"));
}
