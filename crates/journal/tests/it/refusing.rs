//! When nothing can be recorded, `append` says so, and nothing is lost when it can again.

use latchstring_journal::{AppendError, Journal, MAX_BODY, list};

use crate::support::{Folder, call, intent, intent_to, on_a_core, result, server, tally};

#[test]
fn beyond_the_backlog_limit_calls_are_refused_until_it_is_shipped() {
    let folder = Folder::new();
    on_a_core(async {
        let mut settings = folder.settings();
        settings.backlog_limit = 3000;
        let journal = Journal::open(settings.clone(), server()).unwrap();
        let writer = journal.writer();
        let mut written = 0;
        let refusal = loop {
            match writer.append(&intent(&call())).await {
                Ok(()) => written += 1,
                Err(error) => break error,
            }
        };
        assert!((3..20).contains(&written), "{written}");
        let unshipped = journal.unshipped();
        assert!((3000..4000).contains(&unshipped));
        assert_eq!(refusal, AppendError::Backlog { unshipped, limit: 3000 });
        // The outcome of a call that was made is always taken.
        writer.append_later(&result(&call())).unwrap();
        writer.flush().await.unwrap();
        assert_eq!(tally(&folder.0).len(), written + 1);

        // A restart does not forget the backlog.
        let second = Journal::open(settings, server()).unwrap();
        assert!(matches!(second.writer().append(&intent(&call())).await, Err(AppendError::Backlog { .. })));

        let segment = &journal.segments().unwrap()[0];
        journal.shipped(&segment.id, segment.bytes);
        assert_eq!(journal.unshipped(), 0);
        writer.append(&intent(&call())).await.unwrap();
    });
}

/// The backlog is counted with what lies in the buffer: a burst cannot overrun it.
#[test]
fn a_burst_does_not_overrun_the_backlog() {
    let folder = Folder::new();
    on_a_core(async {
        let mut settings = folder.settings();
        settings.backlog_limit = 10_000;
        let journal = Journal::open(settings, server()).unwrap();
        let writer = journal.writer();
        let tasks: Vec<_> = (0..500)
            .map(|_| {
                let writer = writer.clone();
                tokio::spawn(async move { writer.append(&intent(&call())).await.is_ok() })
            })
            .collect();
        let mut accepted = 0;
        for task in tasks {
            accepted += usize::from(task.await.unwrap());
        }
        assert_eq!(tally(&folder.0).len(), accepted);
        assert!(journal.unshipped() < 10_500, "{}", journal.unshipped());
    });
}

#[test]
fn a_record_that_is_too_long_harms_nobody_else() {
    let folder = Folder::new();
    on_a_core(async {
        let journal = Journal::open(folder.settings(), server()).unwrap();
        let writer = journal.writer();
        let long = intent_to(&call(), &"x".repeat(MAX_BODY));
        let good = intent(&call());
        let (long, good) = tokio::join!(writer.append(&long), writer.append(&good));
        assert!(matches!(long, Err(AppendError::TooLong { bytes }) if bytes > MAX_BODY));
        good.unwrap();
        assert_eq!(tally(&folder.0).len(), 1);
    });
}

#[test]
fn a_folder_that_has_gone_is_a_typed_error_and_outcomes_wait_for_it() {
    let folder = Folder::new();
    let outcome = call();
    on_a_core(async {
        let mut settings = folder.settings();
        settings.directory = folder.0.join("journal");
        let directory = settings.directory.clone();
        let journal = Journal::open(settings, server()).unwrap();
        let writer = journal.writer();
        std::fs::rename(&directory, folder.0.join("away")).unwrap();
        writer.append_later(&result(&outcome)).unwrap();
        let refused = call();
        let error = writer.append(&intent(&refused)).await.unwrap_err();
        assert!(matches!(error, AppendError::Disk { kind: std::io::ErrorKind::NotFound, .. }), "{error:?}");
        assert_eq!(writer.counts().failures, 1);
        std::fs::rename(folder.0.join("away"), &directory).unwrap();
        writer.append(&intent(&call())).await.unwrap();
        let tally = tally(&directory);
        assert_eq!(tally[outcome.as_str()], (0, 1), "the outcome was kept");
        assert!(!tally.contains_key(refused.as_str()), "the refused intent was not");
        assert_eq!(list(&directory).unwrap().len(), 1);
    });
}
