//! The one decision: may a connection be opened to this address?

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use latchstring_model::id::ProjectId;

use super::allow::AllowRule;
use super::ranges;

/// By whose rules an address is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Destinations that people type: public addresses and the allow-list.
    Tenant,
    /// Hosts that only the configuration names: private addresses too.
    Operator,
}

/// Why an address is refused. For the operator's eyes: outward all of these read the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Cloud metadata; the allow-list does not help.
    Metadata,
    /// Unspecified, multicast or broadcast; the allow-list does not help.
    NotUnicast,
    /// One of this server's own listeners; the allow-list does not help.
    OwnListener,
    /// Not public and not on the allow-list.
    Private,
    /// In clear, outside the allow-listed networks.
    Cleartext,
}

impl Refusal {
    /// For the log: what to change if this was meant to work.
    pub fn explain(self) -> &'static str {
        match self {
            Refusal::Metadata => "a cloud metadata address, which is never called",
            Refusal::NotUnicast => "not the address of one machine",
            Refusal::OwnListener => "this server's own listener, which is never called",
            Refusal::Private => "not a public address; LATCHSTRING_EGRESS_ALLOW can allow its network",
            Refusal::Cleartext => {
                "http without TLS; only networks in LATCHSTRING_EGRESS_ALLOW may be called in clear"
            }
        }
    }
}

/// The judgement of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// Allowed by a rule that names the caller's project: nobody else may reuse the connection.
    AllowedForProject,
    Refused(Refusal),
}

/// The rules of this server. The allow-list is fixed at start; what its slugs mean and where the
/// server listens may change while it runs.
#[derive(Debug, Default)]
pub struct Rules {
    allow: Vec<AllowRule>,
    changing: RwLock<Changing>,
    /// Counts changes: a pooled connection from before one is not used again.
    generation: AtomicU64,
}

#[derive(Debug, Default)]
struct Changing {
    own_listeners: Vec<SocketAddr>,
    projects: HashMap<String, ProjectId>,
}

impl Rules {
    pub fn new(allow: Vec<AllowRule>) -> Self {
        Self { allow, ..Self::default() }
    }

    /// Whether there is an allow-list at all: without one nothing is ever called in clear.
    pub fn allows_any(&self) -> bool {
        !self.allow.is_empty()
    }

    /// Tells where this server listens (after binding, so with real ports): never called by itself.
    /// `0.0.0.0` and `[::]` stand for every address of this machine.
    pub fn set_own_listeners(&self, listeners: Vec<SocketAddr>) {
        self.change(|changing| changing.own_listeners = listeners);
    }

    /// The slugs that the allow-list names. Whoever knows projects tells which ids they are with
    /// [`Rules::set_project`]; until then such a rule allows nobody.
    pub fn project_slugs(&self) -> impl Iterator<Item = &str> {
        self.allow.iter().filter_map(AllowRule::project).filter(|name| !ProjectId::looks_like(name))
    }

    /// Which project has this slug now (`None`: no project).
    pub fn set_project(&self, slug: &str, project: Option<ProjectId>) {
        if self.read(|now| now.projects.get(slug) == project.as_ref()) {
            return;
        }
        self.change(|changing| match project {
            Some(project) => {
                changing.projects.insert(slug.to_owned(), project);
            }
            None => {
                changing.projects.remove(slug);
            }
        });
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn change(&self, change: impl FnOnce(&mut Changing)) {
        change(&mut self.changing.write().unwrap_or_else(PoisonError::into_inner));
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn read<T>(&self, look: impl FnOnce(&Changing) -> T) -> T {
        look(&self.changing.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn names_project(&self, rule: &str, project: Option<&ProjectId>) -> bool {
        let Some(project) = project else { return false };
        rule == project.as_str() || self.read(|now| now.projects.get(rule) == Some(project))
    }

    fn is_own_listener(&self, ip: IpAddr, port: u16) -> bool {
        self.read(|now| {
            now.own_listeners.iter().filter(|own| own.port() == port).any(|own| {
                ranges::effective(own.ip()) == ip || (own.ip().is_unspecified() && is_of_this_machine(ip))
            })
        })
    }
}

/// Whether this machine has the address: the kernel lets only such be bound. Where it cannot tell
/// (out of descriptors, say) the answer is yes, which refuses.
fn is_of_this_machine(ip: IpAddr) -> bool {
    #[expect(clippy::disallowed_types, reason = "bound and dropped; nothing is sent")]
    let bound = std::net::UdpSocket::bind((ip, 0));
    match bound {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrNotAvailable,
    }
}

/// Judges one address. `cleartext` is plain http or another session without TLS.
pub fn judge(
    rules: &Rules,
    policy: Policy,
    ip: IpAddr,
    port: u16,
    cleartext: bool,
    project: Option<&ProjectId>,
) -> Verdict {
    let real = ranges::effective(ip);
    for ip in [ip, real].into_iter().chain(ranges::hidden(ip)) {
        if ranges::is_metadata(ip) {
            return Verdict::Refused(Refusal::Metadata);
        }
    }
    if !ranges::is_unicast(real) {
        return Verdict::Refused(Refusal::NotUnicast);
    }
    if [real].into_iter().chain(ranges::hidden(ip)).any(|ip| rules.is_own_listener(ip, port)) {
        return Verdict::Refused(Refusal::OwnListener);
    }
    if policy == Policy::Operator {
        return Verdict::Allowed;
    }
    let mut for_project = false;
    for rule in rules.allow.iter().filter(|rule| rule.covers(real, port)) {
        match rule.project() {
            None => return Verdict::Allowed,
            Some(named) => for_project |= rules.names_project(named, project),
        }
    }
    let public = ranges::is_public(real) && ranges::hidden(ip).all(ranges::is_public);
    match (public, cleartext, for_project) {
        // Public and encrypted: anybody may, so the connection may be shared.
        (true, false, _) => Verdict::Allowed,
        (_, _, true) => Verdict::AllowedForProject,
        (true, true, false) => Verdict::Refused(Refusal::Cleartext),
        (false, _, false) => Verdict::Refused(Refusal::Private),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ME: &str = "prj_0000000001zzzzzzzzzzzzzzzz";
    const YOU: &str = "prj_0000000002zzzzzzzzzzzzzzzz";

    fn rules(allow: &[&str]) -> Rules {
        Rules::new(allow.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn tenant(rules: &Rules, ip: &str, port: u16) -> Verdict {
        judge(rules, Policy::Tenant, ip.parse().unwrap(), port, false, None)
    }

    #[test]
    fn public_addresses_are_allowed() {
        let rules = rules(&[]);
        for ip in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ] {
            assert_eq!(tenant(&rules, ip, 443), Verdict::Allowed, "{ip}");
        }
    }

    #[test]
    fn special_ranges_are_refused_at_both_ends() {
        let rules = rules(&[]);
        for ip in [
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.0",
            "127.255.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.0",
            "192.0.0.255",
            "192.0.2.0",
            "192.0.2.255",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.0",
            "198.51.100.255",
            "203.0.113.0",
            "203.0.113.255",
            "240.0.0.0",
            "255.255.255.254",
            "::1",
            "::2",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:0:7f00:1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::8.8.8.8",
            "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
            "100::",
            "100::ffff:ffff:ffff:ffff",
            "2001::1",
            "2001:0:ffff::1",
            "2001:10::1",
            "2001:20::1",
            "2001:1ff:ffff::1",
            "2001:db8::",
            "2001:db8:ffff::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "3ffe::1",
            "3fff::",
            "3fff:fff:ffff::1",
            "4000::1",
            "5f00::1",
            "5f00:ffff::1",
            "fc00::",
            "fdff:ffff::1",
            "fec0::1",
            "feff::1",
            "2a00:1450::5efe:10.0.0.1",
            "2a00:1450::5efe:0.0.0.1",
            "2a00:1450::5efe:224.0.0.1",
            "2a00:1450::200:5efe:127.0.0.1",
        ] {
            assert_eq!(tenant(&rules, ip, 443), Verdict::Refused(Refusal::Private), "{ip}");
        }
    }

    #[test]
    fn metadata_and_non_unicast_are_refused_even_when_allowed() {
        let rules = rules(&["0.0.0.0/0", "::/0"]);
        assert_eq!(tenant(&rules, "10.0.0.1", 80), Verdict::Allowed, "the list does allow the rest");
        for ip in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "169.254.0.0",
            "169.254.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "fd00:42::42",
            "fe80::1",
            "fe80::a9fe:a9fe",
            "febf::1",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b::100.100.100.200",
            "::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "2001:0:a9fe:a9fe::",
            "2001::5601:5601",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "2a00:1450::5efe:169.254.169.254",
            "2a00:1450::200:5efe:168.63.129.16",
        ] {
            for policy in [Policy::Tenant, Policy::Operator] {
                assert_eq!(
                    judge(&rules, policy, ip.parse().unwrap(), 80, true, None),
                    Verdict::Refused(Refusal::Metadata),
                    "{ip} {policy:?}"
                );
            }
        }
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "ff02::1",
            "::ffff:0.0.0.0",
            "64:ff9b::0.0.0.0",
        ] {
            for policy in [Policy::Tenant, Policy::Operator] {
                assert_eq!(
                    judge(&rules, policy, ip.parse().unwrap(), 80, true, None),
                    Verdict::Refused(Refusal::NotUnicast),
                    "{ip} {policy:?}"
                );
            }
        }
    }

    #[test]
    fn own_listeners_are_refused_even_when_allowed() {
        let rules = rules(&["127.0.0.0/8", "::1"]);
        rules.set_own_listeners(vec!["127.0.0.1:5282".parse().unwrap()]);
        assert_eq!(tenant(&rules, "127.0.0.1", 5282), Verdict::Refused(Refusal::OwnListener));
        assert_eq!(tenant(&rules, "::ffff:127.0.0.1", 5282), Verdict::Refused(Refusal::OwnListener));
        assert_eq!(tenant(&rules, "127.0.0.1", 5283), Verdict::Allowed);
        assert_eq!(tenant(&rules, "127.0.0.2", 5282), Verdict::Allowed);
        for everywhere in ["0.0.0.0:5282", "[::]:5282"] {
            rules.set_own_listeners(vec![everywhere.parse().unwrap()]);
            for ip in ["127.0.0.1", "127.9.9.9", "::ffff:127.0.0.1"] {
                assert_eq!(
                    tenant(&rules, ip, 5282),
                    Verdict::Refused(Refusal::OwnListener),
                    "{everywhere} {ip}"
                );
            }
            assert_eq!(tenant(&rules, "127.0.0.1", 80), Verdict::Allowed);
            assert_eq!(tenant(&rules, "8.8.8.8", 5282), Verdict::Allowed, "another machine's port");
        }
    }

    #[test]
    fn clear_text_only_to_allowed_networks() {
        let rules = rules(&["10.0.0.0/8", "8.8.4.4"]);
        let clear = |ip: &str| judge(&rules, Policy::Tenant, ip.parse().unwrap(), 80, true, None);
        assert_eq!(clear("8.8.8.8"), Verdict::Refused(Refusal::Cleartext));
        assert_eq!(clear("8.8.4.4"), Verdict::Allowed);
        assert_eq!(clear("10.0.0.1"), Verdict::Allowed);
        assert_eq!(clear("192.168.0.1"), Verdict::Refused(Refusal::Private));
    }

    #[test]
    fn a_rule_for_a_project_is_for_it_alone() {
        let (me, you): (ProjectId, ProjectId) = (ME.parse().unwrap(), YOU.parse().unwrap());
        let rules = rules(&[&format!("10.0.0.0/8@{ME}"), "192.168.0.0/16@acme", "8.8.8.8@acme"]);
        let ask = |ip: &str, project: Option<&ProjectId>| {
            judge(&rules, Policy::Tenant, ip.parse().unwrap(), 443, false, project)
        };
        assert_eq!(ask("10.0.0.1", Some(&me)), Verdict::AllowedForProject);
        assert_eq!(ask("10.0.0.1", Some(&you)), Verdict::Refused(Refusal::Private));
        assert_eq!(ask("10.0.0.1", None), Verdict::Refused(Refusal::Private));

        assert_eq!(rules.project_slugs().collect::<Vec<_>>(), ["acme", "acme"]);
        assert_eq!(ask("192.168.0.1", Some(&me)), Verdict::Refused(Refusal::Private), "slug not known yet");
        let before = rules.generation();
        rules.set_project("acme", Some(me.clone()));
        assert_ne!(rules.generation(), before);
        assert_eq!(ask("192.168.0.1", Some(&me)), Verdict::AllowedForProject);
        assert_eq!(ask("192.168.0.1", Some(&you)), Verdict::Refused(Refusal::Private));
        assert_eq!(ask("8.8.8.8", Some(&me)), Verdict::Allowed, "public: shared with all");
        let before = rules.generation();
        rules.set_project("acme", Some(me.clone()));
        assert_eq!(rules.generation(), before, "nothing changed");
        rules.set_project("acme", Some(you.clone()));
        assert_eq!(ask("192.168.0.1", Some(&me)), Verdict::Refused(Refusal::Private));
        rules.set_project("acme", None);
        assert_eq!(ask("192.168.0.1", Some(&you)), Verdict::Refused(Refusal::Private));
    }

    #[test]
    fn the_operator_reaches_private_networks() {
        let rules = rules(&[]);
        for ip in ["10.0.0.1", "127.0.0.1", "fd00:1::1", "8.8.8.8"] {
            assert_eq!(
                judge(&rules, Policy::Operator, ip.parse().unwrap(), 25, true, None),
                Verdict::Allowed
            );
        }
    }
}
