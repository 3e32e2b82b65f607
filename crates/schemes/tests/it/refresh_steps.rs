//! Each step's conditions one by one, and what is decided from a row: the parts of the protocol
//! that back each other up, so that the simulation alone would not miss one of them.

use latchstring_model::Timestamp;
use latchstring_schemes::refresh::*;

const NOW: Timestamp = Timestamp(1_000_000);

fn life() -> Life {
    Life {
        obtained_at: Timestamp(0),
        fresh_until: Some(NOW.plus_millis(-60_000)),
        expires_at: Some(NOW.plus_millis(-1)),
    }
}

/// Stale, nobody at work: version 1, fence 5.
fn idle() -> TokenRow {
    TokenRow { fence: 5, ..TokenRow::live(life()) }
}

fn held(intent: Intent) -> TokenRow {
    let lease = Lease { owner: "a".into(), deadline: NOW.plus_millis(1) };
    TokenRow { lease: Some(lease), intent, ..idle() }
}

fn lapsed(mut row: TokenRow) -> TokenRow {
    row.lease = row.lease.map(|lease| Lease { deadline: NOW, ..lease });
    row
}

const PREPARED: Intent = Intent::Prepared { fence: 5 };
const SENT: Intent = Intent::Sent { fence: 5, deadline: NOW };

fn take(seen_fence: i64, version: i64, may_repeat: bool) -> Step {
    Step::Take { owner: "b".into(), seen_fence, version, may_repeat, patience_ms: 0, forced: true }
}

#[track_caller]
fn done(step: &Step, row: &TokenRow) -> TokenRow {
    let mut row = row.clone();
    assert!(step.apply(&mut row, NOW), "{step:?} was refused");
    row
}

#[track_caller]
fn refused(step: &Step, row: &TokenRow) {
    let mut after = row.clone();
    assert!(!step.apply(&mut after, NOW), "{step:?} was done");
    assert_eq!(&after, row, "refused, and yet changed");
}

#[test]
fn a_lease_is_taken_only_when_it_is_free_and_nothing_moved() {
    let row = done(&take(5, 1, false), &idle());
    assert_eq!((row.fence, row.forced_at), (6, Some(NOW)));
    assert_eq!(row.lease, Some(Lease { owner: "b".into(), deadline: NOW.plus_millis(LEASE_MS) }));
    refused(&take(4, 1, false), &idle());
    refused(&take(5, 2, false), &idle());
    refused(&take(5, 1, true), &held(Intent::None));
    done(&take(5, 1, false), &lapsed(held(PREPARED)));
    refused(&take(5, 1, false), &lapsed(held(SENT)));
    done(&take(5, 1, true), &lapsed(held(SENT)));
}

#[test]
fn only_the_holder_of_a_lease_that_lasts_may_go_on_to_send() {
    let step = |name: &str, fence, version| match name {
        "prepare" => Step::Prepare { fence, version },
        _ => Step::MarkSent { fence, version },
    };
    for name in ["prepare", "mark"] {
        let row = held(PREPARED);
        done(&step(name, 5, 1), &row);
        refused(&step(name, 4, 1), &row);
        refused(&step(name, 5, 2), &row);
        refused(&step(name, 5, 1), &lapsed(row.clone()));
        refused(&step(name, 5, 1), &TokenRow { lease: None, ..row });
    }
    for intent in [Intent::None, SENT, Intent::Prepared { fence: 4 }] {
        refused(&step("mark", 5, 1), &held(intent));
    }
    let marked = done(&step("mark", 5, 1), &held(PREPARED));
    let end = NOW.plus_millis(LEASE_MS);
    assert_eq!(marked.intent, Intent::Sent { fence: 5, deadline: end });
    assert_eq!(marked.lease.map(|lease| lease.deadline), Some(end));

    done(&Step::Renew { fence: 5 }, &held(SENT));
    refused(&Step::Renew { fence: 4 }, &held(SENT));
    refused(&Step::Renew { fence: 5 }, &lapsed(held(SENT)));
}

#[test]
fn an_answer_is_stored_by_whoever_has_it_while_the_version_is_unmoved() {
    let save = Step::Save { version: 1, life: life() };
    let dead = TokenRow { state: TokenState::NeedsReconnect, failures: 3, ..idle() };
    for row in [idle(), held(SENT), lapsed(held(SENT)), held(Intent::Prepared { fence: 9 }), dead] {
        let saved = done(&save, &row);
        assert_eq!((saved.state, saved.version, saved.failures), (TokenState::Live, 2, 0));
        assert_eq!((saved.lease, saved.intent, saved.retry_at), (None, Intent::None, None));
        assert_eq!(saved.fence, row.fence);
        refused(&Step::Save { version: 0, life: life() }, &row);
        refused(&Step::Save { version: 2, life: life() }, &row);
    }
    // Consent given anew takes the place of whatever is there, and late answers find the version moved.
    let replaced = done(&Step::Replace { life: life() }, &held(SENT));
    assert_eq!((replaced.version, replaced.lease.clone()), (2, None));
    refused(&save, &replaced);
}

#[test]
fn a_failure_counts_only_for_the_present_holder_and_version() {
    let row = held(SENT);
    let failed = done(&Step::Fail { fence: 5, version: 1, retry_ms: 7_000 }, &row);
    assert_eq!((failed.failures, failed.retry_at), (1, Some(NOW.plus_millis(7_000))));
    assert_eq!((failed.lease, failed.intent, failed.state), (None, Intent::None, TokenState::Live));
    assert_eq!(done(&Step::Dead { fence: 5, version: 1 }, &row).state, TokenState::NeedsReconnect);
    for (fence, version) in [(4, 1), (5, 2), (6, 1)] {
        refused(&Step::Fail { fence, version, retry_ms: 1 }, &row);
        refused(&Step::Dead { fence, version }, &row);
    }
    refused(&Step::Release { fence: 4 }, &row);
    let released = done(&Step::Release { fence: 5 }, &row);
    assert_eq!((released.lease, released.intent), (None, Intent::None));
    let foreign = Intent::Sent { fence: 3, deadline: NOW };
    assert_eq!(done(&Step::Release { fence: 5 }, &held(foreign)).intent, foreign, "another's mark stays");
}

#[test]
fn a_lost_request_is_given_up_only_when_its_time_is_over() {
    let orphan = Step::Orphan { seen_fence: 5, version: 1 };
    let given_up = done(&orphan, &lapsed(held(SENT)));
    assert_eq!(
        (given_up.state, given_up.fence, given_up.intent),
        (TokenState::NeedsReconnect, 6, Intent::None)
    );
    refused(&orphan, &held(SENT));
    refused(&orphan, &lapsed(held(PREPARED)));
    refused(&orphan, &idle());
    let early = Intent::Sent { fence: 5, deadline: NOW.plus_millis(1) };
    refused(&orphan, &lapsed(held(early)));
    refused(&Step::Orphan { seen_fence: 4, version: 1 }, &lapsed(held(SENT)));
    refused(&Step::Orphan { seen_fence: 5, version: 2 }, &lapsed(held(SENT)));
}

fn decided(row: &TokenRow, need: Need, reuse: Reuse) -> Decision {
    decide(row, NOW, "me", need, reuse)
}

fn takes(decision: &Decision, repeat: bool, force: bool) -> bool {
    matches!(decision, Decision::Take(Step::Take { may_repeat, forced, seen_fence: 5, version: 1, .. })
        if *may_repeat == repeat && *forced == force)
}

#[test]
fn what_is_fresh_is_used_and_what_is_stale_is_refreshed_once() {
    use Reuse::{Grace, NonRotating, Repeatable, SingleUse};
    let fresh_life = Life { fresh_until: Some(NOW.plus_millis(1)), ..life() };
    let fresh = TokenRow { life: Some(fresh_life), ..idle() };
    assert_eq!(decided(&fresh, Need::Usable, SingleUse), Decision::Use);
    assert!(takes(&decided(&fresh, Need::Ahead { version: 1 }, SingleUse), false, false));
    assert_eq!(decided(&fresh, Need::Ahead { version: 0 }, SingleUse), Decision::Use);
    for (reuse, repeat) in [(SingleUse, false), (Grace, true), (NonRotating, true), (Repeatable, true)] {
        assert!(takes(&decided(&idle(), Need::Usable, reuse), repeat, false));
        assert!(takes(&decided(&lapsed(held(PREPARED)), Need::Usable, reuse), repeat, false));
        let waits = Decision::Wait { until: NOW.plus_millis(1) };
        match reuse {
            // Its holder has been silent for long, and asking twice is harmless.
            Repeatable => assert!(takes(&decided(&held(SENT), Need::Usable, reuse), true, false)),
            _ => assert_eq!(decided(&held(SENT), Need::Usable, reuse), waits),
        }
        let sent = decided(&lapsed(held(SENT)), Need::Usable, reuse);
        match reuse {
            SingleUse => assert_eq!(sent, Decision::Settle(Step::Orphan { seen_fence: 5, version: 1 })),
            _ => assert!(takes(&sent, true, false)),
        }
    }
    let early = lapsed(held(Intent::Sent { fence: 5, deadline: NOW.plus_millis(9) }));
    assert_eq!(decided(&early, Need::Usable, SingleUse), Decision::Wait { until: NOW.plus_millis(9) });
    assert_eq!(decided(&early, Need::Usable, Grace), Decision::Wait { until: NOW.plus_millis(9) });
    assert!(takes(&decided(&early, Need::Usable, Repeatable), true, false));
}

#[test]
fn a_silent_holder_is_waited_for_only_where_asking_twice_could_hurt() {
    // Renewed so long ago that two heartbeats are missing, but for a millisecond.
    let deadline = NOW.plus_millis(LEASE_MS - SILENT_MS + 1);
    let leased = |deadline| TokenRow { lease: Some(Lease { owner: "a".into(), deadline }), ..held(SENT) };
    let waits = |until| Decision::Wait { until };
    let row = leased(deadline);
    assert_eq!(decided(&row, Need::Usable, Reuse::Repeatable), waits(NOW.plus_millis(1)));
    for reuse in [Reuse::SingleUse, Reuse::Grace, Reuse::NonRotating] {
        assert_eq!(decided(&row, Need::Usable, reuse), waits(deadline));
    }
    let row = leased(deadline.plus_millis(-1));
    let Decision::Take(step) = decided(&row, Need::Usable, Reuse::Repeatable) else { panic!("it goes on") };
    let taken = done(&step, &row);
    assert_eq!(taken.fence, row.fence + 1);
    refused(&step, &leased(deadline));
    // Whoever was silent may save still, and only once: the version decides.
    let saved = done(&Step::Save { version: 1, life: life() }, &taken);
    refused(&Step::Save { version: 1, life: life() }, &saved);
    refused(&Step::Renew { fence: row.fence }, &taken);
}

#[test]
fn a_token_within_its_margin_serves_while_it_cannot_be_refreshed() {
    let alive = Life { expires_at: Some(NOW.plus_millis(1)), ..life() };
    let rows = [
        TokenRow { life: Some(alive), ..held(SENT) },
        TokenRow { life: Some(alive), retry_at: Some(NOW.plus_millis(1)), ..idle() },
        TokenRow { life: Some(alive), state: TokenState::NeedsReconnect, ..idle() },
    ];
    for row in rows {
        assert_eq!(decided(&row, Need::Usable, Reuse::SingleUse), Decision::Use);
        assert_ne!(decided(&row, Need::Rejected { version: 1 }, Reuse::SingleUse), Decision::Use);
        let ended = TokenRow { life: Some(life()), ..row };
        assert_ne!(decided(&ended, Need::Usable, Reuse::SingleUse), Decision::Use);
    }
}

#[test]
fn a_401_forces_one_refresh_in_thirty_seconds_and_none_for_a_newer_token() {
    let fresh_life = Life { fresh_until: None, expires_at: None, ..life() };
    let row = TokenRow { life: Some(fresh_life), ..idle() };
    let rejected = Need::Rejected { version: 1 };
    assert!(takes(&decided(&row, rejected, Reuse::SingleUse), false, true));
    assert_eq!(decided(&row, Need::Rejected { version: 0 }, Reuse::SingleUse), Decision::Use);
    let forced = |ago: i64| TokenRow { forced_at: Some(NOW.plus_millis(-ago)), ..row.clone() };
    let again = decided(&forced(FORCE_INTERVAL_MS - 1), rejected, Reuse::SingleUse);
    assert_eq!(again, Decision::Refuse(Refusal::JustForced));
    assert!(takes(&decided(&forced(FORCE_INTERVAL_MS), rejected, Reuse::SingleUse), false, true));
    // Whoever comes while it is being refreshed waits for that instead of giving up.
    let busy = TokenRow { lease: held(SENT).lease, ..forced(1) };
    assert!(matches!(decided(&busy, rejected, Reuse::SingleUse), Decision::Wait { .. }));
}

#[test]
fn without_consent_nothing_is_asked() {
    let empty = TokenRow::empty();
    for reuse in [Reuse::SingleUse, Reuse::Grace, Reuse::NonRotating] {
        assert_eq!(decided(&empty, Need::Usable, reuse), Decision::Refuse(Refusal::NeedsConsent));
    }
    assert!(matches!(decided(&empty, Need::Usable, Reuse::Repeatable), Decision::Take(_)));
    let until = NOW.plus_millis(1);
    let failed = TokenRow { retry_at: Some(until), ..empty };
    let refusal = Decision::Refuse(Refusal::BackOff { until });
    assert_eq!(decided(&failed, Need::Usable, Reuse::Repeatable), refusal);
    let later = TokenRow { retry_at: Some(NOW), ..failed };
    assert!(matches!(decided(&later, Need::Usable, Reuse::Repeatable), Decision::Take(_)));
}

#[test]
fn what_a_dead_process_left_open_is_cleared_and_it_can_do_nothing_more() {
    let bury = |owner: &str| Step::Bury { owner: owner.into() };
    for row in [held(SENT), held(PREPARED), held(Intent::None), lapsed(held(SENT))] {
        let row = done(&bury("a"), &row);
        assert_eq!((row.fence, row.lease.clone(), row.intent), (6, None, Intent::None));
        for step in [
            Step::Renew { fence: 5 },
            Step::Prepare { fence: 5, version: 1 },
            Step::MarkSent { fence: 5, version: 1 },
            Step::Fail { fence: 5, version: 1, retry_ms: 1 },
            Step::Dead { fence: 5, version: 1 },
            Step::Release { fence: 5 },
        ] {
            refused(&step, &row);
        }
        // It was not dead after all, and has the only living refresh token in hand.
        done(&Step::Save { version: 1, life: life() }, &row);
        // Asked for again at once, also where a refresh token is good only once.
        assert!(matches!(
            decide(&row, NOW, "b", Need::Usable, Reuse::SingleUse),
            Decision::Take(Step::Take { seen_fence: 6, version: 1, may_repeat: false, .. })
        ));
    }
    refused(&bury("b"), &held(SENT));
    refused(&bury("a"), &idle());
}

#[test]
fn a_dead_grants_token_serves_while_it_lives_unless_the_api_refused_it() {
    let alive = Life { obtained_at: Timestamp(10), fresh_until: None, expires_at: None };
    let dead = |forced_at| TokenRow { state: TokenState::NeedsReconnect, forced_at, ..TokenRow::live(alive) };
    let decided = |row: &TokenRow| decide(row, NOW, "b", Need::Usable, Reuse::SingleUse);
    assert_eq!(decided(&dead(None)), Decision::Use);
    assert_eq!(decided(&dead(Some(Timestamp(9)))), Decision::Use, "an earlier one was refused");
    assert_eq!(decided(&dead(Some(NOW))), Decision::Refuse(Refusal::NeedsReconnect));
}
