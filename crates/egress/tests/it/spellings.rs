//! The ways to write an address that must not be called: each is refused when it is read, or
//! refused by the filter; none is dialled. A name resolves to just what it hides.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use latchstring_egress::{EgressError, Policy, Rules, Settings, Verdict, judge};
use latchstring_egress::{Resolve, Resolving};
use latchstring_model::address::Address;

use crate::support::*;

/// Every way we know to write one IPv4 address as a URL's host.
fn spellings(ip: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = ip.octets();
    let n = u32::from(ip);
    let (bcd, cd) = (n & 0x00ff_ffff, n & 0xffff);
    let (hi, lo) = (n >> 16, n & 0xffff);
    let wide = |text: &str| {
        text.chars()
            .map(|c| if c.is_ascii_digit() { char::from_u32(u32::from(c) + 0xfee0).unwrap() } else { c })
            .collect::<String>()
    };
    let math = |text: &str| {
        text.chars()
            .map(|c| c.to_digit(10).map_or(c, |digit| char::from_u32(0x1d7d8 + digit).unwrap()))
            .collect::<String>()
    };
    let circled = |text: &str| {
        text.chars()
            .map(|c| match c.to_digit(10) {
                Some(0) => '⓪',
                Some(digit) => char::from_u32(0x245f + digit).unwrap(),
                None => c,
            })
            .collect::<String>()
    };
    let percent = |text: &str| text.bytes().map(|b| format!("%{b:02x}")).collect::<String>();
    let dotted = ip.to_string();
    vec![
        dotted.clone(),
        format!("{dotted}."),
        format!("{dotted}.."),
        format!("{n}"),
        format!("{n}."),
        format!("0x{n:x}"),
        format!("0X{n:X}"),
        format!("0x00000{n:08x}"),
        format!("0{n:o}"),
        format!("000{n:o}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("000{a:o}.000{b:o}.000{c:o}.000{d:o}"),
        format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        format!("0x{a:02X}.{b}.0{c:o}.{d}"),
        format!("{a}.0x{b:x}.{c}.0{d:o}"),
        format!("{a}.{bcd}"),
        format!("{a}.0x{bcd:x}"),
        format!("0{a:o}.0{bcd:o}"),
        format!("{a}.{b}.{cd}"),
        format!("0x{a:x}.0{b:o}.{cd}"),
        wide(&dotted),
        wide(&n.to_string()),
        math(&dotted),
        circled(&dotted),
        dotted.replace('.', "。"),
        dotted.replace('.', "．"),
        dotted.replace('.', "｡"),
        percent(&dotted),
        percent(&n.to_string()),
        dotted.replace('.', "%2e"),
        dotted.replace('.', "%E3%80%82"),
        dotted.replacen('.', ".\t", 1),
        dotted.replacen('.', "\n.", 1),
        dotted.replacen('.', "\u{ad}.", 1),
        dotted.replacen('.', "\u{200b}.", 1),
        format!("[::ffff:{dotted}]"),
        format!("[::FFFF:{hi:X}:{lo:X}]"),
        format!("[0:0:0:0:0:ffff:{hi:x}:{lo:x}]"),
        format!("[0000:0000:0000:0000:0000:ffff:{hi:04x}:{lo:04x}]"),
        format!("[::ffff:0:{hi:x}:{lo:x}]"),
        format!("[::{dotted}]"),
        format!("[64:ff9b::{dotted}]"),
        format!("[64:ff9b::{hi:x}:{lo:x}]"),
        format!("[64:ff9b:1::{dotted}]"),
        format!("[64:ff9b:1:{hi:x}:{:x}:{:x}::]", lo >> 8, (lo & 0xff) << 8),
        format!("[2002:{hi:x}:{lo:x}::1]"),
        format!("[2001:0:{hi:x}:{lo:x}::]"),
        format!("[2001::{:x}:{:x}]", !hi & 0xffff, !lo & 0xffff),
        format!("[2a00:1450:4001::5efe:{hi:x}:{lo:x}]"),
        format!("[2a00:1450:4001::200:5efe:{hi:x}:{lo:x}]"),
        format!("[::ffff:{dotted}%25eth0]"),
        format!("{dotted}.nip.io"),
        format!("{}.sslip.io", dotted.replace('.', "-")),
        format!("{a}.{b}.{c}.{d}.5"),
        format!("0x{a:x}.{b}.{c}.0{d:o}.example"),
        format!("example.com@{dotted}"),
        format!("example.com:443@{dotted}"),
        format!("{dotted}\\@example.com"),
        format!("\\\\{dotted}"),
        format!("/{dotted}"),
    ]
}

const FORBIDDEN_V4: &[&str] = &[
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "100.64.0.1",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "0.0.0.0",
    "0.0.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
];

/// Names and IPv6 texts by themselves, each with what a hostile name server makes of the name.
const OTHERS: &[(&str, &str)] = &[
    ("localhost", "127.0.0.1"),
    ("LOCALHOST", "127.0.0.1"),
    ("LocalHost.", "::1"),
    ("localhost.localdomain", "127.0.0.1"),
    ("app.localhost", "::1"),
    ("ip6-localhost", "::1"),
    ("ip6-loopback", "::1"),
    ("broadcasthost", "255.255.255.255"),
    ("localtest.me", "127.0.0.1"),
    ("lvh.me", "127.0.0.1"),
    ("spoofed.example", "::ffff:127.0.0.1"),
    ("metadata", "169.254.169.254"),
    ("metadata.google.internal", "169.254.169.254"),
    ("METADATA.GOOGLE.INTERNAL.", "fd20:ce::254"),
    ("instance-data", "169.254.169.254"),
    ("instance-data.ec2.internal", "fd00:ec2::254"),
    ("kubernetes.default.svc", "10.96.0.1"),
    ("host.docker.internal", "172.17.0.1"),
    ("xn--lcalhost-n4a.example", "127.0.0.1"),
    ("ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "127.0.0.1"),
    ("ｌｏｃａｌｈｏｓｔ", "127.0.0.1"),
    ("loc\u{ad}alhost", "127.0.0.1"),
    ("%6c%6f%63%61%6c%68%6f%73%74", "127.0.0.1"),
    ("local%00host", "127.0.0.1"),
    ("localhost%00.example.com", "127.0.0.1"),
    ("localhost%2eexample.com", "127.0.0.1"),
    ("127.1", "127.0.0.1"),
    ("127.0.1", "127.0.0.1"),
    ("127", "0.0.0.127"),
    ("0", "0.0.0.0"),
    ("0x", "0.0.0.0"),
    ("00", "0.0.0.0"),
    ("0x7f.1", "127.0.0.1"),
    ("0x7f.0x1", "127.0.0.1"),
    ("0177.1", "127.0.0.1"),
    ("127.0.0.0x1", "127.0.0.1"),
    ("4294967295", "255.255.255.255"),
    ("4294967296", "127.0.0.1"),
    ("6425673729", "127.0.0.1"),
    ("0x17f000001", "127.0.0.1"),
    ("383.0.0.1", "127.0.0.1"),
    ("127.0.0.256", "127.0.0.1"),
    ("127.0.0.1e0", "127.0.0.1"),
    ("-127.0.0.1", "127.0.0.1"),
    ("+127.0.0.1", "127.0.0.1"),
    ("127.0.0.1 ", "127.0.0.1"),
    (" 127.0.0.1", "127.0.0.1"),
    ("127.0.0.1%20", "127.0.0.1"),
    ("127.0.0.1%00", "127.0.0.1"),
    ("127.0.0.1%0d%0a", "127.0.0.1"),
    ("127,0,0,1", "127.0.0.1"),
    ("127‥0.1", "127.0.0.1"),
    ("١٢٧.٠.٠.١", "127.0.0.1"),
    ("१२७.०.०.१", "127.0.0.1"),
    ("[::]", "::"),
    ("[::1]", "::1"),
    ("[0:0:0:0:0:0:0:1]", "::1"),
    ("[0000:0000:0000:0000:0000:0000:0000:0001]", "::1"),
    ("[0::1]", "::1"),
    ("[::0001]", "::1"),
    ("[::0.0.0.1]", "::1"),
    ("[::1%25lo]", "::1"),
    ("[::1%lo]", "::1"),
    ("[fe80::1]", "fe80::1"),
    ("[FE80::1%25eth0]", "fe80::1"),
    ("[fe80::a9fe:a9fe]", "fe80::a9fe:a9fe"),
    ("[febf:ffff::1]", "febf:ffff::1"),
    ("[fec0::1]", "fec0::1"),
    ("[fc00::1]", "fc00::1"),
    ("[fd12:3456:789a::1]", "fd12:3456:789a::1"),
    ("[fd00:ec2::254]", "fd00:ec2::254"),
    ("[FD00:EC2:0:0::254]", "fd00:ec2::254"),
    ("[fd00:ec2::23]", "fd00:ec2::23"),
    ("[fd20:ce::254]", "fd20:ce::254"),
    ("[ff02::1]", "ff02::1"),
    ("[ff0e::1]", "ff0e::1"),
    ("[100::1]", "100::1"),
    ("[2001:db8::1]", "2001:db8::1"),
    ("[3fff::1]", "3fff::1"),
    ("[5f00::1]", "5f00::1"),
    ("[2001:10::1]", "2001:10::1"),
    ("[2001:20::1]", "2001:20::1"),
    ("[::ffff:7f00:1]", "127.0.0.1"),
    ("[::ffff:127.1]", "127.0.0.1"),
    ("[::ffff:0x7f.0.0.1]", "127.0.0.1"),
    ("::1", "::1"),
    ("[::1", "::1"),
    ("::1]", "::1"),
    ("[[::1]]", "::1"),
    ("[v1.::1]", "::1"),
];

/// Answers each name with what it hides.
struct Hostile(Arc<Mutex<HashMap<String, IpAddr>>>, Arc<Mutex<IpAddr>>);

impl Resolve for Hostile {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        let hidden = *self.1.lock().unwrap();
        self.0.lock().unwrap().insert(host.to_owned(), hidden);
        Box::pin(async move { Ok(vec![hidden]) })
    }
}

#[tokio::test]
async fn no_spelling_reaches_what_is_forbidden() {
    let mut table: Vec<(String, IpAddr)> = Vec::new();
    for text in FORBIDDEN_V4 {
        let ip: Ipv4Addr = text.parse().unwrap();
        table.extend(spellings(ip).into_iter().map(|spelling| (spelling, IpAddr::V4(ip))));
    }
    table.extend(OTHERS.iter().map(|(spelling, hides)| ((*spelling).to_owned(), hides.parse().unwrap())));

    let (asked, hides) = (Arc::default(), Arc::new(Mutex::new(IpAddr::V4(Ipv4Addr::LOCALHOST))));
    let pool = pool_with(Settings::default(), Hostile(Arc::clone(&asked), hides.clone()));
    let (mut unread, mut filtered) = (0, 0);
    for (spelling, hidden) in &table {
        *hides.lock().unwrap() = *hidden;
        for url in [
            format!("https://{spelling}/"),
            format!("http://{spelling}/latest/meta-data"),
            format!("https://{spelling}:8443/"),
            format!("HTTPS:\\\\{spelling}/"),
        ] {
            let Ok(address) = Address::parse(&url) else {
                unread += 1;
                continue;
            };
            let at = address.origin;
            match pool.send(&ticket(&at), None, &at, get("/")).await.map(|_| ()) {
                Err(EgressError::Unreachable(no)) if no.refusal().is_some() => filtered += 1,
                other => panic!("{url} ({at}) was not refused by the filter: {other:?}"),
            }
        }
    }
    let asked = asked.lock().unwrap();
    assert!(table.len() >= 1000, "{} spellings", table.len());
    assert!(filtered >= 2000 && unread >= 300, "{filtered} filtered, {unread} not read");
    assert!(
        !asked.contains_key("127.0.0.1") && !asked.contains_key("2130706433"),
        "literals are not looked up"
    );
    assert!(asked.contains_key("localhost"));
}

/// The same spellings of a public address are fine: it is the address that is refused, not its dress.
#[test]
fn the_same_spellings_of_a_public_address_are_read_and_allowed() {
    let ip = Ipv4Addr::new(8, 8, 4, 4);
    let rules = Rules::default();
    let mut allowed = 0;
    for spelling in spellings(ip) {
        let Ok(address) = Address::parse(&format!("https://{spelling}/")) else { continue };
        let host = address.origin.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let Ok(read) = host.parse::<IpAddr>() else { continue };
        if judge(&rules, Policy::Tenant, read, 443, false, None) == Verdict::Allowed {
            allowed += 1;
        } else {
            assert!(read.is_ipv6(), "{spelling}");
        }
    }
    assert!(allowed >= 30, "{allowed}");
}
