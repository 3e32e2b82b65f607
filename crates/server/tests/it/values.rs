use latchstring_store::secrets::{self, SecretKind};
use serde_json::json;

use crate::app::both;

const SECRETS: &str = "/api/v1/projects/acme/environments/staging/secrets";
const VARIABLES: &str = "/api/v1/projects/acme/environments/staging/variables";

both! {
    async fn a_secret_is_set_and_never_shown(app) {
        let ada = app.person("ada@example.org").await;
        let project = app.project(&ada, "acme").await;
        let path = format!("{SECRETS}/api_token");
        let set = app.put(&path, json!({"value": "hunter22-hunter22", "hosts": ["api.example.org", "*.example.net"]})).key(&ada.key).is(204).await;
        assert_eq!(set.text, "");
        let listed = app.get(SECRETS).key(&ada.key).is(200).await;
        let item = listed.json()["items"][0].clone();
        assert_eq!(item, json!({"name": "api_token", "hosts": ["api.example.org", "*.example.net"], "set_at": app.broker.now().to_rfc3339(), "set_by": ada.id}));
        let one = app.get(&path).key(&ada.key).is(200).await;
        assert!(!listed.text.contains("hunter22") && !one.text.contains("hunter22"));
        let project_id = project["id"].as_str().unwrap().parse().unwrap();
        let mut reader = app.store.read().await.unwrap();
        let environment = latchstring_store::environments::by_name(&mut reader, &project_id, "staging").await.unwrap().unwrap();
        let row = secrets::one(&mut reader, &project_id, &environment.id, SecretKind::Secret, "api_token").await.unwrap().unwrap();
        drop(reader);
        assert!(!row.sealed.windows(8).any(|window| window == b"hunter22"));
        assert!(app.records().await.iter().all(|record| !record.body.contains("hunter22")));
        app.delete(&path).key(&ada.key).is(204).await;
        app.delete(&path).key(&ada.key).is(404).await;
        let actions: Vec<String> = app.audit(&project).await.into_iter().map(|item| item.record.action).collect();
        assert_eq!(actions, ["secret.delete", "secret.set", "project.create"]);
    }

    async fn a_variables_value_is_shown(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        for (value, name) in [("one", "b"), ("två", "a"), ("three", "b")] {
            app.put(&format!("{VARIABLES}/{name}"), json!({"value": value})).key(&ada.key).is(204).await;
        }
        let list = app.get(VARIABLES).key(&ada.key).is(200).await.json();
        let values: Vec<(&str, &str)> = list["items"].as_array().unwrap().iter().map(|item| (item["name"].as_str().unwrap(), item["value"].as_str().unwrap())).collect();
        assert_eq!(values, [("a", "två"), ("b", "three")]);
        assert_eq!(app.get(&format!("{VARIABLES}/b")).key(&ada.key).is(200).await.json()["value"], "three");
        app.get(&format!("{VARIABLES}/c")).key(&ada.key).is(404).await;
        app.get(&format!("{SECRETS}/b")).key(&ada.key).is(404).await;
        let page = app.get(&format!("{VARIABLES}?limit=1")).key(&ada.key).is(200).await.json();
        assert_eq!((page["items"].as_array().unwrap().len(), page["next_cursor"].as_str()), (1, Some("a")));
        let page = app.get(&format!("{VARIABLES}?limit=1&cursor=a")).key(&ada.key).is(200).await.json();
        assert_eq!((page["items"][0]["name"].as_str(), page["next_cursor"].as_str()), (Some("b"), None));
    }

    async fn editors_set_and_viewers_look(app) {
        let ada = app.person("ada@example.org").await;
        let project = app.project(&ada, "acme").await;
        for (role, status) in [("viewer", 403), ("editor", 204), ("admin", 204)] {
            let bob = app.person(&format!("{role}@example.org")).await;
            app.member(&ada, "acme", &bob, role).await;
            for list in [SECRETS, VARIABLES] {
                app.put(&format!("{list}/x"), json!({"value": role})).key(&bob.key).is(status).await;
                app.get(list).key(&bob.key).is(200).await;
                if status == 403 {
                    app.delete(&format!("{list}/x")).key(&bob.key).is(403).await;
                }
            }
        }
        let refused = app.audit(&project).await.into_iter().filter(|item| item.record.outcome.as_str() == "refused").count();
        assert_eq!(refused, 4);
    }

    async fn there_are_a_thousand_of_a_kind_and_no_more(app) {
        let ada = app.person("ada@example.org").await;
        let project = app.project(&ada, "acme").await;
        app.put(&format!("{SECRETS}/name_0"), json!({"value": "planted-value"})).key(&ada.key).is(204).await;
        let project: latchstring_model::id::ProjectId = project["id"].as_str().unwrap().parse().unwrap();
        let mut reader = app.store.read().await.unwrap();
        let environment = latchstring_store::environments::by_name(&mut reader, &project, "staging").await.unwrap().unwrap();
        let mut row = secrets::one(&mut reader, &project, &environment.id, SecretKind::Secret, "name_0").await.unwrap().unwrap();
        drop(reader);
        for some in (1..1_000).collect::<Vec<_>>().chunks(50) {
            // A write may take only so long.
            let mut tx = app.store.begin_write(&[project.as_str()]).await.unwrap();
            for number in some {
                row.name = format!("name_{number}");
                secrets::put(&mut tx, &project, &environment.id, &row, None).await.unwrap();
            }
            tx.commit().await.unwrap();
        }
        let one_more = app.put(&format!("{SECRETS}/more"), json!({"value": "planted-value"})).key(&ada.key).is(409).await;
        assert_eq!((one_more.code(), one_more.json()["limit"].clone()), ("limit_reached".to_owned(), json!(1_000)));
        let form = [("name", "more"), ("value", "planted-value")];
        let page = app.post("/projects/acme/secrets/staging", json!({})).form(&form).cookie(&ada.cookie).is(409).await;
        assert!(page.text.contains("has 1000 of them already") && page.text.contains("Delete those that nothing uses"), "{}", page.text);
        // What is there can be changed, and the other kind has room.
        app.put(&format!("{SECRETS}/name_7"), json!({"value": "another-value"})).key(&ada.key).is(204).await;
        app.put(&format!("{VARIABLES}/more"), json!({"value": "a"})).key(&ada.key).is(204).await;
    }

    async fn what_is_wrong_is_pointed_at(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        let wrong = app.put(&format!("{SECRETS}/x"), json!({"value": "v".repeat(65_537), "hosts": ["a.example", "https://a.example", "a.example:443"]})).key(&ada.key);
        assert_eq!(wrong.is(422).await.pointers(), ["/value", "/hosts/1", "/hosts/2"]);
        for name in ["1x", "a-b", "a.b", "%C3%A9", "x%20y"] {
            assert_eq!(app.put(&format!("{SECRETS}/{name}"), json!({"value": "v"})).key(&ada.key).is(422).await.code(), "invalid", "{name}");
        }
        assert_eq!(app.put(&format!("{SECRETS}/x"), json!({})).key(&ada.key).is(422).await.code(), "invalid");
        let number = app.put(&format!("{SECRETS}/x"), json!({"value": ["hunter22"]})).key(&ada.key).is(422).await;
        assert_eq!(number.pointers(), ["/value"]);
        assert!(!number.text.contains("hunter22"));
        app.put("/api/v1/projects/acme/environments/moon/secrets/x", json!({"value": "v"})).key(&ada.key).is(404).await;
    }

    async fn a_change_ends_what_is_cached_and_a_deleted_one_does_not_come_back(app) {
        let ada = app.person("ada@example.org").await;
        let project = app.project(&ada, "acme").await;
        let id = project["id"].as_str().unwrap().parse().unwrap();
        let look = async || {
            let mut reader = app.store.read().await.unwrap();
            let environment = latchstring_store::environments::by_name(&mut reader, &id, "staging").await.unwrap().unwrap();
            let row = secrets::one(&mut reader, &id, &environment.id, SecretKind::Secret, "x").await.unwrap();
            (latchstring_store::scopes::epoch(&mut reader, id.as_str()).await.unwrap(), row.map_or(0, |row| row.version))
        };
        let path = format!("{SECRETS}/x");
        app.put(&path, json!({"value": "1"})).key(&ada.key).is(204).await;
        let first = look().await;
        app.put(&path, json!({"value": "2"})).key(&ada.key).is(204).await;
        let second = look().await;
        assert!(second.0 > first.0 && second.1 > first.1);
        app.delete(&path).key(&ada.key).is(204).await;
        app.clock.advance_millis(10);
        app.put(&path, json!({"value": "3"})).key(&ada.key).is(204).await;
        assert!(look().await.1 > second.1, "a version is never used twice");
    }
}
