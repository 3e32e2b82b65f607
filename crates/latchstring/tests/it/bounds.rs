//! Limits on time, connections and templates, and what those who meet them are told.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{RawServer, app, connect, exchange, head, read_head, setup, split};

fn says(answer: &[u8], status: &str, code: &str) -> serde_json::Value {
    let (head, body) = split(answer);
    assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
    assert!(head.contains(&format!("latchstring-error: {code}")), "{head}");
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["code"], code);
    assert!(problem["hint"].is_string(), "{problem}");
    problem
}

#[test]
fn an_api_that_does_not_answer_is_not_waited_for() {
    let silent = RawServer::start(|_, _| std::thread::sleep(Duration::from_secs(30)));
    let stalling = RawServer::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nthe beginning");
        std::thread::sleep(Duration::from_secs(30));
    });
    let app = setup()
        .set("LATCHSTRING_UPSTREAM_TIMEOUT", "1s")
        .set("LATCHSTRING_UPSTREAM_IDLE_TIMEOUT", "1500ms")
        .start();
    app.credential("silent", "bearer", &json!({"base_url": silent.url(), "token": "the-token-5"}));
    app.credential("stalling", "bearer", &json!({"base_url": stalling.url(), "token": "the-token-5"}));
    let began = Instant::now();
    let answer = app.get("silent/x");
    assert_eq!((answer.status, answer.header("latchstring-error")), (504, Some("upstream_timeout")));
    assert!(answer.text().contains("did not begin to answer in time"), "{}", answer.text());
    assert!((900..10_000).contains(&began.elapsed().as_millis()));
    // The head has passed already: what is left is to break off, so that nobody takes the part for the whole.
    let mut stream = connect(&app);
    stream.write_all(&head(&app, "GET", "stalling/x", "connection: close\r\n")).unwrap();
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got);
    let (answer, body) = split(&got);
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert_eq!(body, b"the beginning");
    latchstring_testkit::eventually("both calls' ends", || {
        let items = app.audit("&action=credential.use");
        let timed_out = |item: &&serde_json::Value| item["call"]["code"] == "upstream_timeout";
        (items.iter().filter(timed_out).count() == 2).then_some(())
    });
    app.stop();
}

#[test]
fn one_connection_too_many_is_told_so() {
    let upstream = crate::support::Upstream::recording();
    let app = setup().set("LATCHSTRING_MAX_CONNECTIONS", "8").start();
    app.credential("up", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
    // What made the credential is counted until its end is noticed: those that are answered are open.
    let mut open: Vec<TcpStream> = Vec::new();
    latchstring_testkit::eventually("eight that are open", || {
        let mut stream = connect(&app);
        let _ = stream
            .write_all(format!("HEAD /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", app.authority()).as_bytes());
        if read_head(&mut stream).starts_with(b"HTTP/1.1 200") {
            open.push(stream);
        }
        (open.len() == 8).then_some(())
    });
    let refused = latchstring_testkit::eventually("a refused connection", || {
        let mut stream = connect(&app);
        // It may be refused before it has asked.
        let _ = stream.write_all(&head(&app, "GET", "up/x", "connection: close\r\n"));
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        (!answer.is_empty() && !answer.starts_with(b"HTTP/1.1 200")).then_some(answer)
    });
    let problem = says(&refused, "503", "busy");
    assert!(problem["hint"].as_str().unwrap().contains("LATCHSTRING_MAX_CONNECTIONS"));
    assert!(split(&refused).0.contains("retry-after: 1"));
    assert_eq!(upstream.count(), 0, "nothing was sent for it");
    // Those that are open are served, and so is the next when one has gone.
    let mut served = open;
    let mut first = served.remove(0);
    first.write_all(&head(&app, "GET", "up/x", "connection: close\r\n")).unwrap();
    let mut answer = Vec::new();
    first.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    drop(first);
    latchstring_testkit::eventually("room for another", || (app.get("up/x").status == 200).then_some(()));
    assert!(app.log().contains("LATCHSTRING_MAX_CONNECTIONS"), "{}", app.log());
    drop(served);
    app.stop();
}

#[test]
fn a_request_line_that_cannot_be_read_is_explained() {
    let upstream = crate::support::Upstream::recording();
    let app = app();
    app.credential("up", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
    for target in ["up/a`b", "up/a<b>", "up/x?q=<y>", "up/a b"] {
        let answer = exchange(&app, &head(&app, "GET", target, ""));
        let problem = says(&answer, "400", "bad_path");
        assert!(problem["hint"].as_str().unwrap().contains("Percent-encode"), "{target}");
        assert!(split(&answer).0.contains("latchstring-call-id: cal_"), "{target}");
    }
    let broken = format!("GET /proxy/up/x HTTP/1.1\r\nhost: {}\r\nbad header: x\r\n\r\n", app.authority());
    let answer = exchange(&app, broken.as_bytes());
    says(&answer, "400", "bad_request");
    assert!(split(&answer).0.contains("latchstring-call-id: cal_"));
    let elsewhere = format!("GET /api/v1/`me HTTP/1.1\r\nhost: {}\r\n\r\n", app.authority());
    says(&exchange(&app, elsewhere.as_bytes()), "400", "bad_request");
    assert_eq!(upstream.count(), 0);
    // After a good one on the same connection nothing is put into other words: what is written then may be an
    // upstream's bytes.
    let mut stream = connect(&app);
    stream.write_all(&head(&app, "GET", "up/good", "")).unwrap();
    assert!(read_head(&mut stream).starts_with(b"HTTP/1.1 200"));
    stream.read_exact(&mut [0; 2]).unwrap();
    stream.write_all(&head(&app, "GET", "up/a`b", "")).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400 Bad Request\r\n"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(upstream.count(), 1);
    // Which may look like an answer of our own, and keep their length.
    const LIKE_OURS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    let sly = RawServer::start(|_, stream| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", LIKE_OURS.len());
        stream.write_all(head.as_bytes()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
        stream.write_all(LIKE_OURS).unwrap();
    });
    app.credential("sly", "bearer", &json!({"base_url": sly.url(), "token": "the-token-5"}));
    let answer = app.get("sly/x");
    assert_eq!((answer.status, answer.text().as_bytes()), (200, LIKE_OURS));
    // An upstream's own empty 400 is handed over as it is.
    let refusing =
        RawServer::answering("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    app.credential("no", "bearer", &json!({"base_url": refusing.url(), "token": "the-token-5"}));
    let answer = app.get("no/x");
    assert_eq!((answer.status, answer.header("latchstring-error"), answer.text().as_str()), (400, None, ""));
    app.stop();
}

#[test]
fn the_base_url_is_asked_for_with_and_without_a_slash() {
    let upstream = crate::support::Upstream::recording();
    let app = app();
    let base = format!("{}/v1", upstream.url());
    app.credential("up", "bearer", &json!({"base_url": base, "token": "the-token-5"}));
    for (asked, sent) in [
        ("up", "/v1"),
        ("up/", "/v1/"),
        ("up?a=b", "/v1?a=b"),
        ("up/?a=b", "/v1/?a=b"),
        ("up//", "/v1//"),
        ("up/x/", "/v1/x/"),
    ] {
        assert_eq!(app.get(asked).status, 200, "{asked}");
        assert_eq!(upstream.last().target, sent, "{asked}");
    }
    app.stop();
}

#[test]
fn template_bombs_are_refused_at_the_door() {
    let upstream = crate::support::Upstream::recording();
    let app = app();
    let before = app.memory();
    let bombs = [
        "{{ 'a' * 1000000000 }}",
        "{{ 9 ** 99999999 }}",
        "{% for x in range(1000000000) %}x{% endfor %}",
        "{% set x = 'a' %}{{ x }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ range(1000000000) | list }}",
        "{{ 'x' | center(1000000000) }}",
        "{{ ['a','b'] | join('x' * 100000000) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ now(99999999999999999999) }}",
        "{{ get_secret(get_variable('x')) }}",
        "{{ '' | indent(1000000000) }}",
    ];
    for bomb in bombs {
        let began = Instant::now();
        let answer = app.api(
            "POST",
            "/credentials",
            &json!({
                "name": "bomb", "connector": "http", "auth_method": "bearer", "verify": "skip",
                "values": {"production": {"base_url": upstream.url(), "token": bomb}},
            }),
        );
        assert_eq!(answer.status, 422, "{bomb}: {}", answer.text());
        let problem = answer.json();
        let pointed = problem["errors"][0]["pointer"].as_str().unwrap_or_default();
        assert_eq!(pointed, "/values/production/token", "{bomb}: {problem}");
        assert!(began.elapsed() < Duration::from_secs(5), "{bomb} took {:?}", began.elapsed());
    }
    // One that only shows when a project's own values are in it is stopped then, and nothing is sent.
    let seed = |length| {
        let path = "/projects/acme/environments/production/variables/seed";
        app.done("PUT", path, &json!({"value": "a".repeat(length)}), 204);
    };
    seed(1);
    let grows = "{{ get_variable('seed') | replace('a', get_variable('seed')) | replace('a', get_variable('seed')) }}";
    app.credential("grows", "bearer", &json!({"base_url": upstream.url(), "token": grows}));
    assert_eq!(app.get("grows/x").status, 200);
    assert_eq!(upstream.last().header("authorization"), "Bearer a");
    seed(200);
    let began = Instant::now();
    let answer = latchstring_testkit::eventually("the new value", || {
        let answer = app.get("grows/x");
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((answer.status, answer.header("latchstring-error")), (424, Some("template_error")));
    assert!(answer.text().contains("1048576 bytes"), "{}", answer.text());
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(app.memory() < before + 64 * 1024 * 1024, "memory grew from {before} to {}", app.memory());
    assert!(upstream.seen().iter().all(|seen| seen.header("authorization").len() < 20));
    app.stop();
}
