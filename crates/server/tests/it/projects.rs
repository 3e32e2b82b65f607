use latchstring_model::entity::Principal;
use latchstring_model::id::{CredentialId, ProjectId, ShareId};
use latchstring_store::credentials::{self, CredentialRow};
use latchstring_store::environments;
use latchstring_store::shares::{self, NewGrant, ShareRow};
use latchstring_testkit::SeededEntropy;
use serde_json::json;

use crate::app::both;

both! {
    async fn made_seen_changed_and_deleted(app) {
        let ada = app.person("ada@example.org").await;
        let made = app.post("/api/v1/projects", json!({"slug": "acme", "name": "Acme", "environments": ["staging", "production"]})).key(&ada.key).is(201).await;
        let project = made.json();
        let id = project["id"].as_str().unwrap().to_owned();
        assert_eq!(made.header("location"), format!("/api/v1/projects/{id}"));
        assert_eq!((project["role"].as_str(), &project["environments"]), (Some("owner"), &json!(["staging", "production"])));
        for name in ["acme", &id] {
            let seen = app.get(&format!("/api/v1/projects/{name}")).key(&ada.key).is(200).await;
            assert_eq!((seen.json(), seen.header("etag")), (project.clone(), "\"1\""));
        }
        assert_eq!(app.get("/api/v1/projects").key(&ada.key).is(200).await.json(), json!({"items": [project], "next_cursor": null}));
        let change = json!({"slug": "acme-two", "name": "Acme 2", "environments": ["production", "staging", "dev_1"]});
        let changed = app.patch("/api/v1/projects/acme", change).key(&ada.key).header("if-match", "\"1\"").is(200).await;
        assert_eq!(changed.json()["environments"], json!(["production", "staging", "dev_1"]));
        assert!(changed.json().get("removed").is_none());
        app.get("/api/v1/projects/acme").key(&ada.key).is(404).await;
        let late = app.patch("/api/v1/projects/acme-two", json!({"name": "x"})).key(&ada.key).header("if-match", "\"1\"").is(412).await;
        assert_eq!(late.code(), "precondition_failed");
        app.delete("/api/v1/projects/acme-two").key(&ada.key).is(204).await;
        app.get("/api/v1/projects/acme-two").key(&ada.key).is(404).await;
        let actions: Vec<String> = app.audit(&project).await.into_iter().map(|item| item.record.action).collect();
        assert_eq!(actions, ["project.delete", "project.update", "project.create"]);
    }

    async fn a_taken_slug_comes_with_a_free_one(app) {
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.project(&ada, "acme").await;
        app.project(&ada, "acme-2").await;
        let taken = app.post("/api/v1/projects", json!({"slug": "acme", "name": "Acme"})).key(&bob.key).is(409).await;
        assert_eq!((taken.code().as_str(), taken.json()["suggestion"].as_str()), ("slug_taken", Some("acme-3")));
        app.post("/api/v1/projects", json!({"name": "ACME 3!"})).key(&bob.key).is(201).await;
        let taken = app.patch("/api/v1/projects/acme-3", json!({"slug": "acme"})).key(&bob.key).is(409).await;
        assert_eq!(taken.json()["suggestion"], "acme-4");
        let two = || app.post("/api/v1/projects", json!({"slug": "race", "name": "Race"}));
        let (one, other) = tokio::join!(two().key(&ada.key).send(), two().key(&bob.key).send());
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{} {}", one.text, other.text);
    }

    async fn what_is_wrong_is_pointed_at(app) {
        let ada = app.person("ada@example.org").await;
        let wrong = json!({"slug": "Not a slug", "name": "", "environments": ["production", "Prod", "production"]});
        let answer = app.post("/api/v1/projects", wrong).key(&ada.key).is(422).await;
        assert_eq!(answer.pointers(), ["/slug", "/name", "/environments/1", "/environments/2"]);
        assert_eq!(app.post("/api/v1/projects", json!({"name": "日本"})).key(&ada.key).is(422).await.pointers(), ["/slug"]);
        app.project(&ada, "acme").await;
        let answer = app.patch("/api/v1/projects/acme", json!({"slug": "-", "name": "a\u{7}", "environments": []})).key(&ada.key).is(422).await;
        assert_eq!(answer.pointers(), ["/slug", "/name", "/environments"]);
        assert_eq!(app.post("/api/v1/projects", json!({"name": "x", "colour": "red"})).key(&ada.key).is(422).await.pointers(), ["/colour"]);
    }

    async fn a_removed_environment_takes_what_is_its_own(app) {
        let ada = app.person("ada@example.org").await;
        let project = app.project(&ada, "acme").await;
        let key = app.service_key(&ada, "acme", json!({})).await;
        app.put("/api/v1/projects/acme/environments/staging/secrets/token", json!({"value": "s"})).key(&ada.key).is(204).await;
        app.put("/api/v1/projects/acme/environments/staging/variables/host", json!({"value": "v"})).key(&ada.key).is(204).await;
        app.put("/api/v1/projects/acme/environments/production/variables/host", json!({"value": "v"})).key(&ada.key).is(204).await;
        // Left out alone, it stays, and the refusal says what would go.
        let change = |body: serde_json::Value| app.patch("/api/v1/projects/acme", body).key(&ada.key);
        let goes = json!([{"name": "staging", "secrets": ["token"], "variables": ["host"], "api_keys": ["robot"], "credentials": []}]);
        for named in [json!({"environments": ["production"]}), json!({"environments": ["production"], "remove_environments": []})] {
            let refused = change(named).is(409).await;
            assert_eq!((refused.code(), &refused.json()["environments"]), ("environment_in_use".to_owned(), &goes));
            assert!(refused.json()["hint"].as_str().unwrap().contains("\"remove_environments\": [\"staging\"]"), "{}", refused.text);
        }
        app.get("/api/v1/projects/acme/environments/staging/secrets/token").key(&ada.key).is(200).await;
        assert_eq!(app.get("/api/v1/me").key(key["key"].as_str().unwrap()).is(403).await.code(), "not_allowed");
        // Only what is left out is named, and nothing without the list.
        for (body, pointer) in [
            (json!({"environments": ["production"], "remove_environments": ["staging", "production"]}), "/remove_environments/1"),
            (json!({"environments": ["production"], "remove_environments": ["moon"]}), "/remove_environments/0"),
            (json!({"remove_environments": ["staging"]}), "/environments"),
        ] {
            assert_eq!(change(body).is(422).await.pointers(), [pointer]);
        }
        let changed = change(json!({"environments": ["production"], "remove_environments": ["staging"]})).is(200).await.json();
        assert_eq!(changed["removed"], goes);
        app.get("/api/v1/me").key(key["key"].as_str().unwrap()).is(401).await;
        app.get("/api/v1/projects/acme/environments/staging/secrets").key(&ada.key).is(404).await;
        change(json!({"environments": ["production", "staging"]})).is(200).await;
        // With nothing in it, it goes without a word.
        change(json!({"environments": ["production"]})).is(200).await;
        change(json!({"environments": ["production", "staging"]})).is(200).await;
        let secrets = app.get("/api/v1/projects/acme/environments/staging/secrets").key(&ada.key).is(200).await.json();
        assert_eq!(secrets["items"], json!([]));
        app.get("/api/v1/me").key(key["key"].as_str().unwrap()).is(401).await;
        let kept = app.get("/api/v1/projects/acme/environments/production/variables").key(&ada.key).is(200).await.json();
        assert_eq!(kept["items"][0]["value"], "v");
        assert!(app.audit(&project).await.iter().any(|item| item.record.action == "environment.delete" && item.record.environment.as_deref() == Some("staging")));
    }

    // One grant is found, however many credentials the project uses besides.
    async fn what_hangs_on_an_environment_is_found_at_any_size(app) {
        let ada = app.person("ada@example.org").await;
        let project = app.project(&ada, "acme").await;
        let acme: ProjectId = project["id"].as_str().unwrap().parse().unwrap();
        let owner = Principal::User(ada.id.parse().unwrap());
        let (entropy, now) = (SeededEntropy::new(11), app.broker.now());
        let mut tx = app.store.begin_write(&[acme.as_str()]).await.unwrap();
        let staging = environments::by_name(&mut tx, &acme, "staging").await.unwrap().unwrap();
        for number in 0..=2_100 {
            // The one that is granted comes last in every list: ids begin with the time.
            let now = now.plus_millis(number);
            let row = CredentialRow {
                id: CredentialId::new(now, &entropy), owner: owner.clone(), connector: "builtin/http".into(),
                auth_method: "bearer".into(), digest: "d".into(), oauth_client_id: None, name: format!("c{number}"),
                note: None, acts_as: None, disabled: false, expires_on: None, deletes_at: None, version: 1,
                created_by: ada.id.clone(), created_at: now, updated_at: now,
            };
            // A write may take only so long.
            if number % 20 == 19 {
                tx.commit().await.unwrap();
                tx = app.store.begin_write(&[acme.as_str()]).await.unwrap();
            }
            credentials::create(&mut tx, &row).await.unwrap();
            let share = ShareRow {
                id: ShareId::new(now, &entropy), credential_id: row.id, project_id: acme.clone(), slug: row.name,
                external_id: None, suspended: false, created_by: ada.id.clone(), created_at: now,
            };
            shares::create(&mut tx, &share).await.unwrap();
            if number == 2_100 {
                let grant = NewGrant { environment_id: staging.id.clone(), credential_environment: "production".into() };
                shares::replace_grants(&mut tx, &share, &[grant], &ada.id, now).await.unwrap();
            }
        }
        tx.commit().await.unwrap();
        let refused = app.patch("/api/v1/projects/acme", json!({"environments": ["production"]})).key(&ada.key).is(409).await;
        assert_eq!(refused.code(), "environment_in_use");
        assert_eq!(refused.json()["environments"][0]["credentials"], json!(["c2100"]));
        let body = json!({"environments": ["production"], "remove_environments": ["staging"]});
        let removed = app.patch("/api/v1/projects/acme", body).key(&ada.key).is(200).await.json()["removed"].clone();
        assert_eq!(removed[0]["credentials"], json!(["c2100"]));
    }

    async fn the_page_asks_before_anything_goes_with_an_environment(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        app.service_key(&ada, "acme", json!({})).await;
        app.put("/api/v1/projects/acme/environments/staging/secrets/token", json!({"value": "s"})).key(&ada.key).is(204).await;
        let send = |environments: &str, more: &[(&str, &str)]| {
            let mut form = vec![("name", "acme"), ("slug", "acme"), ("environments", environments), ("version", "1")];
            form.extend_from_slice(more);
            app.post("/projects/acme/settings", json!({})).form(&form).cookie(&ada.cookie)
        };
        let secrets = "/api/v1/projects/acme/environments/staging/secrets";
        // Without the tick, whatever else is sent.
        for more in [&[][..], &[("removing", "staging")], &[("remove", "yes")]] {
            let asked = send("production", more).is(409).await;
            for words in ["With staging would go", "token", "robot", "name=\"removing\" value=\"staging\"", "name=\"remove\""] {
                assert!(asked.text.contains(words), "{words}: {}", asked.text);
            }
            app.get(secrets).key(&ada.key).is(200).await;
        }
        let done = send("production", &[("removing", "staging"), ("remove", "yes")]).is(200).await;
        assert!(done.text.contains("Gone with staging") && !done.text.contains("name=\"removing\""), "{}", done.text);
        app.get(secrets).key(&ada.key).is(404).await;
    }

    async fn what_a_project_owns_is_listed_before_it_is_deleted(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        let body = json!({
            "name": "Team", "connector": "raw", "auth_method": "custom", "verify": "skip", "owner_project": "acme",
            "values": {"production": {"a": "b"}},
        });
        let made = app.post("/api/v1/credentials", body).key(&ada.key).is(201).await.json();
        let refused = app.delete("/api/v1/projects/acme").key(&ada.key).is(409).await;
        assert_eq!(refused.code(), "credential_in_use");
        assert_eq!(refused.json()["used_by"], json!([{"project": "acme", "credential": made["id"], "name": "Team"}]));
        let purge = format!("/api/v1/credentials/{}?purge=true", made["id"].as_str().unwrap());
        app.delete(&purge).key(&ada.key).is(204).await;
        app.delete("/api/v1/projects/acme").key(&ada.key).is(204).await;
    }

    async fn roles_bound_what_is_changed(app) {
        let ada = app.person("ada@example.org").await;
        let project = app.project(&ada, "acme").await;
        for (role, patch, delete) in [("viewer", 403, 403), ("editor", 403, 403), ("admin", 200, 403), ("owner", 200, 204)] {
            let bob = app.person(&format!("{role}@example.org")).await;
            app.member(&ada, "acme", &bob, role).await;
            let answer = app.patch("/api/v1/projects/acme", json!({"name": role})).key(&bob.key).is(patch).await;
            if patch == 403 {
                assert_eq!((answer.code().as_str(), answer.json()["needed_role"].as_str()), ("forbidden", Some("admin")));
                let event = &app.audit(&project).await[0].record;
                assert_eq!((event.action.as_str(), event.outcome.as_str(), event.actor_email.as_deref()), ("project.update", "refused", Some(bob.email.as_str())));
            }
            app.delete("/api/v1/projects/acme").key(&bob.key).is(delete).await;
        }
    }
}
