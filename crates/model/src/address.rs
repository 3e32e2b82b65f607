//! Where a secret may go: origins, and pins of an origin with a path prefix.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Scheme, host and port, normalised: lower-case ASCII host, IPv6 in brackets, port always there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    pub https: bool,
    pub host: String,
    pub port: u16,
}

/// Why a text is no URL that a request could be sent to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("not a URL; write it whole, as in https://api.example.com/v1")]
    NotAUrl,
    #[error("only https (or http, where the operator allows it) can be called")]
    Scheme,
    #[error("user name and password in a URL are not accepted; put them into the credential's fields")]
    UserInfo,
    #[error("a URL here has no fragment (the part after #)")]
    Fragment,
}

/// An absolute URL taken apart: where to connect, and the path and query to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub origin: Origin,
    /// Begins with `/`.
    pub path: String,
    pub query: Option<String>,
}

impl Address {
    /// Reads an absolute `http(s)` URL. The host is normalised as browsers do it (WHATWG), which
    /// is also what the address filter sees: there is no second reading of the same text.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let url = Url::parse(text.trim()).map_err(|_| AddressError::NotAUrl)?;
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(AddressError::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(AddressError::Fragment);
        }
        let host = match url.host() {
            Some(Host::Ipv6(ip)) => format!("[{ip}]"),
            Some(host) => {
                let mut host = host.to_string();
                // `example.com.` and `example.com` are the same destination: one pin.
                if host.ends_with('.') {
                    host.pop();
                }
                host
            }
            None => return Err(AddressError::NotAUrl),
        };
        if host.is_empty() {
            return Err(AddressError::NotAUrl);
        }
        let port = url.port_or_known_default().ok_or(AddressError::NotAUrl)?;
        Ok(Self {
            origin: Origin { https, host, port },
            path: url.path().to_owned(),
            query: url.query().map(str::to_owned),
        })
    }

    /// The request target: path and query.
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target())
    }
}

impl Origin {
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    fn default_port(&self) -> u16 {
        if self.https { 443 } else { 80 }
    }

    /// As in the `Host` header: the port only where it is not the scheme's own.
    pub fn authority(&self) -> String {
        if self.port == self.default_port() {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority())
    }
}

/// What a pinned destination is for. A value pinned for calls is not thereby sent to a token host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PinPurpose {
    Call,
    Token,
    Step,
}

/// The origin and path prefix that a credential's values may be sent to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pin {
    pub purpose: PinPurpose,
    pub origin: Origin,
    /// Begins and ends with `/`.
    pub prefix: String,
}

impl Pin {
    /// A pin of everything below `path` (`/v1` and `/v1/` pin the same).
    pub fn new(purpose: PinPurpose, origin: Origin, path: &str) -> Self {
        let mut prefix = path.to_owned();
        if !prefix.starts_with('/') {
            prefix.insert(0, '/');
        }
        if !prefix.ends_with('/') {
            prefix.push('/');
        }
        Self { purpose, origin, prefix }
    }

    /// Whether a request to `origin` for `path` (no query) lies within. `/v1` itself does, `/v10` does not.
    pub fn contains(&self, origin: &Origin, path: &str) -> bool {
        if &self.origin != origin {
            return false;
        }
        match path.strip_prefix(self.prefix.trim_end_matches('/')) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_destination_has_one_spelling() {
        for text in [
            "https://API.Example.com/v1",
            "https://api.example.com:443/v1",
            "https://api.example.com./v1",
            "  https://api.example.com/v1  ",
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.origin.to_string(), "https://api.example.com", "{text}");
            assert_eq!(address.path, "/v1");
        }
        assert_eq!(Address::parse("http://0x7f.1/").unwrap().origin.host, "127.0.0.1");
        assert_eq!(Address::parse("http://[0:0::1]:81/").unwrap().origin.to_string(), "http://[::1]:81");
    }

    #[test]
    fn what_is_no_destination_is_refused() {
        assert_eq!(Address::parse("api.example.com"), Err(AddressError::NotAUrl));
        assert_eq!(Address::parse("ftp://example.com/"), Err(AddressError::Scheme));
        assert_eq!(Address::parse("file:///etc/passwd"), Err(AddressError::Scheme));
        assert_eq!(Address::parse("https://a:b@example.com/"), Err(AddressError::UserInfo));
        assert_eq!(Address::parse("https://example.com/#x"), Err(AddressError::Fragment));
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let at = Address::parse("https://h/").unwrap().origin;
        for prefix in ["/v1", "/v1/", "v1"] {
            let pin = Pin::new(PinPurpose::Call, at.clone(), prefix);
            assert!(pin.contains(&at, "/v1"));
            assert!(pin.contains(&at, "/v1/x"));
            assert!(!pin.contains(&at, "/v10/x"));
            assert!(!pin.contains(&at, "/"));
        }
        let other = Address::parse("http://h/").unwrap().origin;
        assert!(!Pin::new(PinPurpose::Call, at, "/").contains(&other, "/x"));
    }
}
