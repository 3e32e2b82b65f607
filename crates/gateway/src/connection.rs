//! One accepted connection: HTTP/1.1 or HTTP/2, with or without TLS.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Either;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use latchstring_broker::road::{AnswerBody, Lane, Peer, refusal};
use latchstring_model::{Code, Problem};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::peer::TrustedProxies;
use crate::unreadable::Explained;
use crate::version::Version;

/// How long a client may take to send a request's headers, and to say anything at all.
pub const HEADER_TIME: Duration = Duration::from_secs(30);
/// Request headers: at most this many bytes and this many of them.
const HEADER_BYTES: usize = 64 * 1024;
const HEADER_COUNT: usize = 128;
/// How long open requests may go on once the server stops.
const DRAIN_TIME: Duration = Duration::from_secs(30);

pub type ApiBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;
type ApiFuture = Pin<Box<dyn Future<Output = Response<ApiBody>> + Send>>;
/// Everything that is not `/proxy`: API, pages, health. Runs on the control runtime.
pub type ApiHandler = Arc<dyn Fn(Request<Incoming>, Peer) -> ApiFuture + Send + Sync>;

/// Spawns on this core: nothing here is shared with another thread.
#[derive(Clone, Copy)]
struct OnThisCore;

impl<F: Future + 'static> hyper::rt::Executor<F> for OnThisCore {
    fn execute(&self, future: F) {
        // hyper drives its HTTP/2 streams through this; the task ends with its connection.
        drop(tokio::task::spawn_local(future));
    }
}

/// What every connection of a core shares.
pub struct Shared {
    pub lane: Rc<Lane>,
    pub api: ApiHandler,
    pub trusted: TrustedProxies,
    pub stop: watch::Receiver<bool>,
    pub tls: bool,
}

async fn answer(
    shared: Rc<Shared>,
    request: Request<Incoming>,
    address: SocketAddr,
) -> Result<Response<Either<AnswerBody, ApiBody>>, Infallible> {
    // hyper's own limit bounds what it reads at once; a head that came whole can be longer.
    let head: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if head > HEADER_BYTES {
        let problem = Problem::new(
            Code::BadRequest,
            format!("The request's headers are longer than {HEADER_BYTES} bytes."),
        )
        .hint("Send less in headers; large values belong into the body.");
        return Ok(refusal(&problem).map(Either::Left));
    }
    let peer = Peer { address: shared.trusted.client(address.ip(), request.headers()), tls: shared.tls };
    if request.uri().path().starts_with("/proxy/") {
        return Ok(shared.lane.proxy(request, peer).await.map(Either::Left));
    }
    Ok((shared.api)(request, peer).await.map(Either::Right))
}

/// Serves until the client leaves, or until the server stops and open requests are done.
pub async fn serve<IO>(shared: Rc<Shared>, io: IO, version: Version, address: SocketAddr)
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let builder = auto::Builder::new(OnThisCore);
    let mut builder = match version {
        Version::Http1 => builder.http1_only(),
        Version::Http2 => builder.http2_only(),
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_headers(HEADER_COUNT)
        // No `pipeline_flush`: with it an answer waits while bytes of the next request are there, so that events
        // are held and the 400 to a malformed request is never seen.
        .max_buf_size(HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_BYTES as u32)
        .max_concurrent_streams(256)
        .keep_alive_interval(Duration::from_secs(30));
    let mut stop = shared.stop.clone();
    let service = service_fn(|request| answer(Rc::clone(&shared), request, address));
    let io = Explained::new(io, Rc::clone(&shared.lane));
    let connection = builder.serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return log(ended),
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    match tokio::time::timeout(DRAIN_TIME, connection).await {
        Ok(ended) => log(ended),
        Err(_) => tracing::warn!(
            "a connection was cut: its request was still open {} s after the stop",
            DRAIN_TIME.as_secs()
        ),
    }
}

fn log(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        // Clients go away all the time; this is for whoever looks for it.
        tracing::debug!(error = %error, "a client connection ended early");
    }
}
