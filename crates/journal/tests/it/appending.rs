//! Records come back as they were, in order, across segments and restarts.

use latchstring_journal::{AppendError, Durability, Journal, Reader, Record, Step, list};

use crate::support::{Folder, call, intent, on_a_core, read, result, server, tally};

#[test]
fn what_is_appended_is_in_the_file_when_append_returns() {
    let folder = Folder::new();
    on_a_core(async {
        let journal = Journal::open(folder.settings(), server()).unwrap();
        let writer = journal.writer();
        for number in 1..=10 {
            let record = intent(&call());
            writer.append(&record).await.unwrap();
            // Through the file system, not through the writer.
            let segments = list(&folder.0).unwrap();
            let found = read(&segments[0]);
            assert_eq!(found.bodies.len(), number);
            assert_eq!(Record::parse(found.bodies.last().unwrap()).unwrap(), record);
            assert!(!found.ended && found.torn.is_empty());
        }
        assert_eq!(journal.unshipped(), list(&folder.0).unwrap()[0].bytes);
    });
}

#[test]
fn each_core_has_its_own_segments() {
    let folder = Folder::new();
    on_a_core(async {
        let journal = Journal::open(folder.settings(), server()).unwrap();
        let (one, two) = (journal.writer(), journal.writer());
        one.append(&intent(&call())).await.unwrap();
        two.append(&intent(&call())).await.unwrap();
        let names: Vec<_> = list(&folder.0).unwrap().into_iter().map(|s| s.id.writer).collect();
        assert_eq!(names, [one.id().clone(), two.id().clone()]);
        assert_eq!((names[0].core, names[1].core), (0, 1));
    });
}

#[test]
fn segments_follow_each_other_and_are_deleted_when_shipped() {
    let folder = Folder::new();
    on_a_core(async {
        let mut settings = folder.settings();
        settings.segment_bytes = 1000;
        let journal = Journal::open(settings, server()).unwrap();
        let writer = journal.writer();
        let calls: Vec<_> = (0..20).map(|_| call()).collect();
        for call in &calls {
            writer.append(&intent(call)).await.unwrap();
        }
        let segments = journal.segments().unwrap();
        assert!(segments.len() >= 5, "{}", segments.len());
        assert_eq!(writer.counts().segments, segments.len() as u64);
        let mut seen = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            assert_eq!(segment.id.number, index as u64 + 1);
            assert!(segment.bytes <= 1000);
            let last = index == segments.len() - 1;
            assert_eq!(segment.complete, !last);
            let found = read(segment);
            assert_eq!(found.ended, !last);
            seen.extend(found.bodies.iter().map(|b| Record::parse(b).unwrap().call_id().clone()));
        }
        assert_eq!(seen, calls);

        let total: u64 = segments.iter().map(|segment| segment.bytes).sum();
        assert_eq!(journal.unshipped(), total);
        journal.shipped(&segments[0].id, 100);
        journal.shipped(&segments[0].id, 60);
        assert_eq!(journal.unshipped(), total - 100, "going back changes nothing");
        assert!(journal.delete(&segments[0]).unwrap());
        assert_eq!(journal.unshipped(), total - segments[0].bytes);
        assert!(!segments[0].path.exists());
        let last = segments.last().unwrap();
        assert!(!journal.delete(last).unwrap(), "a segment that may grow stays");
        assert!(last.path.exists());
        journal.shipped(&last.id, last.bytes);
        assert_eq!(journal.segments().unwrap().len(), segments.len() - 1);
        assert_eq!(journal.unshipped(), total - segments[0].bytes - last.bytes, "counted anew");
    });
}

#[test]
fn an_offset_leads_to_the_next_record() {
    let folder = Folder::new();
    on_a_core(async {
        let journal = Journal::open(folder.settings(), server()).unwrap();
        let writer = journal.writer();
        let calls: Vec<_> = (0..5).map(|_| call()).collect();
        for call in &calls {
            writer.append(&intent(call)).await.unwrap();
        }
        let segment = &list(&folder.0).unwrap()[0];
        let mut offset = 0;
        for call in &calls {
            // A new reader each time: all that is kept is the offset.
            let mut reader = Reader::open(segment, offset).unwrap();
            let Step::Record { body, end } = reader.step().unwrap() else { panic!("no record") };
            assert_eq!(Record::parse(body).unwrap().call_id(), call);
            assert_eq!(reader.offset(), end);
            offset = end;
        }
        assert_eq!(offset, segment.bytes);
        // One reader that stays finds what comes later.
        let mut reader = Reader::open(segment, offset).unwrap();
        assert_eq!(reader.step().unwrap(), Step::NotYet);
        writer.append(&result(&calls[0])).await.unwrap();
        assert!(matches!(reader.step().unwrap(), Step::Record { .. }));
        assert_eq!(reader.step().unwrap(), Step::NotYet);
    });
}

#[test]
fn closing_writes_what_is_left_and_lets_go_of_the_directory() {
    let folder = Folder::new();
    let id = server();
    on_a_core(async {
        let journal = Journal::open(folder.settings(), id.clone()).unwrap();
        let writer = journal.writer();
        writer.append_later(&result(&call())).unwrap();
        assert!(list(&folder.0).unwrap().is_empty());
        writer.close().await.unwrap();
        writer.close().await.unwrap();
        assert_eq!(writer.append(&intent(&call())).await, Err(AppendError::Closed));
        assert_eq!(writer.append_later(&result(&call())), Err(AppendError::Closed));
        assert_eq!(writer.flush().await, Err(AppendError::Closed));
        assert!(!list(&folder.0).unwrap()[0].complete, "its process lives");
        assert!(Journal::open(folder.settings(), server()).is_ok(), "others may join");
        drop((writer, journal));
    });
    let segments = list(&folder.0).unwrap();
    assert!(segments[0].complete);
    assert_eq!(read(&segments[0]).bodies.len(), 1);

    // The next process counts it, ships it, and sweeps up.
    let journal = Journal::open(folder.settings(), server()).unwrap();
    assert_eq!(journal.unshipped(), segments[0].bytes);
    let lock = folder.0.join(format!("{id}.lock"));
    assert!(lock.exists());
    assert!(journal.delete(&segments[0]).unwrap());
    assert_eq!(journal.unshipped(), 0);
    assert!(journal.segments().unwrap().is_empty());
    assert!(!lock.exists());
}

#[test]
fn outcomes_are_not_lost_when_the_runtime_goes_or_the_last_writer() {
    let folder = Folder::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let one = call();
    runtime.block_on(async {
        let journal = Journal::open(folder.settings(), server()).unwrap();
        let writer = journal.writer();
        writer.append(&intent(&one)).await.unwrap();
        writer.append_later(&result(&one)).unwrap();
    });
    drop(runtime);
    assert_eq!(tally(&folder.0)[&one.to_string()], (1, 1));
}

#[test]
fn every_write_can_be_synced() {
    let folder = Folder::new();
    on_a_core(async {
        let mut settings = folder.settings();
        settings.durability = Durability::EveryWrite;
        let journal = Journal::open(settings, server()).unwrap();
        let writer = journal.writer();
        let calls: Vec<_> = (0..64).map(|_| call()).collect();
        let tasks: Vec<_> = calls
            .iter()
            .map(|call| {
                let (writer, record) = (writer.clone(), intent(call));
                tokio::spawn(async move { writer.append(&record).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert!(writer.counts().writes <= 8, "{:?}", writer.counts());
        let tally = tally(&folder.0);
        assert!(calls.iter().all(|call| tally[call.as_str()] == (1, 0)));
    });
}

#[test]
fn the_folder_and_its_files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    on_a_core(async {
        let mut settings = folder.settings();
        settings.directory = folder.0.join("deep/journal");
        let directory = settings.directory.clone();
        let journal = Journal::open(settings, server()).unwrap();
        journal.writer().append(&intent(&call())).await.unwrap();
        let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&list(&directory).unwrap()[0].path), 0o600);
    });
}

#[test]
fn a_folder_that_cannot_be_is_an_error_that_names_it() {
    let folder = Folder::new();
    std::fs::write(folder.0.join("file"), "x").unwrap();
    let mut settings = folder.settings();
    settings.directory = folder.0.join("file");
    let error = Journal::open(settings, server()).err().unwrap();
    assert!(error.to_string().contains("file"), "{error}");
}
