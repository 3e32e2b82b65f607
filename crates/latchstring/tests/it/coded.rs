//! Compressed answers: without an echo they pass byte for byte, with one the credential does not.

use std::io::{Read, Write};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use latchstring_testkit::TestApp;
use latchstring_testkit::app::eventually;
use serde_json::json;

use crate::support::{RawServer, Upstream, app, connect, head, read_head, reply, split};

const TOKEN: &str = "the-token-that-is-echoed";

fn packed(coding: &str, plain: &[u8]) -> Vec<u8> {
    fn done<W: Write>(
        mut writer: W,
        plain: &[u8],
        end: impl FnOnce(W) -> std::io::Result<Vec<u8>>,
    ) -> Vec<u8> {
        writer.write_all(plain).unwrap();
        end(writer).unwrap()
    }
    match coding {
        "gzip" | "x-gzip" => done(GzEncoder::new(Vec::new(), Compression::best()), plain, GzEncoder::finish),
        "deflate" => done(ZlibEncoder::new(Vec::new(), Compression::best()), plain, ZlibEncoder::finish),
        "bare" => done(DeflateEncoder::new(Vec::new(), Compression::best()), plain, DeflateEncoder::finish),
        "br" => {
            let mut out = Vec::new();
            let params = brotli::enc::BrotliEncoderParams { quality: 4, ..Default::default() };
            brotli::BrotliCompress(&mut &*plain, &mut out, &params).unwrap();
            out
        }
        other => panic!("no coding {other}"),
    }
}

/// Bytes that do not compress well, as text.
fn noise(length: usize) -> String {
    let mut state = 1_u64;
    let mut text = String::new();
    while text.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{:016x}", state ^ (state >> 29)));
    }
    text
}

fn with_token(app: &TestApp, url: &str) {
    app.credential("up", "bearer", &json!({"base_url": url, "token": TOKEN}));
}

/// An upstream whose path says how the answer is packed and what is in it: `/gzip/echo`.
fn packing() -> Upstream {
    Upstream::start(|seen| {
        let (coding, what) = seen.target.trim_start_matches('/').split_once('/').unwrap();
        let plain = match what {
            "echo" => format!("{{\"you\": \"Bearer {TOKEN}\", \"more\": \"{}\"}}", "text ".repeat(200)),
            "none" => format!("{{\"you\": \"the-token-that-is-not-echo\", \"more\": \"{}\"}}", noise(5_000)),
            "large" => noise(300_000),
            "late" => format!("{} {TOKEN} {}", noise(250_000), noise(250_000)),
            "far" => format!("{TOKEN} {}", noise(300_000)),
            _ => String::new(),
        };
        let mut answer = reply(200, packed(coding, plain.as_bytes()));
        let named = if coding == "bare" { "deflate" } else { coding };
        answer.headers_mut().insert("content-encoding", named.parse().unwrap());
        answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
        answer.headers_mut().insert("etag", "\"of-the-packed-bytes\"".parse().unwrap());
        answer
    })
}

#[test]
fn without_an_echo_the_upstreams_bytes_pass() {
    let (app, upstream) = (app(), packing());
    with_token(&app, &upstream.url());
    for coding in ["gzip", "x-gzip", "deflate", "bare", "br"] {
        for (what, plain) in [
            ("none", format!("{{\"you\": \"the-token-that-is-not-echo\", \"more\": \"{}\"}}", noise(5_000))),
            ("large", noise(300_000)),
        ] {
            let answer = app.get(&format!("up/{coding}/{what}"));
            assert_eq!(answer.status, 200);
            assert!(answer.body == packed(coding, plain.as_bytes()), "{coding}, {what}");
            let named = if coding == "bare" { "deflate" } else { coding };
            assert_eq!(answer.header("content-encoding"), Some(named));
            assert_eq!(answer.header("etag"), Some("\"of-the-packed-bytes\""));
        }
    }
    app.stop();
}

#[test]
fn a_small_answer_with_an_echo_is_given_out_plain_and_masked() {
    let (app, upstream) = (app(), packing());
    with_token(&app, &upstream.url());
    for coding in ["gzip", "deflate", "bare", "br"] {
        let answer = app.get(&format!("up/{coding}/echo"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["you"], format!("Bearer {}", "*".repeat(TOKEN.len())), "{coding}");
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
        for gone in ["content-encoding", "etag"] {
            assert_eq!(answer.header(gone), None, "{gone} tells of other bytes");
        }
    }
    app.stop();
}

/// Answers chunk by chunk, without a length: what the function sends.
fn chunked(kind: &'static str, send: impl Fn(&mut dyn FnMut(&[u8])) + Send + Sync + 'static) -> RawServer {
    RawServer::start(move |_, stream| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        );
        // Whoever hangs up early is part of the tests.
        let _ = stream.write_all(head.as_bytes());
        send(&mut |part| {
            let _ = stream.write_all(format!("{:x}\r\n", part.len()).as_bytes());
            let _ = stream.write_all(part);
            let _ = stream.write_all(b"\r\n");
        });
        let _ = stream.write_all(b"0\r\n\r\n");
    })
}

#[test]
fn an_answer_of_unknown_length_is_masked_too_if_it_is_small() {
    let packed = packed("gzip", format!("[\"{TOKEN}\"]").as_bytes());
    let raw = chunked("application/json", move |send| {
        let (one, two) = packed.split_at(12);
        send(one);
        std::thread::sleep(Duration::from_millis(20));
        send(two);
    });
    let app = app();
    with_token(&app, &raw.url());
    let answer = app.get("up/x");
    assert_eq!(answer.text(), format!("[\"{}\"]", "*".repeat(TOKEN.len())));
    app.stop();
}

#[test]
fn a_large_answer_with_an_echo_is_withheld() {
    let (app, upstream) = (app(), packing());
    with_token(&app, &upstream.url());
    for target in ["up/gzip/late", "up/br/late"] {
        let mut stream = connect(&app);
        stream.write_all(&head(&app, "GET", target, "connection: close\r\n")).unwrap();
        let mut got = Vec::new();
        // It breaks off: an error here, or fewer bytes than were announced.
        let _ = stream.read_to_end(&mut got);
        let (answer, body) = split(&got);
        let announced: usize = answer
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.trim().parse().ok())
            .unwrap();
        assert!(body.len() < announced, "{target}: {} of {announced} bytes came", body.len());
        if target == "up/gzip/late" {
            let mut seen = Vec::new();
            // What came is decoded as far as it goes.
            let _ = flate2::read::GzDecoder::new(&*body).read_to_end(&mut seen);
            let seen = String::from_utf8_lossy(&seen).into_owned();
            assert!(seen.len() > 100_000 && !seen.contains("the-token-that"), "{} bytes", seen.len());
        }
    }
    // While nothing has passed on, it is an answer that says so.
    let packed = packed("gzip", format!("{TOKEN} {}", noise(300_000)).as_bytes());
    let raw = chunked("text/plain", move |send| send(&packed));
    app.credential("other", "bearer", &json!({"base_url": raw.url(), "token": TOKEN}));
    for target in ["other/x", "up/deflate/far"] {
        let answer = app.get(target);
        assert_eq!((answer.status, answer.header("latchstring-error")), (502, Some("answer_withheld")));
        assert!(answer.json()["hint"].as_str().unwrap().contains("Accept-Encoding: identity"));
    }
    eventually("four records of failed calls", || {
        let recorded = app.audit("&action=credential.use");
        let withheld = |item: &&serde_json::Value| item["call"]["code"] == "answer_withheld";
        (recorded.iter().filter(withheld).count() == 4).then_some(())
    });
    app.stop();
}

#[test]
fn a_compressed_event_passes_before_the_next_one_is_sent() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let raw = chunked("text/event-stream", move |send| {
        let mut writer = GzEncoder::new(Vec::new(), Compression::default());
        let mut sent = 0;
        for number in 1..=3 {
            write!(writer, "data: event {number}\n\n").unwrap();
            writer.flush().unwrap();
            send(&writer.get_ref()[sent..]);
            sent = writer.get_ref().len();
            if wait.lock().unwrap().recv().is_err() {
                return;
            }
        }
        writer.try_finish().unwrap();
        send(&writer.get_ref()[sent..]);
    });
    let app = app();
    with_token(&app, &raw.url());
    let mut stream = connect(&app);
    // HTTP/1.0 wants no chunks, so that the body is what comes.
    let ask = head(&app, "GET", "up/events", "connection: close\r\n");
    let ask = String::from_utf8(ask).unwrap().replace("HTTP/1.1", "HTTP/1.0");
    stream.write_all(ask.as_bytes()).unwrap();
    let answer = String::from_utf8(read_head(&mut stream)).unwrap();
    assert!(answer.contains(" 200 "), "{answer}");
    let mut packed = Vec::new();
    for number in 1..=3 {
        loop {
            let mut seen = Vec::new();
            // Not whole yet: decoded as far as it goes.
            let _ = flate2::read::GzDecoder::new(&*packed).read_to_end(&mut seen);
            let seen = String::from_utf8(seen).unwrap();
            if seen.contains(&format!("data: event {number}\n\n")) {
                assert!(!seen.contains(&format!("event {}", number + 1)));
                break;
            }
            let mut some = [0; 512];
            let got = stream.read(&mut some).unwrap();
            assert!(got > 0, "the stream broke off: {seen}");
            packed.extend_from_slice(&some[..got]);
        }
        go.send(()).unwrap();
    }
    stream.read_to_end(&mut packed).unwrap();
    let mut seen = String::new();
    flate2::read::GzDecoder::new(&*packed).read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "data: event 1\n\ndata: event 2\n\ndata: event 3\n\n");
    app.stop();
}

#[test]
fn only_codings_that_can_be_looked_into_are_asked_for() {
    let (app, upstream) = (app(), Upstream::recording());
    with_token(&app, &upstream.url());
    for (sent, asked) in
        [("gzip, deflate, br, zstd", "gzip, deflate, br"), ("zstd", "identity"), ("br", "br")]
    {
        assert_eq!(app.call("GET", "up/x", &[("accept-encoding", sent)], b"").status, 200);
        assert_eq!(upstream.last().header("accept-encoding"), asked);
    }
    app.stop();
}

/// Slices: a whole echo in one is masked where it is plain; what lies across its edge, or is packed, passes.
#[test]
fn a_slice_is_masked_as_far_as_it_can_be_read() {
    let upstream = Upstream::start(|seen| {
        let mut answer = if seen.target == "/packed" {
            let mut answer = reply(206, packed("gzip", TOKEN.as_bytes())[4..].to_vec());
            answer.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
            answer
        } else {
            reply(206, format!("..{TOKEN}..the-token-that-is"))
        };
        assert_eq!(seen.header("range"), "bytes=4-");
        answer.headers_mut().insert("content-range", "bytes 4-99/100".parse().unwrap());
        answer.headers_mut().insert("content-type", "text/plain".parse().unwrap());
        answer
    });
    let app = app();
    with_token(&app, &upstream.url());
    let plain = app.call("GET", "up/plain", &[("range", "bytes=4-")], b"");
    assert_eq!((plain.status, plain.header("content-range")), (206, Some("bytes 4-99/100")));
    assert_eq!(plain.text(), format!("..{}..the-token-that-is", "*".repeat(TOKEN.len())));
    let sliced = app.call("GET", "up/packed", &[("range", "bytes=4-")], b"");
    assert!(sliced.body == packed("gzip", TOKEN.as_bytes())[4..]);
    app.stop();
}
