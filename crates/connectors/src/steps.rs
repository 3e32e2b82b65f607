//! Logins of several requests, as a state machine: it says what to send, is told what came back, and
//! ends with a [`TokenSet`] or a failure. It holds extracted values only; the caller holds the rest.

use http::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use latchstring_model::address::Address;
use latchstring_model::{PinPurpose, SecretBytes, SecretString, Timestamp};
use latchstring_schemes::oauth2::parse_date;
use latchstring_schemes::token::TokenSet;
use latchstring_schemes::wire::{WireAnswer, WireRequest};
use serde_json::{Map, Value};

use crate::context::Context;
use crate::definition::{AuthMethod, Conf, Definition, Extract, Source, Step, Target};
use crate::error::RenderError;
use crate::resolve::{Destination, OwnRequest, To, address, find, pin, request};
use crate::scene::Scene;
use crate::template::Template;

/// A login lives this long when nothing says otherwise (seconds).
pub const DEFAULT_TTL_SECS: i64 = 3600;
/// All extracted values together.
const MAX_EXTRACTED: usize = 64 * 1024;

/// What to do next.
pub enum StepsNext {
    /// To be sent to a destination pinned with purpose `step`; then [`StepsRun::answered`].
    Send(WireRequest),
    Done(Box<TokenSet>),
    Failed(StepsFailed),
}

/// Why a login did not get through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {detail}")]
pub struct StepsFailed {
    pub step: String,
    /// May hold the API's own words, whole: they may repeat what was sent. To be masked
    /// ([`StepsRun::mask`]) and only then cut, since half a secret would not be found.
    pub detail: String,
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
    /// The API refused the credential, rather than failing otherwise.
    pub refused: bool,
}

/// One login under way.
pub struct StepsRun {
    at: usize,
    extracted: Map<String, Value>,
    started: Timestamp,
    sent: bool,
    mask: Vec<SecretString>,
}

impl StepsRun {
    pub fn new(now: Timestamp) -> Self {
        Self { at: 0, extracted: Map::new(), started: now, sent: false, mask: Vec::new() }
    }

    /// Secrets that the requests so far were made of, and texts that their answers brought: what must not
    /// be shown of [`StepsFailed`].
    pub fn mask(&self) -> Vec<SecretString> {
        let mut mask = self.mask.clone();
        for value in self.extracted.values() {
            texts(value, &mut mask);
        }
        mask
    }

    /// The next request, or the end.
    pub fn next(
        &mut self,
        def: &Definition,
        method: &AuthMethod,
        ctx: &Context<'_>,
    ) -> Result<StepsNext, RenderError> {
        let steps = steps_of(method);
        let Some(step) = steps.get(self.at) else {
            return self.finish(method, ctx).map(|token| StepsNext::Done(Box::new(token)));
        };
        let mut scene = Scene::new(method, ctx);
        scene.extracted = Some(&self.extracted);
        let Some(own) = request(&scene, &step.request, &step.name)? else {
            return Err(RenderError::template("the URL is left out").at(&step.name));
        };
        let wire = wire(def, method, &scene, own, &step.name)?;
        self.mask.extend(scene.mask.take());
        self.sent = true;
        Ok(StepsNext::Send(wire))
    }

    /// Takes the answer to what was sent. `None`: go on with [`StepsRun::next`].
    pub fn answered(&mut self, method: &AuthMethod, answer: &WireAnswer) -> Option<StepsFailed> {
        let steps = steps_of(method);
        let step = steps.get(self.at)?;
        if !std::mem::take(&mut self.sent) {
            return None;
        }
        let failed = |detail: String, refused: bool| {
            Some(StepsFailed { step: step.name.clone(), detail, status: Some(answer.status), refused })
        };
        if answer.truncated {
            return failed("the answer is longer than is read".into(), false);
        }
        let json = serde_json::from_slice::<Value>(&answer.body).ok();
        let said = step
            .error
            .iter()
            .find_map(|path| json.as_ref().and_then(|json| path.get(json)))
            .and_then(|value| match value {
                Value::String(text) if !text.is_empty() => Some(text),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            })
            .map(|text| format!(": {text}"))
            .unwrap_or_default();
        if !step.request.expect.status_fits(answer.status) {
            let refused = matches!(answer.status, 400 | 401 | 403 | 422);
            return failed(format!("the API answered {}{said}", answer.status), refused);
        }
        if let Some(rule) = step.request.expect.broken_rule(&answer.body) {
            return failed(
                format!(
                    "the API answered {}, but `{}` is not as expected{said}",
                    answer.status,
                    rule.path.as_str()
                ),
                true,
            );
        }
        for extract in &step.extract {
            match read(extract, answer, json.as_ref()) {
                Some(value) => {
                    self.extracted.insert(extract.name.clone(), value);
                }
                None if extract.optional => {}
                None => {
                    return failed(
                        format!(
                            "`{}` is not in the answer, although its status is {}{said}",
                            extract.name, answer.status
                        ),
                        true,
                    );
                }
            }
        }
        let size: usize = self.extracted.values().map(|value| value.to_string().len()).sum();
        if size > MAX_EXTRACTED {
            return failed(
                format!("more than {MAX_EXTRACTED} bytes would have to be kept of the answers"),
                false,
            );
        }
        self.at += 1;
        None
    }

    fn finish(&self, method: &AuthMethod, ctx: &Context<'_>) -> Result<TokenSet, RenderError> {
        let config = &method.scheme.config;
        let mut scene = Scene::new(method, ctx);
        scene.extracted = Some(&self.extracted);
        let word = |name: &str| match find(config, name) {
            Some(Conf::Text(template)) => scene.text(template, &format!("scheme.{name}")),
            _ => Ok(None),
        };
        // Something to be called the token: the first text that was extracted.
        let main = steps_of(method)
            .iter()
            .flat_map(|step| &step.extract)
            .find_map(|extract| self.extracted.get(&extract.name).and_then(Value::as_str))
            .unwrap_or("session");
        let mut token = TokenSet::new(SecretString::new(main), self.started);
        let fixed = word("token_ttl")?.and_then(|text| text.expose().trim().parse::<i64>().ok());
        let stated = word("expiry")?.and_then(|name| self.extracted.get(name.expose()).cloned());
        let format = word("expiry_format")?;
        let end = stated.and_then(|value| {
            expiry(&value, format.as_ref().map_or("seconds", |text| text.expose()), self.started)
        });
        let cap = self.started.plus_secs(fixed.unwrap_or(DEFAULT_TTL_SECS));
        token.expires_at = Some(match (end, fixed) {
            (Some(end), Some(_)) => end.min(cap),
            (Some(end), None) => end,
            (None, _) => cap,
        });
        for (name, value) in &self.extracted {
            token.metadata.insert(name.clone(), value.clone());
        }
        Ok(token)
    }
}

fn expiry(value: &Value, format: &str, started: Timestamp) -> Option<Timestamp> {
    let millis = |unit: f64| number(value).map(|number| (number * unit) as i64);
    let at = match format {
        "minutes" => started.plus_millis(millis(60_000.0)?),
        "milliseconds" => started.plus_millis(millis(1.0)?),
        "epoch" => Timestamp(millis(1_000.0)?),
        "epoch_ms" => Timestamp(millis(1.0)?),
        "date" => parse_date(value.as_str()?)?,
        _ => started.plus_millis(millis(1_000.0)?),
    };
    // A time that has passed says nothing.
    (at > started).then_some(at)
}

/// As in token answers: `3600`, `3600.0`, `"3600"`, `"3600s"`.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => {
            let text = text.trim();
            text.strip_suffix('s').unwrap_or(text).trim().parse().ok()
        }
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

fn steps_of(method: &AuthMethod) -> &[Step] {
    match find(&method.scheme.config, "steps") {
        Some(Conf::Steps(steps)) => steps,
        _ => &[],
    }
}

/// Whether a step of the login says a path only: it goes below the base URL.
pub(crate) fn below_the_base(method: &AuthMethod) -> bool {
    steps_of(method).iter().any(|step| matches!(step.request.target, Target::Path(_)))
}

/// The destinations of all steps whose URL can be told before any of them was asked.
pub(crate) fn destinations(scene: &Scene<'_>, out: &mut Vec<Destination>) -> Result<(), RenderError> {
    for step in steps_of(scene.method) {
        if let Target::Url(template) = &step.request.target {
            if scene.lacks_token(template) {
                continue;
            }
            if let Some(url) = scene.text(template, &step.name)? {
                let url = address(url.expose(), &step.name)?;
                let mask = scene.mask.borrow();
                // The step's own path and query are its own affair: the folder it is in is pinned.
                out.push(Destination {
                    from: step.name.clone(),
                    pin: pin(PinPurpose::Step, &folder(url), &mask),
                    of_client: false,
                });
            }
        }
    }
    Ok(())
}

fn folder(mut url: Address) -> Address {
    url.path.truncate(url.path.rfind('/').map_or(0, |at| at + 1));
    url.query = None;
    url
}

fn wire(
    def: &Definition,
    method: &AuthMethod,
    scene: &Scene<'_>,
    own: OwnRequest,
    place: &str,
) -> Result<WireRequest, RenderError> {
    let mut target = match &own.to {
        To::Url(url) => url.clone(),
        To::Path(path) => {
            let base: Option<&Template> = method.base_url.as_ref().or(def.base_url.as_ref());
            let Some(base) = base else {
                return Err(RenderError::template(
                    "the step has a path only, and the connector has no base URL",
                )
                .at(place));
            };
            let base = scene.text(base, "base_url")?.unwrap_or_default();
            address(&format!("{}{}", base.expose().trim_end_matches('/'), path.expose()), place)?
        }
    };
    if let Some(more) = own.encoded_query() {
        target.query = Some(match target.query.take() {
            Some(query) if !query.is_empty() => format!("{query}&{}", more.expose()),
            _ => more.expose().to_owned(),
        });
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &own.headers {
        let bad = || RenderError::Value {
            at: format!("{place}.headers.{name}"),
            detail: "that is no header that can be sent".into(),
        };
        let header = HeaderName::try_from(name).map_err(|_| bad())?;
        if header == HOST {
            return Err(bad());
        }
        let mut value = HeaderValue::try_from(value.expose()).map_err(|_| bad())?;
        value.set_sensitive(true);
        if header == COOKIE {
            headers.insert(header, value)
        } else {
            headers.append(header, value);
            None
        };
    }
    let body = match own.body {
        None => SecretBytes::default(),
        Some(body) => {
            if !headers.contains_key(CONTENT_TYPE)
                && let Ok(value) = HeaderValue::try_from(body.content_type)
            {
                headers.insert(CONTENT_TYPE, value);
            }
            body.bytes
        }
    };
    Ok(WireRequest { method: own.method, address: target, headers, body })
}

fn read(extract: &Extract, answer: &WireAnswer, json: Option<&Value>) -> Option<Value> {
    let found = match &extract.from {
        Source::Json(path) => path.get(json?)?,
        Source::Header(name) => Value::from(answer.headers.get(name.as_str())?.to_str().ok()?),
        Source::Cookie(name) => Value::from(cookie(&answer.headers, name)?),
        Source::Cookies => {
            let all = cookies(&answer.headers)
                .map(|(name, value)| (name.to_owned(), Value::from(value)))
                .collect::<Map<_, _>>();
            if all.is_empty() {
                return None;
            }
            Value::Object(all)
        }
        Source::Text => Value::from(std::str::from_utf8(&answer.body).ok()?.trim()),
        Source::Status => Value::from(answer.status),
    };
    let cut = match (&found, &extract.after, &extract.before) {
        (_, None, None) => found,
        (Value::String(text), after, before) => {
            let mut rest = text.as_str();
            if let Some(after) = after {
                rest = rest.split_once(after.as_str())?.1;
            }
            if let Some(before) = before {
                rest = rest.split_once(before.as_str())?.0;
            }
            Value::from(rest)
        }
        _ => return None,
    };
    match &cut {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        _ => Some(cut),
    }
}

/// Texts of four bytes and more.
fn texts(value: &Value, out: &mut Vec<SecretString>) {
    match value {
        Value::String(text) if text.len() >= 4 => out.push(SecretString::new(text)),
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        Value::Object(map) => map.values().for_each(|item| texts(item, out)),
        _ => {}
    }
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers.get_all(SET_COOKIE).iter().filter_map(|value| {
        let pair = value.to_str().ok()?.split(';').next()?;
        let (name, value) = pair.split_once('=')?;
        Some((name.trim(), value.trim()))
    })
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    cookies(headers).find(|(found, _)| *found == name).map(|(_, value)| value)
}
