//! Cutting old records away, and what somebody else who cuts leaves behind.

use super::world::{World, world};
use super::*;
use crate::audit::retention::RetentionError;
use crate::audit::signing::{FirstKey, PublicKeys, sign_heads};
use crate::audit::verify::{Against, Report, verify_against};
use crate::jobs::supervisor::Again;

const KEPT: Duration = Duration::from_secs(50);

/// Six records that are old and four that are not, in the chain of events.
async fn aged(home: &Home) -> World {
    let world = world(home).await;
    let parts = &world.broker.parts;
    sign_heads(&parts.store, &parts.vault, NOW, entropy(), FirstKey::Make).await.unwrap();
    let actor = Actor::operator();
    for number in 0..10 {
        let at = NOW.plus_millis(if number < 6 { -100_000 + number } else { number - 20 });
        let mut tx = parts.store.begin_upkeep().await.unwrap();
        let event = Event::new("member.set").target(format!("usr_{number}"));
        events::append(&mut tx, &parts.server, at, &[(&actor, event)]).await.unwrap();
        tx.commit().await.unwrap();
    }
    world
}

async fn verified(world: &World) -> Result<Report, VerifyError> {
    let parts = &world.broker.parts;
    let keys = PublicKeys::of(&parts.store, &parts.vault).await.unwrap();
    verify_against(&parts.store, &Against { signed: true, keys, checkpoints: None }).await
}

async fn targets(world: &World) -> Vec<String> {
    let parts = &world.broker.parts;
    let mut reader = parts.store.read().await.unwrap();
    let chain = rows::chain(&mut reader, &events::writer(&parts.server), 0, 100).await.unwrap();
    chain
        .into_iter()
        .map(|record| format!("{} {}", record.action, record.target.unwrap_or_default()))
        .collect()
}

both! {
    async fn a_chain_loses_its_beginning_and_nothing_else(home) {
        let world = aged(&home).await;
        let whole = verified(&world).await.unwrap();
        assert_eq!(world.broker.cut_old_records(KEPT).await.unwrap(), Again::Later);
        let left = targets(&world).await;
        let writer = events::writer(&world.broker.parts.server);
        assert_eq!(left[0], "member.set usr_6");
        assert_eq!(left[4..], [format!("audit.cut {writer}")], "that it was cut is told, in the same transaction");
        let report = verified(&world).await.unwrap();
        assert_eq!((report.cut, report.records), (6, whole.records - 6 + 1));
        // Nothing is old any more: nothing is cut, and nothing told.
        world.broker.cut_old_records(KEPT).await.unwrap();
        assert_eq!(targets(&world).await, left);
        // The chain goes on, is cut once more, and remembers how much is gone.
        let parts = &world.broker.parts;
        let mut tx = parts.store.begin_upkeep().await.unwrap();
        events::append(&mut tx, &parts.server, NOW, &[(&Actor::operator(), Event::new("member.delete"))]).await.unwrap();
        tx.commit().await.unwrap();
        world.broker.cut_old_records(Duration::from_millis(5)).await.unwrap();
        let report = verified(&world).await.unwrap();
        assert_eq!((report.cut, targets(&world).await[0].as_str()), (10, &*format!("audit.cut {writer}")));
    }

    async fn nobody_else_cuts_without_its_being_found(home) {
        let world = aged(&home).await;
        world.broker.cut_old_records(KEPT).await.unwrap();
        home.tamper("CREATE TABLE good AS SELECT * FROM audit; CREATE TABLE good_anchors AS SELECT * FROM audit_anchors").await;
        type Found = fn(&VerifyError) -> bool;
        let unsigned: Found = |error| matches!(error, VerifyError::Anchor { .. });
        let broken: Found = |error| matches!(error, VerifyError::Chain { .. });
        let attacks: [(&str, &str, Found); 5] = [
            ("more than the anchor says", "DELETE FROM audit WHERE number <= 8", broken),
            ("with the anchor moved", "DELETE FROM audit WHERE number <= 7; UPDATE audit_anchors SET number = 7, hash = (SELECT hash FROM good WHERE number = 7)", unsigned),
            ("an anchor that says more was cut", "UPDATE audit_anchors SET records = records + 1", unsigned),
            ("an anchor that is gone", "DELETE FROM audit_anchors", broken),
            ("an anchor of a chain that is not there", "INSERT INTO audit_anchors SELECT 'srv_x.events', number, hash, records, newest_at, cut_at, key_id, signature FROM good_anchors",
                |error| matches!(error, VerifyError::StrayAnchor { .. })),
        ];
        for (what, sql, expected) in attacks {
            home.tamper(sql).await;
            let error = verified(&world).await.expect_err(what);
            assert!(expected(&error) && error.is_broken() && !error.needs_checkpoints(), "{what}: {error}");
            home.tamper("DELETE FROM audit; INSERT INTO audit OVERRIDING SYSTEM VALUE SELECT * FROM good; DELETE FROM audit_anchors; INSERT INTO audit_anchors SELECT * FROM good_anchors").await;
            verified(&world).await.unwrap();
        }
    }

    async fn a_changed_record_is_not_got_rid_of_by_waiting(home) {
        let world = aged(&home).await;
        for sql in ["UPDATE audit SET body = REPLACE(body, 'usr_3', 'usr_9') WHERE number = 4", "UPDATE audit SET target = 'usr_9' WHERE number = 4"] {
            home.tamper("DROP TABLE IF EXISTS good; CREATE TABLE good AS SELECT * FROM audit").await;
            home.tamper(sql).await;
            let kept = world.broker.cut_old_records(KEPT).await.expect_err("it is kept");
            assert!(matches!(kept, RetentionError::Broken { .. }), "{kept}");
            assert_eq!(targets(&world).await.len(), 10);
            // Moving its time out of the way does not help either.
            home.tamper("UPDATE audit SET at = 0").await;
            assert!(world.broker.cut_old_records(Duration::from_secs(1_000)).await.is_ok());
            assert_eq!(targets(&world).await.len(), 10, "times are those of the hashed texts");
            home.tamper("DELETE FROM audit; INSERT INTO audit OVERRIDING SYSTEM VALUE SELECT * FROM good").await;
        }
        verified(&world).await.unwrap();
    }
}
