//! Service keys: made, limited, ended; and what they may on `/proxy`, over a socket.

use serde_json::{Value, json};

use crate::app::both;
use crate::calling::{World, both_worlds, code};

/// A credential that tells the API whom the call is made for.
async fn told_for_whom(world: &World) -> Value {
    let values = json!({"base_url": world.api, "headers": {"X-For": "{{ user.email }}"}});
    world.stored("acme", "http", "custom", "Mirror", values).await
}

/// A call through `/proxy` with a service key, for somebody or for nobody.
async fn asked(world: &World, key: &Value, for_whom: Option<&str>) -> (u16, String) {
    let bearer = format!("Bearer {}", key["key"].as_str().unwrap());
    let mut headers = vec![("authorization", bearer.as_str())];
    headers.extend(for_whom.map(|email| ("latchstring-user", email)));
    let answer = world.proxy("mirror/echo", &headers).await;
    match answer.status {
        200 => (200, answer.json()["headers"]["x-for"].as_str().unwrap_or_default().to_owned()),
        status => (status, code(&answer)),
    }
}

both_worlds! {
    async fn a_warm_call_ends_with_its_key(world) {
        world.credential("acme", "sandbox", "api_key", "one").await;
        let ends = world.now().plus_secs(30).to_rfc3339();
        let key = world.app.service_key(&world.ada, "acme", json!({"expires_at": ends})).await;
        let bearer = format!("Bearer {}", key["key"].as_str().unwrap());
        let call = async || world.proxy("one/v1/me", &[("authorization", &bearer)]).await;
        assert_eq!((call().await.status, call().await.status), (200, 200));
        world.app.clock.advance_secs(29);
        assert_eq!(call().await.status, 200, "not a second earlier");
        world.app.clock.advance_secs(1);
        let refused = call().await;
        assert_eq!((refused.status, code(&refused)), (401, "unauthenticated".to_owned()));
    }

    async fn a_key_calls_from_its_networks_alone(world) {
        world.credential("acme", "sandbox", "api_key", "one").await;
        for (networks, status) in [(json!(["127.0.0.0/8"]), 200), (json!(["198.51.100.0/24", "::/0"]), 403)] {
            let key = world.app.service_key(&world.ada, "acme", json!({"networks": networks})).await;
            let bearer = format!("Bearer {}", key["key"].as_str().unwrap());
            // Cold and warm.
            for _ in 0..2 {
                let answer = world.proxy("one/v1/me", &[("authorization", &bearer)]).await;
                assert_eq!(answer.status, status, "{networks}");
                assert!(status == 200 || code(&answer) == "not_allowed", "{networks}");
            }
        }
    }

    async fn a_key_acts_on_proxy_for_whom_it_may_and_nobody_else(world) {
        told_for_whom(&world).await;
        let bob = world.app.person("bob@example.org").await;
        world.app.member(&world.ada, "acme", &bob, "viewer").await;
        let alone = world.app.service_key(&world.ada, "acme", json!({})).await;
        let acting = world.app.service_key(&world.ada, "acme", json!({"may_act_for": ["bob@example.org"]})).await;
        let no = |status: u16, code: &str| (status, code.to_owned());
        for key in [&alone, &acting] {
            assert_eq!(asked(&world, key, None).await, no(424, "template_error"));
        }
        assert_eq!(asked(&world, &acting, Some("bob@example.org")).await, (200, "bob@example.org".to_owned()));
        // Warm or not: who is named counts with each call.
        assert_eq!(asked(&world, &acting, None).await, no(424, "template_error"));
        for (key, whom) in [(&acting, "ada@example.org"), (&acting, "nobody@example.org"), (&alone, "bob@example.org")] {
            assert_eq!(asked(&world, key, Some(whom)).await, no(403, "not_allowed"), "{whom}");
        }
        assert_eq!(asked(&world, &acting, Some("bob@example.org")).await, (200, "bob@example.org".to_owned()));
    }

    async fn nobody_acts_for_who_is_not_active(world) {
        told_for_whom(&world).await;
        let bob = world.app.person("bob@example.org").await;
        let root = world.app.superuser("root@example.org").await;
        world.app.member(&world.ada, "acme", &bob, "editor").await;
        let key = world.app.service_key(&world.ada, "acme", json!({"may_act_for": ["bob@example.org"]})).await;
        let call = async || asked(&world, &key, Some("bob@example.org")).await;
        let active = async |yes: bool| {
            let path = format!("/api/v1/users/{}", bob.id);
            world.app.patch(&path, json!({"active": yes})).key(&root.key).is(200).await;
        };
        let for_bob = (200, "bob@example.org".to_owned());
        assert_eq!((call().await, call().await), (for_bob.clone(), for_bob.clone()));
        active(false).await;
        assert_eq!(call().await, (403, "not_allowed".to_owned()), "the warm route is gone at once");
        active(true).await;
        assert_eq!(call().await, for_bob);
        world.app.delete("/api/v1/projects/acme/members/bob@example.org").key(&world.ada.key).is(204).await;
        assert_eq!(call().await, (403, "not_allowed".to_owned()));
    }
}

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
