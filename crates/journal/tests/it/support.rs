use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use latchstring_journal::{
    Actor, ActorKind, CallResult, Intent, Purpose, Reader, Record, Segment, Settings, Step, list,
};
use latchstring_model::entity::Outcome;
use latchstring_model::id::{CallId, CredentialId, ServerId};
use latchstring_model::{Entropy, Timestamp};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Distinct within this process; the process id tells processes apart.
struct Counted;

impl Entropy for Counted {
    fn fill(&self, bytes: &mut [u8]) {
        let number = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let process = std::process::id().to_be_bytes();
        let all: Vec<u8> = number.iter().chain(&process).copied().collect();
        for (to, from) in bytes.iter_mut().rev().zip(all.iter().rev()) {
            *to = *from;
        }
    }
}

pub fn server() -> ServerId {
    ServerId::new(Timestamp(1), &Counted)
}

pub fn call() -> CallId {
    CallId::new(Timestamp(1), &Counted)
}

pub fn intent(call: &CallId) -> Record<'static> {
    intent_to(call, "/v1/things")
}

pub fn intent_to(call: &CallId, path: &str) -> Record<'static> {
    Record::Intent(Intent {
        call_id: Cow::Owned(call.clone()),
        at: Timestamp(1_700_000_000_000),
        project_id: None,
        credential_id: Cow::Owned(CredentialId::new(Timestamp(1), &Counted)),
        actor: Actor {
            kind: ActorKind::User,
            id: Some("usr_1".into()),
            email: Some("ada@example.com".into()),
        },
        environment: "production".into(),
        project_environment: Some("staging".into()),
        purpose: Purpose::Call,
        method: "GET".into(),
        host: "api.example.com".into(),
        path: path.to_owned().into(),
        client: Some("192.0.2.7".into()),
        acts_as: None,
    })
}

pub fn result(call: &CallId) -> Record<'static> {
    Record::Result(CallResult {
        call_id: Cow::Owned(call.clone()),
        at: Timestamp(1_700_000_000_012),
        outcome: Outcome::Ok,
        status: Some(200),
        duration_ms: 12,
        bytes: Some(512),
        code: None,
    })
}

/// A folder of its own, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        let name = format!("journal-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn settings(&self) -> Settings {
        Settings::new(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One tokio runtime as a data core has it.
pub fn on_a_core<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// All that a reader finds in one segment, in order.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    pub bodies: Vec<Vec<u8>>,
    pub torn: Vec<(u64, u64)>,
    pub ended: bool,
}

pub fn read(segment: &Segment) -> Found {
    read_from(segment, 0)
}

pub fn read_from(segment: &Segment, from: u64) -> Found {
    let mut reader = Reader::open(segment, from).unwrap();
    let mut found = Found::default();
    loop {
        match reader.step().unwrap() {
            Step::Record { body, end } => {
                found.bodies.push(body.to_vec());
                assert!(end > from);
            }
            Step::Torn { from, end } => found.torn.push((from, end)),
            Step::NotYet => return found,
            Step::End => {
                found.ended = true;
                return found;
            }
        }
    }
}

/// How often each call has an intent and a result in the directory.
pub fn tally(directory: &Path) -> HashMap<String, (usize, usize)> {
    let mut tally: HashMap<String, (usize, usize)> = HashMap::new();
    for segment in list(directory).unwrap() {
        for body in read(&segment).bodies {
            let record = Record::parse(&body).unwrap();
            let entry = tally.entry(record.call_id().to_string()).or_default();
            match record {
                Record::Intent(_) => entry.0 += 1,
                Record::Result(_) => entry.1 += 1,
            }
        }
    }
    tally
}
