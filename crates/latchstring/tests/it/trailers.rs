//! Fields behind a body: asked for on behalf of who asks for them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use latchstring_testkit::TestApp;
use serde_json::json;

use crate::support::{Authority, Seen, Upstream, exchange, head, localhost, setup, split};

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
    let mut answer = Response::new(Sent(vec![Frame::trailers(fields), Frame::data(body.into())]));
    answer.headers_mut().insert("trailer", names.join(", ").parse().unwrap());
    answer
}

/// An HTTP/2 caller, who has all trailers that are sent.
fn over_h2(app: &TestApp, target: &str) -> (Bytes, HeaderMap) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(app.authority()).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(format!("{}/proxy/{target}", app.url))
            .header("latchstring-key", app.key())
            .header("te", "trailers")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200, "{target}");
        let body = answer.into_body().collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        (body.to_bytes(), trailers)
    })
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

#[test]
fn a_server_that_sends_them_on_request_only_is_asked() {
    let (app, one, two) = upstreams(|_| sent("hello", &[("x-down", "there")]));
    for (slug, upstream, connection) in [("one", &one, &["TE"][..]), ("two", &two, &[])] {
        let asks = head(&app, "GET", slug, "te: trailers\r\nconnection: close, te\r\n");
        let (answer, body) = split(&exchange(&app, &asks));
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        assert_eq!(String::from_utf8(body).unwrap(), "5\r\nhello\r\n0\r\nx-down: there\r\n\r\n", "{slug}");
        let (body, trailers) = over_h2(&app, slug);
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
    app.stop();
}
