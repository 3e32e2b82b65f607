//! What an issuer publishes about itself: against a real authorization server, and against documents that cannot be used.

use std::time::Duration;

use latchstring_testkit::OidcProvider;
use serde_json::{Value, json};

use crate::app::{Db, Somebody, TestApp};
use crate::credentials_upstream::{Shop, Upstream, both_shops};
use crate::oauth_clients::{SECRET, with};

const CLIENTS: &str = "/api/v1/oauth-clients";
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

fn asking(issuer: &str) -> Value {
    let host = issuer.split('/').nth(2).unwrap();
    json!({"name": "CRM", "client_id": "ours", "client_secret": SECRET, "hosts": [host], "issuer": issuer})
}

fn document(issuer: &str) -> Value {
    json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"), "token_endpoint": format!("{issuer}/token"),
        "revocation_endpoint": format!("{issuer}/revoke"),
    })
}

/// What stands at `/issuer`, in one text.
async fn refused(app: &TestApp, root: &Somebody, body: Value) -> String {
    let answer = app.post(CLIENTS, body).key(&root.key).is(422).await;
    assert_eq!(answer.pointers(), ["/issuer"], "{}", answer.text);
    answer.json()["errors"][0]["detail"].as_str().unwrap().to_owned()
}

both_shops! {
    async fn a_real_servers_document_fills_the_endpoints(shop) {
        let server = tokio::task::spawn_blocking(OidcProvider::start).await.unwrap();
        let root = shop.app.superuser("root@example.org").await;
        let issuer = server.issuer();
        let made = shop.app.post(CLIENTS, asking(&issuer)).key(&root.key).is(201).await.json();
        assert_eq!(made["token_endpoint"], server.token_url());
        assert_eq!(made["authorization_endpoint"], server.authorize_url());
        assert_eq!(made["revocation_endpoint"], server.revocation_url());
        assert_eq!(made["introspection_endpoint"], server.introspection_url());
        assert_eq!(made["device_authorization_endpoint"], server.device_url());
        assert_eq!(made["endpoints_from"]["token_endpoint"], "issuer");
        assert_eq!((&made["issuer"], &made["issuer_in_callback"]), (&json!(issuer), &json!(true)));
        assert_eq!(made["warnings"], Value::Null, "{made}");
        // What is written in the request stands before what is found.
        let own = with(asking(&issuer), json!({"revocation_endpoint": format!("{issuer}/mine")}));
        let own = shop.app.post(CLIENTS, own).key(&root.key).is(201).await.json();
        assert_eq!((&own["revocation_endpoint"], &own["endpoints_from"]["revocation_endpoint"]), (&json!(format!("{issuer}/mine")), &json!("request")));
        let path = format!("{CLIENTS}/{}", own["id"].as_str().unwrap());
        let without = shop.app.patch(&path, json!({"issuer": null, "token_endpoint": format!("{issuer}/t"), "authorization_endpoint": format!("{issuer}/a")}))
            .key(&root.key).is(200).await.json();
        assert_eq!((&without["issuer"], &without["introspection_endpoint"]), (&Value::Null, &Value::Null));
        let events = shop.app.recorded().await;
        assert_eq!(events.iter().filter(|line| *line == "oauth_client.discover ok").count(), 2, "{events:?}");
    }

    async fn documents_that_cannot_be_used_are_refused_in_plain_words(shop) {
        let root = shop.app.superuser("root@example.org").await;
        let up = Upstream::start().await;
        let issuer = up.url.clone();
        let other = "/.well-known/oauth-authorization-server";
        let ask = || refused(&shop.app, &root, asking(&issuer));
        up.reply(WELL_KNOWN, 404, "text/html", "<h1>not here</h1>");
        up.reply(other, 404, "text/plain", "");
        let text = ask().await;
        assert!(text.contains(WELL_KNOWN) && text.contains(other) && text.contains("404"), "{text}");
        up.reply(WELL_KNOWN, 200, "text/html", "<!doctype html><title>Sign in</title>");
        assert!(ask().await.contains("HTML"), "an HTML page");
        up.json(WELL_KNOWN, 200, document("https://another.example.com"));
        assert!(ask().await.contains("another issuer, `https://another.example.com`"));
        up.json(WELL_KNOWN, 200, with(document(&issuer), json!({"issuer": format!("{issuer}/")})));
        assert!(ask().await.contains("another issuer"), "not even a slash more");
        up.reply(WELL_KNOWN, 302, "text/plain", "");
        assert!(ask().await.contains("redirect"));
        up.reply(WELL_KNOWN, 200, "application/json", format!("{{\"issuer\": \"{issuer}\", \"x\": \"{}\"}}", "y".repeat(300 * 1024)));
        assert!(ask().await.contains("256 KiB"));
        // The endpoints lie elsewhere: whoever runs the issuer does not choose who gets the secret.
        up.json(WELL_KNOWN, 200, with(document(&issuer), json!({"token_endpoint": "https://evil.example.org/token"})));
        let text = ask().await;
        assert!(text.contains("evil.example.org") && text.contains("hosts"), "{text}");
        // One that nobody needs is left out and said.
        up.json(WELL_KNOWN, 200, with(document(&issuer), json!({"revocation_endpoint": "https://evil.example.org/revoke"})));
        let made = shop.app.post(CLIENTS, asking(&issuer)).key(&root.key).is(201).await.json();
        assert_eq!(made["revocation_endpoint"], Value::Null);
        assert!(made["warnings"][0].as_str().unwrap().contains("revocation_endpoint"), "{made}");
        // It lacks what is needed.
        up.json(WELL_KNOWN, 200, json!({"issuer": issuer, "token_endpoint": format!("{issuer}/token")}));
        let lacking = shop.app.post(CLIENTS, asking(&issuer)).key(&root.key).is(422).await;
        assert_eq!(lacking.pointers(), ["/authorization_endpoint"]);
        assert!(lacking.text.contains("the issuer's document does not name it"), "{}", lacking.text);
        for seen in up.seen(WELL_KNOWN) {
            assert!(!format!("{:?}{}", seen.headers, seen.body).contains(SECRET), "nothing of the client is sent");
        }
    }

    async fn the_place_of_rfc_8414_counts_too(shop) {
        let root = shop.app.superuser("root@example.org").await;
        let up = Upstream::start().await;
        let issuer = format!("{}/tenant", up.url);
        up.reply("/tenant/.well-known/openid-configuration", 404, "text/plain", "");
        up.json("/.well-known/oauth-authorization-server/tenant", 200, with(document(&issuer), json!({
            "token_endpoint_auth_methods_supported": ["client_secret_post"], "code_challenge_methods_supported": ["plain"],
        })));
        let made = shop.app.post(CLIENTS, asking(&issuer)).key(&root.key).is(201).await.json();
        assert_eq!(made["token_endpoint"], format!("{issuer}/token"));
        let warnings = made["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 2, "{made}");
        assert!(warnings[0].as_str().unwrap().contains("client_secret_post"));
        assert!(warnings[1].as_str().unwrap().contains("PKCE"));
        let post = with(asking(&issuer), json!({"client_auth": "post", "pkce": false}));
        assert_eq!(shop.app.post(CLIENTS, post).key(&root.key).is(201).await.json()["warnings"], Value::Null);
    }

    async fn nothing_is_asked_of_anybody_for_a_request_that_is_wrong(shop) {
        let root = shop.app.superuser("root@example.org").await;
        let up = Upstream::start().await;
        shop.app.post(CLIENTS, with(asking(&up.url), json!({"client_auth": "magic"}))).key(&root.key).is(422).await;
        shop.app.post(CLIENTS, asking(&up.url)).key(&shop.ada.key).is(403).await;
        assert_eq!(up.asked(), 0);
    }

    async fn an_issuer_that_is_only_a_name_is_enough_beside_endpoints(shop) {
        let root = shop.app.superuser("root@example.org").await;
        let up = Upstream::start().await;
        up.reply(WELL_KNOWN, 404, "text/plain", "");
        up.reply("/.well-known/oauth-authorization-server", 404, "text/plain", "");
        let body = with(asking(&up.url), json!({
            "token_endpoint": format!("{}/token", up.url), "authorization_endpoint": format!("{}/authorize", up.url),
        }));
        let made = shop.app.post(CLIENTS, body).key(&root.key).is(201).await.json();
        assert_eq!(made["issuer"], up.url);
        assert!(made["warnings"][0].as_str().unwrap().contains("404"), "{made}");
    }
}

/// Superusers choose the address, not the configuration: private networks are out of reach without the allow-list.
#[tokio::test]
async fn an_issuer_is_no_way_into_private_networks() {
    let up = Upstream::start().await;
    let app = TestApp::new(Db::Sqlite).await;
    app.broker.open_own_way().unwrap();
    let root = app.superuser("root@example.org").await;
    up.json(WELL_KNOWN, 200, document(&up.url));
    let text = refused(&app, &root, asking(&up.url)).await;
    assert!(!text.contains("authorize"), "{text}");
    for issuer in ["https://127.0.0.1", "https://169.254.169.254", "https://[::1]", "https://10.0.0.1"] {
        refused(&app, &root, asking(issuer)).await;
    }
    // A name that leads there is refused when it is looked up.
    let port = up.url.rsplit(':').next().unwrap();
    let text = refused(&app, &root, asking(&format!("https://localhost:{port}"))).await;
    assert!(text.contains("could not be read"), "{text}");
    assert_eq!(up.asked(), 0);
}

#[tokio::test]
async fn a_document_that_never_comes_ends_in_time() {
    let shop = Shop::new(Db::Sqlite).await;
    let root = shop.app.superuser("root@example.org").await;
    let up = Upstream::start().await;
    up.slow(WELL_KNOWN, Duration::from_secs(120));
    let began = std::time::Instant::now();
    let text = refused(&shop.app, &root, asking(&up.url)).await;
    assert!(text.contains("could not be read"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(20));
}
