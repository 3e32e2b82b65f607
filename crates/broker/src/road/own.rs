//! Requests of our own — token requests, login steps, verifications, metadata, operations — on the same road:
//! bind, record, send, note. They run on the control runtime, with its own pool and journal buffer.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Uri};
use latchstring_egress::{EgressError, Identity, Pool};
use latchstring_journal::Purpose;
use latchstring_model::id::{CallId, CredentialId, ProjectId};
use latchstring_model::{Code, Pin, PinPurpose, Problem};
use latchstring_schemes::wire::{WireAnswer, WireRequest};

use super::bind;
use super::record::{self, About, Keeper, Noted};
use crate::actor::Actor;
use crate::{Broker, refusals};

/// The control runtime's own way out.
pub struct OwnWay {
    pub pool: Pool,
    pub keeper: Arc<Keeper>,
}

/// On whose behalf, and for what.
#[derive(Clone, Copy)]
pub struct OwnCall<'a> {
    pub actor: &'a Actor,
    pub project: Option<&'a ProjectId>,
    pub credential: &'a CredentialId,
    pub environment: &'a str,
    /// Of calls: the project's environment.
    pub project_environment: Option<&'a str>,
    pub purpose: Purpose,
    pub pins: &'a Arc<[Pin]>,
    pub pin: PinPurpose,
    pub identity: Option<&'a Identity>,
    /// What the record shows as the path: never a rendered one, which may hold a secret.
    pub path: &'a str,
    /// Of calls for somebody: whom the other side takes for who did it.
    pub acts_as: Option<&'a str>,
    /// Bytes of the answer that are read; what is longer is cut.
    pub max_body: usize,
    pub within: Duration,
}

/// No answer. `maybe_processed`: the other side may have acted on the request.
pub struct OwnFailure {
    pub problem: Box<Problem>,
    pub maybe_processed: bool,
    /// Under which the try is recorded, if it came so far.
    pub call: Option<CallId>,
}

impl From<Box<Problem>> for OwnFailure {
    fn from(problem: Box<Problem>) -> Self {
        Self { problem, maybe_processed: false, call: None }
    }
}

impl From<&EgressError> for OwnFailure {
    fn from(error: &EgressError) -> Self {
        tracing::info!(reason = %error.operator_reason(), "a request of our own did not get an answer");
        Self { problem: Box::new(Problem::from(error)), maybe_processed: error.maybe_processed(), call: None }
    }
}

impl Broker {
    /// Sends one request of our own and reads the answer.
    pub async fn fetch(&self, own: OwnCall<'_>, request: WireRequest) -> Result<WireAnswer, OwnFailure> {
        let call = CallId::new(self.now(), &*self.parts.entropy);
        self.fetch_as(call, own, request).await
    }

    /// The same under an id that the caller is told.
    pub async fn fetch_as(
        &self,
        call: CallId,
        own: OwnCall<'_>,
        request: WireRequest,
    ) -> Result<WireAnswer, OwnFailure> {
        bind::check_pins(own.pins, own.pin, &request.address.origin, &request.address.path)?;
        let uri: Uri = request.address.target().parse().map_err(|_| {
            OwnFailure::from(Box::new(
                Problem::new(
                    Code::TemplateError,
                    "The address that the connector's definition gives cannot stand in a request.",
                )
                .hint("Check the values that go into the path and the query, such as identifiers."),
            ))
        })?;
        let now = self.now();
        let client = own.actor.address.map(|address| address.to_string());
        let about = About {
            call: &call,
            at: now,
            project: own.project,
            credential: own.credential,
            actor: own.actor,
            environment: own.environment,
            project_environment: own.project_environment,
            purpose: own.purpose,
            method: request.method.as_str(),
            host: &request.address.origin.authority(),
            path: own.path,
            client: client.as_deref(),
            acts_as: own.acts_as,
        };
        let way = self
            .own_way
            .get()
            .ok_or_else(|| refusals::internal(&"the control runtime's way out is not open"))?;
        let written = record::intent(way.keeper.journal(), &about, Arc::clone(own.pins));
        let mut noted = Noted::new(&way.keeper, call.clone(), own.purpose, now);
        let ticket = match written.await {
            Ok(ticket) => ticket,
            Err(problem) => {
                noted.never_began();
                return Err(problem.into());
            }
        };
        let mut sent = Request::new(bytes::Bytes::copy_from_slice(request.body.expose()));
        *sent.method_mut() = request.method.clone();
        *sent.uri_mut() = uri;
        *sent.headers_mut() = request.headers.clone();
        let answer = way
            .pool
            .fetch(&ticket, own.identity, &request.address.origin, sent, own.max_body, own.within)
            .await;
        match answer {
            Ok(answer) => {
                noted.status(answer.status.as_u16());
                noted.count(answer.body.len());
                noted.end();
                Ok(WireAnswer {
                    status: answer.status.as_u16(),
                    headers: answer.headers,
                    body: answer.body,
                    truncated: answer.truncated,
                })
            }
            Err(error) => {
                let failure = OwnFailure { call: Some(call), ..OwnFailure::from(&error) };
                noted.failed(failure.problem.code);
                Err(failure)
            }
        }
    }

    /// Opens the control runtime's way out; once, on that runtime, before anything is served.
    pub fn open_own_way(&self) -> Result<(), Box<Problem>> {
        let (clock, counts) = (Arc::clone(&self.parts.clock), Arc::clone(self.metrics.own()));
        let keeper = Arc::new(Keeper::new(self.parts.journal.writer(), clock, counts));
        let way = OwnWay { pool: Pool::new(Arc::clone(&self.parts.egress)), keeper };
        self.own_way
            .set(way)
            .map_err(|_| refusals::internal(&"the control runtime's way out was opened twice"))
    }
}
