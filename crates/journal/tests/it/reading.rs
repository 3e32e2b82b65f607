//! Torn tails and damage: never misread, always reported, never in the way of what is whole.

use std::io::Write as _;
use std::path::PathBuf;

use latchstring_journal::{Journal, Reader, Segment, SegmentId, Step, WriterId, list};
use latchstring_model::id::ServerId;

use crate::support::{Folder, call, intent, on_a_core, read, read_from, result, server};

/// Three records as a real writer lays them down, and where each ends.
fn three() -> (Vec<u8>, Vec<usize>) {
    let folder = Folder::new();
    on_a_core(async {
        let journal = Journal::open(folder.settings(), server()).unwrap();
        let writer = journal.writer();
        let one = call();
        writer.append(&intent(&one)).await.unwrap();
        writer.append(&result(&one)).await.unwrap();
        writer.append(&intent(&call())).await.unwrap();
    });
    let bytes = std::fs::read(&list(&folder.0).unwrap()[0].path).unwrap();
    let ends = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect();
    (bytes, ends)
}

fn put(folder: &Folder, server: &ServerId, core: u16, bytes: &[u8]) -> PathBuf {
    let writer = WriterId { server: server.clone(), core };
    let path = folder.0.join(SegmentId { writer, number: 1 }.file_name());
    std::fs::write(&path, bytes).unwrap();
    path
}

fn only(folder: &Folder) -> Segment {
    let mut all = list(&folder.0).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn a_dead_writers_torn_tail_is_reported_and_skipped_at_every_byte() {
    let (bytes, ends) = three();
    let folder = Folder::new();
    let dead = server();
    for cut in 0..=bytes.len() {
        put(&folder, &dead, 0, &bytes[..cut]);
        let segment = only(&folder);
        assert!(segment.complete);
        let found = read(&segment);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(found.bodies.len(), whole, "cut at {cut}");
        let good = ends[..whole].last().copied().unwrap_or(0);
        let torn = if good == cut { vec![] } else { vec![(good as u64, cut as u64)] };
        assert_eq!(found.torn, torn, "cut at {cut}");
        assert!(found.ended);
    }
}

#[test]
fn a_live_writers_torn_tail_is_not_yet_and_is_read_when_it_is_whole() {
    let (bytes, ends) = three();
    let folder = Folder::new();
    let live = server();
    let _journal = Journal::open(folder.settings(), live.clone()).unwrap();
    for cut in 0..=bytes.len() {
        let path = put(&folder, &live, 0, &bytes[..cut]);
        let segment = only(&folder);
        assert!(!segment.complete);
        let mut reader = Reader::open(&segment, 0).unwrap();
        let mut seen = 0;
        while let Step::Record { .. } = reader.step().unwrap() {
            seen += 1;
        }
        assert_eq!(seen, ends.iter().filter(|end| **end <= cut).count());
        assert_eq!(reader.step().unwrap(), Step::NotYet);

        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&bytes[cut..]).unwrap();
        while let Step::Record { end, .. } = reader.step().unwrap() {
            assert_eq!(end as usize, ends[seen]);
            seen += 1;
        }
        assert_eq!(seen, 3, "cut at {cut}");
    }
}

#[test]
fn damage_to_any_byte_costs_that_record_only() {
    let (bytes, ends) = three();
    let folder = Folder::new();
    let dead = server();
    for at in ends[0]..ends[1] {
        for to in [b'\n', b'0', 0, bytes[at] ^ 1] {
            if to == bytes[at] {
                continue;
            }
            let mut damaged = bytes.clone();
            damaged[at] = to;
            put(&folder, &dead, 0, &damaged);
            let found = read(&only(&folder));
            let line = |from: usize, end: usize| bytes[from + 18..end - 1].to_vec();
            // Without its line break a record runs into the next one, which is then lost as well.
            if at == ends[1] - 1 {
                assert_eq!(found.bodies, [line(0, ends[0])], "byte {at} to {to}");
                assert_eq!(found.torn, [(ends[0] as u64, ends[2] as u64)]);
            } else {
                assert_eq!(found.bodies, [line(0, ends[0]), line(ends[1], ends[2])], "byte {at} to {to}");
                assert_eq!(found.torn, [(ends[0] as u64, ends[1] as u64)]);
            }
            assert!(found.ended);
        }
    }
}

#[test]
fn zeros_that_a_power_cut_left_are_reported() {
    let (mut bytes, ends) = three();
    let whole = bytes.len() as u64;
    bytes.resize(bytes.len() + 600_000, 0);
    let folder = Folder::new();
    put(&folder, &server(), 0, &bytes);
    let found = read(&only(&folder));
    assert_eq!(found.bodies.len(), ends.len());
    assert_eq!(found.torn, [(whole, whole + 600_000)]);
    assert!(found.ended);
}

#[test]
fn damage_longer_than_a_chunk_is_stepped_over() {
    let (bytes, _) = three();
    let noise: Vec<u8> = (0..700_000_u32).map(|i| (i * 31 % 251) as u8).collect();
    let folder = Folder::new();
    // The noise ends with a line break, as what follows would otherwise not begin a line.
    put(&folder, &server(), 0, &[&bytes[..], &noise, b"\n", &bytes].concat());
    let found = read(&only(&folder));
    assert_eq!(found.bodies.len(), 6);
    assert_eq!(found.torn, [(bytes.len() as u64, (bytes.len() + noise.len() + 1) as u64)]);
}

#[test]
fn an_offset_behind_the_end_is_the_end() {
    let (bytes, _) = three();
    let folder = Folder::new();
    put(&folder, &server(), 0, &bytes);
    let found = read_from(&only(&folder), bytes.len() as u64 + 100);
    assert!(found.ended && found.bodies.is_empty() && found.torn.is_empty());
}

#[test]
fn other_files_are_left_alone() {
    let folder = Folder::new();
    let name = format!("{}.0.00000001.lsj2", server());
    for name in ["lost+found", "notes.txt", &name] {
        std::fs::write(folder.0.join(name), "x").unwrap();
    }
    let journal = Journal::open(folder.settings(), server()).unwrap();
    assert!(journal.segments().unwrap().is_empty());
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 4);
}

#[test]
fn two_processes_on_one_folder_know_each_other_as_alive() {
    let folder = Folder::new();
    on_a_core(async {
        let old = Journal::open(folder.settings(), server()).unwrap();
        old.writer().append(&intent(&call())).await.unwrap();
        let new = Journal::open(folder.settings(), server()).unwrap();
        new.writer().append(&intent(&call())).await.unwrap();
        assert!(new.segments().unwrap().iter().all(|segment| !segment.complete));
        drop(old);
        // The old one's flusher ends when its last writer is gone.
        tokio::task::yield_now().await;
        let complete: Vec<_> = new.segments().unwrap().iter().map(|s| s.complete).collect();
        assert_eq!(complete, [true, false]);
    });
}
