//! Bodies pass as they come, both ways, in memory that does not grow with them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;

use serde_json::json;

use crate::support::{RawServer, app, connect, head, read_head};

const MIB: usize = 1 << 20;
const SIZE: usize = 100 * MIB;
/// How much the server may grow while 100 MB pass: far below the body, above its buffers and caches.
const GROWTH: u64 = 24 * MIB as u64;

/// Reads so many bytes, checking each, and gives the largest that `look` showed meanwhile.
fn drain(stream: &mut TcpStream, mut left: usize, mut look: impl FnMut() -> u64) -> u64 {
    let mut buffer = vec![0; 256 * 1024];
    let (mut most, mut next) = (0, 0_usize);
    while left > 0 {
        let wanted = buffer.len().min(left);
        let got = stream.read(&mut buffer[..wanted]).unwrap();
        assert!(got > 0, "the body broke off with {left} bytes to come");
        left -= got;
        for byte in &buffer[..got] {
            assert_eq!(usize::from(*byte), next % 251);
            next += 1;
        }
        if next % (8 * MIB) < got {
            most = most.max(look());
        }
    }
    most
}

fn pour(stream: &mut TcpStream, size: usize) {
    let pattern: Vec<u8> = (0..251 * 1024).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let mut left = size;
    while left > 0 {
        let now = pattern.len().min(left);
        stream.write_all(&pattern[..now]).unwrap();
        left -= now;
    }
}

#[test]
fn a_hundred_megabytes_up_and_down_in_constant_memory() {
    let (sender, receiver) = mpsc::channel();
    let raw = RawServer::start(move |head, stream| {
        if head.starts_with(b"GET") {
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {SIZE}\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).unwrap();
            pour(stream, SIZE);
        } else {
            drain(stream, SIZE, || 0);
            sender.send(()).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        }
    });
    let app = app();
    app.credential("up", "bearer", &json!({"base_url": raw.url(), "token": "the-token-5"}));

    let before = app.memory();

    let mut stream = connect(&app);
    stream.write_all(&head(&app, "GET", "up/down", "connection: close\r\n")).unwrap();
    let answer = String::from_utf8(read_head(&mut stream)).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains(&format!("content-length: {SIZE}")),
        "{answer}"
    );
    let most = drain(&mut stream, SIZE, || app.memory());
    assert!(most < before + GROWTH, "down: {before} grew to {most}");

    let mut stream = connect(&app);
    stream
        .write_all(&head(&app, "POST", "up/up", &format!("content-length: {SIZE}\r\nconnection: close\r\n")))
        .unwrap();
    let mut most = 0;
    let mut writer = stream.try_clone().unwrap();
    let pouring = std::thread::spawn(move || pour(&mut writer, SIZE));
    while !pouring.is_finished() {
        most = most.max(app.memory());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    pouring.join().unwrap();
    let answer = String::from_utf8(read_head(&mut stream)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    receiver.recv().unwrap();
    assert!(most > 0 && most < before + GROWTH, "up: {before} grew to {most}");
    app.stop();
}

#[test]
fn an_event_passes_before_the_next_one_is_sent() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let raw = RawServer::start(move |_, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        for number in 1..=3 {
            let event = format!("data: event {number}\n\n");
            stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).unwrap();
            // The next event is only sent after the test has read this one.
            if wait.lock().unwrap().recv().is_err() {
                return;
            }
        }
        let _ = stream.write_all(b"0\r\n\r\n");
    });
    let app = app();
    app.credential("up", "bearer", &json!({"base_url": raw.url(), "token": "the-token-5"}));
    let mut stream = connect(&app);
    stream.write_all(&head(&app, "GET", "up/events", "connection: close\r\n")).unwrap();
    let answer = String::from_utf8(read_head(&mut stream)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut seen = String::new();
    for number in 1..=3 {
        while !seen.contains(&format!("data: event {number}\n\n")) {
            let mut some = [0; 256];
            let got = stream.read(&mut some).unwrap();
            assert!(got > 0, "the stream broke off: {seen}");
            seen.push_str(std::str::from_utf8(&some[..got]).unwrap());
        }
        assert!(!seen.contains(&format!("event {}", number + 1)));
        go.send(()).unwrap();
    }
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
}

#[test]
fn an_answer_does_not_wait_for_the_next_request_to_be_whole() {
    let raw = RawServer::answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nfirst");
    let app = app();
    app.credential("up", "bearer", &json!({"base_url": raw.url(), "token": "the-token-5"}));
    let mut stream = connect(&app);
    let next = head(&app, "GET", "up/y", "connection: close\r\n");
    let (begun, rest) = next.split_at(next.len() - 2);
    stream.write_all(&[&head(&app, "GET", "up/x", ""), begun].concat()).unwrap();
    let answer = String::from_utf8(read_head(&mut stream)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut body = [0; 5];
    stream.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"first");
    stream.write_all(rest).unwrap();
    let mut second = Vec::new();
    stream.read_to_end(&mut second).unwrap();
    assert!(second.starts_with(b"HTTP/1.1 200") && second.ends_with(b"first"));
}

#[test]
fn a_request_body_reaches_the_upstream_before_it_is_whole() {
    let (sender, receiver) = mpsc::channel();
    let raw = RawServer::start(move |_, stream| {
        let mut first = [0; 5];
        stream.read_exact(&mut first).unwrap();
        sender.send(first).unwrap();
        let mut second = [0; 5];
        stream.read_exact(&mut second).unwrap();
        let answer =
            [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n".as_slice(), &second]
                .concat();
        let _ = stream.write_all(&answer);
    });
    let app = app();
    app.credential("up", "bearer", &json!({"base_url": raw.url(), "token": "the-token-5"}));
    let mut stream = connect(&app);
    stream.write_all(&head(&app, "POST", "up/x", "content-length: 10\r\nconnection: close\r\n")).unwrap();
    stream.write_all(b"first").unwrap();
    assert_eq!(&receiver.recv_timeout(std::time::Duration::from_secs(60)).unwrap(), b"first");
    stream.write_all(b"other").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"other"));
}

#[test]
fn an_answer_that_breaks_off_breaks_off_for_the_caller_too() {
    let raw =
        RawServer::answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nonly this");
    let app = app();
    app.credential("up", "bearer", &json!({"base_url": raw.url(), "token": "the-token-5"}));
    let mut stream = connect(&app);
    stream.write_all(&head(&app, "GET", "up/x", "")).unwrap();
    let mut answer = Vec::new();
    // Either way of being told is good: fewer bytes than announced, then the end or a reset.
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(text.contains("content-length: 100"), "{text}");
    assert!(!text.ends_with(&"x".repeat(100)));
    let item = latchstring_testkit::eventually("the outcome of the call", || {
        app.audit("")
            .into_iter()
            .find(|item| item["action"] == "credential.use" && item["outcome"] == "failed")
    });
    assert_eq!(item["call"]["status"], 200);
}

/// What the upstream reads after the head, until the other side is done or gone.
fn upload(more: &str, sent: &[u8]) -> Vec<u8> {
    let (sender, receiver) = mpsc::channel();
    let raw = RawServer::start(move |_, stream| {
        let mut body = Vec::new();
        // A reset ends it as well as a close.
        let _ = stream.read_to_end(&mut body);
        sender.send(body).unwrap();
    });
    let app = app();
    app.credential("up", "bearer", &json!({"base_url": raw.url(), "token": "the-token-5"}));
    let mut stream = connect(&app);
    stream.write_all(&[&head(&app, "POST", "up/x", more), sent].concat()).unwrap();
    latchstring_testkit::eventually("the request at the upstream", || {
        (!raw.heads().is_empty()).then_some(())
    });
    drop(stream);
    let body = receiver.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
    app.stop();
    body
}

#[test]
fn an_upload_that_breaks_off_is_not_completed() {
    let body = upload("transfer-encoding: chunked\r\n", b"5\r\nhello\r\n64\r\nonly a part");
    assert!(!body.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&body));
    let body = upload("content-length: 100\r\n", b"only a part");
    assert!(body.len() < 100, "{}", String::from_utf8_lossy(&body));
}

#[test]
fn an_answer_that_comes_before_the_body_is_read_is_handed_over() {
    let raw = RawServer::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nx-early: 1\r\n\r\nbig");
        let mut rest = Vec::new();
        // Whatever still comes.
        let _ = stream.read_to_end(&mut rest);
    });
    let app = app();
    app.credential("up", "bearer", &json!({"base_url": raw.url(), "token": "the-token-5"}));
    let mut stream = connect(&app);
    // No more than the first bytes of what was announced: the answer does not wait for the rest.
    let begun = head(&app, "POST", "up/x", "content-length: 100000000\r\n");
    stream.write_all(&[&begun, b"first".as_slice()].concat()).unwrap();
    let answer = String::from_utf8(read_head(&mut stream)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("x-early: 1"), "{answer}");
    let mut body = [0; 3];
    stream.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"big");
}
