//! The jobs that keep the audit trail: checkpoints into a second place, and old records cut away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use super::supervisor::{Again, Job};
use super::{Jobs, LAST_TURN};
use crate::audit::checkpoint::Place;
use crate::audit::checkpoint::write::Checkpointer;
use crate::audit::signing::{FirstKey, sign_heads};

/// Whether a checkpoint is due is looked at so often: a row more is found by one look into an index.
const CHECKPOINT: Duration = Duration::from_millis(150);
const KEY: Duration = Duration::from_secs(600);
const RETENTION: Duration = Duration::from_secs(3600);
/// Not more often, however short the retention is.
const SHORTEST_RETENTION: Duration = Duration::from_secs(1);

impl Jobs {
    /// Writes checkpoints of the trail into this place, as long as the server runs and once more at its end.
    pub fn keep_checkpoints(&mut self, place: Box<dyn Place>, stop: watch::Receiver<bool>) {
        let checkpointer = Arc::new(Mutex::new(Checkpointer::new(place)));
        self.checkpointer = Some(Arc::clone(&checkpointer));
        let broker = Arc::clone(&self.broker);
        self.start(
            Job::new("checkpoints", CHECKPOINT, move || {
                let (broker, checkpointer) = (Arc::clone(&broker), Arc::clone(&checkpointer));
                async move {
                    let mut checkpointer = checkpointer.lock().await;
                    checkpointer.turn(&broker).await.map(|_| Again::Later).map_err(|error| error.to_string())
                }
            }),
            stop,
        );
    }

    /// The key that heads are signed with is sealed anew when data keys rotate: it is read again now and then.
    pub fn keep_audit_key(&mut self, stop: watch::Receiver<bool>) {
        let broker = Arc::clone(&self.broker);
        self.start(
            Job::new("audit key", KEY, move || {
                let broker = Arc::clone(&broker);
                async move {
                    let parts = &broker.parts;
                    sign_heads(&parts.store, &parts.vault, broker.now(), &*parts.entropy, FirstKey::Never)
                        .await
                        .map(|()| Again::Later)
                        .map_err(|error| error.to_string())
                }
            }),
            stop,
        );
    }

    /// Cuts records away that are older than this.
    pub fn cut_old_records(&mut self, retention: Duration, stop: watch::Receiver<bool>) {
        let broker = Arc::clone(&self.broker);
        let interval = (retention / 4).clamp(SHORTEST_RETENTION, RETENTION);
        self.start(
            Job::new("retention", interval, move || {
                let broker = Arc::clone(&broker);
                async move { broker.cut_old_records(retention).await.map_err(|error| error.to_string()) }
            }),
            stop,
        );
    }

    fn start(&mut self, job: Job, stop: watch::Receiver<bool>) {
        let entropy = Arc::clone(&self.broker.parts.entropy);
        self.tasks.push((job.name, self.broker.parts.control.spawn(job.run(entropy, stop))));
    }

    /// What the last jobs recorded has its checkpoint, too.
    pub(super) async fn last_checkpoint(&mut self) {
        let Some(checkpointer) = self.checkpointer.take() else { return };
        let mut checkpointer = checkpointer.lock().await;
        match tokio::time::timeout(LAST_TURN, checkpointer.last(&self.broker)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "the last audit checkpoint could not be written")
            }
            Err(_) => tracing::warn!("the last audit checkpoint was not written in time"),
        }
    }
}
