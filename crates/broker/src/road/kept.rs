//! A request body that is remembered while it streams, as long as it stays small: a 401 can then be answered
//! with a renewed token and the same request once more.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

/// Bodies up to this many bytes are kept for one replay.
pub const LIMIT: usize = 64 * 1024;

enum State {
    Coming(BytesMut),
    Whole(Bytes),
    /// Too long, broken off, or with trailers: it cannot be sent again.
    Lost,
}

/// What has been remembered so far.
#[derive(Clone)]
pub struct Memory(Arc<Mutex<State>>);

impl Memory {
    /// The whole body, if it has passed whole and small enough.
    pub fn whole(&self) -> Option<Bytes> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Whole(bytes) => Some(bytes.clone()),
            State::Coming(_) | State::Lost => None,
        }
    }
}

pub struct Kept<B> {
    inner: B,
    memory: Memory,
}

impl<B: Body<Data = Bytes>> Kept<B> {
    pub fn new(inner: B) -> (Self, Memory) {
        let memory = Memory(Arc::new(Mutex::new(State::Coming(BytesMut::new()))));
        (Self { inner, memory: memory.clone() }, memory)
    }

    fn note(&self, end: bool, frame: Option<&Frame<Bytes>>) {
        let mut state = self.memory.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Coming(seen) = &mut *state else { return };
        match frame.map(Frame::data_ref) {
            Some(Some(data)) if seen.len() + data.len() <= LIMIT => seen.extend_from_slice(data),
            Some(_) => {
                *state = State::Lost;
                return;
            }
            None => {}
        }
        if end {
            let whole = seen.split().freeze();
            *state = State::Whole(whole);
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Kept<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => this.note(this.inner.is_end_stream(), Some(frame)),
            Poll::Ready(None) => this.note(true, None),
            Poll::Ready(Some(Err(_))) => {
                *this.memory.0.lock().unwrap_or_else(PoisonError::into_inner) = State::Lost;
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http_body_util::{BodyExt, Full};

    #[tokio::test]
    async fn small_bodies_are_remembered_and_large_ones_are_not() {
        let (body, memory) = Kept::new(Full::new(Bytes::from_static(b"hello")));
        assert!(memory.whole().is_none(), "nothing has passed yet");
        assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
        assert_eq!(memory.whole().unwrap(), "hello");

        for (length, kept) in [(LIMIT, true), (LIMIT + 1, false)] {
            let (body, memory) = Kept::new(Full::new(Bytes::from(vec![7; length])));
            assert_eq!(body.collect().await.unwrap().to_bytes().len(), length);
            assert_eq!(memory.whole().is_some(), kept);
        }
    }
}
