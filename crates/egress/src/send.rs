//! One request over one connection, and when it may be tried on another.

use std::error::Error;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use latchstring_model::Origin;
use tokio::time::Instant;

use crate::body::{Progress, RequestBody, ResponseBody};
use crate::error::{EgressError, Stage};
use crate::patience::Patience;
use crate::permit::Permit;
use crate::pool::{Conn, Held, Lease, Pool, Slot};
use crate::tls::{Identity, TlsFault};

/// Connections that died before the request was on them; after so many the host is at fault.
const MOST_TRIES: usize = 3;

impl Pool {
    /// Sends one request and hands back the answer with its body still coming.
    ///
    /// Of the request's URI path and query are used, byte for byte; the rest, `Host` and the
    /// framing headers come from `origin` and the body. A redirect is an answer like any other.
    ///
    /// A request is sent again, once, over another connection when it provably was not processed,
    /// or when the connection had been used before, died without an answer, the method is
    /// idempotent (RFC 9110 section 9.2.2) and the body is all here.
    pub fn send<'p>(
        &'p self,
        permit: impl Into<Permit<'p>>,
        identity: Option<&'p Identity>,
        origin: &'p Origin,
        request: impl Into<Box<Request<RequestBody>>>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, EgressError>> + Send + 'p {
        // Not `async fn`s, here and below: those keep their arguments twice, and this is a part of the future
        // of every call, which is moved about. The request is boxed for the same reason.
        let permit = permit.into();
        let mut request = request.into();
        frame(&mut request);
        async move {
            if !permit.allows(origin) {
                return Err(EgressError::NotPinned { origin: Box::new(origin.clone()) });
            }
            if request.method() == Method::CONNECT {
                return Err(EgressError::Broken {
                    maybe_processed: false,
                    reason: "CONNECT is not sent".into(),
                });
            }
            let slot = self.inner.slot(origin, identity)?;
            let mut fresh = false;
            let mut tries = 0;
            loop {
                let warm = if fresh { None } else { self.inner.warm(&slot, permit) };
                let reused = warm.is_some();
                let conn = match warm {
                    Some(conn) => conn,
                    // Boxed: opening is rare and its future large.
                    None => Box::pin(self.inner.open(&slot, permit, identity, origin, fresh)).await?,
                };
                tries += 1;
                let spare = spare(&request, tries, reused, &conn);
                let failed = match self.attempt(&slot, origin, conn, request).await {
                    Ok(answer) => return Ok(answer),
                    Err(failed) => failed,
                };
                match failed {
                    Failed::Final(error) => return Err(error),
                    Failed::NotSent(back, error) if tries < MOST_TRIES => {
                        tracing::debug!(%error, "connection was gone before the request was on it");
                        request = back;
                    }
                    Failed::NotSent(_, error) => return Err(not_sent(&error)),
                    Failed::Died(error) => match spare {
                        Some(spare)
                            if unprocessed(&error)
                                || (reused && died(&error)) && idempotent(spare.method()) =>
                        {
                            tracing::debug!(%error, "sent again over another connection");
                            request = spare;
                        }
                        _ => return Err(broken(&error)),
                    },
                }
                fresh = true;
                self.inner.retried.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn attempt<'p>(
        &'p self,
        slot: &'p Arc<Slot>,
        origin: &'p Origin,
        conn: Conn,
        mut request: Box<Request<RequestBody>>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Failed>> + Send + 'p {
        let limits = self.inner.egress.limits();
        let progress = request.body_mut().watched();
        async move {
            let lease = |held| Lease { pool: self.inner.clone(), slot: slot.clone(), held };
            let (answer, lease) = match conn {
                Conn::One(mut one) => {
                    address_h1(&mut request, slot);
                    let head = pin!(one.sender.try_send_request(*request));
                    let head = within(limits.response_head, &mut one.patience, progress, head).await?;
                    (head, lease(Held::One(one)))
                }
                Conn::Shared(mut sender, users) => {
                    address_h2(&mut request, slot, origin);
                    let mut head = Box::pin(sender.try_send_request(*request));
                    let mut patience = Patience::until(Instant::now() + limits.response_head);
                    let head = within(limits.response_head, &mut patience, progress, head.as_mut()).await;
                    // Perhaps it is the connection that is dead: requests to come open another.
                    if matches!(head, Err(Failed::Final(_))) {
                        slot.forget(&users);
                    }
                    (head?, lease(Held::Shared(users)))
                }
            };
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Err(Failed::Final(EgressError::Broken {
                    maybe_processed: true,
                    reason: "the server changed the protocol unasked".into(),
                }));
            }
            Ok(answer.map(|body| ResponseBody::new(body, lease, limits.idle_body)))
        }
    }
}

enum Failed {
    /// Nothing of the request was written; here it is again.
    NotSent(Box<Request<RequestBody>>, hyper::Error),
    /// The request or a part of it is on the way.
    Died(hyper::Error),
    Final(EgressError),
}

impl From<TrySendError<Request<RequestBody>>> for Failed {
    fn from(mut error: TrySendError<Request<RequestBody>>) -> Self {
        match error.take_message() {
            Some(request) => Failed::NotSent(Box::new(request), error.into_error()),
            None => Failed::Died(error.into_error()),
        }
    }
}

/// Waits for the head of the answer. While a request body is still moving the limit starts anew.
async fn within(
    limit: Duration,
    patience: &mut Patience,
    progress: Option<Arc<Progress>>,
    mut head: Pin<&mut impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>>,
) -> Result<Response<Incoming>, Failed> {
    patience.set(Instant::now() + limit);
    loop {
        tokio::select! {
            biased;
            sent = head.as_mut() => return Ok(sent?),
            () = &mut *patience => {}
        }
        let stage = match &progress {
            Some(progress) if progress.last() + limit > patience.deadline() => {
                patience.set(progress.last() + limit);
                continue;
            }
            Some(progress) if progress.starved() => Stage::RequestBody,
            _ => Stage::ResponseHead,
        };
        return Err(Failed::Final(EgressError::Timeout { stage }));
    }
}

/// A copy of the request for a second try, where one could be allowed.
fn spare(
    request: &Request<RequestBody>,
    tries: usize,
    reused: bool,
    conn: &Conn,
) -> Option<Box<Request<RequestBody>>> {
    let useful = (reused && idempotent(request.method())) || matches!(conn, Conn::Shared(..));
    if tries > 1 || !useful {
        return None;
    }
    let body = request.body().again()?;
    let mut copy = Box::new(Request::new(body));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

fn idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// HTTP/2's word that the server did nothing with it (RFC 9113 section 8.7).
fn unprocessed(error: &hyper::Error) -> bool {
    cause::<h2::Error>(error).and_then(h2::Error::reason) == Some(h2::Reason::REFUSED_STREAM)
}

/// The connection ended before an answer, rather than the answer being wrong.
fn died(error: &hyper::Error) -> bool {
    if error.is_user() || error.is_parse() {
        return false;
    }
    error.is_incomplete_message()
        || error.is_canceled()
        || error.is_closed()
        || cause::<std::io::Error>(error).is_some()
        || cause::<h2::Error>(error).is_some_and(h2::Error::is_go_away)
}

fn cause<E: Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

fn text(error: &hyper::Error) -> Box<str> {
    match error.source() {
        Some(source) => format!("{error}: {source}").into(),
        None => error.to_string().into(),
    }
}

pub(crate) fn not_sent(error: &hyper::Error) -> EgressError {
    EgressError::Broken { maybe_processed: false, reason: text(error) }
}

/// A failure after the request was on its way.
pub(crate) fn broken(error: &hyper::Error) -> EgressError {
    if error.is_user() {
        return EgressError::RequestBody { reason: text(error) };
    }
    match TlsFault::within(error) {
        // With TLS 1.3 a server says so only after the handshake, but before it reads a request.
        Some(fault @ (TlsFault::ClientCertificateRequired | TlsFault::ClientCertificateRefused(_))) => {
            EgressError::Tls(fault)
        }
        _ => EgressError::Broken { maybe_processed: true, reason: text(error) },
    }
}

/// Framing belongs to whoever writes the bytes: hyper derives it from the body.
fn frame(request: &mut Request<RequestBody>) {
    // Some servers answer 411 to these methods when they have neither body nor length.
    let wants_length = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    let (full, empty) = (request.body().is_full(), request.body().is_end_stream());
    let headers = request.headers_mut();
    headers.remove(TRANSFER_ENCODING);
    headers.remove(CONNECTION);
    headers.remove(UPGRADE);
    if empty && wants_length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    } else if empty || full {
        headers.remove(CONTENT_LENGTH);
    }
}

fn address_h1(request: &mut Request<RequestBody>, slot: &Slot) {
    *request.version_mut() = Version::HTTP_11;
    if request.uri().authority().is_some() {
        *request.uri_mut() = Uri::from(target(request.uri()));
    }
    request.headers_mut().insert(HOST, slot.host.clone());
    for_this_hop(request.headers_mut(), Version::HTTP_11);
}

fn address_h2(request: &mut Request<RequestBody>, slot: &Slot, origin: &Origin) {
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(HOST);
    for_this_hop(request.headers_mut(), Version::HTTP_2);
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if origin.https { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(slot.authority.clone());
    parts.path_and_query = Some(target(request.uri()));
    // All three parts are there, which is all that can be wrong.
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// On HTTP/1.1 `Connection` says that a wish for trailers is for the next hop alone (RFC 9110 section 10.1.4). HTTP/2
/// has no such header; one that is left of a try over HTTP/1.1 would have hyper drop `te`.
fn for_this_hop(headers: &mut HeaderMap, version: Version) {
    if version == Version::HTTP_11 && headers.contains_key(TE) {
        headers.insert(CONNECTION, HeaderValue::from_static("TE"));
    } else {
        headers.remove(CONNECTION);
    }
}

fn target(uri: &Uri) -> PathAndQuery {
    uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_try_over_another_protocol_asks_for_trailers_as_that_one_does() {
        let mut headers = HeaderMap::from_iter([(TE, HeaderValue::from_static("trailers"))]);
        for (version, connection) in
            [(Version::HTTP_11, Some("TE")), (Version::HTTP_2, None), (Version::HTTP_11, Some("TE"))]
        {
            for_this_hop(&mut headers, version);
            assert_eq!(headers.get(CONNECTION).map(HeaderValue::as_bytes), connection.map(str::as_bytes));
            assert_eq!(headers[TE], "trailers");
        }
        headers.remove(TE);
        for_this_hop(&mut headers, Version::HTTP_11);
        assert!(headers.is_empty(), "nobody asked");
    }
}
