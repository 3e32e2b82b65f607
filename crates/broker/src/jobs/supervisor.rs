//! Runs one job until the server stops.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use latchstring_model::Entropy;
use tokio::sync::watch;

/// The longest pause after errors in a row.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What a turn of a job asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// There is more to do: go on at once.
    Now,
    /// After the interval.
    Later,
}

type Turn = Pin<Box<dyn Future<Output = Result<Again, String>> + Send>>;

pub struct Job {
    pub name: &'static str,
    interval: Duration,
    turn: Box<dyn FnMut() -> Turn + Send>,
    last_turn: Option<Duration>,
}

impl Job {
    /// The first turn is taken at once.
    pub fn new<F: Future<Output = Result<Again, String>> + Send + 'static>(
        name: &'static str,
        interval: Duration,
        mut turn: impl FnMut() -> F + Send + 'static,
    ) -> Self {
        Self { name, interval, turn: Box::new(move || Box::pin(turn())), last_turn: None }
    }

    /// Goes on when the server stops until there is nothing more to do, but for at most so long.
    #[must_use]
    pub fn with_last_turn(mut self, at_most: Duration) -> Self {
        self.last_turn = Some(at_most);
        self
    }

    pub async fn run(mut self, entropy: Arc<dyn Entropy>, mut stop: watch::Receiver<bool>) {
        let mut failures: u32 = 0;
        while !*stop.borrow_and_update() {
            let outcome = self.turn().await;
            let pause = match outcome {
                Ok(again) => {
                    if failures > 0 {
                        tracing::info!(job = self.name, failures, "the job works again");
                        failures = 0;
                    }
                    match again {
                        Again::Now => {
                            tokio::task::yield_now().await;
                            continue;
                        }
                        Again::Later => self.interval,
                    }
                }
                Err(error) => {
                    // Once aloud; what follows is most likely the same.
                    if failures == 0 {
                        tracing::warn!(job = self.name, error = %error, "a job failed and is tried again");
                    } else {
                        tracing::debug!(job = self.name, error = %error, failures, "a job failed again");
                    }
                    failures = failures.saturating_add(1);
                    self.interval.saturating_mul(1 << failures.min(6)).min(LONGEST_PAUSE.max(self.interval))
                }
            };
            // Ended by the signal, or by the end of whoever gives it.
            let stopped = tokio::time::timeout(jittered(pause, &*entropy), stop.changed()).await;
            if matches!(stopped, Ok(Err(_))) {
                break;
            }
        }
        if let Some(limit) = self.last_turn {
            let rest = async { while matches!(self.turn().await, Ok(Again::Now)) {} };
            if tokio::time::timeout(limit, rest).await.is_err() {
                tracing::warn!(job = self.name, "the job did not finish before the server ended");
            }
        }
    }

    /// In a task of its own, so that a panic ends the turn and nothing else.
    async fn turn(&mut self) -> Result<Again, String> {
        match tokio::spawn((self.turn)()).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(job = self.name, error = %error, "a job panicked");
                Err("it panicked".to_owned())
            }
        }
    }
}

/// Up to a tenth less or more, so that servers that were started together do not stay in step.
fn jittered(pause: Duration, entropy: &dyn Entropy) -> Duration {
    let mut byte = [0];
    entropy.fill(&mut byte);
    pause.mul_f64(0.9 + 0.2 * f64::from(byte[0]) / 255.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    struct Fixed(u8);
    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        let second = Duration::from_secs(1);
        assert_eq!(jittered(second, &Fixed(0)), Duration::from_millis(900));
        assert_eq!(jittered(second, &Fixed(255)), Duration::from_millis(1100));
    }

    #[tokio::test(start_paused = true)]
    async fn errors_and_panics_do_not_end_a_job() {
        let turns = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&turns);
        let (stop, stopped) = watch::channel(false);
        let job = Job::new("test", Duration::from_millis(100), move || {
            let turn = seen.fetch_add(1, Ordering::SeqCst);
            async move {
                match turn {
                    0 => Err("no".to_owned()),
                    1 => panic!("a panic that the test wants"),
                    2..5 => Ok(Again::Now),
                    _ => Ok(Again::Later),
                }
            }
        });
        let task = tokio::spawn(job.run(Arc::new(Fixed(128)), stopped));
        // 200 ms after the error, 400 ms after the panic, then three at once.
        tokio::time::sleep(Duration::from_millis(650)).await;
        assert_eq!(turns.load(Ordering::SeqCst), 6);
        tokio::time::sleep(Duration::from_millis(1000)).await;
        let later = turns.load(Ordering::SeqCst);
        assert!((14..=17).contains(&later), "{later}");
        stop.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(1), task).await.unwrap().unwrap();
        assert_eq!(turns.load(Ordering::SeqCst), later, "no turn after the stop");
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_turn_finishes_what_is_left() {
        let left = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&left);
        let (stop, stopped) = watch::channel(false);
        let job = Job::new("test", Duration::from_secs(3600), move || {
            let now = seen.load(Ordering::SeqCst);
            seen.store(now.saturating_sub(1), Ordering::SeqCst);
            async move { Ok(if now > 1 { Again::Now } else { Again::Later }) }
        })
        .with_last_turn(Duration::from_secs(5));
        let task = tokio::spawn(job.run(Arc::new(Fixed(128)), stopped));
        tokio::time::sleep(Duration::from_secs(1)).await;
        left.store(7, Ordering::SeqCst);
        drop(stop);
        task.await.unwrap();
        assert_eq!(left.load(Ordering::SeqCst), 0);
    }
}
