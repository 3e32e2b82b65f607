//! A journal segment of any bytes: reading ends, its offsets go forward, and every record it gives can be asked what
//! it is. Read once as the segment of a living writer and once as that of a dead one.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use latchstring_journal::{Reader, Record, Segment, SegmentId, Step};
use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    folder.join(format!("latchstring-fuzz-journal-{}", std::process::id()))
});

fn id() -> SegmentId {
    SegmentId { writer: "srv_00000000010000000000000000.0".parse().expect("a writer"), number: 1 }
}

fuzz_target!(|data: &[u8]| {
    std::fs::write(&*FILE, data).expect("a file for the segment");
    let length = data.len() as u64;
    for complete in [false, true] {
        let segment = Segment { id: id(), path: FILE.clone(), bytes: length, complete };
        let mut reader = Reader::open(&segment, 0).expect("the file is there");
        let mut at = 0;
        loop {
            let end = match reader.step().expect("the file can be read") {
                Step::Record { body, end } => {
                    if let Ok(record) = Record::parse(body) {
                        let _ = record.call_id();
                    }
                    end
                }
                Step::Torn { from, end } => {
                    assert_eq!(from, at, "bytes were skipped without a word");
                    end
                }
                Step::NotYet => {
                    assert!(!complete, "a dead writer will write no more");
                    break;
                }
                Step::End => {
                    assert!(complete, "a living writer may go on");
                    assert_eq!(at, length, "the end came too early");
                    break;
                }
            };
            assert!(end > at && end <= length, "from {at} to {end} of {length}");
            at = end;
        }
    }
});
