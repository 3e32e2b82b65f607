//! Connectors: listed, uploaded, changed, deleted; what a change means for credentials.

use axum::http::Method;
use serde_json::{Value, json};

use crate::calling::{World, both_worlds, code};

/// A connector of a project's own. `more` stands at its end.
pub fn definition(label: &str, header: &str, more: &str) -> String {
    format!(
        "id: crm
name: {label}
docs_url: https://crm.example.com/docs
allow_http: true
base_url: \"{{{{ base_url }}}}\"
auth_methods:
  key:
    label: Key
    fields:
      base_url: {{type: url}}
      key: {{type: text, secret: true}}
    scheme: {{type: api_key, in: header, key: {header}, value: \"{{{{ key }}}}\"}}
{more}"
    )
}

fn crm() -> String {
    definition("CRM", "X-API-Key", "")
}

async fn listed(world: &World, who: &str, path: &str) -> Vec<Value> {
    world.app.get(path).key(who).is(200).await.json()["items"].as_array().unwrap().clone()
}

both_worlds! {
    async fn the_catalog_and_a_projects_own_are_listed(world) {
        world.upload("acme", &crm()).await;
        let all = listed(&world, &world.ada.key, "/api/v1/connectors").await;
        let of = |all: &[Value], id: &str| all.iter().find(|item| item["id"] == id).cloned();
        assert!(of(&all, "crm").is_none(), "a project's own needs the project");
        let sandbox = of(&all, "sandbox").unwrap();
        assert_eq!(sandbox["uid"], "builtin/sandbox");
        let key = sandbox["auth_methods"].as_array().unwrap().iter().find(|method| method["id"] == "api_key").unwrap();
        assert_eq!(key["type"], "api_key");
        assert_eq!(key["fields"]["type"], "object");
        assert_eq!(key["fields"]["properties"]["key"]["writeOnly"], true, "{key}");
        let names: Vec<&str> = sandbox["operations"].as_array().unwrap().iter().map(|operation| operation["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["people", "person", "add_person"]);
        assert_eq!(sandbox["metadata"][0]["name"], "people");
        let all = listed(&world, &world.ada.key, "/api/v1/connectors?project=acme").await;
        assert_eq!(of(&all, "crm").unwrap()["credential_count"], 0);
        assert!(of(&all, "salesforce").is_some());
        world.credential("acme", "crm", "key", "one").await;
        world.credential("acme", "crm", "key", "two").await;
        world.credential("acme", "sandbox", "api_key", "three").await;
        let all = listed(&world, &world.ada.key, "/api/v1/connectors?project=acme").await;
        assert_eq!(of(&all, "crm").unwrap()["credential_count"], 2);
        assert_eq!(of(&all, "sandbox").unwrap()["credential_count"], 1);
        // Without a project: my own, whatever they are shared with; nobody else's.
        assert_eq!(of(&listed(&world, &world.ada.key, "/api/v1/connectors").await, "sandbox").unwrap()["credential_count"], 1);
        let bob = world.app.person("bob@example.org").await;
        assert_eq!(of(&listed(&world, &bob.key, "/api/v1/connectors").await, "sandbox").unwrap()["credential_count"], 0);
        world.app.get("/api/v1/connectors?project=acme").key(&bob.key).is(404).await;
        world.app.get("/api/v1/connectors").is(401).await;
        let service = world.app.service_key(&world.ada, "acme", json!({})).await;
        world.app.get("/api/v1/connectors").key(service["key"].as_str().unwrap()).is(403).await;
    }

    async fn one_is_shown_whole(world) {
        let made = world.upload("acme", &crm()).await;
        assert_eq!(made["uid"], format!("{}/crm", world.acme["id"].as_str().unwrap()));
        let shown = world.app.get("/api/v1/connectors/crm?project=acme").key(&world.ada.key).is(200).await;
        assert_eq!(shown.header("etag"), "\"1\"");
        let shown = shown.json();
        assert_eq!(shown["source"], crm());
        assert_eq!((&shown["revision"], &shown["allow_http"]), (&json!(1), &json!(true)));
        let sandbox = world.app.get("/api/v1/connectors/salesforce").key(&world.ada.key).is(200).await.json();
        assert!(sandbox["hosts"].as_array().unwrap().contains(&json!("*.salesforce.com")), "{sandbox}");
        assert!(sandbox["errors"].as_array().unwrap().iter().any(|rule| rule["explanation"].as_str().is_some_and(|text| !text.is_empty())));
        assert!(sandbox["source"].is_null());
        world.app.get("/api/v1/connectors/crm").key(&world.ada.key).is(404).await;
        world.app.get("/api/v1/connectors/nothing?project=acme").key(&world.ada.key).is(404).await;
    }

    async fn what_is_wrong_has_pointer_line_and_column(world) {
        let wrong = "id: crm\nname: CRM\nbase_ulr: https://x.example\nauth_methods:\n  key:\n    fields: {key: {type: txt}}\n    scheme: {type: bearer, token: \"{{ nope }}\"}\n";
        let answer = world.upload_as(&world.ada, "acme", wrong).is(422).await;
        assert_eq!(answer.code(), "invalid");
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        let of = |pointer: &str| errors.iter().find(|error| error["pointer"] == pointer).unwrap_or_else(|| panic!("{pointer}: {errors:?}"))["detail"].as_str().unwrap().to_owned();
        let misspelt = of("/base_ulr");
        assert!(misspelt.starts_with("line 3, column 1: ") && misspelt.contains("did you mean `base_url`?"), "{misspelt}");
        assert!(of("/auth_methods/key/fields/key/type").starts_with("line 6, column "));
        let json = world.app.post("/api/v1/projects/acme/connectors", json!({"id": "crm"})).key(&world.ada.key).is(422).await;
        assert!(json.json()["errors"][0]["detail"].as_str().unwrap().starts_with("line 1, column "));
        world.upload_as(&world.ada, "acme", "a: [").is(422).await;
        world.upload_as(&world.ada, "acme", &format!("{}sandbox: true\n", crm())).is(422).await;
        assert!(listed(&world, &world.ada.key, "/api/v1/connectors?project=acme").await.iter().all(|item| item["id"] != "crm"));
    }

    async fn json_is_taken_and_other_bodies_are_not(world) {
        let post = |kind: &str, body: Vec<u8>| world.app.call(Method::POST, "/api/v1/projects/acme/connectors").key(&world.ada.key).header("content-type", kind).body(body);
        assert_eq!(post("text/html", crm().into_bytes()).is(415).await.code(), "unsupported_media_type");
        post("", crm().into_bytes()).is(415).await;
        let large = post("application/yaml", vec![b'#'; 256 * 1024 + 1]).is(413).await;
        assert_eq!(large.code(), "body_too_large");
        assert!(large.json()["hint"].as_str().unwrap().contains("make two connectors of it"), "{}", large.text);
        post("application/yaml", vec![b'#', 0xff]).is(422).await;
        let json = json!({"id": "crm", "name": "CRM", "base_url": "https://crm.example.com", "auth_methods": {"key": {
            "fields": {"key": {"type": "text", "secret": true}}, "scheme": {"type": "bearer", "token": "{{ key }}"}}}});
        post("application/json", json.to_string().into_bytes()).is(201).await;
    }

    async fn only_admins_and_owners_change_them(world) {
        world.upload("acme", &crm()).await;
        for (role, status) in [("viewer", 403), ("editor", 403), ("admin", 201)] {
            let bob = world.app.person(&format!("{role}@example.org")).await;
            world.app.member(&world.ada, "acme", &bob, role).await;
            let other = crm().replace("id: crm", "id: erp");
            world.upload_as(&bob, "acme", &other).is(status).await;
            world.put("acme", "crm", &crm()).key(&bob.key).is(if status == 201 { 200 } else { 403 }).await;
            if status == 403 {
                world.app.delete("/api/v1/projects/acme/connectors/crm").key(&bob.key).is(403).await;
            }
            world.app.get("/api/v1/connectors/crm?project=acme").key(&bob.key).is(200).await;
        }
        // A stranger's upload is not even looked at.
        let eve = world.app.person("eve@example.org").await;
        let missing = world.upload_as(&eve, "nowhere", "a: [").is(404).await;
        assert_eq!(world.upload_as(&eve, "acme", "a: [").is(404).await.text, missing.text);
    }

    async fn ids_are_not_taken_twice(world) {
        let built_in = crm().replace("id: crm", "id: salesforce");
        assert_eq!(world.upload_as(&world.ada, "acme", &built_in).is(409).await.code(), "connector_built_in");
        assert_eq!(world.put("acme", "salesforce", &built_in).is(409).await.code(), "connector_built_in");
        world.upload("acme", &crm()).await;
        assert_eq!(world.upload_as(&world.ada, "acme", &crm()).is(409).await.code(), "connector_exists");
        assert_eq!(world.put("acme", "crm", &crm().replace("id: crm", "id: erp")).is(422).await.pointers(), ["/id"]);
        world.put("acme", "erp", &crm().replace("id: crm", "id: erp")).is(404).await;
    }

    async fn a_change_on_top_of_anothers_is_refused(world) {
        world.upload("acme", &crm()).await;
        let put = world.put("acme", "crm", &definition("Renamed", "X-API-Key", "")).header("if-match", "\"1\"").is(200).await;
        assert_eq!(put.header("etag"), "\"2\"");
        assert_eq!(world.put("acme", "crm", &crm()).header("if-match", "\"1\"").is(412).await.code(), "precondition_failed");
        world.app.delete("/api/v1/projects/acme/connectors/crm").header("if-match", "\"1\"").key(&world.ada.key).is(412).await;
        let shown = world.app.get("/api/v1/connectors/crm?project=acme").key(&world.ada.key).is(200).await.json();
        assert_eq!((&shown["name"], &shown["revision"]), (&json!("Renamed"), &json!(2)));
    }

    async fn a_changed_destination_waits_for_the_owner(world) {
        world.upload("acme", &crm()).await;
        // Shared with another project, too, of which nothing changes.
        world.app.project(&world.ada, "beta").await;
        let grants = json!({"staging": "production"});
        let body = json!({"name": "main", "connector": "crm", "auth_method": "key", "verify": "skip",
            "values": {"production": {"base_url": world.api, "key": latchstring_sandbox::DEMO.api_key}},
            "shares": [{"project": "acme", "grants": grants}, {"project": "beta", "grants": grants}]});
        let credential = world.app.post("/api/v1/credentials", body).key(&world.ada.key).is(201).await.json();
        let beta = world.app.service_key(&world.ada, "beta", json!({})).await["key"].as_str().unwrap().to_owned();
        let from_beta = async || world.proxy("main/v1/me", &[("latchstring-key", &beta)]).await.status;
        assert_eq!((world.proxy_as_ada("main/v1/me").await.status, from_beta().await), (200, 200));
        // Labels and help texts change nothing.
        let put = world.put("acme", "crm", &definition("Another name", "X-API-Key", "")).is(200).await.json();
        assert_eq!((&put["destinations_changed"], &put["credentials_waiting"]), (&json!(false), &json!(0)));
        assert_eq!(world.proxy_as_ada("main/v1/me").await.status, 200);
        // Where the value goes does, at once, although the route was cached.
        let put = world.put("acme", "crm", &definition("CRM", "X-Elsewhere", "")).is(200).await.json();
        assert_eq!((&put["destinations_changed"], &put["credentials_waiting"]), (&json!(true), &json!(1)));
        let refused = world.proxy_as_ada("main/v1/me").await;
        assert_eq!((refused.status, code(&refused).as_str()), (409, "connector_changed"));
        assert_eq!(from_beta().await, 409);
        let operation = world.operation("main", "anything", json!({})).key(&world.ada.key).is(409).await;
        assert_eq!(operation.code(), "connector_changed");
        // What was approved once holds again.
        world.put("acme", "crm", &crm()).is(200).await;
        assert_eq!((world.proxy_as_ada("main/v1/me").await.status, from_beta().await), (200, 200));
        // And so does what its owner approves; nobody else does that.
        world.put("acme", "crm", &definition("CRM", "Authorization", "")).is(200).await;
        assert_eq!((world.proxy_as_ada("main/v1/me").await.status, from_beta().await), (409, 409));
        let approve = format!("/api/v1/credentials/{}/approve", credential["id"].as_str().unwrap());
        let bob = world.app.person("bob@example.org").await;
        world.app.member(&world.ada, "acme", &bob, "admin").await;
        let refused = world.app.post(&approve, json!({})).key(&bob.key).send().await;
        assert!(matches!(refused.status, 403 | 404), "{}", refused.text);
        world.app.post(&approve, json!({})).key(&world.ada.key).is(200).await;
        assert_eq!((world.proxy_as_ada("main/v1/me").await.status, from_beta().await), (401, 401), "sent, to where it was approved");
        let actions: Vec<String> = world.app.audit(&world.acme).await.into_iter().filter(|item| item.record.action.starts_with("connector.")).map(|item| item.record.action).collect();
        assert_eq!(actions, ["connector.update", "connector.update", "connector.update", "connector.update", "connector.create"]);
    }

    async fn one_in_use_is_not_deleted(world) {
        world.upload("acme", &crm()).await;
        let path = "/api/v1/projects/acme/connectors/crm";
        let credential = world.credential("acme", "crm", "key", "main").await;
        let refused = world.app.delete(path).key(&world.ada.key).is(409).await;
        assert_eq!((refused.code().as_str(), &refused.json()["credentials"]), ("connector_in_use", &json!(1)));
        let id = credential["id"].as_str().unwrap().parse().unwrap();
        let owner = latchstring_model::entity::Principal::User(world.ada.id.parse().unwrap());
        let mut tx = world.app.store.begin_write(&[credential["id"].as_str().unwrap()]).await.unwrap();
        assert!(latchstring_store::credentials::purge(&mut tx, &owner, &id).await.unwrap());
        tx.commit().await.unwrap();
        world.app.delete(path).key(&world.ada.key).is(204).await;
        world.app.delete(path).key(&world.ada.key).is(404).await;
        assert_eq!(world.app.delete("/api/v1/projects/acme/connectors/http").key(&world.ada.key).is(409).await.code(), "connector_built_in");
        // Made again under the same id it is the new one that counts.
        world.upload("acme", &definition("Second life", "Authorization", "")).await;
        let shown = world.app.get("/api/v1/connectors/crm?project=acme").key(&world.ada.key).is(200).await.json();
        assert_eq!((&shown["name"], &shown["revision"]), (&json!("Second life"), &json!(1)));
        world.credential("acme", "crm", "key", "main").await;
        let refused = world.proxy_as_ada("main/v1/me").await;
        assert_eq!(refused.status, 401, "the key goes where the new definition says");
    }

    async fn two_projects_have_the_same_id_and_nothing_else_in_common(world) {
        world.app.project(&world.ada, "beta").await;
        let bob = world.app.person("bob@example.org").await;
        world.app.member(&world.ada, "beta", &bob, "admin").await;
        world.upload("acme", &crm()).await;
        // bob's version of the same id would send the key elsewhere.
        world.upload_as(&bob, "beta", &definition("Theirs", "X-Stolen", "")).is(201).await;
        world.credential("acme", "crm", "key", "main").await;
        assert_eq!(world.proxy_as_ada("main/v1/me").await.status, 200);
        world.put("beta", "crm", &definition("Theirs again", "X-Stolen-2", "")).key(&bob.key).is(200).await;
        assert_eq!(world.proxy_as_ada("main/v1/me").await.status, 200);
        world.app.delete("/api/v1/projects/beta/connectors/crm").key(&bob.key).is(204).await;
        assert_eq!(world.proxy_as_ada("main/v1/me").await.status, 200);
        world.put("acme", "crm", &definition("Mine now", "X-Stolen", "")).key(&bob.key).is(404).await;
        world.app.get("/api/v1/connectors/crm?project=beta").key(&bob.key).is(404).await;
        assert_eq!(world.app.get("/api/v1/connectors/crm?project=acme").key(&world.ada.key).is(200).await.json()["name"], "CRM");
    }
}
