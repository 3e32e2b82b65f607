//! Step 8, return: the upstream's body on its way to the caller, masked, counted, and noted when it ends.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use latchstring_egress::ResponseBody;
use latchstring_model::Code;

use super::coded::{Broken, CodedBody};
use super::mask::StreamMask;
use super::record::Noted;
use super::trailers;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

enum Kind {
    Own(Option<Bytes>),
    Upstream {
        body: ResponseBody,
        mask: Option<Box<StreamMask>>,
        /// What the head called its connection's own.
        named: Vec<HeaderName>,
        ended: bool,
        trailers: Option<Frame<Bytes>>,
    },
    Coded(Box<CodedBody>),
}

/// What a caller gets to read.
pub struct AnswerBody {
    kind: Kind,
    /// Writes the call's outcome when the body ends, or when nobody reads it any more.
    noted: Option<Noted>,
    /// What the head says that the body has. Who reads by that asks for nothing behind its last byte.
    length: Option<u64>,
}

impl AnswerBody {
    pub fn own(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { kind: Kind::Own((!bytes.is_empty()).then_some(bytes)), noted: None, length: None }
    }

    pub fn upstream(
        body: ResponseBody,
        mask: Option<StreamMask>,
        named: Vec<HeaderName>,
        noted: Noted,
    ) -> Self {
        let (ended, length) = (body.is_end_stream(), body.size_hint().exact());
        let kind = Kind::Upstream { body, mask: mask.map(Box::new), named, ended, trailers: None };
        let mut answer = Self { kind, noted: Some(noted), length };
        if ended {
            answer.end();
        }
        answer
    }

    pub(super) fn coded(body: CodedBody, length: Option<u64>, noted: Noted) -> Self {
        let mut answer = Self { kind: Kind::Coded(Box::new(body)), noted: Some(noted), length };
        if answer.is_end_stream() {
            answer.end();
        }
        answer
    }

    /// A whole body that came from the upstream and was made fit to be passed on.
    pub(super) fn masked(bytes: Bytes, mut noted: Noted) -> Self {
        noted.count(bytes.len());
        noted.end();
        Self::own(bytes)
    }

    fn end(&mut self) {
        if let Some(noted) = self.noted.take() {
            noted.end();
        }
    }

    /// A frame of a coded body, noted as it passes.
    fn passed(
        &mut self,
        frame: Option<Result<Frame<Bytes>, Broken>>,
    ) -> Option<Result<Frame<Bytes>, BoxError>> {
        match frame {
            Some(Ok(frame)) => {
                self.count(frame.data_ref().map_or(0, Bytes::len));
                if self.is_end_stream() {
                    self.end();
                }
                Some(Ok(frame))
            }
            Some(Err(Broken::Upstream(error))) => {
                if let Some(noted) = self.noted.take() {
                    noted.broke(&error);
                }
                Some(Err(error.into()))
            }
            Some(Err(Broken::Withheld)) => {
                if let Some(noted) = self.noted.take() {
                    noted.failed(Code::AnswerWithheld);
                }
                Some(Err(Code::AnswerWithheld.title().into()))
            }
            None => {
                self.end();
                None
            }
        }
    }

    fn count(&mut self, bytes: usize) {
        if let Some(noted) = &mut self.noted {
            noted.count(bytes);
            if self.length.is_some_and(|length| noted.bytes() >= length) {
                self.end();
            }
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
            let (body, mask, named, ended, trailers) = match &mut this.kind {
                Kind::Own(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
                Kind::Upstream { body, mask, named, ended, trailers } => (body, mask, named, ended, trailers),
                Kind::Coded(coded) => {
                    let frame = std::task::ready!(coded.poll_frame(cx));
                    return Poll::Ready(this.passed(frame));
                }
            };
            if *ended {
                let rest = trailers.take();
                this.end();
                return Poll::Ready(rest.map(Ok));
            }
            let frame = match std::task::ready!(Pin::new(&mut *body).poll_frame(cx)) {
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
                            this.end();
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
                        Some(mask) => mask.feed(data, body.is_whole()),
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
                Err(frame) => {
                    // Nothing follows them, and who has them asks for nothing more.
                    *ended = true;
                    *trailers = trailers::passed(frame, named, mask.as_ref().map(|mask| mask.masker()));
                    // Held bytes go before the trailers that follow them.
                    let Some(held) = mask.as_mut().and_then(|mask| mask.finish()) else { continue };
                    let last = trailers.is_none();
                    this.count(held.len());
                    if last {
                        this.end();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(held))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own(bytes) => bytes.is_none(),
            Kind::Upstream { ended, trailers, .. } => *ended && trailers.is_none(),
            Kind::Coded(coded) => coded.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            // Its length stands in its headers, if it is known.
            Kind::Coded(coded) => {
                if coded.is_end() {
                    SizeHint::with_exact(0)
                } else {
                    SizeHint::default()
                }
            }
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
