//! One accepted connection: HTTP/1.1 or HTTP/2, with or without TLS.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Either;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use latchstring_broker::road::{AnswerBody, Lane, PatientTimer, Peer, refusal};
use latchstring_model::{Code, Problem};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::peer::TrustedProxies;
use crate::unreadable::Explained;
use crate::version::Version;

/// How long a client may take to send a request's headers, and to say anything at all.
pub const HEADER_TIME: Duration = Duration::from_secs(30);
/// Request headers: at most this many bytes. Of HTTP/1.1 hyper reads 100 of them, without an allocation.
const HEADER_BYTES: usize = 64 * 1024;
/// How long open requests may go on once the server stops.
const DRAIN_TIME: Duration = Duration::from_secs(30);

type Answered = Result<Response<Either<AnswerBody, ApiBody>>, Infallible>;
pub type ApiBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;
type ApiFuture = Pin<Box<dyn Future<Output = Response<ApiBody>> + Send>>;
/// Everything that is not `/proxy`: API, pages, health. Runs on the control runtime.
pub type ApiHandler = Arc<dyn Fn(Request<Incoming>, Peer) -> ApiFuture + Send + Sync>;

/// What every connection of a core shares.
pub struct Shared {
    pub lane: Lane,
    pub api: ApiHandler,
    pub trusted: TrustedProxies,
    pub stop: watch::Receiver<bool>,
    pub tls: bool,
}

fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    address: SocketAddr,
) -> Pin<Box<impl Future<Output = Answered> + Send + use<>>> {
    // hyper's own limit bounds what it reads at once; a head that came whole can be longer.
    let head: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let peer = Peer { address: shared.trusted.client(address.ip(), request.headers()), tls: shared.tls };
    // Boxed: the connection keeps a place for it, which would be cold by the next request, and is moved through.
    Box::pin(async move {
        Ok(if head > HEADER_BYTES {
            too_long().map(Either::Left)
        } else if request.uri().path().starts_with("/proxy/") {
            shared.lane.proxy(request, peer).await.map(Either::Left)
        } else {
            (shared.api)(request, peer).await.map(Either::Right)
        })
    })
}

fn too_long() -> Response<AnswerBody> {
    let problem = Problem::new(
        Code::BadRequest,
        format!("The request's headers are longer than {HEADER_BYTES} bytes."),
    )
    .hint("Send less in headers; large values belong into the body.");
    refusal(&problem)
}

/// Serves until the client leaves, or until the server stops and open requests are done.
pub async fn serve<IO>(shared: Arc<Shared>, io: IO, version: Version, address: SocketAddr)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stop = shared.stop.clone();
    match version {
        Version::Http1 => {
            let served = Arc::new(AtomicBool::new(false));
            let io = TokioIo::new(Explained::new(io, Arc::clone(&shared), Arc::clone(&served)));
            let service = service_fn(move |request| {
                served.store(true, Ordering::Relaxed);
                answer(Arc::clone(&shared), request, address)
            });
            let connection = http1::Builder::new()
                .timer(PatientTimer::default())
                .header_read_timeout(HEADER_TIME)
                // No `pipeline_flush`: with it an answer waits while bytes of the next request are there, so that
                // events are held and the 400 to a malformed request is never seen.
                .max_buf_size(HEADER_BYTES)
                .serve_connection(io, service);
            until_stopped(connection, |connection| connection.graceful_shutdown(), stop).await;
        }
        Version::Http2 => {
            let io = TokioIo::new(io);
            let service = service_fn(move |request| answer(Arc::clone(&shared), request, address));
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_header_list_size(HEADER_BYTES as u32)
                .max_concurrent_streams(256)
                .keep_alive_interval(Duration::from_secs(30))
                .serve_connection(io, service);
            until_stopped(connection, |connection| connection.graceful_shutdown(), stop).await;
        }
    }
}

/// Drives a connection to its end; once the server stops it may finish what is open.
async fn until_stopped<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    shut: impl FnOnce(Pin<&mut C>),
    mut stop: watch::Receiver<bool>,
) {
    tokio::pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => return log(ended),
        _ = stop.wait_for(|stop| *stop) => shut(connection.as_mut()),
    }
    match tokio::time::timeout(DRAIN_TIME, connection).await {
        Ok(ended) => log(ended),
        Err(_) => tracing::warn!(
            "a connection was cut: its request was still open {} s after the stop",
            DRAIN_TIME.as_secs()
        ),
    }
}

fn log(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        // Clients go away all the time; this is for whoever looks for it.
        tracing::debug!(error = %error, "a client connection ended early");
    }
}
