//! Many callers share one write; a lone one does not wait. Counts and virtual time only.

use std::sync::Arc;
use std::time::Duration;

use latchstring_journal::{Journal, list};
use tokio::sync::Barrier;
use tokio::time::Instant;

use crate::support::{Folder, call, intent, on_a_core, read, result, server, tally};

const CALLERS: usize = 64;
const ROUNDS: usize = 50;

#[test]
fn concurrent_callers_share_writes() {
    let folder = Folder::new();
    on_a_core(async {
        let journal = Journal::open(folder.settings(), server()).unwrap();
        let writer = journal.writer();
        let barrier = Arc::new(Barrier::new(CALLERS));
        let tasks: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (writer, barrier) = (writer.clone(), barrier.clone());
                tokio::spawn(async move {
                    for _ in 0..ROUNDS {
                        barrier.wait().await;
                        let call = call();
                        writer.append(&intent(&call)).await.unwrap();
                        writer.append_later(&result(&call)).unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        writer.flush().await.unwrap();
        let counts = writer.counts();
        assert_eq!(counts.records as usize, 2 * CALLERS * ROUNDS);
        assert!(counts.writes as usize <= 4 * ROUNDS, "{counts:?}");
        assert_eq!(counts.bytes, list(&folder.0).unwrap()[0].bytes);
        let tally = tally(&folder.0);
        assert_eq!(tally.len(), CALLERS * ROUNDS);
        assert!(tally.values().all(|found| *found == (1, 1)));
    });
}

#[tokio::test(start_paused = true)]
async fn a_lone_caller_waits_for_no_timer() {
    let folder = Folder::new();
    let journal = Journal::open(folder.settings(), server()).unwrap();
    let writer = journal.writer();
    let before = Instant::now();
    for _ in 0..20 {
        writer.append(&intent(&call())).await.unwrap();
    }
    // The paused clock moves only when every task waits for a timer.
    assert_eq!(Instant::now(), before);
    assert_eq!(writer.counts().writes, 20);
}

#[tokio::test(start_paused = true)]
async fn outcomes_are_written_within_five_milliseconds() {
    let folder = Folder::new();
    let journal = Journal::open(folder.settings(), server()).unwrap();
    let writer = journal.writer();
    for round in 1..=5 {
        writer.append_later(&result(&call())).unwrap();
        writer.append_later(&result(&call())).unwrap();
        tokio::time::sleep(Duration::from_millis(7)).await;
        assert_eq!(writer.counts().writes, round);
        assert_eq!(read(&list(&folder.0).unwrap()[0]).bodies.len() as u64, 2 * round);
    }
}

#[tokio::test(start_paused = true)]
async fn outcomes_go_with_the_next_group() {
    let folder = Folder::new();
    let journal = Journal::open(folder.settings(), server()).unwrap();
    let writer = journal.writer();
    for round in 1..=20 {
        writer.append_later(&result(&call())).unwrap();
        writer.append(&intent(&call())).await.unwrap();
        assert_eq!(writer.counts().writes, round);
    }
    // And one that comes after a group still has its own time limit.
    writer.append_later(&result(&call())).unwrap();
    tokio::time::sleep(Duration::from_millis(7)).await;
    assert_eq!(writer.counts().writes, 21);
}

#[test]
fn an_idle_journal_writes_nothing() {
    let folder = Folder::new();
    on_a_core(async {
        let journal = Journal::open(folder.settings(), server()).unwrap();
        let writer = journal.writer();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(writer.counts().writes, 0);
        assert!(list(&folder.0).unwrap().is_empty());
    });
}

/// A caller that hangs up in the middle neither loses its record nor stops the others.
#[test]
fn a_caller_that_hangs_up_stops_nobody() {
    let folder = Folder::new();
    on_a_core(async {
        let journal = Journal::open(folder.settings(), server()).unwrap();
        let writer = journal.writer();
        let (gone, stays) = (call(), call());
        let (first, second) = (intent(&gone), intent(&stays));
        {
            let mut append = Box::pin(writer.append(&first));
            // Polled once, so that the record is in the buffer; then dropped.
            let poll =
                std::future::poll_fn(|cx| std::task::Poll::Ready(append.as_mut().poll(cx).is_pending()));
            assert!(poll.await);
        }
        writer.append(&second).await.unwrap();
        let tally = tally(&folder.0);
        assert_eq!(tally[gone.as_str()], (1, 0));
        assert_eq!(tally[stays.as_str()], (1, 0));
    });
}

/// The control runtime has several threads that share one writer.
#[test]
fn threads_may_share_a_writer() {
    let folder = Folder::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let calls: Vec<_> = (0..2000).map(|_| call()).collect();
    runtime.block_on(async {
        let journal = Journal::open(folder.settings(), server()).unwrap();
        let writer = journal.writer();
        let tasks: Vec<_> = calls
            .iter()
            .map(|call| {
                let (writer, first, last) = (writer.clone(), intent(call), result(call));
                tokio::spawn(async move {
                    writer.append(&first).await.unwrap();
                    writer.append_later(&last).unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        writer.close().await.unwrap();
    });
    let tally = tally(&folder.0);
    assert!(calls.iter().all(|call| tally[call.as_str()] == (1, 1)));
}
