//! How calls end, and what their records say of it.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Request, Response};
use http_body_util::Empty;
use latchstring_testkit::{TestApp, eventually};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use crate::support::{Authority, RawServer, app, connect_h2, setup};

const TOKEN: &str = "the-token-of-this-test";

/// Text that does not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'a' + u8::try_from(state >> 33 & 15).unwrap()
    };
    (0..length).map(|_| letter()).collect()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::best());
    writer.write_all(plain).unwrap();
    writer.finish().unwrap()
}

fn body(path: &str) -> Vec<u8> {
    match path {
        "/tail" => b"it ends with the-token-of".to_vec(),
        "/small" => gzip(b"hello"),
        "/packed" => gzip(&noise(300_000)),
        _ => noise(100_000),
    }
}

/// An HTTP/2 server that says the end of a body by itself, a moment after its last byte.
fn late_ends(authority: &Authority) -> (SocketAddr, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let at = listener.local_addr().unwrap();
    let tls = TlsAcceptor::from(authority.server(&["h2"], false));
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let stream = tls.accept(stream).await.unwrap();
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        let body = body(request.uri().path());
                        let mut answer = Response::builder()
                            .header("content-type", "text/plain")
                            .header("content-length", body.len());
                        if matches!(request.uri().path(), "/small" | "/packed") {
                            answer = answer.header("content-encoding", "gzip");
                        }
                        let mut stream = respond.send_response(answer.body(()).unwrap(), false).unwrap();
                        stream.send_data(body.into(), false).unwrap();
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        // Who has all that it was promised may be gone.
                        let _ = stream.send_data(Bytes::new(), true);
                    });
                }
            });
        }
    });
    (at, runtime)
}

fn uses(app: &TestApp) -> Vec<Value> {
    app.audit("&action=credential.use")
}

fn all_ended_well(app: &TestApp, count: usize) {
    let ended = eventually("the ends of all calls", || {
        let uses = uses(app);
        (uses.len() == count && uses.iter().all(|item| item["call"]["duration_ms"].is_u64())).then_some(uses)
    });
    for item in ended {
        assert_eq!((&item["outcome"], &item["call"]["code"]), (&json!("ok"), &Value::Null), "{item}");
    }
}

#[test]
fn an_answer_whose_end_comes_late_over_http2_ended_well() {
    let authority = Authority::new();
    let (at, _server) = late_ends(&authority);
    let setup = setup();
    let ca = setup.folder().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let app = setup.set("LATCHSTRING_EXTRA_CA_FILE", ca.display().to_string()).start();
    let base = format!("https://localhost:{}", at.port());
    app.credential("up", "bearer", &json!({"base_url": base, "token": TOKEN}));
    let paths = ["/plain", "/tail", "/small", "/packed"];
    for path in paths {
        let answer = app.call("GET", &format!("up{path}"), &[("accept-encoding", "gzip")], b"");
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body == body(path), "{path}: {} bytes", answer.body.len());
    }
    all_ended_well(&app, paths.len());
    app.stop();
}

#[test]
fn an_answer_that_ends_like_the_beginning_of_a_secret_ended_well() {
    let raw = RawServer::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
         19\r\nit ends with the-token-of\r\n0\r\n\r\n",
    );
    let app = app();
    app.credential("up", "bearer", &json!({"base_url": raw.url(), "token": TOKEN}));
    for _ in 0..3 {
        assert_eq!(app.get("up/x").text(), "it ends with the-token-of");
    }
    all_ended_well(&app, 3);
    app.stop();
}

/// Whoever goes away while the record of their call is on its way to the disk leaves one with an end, too.
#[test]
fn no_call_is_left_without_an_end() {
    let silent = RawServer::start(|_, stream| {
        let _ = std::io::Read::read_to_end(stream, &mut Vec::new());
    });
    let app = setup().set("LATCHSTRING_JOURNAL_SYNC", "always").start();
    app.credential("up", "bearer", &json!({"base_url": silent.url(), "token": TOKEN}));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (authority, ask) =
            (app.authority(), Arc::new((format!("{}/proxy/up/x", app.url), app.key().to_owned())));
        // Some before their record is written, some behind that: the longer it takes on this machine, the longer each waits.
        for round in 0_u64.. {
            if round >= 100 && silent.heads().len() >= 20 {
                break;
            }
            assert!(round < 2_000, "calls reach the API");
            // One for a few calls: a connection with more that are taken back at once is closed.
            let sender = connect_h2::<Empty<Bytes>>(authority).await;
            let mut calls = Vec::new();
            for _ in 0..10 {
                let (mut sender, ask) = (sender.clone(), Arc::clone(&ask));
                let request =
                    Request::get(&ask.0).header("latchstring-key", &ask.1).body(Empty::new()).unwrap();
                calls.push(tokio::spawn(async move { drop(sender.send_request(request).await) }));
            }
            // Finer than the runtime's own clock; the connection has a thread of its own.
            std::thread::sleep(Duration::from_micros(30 * (round % 100) * (1 + round / 100)));
            for call in calls {
                call.abort();
            }
        }
    });
    let mut before = usize::MAX;
    let left = eventually("the ends of all calls", || {
        // Until no more come.
        std::thread::sleep(Duration::from_secs(1));
        let uses = uses(&app);
        let settled = std::mem::replace(&mut before, uses.len()) == uses.len();
        (settled && uses.iter().all(|item| item["call"]["duration_ms"].is_u64())).then_some(uses)
    });
    assert!(left.len() >= 20, "{}", left.len());
    for item in left {
        assert_eq!(
            (&item["outcome"], &item["call"]["code"]),
            (&json!("failed"), &json!("caller_gone")),
            "{item}"
        );
    }
    app.stop();
}
