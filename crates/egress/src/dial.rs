//! From an origin to a checked stream: resolve once, judge every address, dial what was judged.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use latchstring_model::Origin;
use latchstring_model::id::ProjectId;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{EgressError, SetupError, Stage, Unreachable, UnreachableReason};
use crate::limits::Limits;
use crate::permit::Permit;
use crate::proxy::OutboundProxy;
use crate::resolve::{Resolve, SystemResolver};
use crate::rules::{AllowRule, Policy, Refusal, Rules, Verdict, judge};
use crate::stream::{Carrier, Kind, Stream};
use crate::tls::{Identity, IdentityError, IdentityParts, TlsFault, Trust};

/// After how long the next address is tried beside the first (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// A name may have many addresses; no more than this are tried.
const MOST_ADDRESSES: usize = 8;

/// What the operator set.
#[derive(Default)]
pub struct Settings {
    pub allow: Vec<AllowRule>,
    /// Certificates of further authorities, PEM.
    pub extra_ca_pem: Option<Vec<u8>>,
    pub proxy: Option<OutboundProxy>,
    pub limits: Limits,
}

/// Rules, trust and limits of all outgoing connections: one per server, shared by all pools.
pub struct Egress {
    rules: Rules,
    trust: Trust,
    resolver: Box<dyn Resolve>,
    proxy: Option<OutboundProxy>,
    limits: Limits,
    /// Connections that pools have open.
    open: Arc<AtomicUsize>,
}

/// One of the connections that may be open, for as long as it is.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a session looks like on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// In clear: allow-listed networks only.
    Clear,
    /// TLS from the first byte.
    Tls,
    /// The session begins in clear and goes over to TLS by [`Egress::start_tls`] before anything
    /// secret is sent, as PostgreSQL and MySQL do.
    StartTls,
}

/// A stream, and whether only one project may use it.
pub(crate) struct Dialled {
    pub(crate) stream: Stream,
    pub(crate) for_project: bool,
}

/// Addresses that passed.
#[derive(Default)]
struct Judged {
    anybody: Vec<SocketAddr>,
    for_project: Vec<SocketAddr>,
}

impl Egress {
    pub fn new(settings: Settings) -> Result<Self, SetupError> {
        Self::with_resolver(settings, SystemResolver::default())
    }

    /// With another resolver than the system's.
    pub fn with_resolver(settings: Settings, resolver: impl Resolve + 'static) -> Result<Self, SetupError> {
        Ok(Self {
            rules: Rules::new(settings.allow),
            trust: Trust::new(settings.extra_ca_pem.as_deref())?,
            resolver: Box::new(resolver),
            proxy: settings.proxy,
            limits: settings.limits,
            open: Arc::default(),
        })
    }

    /// Room for one more connection of a pool.
    pub(crate) fn place(&self) -> Result<Place, EgressError> {
        let place = Place(Arc::clone(&self.open));
        match self.open.fetch_add(1, Ordering::Relaxed) < self.limits.open_total {
            true => Ok(place),
            false => Err(EgressError::TooMany),
        }
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Parses a client certificate and further authorities once, for many connections.
    pub fn identity(&self, parts: &IdentityParts<'_>) -> Result<Identity, IdentityError> {
        self.trust.identity(parts)
    }

    /// Why an origin whose host is an address could never be called; `None` for names, which are only
    /// judged when they are called. No I/O: for telling somebody while they type.
    pub fn refuses(&self, project: Option<&ProjectId>, origin: &Origin) -> Option<Refusal> {
        let ip = literal(&origin.host)?;
        match judge(&self.rules, Policy::Tenant, ip, origin.port, !origin.https, project) {
            Verdict::Refused(refusal) => Some(refusal),
            Verdict::Allowed | Verdict::AllowedForProject => None,
        }
    }

    /// A checked stream for a session that is not HTTP (databases, mail).
    pub async fn connect<'p>(
        &self,
        permit: impl Into<Permit<'p>>,
        identity: Option<&Identity>,
        origin: &Origin,
        wire: Wire,
    ) -> Result<Stream, EgressError> {
        let permit = permit.into();
        if !permit.allows(origin) {
            return Err(EgressError::NotPinned { origin: Box::new(origin.clone()) });
        }
        let (carrier, _) = self.carrier(permit, origin, wire == Wire::Clear).await?;
        let stream = Stream(Kind::Plain(carrier));
        match wire {
            Wire::Clear | Wire::StartTls => Ok(stream),
            Wire::Tls => self.start_tls(stream, identity, origin).await,
        }
    }

    /// Goes over to TLS within a session; the certificate must be for the origin's host.
    pub async fn start_tls(
        &self,
        stream: Stream,
        identity: Option<&Identity>,
        origin: &Origin,
    ) -> Result<Stream, EgressError> {
        let config = identity.map_or(&self.trust.anonymous_raw, |identity| &identity.raw);
        match stream.0 {
            Kind::Plain(carrier) => self.secure(carrier, config, origin).await,
            already @ Kind::Tls(_) => Ok(Stream(already)),
        }
    }

    /// A connection for HTTP: TLS with ALPN when the origin is https. The permit was checked.
    pub(crate) async fn dial(
        &self,
        permit: Permit<'_>,
        identity: Option<&Identity>,
        origin: &Origin,
    ) -> Result<Dialled, EgressError> {
        let (carrier, for_project) = self.carrier(permit, origin, !origin.https).await?;
        let stream = if origin.https {
            let config = identity.map_or(&self.trust.anonymous, |identity| &identity.http);
            self.secure(carrier, config, origin).await?
        } else {
            Stream(Kind::Plain(carrier))
        };
        Ok(Dialled { stream, for_project })
    }

    async fn secure(
        &self,
        carrier: Carrier,
        config: &Arc<ClientConfig>,
        origin: &Origin,
    ) -> Result<Stream, EgressError> {
        let tls = self.handshake(carrier, config, &origin.host).await?;
        Ok(Stream(Kind::Tls(Box::new(tls))))
    }

    async fn handshake<C: AsyncRead + AsyncWrite + Unpin>(
        &self,
        carrier: C,
        config: &Arc<ClientConfig>,
        host: &str,
    ) -> Result<TlsStream<C>, EgressError> {
        let name = server_name(host)?;
        let connector = TlsConnector::from(config.clone());
        match tokio::time::timeout(self.limits.handshake, connector.connect(name, carrier)).await {
            Ok(Ok(tls)) => Ok(tls),
            Ok(Err(error)) => Err(match TlsFault::of_io(&error) {
                Some(fault) => EgressError::Tls(fault),
                None => EgressError::Tls(TlsFault::Protocol(error.to_string().into())),
            }),
            Err(_) => Err(EgressError::Timeout { stage: Stage::Handshake }),
        }
    }

    /// Opens a connection to an address of `origin` that may be called, within the connect limit.
    async fn carrier(
        &self,
        permit: Permit<'_>,
        origin: &Origin,
        clear: bool,
    ) -> Result<(Carrier, bool), EgressError> {
        let deadline = Instant::now() + self.limits.connect;
        let (policy, project) = match permit {
            Permit::Call(ticket) => (Policy::Tenant, ticket.project()),
            Permit::Configured(_) => (Policy::Operator, None),
        };
        let work = async {
            let judged = self.judged(policy, project, origin, clear).await?;
            // Addresses that anybody may call come first: their connections can be shared.
            let (targets, for_project) =
                if judged.anybody.is_empty() { (judged.for_project, true) } else { (judged.anybody, false) };
            let carrier = match &self.proxy {
                None => Carrier::Tcp(first_of(&targets).await?),
                Some(proxy) => self.through(proxy, &targets).await?,
            };
            Ok((carrier, for_project))
        };
        timeout_at(deadline, work).await.unwrap_or(Err(EgressError::Timeout { stage: Stage::Connect }))
    }

    /// The one look-up: every address of the origin that may be called.
    async fn judged(
        &self,
        policy: Policy,
        project: Option<&ProjectId>,
        origin: &Origin,
        clear: bool,
    ) -> Result<Judged, EgressError> {
        let addresses = match literal(&origin.host) {
            Some(ip) => vec![ip],
            None => self
                .resolver
                .resolve(&origin.host)
                .await
                .map_err(|error| unreachable(UnreachableReason::Unresolved(error)))?,
        };
        let mut judged = Judged::default();
        let mut refused = None;
        for ip in addresses {
            let target = SocketAddr::new(ip, origin.port);
            match judge(&self.rules, policy, ip, origin.port, clear, project) {
                Verdict::Allowed => judged.anybody.push(target),
                Verdict::AllowedForProject => judged.for_project.push(target),
                Verdict::Refused(refusal) => refused = Some(refusal),
            }
        }
        if judged.anybody.is_empty() && judged.for_project.is_empty() {
            return Err(unreachable(
                refused.map_or(UnreachableReason::NoAddress, UnreachableReason::Refused),
            ));
        }
        judged.anybody.truncate(MOST_ADDRESSES);
        judged.for_project.truncate(MOST_ADDRESSES);
        Ok(judged)
    }

    async fn through(&self, proxy: &OutboundProxy, targets: &[SocketAddr]) -> Result<Carrier, EgressError> {
        let mut last = None;
        for target in targets {
            let mut carrier = self.to_proxy(proxy).await?;
            match proxy.tunnel(&mut carrier, *target).await {
                Ok(()) => return Ok(carrier),
                Err(error) => last = Some(error.to_string()),
            }
        }
        Err(unreachable(UnreachableReason::Proxy(last.unwrap_or_default().into())))
    }

    async fn to_proxy(&self, proxy: &OutboundProxy) -> Result<Carrier, EgressError> {
        // The proxy is the operator's word.
        let found = self.judged(Policy::Operator, None, &proxy.origin, !proxy.origin.https).await?;
        let tcp = first_of(&found.anybody).await?;
        if !proxy.origin.https {
            return Ok(Carrier::Tcp(tcp));
        }
        let tls = self
            .handshake(tcp, &self.trust.anonymous_raw, &proxy.origin.host)
            .await
            .map_err(|error| unreachable(UnreachableReason::Proxy(error.operator_reason().into())))?;
        Ok(Carrier::TlsProxy(Box::new(tls)))
    }
}

/// An address written as the host. Everything else is a name, however much it looks like an
/// address: the resolver may read `0x7f.1` as one, and its answer is judged.
fn literal(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, EgressError> {
    match literal(host) {
        Some(ip) => Ok(ServerName::IpAddress(ip.into())),
        None => ServerName::try_from(host.to_owned()).map_err(|_| EgressError::Tls(TlsFault::WrongName)),
    }
}

fn unreachable(reason: UnreachableReason) -> EgressError {
    EgressError::Unreachable(Unreachable::new(reason))
}

/// The first of several addresses that accepts, each given a small start over the next (RFC 8305).
async fn first_of(targets: &[SocketAddr]) -> Result<TcpStream, EgressError> {
    if let [only] = targets {
        return open(*only).await.map_err(|error| unreachable(UnreachableReason::Connect(error)));
    }
    let mut racing = JoinSet::new();
    let mut waiting = targets.iter();
    let mut last = None;
    loop {
        let more = match waiting.next() {
            Some(target) => {
                racing.spawn(open(*target));
                true
            }
            None => false,
        };
        tokio::select! {
            biased;
            done = racing.join_next() => match done {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => last = Some(error),
                Some(Err(error)) => last = Some(io::Error::other(error)),
                None => return Err(unreachable(last.map_or(UnreachableReason::NoAddress, UnreachableReason::Connect))),
            },
            () = sleep(STAGGER), if more => {}
        }
    }
}

async fn open(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
