//! Servers to call, tickets to call them with.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use latchstring_egress::{AllowRule, BoxError, Egress, Pool, RequestBody, Resolve, Resolving, Settings};
use latchstring_model::address::Address;
use latchstring_model::id::{CallId, ProjectId};
use latchstring_model::{CallTicket, Entropy, Origin, Pin, PinPurpose, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

pub fn full(text: impl Into<Bytes>) -> AnyBody {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

pub struct Zero;

impl Entropy for Zero {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

pub fn project(number: i64) -> ProjectId {
    ProjectId::new(Timestamp(number), &Zero)
}

pub fn ticket_of(project: Option<ProjectId>, origins: &[&Origin]) -> CallTicket {
    let pins: Vec<Pin> =
        origins.iter().map(|origin| Pin::new(PinPurpose::Call, (*origin).clone(), "/")).collect();
    CallTicket::mint(CallId::new(Timestamp(1), &Zero), project, pins.into())
}

pub fn ticket(origin: &Origin) -> CallTicket {
    ticket_of(None, &[origin])
}

pub fn origin(url: &str) -> Origin {
    Address::parse(url).unwrap().origin
}

pub fn http_at(address: SocketAddr) -> Origin {
    origin(&format!("http://{address}"))
}

pub fn get(path: &str) -> Request<RequestBody> {
    Request::get(path).body(RequestBody::empty()).unwrap()
}

pub fn allow(rules: &[&str]) -> Vec<AllowRule> {
    rules.iter().map(|rule| rule.parse().unwrap()).collect()
}

/// Loopback is allowed, as an operator would have to.
pub fn on_loopback() -> Settings {
    Settings { allow: allow(&["127.0.0.0/8", "::1"]), ..Settings::default() }
}

pub fn pool(settings: Settings) -> Pool {
    Pool::new(Arc::new(Egress::new(settings).unwrap()))
}

pub fn pool_with(settings: Settings, resolver: impl Resolve + 'static) -> Pool {
    Pool::new(Arc::new(Egress::with_resolver(settings, resolver).unwrap()))
}

/// Answers every name with what the function says, and counts the questions.
pub struct Answers<F> {
    pub asked: Arc<AtomicUsize>,
    pub answer: F,
}

impl<F: Fn(usize) -> Vec<IpAddr> + Send + Sync> Resolve for Answers<F> {
    fn resolve<'a>(&'a self, _host: &'a str) -> Resolving<'a> {
        let count = self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = (self.answer)(count);
        Box::pin(async move { Ok(answer) })
    }
}

pub fn answers<F: Fn(usize) -> Vec<IpAddr> + Send + Sync>(answer: F) -> Answers<F> {
    Answers { asked: Arc::default(), answer }
}

pub struct Nobody;

impl Resolve for Nobody {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        Box::pin(async move { Err(io::Error::other(format!("no such host: {host}"))) })
    }
}

/// A running server and how many connections it accepted.
#[derive(Clone)]
pub struct Server {
    pub at: SocketAddr,
    pub accepted: Arc<AtomicUsize>,
}

impl Server {
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub fn origin(&self) -> Origin {
        http_at(self.at)
    }
}

pub async fn listen(at: &str) -> TcpListener {
    TcpListener::bind(at).await.unwrap()
}

/// An HTTP server (1.1 and 2) on loopback; with `tls`, behind TLS.
pub async fn serve<H, F>(tls: Option<Arc<ServerConfig>>, handler: H) -> Server
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<AnyBody>> + Send + 'static,
{
    serve_on(listen("127.0.0.1:0").await, tls, handler)
}

pub fn serve_on<H, F>(listener: TcpListener, tls: Option<Arc<ServerConfig>>, handler: H) -> Server
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<AnyBody>> + Send + 'static,
{
    let server = Server { at: listener.local_addr().unwrap(), accepted: Arc::default() };
    let accepted = server.accepted.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            accepted.fetch_add(1, Ordering::SeqCst);
            let (tls, handler) = (tls.clone(), handler.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answer = handler(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                // A client that hangs up is part of many tests.
                match tls {
                    None => drop(builder.serve_connection(TokioIo::new(stream), service).await),
                    Some(tls) => {
                        if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                            drop(builder.serve_connection(TokioIo::new(stream), service).await);
                        }
                    }
                }
            });
        }
    });
    server
}

/// Says hello and nothing else.
pub async fn hello() -> Server {
    serve(None, |_| async { Response::new(full("hello")) }).await
}

pub async fn text(body: impl http_body::Body<Data = Bytes, Error: std::fmt::Debug>) -> String {
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// An authority that signs certificates for tests.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Authority {
    pub fn new() -> Self {
        Self::named("an authority for tests")
    }

    pub fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub fn sign(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed { chain: certificate.pem(), der: certificate.der().clone(), key }
    }

    /// A TLS server with a certificate for `localhost` and 127.0.0.1.
    pub fn server(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        self.sign(&["localhost", "127.0.0.1"], |_| {}).server(alpn)
    }
}

pub struct Signed {
    pub chain: String,
    pub der: rustls_pki_types::CertificateDer<'static>,
    pub key: KeyPair,
}

impl Signed {
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }

    pub fn server(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        let mut config =
            ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![self.der.clone()], self.key_der())
                .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

pub fn localhost(server: &Server) -> Origin {
    origin(&format!("https://localhost:{}", server.at.port()))
}
