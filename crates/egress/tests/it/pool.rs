//! Which connections are used again, and when a request may be sent twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use latchstring_egress::{Egress, EgressError, IdentityParts, Pool, RequestBody, Stats};
use latchstring_model::{Code, Problem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

use crate::support::*;

#[tokio::test]
async fn a_connection_is_used_again_when_the_answer_was_read_to_its_end() {
    let server = serve(None, |_| async { Response::new(full(vec![b'x'; 20_000_000])) }).await;
    let pool = pool(on_loopback());
    let origin = server.origin();
    let ticket = ticket(&origin);
    for _ in 0..5 {
        let body = pool.send(&ticket, None, &origin, get("/")).await.unwrap().into_body();
        assert_eq!(text(body).await.len(), 20_000_000);
    }
    assert_eq!(pool.stats(), Stats { opened: 1, reused: 4, retried: 0, idle: 1 });
    // Dropped in the middle: what is left of that answer must not be read as the next one.
    let mut body = pool.send(&ticket, None, &origin, get("/")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert_eq!(pool.stats().idle, 0);
    let body = pool.send(&ticket, None, &origin, get("/")).await.unwrap().into_body();
    assert_eq!(text(body).await.len(), 20_000_000);
    assert_eq!(pool.stats().opened, 2);
}

#[tokio::test]
async fn a_body_known_to_be_over_need_not_be_asked_for_its_end() {
    let server = hello().await;
    let pool = pool(on_loopback());
    let origin = server.origin();
    let mut body = pool.send(&ticket(&origin), None, &origin, get("/")).await.unwrap().into_body();
    // A server writing a Content-Length body stops asking after the last byte.
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
    assert_eq!(pool.stats().idle, 1);
}

#[tokio::test]
async fn parallel_requests_have_connections_of_their_own_and_the_pool_keeps_so_many() {
    let gate = Arc::new(tokio::sync::Barrier::new(8));
    let server = serve(None, move |_| {
        let gate = gate.clone();
        async move {
            gate.wait().await;
            Response::new(full("ok"))
        }
    })
    .await;
    let mut settings = on_loopback();
    settings.limits.idle_per_origin = 5;
    let pool = pool(settings);
    let origin = server.origin();
    let ask = async || {
        let answer = pool.send(&ticket(&origin), None, &origin, get("/")).await.unwrap();
        text(answer.into_body()).await
    };
    tokio::join!(ask(), ask(), ask(), ask(), ask(), ask(), ask(), ask());
    assert_eq!(server.accepted(), 8);
    assert_eq!(pool.stats().idle, 5);
}

#[tokio::test]
async fn the_whole_pool_has_a_limit_and_the_longest_idle_go_first() {
    let mut settings = on_loopback();
    settings.limits.idle_total = 8;
    let pool = pool(settings);
    let mut servers = Vec::new();
    for _ in 0..12 {
        servers.push(hello().await);
    }
    for server in &servers {
        let origin = server.origin();
        let answer = pool.send(&ticket(&origin), None, &origin, get("/")).await.unwrap();
        text(answer.into_body()).await;
        assert!(pool.stats().idle <= 8);
    }
    let origin = servers.last().unwrap().origin();
    text(pool.send(&ticket(&origin), None, &origin, get("/")).await.unwrap().into_body()).await;
    assert_eq!(pool.stats().reused, 1, "the newest was kept");
}

#[tokio::test]
async fn all_pools_have_so_many_connections_open_at_most() {
    let (let_go, _) = tokio::sync::watch::channel(false);
    let waiting = let_go.subscribe();
    let server = serve(None, move |_| {
        let mut waiting = waiting.clone();
        async move {
            waiting.wait_for(|go| *go).await.unwrap();
            Response::new(full("ok"))
        }
    })
    .await;
    let mut settings = on_loopback();
    settings.limits.open_total = 3;
    let egress = Arc::new(Egress::new(settings).unwrap());
    let (one, other) = (Pool::new(egress.clone()), Pool::new(egress));
    let origin = server.origin();
    let ask = async |pool: &Pool| {
        let answer = pool.send(&ticket(&origin), None, &origin, get("/")).await?;
        Ok::<_, EgressError>(text(answer.into_body()).await)
    };
    let at_once = async {
        let (a, b, c, d) = tokio::join!(ask(&one), ask(&other), ask(&one), ask(&other));
        [a, b, c, d].into_iter().filter_map(Result::err).collect::<Vec<_>>()
    };
    let go = async {
        while server.accepted() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let_go.send_replace(true);
    };
    let (refused, ()) = tokio::join!(at_once, go);
    assert!(matches!(refused[..], [EgressError::TooMany]), "{refused:?}");
    let problem = Problem::from(&refused[0]);
    assert_eq!((problem.code, problem.code.status()), (Code::Busy, 503));
    assert!(!refused[0].maybe_processed());
    // Those that wait count, too, and are used again; one that has ended makes room.
    for pool in [&one, &other, &one] {
        assert_eq!(ask(pool).await.unwrap(), "ok");
    }
    assert_eq!(server.accepted(), 3);
    drop(one);
    let another = async {
        while !matches!(tokio::join!(ask(&other), ask(&other)), (Ok(_), Ok(_))) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), another).await.expect("what has ended makes room");
    assert_eq!(server.accepted(), 4);
}

#[tokio::test]
async fn idle_connections_are_closed_in_time() {
    let server = hello().await;
    let pool = pool(on_loopback());
    let origin = server.origin();
    text(pool.send(&ticket(&origin), None, &origin, get("/")).await.unwrap().into_body()).await;
    assert_eq!(pool.stats().idle, 1);
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(pool.stats().idle, 1);
    // The reaper, not the next request, closes it.
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(pool.stats().idle, 0);
    tokio::time::resume();
    text(pool.send(&ticket(&origin), None, &origin, get("/")).await.unwrap().into_body()).await;
    assert_eq!(pool.stats().opened, 2);
}

#[tokio::test]
async fn identities_do_not_share_connections() {
    let authority = Authority::new();
    let server = serve(Some(authority.server(&["http/1.1"])), |_| async { Response::new(full("ok")) }).await;
    let mut settings = on_loopback();
    settings.extra_ca_pem = Some(authority.pem.clone().into_bytes());
    let pool = pool(settings);
    let origin = localhost(&server);
    let client = authority.sign(&["client"], |_| {});
    let key = client.key.serialize_pem();
    let identity = || {
        pool.egress()
            .identity(&IdentityParts {
                certificate_chain_pem: Some(client.chain.as_bytes()),
                private_key_pem: Some(key.as_bytes()),
                extra_ca_pem: None,
            })
            .unwrap()
    };
    let (one, again) = (identity(), identity());
    for identity in [None, Some(&one), None, Some(&again)] {
        text(pool.send(&ticket(&origin), identity, &origin, get("/")).await.unwrap().into_body()).await;
    }
    assert_eq!(
        pool.stats(),
        Stats { opened: 2, reused: 2, retried: 0, idle: 2 },
        "same values, same identity"
    );
}

#[tokio::test]
async fn http2_shares_one_connection_even_when_all_come_at_once() {
    let authority = Authority::new();
    let gate = Arc::new(tokio::sync::Barrier::new(20));
    let server = serve(Some(authority.server(&["h2"])), move |_| {
        let gate = gate.clone();
        async move {
            gate.wait().await;
            Response::new(full("ok"))
        }
    })
    .await;
    let mut settings = on_loopback();
    settings.extra_ca_pem = Some(authority.pem.into_bytes());
    let pool = pool(settings);
    let origin = localhost(&server);
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (pool, origin) = (pool.clone(), origin.clone());
        all.spawn(async move {
            let answer = pool.send(&ticket(&origin), None, &origin, get("/")).await.unwrap();
            text(answer.into_body()).await
        });
    }
    assert!(all.join_all().await.iter().all(|text| text == "ok"));
    assert_eq!(server.accepted(), 1);
    // It is closed when nobody has used it for a while.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(70)).await;
    tokio::time::resume();
    assert_eq!(pool.stats().opened, 1);
}

/// A server by hand: answers the first request of each connection, then hangs up on the second
/// after reading it (`read_second`), or without reading it.
async fn fickle(read_second: bool) -> (std::net::SocketAddr, mpsc::UnboundedReceiver<String>, Arc<Notify>) {
    let listener = listen("127.0.0.1:0").await;
    let at = listener.local_addr().unwrap();
    let (heard, hears) = mpsc::unbounded_channel();
    let hang_up = Arc::new(Notify::new());
    let signal = hang_up.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (heard, signal) = (heard.clone(), signal.clone());
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                let count = stream.read(&mut buffer).await.unwrap();
                heard.send(String::from_utf8_lossy(&buffer[..count]).into_owned()).unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                if read_second {
                    if let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        heard.send(String::from_utf8_lossy(&buffer[..count]).into_owned()).unwrap();
                    }
                } else {
                    signal.notified().await;
                }
            });
        }
    });
    (at, hears, hang_up)
}

fn drain(hears: &mut mpsc::UnboundedReceiver<String>) -> Vec<String> {
    std::iter::from_fn(|| hears.try_recv().ok())
        .map(|text| text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
        .collect()
}

#[tokio::test]
async fn an_idempotent_request_is_repeated_once_when_a_warm_connection_dies_under_it() {
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
        let (at, mut hears, _) = fickle(true).await;
        let pool = pool(on_loopback());
        let origin = http_at(at);
        text(pool.send(&ticket(&origin), None, &origin, get("/first")).await.unwrap().into_body()).await;
        let request =
            Request::builder().method(method.clone()).uri("/second").body(RequestBody::empty()).unwrap();
        let answer = pool.send(&ticket(&origin), None, &origin, request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let second = format!("{method} /second");
        assert_eq!(drain(&mut hears), ["GET /first", &second, &second]);
        assert_eq!(pool.stats().retried, 1);
    }
}

#[tokio::test]
async fn another_request_is_never_sent_twice() {
    // POST is not idempotent; a PUT whose body has gone by cannot be repeated.
    for (method, streamed) in [(Method::POST, false), (Method::PATCH, false), (Method::PUT, true)] {
        let (at, mut hears, _) = fickle(true).await;
        let pool = pool(on_loopback());
        let origin = http_at(at);
        text(pool.send(&ticket(&origin), None, &origin, get("/first")).await.unwrap().into_body()).await;
        let body = match streamed {
            true => RequestBody::stream(http_body_util::Full::new(Bytes::from("body"))),
            false => RequestBody::full("body"),
        };
        let request = Request::builder().method(method.clone()).uri("/second").body(body).unwrap();
        let error = pool.send(&ticket(&origin), None, &origin, request).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, EgressError::Broken { maybe_processed: true, .. }), "{error:?}");
        assert_eq!(drain(&mut hears), ["GET /first".to_owned(), format!("{method} /second")]);
        assert_eq!(pool.stats().retried, 0);
    }
}

#[tokio::test]
async fn a_fresh_connection_that_dies_is_not_tried_again() {
    let listener = listen("127.0.0.1:0").await;
    let at = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if stream.read(&mut [0; 1024]).await.unwrap_or(0) > 0 {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let pool = pool(on_loopback());
    let origin = http_at(at);
    let error = pool.send(&ticket(&origin), None, &origin, get("/")).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, EgressError::Broken { maybe_processed: true, .. }), "{error:?}");
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_it_waited_costs_nobody_anything() {
    let (at, mut hears, hang_up) = fickle(false).await;
    let pool = pool(on_loopback());
    let origin = http_at(at);
    text(pool.send(&ticket(&origin), None, &origin, get("/first")).await.unwrap().into_body()).await;
    hang_up.notify_one();
    // Even a POST: it never was on the dead connection. Sent at once, before anybody saw it close.
    let request = Request::post("/second").body(RequestBody::full("x")).unwrap();
    tokio::task::yield_now().await;
    let sent = pool.send(&ticket(&origin), None, &origin, request).await;
    match sent {
        Ok(answer) => {
            assert_eq!(answer.status(), 200);
            assert_eq!(drain(&mut hears), ["GET /first", "POST /second"]);
        }
        // The close crossed the request on the wire: then, and only then, it is the caller's to decide.
        Err(error) => assert!(error.maybe_processed(), "{error:?}"),
    }
}

/// An HTTP/2 server that resets the first stream of each connection for this reason and answers the others.
async fn resetting(authority: &Authority, reason: h2::Reason) -> (Server, Arc<AtomicUsize>) {
    let listener = listen("127.0.0.1:0").await;
    let server = Server { at: listener.local_addr().unwrap(), accepted: Arc::default() };
    let streams = Arc::new(AtomicUsize::new(0));
    let (accepted, counter) = (server.accepted.clone(), streams.clone());
    let tls = tokio_rustls::TlsAcceptor::from(authority.server(&["h2"]));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            accepted.fetch_add(1, Ordering::SeqCst);
            let (tls, counter) = (tls.clone(), counter.clone());
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(tls.accept(stream).await.unwrap()).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    assert_eq!(request.uri().path(), "/second");
                    if counter.fetch_add(1, Ordering::SeqCst) == 0 {
                        respond.send_reset(reason);
                    } else {
                        respond.send_response(Response::new(()), true).unwrap();
                    }
                }
            });
        }
    });
    (server, streams)
}

#[tokio::test]
async fn http2_sends_again_only_what_the_server_says_it_did_not_process() {
    let authority = Authority::new();
    for (reason, again) in [(h2::Reason::REFUSED_STREAM, true), (h2::Reason::INTERNAL_ERROR, false)] {
        let (server, streams) = resetting(&authority, reason).await;
        let mut settings = on_loopback();
        settings.extra_ca_pem = Some(authority.pem.clone().into_bytes());
        let pool = pool(settings);
        let origin = localhost(&server);
        let request = Request::post("/second").body(RequestBody::full("body")).unwrap();
        let sent = pool.send(&ticket(&origin), None, &origin, request).await.map(|answer| answer.status());
        match sent {
            Ok(status) => assert!(again && status == 200),
            Err(error) => assert!(!again && error.maybe_processed(), "{error:?}"),
        }
        assert_eq!(streams.load(Ordering::SeqCst), if again { 2 } else { 1 });
        assert_eq!(pool.stats().retried, u64::from(again));
    }
}
