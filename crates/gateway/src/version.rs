//! Which HTTP a client speaks, found out within a time limit: a connection that says nothing must not live for
//! ever, and hyper's own limits begin only once the version is known.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// RFC 9113 section 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A preface comes in one piece; one that does not is looked at again after this.
const AGAIN: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

/// What the first bytes of a connection say. `None`: they could become either.
pub fn of_bytes(seen: &[u8]) -> Option<Version> {
    let common = seen.len().min(PREFACE.len());
    match (seen.get(..common), PREFACE.get(..common)) {
        (Some(seen), Some(wanted)) if seen == wanted => (common == PREFACE.len()).then_some(Version::Http2),
        _ => Some(Version::Http1),
    }
}

/// By the first bytes, which stay unread. `None`: nothing came in time, or the client left.
pub async fn of_first_bytes(stream: &TcpStream, within: Duration) -> Option<Version> {
    let look = async {
        let mut seen = [0; PREFACE.len()];
        loop {
            let count = stream.peek(&mut seen).await.ok().filter(|count| *count > 0)?;
            if let Some(version) = of_bytes(seen.get(..count)?) {
                return Some(version);
            }
            sleep(AGAIN).await;
        }
    };
    timeout(within, look).await.ok().flatten()
}

/// By what TLS agreed on (ALPN, RFC 7301); without that it is HTTP/1.1.
pub fn of_alpn(protocol: Option<&[u8]>) -> Version {
    if protocol == Some(b"h2") { Version::Http2 } else { Version::Http1 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    async fn said(bytes: &[u8], close: bool) -> Option<Version> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(bytes).await.unwrap();
        if close {
            client.shutdown().await.unwrap();
        }
        of_first_bytes(&server, Duration::from_millis(300)).await
    }

    #[tokio::test]
    async fn silence_and_half_a_preface_end() {
        assert_eq!(said(b"GET / HTTP/1.1\r\n", false).await, Some(Version::Http1));
        assert_eq!(said(b"P", false).await, None);
        assert_eq!(said(b"PUT /", false).await, Some(Version::Http1));
        assert_eq!(said(PREFACE, false).await, Some(Version::Http2));
        assert_eq!(said(&PREFACE[..23], false).await, None);
        assert_eq!(said(b"", false).await, None);
        assert_eq!(said(b"", true).await, None);
    }
}
