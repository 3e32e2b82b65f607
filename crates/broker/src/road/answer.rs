//! Step 8, return: the upstream's body on its way to the caller, masked, counted, and noted when it ends.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use latchstring_egress::ResponseBody;

use super::mask::StreamMask;
use super::record::Noted;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

enum Kind {
    Own(Option<Bytes>),
    Upstream {
        body: Box<ResponseBody>,
        mask: Option<Box<StreamMask>>,
        ended: bool,
        trailers: Option<Frame<Bytes>>,
    },
}

/// What a caller gets to read.
pub struct AnswerBody {
    kind: Kind,
    /// Writes the call's outcome when the body ends, or when nobody reads it any more.
    noted: Option<Noted>,
}

impl AnswerBody {
    pub fn own(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { kind: Kind::Own((!bytes.is_empty()).then_some(bytes)), noted: None }
    }

    pub fn upstream(body: ResponseBody, mask: Option<StreamMask>, noted: Noted) -> Self {
        let ended = body.is_end_stream();
        let mut answer = Self {
            kind: Kind::Upstream { body: Box::new(body), mask: mask.map(Box::new), ended, trailers: None },
            noted: Some(noted),
        };
        if ended {
            answer.end();
        }
        answer
    }

    fn end(&mut self) {
        if let Some(noted) = self.noted.take() {
            noted.end();
        }
    }

    fn count(&mut self, bytes: usize) {
        if let Some(noted) = &mut self.noted {
            noted.count(bytes);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            let (body, mask, ended, trailers) = match &mut this.kind {
                Kind::Own(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
                Kind::Upstream { body, mask, ended, trailers } => (body, mask, ended, trailers),
            };
            if *ended {
                let rest = trailers.take();
                this.end();
                return Poll::Ready(rest.map(Ok));
            }
            let frame = match std::task::ready!(Pin::new(&mut **body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    if let Some(noted) = this.noted.take() {
                        noted.broke(&error);
                    }
                    *ended = true;
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => {
                    *ended = true;
                    match mask.as_mut().and_then(|mask| mask.finish()) {
                        Some(held) => {
                            this.count(held.len());
                            return Poll::Ready(Some(Ok(Frame::data(held))));
                        }
                        None => continue,
                    }
                }
            };
            match frame.into_data() {
                Ok(data) => {
                    let last = body.is_end_stream();
                    let pass = match mask {
                        Some(mask) => mask.feed(data, last),
                        None => data,
                    };
                    *ended = last;
                    if pass.is_empty() && !last {
                        continue;
                    }
                    this.count(pass.len());
                    if last {
                        this.end();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(pass))));
                }
                Err(frame) => match mask.as_mut().and_then(|mask| mask.finish()) {
                    // Held bytes go before the trailers that follow them.
                    Some(held) => {
                        *trailers = Some(frame);
                        *ended = true;
                        this.count(held.len());
                        return Poll::Ready(Some(Ok(Frame::data(held))));
                    }
                    None => return Poll::Ready(Some(Ok(frame))),
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own(bytes) => bytes.is_none(),
            Kind::Upstream { ended, trailers, .. } => *ended && trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            // Masking keeps lengths.
            Kind::Upstream { body, ended, .. } => {
                if *ended {
                    SizeHint::with_exact(0)
                } else {
                    body.size_hint()
                }
            }
        }
    }
}
