//! Which addresses are not public, and which IPv6 addresses carry an IPv4 address inside.
//!
//! From the IANA special-purpose registries (RFC 6890 and its updates) and the cloud providers'
//! pages on instance metadata.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

type V4 = (u32, u8);
type V6 = (u128, u8);

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> V4 {
    (u32::from_be_bytes([a, b, c, d]), prefix)
}

const fn v6(head: [u16; 8], prefix: u8) -> V6 {
    let mut number = 0u128;
    let mut i = 0;
    while i < 8 {
        number = (number << 16) | head[i] as u128;
        i += 1;
    }
    (number, prefix)
}

/// Instance metadata and the fabric behind it: never, whatever the allow-list says.
const METADATA_V4: &[V4] = &[
    // AWS, Google, Azure, Oracle, DigitalOcean, Hetzner, OpenStack (169.254.169.254), AWS task and
    // pod credentials (169.254.170.2, .23), Tencent (169.254.0.23), Scaleway (169.254.42.42).
    v4(169, 254, 0, 0, 16),
    // Alibaba.
    v4(100, 100, 100, 200, 32),
    // Azure's wire server.
    v4(168, 63, 129, 16, 32),
    // Oracle's older one.
    v4(192, 0, 0, 192, 32),
];

const METADATA_V6: &[V6] = &[
    // AWS: metadata fd00:ec2::254, pod identity fd00:ec2::23, DNS and time in the same block.
    v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0], 32),
    // Google.
    v6([0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0], 32),
    // Oracle.
    v6([0xfd00, 0x00c1, 0, 0, 0, 0, 0, 0], 32),
    // Scaleway.
    v6([0xfd00, 0x0042, 0, 0, 0, 0, 0, 0], 32),
    // OpenStack's fe80::a9fe:a9fe and every other neighbour on the wire.
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
];

/// No single machine: "this host" (which Linux connects to loopback), multicast, broadcast.
const NOT_UNICAST_V4: &[V4] = &[v4(0, 0, 0, 0, 8), v4(224, 0, 0, 0, 4), v4(255, 255, 255, 255, 32)];
const NOT_UNICAST_V6: &[V6] = &[v6([0; 8], 128), v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8)];

const SPECIAL_V4: &[V4] = &[
    v4(10, 0, 0, 0, 8),      // private
    v4(100, 64, 0, 0, 10),   // carrier-grade NAT
    v4(127, 0, 0, 0, 8),     // loopback
    v4(172, 16, 0, 0, 12),   // private
    v4(192, 0, 0, 0, 24),    // protocol assignments
    v4(192, 0, 2, 0, 24),    // TEST-NET-1
    v4(192, 31, 196, 0, 24), // AS112
    v4(192, 52, 193, 0, 24), // AMT
    v4(192, 88, 99, 0, 24),  // 6to4 relays
    v4(192, 168, 0, 0, 16),  // private
    v4(192, 175, 48, 0, 24), // AS112
    v4(198, 18, 0, 0, 15),   // benchmarks
    v4(198, 51, 100, 0, 24), // TEST-NET-2
    v4(203, 0, 113, 0, 24),  // TEST-NET-3
    v4(240, 0, 0, 0, 4),     // reserved
];

/// Within 2000::/3, which alone is public.
const SPECIAL_V6: &[V6] = &[
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // protocol assignments, Teredo and ORCHID among them
    v6([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32), // documentation
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), // 6to4
    v6([0x2620, 0x004f, 0x8000, 0, 0, 0, 0, 0], 48), // AS112
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation
    v6([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16), // the old 6bone
];

const GLOBAL_V6: V6 = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
const NAT64: V6 = v6([0x0064, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
const NAT64_LOCAL: V6 = v6([0x0064, 0xff9b, 1, 0, 0, 0, 0, 0], 48);
const TEREDO: V6 = v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32);
const SIX_TO_FOUR: V6 = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);

fn in_v4(ip: Ipv4Addr, (net, prefix): V4) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    u32::from(ip) & mask == net
}

fn in_v6(ip: Ipv6Addr, (net, prefix): V6) -> bool {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    u128::from(ip) & mask == net
}

pub(super) fn is_metadata(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => METADATA_V4.iter().any(|net| in_v4(ip, *net)),
        IpAddr::V6(ip) => METADATA_V6.iter().any(|net| in_v6(ip, *net)),
    }
}

pub(super) fn is_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !NOT_UNICAST_V4.iter().any(|net| in_v4(ip, *net)),
        IpAddr::V6(ip) => !NOT_UNICAST_V6.iter().any(|net| in_v6(ip, *net)),
    }
}

/// Whether the Internet routes it to one machine. For IPv6 that is an allow-list (2000::/3 less the
/// exceptions), so a range that a later RFC sets aside elsewhere is refused from the start.
pub(super) fn is_public(ip: IpAddr) -> bool {
    is_unicast(ip)
        && match ip {
            IpAddr::V4(ip) => !SPECIAL_V4.iter().any(|net| in_v4(ip, *net)),
            IpAddr::V6(ip) => in_v6(ip, GLOBAL_V6) && !SPECIAL_V6.iter().any(|net| in_v6(ip, *net)),
        }
}

/// The address that a connection to `ip` really reaches: the kernel opens IPv4 for `::ffff:a.b.c.d`,
/// and a translator does for `64:ff9b::a.b.c.d` (RFC 6052). Judged by the IPv4 rules in its stead.
pub(super) fn effective(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    match v6.to_ipv4_mapped() {
        Some(v4) => IpAddr::V4(v4),
        None if in_v6(v6, NAT64) => IpAddr::V4(low_v4(v6)),
        None => ip,
    }
}

/// IPv4 addresses that a tunnel or translator on the way might read out of an IPv6 address. None of
/// them may be one that is forbidden, even when the IPv6 address itself is allowed.
pub(super) fn hidden(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let mut found: [Option<Ipv4Addr>; 2] = [None, None];
    if let IpAddr::V6(v6) = ip {
        let s = v6.segments();
        if in_v6(v6, SIX_TO_FOUR) {
            found = [Some(pair(s[1], s[2])), None];
        } else if in_v6(v6, TEREDO) {
            // Server in clear, client inverted (RFC 4380 section 4).
            found = [Some(pair(s[2], s[3])), Some(pair(!s[6], !s[7]))];
        } else if in_v6(v6, NAT64_LOCAL) {
            // The /48 form of RFC 6052 section 2.2 splits it around the zero byte; the /96 form ends with it.
            let [_, _, _, _, _, _, a, b, _, c, d, ..] = v6.octets();
            found = [Some(Ipv4Addr::new(a, b, c, d)), Some(low_v4(v6))];
        } else if s[..6] == [0; 6] || (s[4] & !0x0200 == 0 && s[5] == 0x5efe) {
            // IPv4-compatible (RFC 4291) and ISATAP (RFC 5214).
            found = [Some(low_v4(v6)), None];
        }
    }
    found.into_iter().flatten().map(IpAddr::V4)
}

fn low_v4(ip: Ipv6Addr) -> Ipv4Addr {
    let s = ip.segments();
    pair(s[6], s[7])
}

fn pair(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}
