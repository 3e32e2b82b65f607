//! The refresh protocol's steps as SQL, also when many take them at once.

use latchstring_model::Timestamp;
use latchstring_model::id::UserId;
use latchstring_store::credentials::{self, CredentialRow};
use latchstring_store::tokens::{self, Intent, Life, NewToken, Take, TokenKey, TokenState};
use latchstring_store::{Store, scopes, values};

use crate::support::*;

const LEASE: i64 = 60_000;

async fn token(store: &Store, id: &str) -> CredentialRow {
    let mut tx = store.begin_write(&["instance"]).await.unwrap();
    let owner: UserId = user(&mut tx, &format!("{id}@example.com")).await;
    let row = credential(&mut tx, &owner, "c").await;
    values::put(&mut tx, &row, &values_row("production", 1), None, &[]).await.unwrap();
    let key = TokenKey {
        id: id.into(),
        credential_id: row.id.clone(),
        environment: "production".into(),
        values_version: 1,
        name: "main".into(),
    };
    tokens::ensure(&mut tx, &key).await.unwrap();
    tokens::ensure(&mut tx, &key).await.unwrap();
    tx.commit().await.unwrap();
    row
}

fn take(owner: &str, seen_fence: i64, version: i64) -> Take<'_> {
    Take { owner, seen_fence, version, may_repeat: false, patience_ms: 0, forced: false, lease_ms: LEASE }
}

fn new_token(now: Timestamp) -> NewToken {
    let life = Life {
        obtained_at: now,
        fresh_until: Some(now.plus_secs(540)),
        expires_at: Some(now.plus_secs(600)),
    };
    NewToken { sealed: bytes(), data_key: data_key_id(), life, grant_expires_at: None }
}

async fn row(store: &Store, id: &str) -> tokens::TokenRow {
    tokens::by_id(&mut store.read().await.unwrap(), id).await.unwrap().unwrap().0
}

/// One step in a transaction of its own.
macro_rules! step {
    ($store:expr, $function:ident, $($argument:expr),*) => {{
        let mut tx = $store.begin_upkeep().await.unwrap();
        let done = tokens::$function(&mut tx, $($argument),*).await.unwrap();
        tx.commit().await.unwrap();
        done
    }};
}

both! {
    async fn one_refresh_from_end_to_end(store, home) {
        token(&store, "t").await;
        assert_eq!(row(&store, "t").await.state, TokenState::Empty);
        assert!(!step!(store, prepare, "t", 1, 0), "without a lease");
        assert!(step!(store, take, "t", &Take { forced: true, ..take("srv_a", 0, 0) }));
        assert!(!step!(store, take, "t", &take("srv_b", 0, 0)), "an old fence");
        assert!(!step!(store, take, "t", &take("srv_b", 1, 0)), "it is leased");
        assert!(!step!(store, mark_sent, "t", 1, 0, LEASE), "not prepared");
        assert!(step!(store, prepare, "t", 1, 0));
        assert_eq!(row(&store, "t").await.intent, Intent::Prepared { fence: 1 });
        assert!(!step!(store, mark_sent, "t", 2, 0, LEASE), "another's fence");
        assert!(step!(store, mark_sent, "t", 1, 0, LEASE));
        assert!(step!(store, renew, "t", 1, LEASE));
        let now = scopes::db_now(&mut store.read().await.unwrap()).await.unwrap();
        let held = row(&store, "t").await;
        let deadline = held.lease.as_ref().unwrap().deadline;
        assert_eq!(held.lease.as_ref().unwrap().owner, "srv_a");
        assert!(deadline > now && deadline <= now.plus_millis(LEASE), "by the database's clock");
        assert!(matches!(held.intent, Intent::Sent { fence: 1, .. }));
        assert!(held.forced_at.is_some());

        let fresh = new_token(NOW);
        assert!(!step!(store, save, "t", 1, &fresh), "another version");
        assert!(step!(store, save, "t", 0, &fresh));
        assert!(!step!(store, save, "t", 0, &fresh), "the version has moved");
        let saved = row(&store, "t").await;
        assert_eq!((saved.version, saved.state, saved.life), (1, TokenState::Live, Some(fresh.life)));
        assert_eq!(saved.sealed, Some((fresh.sealed, fresh.data_key)));
        assert_eq!((saved.lease, saved.intent, saved.failures), (None, Intent::None, 0));
        assert!(!step!(store, fail, "t", 1, 0, 1, "late"), "a late failure changes nothing");
        assert!(!step!(store, dead, "t", 1, 0, "late"));
    }

    async fn failures_wait_and_dead_grants_stay_dead_until_a_save(store, home) {
        let credential = token(&store, "t").await;
        assert!(step!(store, take, "t", &take("srv_a", 0, 0)));
        assert!(step!(store, prepare, "t", 1, 0));
        assert!(step!(store, fail, "t", 1, 0, 5_000, "502"));
        let failed = row(&store, "t").await;
        assert_eq!((failed.failures, failed.intent, failed.lease), (1, Intent::None, None));
        assert_eq!(failed.last_error.as_deref(), Some("502"));
        assert!(failed.retry_at.is_some());
        assert!(step!(store, take, "t", &take("srv_a", 1, 0)), "whether to wait is decided above");
        assert!(step!(store, prepare, "t", 2, 0));
        assert!(!step!(store, release, "t", 1));
        assert!(step!(store, release, "t", 2));
        assert_eq!(row(&store, "t").await.intent, Intent::None);
        assert!(step!(store, take, "t", &take("srv_a", 2, 0)));
        assert!(step!(store, dead, "t", 3, 0, "invalid_grant"));
        assert_eq!(row(&store, "t").await.state, TokenState::NeedsReconnect);
        assert!(step!(store, save, "t", 0, &new_token(NOW)));
        let alive = row(&store, "t").await;
        assert_eq!((alive.state, alive.failures, alive.last_error), (TokenState::Live, 0, None));

        let mut tx = store.begin_write(&[credential.id.as_str()]).await.unwrap();
        let locked = tokens::locked(&mut tx, "t").await.unwrap().unwrap();
        assert!(tokens::save(&mut tx, "t", locked.version, &new_token(NOW)).await.unwrap());
        assert_eq!(tokens::list_of_credential(&mut tx, &credential).await.unwrap()[0].version, 2);
        assert_eq!(tokens::delete_superseded(&mut tx, &credential, "production", 1).await.unwrap(), 0);
        assert_eq!(tokens::delete_superseded(&mut tx, &credential, "production", 2).await.unwrap(), 1);
        assert!(!tokens::delete(&mut tx, &credential, "t").await.unwrap());
        tx.commit().await.unwrap();
    }

    async fn a_lost_sender_is_an_orphan_only_after_its_time(store, home) {
        token(&store, "t").await;
        assert!(step!(store, take, "t", &take("srv_a", 0, 0)));
        assert!(step!(store, prepare, "t", 1, 0));
        assert!(step!(store, mark_sent, "t", 1, 0, LEASE));
        assert!(!step!(store, orphan, "t", 1, 0, "lost"), "its time is not up");
        // The same with a lease that is over at once, as after a pause of the holder.
        assert!(step!(store, release, "t", 1));
        assert!(step!(store, take, "t", &take("srv_a", 1, 0)));
        assert!(step!(store, prepare, "t", 2, 0));
        assert!(step!(store, mark_sent, "t", 2, 0, 0));
        assert!(!step!(store, take, "t", &take("srv_b", 2, 0)), "sent must not be repeated");
        assert!(!step!(store, renew, "t", 2, LEASE), "a lease that has run out stays so");
        assert!(!step!(store, prepare, "t", 2, 0));
        assert!(!step!(store, orphan, "t", 1, 0, "lost"), "another fence");
        assert!(step!(store, orphan, "t", 2, 0, "lost"));
        let orphaned = row(&store, "t").await;
        assert_eq!((orphaned.state, orphaned.fence, orphaned.intent), (TokenState::NeedsReconnect, 3, Intent::None));
        assert!(!step!(store, fail, "t", 2, 0, 1, "x"), "the old sender has no say");
        assert!(step!(store, save, "t", 0, &new_token(NOW)), "but a late answer saves");
        assert_eq!(row(&store, "t").await.state, TokenState::Live);
    }

    async fn a_repeatable_request_may_be_taken_over(store, home) {
        token(&store, "t").await;
        assert!(step!(store, take, "t", &Take { lease_ms: 0, ..take("srv_a", 0, 0) }));
        assert!(step!(store, take, "t", &take("srv_b", 1, 0)), "the lease was over at once");
        assert!(step!(store, prepare, "t", 2, 0));
        assert!(step!(store, mark_sent, "t", 2, 0, 0));
        assert!(!step!(store, take, "t", &take("srv_c", 2, 0)));
        assert!(step!(store, take, "t", &Take { may_repeat: true, ..take("srv_c", 2, 0) }));
    }

    async fn of_many_one_takes_and_one_saves(store, home) {
        token(&store, "t").await;
        let other = home.open().await;
        let mut tasks = Vec::new();
        for number in 0..24 {
            let store = if number % 2 == 0 { store.clone() } else { other.clone() };
            tasks.push(tokio::spawn(async move {
                let owner = format!("srv_{number}");
                let taken = step!(store, take, "t", &take(&owner, 0, 0));
                let saved = step!(store, save, "t", 0, &new_token(NOW));
                (taken, saved)
            }));
        }
        let (mut taken, mut saved) = (0, 0);
        for task in tasks {
            let (took, wrote) = task.await.unwrap();
            taken += i32::from(took);
            saved += i32::from(wrote);
        }
        // The first save moves the version, so no take may come after it.
        assert!(taken <= 1, "{taken} leases of one fence");
        assert_eq!(saved, 1);
        assert_eq!(row(&store, "t").await.version, 1);
        other.close().await;
    }

    async fn leases_are_handed_on_one_by_one(store, home) {
        token(&store, "t").await;
        let other = home.open().await;
        let mut tasks = Vec::new();
        for number in 0..8 {
            let store = if number % 2 == 0 { store.clone() } else { other.clone() };
            tasks.push(tokio::spawn(async move {
                let mut won = 0;
                while won < 5 {
                    let seen = row(&store, "t").await;
                    if step!(store, take, "t", &take(&format!("srv_{number}"), seen.fence, 0)) {
                        won += 1;
                        assert!(step!(store, prepare, "t", seen.fence + 1, 0), "nobody else has this fence");
                        assert!(step!(store, release, "t", seen.fence + 1));
                    } else {
                        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                    }
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(row(&store, "t").await.fence, 40);
        other.close().await;
    }

    async fn what_is_due_is_found(store, home) {
        let mut credential = token(&store, "t").await;
        token(&store, "empty").await;
        assert!(step!(store, save, "t", 0, &new_token(NOW)));
        let mut tx = store.begin_write(&[credential.id.as_str()]).await.unwrap();
        let now = tx.db_now();
        assert!(tokens::due(&mut tx, (Timestamp(0), ""), NOW.plus_secs(539), now, 10).await.unwrap().is_empty());
        assert_eq!(tokens::due(&mut tx, (Timestamp(0), ""), NOW.plus_secs(540), now, 10).await.unwrap().len(), 1);
        credential.deletes_at = Some(NOW);
        credentials::update(&mut tx, &credential, NOW).await.unwrap();
        assert!(tokens::due(&mut tx, (Timestamp(0), ""), NOW.plus_secs(540), now, 10).await.unwrap().is_empty(), "scheduled for deletion");
        tx.rollback().await.unwrap();
        assert!(step!(store, take, "t", &take("srv_a", 0, 1)));
        let mut tx = store.begin_upkeep().await.unwrap();
        let now = tx.db_now();
        assert!(tokens::due(&mut tx, (Timestamp(0), ""), NOW.plus_secs(540), now, 10).await.unwrap().is_empty(), "somebody is at it");
    }
}
