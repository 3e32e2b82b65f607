//! What the control runtime does by itself, again and again. Each job has a name and an interval; its errors
//! and panics are logged and it goes on; it stops when the server does.

pub(crate) mod places;
pub mod supervisor;
mod trail;
pub mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use latchstring_model::Timestamp;
use latchstring_store::instance;
use latchstring_vault::KeyRing;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Broker;
use crate::audit::checkpoint::write::Checkpointer;
use crate::audit::ship::Shipper;
use supervisor::{Again, Job};

/// Jobs that have something to bring to an end get this long in all.
const LAST_TURN: Duration = Duration::from_secs(5);
const KEY_FILE: Duration = Duration::from_secs(3);
/// What is recorded is in the database within a second; until then the more is gathered, the less it costs.
const SHIPPED_EVERY: Duration = Duration::from_millis(400);

/// The running jobs.
pub struct Jobs {
    broker: Arc<Broker>,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
    checkpointer: Option<Arc<tokio::sync::Mutex<Checkpointer>>>,
}

impl Jobs {
    /// Reads the root key file again every few seconds and takes what is new in it, so that this server soon
    /// reports a key that a rotation has added. A file that cannot be read, or lacks a key that the data needs,
    /// is logged and leaves the ring as it is. `read` may block.
    pub fn watch_key_file(
        &mut self,
        read: impl Fn() -> Result<KeyRing, String> + Send + Sync + 'static,
        stop: watch::Receiver<bool>,
    ) {
        let (broker, read) = (Arc::clone(&self.broker), Arc::new(read));
        let job = Job::new("key file", KEY_FILE, move || {
            let (broker, read) = (Arc::clone(&broker), Arc::clone(&read));
            async move {
                let ring = tokio::task::spawn_blocking(move || read())
                    .await
                    .map_err(|error| error.to_string())??;
                broker.take_ring(ring).await.map_err(|error| error.to_string())?;
                Ok(Again::Later)
            }
        });
        let entropy = Arc::clone(&self.broker.parts.entropy);
        self.tasks.push((job.name, self.broker.parts.control.spawn(job.run(entropy, stop))));
    }

    /// Waits until all have ended after the stop signal: what the journal holds has been shipped if the
    /// database answers, and the server is no longer listed as living.
    pub async fn ended(mut self) {
        let ends = async {
            for (name, task) in self.tasks.drain(..) {
                if task.await.is_err() {
                    tracing::error!(job = name, "a job ended early");
                }
            }
            let ended = async {
                let mut tx = self.broker.parts.store.begin_upkeep().await?;
                instance::end_server(&mut tx, &self.broker.parts.server).await?;
                tx.commit().await
            };
            if let Err(error) = ended.await {
                tracing::warn!(error = %error, "the database could not be told that this server ends");
            }
            self.last_checkpoint().await;
        };
        if tokio::time::timeout(LAST_TURN * 2, ends).await.is_err() {
            tracing::warn!(
                "jobs did not end in time; what the journal still holds is shipped at the next start"
            );
        }
    }
}

impl Broker {
    /// Starts all jobs on the control runtime. `stop` turns true when the server ends, after the last call.
    pub fn start_jobs(self: &Arc<Self>, stop: watch::Receiver<bool>) -> Jobs {
        let parts = &self.parts;
        let shipper = Shipper::new(
            parts.store.clone(),
            Arc::clone(&parts.journal),
            parts.server.clone(),
            Arc::clone(&parts.clock),
        );
        let shipper = Arc::new(tokio::sync::Mutex::new(shipper));
        let started_at: Timestamp = self.now();
        let mut tasks = Vec::new();
        let mut start = |job: Job| {
            let entropy = Arc::clone(&parts.entropy);
            tasks.push((job.name, parts.control.spawn(job.run(entropy, stop.clone()))));
        };

        start(
            Job::new("ship", SHIPPED_EVERY, move || {
                let shipper = Arc::clone(&shipper);
                async move {
                    let round = shipper.lock().await.round().await.map_err(|error| error.to_string())?;
                    Ok(if round.more { Again::Now } else { Again::Later })
                }
            })
            .with_last_turn(LAST_TURN),
        );

        let broker = Arc::clone(self);
        start(
            Job::new("refusals", Duration::from_secs(1), move || {
                let broker = Arc::clone(&broker);
                async move {
                    broker.write_refusals().await.map(|_| Again::Later).map_err(|error| error.to_string())
                }
            })
            .with_last_turn(LAST_TURN),
        );

        let broker = Arc::clone(self);
        start(
            Job::new("keys used", Duration::from_secs(10), move || {
                let broker = Arc::clone(&broker);
                async move { broker.write_used_keys().await.map_err(|error| error.to_string()) }
            })
            .with_last_turn(LAST_TURN),
        );

        let broker = Arc::clone(self);
        start(Job::new("heartbeat", upkeep::HEARTBEAT, move || {
            let broker = Arc::clone(&broker);
            async move { broker.heartbeat(started_at).await.map_err(|error| error.to_string()) }
        }));

        let broker = Arc::clone(self);
        start(Job::new("data keys", Duration::from_secs(5), move || {
            let broker = Arc::clone(&broker);
            async move {
                broker.reload_data_keys().await.map(|()| Again::Later).map_err(|error| error.to_string())
            }
        }));

        let broker = Arc::clone(self);
        start(Job::new("reseal", Duration::from_secs(60), move || {
            let broker = Arc::clone(&broker);
            async move { broker.finish_rotation().await.map(|()| Again::Later).map_err(|error| error.to_string()) }
        }));

        let broker = Arc::clone(self);
        start(Job::new("purge", Duration::from_secs(600), move || {
            let broker = Arc::clone(&broker);
            async move { broker.purge_expired().await.map_err(|error| error.to_string()) }
        }));

        let broker = Arc::clone(self);
        start(Job::new("deletions", Duration::from_secs(60), move || {
            let broker = Arc::clone(&broker);
            async move { broker.delete_due_credentials().await.map_err(|error| error.to_string()) }
        }));

        let broker = Arc::clone(self);
        start(Job::new("notices", Duration::from_secs(2), move || {
            let broker = Arc::clone(&broker);
            async move {
                // Deliveries go on by themselves.
                broker.deliver_notices().await.map(|_| Again::Later).map_err(|problem| problem.to_string())
            }
        }));

        let broker = Arc::clone(self);
        start(Job::new("tidy notices", Duration::from_secs(60), move || {
            let broker = Arc::clone(&broker);
            async move {
                broker.tidy_notices().await.map(|()| Again::Later).map_err(|problem| problem.to_string())
            }
        }));

        let broker = Arc::clone(self);
        start(Job::new("ending grants", Duration::from_secs(3600), move || {
            let broker = Arc::clone(&broker);
            async move { broker.tell_of_ending_grants().await.map_err(|problem| problem.to_string()) }
        }));

        let broker = Arc::clone(self);
        start(Job::new("devices", Duration::from_secs(1), move || {
            let broker = Arc::clone(&broker);
            async move {
                // What was asked goes on by itself.
                broker.poll_devices().await.map(|_| Again::Later).map_err(|problem| problem.to_string())
            }
        }));

        let broker = Arc::clone(self);
        start(Job::new("endings", Duration::from_secs(3600), move || {
            let broker = Arc::clone(&broker);
            async move { broker.tell_of_endings().await.map_err(|problem| problem.to_string()) }
        }));

        let broker = Arc::clone(self);
        start(Job::new("statuses", Duration::from_secs(3600), move || {
            let broker = Arc::clone(&broker);
            async move { broker.state_unstated().await.map_err(|error| error.to_string()) }
        }));

        if self.settings.verify_every.is_some() {
            let broker = Arc::clone(self);
            start(Job::new("checks", Duration::from_secs(2), move || {
                let broker = Arc::clone(&broker);
                async move {
                    // What was begun goes on by itself.
                    broker
                        .check_due_values()
                        .await
                        .map(|_| Again::Later)
                        .map_err(|problem| problem.to_string())
                }
            }));
        }

        if self.settings.background_refresh {
            let broker = Arc::clone(self);
            start(Job::new("tokens", Duration::from_secs(5), move || {
                let broker = Arc::clone(&broker);
                async move {
                    // Renewals go on by themselves.
                    broker
                        .refresh_due_tokens()
                        .await
                        .map(|_| Again::Later)
                        .map_err(|problem| problem.to_string())
                }
            }));
        }

        Jobs { broker: Arc::clone(self), tasks, checkpointer: None }
    }
}
