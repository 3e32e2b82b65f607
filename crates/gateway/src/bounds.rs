//! How many connections are open at once, and what one too many is told.

use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use latchstring_model::{Code, Problem};
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Refused clients that are given the time to read why; what is beyond that is closed without a word.
const TOLD_AT_ONCE: usize = 64;
const TOLD_WITHIN: Duration = Duration::from_secs(1);
/// Between two lines in the log about the same trouble.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// Counts a connection as open for as long as it lives.
pub struct Open(Arc<AtomicUsize>);

impl Open {
    pub fn counted(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the acceptor asks before it hands a connection on.
pub struct Bounds {
    most: usize,
    tls: bool,
    telling: Arc<Semaphore>,
    said: Option<Instant>,
}

impl Bounds {
    pub fn new(most: usize, tls: bool) -> Self {
        Self { most, tls, telling: Arc::new(Semaphore::new(TOLD_AT_ONCE)), said: None }
    }

    pub fn has_room(&self, open: usize) -> bool {
        open < self.most
    }

    /// Says so, in the log and to the client, and closes. Over TLS nothing can be said without a handshake.
    pub fn refuse(&mut self, stream: TcpStream) {
        if self.said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            self.said = Some(Instant::now());
            tracing::warn!(
                most = self.most,
                "connections are refused: as many are open as LATCHSTRING_MAX_CONNECTIONS allows"
            );
        }
        let Ok(place) = Arc::clone(&self.telling).try_acquire_owned() else { return };
        if self.tls {
            return;
        }
        tokio::spawn(async move {
            // Whoever hangs up first has no use for the answer.
            let _ = tokio::time::timeout(TOLD_WITHIN, tell(stream)).await;
            drop(place);
        });
    }
}

async fn tell(stream: TcpStream) -> std::io::Result<()> {
    use std::io::Write;
    let problem = Problem::new(Code::Busy, "As many connections are open as this server allows.")
        .hint("Use fewer connections, or use them again (keep-alive). Whoever runs the server sets LATCHSTRING_MAX_CONNECTIONS.")
        .retry_after(1);
    // Small enough for the socket's buffer, which is empty.
    (&stream).write_all(&crate::plain::problem(&problem, None))?;
    stream.shutdown(Shutdown::Write)?;
    // What the client has sent is read first: closing over it would destroy the answer on its way.
    let mut stream = tokio::net::TcpStream::from_std(stream)?;
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
