use serde_json::json;

use crate::app::{PASSWORD, both};

both! {
    async fn superusers_make_and_see_people(app) {
        let ada = app.superuser("ada@example.org").await;
        let new = json!({"email": "bob@example.org", "first_name": "Bob", "last_name": "Builder", "password": PASSWORD});
        let bob = app.post("/api/v1/users", new).key(&ada.key).is(201).await.json();
        assert_eq!((bob["name"].as_str(), bob["superuser"].as_bool()), (Some("Bob Builder"), Some(false)));
        app.post("/api/v1/session", json!({"email": "bob@example.org", "password": PASSWORD})).is(204).await;
        let taken = app.post("/api/v1/users", json!({"email": "BOB@example.org"})).key(&ada.key).is(409).await;
        assert_eq!((taken.code().as_str(), taken.pointers()), ("email_taken", vec!["/email".to_owned()]));
        let found = app.get("/api/v1/users?q=bob@").key(&ada.key).is(200).await.json();
        assert_eq!(found["items"].as_array().unwrap().len(), 1);
        let one = app.get(&format!("/api/v1/users/{}", bob["id"].as_str().unwrap())).key(&ada.key).is(200).await;
        assert_eq!((one.json()["email"].as_str(), one.header("etag")), (Some("bob@example.org"), "\"1\""));
        app.get("/api/v1/users/usr_0000000001zzzzzzzzzzzzzzzz").key(&ada.key).is(404).await;
        let wrong = app.post("/api/v1/users", json!({"email": "x", "name": "a\tb", "password": "short"})).key(&ada.key).is(422).await;
        assert_eq!(wrong.pointers(), ["/email", "/name", "/password"]);
    }

    async fn a_list_comes_in_pages(app) {
        let ada = app.superuser("ada@example.org").await;
        for n in 0..4 {
            app.post("/api/v1/users", json!({"email": format!("{n}@example.org")})).key(&ada.key).is(201).await;
        }
        let mut seen = Vec::new();
        let mut path = "/api/v1/users?limit=2".to_owned();
        loop {
            let page = app.get(&path).key(&ada.key).is(200).await.json();
            seen.extend(page["items"].as_array().unwrap().iter().map(|user| user["email"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            path = format!("/api/v1/users?limit=2&cursor={next}");
        }
        assert_eq!(seen.len(), 5);
        for bad in ["limit=0", "limit=x", "page=2"] {
            assert_eq!(app.get(&format!("/api/v1/users?{bad}")).key(&ada.key).is(422).await.code(), "invalid", "{bad}");
        }
    }

    async fn others_do_not(app) {
        let ada = app.person("ada@example.org").await;
        let path = format!("/api/v1/users/{}", ada.id);
        for call in [app.get("/api/v1/users"), app.get(&path), app.post("/api/v1/users", json!({"email": "x@example.org"})), app.patch(&path, json!({"superuser": true})), app.post("/api/v1/invites", json!({"email": "x@example.org"}))] {
            assert_eq!(call.key(&ada.key).is(403).await.code(), "forbidden");
        }
        let recorded = app.recorded().await;
        assert_eq!(recorded[recorded.len() - 3..], ["user.create refused", "user.update refused", "invite.create refused"]);
    }

    async fn whoever_is_deactivated_is_out_at_once(app) {
        let ada = app.superuser("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        let path = format!("/api/v1/users/{}", bob.id);
        app.patch(&path, json!({"active": false})).key(&ada.key).is(200).await;
        app.get("/api/v1/me").cookie(&bob.cookie).is(401).await;
        app.get("/api/v1/me").key(&bob.key).is(401).await;
        app.post("/api/v1/session", json!({"email": bob.email, "password": PASSWORD})).is(401).await;
        app.patch(&path, json!({"active": true})).key(&ada.key).is(200).await;
        app.get("/api/v1/me").cookie(&bob.cookie).is(401).await;
        app.get("/api/v1/me").key(&bob.key).is(401).await;
        app.sign_in("bob@example.org").await;
        let record = app.records().await.into_iter().rfind(|record| record.body.contains("ended_keys")).unwrap();
        assert!(record.body.contains("\"ended_keys\":1") && record.body.contains("\"ended_sessions\":1"), "{}", record.body);
    }

    async fn what_is_cached_for_a_person_ends_with_them(app) {
        let ada = app.superuser("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        let epoch = async || latchstring_store::scopes::epoch(&mut app.store.read().await.unwrap(), &bob.id).await.unwrap();
        let before = epoch().await;
        app.patch(&format!("/api/v1/users/{}", bob.id), json!({"active": false})).key(&ada.key).is(200).await;
        assert!(epoch().await > before);
    }

    async fn the_last_superuser_stays(app) {
        let ada = app.superuser("ada@example.org").await;
        let path = format!("/api/v1/users/{}", ada.id);
        for change in [json!({"superuser": false}), json!({"active": false})] {
            assert_eq!(app.patch(&path, change).key(&ada.key).is(409).await.code(), "last_superuser");
        }
        let bob = app.person("bob@example.org").await;
        app.patch(&format!("/api/v1/users/{}", bob.id), json!({"superuser": true})).key(&ada.key).is(200).await;
        app.patch(&path, json!({"superuser": false})).key(&ada.key).is(200).await;
        app.get("/api/v1/users").key(&ada.key).is(403).await;
    }

    async fn of_two_superusers_who_step_down_at_once_one_stays(app) {
        let ada = app.superuser("ada@example.org").await;
        let bob = app.superuser("bob@example.org").await;
        let (a, b) = (format!("/api/v1/users/{}", ada.id), format!("/api/v1/users/{}", bob.id));
        let (one, two) = tokio::join!(
            app.patch(&a, json!({"superuser": false})).key(&ada.key).send(),
            app.patch(&b, json!({"superuser": false})).key(&bob.key).send(),
        );
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{} {}", one.text, two.text);
    }
}
