//! Processes that are killed, and disks that stop in the middle of a write. The children are this
//! test binary itself, started again for one `#[ignore]`d test.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use latchstring_journal::{Journal, list};

use crate::support::{Folder, call, intent, on_a_core, read, result, server, tally};

const FOLDER: &str = "JOURNAL_TEST_FOLDER";

fn child(mut command: Command, test: &str, folder: &Folder) -> Child {
    command
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env(FOLDER, &folder.0)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn say(word: &str, id: &str) {
    // One write for each line, so that a line is whole or not there; the test harness may have left
    // its own line open before it.
    let line = format!("\n{word} {id}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

#[test]
#[ignore = "the child of no_acknowledged_record_is_lost_to_kill_9"]
fn child_appends_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    on_a_core(async {
        let mut settings = latchstring_journal::Settings::new(folder);
        // Small, so that it may be killed while it begins a new one.
        settings.segment_bytes = 32 << 10;
        let journal = Journal::open(settings, server()).unwrap();
        let writer = journal.writer();
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let writer = writer.clone();
                tokio::spawn(async move {
                    // Longer than anybody waits, and not for ever.
                    for _ in 0..1_000_000 {
                        let call = call();
                        writer.append(&intent(&call)).await.unwrap();
                        say("acknowledged", call.as_str());
                        writer.append_later(&result(&call)).unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn no_acknowledged_record_is_lost_to_kill_9() {
    for round in 0..5 {
        let folder = Folder::new();
        let me = Command::new(std::env::current_exe().unwrap());
        let mut child = child(me, "dying::child_appends_until_it_is_killed", &folder);
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut acknowledged = HashSet::new();
        let mut line = String::new();
        let mut keep = |line: &str| {
            if let Some(id) = line.strip_prefix("acknowledged ").and_then(|l| l.strip_suffix('\n')) {
                acknowledged.insert(id.to_owned());
            }
            acknowledged.len()
        };
        while lines.read_line(&mut line).unwrap() > 0 {
            if keep(&line) >= 500 + 37 * round {
                break;
            }
            line.clear();
        }
        assert!(!list(&folder.0).unwrap().last().unwrap().complete, "the child lives");
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died, and was still in the pipe, counts as well.
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        for line in rest.split_inclusive('\n') {
            keep(line);
        }
        assert!(acknowledged.len() >= 500, "{}", acknowledged.len());

        let segments = list(&folder.0).unwrap();
        assert!(segments.len() > 1);
        for segment in &segments {
            assert!(segment.complete, "a dead process's segments are complete");
            let found = read(segment);
            assert!(found.ended);
            assert!(found.torn.is_empty() || segment == segments.last().unwrap());
        }
        let tally = tally(&folder.0);
        let lost = acknowledged.iter().filter(|id| !tally.contains_key(*id)).count();
        assert_eq!(lost, 0, "of {}", acknowledged.len());
        assert!(tally.values().all(|(intents, results)| *intents == 1 && *results <= 1));
    }
}

#[test]
#[ignore = "the child of a_write_that_is_cut_short_loses_nothing_acknowledged"]
fn child_appends_to_files_that_cannot_grow() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    on_a_core(async {
        let journal = Journal::open(latchstring_journal::Settings::new(folder), server()).unwrap();
        let writer = journal.writer();
        let mut outcomes = Vec::new();
        for _ in 0..40 {
            let calls: Vec<_> = (0..16).map(|_| call()).collect();
            let mut tasks = Vec::new();
            for call in &calls {
                let (writer, record) = (writer.clone(), intent(call));
                tasks.push(tokio::spawn(async move { writer.append(&record).await }));
            }
            for (call, task) in calls.iter().zip(tasks) {
                match task.await.unwrap() {
                    Ok(()) => {
                        say("acknowledged", call.as_str());
                        writer.append_later(&result(call)).unwrap();
                        outcomes.push(call.clone());
                    }
                    Err(error) => {
                        assert!(error.to_string().contains("cannot be written"), "{error}");
                        say("refused", call.as_str());
                    }
                }
            }
        }
        // What is left goes with one of these: a try may still hit the end of a file.
        while writer.flush().await.is_err() {}
        for call in outcomes {
            say("outcome", call.as_str());
        }
        assert_eq!(writer.counts().lost, 0);
        say("done", "-");
    });
}

/// A file size limit stops write(2) in the middle of a group, as a full disk does, and without
/// the need for a disk of one's own.
#[test]
fn a_write_that_is_cut_short_loses_nothing_acknowledged() {
    let folder = Folder::new();
    let mut shell = Command::new("sh");
    // In blocks of 512 or 1,024 bytes, as the shell has it.
    shell.args(["-c", "trap '' XFSZ; ulimit -f 33; exec \"$0\" \"$@\""]);
    shell.arg(std::env::current_exe().unwrap());
    let child = child(shell, "dying::child_appends_to_files_that_cannot_grow", &folder);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = |word: &str| -> Vec<String> {
        let all = text.lines().filter_map(|line| line.strip_prefix(word));
        all.map(|id| id.trim().to_owned()).collect()
    };
    assert_eq!(said("done").len(), 1, "{text}");
    let (acknowledged, refused) = (said("acknowledged"), said("refused"));
    assert_eq!(acknowledged.len() + refused.len(), 640);
    assert!(!refused.is_empty() && acknowledged.len() > 300, "{} refused", refused.len());

    let segments = list(&folder.0).unwrap();
    assert!(segments.len() > 3, "{}", segments.len());
    let torn: usize = segments.iter().map(|segment| read(segment).torn.len()).sum();
    assert!(torn > 0, "the limit fell between two records each time");
    assert!(segments.iter().all(|segment| read(segment).ended));

    let tally = tally(&folder.0);
    for id in &acknowledged {
        assert_eq!(tally[id].0, 1, "each acknowledged intent once");
    }
    for id in said("outcome") {
        assert_eq!(tally[&id].1, 1, "each outcome once");
    }
    assert!(refused.iter().all(|id| tally.get(id).is_none_or(|found| *found == (1, 0))));
}
