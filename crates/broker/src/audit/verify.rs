//! Whether the trail still is what was written: walks every writer's chain. Reads only, so it can run beside
//! live servers.
//!
//! Found with the database and the root key alone: a record that was edited (its text or one of its columns),
//! deleted, put in or swapped, also within a batch of calls, a batch that the lists no longer find, a chain that was
//! cut at its end or grew beyond its head, one that was hashed anew or appended to (its head is signed), one whose
//! journal was said to be shipped further than it is, one that was cut at its beginning without a signed anchor, records
//! of no known writer, and a credential that is there although the trail tells that it was deleted for good.
//!
//! Found with checkpoints ([`super::checkpoint`]) alone: whatever puts back a state that was true once. A chain that
//! was cut together with its head, to a head that was signed before; a chain that was deleted as a whole; a
//! credential or the whole database in an older state. What cannot be put back is what lies in another place.

use std::collections::{BTreeMap, HashMap};

use latchstring_journal::chain::{self, Broken, Head, Link};
use latchstring_model::entity::Fact;
use latchstring_store::audit::{self, AuditRecord, JournalRow, batch};
use latchstring_store::checkpoints as versions;
use latchstring_store::retention::{self as anchors, AnchorRow};
use latchstring_store::{Store, StoreError, Tx, audit_keys};

use super::body;
use super::checkpoint::Checkpoints;
use super::checkpoint::read::Point;
use super::events::head_of;
use super::retention;
use super::signing::PublicKeys;

/// Rows that are read at once: a batch may have a quarter of a mebibyte, and somewhat more.
const STEP: i64 = 32;

/// A trail that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Events, intents and results, also those in batches.
    pub records: u64,
    /// Rows of the database, which are the links of the chains: a batch is one.
    pub rows: u64,
    /// Records that retention has cut away behind signed anchors.
    pub cut: u64,
    /// Of every writer: to compare with heads that were kept elsewhere.
    pub heads: Vec<WriterHead>,
    /// How much of it checkpoints vouch for; `None` without checkpoints.
    pub covered: Option<Covered>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterHead {
    pub writer: String,
    pub number: u64,
    /// Hexadecimal.
    pub hash: String,
}

/// What checkpoints say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// Rows up to the newest checkpoint of their chain.
    pub rows: u64,
    /// Rows behind it: written since, or while checkpoints could not be.
    pub after: u64,
    pub credentials: u64,
}

/// The first thing that is not as it was written.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("the audit chain {writer} is broken: {broken}")]
    Chain { writer: String, broken: Broken },
    #[error(
        "record {number} of the audit chain {writer} was changed: its columns do not say what its hashed text says"
    )]
    Columns { writer: String, number: u64 },
    #[error(
        "record {number} of the audit chain {writer} is not listed for all of its projects and credentials: the index of batches was changed"
    )]
    Unlisted { writer: String, number: u64 },
    #[error(
        "record {number} of the audit chain {writer} is listed before the one that it follows: their places in lists were swapped"
    )]
    Order { writer: String, number: u64 },
    #[error("record {number} of the audit chain {writer} has a place that no list reaches: it was hidden")]
    Hidden { writer: String, number: u64 },
    #[error(
        "the index of batches has {found} entries, the batches have {expected}: entries were put in, or batches were deleted"
    )]
    StrayEntries { expected: u64, found: u64 },
    #[error("record {number} of the audit chain {writer} cannot be read: {what}; it was changed")]
    Unreadable { writer: String, number: u64, what: &'static str },
    #[error(
        "the audit chain {writer} ends with record {found}, its head is {expected}: records were deleted at its end"
    )]
    Cut { writer: String, expected: u64, found: u64 },
    #[error(
        "the audit chain {writer} goes on behind its head {head}: records were put in at its end, or its head was put back"
    )]
    Beyond { writer: String, head: u64 },
    #[error(
        "record {number} of the audit chain {writer} is not the one that its head names: the end of the chain was written anew"
    )]
    OtherHead { writer: String, number: u64 },
    #[error(
        "record {number} of the audit chain {writer} is its head, and no key of this installation signed it: records were put in at its end, the chain was written anew, or how far its journal is shipped was changed"
    )]
    UnsignedHead { writer: String, number: u64 },
    #[error(
        "the trail is not signed: its key is gone from the database, or no server of this version has started yet"
    )]
    NoKey,
    #[error("the head of the audit chain {writer} is gone, it was there a moment ago")]
    HeadGone { writer: String },
    #[error(
        "the trail has {found} rows, its chains have {expected}: records were put in, two were given one place in lists, or the head of a chain was deleted"
    )]
    Strangers { expected: u64, found: u64 },
    #[error(
        "the audit chain {writer} begins behind record {number}, and no key of this installation signed that anchor: records were deleted at its beginning"
    )]
    Anchor { writer: String, number: u64 },
    #[error("there is an anchor for the audit chain {writer}, which does not exist: the chain was deleted")]
    StrayAnchor { writer: String },
    #[error(
        "record {number} of the audit chain {writer} is not the one that the checkpoint at {place} names: the chain was written anew from record {from} or later"
    )]
    OtherThanCheckpoint { writer: String, number: u64, from: u64, place: String },
    #[error(
        "the audit chain {writer} ends with record {found}, the checkpoint at {place} has seen record {expected}: records from {first} on were deleted, or the database was put back to an older state"
    )]
    BehindCheckpoint { writer: String, expected: u64, found: u64, first: u64, place: String },
    #[error(
        "the audit chain {writer} is gone, the checkpoint at {place} has seen its record {expected}: the chain was deleted, or the database was put back to an older state"
    )]
    ChainGone { writer: String, expected: u64, place: String },
    #[error(
        "the credential {credential} has version {found}, the checkpoint at {place} has seen version {expected}: its row was put back to an older state"
    )]
    CredentialWentBack { credential: String, expected: i64, found: i64, place: String },
    #[error(
        "the values of the credential {credential} in {environment} have version {found}, the checkpoint at {place} has seen version {expected}: they were put back to an older state"
    )]
    ValuesWentBack { credential: String, environment: String, expected: i64, found: i64, place: String },
    #[error(
        "the credential {credential} is gone, the checkpoint at {place} has seen it, and no record tells that it was deleted: its row was removed"
    )]
    CredentialGone { credential: String, place: String },
    #[error(
        "the credential {credential} was deleted for good, says the checkpoint at {place}, and is there again: its row was put back"
    )]
    CredentialBack { credential: String, place: String },
    #[error(
        "the credential {credential} was deleted for good, says record {number} of the audit chain {writer}, and is there again: its row was put back"
    )]
    PurgedIsThere { credential: String, writer: String, number: u64 },
    #[error("the audit trail could not be read, so nothing is known about it: {0}")]
    Store(#[from] StoreError),
}

impl VerifyError {
    /// Whether the trail was tampered with, rather than out of reach.
    pub fn is_broken(&self) -> bool {
        match self {
            VerifyError::Store(error) => matches!(error, StoreError::BadRow(_)),
            _ => true,
        }
    }

    /// Whether the database alone looks whole: only a checkpoint shows it.
    pub fn needs_checkpoints(&self) -> bool {
        matches!(
            self,
            VerifyError::OtherThanCheckpoint { .. }
                | VerifyError::BehindCheckpoint { .. }
                | VerifyError::ChainGone { .. }
                | VerifyError::CredentialWentBack { .. }
                | VerifyError::ValuesWentBack { .. }
                | VerifyError::CredentialGone { .. }
                | VerifyError::CredentialBack { .. }
        )
    }
}

pub(super) fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// What the trail is held against.
#[derive(Clone, Debug, Default)]
pub struct Against {
    /// Whether heads have to be signed: they are by every server.
    pub signed: bool,
    /// Whose signatures count.
    pub keys: PublicKeys,
    pub checkpoints: Option<Checkpoints>,
}

/// How far a chain was walked, and what was met on the way.
#[derive(Clone, Copy)]
struct Walked {
    head: Head,
    seq: i64,
    records: u64,
    /// Links that are there.
    links: u64,
    /// Entries that the index of batches must have.
    entries: u64,
    /// The newest number that a checkpoint vouched for.
    vouched: u64,
}

impl Walked {
    const START: Walked = Walked { head: Head::START, seq: 0, records: 0, links: 0, entries: 0, vouched: 0 };
}

/// One look at the trail.
struct Walk<'a> {
    against: &'a Against,
    anchors: HashMap<String, AnchorRow>,
    /// Credentials of which a record says that they were deleted for good: which record of which chain.
    purged: BTreeMap<String, (String, u64)>,
    cut: u64,
}

impl Walk<'_> {
    fn points(&self, writer: &str) -> Option<&BTreeMap<u64, Point>> {
        self.against.checkpoints.as_ref()?.chains.get(writer)
    }

    fn place(&self, point: &Point) -> String {
        self.against.checkpoints.as_ref().map(|known| known.place(point.stands)).unwrap_or_default()
    }

    /// Where the chain begins: at its start, or at the anchor behind which older records were cut.
    fn start(&self, writer: &str) -> Result<Walked, VerifyError> {
        let Some(anchor) = self.anchors.get(writer) else { return Ok(Walked::START) };
        let number = u64::try_from(anchor.number).unwrap_or(0);
        let unsigned = || VerifyError::Anchor { writer: writer.to_owned(), number };
        if !retention::is_signed(anchor, &self.against.keys) {
            return Err(unsigned());
        }
        let mut walked = Walked { head: retention::head_of(anchor).ok_or_else(unsigned)?, ..Walked::START };
        self.vouch(writer, &mut walked)?;
        Ok(walked)
    }

    /// Compares the head with the checkpoint of its number, if there is one.
    fn vouch(&self, writer: &str, walked: &mut Walked) -> Result<(), VerifyError> {
        let Some(point) = self.points(writer).and_then(|points| points.get(&walked.head.number)) else {
            return Ok(());
        };
        if point.hash != hex(&walked.head.hash) {
            return Err(VerifyError::OtherThanCheckpoint {
                writer: writer.to_owned(),
                number: walked.head.number,
                from: walked.vouched + 1,
                place: self.place(point),
            });
        }
        walked.vouched = walked.head.number;
        Ok(())
    }

    /// Whether all that checkpoints have seen of the chain is there.
    fn reaches(&self, writer: &str, walked: &Walked) -> Result<(), VerifyError> {
        let last = self.points(writer).and_then(|points| points.last_key_value());
        match last.filter(|(number, _)| **number > walked.head.number) {
            None => Ok(()),
            Some((number, point)) => Err(VerifyError::BehindCheckpoint {
                writer: writer.to_owned(),
                expected: *number,
                found: walked.head.number,
                first: walked.head.number + 1,
                place: self.place(point),
            }),
        }
    }

    fn note_purge(&mut self, record: &AuditRecord) {
        if record.fact == Fact::Event
            && record.action == "credential.delete"
            && let Some(credential) = &record.credential_id
            && let body::Known::Event(event) = body::read(&record.body)
            && event.detail.get("purged").is_some_and(|purged| **purged == serde_json::Value::Bool(true))
        {
            let number = u64::try_from(record.number).unwrap_or(0);
            self.purged.insert(credential.to_string(), (record.writer.clone(), number));
        }
    }

    async fn check(
        &mut self,
        tx: &mut impl Tx,
        writer: &str,
        mut walked: Walked,
        records: &[(i64, AuditRecord)],
    ) -> Result<Walked, VerifyError> {
        for (seq, record) in records {
            let number = u64::try_from(record.number).unwrap_or(0);
            let unreadable = |what| VerifyError::Unreadable { writer: writer.to_owned(), number, what };
            let link = Link {
                number,
                previous: record
                    .previous
                    .as_slice()
                    .try_into()
                    .map_err(|_| unreadable("its predecessor's hash has another length"))?,
                hash: record
                    .hash
                    .as_slice()
                    .try_into()
                    .map_err(|_| unreadable("its hash has another length"))?,
                body: record.body.as_bytes(),
            };
            walked.head = chain::verify(writer, walked.head, [link])
                .map_err(|broken| VerifyError::Chain { writer: writer.to_owned(), broken })?;
            if !body::columns(&record.body).are_of(record) {
                return Err(VerifyError::Columns { writer: writer.to_owned(), number });
            }
            if *seq <= walked.seq {
                return Err(VerifyError::Order { writer: writer.to_owned(), number });
            }
            if *seq > batch::LAST_ROW {
                return Err(VerifyError::Hidden { writer: writer.to_owned(), number });
            }
            walked.seq = *seq;
            walked.links += 1;
            walked.records += count(batch::records(&record.body));
            self.vouch(writer, &mut walked)?;
            self.note_purge(record);
            if batch::is_batch(&record.body) {
                let scopes = batch::scopes(writer, &record.body);
                let scopes: Vec<&str> = scopes.iter().map(|scope| &**scope).collect();
                let listed = audit::count_scopes_of(tx, writer, record.number, &scopes).await?;
                if u64::try_from(listed).ok() != Some(count(scopes.len())) {
                    return Err(VerifyError::Unlisted { writer: writer.to_owned(), number });
                }
                walked.entries += count(scopes.len());
            }
        }
        Ok(walked)
    }

    /// Goes on along a chain, at most to the row's head, which is compared when it is met.
    async fn walk(
        &mut self,
        tx: &mut impl Tx,
        row: &JournalRow,
        mut walked: Walked,
    ) -> Result<Walked, VerifyError> {
        let writer = row.writer.as_str();
        let end = head_of(row)?;
        while walked.head.number < end.number {
            let left = i64::try_from(end.number - walked.head.number).unwrap_or(i64::MAX);
            let after = i64::try_from(walked.head.number).unwrap_or(i64::MAX);
            let records = match audit::chain_with_seq(tx, writer, after, left.min(STEP)).await {
                // One of them holds what no server writes: which?
                Err(StoreError::BadRow(_)) => match audit::chain_with_seq(tx, writer, after, 1).await {
                    Err(StoreError::BadRow(_)) => {
                        let (writer, number) = (writer.to_owned(), walked.head.number + 1);
                        let what = "a column holds what no server writes";
                        return Err(VerifyError::Unreadable { writer, number, what });
                    }
                    other => other?,
                },
                other => other?,
            };
            if records.is_empty() {
                return Err(VerifyError::Cut {
                    writer: writer.to_owned(),
                    expected: end.number,
                    found: walked.head.number,
                });
            }
            walked = self.check(tx, writer, walked, &records).await?;
        }
        if walked.head.number == end.number && walked.head.hash != end.hash {
            return Err(VerifyError::OtherHead { writer: writer.to_owned(), number: end.number });
        }
        Ok(walked)
    }

    /// [`Walk::walk`] while servers work: retention may cut what is about to be read.
    async fn walk_beside(&mut self, tx: &mut impl Tx, row: &JournalRow) -> Result<Walked, VerifyError> {
        loop {
            let start = self.start(&row.writer)?;
            let error = match self.walk(tx, row, start).await {
                Err(error @ (VerifyError::Chain { .. } | VerifyError::Cut { .. })) => error,
                other => return other,
            };
            let anchor = anchors::anchor(tx, &row.writer).await?;
            let known = self.anchors.get(&row.writer).map(|anchor| anchor.number);
            match anchor.filter(|anchor| Some(anchor.number) > known) {
                Some(anchor) => self.anchors.insert(row.writer.clone(), anchor),
                None => return Err(error),
            };
        }
    }

    /// Whether credentials are at least as new as checkpoints have seen them, and none is there that was purged.
    async fn credentials(&self, tx: &mut impl Tx) -> Result<u64, VerifyError> {
        if self.purged.is_empty() && self.against.checkpoints.is_none() {
            return Ok(0);
        }
        let mut found: HashMap<String, (i64, BTreeMap<String, i64>)> = HashMap::new();
        for row in versions::credentials(tx).await? {
            let versions = found.entry(row.id).or_insert_with(|| (row.version.unwrap_or(0), BTreeMap::new()));
            versions.1.extend(row.values);
        }
        if let Some((credential, (writer, number))) =
            self.purged.iter().find(|(id, _)| found.contains_key(*id))
        {
            let (credential, writer, number) = (credential.clone(), writer.clone(), *number);
            return Err(VerifyError::PurgedIsThere { credential, writer, number });
        }
        let Some(known) = &self.against.checkpoints else { return Ok(0) };
        for (id, point) in &known.credentials {
            let (credential, place) = (id.clone(), known.place(point.stands));
            match (point.version, found.get(id)) {
                (None, None) => {}
                (None, Some(_)) => return Err(VerifyError::CredentialBack { credential, place }),
                (Some(_), None) if self.purged.contains_key(id) => {}
                (Some(_), None) => return Err(VerifyError::CredentialGone { credential, place }),
                (Some(expected), Some((version, values))) => {
                    if *version < expected {
                        let found = *version;
                        return Err(VerifyError::CredentialWentBack { credential, expected, found, place });
                    }
                    // An environment may be removed, which is a change of the credential.
                    let gone = (*version == expected).then_some(0);
                    for (environment, expected) in &point.values {
                        let found = values.get(environment).copied().or(gone);
                        if let Some(found) = found.filter(|found| found < expected) {
                            let (environment, expected) = (environment.clone(), *expected);
                            return Err(VerifyError::ValuesWentBack {
                                credential,
                                environment,
                                expected,
                                found,
                                place,
                            });
                        }
                    }
                }
            }
        }
        Ok(count(known.credentials.len()))
    }
}

/// Checks the whole trail by itself: without signatures and without checkpoints.
pub async fn verify_audit(store: &Store) -> Result<Report, VerifyError> {
    verify_against(store, &Against::default()).await
}

/// Checks the whole trail, and that it is the one that the checkpoints tell of. They have to be read before.
pub async fn verify_against(store: &Store, against: &Against) -> Result<Report, VerifyError> {
    match whole(store, against).await {
        Err(error) if error.needs_checkpoints() => {
            // Checkpoints meet a changed record where they name it. Whether the database shows it by itself is another
            // question, and then its answer is the one that is told.
            let alone = Against { checkpoints: None, ..against.clone() };
            match whole(store, &alone).await {
                Err(shown) if shown.is_broken() => Err(shown),
                _ => Err(error),
            }
        }
        other => other,
    }
}

async fn whole(store: &Store, against: &Against) -> Result<Report, VerifyError> {
    in_one_moment(store, long_way(store, against).await?).await
}

fn by_writer(all: Vec<AnchorRow>) -> HashMap<String, AnchorRow> {
    all.into_iter().map(|anchor| (anchor.writer.clone(), anchor)).collect()
}

/// A look that has come as far as the heads of the moment when it began.
pub(super) struct Begun<'a> {
    walk: Walk<'a>,
    heads: HashMap<String, Walked>,
}

/// The long way, in small reads; chains may grow meanwhile.
pub(super) async fn long_way<'a>(store: &Store, against: &'a Against) -> Result<Begun<'a>, VerifyError> {
    let mut reader = store.read().await?;
    let anchors = by_writer(anchors::anchors(&mut reader).await?);
    let mut walk = Walk { against, anchors, purged: BTreeMap::new(), cut: 0 };
    let mut heads: HashMap<String, Walked> = HashMap::new();
    for row in audit::journals(&mut reader).await? {
        let walked = walk.walk_beside(&mut reader, &row).await?;
        heads.insert(row.writer.clone(), walked);
    }
    Ok(Begun { walk, heads })
}

/// What was written meanwhile, and that there is nothing else.
pub(super) async fn in_one_moment(store: &Store, begun: Begun<'_>) -> Result<Report, VerifyError> {
    let Begun { mut walk, mut heads } = begun;
    let against = walk.against;
    let mut tx = store.begin_read().await?;
    let rows = audit::journals(&mut tx).await?;
    walk.anchors = by_writer(anchors::anchors(&mut tx).await?);
    let signatures = audit_keys::head_signatures(&mut tx).await?;
    if against.signed && against.keys.is_empty() && !rows.is_empty() {
        return Err(VerifyError::NoKey);
    }
    let mut report =
        Report { records: 0, rows: 0, cut: 0, heads: Vec::with_capacity(rows.len()), covered: None };
    let (mut entries, mut vouched) = (0, 0);
    for row in &rows {
        let writer = &row.writer;
        let begins = walk.start(writer)?;
        let from = match heads.remove(writer) {
            // What was cut since it was walked is counted anew: the whole chain is.
            Some(walked) if walked.head.number.checked_sub(begins.head.number) == Some(walked.links) => {
                walked
            }
            _ => begins,
        };
        let end = head_of(row)?;
        if end.number < from.head.number {
            return Err(VerifyError::Beyond { writer: writer.clone(), head: end.number });
        }
        let walked = walk.walk(&mut tx, row, from).await?;
        if !audit::chain(&mut tx, writer, row.number, 1).await?.is_empty() {
            return Err(VerifyError::Beyond { writer: writer.clone(), head: end.number });
        }
        if against.signed && !row.is_new() {
            let fits = signatures.get(writer).is_some_and(|found| against.keys.fit_head(row, found));
            if !fits {
                return Err(VerifyError::UnsignedHead { writer: writer.clone(), number: walked.head.number });
            }
        }
        walk.reaches(writer, &walked)?;
        report.records += walked.records;
        report.rows += walked.links;
        entries += walked.entries;
        vouched += walked.vouched.saturating_sub(begins.head.number);
        if let Some(anchor) = walk.anchors.remove(writer) {
            walk.cut += u64::try_from(anchor.records).unwrap_or(0);
        }
        report.heads.push(WriterHead {
            writer: writer.clone(),
            number: walked.head.number,
            hash: hex(&walked.head.hash),
        });
    }
    if let Some(writer) = heads.into_keys().min() {
        return Err(VerifyError::HeadGone { writer });
    }
    if let Some(writer) = walk.anchors.keys().min().cloned() {
        return Err(VerifyError::StrayAnchor { writer });
    }
    if let Some(known) = &against.checkpoints {
        let gone = known.chains.iter().find(|(writer, _)| !rows.iter().any(|row| row.writer == **writer));
        if let Some((writer, (expected, point))) =
            gone.and_then(|(writer, points)| Some((writer, points.last_key_value()?)))
        {
            return Err(VerifyError::ChainGone {
                writer: writer.clone(),
                expected: *expected,
                place: known.place(point.stands),
            });
        }
    }
    let found = u64::try_from(audit::count(&mut tx).await?).unwrap_or(0);
    if found != report.rows {
        return Err(VerifyError::Strangers { expected: report.rows, found });
    }
    let found = u64::try_from(audit::count_scopes(&mut tx).await?).unwrap_or(0);
    if found != entries {
        return Err(VerifyError::StrayEntries { expected: entries, found });
    }
    let credentials = walk.credentials(&mut tx).await?;
    report.cut = walk.cut;
    report.covered = against.checkpoints.is_some().then_some(Covered {
        rows: vouched,
        after: report.rows.saturating_sub(vouched),
        credentials,
    });
    Ok(report)
}
