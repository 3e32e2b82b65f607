//! From the tree of a file to a [`Definition`]: all mistakes at once, each with its place.

mod fields;
mod method;
mod parts;
mod request;
mod tree;

/// All names of keys, for the JSON Schema.
pub(crate) mod keys {
    pub(crate) use super::fields::{GENERATE, KEYS as FIELD};
    pub(crate) use super::method::{ANSWER, EXTRACT, KEYS as METHOD, STEP};
    pub(crate) use super::request::{BODY, FILTER, OPERATION, SELECT, SHAPE, VERIFY};
    pub(crate) use super::{PAGINATION, RATE_LIMIT, TOP};
}

use serde_json::{Map, Value};

use crate::definition::{Config, Definition, Entries, FixedSet, HostPattern, JsonTemplate};
use crate::diagnostic::{Diagnostic, Position};
use crate::template::Template;
use crate::yaml::{self, Node};
pub(crate) use parts::{Names, Scope, misplaced};
pub(crate) use tree::pointer;
use tree::{Obj, Reader};

/// Keys of the file itself.
pub(crate) const TOP: &[&str] = &[
    "id",
    "name",
    "version",
    "description",
    "docs_url",
    "categories",
    "hosts",
    "allow_http",
    "base_url",
    "headers",
    "query",
    "auth_methods",
    "verify",
    "errors",
    "metadata",
    "operations",
    "sandbox",
    "rate_limit",
    "pagination",
];

pub(crate) fn definition(source: &str, file: &str, strict: bool) -> Result<Definition, Vec<Diagnostic>> {
    let mut reader = Reader::new(file, strict);
    let root = match yaml::parse(source) {
        Ok(root) => root,
        Err(broken) => {
            return Err(vec![Diagnostic {
                file: file.to_owned(),
                at: broken.at,
                pointer: String::new(),
                message: broken.message,
                suggestion: None,
            }]);
        }
    };
    let definition = read(&mut reader, &root);
    match definition {
        Some(definition) if reader.problems.is_empty() => Ok(definition),
        _ => {
            if reader.problems.is_empty() {
                reader.say(root.at, "", "the definition cannot be read");
            }
            reader.problems.sort_by_key(|problem| problem.at);
            Err(reader.problems)
        }
    }
}

fn read(r: &mut Reader, root: &Node) -> Option<Definition> {
    let mut top = r.obj(root, "")?;
    let id = r.required_text(&mut top, "id");
    if let (Some(id), Some(node)) = (&id, root.get("id"))
        && !valid_id(id)
    {
        r.say(node.at, "/id", "an id has lower-case letters, digits, `-` and `_`, begins with a letter and has at most 63 characters");
    }
    let name = r.required_text(&mut top, "name");
    let version = r.text(&mut top, "version").unwrap_or_else(|| "1".to_owned());
    let description = r.text(&mut top, "description");
    let docs_url = r.http_url(&mut top, "docs_url");
    let categories = r.texts(&mut top, "categories");
    let mut hosts = Vec::new();
    for (at, path, text) in r.texts_at(&mut top, "hosts") {
        match HostPattern::parse(&text) {
            Ok(pattern) => hosts.push(pattern),
            Err(message) => r.say(at, &path, message),
        }
    }
    let allow_http = r.flag(&mut top, "allow_http").unwrap_or(false);
    let sandbox = r.flag(&mut top, "sandbox").unwrap_or(false);
    let errors = request::errors(r, &mut top);
    let rate_limit = hints(r, &mut top, "rate_limit", RATE_LIMIT);
    let pagination = hints(r, &mut top, "pagination", PAGINATION);
    let base_node = top.take("base_url");
    let header_node = top.take("headers");
    let query_node = top.take("query");
    let verify_node = top.take("verify");
    let operations_node = top.take("operations");
    let metadata_node = top.take("metadata");
    let auth_methods = method::methods(r, &mut top);
    r.finish(&top, TOP);

    // What stands at the top is rendered with each method's fields, so each must have them.
    let own = |has: &dyn Fn(&crate::definition::AuthMethod) -> bool| -> Vec<Names> {
        auth_methods.iter().filter(|method| !has(method)).map(method::names).collect()
    };
    let base_url = base_node.and_then(|node| {
        parts::url(r, node, "/base_url", Scope::BASE, &own(&|method| method.base_url.is_some()))
    });
    let all = own(&|_| false);
    let headers = header_node.map(|node| parts::fixed(r, node, "/headers", &all, true)).unwrap_or_default();
    let query = query_node.map(|node| parts::fixed(r, node, "/query", &all, false)).unwrap_or_default();
    let verify = verify_node.and_then(|node| {
        let names = own(&|method| method.verify.is_some());
        request::spec(r, node, "/verify", request::Use::Verify, &names)
    });
    let operations = operations_node
        .map(|node| request::operations(r, node, "/operations", &all, false))
        .unwrap_or_default();
    let metadata =
        metadata_node.map(|node| request::operations(r, node, "/metadata", &all, true)).unwrap_or_default();
    let digest = crate::digest::of(root);
    Some(Definition {
        id: id?,
        name: name?,
        version,
        description,
        docs_url,
        categories,
        hosts,
        allow_http,
        base_url,
        headers,
        query,
        auth_methods,
        verify,
        errors,
        metadata,
        operations,
        sandbox,
        rate_limit,
        pagination,
        digest,
    })
}

pub(crate) const RATE_LIMIT: &[&str] = &[
    "limit_header",
    "remaining_header",
    "reset_header",
    "reset_format",
    "retry_statuses",
    "per_second",
    "per_minute",
    "notes",
];
pub(crate) const PAGINATION: &[&str] =
    &["style", "items", "next", "param", "size_param", "max_size", "notes"];

/// Hints are handed on as they are; only their names are checked.
fn hints(r: &mut Reader, top: &mut Obj<'_>, name: &str, known: &[&str]) -> Option<Value> {
    let node = top.take(name)?;
    let mut obj = r.obj(node, &format!("/{name}"))?;
    let mut out = Map::new();
    for key in known {
        if let Some(value) = obj.take(key) {
            out.insert((*key).to_owned(), value.to_json());
        }
    }
    r.finish(&obj, known);
    Some(Value::Object(out))
}

pub(crate) fn valid_id(text: &str) -> bool {
    text.len() <= 63
        && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}
