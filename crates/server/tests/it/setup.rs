use serde_json::{Value, json};

use crate::app::{PASSWORD, TestApp, both};

async fn token(app: &TestApp) -> String {
    app.broker.begin_setup().await.unwrap().unwrap().reveal().to_owned()
}

fn body(token: &str) -> Value {
    json!({
        "token": token, "email": "ada@example.org", "name": "Ada Lovelace", "password": PASSWORD,
        "project": {"slug": "acme", "name": "Acme", "environments": ["test", "production"]},
    })
}

both! {
    async fn the_first_person_is_a_superuser_and_signed_in(app) {
        let token = token(&app).await;
        let answer = app.post("/api/v1/setup", body(&token)).is(201).await;
        let made = answer.json();
        assert_eq!(made["user"]["superuser"], true);
        assert_eq!(made["user"]["last_name"], "Lovelace");
        assert_eq!(made["project"]["environments"], json!(["test", "production"]));
        assert_eq!(made["project"]["role"], "owner");
        let cookie = answer.cookie();
        assert_eq!(app.get("/api/v1/me").cookie(&cookie).is(200).await.json()["email"], "ada@example.org");
        assert!(!answer.text.contains(PASSWORD) && !answer.text.contains(&token));
        app.post("/api/v1/users", json!({"email": "bob@example.org"})).cookie(&cookie).is(201).await;
    }

    async fn it_works_once_and_only_without_users(app) {
        let token = token(&app).await;
        app.post("/api/v1/setup", body(&token)).is(201).await;
        assert_eq!(app.post("/api/v1/setup", body(&token)).is(409).await.code(), "setup_done");
        assert!(app.broker.begin_setup().await.unwrap().is_none(), "there is a user");
    }

    async fn two_at_once_make_one_user(app) {
        let token = token(&app).await;
        let mut other = body(&token);
        other["email"] = json!("eve@example.org");
        other["project"]["slug"] = json!("eve");
        let (one, two) = tokio::join!(app.post("/api/v1/setup", body(&token)).send(), app.post("/api/v1/setup", other).send());
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{} {}", one.text, two.text);
    }

    async fn a_wrong_late_or_replaced_link_is_gone(app) {
        let first = token(&app).await;
        let second = token(&app).await;
        assert_eq!(app.post("/api/v1/setup", body(&first)).is(410).await.code(), "gone");
        app.post("/api/v1/setup", body("x")).is(410).await;
        app.clock.advance_secs(3600);
        app.post("/api/v1/setup", body(&second)).is(410).await;
        assert!(app.recorded().await.iter().all(|event| event == "setup.refuse refused"));
        assert_eq!(app.recorded().await.len(), 3);
    }

    async fn everything_wrong_is_said_at_once_and_nothing_is_made(app) {
        let token = token(&app).await;
        let wrong = json!({
            "token": token, "email": "ada", "password": "short",
            "project": {"slug": "Acme Inc", "name": "", "environments": ["a", "a"]},
        });
        let answer = app.post("/api/v1/setup", wrong).is(422).await;
        assert_eq!(answer.pointers(), ["/email", "/password", "/project/slug", "/project/name", "/project/environments/1"]);
        app.post("/api/v1/setup", body(&token)).is(201).await;
    }

    async fn links_are_counted_per_address(app) {
        let statuses: Vec<u16> = {
            let mut list = Vec::new();
            for _ in 0..21 {
                list.push(app.post("/api/v1/setup", body("x")).from("198.51.100.7").send().await.status);
            }
            list
        };
        assert_eq!(statuses[..20], [410; 20]);
        assert_eq!(statuses[20], 429);
        app.post("/api/v1/setup", body("x")).from("198.51.100.8").is(410).await;
    }
}
