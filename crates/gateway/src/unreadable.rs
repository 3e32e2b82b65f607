//! Requests that hyper cannot read are refused by hyper itself, with an empty 400 that says nothing. It is put into
//! our own words on its way out: every answer of ours has a code, and those of `/proxy` a call's id.
//!
//! Only before the first request of a connection that could be read: from then on what is written may be an
//! upstream's bytes, which may look like anything, and must go out as they are.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use latchstring_model::{Code, Problem};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::Shared;
use crate::plain;

/// As much of a request as is remembered to tell what was wrong with it.
const REMEMBERED: usize = 128;
/// hyper's own answers are shorter.
const LONGEST: usize = 512;

/// A connection whose unexplained refusals are explained.
pub struct Explained<IO> {
    io: IO,
    /// Names the calls that came to nothing.
    shared: Arc<Shared>,
    /// A request of this connection was read: nothing is put into other words any more.
    served: Arc<AtomicBool>,
    /// The beginning of what was read last.
    start: [u8; REMEMBERED],
    filled: usize,
    /// Our answer in place of hyper's, and how much of it is written.
    instead: Option<(Vec<u8>, usize)>,
}

impl<IO> Explained<IO> {
    pub fn new(io: IO, shared: Arc<Shared>, served: Arc<AtomicBool>) -> Self {
        Self { io, shared, served, start: [0; REMEMBERED], filled: 0, instead: None }
    }

    fn explanation(&self) -> Vec<u8> {
        let seen = self.start.get(..self.filled).unwrap_or_default();
        // `GET /proxy/…`: the method is a token, so what comes after its space is the path.
        let line = seen.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        if target.starts_with(b"/proxy/") {
            let odd = target.iter().any(|byte| !byte.is_ascii_graphic() || b"<>\"`^{|}\\".contains(byte));
            let words = line.split(|byte| *byte == b' ').count();
            let call = self.shared.lane.new_call();
            let problem = if odd || words > 3 {
                Problem::new(Code::BadPath, "The path or query holds bytes that cannot stand in a request line, such as a space, a backtick or an angle bracket.")
                    .hint("Percent-encode them: a backtick is %60, a space is %20.")
            } else {
                unreadable()
            };
            return plain::problem(&problem, Some(&call));
        }
        plain::problem(&unreadable(), None)
    }
}

fn unreadable() -> Problem {
    Problem::new(Code::BadRequest, "The request's first line or one of its headers is not HTTP.")
        .hint("Paths and queries are percent-encoded, header names hold no spaces, header values no control characters.")
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn is_hypers_own(bytes: &[u8]) -> bool {
    bytes.len() <= LONGEST
        && bytes.starts_with(b"HTTP/1.1 400 Bad Request\r\n")
        && bytes.ends_with(b"\r\n\r\n")
        && holds(bytes, b"\r\ncontent-length: 0\r\n")
        && !holds(bytes, b"\r\nlatchstring-call-id:")
}

impl<IO: AsyncRead + Unpin> AsyncRead for Explained<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        if this.served.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let new = buf.filled().get(before..).unwrap_or_default();
        this.filled = new.len().min(REMEMBERED);
        if let (Some(start), Some(new)) = (this.start.get_mut(..this.filled), new.get(..this.filled)) {
            start.copy_from_slice(new);
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> Explained<IO> {
    /// Writes what stands in place of hyper's answer; then the connection ends anyhow.
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((bytes, at)) = &mut self.instead {
            let rest = bytes.get(*at..).unwrap_or_default();
            if rest.is_empty() {
                self.instead = None;
                break;
            }
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *at += written;
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Explained<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        if !this.served.load(Ordering::Relaxed) && is_hypers_own(buf) {
            this.instead = Some((this.explanation(), 0));
            // Accepted; it goes out now or with the flush.
            if let Poll::Ready(Err(error)) = this.poll_instead(cx) {
                return Poll::Ready(Err(error));
            }
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut this.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [one] = bufs {
            return self.poll_write(cx, one);
        }
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        Pin::new(&mut this.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hypers_own_refusal_is_explained() {
        let own = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: Sun, 22 Nov 2026 00:00:00 GMT\r\n\r\n";
        assert!(is_hypers_own(own));
        let upstreams =
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nlatchstring-call-id: cal_1\r\n\r\n";
        assert!(!is_hypers_own(upstreams));
        assert!(!is_hypers_own(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
        assert!(!is_hypers_own(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}"));
    }
}
