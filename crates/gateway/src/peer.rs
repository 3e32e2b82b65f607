//! Who is at the other end: the TCP peer, or what a trusted proxy says of it.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use ipnet::IpNet;

/// Networks whose `X-Forwarded-For` is believed (`LATCHSTRING_TRUSTED_PROXIES`).
#[derive(Clone, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks.into())
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address: from the right, the first hop that is no trusted proxy. What stands
    /// further left was written by strangers.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if self.0.is_empty() || !self.trusts(peer) {
            return peer;
        }
        let mut client = peer;
        let lines = headers.get_all("x-forwarded-for");
        let hops: Vec<&str> =
            lines.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).collect();
        for hop in hops.iter().rev() {
            let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
            client = address.to_canonical();
            if !self.trusts(client) {
                break;
            }
        }
        client
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_trusted_hops_are_believed() {
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", HeaderValue::from_static("6.6.6.6, 1.2.3.4"));
        headers.append("x-forwarded-for", HeaderValue::from_static("10.0.0.9"));
        let client = |peer: &str| trusted.client(peer.parse().unwrap(), &headers).to_string();
        assert_eq!(client("10.0.0.1"), "1.2.3.4", "forged hops on the left are not reached");
        assert_eq!(client("::ffff:10.0.0.1"), "1.2.3.4");
        assert_eq!(client("9.9.9.9"), "9.9.9.9", "a stranger's header is ignored");
        assert_eq!(
            TrustedProxies::default().client("10.0.0.1".parse().unwrap(), &headers).to_string(),
            "10.0.0.1"
        );
    }
}
