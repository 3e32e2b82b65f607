//! Every limit, with the clock stopped: nothing here waits in earnest.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use latchstring_egress::{EgressError, Pool, RequestBody, Resolve, Resolving, Stage};
use latchstring_model::{Origin, Problem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, advance, pause, sleep};

use crate::support::*;

/// A server that does with each connection what the function says.
async fn by_hand<F>(each: impl Fn(TcpStream) -> F + Send + 'static) -> std::net::SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = listen("127.0.0.1:0").await;
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(each(stream));
        }
    });
    at
}

async fn some_request(stream: &mut TcpStream) {
    assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
}

fn sending(
    pool: &Pool,
    origin: &Origin,
    request: Request<RequestBody>,
) -> tokio::task::JoinHandle<Result<u16, EgressError>> {
    let (pool, origin) = (pool.clone(), origin.clone());
    tokio::spawn(async move {
        pool.send(&ticket(&origin), None, &origin, request).await.map(|answer| answer.status().as_u16())
    })
}

/// Lets everybody run, then lets the clock go on by so much.
async fn go_on(by: Duration) {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    advance(by).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

const MOMENT: Duration = Duration::from_millis(20);

/// What came of it just before and just after the limit.
async fn at_the_limit<T>(task: tokio::task::JoinHandle<T>, limit: Duration) -> T {
    go_on(limit - MOMENT).await;
    assert!(!task.is_finished(), "ended before its limit");
    go_on(2 * MOMENT).await;
    assert!(task.is_finished(), "went on after its limit");
    task.await.unwrap()
}

fn stage(result: Result<u16, EgressError>) -> Stage {
    match result {
        Err(EgressError::Timeout { stage }) => stage,
        other => panic!("no time limit: {other:?}"),
    }
}

#[tokio::test]
async fn the_head_of_an_answer_has_a_minute() {
    let got = Arc::new(Notify::new());
    let seen = got.clone();
    let at = by_hand(move |mut stream| {
        let seen = seen.clone();
        async move {
            some_request(&mut stream).await;
            seen.notify_one();
            std::future::pending::<()>().await;
        }
    })
    .await;
    let pool = pool(on_loopback());
    let task = sending(&pool, &http_at(at), get("/"));
    got.notified().await;
    pause();
    assert_eq!(stage(at_the_limit(task, Duration::from_secs(60)).await), Stage::ResponseHead);
}

#[tokio::test]
async fn a_long_upload_is_not_cut_off_but_a_stalled_one_is() {
    let got = Arc::new(Notify::new());
    let seen = got.clone();
    let at = by_hand(move |mut stream| {
        let seen = seen.clone();
        async move {
            let mut buffer = vec![0; 65536];
            while let Ok(1..) = stream.read(&mut buffer).await {
                seen.notify_one();
            }
        }
    })
    .await;
    let pool = pool(on_loopback());
    let (feed, mut pieces) = mpsc::channel::<Bytes>(1);
    let body = RequestBody::stream(Pieces(Box::new(move |cx| pieces.poll_recv(cx))));
    feed.send("first".into()).await.unwrap();
    let task = sending(&pool, &http_at(at), Request::post("/").body(body).unwrap());
    got.notified().await;
    pause();
    for _ in 0..5 {
        go_on(Duration::from_secs(45)).await;
        feed.send("more".into()).await.unwrap();
        go_on(Duration::ZERO).await;
    }
    assert!(!task.is_finished(), "cut off while it was coming");
    let error = at_the_limit(task, Duration::from_secs(60)).await.unwrap_err();
    assert!(matches!(error, EgressError::Timeout { stage: Stage::RequestBody }), "{error:?}");
    assert_eq!(Problem::from(error).code.as_str(), "bad_request", "it is the caller who stalled");
}

type NextPiece = Box<dyn FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<Bytes>> + Send>;
struct Pieces(NextPiece);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        (self.0)(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[tokio::test]
async fn a_body_may_pause_but_not_for_ever_and_a_slow_reader_is_not_to_blame() {
    let at = by_hand(|mut stream| async move {
        some_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let pool = pool(on_loopback());
    let origin = http_at(at);
    let mut body = pool.send(&ticket(&origin), None, &origin, get("/")).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "some");
    pause();
    // The reader does something else for an hour. The clock starts when it asks again.
    advance(Duration::from_secs(3600)).await;
    let task = tokio::spawn(async move { body.frame().await.unwrap().map(|_| ()) });
    let error = at_the_limit(task, Duration::from_secs(300)).await.unwrap_err();
    assert!(matches!(error, EgressError::Timeout { stage: Stage::ResponseBody }), "{error:?}");
    assert_eq!(pool.stats().idle, 0);
}

#[tokio::test]
async fn a_body_that_comes_slowly_is_read() {
    let (feed, mut pieces) = mpsc::channel::<Bytes>(1);
    let body = std::sync::Mutex::new(Some(Pieces(Box::new(move |cx| pieces.poll_recv(cx)))));
    let body = Arc::new(body);
    let server = serve(None, move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Response::new(body.map_err(Into::into).boxed_unsync()) }
    })
    .await;
    let pool = pool(on_loopback());
    let origin = server.origin();
    let mut body = pool.send(&ticket(&origin), None, &origin, get("/")).await.unwrap().into_body();
    for round in 0..4 {
        let mut task = tokio::spawn(async move { (body.frame().await.unwrap().map(|_| ()), body) });
        pause();
        go_on(Duration::from_secs(290)).await;
        assert!(!task.is_finished(), "round {round}");
        tokio::time::resume();
        feed.send("x".into()).await.unwrap();
        let (frame, back) = (&mut task).await.unwrap();
        frame.unwrap();
        body = back;
    }
}

#[tokio::test]
async fn a_handshake_has_ten_seconds() {
    let got = Arc::new(Notify::new());
    let seen = got.clone();
    let at = by_hand(move |mut stream| {
        let seen = seen.clone();
        async move {
            some_request(&mut stream).await;
            seen.notify_one();
            std::future::pending::<()>().await;
        }
    })
    .await;
    let pool = pool(on_loopback());
    let task = sending(&pool, &origin(&format!("https://{at}")), get("/"));
    got.notified().await;
    pause();
    let stopped = at_the_limit(task, Duration::from_secs(10)).await.unwrap_err();
    assert!(!stopped.maybe_processed());
    assert!(matches!(stopped, EgressError::Timeout { stage: Stage::Handshake }));
}

struct Silent;

impl Resolve for Silent {
    fn resolve<'a>(&'a self, _host: &'a str) -> Resolving<'a> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_ten_seconds_look_up_included() {
    for url in ["https://slow.example", "http://slow.example"] {
        let pool = pool_with(on_loopback(), Silent);
        let before = Instant::now();
        // Whoever waits for another's attempt waits no longer than that.
        let tasks: Vec<_> = (0..5).map(|_| sending(&pool, &origin(url), get("/"))).collect();
        for task in tasks {
            assert_eq!(stage(task.await.unwrap()), Stage::Connect);
        }
        assert!(before.elapsed() <= Duration::from_secs(31), "{:?}", before.elapsed());
    }
}

#[tokio::test]
async fn a_fetch_has_a_limit_for_all_of_it() {
    let at = by_hand(|mut stream| async move {
        some_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await.unwrap();
        // Never silent for long, never done.
        while stream.write_all(b"x").await.is_ok() {
            sleep(Duration::from_secs(5)).await;
        }
    })
    .await;
    let pool = pool(on_loopback());
    let origin = http_at(at);
    // Warm up the look of it: the head is there before the clock is stopped.
    let (limit, request) = (Duration::from_secs(45), Request::get("/").body(Bytes::new()).unwrap());
    let task = tokio::spawn(async move {
        let ticket = ticket(&origin);
        pool.fetch(&ticket, None, &origin, request, 1 << 20, limit).await.map(|answer| answer.status.as_u16())
    });
    pause();
    assert_eq!(stage(task.await.unwrap()), Stage::Whole);
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let authority = Authority::new();
    let big = |request: Request<hyper::body::Incoming>| async move {
        let mut answer = Response::new(full("ok"));
        for number in 0..request.uri().path()[1..].parse().unwrap() {
            let name: http::HeaderName = format!("x-{number}").parse().unwrap();
            answer.headers_mut().insert(name, "y".repeat(1000).parse().unwrap());
        }
        answer
    };
    let clear = serve(None, big).await;
    let h2 = serve(Some(authority.server(&["h2"])), big).await;
    let mut settings = on_loopback();
    settings.extra_ca_pem = Some(authority.pem.into_bytes());
    let pool = pool(settings);
    for origin in [clear.origin(), localhost(&h2)] {
        // Each header is a kilobyte.
        let answer = pool.send(&ticket(&origin), None, &origin, get("/50")).await.unwrap();
        assert_eq!(text(answer.into_body()).await, "ok");
        let error = pool.send(&ticket(&origin), None, &origin, get("/80")).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, EgressError::Broken { .. }), "{error:?}");
    }
}
