//! OAuth beyond a bearer token: signed requests (OAuth 1.0a), tokens bound to a key (DPoP) or to a client
//! certificate (mutual TLS), and the two grants that stand apart.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use latchstring_testkit::OidcProvider;
use latchstring_testkit::jwt::KeyPair;
use latchstring_testkit::oauth1::oauthlib;
use serde_json::{Value, json};

use crate::support::{Authority, Seen, Upstream, app, json_reply, reply, setup};

fn oauth1_question(seen: &Seen, upstream: &Upstream, body: &str) -> Value {
    let mut headers = json!({"Authorization": seen.header("authorization")});
    if let [kind] = seen.all("content-type").as_slice() {
        headers["Content-Type"] = json!(kind);
    }
    json!({
        "endpoint": "resource", "method": seen.method, "url": format!("{}{}", upstream.url(), seen.target),
        "headers": headers, "body": body, "consumer_secret": "the consumer secret", "token_secret": "the token secret",
    })
}

#[test]
fn oauth1_signatures_are_what_oauthlib_wants() {
    let (app, upstream) = (app(), Upstream::recording());
    for (slug, method) in [("sha1", "HMAC-SHA1"), ("sha256", "HMAC-SHA256"), ("plain", "PLAINTEXT")] {
        app.credential(
            slug,
            "oauth1",
            &json!({
                "base_url": upstream.url(), "consumer_key": "the-consumer", "consumer_secret": "the consumer secret",
                "token": "the-token", "token_secret": "the token secret", "signature_method": method, "realm": "R",
                "query": {"fixed": "a b"},
            }),
        );
        let form = ("content-type", "application/x-www-form-urlencoded");
        for (verb, target, header, body) in [
            ("GET", "a%20b?x=1&y=%2F&x=0", ("authorization", "OAuth oauth_token=\"mine\""), ""),
            ("POST", "orders?n=1&oauth_token=mine", form, "b=2&a=1+1&c"),
            ("POST", "orders", ("content-type", "application/json"), "{\"a\": 1}"),
        ] {
            let answer = app.call(verb, &format!("{slug}/{target}"), &[header], body.as_bytes());
            assert_eq!(answer.status, 200, "{}", answer.text());
            let seen = upstream.last();
            assert_eq!(seen.body, body.as_bytes());
            let mut questions = vec![oauth1_question(&seen, &upstream, body)];
            questions.push(questions[0].clone());
            questions[1]["token_secret"] = json!("another");
            let verdicts = oauthlib(&questions);
            assert_eq!(verdicts[0]["ok"], true, "{method} {verb} {target}: {}", questions[0]);
            assert_eq!(verdicts[1]["ok"], false, "{method}");
        }
    }
    app.stop();
}

#[test]
fn a_token_bound_to_a_key_is_proven_on_every_call() {
    let keys = KeyPair::generate("ES256");
    let oidc = OidcProvider::with(&json!({"clients": [{
        "client_id": "robot", "client_secret": "a-client-secret-of-tests", "grant_types": ["client_credentials"],
        "redirect_uris": [], "response_types": [], "scope": "read", "dpop_bound_access_tokens": true,
    }]}));
    let app = app();
    let values = json!({
        "base_url": oidc.issuer(), "token_url": oidc.token_url(), "client_id": "robot",
        "client_secret": "a-client-secret-of-tests", "scope": "read", "dpop_key": keys.private_pem,
    });
    for (slug, nonces, token_requests) in [("plain", false, 1), ("nonces", true, 2)] {
        oidc.set(&json!({"dpop_nonces": nonces}));
        app.credential(slug, "oauth2_client_credentials", &values);
        oidc.reset_counts();
        for _ in 0..2 {
            let answer = app.get(&format!("{slug}/resource"));
            assert_eq!((answer.status, &answer.json()["bound"]), (200, &json!("dpop")), "{}", answer.text());
            // A saved token has its routes built anew, within a poll of the epochs; they learn for themselves.
            std::thread::sleep(std::time::Duration::from_secs(2));
        }
        assert_eq!(oidc.token_requests(), token_requests, "{slug}");
        oidc.reset_counts();
        for round in 0..3 {
            let (verb, body) = if round == 1 { ("POST", "some text") } else { ("GET", "") };
            let answer = app.call(verb, &format!("{slug}/resource?round={round}"), &[], body.as_bytes());
            assert_eq!(answer.status, 200, "{slug}: {}", answer.text());
        }
        let asked = oidc.counts();
        // Each nonce is good once here, and the next came with the answer before: no refusal, no replay.
        assert_eq!(asked, [("GET /resource".into(), 2), ("POST /resource".into(), 1)].into(), "{slug}");
        if nonces {
            // Somebody else has used the nonce meanwhile: one refusal, and the kept body is sent again.
            oidc.set(&json!({"spoil_nonce": true}));
            let answer = app.call("POST", &format!("{slug}/resource"), &[], b"some text");
            assert_eq!(answer.status, 200, "{slug}: {}", answer.text());
            assert_eq!(oidc.counts()["POST /resource"], 3);
        }
    }
    let mut without = values;
    without.as_object_mut().unwrap().remove("dpop_key");
    app.credential("without", "oauth2_client_credentials", &without);
    let refused = app.get("without/resource");
    // The server insists; its word for that is `invalid_grant`.
    assert_eq!(refused.header("latchstring-error"), Some("token_endpoint_error"), "{}", refused.text());
    app.stop();
}

fn self_signed(common_name: &str) -> (String, String, Value) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    let certificate = params.self_signed(&key).unwrap();
    let point = rcgen::PublicKeyData::der_bytes(&key).to_vec();
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig",
        "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
        "x5c": [STANDARD.encode(certificate.der())],
    });
    (certificate.pem(), key.serialize_pem(), jwk)
}

#[test]
fn a_client_proves_itself_by_its_certificate_and_the_token_is_bound_to_it() {
    let authority = Authority::new();
    let (server, server_key, _, _) = authority.sign(&["localhost"], "a server");
    let (certificate, key, _, _) = authority.sign(&[], "the robot");
    let (own_certificate, own_key, jwk) = self_signed("its own robot");
    let client = |id: &str, method: &str, more: Value| {
        let mut client = json!({
            "client_id": id, "token_endpoint_auth_method": method, "grant_types": ["client_credentials"],
            "redirect_uris": [], "response_types": [], "tls_client_certificate_bound_access_tokens": true,
        });
        client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        client
    };
    let oidc = OidcProvider::with(&json!({
        "tls": {"key": server_key, "cert": server, "ca": authority.pem},
        "clients": [
            client("signed", "tls_client_auth", json!({"tls_client_auth_subject_dn": "CN=the robot"})),
            client("own", "self_signed_tls_client_auth", json!({"jwks": {"keys": [jwk]}})),
        ],
    }));
    let setup = setup();
    let ca = setup.folder().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let app = setup.set("LATCHSTRING_EXTRA_CA_FILE", ca.display().to_string()).start();
    let values = |id: &str, certificate: &str, key: &str| {
        json!({
            "base_url": oidc.issuer(), "token_url": oidc.token_url(), "client_id": id, "client_auth": "tls",
            "client_certificate": certificate, "client_key": key,
        })
    };
    app.credential("signed", "oauth2_client_credentials", &values("signed", &certificate, &key));
    app.credential("own", "oauth2_client_credentials", &values("own", &own_certificate, &own_key));
    for slug in ["signed", "own"] {
        let answer = app.get(&format!("{slug}/resource"));
        assert_eq!(answer.status, 200, "{slug}: {}", answer.text());
        let said = answer.json();
        assert_eq!((&said["client_id"], &said["bound"]), (&json!(slug), &json!("certificate")));
    }
    app.credential("wrong", "oauth2_client_credentials", &values("signed", &own_certificate, &own_key));
    let refused = app.get("wrong/resource");
    assert_eq!((refused.status, refused.header("latchstring-error")), (502, Some("token_endpoint_error")));
    app.stop();
}

/// `application/x-www-form-urlencoded` as the upstream saw it.
fn form(seen: &Seen) -> Vec<(String, String)> {
    let read = |text: &str| {
        let mut out = Vec::new();
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            out.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let two = [bytes.next().unwrap(), bytes.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&two).unwrap(), 16).unwrap()
                }
                other => other,
            });
        }
        String::from_utf8(out).unwrap()
    };
    let text = String::from_utf8(seen.body.clone()).unwrap();
    text.split('&')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (read(name), read(value)))
        .collect()
}

#[test]
fn a_password_or_another_token_is_turned_into_one() {
    let upstream = Upstream::start(|seen| match seen.target.as_str() {
        "/token" => {
            let text = String::from_utf8_lossy(&seen.body).into_owned();
            match text.contains("password=the-password-1") || text.contains("subject_token=the-first-token") {
                true => json_reply(
                    &json!({"access_token": "the-token-9", "token_type": "bearer", "expires_in": 600}),
                ),
                false => reply(400, "{\"error\": \"invalid_grant\"}"),
            }
        }
        _ => json_reply(&json!({})),
    });
    let app = app();
    let definition = json!({
        "id": "legacy", "name": "Legacy", "allow_http": true, "base_url": "{{ base_url }}",
        "auth_methods": {"password": {
            "fields": {
                "base_url": "url", "username": "text", "password": {"type": "text", "secret": true},
            },
            "scheme": {
                "type": "oauth2_password", "token_url": "{{ base_url }}/token", "username": "{{ username }}",
                "password": "{{ password }}", "client_id": "public-client", "scope": "a b",
                "resource": ["https://api.example.com", "https://other.example.com"],
            },
        }},
    });
    let made = app.done("POST", "/projects/acme/connectors", &definition, 201);
    let warning = made["auth_methods"][0]["warning"].as_str().expect("a warning");
    assert!(warning.contains("password"), "{warning}");
    let listed = app.done("GET", "/connectors?project=acme", &Value::Null, 200);
    let warned: Vec<&str> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| {
            item["auth_methods"].as_array().unwrap().iter().any(|method| method.get("warning").is_some())
        })
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    assert_eq!(warned, ["legacy"]);

    app.credential_of(
        "legacy",
        "by-password",
        "password",
        &json!({"base_url": upstream.url(), "username": "ada", "password": "the-password-1"}),
    );
    assert_eq!(app.get("by-password/x").status, 200);
    assert_eq!(upstream.last().header("authorization"), "Bearer the-token-9");
    let asked = form(&upstream.seen()[0]);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        asked,
        [
            pair("grant_type", "password"),
            pair("username", "ada"),
            pair("password", "the-password-1"),
            pair("scope", "a b"),
            pair("resource", "https://api.example.com"),
            pair("resource", "https://other.example.com"),
            pair("client_id", "public-client"),
        ]
    );

    app.credential(
        "exchanged",
        "oauth2_token_exchange",
        &json!({
            "base_url": upstream.url(), "token_url": format!("{}/token", upstream.url()), "client_id": "c",
            "client_secret": "the-client-secret", "client_auth": "post", "subject_token": "the-first-token",
            "audience": "https://api.example.com", "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }),
    );
    let before = upstream.count();
    assert_eq!(app.get("exchanged/x").status, 200);
    let asked = form(&upstream.seen()[before]);
    let access = "urn:ietf:params:oauth:token-type:access_token";
    assert_eq!(
        asked,
        [
            pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            pair("subject_token", "the-first-token"),
            pair("subject_token_type", access),
            pair("requested_token_type", access),
            pair("audience", "https://api.example.com"),
            pair("client_id", "c"),
            pair("client_secret", "the-client-secret"),
        ]
    );
    app.stop();
}
