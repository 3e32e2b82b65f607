//! One core's part of the road: its routes, its upstream pool, its journal buffer. A warm call touches nothing else.
//!
//! The steps, in the order in which they protect each other: accept → authorise → resolve (all three cached
//! as one [`Route`]) → limits of the key → bind → record → sign → forward → return.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher, RandomState};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use latchstring_egress::{EgressError, Pool, RequestBody, ResponseBody};
use latchstring_journal::{Purpose, Writer};
use latchstring_model::id::CallId;
use latchstring_model::problem::Refused;
use latchstring_model::{CallTicket, Code, PinPurpose, Problem, SecretString, Timestamp};
use latchstring_schemes::scheme::BodyNeed;
use latchstring_schemes::wire::Outgoing;

use super::accept::{self, Ask};
use super::answer::AnswerBody;
use super::held::Whole;
use super::kept::{self, Kept, Memory};
use super::mask::{self, Masker, StreamMask};
use super::plan::Plan;
use super::record::{self, About, Keeper, Noted};
use super::route::{Held, Route};
use super::{bind, coded, headers, held, trailers};
use crate::Broker;
use crate::refusals;
use crate::tokens::LiveToken;

const CALL_ID: HeaderName = HeaderName::from_static("latchstring-call-id");
const ERROR: HeaderName = HeaderName::from_static("latchstring-error");

/// Routes that one core remembers. Twice as many at most, while an older half is being forgotten.
const ROUTES: usize = 16_384;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: IpAddr,
    pub tls: bool,
}

/// A bounded cache that forgets what was not used since it last filled up. Where two asks fall on one place, the
/// newer one has it.
#[derive(Default)]
struct Routes {
    hashing: RandomState,
    young: HashMap<u64, Arc<Held>, BuildHasherDefault<Place>>,
    old: HashMap<u64, Arc<Held>, BuildHasherDefault<Place>>,
}

/// A place is a keyed hash already.
#[derive(Default)]
struct Place(u64);

impl Hasher for Place {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    fn write_u64(&mut self, place: u64) {
        self.0 ^= place;
    }
}

impl Routes {
    fn get(&mut self, ask: &Ask<'_>) -> Option<Arc<Held>> {
        let place = ask.place(&self.hashing);
        if let Some(held) = self.young.get(&place) {
            return ask.is(&held.ask).then(|| Arc::clone(held));
        }
        let held = self.old.remove(&place).filter(|held| ask.is(&held.ask))?;
        self.put_at(place, Arc::clone(&held));
        Some(held)
    }

    fn put(&mut self, ask: &Ask<'_>, held: Arc<Held>) {
        self.put_at(ask.place(&self.hashing), held);
    }

    fn put_at(&mut self, place: u64, held: Arc<Held>) {
        if self.young.len() >= ROUTES {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(place, held);
    }

    fn remove(&mut self, ask: &Ask<'_>) {
        let place = ask.place(&self.hashing);
        self.young.remove(&place);
        self.old.remove(&place);
    }
}

pub struct Lane {
    broker: Arc<Broker>,
    pool: Pool,
    keeper: Arc<Keeper>,
    routes: Mutex<Routes>,
    /// The address of the caller before, written out: mostly it is the next one's too.
    shown: Mutex<(Option<IpAddr>, String)>,
}

/// What one call is made of once its route is known.
struct Ready {
    held: Arc<Held>,
    plan: Arc<Plan>,
    token: Option<Arc<LiveToken>>,
}

impl Ready {
    fn route(&self) -> &Arc<Route> {
        &self.held.route
    }
}

/// The caller's request, taken apart.
struct Asked {
    method: Method,
    target: String,
    /// The path part of `target`, for the pin.
    path_length: usize,
    headers: HeaderMap,
}

impl Lane {
    /// Opens a core's part; runs on that core's runtime.
    pub fn open(broker: &Arc<Broker>, core: usize) -> Result<Self, std::io::Error> {
        let pool = Pool::new(Arc::clone(&broker.parts.egress));
        let counts = broker.metrics.core(core, &pool);
        let keeper = Keeper::new(broker.parts.journal.writer(), Arc::clone(&broker.parts.clock), counts);
        let (broker, keeper) = (Arc::clone(broker), Arc::new(keeper));
        Ok(Self { broker, pool, keeper, routes: Mutex::default(), shown: Mutex::default() })
    }

    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    pub fn journal(&self) -> &Writer {
        self.keeper.journal()
    }

    /// The name of another call.
    pub fn new_call(&self) -> CallId {
        CallId::new(self.broker.now(), &*self.broker.parts.entropy)
    }

    /// Carries one `/proxy` request. Whatever goes wrong is an answer.
    pub fn proxy(
        &self,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Response<AnswerBody>> + Send {
        let now = self.broker.now();
        let call = CallId::new(now, &*self.broker.parts.entropy);
        // Not `async fn`s, here and below, and what is rare is boxed: this future is moved about for every call,
        // and an `async fn` keeps its arguments twice.
        let (mut head, body) = request.into_parts();
        async move {
            let mut answer = match self.carry(&call, now, &mut head, body, peer).await {
                Ok(answer) => answer,
                Err(problem) => {
                    self.keeper.counts().refused(problem.code);
                    refusal(&problem)
                }
            };
            if let Ok(value) = HeaderValue::from_str(call.as_str()) {
                answer.headers_mut().insert(CALL_ID, value);
            }
            answer
        }
    }

    async fn carry(
        &self,
        call: &CallId,
        now: Timestamp,
        head: &mut http::request::Parts,
        body: Incoming,
        peer: Peer,
    ) -> Refused<Response<AnswerBody>> {
        let Some((credential, path)) = accept::split_path(head.uri.path()) else {
            return Err(Problem::new(Code::NotFound, "The path names no credential.")
                .hint("Call /proxy/{credential}/{path of the API}.")
                .into());
        };
        let rest = path.strip_prefix('/').unwrap_or(path);
        // As records have it.
        let shown = if path.is_empty() { "/" } else { path };
        if headers::wants_upgrade(&head.headers) || head.method == Method::CONNECT {
            return Err(Problem::new(Code::UpgradeNotSupported, "Latchstring carries requests and answers; it does not switch protocols.")
                .hint("WebSocket and other upgrades cannot go through /proxy. With curl, --http2 asks for one on plain http: use --http2-prior-knowledge.")
                .into());
        }
        let ask = match accept::ask(&head.headers, credential) {
            Ok(ask) => ask,
            Err(problem) => {
                self.broker.refused_stranger(credential, peer, &head.method, shown, &problem);
                return Err(problem);
            }
        };
        let held = match self.route(&ask, now).await {
            Ok(held) => held,
            Err(problem) => {
                self.broker.refused_call(&ask, peer, &head.method, shown, &problem);
                return Err(problem);
            }
        };
        let route = &held.route;
        let limits = &route.caller.limits;
        let allowed = limits
            .check_network(peer.address)
            .and_then(|()| bind::check_path(rest))
            .and_then(|()| limits.check_proxy(&head.method, rest));
        if let Err(problem) = allowed {
            self.broker.refused_route(route, peer, &head.method, shown, &problem);
            return Err(problem);
        }
        let planned = match self.token(route, now).await {
            Ok(token) => held.plan(&self.broker, token.as_deref(), now).map(|plan| (token, plan)),
            Err(problem) => Err(problem),
        };
        let (token, plan) = match planned {
            Ok(planned) => planned,
            Err(problem) => {
                self.broker.refused_route(route, peer, &head.method, shown, &problem);
                return Err(problem);
            }
        };
        let target = bind::join(&plan.base, path, head.uri.query())?;
        let target = plan.place_query(target);
        let asked = Asked {
            method: head.method.clone(),
            path_length: target.find('?').unwrap_or(target.len()),
            target,
            headers: std::mem::take(&mut head.headers),
        };
        let mut ready = Ready { held, plan, token };
        self.forward(call, now, &mut ready, asked, shown, body, peer).await
    }

    /// Steps 1 to 3: from this core's memory, or from the control runtime.
    async fn route(&self, ask: &Ask<'_>, now: Timestamp) -> Refused<Arc<Held>> {
        let known = self.lock().get(ask);
        if let Some(held) = known {
            if held.route.is_valid(now) && self.broker.freshness.is_fresh(now) {
                held.route.touch(now);
                return Ok(held);
            }
            self.lock().remove(ask);
        }
        Box::pin(self.look_up(ask, now)).await
    }

    async fn look_up(&self, ask: &Ask<'_>, now: Timestamp) -> Refused<Arc<Held>> {
        let (broker, id, owned) = (Arc::clone(&self.broker), ask.id(), ask.to_owned());
        let asked = owned.clone();
        let route = self.on_control(async move { broker.route(id, &asked).await }).await?;
        route.touch(now);
        let held = Arc::new(Held::new(owned, route));
        self.lock().put(ask, Arc::clone(&held));
        Ok(held)
    }

    /// Work that is done for as long as somebody waits for it: of callers who go away at once there is no end.
    async fn on_control<T: Send + 'static>(
        &self,
        work: impl Future<Output = Refused<T>> + Send + 'static,
    ) -> Refused<T> {
        struct Ends(tokio::task::AbortHandle);
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.abort();
            }
        }
        let task = self.broker.parts.control.spawn(work);
        let _ends = Ends(task.abort_handle());
        task.await.map_err(|error| refusals::internal(&error))?
    }

    async fn token(&self, route: &Arc<Route>, now: Timestamp) -> Refused<Option<Arc<LiveToken>>> {
        let Some(slot) = &route.token else { return Ok(None) };
        if let Some(live) = slot.fresh(now) {
            return Ok(Some(live));
        }
        let (broker, route) = (Arc::clone(&self.broker), Arc::clone(route));
        Box::pin(self.on_control(async move { broker.obtain_token(&route, None).await })).await.map(Some)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Steps 4 to 8, with at most one replay.
    #[allow(clippy::too_many_arguments, reason = "one call's parts, in the order of the road")]
    async fn forward(
        &self,
        call: &CallId,
        now: Timestamp,
        ready: &mut Ready,
        mut asked: Asked,
        path: &str,
        body: Incoming,
        peer: Peer,
    ) -> Refused<Response<AnswerBody>> {
        let within = asked.target.get(..asked.path_length).unwrap_or_default();
        if let Err(problem) =
            bind::check_pins(&ready.plan.pins, PinPurpose::Call, &ready.plan.base.origin, within)
        {
            self.broker.refused_route(ready.route(), peer, &asked.method, path, &problem);
            return Err(problem);
        }
        let written = self.intent(call, now, ready, &asked.method, path, peer);
        let mut noted = Noted::new(&self.keeper, call.clone(), Purpose::Call, now);
        let ticket = match written.await {
            Ok(ticket) => ticket,
            Err(problem) => {
                noted.never_began();
                return Err(problem);
            }
        };
        headers::strip_request(&mut asked.headers);
        let limits = &ready.route().caller.limits;
        if limits.methods.is_some() || limits.path_prefixes.is_some() {
            headers::strip_overrides(&mut asked.headers);
        }

        let Taken { body, memory, held, unproven } = match self.body(ready, &asked, body).await {
            Ok(taken) => taken,
            Err(problem) => {
                noted.failed(problem.code);
                return Err(problem);
            }
        };
        let spare =
            ready.may_replay().then(|| (asked.method.clone(), asked.target.clone(), asked.headers.clone()));
        let first = self.send(&ticket, ready, asked, body, held.as_deref(), now).await;
        let (mut answer, mut masker) = match first {
            Ok(sent) => sent,
            Err(problem) => {
                noted.failed(problem.code);
                return Err(problem);
            }
        };
        let refused = answer.status() == StatusCode::UNAUTHORIZED;
        if refused
            && let Some((method, target, headers)) = spare
            && let Some(again) = memory.whole()
            && Box::pin(self.renewed(ready, &answer, now)).await
        {
            // The pins and the base are the same: a token that moved the base made another plan, and its pins were checked.
            let asked = Asked { method, path_length: 0, target, headers };
            let now = self.broker.now();
            // It is all here, and the refusal may have asked for a signature over it.
            let (held, again) = (again.clone(), RequestBody::full(again));
            match Box::pin(self.send(&ticket, ready, asked, again, Some(&held), now)).await {
                Ok(second) => (answer, masker) = second,
                Err(problem) => {
                    noted.failed(problem.code);
                    return Err(problem);
                }
            }
        } else if refused && memory.whole().is_none() {
            self.renew_for_the_next(ready, now);
        }
        if ready.plan.learns {
            // The next request's nonce may have come with this answer.
            let asks = ready.plan.prepared.challenge(answer.status().as_u16(), answer.headers());
            if asks && unproven && memory.whole().is_none() {
                let problem = sent_unproven();
                noted.failed(problem.code);
                return Err(problem);
            }
        }
        noted.status(answer.status().as_u16());
        match returned(answer, masker, noted) {
            Returned::Ready(answer) => Ok(answer),
            Returned::Coded(answer) => answer.await,
        }
    }

    /// Step 5. Everything that it reads is read at once.
    fn intent(
        &self,
        call: &CallId,
        now: Timestamp,
        ready: &Ready,
        method: &Method,
        path: &str,
        peer: Peer,
    ) -> impl Future<Output = Refused<CallTicket>> + Send + use<> {
        let route = ready.route();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.0 != Some(peer.address) {
            *shown = (Some(peer.address), peer.address.to_string());
        }
        let about = About {
            call,
            at: now,
            project: Some(&route.caller.project.id),
            credential: &route.credential,
            actor: &route.caller.actor,
            environment: &route.credential_environment,
            project_environment: Some(&route.caller.environment.name),
            purpose: Purpose::Call,
            method: method.as_str(),
            host: &ready.plan.authority,
            path,
            client: Some(&shown.1),
            acts_as: route.acts_as.as_deref(),
        };
        record::intent(self.keeper.journal(), &about, Arc::clone(&ready.plan.pins))
    }

    /// The body as it will be sent: streamed, streamed and remembered, or held for a signature.
    async fn body(&self, ready: &Ready, asked: &Asked, body: Incoming) -> Refused<Taken> {
        if body.is_end_stream() {
            return Ok(Taken::whole(Bytes::new()));
        }
        let (mut target, mut headers) = (asked.target.clone(), HeaderMap::new());
        // OAuth 1.0a signs forms alone, so what the body is decides; the connector's own headers win as they will.
        for value in asked.headers.get_all(header::CONTENT_TYPE) {
            headers.append(header::CONTENT_TYPE, value.clone());
        }
        ready.plan.place_headers(&mut headers);
        let out = Outgoing {
            method: &asked.method,
            origin: &ready.plan.base.origin,
            target: &mut target,
            headers: &mut headers,
        };
        let need = ready.plan.prepared.body_need(&out);
        let small = |if_unknown: bool| {
            body.size_hint().upper().map_or(if_unknown, |upper| upper <= kept::LIMIT as u64)
        };
        let hold = match need {
            BodyNeed::Held { max } => Some(max),
            // What is remembered while it streams may not have come whole when the refusal does.
            BodyNeed::Twice if small(false) => Some(kept::LIMIT),
            BodyNeed::None if ready.may_replay() && small(false) => Some(kept::LIMIT),
            BodyNeed::Twice | BodyNeed::None => None,
        };
        if let Some(max) = hold {
            let patience = self.pool.egress().limits().response_head;
            return Ok(Taken::held(Box::pin(held::hold(body, max, patience)).await?));
        }
        let (body, memory) = if ready.may_replay() && small(true) {
            let (kept, memory) = Kept::new(body);
            (RequestBody::stream(kept), Replay::Kept(memory))
        } else {
            (RequestBody::from(body), Replay::Gone)
        };
        Ok(Taken { body, memory, held: None, unproven: need == BodyNeed::Twice })
    }

    /// Step 6 and 7: sign and send.
    fn send<'a>(
        &'a self,
        ticket: &'a CallTicket,
        ready: &'a Ready,
        asked: Asked,
        body: RequestBody,
        held: Option<&[u8]>,
        now: Timestamp,
    ) -> impl Future<Output = Refused<(Response<ResponseBody>, Masker)>> + Send + use<'a> {
        let plan = &ready.plan;
        let signed = self.signed(ready, asked, body, held, now);
        async move {
            let (request, masker) = signed?;
            match self.pool.send(ticket, plan.identity.as_ref(), &plan.base.origin, request).await {
                Ok(answer) => Ok((answer, masker)),
                Err(error) => Err(egress_problem(&error)),
            }
        }
    }

    /// Step 6.
    fn signed(
        &self,
        ready: &Ready,
        mut asked: Asked,
        body: RequestBody,
        held: Option<&[u8]>,
        now: Timestamp,
    ) -> Refused<(Box<Request<RequestBody>>, Masker)> {
        let plan = &ready.plan;
        plan.place_headers(&mut asked.headers);
        let mut out = Outgoing {
            method: &asked.method,
            origin: &plan.base.origin,
            target: &mut asked.target,
            headers: &mut asked.headers,
        };
        let token = ready.token.as_deref();
        let fresh = plan
            .prepared
            .sign(&mut out, held, token.map(|token| &token.set), now, &*self.broker.parts.entropy)
            .map_err(|error| crate::credentials::scheme_problem(&error))?;
        let masker = masker(plan, token, fresh);
        let uri = Uri::try_from(asked.target).map_err(|_| {
            Problem::new(Code::BadPath, "The path or query holds bytes that cannot stand in a request line.")
                .hint("Percent-encode them.")
        })?;
        let mut request = Box::new(Request::new(trailers::behind(&asked.headers, body)));
        *request.method_mut() = asked.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = asked.headers;
        Ok((request, masker))
    }

    /// A request that cannot be sent again has its 401 handed over. Its token is renewed all the same, or a
    /// caller that only ever sends large bodies would be refused until it expires.
    fn renew_for_the_next(&self, ready: &Ready, began: Timestamp) {
        let Some(refused) = ready.token.clone() else { return };
        let (broker, route) = (Arc::clone(&self.broker), Arc::clone(ready.route()));
        let renewal = async move { broker.renew_token(&route, &refused, began).await.map(drop) };
        // It tells its own errors; nobody waits for it.
        drop(self.broker.parts.control.spawn(renewal));
    }

    /// After a 401: whether there is reason to try once more, with another token or a new challenge answered.
    async fn renewed(&self, ready: &mut Ready, answer: &Response<ResponseBody>, began: Timestamp) -> bool {
        if ready.plan.prepared.challenge(answer.status().as_u16(), answer.headers()) {
            return true;
        }
        let Some(refused) = ready.token.clone() else { return false };
        let (broker, route) = (Arc::clone(&self.broker), Arc::clone(ready.route()));
        let live = self.on_control(async move { broker.renew_token(&route, &refused, began).await }).await;
        let Ok(Some(live)) = live else { return false };
        let Ok(plan) = ready.held.plan(&self.broker, Some(&live), self.broker.now()) else { return false };
        if plan.base != ready.plan.base {
            // The account has moved: the caller's next call goes there, within its own pins.
            return false;
        }
        ready.plan = plan;
        ready.token = Some(live);
        true
    }
}

/// The caller's body, taken in as far as it has to be.
struct Taken {
    body: RequestBody,
    memory: Replay,
    /// For a signature over it.
    held: Option<Bytes>,
    /// It goes by in a request without a proof, which the API will refuse.
    unproven: bool,
}

impl Taken {
    fn whole(bytes: Bytes) -> Self {
        let (body, memory) = (RequestBody::full(bytes.clone()), Replay::Whole(bytes.clone()));
        Self { body, memory, held: Some(bytes), unproven: false }
    }

    fn held(Whole { bytes, trailers }: Whole) -> Self {
        let Some(trailers) = trailers else { return Self::whole(bytes) };
        let body = Full::new(bytes.clone()).with_trailers(std::future::ready(Some(Ok(trailers))));
        Self { body: RequestBody::stream(body), memory: Replay::Gone, held: Some(bytes), unproven: false }
    }
}

/// The first request to an API that has to say first what it wants a proof over.
fn sent_unproven() -> Box<Problem> {
    let detail = format!(
        "The API had to say first what it wants a proof over, and the body was not kept to be sent twice: it has more than {} KiB, or its length was not said. The API did not take the request.",
        kept::LIMIT / 1024
    );
    Problem::new(Code::Busy, detail)
        .hint("Send it again: what the API wants is known now.")
        .retry_after(1)
        .into()
}

/// What can be sent a second time.
enum Replay {
    Whole(Bytes),
    Kept(Memory),
    Gone,
}

impl Replay {
    fn whole(&self) -> Option<Bytes> {
        match self {
            Replay::Whole(bytes) => Some(bytes.clone()),
            Replay::Kept(memory) => memory.whole(),
            Replay::Gone => None,
        }
    }
}

impl Ready {
    fn may_replay(&self) -> bool {
        self.token.is_some() || self.plan.learns
    }
}

fn masker(plan: &Plan, token: Option<&LiveToken>, fresh: Option<SecretString>) -> Masker {
    let mut masker = Masker::new(Some(Arc::clone(&plan.mask)), token.map(|token| Arc::clone(&token.mask)));
    if let Some(fresh) = fresh {
        masker.add_fresh(fresh);
    }
    masker
}

pub(crate) fn egress_problem(error: &EgressError) -> Box<Problem> {
    tracing::info!(reason = %error.operator_reason(), "a call did not get an answer");
    Box::new(Problem::from(error))
}

#[allow(clippy::large_enum_variant, reason = "lives for a moment, and the large one is the usual one")]
enum Returned {
    Ready(Response<AnswerBody>),
    /// A coded body is looked into before its head is passed on.
    Coded(Pin<Box<dyn Future<Output = Refused<Response<AnswerBody>>> + Send>>),
}

/// Step 8.
fn returned(answer: Response<ResponseBody>, masker: Masker, noted: Noted) -> Returned {
    let (mut head, body) = answer.into_parts();
    let named = headers::strip_response(&mut head.headers);
    let mut mask = None;
    if !masker.is_empty() {
        for value in head.headers.values_mut() {
            masker.mask_header(value);
        }
        let is_text = mask::is_text(head.headers.get(header::CONTENT_TYPE));
        match coded::coding_of(&head.headers, head.status) {
            _ if body.is_end_stream() => {}
            Some(coding) if is_text => {
                headers::confine_response(&mut head.headers);
                return Returned::Coded(Box::pin(coded::returned(head, body, masker, coding, named, noted)));
            }
            _ if is_text => mask = Some(StreamMask::new(masker)),
            _ => mask = Some(StreamMask::of_trailers(masker)),
        }
    }
    headers::confine_response(&mut head.headers);
    Returned::Ready(Response::from_parts(head, AnswerBody::upstream(body, mask, named, noted)))
}

/// An error of our own, as RFC 9457 and with its code in a header, so that it is not taken for the API's.
pub fn refusal(problem: &Problem) -> Response<AnswerBody> {
    let mut answer = Response::new(AnswerBody::own(problem.to_json().to_string()));
    *answer.status_mut() =
        StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(ERROR, HeaderValue::from_static(problem.code.as_str()));
    if let Some(secs) = problem.retry_after_secs {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    if problem.code == Code::Unauthenticated {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"latchstring\""));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_answer<A, F>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    /// hyper moves the future of every request about: what is rare is boxed.
    #[test]
    fn a_calls_future_is_small() {
        type Given = (&'static Lane, Request<Incoming>, Peer);
        let size = size_of_answer(|(lane, request, peer): Given| lane.proxy(request, peer));
        assert!(size <= 3_072, "{size} bytes");
    }
}
