use serde_json::json;

use crate::app::both;

both! {
    async fn made_listed_and_ended(app) {
        let ada = app.person("ada@example.org").await;
        let project = app.project(&ada, "acme").await;
        let ends = app.broker.now().plus_secs(3600).to_rfc3339();
        let made = app.service_key(&ada, "acme", json!({
            "operations_only": true, "methods": ["get", "GET", "post"], "path_prefixes": ["/v1"],
            "networks": ["10.1.2.3/8", "192.0.2.1"], "may_act_for": ["ada@example.org"], "expires_at": ends,
        })).await;
        assert!(made["key"].as_str().unwrap().starts_with("lst_"));
        let list = app.get("/api/v1/projects/acme/api-keys").key(&ada.key).is(200).await;
        assert!(!list.text.contains(made["key"].as_str().unwrap()));
        let item = list.json()["items"][0].clone();
        assert_eq!(item["environment"], "staging");
        assert_eq!(item["methods"], json!(["GET", "POST"]));
        assert_eq!(item["networks"], json!(["10.0.0.0/8", "192.0.2.1/32"]));
        assert_eq!((item["operations_only"].as_bool(), item["expires_at"].as_str()), (Some(true), Some(ends.as_str())));
        assert!(item["credentials"].is_null());
        let path = format!("/api/v1/projects/acme/api-keys/{}", made["id"].as_str().unwrap());
        assert_eq!(app.get("/api/v1/me").key(made["key"].as_str().unwrap()).is(403).await.code(), "not_allowed");
        let id = project["id"].as_str().unwrap();
        let epoch = async || latchstring_store::scopes::epoch(&mut app.store.read().await.unwrap(), id).await.unwrap();
        let before = epoch().await;
        app.delete(&path).key(&ada.key).is(204).await;
        assert!(epoch().await > before);
        app.get("/api/v1/me").key(made["key"].as_str().unwrap()).is(401).await;
        app.delete(&path).key(&ada.key).is(404).await;
        let actions: Vec<String> = app.audit(&project).await.into_iter().map(|item| item.record.action).collect();
        assert_eq!(actions, ["key.delete", "key.create", "project.create"]);
    }

    async fn everything_wrong_is_said_at_once(app) {
        let ada = app.person("ada@example.org").await;
        app.person("bob@example.org").await;
        app.project(&ada, "acme").await;
        let wrong = json!({
            "name": "", "environment": "moon", "credentials": ["crd_x", "crd_0000000001zzzzzzzzzzzzzzzz"], "methods": ["G T"],
            "path_prefixes": ["v1", "/a/../b"], "networks": ["10.0.0.0/33"], "may_act_for": ["bob@example.org"],
            "expires_at": "2020-01-01T00:00:00Z",
        });
        let answer = app.post("/api/v1/projects/acme/api-keys", wrong).key(&ada.key).is(422).await;
        assert_eq!(answer.pointers(), [
            "/name", "/credentials/0", "/methods/0", "/path_prefixes/0", "/path_prefixes/1", "/networks/0", "/expires_at",
            "/environment", "/credentials", "/may_act_for",
        ]);
        let empty = app.post("/api/v1/projects/acme/api-keys", json!({"name": "x", "environment": "staging", "methods": []})).key(&ada.key).is(422).await;
        assert_eq!(empty.pointers(), ["/methods"]);
    }

    async fn only_admins_and_owners_make_them(app) {
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        for (role, status) in [("viewer", 403), ("editor", 403), ("admin", 201)] {
            let bob = app.person(&format!("{role}@example.org")).await;
            app.member(&ada, "acme", &bob, role).await;
            app.post("/api/v1/projects/acme/api-keys", json!({"name": "x", "environment": "staging"})).key(&bob.key).is(status).await;
            app.get("/api/v1/projects/acme/api-keys").key(&bob.key).is(200).await;
        }
    }

    async fn the_operators_keys_need_an_admin(app) {
        use latchstring_broker::Actor;
        use latchstring_broker::people::operator::OperatorKey;
        let ada = app.person("ada@example.org").await;
        let bob = app.person("bob@example.org").await;
        app.project(&ada, "acme").await;
        let key = |email: &str, environment: &str| OperatorKey { email: email.into(), name: "cli".into(), service: Some(("acme".into(), Some(environment.into()))) };
        let made = app.broker.operator_create_key(&Actor::operator(), key(&ada.email, "staging")).await.unwrap();
        assert_eq!(app.get("/api/v1/me").key(made.reveal()).is(403).await.code(), "not_allowed");
        let refused = app.broker.operator_create_key(&Actor::operator(), key(&bob.email, "staging")).await.err().unwrap();
        assert_eq!(refused.code.as_str(), "forbidden");
        let refused = app.broker.operator_create_key(&Actor::operator(), key(&ada.email, "moon")).await.err().unwrap();
        assert_eq!(refused.errors[0].pointer, "/environment");
        let nobody = OperatorKey { email: "eve@example.org".into(), name: "cli".into(), service: None };
        assert!(app.broker.operator_create_key(&Actor::operator(), nobody).await.is_err());
    }
}
