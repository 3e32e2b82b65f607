//! What the simulation of the refresh protocol did to its database in memory, done to the real ones: the same seeds,
//! the same steps at the same times, and after each step the same row.
//!
//! The database's clock cannot be set, so time passes by moving the row's deadlines into the past. A step closer to a
//! deadline than [`EDGE_MS`] would be decided by how fast this machine is: a seed ends before it.

#[allow(dead_code, unreachable_pub)]
#[path = "../../../schemes/tests/it/refresh_sim"]
mod refresh_sim {
    pub mod provider;
    pub mod rng;
    pub mod world;
}

use latchstring_model::Timestamp;
use latchstring_schemes::refresh::{Intent, Lease, Step, TokenRow};
use latchstring_store::tokens;
use latchstring_testkit::{figure, rounds};
use sqlx::Connection;

use self::refresh_sim::world::World;
use crate::support::*;
use crate::traces::{assert_same, fresh_row, in_sql, pass};

const EDGE_MS: i64 = 2_000;

fn on_an_edge(row: &TokenRow, now: i64) -> bool {
    let near = |at: Timestamp| (at.millis() - now).abs() < EDGE_MS;
    let intent = match row.intent {
        Intent::Sent { deadline, .. } => near(deadline),
        Intent::None | Intent::Prepared { .. } => false,
    };
    intent || row.lease.as_ref().is_some_and(|lease| near(lease.deadline))
}

/// The row with its deadlines as the database's clock would have them.
fn moved(row: &TokenRow, by: i64) -> TokenRow {
    let at = |time: Timestamp| time.plus_millis(by);
    let mut row = row.clone();
    row.lease = row.lease.map(|lease| Lease { deadline: at(lease.deadline), ..lease });
    if let Intent::Sent { fence, deadline } = row.intent {
        row.intent = Intent::Sent { fence, deadline: at(deadline) };
    }
    row.retry_at = row.retry_at.map(at);
    row.forced_at = row.forced_at.map(at);
    row
}

both! {
    async fn the_simulations_traces_are_the_same_on_a_real_database(store, home) {
        let mut connection = sqlx::AnyConnection::connect(&home.url).await.unwrap();
        let seeds = rounds(60, 2_000) as u64;
        let (mut steps, mut refused, mut cut) = (0_u32, 0_u32, 0_u32);
        let key = fresh_row(&store).await;
        for seed in 0..seeds {
            let (first, trace) = World::traced(seed);
            sqlx::query("DELETE FROM tokens").execute(&mut connection).await.unwrap();
            let mut tx = store.begin_upkeep().await.unwrap();
            tokens::ensure(&mut tx, &key).await.unwrap();
            let life = first.life.unwrap();
            assert!(in_sql(&mut tx, &Step::Save { version: 0, life }).await);
            // Simulated time is the database's, less this.
            let mut offset = tx.db_now().millis();
            tx.commit().await.unwrap();
            let (mut before, mut told) = (first, Vec::new());
            for traced in trace {
                if on_an_edge(&before, traced.at) {
                    cut += 1;
                    break;
                }
                let tx = store.begin_upkeep().await.unwrap();
                let now = tx.db_now().millis();
                tx.rollback().await.unwrap();
                let ahead = traced.at - (now - offset);
                if ahead != 0 {
                    // The second row is the model's own and not looked at.
                    pass(&mut connection, &mut before.clone(), ahead).await;
                    offset -= ahead;
                }
                let mut tx = store.begin_upkeep().await.unwrap();
                let done = in_sql(&mut tx, &traced.step).await;
                tx.commit().await.unwrap();
                told.push(format!("seed {seed}, {} ms: {:?} → {done}", traced.at, traced.step));
                assert_eq!(done, traced.done, "after {told:#?}\n{before:?}");
                let (stored, _) = tokens::by_id(&mut store.read().await.unwrap(), "t").await.unwrap().unwrap();
                assert_same(&stored, &moved(&traced.row, offset), &told);
                steps += 1;
                refused += u32::from(!done);
                before = traced.row;
            }
        }
        assert!(steps > 10 * u32::try_from(seeds).unwrap() && refused > 0, "{steps} steps, {refused} refused, {cut} seeds cut short");
        figure(&format!("steps of {seeds} simulated seeds, the same on {:?}", store.dialect()), steps);
        connection.close().await.unwrap();
    }
}
