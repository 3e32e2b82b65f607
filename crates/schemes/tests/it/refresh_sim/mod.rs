//! The refresh protocol under a seeded scheduler: crashes, pauses, late and lost answers, skewed
//! clocks. 10,000 seeds without a broken promise; each of four planted bugs is found.

mod provider;
mod rng;
mod world;

pub use rng::Rng;
use world::{Bug, Story, World};

const SEEDS: u64 = 10_000;

#[test]
fn no_promise_is_broken() {
    let mut sum = Story::default();
    for seed in 0..SEEDS {
        let story = match World::run(seed, Bug::None) {
            Ok(story) => story,
            Err(what) => panic!("{what}"),
        };
        sum.refreshes += story.refreshes;
        sum.crashes += story.crashes;
        sum.orphans += story.orphans;
        sum.buried += story.buried;
        sum.late_saves += story.late_saves;
        sum.reconnects += story.reconnects;
        sum.busy += story.busy;
        sum.forced += story.forced;
        sum.ambiguous += story.ambiguous;
        sum.events += story.events;
    }
    // A simulation that reaches no trouble proves nothing.
    let reached = [
        ("refreshes", sum.refreshes, 3 * SEEDS),
        ("crashes", sum.crashes, SEEDS / 2),
        ("orphaned requests", sum.orphans, SEEDS / 100),
        ("requests of the dead cleared", sum.buried, SEEDS / 100),
        ("late answers saved", sum.late_saves, 5),
        ("grants lost and reported", sum.reconnects, SEEDS / 100),
        ("waiters told busy", sum.busy, SEEDS / 100),
        ("forced refreshes", sum.forced, SEEDS / 100),
        ("time limits", sum.ambiguous, SEEDS / 100),
    ];
    for (what, times, least) in reached {
        assert!(u64::from(times) >= least, "only {times} {what} in {SEEDS} seeds: {sum:?}");
    }
}

/// How many seeds it takes to find a bug.
fn found(bug: Bug) -> (u64, String) {
    for seed in 0..SEEDS {
        if let Err(what) = World::run(seed, bug) {
            return (seed + 1, what);
        }
    }
    panic!("{bug:?} was not found in {SEEDS} seeds");
}

#[test]
fn a_save_without_compare_and_swap_is_found() {
    assert!(found(Bug::NoCompareAndSwap).1.contains("older token"));
}

#[test]
fn a_lock_by_time_alone_is_found() {
    found(Bug::LockByTimeAlone);
}

#[test]
fn a_refresh_outside_the_lease_is_found() {
    assert!(found(Bug::RefreshOutsideLease).1.contains("at once"));
}

#[test]
fn an_answer_before_the_token_is_stored_is_found() {
    assert!(found(Bug::AnswerBeforePersist).1.contains("not stored"));
}

/// What is replayed on real databases is what happened here.
#[test]
fn a_trace_is_the_story_of_its_row() {
    for seed in 0..50 {
        let (mut row, trace) = World::traced(seed);
        assert!(!trace.is_empty());
        for traced in trace {
            let done = traced.step.apply(&mut row, latchstring_model::Timestamp(traced.at));
            assert_eq!((done, &row), (traced.done, &traced.row), "seed {seed}, {:?}", traced.step);
        }
    }
}

#[test]
fn a_living_process_that_is_taken_for_dead_is_found() {
    assert!(found(Bug::BuryTheLiving).1.contains("at once"));
}

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in 0..50 {
        assert_eq!(
            format!("{:?}", World::run(seed, Bug::None)),
            format!("{:?}", World::run(seed, Bug::None))
        );
    }
}
