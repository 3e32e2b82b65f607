//! Which credential may name which OAuth client: one of its connector, for all of its projects.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::http::Method;
use latchstring_store::credentials;
use serde_json::{Value, json};

use crate::app::{Answer, Somebody, both};
use crate::credentials_upstream::both_shops;
use crate::oauth_clients::{SECRET, any_server, with};

const CLIENTS: &str = "/api/v1/oauth-clients";
const CREDENTIALS: &str = "/api/v1/credentials";

/// A slug is made from the name, and each is there once.
fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("CRM {}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn naming(client: &Value, shares: &[&str]) -> Value {
    let shares: Vec<Value> = shares
        .iter()
        .map(|project| json!({"project": project, "grants": {"production": "production"}}))
        .collect();
    json!({
        "name": name(), "connector": "http", "auth_method": "oauth2_authorization_code", "oauth_client": client["id"],
        "values": {"production": {"base_url": "https://api.example.com"}}, "shares": shares,
    })
}

/// The one thing that is wrong is the client.
#[track_caller]
fn at_the_client(answer: &Answer, word: &str) {
    assert_eq!(answer.pointers(), ["/oauth_client"], "{}", answer.text);
    assert!(answer.text.contains(word), "{}", answer.text);
}

/// A project's own connector whose token endpoint is at `host`.
fn connector(host: &str) -> String {
    format!(
        "id: crm
name: CRM
hosts: [{host}]
base_url: https://{host}/api
auth_methods:
  consent:
    label: Consent
    scheme:
      type: oauth2_authorization_code
      authorize_url: https://{host}/authorize
      token_url: https://{host}/token
"
    )
}

both! {
    async fn a_credential_names_a_client_that_it_may_use(app) {
        let root = app.superuser("root@example.org").await;
        let (ada, eve) = (app.person("ada@example.org").await, app.person("eve@example.org").await);
        for slug in ["acme", "beta"] {
            app.project(&ada, slug).await;
        }
        app.project(&eve, "other").await;
        let make = async |more: Value| {
            let made = app.post(CLIENTS, with(any_server("CRM"), more)).key(&root.key).is(201).await.json();
            app.clock.advance_millis(1);
            made
        };
        let acmes = make(json!({"projects": ["acme"]})).await;
        let theirs = make(json!({"projects": ["other"]})).await;
        let everybodys = make(json!({"global": true})).await;
        let drafts = make(json!({"projects": ["acme"], "client_id": null, "client_secret": null})).await;
        let zoom = json!({"connector": "zoom", "hosts": [], "authorization_endpoint": null, "token_endpoint": null, "projects": ["acme"]});
        let zoom = make(zoom).await;
        let create = |who: &Somebody, body: Value| app.post(CREDENTIALS, body).key(&who.key);

        let made = create(&ada, naming(&acmes, &["acme"])).is(201).await.json();
        assert_eq!(made["oauth_client"], acmes["id"]);
        assert_eq!(made["environments"]["production"]["status"], "needs_authorization", "{made}");
        create(&ada, naming(&acmes, &[])).is(201).await;
        create(&ada, naming(&everybodys, &["acme", "beta"])).is(201).await;
        create(&eve, naming(&everybodys, &[])).is(201).await;

        at_the_client(&create(&ada, naming(&acmes, &["acme", "beta"])).is(422).await, "not for every project");
        at_the_client(&create(&ada, with(naming(&acmes, &[]), json!({"owner_project": "beta"}))).is(422).await, "not for every project");
        at_the_client(&create(&ada, naming(&drafts, &["acme"])).is(422).await, "draft");
        at_the_client(&create(&ada, naming(&zoom, &["acme"])).is(422).await, "another connector");
        at_the_client(&create(&ada, with(naming(&acmes, &["acme"]), json!({"connector": "zoom", "auth_method": "authorization_code", "values": {"production": {}}}))).is(422).await, "names no connector");
        // One that is not hers looks like one that is not there.
        let foreign = create(&ada, naming(&theirs, &["acme"])).is(422).await;
        let missing = create(&ada, naming(&json!({"id": "oac_0000000001zzzzzzzzzzzzzzzz"}), &["acme"])).is(422).await;
        let nonsense = create(&ada, naming(&json!({"id": "CRM"}), &["acme"])).is(422).await;
        for answer in [&foreign, &missing, &nonsense] {
            at_the_client(answer, "there is no such OAuth client");
            assert_eq!(answer.json()["errors"], foreign.json()["errors"]);
        }
        create(&eve, naming(&theirs, &["other"])).is(201).await;
    }

    async fn a_connector_says_which_clients_there_are_or_whom_to_ask(app) {
        let root = app.superuser("root@example.org").await;
        let ada = app.person("ada@example.org").await;
        for slug in ["acme", "beta"] {
            app.project(&ada, slug).await;
        }
        let consent = async |connector: &str, query: &str| {
            let found = app.get(&format!("/api/v1/connectors/{connector}{query}")).key(&ada.key).is(200).await.json();
            let listed = app.get(&format!("/api/v1/connectors{query}")).key(&ada.key).is(200).await.json();
            let listed = listed["items"].as_array().unwrap().iter().find(|item| item["id"] == connector).unwrap().clone();
            assert_eq!(listed["auth_methods"], found["auth_methods"]);
            let methods = found["auth_methods"].as_array().unwrap().clone();
            assert!(methods.iter().any(|method| method["consent"].is_null()), "methods without consent say nothing");
            methods.iter().find(|method| !method["consent"].is_null()).unwrap()["consent"].clone()
        };
        let me = app.get("/api/v1/me").key(&root.key).is(200).await.json();
        let nobody = json!({"oauth_clients": [], "ask": [me["name"]]});
        assert_eq!(consent("zoom", "?project=acme").await, nobody);
        assert_eq!(consent("http", "?project=acme").await, nobody);
        let zoom = json!({"name": "Zoom", "connector": "zoom", "client_id": "z", "client_secret": SECRET, "projects": ["acme"]});
        let zoom = app.post(CLIENTS, zoom).key(&root.key).is(201).await.json();
        app.clock.advance_millis(1);
        app.post(CLIENTS, json!({"name": "draft", "connector": "zoom", "global": true})).key(&root.key).is(201).await;
        let any = app.post(CLIENTS, with(any_server("CRM"), json!({"projects": ["beta"]}))).key(&root.key).is(201).await.json();
        let offer = |client: &Value| json!({"oauth_clients": [{"id": client["id"], "name": client["name"]}], "ask": []});
        assert_eq!(consent("zoom", "?project=acme").await, offer(&zoom));
        assert_eq!(consent("zoom", "?project=beta").await, nobody);
        assert_eq!(consent("http", "?project=beta").await, offer(&any));
        assert_eq!(consent("http", "?project=acme").await, nobody);
        assert_eq!((consent("zoom", "").await, consent("http", "").await), (offer(&zoom), offer(&any)));
    }

    async fn sharing_on_needs_a_client_that_is_for_the_project(app) {
        let root = app.superuser("root@example.org").await;
        let ada = app.person("ada@example.org").await;
        for slug in ["acme", "beta"] {
            app.project(&ada, slug).await;
        }
        let client = app.post(CLIENTS, with(any_server("CRM"), json!({"projects": ["acme"]}))).key(&root.key).is(201).await.json();
        let made = app.post(CREDENTIALS, naming(&client, &["acme"])).key(&ada.key).is(201).await.json();
        let path = format!("{CREDENTIALS}/{}", made["id"].as_str().unwrap());
        let shares = json!({"shares": [{"project": "acme", "grants": {}}, {"project": "beta", "grants": {"production": "production"}}]});
        let refused = app.patch(&path, shares.clone()).key(&ada.key).is(422).await;
        assert_eq!(refused.pointers(), ["/shares/1/project"], "{}", refused.text);
        assert_eq!(app.get(&path).key(&ada.key).is(200).await.json()["shares"].as_array().unwrap().len(), 1, "nothing was saved");
        let client = format!("{CLIENTS}/{}", client["id"].as_str().unwrap());
        app.patch(&client, json!({"projects": ["acme", "beta"]})).key(&root.key).is(200).await;
        app.patch(&path, shares).key(&ada.key).is(200).await;
        assert_eq!(app.patch(&client, json!({"projects": ["acme"]})).key(&root.key).is(409).await.code(), "oauth_client_in_use");
    }

    async fn an_owner_chooses_another_client_and_connects_anew(app) {
        let root = app.superuser("root@example.org").await;
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        let make = async |name: &str, project: Value| {
            let made = app.post(CLIENTS, with(any_server(name), json!({"projects": project}))).key(&root.key).is(201).await.json();
            app.clock.advance_millis(1);
            made
        };
        let (one, two, elsewhere) = (make("one", json!(["acme"])).await, make("two", json!(["acme"])).await, make("three", json!([])).await);
        let made = app.post(CREDENTIALS, naming(&one, &["acme"])).key(&ada.key).is(201).await.json();
        let path = format!("{CREDENTIALS}/{}", made["id"].as_str().unwrap());
        // As consent leaves it.
        let row = {
            let mut reader = app.store.read().await.unwrap();
            let owner = latchstring_model::entity::Principal::User(ada.id.parse().unwrap());
            credentials::of_owner(&mut reader, &owner, &made["id"].as_str().unwrap().parse().unwrap()).await.unwrap().unwrap()
        };
        let mut tx = app.store.begin_write(&[row.id.as_str()]).await.unwrap();
        let set = latchstring_store::values::one(&mut tx, &row, "production").await.unwrap().unwrap();
        let granted = latchstring_store::values::Standing { status: latchstring_model::entity::Status::Verified, ..set.standing };
        latchstring_store::values::set_standing(&mut tx, &row, "production", set.version, &granted).await.unwrap();
        tx.commit().await.unwrap();

        at_the_client(&app.patch(&path, json!({"oauth_client": elsewhere["id"]})).key(&ada.key).is(422).await, "no such OAuth client");
        at_the_client(&app.patch(&path, json!({"oauth_client": two["id"], "name": "x"})).key(&ada.key).is(422).await, "request of its own");
        assert_eq!(app.patch(&path, json!({"oauth_client": one["id"]})).key(&ada.key).is(200).await.json()["environments"]["production"]["status"], "verified");
        let changed = app.patch(&path, json!({"oauth_client": two["id"]})).key(&ada.key).is(200).await.json();
        assert_eq!(changed["oauth_client"], two["id"]);
        assert_eq!(changed["environments"]["production"]["status"], "needs_reconnect", "{changed}");
        // The other one is free now.
        app.delete(&format!("{CLIENTS}/{}", one["id"].as_str().unwrap())).key(&root.key).is(204).await;
        let refused = app.delete(&format!("{CLIENTS}/{}", two["id"].as_str().unwrap())).key(&root.key).is(409).await;
        assert_eq!(refused.json()["used_by"][0]["name"], made["name"]);
    }
}

both_shops! {
    // Whoever administers a project writes its connectors: one of theirs must not have another client's secret sent
    // to a token endpoint of theirs.
    async fn a_connector_of_another_project_cannot_use_a_client(shop) {
        let app = &shop.app;
        let root = app.superuser("root@example.org").await;
        let eve = app.person("eve@example.org").await;
        app.project(&eve, "other").await;
        let upload = |who: &Somebody, project: &str, method: Method, text: String| {
            let path = match method {
                Method::PUT => format!("/api/v1/projects/{project}/connectors/crm"),
                _ => format!("/api/v1/projects/{project}/connectors"),
            };
            app.call(method, &path).header("content-type", "application/yaml").body(text).key(&who.key)
        };
        upload(&shop.ada, "acme", Method::POST, connector("crm.example.com")).is(201).await;
        upload(&eve, "other", Method::POST, connector("evil.example.org")).is(201).await;
        let body = json!({"name": "CRM", "connector": "crm", "client_id": "ours", "client_secret": SECRET, "projects": ["acme"], "global": true});
        let client = app.post(CLIENTS, body).key(&root.key).is(201).await.json();
        assert_eq!(client["connector_uid"], format!("{}/crm", shop.acme["id"].as_str().unwrap()));
        assert_eq!(client["token_endpoint"], "https://crm.example.com/token");
        let naming = |project: &str| json!({
            "name": name(), "connector": "crm", "auth_method": "consent", "oauth_client": client["id"], "values": {"production": {}},
            "shares": [{"project": project, "grants": {"production": "production"}}],
        });
        // The same id, another project: another connector, though the client is for everybody.
        at_the_client(&app.post(CREDENTIALS, naming("other")).key(&eve.key).is(422).await, "another connector");
        let http = json!({
            "name": "x", "connector": "http", "auth_method": "oauth2_authorization_code", "oauth_client": client["id"],
            "values": {"production": {"base_url": "https://evil.example.org"}},
        });
        at_the_client(&app.post(CREDENTIALS, http).key(&eve.key).is(422).await, "another connector");
        let made = app.post(CREDENTIALS, naming("acme")).key(&shop.ada.key).is(201).await.json();
        let authorize = || app.post(&format!("{CREDENTIALS}/{}/authorize", made["id"].as_str().unwrap()), json!({"environment": "production"})).key(&shop.ada.key);
        authorize().is(200).await;

        // Nor does the right connector, once its admins have had it lead elsewhere.
        upload(&shop.ada, "acme", Method::PUT, connector("evil.example.org")).is(200).await;
        at_the_client(&app.post(CREDENTIALS, naming("acme")).key(&shop.ada.key).is(422).await, "has changed");
        let refused = authorize().is(409).await;
        assert_eq!(refused.code(), "oauth_client_unusable", "{}", refused.text);
        // A label leads nowhere else, and back is back.
        upload(&shop.ada, "acme", Method::PUT, connector("crm.example.com").replace("label: Consent", "label: Sign in")).is(200).await;
        authorize().is(200).await;
        // A superuser who has looked says so by naming the connector once more.
        upload(&shop.ada, "acme", Method::PUT, connector("new.example.com")).is(200).await;
        app.patch(&format!("{CLIENTS}/{}", client["id"].as_str().unwrap()), json!({"name": "CRM 2"})).key(&root.key).is(200).await;
        at_the_client(&app.post(CREDENTIALS, naming("acme")).key(&shop.ada.key).is(422).await, "has changed");
        let uid = client["connector_uid"].as_str().unwrap();
        let accept = |more: Value| app.patch(&format!("{CLIENTS}/{}", client["id"].as_str().unwrap()), with(json!({"connector": uid}), more)).key(&root.key);
        // The secret now goes to another host: whoever has it sends it along.
        assert_eq!(accept(json!({})).is(422).await.pointers(), ["/client_secret"]);
        accept(json!({"client_secret": SECRET})).is(200).await;
        app.post(CREDENTIALS, naming("acme")).key(&shop.ada.key).is(201).await;
    }

    async fn a_client_whose_connector_is_gone_can_be_set_right(shop) {
        let app = &shop.app;
        let root = app.superuser("root@example.org").await;
        app.call(Method::POST, "/api/v1/projects/acme/connectors").header("content-type", "application/yaml")
            .body(connector("crm.example.com")).key(&shop.ada.key).is(201).await;
        let body = json!({"name": "CRM", "connector": "crm", "client_id": "ours", "client_secret": SECRET, "projects": ["acme"]});
        let client = app.post(CLIENTS, body).key(&root.key).is(201).await.json();
        let path = format!("{CLIENTS}/{}", client["id"].as_str().unwrap());
        app.delete("/api/v1/projects/acme/connectors/crm").key(&shop.ada.key).is(204).await;
        assert_eq!(app.get(&path).key(&root.key).is(200).await.json()["token_endpoint"], Value::Null);
        assert_eq!(app.patch(&path, json!({"name": "x"})).key(&root.key).is(422).await.pointers(), ["/connector"]);
        app.patch(&path, json!({"connector": "zoom", "client_secret": SECRET})).key(&root.key).is(200).await;
        app.delete(&path).key(&root.key).is(204).await;
    }

    async fn a_client_for_any_server_stays_within_its_hosts(shop) {
        let app = &shop.app;
        let root = app.superuser("root@example.org").await;
        let client = app.post(CLIENTS, with(any_server("CRM"), json!({"global": true}))).key(&root.key).is(201).await.json();
        let mut body = naming(&client, &["acme"]);
        body["values"]["production"]["base_url"] = json!("https://evil.example.org");
        let refused = shop.create(body).send().await;
        let elsewhere = if refused.status == 201 {
            let id = refused.json()["id"].as_str().unwrap().to_owned();
            app.post(&format!("{CREDENTIALS}/{id}/authorize"), json!({"environment": "production"})).key(&shop.ada.key).send().await
        } else {
            refused
        };
        assert_eq!(elsewhere.status, 422, "{}", elsewhere.text);
        assert!(elsewhere.text.contains("evil.example.org"), "{}", elsewhere.text);
    }
}
