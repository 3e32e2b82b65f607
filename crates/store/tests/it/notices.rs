//! The outbox and its queue: told once, sent by one, a mail never twice.

use latchstring_model::id::{DeliveryId, NoticeId};
use latchstring_store::deliveries::{self, Channel, DeliveryRow, Next, State, Try};
use latchstring_store::notices::{self, NoticeRow};
use latchstring_store::{Store, scopes};
use serde_json::json;

use crate::support::*;

const LEASE: i64 = 60_000;

fn notice(sameness: &str) -> NoticeRow {
    NoticeRow {
        id: NoticeId::new(NOW, &Counter),
        event: "credential.failing".into(),
        sameness: sameness.into(),
        credential_id: Some(credential_id()),
        environment: Some("production".into()),
        project_id: None,
        data: json!({"environment": "production"}),
        at: NOW,
        recipients: None,
    }
}

/// A notice with a delivery to one mailbox.
async fn queued(store: &Store, sameness: &str) -> DeliveryRow {
    let row = notice(sameness);
    let mut tx = store.begin_upkeep().await.unwrap();
    assert!(notices::add(&mut tx, &row).await.unwrap());
    assert!(notices::address(&mut tx, &row.id, NOW).await.unwrap());
    for _ in 0..2 {
        let id = DeliveryId::new(NOW, &Counter);
        deliveries::add(&mut tx, &id, &row.id, Channel::Mail, "usr_a", NOW).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut due = due(store).await;
    assert_eq!(due.len(), 1, "one mailbox is told an event once");
    due.remove(0)
}

async fn due(store: &Store) -> Vec<DeliveryRow> {
    let mut reader = store.read().await.unwrap();
    let db_now = scopes::db_now(&mut reader).await.unwrap();
    let due = deliveries::due(&mut reader, Channel::Mail, NOW, db_now, 10, 10).await.unwrap();
    due.into_iter().map(|due| due.row).collect()
}

async fn claim(store: &Store, row: &DeliveryRow, lease_ms: i64) -> bool {
    let mut tx = store.begin_upkeep().await.unwrap();
    let claimed = deliveries::claim(&mut tx, row, lease_ms).await.unwrap();
    tx.commit().await.unwrap();
    claimed
}

async fn hand_over(store: &Store, row: &DeliveryRow, attempt: i64, lease_ms: i64) -> bool {
    let mut tx = store.begin_upkeep().await.unwrap();
    let ours = deliveries::hand_over(&mut tx, &row.id, attempt, lease_ms).await.unwrap();
    tx.commit().await.unwrap();
    ours
}

async fn after(store: &Store, row: &DeliveryRow, attempt: i64, next: Next) -> bool {
    let how = Try { at: NOW, status: Some(451), error: Some("later".into()), duration_ms: 3 };
    let mut tx = store.begin_upkeep().await.unwrap();
    let done = deliveries::after(&mut tx, row, attempt, how, next).await.unwrap();
    tx.commit().await.unwrap();
    done
}

async fn lost(store: &Store) -> u64 {
    let mut tx = store.begin_upkeep().await.unwrap();
    let lost = deliveries::lost(&mut tx, NOW).await.unwrap();
    tx.commit().await.unwrap();
    lost
}

both! {
    async fn the_same_event_is_written_once(store, home) {
        let first = notice("a/1");
        let mut tx = store.begin_upkeep().await.unwrap();
        assert!(notices::add(&mut tx, &first).await.unwrap());
        assert!(!notices::add(&mut tx, &NoticeRow { id: NoticeId::new(NOW, &Counter), ..first.clone() }).await.unwrap());
        let credential = first.credential_id.clone().unwrap();
        let mut told = async |own: &str, since| {
            notices::told_since(&mut tx, &credential, "production", "credential.failing", since, own).await.unwrap()
        };
        assert_eq!(told("b/", NOW.plus_millis(-1)).await, 1);
        assert_eq!(told("a/", NOW.plus_millis(-1)).await, 0, "its own do not count");
        assert_eq!(told("b/", NOW).await, 0, "later ones only");
        tx.commit().await.unwrap();
        let mut reader = store.read().await.unwrap();
        assert_eq!(notices::unaddressed(&mut reader, 10).await.unwrap(), std::slice::from_ref(&first));
        drop(reader);
        let mut tx = store.begin_upkeep().await.unwrap();
        assert!(notices::address(&mut tx, &first.id, NOW).await.unwrap());
        assert!(!notices::address(&mut tx, &first.id, NOW).await.unwrap(), "by one server");
        tx.commit().await.unwrap();
    }

    async fn one_server_takes_it_and_a_dead_one_loses_it(store, home) {
        let row = queued(&store, "a").await;
        assert!(claim(&store, &row, LEASE).await);
        assert!(!claim(&store, &row, LEASE).await, "it was seen before the other took it");
        assert!(due(&store).await.is_empty());
        // Not before its lease has run out.
        let other = queued_with_short_lease(&store).await;
        let again = due(&store).await;
        assert_eq!(again.iter().map(|row| &row.id).collect::<Vec<_>>(), [&other.id]);
        assert!(claim(&store, &again[0], LEASE).await);
        assert!(!after(&store, &other, 1, Next::End(State::Done)).await, "the first try is nobody's any more");
        assert!(after(&store, &again[0], 2, Next::Again(NOW.plus_secs(60))).await);
        let mut reader = store.read().await.unwrap();
        let db_now = scopes::db_now(&mut reader).await.unwrap();
        let later = deliveries::due(&mut reader, Channel::Mail, NOW.plus_secs(60), db_now, 10, 10).await.unwrap();
        assert_eq!((later.len(), later[0].row.tries.len(), later[0].row.attempts), (1, 1, 2));
    }

    async fn a_mail_that_is_handed_over_is_never_taken_again(store, home) {
        let row = queued(&store, "a").await;
        assert!(claim(&store, &row, LEASE).await);
        assert!(hand_over(&store, &row, 1, 1).await);
        assert!(!hand_over(&store, &row, 1, 1).await);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert!(due(&store).await.is_empty(), "even when its lease has run out");
        assert_eq!(lost(&store).await, 1);
        assert_eq!(lost(&store).await, 0);
        assert!(due(&store).await.is_empty() && !after(&store, &row, 1, Next::Again(NOW)).await);
        // Whoever lost the lease must not hand over.
        let late = queued_with_short_lease(&store).await;
        assert!(!hand_over(&store, &late, 1, LEASE).await);
    }
}

/// Taken by a server that died.
async fn queued_with_short_lease(store: &Store) -> DeliveryRow {
    let row = queued(store, "short").await;
    assert!(claim(store, &row, 1).await);
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    row
}
