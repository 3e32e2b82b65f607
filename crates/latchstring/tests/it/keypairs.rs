//! Keys that are made here: the certificate is what verifies what the key signs, and the key is never shown.

use latchstring_testkit::jwt::{Case, Key, jose};
use latchstring_testkit::postgres::Postgres;
use latchstring_testkit::{AppSetup, TestApp};
use serde_json::{Value, json};

use crate::support::{Upstream, setup};

fn credential(app: &TestApp, slug: &str, values: &Value, verify: &str, status: u16) -> Value {
    app.done(
        "POST",
        "/credentials",
        &json!({
            "name": format!("Key of {slug}"), "connector": "http", "auth_method": "jwt", "verify": verify,
            "values": {"production": values},
            "shares": [{"project": "acme", "slug": slug, "grants": {"production": "production"}}],
        }),
        status,
    )
}

fn certificate(app: &TestApp, id: &str, more: &str) -> latchstring_testkit::http::Answer {
    app.api("GET", &format!("/credentials/{id}/certificate?environment=production{more}"), &Value::Null)
}

fn made_here(setup: AppSetup) {
    let upstream = Upstream::recording();
    let app = setup.start();
    let values = |how: Value, algorithm: &str| json!({"base_url": upstream.url(), "private_key": how, "algorithm": algorithm, "claims": {"iss": "me"}});
    let mut cases = Vec::new();
    for (slug, how, algorithm) in [
        ("rsa", json!({"generate": true}), "RS256"),
        ("ec", json!({"generate": "ec256"}), "ES256"),
        ("ed", json!({"generate": "ed25519"}), "EdDSA"),
    ] {
        let made = credential(&app, slug, &values(how, algorithm), "skip", 201);
        assert!(!made.to_string().contains("BEGIN"), "{made}");
        let secret = &made["environments"]["production"]["secret_fields"];
        assert_eq!(secret, &json!(["private_key"]));
        let download = certificate(&app, made["id"].as_str().unwrap(), "&field=private_key");
        assert_eq!(download.status, 200, "{}", download.text());
        assert_eq!(download.header("content-type"), Some("application/x-pem-file"));
        assert!(download.header("content-disposition").unwrap().contains("attachment"));
        let pem = download.text();
        assert!(pem.starts_with("-----BEGIN CERTIFICATE-----") && !pem.contains("PRIVATE"), "{pem}");
        assert_eq!(app.get(slug).status, 200);
        let token = upstream.last().header("authorization").strip_prefix("Bearer ").unwrap().to_owned();
        cases.push(Case { token, alg: algorithm.into(), key: Key::Public(pem) });
    }
    for (case, verdict) in cases.iter().zip(jose(&cases)) {
        let good = verdict.unwrap_or_else(|error| panic!("{}: {error}", case.alg));
        assert_eq!(good.claims["iss"], "me");
    }
    // Another key's certificate verifies nothing, so that the test above says something.
    let other = Case { key: cases[1].key.clone(), ..cases[0].clone() };
    assert!(jose(&[other])[0].is_err());
    let refused = |how: Value, verify: &str| {
        let refused = credential(&app, "refused", &values(how, "RS256"), verify, 422);
        refused["errors"][0]["detail"].as_str().unwrap().to_owned()
    };
    assert!(
        refused(json!({"generate": true}), "required").contains("does not have the new key's certificate")
    );
    assert!(refused(json!({"generate": "random32"}), "skip").contains("cannot be generated here"));
    assert!(refused(json!({"generate": 5}), "skip").contains("is true, or one of"));

    // A new key takes the place of the old one, and so does its certificate.
    let made = credential(&app, "again", &values(json!({"generate": "ec256"}), "ES256"), "skip", 201);
    let id = made["id"].as_str().unwrap();
    let first = certificate(&app, id, "").text();
    let change = json!({"values": {"production": {"private_key": {"generate": "ec256"}}}, "verify": "skip"});
    app.done("PATCH", &format!("/credentials/{id}"), &change, 200);
    let second = certificate(&app, id, "").text();
    assert_ne!(first, second);
    assert_eq!(app.get("again").status, 200);
    let token = upstream.last().header("authorization").strip_prefix("Bearer ").unwrap().to_owned();
    let judge =
        |pem: String| jose(&[Case { token: token.clone(), alg: "ES256".into(), key: Key::Public(pem) }]);
    assert!(judge(second)[0].is_ok() && judge(first)[0].is_err());

    // Only its owner gets it, and what has none says so.
    let grace = app.person("grace@example.com", "editor");
    let path = format!("/credentials/{id}/certificate?environment=production");
    assert_eq!(app.api_as(&grace, "GET", &path, &Value::Null).status, 404);
    assert_eq!(certificate(&app, id, "&field=claims").status, 404);
    let bearer =
        app.credential("bearer", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
    let none = certificate(&app, bearer["id"].as_str().unwrap(), "");
    assert_eq!((none.status, none.text().contains("the-token-5")), (404, false), "{}", none.text());
    app.stop();
}

#[test]
fn a_key_that_is_made_here_signs_and_is_never_shown_on_sqlite() {
    made_here(setup());
}

#[test]
fn a_key_that_is_made_here_signs_and_is_never_shown_on_postgresql() {
    made_here(setup().database(&Postgres::shared().fresh_database()));
}
