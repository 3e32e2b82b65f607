//! The fields behind a body. They pass as headers do, so they are dropped and masked as headers are. What would have had
//! to be said before the body is dropped, too (RFC 9110 section 6.5.1): whoever adds trailers to the headers would take
//! it for what the body was read by, or for what the scheme has set.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use latchstring_egress::{BoxError, RequestBody};

use super::headers;
use super::mask::Masker;

fn comes_too_late(name: &str) -> bool {
    matches!(
        name,
        // How long the message is, and how it is to be read.
        "content-length"
            | "content-encoding"
            | "content-range"
            | "content-type"
            | "trailer"
            | "x-content-type-options"
            // What is to be done with it, or after it.
            | "age"
            | "cache-control"
            | "date"
            | "expires"
            | "location"
            | "pragma"
            | "retry-after"
            | "vary"
            | "warning"
            // Who may, and where to.
            | "authorization"
            | "cookie"
            | "host"
            | "max-forwards"
            | "www-authenticate"
    )
}

/// A caller's body on its way to the API, whose trailers say nothing of what the head says: there it is the scheme's and
/// the connector's word that counts.
struct BehindHead {
    body: RequestBody,
    head: Vec<HeaderName>,
}

/// The body of a request with this head.
pub(super) fn behind(head: &HeaderMap, body: RequestBody) -> RequestBody {
    // What is held has none.
    if !body.is_streamed() {
        return body;
    }
    RequestBody::stream(BehindHead { body, head: head.keys().cloned().collect() })
}

impl Body for BehindHead {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            // Nothing comes behind them.
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {
                Poll::Ready(sent_on(frame, &this.head).map(Ok))
            }
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A caller's trailers as the API may see them, behind a head of these names; `None` when nothing is left.
fn sent_on(frame: Frame<Bytes>, head: &[HeaderName]) -> Option<Frame<Bytes>> {
    let mut fields = frame.into_trailers().ok()?;
    headers::remove_those(&mut fields, |name| {
        headers::is_not_for_the_api(name)
            || comes_too_late(name)
            || head.iter().any(|known| known.as_str() == name)
    });
    (!fields.is_empty()).then(|| Frame::trailers(fields))
}

/// An API's trailers as the caller may see them; `None` when nothing is left. `named`: what the head called its connection's own.
pub(super) fn passed(
    frame: Frame<Bytes>,
    named: &[HeaderName],
    masker: Option<&Masker>,
) -> Option<Frame<Bytes>> {
    let mut fields = frame.into_trailers().ok()?;
    headers::strip_response(&mut fields);
    for name in named {
        fields.remove(name);
    }
    headers::remove_those(&mut fields, comes_too_late);
    if let Some(masker) = masker {
        for value in fields.values_mut() {
            masker.mask_header(value);
        }
    }
    (!fields.is_empty()).then(|| Frame::trailers(fields))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use http::HeaderValue;

    use super::*;
    use crate::road::mask::MaskSet;

    fn frame(fields: &[(&'static str, &'static str)]) -> Frame<Bytes> {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Frame::trailers(map)
    }

    #[test]
    fn only_what_may_stand_behind_a_body_passes() {
        let sent = frame(&[
            ("set-cookie", "a=b"),
            ("set-cookie", "c=d"),
            ("latchstring-error", "forged"),
            ("strict-transport-security", "max-age=1"),
            ("connection", "x-own"),
            ("x-own", "1"),
            ("x-of-the-head", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("content-length", "1"),
            ("content-type", "text/html"),
            ("content-encoding", "gzip"),
            ("trailer", "x-more"),
            ("cache-control", "public"),
            ("location", "/elsewhere"),
            ("www-authenticate", "Basic"),
            ("host", "elsewhere"),
            ("x-content-type-options", "none"),
            ("grpc-status", "0"),
            ("etag", "\"1\""),
            ("x-sum", "1"),
            ("x-sum", "2"),
        ]);
        let named = [HeaderName::from_static("x-of-the-head")];
        let left = passed(sent, &named, None).unwrap().into_trailers().unwrap();
        let mut names: Vec<&str> = left.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["etag", "grpc-status", "x-sum", "x-sum"]);
        assert!(passed(frame(&[("set-cookie", "a=b")]), &[], None).is_none(), "nothing is left");
    }

    #[test]
    fn nothing_is_said_behind_a_body_that_the_head_says() {
        let sent = frame(&[
            ("x-api-key", "the-callers"),
            ("x-api-key", "again"),
            ("authorization", "Bearer the-callers"),
            ("cookie", "a=b"),
            ("latchstring-project", "acme"),
            ("x-forwarded-for", "127.0.0.1"),
            ("proxy-authorization", "Basic"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "1"),
            ("host", "elsewhere"),
            ("x-http-method-override", "DELETE"),
            ("x-sum", "1"),
            ("x-sum", "2"),
        ]);
        let head = [HeaderName::from_static("accept"), HeaderName::from_static("x-api-key")];
        let left = sent_on(sent, &head).unwrap().into_trailers().unwrap();
        assert_eq!(left.keys().collect::<Vec<_>>(), ["x-sum"]);
        assert_eq!(left.get_all("x-sum").iter().count(), 2);
        assert!(sent_on(frame(&[("x-api-key", "the-callers")]), &head).is_none(), "nothing is left");
    }

    #[test]
    fn an_echo_is_masked() {
        let masker = Masker::new(Some(Arc::new(MaskSet::new(&["sk-the-secret".into()]))), None);
        let sent = frame(&[("grpc-message", "invalid key sk-the-secret"), ("grpc-status", "16")]);
        let left = passed(sent, &[], Some(&masker)).unwrap().into_trailers().unwrap();
        assert_eq!(left["grpc-message"], "invalid key *************");
        assert_eq!(left["grpc-status"], "16");
    }
}
