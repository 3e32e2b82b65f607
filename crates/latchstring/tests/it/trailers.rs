//! Fields behind a body: asked for on behalf of who asks for them, and no way round what headers are held to.

use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Collected};
use hyper::body::{Body, Frame};
use latchstring_testkit::{TestApp, eventually};
use serde_json::json;

use crate::support::{
    Authority, RawServer, Seen, Upstream, app, connect_h2, exchange, head, localhost, setup, split,
};

const TOKEN: &str = "the-token-of-this-test";

/// A body of unknown length with trailers behind it; what comes last stands first.
struct Sent(Vec<Frame<Bytes>>);

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop().map(Ok))
    }
}

fn sent(body: impl Into<Bytes>, trailers: &[(&'static str, &str)]) -> Response<Sent> {
    let fields: HeaderMap = trailers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
        .collect();
    let names: Vec<&str> = trailers.iter().map(|(name, _)| *name).collect();
    Response::builder().header("trailer", names.join(", ")).body(frames(body, fields)).unwrap()
}

fn frames(body: impl Into<Bytes>, trailers: HeaderMap) -> Sent {
    Sent(vec![Frame::trailers(trailers), Frame::data(body.into())])
}

fn gzip(plain: &str) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::best());
    writer.write_all(plain.as_bytes()).unwrap();
    writer.finish().unwrap()
}

/// An HTTP/2 caller's request, with trailers if there are any.
fn over_h2(app: &TestApp, target: &str, trailers: &[(&'static str, &'static str)]) -> Collected<Bytes> {
    let fields: HeaderMap = trailers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut sender = connect_h2(app.authority()).await;
        let body = if fields.is_empty() { Sent(Vec::new()) } else { frames("body", fields) };
        let request = Request::post(format!("{}/proxy/{target}", app.url))
            .header("latchstring-key", app.key())
            .header("te", "trailers")
            .body(body)
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200, "{target}");
        answer.into_body().collect().await.unwrap()
    })
}

/// Such a caller has all trailers that are sent.
fn answered_over_h2(app: &TestApp, target: &str) -> (Bytes, HeaderMap) {
    let body = over_h2(app, target, &[]);
    let trailers = body.trailers().cloned().unwrap_or_default();
    (body.to_bytes(), trailers)
}

/// Servers that speak HTTP/1.1 (`one`) and HTTP/2 (`two`), as credentials of that name.
fn upstreams(
    handler: impl Fn(&Seen) -> Response<Sent> + Clone + Send + Sync + 'static,
) -> (TestApp, Upstream, Upstream) {
    let authority = Authority::new();
    let one = Upstream::with(None, handler.clone());
    let two = Upstream::with(Some(authority.server(&["h2"], false)), handler);
    let setup = setup();
    let ca = setup.folder().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let app = setup.set("LATCHSTRING_EXTRA_CA_FILE", ca.display().to_string()).start();
    app.credential("one", "bearer", &json!({"base_url": one.url(), "token": TOKEN}));
    app.credential("two", "bearer", &json!({"base_url": localhost(&two), "token": TOKEN}));
    (app, one, two)
}

/// An answer with trailers ends as others do: nobody went away.
fn all_ended_well(app: &TestApp, count: usize) {
    eventually("the records of calls that ended well", || {
        let recorded = app.audit("&action=credential.use");
        (recorded.len() == count && recorded.iter().all(|item| item["outcome"] == "ok")).then_some(())
    });
}

#[test]
fn a_server_that_sends_them_on_request_only_is_asked() {
    let (app, one, two) = upstreams(|_| sent("hello", &[("x-down", "there")]));
    for (slug, upstream, connection) in [("one", &one, &["TE"][..]), ("two", &two, &[])] {
        let asks = head(&app, "GET", slug, "te: trailers\r\nconnection: close, te\r\n");
        let (answer, body) = split(&exchange(&app, &asks));
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        assert_eq!(String::from_utf8(body).unwrap(), "5\r\nhello\r\n0\r\nx-down: there\r\n\r\n", "{slug}");
        let (body, trailers) = answered_over_h2(&app, slug);
        assert_eq!((&body[..], trailers["x-down"].as_bytes()), (&b"hello"[..], &b"there"[..]), "{slug}");
        for seen in upstream.seen() {
            assert_eq!((seen.header("te"), &seen.all("connection")[..]), ("trailers", connection));
        }
        let (_, body) =
            split(&exchange(&app, &head(&app, "GET", slug, "te: gzip\r\nconnection: close, te\r\n")));
        assert_eq!(String::from_utf8(body).unwrap(), "5\r\nhello\r\n0\r\n\r\n", "{slug}");
        let last = upstream.last();
        assert!(last.all("te").is_empty() && last.all("connection").is_empty(), "{:?}", last.headers);
    }
    all_ended_well(&app, 6);
    app.stop();
}

#[test]
fn they_are_masked_and_dropped_as_headers_are() {
    let (app, _one, _two) = upstreams(|seen| {
        let body = match seen.target.as_str() {
            "/held" | "/nothing" => Bytes::from("ends with the-token-of"),
            "/packed" => gzip("hello").into(),
            "/packed/nothing" => gzip("ends with the-token-of").into(),
            _ => "hello".into(),
        };
        let message = format!("invalid key {TOKEN}");
        let mut trailers = vec![("set-cookie", "a=b"), ("latchstring-error", "forged"), ("refresh", "0")];
        if !seen.target.ends_with("nothing") {
            trailers.extend([("grpc-message", message.as_str()), ("grpc-status", "16")]);
        }
        let mut answer = sent(body, &trailers);
        let kind = if seen.target == "/grpc" { "application/grpc" } else { "text/plain" };
        answer.headers_mut().insert("content-type", kind.parse().unwrap());
        if seen.target.starts_with("/packed") {
            answer.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        }
        answer
    });
    let targets = ["plain", "held", "grpc", "packed", "nothing", "packed/nothing"];
    for target in targets {
        for slug in ["one", "two"] {
            let (body, trailers) = answered_over_h2(&app, &format!("{slug}/{target}"));
            let plain = if target.ends_with("nothing") || target == "held" {
                "ends with the-token-of"
            } else {
                "hello"
            };
            let want = if target.starts_with("packed") { gzip(plain) } else { plain.into() };
            assert_eq!(body, want, "{slug}/{target}");
            let mut left: Vec<(&str, &[u8])> =
                trailers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            left.sort_unstable();
            let stars = format!("invalid key {}", "*".repeat(TOKEN.len()));
            let want = [("grpc-message", stars.as_bytes()), ("grpc-status", b"16")];
            let want = if target.ends_with("nothing") { &[][..] } else { &want };
            assert_eq!(left, want, "{slug}/{target}");
        }
    }
    all_ended_well(&app, 2 * targets.len());
    app.stop();
}

#[test]
fn what_the_head_calls_its_connections_own_does_not_pass_behind_the_body() {
    let raw = RawServer::start(|head, stream| {
        let packed = head.starts_with(b"GET /packed");
        let body = if packed { gzip("hello") } else { "hello".into() };
        let coding = if packed { "content-encoding: gzip\r\n" } else { "" };
        let answer = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-own, x-down\r\ncontent-type: text/plain\r\n{coding}connection: close, x-own\r\n\r\n{:x}\r\n",
            body.len()
        );
        let rest = b"\r\n0\r\nx-own: 1\r\nx-down: 2\r\n\r\n";
        let _ = stream.write_all(&[answer.as_bytes(), &body, rest].concat());
    });
    let app = app();
    app.credential("up", "bearer", &json!({"base_url": raw.url(), "token": TOKEN}));
    for target in ["up/plain", "up/packed"] {
        let (_, trailers) = answered_over_h2(&app, target);
        assert_eq!(trailers.keys().collect::<Vec<_>>(), ["x-down"], "{target}");
    }
    app.stop();
}

#[test]
fn behind_a_body_nobody_says_what_the_head_says() {
    let (app, one, two) = upstreams(|_| sent("hello", &[("x-down", "there")]));
    for (slug, upstream, base) in [("one-key", &one, one.url()), ("two-key", &two, localhost(&two))] {
        app.credential(
            slug,
            "api_key",
            &json!({"base_url": base, "key": "X-Api-Key", "value": "the-api-key-1"}),
        );
        let said =
            "x-api-key: the-callers\r\nauthorization: Bearer x\r\nlatchstring-project: x\r\nx-up: there\r\n";
        let names = "trailer: x-api-key, authorization, latchstring-project, x-up\r\n";
        let more = format!("{names}transfer-encoding: chunked\r\nconnection: close\r\n");
        let request =
            [head(&app, "POST", slug, &more), format!("4\r\nbody\r\n0\r\n{said}\r\n").into()].concat();
        let (answer, _) = split(&exchange(&app, &request));
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        // Those that HTTP/2 sends unannounced, one by one too: nothing is left of the second.
        over_h2(&app, slug, &[("x-api-key", "the-callers"), ("x-up", "there"), ("x-forwarded-for", "::1")]);
        over_h2(&app, slug, &[("x-api-key", "the-callers")]);
        let seen = upstream.seen();
        assert_eq!(seen.len(), 3, "{slug}");
        for (at, seen) in seen.iter().enumerate() {
            assert_eq!((seen.header("x-api-key"), &seen.body[..]), ("the-api-key-1", &b"body"[..]), "{slug}");
            // Over HTTP/1.1 only what the head announces is sent.
            let passes = at == 0 || (at == 1 && slug == "two-key");
            let want = passes.then(|| ("x-up".to_owned(), "there".to_owned()));
            assert_eq!(seen.trailers, want.into_iter().collect::<Vec<_>>(), "{slug} {at}");
        }
    }
    all_ended_well(&app, 6);
    app.stop();
}
