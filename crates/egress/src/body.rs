//! Bodies on their way: nothing is buffered, back-pressure and trailers are kept.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::error::{EgressError, Stage};
use crate::patience::Patience;
use crate::pool::Lease;
use crate::send;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body. What the gateway passes on is not boxed.
pub struct RequestBody {
    kind: Kind,
    progress: Option<Arc<Progress>>,
}

enum Kind {
    Empty,
    Full(Bytes),
    Incoming(Incoming),
    Stream(UnsyncBoxBody<Bytes, BoxError>),
}

impl RequestBody {
    pub fn empty() -> Self {
        Kind::Empty.into()
    }

    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Kind::Empty.into() } else { Kind::Full(bytes).into() }
    }

    /// Any other body, boxed.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Kind::Stream(body.map_err(Into::into).boxed_unsync()).into()
    }

    /// The same body once more, if it is all here.
    pub(crate) fn again(&self) -> Option<Self> {
        match &self.kind {
            Kind::Empty => Some(Self::empty()),
            Kind::Full(bytes) => Some(Self::full(bytes.clone())),
            Kind::Incoming(_) | Kind::Stream(_) => None,
        }
    }

    /// It comes piece by piece, perhaps with trailers behind it.
    pub fn is_streamed(&self) -> bool {
        matches!(self.kind, Kind::Incoming(_) | Kind::Stream(_))
    }

    pub(crate) fn is_full(&self) -> bool {
        matches!(self.kind, Kind::Full(_))
    }

    /// For a body that comes piece by piece: where to read how far it has come.
    pub(crate) fn watched(&mut self) -> Option<Arc<Progress>> {
        self.is_streamed().then(|| self.progress.get_or_insert_with(|| Arc::new(Progress::new())).clone())
    }
}

impl From<Kind> for RequestBody {
    fn from(kind: Kind) -> Self {
        Self { kind, progress: None }
    }
}

impl From<Incoming> for RequestBody {
    fn from(body: Incoming) -> Self {
        if body.is_end_stream() { Self::empty() } else { Kind::Incoming(body).into() }
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self::full(bytes)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = match &mut this.kind {
            Kind::Empty => return Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                this.kind = Kind::Empty;
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Kind::Incoming(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            Kind::Stream(body) => Pin::new(body).poll_frame(cx),
        };
        if let Some(progress) = &this.progress {
            progress.note(polled.is_pending());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(_) => false,
            Kind::Incoming(body) => body.is_end_stream(),
            Kind::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Incoming(body) => body.size_hint(),
            Kind::Stream(body) => body.size_hint(),
        }
    }
}

/// How far a streamed request body has come: the limit for the answer's head counts from its last
/// piece, so that a long upload is not cut off.
pub(crate) struct Progress {
    start: Instant,
    /// Milliseconds after `start` of the last piece.
    last: AtomicU64,
    /// The body's source has nothing to give at the moment.
    starved: AtomicBool,
}

impl Progress {
    fn new() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0), starved: AtomicBool::new(false) }
    }

    fn note(&self, starved: bool) {
        self.starved.store(starved, Ordering::Relaxed);
        if !starved {
            let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.last.store(millis, Ordering::Relaxed);
        }
    }

    pub(crate) fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    pub(crate) fn starved(&self) -> bool {
        self.starved.load(Ordering::Relaxed)
    }
}

/// An answer's body. When it was read to the end its connection goes back to the pool; dropped
/// before, the connection is closed (HTTP/1.1) or the stream is reset (HTTP/2).
pub struct ResponseBody(Box<Reading>);

/// Boxed, because an answer is handed through many hands before its body is read.
struct Reading {
    incoming: Incoming,
    lease: Option<Lease>,
    idle: Idle,
}

/// The limit on waiting for a piece. It does not run while nobody asks for one.
struct Idle {
    limit: Duration,
    /// A wait has begun and no piece has come since.
    waiting: bool,
    patience: Option<Patience>,
}

impl Idle {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let patience = match &mut self.patience {
            Some(patience) if self.waiting => patience,
            Some(patience) => {
                patience.set(Instant::now() + self.limit);
                patience
            }
            None => self.patience.insert(Patience::until(Instant::now() + self.limit)),
        };
        self.waiting = true;
        Pin::new(patience).poll(cx)
    }
}

impl ResponseBody {
    pub(crate) fn new(incoming: Incoming, lease: Lease, limit: Duration) -> Self {
        let idle = Idle { limit, waiting: false, patience: None };
        let mut reading = Reading { incoming, lease: Some(lease), idle };
        reading.settle();
        Self(Box::new(reading))
    }

    /// All bytes are here. Over HTTP/2 a server may say the end by itself, later, and trailers may come before it.
    pub fn is_whole(&self) -> bool {
        self.0.incoming.is_end_stream() || self.0.incoming.size_hint().exact() == Some(0)
    }
}

impl Reading {
    /// Gives the connection back if there is nothing more to read.
    fn settle(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        let this = &mut *self.get_mut().0;
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.idle.waiting = false;
                // Who has the trailers need not ask for the end behind them.
                if frame.is_trailers()
                    && let Some(lease) = this.lease.take()
                {
                    lease.give_back();
                }
                this.settle();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.lease = None;
                Poll::Ready(Some(Err(send::broken(&error))))
            }
            Poll::Ready(None) => {
                if let Some(lease) = this.lease.take() {
                    lease.give_back();
                }
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(this.idle.poll(cx));
                if let Some(lease) = this.lease.take() {
                    lease.condemn();
                }
                Poll::Ready(Some(Err(EgressError::Timeout { stage: Stage::ResponseBody })))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.incoming.size_hint()
    }
}
