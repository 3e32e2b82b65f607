//! The operator's allow-list: `CIDR[:ports][@project]`.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;
use latchstring_model::id::ProjectId;

/// A private network that calls may reach, perhaps only at some ports and for one project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowRule {
    pub(super) net: IpNet,
    pub(super) ports: RangeInclusive<u16>,
    /// Slug or id, as written.
    pub(super) project: Option<String>,
}

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowRuleError {
    #[error(
        "`{0}` is no network: write an address and a prefix length, as in 10.0.0.0/8, [fd00::/8]:5432 or 192.168.1.7"
    )]
    Network(String),
    #[error(
        "`{given}` has bits set beyond its prefix length: write {meant} for the network, or {single} for the one address"
    )]
    HostBits { given: String, meant: String, single: String },
    #[error("`{0}` is an IPv4 network in IPv6 clothes; write it as IPv4")]
    Mapped(String),
    #[error("`{0}` is no port or range of ports: write 443 or 8000-8999")]
    Ports(String),
    #[error(
        "`{0}` is neither a project's slug nor its id; it follows an @ at the end, as in 10.0.0.0/8:5432@acme"
    )]
    Project(String),
}

impl AllowRule {
    /// The project this rule is limited to, as written: an id or a slug.
    pub fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// A rule for everybody that allows exactly one address and port.
    pub fn exactly(address: std::net::SocketAddr) -> Self {
        Self { net: IpNet::from(address.ip()), ports: address.port()..=address.port(), project: None }
    }

    pub(super) fn covers(&self, ip: IpAddr, port: u16) -> bool {
        self.ports.contains(&port) && self.net.contains(&ip)
    }
}

impl FromStr for AllowRule {
    type Err = AllowRuleError;

    fn from_str(text: &str) -> Result<Self, AllowRuleError> {
        let text = text.trim();
        let (place, project) = match text.split_once('@') {
            Some((place, project)) => (place, Some(read_project(project)?)),
            None => (text, None),
        };
        let (net, ports) = split_ports(place);
        Ok(Self { net: read_net(net)?, ports: ports.map_or(Ok(0..=u16::MAX), read_ports)?, project })
    }
}

/// Parts `net[:ports]`. In a bare IPv6 address a colon is never the port's: that needs a prefix length or brackets.
fn split_ports(place: &str) -> (&str, Option<&str>) {
    let after = match (place.rfind(']'), place.rfind('/')) {
        (Some(bracket), slash) => slash.filter(|at| *at > bracket).unwrap_or(bracket),
        (None, Some(slash)) => slash,
        (None, None) if place.matches(':').count() > 1 => return (place, None),
        (None, None) => 0,
    };
    match place[after..].find(':') {
        Some(colon) => (&place[..after + colon], Some(&place[after + colon + 1..])),
        None => (place, None),
    }
}

fn read_net(text: &str) -> Result<IpNet, AllowRuleError> {
    // [fd00::/8], [fd00::]/8 and fd00::/8 are the same.
    let bare: String = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, behind)) => format!("{inside}{behind}"),
        None => text.to_owned(),
    };
    let wrong = || AllowRuleError::Network(text.to_owned());
    let net = if bare.contains('/') {
        bare.parse::<IpNet>().map_err(|_| wrong())?
    } else {
        IpNet::from(bare.parse::<IpAddr>().map_err(|_| wrong())?)
    };
    if let IpNet::V6(v6) = net
        && v6.addr().to_ipv4_mapped().is_some()
    {
        return Err(AllowRuleError::Mapped(text.to_owned()));
    }
    if net.trunc() != net {
        return Err(AllowRuleError::HostBits {
            given: text.to_owned(),
            meant: net.trunc().to_string(),
            single: IpNet::from(net.addr()).to_string(),
        });
    }
    Ok(net)
}

fn read_ports(text: &str) -> Result<RangeInclusive<u16>, AllowRuleError> {
    let wrong = || AllowRuleError::Ports(text.to_owned());
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err(wrong()),
    };
    let (low, high) = match text.split_once('-') {
        Some((low, high)) => (port(low)?, port(high)?),
        None => (port(text)?, port(text)?),
    };
    if low > high { Err(wrong()) } else { Ok(low..=high) }
}

fn read_project(text: &str) -> Result<String, AllowRuleError> {
    let shaped = !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    if shaped || ProjectId::looks_like(text) {
        Ok(text.to_owned())
    } else {
        Err(AllowRuleError::Project(text.to_owned()))
    }
}

impl fmt::Display for AllowRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.net {
            IpNet::V4(net) => write!(f, "{net}")?,
            IpNet::V6(net) => write!(f, "[{net}]")?,
        }
        let (low, high) = (*self.ports.start(), *self.ports.end());
        match (low, high) {
            (0, u16::MAX) => {}
            (low, high) if low == high => write!(f, ":{low}")?,
            (low, high) => write!(f, ":{low}-{high}")?,
        }
        match &self.project {
            Some(project) => write!(f, "@{project}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rule(text: &str) -> AllowRule {
        text.parse().unwrap()
    }

    #[test]
    fn the_spellings_of_a_rule() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            (" 10.0.0.0/8:5432 ", "10.0.0.0/8:5432"),
            ("10.0.0.0/8:8000-8999@acme", "10.0.0.0/8:8000-8999@acme"),
            ("192.168.1.7", "192.168.1.7/32"),
            ("192.168.1.7:80", "192.168.1.7/32:80"),
            ("192.168.1.7@acme-2", "192.168.1.7/32@acme-2"),
            ("::1", "[::1/128]"),
            ("[::1]:8080", "[::1/128]:8080"),
            ("fd00::/8", "[fd00::/8]"),
            ("fd00::/8:5432", "[fd00::/8]:5432"),
            ("[fd00::/8]:5432@acme", "[fd00::/8]:5432@acme"),
            ("[fd00::]/8:1-2", "[fd00::/8]:1-2"),
            ("10.0.0.0/8@prj_0000000001zzzzzzzzzzzzzzzz", "10.0.0.0/8@prj_0000000001zzzzzzzzzzzzzzzz"),
        ] {
            let read = rule(text);
            assert_eq!(read.to_string(), shown, "{text}");
            assert_eq!(rule(&read.to_string()), read, "reads back");
        }
    }

    #[test]
    fn what_is_no_rule_says_so() {
        for (text, says) in [
            ("", "no network"),
            ("internal", "no network"),
            ("10.0.0/8", "no network"),
            ("10.0.0.0/33", "no network"),
            ("[fd00::/8", "no network"),
            ("10.1.2.3/8", "write 10.0.0.0/8 for the network, or 10.1.2.3/32"),
            ("::ffff:10.0.0.0/104", "write it as IPv4"),
            ("10.0.0.0/8:", "no port"),
            ("10.0.0.0/8:0", "no port"),
            ("10.0.0.0/8:+80", "no port"),
            ("10.0.0.0/8:65536", "no port"),
            ("10.0.0.0/8:90-80", "no port"),
            ("10.0.0.0/8:http", "no port"),
            ("10.0.0.0/8@", "neither"),
            ("10.0.0.0/8@Acme Inc", "neither"),
            ("10.0.0.0/8@a@b", "neither"),
        ] {
            let error = text.parse::<AllowRule>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_rule_covers_its_network_and_ports_alone() {
        let read = rule("10.0.0.0/8:8000-8001");
        assert!(read.covers("10.255.0.1".parse().unwrap(), 8000));
        assert!(read.covers("10.0.0.0".parse().unwrap(), 8001));
        assert!(!read.covers("10.0.0.1".parse().unwrap(), 8002));
        assert!(!read.covers("11.0.0.1".parse().unwrap(), 8000));
        assert!(!read.covers("::ffff:10.0.0.1".parse().unwrap(), 8000));
    }
}
