//! What somebody who may write to the database can do to the trail, in random places, and whether it is found:
//! eight kinds of attack, sixty tries each. Some leave a state that was true once, and only checkpoints show them.

use std::collections::BTreeMap;
use std::sync::Mutex;

use latchstring_journal::chain::{self, Hash};

use super::*;
use crate::audit::checkpoint::write::Checkpointer;
use crate::audit::checkpoint::{Look, Place, Reading};
use crate::audit::signing::{FirstKey, PublicKeys, sign_heads};
use crate::audit::verify::{Against, verify_against};

/// A place in memory, which keeps what was written.
#[derive(Clone, Default)]
pub(super) struct Kept(pub Arc<Mutex<String>>);

impl Place for Kept {
    fn look(&mut self) -> std::io::Result<Look> {
        let last = self.0.lock().unwrap().lines().last().map(str::to_owned);
        Ok(if last.is_some() { Look::Same } else { Look::Opened { last } })
    }
    fn append(&mut self, lines: &str) -> std::io::Result<()> {
        self.0.lock().unwrap().push_str(lines);
        Ok(())
    }
}

/// Seeded, so that a failure can be seen again.
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

#[derive(Clone, Debug)]
struct Row {
    seq: i64,
    record: rows::AuditRecord,
}

#[derive(Clone, Debug)]
struct HeadRow {
    segment: i64,
    shipped: i64,
    number: i64,
    head: Vec<u8>,
    key_id: String,
    signature: Vec<u8>,
}

/// The trail as the attacker finds it, and what they have kept of earlier states.
pub(super) struct Trail {
    chains: BTreeMap<String, Vec<Row>>,
    /// Signed heads of earlier moments, as they stood in the database.
    earlier: BTreeMap<String, Vec<HeadRow>>,
    pub keys: PublicKeys,
    pub checkpoints: String,
    postgres: bool,
}

impl Trail {
    fn blob(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.postgres { format!("'\\x{hex}'::bytea") } else { format!("X'{hex}'") }
    }

    /// SQL for a head as it stood in the database once.
    fn put_back(&self, writer: &str, head: &HeadRow) -> String {
        format!(
            "UPDATE journals SET segment = {}, shipped = {}, number = {}, head = {}, key_id = '{}', signature = {} WHERE writer = '{writer}'",
            head.segment,
            head.shipped,
            head.number,
            self.blob(&head.head),
            head.key_id,
            self.blob(&head.signature)
        )
    }

    fn against(&self, with_checkpoints: bool) -> Against {
        let mut reading = Reading::new(&self.keys);
        reading.file("checkpoints");
        self.checkpoints.lines().for_each(|line| reading.line(line).unwrap());
        let checkpoints = with_checkpoints.then(|| reading.finish());
        Against { signed: true, keys: self.keys.clone(), checkpoints }
    }

    /// A chain with at least so many rows.
    fn chain(&self, random: &mut Random, least: usize) -> (&str, &[Row]) {
        let long: Vec<_> = self.chains.iter().filter(|(_, rows)| rows.len() >= least).collect();
        let (writer, rows) = long[random.below(long.len())];
        (writer, rows)
    }

    /// SQL that hashes a chain anew from a place on, bodies as given, and moves its head there.
    fn rehash(&self, writer: &str, rows: &[Row], from: usize, edited: &str) -> (String, Hash) {
        let mut sql = String::new();
        let mut previous: Hash = rows[from].record.previous.as_slice().try_into().unwrap();
        for (at, row) in rows.iter().enumerate().skip(from) {
            let body = if at == from { edited } else { &row.record.body };
            let hash = chain::next(previous, writer, row.record.number as u64, body.as_bytes());
            sql.push_str(&format!(
                "UPDATE audit SET body = '{}', previous = {}, hash = {} WHERE seq = {};",
                quoted(body),
                self.blob(&previous),
                self.blob(&hash),
                row.seq
            ));
            previous = hash;
        }
        let moved = format!("UPDATE journals SET head = {} WHERE writer = '{writer}';", self.blob(&previous));
        (sql + &moved, previous)
    }
}

fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}

/// Another text that reads like a record: a digit of it is another one, so that columns may still fit.
fn edited(body: &str, random: &mut Random) -> String {
    let digits: Vec<usize> =
        body.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_digit()).map(|(at, _)| at).collect();
    let at = digits[random.below(digits.len())];
    let mut bytes = body.as_bytes().to_vec();
    bytes[at] = b'0' + (bytes[at] - b'0' + 1 + random.below(8) as u8) % 10;
    String::from_utf8(bytes).unwrap()
}

/// One try: what is done, and whether the database alone shows it.
struct Try {
    what: &'static str,
    sql: String,
    shows: bool,
}

fn found(what: &'static str, sql: String) -> Try {
    Try { what, sql, shows: true }
}

fn hidden(what: &'static str, sql: String) -> Try {
    Try { what, sql, shows: false }
}

type Attack = fn(&Trail, &mut Random) -> Try;

const ATTACKS: [(&str, Attack); 8] = [
    ("edit", edit),
    ("delete", delete),
    ("swap", swap),
    ("insert", insert),
    ("truncate", truncate),
    ("re-sign", resign),
    ("put a credential back", put_credential_back),
    ("put the database back", put_database_back),
];

fn edit(trail: &Trail, random: &mut Random) -> Try {
    let (writer, rows) = trail.chain(random, 1);
    let row = &rows[random.below(rows.len())];
    let seq = row.seq;
    match random.below(5) {
        0 => {
            let column =
                ["target", "environment", "actor_email", "actor_id", "action", "project_id", "credential_id"]
                    [random.below(7)];
            found(
                "a column",
                format!("UPDATE audit SET {column} = 'usr_01k9x0000000000000000000zz' WHERE seq = {seq}"),
            )
        }
        4 => {
            // Calls that are not shipped yet would be passed over.
            let column = ["segment", "shipped"][random.below(2)];
            let moved = format!("UPDATE journals SET {column} = {column} + 1 WHERE writer = '{writer}'");
            found("how far its journal is shipped", moved)
        }
        1 => found("the time", format!("UPDATE audit SET at = at + 1 WHERE seq = {seq}")),
        2 => {
            let body = edited(&row.record.body, random);
            found("the text", format!("UPDATE audit SET body = '{}' WHERE seq = {seq}", quoted(&body)))
        }
        _ => {
            let body = edited(&row.record.body, random);
            let previous: Hash = row.record.previous.as_slice().try_into().unwrap();
            let hash = chain::next(previous, writer, row.record.number as u64, body.as_bytes());
            found(
                "the text with its hash",
                format!(
                    "UPDATE audit SET body = '{}', hash = {} WHERE seq = {seq}",
                    quoted(&body),
                    trail.blob(&hash)
                ),
            )
        }
    }
}

fn delete(trail: &Trail, random: &mut Random) -> Try {
    let (writer, rows) = trail.chain(random, 3);
    let at = random.below(rows.len());
    let seq = rows[at].seq;
    match random.below(3) {
        0 => found("a record", format!("DELETE FROM audit WHERE seq = {seq}")),
        1 => found(
            "a record and its entries in the index",
            format!("DELETE FROM audit WHERE seq = {seq}; DELETE FROM audit_batch_scopes WHERE seq = {seq}"),
        ),
        _ => {
            // What follows moves up, and is hashed anew.
            let mut rest: Vec<Row> = rows.to_vec();
            rest.remove(at);
            let mut sql = format!(
                "DELETE FROM audit WHERE seq = {seq}; DELETE FROM audit_batch_scopes WHERE seq = {seq};"
            );
            let mut previous: Hash =
                if at == 0 { [0; 32] } else { rows[at - 1].record.hash.as_slice().try_into().unwrap() };
            for (number, row) in (at + 1..).zip(&rest[at..]) {
                let hash = chain::next(previous, writer, number as u64, row.record.body.as_bytes());
                sql.push_str(&format!(
                    "UPDATE audit SET number = {number}, previous = {}, hash = {} WHERE seq = {};",
                    trail.blob(&previous),
                    trail.blob(&hash),
                    row.seq
                ));
                previous = hash;
            }
            let head = format!(
                "UPDATE journals SET number = {}, head = {} WHERE writer = '{writer}'",
                rest.len(),
                trail.blob(&previous)
            );
            found("a record, hashing anew what follows", sql + &head)
        }
    }
}

fn swap(trail: &Trail, random: &mut Random) -> Try {
    let (_, rows) = trail.chain(random, 4);
    let one = random.below(rows.len() - 1);
    let other = one + 1 + random.below(rows.len() - one - 1);
    let (one, other) = (&rows[one], &rows[other]);
    match random.below(if trail.postgres { 2 } else { 4 }) {
        0 => found("two numbers", format!(
            "UPDATE audit SET number = -1 WHERE seq = {0}; UPDATE audit SET number = {3} WHERE seq = {1}; UPDATE audit SET number = {2} WHERE seq = {0}",
            one.seq, other.seq, other.record.number, one.record.number
        )),
        1 => found("two texts", format!(
            "UPDATE audit SET body = '{}' WHERE seq = {}; UPDATE audit SET body = '{}' WHERE seq = {}",
            quoted(&other.record.body), one.seq, quoted(&one.record.body), other.seq
        )),
        2 => {
            let beyond = (1_i64 << 51) + random.below(1_000) as i64;
            let last = rows.last().unwrap().seq;
            found("its place in lists for one that none reaches", format!("UPDATE audit SET seq = {beyond} WHERE seq = {last}; UPDATE audit_batch_scopes SET seq = {beyond} WHERE seq = {last}"))
        }
        _ => found("two places in lists", format!(
            "UPDATE audit SET seq = -1 WHERE seq = {0}; UPDATE audit SET seq = {0} WHERE seq = {1}; UPDATE audit SET seq = {1} WHERE seq = -1;
             UPDATE audit_batch_scopes SET seq = -1 WHERE seq = {0}; UPDATE audit_batch_scopes SET seq = {0} WHERE seq = {1}; UPDATE audit_batch_scopes SET seq = {1} WHERE seq = -1",
            one.seq, other.seq
        )),
    }
}

fn insert(trail: &Trail, random: &mut Random) -> Try {
    let (writer, rows) = trail.chain(random, 2);
    let last = rows.last().unwrap();
    let forged = |writer: &str, number: i64, previous: &Hash| {
        let body = format!(
            r#"{{"fact":"event","at":{},"actor":{{"type":"user","id":"usr_eve"}},"action":"member.set","outcome":"ok"}}"#,
            NOW.millis() + number
        );
        let hash = chain::next(*previous, writer, number as u64, body.as_bytes());
        let sql = format!(
            "INSERT INTO audit (writer, number, at, fact, actor_type, actor_id, action, outcome, body, previous, hash)
             VALUES ('{writer}', {number}, {}, 'event', 'user', 'usr_eve', 'member.set', 'ok', '{body}', {}, {});",
            NOW.millis() + number, trail.blob(previous), trail.blob(&hash)
        );
        (sql, hash)
    };
    let end: Hash = last.record.hash.as_slice().try_into().unwrap();
    let next = last.record.number + 1;
    match random.below(4) {
        0 => found("behind the head", forged(writer, next, &end).0),
        1 => {
            let (sql, hash) = forged(writer, next, &end);
            let head = format!(
                "UPDATE journals SET number = {next}, head = {} WHERE writer = '{writer}'",
                trail.blob(&hash)
            );
            found("behind the head, which moves along", sql + &head)
        }
        2 => {
            let (sql, hash) = forged("srv_01k9x0000000000000000000zz.events", 1, &[0; 32]);
            let signature = trail.earlier[writer].last().unwrap();
            let head = format!(
                "INSERT INTO journals (writer, segment, shipped, number, head, key_id, signature) VALUES ('srv_01k9x0000000000000000000zz.events', 0, 0, 1, {}, '{}', {})",
                trail.blob(&hash),
                signature.key_id,
                trail.blob(&signature.signature)
            );
            found("a chain of its own", sql + &head)
        }
        _ => {
            // Somewhere in the middle; what follows makes room and is hashed anew.
            let at = random.below(rows.len());
            let mut sql = String::new();
            for row in rows[at..].iter().rev() {
                sql.push_str(&format!("UPDATE audit SET number = number + 1 WHERE seq = {};", row.seq));
            }
            let previous: Hash = rows[at].record.previous.as_slice().try_into().unwrap();
            let (insert, mut previous) = forged(writer, rows[at].record.number, &previous);
            sql.push_str(&insert);
            for row in &rows[at..] {
                let hash =
                    chain::next(previous, writer, row.record.number as u64 + 1, row.record.body.as_bytes());
                sql.push_str(&format!(
                    "UPDATE audit SET previous = {}, hash = {} WHERE seq = {};",
                    trail.blob(&previous),
                    trail.blob(&hash),
                    row.seq
                ));
                previous = hash;
            }
            let head = format!(
                "UPDATE journals SET number = {next}, head = {} WHERE writer = '{writer}'",
                trail.blob(&previous)
            );
            found("in the middle, hashing anew what follows", sql + &head)
        }
    }
}

fn truncate(trail: &Trail, random: &mut Random) -> Try {
    let (writer, rows) = trail.chain(random, 4);
    let entries = |from: i64| {
        format!(
            "DELETE FROM audit_batch_scopes WHERE seq IN (SELECT seq FROM audit WHERE writer = '{writer}' AND number > {from}); DELETE FROM audit WHERE writer = '{writer}' AND number > {from};"
        )
    };
    match random.below(4) {
        0 => {
            let from = rows.len() as i64 - 1 - random.below(rows.len() - 1) as i64;
            found("the end", entries(from))
        }
        1 => {
            let left = 1 + random.below(rows.len() - 1);
            let head = &rows[left - 1].record.hash;
            found(
                "the end, with its head",
                entries(left as i64)
                    + &format!(
                        "UPDATE journals SET number = {left}, head = {} WHERE writer = '{writer}'",
                        trail.blob(head)
                    ),
            )
        }
        2 => {
            let earlier = &trail.earlier[writer];
            let head = &earlier[random.below(earlier.len() - 1)];
            hidden(
                "the end, with the head of an earlier copy",
                entries(head.number) + &trail.put_back(writer, head),
            )
        }
        _ => hidden("a whole chain", entries(0) + &format!("DELETE FROM journals WHERE writer = '{writer}'")),
    }
}

fn resign(trail: &Trail, random: &mut Random) -> Try {
    let (writer, rows) = trail.chain(random, 2);
    let from = random.below(rows.len());
    let body = edited(&rows[from].record.body, random);
    let (sql, head) = trail.rehash(writer, rows, from, &body);
    // A time in the text is a column as well; the attacker does not forget it.
    let columns = body::columns(&body);
    let time = format!("UPDATE audit SET at = {} WHERE seq = {};", columns.at.millis(), rows[from].seq);
    match random.below(3) {
        0 => found("all that follows", sql + &time),
        1 => {
            let signature = trail.earlier[writer].last().unwrap();
            found(
                "all that follows, with the signature of before",
                format!(
                    "{sql}{time}UPDATE journals SET key_id = '{}', signature = {} WHERE writer = '{writer}'",
                    signature.key_id,
                    trail.blob(&signature.signature)
                ),
            )
        }
        _ => {
            // With a key of one's own: its public half is put where the installation's is.
            use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
            let pair = Ed25519KeyPair::from_seed_unchecked(&[random.below(256) as u8; 32]).unwrap();
            let hex: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
            let text = [
                b"latchstring audit head 2\0".as_slice(),
                format!("{writer}\n{}\n{hex}\n0\n0", rows.len()).as_bytes(),
            ]
            .concat();
            found(
                "all that follows, with a key of one's own",
                format!(
                    "{sql}{time}UPDATE audit_keys SET public_key = {}; UPDATE journals SET signature = {} WHERE writer = '{writer}'",
                    trail.blob(pair.public_key().as_ref()),
                    trail.blob(pair.sign(&text).as_ref())
                ),
            )
        }
    }
}

fn put_credential_back(_: &Trail, random: &mut Random) -> Try {
    let number = random.below(5);
    match random.below(4) {
        0 => hidden(
            "its values",
            format!(
                "UPDATE credential_values SET version = version - 1 WHERE credential_id = '{}'",
                crd(number)
            ),
        ),
        1 => hidden(
            "its row",
            format!(
                "UPDATE credentials SET version = version - 1, disabled = 0 WHERE id = '{}'",
                crd(number)
            ),
        ),
        2 => hidden(
            "it was never there",
            format!(
                "DELETE FROM credential_values WHERE credential_id = '{0}'; DELETE FROM credentials WHERE id = '{0}'",
                crd(number)
            ),
        ),
        _ => found("it is there again after it was purged", credential_sql(9, 1)),
    }
}

/// The real attack is done by who makes the copies; here is nothing to write.
fn put_database_back(_: &Trail, _: &mut Random) -> Try {
    hidden("an older copy", String::new())
}

fn crd(number: usize) -> String {
    format!("crd_01k9x000000000000000000c{number:02}")
}

fn credential_sql(number: usize, version: i64) -> String {
    let id = crd(number);
    format!(
        "INSERT INTO credentials (id, owner_type, owner_id, connector, auth_method, digest, name, name_folded, disabled, version, created_by, created_at, updated_at)
         VALUES ('{id}', 'user', 'usr_x', 'builtin/http', 'bearer', '', 'c', 'c', 0, {version}, 'usr_x', 0, 0);
         INSERT INTO credential_values (credential_id, environment, version, sealed, data_key, secret_fields, pins, status, set_by, set_at)
         VALUES ('{id}', 'production', {version}, '', 'dky_x', '[]', '[]', 'verified', 'usr_x', 0)"
    )
}

/// Events and batches of calls of two processes, with a checkpoint after every few; the database after each of them
/// in `copies`, if there shall be copies.
pub(super) async fn trail(home: &Home, copies: Option<&std::path::Path>) -> (Store, Trail) {
    let world = super::world::world(home).await;
    let store = world.broker.store().clone();
    let vault = Arc::clone(&world.broker.parts.vault);
    sign_heads(&store, &vault, NOW, entropy(), FirstKey::Make).await.unwrap();
    let postgres = !home.url.starts_with("sqlite:");
    for number in [0, 1, 2, 3, 4, 9] {
        let sql = credential_sql(number, 3).replace("''", if postgres { "'\\x'" } else { "X''" });
        let raise = format!("INSERT INTO scopes (id, epoch, changed_at) VALUES ('{}', 1, 0)", crd(number));
        home.tamper(&format!("{sql}; {raise}")).await;
    }
    let place = Kept::default();
    let mut checkpointer = Checkpointer::new(Box::new(place.clone()));
    checkpointer.last(&world.broker).await.unwrap();
    let mut earlier: BTreeMap<String, Vec<HeadRow>> = BTreeMap::new();
    let credential = CredentialId::new(NOW, entropy());
    let other = server();
    let writer = world.journal.writer();
    for round in 0..12 {
        let actor = Actor::operator();
        let mut tx = store.begin_upkeep().await.unwrap();
        for id in [&world.broker.parts.server, &other] {
            let made: Vec<_> = (0..3)
                .map(|n| (&actor, Event::new("member.set").target(format!("usr_{round}{n}"))))
                .collect();
            events::append(&mut tx, id, NOW.plus_millis(round), &made).await.unwrap();
        }
        tx.commit().await.unwrap();
        if round % 2 == 1 {
            continue;
        }
        for _ in 0..4 {
            call(&writer, &credential).await;
        }
        wait_for_writes(&world.journal).await;
        drain(&mut shipper(&store, &world.journal, &world.broker.parts.server)).await;
        if round == 6 {
            // One is deleted for good, as the trail tells.
            let gone: CredentialId = crd(9).parse().unwrap();
            let mut tx = store.begin_write(&[gone.as_str()]).await.unwrap();
            let event = Event::new("credential.delete").credential(&gone).detail("purged", true);
            events::append(&mut tx, &other, NOW, &[(&actor, event)]).await.unwrap();
            tx.commit().await.unwrap();
            home.tamper(&format!("DELETE FROM credential_values WHERE credential_id = '{gone}'; DELETE FROM credentials WHERE id = '{gone}'")).await;
        }
        if let Some(folder) = copies {
            home.tamper(&format!("VACUUM INTO '{}/{round}.db'", folder.display())).await;
        }
        let mut reader = store.read().await.unwrap();
        let signatures = latchstring_store::audit_keys::head_signatures(&mut reader).await.unwrap();
        for row in rows::journals(&mut reader).await.unwrap() {
            let signed = &signatures[&row.writer];
            earlier.entry(row.writer).or_default().push(HeadRow {
                segment: row.segment,
                shipped: row.shipped,
                number: row.number,
                head: row.head,
                key_id: signed.key_id.to_string(),
                signature: signed.signature.clone(),
            });
        }
        drop(reader);
        checkpointer.last(&world.broker).await.unwrap();
    }
    let mut reader = store.read().await.unwrap();
    let mut chains = BTreeMap::new();
    for row in rows::journals(&mut reader).await.unwrap() {
        let read = rows::chain_with_seq(&mut reader, &row.writer, 0, 1_000).await.unwrap();
        chains.insert(row.writer, read.into_iter().map(|(seq, record)| Row { seq, record }).collect());
    }
    drop(reader);
    let keys = PublicKeys::of(&store, &vault).await.unwrap();
    let checkpoints = place.0.lock().unwrap().clone();
    let trail = Trail { chains, earlier, keys, checkpoints, postgres };
    for with in [false, true] {
        verify_against(&store, &trail.against(with)).await.unwrap();
    }
    (store, trail)
}

/// Whether a try is found, without and with checkpoints.
async fn looked(store: &Store, trail: &Trail, kind: &str, attempt: &Try) -> [bool; 2] {
    let mut seen = [false; 2];
    for (with, seen) in [false, true].into_iter().zip(&mut seen) {
        match verify_against(store, &trail.against(with)).await {
            Ok(_) => {}
            Err(error) => {
                assert!(error.is_broken(), "{kind}: {}: {error}", attempt.what);
                assert_eq!(error.needs_checkpoints(), !attempt.shows, "{kind}: {}: {error}", attempt.what);
                *seen = true;
            }
        }
    }
    seen
}

/// Counts tries by what was done: (tries, found by the database alone, found with checkpoints).
type Found = BTreeMap<(&'static str, &'static str), (usize, usize, usize)>;

/// All are found, and the guide says which of them need checkpoints.
fn judge(found: &Found, tries: usize) {
    let page = std::fs::read_to_string(latchstring_testkit::root().join("docs/audit.md")).unwrap();
    for (kind, _) in ATTACKS {
        let of_kind: Vec<_> = found.iter().filter(|((of, _), _)| *of == kind).collect();
        let sum: usize = of_kind.iter().map(|(_, counts)| counts.0).sum();
        assert_eq!(sum, tries, "{kind}");
        for ((_, what), (tried, alone, with)) in of_kind {
            println!(
                "{kind:<24} {what:<48} {tried:>3} tries, {alone:>3} found without checkpoints, {with:>3} with"
            );
            assert_eq!(with, tried, "{kind}: {what}: all are found");
            assert!(*alone == 0 || alone == tried, "{kind}: {what}: always or never");
            let by = if *alone == 0 { "checkpoints alone" } else { "the database and the root key" };
            let row = format!("| {kind} | {what} | {by} |");
            assert!(page.contains(&row), "docs/audit.md has to say: {row}");
        }
    }
}

#[tokio::test]
async fn eight_kinds_of_attack_are_found_in_every_try() {
    const TRIES: usize = 60;
    let home = Home::sqlite();
    let copies = home.folder.join("copies");
    std::fs::create_dir_all(&copies).unwrap();
    let (store, trail) = trail(&home, Some(&copies)).await;
    home.tamper(&format!("VACUUM INTO '{}/whole.db'", copies.display())).await;
    store.close().await;
    let older: Vec<PathBuf> = [0, 2, 4, 6, 8]
        .iter()
        .map(|round| copies.join(format!("{round}.db")))
        .filter(|path| path.exists())
        .collect();
    let mut random = Random::new(22);
    let mut found = Found::new();
    for (kind, attack) in ATTACKS {
        // All copies of a kind at once: one interpreter costs more than an attack.
        let mut tries = Vec::new();
        let mut script = String::from(
            "import sqlite3, shutil\ndef tamper(base, path, sql):\n shutil.copy(base, path)\n c = sqlite3.connect(path)\n c.executescript(sql)\n c.close()\n",
        );
        for number in 0..TRIES {
            let attempt = attack(&trail, &mut random);
            let base = if kind == "put the database back" {
                &older[random.below(older.len())]
            } else {
                &copies.join("whole.db")
            };
            let path = copies.join(format!("try-{number}.db"));
            let sql = serde_json::to_string(&attempt.sql).unwrap();
            script.push_str(&format!(
                "tamper({:?}, {:?}, {sql})\n",
                base.display().to_string(),
                path.display().to_string()
            ));
            tries.push((attempt, path));
        }
        let file = copies.join("script.py");
        std::fs::write(&file, script).unwrap();
        let done = std::process::Command::new("python3").arg(&file).output().unwrap();
        assert!(done.status.success(), "{kind}: {}", String::from_utf8_lossy(&done.stderr));
        for (attempt, path) in tries {
            let store =
                Store::open(&format!("sqlite:{}", path.display()), OpenOptions::default()).await.unwrap();
            let [alone, with] = looked(&store, &trail, kind, &attempt).await;
            store.close().await;
            let counts = found.entry((kind, attempt.what)).or_default();
            *counts = (counts.0 + 1, counts.1 + usize::from(alone), counts.2 + usize::from(with));
            std::fs::remove_file(path).unwrap();
        }
    }
    judge(&found, TRIES);
}

#[tokio::test]
async fn on_postgresql_as_well() {
    const TABLES: [&str; 6] =
        ["audit", "audit_batch_scopes", "journals", "audit_keys", "credential_values", "credentials"];
    // A few each, and all of them when there is time.
    let tries = latchstring_testkit::rounds(8, 60);
    let home = Home::postgres();
    let (store, trail) = trail(&home, None).await;
    let save: String =
        TABLES.iter().map(|table| format!("CREATE TABLE good_{table} AS SELECT * FROM {table};")).collect();
    home.tamper(&save).await;
    let restore: String =
        TABLES
            .iter()
            .map(|table| format!("DELETE FROM {table};"))
            .chain(TABLES.iter().rev().map(|table| {
                format!("INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM good_{table};")
            }))
            .collect();
    let mut random = Random::new(23);
    let mut found = Found::new();
    for (kind, attack) in &ATTACKS[..7] {
        for _ in 0..tries {
            let attempt = attack(&trail, &mut random);
            let sql = if attempt.what == "it is there again after it was purged" {
                attempt.sql.replace("''", "'\\x'")
            } else {
                attempt.sql.clone()
            };
            home.tamper(&sql).await;
            let [alone, with] = looked(&store, &trail, kind, &attempt).await;
            let counts = found.entry((kind, attempt.what)).or_default();
            *counts = (counts.0 + 1, counts.1 + usize::from(alone), counts.2 + usize::from(with));
            home.tamper(&restore).await;
        }
    }
    // An older copy, by hand: everything behind a moment is gone, heads and credentials as they were.
    for number in 0..tries {
        let at = number % 4;
        let mut sql = String::from("DELETE FROM audit_batch_scopes;");
        for (writer, rows) in &trail.chains {
            match trail.earlier[writer].get(at).filter(|head| head.number < rows.len() as i64) {
                Some(head) => sql.push_str(&format!(
                    "DELETE FROM audit WHERE writer = '{writer}' AND number > {}; {};",
                    head.number,
                    trail.put_back(writer, head)
                )),
                None => continue,
            }
        }
        sql.push_str("INSERT INTO audit_batch_scopes SELECT s.* FROM good_audit_batch_scopes s JOIN audit a ON a.seq = s.seq");
        home.tamper(&sql).await;
        let attempt = put_database_back(&trail, &mut random);
        let [alone, with] = looked(&store, &trail, "put the database back", &attempt).await;
        let counts = found.entry(("put the database back", attempt.what)).or_default();
        *counts = (counts.0 + 1, counts.1 + usize::from(alone), counts.2 + usize::from(with));
        home.tamper(&restore).await;
    }
    judge(&found, tries);
}
