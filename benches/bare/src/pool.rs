//! The connections to the upstream that one thread has at hand. A connection comes back when the answer's
//! body has been read to its end, and is closed when it has not.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

type Sender = SendRequest<Incoming>;

#[derive(Clone)]
pub struct Pool {
    upstream: SocketAddr,
    idle: Rc<RefCell<Vec<Sender>>>,
}

impl Pool {
    pub fn new(upstream: SocketAddr) -> Self {
        Self { upstream, idle: Rc::default() }
    }

    pub async fn get(&self) -> io::Result<Sender> {
        loop {
            let Some(mut sender) = self.idle.borrow_mut().pop() else { break };
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        let stream = TcpStream::connect(self.upstream).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::task::spawn_local(async move {
            // Its end is seen by whoever uses the sender next.
            let _ = connection.await;
        });
        Ok(sender)
    }

    pub fn body(&self, sender: Sender, inner: Incoming) -> Pooled {
        Pooled { inner, sender: Some(sender), pool: self.clone() }
    }
}

/// An answer's body that brings its connection back.
pub struct Pooled {
    inner: Incoming,
    sender: Option<Sender>,
    pool: Pool,
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take().filter(|_| self.inner.is_end_stream()) {
            self.pool.idle.borrow_mut().push(sender);
        }
    }
}

impl Body for Pooled {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.get_mut().inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
