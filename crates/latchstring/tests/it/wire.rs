//! HTTP as it goes through: paths, headers, statuses and bodies byte for byte, in both versions.

use std::io::{Read, Write};

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use latchstring_testkit::TestApp;
use serde_json::json;

use crate::support::{
    Authority, RawServer, Upstream, app, connect, connect_h2, exchange, head, localhost, read_head, reply,
    setup, split,
};

fn with_bearer(app: &TestApp, base: &str) {
    app.credential("up", "bearer", &json!({"base_url": base, "token": "the-token-5"}));
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

#[test]
fn the_callers_path_and_query_are_kept_byte_for_byte() {
    let (app, raw) = (app(), RawServer::answering(OK));
    with_bearer(&app, &format!("{}/base/", raw.url()));
    let targets = [
        "",
        "a",
        "a/",
        "a//b///c",
        "a;b=c;d",
        "%2F%2f",
        "a%20b+c",
        "caf%C3%A9",
        "%41%7e~",
        "a:b@c!$&'()*,=",
        "...",
        "..a/.b",
        "x?",
        "x?a=b&a=b&&=",
        "x?q=../..\\..",
        "x?q=%2e%2e%2f%00",
        "x??a=?b",
        "x?a=1#",
        "100%25",
        "a|b",
        "[1]",
        "a\"b",
        "{x}",
        "a^b",
    ];
    for target in targets {
        let answer = app.get(&format!("up/{target}"));
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        let first = String::from_utf8(raw.heads().pop().unwrap()).unwrap();
        let sent = first.lines().next().unwrap();
        // A fragment is no part of a request target: hyper cuts it, as a browser would.
        let want = format!("GET /base/{} HTTP/1.1", target.trim_end_matches('#'));
        assert_eq!(sent, want, "{target}");
    }
    assert_eq!(raw.heads().len(), targets.len());
    assert_eq!(app.get("up").status, 200);
    app.stop();
}

#[test]
fn paths_that_could_leave_the_prefix_are_refused_and_nothing_is_sent() {
    let (app, raw) = (app(), RawServer::answering(OK));
    with_bearer(&app, &format!("{}/base", raw.url()));
    for target in [
        "..",
        "../admin",
        "a/../../b",
        ".",
        "./a",
        "a/.",
        "%2e%2e/a",
        "%2E%2E%2Fadmin",
        ".%2e/a",
        "%252e%252e/a",
        "a/%252e%252e%252fb",
        "a\\b",
        "..\\a",
        "a%5cb",
        "%255c",
        "a%00",
        "a%0d%0aHost:%20x",
        "a%7f",
        "..;/a",
        "a/..;x=y/b",
        "a%2f..%2fb",
    ] {
        let answer = app.get(&format!("up/{target}"));
        assert_eq!((answer.status, answer.header("latchstring-error")), (400, Some("bad_path")), "{target}");
        assert!(answer.header("latchstring-call-id").is_some());
    }
    for raw_bytes in ["a\tb", "a\x01b", "a\x7fb", "a`b"] {
        let answer = exchange(&app, &head(&app, "GET", &format!("up/{raw_bytes}"), "connection: close\r\n"));
        assert!(answer.starts_with(b"HTTP/1.1 400"), "{raw_bytes:?}: {}", String::from_utf8_lossy(&answer));
    }
    assert!(raw.heads().is_empty(), "nothing was sent");
}

#[test]
fn callers_that_are_not_known_or_not_allowed_send_nothing() {
    let (app, upstream) = (app(), Upstream::recording());
    with_bearer(&app, &upstream.url());
    app.credential("other", "none", &json!({"base_url": upstream.url()}));
    let get = |key: &str, target: &str, more: &[(&str, &str)]| {
        let answer = app.call_with(key, "GET", target, more, b"");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        (answer.status, answer.header("latchstring-error").unwrap_or_default().to_owned())
    };
    let refused = |status: u16, code: &str| (status, code.to_owned());
    for key in ["", "lst_unknown", "the-token-5", "Bearer x"] {
        assert_eq!(get(key, "up/x", &[]), refused(401, "unauthenticated"), "{key}");
    }
    assert_eq!(get(app.key(), "nothing/x", &[]), refused(404, "credential_not_found"));
    let staging = app.service_key("staging");
    assert_eq!(get(&staging, "up/x", &[]), refused(403, "no_grant"));
    assert_eq!(
        get(app.key(), "up/x", &[("latchstring-environment", "staging")]).0,
        403,
        "headers widen nothing"
    );
    assert_eq!(get(app.manage_key(), "up/x", &[]).0, 422, "a personal key names its project");
    let up = app.done("GET", "/credentials?q=up", &json!(null), 200)["items"][0]["id"].clone();
    let limited = app.limited_key(&json!({
        "name": "limited", "environment": "production", "credentials": [up], "methods": ["GET"],
        "path_prefixes": ["/v1"], "networks": ["127.0.0.0/8"],
    }));
    let limited = limited["key"].as_str().unwrap();
    assert_eq!(app.call_with(limited, "GET", "up/v1/x", &[], b"").status, 200);
    assert_eq!(get(limited, "up/v2/x", &[]), refused(403, "not_allowed"));
    assert_eq!(app.call_with(limited, "POST", "up/v1/x", &[], b"").status, 403);
    assert_eq!(
        app.call_with(limited, "GET", "other/v1", &[], b"").header("latchstring-error"),
        Some("not_allowed")
    );
    let elsewhere =
        app.limited_key(&json!({"name": "e", "environment": "production", "networks": ["10.0.0.0/8"]}));
    assert_eq!(get(elsewhere["key"].as_str().unwrap(), "up/x", &[]), refused(403, "not_allowed"));
    let operations =
        app.limited_key(&json!({"name": "o", "environment": "production", "operations_only": true}));
    assert_eq!(get(operations["key"].as_str().unwrap(), "up/x", &[]), refused(403, "not_allowed"));
    assert_eq!(upstream.count(), 1);
    app.stop();
}

#[test]
fn an_upgrade_is_not_served() {
    let (app, upstream) = (app(), Upstream::recording());
    with_bearer(&app, &upstream.url());
    for more in
        ["connection: upgrade\r\nupgrade: websocket\r\n", "upgrade: h2c\r\nconnection: upgrade, close\r\n"]
    {
        let mut stream = connect(&app);
        stream.write_all(&head(&app, "GET", "up/x", more)).unwrap();
        let answer = String::from_utf8(read_head(&mut stream)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 501"), "{answer}");
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn only_what_is_meant_for_the_upstream_reaches_it() {
    let (app, upstream) = (app(), Upstream::recording());
    with_bearer(&app, &upstream.url());
    let more = "connection: close, x-private\r\nx-private: 1\r\nkeep-alive: 1\r\nte: trailers\r\nproxy-authorization: x\r\n\
                cookie: a=b\r\nx-forwarded-for: 6.6.6.6\r\nx-forwarded-host: evil\r\nforwarded: for=1\r\nx-real-ip: 1\r\n\
                latchstring-other: 1\r\nx-request-id: keep-me\r\naccept: text/html\r\nx-twice: 1\r\nx-twice: 2\r\nuser-agent: mine\r\n";
    let answer = exchange(&app, &head(&app, "GET", "up/x", more));
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let mut names: Vec<String> = upstream.last().headers.into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "accept",
            "authorization",
            "connection",
            "host",
            "te",
            "user-agent",
            "x-request-id",
            "x-twice",
            "x-twice"
        ]
    );
    // These two are our own: what the caller said was `close, x-private`.
    assert_eq!((upstream.last().header("connection"), upstream.last().header("te")), ("TE", "trailers"));
    assert_eq!(upstream.last().header("host"), upstream.at.to_string());
}

#[test]
fn status_headers_and_bodies_come_back_as_the_upstream_gave_them() {
    let raw = RawServer::start(|head, stream| {
        let text = String::from_utf8_lossy(head).into_owned();
        let path = text.split(' ').nth(1).unwrap();
        let answer: &[u8] = match path {
            "/204" => b"HTTP/1.1 204 No Content\r\netag: \"a\"\r\nconnection: close\r\n\r\n",
            "/304" => b"HTTP/1.1 304 Not Modified\r\netag: \"b\"\r\ncontent-length: 7\r\nconnection: close\r\n\r\n",
            "/head" => b"HTTP/1.1 200 OK\r\ncontent-length: 123456\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n",
            "/302" => b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "/599" => b"HTTP/1.1 599 Whatever\r\ncontent-length: 3\r\nx-odd: \xe9\xff\r\nconnection: close\r\n\r\n\x00\xff\x01",
            "/close" => b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end",
            _ => b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\nset-cookie: c=d\r\nstrict-transport-security: max-age=1\r\n\
                   content-security-policy: default-src *\r\naccess-control-allow-origin: *\r\nclear-site-data: \"*\"\r\n\
                   latchstring-error: forged\r\nlatchstring-call-id: forged\r\nkeep-alive: timeout=5\r\nx-rate: 1\r\nx-rate: 2\r\n\
                   content-length: 2\r\nconnection: close\r\n\r\nok",
        };
        let _ = stream.write_all(answer);
    });
    let app = app();
    with_bearer(&app, &raw.url());
    let get = |method: &str, target: &str| {
        split(&exchange(&app, &head(&app, method, &format!("up/{target}"), "connection: close\r\n")))
    };
    let (head_204, body) = get("GET", "204");
    assert!(
        head_204.starts_with("http/1.1 204") && head_204.contains("etag: \"a\"") && body.is_empty(),
        "{head_204}"
    );
    assert!(!head_204.contains("content-length"), "{head_204}");
    let (head_304, body) = get("GET", "304");
    assert!(
        head_304.starts_with("http/1.1 304") && head_304.contains("etag: \"b\"") && body.is_empty(),
        "{head_304}"
    );
    let (answer, body) = get("HEAD", "head");
    assert!(answer.contains("content-length: 123456") && body.is_empty(), "{answer}");
    let (answer, _) = get("GET", "302");
    assert!(
        answer.starts_with("http/1.1 302") && answer.contains("location: http://169.254.169.254/latest"),
        "{answer}"
    );
    let raw_answer = exchange(&app, &head(&app, "GET", "up/599", "connection: close\r\n"));
    assert!(raw_answer.starts_with(b"HTTP/1.1 599"), "{}", String::from_utf8_lossy(&raw_answer));
    assert!(
        raw_answer.windows(10).any(|ten| ten == b"x-odd: \xe9\xff\r"),
        "header bytes beyond ASCII are kept"
    );
    assert_eq!(split(&raw_answer).1, b"\x00\xff\x01");
    assert_eq!(
        latchstring_testkit::http::get(&app.at("/proxy/up/close"), &[("latchstring-key", app.key())]).text(),
        "until the end"
    );

    let plain = app.get("up/plain");
    assert_eq!(plain.text(), "ok");
    for gone in [
        "set-cookie",
        "strict-transport-security",
        "access-control-allow-origin",
        "clear-site-data",
        "latchstring-error",
        "keep-alive",
    ] {
        assert_eq!(plain.header(gone), None, "{gone}");
    }
    assert_eq!(plain.header("content-security-policy"), Some("sandbox"));
    assert_eq!(plain.header("x-content-type-options"), Some("nosniff"));
    assert!(
        plain.header("latchstring-call-id").unwrap().starts_with("call_")
            || plain.header("latchstring-call-id") != Some("forged")
    );
    let rates: Vec<&str> =
        plain.headers.iter().filter(|(name, _)| name == "x-rate").map(|(_, value)| value.as_str()).collect();
    assert_eq!(rates, ["1", "2"]);
    app.stop();
}

#[test]
fn a_compressed_body_is_not_touched() {
    // Not gzip at all: what does not decode is passed as it is, too.
    let body = b"\x1f\x8b\x08\x00some-bytes\x00\xff".to_vec();
    let wanted = body.clone();
    let upstream = Upstream::start(move |seen| {
        let mut answer = reply(200, body.clone());
        answer.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        answer.headers_mut().insert("content-type", "text/plain".parse().unwrap());
        assert_eq!(seen.header("accept-encoding"), "gzip, br");
        answer
    });
    let app = app();
    with_bearer(&app, &upstream.url());
    let answer = app.call("GET", "up/x", &[("accept-encoding", "gzip, br")], b"");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.body, wanted);
    drop(app);
    let app = crate::support::app();
    with_bearer(&app, &upstream.url());
    assert!(upstream.seen().iter().all(|seen| seen.all("accept-encoding") == ["gzip, br"]));
}

#[test]
fn every_method_passes_with_its_body() {
    let (app, upstream) = (app(), Upstream::recording());
    with_bearer(&app, &upstream.url());
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY"] {
        let answer = app.call(method, "up/x", &[("content-type", "text/x")], b"a body");
        assert_eq!(answer.status, 200, "{method}");
        let seen = upstream.last();
        assert_eq!((seen.method.as_str(), seen.body.as_slice()), (method, b"a body".as_slice()));
        assert_eq!((seen.header("content-length"), seen.header("content-type")), ("6", "text/x"));
    }
    let chunked = [
        head(&app, "POST", "up/x", "transfer-encoding: chunked\r\nconnection: close\r\n"),
        b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_vec(),
    ]
    .concat();
    assert!(exchange(&app, &chunked).starts_with(b"HTTP/1.1 200"));
    assert_eq!(upstream.last().body, b"abcde");
    // Two lengths, or a length and chunks, are how requests are smuggled.
    let before = upstream.count();
    for more in
        ["content-length: 3\r\ncontent-length: 4\r\n", "content-length: 3, 4\r\n", "content-length: +3\r\n"]
    {
        let bytes = [head(&app, "POST", "up/x", more), b"abcd".to_vec()].concat();
        assert!(exchange(&app, &bytes).starts_with(b"HTTP/1.1 400"), "{more}");
    }
    assert_eq!(upstream.count(), before);
    // Chunked wins over a length, and the length is not handed on.
    let both = [
        head(
            &app,
            "POST",
            "up/x",
            "content-length: 99\r\ntransfer-encoding: chunked\r\nconnection: close\r\n",
        ),
        b"1\r\nx\r\n0\r\n\r\n".to_vec(),
    ]
    .concat();
    let answer = exchange(&app, &both);
    if answer.starts_with(b"HTTP/1.1 200") {
        assert_eq!(upstream.last().body, b"x");
        assert!(upstream.last().all("content-length").is_empty());
    } else {
        assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn a_client_that_expects_100_continue_gets_it_when_its_body_is_wanted() {
    let (app, upstream) = (app(), Upstream::recording());
    with_bearer(&app, &upstream.url());
    let mut stream = connect(&app);
    stream
        .write_all(&head(
            &app,
            "POST",
            "up/x",
            "expect: 100-continue\r\ncontent-length: 4\r\nconnection: close\r\n",
        ))
        .unwrap();
    let interim = String::from_utf8(read_head(&mut stream)).unwrap();
    assert!(interim.starts_with("HTTP/1.1 100"), "{interim}");
    stream.write_all(b"body").unwrap();
    let answer = String::from_utf8(read_head(&mut stream)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(upstream.last().body, b"body");
    assert!(upstream.last().all("expect").is_empty());
    // A refusal comes without asking for the body.
    let mut stream = connect(&app);
    let refused =
        head(&app, "POST", "up/../x", "expect: 100-continue\r\ncontent-length: 4\r\nconnection: close\r\n");
    stream.write_all(&refused).unwrap();
    let answer = String::from_utf8(read_head(&mut stream)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

/// RFC 9110 section 15.2 wants a proxy to hand on interim answers that it has not asked for. hyper's server has one
/// answer for a request and no way to send another before it, so they end here; docs/auth/README.md says so. What a
/// caller must not meet is an interim answer taken for the final one, or one that was not meant for it.
#[test]
fn interim_answers_of_the_upstream_end_here_and_do_not_confuse() {
    let raw = RawServer::answering(
        "HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nfinal",
    );
    let app = app();
    with_bearer(&app, &raw.url());
    let answer = app.get("up/x");
    assert_eq!((answer.status, answer.text().as_str()), (200, "final"));
    assert_eq!(answer.header("link"), None, "what an interim answer said is not mixed with the final one");
    let bytes = exchange(&app, &head(&app, "GET", "up/x", "connection: close\r\n"));
    let (first, body) = split(&bytes);
    assert!(first.starts_with("http/1.1 200") && body == b"final", "{}", String::from_utf8_lossy(&bytes));
    // One for `Expect` comes from here, when the body is asked for, and the upstream's own is not added to it.
    let hasty = RawServer::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        let mut body = [0; 4];
        if stream.read_exact(&mut body).is_ok() {
            let _ = stream.write_all(OK.as_bytes());
        }
    });
    app.credential("hasty", "bearer", &json!({"base_url": hasty.url(), "token": "the-token-5"}));
    let request = [
        head(&app, "POST", "hasty/x", "expect: 100-continue\r\ncontent-length: 4\r\nconnection: close\r\n"),
        b"body".to_vec(),
    ]
    .concat();
    let said = String::from_utf8(exchange(&app, &request)).unwrap();
    let statuses: Vec<&str> = said.lines().filter(|line| line.starts_with("HTTP/1.1 ")).collect();
    assert!(statuses.len() <= 2 && statuses.last().unwrap().starts_with("HTTP/1.1 200"), "{said}");
    assert!(said.ends_with("\r\n\r\nok"), "{said}");
}

#[test]
fn trailers_pass_both_ways() {
    let raw = RawServer::start(|_, stream| {
        let mut body = Vec::new();
        let mut byte = [0];
        while !body.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                break;
            }
            body.push(byte[0]);
        }
        let got = String::from_utf8_lossy(&body).to_ascii_lowercase().contains("x-up: there");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-down\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n5\r\nhello\r\n0\r\nx-down: {got}\r\n\r\n"
        );
        let _ = stream.write_all(answer.as_bytes());
    });
    let app = app();
    with_bearer(&app, &raw.url());
    let request = [
        head(
            &app,
            "POST",
            "up/x",
            "te: trailers\r\ntrailer: x-up\r\ntransfer-encoding: chunked\r\nconnection: close\r\n",
        ),
        b"3\r\nabc\r\n0\r\nx-up: there\r\n\r\n".to_vec(),
    ]
    .concat();
    let (answer, body) = split(&exchange(&app, &request));
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert_eq!(String::from_utf8(body).unwrap(), "5\r\nhello\r\n0\r\nx-down: true\r\n\r\n");
}

fn h2_calls(app: &TestApp, targets: &[&str]) -> Vec<(http::response::Parts, Bytes)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let sender = connect_h2(app.authority()).await;
        let calls = targets.iter().map(|target| {
            let mut sender = sender.clone();
            let request = Request::post(format!("{}/proxy/{target}", app.url))
                .header("latchstring-key", app.key())
                .header("cookie", "a=b")
                .body(Full::new(Bytes::from(format!("body of {target}"))))
                .unwrap();
            tokio::spawn(async move {
                let (head, body) = sender.send_request(request).await.unwrap().into_parts();
                (head, body.collect().await.unwrap().to_bytes())
            })
        });
        let mut answers = Vec::new();
        for call in calls.collect::<Vec<_>>() {
            answers.push(call.await.unwrap());
        }
        answers
    })
}

#[test]
fn http_2_in_and_http_2_out() {
    let authority = Authority::new();
    let echo = |seen: &crate::support::Seen| reply(200, seen.body.clone());
    let two = Upstream::with(Some(authority.server(&["h2", "http/1.1"], false)), echo);
    let one = Upstream::start(echo);
    let setup = setup();
    let ca = setup.folder().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let app = setup.set("LATCHSTRING_EXTRA_CA_FILE", ca.display().to_string()).start();
    app.credential("two", "bearer", &json!({"base_url": localhost(&two), "token": "the-token-5"}));
    app.credential("one", "bearer", &json!({"base_url": one.url(), "token": "the-token-5"}));
    let targets = ["two/a", "one/b", "two/%2Fc//d?e=%20", "two/f", "one/g"];
    for (target, (head, body)) in targets.iter().zip(h2_calls(&app, &targets)) {
        assert_eq!((head.status.as_u16(), head.version), (200, Version::HTTP_2), "{target}");
        assert_eq!(body, format!("body of {target}"));
        assert!(head.headers.contains_key("latchstring-call-id"));
    }
    assert!(two.seen().iter().all(|seen| seen.version == Version::HTTP_2));
    assert!(one.seen().iter().all(|seen| seen.version == Version::HTTP_11));
    for seen in two.seen().iter().chain(&one.seen()) {
        assert_eq!(seen.header("authorization"), "Bearer the-token-5");
        assert!(seen.all("cookie").is_empty() && seen.all("latchstring-key").is_empty());
    }
    assert!(two.seen().iter().any(|seen| seen.target == "/%2Fc//d?e=%20"));
    // HTTP/1.1 in, HTTP/2 out.
    let answer = app.call("POST", "two/x", &[], b"from one to two");
    assert_eq!((answer.status, answer.text().as_str()), (200, "from one to two"));
    let (head, _) = h2_calls(&app, &["two/../x"]).remove(0);
    assert_eq!(head.status, 400);
    app.stop();
}

#[test]
fn https_in_with_both_versions() {
    let (authority, upstream) = (Authority::new(), Upstream::recording());
    let setup = setup();
    let (chain, key, _, _) = authority.sign(&["127.0.0.1"], "latchstring");
    let (chain_file, key_file) = (setup.folder().join("chain.pem"), setup.folder().join("key.pem"));
    std::fs::write(&chain_file, chain).unwrap();
    std::fs::write(&key_file, key).unwrap();
    // The API is set up on plain http, and the same data served with TLS then.
    let app = setup.start();
    with_bearer(&app, &upstream.url());
    let key = app.key().to_owned();
    let setup = app.stop();
    let mut server = setup
        .command(&["serve"])
        .env("LATCHSTRING_TLS_CERT", chain_file)
        .env("LATCHSTRING_TLS_KEY", key_file)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stdout.take().unwrap()), &mut said)
        .unwrap();
    let authority_of = said.trim().split("https://").nth(1).unwrap_or_else(|| panic!("{said}")).to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for version in ["h2", "http/1.1"] {
        let status = runtime.block_on(async {
            let mut roots = rustls::RootCertStore::empty();
            let pem =
                <rustls_pki_types::CertificateDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_slice(
                    authority.pem.as_bytes(),
                );
            roots.add(pem.unwrap()).unwrap();
            let mut config = rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(
                rustls::crypto::aws_lc_rs::default_provider(),
            ))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
            config.alpn_protocols = vec![version.as_bytes().to_vec()];
            let stream = tokio::net::TcpStream::connect(&authority_of).await.unwrap();
            let name = rustls_pki_types::ServerName::try_from("127.0.0.1").unwrap();
            let stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config))
                .connect(name, stream)
                .await
                .unwrap();
            let request = Request::get(format!("https://{authority_of}/proxy/up/x"))
                .header("host", &authority_of)
                .header("latchstring-key", &key)
                .body(Full::new(Bytes::new()))
                .unwrap();
            if version == "h2" {
                let (mut sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                        .await
                        .unwrap();
                tokio::spawn(connection);
                let mut request = request;
                request.headers_mut().remove("host");
                sender.send_request(request).await.unwrap().status().as_u16()
            } else {
                let (mut sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                let mut request = request;
                *request.uri_mut() = "/proxy/up/x".parse().unwrap();
                sender.send_request(request).await.unwrap().status().as_u16()
            }
        });
        assert_eq!(status, 200, "{version}");
    }
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(upstream.count(), 2);
}

#[test]
fn requests_beyond_the_limits_are_refused_and_the_next_one_is_served() {
    let (app, upstream) = (app(), Upstream::recording());
    with_bearer(&app, &upstream.url());
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    let large = format!("x-large: {}\r\n", "a".repeat(100 * 1024));
    for more in [&many, &large] {
        let mut stream = connect(&app);
        // The server may hang up before it has read all.
        let _ = stream.write_all(&head(&app, "GET", "up/x", more));
        let answer = String::from_utf8(read_head(&mut stream)).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    for broken in [
        "GET\r\n\r\n",
        "\x16\x03\x01\x02\x00 a TLS hello\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /proxy/up/x HTTP/1.1\r\nbad header\r\n\r\n",
    ] {
        let answer = exchange(&app, broken.as_bytes());
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert_eq!(upstream.count(), 0);
    assert_eq!(app.get("up/x").status, 200);
    app.stop();
}

#[test]
fn a_body_that_has_to_be_signed_may_not_be_larger_than_what_is_held() {
    let (app, upstream) = (app(), Upstream::recording());
    app.credential(
        "hmac",
        "hmac",
        &json!({"base_url": upstream.url(), "signing_key": "a shared signing key", "sign": ["{body}"]}),
    );
    assert_eq!(app.call("POST", "hmac/x", &[], &vec![b'a'; 1 << 20]).status, 200);
    // Announced: refused before a byte of it is sent.
    let mut stream = connect(&app);
    stream
        .write_all(&head(&app, "POST", "hmac/x", "content-length: 1000000000\r\nexpect: 100-continue\r\n"))
        .unwrap();
    let (head_413, _) = split(&read_head(&mut stream));
    assert!(
        head_413.starts_with("http/1.1 413") && head_413.contains("latchstring-error: body_too_large"),
        "{head_413}"
    );
    let length = head_413.split("content-length: ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert!(problem["hint"].as_str().unwrap().contains("Send a smaller body"), "{problem}");
    // Not announced: refused when it has become too much.
    let mut stream = connect(&app);
    stream.write_all(&head(&app, "POST", "hmac/x", "transfer-encoding: chunked\r\n")).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let pouring = std::thread::spawn(move || {
        let chunk = [b"100000\r\n".as_slice(), &vec![b'a'; 1 << 20], b"\r\n"].concat();
        // It hangs up some time; a gigabyte would be all that there is.
        (0..1024).take_while(|_| writer.write_all(&chunk).is_ok()).count()
    });
    let answer = String::from_utf8(read_head(&mut stream)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    drop(stream);
    assert!(pouring.join().unwrap() < 1024);
    assert_eq!(upstream.count(), 1);
}
