//! A private key is read once, also where each call is rendered anew.

use latchstring_testkit::TestApp;
use serde_json::{Value, json};

use crate::support::{Authority, Seen, Upstream, connect, json_reply, localhost, reply, setup};

fn key_file(name: &str) -> String {
    let path = format!("{}/../schemes/tests/data/keys/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn counted(app: &TestApp, name: &str) -> u64 {
    let metrics = latchstring_testkit::http::get(&app.at("/metrics"), &[]).text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

/// Private keys that were read, and TLS identities that were made ready, so far.
fn read(app: &TestApp) -> (u64, u64) {
    (
        counted(app, "latchstring_private_keys_read_total"),
        counted(app, "latchstring_tls_identities_made_total"),
    )
}

/// One call on each of the two data cores: a core takes no connection while the other has fewer.
fn call_on_both(app: &TestApp, slug: &str) {
    let open: Vec<_> = (0..2).map(|_| connect(app)).collect();
    let bearer = format!("Bearer {}", app.key());
    for connection in open {
        let (target, headers) = (format!("/proxy/{slug}/x"), [("authorization", bearer.as_str())]);
        let at = (app.authority(), target.as_str());
        let answer = latchstring_testkit::http::over(connection, "GET", at, &headers, b"").unwrap();
        assert_eq!(answer.status, 200, "{slug}: {}", answer.text());
    }
}

#[test]
fn calls_that_read_the_time_read_no_key() {
    let authority = Authority::new();
    let answering = |seen: &Seen| match (seen.target.as_str(), seen.all("dpop").is_empty()) {
        ("/token", true) => json_reply(&json!({"access_token": "the-token-5", "token_type": "Bearer"})),
        ("/token", false) => json_reply(&json!({"access_token": "the-token-6", "token_type": "DPoP"})),
        _ => reply(200, "welcome"),
    };
    let upstream = Upstream::start(answering);
    let guarded = Upstream::with(Some(authority.server(&["http/1.1"], true)), answering);
    let setup = setup();
    let ca = setup.folder().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let app = setup
        .set("LATCHSTRING_EXTRA_CA_FILE", ca.display().to_string())
        .set("LATCHSTRING_DATA_CORES", "2")
        .set("LATCHSTRING_BACKGROUND_REFRESH", "off")
        .start();

    let encrypted = key_file("rsa2048.aes256.pem");
    let certificate = authority.certify(&key_file("rsa2048.pkcs8.pem"), "a client");
    let (base, token_url) = (upstream.url(), format!("{}/token", upstream.url()));
    // Fixed headers that are never the same have every call rendered anew.
    let with = |mut values: Value| {
        values["headers"] = json!({"X-Call": "{{ uuid() }}"});
        values
    };
    let signing = |mut values: Value| {
        values["private_key"] = encrypted.as_str().into();
        values["passphrase"] = "correct horse".into();
        with(values)
    };
    let assertion = json!({"base_url": base, "token_url": token_url, "client_id": "robot", "subject": "alice", "audience": "you"});
    let client = json!({
        "base_url": base, "token_url": token_url, "client_id": "robot", "client_auth": "private_key_jwt",
        "dpop_key": key_file("p256.sec1.pem"),
    });
    let oauth1 = json!({"base_url": base, "consumer_key": "robot", "signature_method": "RSA-SHA256"});
    // With the keys and identities that a route is made of, and how many routes there are until a token is there: saving
    // one ends the route that it was asked for with.
    let methods = [
        (
            "jwt",
            signing(json!({"base_url": base, "claims": {"iss": "me", "exp": "{{ now(600) }}"}})),
            (1, 0),
            1,
        ),
        ("oauth2_jwt_bearer", signing(assertion), (1, 0), 2),
        ("oauth2_client_credentials", signing(client), (2, 0), 2),
        ("oauth1", signing(oauth1), (1, 0), 1),
        (
            "mutual_tls",
            signing(json!({"base_url": localhost(&guarded), "certificate": certificate})),
            (1, 1),
            1,
        ),
        // Where nothing is rendered anew each core has a plan of its own, and no key of its own.
        (
            "jwt",
            json!({"base_url": base, "private_key": key_file("rsa2048.pkcs8.pem"), "claims": {}}),
            (1, 0),
            1,
        ),
    ];
    for (number, (method, values, made_of, routes)) in methods.iter().enumerate() {
        let slug = format!("{}-{number}", method.replace('_', "-"));
        app.credential(&slug, method, values);
        let before = read(&app);
        let since = |before: (u64, u64)| {
            let now = read(&app);
            (now.0 - before.0, now.1 - before.1)
        };
        // Refused before anything is signed: the route is there, and no core has made a plan of it.
        assert_eq!(app.get(&format!("{slug}/%2e%2e/x")).header("latchstring-error"), Some("bad_path"));
        assert_eq!(since(before), *made_of, "{method}: for its route");
        call_on_both(&app, &slug);
        assert_eq!(since(before), (made_of.0 * routes, made_of.1 * routes), "{method}: for its calls");
        let settled = read(&app);
        for _ in 0..3 {
            call_on_both(&app, &slug);
        }
        assert_eq!(since(settled), (0, 0), "{method}: for further calls");
        let server = if *method == "mutual_tls" { &guarded } else { &upstream };
        let seen = server.seen();
        let mut calls: Vec<&str> = seen.iter().flat_map(|seen| seen.all("x-call")).collect();
        let all = calls.len();
        calls.sort_unstable();
        calls.dedup();
        assert!(calls.len() == all && all >= 8, "{method}: each call was rendered anew");
    }
    app.stop();
}

#[test]
fn a_key_that_cannot_be_read_is_tried_once() {
    let upstream = Upstream::recording();
    let app = setup().set("LATCHSTRING_DATA_CORES", "2").start();
    app.set_secret("passphrase", "correct horse");
    app.credential(
        "jwt",
        "jwt",
        &json!({
            "base_url": upstream.url(), "private_key": key_file("rsa2048.aes256.pem"),
            "passphrase": "{{ get_secret('passphrase') }}", "claims": {"exp": "{{ now(600) }}"},
        }),
    );
    app.set_secret("passphrase", "incorrect horse");
    let refused = || {
        let answer = app.get("jwt/x");
        assert_eq!((answer.status, answer.header("latchstring-error")), (424, Some("template_error")));
        assert!(answer.text().contains("passphrase does not open"), "{}", answer.text());
    };
    refused();
    let before = read(&app);
    (0..5).for_each(|_| refused());
    assert_eq!(read(&app), before);
    assert_eq!(upstream.count(), 0);
    app.stop();
}
