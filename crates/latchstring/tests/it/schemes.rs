//! Every HTTP scheme, from a stored credential to what an upstream gets.

use std::io::{Read, Write};

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchstring_testkit::jwt::{Case, Key, KeyPair, jose, pyjwt};
use latchstring_testkit::{Httpbin, OidcProvider, TestApp};
use serde_json::{Value, json};

use crate::support::{
    Authority, RawServer, Reply, Seen, Upstream, app, connect, exchange, head, json_reply, localhost,
    read_head, reply, setup, split,
};

#[test]
fn keys_passwords_and_tokens_replace_what_the_caller_sent() {
    let (app, upstream) = (app(), Upstream::recording());
    let base = upstream.url();
    app.credential("none", "none", &json!({"base_url": base}));
    app.credential("header", "api_key", &json!({"base_url": base, "key": "X-Api-Key", "value": "the-key-1"}));
    app.credential(
        "prefixed",
        "api_key",
        &json!({"base_url": base, "key": "X-Api-Key", "value": "the-key-2", "prefix": "Token"}),
    );
    app.credential(
        "query",
        "api_key",
        &json!({"base_url": base, "key": "api_key", "value": "the key/3", "in": "query"}),
    );
    app.credential(
        "cookie",
        "api_key",
        &json!({"base_url": base, "key": "sid", "value": "the-key-4", "in": "cookie"}),
    );
    app.credential("basic", "basic", &json!({"base_url": base, "username": "ada", "password": "p:ä ss"}));
    app.credential("bearer", "bearer", &json!({"base_url": base, "token": "the-token-5"}));

    let mine = [("x-api-key", "mine"), ("X-API-KEY", "mine too"), ("cookie", "sid=mine; other=1")];
    let last = |slug: &str, target: &str, headers: &[(&str, &str)]| {
        let answer = app.call("GET", &format!("{slug}/{target}"), headers, b"");
        assert_eq!(answer.status, 200, "{slug}: {}", answer.text());
        upstream.last()
    };
    let none = last("none", "a?b=c", &mine);
    assert_eq!(none.target, "/a?b=c");
    assert_eq!(none.all("x-api-key"), ["mine", "mine too"], "what no scheme sets is the caller's");
    assert!(none.all("authorization").is_empty() && none.all("cookie").is_empty());
    assert_eq!(last("header", "", &mine).header("x-api-key"), "the-key-1");
    assert_eq!(last("prefixed", "", &mine).header("x-api-key"), "Token the-key-2");
    assert_eq!(
        last("query", "x?api_key=mine&a=1&%61pi_key=mine", &[]).target,
        "/x?a=1&api_key=the%20key%2F3"
    );
    assert_eq!(last("cookie", "", &mine).header("cookie"), "sid=the-key-4");
    let basic = last("basic", "", &[("x-a", "1")]);
    assert_eq!(basic.header("authorization"), format!("Basic {}", STANDARD.encode("ada:p:ä ss")));
    // The caller's own proof is one for us, in any of its forms.
    let bearer = format!("Bearer {}", app.key());
    let sent = latchstring_testkit::http::get(&app.at("/proxy/bearer/"), &[("authorization", &bearer)]);
    assert_eq!(sent.status, 200);
    assert_eq!(upstream.last().header("authorization"), "Bearer the-token-5");
    let basic = format!("Basic {}", STANDARD.encode(format!("anyone:{}", app.key())));
    let sent = latchstring_testkit::http::get(&app.at("/proxy/bearer/"), &[("authorization", &basic)]);
    assert_eq!(sent.status, 200);
    assert_eq!(
        last("bearer", "", &[("authorization", "Bearer an-sdk-insists")]).header("authorization"),
        "Bearer the-token-5"
    );
    for seen in upstream.seen() {
        let text = format!("{:?}", seen.headers);
        assert!(!text.contains("lst_") && !text.contains("latchstring"), "{text}");
    }
    app.stop();
}

#[test]
fn basic_and_bearer_are_what_httpbin_wants() {
    let (app, httpbin) = (app(), Httpbin::start());
    let base = httpbin.url();
    app.credential("basic", "basic", &json!({"base_url": base, "username": "user", "password": "passwd"}));
    app.credential("wrong", "basic", &json!({"base_url": base, "username": "user", "password": "another"}));
    app.credential("bearer", "bearer", &json!({"base_url": base, "token": "the-token-5"}));
    assert_eq!(app.get("basic/basic-auth/user/passwd").json()["authenticated"], true);
    let refused = app.get("wrong/basic-auth/user/passwd");
    assert_eq!(refused.status, 401, "an upstream's 401 is handed over");
    assert!(refused.header("latchstring-error").is_none());
    assert_eq!(app.get("bearer/bearer").json()["authenticated"], true);
}

#[test]
fn digest_in_every_hash_and_quality_that_httpbin_has() {
    let (app, httpbin) = (app(), Httpbin::start());
    let base = httpbin.url();
    app.credential("digest", "digest", &json!({"base_url": base, "username": "user", "password": "passwd"}));
    app.credential(
        "wrong",
        "digest",
        &json!({"base_url": base, "username": "user", "password": "another one"}),
    );
    for path in [
        "digest-auth/auth/user/passwd",
        "digest-auth/auth/user/passwd/MD5",
        "digest-auth/auth/user/passwd/SHA-256",
        "digest-auth/auth/user/passwd/SHA-512",
        "digest-auth/auth-int/user/passwd/SHA-256",
    ] {
        let answer = app.get(&format!("digest/{path}"));
        assert_eq!((answer.status, &answer.json()["authenticated"]), (200, &json!(true)), "{path}");
    }
    assert_eq!(app.get("wrong/digest-auth/auth/user/passwd").status, 401);
}

const DIGEST_USER: (&str, &str) = ("ada", "a-password-of-tests");

fn wants_digest(quality: &str) -> Reply {
    let mut challenge = reply(401, "");
    let wanted = format!("Digest realm=\"forms\", qop=\"{quality}\", algorithm=SHA-256, nonce=\"once\"");
    challenge.headers_mut().insert("www-authenticate", wanted.parse().unwrap());
    challenge
}

/// RFC 7616 section 3.4, written down once more: whether the proof is one over this body.
fn covers(seen: &Seen, quality: &str) -> bool {
    let line = seen.all("authorization").concat();
    let part = |name: &str| {
        let rest = line.split([' ', ',']).find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        rest.unwrap_or_default().trim_matches('"').to_owned()
    };
    let sha = |text: &[u8]| hex::encode(digest::digest(&digest::SHA256, text));
    let (user, password) = DIGEST_USER;
    let a1 = sha(format!("{user}:forms:{password}").as_bytes());
    let body = if quality == "auth-int" { format!(":{}", sha(&seen.body)) } else { String::new() };
    let a2 = sha(format!("{}:{}{body}", seen.method, seen.target).as_bytes());
    let (nc, cnonce) = (part("nc"), part("cnonce"));
    part("qop") == quality
        && part("response") == sha(format!("{a1}:once:{nc}:{cnonce}:{quality}:{a2}").as_bytes())
}

fn digest_upstream(quality: &'static str) -> Upstream {
    Upstream::start(move |seen| match covers(seen, quality) {
        true => reply(200, "taken"),
        false => wants_digest(quality),
    })
}

fn with_digest(app: &TestApp, slug: &str, base: &str) {
    let (username, password) = DIGEST_USER;
    app.credential(slug, "digest", &json!({"base_url": base, "username": username, "password": password}));
}

/// Of a credential of its own each time: what is said first has not been heard.
#[test]
fn the_first_body_is_covered_by_a_digest_that_wants_it() {
    let (app, upstream) = (app(), digest_upstream("auth-int"));
    for (slug, body) in [("small", vec![b'a'; 20]), ("full", vec![b'b'; 64 * 1024])] {
        with_digest(&app, slug, &upstream.url());
        let before = upstream.count();
        for asked in [2, 3] {
            let answer = app.call("POST", &format!("{slug}/forms"), &[], &body);
            assert_eq!((answer.status, answer.text().as_str()), (200, "taken"), "{slug}");
            assert_eq!(upstream.count() - before, asked, "{slug}: once more for the challenge alone");
            assert!(upstream.last().body == body, "{slug}");
        }
    }
    // Its length is not said.
    with_digest(&app, "chunked", &upstream.url());
    let more = "transfer-encoding: chunked\r\nconnection: close\r\n";
    let sent = [head(&app, "POST", "chunked/forms", more).as_slice(), b"3\r\nabc\r\n0\r\n\r\n"].concat();
    let (status, _) = split(&exchange(&app, &sent));
    assert!(status.starts_with("http/1.1 200"), "{status}");
    assert_eq!(upstream.last().body, b"abc");
    app.stop();
}

#[test]
fn a_digest_server_that_does_not_wait_for_the_body_gets_it_all_the_same() {
    let raw = RawServer::start(|head, stream| {
        let text = String::from_utf8_lossy(head).into_owned();
        let value = |name: &str| {
            let line = text.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
            line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned())
        };
        let Some(authorization) = value("authorization") else {
            let refused = "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Digest realm=\"forms\", qop=\"auth-int\", algorithm=SHA-256, nonce=\"once\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(refused.as_bytes()).unwrap();
            // What is closed with bytes unread is reset, and the refusal lost.
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
            return;
        };
        let mut body = vec![0; value("content-length").unwrap().parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        let seen = Seen {
            method: "POST".into(),
            target: "/forms".into(),
            version: http::Version::HTTP_11,
            headers: vec![("authorization".into(), authorization)],
            body,
            trailers: Vec::new(),
        };
        let status = if covers(&seen, "auth-int") { "200 OK" } else { "403 Forbidden" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let app = app();
    with_digest(&app, "forms", &raw.url());
    let mut stream = connect(&app);
    stream
        .write_all(&head(&app, "POST", "forms/forms", "content-length: 10\r\nconnection: close\r\n"))
        .unwrap();
    // The API has long refused the head by then, if it has seen it.
    std::thread::sleep(std::time::Duration::from_millis(300));
    stream.write_all(b"0123456789").unwrap();
    let status = String::from_utf8(read_head(&mut stream)).unwrap();
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    app.stop();
}

#[test]
fn a_first_body_that_is_too_large_to_keep_is_asked_for_once_more() {
    let app = app();
    for quality in ["auth", "auth-int"] {
        let upstream = digest_upstream(quality);
        with_digest(&app, quality, &upstream.url());
        let send = |body: &[u8]| app.call("POST", &format!("{quality}/forms"), &[], body);
        let large = vec![b'a'; 64 * 1024 + 1];
        let refused = send(&large);
        assert_eq!((refused.status, refused.header("latchstring-error")), (503, Some("busy")), "{quality}");
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert!(refused.json()["hint"].as_str().unwrap().starts_with("Send it again"), "{}", refused.text());
        assert_eq!((send(&large).status, upstream.count()), (200, 2), "{quality}");
        assert!(upstream.last().body == large);
        let huge = vec![b'a'; 8 * 1024 * 1024 + 1];
        if quality == "auth" {
            assert_eq!(send(&huge).status, 200, "it streams");
            continue;
        }
        let more = format!("content-length: {}\r\nexpect: 100-continue\r\nconnection: close\r\n", huge.len());
        let (status, body) = split(&exchange(&app, &head(&app, "POST", "auth-int/forms", &more)));
        assert!(status.starts_with("http/1.1 413") && status.contains("body_too_large"), "{status}");
        assert!(String::from_utf8(body).unwrap().contains("Send a smaller body"));
    }
    // What was sent with a proof and refused is the API's answer: a wrong password is not asked for again and again.
    for quality in ["auth", "auth-int"] {
        let (upstream, slug) = (digest_upstream(quality), format!("wrong-{quality}"));
        let values = json!({"base_url": upstream.url(), "username": "ada", "password": "another"});
        app.credential(&slug, "digest", &values);
        let send = |_| app.call("POST", &format!("{slug}/forms"), &[], &vec![b'a'; 100_000]).status;
        assert_eq!((0..3).map(send).collect::<Vec<u16>>(), [503, 401, 401], "{quality}");
    }
    app.stop();
}

/// Fixed headers that are never the same have every call rendered anew.
#[test]
fn what_a_call_was_taught_is_known_where_each_is_rendered_anew() {
    let (app, upstream) = (app(), digest_upstream("auth"));
    let (username, password) = DIGEST_USER;
    let headers = json!({"X-Call": "{{ uuid() }}"});
    let values =
        json!({"base_url": upstream.url(), "username": username, "password": password, "headers": headers});
    app.credential("forms", "digest", &values);
    let large = vec![b'a'; 100_000];
    let statuses =
        [&large, &large, &Vec::new(), &large].map(|body| app.call("POST", "forms/x", &[], body).status);
    assert_eq!(statuses, [503, 200, 200, 200]);
    assert_eq!(upstream.count(), 4, "one challenge for all of them");
    app.stop();
}

/// A core takes no connection while another has fewer: three that are open are on three cores.
#[test]
fn what_a_call_was_taught_is_known_on_every_core() {
    let upstream = Upstream::start(|seen| {
        if !seen.all("authorization").is_empty() {
            return json_reply(&json!({}));
        }
        let mut challenge = reply(401, "");
        let wanted = "Digest realm=\"forms\", qop=\"auth\", algorithm=SHA-256, nonce=\"once\"";
        challenge.headers_mut().insert("www-authenticate", wanted.parse().unwrap());
        challenge
    });
    let app = setup().set("LATCHSTRING_DATA_CORES", "3").set("LATCHSTRING_BACKGROUND_REFRESH", "off").start();
    let values = json!({"base_url": upstream.url(), "username": "ada", "password": "a-password-of-tests"});
    app.credential("forms", "digest", &values);
    let before = upstream.count();
    let open: Vec<_> = (0..3).map(|_| crate::support::connect(&app)).collect();
    let authority = app.authority();
    let bearer = format!("Bearer {}", app.key());
    for connection in open {
        let target = (authority, "/proxy/forms/list");
        let headers = [("authorization", bearer.as_str())];
        let answer = latchstring_testkit::http::over(connection, "GET", target, &headers, b"").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let seen = upstream.seen().split_off(before);
    let proofs: Vec<String> = seen.iter().map(|one| one.all("authorization").concat()).collect();
    assert_eq!(proofs.iter().filter(|proof| proof.is_empty()).count(), 1, "{proofs:?}");
    for (count, proof) in proofs.iter().filter(|proof| !proof.is_empty()).enumerate() {
        assert!(proof.contains(&format!("nc={:08x}", count + 1)), "{proofs:?}");
    }
    app.stop();
}

fn oidc_with_key(keys: &KeyPair) -> OidcProvider {
    let client = |id: &str, method: &str, grant: &str| {
        let mut client = json!({
            "client_id": id, "token_endpoint_auth_method": method, "grant_types": [grant],
            "redirect_uris": [], "response_types": [], "scope": "read write",
        });
        if method.starts_with("client_secret") {
            client["client_secret"] = json!("a-client-secret-of-tests");
        } else {
            client["jwks"] = json!({"keys": [keys.public_jwk]});
        }
        client
    };
    OidcProvider::with(&json!({"clients": [
        client("by-basic", "client_secret_basic", "client_credentials"),
        client("by-post", "client_secret_post", "client_credentials"),
        client("by-key", "private_key_jwt", "client_credentials"),
        client("robot", "none", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
    ]}))
}

#[test]
fn client_credentials_and_jwt_bearer_at_a_certified_server() {
    let keys = KeyPair::generate("ES256");
    let (app, oidc) = (app(), oidc_with_key(&keys));
    for (slug, more) in [
        ("by-basic", json!({"client_secret": "a-client-secret-of-tests", "client_auth": "basic"})),
        ("by-post", json!({"client_secret": "a-client-secret-of-tests", "client_auth": "post"})),
        (
            "by-key",
            json!({"client_auth": "private_key_jwt", "private_key": keys.private_pem, "algorithm": "ES256", "assertion_audience": oidc.issuer()}),
        ),
    ] {
        let mut values = json!({"base_url": oidc.issuer(), "token_url": oidc.token_url(), "client_id": slug, "scope": "read"});
        values.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        app.credential(slug, "oauth2_client_credentials", &values);
        oidc.reset_counts();
        for _ in 0..3 {
            let answer = app.get(&format!("{slug}/resource"));
            assert_eq!(answer.status, 200, "{slug}: {}", answer.text());
            assert_eq!(
                (&answer.json()["client_id"], &answer.json()["scope"]),
                (&json!(slug), &json!("read"))
            );
        }
        assert_eq!(oidc.token_requests(), 1, "{slug}: the token is kept");
    }
    app.credential(
        "robot",
        "oauth2_jwt_bearer",
        &json!({
            "base_url": oidc.issuer(), "token_url": oidc.token_url(), "client_id": "robot", "subject": "alice",
            "audience": oidc.issuer(), "private_key": keys.private_pem, "algorithm": "ES256", "scope": "read",
        }),
    );
    let answer = app.get("robot/resource");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["sub"], "alice");

    app.credential(
        "wrong",
        "oauth2_client_credentials",
        &json!({"base_url": oidc.issuer(), "token_url": oidc.token_url(), "client_id": "by-basic", "client_secret": "another-secret-altogether"}),
    );
    let refused = app.get("wrong/resource");
    assert_eq!((refused.status, refused.header("latchstring-error")), (502, Some("token_endpoint_error")));
    assert!(!refused.text().contains("another-secret"), "{}", refused.text());
}

#[test]
fn a_fresh_jwt_for_every_call_in_all_13_algorithms() {
    let (app, upstream) = (app(), Upstream::recording());
    let algorithms = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256",
        "HS384", "HS512",
    ];
    let secret = "a shared secret that is long enough for each of the three: 64 bytes and more";
    let mut cases = Vec::new();
    for alg in algorithms {
        let (private, key) = if alg.starts_with("HS") {
            (secret.to_owned(), Key::Secret(secret.as_bytes().to_vec()))
        } else {
            let pair = KeyPair::generate(alg);
            (pair.private_pem, Key::Public(pair.public_pem))
        };
        let slug = alg.to_ascii_lowercase();
        app.credential(
            &slug,
            "jwt",
            &json!({
                "base_url": upstream.url(), "private_key": private, "algorithm": alg,
                "claims": {"iss": "me", "aud": "you", "exp": "4000000000", "where": "{{ environment }}"},
                "jwt_headers": {"kid": "key-1"},
            }),
        );
        let mut tokens = Vec::new();
        for _ in 0..2 {
            let answer = app.get(&slug);
            assert_eq!(answer.status, 200, "{alg}: {}", answer.text());
            let token = upstream.last().header("authorization").strip_prefix("Bearer ").unwrap().to_owned();
            cases.push(Case { token: token.clone(), alg: alg.into(), key: key.clone() });
            tokens.push(token);
        }
        assert_ne!(tokens[0], tokens[1], "{alg}: a JWT is made for one call");
    }
    for judge in [jose, pyjwt] {
        for (case, verdict) in cases.iter().zip(judge(&cases)) {
            let good = verdict.unwrap_or_else(|error| panic!("{}: {error}", case.alg));
            assert_eq!((&good.header["alg"], &good.header["kid"]), (&json!(case.alg), &json!("key-1")));
            assert_eq!(good.claims["exp"], 4_000_000_000_u64, "numeric strings become numbers");
            assert_eq!((&good.claims["iss"], &good.claims["where"]), (&json!("me"), &json!("production")));
            assert!(good.claims["jti"].is_string() && good.claims["iat"].is_u64(), "{}", good.claims);
        }
    }
}

#[test]
fn an_hmac_signature_covers_what_was_sent() {
    let (app, upstream) = (app(), Upstream::recording());
    app.credential(
        "hmac",
        "hmac",
        &json!({
            "base_url": upstream.url(), "signing_key": "a shared signing key", "key_id": "id-1",
            "sign": ["{timestamp}", "{method}", "{target}", "{body}"], "separator": "\n",
            "signature_value": "{key_id}:{signature}", "signed_headers": {"X-Timestamp": "{timestamp}"},
        }),
    );
    let answer = app.call(
        "POST",
        "hmac/orders?x=1",
        &[("x-signature", "forged"), ("x-timestamp", "1")],
        b"{\"a\": 1}",
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = upstream.last();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"a shared signing key");
    let text = format!("{}\nPOST\n/orders?x=1\n{{\"a\": 1}}", seen.header("x-timestamp"));
    let want = hex::encode(hmac::sign(&key, text.as_bytes()));
    assert_eq!(seen.header("x-signature"), format!("id-1:{want}"));
    assert_eq!(seen.body, b"{\"a\": 1}");
}

/// The algorithm of AWS's documentation ("Create a signed AWS API request"), over what the upstream saw.
fn sigv4(seen: &crate::support::Seen, secret: &str, region: &str, service: &str) -> String {
    let sha = |bytes: &[u8]| hex::encode(digest::digest(&digest::SHA256, bytes));
    let authorization = seen.header("authorization");
    let signed = authorization.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
    let date = seen.header("x-amz-date");
    let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") })
        .collect();
    pairs.sort();
    let headers: String =
        signed.split(';').map(|name| format!("{name}:{}\n", seen.header(name).trim())).collect();
    let canonical =
        format!("{}\n{path}\n{}\n{headers}\n{signed}\n{}", seen.method, pairs.join("&"), sha(&seen.body));
    let scope = format!("{}/{region}/{service}/aws4_request", &date[..8]);
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha(canonical.as_bytes()));
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [&date[..8], region, service, "aws4_request", &text] {
        key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
    }
    hex::encode(key)
}

#[test]
fn aws_would_accept_the_signature() {
    let (app, upstream) = (app(), Upstream::recording());
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    app.credential(
        "aws",
        "aws_sigv4",
        &json!({
            "base_url": upstream.url(), "access_key_id": "AKIDEXAMPLE", "secret_access_key": secret,
            "session_token": "a/session+token=", "region": "eu-central-1", "service": "execute-api",
        }),
    );
    for (method, target, body) in
        [("GET", "stage/items?b=2&a=1&a=0", ""), ("POST", "stage/items", "{\"n\": 1}"), ("DELETE", "", "")]
    {
        let forged = [("x-amz-date", "20200101T000000Z"), ("x-amz-security-token", "forged")];
        let answer = app.call(method, &format!("aws/{target}"), &forged, body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = upstream.last();
        assert_eq!(seen.header("x-amz-security-token"), "a/session+token=");
        let authorization = seen.header("authorization");
        assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{authorization}");
        let signature = authorization.split("Signature=").nth(1).unwrap();
        assert_eq!(signature, sigv4(&seen, secret, "eu-central-1", "execute-api"), "{method} {target}");
    }
}

#[test]
fn a_client_certificate_is_shown() {
    let authority = Authority::new();
    let upstream = Upstream::with(Some(authority.server(&["http/1.1"], true)), |_| reply(200, "welcome"));
    let setup = setup();
    let ca = setup.folder().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let app = setup.set("LATCHSTRING_EXTRA_CA_FILE", ca.display().to_string()).start();
    let (certificate, key, _, _) = authority.sign(&[], "a client");
    let base = localhost(&upstream);
    app.credential(
        "mtls",
        "mutual_tls",
        &json!({"base_url": base, "certificate": certificate, "private_key": key}),
    );
    app.credential("plain", "none", &json!({"base_url": base}));
    assert_eq!(app.get("mtls/x").text(), "welcome");
    let refused = app.get("plain/x");
    assert_eq!((refused.status, refused.header("latchstring-error")), (502, Some("upstream_unreachable")));
    assert_eq!(upstream.count(), 1, "connections are not shared between identities");

    let stranger = Authority::new();
    let (certificate, key, _, _) = stranger.sign(&[], "a stranger");
    app.credential(
        "stranger",
        "mutual_tls",
        &json!({"base_url": base, "certificate": certificate, "private_key": key}),
    );
    assert_eq!(app.get("stranger/x").status, 502);
    assert_eq!(app.get("mtls/x").text(), "welcome");
}

/// One key, made with OpenSSL: encrypted, in the open, and its public half.
const ENCRYPTED: &str = include_str!("../../../schemes/tests/data/keys/rsa2048.aes256.pem");
const IN_THE_OPEN: &str = include_str!("../../../schemes/tests/data/keys/rsa2048.pkcs8.pem");
const PUBLIC: &str = include_str!("../../../schemes/tests/data/keys/rsa2048.pub.pem");
const PASSPHRASE: &str = "correct horse";

#[test]
fn an_encrypted_key_is_opened_with_its_passphrase() {
    let authority = Authority::new();
    let upstream = Upstream::start(|seen| match seen.target.as_str() {
        "/token" => json_reply(&json!({"access_token": "the-token-5", "token_type": "Bearer"})),
        _ => json_reply(&json!({"resourceType": "Bundle"})),
    });
    let guarded = Upstream::with(Some(authority.server(&["http/1.1"], true)), |_| reply(200, "welcome"));
    let setup = setup();
    let ca = setup.folder().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let near = format!("fhir={}", upstream.url().trim_start_matches("http://"));
    let setup = setup.set("LATCHSTRING_EXTRA_HOSTS", near);
    let app = setup.set("LATCHSTRING_EXTRA_CA_FILE", ca.display().to_string()).start();
    let jwt = json!({"base_url": upstream.url(), "private_key": ENCRYPTED, "claims": {"iss": "me"}});
    let bearer = json!({
        "base_url": upstream.url(), "token_url": format!("{}/token", upstream.url()), "client_id": "robot",
        "subject": "alice", "audience": "you", "private_key": ENCRYPTED,
    });
    let client = json!({
        "base_url": upstream.url(), "token_url": format!("{}/token", upstream.url()), "client_id": "robot",
        "client_auth": "private_key_jwt", "private_key": ENCRYPTED,
    });
    let mtls = json!({
        "base_url": localhost(&guarded), "certificate": authority.certify(IN_THE_OPEN, "a client"),
        "private_key": ENCRYPTED,
    });
    let oauth1 = json!({
        "base_url": upstream.url(), "consumer_key": "robot", "signature_method": "RSA-SHA256",
        "private_key": ENCRYPTED,
    });
    // The key of the client certificate has a passphrase of its own, beside the one of an assertion's key.
    let certified = json!({
        "base_url": localhost(&guarded), "token_url": format!("{}/token", upstream.url()), "client_id": "robot",
        "client_secret": "the-secret-5", "client_certificate": authority.certify(IN_THE_OPEN, "a client"),
        "client_key": ENCRYPTED,
    });
    let smart = json!({
        "base_url": upstream.url(), "token_url": format!("{}/token", upstream.url()), "client_id": "robot",
        "private_key": ENCRYPTED, "key_id": "key-5",
    });
    let methods = [
        ("http", "jwt", jwt),
        ("http", "oauth2_jwt_bearer", bearer),
        ("http", "oauth2_client_credentials", client),
        ("http", "mutual_tls", mtls),
        ("http", "oauth1", oauth1),
        ("http", "certified", certified),
        ("fhir", "backend_services", smart),
    ];
    let create = |(connector, name, values): &(&str, &str, Value), passphrase: Option<&str>| {
        let mut values = values.clone();
        let (method, field) = match *name {
            "certified" => ("oauth2_client_credentials", "client_key_passphrase"),
            method => (method, "passphrase"),
        };
        if let Some(passphrase) = passphrase {
            values[field] = passphrase.into();
        }
        app.api(
            "POST",
            "/credentials",
            &json!({
                "name": name, "connector": connector, "auth_method": method, "values": {"production": values},
                "shares": [{"project": "acme", "slug": name.replace('_', "-"), "grants": {"production": "production"}}],
            }),
        )
    };
    for which in &methods {
        let method = which.1;
        for (passphrase, says) in [
            (None, "Give its passphrase too"),
            (Some("incorrect horse"), "does not open this private key. Check it"),
        ] {
            let refused = create(which, passphrase);
            assert_eq!(refused.status, 422, "{method}: {}", refused.text());
            assert!(refused.text().contains(says), "{method}: {}", refused.text());
            assert!(!refused.text().contains("incorrect horse"), "{}", refused.text());
        }
    }
    assert_eq!((upstream.count(), guarded.count()), (0, 0));

    for which in &methods {
        let method = which.1;
        let made = create(which, Some(PASSPHRASE));
        assert_eq!(made.status, 201, "{method}: {}", made.text());
        assert!(!made.text().contains(PASSPHRASE), "{}", made.text());
    }
    assert_eq!(app.get("mutual-tls/x").text(), "welcome");
    assert_eq!(app.get("certified/x").text(), "welcome");
    assert_eq!(app.get("oauth1/x").status, 200);
    assert!(upstream.last().header("authorization").contains("RSA-SHA256"));
    assert_eq!(app.get("backend-services/x").status, 200);
    assert_eq!(upstream.last().header("authorization"), "Bearer the-token-5");
    let mut signed = Vec::new();
    assert_eq!(app.get("jwt/x").status, 200);
    signed.push(upstream.last().header("authorization").strip_prefix("Bearer ").unwrap().to_owned());
    for (slug, name) in
        [("oauth2-jwt-bearer", "assertion="), ("oauth2-client-credentials", "client_assertion=")]
    {
        let answer = app.get(&format!("{slug}/x"));
        assert_eq!(answer.status, 200, "{slug}: {}", answer.text());
        assert_eq!(upstream.last().header("authorization"), "Bearer the-token-5");
        // Tokens are asked for when a credential is stored.
        let asked = upstream.seen().into_iter().filter(|seen| seen.target == "/token");
        let forms: Vec<String> = asked.map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect();
        let assertion =
            forms.iter().flat_map(|form| form.split('&')).find_map(|pair| pair.strip_prefix(name));
        signed.push(assertion.unwrap_or_else(|| panic!("{slug}: {forms:?}")).to_owned());
    }
    let cases: Vec<Case> = signed
        .into_iter()
        .map(|token| Case { token, alg: "RS256".into(), key: Key::Public(PUBLIC.into()) })
        .collect();
    for verdict in jose(&cases) {
        verdict.unwrap();
    }
    app.stop();
}

#[test]
fn a_certificate_of_nobody_is_refused() {
    let upstream =
        Upstream::with(Some(Authority::new().server(&["http/1.1"], false)), |_| reply(200, "trap"));
    let app = app();
    app.credential("tls", "bearer", &json!({"base_url": localhost(&upstream), "token": "the-token-5"}));
    assert_eq!(app.get("tls/x").status, 502);
    assert_eq!(upstream.count(), 0);
}

#[test]
fn custom_headers_query_and_cookies() {
    let (app, upstream) = (app(), Upstream::recording());
    app.credential(
        "custom",
        "custom",
        &json!({
            "base_url": upstream.url(), "auth_headers": {"X-App": "app-secret-1", "X-Sum": "{{ 'a' | sha256 }}"},
            "auth_query": {"sig": "q&secret"}, "auth_cookies": {"a": "cookie-secret-1", "b": "cookie-secret-2"},
            "headers": {"X-Fixed": "always"}, "query": {"v": "2"},
        }),
    );
    let answer = app.call(
        "GET",
        "custom/p?sig=mine&v=1&z=1",
        &[("x-app", "mine"), ("x-fixed", "mine"), ("cookie", "a=mine")],
        b"",
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = upstream.last();
    assert_eq!(seen.header("x-app"), "app-secret-1");
    assert_eq!(seen.header("x-sum"), hex::encode(digest::digest(&digest::SHA256, b"a")));
    assert_eq!(seen.header("x-fixed"), "always");
    assert_eq!(seen.header("cookie"), "a=cookie-secret-1; b=cookie-secret-2");
    assert_eq!(seen.target, "/p?z=1&v=2&sig=q%26secret");
}

#[test]
fn a_login_in_steps() {
    let upstream = Upstream::start(|seen| {
        let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        match (seen.method.as_str(), seen.target.as_str()) {
            ("POST", "/login") if body["password"] == "the-password-1" => {
                let mut answer = json_reply(&json!({"data": {"token": "session-token-abc"}}));
                answer.headers_mut().insert("set-cookie", "sid=session-cookie-abc; Path=/".parse().unwrap());
                answer
            }
            ("POST", "/login") => reply(401, "{\"message\": \"wrong password\"}"),
            _ => json_reply(&json!({})),
        }
    });
    let app = app();
    let values = |password: &str| {
        json!({
            "base_url": upstream.url(), "login_url": format!("{}/login", upstream.url()),
            "login_body": {"user": "ada", "password": password},
        })
    };
    let mut by_token = values("the-password-1");
    by_token["token_path"] = json!("data.token");
    by_token["token_header"] = json!("X-Session");
    by_token["token_prefix"] = json!("Session");
    app.credential("by-token", "steps", &by_token);
    app.credential("by-cookie", "steps", &values("the-password-1"));
    app.credential("wrong", "steps", &values("another-password"));
    for _ in 0..2 {
        let answer = app.call("GET", "by-token/things", &[("x-session", "mine")], b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(upstream.last().header("x-session"), "Session session-token-abc");
    }
    assert_eq!(app.get("by-cookie/things").status, 200);
    assert_eq!(upstream.last().header("cookie"), "sid=session-cookie-abc");
    let logins = |upstream: &Upstream| upstream.seen().iter().filter(|seen| seen.target == "/login").count();
    assert_eq!(logins(&upstream), 2);
    let before = upstream.count();
    let refused = app.get("wrong/things");
    assert_eq!((refused.status, refused.header("latchstring-error")), (502, Some("token_endpoint_error")));
    assert_eq!(upstream.count(), before + 1, "only the login was asked");
    assert!(!refused.text().contains("another-password"), "{}", refused.text());
}

#[test]
fn raw_objects_are_sent_as_their_request_says() {
    let (app, upstream) = (app(), Upstream::recording());
    app.credential_of(
        "raw",
        "raw",
        "custom",
        &json!({
            "baseUrl": upstream.url(), "apiKey": "raw-secret-1", "nested": {"id": "raw-secret-2"},
            "request": {"headers": {"X-Key": "{{ apiKey }}"}, "query": {"id": "{{ nested.id }}"}},
        }),
    );
    app.credential_of("raw", "kept", "custom", &json!({"apiKey": "raw-secret-3"}));
    assert_eq!(app.get("raw/x").status, 200);
    assert_eq!(upstream.last().header("x-key"), "raw-secret-1");
    assert_eq!(upstream.last().target, "/x?id=raw-secret-2");
    let kept = app.get("kept/x");
    assert_eq!(
        (kept.status, kept.header("latchstring-error")),
        (422, Some("no_base_url")),
        "{}",
        kept.text()
    );
    assert_eq!(upstream.count(), 1);
}

#[test]
fn templates_see_who_calls_and_a_missing_secret_sends_nothing() {
    let (app, upstream) = (app(), Upstream::recording());
    app.set_secret("shared_key", "the-shared-key-1");
    app.credential(
        "templated",
        "custom",
        &json!({
            "base_url": upstream.url(),
            "auth_headers": {"X-Key": "{{ get_secret('shared_key') }}", "X-Who": "{{ user.email }}", "X-Where": "{{ project.slug }}/{{ environment }}"},
        }),
    );
    app.set_secret("short_lived", "the-short-lived-key");
    app.credential(
        "missing",
        "custom",
        &json!({"base_url": upstream.url(), "auth_headers": {"X-Key": "{{ get_secret('short_lived') }}"}}),
    );
    app.done("DELETE", "/projects/acme/environments/production/secrets/short_lived", &Value::Null, 204);
    let at = [("latchstring-project", "acme"), ("latchstring-environment", "production")];
    let answer = app.call_with(app.manage_key(), "GET", "templated/x", &at, b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = upstream.last();
    assert_eq!(seen.header("x-key"), "the-shared-key-1");
    assert_eq!(seen.header("x-who"), latchstring_testkit::app::EMAIL);
    assert_eq!(seen.header("x-where"), "acme/production");
    for (slug, code) in [("templated", "template_error"), ("missing", "secret_missing")] {
        let refused = app.get(&format!("{slug}/x"));
        assert_eq!(
            (refused.status, refused.header("latchstring-error")),
            (424, Some(code)),
            "{}",
            refused.text()
        );
    }
    assert_eq!(upstream.count(), 1, "what could not be rendered was not sent");
}
