//! Scopes, epochs, and what many writers at once do to each other.

use std::sync::{Arc, Mutex};

use latchstring_model::Timestamp;
use latchstring_store::tx::WRITE_LIMIT;
use latchstring_store::{StoreError, scopes, users};

both! {
    async fn concurrent_writers_lose_nothing(store, home) {
        let other = home.open().await;
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        let id = user(&mut tx, "counted@example.com").await;
        tx.commit().await.unwrap();
        let mut tasks = Vec::new();
        for task in 0..16 {
            let store = if task % 2 == 0 { store.clone() } else { other.clone() };
            let id = id.clone();
            tasks.push(tokio::spawn(async move {
                for _ in 0..10 {
                    // Read, think, write: only the lock of the scope makes this right.
                    let mut tx = store.begin_write(&[id.as_str()]).await.unwrap();
                    let row = users::by_id(&mut tx, &id).await.unwrap().unwrap();
                    let mut fields = row.fields;
                    let count: u32 = fields.first_name.parse().unwrap_or(0);
                    fields.first_name = (count + 1).to_string();
                    tokio::task::yield_now().await;
                    users::update(&mut tx, &id, row.version, &fields, NOW).await.unwrap();
                    tx.commit().await.unwrap();
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let mut reader = store.read().await.unwrap();
        assert_eq!(users::by_id(&mut reader, &id).await.unwrap().unwrap().fields.first_name, "160");
        assert_eq!(scopes::epoch(&mut reader, id.as_str()).await.unwrap(), 160);
        other.close().await;
    }

    async fn scopes_in_any_order_do_not_deadlock(store, home) {
        let mut tasks = Vec::new();
        for task in 0..8 {
            let store = store.clone();
            tasks.push(tokio::spawn(async move {
                for _ in 0..10 {
                    let names = if task % 2 == 0 { ["a", "b", "c"] } else { ["c", "a", "b"] };
                    store.begin_write(&names).await.unwrap().commit().await.unwrap();
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let mut reader = store.read().await.unwrap();
        for scope in ["a", "b", "c"] {
            assert_eq!(scopes::epoch(&mut reader, scope).await.unwrap(), 80);
        }
    }

    async fn a_change_is_told_here_and_seen_there(store, home) {
        let other = home.open().await;
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        store.on_change(move |changes| heard.lock().unwrap().extend_from_slice(changes));
        let before = scopes::db_now(&mut other.read().await.unwrap()).await.unwrap();

        let tx = store.begin_write(&["usr_x", "prj_y", "usr_x"]).await.unwrap();
        assert!(tx.db_now() >= before);
        let changes = tx.commit().await.unwrap();
        assert_eq!(changes.iter().map(|c| (c.id.as_str(), c.epoch)).collect::<Vec<_>>(), [("prj_y", 1), ("usr_x", 1)]);
        assert_eq!(*told.lock().unwrap(), changes);

        let mut reader = other.read().await.unwrap();
        assert_eq!(scopes::changed(&mut reader, before).await.unwrap().len(), 2);
        assert!(scopes::changed(&mut reader, Timestamp(changes[1].changed_at.0 + 1)).await.unwrap().is_empty());
        drop(reader);
        other.close().await;
    }

    async fn what_is_not_committed_never_was(store, home) {
        let told = Arc::new(Mutex::new(0));
        let heard = told.clone();
        store.on_change(move |_| *heard.lock().unwrap() += 1);
        let mut tx = store.begin_write(&["usr_x"]).await.unwrap();
        let dropped = user(&mut tx, "dropped@example.com").await;
        drop(tx);
        let mut tx = store.begin_write(&["usr_x"]).await.unwrap();
        let rolled_back = user(&mut tx, "dropped@example.com").await;
        tx.rollback().await.unwrap();
        let mut reader = store.read().await.unwrap();
        assert!(users::by_id(&mut reader, &dropped).await.unwrap().is_none());
        assert!(users::by_id(&mut reader, &rolled_back).await.unwrap().is_none());
        assert_eq!(scopes::epoch(&mut reader, "usr_x").await.unwrap(), 0);
        assert_eq!(*told.lock().unwrap(), 0);
    }

    async fn nobody_waits_for_ever_for_a_lock(store, home) {
        let other = home.open().await;
        let holder = store.begin_write(&["held"]).await.unwrap();
        let waited = other.begin_write(&["held"]).await.err().unwrap();
        assert!(matches!(waited, StoreError::Busy(_)) && waited.is_transient(), "{waited}");
        // By now the holder has lasted longer than a write may: the poll's window would not cover it.
        tokio::time::sleep(WRITE_LIMIT.saturating_sub(std::time::Duration::from_millis(4_800))).await;
        let late = holder.commit().await.unwrap_err();
        assert!(matches!(late, StoreError::Busy(_)), "{late}");
        let tx = other.begin_write(&["held"]).await.unwrap();
        assert_eq!(tx.changes()[0].epoch, 1, "the late one left nothing behind");
        tx.commit().await.unwrap();
        other.close().await;
    }

    async fn a_read_transaction_sees_one_moment(store, home) {
        let mut read = store.begin_read().await.unwrap();
        assert_eq!(users::count(&mut read).await.unwrap(), 0);
        let mut tx = store.begin_write(&["instance"]).await.unwrap();
        user(&mut tx, "later@example.com").await;
        tx.commit().await.unwrap();
        assert_eq!(users::count(&mut read).await.unwrap(), 0);
        drop(read);
        assert_eq!(users::count(&mut store.read().await.unwrap()).await.unwrap(), 1);
    }
}

use crate::support::both;
