//! How many calls one HTTP/2 connection carries, and what becomes of the next one.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use latchstring_egress::{BoxError, Pool, ResponseBody};
use latchstring_model::Origin;
use tokio::time::{sleep, timeout};

use crate::support::*;

/// No test waits for it, but one that fails.
const LONG: Duration = Duration::from_secs(20);

/// A body that begins, and then says nothing for ever.
struct Endless(Option<Bytes>);

impl Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.take().map_or(Poll::Pending, |begun| Poll::Ready(Some(Ok(Frame::data(begun)))))
    }
}

/// An HTTP/2 server that bears so many streams at once, and never ends what it answers to `/hold`.
struct Narrow {
    pool: Pool,
    origin: Origin,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Narrow {
    async fn start(streams: u32, idle: Duration) -> Self {
        let authority = Authority::new();
        let listener = listen("127.0.0.1:0").await;
        let origin = origin(&format!("https://localhost:{}", listener.local_addr().unwrap().port()));
        let (accepted, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tls = tokio_rustls::TlsAcceptor::from(authority.server(&["h2"]));
        let counts = (accepted.clone(), open.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, (accepted, open)) = (tls.clone(), counts.clone());
                accepted.fetch_add(1, Ordering::SeqCst);
                open.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let service = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                        let body = match request.uri().path() {
                            "/hold" => Endless(Some("begun".into())).boxed_unsync(),
                            _ => full("ok"),
                        };
                        Ok::<_, Infallible>(Response::new(body))
                    });
                    let stream = TokioIo::new(tls.accept(stream).await.unwrap());
                    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    drop(builder.max_concurrent_streams(streams).serve_connection(stream, service).await);
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        let mut settings = on_loopback();
        settings.extra_ca_pem = Some(authority.pem.into_bytes());
        settings.limits.idle_connection = idle;
        Self { pool: pool(settings), origin, accepted, open }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    async fn ask(&self, path: &str) -> ResponseBody {
        let ticket = ticket(&self.origin);
        let sent = self.pool.send(&ticket, None, &self.origin, get(path));
        timeout(LONG, sent).await.expect("it waits for another call to end").unwrap().into_body()
    }

    /// An answer that goes on until it is dropped.
    async fn hold(&self) -> ResponseBody {
        let mut body = self.ask("/hold").await;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "begun");
        body
    }

    /// So many, one after another.
    async fn hold_each(&self, count: usize) -> Vec<ResponseBody> {
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(self.hold().await);
        }
        held
    }

    /// Six at once.
    async fn hold_six(&self) -> [ResponseBody; 6] {
        let (a, b, c, d, e, f) =
            tokio::join!(self.hold(), self.hold(), self.hold(), self.hold(), self.hold(), self.hold());
        [a, b, c, d, e, f]
    }

    async fn until_open(&self, count: usize) {
        let fewer = async {
            while self.open.load(Ordering::SeqCst) != count {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, fewer).await.expect("a connection that nobody uses is closed");
    }
}

#[tokio::test]
async fn the_call_that_one_connection_cannot_carry_has_another() {
    let server = Narrow::start(3, LONG).await;
    let mut held = server.hold_each(3).await;
    assert_eq!(server.accepted(), 1);
    for _ in 0..5 {
        assert_eq!(text(server.ask("/").await).await, "ok");
        assert_eq!(server.accepted(), 2, "what has ended counts no more");
    }
    held.extend(server.hold_each(3).await);
    assert_eq!(server.accepted(), 2);
    // Whoever goes away makes room, on the first connection too.
    held.remove(0);
    held.push(server.hold().await);
    assert_eq!(server.accepted(), 2);
    held.push(server.hold().await);
    assert_eq!((server.accepted(), server.pool.stats().opened), (3, 3));
}

#[tokio::test]
async fn many_at_once_open_no_more_connections_than_they_need() {
    let server = Narrow::start(3, LONG).await;
    let _held = server.hold_each(3).await;
    // What the peer bears is known from the first connection before a new one says so.
    let _more = server.hold_six().await;
    assert_eq!((server.accepted(), server.pool.stats().retried), (3, 0));
}

#[tokio::test]
async fn many_at_once_wait_for_what_a_new_peer_bears() {
    for (streams, connections) in [(1, 6), (3, 2), (100, 1)] {
        let server = Narrow::start(streams, LONG).await;
        let _held = server.hold_six().await;
        assert_eq!((server.accepted(), server.pool.stats().retried), (connections, 0), "{streams}");
    }
}

#[tokio::test]
async fn a_connection_that_is_no_longer_needed_goes() {
    let server = Narrow::start(1, Duration::from_millis(300)).await;
    let (first, second) = (server.hold().await, server.hold().await);
    server.until_open(2).await;
    drop(second);
    server.until_open(1).await;
    // Not the one that is in use, however long nobody else has asked for it.
    let mut first = first;
    let next = timeout(Duration::from_millis(10), first.frame()).await;
    assert!(next.is_err(), "it goes on: {next:?}");
    drop(first);
    server.until_open(0).await;
}
