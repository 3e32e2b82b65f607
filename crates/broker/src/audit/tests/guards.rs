//! Guards that attacks in random places do not reach one by one: each is met here by a state that nothing else finds, or
//! that is told otherwise without it.

use latchstring_journal::chain::{self, Head};
use latchstring_store::audit::JournalRow;
use latchstring_store::retention::AnchorRow;

use super::attacks::Kept;
use super::world::{World, world};
use super::*;
use crate::audit::checkpoint::Reading;
use crate::audit::checkpoint::write::Checkpointer;
use crate::audit::retention::{RetentionError, text};
use crate::audit::signing::{FirstKey, PublicKeys, Signed, Signer, head_text, sign_heads};
use crate::audit::verify::{Against, Report, in_one_moment, long_way, verify_against};

async fn signing(home: &Home) -> World {
    let world = world(home).await;
    let parts = &world.broker.parts;
    sign_heads(&parts.store, &parts.vault, NOW, entropy(), FirstKey::Make).await.unwrap();
    world
}

/// So many events, one millisecond apart; the last was made a millisecond ago.
async fn record(world: &World, events: i64) {
    let parts = &world.broker.parts;
    let actor = Actor::operator();
    for number in 0..events {
        let event = Event::new("member.set").target(format!("usr_{number}"));
        let mut tx = parts.store.begin_upkeep().await.unwrap();
        let at = NOW.plus_millis(number - events);
        events::append(&mut tx, &parts.server, at, &[(&actor, event)]).await.unwrap();
        tx.commit().await.unwrap();
    }
}

async fn against(world: &World, checkpoints: Option<&Kept>) -> Against {
    let parts = &world.broker.parts;
    let keys = PublicKeys::of(&parts.store, &parts.vault).await.unwrap();
    let checkpoints = checkpoints.map(|kept| {
        let mut reading = Reading::new(&keys);
        reading.file("checkpoints");
        kept.0.lock().unwrap().lines().for_each(|line| reading.line(line).unwrap());
        reading.finish()
    });
    Against { signed: true, keys, checkpoints }
}

async fn verified(world: &World, checkpoints: Option<&Kept>) -> Result<Report, VerifyError> {
    verify_against(&world.broker.parts.store, &against(world, checkpoints).await).await
}

/// The server's own chain of events, as the database has it.
async fn chain_of(world: &World) -> (JournalRow, Vec<rows::AuditRecord>) {
    let parts = &world.broker.parts;
    let mut reader = parts.store.read().await.unwrap();
    let writer = events::writer(&parts.server);
    let row =
        rows::journals(&mut reader).await.unwrap().into_iter().find(|row| row.writer == writer).unwrap();
    let records = rows::chain(&mut reader, &writer, 0, 100).await.unwrap();
    (row, records)
}

fn blob(home: &Home, bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if home.url.starts_with("sqlite:") { format!("X'{hex}'") } else { format!("'\\x{hex}'::bytea") }
}

/// SQL that puts a head there, signed as whoever has the key would.
async fn signed_head(home: &Home, world: &World, row: &JournalRow) -> String {
    let parts = &world.broker.parts;
    let signer = Signer::current(&parts.store, &parts.vault).await.unwrap();
    let signature = signer.sign(&parts.vault, Signed::Head, head_text(row).as_bytes()).unwrap();
    format!(
        "UPDATE journals SET number = {}, head = {}, key_id = '{}', signature = {} WHERE writer = '{}';",
        row.number,
        blob(home, &row.head),
        signer.id,
        blob(home, &signature),
        row.writer
    )
}

/// SQL for another history from a record on, columns included, and its head without a signature.
fn forged(home: &Home, row: &JournalRow, records: &[rows::AuditRecord], from: usize) -> (String, JournalRow) {
    let mut sql = String::new();
    let mut previous: chain::Hash = records[from].previous.as_slice().try_into().unwrap();
    for record in &records[from..] {
        let (body, target) = (record.body.replace("usr_", "eve_"), record.target.clone().unwrap());
        let hash = chain::next(previous, &row.writer, record.number as u64, body.as_bytes());
        sql.push_str(&format!(
            "UPDATE audit SET body = '{body}', target = '{}', previous = {}, hash = {} WHERE writer = '{}' AND number = {};",
            target.replace("usr_", "eve_"),
            blob(home, &previous),
            blob(home, &hash),
            row.writer,
            record.number
        ));
        previous = hash;
    }
    (sql, JournalRow { head: previous.to_vec(), ..row.clone() })
}

fn credential(id: &CredentialId) -> String {
    format!(
        "INSERT INTO credentials (id, owner_type, owner_id, connector, auth_method, digest, name, name_folded, disabled, version, created_by, created_at, updated_at)
         VALUES ('{id}', 'user', 'usr_x', 'builtin/http', 'bearer', '', 'c', 'c', 0, 1, 'usr_x', 0, 0)"
    )
}

both! {
    async fn a_history_that_was_forged_with_the_key_is_found_by_checkpoints_alone(home) {
        let world = signing(&home).await;
        record(&world, 6).await;
        let place = Kept::default();
        Checkpointer::new(Box::new(place.clone())).last(&world.broker).await.unwrap();
        record(&world, 2).await;
        verified(&world, Some(&place)).await.unwrap();
        let (row, records) = chain_of(&world).await;
        let (sql, row) = forged(&home, &row, &records, 2);
        home.tamper(&(sql + &signed_head(&home, &world, &row).await)).await;
        verified(&world, None).await.expect("with the key everything can be signed");
        let error = verified(&world, Some(&place)).await.unwrap_err();
        assert!(matches!(&error, VerifyError::OtherThanCheckpoint { number: 6, from: 1, place, .. } if place == "checkpoints:1"), "{error}");
        assert!(error.is_broken() && error.needs_checkpoints());
    }

    async fn an_anchor_that_was_forged_with_the_key_is_found_by_checkpoints_alone(home) {
        let world = signing(&home).await;
        record(&world, 6).await;
        let place = Kept::default();
        Checkpointer::new(Box::new(place.clone())).last(&world.broker).await.unwrap();
        record(&world, 2).await;
        let (row, records) = chain_of(&world).await;
        // Nothing of what the checkpoint has seen is left, and what is left goes on from something else.
        let parts = &world.broker.parts;
        let signer = Signer::current(&parts.store, &parts.vault).await.unwrap();
        let mut anchor = AnchorRow {
            writer: row.writer.clone(), number: 6, hash: vec![7; 32], records: 6, newest_at: NOW, cut_at: NOW,
            key_id: signer.id.clone(), signature: Vec::new(),
        };
        anchor.signature = signer.sign(&parts.vault, Signed::Anchor, &text(&anchor).unwrap()).unwrap();
        let mut tx = parts.store.begin_upkeep().await.unwrap();
        latchstring_store::retention::cut(&mut tx, &anchor, 0).await.unwrap();
        tx.commit().await.unwrap();
        let mut left = records[6..].to_vec();
        left[0].previous = vec![7; 32];
        let (sql, row) = forged(&home, &row, &left, 0);
        home.tamper(&(sql + &signed_head(&home, &world, &row).await)).await;
        verified(&world, None).await.expect("with the key everything can be signed");
        let error = verified(&world, Some(&place)).await.unwrap_err();
        assert!(matches!(error, VerifyError::OtherThanCheckpoint { number: 6, .. }), "{error}");
    }

    async fn values_that_went_without_a_change_are_found_by_checkpoints_alone(home) {
        let world = signing(&home).await;
        record(&world, 1).await;
        let id = CredentialId::new(NOW, entropy());
        let empty = blob(&home, &[]);
        let values = |environment: &str| format!(
            "INSERT INTO credential_values (credential_id, environment, version, sealed, data_key, secret_fields, pins, status, set_by, set_at)
             VALUES ('{id}', '{environment}', 1, {empty}, 'dky_x', '[]', '[]', 'verified', 'usr_x', 0)"
        );
        home.tamper(&format!("{}; {}; {}", credential(&id), values("production"), values("staging"))).await;
        let place = Kept::default();
        Checkpointer::new(Box::new(place.clone())).last(&world.broker).await.unwrap();
        verified(&world, Some(&place)).await.unwrap();
        home.tamper("DELETE FROM credential_values WHERE environment = 'staging'").await;
        verified(&world, None).await.unwrap();
        let error = verified(&world, Some(&place)).await.unwrap_err();
        assert!(matches!(&error, VerifyError::ValuesWentBack { environment, expected: 1, found: 0, .. } if environment == "staging"), "{error}");
        // An environment that was removed is a change of the credential.
        home.tamper("UPDATE credentials SET version = version + 1").await;
        verified(&world, Some(&place)).await.unwrap();
    }

    async fn a_key_that_is_gone_is_told_and_the_next_signs_nothing_that_was_there(home) {
        let world = signing(&home).await;
        record(&world, 4).await;
        let (row, records) = chain_of(&world).await;
        let (sql, forged) = forged(&home, &row, &records, 1);
        let head = format!("UPDATE journals SET head = {}, key_id = NULL, signature = NULL;", blob(&home, &forged.head));
        home.tamper(&(sql + &head + "DELETE FROM audit_keys")).await;
        let error = verified(&world, None).await.unwrap_err();
        assert!(matches!(error, VerifyError::NoKey) && error.is_broken(), "{error}");
        // As a start does, also one that believes the table of keys to be new.
        let parts = &world.broker.parts;
        sign_heads(&parts.store, &parts.vault, NOW, entropy(), FirstKey::Make).await.unwrap();
        let unsigned = |error: &VerifyError| matches!(error, VerifyError::UnsignedHead { .. });
        let error = verified(&world, None).await.unwrap_err();
        assert!(unsigned(&error), "{error}");
        record(&world, 1).await;
        let error = verified(&world, None).await.unwrap_err();
        assert!(unsigned(&error), "what is appended does not make it good: {error}");
    }

    async fn what_was_there_before_the_first_key_stays_unsigned(home) {
        let world = world(&home).await;
        record(&world, 3).await;
        let parts = &world.broker.parts;
        sign_heads(&parts.store, &parts.vault, NOW, entropy(), FirstKey::Make).await.unwrap();
        let error = verified(&world, None).await.unwrap_err();
        assert!(matches!(error, VerifyError::UnsignedHead { .. }), "{error}");
    }

    async fn a_head_that_goes_in_the_middle_of_a_look_is_missed(home) {
        let world = signing(&home).await;
        record(&world, 4).await;
        let (earlier, _) = chain_of(&world).await;
        record(&world, 2).await;
        let against = against(&world, None).await;
        let store = &world.broker.parts.store;
        let back = signed_head(&home, &world, &earlier).await;
        home.tamper("CREATE TABLE good AS SELECT * FROM audit; CREATE TABLE good_heads AS SELECT * FROM journals").await;

        let begun = long_way(store, &against).await.unwrap();
        home.tamper("DELETE FROM audit; DELETE FROM journals").await;
        let error = in_one_moment(store, begun).await.unwrap_err();
        assert!(matches!(error, VerifyError::HeadGone { .. }) && error.is_broken(), "{error}");
        home.tamper("INSERT INTO audit OVERRIDING SYSTEM VALUE SELECT * FROM good; INSERT INTO journals SELECT * FROM good_heads").await;

        let begun = long_way(store, &against).await.unwrap();
        home.tamper(&format!("DELETE FROM audit WHERE number > 4; {back}")).await;
        let error = in_one_moment(store, begun).await.unwrap_err();
        assert!(matches!(error, VerifyError::Beyond { head: 4, .. }) && error.is_broken(), "{error}");
    }

    async fn a_head_that_lies_before_its_anchor_is_no_end(home) {
        let world = signing(&home).await;
        record(&world, 4).await;
        let (earlier, _) = chain_of(&world).await;
        record(&world, 2).await;
        world.broker.cut_old_records(Duration::ZERO).await.unwrap();
        let back = signed_head(&home, &world, &earlier).await;
        // Every row is gone, and nothing that is left names one: the anchor alone tells that there were more.
        home.tamper(&format!("DELETE FROM audit; {back}")).await;
        let error = verified(&world, None).await.unwrap_err();
        assert!(matches!(error, VerifyError::Beyond { head: 4, .. }), "{error}");
    }

    async fn a_chain_that_does_not_hold_is_not_cut_although_its_columns_fit(home) {
        let world = signing(&home).await;
        record(&world, 5).await;
        let before = Duration::from_millis(3);
        home.tamper("CREATE TABLE good AS SELECT * FROM audit").await;
        home.tamper("UPDATE audit SET hash = previous WHERE number = 2").await;
        let kept = world.broker.cut_old_records(before).await.expect_err("it is kept");
        assert!(matches!(kept, RetentionError::Broken { .. }), "{kept}");
        assert_eq!(chain_of(&world).await.1.len(), 5);
        home.tamper("DELETE FROM audit; INSERT INTO audit OVERRIDING SYSTEM VALUE SELECT * FROM good").await;
        world.broker.cut_old_records(before).await.unwrap();
        assert_eq!(verified(&world, None).await.unwrap().cut, 2);
        // Nor behind an anchor that nobody signed.
        home.tamper("UPDATE audit_anchors SET records = records + 1").await;
        let kept = world.broker.cut_old_records(Duration::from_millis(1)).await.expect_err("it is kept");
        assert!(matches!(kept, RetentionError::Broken { .. }), "{kept}");
        assert_eq!(chain_of(&world).await.1.len(), 4, "three, and that the others were cut");
    }

    /// Whoever moved that place on would have the shipper pass over calls, and delete the files that tell of them.
    async fn how_far_a_journal_is_shipped_is_signed(home) {
        let world = signing(&home).await;
        let writer = world.journal.writer();
        let credential = CredentialId::new(NOW, entropy());
        call(&writer, &credential).await;
        wait_for_writes(&world.journal).await;
        let parts = &world.broker.parts;
        let mut shipper = shipper(&parts.store, &world.journal, &parts.server);
        drain(&mut shipper).await;
        assert_eq!(verified(&world, None).await.unwrap().records, 2);
        let unsigned = |error: &VerifyError| matches!(error, VerifyError::UnsignedHead { .. });
        for column in ["shipped", "segment"] {
            home.tamper(&format!("UPDATE journals SET {column} = {column} + 1")).await;
            let error = verified(&world, None).await.unwrap_err();
            assert!(unsigned(&error) && error.is_broken(), "{column}: {error}");
            home.tamper(&format!("UPDATE journals SET {column} = {column} - 1")).await;
            verified(&world, None).await.unwrap();
        }
        // What goes on from such a place is not signed either, so that it is found when the place was put back.
        record(&world, 1).await;
        home.tamper("UPDATE journals SET shipped = 1 WHERE segment = 0").await;
        record(&world, 1).await;
        home.tamper("UPDATE journals SET shipped = 0 WHERE segment = 0").await;
        let error = verified(&world, None).await.unwrap_err();
        assert!(unsigned(&error), "{error}");
    }

    async fn a_journal_that_nobody_has_shipped_has_no_place(home) {
        let world = signing(&home).await;
        record(&world, 1).await;
        let start = blob(&home, &Head::START.hash);
        let writer = events::writer(&server());
        home.tamper(&format!("INSERT INTO journals (writer, segment, shipped, number, head) VALUES ('{writer}', 0, 0, 0, {start})")).await;
        verified(&world, None).await.expect("that of a server which has just started");
        home.tamper(&format!("UPDATE journals SET segment = 7 WHERE writer = '{writer}'")).await;
        let error = verified(&world, None).await.unwrap_err();
        assert!(matches!(error, VerifyError::UnsignedHead { number: 0, .. }), "{error}");
    }

    async fn no_record_has_a_place_that_lists_do_not_reach(home) {
        let world = signing(&home).await;
        record(&world, 3).await;
        if !home.url.starts_with("sqlite:") {
            home.tamper("ALTER TABLE audit ALTER COLUMN seq DROP IDENTITY").await;
        }
        let parts = &world.broker.parts;
        let list = async || {
            let mut reader = parts.store.read().await.unwrap();
            let all = AuditFilter::default();
            rows::list_of_instance(&mut reader, &all, &Paging::first()).await.unwrap().items.len()
        };
        assert_eq!(list().await, 3);
        home.tamper("UPDATE audit SET seq = 2251799813685247 WHERE number = 3").await;
        assert_eq!((list().await, verified(&world, None).await.unwrap().rows), (3, 3), "the last that is reached");
        home.tamper("UPDATE audit SET seq = 2251799813685248 WHERE number = 3").await;
        assert_eq!(list().await, 2);
        let error = verified(&world, None).await.unwrap_err();
        assert!(matches!(error, VerifyError::Hidden { number: 3, .. }) && error.is_broken(), "{error}");
    }

    /// Whoever writes to the database may also take away what keeps entries and places apart.
    async fn entries_and_places_are_counted_once(home) {
        let world = signing(&home).await;
        let parts = &world.broker.parts;
        let writer = world.journal.writer();
        let credential = CredentialId::new(NOW, entropy());
        let project = ProjectId::new(NOW, entropy());
        let made = begin(&writer, Some(&project), &credential, "usr_x").await;
        writer.append(&result(&made)).await.unwrap();
        drain(&mut shipper(&parts.store, &world.journal, &parts.server)).await;
        record(&world, 1).await;
        verified(&world, None).await.unwrap();
        let sqlite = home.url.starts_with("sqlite:");
        for (table, key) in [("audit_batch_scopes", "audit_batch_scopes_pkey"), ("audit", "audit_pkey")] {
            home.tamper(&if sqlite {
                format!("CREATE TABLE loose AS SELECT * FROM {table}; DROP TABLE {table}; ALTER TABLE loose RENAME TO {table}")
            } else {
                format!("ALTER TABLE {table} DROP CONSTRAINT {key}")
            }).await;
        }
        if !sqlite {
            home.tamper("ALTER TABLE audit ALTER COLUMN seq DROP IDENTITY").await;
        }
        verified(&world, None).await.unwrap();
        // One of them twice, so that the other is not missed by its number.
        home.tamper(&format!("UPDATE audit_batch_scopes SET scope_id = '{credential}'")).await;
        let error = verified(&world, None).await.unwrap_err();
        assert!(matches!(error, VerifyError::Unlisted { .. }), "{error}");
        home.tamper(&format!("DELETE FROM audit_batch_scopes; INSERT INTO audit_batch_scopes (scope_id, seq) SELECT '{credential}', seq FROM audit WHERE fact = 'batch'; INSERT INTO audit_batch_scopes (scope_id, seq) SELECT '{project}', seq FROM audit WHERE fact = 'batch'")).await;
        verified(&world, None).await.unwrap();
        // Of two rows with one place a list finds one.
        home.tamper("UPDATE audit SET seq = (SELECT MAX(a.seq) FROM audit a) WHERE fact = 'event'; UPDATE audit SET seq = (SELECT MAX(a.seq) FROM audit a) WHERE fact = 'batch'; UPDATE audit_batch_scopes SET seq = (SELECT MAX(a.seq) FROM audit a)").await;
        let error = verified(&world, None).await.unwrap_err();
        assert!(matches!(error, VerifyError::Strangers { expected: 2, found: 1 }), "{error}");
    }

    async fn a_credential_that_was_deleted_for_good_is_not_there(home) {
        let world = signing(&home).await;
        let parts = &world.broker.parts;
        let (purged, scheduled) = (CredentialId::new(NOW, entropy()), CredentialId::new(NOW, entropy()));
        let actor = Actor::operator();
        let mut tx = parts.store.begin_upkeep().await.unwrap();
        let event = |id| Event::new("credential.delete").credential(id);
        let events = [(&actor, event(&purged).detail("purged", true)), (&actor, event(&scheduled).detail("purged", false))];
        events::append(&mut tx, &parts.server, NOW, &events).await.unwrap();
        tx.commit().await.unwrap();
        home.tamper(&credential(&scheduled)).await;
        verified(&world, None).await.unwrap();
        home.tamper(&credential(&purged)).await;
        let error = verified(&world, None).await.unwrap_err();
        assert!(matches!(&error, VerifyError::PurgedIsThere { credential, number: 1, .. } if *credential == purged.to_string()), "{error}");
        assert!(error.is_broken() && !error.needs_checkpoints());
    }
}

/// SQLite keeps bytes in a column of texts, and finds them by no text.
#[tokio::test]
async fn a_column_of_another_kind_is_a_changed_one() {
    let home = Home::sqlite();
    let world = signing(&home).await;
    record(&world, 2).await;
    for column in ["target", "action", "actor_type", "outcome", "body", "fact"] {
        home.tamper(&format!("UPDATE audit SET {column} = CAST({column} AS BLOB) WHERE number = 2")).await;
        let error = verified(&world, None).await.expect_err(column);
        assert!(error.is_broken(), "{column}: {error}");
        home.tamper(&format!("UPDATE audit SET {column} = CAST({column} AS TEXT) WHERE number = 2")).await;
        verified(&world, None).await.unwrap();
    }
}
