//! Requests: `verify`, operations, metadata, login steps. And the `errors` map.

use http::Method;

use super::parts::{Names, Scope};
use super::*;
use crate::answer::{Path, Select, Shape};
use crate::definition::{
    BodyRule, BodySpec, ErrorRule, ErrorWhen, Expect, Filter, Operation, RequestSpec, StatusRange, Target,
};
use crate::yaml::Data;

/// What a request is for decides what its templates may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Verify,
    Operation,
    Step,
}

impl Use {
    fn url(self) -> Scope {
        match self {
            Use::Verify | Use::Step => Scope::URL,
            Use::Operation => Scope::OPERATION,
        }
    }

    fn headers(self) -> Scope {
        match self {
            Use::Verify | Use::Step => Scope::CALL,
            Use::Operation => Scope::OPERATION_HEADERS,
        }
    }

    fn body(self) -> Scope {
        match self {
            Use::Verify | Use::Step => Scope::CALL,
            Use::Operation => Scope::OPERATION,
        }
    }
}

const METHODS: &[(&str, Method)] = &[
    ("get", Method::GET),
    ("post", Method::POST),
    ("put", Method::PUT),
    ("patch", Method::PATCH),
    ("delete", Method::DELETE),
    ("head", Method::HEAD),
];

pub(crate) const VERIFY: &[&str] = &[
    "get",
    "post",
    "put",
    "patch",
    "delete",
    "head",
    "method",
    "path",
    "url",
    "query",
    "headers",
    "body",
    "expect",
    "expect_body",
    "account",
];
pub(crate) const OPERATION: &[&str] = &[
    "label",
    "help",
    "get",
    "post",
    "put",
    "patch",
    "delete",
    "head",
    "method",
    "path",
    "query",
    "headers",
    "body",
    "expect",
    "expect_body",
    "input",
    "filter",
    "select",
];
pub(crate) const BODY: &[&str] = &["json", "form", "text", "content_type"];
pub(crate) const FILTER: &[&str] = &["items", "where"];
pub(crate) const SELECT: &[&str] = &["items", "value", "label", "extra"];
pub(crate) const SHAPE: &[&str] = &["items", "fields"];

pub(crate) fn spec(r: &mut Reader, node: &Node, path: &str, of: Use, names: &[Names]) -> Option<RequestSpec> {
    let mut obj = r.obj(node, path)?;
    let spec = spec_of(r, &mut obj, of, names);
    r.finish(&obj, VERIFY);
    spec
}

pub(crate) fn spec_of(r: &mut Reader, obj: &mut Obj<'_>, of: Use, names: &[Names]) -> Option<RequestSpec> {
    let mut found = None;
    for (name, method) in METHODS {
        if let Some(node) = obj.take(name) {
            if found.is_some() {
                r.say(node.at, &obj.path_of(name), "a request has one method");
            }
            found = Some((method.clone(), node, *name));
        }
    }
    let named = r.text(obj, "method");
    let path_node = obj.take("path");
    let url_node = if of == Use::Operation { None } else { obj.take("url") };
    let method = match (&found, named) {
        (Some((method, ..)), None) => method.clone(),
        (None, Some(name)) => match METHODS.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
            Some((_, method)) => method.clone(),
            None => {
                r.say(
                    obj.at,
                    &obj.path_of("method"),
                    "`method` is one of GET, POST, PUT, PATCH, DELETE, HEAD",
                );
                return None;
            }
        },
        (Some(_), Some(_)) => {
            r.say(
                obj.at,
                &obj.path_of("method"),
                "write either `get: /path` or `method: GET` with `path: /path`",
            );
            return None;
        }
        (None, None) => Method::GET,
    };
    let place = match (found, path_node, url_node) {
        (Some((_, node, name)), None, None) => Some((node, name)),
        (None, Some(node), None) => Some((node, "path")),
        (None, None, Some(node)) => Some((node, "url")),
        (None, None, None) => {
            let path = obj.path.clone();
            r.say(obj.at, &path, "the request is missing: `get: /path`, or `method` and `path`");
            None
        }
        _ => {
            let path = obj.path.clone();
            r.say(obj.at, &path, "a request has one target: `get: /path`, or `path`, or `url`");
            None
        }
    };
    let target = place.and_then(|(node, name)| target(r, node, &obj.path_of(name), of, names));
    let query = obj
        .take("query")
        .map(|node| parts::entries(r, node, &obj.path_of("query"), of.headers(), names, false))
        .unwrap_or_default();
    let headers = obj
        .take("headers")
        .map(|node| parts::entries(r, node, &obj.path_of("headers"), of.headers(), names, true))
        .unwrap_or_default();
    let body = obj.take("body").and_then(|node| body(r, node, &obj.path_of("body"), of, names));
    let mut expect = Expect::default();
    if let Some(node) = obj.take("expect") {
        let path = obj.path_of("expect");
        let items = match &node.data {
            Data::List(items) => items.iter().collect(),
            _ => vec![node],
        };
        for item in items {
            if let Some(text) = r.text_of(item, &path) {
                match status_range(text) {
                    Some(range) => expect.statuses.push(range),
                    None => {
                        r.say(item.at, &path, "`expect` is a status (200), a class (2xx), or a list of them")
                    }
                }
            }
        }
    }
    if let Some(node) = obj.take("expect_body") {
        let path = obj.path_of("expect_body");
        let items = match &node.data {
            Data::List(items) => items.iter().collect(),
            _ => vec![node],
        };
        for item in items {
            if let Data::Scalar { .. } = item.data {
                if let Some(path) = parts::answer_path(r, item, &path) {
                    expect.body.push(BodyRule { path, equals: None });
                }
                continue;
            }
            let Some(mut rule) = r.obj(item, &path) else { continue };
            let found = parts::take_path(r, &mut rule, "path");
            let equals = rule.take("equals").map(Node::to_json);
            r.finish(&rule, &["path", "equals"]);
            match found {
                Some(path) => expect.body.push(BodyRule { path, equals }),
                None => r.say(item.at, &path, "`path` is missing"),
            }
        }
    }
    let account = if of == Use::Verify { parts::take_path(r, obj, "account") } else { None };
    Some(RequestSpec { method, target: target?, query, headers, body, expect, account })
}

fn target(r: &mut Reader, node: &Node, path: &str, of: Use, names: &[Names]) -> Option<Target> {
    let template = parts::template(r, node, path, of.url(), names)?;
    let start = template.starts_with_text();
    let absolute = start.is_some_and(|text| text.starts_with("https://") || text.starts_with("http://"));
    if absolute || path.ends_with("/url") {
        if of == Use::Operation {
            r.say(node.at, path, "an operation asks the connector's own base URL; write the path alone");
        }
        if let Some(text) = template.as_literal()
            && let Err(error) = latchstring_model::address::Address::parse(text)
        {
            r.say(node.at, path, error.to_string());
        }
        return Some(Target::Url(template));
    }
    // Login steps usually build their URL from a `let`.
    if of == Use::Step && start.is_none() {
        return Some(Target::Url(template));
    }
    if let Some(text) = start
        && !text.is_empty()
        && !text.starts_with('/')
    {
        r.say(node.at, path, "a path begins with `/`");
    }
    if template.as_literal().is_some_and(|text| text.contains(['#', ' ', '\\'])) {
        r.say(node.at, path, "a path has no `#`, blanks or backslashes; write them percent-encoded");
    }
    Some(Target::Path(template))
}

pub(crate) fn body(r: &mut Reader, node: &Node, path: &str, of: Use, names: &[Names]) -> Option<BodySpec> {
    let mut obj = r.obj(node, path)?;
    let json = obj.take("json");
    let form = obj.take("form");
    let text = obj.take("text");
    let content_type = r.text(&mut obj, "content_type");
    r.finish(&obj, BODY);
    match (json, form, text) {
        (Some(node), None, None) => {
            Some(BodySpec::Json(parts::json(r, node, &format!("{path}/json"), of.body(), names)?))
        }
        (None, Some(node), None) => {
            Some(BodySpec::Form(parts::entries(r, node, &format!("{path}/form"), of.body(), names, false)))
        }
        (None, None, Some(node)) => Some(BodySpec::Text {
            content_type: content_type.unwrap_or_else(|| "text/plain; charset=utf-8".into()),
            text: parts::template(r, node, &format!("{path}/text"), of.body(), names)?,
        }),
        _ => {
            r.say(node.at, path, "a body is exactly one of `json`, `form` and `text`");
            None
        }
    }
}

/// `404`, `4xx`, `500-504`.
pub(crate) fn status_range(text: &str) -> Option<StatusRange> {
    let number = |text: &str| text.trim().parse::<u16>().ok().filter(|status| (100..600).contains(status));
    if let Some(class) = text.strip_suffix("xx") {
        let class = class.parse::<u16>().ok().filter(|class| (1..=5).contains(class))?;
        return Some(StatusRange { from: class * 100, to: class * 100 + 99 });
    }
    if let Some((from, to)) = text.split_once('-') {
        return Some(StatusRange { from: number(from)?, to: number(to)? });
    }
    let status = number(text)?;
    Some(StatusRange { from: status, to: status })
}

pub(crate) fn errors(r: &mut Reader, obj: &mut Obj<'_>) -> Vec<ErrorRule> {
    let Some(node) = obj.take("errors") else { return Vec::new() };
    let path = obj.path_of("errors");
    let mut out = Vec::new();
    for (key, value) in r.entries(node, &path) {
        let path = tree::pointer(&path, &key.text);
        let Some(explanation) = r.text_of(value, &path) else { continue };
        let when = match status_range(&key.text) {
            Some(range) => ErrorWhen::Status(range),
            None if key.text.trim().len() >= 3 => ErrorWhen::Text(key.text.to_lowercase()),
            None => {
                r.say(key.at, &path, "a key of `errors` is a status (401, 4xx) or a piece of what the API says, of at least three characters");
                continue;
            }
        };
        out.push(ErrorRule { when, explanation: explanation.to_owned() });
    }
    out
}

pub(crate) fn operations(
    r: &mut Reader,
    node: &Node,
    path: &str,
    names: &[Names],
    metadata: bool,
) -> Vec<Operation> {
    let mut out = Vec::new();
    for (key, value) in r.entries(node, path) {
        let path = tree::pointer(path, &key.text);
        if !valid_id(&key.text) {
            r.say(key.at, &path, "a name here has lower-case letters, digits, `-` and `_`");
        }
        let Some(mut obj) = r.obj(value, &path) else { continue };
        let label = r.text(&mut obj, "label");
        let help = r.text(&mut obj, "help");
        let input = obj
            .take("input")
            .map(|node| fields::fields(r, node, &format!("{path}/input"), false))
            .unwrap_or_default();
        for field in input.iter().filter(|field| field.secret) {
            r.say(
                obj.at,
                &path,
                format!("`{}`: what a caller gives is no secret of the credential", field.name),
            );
        }
        let filter = filter(r, &mut obj, names);
        let (select, shape) = match obj.take("select") {
            None => (None, None),
            Some(node) if metadata => (select(r, node, &format!("{path}/select")), None),
            Some(node) => (None, shape(r, node, &format!("{path}/select"))),
        };
        if metadata && select.is_none() {
            r.say(obj.at, &path, "`select` is missing: it says where the choices stand in the answer");
        }
        let request = spec_of(r, &mut obj, Use::Operation, names);
        r.finish(&obj, OPERATION);
        if let Some(request) = request {
            out.push(Operation {
                name: key.text.clone(),
                label,
                help,
                request,
                input,
                filter,
                shape,
                select,
            });
        }
    }
    out
}

fn filter(r: &mut Reader, obj: &mut Obj<'_>, names: &[Names]) -> Option<Filter> {
    let node = obj.take("filter")?;
    let path = obj.path_of("filter");
    let mut obj = r.obj(node, &path)?;
    let items = parts::take_path(r, &mut obj, "items").or_else(|| Path::parse("").ok());
    let keep = r
        .required(&mut obj, "where")
        .and_then(|node| parts::template(r, node, &format!("{path}/where"), Scope::FILTER, names));
    r.finish(&obj, FILTER);
    Some(Filter { items: items?, keep: keep? })
}

fn select(r: &mut Reader, node: &Node, path: &str) -> Option<Select> {
    let mut obj = r.obj(node, path)?;
    let items = parts::take_path(r, &mut obj, "items").or_else(|| Path::parse("").ok());
    let value = match obj.take("value") {
        Some(node) => parts::answer_path(r, node, &format!("{path}/value")),
        // A list of plain values.
        None => Path::parse("").ok(),
    };
    let label = parts::take_path(r, &mut obj, "label");
    let extra = match obj.take("extra") {
        Some(node) => paths(r, node, &format!("{path}/extra")),
        None => Vec::new(),
    };
    r.finish(&obj, SELECT);
    Some(Select { items: items?, value: value?, label, extra })
}

fn shape(r: &mut Reader, node: &Node, path: &str) -> Option<Shape> {
    let mut obj = r.obj(node, path)?;
    let items = parts::take_path(r, &mut obj, "items");
    let fields = match obj.take("fields") {
        Some(node) => paths(r, node, &format!("{path}/fields")),
        None => Vec::new(),
    };
    r.finish(&obj, SHAPE);
    Some(Shape { items, fields })
}

fn paths(r: &mut Reader, node: &Node, path: &str) -> Vec<(String, Path)> {
    let mut out = Vec::new();
    for (key, value) in r.entries(node, path) {
        if let Some(found) = parts::answer_path(r, value, &tree::pointer(path, &key.text)) {
            out.push((key.text.clone(), found));
        }
    }
    out
}
