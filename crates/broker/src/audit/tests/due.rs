//! When a checkpoint is due: ten records after the last one, or a second.

use tokio::time::Instant;

use super::attacks::Kept;
use super::world::{World, world};
use super::*;
use crate::audit::checkpoint::write::Checkpointer;
use crate::audit::signing::{FirstKey, sign_heads};

async fn record(world: &World, events: usize) {
    let actor = Actor::operator();
    for number in 0..events {
        let event = Event::new("member.set").target(format!("usr_{number}"));
        let mut tx = world.broker.store().begin_upkeep().await.unwrap();
        events::append(&mut tx, &world.broker.parts.server, NOW, &[(&actor, event)]).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// One that has said everything so far.
async fn up_to_date(world: &World) -> Checkpointer {
    let parts = &world.broker.parts;
    sign_heads(&parts.store, &parts.vault, NOW, entropy(), FirstKey::Make).await.unwrap();
    let mut checkpointer = Checkpointer::new(Box::new(Kept::default()));
    record(world, 1).await;
    assert_eq!(checkpointer.turn(&world.broker).await.unwrap(), 1);
    checkpointer
}

/// So that the second does not pass, however slow the machine is.
fn just_now() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

both! {
    async fn ten_records_wait_for_no_second(home) {
        let world = world(&home).await;
        let mut checkpointer = up_to_date(&world).await;
        checkpointer.wrote_at(just_now());
        record(&world, 9).await;
        assert_eq!(checkpointer.turn(&world.broker).await.unwrap(), 0, "nine wait");
        record(&world, 1).await;
        assert_eq!(checkpointer.turn(&world.broker).await.unwrap(), 1, "ten do not");
        checkpointer.wrote_at(just_now());
        assert_eq!(checkpointer.turn(&world.broker).await.unwrap(), 0, "nothing is new");
        record(&world, 9).await;
        assert_eq!(checkpointer.turn(&world.broker).await.unwrap(), 0, "they are counted from the last line on");
        record(&world, 1).await;
        assert_eq!(checkpointer.turn(&world.broker).await.unwrap(), 1);
        checkpointer.wrote_at(just_now());
        record(&world, 1).await;
        assert_eq!(checkpointer.turn(&world.broker).await.unwrap(), 0);
        // A batch of calls holds more records than one waits for.
        let writer = world.journal.writer();
        call(&writer, &CredentialId::new(NOW, entropy())).await;
        wait_for_writes(&world.journal).await;
        drain(&mut shipper(world.broker.store(), &world.journal, &world.broker.parts.server)).await;
        assert_eq!(checkpointer.turn(&world.broker).await.unwrap(), 1, "calls wait for nothing");
    }

    async fn one_record_waits_for_a_second(home) {
        let world = world(&home).await;
        let mut checkpointer = up_to_date(&world).await;
        checkpointer.wrote_at(just_now());
        record(&world, 1).await;
        assert_eq!(checkpointer.turn(&world.broker).await.unwrap(), 0);
        checkpointer.wrote_at(Instant::now() - Duration::from_secs(1));
        assert_eq!(checkpointer.turn(&world.broker).await.unwrap(), 1);
        checkpointer.wrote_at(Instant::now() - Duration::from_secs(1));
        assert_eq!(checkpointer.turn(&world.broker).await.unwrap(), 0, "no line about nothing");
    }
}
