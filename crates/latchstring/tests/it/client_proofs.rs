//! What an OAuth client brings beyond a secret: a key that tokens are bound to (DPoP), a certificate (mutual TLS), the
//! APIs that tokens are for, and assertions that nobody can pass on.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchstring_testkit::app::PROJECT;
use latchstring_testkit::jwt::KeyPair;
use latchstring_testkit::{OidcProvider, TestApp, eventually, http};
use serde_json::{Value, json};

use crate::consent::Browser;
use crate::support::{Authority, Upstream, json_reply, reply, setup};

const SCOPES: [&str; 4] = ["openid", "offline_access", "email", "read"];

/// A draft: its redirect URI and its public halves are there before the provider knows it.
fn draft(app: &TestApp, more: Value) -> Value {
    let mut body =
        json!({"name": "Test provider", "hosts": ["127.0.0.1", "localhost"], "projects": [PROJECT]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    app.done("POST", "/oauth-clients", &body, 201)
}

fn complete(app: &TestApp, client: &Value, oidc: &OidcProvider, more: Value) -> Value {
    let mut body = json!({
        "client_id": "bank", "issuer": oidc.issuer(), "mandatory_scopes": SCOPES, "authorize_params": {"prompt": "consent"},
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    app.done("PATCH", &format!("/oauth-clients/{}", client["id"].as_str().unwrap()), &body, 200)
}

/// Metadata of the client at the provider.
fn registered(client: &Value, more: Value) -> Value {
    let mut known = json!({
        "client_id": "bank", "redirect_uris": [client["redirect_uri"]],
        "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
        "scope": "openid offline_access email read write",
    });
    known.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    known
}

fn credential(app: &TestApp, client: &Value, oidc: &OidcProvider, slug: &str, method: &str) -> String {
    let body = json!({
        "name": slug, "connector": "http", "auth_method": method, "oauth_client": client["id"],
        "values": {"production": {"base_url": oidc.issuer(), "test_path": "/resource"}},
        "shares": [{"project": PROJECT, "slug": slug, "grants": {"production": "production"}}],
    });
    app.done("POST", "/credentials", &body, 201)["id"].as_str().unwrap().to_owned()
}

fn begin(app: &TestApp, id: &str) -> Value {
    app.done("POST", &format!("/credentials/{id}/authorize"), &json!({"environment": "production"}), 200)
}

/// From the credential to the provider and back; what the browser left with, and the page in the end.
fn connect(
    app: &TestApp,
    browser: &mut Browser,
    id: &str,
    browse: impl Fn(&str) -> String,
) -> (String, http::Answer) {
    let start = browser.get(begin(app, id)["authorize_url"].as_str().unwrap());
    assert_eq!(start.status, 303, "{}", start.text());
    let location = start.header("location").unwrap().to_owned();
    let page = browser.get(&browse(&location));
    (location, page)
}

fn environment(app: &TestApp, id: &str) -> Value {
    let found = app.done("GET", &format!("/credentials/{id}"), &Value::Null, 200);
    found["environments"]["production"].clone()
}

fn device(app: &TestApp, oidc: &OidcProvider, id: &str) {
    let begun = begin(app, id);
    oidc.answer_device(begun["user_code"].as_str().unwrap(), true);
    let ended = eventually("the device is connected", || {
        let authorization = environment(app, id)["authorization"].clone();
        matches!(authorization["state"].as_str(), Some("done" | "failed")).then_some(authorization)
    });
    assert_eq!(ended["state"], "done", "{ended}");
}

#[test]
fn tokens_of_a_client_are_bound_to_its_key() {
    let app = setup().set("LATCHSTRING_BACKGROUND_REFRESH", "off").start();
    let client = draft(&app, json!({"client_secret": "a-client-secret-of-tests", "dpop": true}));
    assert_eq!(
        (&client["dpop"], &client["secret_fields"]),
        (&json!(true), &json!(["client_secret", "dpop_key"]))
    );
    let jkt = client["dpop_jkt"].as_str().unwrap().to_owned();
    let more = json!({"client_secret": "a-client-secret-of-tests", "dpop_bound_access_tokens": true});
    let oidc = OidcProvider::with(&json!({
        "clients": [registered(&client, more)],
        "settings": {"dpop_nonces": true, "access_token_ttl": 2},
    }));
    let client = complete(&app, &client, &oidc, json!({"client_secret": "a-client-secret-of-tests"}));
    assert!(client["warnings"].is_null(), "the issuer announces DPoP: {client}");
    assert_eq!(client["dpop_jkt"], jkt.as_str(), "no other key unless it was switched off");

    let id = credential(&app, &client, &oidc, "bound", "oauth2_authorization_code");
    let mut browser = Browser::signed_in(&app);
    let (location, page) = connect(&app, &mut browser, &id, |url| oidc.browse(url));
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(location.contains(&format!("dpop_jkt={jkt}")), "{location}");
    // The code was shown twice: the server wanted its nonce first, and had looked at nothing.
    assert_eq!(oidc.token_requests(), 2);
    let connected = environment(&app, &id);
    assert_eq!(
        (&connected["status"], &connected["account"]),
        (&json!("verified"), &json!("alice@example.com")),
        "userinfo had a proof: {connected}"
    );
    let call = app.get("bound/resource");
    assert_eq!((call.status, &call.json()["bound"]), (200, &json!("dpop")), "{}", call.text());

    // Each end of the token is one renewal, proven with the same key.
    for _ in 0..2 {
        std::thread::sleep(std::time::Duration::from_millis(2_100));
        let call = app.get("bound/resource");
        assert_eq!((call.status, &call.json()["bound"]), (200, &json!("dpop")), "{}", call.text());
    }
    oidc.set(&json!({"access_token_ttl": 3600}));

    // On another device.
    let other = credential(&app, &client, &oidc, "tv", "oauth2_device_code");
    device(&app, &oidc, &other);
    let call = app.get("tv/resource");
    assert_eq!((call.status, &call.json()["bound"]), (200, &json!("dpop")), "{}", call.text());

    // A server that gives out what anybody could use is not taken.
    let bearer = json!({"access_token": "abc", "token_type": "Bearer", "expires_in": 60, "refresh_token": "r", "scope": "openid offline_access email read"});
    oidc.set(&json!({"fail_next": [{"status": 200, "body": bearer}]}));
    let (_, page) = connect(&app, &mut browser, &id, |url| oidc.browse(url));
    assert_eq!(page.status, 422, "{}", page.text());
    assert!(page.text().contains("not bound to the OAuth client"), "{}", page.text());
    assert_eq!(environment(&app, &id)["authorization"]["code"], "consent_incomplete");
    assert_eq!(app.get("bound/resource").status, 200, "what was connected before is as it was");

    // Given back in the end.
    oidc.reset_counts();
    app.done("DELETE", &format!("/credentials/{other}?purge=true"), &Value::Null, 204);
    assert_eq!(oidc.counts()["POST /token/revocation"], 2);
    // Another key is another binding: what was connected is over.
    let path = format!("/oauth-clients/{}", client["id"].as_str().unwrap());
    let off = app.done("PATCH", &path, &json!({"dpop": false}), 200);
    assert_eq!((&off["dpop"], &off["secret_fields"]), (&json!(false), &json!(["client_secret"])));
    assert_eq!(environment(&app, &id)["status"], "needs_reconnect");
    let on = app.done("PATCH", &path, &json!({"dpop": true}), 200);
    assert_ne!(on["dpop_jkt"], jkt.as_str());
    let (_, page) = connect(&app, &mut browser, &id, |url| oidc.browse(url));
    assert_eq!(page.status, 200, "{}", page.text());
    let log = app.log();
    assert!(!log.contains("BEGIN EC PRIVATE KEY"), "{log}");
    app.stop();
}

/// RFC 8705: with a certificate that is registered, and with one that an authority has signed.
#[test]
fn a_client_shows_its_certificate() {
    let authority = Authority::new();
    let (server, server_key, _, _) = authority.sign(&["localhost"], "a server");
    let (certificate, key, _, _) = authority.sign(&[], "the bank");
    let setup = setup();
    let ca = setup.folder().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let app = setup
        .set("LATCHSTRING_EXTRA_CA_FILE", ca.display().to_string())
        .set("LATCHSTRING_BACKGROUND_REFRESH", "off")
        .start();
    let tls = json!({"key": server_key, "cert": server, "ca": authority.pem});
    let bound = json!({"tls_client_certificate_bound_access_tokens": true});

    // What cannot be is told beforehand.
    let refused = |more: Value| {
        let mut body = json!({"name": "x", "hosts": ["localhost"], "client_id": "c", "token_endpoint": "https://localhost/t", "authorization_endpoint": "https://localhost/a"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = app.api("POST", "/oauth-clients", &body);
        assert_eq!(answer.status, 422, "{}", answer.text());
        answer.json()["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let (_, foreign_key, _, _) = authority.sign(&[], "somebody else");
    for (more, pointers) in [
        (json!({"client_auth": "tls_client_auth"}), vec!["/private_key", "/certificate"]),
        (json!({"client_auth": "tls_client_auth", "generate_key": "ES256"}), vec!["/generate_key"]),
        (
            json!({"client_auth": "self_signed_tls_client_auth", "generate_key": "EdDSA"}),
            vec!["/generate_key"],
        ),
        (json!({"certificate": certificate, "private_key": key}), vec!["/client_auth"]),
        (
            json!({"client_auth": "basic", "client_secret": "s", "certificate": certificate}),
            vec!["/certificate"],
        ),
        (
            json!({"client_auth": "tls_client_auth", "certificate": certificate, "private_key": foreign_key}),
            vec!["/certificate"],
        ),
        (
            json!({"client_auth": "tls_client_auth", "certificate": "no", "private_key": key}),
            vec!["/certificate"],
        ),
    ] {
        assert_eq!(refused(more.clone()), pointers, "{more}");
    }

    for (way, made) in [
        ("self_signed_tls_client_auth", json!({"generate_key": "ES256"})),
        ("tls_client_auth", json!({"certificate": certificate, "private_key": key})),
    ] {
        let mut body = json!({"client_auth": way});
        body.as_object_mut().unwrap().extend(made.as_object().unwrap().clone());
        let client = draft(&app, body);
        assert_eq!(client["secret_fields"], json!(["private_key"]));
        let pem = client["certificate"].as_str().unwrap();
        assert!(pem.starts_with("-----BEGIN CERTIFICATE-----") && !pem.contains("PRIVATE"), "{pem}");
        assert!(
            client["public_jwk"]["x5c"][0].is_string() && client["public_jwk"]["x5t#S256"].is_string(),
            "{client}"
        );
        let mut more = bound.clone();
        more["token_endpoint_auth_method"] = way.into();
        if way == "tls_client_auth" {
            more["tls_client_auth_subject_dn"] = "CN=the bank".into();
        } else {
            more["jwks"] = json!({"keys": [client["public_jwk"]]});
        }
        let oidc = OidcProvider::with(&json!({
            "tls": tls, "clients": [registered(&client, more)], "settings": {"access_token_ttl": 2},
        }));
        // The key of a draft was for no place yet, and stays.
        let client = complete(&app, &client, &oidc, json!({}));
        let slug = if way == "tls_client_auth" { "signed" } else { "own" };
        let id = credential(&app, &client, &oidc, slug, "oauth2_authorization_code");
        let mut browser = Browser::signed_in(&app);
        let browse =
            |url: &str| oidc.browse_with(url, |url, cookies| authority.get(url, &[("cookie", cookies)]));
        let (_, page) = connect(&app, &mut browser, &id, browse);
        assert_eq!(page.status, 200, "{way}: {}", page.text());
        let connected = environment(&app, &id);
        assert_eq!(
            (&connected["status"], &connected["account"]),
            (&json!("verified"), &json!("alice@example.com")),
            "{way}: {connected}"
        );
        let counted =
            |what: &str| authority.get(&oidc.at("/admin/counts"), &[]).json()[what].as_u64().unwrap_or(0);
        let before = counted("POST /token");
        std::thread::sleep(std::time::Duration::from_millis(2_100));
        let call = app.get(&format!("{slug}/resource"));
        assert_eq!(
            (call.status, &call.json()["bound"]),
            (200, &json!("certificate")),
            "{way}: {}",
            call.text()
        );
        assert_eq!(counted("POST /token"), before + 1, "renewed by the certificate");
        app.done("DELETE", &format!("/credentials/{id}?purge=true"), &Value::Null, 204);
        assert_eq!(counted("POST /token/revocation"), 2);
    }
    app.stop();
}

/// RFC 8707: the client says which API its tokens are for.
#[test]
fn tokens_are_asked_for_an_api() {
    const API: &str = "https://api.example.com/";
    let app = setup().set("LATCHSTRING_BACKGROUND_REFRESH", "off").start();
    for wrong in ["no uri", "https://api.example.com/#part", "/path"] {
        let refused = app.api(
            "POST",
            "/oauth-clients",
            &json!({"name": "x", "hosts": ["localhost"], "resource": [wrong]}),
        );
        assert_eq!(
            (refused.status, &refused.json()["errors"][0]["pointer"]),
            (422, &json!("/resource/0")),
            "{wrong}"
        );
    }
    let client = draft(&app, json!({"client_secret": "a-client-secret-of-tests", "resource": [API]}));
    assert_eq!(client["resource"], json!([API]));
    let oidc = OidcProvider::with(&json!({
        "clients": [registered(&client, json!({"client_secret": "a-client-secret-of-tests"}))],
        "settings": {"resources": [API], "access_token_ttl": 2},
    }));
    let client = complete(&app, &client, &oidc, json!({"client_secret": "a-client-secret-of-tests"}));
    let id = credential(&app, &client, &oidc, "api", "oauth2_authorization_code");
    let mut browser = Browser::signed_in(&app);
    let (location, page) = connect(&app, &mut browser, &id, |url| oidc.browse(url));
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(location.contains("resource=https%3A%2F%2Fapi.example.com%2F"), "{location}");
    for _ in 0..2 {
        let call = app.get("api/resource");
        assert_eq!((call.status, &call.json()["aud"]), (200, &json!(API)), "{}", call.text());
        std::thread::sleep(std::time::Duration::from_millis(2_100));
    }
    assert!(oidc.token_requests() >= 2, "the renewed token is for it too");
    // Another API is another consent.
    let path = format!("/oauth-clients/{}", client["id"].as_str().unwrap());
    app.done("PATCH", &path, &json!({"resource": []}), 200);
    assert_eq!(environment(&app, &id)["status"], "needs_reconnect");
    app.stop();
}

/// A server that a superuser was talked into trusting names the honest server's token endpoint as its own, and has
/// the assertion sent to another endpoint. Were its audience the token endpoint, it could be passed on.
#[test]
fn an_assertion_is_of_no_use_elsewhere() {
    let keys = KeyPair::generate("RS256");
    let app = setup().start();
    let honest_client =
        draft(&app, json!({"client_auth": "private_key_jwt", "private_key": keys.private_pem}));
    let more = json!({
        "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [keys.public_jwk]},
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
    });
    let oidc = OidcProvider::with(&json!({"clients": [registered(&honest_client, more)]}));
    let caught: Arc<Mutex<Vec<String>>> = Arc::default();
    let (kept, honest) = (Arc::clone(&caught), oidc.issuer());
    let own_address: Arc<Mutex<String>> = Arc::default();
    let own = Arc::clone(&own_address);
    let evil = Upstream::start(move |seen| {
        let issuer = own.lock().unwrap().clone();
        match seen.target.as_str() {
            "/.well-known/openid-configuration" => json_reply(&json!({
                "issuer": issuer, "authorization_endpoint": format!("{issuer}/auth"),
                "token_endpoint": format!("{honest}/token"), "revocation_endpoint": format!("{issuer}/revoke"),
            })),
            "/revoke" => {
                kept.lock().unwrap().push(String::from_utf8_lossy(&seen.body).into_owned());
                reply(200, "")
            }
            _ => json_reply(&json!({"sub": "alice"})),
        }
    });
    *own_address.lock().unwrap() = evil.url();
    let evil_client = draft(
        &app,
        json!({
            "client_id": "bank", "client_auth": "private_key_jwt", "private_key": keys.private_pem,
            "issuer": evil.url(), "mandatory_scopes": ["openid"],
        }),
    );
    assert_eq!(evil_client["token_endpoint"], oidc.token_url(), "the trap is laid");
    let body = json!({
        "name": "bait", "connector": "http", "auth_method": "oauth2_authorization_code", "oauth_client": evil_client["id"],
        "values": {"production": {"base_url": evil.url(), "test_path": "/me"}},
        "token": {"production": {"access_token": "at", "refresh_token": "rt"}},
    });
    let made = app.done("POST", "/credentials", &body, 201);
    app.done(
        "DELETE",
        &format!("/credentials/{}?purge=true", made["id"].as_str().unwrap()),
        &Value::Null,
        204,
    );
    let caught = caught.lock().unwrap().clone();
    assert_eq!(caught.len(), 2, "the assertion was sent to its revocation endpoint: {caught:?}");
    for form in &caught {
        let assertion = form.split('&').find_map(|pair| pair.strip_prefix("client_assertion=")).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["aud"], evil.url(), "its issuer alone, as one text: {claims}");
        let passed_on = format!(
            "grant_type=client_credentials&client_id=bank&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={assertion}"
        );
        let refused = http::post_form(&oidc.token_url(), &[], &passed_on);
        assert_eq!(
            (refused.status, refused.json()["error"].as_str()),
            (401, Some("invalid_client")),
            "{}",
            refused.text()
        );
    }
    // The honest server takes the very same client's assertions, made for it.
    let client = complete(&app, &honest_client, &oidc, json!({}));
    let path = format!("/oauth-clients/{}", client["id"].as_str().unwrap());
    let refused = app.api("PATCH", &path, &json!({"token_endpoint": evil.url()}));
    assert_eq!(
        (refused.status, &refused.json()["errors"][0]["pointer"]),
        (422, &json!("/private_key")),
        "{}",
        refused.text()
    );
    let id = credential(&app, &client, &oidc, "honest", "oauth2_authorization_code");
    let (_, page) = connect(&app, &mut Browser::signed_in(&app), &id, |url| oidc.browse(url));
    assert_eq!(page.status, 200, "{}", page.text());
    app.stop();
}
