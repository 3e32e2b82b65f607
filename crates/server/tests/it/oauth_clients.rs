//! OAuth clients: registered, seen, changed, kept while they are used.

use latchstring_model::entity::{Principal, Status};
use latchstring_model::id::CredentialId;
use latchstring_store::credentials::CredentialRow;
use latchstring_store::values::{Standing, ValuesRow};
use latchstring_store::{credentials, oauth_clients, values};
use latchstring_testkit::SeededEntropy;
use serde_json::{Value, json};

use crate::app::{Db, Somebody, TestApp, both};

const CLIENTS: &str = "/api/v1/oauth-clients";
pub const SECRET: &str = "planted-client-secret-4711";

/// A client for any OAuth 2 server.
pub fn any_server(name: &str) -> Value {
    json!({
        "name": name, "client_id": "ours", "client_secret": SECRET, "client_auth": "basic",
        "authorization_endpoint": "https://auth.example.com/authorize",
        "token_endpoint": "https://auth.example.com/token",
        "hosts": ["auth.example.com", "api.example.com"],
        "mandatory_scopes": ["openid"], "optional_scopes": ["Files.Read", "files.read"],
    })
}

pub fn with(mut base: Value, more: Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

async fn made(app: &TestApp, root: &Somebody, body: Value) -> Value {
    let made = app.post(CLIENTS, body).key(&root.key).is(201).await.json();
    // Ids sort by time: what is made later comes later in lists.
    app.clock.advance_millis(1);
    made
}

fn at(client: &Value) -> String {
    format!("{CLIENTS}/{}", client["id"].as_str().unwrap())
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

/// A credential that names a client and whose owner has consented, as consent leaves it.
async fn connected(app: &TestApp, owner: &Somebody, client: &Value, name: &str) -> CredentialRow {
    let now = app.broker.now();
    let row = CredentialRow {
        id: CredentialId::new(now, &SeededEntropy::new(name.len() as u64)),
        owner: Principal::User(owner.id.parse().unwrap()),
        connector: "builtin/http".into(),
        auth_method: "oauth2_authorization_code".into(),
        digest: "d".into(),
        oauth_client_id: Some(client["id"].as_str().unwrap().parse().unwrap()),
        name: name.into(),
        note: None,
        acts_as: None,
        disabled: false,
        expires_on: None,
        deletes_at: None,
        version: 1,
        created_by: owner.id.clone(),
        created_at: now,
        updated_at: now,
    };
    let mut tx = app.store.begin_write(&[row.id.as_str()]).await.unwrap();
    credentials::create(&mut tx, &row).await.unwrap();
    let standing = Standing {
        status: Status::Verified,
        verified_at: Some(now),
        checked_at: Some(now),
        check_error: None,
        account: Some("alice".into()),
        scopes: None,
    };
    let set = ValuesRow {
        environment: "production".into(),
        version: 1,
        sealed: vec![1],
        data_key: latchstring_model::id::DataKeyId::new(now, &SeededEntropy::new(1)),
        secret_fields: vec![],
        pins: vec![],
        standing,
        withheld: Vec::new(),
        certificate_ends_at: Some(latchstring_model::Timestamp(0)),
        set_by: owner.id.clone(),
        set_at: now,
    };
    values::put(&mut tx, &row, &set, None, &[]).await.unwrap();
    tx.commit().await.unwrap();
    row
}

async fn status(app: &TestApp, row: &CredentialRow) -> Status {
    let mut reader = app.store.read().await.unwrap();
    values::one(&mut reader, row, "production").await.unwrap().unwrap().standing.status
}

both! {
    async fn a_superuser_registers_one_and_sees_all_but_its_secret(app) {
        let root = app.superuser("root@example.org").await;
        app.project(&root, "acme").await;
        let body = with(any_server("CRM"), json!({
            "projects": ["acme"], "authorize_params": {"prompt": "consent"}, "token_params": {"audience": "planted-parameter-815"},
            "scopes_doc_url": "https://example.com/scopes#list", "revocation_endpoint": "https://auth.example.com/revoke",
        }));
        let answer = app.post(CLIENTS, body).key(&root.key).is(201).await;
        let client = answer.json();
        let id = client["id"].as_str().unwrap();
        assert!(id.starts_with("oac_"), "{client}");
        assert_eq!(answer.header("location"), format!("{CLIENTS}/{id}"));
        assert_eq!(answer.header("etag"), "\"1\"");
        assert_eq!(client["redirect_uri"], format!("http://127.0.0.1:5282/oauth/callback/{id}"));
        assert_eq!(client["connector"], "http");
        assert_eq!(client["owner"]["email"], "root@example.org");
        assert_eq!(client["optional_scopes"], json!(["Files.Read", "files.read"]), "case and order are kept");
        assert_eq!((&client["pkce"], &client["draft"], &client["global"]), (&json!(true), &json!(false), &json!(false)));
        assert_eq!(client["projects"], json!(["acme"]));
        assert_eq!(client["secret_fields"], json!(["client_secret"]));
        assert_eq!(client["token_param_names"], json!(["audience"]));
        assert_eq!(client["authorize_params"], json!({"prompt": "consent"}));
        assert_eq!(client["endpoints_from"]["token_endpoint"], "request");
        let shown = app.get(&at(&client)).key(&root.key).is(200).await;
        assert_eq!((&shown.json(), shown.header("etag")), (&client, "\"1\""));
        let listed = app.get(CLIENTS).key(&root.key).is(200).await;
        for planted in [SECRET, "planted-parameter-815"] {
            for text in [&answer.text, &shown.text, &listed.text] {
                assert!(!text.contains(planted), "{text}");
            }
            for record in app.records().await {
                assert!(!record.body.contains(planted), "{}", record.body);
            }
        }
        // Nor is it in the database, but sealed.
        let mut reader = app.store.read().await.unwrap();
        let row = oauth_clients::by_id(&mut reader, &id.parse().unwrap()).await.unwrap().unwrap();
        let sealed = row.sealed.clone().unwrap().0;
        assert!(!sealed.windows(8).any(|part| SECRET.as_bytes().windows(8).any(|secret| part == secret)));
        assert!(!format!("{:?}", latchstring_store::oauth_clients::OAuthClientRow { sealed: None, ..row }).contains("planted"));
    }

    async fn only_superusers_make_and_change_them(app) {
        let root = app.superuser("root@example.org").await;
        let ada = app.person("ada@example.org").await;
        let eve = app.person("eve@example.org").await;
        app.project(&ada, "acme").await;
        let client = made(&app, &root, with(any_server("CRM"), json!({"projects": ["acme"]}))).await;
        let here = at(&client);
        assert_eq!(app.post(CLIENTS, any_server("x")).key(&ada.key).is(403).await.code(), "forbidden");
        assert_eq!(app.patch(&here, json!({"name": "mine"})).key(&ada.key).is(403).await.code(), "forbidden");
        assert_eq!(app.delete(&here).key(&ada.key).is(403).await.code(), "forbidden");
        // Who may not see it cannot tell it from one that is not there.
        let missing = format!("{CLIENTS}/oac_0000000001zzzzzzzzzzzzzzzz");
        for path in [here.as_str(), missing.as_str(), "/api/v1/oauth-clients/none"] {
            let foreign = [
                app.get(path).key(&eve.key).is(404).await,
                app.patch(path, json!({"name": "mine"})).key(&eve.key).is(404).await,
                app.delete(path).key(&eve.key).is(404).await,
            ];
            for answer in foreign {
                assert_eq!(answer.json()["detail"], "There is no such OAuth client.");
            }
        }
        app.get(CLIENTS).is(401).await;
        let service = app.service_key(&ada, "acme", json!({})).await;
        app.get(CLIENTS).key(service["key"].as_str().unwrap()).is(403).await;
        let recorded = app.recorded().await;
        assert!(recorded.iter().any(|line| line == "oauth_client.create ok"), "{recorded:?}");
    }

    async fn members_see_what_they_need_to_choose(app) {
        let root = app.superuser("root@example.org").await;
        let (ada, eve) = (app.person("ada@example.org").await, app.person("eve@example.org").await);
        app.project(&ada, "acme").await;
        app.project(&eve, "other").await;
        let ours = made(&app, &root, with(any_server("CRM of sales"), json!({"projects": ["acme"], "owner": "ada@example.org"}))).await;
        made(&app, &root, with(any_server("CRM of service"), json!({"projects": ["acme"]}))).await;
        made(&app, &root, with(any_server("theirs"), json!({"projects": ["other"]}))).await;
        made(&app, &root, with(any_server("everybody's"), json!({"global": true}))).await;
        made(&app, &root, any_server("nobody's")).await;
        let list = |who: &Somebody, query: &str| app.get(&format!("{CLIENTS}{query}")).key(&who.key).is(200);
        assert_eq!(names(&list(&ada, "").await.json()), ["CRM of sales", "CRM of service", "everybody's"], "several of one application");
        assert_eq!(names(&list(&ada, "?project=acme").await.json()), ["CRM of sales", "CRM of service", "everybody's"]);
        assert_eq!(names(&list(&eve, "?project=other").await.json()), ["theirs", "everybody's"]);
        assert_eq!(names(&list(&root, "?project=other").await.json()), ["theirs", "everybody's"]);
        assert_eq!(list(&root, "").await.json()["items"].as_array().unwrap().len(), 5);
        app.get(&format!("{CLIENTS}?project=other")).key(&ada.key).is(404).await;
        app.get(&format!("{CLIENTS}?project=none")).key(&root.key).is(404).await;
        let page = list(&ada, "?limit=2").await.json();
        let rest = list(&ada, &format!("?limit=2&cursor={}", page["next_cursor"].as_str().unwrap())).await.json();
        assert_eq!((names(&rest), &rest["next_cursor"]), (vec!["everybody's"], &Value::Null));

        let seen = app.get(&at(&ours)).key(&ada.key).is(200).await.json();
        let mut keys: Vec<&String> = seen.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, [
            "connector", "connector_uid", "draft", "global", "id", "mandatory_scopes", "name", "optional_scopes", "owner",
            "redirect_uri", "scopes_doc_url",
        ], "nothing else: no secret, no endpoint, no parameter, no other project");
        assert_eq!(seen["owner"]["email"], "ada@example.org");
        assert_eq!(seen["redirect_uri"], ours["redirect_uri"]);
    }

    async fn a_draft_has_its_redirect_uri_before_the_provider_gives_an_id(app) {
        let root = app.superuser("root@example.org").await;
        let draft = made(&app, &root, json!({"name": "CRM", "connector": "zoom"})).await;
        assert_eq!((&draft["draft"], &draft["client_id"]), (&json!(true), &Value::Null));
        assert!(draft["redirect_uri"].as_str().unwrap().ends_with(draft["id"].as_str().unwrap()));
        let path = at(&draft);
        let refused = app.patch(&path, json!({"client_id": "given"})).key(&root.key).is(422).await;
        assert_eq!(refused.pointers(), ["/client_secret"], "{}", refused.text);
        let whole = app.patch(&path, json!({"client_id": " given ", "client_secret": SECRET})).key(&root.key).is(200).await.json();
        assert_eq!((&whole["draft"], &whole["client_id"]), (&json!(false), &json!("given")));
        assert_eq!(whole["redirect_uri"], draft["redirect_uri"]);
        assert_eq!(whole["secret_fields"], json!(["client_secret"]));
    }

    async fn a_connector_says_what_it_knows(app) {
        let root = app.superuser("root@example.org").await;
        let zoom = made(&app, &root, json!({"name": "Zoom", "connector": "zoom", "client_id": "z", "client_secret": SECRET})).await;
        assert_eq!((&zoom["connector"], &zoom["connector_uid"]), (&json!("zoom"), &json!("builtin/zoom")));
        assert_eq!(zoom["token_endpoint"], "https://zoom.us/oauth/token");
        assert_eq!(zoom["endpoints_from"]["token_endpoint"], "connector");
        let shopify = made(&app, &root, json!({"name": "Shop", "connector": "shopify", "client_id": "s", "client_secret": SECRET})).await;
        assert_eq!((&shopify["pkce"], &shopify["client_auth"]), (&json!(false), &json!("post")), "its provider wants it so");
        assert_eq!(shopify["mandatory_scopes"], json!(["read_products", "read_orders"]));
        assert!(shopify["scopes_doc_url"].as_str().unwrap().starts_with("https://shopify.dev/"));
        assert_eq!(shopify["token_endpoint"], Value::Null, "it depends on the shop");
        let none = json!({"name": "Shop", "connector": "shopify", "client_id": "s", "client_secret": SECRET, "mandatory_scopes": [], "pkce": true});
        let none = made(&app, &root, none).await;
        assert_eq!((&none["mandatory_scopes"], &none["pkce"]), (&json!([]), &json!(true)), "what is said counts");
        // Its hosts are the limit, and where it sends people to sign in.
        let elsewhere = json!({"name": "Zoom", "connector": "zoom", "client_id": "z", "client_secret": SECRET,
            "token_endpoint": "https://zoom.example.org/token", "authorization_endpoint": "https://zoom.us/elsewhere"});
        let refused = app.post(CLIENTS, elsewhere).key(&root.key).is(422).await;
        assert_eq!(refused.pointers(), ["/token_endpoint"]);
        assert!(refused.text.contains("LATCHSTRING_EXTRA_HOSTS"), "{}", refused.text);
        let sheets = json!({"name": "Sheets", "connector": "google_sheets", "client_id": "g", "client_secret": SECRET,
            "authorization_endpoint": "https://accounts.google.com/o/oauth2/auth"});
        made(&app, &root, sheets).await;
        // Anywhere is no limit: then the client has to say.
        let gitlab = json!({"name": "GitLab", "connector": "gitlab", "client_id": "g", "client_secret": SECRET});
        assert_eq!(app.post(CLIENTS, gitlab.clone()).key(&root.key).is(422).await.pointers(), ["/hosts"]);
        made(&app, &root, with(gitlab, json!({"hosts": ["gitlab.example.com"]}))).await;
        for (connector, word) in [("openai", "no auth method with consent"), ("nonesuch", "`nonesuch`; GET /api/v1/connectors and"), ("salesfroce", "did you mean `salesforce`?")] {
            let refused = app.post(CLIENTS, json!({"name": "x", "connector": connector})).key(&root.key).is(422).await;
            assert_eq!(refused.pointers(), ["/connector"]);
            assert!(refused.text.contains(word), "{}", refused.text);
        }
        let http = made(&app, &root, with(any_server("x"), json!({"connector": "http"}))).await;
        assert_eq!(http["connector_uid"], Value::Null);
    }

    async fn everything_that_is_wrong_is_told_at_once(app) {
        let root = app.superuser("root@example.org").await;
        let refused = app.post(CLIENTS, json!({
            "name": " ", "owner": "nobody@example.org", "connector": null, "client_id": "a\nb", "client_secret": "",
            "client_auth": "magic", "issuer": "https://a.example.com/.well-known/openid-configuration", "token_endpoint": "not a URL",
            "revocation_endpoint": "https://user:pw@auth.example.com/", "userinfo_endpoint": "ftp://auth.example.com/",
            "mandatory_scopes": ["a", "a", "b c", ""], "optional_scopes": ["z", "a"], "scopes_doc_url": "x",
            "authorize_params": {"state": "1", "": "2", "ok": "3"}, "token_params": {"grant_type": "x"},
            "hosts": ["*", "https://auth.example.com/"], "projects": ["none"], "generate_key": "HS256", "key_algorithm": "RS1",
        })).key(&root.key).is(422).await;
        let mut pointers = refused.pointers();
        pointers.sort();
        pointers.dedup();
        assert_eq!(pointers, [
            "/authorize_params/", "/authorize_params/state", "/client_auth", "/client_id", "/client_secret",
            "/generate_key", "/hosts/0", "/hosts/1", "/issuer", "/key_algorithm", "/mandatory_scopes/1", "/mandatory_scopes/2",
            "/mandatory_scopes/3", "/name", "/optional_scopes/1", "/owner", "/projects/0", "/revocation_endpoint",
            "/scopes_doc_url", "/token_endpoint", "/token_params/grant_type", "/userinfo_endpoint",
        ], "{}", refused.text);
        assert_eq!(app.post(CLIENTS, json!({"nam": "x"})).key(&root.key).is(422).await.pointers(), ["/nam"]);
        assert_eq!(app.post(CLIENTS, json!({"hosts": ["a.example.com"]})).key(&root.key).is(422).await.pointers(), ["/name"]);
        assert!(app.get(CLIENTS).key(&root.key).is(200).await.json()["items"].as_array().unwrap().is_empty());
        // A project that no longer is the case once, and twice.
        app.project(&root, "acme").await;
        let twice = app.post(CLIENTS, with(any_server("x"), json!({"projects": ["acme", "acme"]}))).key(&root.key).is(422).await;
        assert_eq!(twice.pointers(), ["/projects/1"]);
    }

    async fn a_client_without_a_connector_names_its_hosts(app) {
        let root = app.superuser("root@example.org").await;
        let mut body = any_server("x");
        body.as_object_mut().unwrap().remove("hosts");
        assert_eq!(app.post(CLIENTS, body).key(&root.key).is(422).await.pointers(), ["/hosts"]);
        for (endpoint, host) in [
            ("https://evil.example.org/token", "evil.example.org"),
            ("https://auth.example.com.evil.example.org/", "auth.example.com.evil.example.org"),
        ] {
            let refused = app.post(CLIENTS, with(any_server("x"), json!({"token_endpoint": endpoint}))).key(&root.key).is(422).await;
            assert_eq!(refused.pointers(), ["/token_endpoint"]);
            assert!(refused.text.contains(host), "{}", refused.text);
        }
        // Plain http, and addresses that are never called.
        for (endpoint, host) in [
            ("http://auth.example.com/token", "auth.example.com"), ("http://127.0.0.1:9/token", "127.0.0.1:9"),
            ("https://127.0.0.1/token", "127.0.0.1"), ("https://169.254.169.254/latest", "169.254.169.254"),
        ] {
            let body = with(any_server("x"), json!({"token_endpoint": endpoint, "hosts": ["auth.example.com", host]}));
            assert_eq!(app.post(CLIENTS, body).key(&root.key).is(422).await.pointers(), ["/token_endpoint"], "{endpoint}");
        }
        // Without endpoints it could not be used.
        let bare = json!({"name": "x", "client_id": "c", "client_secret": SECRET, "hosts": ["auth.example.com"]});
        assert_eq!(app.post(CLIENTS, bare.clone()).key(&root.key).is(422).await.pointers(), ["/authorization_endpoint", "/token_endpoint"]);
        let device = with(bare, json!({
            "device_authorization_endpoint": "https://auth.example.com/device", "token_endpoint": "https://auth.example.com/token",
        }));
        made(&app, &root, device).await;
    }

    async fn a_change_is_made_on_top_of_what_was_read(app) {
        let root = app.superuser("root@example.org").await;
        let client = made(&app, &root, with(any_server("CRM"), json!({"token_params": {"a": "1", "b": "2"}}))).await;
        let path = at(&client);
        let renamed = app.patch(&path, json!({"name": "CRM 2"})).key(&root.key).header("if-match", "\"1\"").is(200).await;
        assert_eq!((renamed.header("etag"), &renamed.json()["name"]), ("\"2\"", &json!("CRM 2")));
        assert_eq!(renamed.json()["token_endpoint"], client["token_endpoint"], "what is not named stays");
        assert_eq!(app.patch(&path, json!({"name": "x"})).key(&root.key).header("if-match", "\"1\"").is(412).await.code(), "precondition_failed");
        assert_eq!(app.delete(&path).key(&root.key).header("if-match", "\"1\"").is(412).await.code(), "precondition_failed");
        let changed = json!({"token_params": {"a": null, "c": "3"}, "scopes_doc_url": null, "revocation_endpoint": "https://auth.example.com/r"});
        let changed = app.patch(&path, changed).key(&root.key).is(200).await.json();
        assert_eq!((&changed["token_param_names"], &changed["revocation_endpoint"]), (&json!(["b", "c"]), &json!("https://auth.example.com/r")));
        let cleared = app.patch(&path, json!({"revocation_endpoint": null})).key(&root.key).is(200).await.json();
        assert_eq!(cleared["revocation_endpoint"], Value::Null);
        assert_eq!(app.patch(&path, json!({"client_secret": null})).key(&root.key).is(422).await.pointers(), ["/client_secret"]);
        let public = app.patch(&path, json!({"client_auth": "none"})).key(&root.key).is(200).await.json();
        assert_eq!(public["secret_fields"], json!([]), "what is not needed any more is not kept");
        assert_eq!(app.patch(&path, json!({"client_auth": "none", "client_secret": "x"})).key(&root.key).is(422).await.pointers(), ["/client_secret"]);
        app.delete(&path).key(&root.key).header("if-match", "\"5\"").is(204).await;
        app.get(&path).key(&root.key).is(404).await;
        let recorded = app.recorded().await;
        assert!(recorded.ends_with(&["oauth_client.delete ok".to_owned()]), "{recorded:?}");
    }

    async fn a_client_signs_with_a_key_that_fits(app) {
        let root = app.superuser("root@example.org").await;
        let base = || json!({
            "name": "CRM", "client_id": "ours", "client_auth": "private_key_jwt", "hosts": ["auth.example.com"],
            "authorization_endpoint": "https://auth.example.com/a", "token_endpoint": "https://auth.example.com/t",
        });
        assert_eq!(app.post(CLIENTS, base()).key(&root.key).is(422).await.pointers(), ["/private_key"]);
        let made_here = made(&app, &root, with(base(), json!({"generate_key": "ES256"}))).await;
        let jwk = &made_here["public_jwk"];
        assert_eq!((&jwk["kty"], &jwk["crv"], &jwk["alg"], &jwk["use"]), (&json!("EC"), &json!("P-256"), &json!("ES256"), &json!("sig")));
        assert!(jwk["kid"].as_str().is_some_and(|kid| kid.len() == 43) && jwk["kid"] == made_here["key_id"], "{jwk}");
        assert!(jwk["d"].is_null());
        assert_eq!((&made_here["secret_fields"], &made_here["key_algorithm"]), (&json!(["private_key"]), &json!("ES256")));
        let again = app.patch(&at(&made_here), json!({"generate_key": "RS256"})).key(&root.key).is(200).await.json();
        assert_eq!(again["public_jwk"]["kty"], "RSA");
        assert_ne!(again["key_id"], made_here["key_id"]);

        let pem = latchstring_sandbox::DEMO.private_key;
        let pasted = made(&app, &root, with(base(), json!({"private_key": pem, "key_id": "k-1"}))).await;
        assert_eq!((&pasted["key_algorithm"], &pasted["public_jwk"]["kid"]), (&json!("RS256"), &json!("k-1")));
        let shown = app.get(&at(&pasted)).key(&root.key).is(200).await;
        assert!(!shown.text.contains("PRIVATE KEY") && shown.json()["public_jwk"]["d"].is_null());
        let pss = app.patch(&at(&pasted), json!({"key_algorithm": "PS256"})).key(&root.key).is(200).await.json();
        assert_eq!((&pss["public_jwk"]["alg"], &pss["key_id"]), (&json!("PS256"), &json!("k-1")));

        for (more, pointer, word) in [
            (json!({"private_key": pem, "key_algorithm": "ES256"}), "/key_algorithm", "RSA key"),
            (json!({"private_key": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"}), "/private_key", "certificate"),
            (json!({"private_key": "nonsense"}), "/private_key", "PEM"),
            (json!({"private_key": pem, "generate_key": "ES256"}), "/generate_key", "one of the two"),
            (json!({"private_key": pem, "client_auth": "basic", "client_secret": SECRET}), "/private_key", "private_key_jwt"),
            (json!({"private_key": pem, "client_secret": SECRET}), "/client_secret", "sends no secret"),
        ] {
            let refused = app.post(CLIENTS, with(base(), more)).key(&root.key).is(422).await;
            assert_eq!(refused.pointers(), [pointer], "{}", refused.text);
            assert!(refused.text.contains(word) && !refused.text.contains("MII"), "{}", refused.text);
        }
    }

    async fn one_in_use_is_not_deleted_and_says_by_what(app) {
        let root = app.superuser("root@example.org").await;
        let ada = app.person("ada@example.org").await;
        app.project(&ada, "acme").await;
        let client = made(&app, &root, with(any_server("CRM"), json!({"global": true}))).await;
        let path = at(&client);
        let row = connected(&app, &ada, &client, "ada's").await;
        let refused = app.delete(&path).key(&root.key).is(409).await;
        assert_eq!(refused.code(), "oauth_client_in_use");
        assert_eq!(refused.json()["used_by"], json!([
            {"id": row.id.as_str(), "name": "ada's", "owner": {"type": "user", "id": ada.id, "email": "ada@example.org"}},
        ]));
        assert_eq!(refused.json()["used_by_count"], 1);
        assert_eq!(app.get(&path).key(&root.key).is(200).await.json()["used_by_count"], 1);
        // It serves the credential as long as that is there: neither connector nor projects leave it behind.
        assert_eq!(app.patch(&path, json!({"connector": "zoom", "hosts": [], "authorization_endpoint": null, "token_endpoint": null, "client_secret": SECRET}))
            .key(&root.key).is(409).await.code(), "oauth_client_in_use");
        let mut tx = app.store.begin_write(&[row.id.as_str()]).await.unwrap();
        credentials::purge(&mut tx, &row.owner, &row.id).await.unwrap();
        tx.commit().await.unwrap();
        app.delete(&path).key(&root.key).is(204).await;
    }

    async fn a_project_whose_credentials_use_it_stays(app) {
        let root = app.superuser("root@example.org").await;
        let ada = app.person("ada@example.org").await;
        let acme = app.project(&ada, "acme").await;
        app.project(&ada, "other").await;
        let client = made(&app, &root, with(any_server("CRM"), json!({"projects": ["acme", "other"]}))).await;
        let path = at(&client);
        let row = connected(&app, &ada, &client, "ada's").await;
        let project = acme["id"].as_str().unwrap().parse().unwrap();
        let share = latchstring_store::shares::ShareRow {
            id: latchstring_model::id::ShareId::new(app.broker.now(), &SeededEntropy::new(5)),
            credential_id: row.id.clone(), project_id: project, slug: "adas".into(), external_id: None, suspended: false,
            created_by: ada.id.clone(), created_at: app.broker.now(),
        };
        let mut tx = app.store.begin_write(&[row.id.as_str()]).await.unwrap();
        latchstring_store::shares::create(&mut tx, &share).await.unwrap();
        tx.commit().await.unwrap();
        let refused = app.patch(&path, json!({"projects": ["other"]})).key(&root.key).is(409).await;
        assert_eq!((refused.code().as_str(), refused.json()["used_by"][0]["name"].as_str()), ("oauth_client_in_use", Some("ada's")));
        assert_eq!(app.get(&path).key(&root.key).is(200).await.json()["projects"], json!(["acme", "other"]), "nothing was changed");
        app.patch(&path, json!({"projects": ["acme"]})).key(&root.key).is(200).await;
        app.patch(&path, json!({"projects": [], "global": true})).key(&root.key).is(200).await;
        app.patch(&path, json!({"global": false})).key(&root.key).is(409).await;
    }

    async fn another_provider_means_connecting_anew(app) {
        let root = app.superuser("root@example.org").await;
        let ada = app.person("ada@example.org").await;
        let client = made(&app, &root, with(any_server("CRM"), json!({"global": true, "hosts": ["*.example.com"]}))).await;
        let other = made(&app, &root, with(any_server("other"), json!({"global": true}))).await;
        let path = at(&client);
        let row = connected(&app, &ada, &client, "ada's").await;
        let untouched = connected(&app, &ada, &other, "of the other").await;
        for harmless in [
            json!({"name": "CRM 2", "mandatory_scopes": ["a"], "optional_scopes": [], "pkce": false, "client_secret": "another secret"}),
            json!({"token_endpoint": "https://auth.example.com/v2/token"}),
            json!({"authorize_params": {"prompt": "login"}, "hosts": ["auth.example.com", "login.example.com"]}),
        ] {
            app.patch(&path, harmless).key(&root.key).is(200).await;
            assert_eq!(status(&app, &row).await, Status::Verified);
        }
        for change in [
            json!({"token_endpoint": "https://login.example.com/token", "client_secret": SECRET}),
            json!({"client_id": "another"}),
            json!({"revocation_endpoint": "https://login.example.com/revoke"}),
        ] {
            app.patch(&path, change.clone()).key(&root.key).is(200).await;
            assert_eq!(status(&app, &row).await, Status::NeedsReconnect, "{change}");
            let mut tx = app.store.begin_write(&[row.id.as_str()]).await.unwrap();
            let set = values::one(&mut tx, &row, "production").await.unwrap().unwrap();
            assert!(set.standing.check_error.as_deref().is_some_and(|text| text.contains("Connect again")));
            let again = Standing { status: Status::Verified, check_error: None, ..set.standing };
            values::set_standing(&mut tx, &row, "production", 1, &again).await.unwrap();
            tx.commit().await.unwrap();
        }
        assert_eq!(status(&app, &untouched).await, Status::Verified, "another client's");
        let records = app.records().await;
        let told = records.iter().filter(|record| record.action == "credential.disconnect").count();
        assert_eq!(told, 3);
        let update = records.iter().rfind(|record| record.action == "oauth_client.update").unwrap();
        assert!(update.body.contains(row.id.as_str()) && update.body.contains("revocation_endpoint"), "{}", update.body);
    }

    async fn its_secrets_are_led_nowhere_else_by_whoever_does_not_have_them(app) {
        let root = app.superuser("root@example.org").await;
        let whole = || with(any_server("CRM"), json!({"token_params": {"api/key": "planted-parameter-815"}}));
        let client = made(&app, &root, whole()).await;
        let path = at(&client);
        let read = async || {
            let mut reader = app.store.read().await.unwrap();
            oauth_clients::by_id(&mut reader, &client["id"].as_str().unwrap().parse().unwrap()).await.unwrap().unwrap()
        };
        let before = read().await;
        for elsewhere in [
            json!({"token_endpoint": "https://api.example.com/token"}),
            json!({"revocation_endpoint": "https://api.example.com/revoke"}),
            json!({"hosts": ["auth.example.com", "api.example.com", "evil.example.org"]}),
            json!({"hosts": ["*.example.com"]}),
            json!({"hosts": ["auth.example.com:8443"], "token_endpoint": "https://auth.example.com:8443/token", "authorization_endpoint": "https://auth.example.com:8443/a"}),
            json!({"connector": "zoom", "hosts": [], "authorization_endpoint": null, "token_endpoint": null}),
        ] {
            let refused = app.patch(&path, elsewhere.clone()).key(&root.key).is(422).await;
            assert_eq!(refused.pointers(), ["/client_secret", "/token_params/api~1key"], "{elsewhere}: {}", refused.text);
            assert!(refused.text.contains("once more") && !refused.text.contains("planted"), "{}", refused.text);
            // One of the two is not enough.
            let half = with(elsewhere, json!({"client_secret": "another secret"}));
            assert_eq!(app.patch(&path, half).key(&root.key).is(422).await.pointers(), ["/token_params/api~1key"]);
        }
        assert_eq!(read().await, before, "nothing was saved");
        // What stays where it was needs no secret, and what is taken away neither.
        for same in [
            json!({"token_endpoint": "https://auth.example.com/v2/token", "revocation_endpoint": "https://auth.example.com/revoke"}),
            json!({"hosts": ["auth.example.com"]}),
            json!({"token_endpoint": "https://login.example.com/token", "hosts": ["auth.example.com", "login.example.com"],
                "client_auth": "none", "token_params": {"api/key": null}}),
        ] {
            app.patch(&path, same).key(&root.key).is(200).await;
        }
        // With the secrets it is a new registration.
        let other = made(&app, &root, whole()).await;
        let moved = json!({"token_endpoint": "https://api.example.com/token", "client_secret": SECRET, "token_params": {"api/key": "planted-parameter-815"}});
        app.patch(&at(&other), moved).key(&root.key).is(200).await;
        // A key signs for whoever it is shown to.
        let signs = with(any_server("signs"), json!({"client_auth": "private_key_jwt", "client_secret": null, "generate_key": "ES256"}));
        let signs = made(&app, &root, signs).await;
        let moved = json!({"token_endpoint": "https://api.example.com/token"});
        assert_eq!(app.patch(&at(&signs), moved.clone()).key(&root.key).is(422).await.pointers(), ["/private_key"]);
        app.patch(&at(&signs), with(moved, json!({"generate_key": "ES256"}))).key(&root.key).is(200).await;
    }

    async fn projects_are_not_told_how_a_client_is_registered(app) {
        let root = app.superuser("root@example.org").await;
        let ada = app.person("ada@example.org").await;
        let acme = app.project(&ada, "acme").await;
        let query = json!({"projects": ["acme"], "token_endpoint": "https://auth.example.com/token?tenant=planted-tenant"});
        let client = made(&app, &root, with(any_server("CRM"), query)).await;
        app.patch(&at(&client), json!({"client_id": "planted-id"})).key(&root.key).is(200).await;
        app.delete(&at(&client)).key(&root.key).is(204).await;
        let seen = app.audit(&acme).await;
        for action in ["oauth_client.create", "oauth_client.update", "oauth_client.delete"] {
            let seen = seen.iter().find(|item| item.record.action == action).expect(action);
            assert!(seen.record.body.contains(client["id"].as_str().unwrap()), "{}", seen.record.body);
        }
        for seen in &seen {
            for hidden in ["auth.example.com", "planted", "api.example.com", "endpoints", "issuer"] {
                assert!(!seen.record.body.contains(hidden), "{hidden}: {}", seen.record.body);
            }
        }
        let whole = app.records().await;
        let update = whole.iter().find(|record| record.action == "oauth_client.update" && record.body.contains("planted-id"));
        assert!(update.is_some_and(|record| record.body.contains("planted-tenant")), "the instance's own event has it all");
    }

    async fn what_an_idempotency_key_keeps_has_no_secret(app) {
        let root = app.superuser("root@example.org").await;
        let body = with(any_server("CRM"), json!({"token_params": {"api_key": "planted-parameter-815"}}));
        let make = || app.post(CLIENTS, body.clone()).key(&root.key).header("idempotency-key", "k-1");
        let first = make().is(201).await;
        let again = make().is(201).await;
        assert_eq!((first.text.as_str(), again.header("idempotency-replayed")), (again.text.as_str(), "true"));
        assert_eq!(app.get(CLIENTS).key(&root.key).is(200).await.json()["items"].as_array().unwrap().len(), 1);
        assert!(again.text.contains("redirect_uri") && !again.text.contains("planted"), "{}", again.text);
    }

    async fn its_secrets_move_to_a_new_data_key(app) {
        let root = app.superuser("root@example.org").await;
        let client = made(&app, &root, any_server("CRM")).await;
        let id = client["id"].as_str().unwrap().parse().unwrap();
        let mut reader = app.store.read().await.unwrap();
        let before = oauth_clients::by_id(&mut reader, &id).await.unwrap().unwrap().sealed.unwrap();
        drop(reader);
        let report = app.rotate_data_keys().await;
        assert!(report.values >= 1, "{report:?}");
        let mut reader = app.store.read().await.unwrap();
        let after = oauth_clients::by_id(&mut reader, &id).await.unwrap().unwrap().sealed.unwrap();
        assert_eq!(after.1, report.key);
        assert!(before.0 != after.0 && before.1 != after.1);
        drop(reader);
        // And they open: the secret is still there to be used.
        app.patch(&at(&client), json!({"name": "CRM 2"})).key(&root.key).is(200).await;
    }
}

#[tokio::test]
async fn the_operator_adds_hosts_to_a_connector() {
    let clock = latchstring_testkit::FakeClock::default();
    let app = TestApp::built(Db::Sqlite, "https://latchstring.example.com", clock, Vec::new(), |settings| {
        settings.extra_hosts.push(("zoom".into(), "zoom.example.org".into(), Some(8443)));
    })
    .await;
    let root = app.superuser("root@example.org").await;
    let at = |port: u16| {
        json!({"name": "Zoom", "connector": "zoom", "client_id": "z", "client_secret": SECRET,
            "token_endpoint": format!("https://zoom.example.org:{port}/token")})
    };
    let client = made(&app, &root, at(8443)).await;
    assert!(
        client["redirect_uri"]
            .as_str()
            .unwrap()
            .starts_with("https://latchstring.example.com/oauth/callback/oac_")
    );
    assert_eq!(app.post(CLIENTS, at(443)).key(&root.key).is(422).await.pointers(), ["/token_endpoint"]);
}
