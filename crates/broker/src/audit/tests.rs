//! With a real journal and both databases.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::borrow::Cow;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use latchstring_egress::Egress;
use latchstring_journal::{
    Actor as JournalActor, ActorKind, CallResult, Intent, Journal, Purpose, Record, Settings, Writer,
};
use latchstring_model::entity::{Fact, KeyScope, Outcome, Role};
use latchstring_model::id::{
    CallId, CredentialId, EnvironmentId, KeyId, ProjectId, ServerId, SessionId, UserId,
};
use latchstring_model::{Code, Entropy, Problem, SecretString, Timestamp};
use latchstring_store::api_keys::{ApiKeyRow, KeyBelongs};
use latchstring_store::audit::{AuditFilter, AuditItem};
use latchstring_store::users::UserFields;
use latchstring_store::{
    OpenOptions, Paging, Store, api_keys, audit as rows, environments, instance, members, projects, users,
};
use latchstring_testkit::postgres::Postgres;
use latchstring_testkit::{FakeClock, SeededEntropy};
use latchstring_vault::{KeyRing, Vault};

use super::body;
use super::events::{self, Event};
use super::list::{Filter, Whose};
use super::ship::Shipper;
use super::verify::{VerifyError, verify_audit};
use crate::actor::{Actor, Person, Via, Who};
use crate::keys::start::prepare_vault;
use crate::road::Peer;
use crate::road::accept::{Ask, CallerKey};
use crate::{Broker, Parts};

pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// A folder and a database that go with the test.
pub(crate) struct Home {
    pub folder: PathBuf,
    pub url: String,
}

static COUNT: AtomicU64 = AtomicU64::new(1);

impl Home {
    fn folder() -> PathBuf {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("latchstring-broker-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    pub fn sqlite() -> Self {
        let folder = Self::folder();
        let url = format!("sqlite:{}/test.db", folder.display());
        Self { folder, url }
    }

    pub fn postgres() -> Self {
        Self { folder: Self::folder(), url: Postgres::shared().fresh_database() }
    }

    pub async fn store(&self) -> Store {
        let store = Store::open(&self.url, OpenOptions::default()).await.unwrap();
        store.migrate().await.unwrap();
        store
    }

    /// Runs SQL behind everybody's back, as somebody with access to the database could.
    async fn tamper(&self, sql: &str) {
        let Some(file) = self.url.strip_prefix("sqlite:") else {
            Postgres::shared().run(&self.url, sql);
            return;
        };
        let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=10); c.executescript(sys.argv[2]); c.close()";
        let done = std::process::Command::new("python3")
            .args(["-c", script, file, &sql.replace(" OVERRIDING SYSTEM VALUE", "")])
            .output()
            .unwrap();
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The same test on both databases.
macro_rules! both {
    ($($(#[$doc:meta])* async fn $name:ident($home:ident) $body:block)*) => {$(
        $(#[$doc])*
        mod $name {
            use super::*;
            async fn run($home: Home) $body
            #[tokio::test]
            async fn sqlite() { run(Home::sqlite()).await; }
            #[tokio::test]
            async fn postgres() { run(Home::postgres()).await; }
        }
    )*};
}
pub(crate) use both;

/// Drops a future after so many polls: what a kill does, seen from the database.
pub(crate) struct Killed<F> {
    future: Pin<Box<F>>,
    polls: u32,
}

impl<F: Future> Killed<F> {
    pub fn after(polls: u32, future: F) -> Self {
        Self { future: Box::pin(future), polls }
    }
}

impl<F: Future> Future for Killed<F> {
    type Output = Option<F::Output>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.future.as_mut().poll(context).map(Some)
    }
}

static ENTROPY: std::sync::LazyLock<SeededEntropy> = std::sync::LazyLock::new(|| SeededEntropy::new(7));

fn entropy() -> &'static dyn Entropy {
    &*ENTROPY
}

fn server() -> ServerId {
    ServerId::new(NOW, entropy())
}

fn journal(home: &Home, server: &ServerId, segment_bytes: u64) -> Arc<Journal> {
    let mut settings = Settings::new(home.folder.join("journal"));
    settings.segment_bytes = segment_bytes;
    Arc::new(Journal::open(settings, server.clone()).unwrap())
}

fn shipper(store: &Store, journal: &Arc<Journal>, server: &ServerId) -> Shipper {
    Shipper::new(store.clone(), Arc::clone(journal), server.clone(), Arc::new(FakeClock::at(NOW)))
}

async fn begin(writer: &Writer, project: Option<&ProjectId>, credential: &CredentialId, by: &str) -> CallId {
    let call = CallId::new(NOW, entropy());
    let intent = Record::Intent(Intent {
        call_id: Cow::Borrowed(&call),
        at: NOW,
        project_id: project.map(Cow::Borrowed),
        credential_id: Cow::Borrowed(credential),
        actor: JournalActor {
            kind: ActorKind::User,
            id: Some(by.into()),
            email: Some("a\0da@example.com".into()),
        },
        environment: "production".into(),
        project_environment: Some("staging".into()),
        purpose: Purpose::Call,
        method: "GET".into(),
        host: "api.example.com".into(),
        path: "/a".into(),
        client: Some("192.0.2.1".into()),
        acts_as: None,
    });
    writer.append(&intent).await.unwrap();
    call
}

fn result(call: &CallId) -> Record<'_> {
    Record::Result(CallResult {
        call_id: Cow::Borrowed(call),
        at: NOW.plus_millis(5),
        outcome: Outcome::Ok,
        status: Some(200),
        duration_ms: 5,
        bytes: Some(3),
        code: None,
    })
}

async fn call(writer: &Writer, credential: &CredentialId) -> CallId {
    let call = begin(writer, None, credential, "usr_x").await;
    writer.append_later(&result(&call)).unwrap();
    call
}

/// All facts of calls in the database, in chain order by writer.
async fn stored(store: &Store) -> Vec<(Fact, String)> {
    let mut reader = store.read().await.unwrap();
    let mut all = Vec::new();
    for row in rows::journals(&mut reader).await.unwrap() {
        for record in rows::chain(&mut reader, &row.writer, 0, 100_000).await.unwrap() {
            let lines = record.body.split('\n').filter(|line| !line.starts_with(r#"{"fact":"follows""#));
            for line in lines {
                match Record::parse(line.as_bytes()) {
                    Ok(Record::Intent(intent)) => all.push((Fact::Intent, intent.call_id.to_string())),
                    Ok(Record::Result(result)) => all.push((Fact::Result, result.call_id.to_string())),
                    Err(_) => assert_eq!(record.fact, Fact::Event, "{line}"),
                }
            }
        }
    }
    all
}

/// Every item of a project's list, in pages of `limit`; and how many pages there were.
async fn listed(
    store: &Store,
    project: &ProjectId,
    filter: &AuditFilter,
    limit: u32,
) -> (Vec<AuditItem>, usize) {
    let mut reader = store.read().await.unwrap();
    let (mut all, mut pages, mut cursor) = (Vec::new(), 0, None);
    loop {
        let page = rows::list_of_project(&mut reader, project, filter, &Paging::new(cursor, Some(limit)))
            .await
            .unwrap();
        assert!(page.items.len() <= limit as usize);
        pages += 1;
        all.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert!(all.windows(2).all(|two| two[0].seq > two[1].seq), "newest first, each once");
    assert!(
        all.iter().all(|item| body::columns(&item.record.body).are_of(&item.record)),
        "as with a row of its own"
    );
    (all, pages)
}

fn calls_of(items: &[AuditItem]) -> Vec<&str> {
    items.iter().rev().map(|item| item.record.call_id.as_ref().unwrap().as_str()).collect()
}

async fn drain(shipper: &mut Shipper) -> usize {
    let mut records = 0;
    loop {
        let round = shipper.round().await.unwrap();
        records += round.records;
        if !round.more {
            return records;
        }
    }
}

fn segments(home: &Home) -> usize {
    latchstring_journal::list(&home.folder.join("journal")).unwrap().len()
}

async fn wait_for_writes(journal: &Journal) {
    // Results go with the next group, or alone within 5 ms.
    let _ = journal;
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
}

both! {
    async fn calls_are_shipped_once_and_their_segments_deleted(home) {
        let (store, id) = (home.store().await, server());
        let journal = journal(&home, &id, 4 << 10);
        let (one, other) = (journal.writer(), journal.writer());
        let credential = CredentialId::new(NOW, entropy());
        let mut made = Vec::new();
        for number in 0..200 {
            made.push(call(if number % 3 == 0 { &one } else { &other }, &credential).await);
        }
        wait_for_writes(&journal).await;
        assert!(segments(&home) > 10);
        let mut shipper = shipper(&store, &journal, &id);
        assert_eq!(drain(&mut shipper).await, 400);
        assert_eq!(drain(&mut shipper).await, 0, "nothing is shipped twice");
        journal.segments().unwrap();
        assert_eq!(journal.unshipped(), 0);
        assert!(segments(&home) <= 2, "only what may still grow is kept");
        let stored = stored(&store).await;
        for call in &made {
            for fact in [Fact::Intent, Fact::Result] {
                assert_eq!(stored.iter().filter(|row| row.0 == fact && row.1 == call.as_str()).count(), 1, "{call} {fact}");
            }
        }
        let report = verify_audit(&store).await.unwrap();
        assert_eq!((report.records, report.heads.len()), (400, 2));
        assert!(report.rows < 40, "{report:?}");
    }

    async fn calls_take_few_rows(home) {
        let (store, id) = (home.store().await, server());
        let journal = journal(&home, &id, 16 << 20);
        let writer = journal.writer();
        let (project, credential) = (ProjectId::new(NOW, entropy()), CredentialId::new(NOW, entropy()));
        for _ in 0..10_000 {
            let call = CallId::new(NOW, entropy());
            let intent = Record::Intent(Intent {
                call_id: Cow::Borrowed(&call),
                at: NOW,
                project_id: Some(Cow::Borrowed(&project)),
                credential_id: Cow::Borrowed(&credential),
                actor: JournalActor { kind: ActorKind::Key, id: Some("key_01k9x0000000000000000000zz".into()), email: None },
                environment: "production".into(),
                project_environment: Some("staging".into()),
                purpose: Purpose::Call,
                method: "GET".into(),
                host: "api.example.com".into(),
                path: "/v1/customers/cus_1234567890".into(),
                client: Some("192.0.2.1".into()),
                acts_as: None,
            });
            writer.append_later(&intent).unwrap();
            writer.append_later(&result(&call)).unwrap();
        }
        wait_for_writes(&journal).await;
        let mut shipper = shipper(&store, &journal, &id);
        let (mut records, mut transactions) = (0, 0);
        while records < 20_000 {
            records += shipper.round().await.unwrap().records;
            transactions += 1;
        }
        assert!(transactions <= 8, "{transactions}");
        let mut reader = store.read().await.unwrap();
        let rows = rows::count(&mut reader).await.unwrap();
        let scopes = rows::count_scopes(&mut reader).await.unwrap();
        // The credential, the project, and the batch before where a call ended in the next.
        assert!((10..=60).contains(&rows) && scopes <= 3 * rows, "{rows} rows, {scopes} entries");
        let round = shipper.round().await.unwrap();
        assert_eq!((round.records, round.more), (0, false));
        let report = verify_audit(&store).await.unwrap();
        assert_eq!((report.records, report.rows), (20_000, rows as u64));
    }

    async fn a_batch_is_found_by_each_of_many_credentials(home) {
        let (store, id) = (home.store().await, server());
        let journal = journal(&home, &id, 16 << 20);
        let writer = journal.writer();
        let project = ProjectId::new(NOW, entropy());
        let mut made = Vec::new();
        for _ in 0..300 {
            let credential = CredentialId::new(NOW, entropy());
            let call = begin(&writer, Some(&project), &credential, "usr_a").await;
            writer.append_later(&result(&call)).unwrap();
            made.push((credential, call));
        }
        wait_for_writes(&journal).await;
        assert_eq!(drain(&mut shipper(&store, &journal, &id)).await, 600);
        let mut reader = store.read().await.unwrap();
        assert_eq!(rows::count(&mut reader).await.unwrap(), 1, "one batch");
        assert_eq!(rows::count_scopes(&mut reader).await.unwrap(), 301, "an entry for each of them, and the project's");
        for (credential, call) in &made {
            let filter = AuditFilter { credential: Some(credential.clone()), ..AuditFilter::default() };
            assert_eq!(calls_of(&listed(&store, &project, &filter, 50).await.0), [call.as_str()]);
        }
        assert_eq!(verify_audit(&store).await.unwrap().records, 600);
    }

    async fn projects_see_their_own_calls_of_a_batch(home) {
        let (store, id) = (home.store().await, server());
        let journal = journal(&home, &id, 16 << 20);
        let writer = journal.writer();
        let (one, other) = (ProjectId::new(NOW, entropy()), ProjectId::new(NOW, entropy()));
        let (crm, erp) = (CredentialId::new(NOW, entropy()), CredentialId::new(NOW, entropy()));
        type Made<'a> = (Option<&'a ProjectId>, &'a CredentialId, &'a str, CallId);
        let mut made: Vec<Made<'_>> = Vec::new();
        let mut shipper = shipper(&store, &journal, &id);
        for number in 0..60 {
            let project = [Some(&one), Some(&other), None][number % 3];
            let credential = if number % 2 == 0 { &crm } else { &erp };
            let by = if number % 5 == 0 { "usr_a" } else { "usr_b" };
            let call = begin(&writer, project, credential, by).await;
            writer.append(&result(&call)).await.unwrap();
            made.push((project, credential, by, call));
            if number % 20 == 19 {
                assert_eq!(drain(&mut shipper).await, 40);
            }
        }
        let mut reader = store.read().await.unwrap();
        assert_eq!(rows::count(&mut reader).await.unwrap(), 3, "a batch each");
        let all = AuditFilter::default();
        let expected = |wanted: &dyn Fn(&Made<'_>) -> bool| {
            made.iter().filter(|call| wanted(call)).map(|call| call.3.to_string()).collect::<Vec<_>>()
        };
        for project in [&one, &other] {
            for limit in [1, 7, 200] {
                let (items, _) = listed(&store, project, &all, limit).await;
                assert_eq!(calls_of(&items), expected(&|call| call.0 == Some(project)));
                assert!(items.iter().all(|item| item.record.project_id.as_ref() == Some(project)));
                assert!(items.iter().all(|item| item.result.as_ref().is_some_and(|end| end.body.contains("\"status\":200"))));
                // The text of an item is its own, not the batch's.
                assert!(items.iter().all(|item| !item.record.body.contains('\n') && item.record.body.contains("a\\u0000da")));
                assert!(items.iter().all(|item| item.record.actor_email.as_deref() == Some("a\u{fffd}da@example.com")));

                let filter = AuditFilter { credential: Some(crm.clone()), ..all.clone() };
                let (items, _) = listed(&store, project, &filter, limit).await;
                assert_eq!(calls_of(&items), expected(&|call| call.0 == Some(project) && call.1 == &crm));
                let filter = AuditFilter { actor: Some("usr_a".into()), action: Some("credential.use".into()), ..all.clone() };
                let (items, _) = listed(&store, project, &filter, limit).await;
                assert_eq!(calls_of(&items), expected(&|call| call.0 == Some(project) && call.2 == "usr_a"));
                let filter = AuditFilter { action: Some("credential.verify".into()), ..all.clone() };
                assert!(listed(&store, project, &filter, limit).await.0.is_empty());
            }
        }
        let nobody = ProjectId::new(NOW, entropy());
        assert!(listed(&store, &nobody, &all, 50).await.0.is_empty());
        let filter = AuditFilter { credential: Some(CredentialId::new(NOW, entropy())), ..all };
        assert!(listed(&store, &one, &filter, 50).await.0.is_empty());
    }

    async fn a_long_call_is_open_and_then_done(home) {
        let (store, id) = (home.store().await, server());
        let journal = journal(&home, &id, 16 << 20);
        let writer = journal.writer();
        let (project, credential) = (ProjectId::new(NOW, entropy()), CredentialId::new(NOW, entropy()));
        let mut shipper = shipper(&store, &journal, &id);
        let short = begin(&writer, Some(&project), &credential, "usr_x").await;
        writer.append(&result(&short)).await.unwrap();
        let mut long = Vec::new();
        for _ in 0..10 {
            long.push(begin(&writer, Some(&project), &credential, "usr_x").await);
        }
        drain(&mut shipper).await;
        let all = AuditFilter::default();
        let (items, _) = listed(&store, &project, &all, 50).await;
        assert_eq!(items.iter().filter(|item| item.result.is_none()).count(), 10);
        assert!(items[10].result.is_some());
        for call in &long[..9] {
            writer.append(&result(call)).await.unwrap();
        }
        let next = begin(&writer, Some(&project), &credential, "usr_x").await;
        drain(&mut shipper).await;
        let (items, _) = listed(&store, &project, &all, 50).await;
        assert_eq!(items.len(), 12);
        let open: Vec<&AuditItem> = items.iter().filter(|item| item.result.is_none()).collect();
        assert_eq!(open.len(), 2);
        assert_eq!((open[0].record.call_id.as_ref(), open[1].record.call_id.as_ref()), (Some(&next), Some(&long[9])));
        verify_audit(&store).await.unwrap();
    }

    /// Little is found in many batches: pages stay small in work, and together give all.
    async fn a_selective_filter_reads_few_batches_at_once(home) {
        let (store, id) = (home.store().await, server());
        let journal = journal(&home, &id, 16 << 20);
        let writer = journal.writer();
        let (project, credential) = (ProjectId::new(NOW, entropy()), CredentialId::new(NOW, entropy()));
        let mut shipper = shipper(&store, &journal, &id);
        let mut wanted = Vec::new();
        for number in 0..35 {
            let by = if [2, 3, 30].contains(&number) { "usr_rare" } else { "usr_x" };
            for _ in 0..2 {
                let call = begin(&writer, Some(&project), &credential, by).await;
                writer.append(&result(&call)).await.unwrap();
                if by == "usr_rare" {
                    wanted.push(call.to_string());
                }
            }
            drain(&mut shipper).await;
            if number == 15 {
                let mut tx = store.begin_upkeep().await.unwrap();
                let event = Event::new("member.set").project(&project);
                events::append(&mut tx, &id, NOW, &[(&Actor::operator(), event)]).await.unwrap();
                tx.commit().await.unwrap();
            }
        }
        let filter = AuditFilter { actor: Some("usr_rare".into()), ..AuditFilter::default() };
        let (items, pages) = listed(&store, &project, &filter, 50).await;
        assert_eq!(calls_of(&items), wanted);
        assert_eq!(pages, 4, "35 batches, ten a page");
        for limit in [1, 3, 50, 200] {
            let (items, _) = listed(&store, &project, &AuditFilter::default(), limit).await;
            assert_eq!(items.len(), 71, "pages of {limit}");
            assert_eq!(items.iter().position(|item| item.record.fact == Fact::Event), Some(38));
        }
    }

    /// Killed at every point where it can wait, then started anew: everything is there once.
    async fn a_kill_at_any_moment_neither_loses_nor_repeats(home) {
        let (store, id) = (home.store().await, server());
        let journal = journal(&home, &id, 2 << 10);
        let writer = journal.writer();
        let credential = CredentialId::new(NOW, entropy());
        let mut made = 0;
        let mut unfinished = 0;
        for polls in 1..60 {
            for _ in 0..5 {
                call(&writer, &credential).await;
                made += 1;
            }
            // A new shipper knows nothing, as after a start.
            let mut shipper = shipper(&store, &journal, &id);
            if Killed::after(polls, shipper.round()).await.is_none() {
                unfinished += 1;
            }
        }
        assert!(unfinished > 5, "the test has to kill it in the middle: {unfinished}");
        wait_for_writes(&journal).await;
        drain(&mut shipper(&store, &journal, &id)).await;
        let mut stored = stored(&store).await;
        assert_eq!(stored.len(), 2 * made);
        stored.sort();
        stored.dedup();
        assert_eq!(stored.len(), 2 * made, "once each");
        verify_audit(&store).await.unwrap();
    }

    async fn what_a_dead_process_left_is_shipped_by_the_next(home) {
        let (store, dead) = (home.store().await, server());
        let credential = CredentialId::new(NOW, entropy());
        {
            let journal = journal(&home, &dead, 16 << 20);
            let writer = journal.writer();
            for _ in 0..20 {
                call(&writer, &credential).await;
            }
            wait_for_writes(&journal).await;
            // Half of it shipped before it died.
            let mut shipper = shipper(&store, &journal, &dead);
            assert_eq!(drain(&mut shipper).await, 40);
            for _ in 0..20 {
                call(&writer, &credential).await;
            }
            wait_for_writes(&journal).await;
        }
        // The flusher held the journal open; give it its turn to end.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        // A torn tail: a record that was cut off in the middle of its write.
        let listed = latchstring_journal::list(&home.folder.join("journal")).unwrap();
        let path = &listed.last().unwrap().path;
        let mut bytes = std::fs::read(path).unwrap();
        bytes.extend_from_slice(b"0000012");
        std::fs::write(path, bytes).unwrap();

        let next = server();
        let journal = journal(&home, &next, 16 << 20);
        let backlog = journal.unshipped();
        assert!(backlog > 0);
        let mut shipper = shipper(&store, &journal, &next);
        assert_eq!(drain(&mut shipper).await, 40);
        if latchstring_journal::list(&home.folder.join("journal")).unwrap().is_empty() {
            assert_eq!(journal.unshipped(), 0);
            let mut reader = store.read().await.unwrap();
            let torn = rows::chain(&mut reader, &events::writer(&next), 0, 10).await.unwrap();
            assert_eq!(torn.len(), 1, "the torn tail is told once");
            assert_eq!((torn[0].action.as_str(), torn[0].outcome), ("journal.torn", Outcome::Failed));
        } else {
            panic!("the dead process's segments are still there: {listed:?}");
        }
        verify_audit(&store).await.unwrap();
    }

    async fn two_shippers_on_one_folder_repeat_nothing(home) {
        let (store, id) = (home.store().await, server());
        let journal = journal(&home, &id, 4 << 10);
        let writer = journal.writer();
        let credential = CredentialId::new(NOW, entropy());
        let (mut one, mut other) = (shipper(&store, &journal, &id), shipper(&store, &journal, &id));
        for _ in 0..10 {
            for _ in 0..20 {
                call(&writer, &credential).await;
            }
            let (a, b) = tokio::join!(one.round(), other.round());
            // One of them may meet the other in the middle, and then says so.
            assert!(a.is_ok() || b.is_ok());
        }
        wait_for_writes(&journal).await;
        drain(&mut one).await;
        drain(&mut other).await;
        assert_eq!(stored(&store).await.len(), 400);
        verify_audit(&store).await.unwrap();
    }

    async fn a_database_that_was_away_gets_everything(home) {
        let (store, id) = (home.store().await, server());
        let journal = journal(&home, &id, 4 << 10);
        let writer = journal.writer();
        let credential = CredentialId::new(NOW, entropy());
        let mut shipper_ = shipper(&store, &journal, &id);
        call(&writer, &credential).await;
        wait_for_writes(&journal).await;
        assert_eq!(drain(&mut shipper_).await, 2);
        home.tamper("ALTER TABLE audit RENAME TO audit_away").await;
        for _ in 0..50 {
            call(&writer, &credential).await;
        }
        wait_for_writes(&journal).await;
        assert!(shipper_.round().await.is_err());
        assert!(shipper_.round().await.is_err());
        assert!(journal.unshipped() > 0);
        home.tamper("ALTER TABLE audit_away RENAME TO audit").await;
        assert_eq!(drain(&mut shipper_).await, 100);
        verify_audit(&store).await.unwrap();
    }

    async fn events_go_with_their_change_and_form_a_chain(home) {
        let (store, id) = (home.store().await, server());
        let actor = Actor::operator();
        for round in 0..3 {
            let mut tx = store.begin_upkeep().await.unwrap();
            let made = vec![
                (&actor, Event::new("member.set").target("a\0").detail("b", 1).detail("a", "x")),
                (&actor, Event::new("member.delete").target("y".repeat(5_000))),
            ];
            events::append(&mut tx, &id, NOW, &made).await.unwrap();
            if round == 1 {
                tx.rollback().await.unwrap();
            } else {
                tx.commit().await.unwrap();
            }
        }
        let mut reader = store.read().await.unwrap();
        let chain = rows::chain(&mut reader, &events::writer(&id), 0, 10).await.unwrap();
        assert_eq!(chain.len(), 4, "a change that was taken back leaves no event");
        assert_eq!(
            chain[0].body,
            format!(r#"{{"fact":"event","at":{},"actor":{{"type":"server"}},"action":"member.set","target":"a\u0000","outcome":"ok","detail":{{"a":"x","b":1}}}}"#, NOW.millis())
        );
        assert!(chain[1].target.as_ref().unwrap().len() < 1_100);
        assert_eq!(verify_audit(&store).await.unwrap().records, 4);
    }

    async fn verification_names_what_was_done_to_the_trail(home) {
        let (store, id) = (home.store().await, server());
        let actor = Actor::operator();
        let mut tx = store.begin_upkeep().await.unwrap();
        let made: Vec<_> = (0..6).map(|n| (&actor, Event::new("member.set").target(format!("t{n}")))).collect();
        events::append(&mut tx, &id, NOW, &made).await.unwrap();
        tx.commit().await.unwrap();
        home.tamper("CREATE TABLE good AS SELECT * FROM audit; CREATE TABLE good_heads AS SELECT * FROM journals").await;
        type Found = fn(&VerifyError) -> bool;
        let broken: Found = |error| matches!(error, VerifyError::Chain { .. });
        let attacks: [(&str, &str, Found); 10] = [
            ("edit the text", "UPDATE audit SET body = REPLACE(body, 't3', 't9') WHERE number = 4", broken),
            ("edit a column", "UPDATE audit SET target = 't9' WHERE number = 4", |e| matches!(e, VerifyError::Columns { number: 4, .. })),
            ("edit the outcome", "UPDATE audit SET outcome = 'refused' WHERE number = 2", |e| matches!(e, VerifyError::Columns { number: 2, .. })),
            ("delete", "DELETE FROM audit WHERE number = 3", broken),
            ("swap", "UPDATE audit SET number = 100 WHERE number = 2; UPDATE audit SET number = 2 WHERE number = 3; UPDATE audit SET number = 3 WHERE number = 100", broken),
            ("put in at the end", "INSERT INTO audit (writer, number, at, fact, actor_type, action, outcome, body, previous, hash)
                SELECT writer, 7, at, fact, actor_type, action, outcome, body, hash, hash FROM audit WHERE number = 6", |e| matches!(e, VerifyError::Beyond { .. })),
            ("put in elsewhere", "INSERT INTO audit (writer, number, at, fact, actor_type, action, outcome, body, previous, hash)
                SELECT 'nobody', 1, at, fact, actor_type, action, outcome, body, previous, hash FROM audit WHERE number = 1", |e| matches!(e, VerifyError::Strangers { expected: 6, found: 7 })),
            ("cut the end", "DELETE FROM audit WHERE number > 4", |e| matches!(e, VerifyError::Cut { expected: 6, found: 4, .. })),
            ("put the head back", "UPDATE journals SET number = 4, head = (SELECT hash FROM audit WHERE number = 4)", |e| matches!(e, VerifyError::Beyond { head: 4, .. })),
            ("delete the head", "DELETE FROM journals", |e| matches!(e, VerifyError::Strangers { expected: 0, found: 6 })),
        ];
        for (what, sql, expected) in attacks {
            home.tamper(sql).await;
            let error = verify_audit(&store).await.expect_err(what);
            assert!(expected(&error) && error.is_broken(), "{what}: {error}");
            home.tamper("DELETE FROM audit; INSERT INTO audit OVERRIDING SYSTEM VALUE SELECT * FROM good; DELETE FROM journals; INSERT INTO journals SELECT * FROM good_heads").await;
            assert_eq!(verify_audit(&store).await.unwrap().records, 6, "{what}: put right again");
        }
        // Known limit: a chain that is cut together with its head looks whole. Heads kept elsewhere show it.
        let before = verify_audit(&store).await.unwrap();
        home.tamper("DELETE FROM audit WHERE number > 4; UPDATE journals SET number = 4, head = (SELECT hash FROM audit WHERE number = 4)").await;
        let after = verify_audit(&store).await.unwrap();
        assert!(after.heads[0].number < before.heads[0].number);
    }

    async fn verification_looks_into_batches(home) {
        let (store, id) = (home.store().await, server());
        let journal = journal(&home, &id, 16 << 20);
        let writer = journal.writer();
        let credential = CredentialId::new(NOW, entropy());
        let mut shipper = shipper(&store, &journal, &id);
        let projects = [ProjectId::new(NOW, entropy()), ProjectId::new(NOW, entropy())];
        for _ in 0..4 {
            for project in &projects {
                let call = begin(&writer, Some(project), &credential, "usr_x").await;
                writer.append(&result(&call)).await.unwrap();
            }
            drain(&mut shipper).await;
        }
        let whole = verify_audit(&store).await.unwrap();
        assert_eq!((whole.records, whole.rows), (16, 4));
        home.tamper("CREATE TABLE good AS SELECT * FROM audit; CREATE TABLE good_scopes AS SELECT * FROM audit_batch_scopes").await;
        type Found = fn(&VerifyError) -> bool;
        let broken: Found = |error| matches!(error, VerifyError::Chain { .. });
        let columns: Found = |error| matches!(error, VerifyError::Columns { number: 2, .. });
        let unlisted: Found = |error| matches!(error, VerifyError::Unlisted { number: 2, .. });
        let entry = "SELECT MIN(seq) + 1 FROM good";
        let attacks: [(&str, String, Found); 11] = [
            ("edit a call", "UPDATE audit SET body = REPLACE(body, '/a', '/b') WHERE number = 3".into(), broken),
            ("edit a result", "UPDATE audit SET body = REPLACE(body, '200', '404') WHERE number = 3".into(), broken),
            ("cut a batch", "UPDATE audit SET body = SUBSTR(body, 1, 700) WHERE number = 2".into(), broken),
            ("swap bodies", "UPDATE audit SET body = (SELECT body FROM good WHERE number = 3) WHERE number = 2".into(), broken),
            ("delete", "DELETE FROM audit WHERE number = 2".into(), broken),
            ("hide as an event", "UPDATE audit SET fact = 'event', action = 'record.unknown' WHERE number = 2".into(), columns),
            ("edit the time", "UPDATE audit SET at = 0 WHERE number = 2".into(), columns),
            ("hide from a project", format!("DELETE FROM audit_batch_scopes WHERE seq = ({entry}) AND scope_id = '{}'", projects[0]), unlisted),
            ("hide from an owner", format!("UPDATE audit_batch_scopes SET scope_id = 'crd_x' WHERE seq = ({entry}) AND scope_id = '{credential}'"), unlisted),
            ("hide from all", format!("DELETE FROM audit_batch_scopes WHERE seq = ({entry})"), unlisted),
            ("list elsewhere", format!("INSERT INTO audit_batch_scopes (scope_id, seq) SELECT 'prj_x', seq FROM audit WHERE seq = ({entry})"), |e| matches!(e, VerifyError::StrayEntries { expected: 12, found: 13 })),
        ];
        for (what, sql, expected) in attacks {
            home.tamper(&sql).await;
            let error = verify_audit(&store).await.expect_err(what);
            assert!(expected(&error) && error.is_broken(), "{what}: {error}");
            home.tamper("DELETE FROM audit; INSERT INTO audit OVERRIDING SYSTEM VALUE SELECT * FROM good; DELETE FROM audit_batch_scopes; INSERT INTO audit_batch_scopes SELECT * FROM good_scopes").await;
            assert_eq!(verify_audit(&store).await.unwrap(), whole, "{what}: put right again");
        }
    }

    async fn verification_runs_beside_a_live_server(home) {
        let (store, id) = (home.store().await, server());
        let journal = journal(&home, &id, 8 << 10);
        let writer = journal.writer();
        let credential = CredentialId::new(NOW, entropy());
        let mut shipper = shipper(&store, &journal, &id);
        let work = async {
            for _ in 0..30 {
                for _ in 0..10 {
                    call(&writer, &credential).await;
                }
                shipper.round().await.unwrap();
            }
        };
        let look = async {
            for _ in 0..15 {
                verify_audit(&store).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(work, look);
    }
}

mod attacks;
mod due;
mod guards;
mod lines;
mod retention;
mod world;
