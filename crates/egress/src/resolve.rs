//! Names to addresses, asked exactly once per connection.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, watch};

pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Looks a name up. What it answers is judged; it need not (and cannot) be trusted.
pub trait Resolve: Send + Sync {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a>;
}

/// Look-ups at once, at most. Each holds a thread until the name server answers or `getaddrinfo` gives up, however
/// soon whoever asked does; a runtime has 512.
const AT_ONCE: usize = 256;

/// The system's own resolver (`getaddrinfo`): hosts file, search list and all. However many ask for a name at once, it is
/// looked up once: a name that nobody answers for holds one thread, not one for each call.
#[derive(Clone)]
pub struct SystemResolver {
    under_way: Arc<Mutex<HashMap<String, Ending>>>,
    places: Arc<Semaphore>,
}

/// How a look-up ended. An error of the system has no copy.
type Found = Result<Vec<IpAddr>, (io::ErrorKind, String)>;
type Ending = watch::Receiver<Option<Found>>;

impl Default for SystemResolver {
    fn default() -> Self {
        Self { under_way: Arc::default(), places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl SystemResolver {
    /// The look-up that is under way, or a new one, which goes on when nobody waits for it: its thread does.
    fn look_up(&self, host: &str, look: impl Future<Output = Found> + Send + 'static) -> Ending {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = under_way.get(host)
            // The runtime that it was begun on may have gone.
            && known.has_changed().is_ok()
        {
            return known.clone();
        }
        let (sender, receiver) = watch::channel(None);
        under_way.insert(host.to_owned(), receiver.clone());
        let (all, places, host) = (Arc::clone(&self.under_way), Arc::clone(&self.places), host.to_owned());
        tokio::spawn(async move {
            let place = places.acquire_owned().await;
            let found = look.await;
            drop(place);
            // First the name is free again: who asks from now on is told how things are then.
            all.lock().unwrap_or_else(PoisonError::into_inner).remove(&host);
            sender.send_replace(Some(found));
        });
        receiver
    }
}

async fn system(host: String) -> Found {
    let found = tokio::net::lookup_host((host.as_str(), 0)).await;
    let found = found.map_err(|error| (error.kind(), error.to_string()))?;
    // Scope ids are dropped on purpose: only link-local addresses have them, and those are refused.
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    Ok(addresses)
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let mut ending = self.look_up(host, system(host.to_owned()));
            let found = ending.wait_for(Option::is_some).await.map(|found| found.clone());
            match found {
                Ok(Some(found)) => found.map_err(|(kind, text)| io::Error::new(kind, text)),
                _ => Err(io::Error::other("the look-up ended without an answer")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::sync::oneshot;

    use super::*;

    fn answer(address: &str) -> Found {
        Ok(vec![address.parse().unwrap()])
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_at_a_time() {
        let resolver = SystemResolver::default();
        let (let_go, held) = oneshot::channel::<()>();
        let first = resolver.look_up("a.example", async {
            held.await.unwrap();
            answer("192.0.2.1")
        });
        let mut second = resolver.look_up("a.example", async { answer("192.0.2.2") });
        let mut other = resolver.look_up("b.example", async { answer("192.0.2.3") });
        assert_eq!(*other.wait_for(Option::is_some).await.unwrap(), Some(answer("192.0.2.3")));
        // Whoever began it goes away.
        drop(first);
        let_go.send(()).unwrap();
        assert_eq!(*second.wait_for(Option::is_some).await.unwrap(), Some(answer("192.0.2.1")));
        let mut third = resolver.look_up("a.example", async { answer("192.0.2.4") });
        assert_eq!(*third.wait_for(Option::is_some).await.unwrap(), Some(answer("192.0.2.4")), "asked anew");
    }

    #[test]
    fn a_look_up_that_ended_with_its_runtime_is_not_waited_for() {
        let resolver = SystemResolver::default();
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let gone = runtime();
        gone.block_on(async {
            resolver.look_up("a.example", std::future::pending());
        });
        drop(gone);
        runtime().block_on(async {
            let mut ending = resolver.look_up("a.example", async { answer("192.0.2.1") });
            assert_eq!(*ending.wait_for(Option::is_some).await.unwrap(), Some(answer("192.0.2.1")));
        });
    }

    #[tokio::test]
    async fn no_more_are_under_way_than_there_are_places() {
        let resolver = SystemResolver::default();
        let began = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        for number in 0..AT_ONCE + 10 {
            let began = Arc::clone(&began);
            resolver.look_up(&format!("{number}.example"), async move {
                began.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                std::future::pending().await
            });
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(began.load(std::sync::atomic::Ordering::Relaxed), AT_ONCE);
    }

    #[tokio::test]
    async fn the_system_is_asked() {
        let found = SystemResolver::default().resolve("localhost").await.unwrap();
        assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
    }
}
