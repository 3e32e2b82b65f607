//! Digest against the `digest_auth` crate over all that it can answer.

use digest_auth::{AuthContext, HttpMethod};
use http::{HeaderMap, HeaderValue, Method};
use latchstring_schemes::digest::Digest;
use latchstring_schemes::{BodyNeed, Prepared, Scheme, SchemeError};

use crate::support::{Counting, NOW, Request, prepared};

fn scheme(user: &str, password: &str) -> Prepared {
    prepared(Scheme::Digest(Digest { username: user.into(), password: password.into() }))
}

fn challenged(scheme: &Prepared, line: &str) -> bool {
    let mut headers = HeaderMap::new();
    headers.insert("www-authenticate", HeaderValue::from_bytes(line.as_bytes()).unwrap());
    scheme.challenge(401, &headers)
}

fn part(line: &str, name: &str) -> Option<String> {
    let line = line.strip_prefix("Digest ")?;
    line.split(", ")
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        .map(|value| value.trim_matches('"').to_owned())
}

#[test]
fn another_library_agrees_on_every_algorithm_and_quality() {
    let mut compared = 0;
    for algorithm in ["", "MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess"] {
        for qop in ["", "auth", "auth-int", "auth,auth-int"] {
            for extra in ["", ", userhash=true, charset=UTF-8", ", opaque=\"o\""] {
                // Without qop there is no way to send the session's key material that both would agree on.
                if qop.is_empty() && algorithm.ends_with("sess") {
                    continue;
                }
                let mut line = "Digest realm=\"the realm\", nonce=\"abc/+=\"".to_owned();
                if !algorithm.is_empty() {
                    line.push_str(&format!(", algorithm={algorithm}"));
                }
                if !qop.is_empty() {
                    line.push_str(&format!(", qop=\"{qop}\""));
                }
                line.push_str(extra);
                let scheme = scheme("user", "pa:ss wörd");
                assert!(challenged(&scheme, &line), "{line}");
                let body: &[u8] = b"{\"a\":1}";
                let mut request = Request::new(Method::POST, "https://h/p%20q?x=1");
                request.sign(&scheme, Some(body)).unwrap();
                let ours = request.header("authorization").to_owned();

                let mut theirs = digest_auth::parse(&line).unwrap();
                let with_body = qop == "auth-int";
                let mut context = AuthContext::new_with_method(
                    "user",
                    "pa:ss wörd",
                    "/p%20q?x=1",
                    with_body.then_some(body),
                    HttpMethod::POST,
                );
                if let Some(cnonce) = part(&ours, "cnonce") {
                    context.set_custom_cnonce(cnonce);
                }
                let theirs = theirs.respond(&context).unwrap();
                assert_eq!(part(&ours, "response").unwrap(), theirs.response, "{line}\n{ours}");
                assert_eq!(part(&ours, "username").unwrap(), theirs.username, "{line}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 75);
}

#[test]
fn the_last_nonce_is_used_ahead_with_a_rising_count() {
    let scheme = scheme("u", "p");
    let mut request = Request::get("https://h/x").with("authorization", "Basic mine");
    request.sign(&scheme, None).unwrap();
    assert!(request.headers.is_empty(), "no nonce, no credentials; and not the caller's either");
    assert!(challenged(&scheme, "Digest realm=\"r\", nonce=\"n1\", qop=\"auth\", algorithm=SHA-256"));
    let entropy = Counting::new();
    let mut seen = Vec::new();
    for wanted in ["00000001", "00000002", "00000003"] {
        scheme.sign(&mut request.outgoing(), None, None, NOW, &entropy).unwrap();
        let line = request.header("authorization");
        assert_eq!(part(line, "nc").as_deref(), Some(wanted));
        seen.push(part(line, "cnonce").unwrap());
    }
    seen.dedup();
    assert_eq!(seen.len(), 3, "a client nonce is not used twice");
    // The same nonce again: counted on. Another: from the start.
    assert!(challenged(&scheme, "Digest realm=\"r\", nonce=\"n1\", qop=\"auth\", stale=true"));
    request.sign(&scheme, None).unwrap();
    assert_eq!(part(request.header("authorization"), "nc").as_deref(), Some("00000004"));
    assert!(challenged(&scheme, "Digest realm=\"r\", nonce=\"n2\", qop=\"auth\", stale=true"));
    request.sign(&scheme, None).unwrap();
    assert_eq!(part(request.header("authorization"), "nc").as_deref(), Some("00000001"));
}

#[test]
fn the_next_nonce_comes_with_an_answer() {
    let scheme = scheme("u", "p");
    let mut headers = HeaderMap::new();
    headers.insert("authentication-info", "rspauth=\"x\", nextnonce=\"n2\", nc=00000001".parse().unwrap());
    assert!(!scheme.challenge(200, &headers), "nothing to replay");
    let mut request = Request::get("https://h/");
    request.sign(&scheme, None).unwrap();
    assert!(request.headers.is_empty(), "no realm is known yet");
    challenged(&scheme, "Digest realm=\"r\", nonce=\"n1\", qop=\"auth\"");
    request.sign(&scheme, None).unwrap();
    scheme.challenge(200, &headers);
    scheme.challenge(204, &HeaderMap::new());
    request.sign(&scheme, None).unwrap();
    let line = request.header("authorization");
    assert_eq!((part(line, "nonce").as_deref(), part(line, "nc").as_deref()), (Some("n2"), Some("00000001")));
}

#[test]
fn a_session_keeps_its_client_nonce() {
    let scheme = scheme("u", "p");
    assert!(challenged(&scheme, "Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=MD5-sess"));
    let entropy = Counting::new();
    let mut cnonces = Vec::new();
    for _ in 0..2 {
        let mut request = Request::get("https://h/");
        scheme.sign(&mut request.outgoing(), None, None, NOW, &entropy).unwrap();
        cnonces.push(part(request.header("authorization"), "cnonce").unwrap());
    }
    assert_eq!(cnonces[0], cnonces[1]);
}

#[test]
fn a_body_is_held_only_where_it_is_covered() {
    let scheme = scheme("u", "p");
    let mut request = Request::new(Method::PUT, "https://h/");
    assert_eq!(scheme.body_need(&request.outgoing()), BodyNeed::Twice, "it will be refused first");
    challenged(&scheme, "Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"");
    assert!(matches!(scheme.body_need(&request.outgoing()), BodyNeed::Held { .. }));
    assert_eq!(request.sign(&scheme, None).err(), Some(SchemeError::BodyNotHeld));
    let with = |request: &mut Request, body: &[u8]| {
        request.sign(&scheme, Some(body)).unwrap();
        part(request.header("authorization"), "response").unwrap()
    };
    assert_ne!(with(&mut request, b"a"), with(&mut request, b"b"));
    challenged(&scheme, "Digest realm=\"r\", nonce=\"n2\", qop=\"auth,auth-int\"");
    assert_eq!(scheme.body_need(&request.outgoing()), BodyNeed::None);
}

proptest::proptest! {
    #[test]
    fn no_challenge_breaks_it(line in "[ -~]{0,120}", rest in ".{0,60}") {
        let scheme = scheme("u", "p");
        let mut headers = HeaderMap::new();
        for text in [line.clone(), format!("Digest realm=\"{rest}\", nonce=\"{line}\"")] {
            if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
                headers.append("www-authenticate", value);
            }
        }
        if scheme.challenge(401, &headers) {
            let mut request = Request::get("https://h/");
            let _ = request.sign(&scheme, Some(b""));
        }
    }
}
