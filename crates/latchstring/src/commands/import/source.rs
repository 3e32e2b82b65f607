//! What other programs have exported, as names, types and fields. Nothing here says what a field holds, not in errors
//! either.

use std::collections::BTreeMap;

use latchstring_connectors::yaml::{Broken, parse_file};
use serde_json::{Map, Value};

/// One credential as it was there.
#[derive(Debug)]
pub struct Theirs {
    pub name: String,
    /// n8n's type, OpenFn's adaptor; none: not known.
    pub kind: Option<String>,
    pub fields: Map<String, Value>,
    /// Why it cannot be taken over, whatever its type.
    pub not: Option<String>,
}

/// An export of nobody's credentials is larger.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// JSON's own messages show what was read; this one does not.
fn json(source: &str) -> Result<Value, String> {
    serde_json::from_str(source)
        .map_err(|error| format!("line {}, column {}: this is not JSON", error.line(), error.column()))
}

/// `n8n export:credentials --all --decrypted`: a list, or one file each with `--separate`.
pub fn n8n(source: &str) -> Result<Vec<Theirs>, String> {
    let root = json(source)?;
    let all = match root {
        Value::Array(all) => all,
        one @ Value::Object(_) => vec![one],
        _ => return Err("an export of n8n is a list of credentials".to_owned()),
    };
    let mut found = Vec::with_capacity(all.len());
    for (at, one) in all.into_iter().enumerate() {
        let text = |name: &str| one[name].as_str().map(str::to_owned);
        let (Some(name), Some(kind)) = (text("name"), text("type")) else {
            return Err(format!("entry {}: a credential of n8n has a `name` and a `type`", at + 1));
        };
        let mut theirs = Theirs { name, kind: Some(kind), fields: Map::new(), not: None };
        match &one["data"] {
            Value::Object(data) => theirs.fields = data.clone(),
            Value::String(_) => {
                theirs.not = Some(
                    "it is still encrypted: export with `n8n export:credentials --all --decrypted`"
                        .to_owned(),
                );
            }
            _ => theirs.not = Some("it has no `data`".to_owned()),
        }
        let expression =
            theirs.fields.iter().find(|(_, value)| value.as_str().is_some_and(|text| text.starts_with('=')));
        if let Some((field, _)) = expression {
            theirs.not = Some(format!(
                "`{field}` is an expression of n8n, which means nothing elsewhere: put the value itself in its place there"
            ));
        }
        found.push(theirs);
    }
    Ok(found)
}

/// A `.env` file: names and values, no credentials yet.
pub fn env(source: &str) -> Result<BTreeMap<String, String>, String> {
    let mut all = BTreeMap::new();
    let mut lines = source.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| format!("line {}: {what}", at + 1);
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, rest) = line.split_once('=').ok_or_else(|| wrong("not NAME=value"))?;
        let name = name.trim();
        let good = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
        if !good {
            return Err(wrong("the name has letters, digits and underscores"));
        }
        let rest = rest.trim_start();
        let value = match rest.chars().next() {
            Some(quote @ ('"' | '\'' | '`')) => {
                // A quoted value may go over several lines, as keys do.
                let mut text = rest.get(1..).unwrap_or_default().to_owned();
                loop {
                    match closing(&text, quote) {
                        Some(end) => {
                            text.truncate(end);
                            break;
                        }
                        None => {
                            let (_, more) = lines.next().ok_or_else(|| wrong("the quotes are not closed"))?;
                            text.push('\n');
                            text.push_str(more);
                        }
                    }
                }
                if quote == '"' { unescaped(&text) } else { text }
            }
            _ => {
                let end = rest.find(" #").or_else(|| rest.find("\t#")).unwrap_or(rest.len());
                rest.get(..end).unwrap_or_default().trim_end().to_owned()
            }
        };
        all.insert(name.to_owned(), value);
    }
    Ok(all)
}

fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let ends = c == quote && !escaped;
        escaped = quote == '"' && c == '\\' && !escaped;
        ends.then_some(at)
    })
}

fn unescaped(text: &str) -> String {
    let (mut out, mut chars) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('r')) => out.push('\r'),
            ('\\', Some('t')) => out.push('\t'),
            ('\\', Some(other)) => out.push(other),
            (c, _) => out.push(c),
        }
    }
    out
}

/// What OpenFn has: a credential map (`--credentials`), a `state.json` with its `configuration`, a `project.yaml` with
/// the bodies of its credentials, or one credential's body alone. `stem`: what a file is called that names nothing.
pub fn openfn(source: &str, stem: &str) -> Result<Vec<Theirs>, String> {
    let root = match source.trim_start().starts_with(['{', '[']) {
        true => json(source)?,
        false => parse_file(source, "export", MOST_BYTES)
            .map_err(|Broken { at, .. }| {
                format!("line {}, column {}: this is not YAML as latchstring reads it", at.line, at.column)
            })?
            .to_json(),
    };
    let Value::Object(root) = root else {
        return Err("an export of OpenFn is a map: a credential map, a state.json, a project.yaml".to_owned());
    };
    if let Some(Value::Object(body)) = root.get("configuration") {
        return Ok(vec![body_of(stem, None, &body.clone().into())]);
    }
    let mut adaptors = BTreeMap::new();
    jobs(&Value::Object(root.clone()), &mut adaptors);
    if let Some(credentials) = root.get("credentials") {
        let Value::Object(all) = credentials else {
            return Err("`credentials` of a project is a map of names to bodies".to_owned());
        };
        return Ok(all.iter().map(|(name, body)| body_of(name, adaptors.get(name), body)).collect());
    }
    if root.values().all(|value| !value.is_object()) {
        return Ok(vec![body_of(stem, None, &Value::Object(root))]);
    }
    Ok(root.iter().map(|(name, body)| body_of(name, adaptors.get(name), body)).collect())
}

/// Which adaptor is used with which credential: what says most about what it is.
fn jobs(value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            let text = |name: &str| map.get(name).and_then(Value::as_str);
            if let (Some(adaptor), Some(credential)) =
                (text("adaptor").or_else(|| text("language_pack")), text("credential"))
            {
                let name = adaptor.rsplit('/').next().unwrap_or(adaptor);
                let name = name.split('@').next().unwrap_or(name);
                let name = name.strip_prefix("language-").unwrap_or(name);
                found.insert(credential.to_owned(), name.to_owned());
            }
            map.values().for_each(|value| jobs(value, found));
        }
        Value::Array(all) => all.iter().for_each(|value| jobs(value, found)),
        _ => {}
    }
}

fn body_of(name: &str, kind: Option<&String>, body: &Value) -> Theirs {
    let body = body.get("body").unwrap_or(body);
    let mut theirs = Theirs { name: name.to_owned(), kind: kind.cloned(), fields: Map::new(), not: None };
    let Value::Object(fields) = body else {
        theirs.not = Some("it has no body: only its name was exported".to_owned());
        return theirs;
    };
    let about = ["id", "name", "owner", "schema", "external_id", "inserted_at", "updated_at", "production"];
    if fields.keys().all(|field| about.contains(&field.as_str())) {
        theirs.not = Some(
            "it has no body: OpenFn exports the names of credentials, and only its owner reads the values"
                .to_owned(),
        );
    }
    let hidden =
        |value: &Value| value.as_str().is_some_and(|text| text.len() >= 3 && text.bytes().all(|b| b == b'*'));
    if let Some((field, _)) = fields.iter().find(|(_, value)| hidden(value)) {
        theirs.not = Some(format!("`{field}` is hidden in the export (`***`): put the value itself there"));
    }
    theirs.fields = fields.clone();
    theirs
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn dotenv_files_as_people_write_them() {
        let text = "# a comment\n\nexport A=1\nB = two words # a comment\nC='#literal $X \\n'\nD=\"line\\nbreak \\\"q\\\"\" # c\nE=\nF=a#b\nKEY=\"-----BEGIN KEY-----\nabc\n-----END KEY-----\"\nG=a=b\n";
        let read = env(text).unwrap();
        let pairs: Vec<(&str, &str)> =
            read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("A", "1"),
                ("B", "two words"),
                ("C", "#literal $X \\n"),
                ("D", "line\nbreak \"q\""),
                ("E", ""),
                ("F", "a#b"),
                ("G", "a=b"),
                ("KEY", "-----BEGIN KEY-----\nabc\n-----END KEY-----"),
            ]
        );
        for (text, line) in [("A=1\nplanted", "line 2"), ("A=\"planted", "line 1"), ("1A=planted", "line 1")]
        {
            let error = env(text).unwrap_err();
            assert!(error.starts_with(line) && !error.contains("planted"), "{error}");
        }
    }

    #[test]
    fn openfn_in_its_forms() {
        let map = openfn(r#"{"a": {"username": "u"}, "b": {"body": {"token": "t"}}, "c": "planted"}"#, "f")
            .unwrap();
        assert_eq!(
            map.iter()
                .map(|one| (one.name.as_str(), one.fields.len(), one.not.is_some()))
                .collect::<Vec<_>>(),
            [("a", 1, false), ("b", 1, false), ("c", 0, true)]
        );
        let state = openfn(r#"{"configuration": {"hostUrl": "h"}, "data": {}}"#, "state").unwrap();
        assert_eq!((state[0].name.as_str(), state[0].fields.len()), ("state", 1));
        let alone = openfn(r#"{"hostUrl": "h", "password": "p"}"#, "dhis2").unwrap();
        assert_eq!(alone[0].fields.len(), 2);
        let project = "name: p\nworkflows:\n  w:\n    jobs:\n      j: {adaptor: '@openfn/language-dhis2@latest', credential: one}\ncredentials:\n  one: {hostUrl: h, username: u, password: p}\n  two: {name: Two, owner: ada@example.com}\n  three: {password: '******'}\n";
        let project = openfn(project, "project").unwrap();
        assert_eq!((project[0].name.as_str(), project[0].kind.as_deref()), ("one", Some("dhis2")));
        assert!(project[1].not.is_some() && project[2].not.as_ref().unwrap().contains("hidden"));
        for wrong in ["[1", "a: [planted", "[]"] {
            assert!(!openfn(wrong, "f").unwrap_err().contains("planted"));
        }
    }

    #[test]
    fn n8n_in_its_forms() {
        let list = r#"[{"id": "1", "name": "A", "type": "t", "data": {"x": "y"}}, {"name": "B", "type": "t", "data": "U2FsdGVk"}, {"name": "C", "type": "t", "data": {"x": "={{ $vars.y }}"}}]"#;
        let read = n8n(list).unwrap();
        assert_eq!(read.iter().map(|one| one.not.is_some()).collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(n8n(r#"{"name": "A", "type": "t", "data": {}}"#).unwrap().len(), 1);
        assert!(n8n("[{\"planted").unwrap_err().contains("not JSON"));
        assert!(n8n("[{}]").unwrap_err().contains("entry 1"));
    }
}
