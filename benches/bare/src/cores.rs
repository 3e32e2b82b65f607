//! One thread and one current-thread runtime per core; connections are dealt out in turn, so that each core
//! has as many as the other.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::CORES;

/// Serves until the process is ended. `make` is called once on each core and gives what serves a connection.
pub fn serve<S, F>(listen: SocketAddr, make: impl Fn() -> S + Send + Clone + 'static) -> Result<(), String>
where
    S: Fn(TcpStream) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind(listen).map_err(|e| format!("{listen}: {e}"))?;
    let mut cores = Vec::with_capacity(CORES);
    for _ in 0..CORES {
        let (sender, mut connections) = mpsc::unbounded_channel::<std::net::TcpStream>();
        cores.push(sender);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| format!("no runtime: {e}"))?;
        let make = make.clone();
        std::thread::spawn(move || {
            LocalSet::new().block_on(&runtime, async move {
                let serve = make();
                while let Some(stream) = connections.recv().await {
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        tokio::task::spawn_local(serve(stream));
                    }
                }
            });
        });
    }
    for core in cores.iter().cycle() {
        let Ok((stream, _)) = listener.accept() else { continue };
        if stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).is_ok() {
            core.send(stream).map_err(|_| "a core has ended".to_owned())?;
        }
    }
    Ok(())
}
