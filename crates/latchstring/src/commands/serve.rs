//! `latchstring serve`: opens everything, listens, says where to go, and stops in order.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use latchstring_broker::road::Peer;
use latchstring_broker::{Broker, SandboxAt};
use latchstring_egress::AllowRule;
use latchstring_gateway::{ApiHandler, Gateway, GatewaySettings, TrustedProxies};
use latchstring_model::{Code, Problem};
use latchstring_server::problem::ApiError;
use latchstring_server::{Check, Options};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tower::ServiceExt;

use super::{on_runtime, print, stopped};
use crate::checkpoints::Checkpoints;
use crate::settings::{Raw, SettingError, Settings, unknown_variables};
use crate::start::{self, Opened};
use crate::{Config, Ending, root_key, telemetry};

#[derive(clap::Args)]
pub struct Serve {
    /// Also start a small external API to try things with, on another loopback port
    #[arg(long)]
    pub sandbox: bool,
    #[command(flatten)]
    pub config: Config,
    #[command(flatten)]
    pub raw: Raw,
}

pub fn run(serve: Serve) -> Ending {
    let read = unknown_variables().and_then(|strangers| {
        Settings::read(serve.raw, serve.config.config.as_deref()).map(|settings| (settings, strangers))
    });
    let (settings, strangers) = match read {
        Ok(read) => read,
        Err(error) => return error.into(),
    };
    if let Err(error) = telemetry::start(&settings) {
        return error.into();
    }
    for name in strangers {
        tracing::warn!(
            name,
            "this variable begins like a setting of Latchstring and is none; it changes nothing"
        );
    }
    if serve.sandbox
        && let Err(error) = may_play(&settings)
    {
        return error.into();
    }
    on_runtime(async move { listen(settings, serve.sandbox).await.map_err(stopped) })
}

/// The sandbox's credentials are public: nobody from outside may find it beside real ones.
fn may_play(settings: &Settings) -> Result<(), SettingError> {
    if !settings.listen.ip().is_loopback() {
        return Err(SettingError(format!(
            "--sandbox refuses the listen address {}: its credentials are public, so it goes with a loopback address only",
            settings.listen
        )));
    }
    if settings.database_url.is_some() {
        return Err(SettingError(
            "--sandbox refuses PostgreSQL: it is for trying things on this machine".into(),
        ));
    }
    Ok(())
}

fn bind(address: SocketAddr) -> Result<TcpListener, SettingError> {
    TcpListener::bind(address).map_err(|error| {
        let next = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another program (or another Latchstring) has the port: stop it, or choose another with LATCHSTRING_LISTEN",
            std::io::ErrorKind::PermissionDenied => "ports below 1024 need a right that this user lacks: choose another with LATCHSTRING_LISTEN",
            std::io::ErrorKind::AddrNotAvailable => "this machine has no such address: choose another with LATCHSTRING_LISTEN",
            _ => "choose another address with LATCHSTRING_LISTEN",
        };
        SettingError(format!("cannot listen on {address}: {error}; {next}"))
    })
}

fn server_tls(settings: &Settings) -> Result<Option<Arc<rustls::ServerConfig>>, SettingError> {
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    let Some(tls) = &settings.tls else { return Ok(None) };
    let bad = |path: &PathBuf, what: String| SettingError(format!("{}: {what}", path.display()));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&tls.cert)
        .and_then(Iterator::collect)
        .map_err(|error| bad(&tls.cert, format!("no certificate chain in PEM can be read there: {error}")))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| bad(&tls.key, format!("no private key in PEM can be read there: {error}")))?;
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| SettingError(format!("TLS cannot be set up: {error}")))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| {
                bad(&tls.cert, format!("certificate and key cannot be used together: {error}"))
            })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}

/// The sandbox takes the port after ours, so that a README can name it, or any free one.
fn sandbox_listener(listen: SocketAddr) -> Result<TcpListener, SettingError> {
    let beside = listen.port().checked_add(1).filter(|_| listen.port() != 0);
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    beside
        .and_then(|port| TcpListener::bind(SocketAddr::new(loopback, port)).ok())
        .map_or_else(|| TcpListener::bind(SocketAddr::new(loopback, 0)), Ok)
        .map_err(|error| SettingError(format!("the sandbox found no port to listen on: {error}")))
}

async fn listen(mut settings: Settings, sandbox: bool) -> Result<Ending, SettingError> {
    // The port first: a second server on the same data must not get as far as the database.
    let listener = bind(settings.listen)?;
    let address = listener.local_addr().map_err(|error| SettingError(error.to_string()))?;
    if settings.listen.port() == 0 {
        settings.public_url = settings.public_url.replace(&settings.listen.to_string(), &address.to_string());
    }
    let tls = server_tls(&settings)?;
    let own = if sandbox { Some(sandbox_listener(address)?) } else { None };
    let (mut allowed, mut at) = (Vec::new(), None);
    if let Some(own) = &own {
        let place = own.local_addr().map_err(|error| SettingError(error.to_string()))?;
        allowed.push(AllowRule::exactly(place));
        at = Some(SandboxAt { base_url: format!("http://{place}") });
    }
    // Every setting has been understood before anything is written.
    let egress = start::egress(&settings, allowed)?;
    egress.rules().set_own_listeners(vec![address]);
    let checkpoints = settings.audit_checkpoints.as_ref().map(Checkpoints::open).transpose()?;
    let opened = start::open(&settings, true).await?;
    if let Some(own) = own {
        own.set_nonblocking(true).map_err(|error| SettingError(error.to_string()))?;
        let own = tokio::net::TcpListener::from_std(own).map_err(|error| SettingError(error.to_string()))?;
        let (clock, entropy) = (Arc::clone(&opened.clock), Arc::clone(&opened.entropy));
        tokio::spawn(async move {
            if let Err(error) = latchstring_sandbox::serve(own, clock, entropy).await {
                tracing::error!(error = %error, "the sandbox ended");
            }
        });
    }
    let broker = start::broker(&settings, &opened, egress, at.clone())?;
    let cleared = broker.bury_ended().await.map_err(|error| SettingError(error.to_string()))?;
    if cleared > 0 {
        tracing::info!(
            tokens = cleared,
            "an earlier run of this server ended while it renewed tokens; they are free again"
        );
    }
    tokio::spawn(Arc::clone(broker.freshness()).run(opened.store.clone()));
    broker.learn_allowed_projects().await.map_err(|error| SettingError(error.to_string()))?;
    tokio::spawn(Arc::clone(&broker).keep_allowed_projects());
    let (stop, stopping) = watch::channel(false);
    let mut jobs = broker.start_jobs(stopping.clone());
    let key_file = settings.root_key_file.clone();
    jobs.watch_key_file(
        move || match root_key::read(&key_file) {
            Ok(Some(ring)) => Ok(ring),
            Ok(None) => Err(format!("the root key file {} is gone", key_file.display())),
            Err(error) => Err(error.0),
        },
        stopping.clone(),
    );
    jobs.keep_audit_key(stopping.clone());
    if let Some(place) = checkpoints {
        jobs.keep_checkpoints(place, stopping.clone());
    }
    if let Some(retention) = settings.audit_retention {
        jobs.cut_old_records(retention, stopping);
    }
    let api = api(&broker);
    let gateway = latchstring_gateway::start(
        listener,
        GatewaySettings {
            cores: settings.data_cores,
            tls,
            trusted: TrustedProxies::new(settings.trusted_proxies.clone()),
            max_connections: settings.max_connections,
        },
        &broker,
        &api,
    )
    .map_err(|error| SettingError(format!("the data cores could not start: {error}")))?;
    greet(&settings, &broker, &opened, at.as_ref()).await?;
    signal().await;
    tracing::info!("stopping: open requests are finished first");
    halt(gateway).await;
    // Nobody listens only when the jobs have ended already.
    let _ = stop.send(true);
    jobs.ended().await;
    opened.store.close().await;
    Ok(Ending::Good)
}

async fn halt(gateway: Gateway) {
    if tokio::task::spawn_blocking(move || gateway.stop()).await.is_err() {
        tracing::error!("the data cores did not stop in order");
    }
}

/// Everything but `/proxy` runs on the control runtime, which owns the database.
fn api(broker: &Arc<Broker>) -> ApiHandler {
    let ready = Arc::clone(broker);
    let options = Options {
        ready: Arc::new(move || {
            let broker = Arc::clone(&ready);
            Box::pin(async move {
                broker.readiness().await.into_iter().map(|(name, trouble)| Check { name, trouble }).collect()
            })
        }),
        metrics: Arc::new({
            let broker = Arc::clone(broker);
            move || broker.metrics()
        }),
    };
    let router = latchstring_server::router(Arc::clone(broker), options);
    let control = Handle::current();
    Arc::new(move |request, peer: Peer| {
        let (router, control) = (router.clone(), control.clone());
        Box::pin(async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            answered(router, &control, request).await.map(|body| {
                http_body_util::BodyExt::boxed_unsync(http_body_util::BodyExt::map_err(body, Into::into))
            })
        })
    })
}

/// In a task of its own, so that a panic ends one request and its caller is told.
async fn answered(router: Router, control: &Handle, request: http::Request<Body>) -> http::Response<Body> {
    match control.spawn(async move { router.oneshot(request).await }).await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(error) => {
            tracing::error!(error = %error, "a request ended in a panic");
            let problem = Problem::new(
                Code::Internal,
                "Latchstring failed inside while it worked on this request; how far it had come is not known.",
            )
            .hint("Look whether it was done before you ask again. The server's log says more at this time; whoever runs it can read it.");
            let mut response = ApiError::from(problem).into_response();
            // The layers that give every answer its headers went down with the request.
            let headers = response.headers_mut();
            headers.insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
            headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, http::HeaderValue::from_static("nosniff"));
            response
        }
    }
}

/// What a person reads first. The set-up link goes to the terminal, never to the logs.
async fn greet(
    settings: &Settings,
    broker: &Arc<Broker>,
    opened: &Opened,
    sandbox: Option<&SandboxAt>,
) -> Result<(), SettingError> {
    let url = &settings.public_url;
    print(&format!("Latchstring {} listens on {url}", env!("CARGO_PKG_VERSION")));
    if opened.fresh {
        print(&format!(
            "New data folder: {} (keep a copy of {} in a safe place: without it the data cannot be opened)",
            settings.data_dir.display(),
            settings.root_key_file.display()
        ));
    }
    let link = broker.begin_setup().await.map_err(|problem| SettingError(problem.detail.into_owned()))?;
    if let Some(token) = &link {
        print("");
        print("Make the first account here (the link works once, for an hour):");
        print(&format!("  {url}/setup/{}", token.reveal()));
    } else {
        print(&format!("Sign in: {url}/sign-in"));
    }
    if let Some(at) = sandbox {
        let demo = latchstring_sandbox::DEMO;
        print("");
        print(&format!("The sandbox, a small external API to try things with, listens on {}", at.base_url));
        print("  its connector is `sandbox`; its credentials are public and guard nothing, for example:");
        print(&format!("  API key {}   client {} / {}", demo.api_key, demo.client_id, demo.client_secret));
    }
    print("");
    print("Once you have a key of your own, this answers who you are:");
    print(&format!("  curl -H \"Authorization: Bearer $KEY\" {url}/api/v1/me"));
    if sandbox.is_some() {
        print("After the tour of the README, this calls the sandbox with the project's key:");
        print(&format!(
            "  curl -H \"Authorization: Bearer $LATCHSTRING_API_KEY\" \"{url}/proxy/people/v1/people?limit=1\""
        ));
    } else {
        print(&format!("Calls go to {url}/proxy/, then the credential's slug and a path of its API."));
    }
    Ok(())
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be listened for; stop the server with SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use axum::body::to_bytes;
    use axum::routing::get;
    use serde_json::Value;

    use super::*;

    async fn panics() {
        panic!("a panic that the test wants")
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_a_problem_in_words() {
        let router = Router::new().route("/panics", get(panics)).route("/works", get(async || "fine"));
        let ask = |path: &str| {
            let request = http::Request::get(path).body(Body::empty()).unwrap();
            let router = router.clone();
            async move { answered(router, &Handle::current(), request).await }
        };
        let answer = ask("/panics").await;
        assert_eq!(answer.status(), 500);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let body = to_bytes(answer.into_body(), 64 * 1024).await.unwrap();
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&problem["code"], &problem["status"]), (&"internal".into(), &500.into()));
        assert!(problem["hint"].as_str().unwrap().contains("before you ask again"), "{problem}");
        assert!(!problem.to_string().contains("the test wants"), "what a panic says may hold anything");
        assert_eq!(ask("/works").await.status(), 200);
    }
}
