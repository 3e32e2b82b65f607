//! The refresh protocol's steps as SQL mean what the state machine says they mean: random traces, run on
//! both, step by step. Time passes by moving a row's deadlines into the past.

use latchstring_model::Timestamp;
use latchstring_schemes::refresh::{self, LEASE_MS, Step, TokenRow};
use latchstring_store::tokens::{self, Intent, NewToken, Take, TokenKey, TokenState};
use latchstring_store::{Store, WriteTx};
use latchstring_testkit::SeededEntropy;
use sqlx::Connection;

use crate::support::*;

/// The database's clock and the model's agree within this: the time that a few statements take.
const TOLERANCE_MS: i64 = 20_000;

/// A step that fits the row more often than not.
fn any_step(random: &SeededEntropy, row: &TokenRow) -> Step {
    let near = |value: i64| value + i64::from(random.below(5) == 0);
    let (fence, version) = (near(row.fence), near(row.version));
    let life = refresh::Life { obtained_at: NOW, fresh_until: Some(NOW), expires_at: None };
    // A whole refresh is a chain of steps that chance alone would seldom find.
    let next = match row.intent {
        refresh::Intent::None if row.lease.is_some() => 4,
        refresh::Intent::None => 0,
        refresh::Intent::Prepared { .. } => 6,
        refresh::Intent::Sent { .. } => 13,
    };
    match if random.below(2) == 0 { next } else { random.below(15) } {
        0..=2 => Step::Take {
            owner: "srv_x".into(),
            seen_fence: fence,
            version,
            may_repeat: random.below(3) == 0,
            // Some of them within what a fresh lease lasts, some beyond.
            patience_ms: [0, 0, 30_000, 61_000][random.below(4) as usize],
            forced: random.below(2) == 0,
        },
        3 => Step::Renew { fence },
        4..=5 => Step::Prepare { fence, version },
        6..=8 => Step::MarkSent { fence, version },
        9 => Step::Save { version, life },
        10 => Step::Fail { fence, version, retry_ms: 60_000 },
        11 => Step::Dead { fence, version },
        12 => Step::Release { fence },
        14 => Step::Bury { owner: if random.below(4) == 0 { "srv_y".into() } else { "srv_x".into() } },
        _ => Step::Orphan { seen_fence: fence, version },
    }
}

pub(crate) async fn in_sql(tx: &mut WriteTx, step: &Step) -> bool {
    let done = match step {
        Step::Take { owner, seen_fence, version, may_repeat, patience_ms, forced } => {
            let take = Take {
                owner,
                seen_fence: *seen_fence,
                version: *version,
                may_repeat: *may_repeat,
                patience_ms: *patience_ms,
                forced: *forced,
                lease_ms: LEASE_MS,
            };
            tokens::take(tx, "t", &take).await
        }
        Step::Renew { fence } => tokens::renew(tx, "t", *fence, LEASE_MS).await,
        Step::Prepare { fence, version } => tokens::prepare(tx, "t", *fence, *version).await,
        Step::MarkSent { fence, version } => tokens::mark_sent(tx, "t", *fence, *version, LEASE_MS).await,
        Step::Save { version, life } => {
            let life = tokens::Life {
                obtained_at: life.obtained_at,
                fresh_until: life.fresh_until,
                expires_at: life.expires_at,
            };
            let token = NewToken { sealed: bytes(), data_key: data_key_id(), life, grant_expires_at: None };
            tokens::save(tx, "t", *version, &token).await
        }
        Step::Fail { fence, version, retry_ms } => {
            tokens::fail(tx, "t", *fence, *version, *retry_ms, "x").await
        }
        Step::Dead { fence, version } => tokens::dead(tx, "t", *fence, *version, "x").await,
        Step::Release { fence } => tokens::release(tx, "t", *fence).await,
        Step::Orphan { seen_fence, version } => tokens::orphan(tx, "t", *seen_fence, *version, "x").await,
        Step::Bury { owner } => tokens::bury(tx, owner).await.map(|count| count > 0),
        Step::Replace { .. } => unreachable!("a save under the lock, tested there"),
    };
    done.unwrap()
}

fn about(stored: Option<Timestamp>, meant: Option<Timestamp>) -> bool {
    match (stored, meant) {
        (Some(stored), Some(meant)) => (stored.0 - meant.0).abs() < TOLERANCE_MS,
        (None, None) => true,
        _ => false,
    }
}

pub(crate) fn assert_same(stored: &tokens::TokenRow, meant: &TokenRow, trace: &[String]) {
    let state = match meant.state {
        refresh::TokenState::Empty => TokenState::Empty,
        refresh::TokenState::Live => TokenState::Live,
        refresh::TokenState::NeedsReconnect => TokenState::NeedsReconnect,
    };
    let intent = match (stored.intent, meant.intent) {
        (Intent::None, refresh::Intent::None) => true,
        (Intent::Prepared { fence: a }, refresh::Intent::Prepared { fence: b }) => a == b,
        (Intent::Sent { fence: a, deadline: x }, refresh::Intent::Sent { fence: b, deadline: y }) => {
            a == b && about(Some(x), Some(y))
        }
        _ => false,
    };
    let lease = |owner: Option<&String>| owner.cloned();
    let same = stored.state == state
        && stored.version == meant.version
        && stored.fence == meant.fence
        && stored.failures == i64::from(meant.failures)
        && intent
        && lease(stored.lease.as_ref().map(|l| &l.owner)) == lease(meant.lease.as_ref().map(|l| &l.owner))
        && about(stored.lease.as_ref().map(|l| l.deadline), meant.lease.as_ref().map(|l| l.deadline))
        && about(stored.retry_at, meant.retry_at)
        && about(stored.forced_at, meant.forced_at)
        && stored.life.map(|life| life.obtained_at) == meant.life.map(|life| life.obtained_at);
    assert!(same, "after {trace:#?}\nstored {stored:?}\nmeant {meant:?}");
}

/// Lets `ms` pass for the row, there and here.
pub(crate) async fn pass(connection: &mut sqlx::AnyConnection, meant: &mut TokenRow, ms: i64) {
    let sql = "UPDATE tokens SET lease_until = CASE WHEN lease_owner IS NULL THEN 0 ELSE lease_until - $1 END,
        intent_until = intent_until - $1, retry_at = retry_at - $1, forced_at = forced_at - $1 WHERE id = 't'";
    sqlx::query(sql).bind(ms).execute(connection).await.unwrap();
    let earlier = |at: Timestamp| at.plus_millis(-ms);
    if let Some(lease) = &mut meant.lease {
        lease.deadline = earlier(lease.deadline);
    }
    if let refresh::Intent::Sent { fence, deadline } = meant.intent {
        meant.intent = refresh::Intent::Sent { fence, deadline: earlier(deadline) };
    }
    meant.retry_at = meant.retry_at.map(earlier);
    meant.forced_at = meant.forced_at.map(earlier);
}

/// The one token of these tests, empty.
pub(crate) async fn fresh_row(store: &Store) -> TokenKey {
    let mut tx = store.begin_write(&["instance"]).await.unwrap();
    let owner = user(&mut tx, "ada@example.com").await;
    let credential = credential(&mut tx, &owner, "c").await;
    let key = TokenKey {
        id: "t".into(),
        credential_id: credential.id,
        environment: "production".into(),
        values_version: 1,
        name: "main".into(),
    };
    tokens::ensure(&mut tx, &key).await.unwrap();
    tx.commit().await.unwrap();
    key
}

both! {
    async fn the_steps_mean_what_the_machine_says(store, home) {
        fresh_row(&store).await;
        let random = SeededEntropy::new(7);
        let mut connection = sqlx::AnyConnection::connect(&home.url).await.unwrap();
        let mut meant = TokenRow::empty();
        let (mut trace, mut done, mut refused) = (Vec::new(), [0_u32; 10], [0_u32; 10]);
        for _ in 0..500 {
            if random.below(4) == 0 {
                // Far from any deadline's edge, so that the tolerance decides nothing.
                let ms = [25_000, 90_000][usize::try_from(random.below(2)).unwrap()];
                pass(&mut connection, &mut meant, ms).await;
                trace.push(format!("{ms} ms pass"));
            }
            let step = any_step(&random, &meant);
            let mut tx = store.begin_upkeep().await.unwrap();
            let ran = in_sql(&mut tx, &step).await;
            let now = tx.db_now();
            tx.commit().await.unwrap();
            let applied = step.apply(&mut meant, now);
            trace.push(format!("{step:?} → {ran}"));
            assert_eq!(ran, applied, "after {trace:#?}\n{meant:?}");
            let kind = match step {
                Step::Take { .. } => 0, Step::Renew { .. } => 1, Step::Prepare { .. } => 2, Step::MarkSent { .. } => 3,
                Step::Save { .. } => 4, Step::Fail { .. } => 5, Step::Dead { .. } => 6, Step::Release { .. } => 7, Step::Bury { .. } => 9, _ => 8,
            };
            if ran { done[kind] += 1 } else { refused[kind] += 1 }
            let (stored, _) = tokens::by_id(&mut store.read().await.unwrap(), "t").await.unwrap().unwrap();
            assert_same(&stored, &meant, &trace);
        }
        assert!(done.iter().chain(&refused).all(|count| *count > 0), "every step both ways: {done:?} {refused:?}");
        connection.close().await.unwrap();
    }
}
