//! An outbound proxy: a tunnel by `CONNECT` (RFC 9110 section 9.3.6) to an address that was judged here.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use base64::Engine;
use latchstring_model::address::Address;
use latchstring_model::{Origin, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::error::SetupError;
use crate::stream::Carrier;

/// Longest head of the proxy's answer that is read, in bytes.
const LONGEST_ANSWER: usize = 8 * 1024;

/// The proxy that every outgoing connection goes through: `http[s]://[user:password@]host[:port]`.
#[derive(Clone)]
pub struct OutboundProxy {
    pub(crate) origin: Origin,
    authorization: Option<SecretString>,
}

impl FromStr for OutboundProxy {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, SetupError> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(SetupError::Proxy)?;
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, rest),
        };
        let address = Address::parse(&format!("{scheme}://{host}")).map_err(|_| SetupError::Proxy)?;
        if address.target() != "/" {
            return Err(SetupError::Proxy);
        }
        let authorization = user.map(|user| {
            let plain: Vec<u8> = percent_encoding::percent_decode_str(user).collect();
            SecretString::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(plain)))
        });
        Ok(Self { origin: address.origin, authorization })
    }
}

impl OutboundProxy {
    /// Asks for a tunnel; the carrier then belongs to `target`.
    pub(crate) async fn tunnel(&self, carrier: &mut Carrier, target: SocketAddr) -> Result<(), TunnelError> {
        let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(authorization) = &self.authorization {
            head.push_str("Proxy-Authorization: ");
            head.push_str(authorization.expose());
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        carrier.write_all(head.as_bytes()).await?;
        carrier.flush().await?;
        // Byte by byte: what follows the head belongs to the target (which may speak first), and this
        // is once per connection.
        let mut answer = Vec::with_capacity(128);
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() == LONGEST_ANSWER {
                return Err(TunnelError::NotHttp);
            }
            answer.push(carrier.read_u8().await?);
        }
        let status = answer
            .strip_prefix(b"HTTP/1.")
            .and_then(|rest| rest.get(2..5))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| digits.parse::<u16>().ok())
            .ok_or(TunnelError::NotHttp)?;
        if (200..300).contains(&status) { Ok(()) } else { Err(TunnelError::Status(status)) }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    #[error("broke off: {0}")]
    Io(#[from] io::Error),
    #[error("did not answer as an HTTP proxy does")]
    NotHttp,
    #[error("refused the tunnel with status {0}")]
    Status(u16),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_proxy_is_read_from_a_url() {
        let proxy: OutboundProxy = "http://proxy.example.com:3128".parse().unwrap();
        assert_eq!(proxy.origin.to_string(), "http://proxy.example.com:3128");
        assert!(proxy.authorization.is_none());
        let proxy: OutboundProxy = "https://me:p%40ss@proxy.example.com/".parse().unwrap();
        assert_eq!(proxy.origin.to_string(), "https://proxy.example.com");
        assert_eq!(proxy.authorization.unwrap().expose(), "Basic bWU6cEBzcw==");
        for wrong in ["proxy:3128", "socks5://proxy", "http://", "http://proxy/path", ""] {
            assert!(wrong.parse::<OutboundProxy>().is_err(), "{wrong}");
        }
    }
}
