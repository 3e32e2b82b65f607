//! Key pairs are made one at a time in a process: an RSA key keeps a core busy for a good part of a second (4096 bits:
//! for seconds), and everybody who has an account may ask for some.

use std::time::Duration;

use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem};
use tokio::sync::Semaphore;

use crate::refusals;

static PLACE: Semaphore = Semaphore::const_new(1);
/// How long one waits for those that are made before.
const PATIENCE: Duration = Duration::from_secs(30);

/// Does the work beside the threads that everybody waits for, and nobody else's at the same time.
pub(crate) async fn alone<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Refused<T> {
    in_place(&PLACE, PATIENCE, work).await
}

async fn in_place<T: Send + 'static>(
    place: &'static Semaphore,
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Refused<T> {
    let Ok(Ok(ours)) = tokio::time::timeout(patience, place.acquire()).await else {
        return Err(Problem::new(
            Code::Busy,
            "Many key pairs are being made at the moment; nothing was changed.",
        )
        .hint("Try again in a minute, or make the key elsewhere and send it.")
        .retry_after(30)
        .into());
    };
    // The place goes with the work and not with who waits for it: the core is busy even if they have left.
    let made = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(ours);
        done
    });
    made.await.map_err(|error| refusals::internal(&error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn one_key_is_made_at_a_time_even_if_nobody_waits_for_it() {
        static ONE: Semaphore = Semaphore::const_new(1);
        let (end, until) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel::<()>();
        let first = tokio::spawn(in_place(&ONE, PATIENCE, move || {
            begin.send(()).unwrap();
            until.recv().unwrap();
        }));
        tokio::task::spawn_blocking(move || begun.recv().unwrap()).await.unwrap();
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let second = in_place(&ONE, Duration::from_millis(50), || ()).await.unwrap_err();
        assert_eq!((second.code, second.retry_after_secs), (Code::Busy, Some(30)));
        end.send(()).unwrap();
        in_place(&ONE, PATIENCE, || ()).await.unwrap();
    }
}
