//! Step 5, record: the intent is in the journal before the secret leaves. Only this step mints the
//! [`CallTicket`], and without one there is no connection.

use std::borrow::Cow;
use std::sync::Arc;

use latchstring_egress::EgressError;
use latchstring_journal::{
    Actor as JournalActor, ActorKind, AppendError, CallResult, Intent, Purpose, Record, Writer,
};
use latchstring_model::entity::Outcome;
use latchstring_model::id::{CallId, CredentialId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{CallTicket, Clock, Code, Origin, Pin, PinPurpose, Problem, Timestamp};

use crate::actor::{Actor, Who};
use crate::audit::Event;
use crate::metrics::CallCounts;
use crate::{Broker, refusals};

/// Everything about a call that is written down before it is made.
pub struct About<'a> {
    pub call: &'a CallId,
    pub at: Timestamp,
    pub project: Option<&'a ProjectId>,
    pub credential: &'a CredentialId,
    pub actor: &'a Actor,
    /// The credential's environment whose values are used.
    pub environment: &'a str,
    /// The project's environment in which the call is made.
    pub project_environment: Option<&'a str>,
    pub purpose: Purpose,
    pub method: &'a str,
    pub host: &'a str,
    /// As the caller wrote it, without the query.
    pub path: &'a str,
    pub client: Option<&'a str>,
    /// As the credential's owner noted it.
    pub acts_as: Option<&'a str>,
}

fn who(actor: &Actor) -> JournalActor<'_> {
    let (kind, id, email) = match &actor.who {
        Who::Person { person, .. } => {
            (ActorKind::User, Some(person.id.as_str()), Some(person.email.as_str()))
        }
        Who::Service { key, .. } | Who::Account { key, .. } => (ActorKind::Key, Some(key.as_str()), None),
        Who::Operator => (ActorKind::Server, None, None),
        Who::Anonymous => (ActorKind::Anonymous, None, None),
        Who::EndUser { session, .. } => (ActorKind::Anonymous, Some(session.as_str()), None),
    };
    JournalActor { kind, id: id.map(Cow::Borrowed), email: email.map(Cow::Borrowed) }
}

/// A use that cannot be recorded does not happen.
fn refused(error: &AppendError) -> Box<Problem> {
    tracing::error!(error = %error, "a call was refused because it could not be recorded");
    Problem::new(Code::Unavailable, "The call was not made, because its record could not be written.")
        .hint("Usually the journal's disk is full or the database has been away for long. Whoever runs this server finds the reason in its log.")
        .retry_after(5)
        .into()
}

/// Writes the intent, then gives out the ticket.
pub fn intent(
    journal: &Writer,
    about: &About<'_>,
    pins: Arc<[Pin]>,
) -> impl Future<Output = Refused<CallTicket>> + Send + use<> {
    let record = Record::Intent(Intent {
        call_id: Cow::Borrowed(about.call),
        at: about.at,
        project_id: about.project.map(Cow::Borrowed),
        credential_id: Cow::Borrowed(about.credential),
        actor: who(about.actor),
        environment: about.environment.into(),
        project_environment: about.project_environment.map(Cow::Borrowed),
        purpose: about.purpose,
        method: about.method.into(),
        host: about.host.into(),
        path: about.path.into(),
        client: about.client.map(Cow::Borrowed),
        acts_as: about.acts_as.map(Cow::Borrowed),
    });
    let written = journal.append(&record);
    let (call, project) = (about.call.clone(), about.project.cloned());
    async move {
        written.await.map_err(|error| refused(&error))?;
        Ok(CallTicket::mint(call, project, pins))
    }
}

/// For reading what a provider publishes for everybody (RFC 8414): no credential is used and nothing secret is
/// sent, so there is no call to record. The event that says who asked, and where, is in the audit trail first.
pub async fn document(
    broker: &Broker,
    actor: &Actor,
    event: Event,
    origin: &Origin,
    project: Option<&ProjectId>,
) -> Refused<CallTicket> {
    let mut tx = broker.parts.store.begin_upkeep().await.map_err(refusals::store)?;
    broker.record(&mut tx, actor, event).await?;
    tx.commit().await.map_err(refusals::store)?;
    let call = CallId::new(broker.now(), &*broker.parts.entropy);
    let pins = Arc::from([Pin::new(PinPurpose::Token, origin.clone(), "/")]);
    Ok(CallTicket::mint(call, project.cloned(), pins))
}

/// What the outcomes of calls are written with. One for each core: that is why it is shared as one thing.
pub struct Keeper {
    journal: Writer,
    clock: Arc<dyn Clock>,
    counts: Arc<CallCounts>,
}

impl Keeper {
    pub fn new(journal: Writer, clock: Arc<dyn Clock>, counts: Arc<CallCounts>) -> Self {
        Self { journal, clock, counts }
    }

    pub fn journal(&self) -> &Writer {
        &self.journal
    }

    pub fn counts(&self) -> &CallCounts {
        &self.counts
    }
}

/// The outcome of a call whose intent is written, or about to be: who goes away meanwhile leaves an intent, too. Written, and counted among its core's metrics, when it ends, however
/// it ends: dropped early means that the caller went away.
pub struct Noted {
    keeper: Arc<Keeper>,
    call: CallId,
    purpose: Purpose,
    began: Timestamp,
    status: Option<u16>,
    bytes: u64,
    code: Option<&'static str>,
    open: bool,
}

impl Noted {
    pub fn new(keeper: &Arc<Keeper>, call: CallId, purpose: Purpose, began: Timestamp) -> Self {
        let keeper = Arc::clone(keeper);
        Self { keeper, call, purpose, began, status: None, bytes: 0, code: None, open: true }
    }

    pub fn status(&mut self, status: u16) {
        self.status = Some(status);
    }

    pub fn count(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// It never began: its intent could not be written.
    pub fn never_began(mut self) {
        self.open = false;
    }

    /// It ended as calls should.
    pub fn end(mut self) {
        self.write(Outcome::Ok);
    }

    /// The answer broke off.
    pub fn broke(mut self, error: &EgressError) {
        self.code = Some(Problem::from(error).code.as_str());
        self.write(Outcome::Failed);
    }

    /// No answer came.
    pub fn failed(mut self, code: Code) {
        self.code = Some(code.as_str());
        self.write(Outcome::Failed);
    }

    fn write(&mut self, outcome: Outcome) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let at = self.keeper.clock.now();
        let took = at.millis() - self.began.millis();
        self.keeper.counts.ended(self.purpose, self.status, self.code, took);
        let record = Record::Result(CallResult {
            call_id: Cow::Borrowed(&self.call),
            at,
            outcome,
            status: self.status,
            duration_ms: u64::try_from(took).unwrap_or(0),
            bytes: Some(self.bytes),
            code: self.code.map(Cow::Borrowed),
        });
        if let Err(error) = self.keeper.journal.append_later(&record) {
            tracing::error!(call = %self.call, error = %error, "the outcome of a call could not be recorded; its intent is");
        }
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if self.open {
            self.code = Some("caller_gone");
            self.write(Outcome::Failed);
        }
    }
}
