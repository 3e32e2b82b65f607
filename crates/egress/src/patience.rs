//! A limit on a wait that is hardly ever reached, and set anew for every request.
//!
//! A timer of the runtime is entered into its wheel when it is set and taken out when it is dropped; doing both
//! twice for every call costs more than the wait is worth. This one stays in the wheel: it is set later by a store,
//! and entered again only when it fires and finds that it was set later.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Sleep, Timer};
use tokio::time::{Instant, sleep_until};

/// Ready when its deadline has passed. It can be set again and again.
pub struct Patience {
    sleep: Pin<Box<tokio::time::Sleep>>,
    deadline: Instant,
}

impl Patience {
    pub fn until(deadline: Instant) -> Self {
        Self { sleep: Box::pin(sleep_until(deadline)), deadline }
    }

    pub fn set(&mut self, deadline: Instant) {
        if deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(deadline);
        }
        self.deadline = deadline;
    }

    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Future for Patience {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            ready!(this.sleep.as_mut().poll(cx));
            if this.deadline <= this.sleep.deadline() {
                return Poll::Ready(());
            }
            this.sleep.as_mut().reset(this.deadline);
        }
    }
}

/// The limits that hyper sets for one connection. It makes a sleep for each and drops it when the wait is over;
/// these share one [`Patience`], which stays where it is. At most one of them waits at a time.
#[derive(Clone, Default)]
pub struct PatientTimer(Arc<Mutex<Option<Patience>>>);

struct Wait {
    patience: Arc<Mutex<Option<Patience>>>,
    deadline: Instant,
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut shared = self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = shared.get_or_insert_with(|| Patience::until(self.deadline));
        if patience.deadline != self.deadline {
            patience.set(self.deadline);
        }
        Pin::new(patience).poll(cx)
    }
}

impl Sleep for Wait {}

impl Timer for PatientTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Wait { patience: Arc::clone(&self.0), deadline: deadline.into() })
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_ends_at_the_deadline_that_was_set_last() {
        let start = Instant::now();
        let mut patience = Patience::until(start + SECOND);
        patience.set(start + 5 * SECOND);
        (&mut patience).await;
        assert_eq!(start.elapsed().as_secs(), 5);
        patience.set(start + 7 * SECOND);
        patience.set(start + 6 * SECOND);
        (&mut patience).await;
        assert_eq!(start.elapsed().as_secs(), 6, "also when it is set back");
        patience.set(start + 2 * SECOND);
        (&mut patience).await;
        assert_eq!(start.elapsed().as_secs(), 6, "what has passed has passed");
    }

    #[tokio::test(start_paused = true)]
    async fn hyper_waits_again_and_again() {
        let (start, timer) = (Instant::now(), PatientTimer::default());
        for _ in 0..3 {
            let sleep = timer.sleep(SECOND);
            assert!(tokio::time::timeout(SECOND / 2, sleep).await.is_err(), "dropped before its time");
        }
        let mut sleep = timer.sleep(SECOND);
        timer.reset(&mut sleep, timer.now() + 2 * SECOND);
        sleep.await;
        assert_eq!(start.elapsed(), 7 * SECOND / 2);
    }
}
