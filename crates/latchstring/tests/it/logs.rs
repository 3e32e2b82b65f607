//! No secret stands in what the server logs or prints, nor raw in what it stores.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use latchstring_testkit::jwt::KeyPair;
use latchstring_testkit::{OidcProvider, app::PASSWORD};
use serde_json::json;

use crate::support::{Authority, Upstream, json_reply, localhost, reply, setup};

fn files(folder: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else {
            all.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    let first = part[0];
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        let at = from + at;
        if bytes[at..].starts_with(part) {
            return true;
        }
        from = at + 1;
    }
    false
}

/// Raw, base64 in its three alignments without the characters that neighbours change, hex, URL-encoded.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let bytes = secret.as_bytes();
    let url: String = bytes
        .iter()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
                char::from(*byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    let mut list: Vec<Vec<u8>> = [
        secret.to_owned(),
        STANDARD.encode(bytes),
        STANDARD_NO_PAD.encode(bytes),
        URL_SAFE_NO_PAD.encode(bytes),
        hex::encode(bytes),
        hex::encode_upper(bytes),
        url,
        secret.replace('"', "\\\""),
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect();
    for skip in 1..3 {
        let inner = STANDARD_NO_PAD.encode(&bytes[skip..bytes.len() - bytes.len() % 3]);
        list.push(inner.as_bytes()[4..inner.len() - 4].to_vec());
    }
    list
}

#[test]
fn planted_secrets_are_found_nowhere() {
    let (oidc, keys) = (OidcProvider::start(), KeyPair::generate("RS256"));
    let echo = Upstream::start(|seen| match seen.target.as_str() {
        "/login" => json_reply(&json!({"token": "planted-session-token-31"})),
        "/token" => json_reply(&json!({
            "access_token": "planted-access-token-36", "refresh_token": "planted-next-refresh-token-37",
            "token_type": "Bearer", "expires_in": 3600,
        })),
        _ if seen.all("authorization") == ["Bearer planted-stale-access-token-38"] => {
            reply(401, format!("{:?}", seen.headers))
        }
        "/fail" => reply(500, format!("{:?}", seen.headers)),
        _ => reply(200, format!("{:?} {}", seen.headers, seen.target)),
    });
    let authority = Authority::new();
    let guarded = Upstream::with(Some(authority.server(&["http/1.1"], true)), |seen| {
        reply(200, format!("{:?}", seen.headers))
    });
    let setup = setup().set("LATCHSTRING_LOG", "trace").set("LATCHSTRING_LOG_FORMAT", "json");
    let ca = setup.folder().join("ca.pem");
    fs::write(&ca, &authority.pem).unwrap();
    let app = setup.set("LATCHSTRING_EXTRA_CA_FILE", ca.display().to_string()).start();
    let base = echo.url();
    app.set_secret("planted", "planted-project-secret/11");
    app.credential(
        "header",
        "api_key",
        &json!({"base_url": base, "key": "X-Key", "value": "planted-api-key+12"}),
    );
    app.credential(
        "query",
        "api_key",
        &json!({"base_url": base, "key": "k", "value": "planted query key&13", "in": "query"}),
    );
    app.credential(
        "cookie",
        "api_key",
        &json!({"base_url": base, "key": "sid", "value": "planted-cookie-14", "in": "cookie"}),
    );
    app.credential(
        "basic",
        "basic",
        &json!({"base_url": base, "username": "ada", "password": "planted \"password\" 15"}),
    );
    app.credential("bearer", "bearer", &json!({"base_url": base, "token": "planted-bearer-16"}));
    app.credential("templated", "custom", &json!({"base_url": base, "auth_headers": {"X-Key": "{{ get_secret('planted') }}", "X-Plain": "planted-custom-17"}}));
    app.credential(
        "jwt",
        "jwt",
        &json!({"base_url": base, "private_key": keys.private_pem, "claims": {"iss": "me"}}),
    );
    app.credential(
        "digest",
        "digest",
        &json!({"base_url": base, "username": "ada", "password": "planted-digest-password-18"}),
    );
    app.credential(
        "hmac",
        "hmac",
        &json!({"base_url": base, "signing_key": "planted-signing-key-19", "sign": ["{timestamp}"]}),
    );
    app.credential("aws", "aws_sigv4", &json!({"base_url": base, "access_key_id": "AKIDEXAMPLE", "secret_access_key": "planted/secret+access/key20", "region": "r", "service": "s"}));
    app.credential("steps", "steps", &json!({"base_url": base, "login_url": format!("{base}/login"), "login_body": {"password": "planted-login-21"}, "token_path": "token"}));
    let oauth = |secret: &str| json!({"base_url": base, "token_url": oidc.token_url(), "client_id": OidcProvider::CLIENT_ID, "client_secret": secret});
    app.credential("oauth", "oauth2_client_credentials", &oauth(OidcProvider::CLIENT_SECRET));
    app.credential("oauth-wrong", "oauth2_client_credentials", &oauth("planted-wrong-client-secret-22"));
    app.credential_of(
        "raw",
        "raw",
        "custom",
        &json!({"baseUrl": base, "deep": {"er": ["planted-raw-leaf-23"]}}),
    );
    app.credential(
        "gone",
        "bearer",
        &json!({"base_url": "http://127.0.0.1:1", "token": "planted-unreachable-24"}),
    );
    let (certificate, client_key, _, _) = authority.sign(&[], "a client");
    app.credential(
        "mtls",
        "mutual_tls",
        &json!({"base_url": localhost(&guarded), "certificate": certificate, "private_key": client_key}),
    );
    // A person's grant that was brought along: its access token is refused, so that the refresh token is used.
    let client = app.done(
        "POST",
        "/oauth-clients",
        &json!({
            "name": "Provider", "client_id": "c", "client_auth": "basic",
            "client_secret": "planted-oauth-client-secret-39", "authorization_endpoint": format!("{base}/auth"),
            "token_endpoint": format!("{base}/token"), "hosts": [echo.at.to_string()], "projects": ["acme"],
        }),
        201,
    );
    app.done(
        "POST",
        "/credentials",
        &json!({
            "name": "grant", "connector": "http", "auth_method": "oauth2_authorization_code",
            "oauth_client": client["id"], "values": {"production": {"base_url": base}}, "verify": "skip",
            "token": {"production": {
                "access_token": "planted-stale-access-token-38", "refresh_token": "planted-refresh-token-40",
            }},
            "shares": [{"project": "acme", "slug": "grant", "grants": {"production": "production"}}],
        }),
        201,
    );
    let slugs = [
        "mtls",
        "grant",
        "header",
        "query",
        "cookie",
        "basic",
        "bearer",
        "templated",
        "jwt",
        "digest",
        "hmac",
        "aws",
        "steps",
        "oauth",
        "oauth-wrong",
        "raw",
        "gone",
    ];
    for slug in slugs {
        for path in ["x", "fail", "..", "x?caller=planted-caller-query-25"] {
            app.call(
                "POST",
                &format!("{slug}/{path}"),
                &[("x-mine", "planted-caller-header-26")],
                b"planted-caller-body-27",
            );
        }
    }
    // What is refused may be no less careful.
    for values in [
        json!({"base_url": base, "token": {"wrong": "planted-wrong-shape-28"}}),
        json!({"base_url": format!("http://user:planted-in-url-29@127.0.0.1:{}", echo.at.port()), "token": "planted-refused-30"}),
        json!({"base_url": base, "token": "{{ 'planted-template-32' | nonsense }}"}),
        json!({"base_url": base, "token": "planted-verified-33", "test_path": "/fail"}),
    ] {
        let refused = app.api("POST", "/credentials", &json!({"name": "n", "connector": "http", "auth_method": "bearer", "values": {"production": values}}));
        assert_eq!(refused.status, 422, "{}", refused.text());
    }
    app.api(
        "POST",
        "/session",
        &json!({"email": "ada@example.com", "password": "planted-wrong-password-34"}),
    );
    app.call_with("lst_planted_wrong_key_35", "GET", "bearer/x", &[], b"");

    let mut secrets: Vec<String> = [
        "planted-project-secret/11",
        "planted-api-key+12",
        "planted query key&13",
        "planted-cookie-14",
        "planted \"password\" 15",
        "planted-bearer-16",
        "planted-custom-17",
        "planted-digest-password-18",
        "planted-signing-key-19",
        "planted/secret+access/key20",
        "planted-login-21",
        "planted-wrong-client-secret-22",
        "planted-raw-leaf-23",
        "planted-unreachable-24",
        "planted-caller-query-25",
        "planted-caller-header-26",
        "planted-caller-body-27",
        "planted-wrong-shape-28",
        "planted-in-url-29",
        "planted-refused-30",
        "planted-session-token-31",
        "planted-template-32",
        "planted-verified-33",
        "planted-wrong-password-34",
        "lst_planted_wrong_key_35",
        "planted-access-token-36",
        "planted-next-refresh-token-37",
        "planted-stale-access-token-38",
        "planted-oauth-client-secret-39",
        "planted-refresh-token-40",
        OidcProvider::CLIENT_SECRET,
        PASSWORD,
    ]
    .map(str::to_owned)
    .to_vec();
    secrets.extend([app.key().to_owned(), app.manage_key().to_owned()]);
    for pem in [&keys.private_pem, &client_key] {
        let lines: Vec<&str> =
            pem.lines().filter(|line| line.len() > 40 && !line.contains("-----")).collect();
        assert!(lines.len() > 1, "a key has lines");
        secrets.extend(lines.into_iter().map(str::to_owned));
    }
    assert!(guarded.count() > 0, "the client's key was used");
    let renewed = echo.seen().into_iter().filter(|seen| seen.target == "/token");
    let asked: Vec<String> = renewed.map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect();
    assert!(asked.iter().any(|form| form.contains("refresh_token=planted-refresh-token-40")), "{asked:?}");
    // What was obtained or made on the way: access tokens, JWTs, signatures.
    let sent: Vec<String> = echo
        .seen()
        .iter()
        .flat_map(|seen| seen.all("authorization").into_iter().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(sent.len() > 15, "{} calls with a credential", sent.len());
    secrets.extend(
        sent.into_iter()
            .map(|value| value.split(' ').next_back().unwrap().trim_start_matches("Signature=").to_owned())
            .filter(|value| value.len() > 16),
    );
    secrets.sort();
    secrets.dedup();

    let (stdout, log) = (app.stdout(), app.log());
    assert!(log.contains("\"DEBUG\"") && log.lines().count() > 20, "{} lines", log.lines().count());
    let setup = app.stop();
    let mut places = BTreeMap::from([
        ("stdout".to_owned(), stdout.into_bytes()),
        ("the log".to_owned(), log.into_bytes()),
    ]);
    let mut stored = Vec::new();
    files(&setup.data(), &mut stored);
    assert!(stored.iter().any(|(name, bytes)| name.ends_with("latchstring.db") && bytes.len() > 50_000));
    places.extend(stored);
    let mut found = Vec::new();
    for (name, bytes) in &places {
        for secret in &secrets {
            for form in forms(secret) {
                if contains(bytes, &form) {
                    let at = String::from_utf8_lossy(bytes);
                    let form = String::from_utf8_lossy(&form).into_owned();
                    let line = at.lines().find(|line| line.contains(&form)).unwrap_or("(no text)");
                    found.push(format!(
                        "{secret} as {form} in {name}: {}",
                        line.chars().take(400).collect::<String>()
                    ));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
