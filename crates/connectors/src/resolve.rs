//! A definition and a credential's values made concrete: the scheme, where it goes, what is fixed.

use latchstring_model::address::{Address, AddressError};
use latchstring_model::{Pin, PinPurpose, SecretBytes, SecretString};
use latchstring_schemes::Scheme;
use percent_encoding::utf8_percent_encode;
use serde_json::Value;

use crate::answer::{Path, retain};
use crate::consented::Consent;
use crate::context::{Context, Uses};
use crate::definition::{
    AuthMethod, BodySpec, Conf, Config, Definition, Expect, FixedSet, HostPattern, Operation, RequestSpec,
    Target,
};
use crate::error::RenderError;
use crate::render;
use crate::scene::Scene;
use crate::steps::below_the_base;
use crate::template::{COMPONENT, Known, Val};

/// Everything that a call with one set of values needs.
pub struct Resolved {
    pub scheme: Scheme,
    /// A token (or login) has to be obtained first; until it is there, `base_url` and what else reads
    /// `token` may be missing.
    pub needs_token: bool,
    /// Nothing was left out for want of a token.
    pub complete: bool,
    /// Without a slash at its end. Some APIs have the secret in it.
    pub base_url: Option<SecretString>,
    pub headers: FixedParts,
    pub query: FixedParts,
    pub verify: Option<OwnRequest>,
    /// PEM: trusted beside the public authorities.
    pub ca_certificate: Option<SecretString>,
    pub policy: TokenPolicy,
    /// What asking a person takes, for methods that need consent.
    pub consent: Option<Consent>,
    /// Of the OAuth client: where its tokens may go. Empty: wherever the definition says.
    pub client_hosts: Vec<HostPattern>,
    /// What all of it read.
    pub uses: Uses,
    /// What the scheme and the connection's certificates read, and all that the steps of a login could
    /// read: with [`Uses::fingerprint`] a part of a token's key.
    pub token_uses: Uses,
    pub destinations: Vec<Destination>,
    /// Secret values of four bytes and more that were read.
    pub mask: Vec<SecretString>,
}

/// What a definition says of the headers, or of the query, of every call.
#[derive(Clone, Default)]
pub struct FixedParts {
    pub sent: Vec<Fixed>,
    /// Names without a value this time that are not the caller's either: dropped, and nothing is put in their place.
    pub dropped: Vec<String>,
}

/// A header or query parameter of every call.
#[derive(Clone)]
pub struct Fixed {
    pub name: String,
    pub value: SecretString,
    /// Whether the caller's own of that name is kept. Else it is dropped.
    pub overridable: bool,
}

/// How the tokens of a scheme are kept.
#[derive(Clone, Default)]
pub struct TokenPolicy {
    pub expiry_margin_ms: Option<i64>,
    pub reuse: RefreshReuse,
    pub keep_alive_secs: Option<i64>,
    pub revocation_url: Option<Address>,
    pub introspection_url: Option<Address>,
}

/// Whether a refresh whose answer was lost may be asked for again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefreshReuse {
    #[default]
    SingleUse,
    Grace,
    Nonrotating,
}

/// Where values may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Which key of the definition says so.
    pub from: String,
    pub pin: Pin,
    /// A superuser chose it with the OAuth client; the definition's `hosts` do not limit it.
    pub of_client: bool,
}

/// A request that the definition describes, rendered.
pub struct OwnRequest {
    pub method: http::Method,
    pub to: To,
    pub query: Vec<(String, SecretString)>,
    pub headers: Vec<(String, SecretString)>,
    pub body: Option<OwnBody>,
    pub expect: Expect,
    /// Where the answer names who we are there.
    pub account: Option<Path>,
}

pub enum To {
    /// Below the base URL; begins with `/` (or is empty: the base URL itself).
    Path(SecretString),
    Url(Address),
}

pub struct OwnBody {
    pub content_type: String,
    pub bytes: SecretBytes,
}

impl OwnRequest {
    /// `a=1&b=2`, percent-encoded; `None` when there is nothing.
    pub fn encoded_query(&self) -> Option<SecretString> {
        encode_pairs(&self.query)
    }
}

pub(crate) fn encode_pairs(pairs: &[(String, SecretString)]) -> Option<SecretString> {
    if pairs.is_empty() {
        return None;
    }
    let mut out = String::new();
    for (i, (name, value)) in pairs.iter().enumerate() {
        if i > 0 {
            out.push('&');
        }
        out.extend(utf8_percent_encode(name, COMPONENT));
        out.push('=');
        out.extend(utf8_percent_encode(value.expose(), COMPONENT));
    }
    Some(SecretString::new(out))
}

/// A URL that was rendered, or why it is none.
pub(crate) fn address(text: &str, place: &str) -> Result<Address, RenderError> {
    Address::parse(text)
        .map_err(|error: AddressError| RenderError::Value { at: place.to_owned(), detail: error.to_string() })
}

impl Definition {
    /// Renders everything for a call. Sends nothing, keeps nothing.
    pub fn resolve(&self, method: &AuthMethod, ctx: &Context<'_>) -> Result<Resolved, RenderError> {
        let scene = Scene::new(method, ctx);
        let mut complete = true;
        let mut destinations = Vec::new();

        // The scheme first, so that what it read is known apart from the rest.
        let rendered = render::scheme(&scene, &mut complete, &mut destinations)?;
        crate::reads::login(&scene, self)?;
        // A token is obtained over this connection, and may be bound to its certificate (RFC 8705 §3).
        let tls = render::Keys::new(&scene, &method.tls, "tls");
        let ca_certificate = tls.text("ca_certificate")?;
        let scheme = render::with_client_certificate(rendered.scheme, &tls, &scene)?;
        let token_uses = scene.uses.borrow().clone();

        let base_url = self.base(method, &scene, &mut complete)?;
        let headers = fixed(&scene, &[&self.headers, &method.headers], "headers", &mut complete)?;
        let query = fixed(&scene, &[&self.query, &method.query], "query", &mut complete)?;
        let verify = match method.verify.as_ref().or(self.verify.as_ref()) {
            Some(spec) if !lacks_token(&scene, spec) => request(&scene, spec, "verify")?,
            Some(_) => {
                complete = false;
                None
            }
            None => None,
        };
        let mask = scene.mask.take();
        if let Some(base) = &base_url {
            let base = address(base.expose(), "base_url")?;
            let purposes = [Some(PinPurpose::Call), below_the_base(method).then_some(PinPurpose::Step)];
            for purpose in purposes.into_iter().flatten() {
                let from = if purpose == PinPurpose::Step { "steps" } else { "base_url" };
                destinations.push(Destination {
                    from: from.into(),
                    pin: pin(purpose, &base, &mask),
                    of_client: false,
                });
            }
        }
        if let Some(OwnRequest { to: To::Url(url), .. }) = &verify {
            destinations.push(Destination {
                from: "verify".into(),
                pin: pin(PinPurpose::Call, url, &mask),
                of_client: false,
            });
        }
        Ok(Resolved {
            scheme,
            needs_token: method.scheme.has_token(),
            complete,
            base_url,
            headers,
            query,
            verify,
            ca_certificate,
            policy: rendered.policy,
            consent: rendered.consent,
            client_hosts: ctx.client.map(|client| client.hosts.clone()).unwrap_or_default(),
            uses: scene.uses.take(),
            token_uses,
            destinations,
            mask,
        })
    }

    fn base(
        &self,
        method: &AuthMethod,
        scene: &Scene<'_>,
        complete: &mut bool,
    ) -> Result<Option<SecretString>, RenderError> {
        let Some(template) = method.base_url.as_ref().or(self.base_url.as_ref()) else { return Ok(None) };
        if scene.lacks_token(template) {
            *complete = false;
            return Ok(None);
        }
        let Some(text) = scene.text(template, "base_url")? else { return Ok(None) };
        let found = address(text.expose(), "base_url")?;
        if found.query.is_some() {
            return Err(RenderError::Value {
                at: "base_url".into(),
                detail: "a base URL has no `?`; put what follows it into `query`".into(),
            });
        }
        Ok(Some(SecretString::new(text.expose().trim().trim_end_matches('/'))))
    }

    /// An operation's or metadata's request, what it read, and the secrets that went into it. `ctx.input` must have
    /// passed [`Definition::check_input`].
    pub fn render_operation(
        &self,
        operation: &Operation,
        method: &AuthMethod,
        ctx: &Context<'_>,
    ) -> Result<(OwnRequest, Uses, Vec<SecretString>), RenderError> {
        let scene = Scene::new(method, ctx);
        let place = format!("operations.{}", operation.name);
        match request(&scene, &operation.request, &place)? {
            Some(request) => Ok((request, scene.uses.take(), scene.mask.take())),
            None => Err(RenderError::template("the path is left out").at(&place)),
        }
    }

    /// What of an answer the caller gets to see. Fails rather than hand on what could not be filtered.
    pub fn apply_filter(
        &self,
        operation: &Operation,
        method: &AuthMethod,
        ctx: &Context<'_>,
        answer: Value,
    ) -> Result<Value, RenderError> {
        let place = format!("operations.{}", operation.name);
        let odd = |what: &str, path: &Path| {
            RenderError::template(format!(
                "the answer has no list at `{}`, so that it cannot be {what}; it is not handed on",
                path.as_str()
            ))
            .at(&place)
        };
        let mut answer = answer;
        if let Some(filter) = &operation.filter {
            let kept = retain(&filter.items, answer, |item| {
                let mut scene = Scene::new(method, ctx);
                scene.item = Some(item);
                // A name that an item does not have keeps the item back.
                match filter.keep.value(&scene) {
                    Ok(Val::Bool(keep)) => Ok(keep),
                    Ok(Val::None) => Ok(false),
                    Ok(other) => Err(RenderError::template(format!(
                        "`where` gives {}, not true or false",
                        other.what()
                    ))
                    .at(&place)),
                    Err(error) => Err(error.at(&place)),
                }
            })?;
            answer = kept.ok_or_else(|| odd("filtered", &filter.items))?;
        }
        if let Some(shape) = &operation.shape {
            let whole = Path::parse("").ok();
            let items = shape.items.as_ref().or(whole.as_ref());
            answer = match (shape.apply(&answer), items) {
                (Some(shaped), _) => shaped,
                (None, Some(items)) => return Err(odd("cut to shape", items)),
                (None, None) => {
                    return Err(RenderError::template("the answer cannot be cut to shape").at(&place));
                }
            };
        }
        if let Some(select) = &operation.select {
            answer = select.apply(&answer).ok_or_else(|| odd("read", &select.items))?;
        }
        Ok(answer)
    }
}

fn lacks_token(scene: &Scene<'_>, spec: &RequestSpec) -> bool {
    let (Target::Path(target) | Target::Url(target)) = &spec.target;
    scene.lacks_token(target)
        || [&spec.query, &spec.headers].into_iter().any(|entries| match entries {
            crate::definition::Entries::Each(each) => {
                each.iter().any(|(_, template)| scene.lacks_token(template))
            }
            crate::definition::Entries::Whole(template) => scene.lacks_token(template),
        })
}

fn fixed(
    scene: &Scene<'_>,
    sets: &[&FixedSet],
    place: &str,
    complete: &mut bool,
) -> Result<FixedParts, RenderError> {
    let header = place == "headers";
    let checked = |name: &str, value: SecretString, overridable: bool| {
        if header
            && (http::HeaderName::try_from(name).is_err()
                || http::HeaderValue::try_from(value.expose()).is_err())
        {
            return Err(RenderError::Value {
                at: format!("{place}.{}", name.chars().take(60).collect::<String>()),
                detail: "that is no header that can be sent (a line end or control character in it?)".into(),
            });
        }
        Ok(Fixed { name: name.to_owned(), value, overridable })
    };
    let mut out = FixedParts::default();
    for one in sets {
        let (mut own, mut dropped) = (Vec::new(), Vec::new());
        if let Some((template, overridable)) = &one.whole {
            if scene.lacks_token(template) {
                *complete = false;
            } else {
                for (name, value) in scene.names_of(template, place)? {
                    match value {
                        Some(value) => own.push(checked(&name, value, *overridable)?),
                        None if *overridable => {}
                        None => dropped.push(name),
                    }
                }
            }
        }
        for (name, template, overridable) in &one.each {
            if scene.lacks_token(template) {
                *complete = false;
            } else {
                match scene.text(template, &format!("{place}.{name}"))? {
                    Some(value) => own.push(checked(name, value, *overridable)?),
                    None if *overridable => {}
                    None => dropped.push(name.clone()),
                }
            }
        }
        // The method's own stand in place of the connector's; headers have one name in any case.
        let same = |a: &str, b: &str| if header { a.eq_ignore_ascii_case(b) } else { a == b };
        let anew = |name: &str| own.iter().any(|new| same(&new.name, name));
        out.sent.retain(|known| !anew(&known.name));
        out.dropped.retain(|known| !anew(known));
        out.dropped.extend(dropped);
        out.sent.extend(own);
    }
    Ok(out)
}

/// Begins with the segment before the first that holds a secret: pins are stored in the open.
pub(crate) fn pin(purpose: PinPurpose, address: &Address, mask: &[SecretString]) -> Pin {
    let mut prefix = String::new();
    for segment in address.path.split('/').filter(|segment| !segment.is_empty()) {
        let decoded = percent_encoding::percent_decode_str(segment).decode_utf8_lossy();
        // A secret of a few signs is a segment of its own, or nobody could tell it from other text.
        let is_in = |secret: &str| decoded == secret || (secret.len() >= 4 && decoded.contains(secret));
        if mask.iter().any(|secret| is_in(secret.expose())) {
            break;
        }
        prefix.push('/');
        prefix.push_str(segment);
    }
    Pin::new(purpose, address.origin.clone(), &prefix)
}

/// `None` when the path's template yields nothing: then there is nothing to ask.
pub(crate) fn request(
    scene: &Scene<'_>,
    spec: &RequestSpec,
    place: &str,
) -> Result<Option<OwnRequest>, RenderError> {
    let to = match &spec.target {
        Target::Path(template) => {
            let Some(path) =
                template.text_encoded(scene, &encode_foreign).map_err(|error| error.at(place))?
            else {
                return Ok(None);
            };
            if !path.is_empty() && !path.expose().starts_with(['/', '?']) {
                return Err(RenderError::Value {
                    at: place.to_owned(),
                    detail: "the path does not begin with `/`".into(),
                });
            }
            To::Path(path)
        }
        Target::Url(template) => match scene.text(template, place)? {
            Some(url) => To::Url(address(url.expose(), place)?),
            None => return Ok(None),
        },
    };
    let body = match &spec.body {
        None => None,
        Some(body) => Some(self::body(scene, body, &format!("{place}.body"))?),
    };
    Ok(Some(OwnRequest {
        method: spec.method.clone(),
        to,
        query: scene.entries(&spec.query, &format!("{place}.query"))?,
        headers: scene.entries(&spec.headers, &format!("{place}.headers"))?,
        body,
        expect: spec.expect.clone(),
        account: spec.account.clone(),
    }))
}

/// What callers give stands in a path as one segment, whatever is in it.
fn encode_foreign(known: &Known, text: &str) -> Result<Option<String>, String> {
    if !["input", "user", "project", "environment"].iter().any(|root| known.reads(root))
        && known.variables.is_empty()
    {
        return Ok(None);
    }
    if matches!(text, "" | "." | "..") {
        return Err("a part of the path is empty or a dot segment".into());
    }
    Ok(Some(utf8_percent_encode(text, COMPONENT).to_string()))
}

pub(crate) fn body(scene: &Scene<'_>, body: &BodySpec, place: &str) -> Result<OwnBody, RenderError> {
    Ok(match body {
        BodySpec::Json(json) => OwnBody {
            content_type: "application/json".into(),
            bytes: SecretBytes::new(scene.json(json, place)?.to_string().into_bytes()),
        },
        BodySpec::Form(entries) => {
            let pairs = scene.entries(entries, place)?;
            let text = encode_pairs(&pairs).unwrap_or_default();
            OwnBody {
                content_type: "application/x-www-form-urlencoded".into(),
                bytes: SecretBytes::new(text.expose().as_bytes()),
            }
        }
        BodySpec::Text { content_type, text } => OwnBody {
            content_type: content_type.clone(),
            bytes: SecretBytes::new(scene.text(text, place)?.unwrap_or_default().expose().as_bytes()),
        },
    })
}

/// `name` of a config.
pub(crate) fn find<'c>(config: &'c Config, name: &str) -> Option<&'c Conf> {
    config.iter().find(|(key, _)| key.name == name).map(|(_, conf)| conf)
}
