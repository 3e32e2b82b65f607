//! Data cores: one thread and one current-thread runtime each. Connections are handed to the core that has
//! the fewest, by a single acceptor: the kernel's own spreading (SO_REUSEPORT) is uneven with few
//! connections, and would let a second server share the port unnoticed.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use latchstring_broker::Broker;
use latchstring_broker::road::Lane;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use crate::bounds::{Bounds, Open};
use crate::connection::{ApiHandler, HEADER_TIME, Shared, serve};
use crate::peer::TrustedProxies;
use crate::version;

pub struct GatewaySettings {
    pub cores: usize,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub trusted: TrustedProxies,
    /// Connections that are open at once; what is beyond is told so and closed.
    pub max_connections: usize,
}

struct Accepted {
    stream: TcpStream,
    address: SocketAddr,
    open: Open,
}

struct Core {
    connections: mpsc::UnboundedSender<Accepted>,
    open: Arc<AtomicUsize>,
}

/// The running cores. Dropping it does not stop them: call [`Gateway::stop`].
pub struct Gateway {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts the cores and the acceptor; the acceptor runs on the calling runtime (the control runtime).
pub fn start(
    listener: TcpListener,
    settings: GatewaySettings,
    broker: &Arc<Broker>,
    api: &ApiHandler,
) -> io::Result<Gateway> {
    listener.set_nonblocking(true)?;
    let (stop, stopped) = watch::channel(false);
    let mut cores = Vec::new();
    let mut threads = Vec::new();
    for index in 0..settings.cores.max(1) {
        let (sender, receiver) = mpsc::unbounded_channel();
        cores.push(Core { connections: sender, open: Arc::default() });
        let (broker, api, trusted) = (Arc::clone(broker), Arc::clone(api), settings.trusted.clone());
        let (tls, stopped) = (settings.tls.clone(), stopped.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        threads.push(std::thread::Builder::new().name(format!("data-core-{index}")).spawn(move || {
            runtime.block_on(async move {
                let lane = match Lane::open(&broker, index) {
                    Ok(lane) => lane,
                    Err(error) => {
                        return tracing::error!(core = index, error = %error, "a data core could not start");
                    }
                };
                let shared = Arc::new(Shared { lane, api, trusted, stop: stopped, tls: tls.is_some() });
                run(shared, receiver, tls.map(TlsAcceptor::from)).await;
            });
        })?);
    }
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let bounds = Bounds::new(settings.max_connections, settings.tls.is_some());
    tokio::spawn(accept(listener, cores, bounds, stopped));
    Ok(Gateway { stop, threads })
}

impl Gateway {
    /// Stops accepting, lets open requests finish (30 s at most) and joins the threads.
    pub fn stop(self) {
        // No receiver left means that every core has ended already.
        let _ = self.stop.send(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a data core ended with a panic");
            }
        }
    }
}

async fn accept(
    listener: tokio::net::TcpListener,
    cores: Vec<Core>,
    mut bounds: Bounds,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: pause instead of spinning, and go on when some are free.
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(stream) = stream.into_std() else { continue };
        let open = |core: &Core| core.open.load(Ordering::Relaxed);
        if !bounds.has_room(cores.iter().map(open).sum()) {
            bounds.refuse(stream);
            continue;
        }
        let Some(core) = cores.iter().min_by_key(|core| open(core)) else { return };
        // A core that has ended drops it, and the connection with it.
        let _ = core.connections.send(Accepted { stream, address, open: Open::counted(&core.open) });
    }
}

async fn run(
    shared: Arc<Shared>,
    mut connections: mpsc::UnboundedReceiver<Accepted>,
    tls: Option<TlsAcceptor>,
) {
    let mut stop = shared.stop.clone();
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let Accepted { stream, address, open } = tokio::select! {
            next = connections.recv() => match next { Some(next) => next, None => break },
            _ = stop.wait_for(|stop| *stop) => break,
            // Finished connections are reaped as they end.
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
        };
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        tasks.spawn(async move {
            let _open = open;
            let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
            if stream.set_nodelay(true).is_err() {
                return;
            }
            match tls {
                None => {
                    let mut stop = shared.stop.clone();
                    let version = tokio::select! {
                        version = version::of_first_bytes(&stream, HEADER_TIME) => version,
                        _ = stop.wait_for(|stop| *stop) => None,
                    };
                    let Some(version) = version else { return };
                    serve(shared, stream, version, address).await;
                }
                Some(acceptor) => {
                    match tokio::time::timeout(std::time::Duration::from_secs(10), acceptor.accept(stream))
                        .await
                    {
                        Ok(Ok(stream)) => {
                            let version = version::of_alpn(stream.get_ref().1.alpn_protocol());
                            serve(shared, stream, version, address).await;
                        }
                        Ok(Err(error)) => tracing::debug!(error = %error, "a TLS handshake failed"),
                        Err(_) => tracing::debug!("a TLS handshake took longer than 10 s"),
                    }
                }
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}
