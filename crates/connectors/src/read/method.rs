//! `auth_methods:` and their schemes.

use super::parts::{Names, Scope};
use super::request::{self, Use};
use super::*;
use crate::definition::{AuthMethod, Conf, Extract, SchemeDef, Source, Step};
use crate::table::{self, Key, Kind, SchemeType};
use crate::yaml::Data;

pub(crate) const KEYS: &[&str] = &[
    "label",
    "help",
    "docs_url",
    "fields",
    "open_fields",
    "let",
    "scheme",
    "base_url",
    "headers",
    "query",
    "verify",
    "tls",
    "errors",
];

pub(crate) fn names(method: &AuthMethod) -> Names {
    Names {
        method: method.id.clone(),
        names: method
            .fields
            .iter()
            .map(|field| field.name.clone())
            .chain(method.lets.iter().map(|(name, _)| name.clone()))
            .collect(),
        open: method.open_fields,
    }
}

pub(crate) fn methods(r: &mut Reader, top: &mut Obj<'_>) -> Vec<AuthMethod> {
    let Some(node) = r.required(top, "auth_methods") else { return Vec::new() };
    let path = top.path_of("auth_methods");
    let mut out = Vec::new();
    for (key, value) in r.entries(node, &path) {
        let path = tree::pointer(&path, &key.text);
        if !valid_id(&key.text) {
            r.say(key.at, &path, "the name of an auth method has lower-case letters, digits, `-` and `_`");
        }
        if let Some(method) = method(r, &key.text, value, &path) {
            out.push(method);
        }
    }
    if out.is_empty() && r.problems.is_empty() {
        r.say(node.at, &path, "at least one auth method is needed; `none: {scheme: {type: none}}` is one");
    }
    out
}

fn method(r: &mut Reader, id: &str, node: &Node, path: &str) -> Option<AuthMethod> {
    let mut obj = r.obj(node, path)?;
    let label = r.text(&mut obj, "label").unwrap_or_else(|| id.replace('_', " "));
    let help = r.text(&mut obj, "help");
    let docs_url = r.http_url(&mut obj, "docs_url");
    let open_fields = r.flag(&mut obj, "open_fields").unwrap_or(false);
    let scheme_node = r.required(&mut obj, "scheme");
    // A text is short for a scheme without keys: `scheme: none`.
    let ty_node = scheme_node.and_then(|node| match &node.data {
        Data::Scalar { .. } => Some(node),
        _ => node.get("type"),
    });
    let ty = ty_node.and_then(|node| {
        let known = table::SCHEMES.iter().map(|spec| (spec.name, spec.ty)).collect::<Vec<_>>();
        r.one_of(node, &format!("{path}/scheme/type"), &known)
    });
    if let (Some(node), None) = (scheme_node, ty_node) {
        r.say(node.at, &format!("{path}/scheme"), "`type` is missing");
    }
    let says_consent = scheme_node.is_some_and(|node| {
        node.get(table::CONSENT_KEY)
            .is_some_and(|node| matches!(&node.data, Data::Scalar { text, .. } if text == "true"))
    });
    let has_token = ty.is_some_and(SchemeType::has_token) || says_consent;
    let fields = obj
        .take("fields")
        .map(|node| fields::fields(r, node, &format!("{path}/fields"), has_token))
        .unwrap_or_default();
    let mut own = Names {
        method: id.to_owned(),
        names: fields.iter().map(|field| field.name.clone()).collect(),
        open: open_fields,
    };
    let lets = lets(r, &mut obj, &mut own);
    let names = [own];
    let scheme = match (scheme_node, ty) {
        (Some(node), Some(ty)) => scheme(r, node, &format!("{path}/scheme"), ty, &names),
        _ => None,
    };
    let base_url = obj
        .take("base_url")
        .and_then(|node| parts::url(r, node, &format!("{path}/base_url"), Scope::BASE, &names));
    let headers = obj
        .take("headers")
        .map(|node| parts::fixed(r, node, &format!("{path}/headers"), &names, true))
        .unwrap_or_default();
    let query = obj
        .take("query")
        .map(|node| parts::fixed(r, node, &format!("{path}/query"), &names, false))
        .unwrap_or_default();
    let verify = obj
        .take("verify")
        .and_then(|node| request::spec(r, node, &format!("{path}/verify"), Use::Verify, &names));
    let tls = match obj.take("tls") {
        Some(node) => {
            let path = format!("{path}/tls");
            match r.obj(node, &path) {
                Some(mut tls) => {
                    let config = config(r, &mut tls, table::TLS.iter(), &names, Scope::AUTH);
                    r.finish(&tls, &table::TLS.iter().map(|key| key.name).collect::<Vec<_>>());
                    config
                }
                None => Config::new(),
            }
        }
        None => Config::new(),
    };
    let errors = request::errors(r, &mut obj);
    r.finish(&obj, KEYS);
    Some(AuthMethod {
        id: id.to_owned(),
        label,
        help,
        docs_url,
        fields,
        open_fields,
        lets,
        scheme: scheme?,
        base_url,
        headers,
        query,
        verify,
        tls,
        errors,
    })
}

/// In order: each may read fields and those before it.
fn lets(r: &mut Reader, obj: &mut Obj<'_>, names: &mut Names) -> Vec<(String, Template)> {
    let Some(node) = obj.take("let") else { return Vec::new() };
    let path = obj.path_of("let");
    let mut out = Vec::new();
    for (key, value) in r.entries(node, &path) {
        let path = tree::pointer(&path, &key.text);
        if !fields::valid_name(&key.text)
            || parts::RESERVED.contains(&key.text.as_str())
            || parts::KEYWORDS.contains(&key.text.as_str())
            || key.text == "token"
        {
            r.say(
                key.at,
                &path,
                format!("`{}` cannot be a name here", key.text.chars().take(60).collect::<String>()),
            );
        } else if names.names.contains(&key.text) {
            r.say(key.at, &path, format!("`{}` is a field already", key.text));
        }
        if let Some(template) = parts::template(r, value, &path, Scope::URL, std::slice::from_ref(names)) {
            out.push((key.text.clone(), template));
        }
        names.names.push(key.text.clone());
    }
    out
}

fn scheme(r: &mut Reader, node: &Node, path: &str, ty: SchemeType, names: &[Names]) -> Option<SchemeDef> {
    let spec = table::spec(ty);
    let known = std::iter::once("type").chain(spec.keys().map(|key| key.name)).collect::<Vec<_>>();
    if let Data::Scalar { .. } = node.data {
        let needed = spec.keys().filter(|key| key.required).map(|key| key.name);
        for name in needed.chain((ty == SchemeType::Oauth1).then_some("consumer_key")) {
            r.say(
                node.at,
                path,
                format!("`{name}` is missing: write `scheme: {{type: {}, {name}: …}}`", spec.name),
            );
        }
        return Some(SchemeDef { ty, config: Config::new() });
    }
    let mut obj = r.obj(node, path)?;
    obj.take("type");
    let config = config(r, &mut obj, spec.keys(), names, Scope::AUTH);
    r.finish(&obj, &known);
    let scheme = SchemeDef { ty, config };
    if ty == SchemeType::Oauth1 {
        oauth1(r, node, path, &scheme);
    }
    Some(scheme)
}

/// Who we are at an OAuth 1.0a provider stands in the values, or comes from an OAuth client: never from both.
fn oauth1(r: &mut Reader, node: &Node, path: &str, scheme: &SchemeDef) {
    let has = |name: &str| scheme.config.iter().any(|(key, _)| key.name == name);
    if let Some(Conf::Text(template)) = crate::resolve::find(&scheme.config, table::CONSENT_KEY)
        && template.as_literal().is_none()
    {
        let path = tree::pointer(path, table::CONSENT_KEY);
        r.say(node.at, &path, "`consent` is true or false; no value decides it");
        return;
    }
    if scheme.needs_consent() {
        for name in table::OAUTH1_OWN.iter().filter(|name| has(name)) {
            r.say(
                node.at,
                &tree::pointer(path, name),
                format!("with `consent` the OAuth client is the application and the token comes of the consent; leave `{name}` out"),
            );
        }
        return;
    }
    if !has("consumer_key") {
        r.say(node.at, path, "`consumer_key` is missing, or `consent: true` for an OAuth client's");
    }
    for key in table::OAUTH1_CONSENT.iter().filter(|key| key.name != table::CONSENT_KEY && has(key.name)) {
        r.say(
            node.at,
            &tree::pointer(path, key.name),
            format!("`{}` belongs to a method with `consent: true`", key.name),
        );
    }
}

pub(crate) fn config<'k>(
    r: &mut Reader,
    obj: &mut Obj<'_>,
    keys: impl Iterator<Item = &'k Key>,
    names: &[Names],
    scope: Scope,
) -> Config
where
    'k: 'static,
{
    let mut out = Config::new();
    for key in keys {
        let node = if key.required { r.required(obj, key.name) } else { obj.take(key.name) };
        let Some(node) = node else { continue };
        let path = obj.path_of(key.name);
        if let Some(conf) = conf(r, node, &path, key, names, scope) {
            out.push((key, conf));
        }
    }
    out
}

fn conf(r: &mut Reader, node: &Node, path: &str, key: &Key, names: &[Names], scope: Scope) -> Option<Conf> {
    Some(match key.kind {
        Kind::Text => Conf::Text(parts::template(r, node, path, scope, names)?),
        Kind::Url => Conf::Text(parts::url(r, node, path, Scope { token: false, ..Scope::URL }, names)?),
        Kind::Choice(options) => {
            let template = parts::template(r, node, path, scope, names)?;
            if let Some(text) = template.as_literal()
                && !options.contains(&text)
            {
                let known = options.iter().map(|name| (*name, ())).collect::<Vec<_>>();
                r.one_of(node, path, &known)?;
            }
            Conf::Text(template)
        }
        Kind::Int | Kind::Bool => {
            let template = parts::template(r, node, path, scope, names)?;
            let wanted = matches!(key.kind, Kind::Int);
            if let Some(text) = template.as_literal() {
                let fits = if wanted {
                    text.parse::<i64>().is_ok_and(|n| n >= 0)
                } else {
                    matches!(text, "true" | "false")
                };
                if !fits {
                    let what = if wanted { "a whole number, not below zero" } else { "true or false" };
                    r.say(node.at, path, format!("`{}` is {what}", key.name));
                }
            }
            Conf::Text(template)
        }
        Kind::Map => {
            let headers = matches!(key.name, "headers" | "token_headers");
            Conf::Map(parts::entries(r, node, path, scope, names, headers))
        }
        Kind::List => match &node.data {
            Data::List(items) => Conf::List(
                items
                    .iter()
                    .enumerate()
                    .filter_map(|(i, item)| parts::template(r, item, &format!("{path}/{i}"), scope, names))
                    .collect(),
            ),
            _ => Conf::List(vec![parts::template(r, node, path, scope, names)?]),
        },
        Kind::Json => Conf::Json(parts::json(r, node, path, scope, names)?),
        Kind::Nested(keys) => {
            let mut obj = r.obj(node, path)?;
            let inner = if key.name == "apply" { Scope::CALL } else { scope };
            let inner = config(r, &mut obj, keys.iter(), names, inner);
            r.finish(&obj, &keys.iter().map(|key| key.name).collect::<Vec<_>>());
            Conf::Nested(inner)
        }
        Kind::Answer => Conf::Answer(Box::new(answer_rules(r, node, path)?)),
        Kind::Steps => Conf::Steps(steps(r, node, path, names)),
        Kind::Body => Conf::Body(request::body(r, node, path, Use::Verify, names)?),
    })
}

/// Keys of `token_answer`, for suggestions; `schemes` decides what they mean.
pub(crate) const ANSWER: &[&str] = &[
    "form",
    "access_token",
    "token_type",
    "refresh_token",
    "id_token",
    "scope",
    "scope_separator",
    "expiry",
    "expiry_format",
    "grant_expiry",
    "grant_expiry_format",
    "ttl",
    "default_ttl",
    "grant_ttl",
    "error",
    "error_description",
    "success",
    "error_wins",
    "errors",
    "named",
    "metadata",
];

fn answer_rules(r: &mut Reader, node: &Node, path: &str) -> Option<latchstring_schemes::oauth2::AnswerRules> {
    let mut obj = r.obj(node, path)?;
    let mut known = Map::new();
    let mut good = true;
    for name in ANSWER {
        if let Some(value) = obj.take(name) {
            // One key at a time, so that a mistake has its own place.
            let one = Value::Object(Map::from_iter([((*name).to_owned(), value.to_json())]));
            match serde_json::from_value::<latchstring_schemes::oauth2::AnswerRules>(one) {
                Ok(_) => {
                    known.insert((*name).to_owned(), value.to_json());
                }
                Err(error) => {
                    good = false;
                    r.say(value.at, &obj.path_of(name), format!("`{name}` cannot be read: {error}"));
                }
            }
        }
    }
    r.finish(&obj, ANSWER);
    if !good {
        return None;
    }
    serde_json::from_value(Value::Object(known)).ok()
}

pub(crate) const STEP: &[&str] = &[
    "name",
    "method",
    "path",
    "url",
    "get",
    "post",
    "put",
    "patch",
    "delete",
    "head",
    "query",
    "headers",
    "body",
    "expect",
    "expect_body",
    "extract",
    "error",
];
pub(crate) const EXTRACT: &[&str] =
    &["json", "header", "cookie", "cookies", "text", "status", "after", "before", "optional"];

fn steps(r: &mut Reader, node: &Node, path: &str, names: &[Names]) -> Vec<Step> {
    let Data::List(items) = &node.data else {
        r.say(node.at, path, "`steps` is a list of requests");
        return Vec::new();
    };
    if items.is_empty() || items.len() > 10 {
        r.say(node.at, path, "a login has one to ten steps");
    }
    let mut out = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let path = format!("{path}/{i}");
        let Some(mut obj) = r.obj(item, &path) else { continue };
        let name = r.text(&mut obj, "name").unwrap_or_else(|| format!("step {}", i + 1));
        let extract = extracts(r, &mut obj);
        let error = match obj.take("error") {
            None => Vec::new(),
            Some(node) => {
                let path = obj.path_of("error");
                match &node.data {
                    Data::List(items) => {
                        items.iter().filter_map(|item| parts::answer_path(r, item, &path)).collect()
                    }
                    _ => parts::answer_path(r, node, &path).into_iter().collect(),
                }
            }
        };
        let request = request::spec_of(r, &mut obj, Use::Step, names);
        r.finish(&obj, STEP);
        if let Some(request) = request {
            out.push(Step { name, request, extract, error });
        }
    }
    out
}

fn extracts(r: &mut Reader, obj: &mut Obj<'_>) -> Vec<Extract> {
    let Some(node) = obj.take("extract") else { return Vec::new() };
    let path = obj.path_of("extract");
    let mut out = Vec::new();
    for (key, value) in r.entries(node, &path) {
        let path = tree::pointer(&path, &key.text);
        if !fields::valid_name(&key.text) {
            r.say(key.at, &path, "the name of an extracted value has letters, digits and `_`");
        }
        let mut extract = Extract {
            name: key.text.clone(),
            from: Source::Text,
            after: None,
            before: None,
            optional: false,
        };
        if let Data::Scalar { .. } = value.data {
            let Some(found) = parts::answer_path(r, value, &path) else { continue };
            extract.from = Source::Json(found);
            out.push(extract);
            continue;
        }
        let Some(mut from) = r.obj(value, &path) else { continue };
        let mut sources = Vec::new();
        if let Some(found) = parts::take_path(r, &mut from, "json") {
            sources.push(Source::Json(found));
        }
        if let Some(name) = r.text(&mut from, "header") {
            sources.push(Source::Header(name.to_ascii_lowercase()));
        }
        if let Some(name) = r.text(&mut from, "cookie") {
            sources.push(Source::Cookie(name));
        }
        if r.flag(&mut from, "cookies") == Some(true) {
            sources.push(Source::Cookies);
        }
        if r.flag(&mut from, "text") == Some(true) {
            sources.push(Source::Text);
        }
        if r.flag(&mut from, "status") == Some(true) {
            sources.push(Source::Status);
        }
        extract.after = r.text(&mut from, "after");
        extract.before = r.text(&mut from, "before");
        extract.optional = r.flag(&mut from, "optional").unwrap_or(false);
        r.finish(&from, EXTRACT);
        if sources.len() == 1 {
            if let Some(source) = sources.pop() {
                extract.from = source;
            }
            out.push(extract);
        } else {
            r.say(value.at, &path, "exactly one of `json`, `header`, `cookie`, `cookies: true`, `text: true` and `status: true` says where the value stands");
        }
    }
    out
}
