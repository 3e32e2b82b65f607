//! A connection that was checked: plain or TLS, straight or through a proxy.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What carries the session: a socket, or TLS to an outbound proxy.
pub(crate) enum Carrier {
    Tcp(TcpStream),
    TlsProxy(Box<TlsStream<TcpStream>>),
}

/// A checked stream to one destination. Only [`crate::Egress`] makes them.
pub struct Stream(pub(crate) Kind);

pub(crate) enum Kind {
    Plain(Carrier),
    Tls(Box<TlsStream<Carrier>>),
}

impl Stream {
    /// Whether the peer proved its name by a certificate.
    pub fn is_tls(&self) -> bool {
        matches!(self.0, Kind::Tls(_))
    }

    pub(crate) fn speaks_h2(&self) -> bool {
        match &self.0 {
            Kind::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
            Kind::Plain(_) => false,
        }
    }
}

macro_rules! forward {
    ($type:ty, $self:ident => $inner:expr, $($variant:pat => $to:expr),+) => {
        impl AsyncRead for $type {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                let $self = self.get_mut();
                match $inner { $($variant => Pin::new($to).poll_read(cx, buf)),+ }
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                let $self = self.get_mut();
                match $inner { $($variant => Pin::new($to).poll_write(cx, buf)),+ }
            }

            fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
                let $self = self.get_mut();
                match $inner { $($variant => Pin::new($to).poll_write_vectored(cx, bufs)),+ }
            }

            fn is_write_vectored(&self) -> bool {
                let $self = self;
                match $inner { $($variant => $to.is_write_vectored()),+ }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $self = self.get_mut();
                match $inner { $($variant => Pin::new($to).poll_flush(cx)),+ }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $self = self.get_mut();
                match $inner { $($variant => Pin::new($to).poll_shutdown(cx)),+ }
            }
        }
    };
}

forward!(Carrier, this => this, Carrier::Tcp(tcp) => tcp, Carrier::TlsProxy(tls) => tls);
forward!(Stream, this => this, Stream(Kind::Plain(carrier)) => carrier, Stream(Kind::Tls(tls)) => tls);
