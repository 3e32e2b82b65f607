//! Upstreams that remember what they were sent, and clients that send exact bytes.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use latchstring_testkit::http::Answer;
use latchstring_testkit::{AppSetup, TestApp};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

pub const BINARY: &str = env!("CARGO_BIN_EXE_latchstring");

pub fn app() -> TestApp {
    TestApp::start(BINARY)
}

pub fn setup() -> AppSetup {
    AppSetup::new(BINARY)
}

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub version: Version,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The fields behind the body, in lower case, by name.
    pub trailers: Vec<(String, String)>,
}

impl Seen {
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a header that is there once.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name} in {:?}", self.headers);
        all[0]
    }
}

pub type Reply = Response<Full<Bytes>>;

pub fn reply(status: u16, body: impl Into<Bytes>) -> Reply {
    Response::builder().status(status).body(Full::new(body.into())).unwrap()
}

pub fn json_reply(body: &Value) -> Reply {
    let mut answer = reply(200, body.to_string());
    answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
    answer
}

/// An HTTP server (1.1 and 2) that remembers every request. It ends when dropped.
pub struct Upstream {
    pub at: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Upstream {
    pub fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(None, handler)
    }

    /// Keeps nothing of what it was asked: of millions of requests that would be all the memory there is.
    pub fn forgetful(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::built(None, false, handler)
    }

    /// Answers `200 {}` to everything.
    pub fn recording() -> Self {
        Self::start(|_| json_reply(&json!({})))
    }

    pub fn with<B>(
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(&Seen) -> Response<B> + Send + Sync + 'static,
    ) -> Self
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        Self::built(tls, true, handler)
    }

    fn built<B>(
        tls: Option<Arc<ServerConfig>>,
        remembers: bool,
        handler: impl Fn(&Seen) -> Response<B> + Send + Sync + 'static,
    ) -> Self
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let (at, seen) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (log, handler) = (Arc::clone(&seen), Arc::new(handler));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, handler, tls) = (Arc::clone(&log), Arc::clone(&handler), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (log, handler) = (Arc::clone(&log), Arc::clone(&handler));
                        async move {
                            let seen = read(request).await;
                            if remembers {
                                log.lock().unwrap().push(seen.clone());
                            }
                            Ok::<_, Infallible>(handler(&seen))
                        }
                    });
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    // Whoever hangs up early is part of the tests.
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
        Self { at, seen, runtime: Some(runtime) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests came, and none is forgotten.
    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The newest request.
    #[track_caller]
    pub fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().cloned().expect("a request came")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn read(request: Request<Incoming>) -> Seen {
    let (head, body) = request.into_parts();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let fields =
        |map: &http::HeaderMap| map.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let body = body.collect().await.ok();
    let mut trailers: Vec<(String, String)> =
        body.as_ref().and_then(|body| body.trailers()).map(fields).unwrap_or_default();
    trailers.sort_unstable();
    Seen {
        method: head.method.to_string(),
        target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        version: head.version,
        headers: fields(&head.headers),
        body: body.map(|body| body.to_bytes().to_vec()).unwrap_or_default(),
        trailers,
    }
}

/// A server of exact bytes: every connection is handed to the function, in a thread of its own, with the
/// head of its first request already read.
pub struct RawServer {
    pub at: SocketAddr,
    heads: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl RawServer {
    pub fn start(handler: impl Fn(&[u8], &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (at, heads) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (log, handler) = (Arc::clone(&heads), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let (log, handler) = (Arc::clone(&log), Arc::clone(&handler));
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                    stream.set_nodelay(true).unwrap();
                    let head = read_head(&mut stream);
                    if head.is_empty() {
                        return;
                    }
                    log.lock().unwrap().push(head.clone());
                    handler(&head, &mut stream);
                });
            }
        });
        Self { at, heads }
    }

    /// Answers every request with these bytes and closes.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |_, stream| {
            // The other side may have seen enough.
            let _ = stream.write_all(&answer);
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    pub fn heads(&self) -> Vec<Vec<u8>> {
        self.heads.lock().unwrap().clone()
    }
}

/// Up to and with the empty line; empty when the other side closes before.
pub fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return Vec::new(),
        }
    }
    head
}

pub fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

/// A connection to the server under test.
pub fn connect(app: &TestApp) -> TcpStream {
    let stream = TcpStream::connect(app.authority()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// An HTTP/2 caller's connection.
pub async fn connect_h2<B>(authority: &str) -> SendRequest<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = tokio::net::TcpStream::connect(authority).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Sends exact bytes and reads until the server closes.
pub fn exchange(app: &TestApp, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(app);
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// A request head for `/proxy/…` with the service key.
pub fn head(app: &TestApp, method: &str, target: &str, more: &str) -> Vec<u8> {
    format!(
        "{method} /proxy/{target} HTTP/1.1\r\nhost: {}\r\nlatchstring-key: {}\r\n{more}\r\n",
        app.authority(),
        app.key()
    )
    .into_bytes()
}

pub fn split(answer: &[u8]) -> (String, Vec<u8>) {
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    (String::from_utf8_lossy(&answer[..at]).to_ascii_lowercase(), answer[at + 4..].to_vec())
}

/// An authority that signs certificates for tests.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
    der: CertificateDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(rcgen::DnType::CommonName, "an authority for tests");
        let own = params.self_signed(&key).unwrap();
        let (pem, der) = (own.pem(), own.der().clone());
        Self { issuer: Issuer::new(params, key), pem, der }
    }

    /// Certificate chain and key, both PEM, and as DER.
    pub fn sign(
        &self,
        names: &[&str],
        common_name: &str,
    ) -> (String, String, CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (
            certificate.pem(),
            key.serialize_pem(),
            certificate.der().clone(),
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
    }

    /// A certificate for a key that is there already; PEM.
    pub fn certify(&self, key: &str, common_name: &str) -> String {
        let key = KeyPair::from_pem(key).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
        params.signed_by(&key, &self.issuer).unwrap().pem()
    }

    /// A request to a server that this authority has signed, without a certificate of one's own.
    pub fn get(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        self.request("GET", url, headers, b"")
    }

    pub fn request(&self, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let rest = url.strip_prefix("https://").unwrap();
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = authority.split(':').next().unwrap().to_owned().try_into().unwrap();
        let session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let tcp = TcpStream::connect(authority.replace("localhost", "127.0.0.1")).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let stream = rustls::StreamOwned::new(session, tcp);
        latchstring_testkit::http::over(stream, method, (authority, path), headers, body).unwrap()
    }

    /// A TLS server for `localhost` and 127.0.0.1; with `clients`, one that wants a certificate of this authority.
    pub fn server(&self, alpn: &[&str], clients: bool) -> Arc<ServerConfig> {
        let (_, _, der, key) = self.sign(&["localhost", "127.0.0.1"], "a server");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if clients {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(self.der.clone()).unwrap();
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(vec![der], key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// The upstream as a name, which certificates are for.
pub fn localhost(upstream: &Upstream) -> String {
    format!("https://localhost:{}", upstream.at.port())
}
