//! Writing checkpoints: a job of every server that has a place for them.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchstring_model::Timestamp;
use latchstring_store::checkpoints::{self as rows, CredentialVersion, HeadRow};
use latchstring_store::{StoreError, scopes};
use tokio::time::Instant;

use super::line::{self, Checkpoint, Credential, Head};
use crate::Broker;
use crate::actor::Actor;
use crate::audit::events::{self, Event};
use crate::audit::signing::{Signer, SigningError};
use crate::audit::verify::hex;

/// A record waits for its checkpoint no longer than this, and no longer than until there are [`MOST`].
const LONGEST: Duration = Duration::from_secs(1);
const MOST: i64 = 10;
/// Credentials in one line.
const CREDENTIALS_A_LINE: usize = 2_000;

/// Where checkpoints go. It blocks, and is called from one thread at a time.
pub trait Place: Send + Sync + 'static {
    /// Called before lines are written: whether the place is what it was after the last of them.
    fn look(&mut self) -> io::Result<Look>;
    /// Writes lines, each with its line break, and waits until they would survive a power loss.
    fn append(&mut self, lines: &str) -> io::Result<()>;
}

/// What is found in the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// What was written last is its end.
    Same,
    /// Opened for the first time, or anew after an error. Its last line that is a checkpoint, if there is one.
    Opened { last: Option<String> },
    /// Another file lies there, or the file has become shorter: it was moved away, or somebody cut it.
    Replaced,
}

/// Why there is no checkpoint. The next turn begins anew.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("the place of the audit checkpoints cannot be written: {0}; check LATCHSTRING_AUDIT_CHECKPOINTS")]
    Place(#[from] io::Error),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error("the audit trail cannot be read: {0}")]
    Store(#[from] StoreError),
    #[error("a worker thread ended early")]
    Worker(#[from] tokio::task::JoinError),
}

impl From<serde_json::Error> for CheckpointError {
    fn from(error: serde_json::Error) -> Self {
        Self::Signing(error.into())
    }
}

/// What was said already.
#[derive(Default)]
struct Said {
    number: u64,
    previous: Option<String>,
    seq: i64,
    /// Up to where credentials were looked at: the database's clock. `None`: not at all.
    until: Option<Timestamp>,
    /// Those that the next look back finds again.
    credentials: HashMap<String, Credential>,
    /// Whether everything has been said once by this process in this place.
    whole: bool,
}

/// The job's memory.
pub struct Checkpointer {
    place: Option<Box<dyn Place>>,
    said: Option<Said>,
    wrote: Option<Instant>,
    /// Since when checkpoints cannot be written.
    failing: bool,
}

/// What the trail is at one moment.
struct Moment {
    seq: i64,
    rows: i64,
    chains: i64,
    heads: Vec<Head>,
    credentials: Vec<Credential>,
    until: Timestamp,
}

fn head(row: HeadRow) -> Head {
    Head { writer: row.writer, number: u64::try_from(row.number).unwrap_or(0), hash: hex(&row.head) }
}

fn credentials(rows: Vec<CredentialVersion>) -> Vec<Credential> {
    let mut all: Vec<Credential> = Vec::new();
    for row in rows {
        let CredentialVersion { id, version, values } = row;
        match all.last_mut().filter(|last| last.id == id) {
            Some(last) => last.values.extend(values),
            None => all.push(Credential { id, version, values: BTreeMap::from_iter(values) }),
        }
    }
    all
}

impl Checkpointer {
    pub fn new(place: Box<dyn Place>) -> Self {
        Self { place: Some(place), said: None, wrote: None, failing: false }
    }

    /// One turn: a checkpoint if one is due. How many lines were written.
    pub async fn turn(&mut self, broker: &Broker) -> Result<usize, CheckpointError> {
        self.told(broker, false).await
    }

    /// Whatever is new, at once: the server ends.
    pub async fn last(&mut self, broker: &Broker) -> Result<usize, CheckpointError> {
        self.told(broker, true).await
    }

    async fn told(&mut self, broker: &Broker, at_once: bool) -> Result<usize, CheckpointError> {
        let outcome = self.write(broker, at_once).await;
        match &outcome {
            Ok(_) => self.failing = false,
            Err(error) => {
                // It is told once, also in the trail.
                if !std::mem::replace(&mut self.failing, true)
                    && let CheckpointError::Place(error) = error
                {
                    note(broker, Event::new("audit.checkpoint_failed").detail("error", error.to_string()))
                        .await;
                }
            }
        }
        outcome
    }

    async fn write(&mut self, broker: &Broker, at_once: bool) -> Result<usize, CheckpointError> {
        if self.said.is_some() && !at_once && !self.due(broker).await? {
            return Ok(0);
        }
        let look = self.on_place(|place| place.look()).await?;
        match look {
            Look::Same if self.said.is_some() => {}
            Look::Replaced if self.said.is_some() => {
                note(broker, Event::new("audit.checkpoints_moved")).await;
                tracing::warn!(
                    "the file of the audit checkpoints was moved away or cut; a new one begins, which goes on from the last line that was written"
                );
                if let Some(said) = &mut self.said {
                    said.whole = false;
                    said.until = None;
                    said.credentials.clear();
                }
            }
            Look::Opened { last } => self.said = Some(behind(last.as_deref())),
            Look::Same | Look::Replaced => self.said = Some(Said::default()),
        }
        let Some(said) = &mut self.said else { return Ok(0) };
        let moment = look_at(broker, said).await?;
        if moment.seq == said.seq && said.whole {
            return Ok(0);
        }
        let (lines, said) = lines(broker, said, moment).await?;
        let count = lines.lines().count();
        if let Err(error) = self.on_place(move |place| place.append(&lines)).await {
            // What has been written of a line is not known: look into the place again.
            self.said = None;
            return Err(error);
        }
        self.said = Some(said);
        self.wrote = Some(Instant::now());
        Ok(count)
    }

    /// Whether there is something new, and enough of it.
    async fn due(&self, broker: &Broker) -> Result<bool, StoreError> {
        let Some(said) = &self.said else { return Ok(true) };
        let mut reader = broker.parts.store.read().await?;
        let newest = rows::newest(&mut reader).await?;
        if newest == said.seq {
            return Ok(!said.whole);
        }
        let waited = self.wrote.is_none_or(|wrote| wrote.elapsed() >= LONGEST);
        // A batch of calls is one row and has more records than one waits for.
        Ok(waited || newest - said.seq >= MOST || rows::batches_since(&mut reader, said.seq).await? > 0)
    }

    async fn on_place<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Box<dyn Place>) -> io::Result<T> + Send + 'static,
    ) -> Result<T, CheckpointError> {
        let Some(mut place) = self.place.take() else {
            return Err(io::Error::other("the thread that wrote there ended early").into());
        };
        let (place, outcome) = tokio::task::spawn_blocking(move || {
            let outcome = work(&mut place);
            (place, outcome)
        })
        .await?;
        self.place = Some(place);
        Ok(outcome?)
    }
}

#[cfg(test)]
impl Checkpointer {
    /// The tests' clock of it: when it wrote last.
    pub(crate) fn wrote_at(&mut self, when: Instant) {
        self.wrote = Some(when);
    }
}

/// Into the trail, if it can be written.
async fn note(broker: &Broker, event: Event) {
    let event = event.outcome(latchstring_model::entity::Outcome::Failed);
    let written = async {
        let mut tx = broker.parts.store.begin_upkeep().await?;
        let actor = Actor::operator();
        events::append(&mut tx, &broker.parts.server, broker.now(), &[(&actor, event)]).await?;
        tx.commit().await
    };
    if let Err(error) = written.await {
        tracing::warn!(error = %error, "trouble with the audit checkpoints could not be recorded");
    }
}

/// Goes on behind what an earlier process wrote: its heads are said again, its credentials are not.
fn behind(last: Option<&str>) -> Said {
    let Some(line) = last else { return Said::default() };
    let mut said = Said { previous: Some(line::hash(line)), ..Said::default() };
    if let Ok(checkpoint) = line::parse(line) {
        said.number = checkpoint.number;
        // In the middle of a list nobody knows where it stopped.
        said.until = (!checkpoint.more).then_some(Timestamp(checkpoint.until));
    }
    said
}

/// In one snapshot, so that heads and credentials belong together.
async fn look_at(broker: &Broker, said: &Said) -> Result<Moment, StoreError> {
    let mut tx = broker.parts.store.begin_read().await?;
    let seq = rows::newest(&mut tx).await?;
    let until = scopes::db_now(&mut tx).await?;
    let heads =
        if said.whole { rows::heads_since(&mut tx, said.seq).await? } else { rows::heads(&mut tx).await? };
    let found = match said.until {
        Some(since) => rows::credentials_since(&mut tx, since.plus_millis(-scopes::OVERLAP_MILLIS)).await?,
        None => rows::credentials(&mut tx).await?,
    };
    let (rows, chains) = rows::recorded(&mut tx).await?;
    Ok(Moment {
        seq,
        rows,
        chains,
        heads: heads.into_iter().map(head).collect(),
        credentials: credentials(found),
        until,
    })
}

/// The lines for a moment, and what has been said with them.
async fn lines(broker: &Broker, said: &Said, moment: Moment) -> Result<(String, Said), CheckpointError> {
    let parts = &broker.parts;
    let now = broker.now();
    let signer = Signer::current(&parts.store, &parts.vault).await?;
    let fresh: Vec<Credential> = moment
        .credentials
        .iter()
        .filter(|found| said.credentials.get(&found.id) != Some(found))
        .cloned()
        .collect();
    let mut next = Said {
        number: said.number,
        previous: said.previous.clone(),
        seq: moment.seq,
        until: Some(moment.until),
        credentials: moment.credentials.into_iter().map(|found| (found.id.clone(), found)).collect(),
        whole: true,
    };
    let mut text = String::new();
    let mut heads = Some(moment.heads);
    let mut parts_of = fresh.chunks(CREDENTIALS_A_LINE).peekable();
    loop {
        let credentials = parts_of.next().unwrap_or_default().to_vec();
        let more = parts_of.peek().is_some();
        next.number += 1;
        let checkpoint = Checkpoint {
            checkpoint: Checkpoint::FORMAT,
            server: parts.server.clone(),
            number: next.number,
            previous: next.previous.clone(),
            at: now.to_rfc3339(),
            seq: moment.seq,
            rows: moment.rows,
            chains: moment.chains,
            heads: heads.take().unwrap_or_default(),
            credentials,
            more,
            until: moment.until.millis(),
            key: signer.id.clone(),
            public_key: (!said.whole).then(|| STANDARD.encode(signer.public_key)),
        };
        let line = checkpoint.signed(&parts.vault, &signer)?;
        next.previous = Some(line::hash(&line));
        text.push_str(&line);
        text.push('\n');
        if !more {
            return Ok((text, next));
        }
    }
}
