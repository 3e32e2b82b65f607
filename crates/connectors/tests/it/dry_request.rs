//! What a built-in connector would send, as text: the verification signed like a call, and the request for its
//! token. The secrets stand in it in full, so that a test sees where they go.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use latchstring_connectors::{
    Definition, Field, FieldType, HostVerdict, OAuthClient, OAuthEndpoints, OwnRequest, Resolved, To, builtin,
};
use latchstring_model::address::Address;
use latchstring_schemes::token::TokenSet;
use latchstring_schemes::wire::Outgoing;
use serde_json::{Value, json};

use crate::world::{World, oauth_client};

pub fn connector(id: &str) -> &'static Definition {
    builtin().find(|definition| definition.id == id).unwrap_or_else(|| {
        let problems = latchstring_connectors::FILES
            .iter()
            .filter(|(file, _)| *file == format!("{id}.yaml"))
            .flat_map(|(file, text)| latchstring_connectors::check(text, file).err().unwrap_or_default())
            .map(|problem| problem.to_string())
            .collect::<Vec<_>>();
        panic!("no usable connector {id}: {}", problems.join("\n"))
    })
}

/// Something that an operation's field takes.
pub fn input(field: &Field) -> Value {
    if let Some(example) = field.examples.first() {
        return example.clone();
    }
    match field.ty {
        FieldType::Choice => json!(field.options[0].0),
        // The smallest that is allowed, at least one.
        FieldType::Integer | FieldType::Number => {
            json!((1..).find(|n| f64::from(*n) >= field.min.unwrap_or(1.0)))
        }
        FieldType::Boolean => json!(true),
        FieldType::Map => json!({"a": "b"}),
        FieldType::List => json!(["a", "b"]),
        FieldType::Json => json!({"a": [1, "b"]}),
        FieldType::Url => json!("https://example.org/a"),
        FieldType::Text | FieldType::Pem => json!("a b/c?d"),
    }
}

/// `token`: what the token's answer (or the login) brought; `None` where the method needs none.
fn resolve(id: &str, method: &str, values: &Value, token: Option<&Value>) -> (World, Resolved) {
    let mut world = World::new();
    world.token = token.map(|token| token.as_object().expect("a map").clone());
    let definition = connector(id);
    let known = definition.method(method).unwrap_or_else(|| panic!("{id} has no method {method}"));
    if known.needs_consent() {
        // One that leaves the endpoints to the definition.
        world.client = Some(OAuthClient { endpoints: OAuthEndpoints::default(), ..oauth_client() });
    }
    let checked = definition
        .check_values(known, values.as_object().expect("a map"))
        .unwrap_or_else(|errors| panic!("{id}.{method}: {errors:?}"));
    let resolved = definition
        .resolve(known, &world.context(&checked))
        .unwrap_or_else(|error| panic!("{id}.{method}: {error}"));
    // A credential could not be pinned otherwise.
    assert!(!resolved.destinations.is_empty(), "{id}.{method} goes nowhere");
    for to in &resolved.destinations {
        assert_eq!(
            definition.host_verdict(&to.pin.origin),
            HostVerdict::Allowed,
            "{id}.{method}: {} of {}",
            to.pin.origin.host,
            to.from
        );
    }
    (world, resolved)
}

/// The verification as it leaves: method and URL, headers by name, then the body.
pub fn verification(id: &str, method: &str, values: &Value, token: Option<&Value>) -> String {
    let (world, resolved) = resolve(id, method, values, token);
    assert!(resolved.complete, "{id}.{method}: something waits for a token");
    let request = resolved.verify.as_ref().unwrap_or_else(|| panic!("{id}.{method} verifies nothing"));
    let mut headers = HeaderMap::new();
    for fixed in &resolved.headers.sent {
        set(&mut headers, &fixed.name, fixed.value.expose());
    }
    for (name, value) in &request.headers {
        set(&mut headers, name, value.expose());
    }
    if let Some(body) = &request.body {
        set(&mut headers, header::CONTENT_TYPE.as_str(), &body.content_type);
    }
    let base = resolved.base_url.as_ref().expect("a base URL").expose();
    let address = address(base, request, &resolved);
    let set = token.map(|_| TokenSet::new("TOKEN", world.now));
    let prepared =
        resolved.scheme.prepare(&world.keys).unwrap_or_else(|error| panic!("{id}.{method}: {error}"));
    let mut target = address.target();
    let mut out = Outgoing {
        method: &request.method,
        origin: &address.origin,
        target: &mut target,
        headers: &mut headers,
    };
    let body = request.body.as_ref().map(|body| body.bytes.expose()).unwrap_or_default();
    prepared
        .sign(&mut out, Some(body), set.as_ref(), world.now, &world.entropy)
        .unwrap_or_else(|error| panic!("{id}.{method}: {error}"));
    let root = address.to_string();
    let root = root.strip_suffix(&address.target()).expect("the target is the end of the address");
    shown(request.method.as_str(), &format!("{root}{target}"), &headers, body)
}

/// The request for the method's token.
pub fn token_request(id: &str, method: &str, values: &Value) -> String {
    let (world, resolved) = resolve(id, method, values, None);
    let prepared =
        resolved.scheme.prepare(&world.keys).unwrap_or_else(|error| panic!("{id}.{method}: {error}"));
    let grant = prepared.grant().unwrap_or_else(|| panic!("{id}.{method} obtains no token"));
    let wire = grant
        .token_request(None, world.now, &world.entropy)
        .unwrap_or_else(|error| panic!("{id}.{method}: {}", error.explanation()));
    shown(wire.method.as_str(), &wire.address.to_string(), &wire.headers, wire.body.expose())
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    headers
        .insert(HeaderName::try_from(name).expect("a name"), HeaderValue::try_from(value).expect("a value"));
}

fn address(base: &str, request: &OwnRequest, resolved: &Resolved) -> Address {
    let mut address = match &request.to {
        To::Url(address) => address.clone(),
        To::Path(path) => Address::parse(&format!("{base}{}", path.expose())).expect("an address"),
    };
    let mut query = address.query.take().into_iter().collect::<Vec<_>>();
    query.extend(request.encoded_query().map(|own| own.expose().to_owned()));
    query.extend(resolved.query.sent.iter().map(|fixed| format!("{}={}", fixed.name, fixed.value.expose())));
    address.query = (!query.is_empty()).then(|| query.join("&"));
    address
}

fn shown(method: &str, url: &str, headers: &HeaderMap, body: &[u8]) -> String {
    let mut lines = headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "user-agent" | "accept"))
        .map(|(name, value)| format!("{name}: {}", readable(value.to_str().expect("text"))))
        .collect::<Vec<_>>();
    lines.sort();
    lines.insert(0, format!("{method} {url}"));
    if !body.is_empty() {
        let body = std::str::from_utf8(body).expect("text");
        lines.push(body.split('&').map(readable).collect::<Vec<_>>().join("&"));
    }
    lines.join("\n")
}

/// A JWT as its header and claims, without what differs each time; `Basic` as what it holds.
fn readable(text: &str) -> String {
    let decoded = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
        // By name, whatever order they were written in.
        let mut members = serde_json::from_slice::<BTreeMap<String, Value>>(&bytes).ok()?;
        members.remove("jti");
        serde_json::to_string(&members).ok()
    };
    if let Some(basic) = text.strip_prefix("Basic ") {
        let held = base64::engine::general_purpose::STANDARD.decode(basic).expect("Base64");
        return format!("Basic ({})", String::from_utf8(held).expect("text"));
    }
    let Some(start) = text.find("eyJ") else { return text.to_owned() };
    let parts = text[start..].split('.').collect::<Vec<_>>();
    match parts.as_slice() {
        [head, claims, _] => match (decoded(head), decoded(claims)) {
            (Some(head), Some(claims)) => format!("{}{head}.{claims}", &text[..start]),
            _ => text.to_owned(),
        },
        _ => text.to_owned(),
    }
}

/// An operation's (or metadata's) request as the definition makes it, before it is signed: method, path and
/// query, then its own headers, then the body.
pub fn operation(id: &str, method: &str, values: &Value, name: &str, input: &Value) -> String {
    let definition = connector(id);
    let known = definition.method(method).unwrap_or_else(|| panic!("{id} has no method {method}"));
    let checked = definition.check_values(known, values.as_object().expect("a map")).expect("good values");
    let operation = definition
        .operation(name)
        .or_else(|| definition.metadata_named(name))
        .unwrap_or_else(|| panic!("{id} has no operation {name}"));
    let input = definition
        .check_input(operation, input.as_object().expect("a map"))
        .unwrap_or_else(|errors| panic!("{id} {name}: {}: {}", errors[0].pointer, errors[0].detail));
    let mut world = World::new();
    world.input = Some(input);
    let (request, ..) = definition
        .render_operation(operation, known, &world.context(&checked))
        .unwrap_or_else(|error| panic!("{id} {name}: {error}"));
    let To::Path(path) = &request.to else { panic!("{id} {name}: a path") };
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        set(&mut headers, name, value.expose());
    }
    let query = request.encoded_query().map(|query| format!("?{}", query.expose())).unwrap_or_default();
    let body = request.body.as_ref().map(|body| body.bytes.expose()).unwrap_or_default();
    shown(request.method.as_str(), &format!("{}{query}", path.expose()), &headers, body)
}
