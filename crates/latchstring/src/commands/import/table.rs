//! The table of what becomes of what: `table.yaml`, checked against the connectors by a test.

use std::collections::BTreeMap;

use latchstring_connectors::yaml::parse_file;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Names of theirs: one, or several of which the first that is set is taken.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Several(Vec<String>),
}

impl Names {
    fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(all) => all,
        }
    }
}

/// One way to take something over.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Way {
    pub to: Option<String>,
    fields: BTreeMap<String, Names>,
    fixed: BTreeMap<String, Value>,
    words: BTreeMap<String, BTreeMap<String, String>>,
    when: BTreeMap<String, Vec<String>>,
    ignore: Vec<String>,
    whole: bool,
    pub connect: Option<String>,
    pub why: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Ways {
    Several(Vec<Way>),
    One(Box<Way>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    n8n: BTreeMap<String, Ways>,
    openfn: BTreeMap<String, Ways>,
    pub env: Vec<Way>,
}

impl Ways {
    fn all(&self) -> &[Way] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(all) => all,
        }
    }
}

/// What a way makes of somebody's fields.
#[derive(Debug, Default)]
pub struct Taken {
    pub values: Map<String, Value>,
    /// Their names that were used.
    pub used: Vec<String>,
}

fn is_set(value: &Value) -> bool {
    !matches!(value, Value::Null) && value != ""
}

impl Way {
    /// Whether it is meant for this.
    pub fn holds(&self, theirs: &Map<String, Value>) -> bool {
        self.when.iter().all(|(name, words)| match theirs.get(name).filter(|value| is_set(value)) {
            Some(value) => words.iter().any(|word| value == word.as_str()),
            // What is not in the export is as it was at first there, which the first way is for.
            None => true,
        })
    }

    pub fn take(&self, theirs: &Map<String, Value>) -> Taken {
        let mut taken = Taken::default();
        for (ours, names) in &self.fields {
            for name in names.all() {
                let (name, done) = name.split_once('|').unwrap_or((name, ""));
                let Some(value) = theirs.get(name).filter(|value| is_set(value)) else { continue };
                taken.used.push(name.to_owned());
                if !taken.values.contains_key(ours) {
                    taken.values.insert(ours.clone(), self.worded(ours, &shaped(value, done)));
                }
            }
        }
        if self.whole {
            for (name, value) in theirs.iter().filter(|(name, _)| !taken.used.contains(*name)) {
                taken.values.insert(name.clone(), value.clone());
            }
            taken.used = theirs.keys().cloned().collect();
        }
        taken.values.extend(self.fixed.iter().map(|(name, value)| (name.clone(), value.clone())));
        taken.used.extend(self.ignore.iter().cloned());
        taken
    }

    fn worded(&self, ours: &str, value: &Value) -> Value {
        let words = self.words.get(ours);
        let word = words.zip(value.as_str()).and_then(|(words, value)| words.get(value));
        word.map_or_else(|| value.clone(), |word| word.as_str().into())
    }
}

fn shaped(value: &Value, done: &str) -> Value {
    match (value.as_str(), done.strip_prefix("before:")) {
        (Some(text), Some(end)) => text.split(end).next().unwrap_or_default().into(),
        _ => value.clone(),
    }
}

impl Table {
    pub fn read() -> Result<Self, String> {
        let root = parse_file(include_str!("table.yaml"), "table", usize::MAX)
            .map_err(|broken| format!("{}:{}", broken.at.line, broken.message))?;
        serde_json::from_value(root.to_json()).map_err(|error| error.to_string())
    }

    pub fn n8n(&self, kind: &str) -> Option<&[Way]> {
        self.n8n.get(kind).map(Ways::all)
    }

    pub fn openfn(&self, adaptor: &str) -> Option<&[Way]> {
        self.openfn.get(adaptor).map(Ways::all)
    }

    pub fn adaptors(&self) -> impl Iterator<Item = &str> {
        self.openfn.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use latchstring_connectors::builtin;

    use super::*;

    /// Every way leads to a method that is there, and gives it fields that it has; what it needs is either taken, or is
    /// something that the other program has no word for.
    #[test]
    fn the_table_fits_the_connectors() {
        let table = Table::read().unwrap();
        let not_theirs = ["base_url", "domain", "tenant"];
        let n8n =
            table.n8n.iter().flat_map(|(name, ways)| ways.all().iter().map(move |way| (name.as_str(), way)));
        let openfn = table
            .openfn
            .iter()
            .flat_map(|(name, ways)| ways.all().iter().map(move |way| (name.as_str(), way)));
        let env = table.env.iter().map(|way| ("env", way));
        let mut count = 0;
        for (name, way) in n8n.chain(openfn).chain(env) {
            count += 1;
            let said = [way.to.is_some(), way.connect.is_some(), way.why.is_some()];
            assert_eq!(said.iter().filter(|yes| **yes).count(), 1, "{name}: one of to, connect, why");
            let Some(target) = way.to.as_deref().or(way.connect.as_deref()) else { continue };
            let (connector, method) = target.split_once('/').unwrap();
            let connector =
                builtin().find(|one| one.id == connector).unwrap_or_else(|| panic!("{name}: {target}"));
            let method = connector.auth_methods.iter().find(|one| one.id == method);
            let method = method.unwrap_or_else(|| panic!("{name}: {target}"));
            assert_eq!(method.needs_consent(), way.connect.is_some(), "{name}: {target}");
            if way.to.is_none() {
                continue;
            }
            let given = || way.fields.keys().chain(way.fixed.keys());
            for ours in given() {
                assert!(method.open_fields || method.field(ours).is_some(), "{name}: {target} has no {ours}");
            }
            for field in &method.fields {
                let needed = !field.optional && field.default.is_none() && field.visible_when.is_empty();
                assert!(
                    !needed
                        || given().any(|ours| *ours == field.name)
                        || not_theirs.contains(&field.name.as_str()),
                    "{name}: {target} needs {}",
                    field.name
                );
            }
            for (ours, words) in &way.words {
                let field = method.field(ours).unwrap();
                for word in words.values() {
                    assert!(
                        field.options.is_empty() || field.options.iter().any(|(option, _)| option == word),
                        "{name}: {ours} {word}"
                    );
                }
            }
        }
        assert!(count > 150, "{count}");
    }

    #[test]
    fn the_first_way_that_holds_and_what_it_takes() {
        let table = Table::read().unwrap();
        let theirs = |value: Value| value.as_object().unwrap().clone();
        let key = theirs(
            serde_json::json!({"authType": "apiKey", "accountSid": "AC1", "apiKeySid": "SK1", "apiKeySecret": "x"}),
        );
        let way = table.n8n("twilioApi").unwrap().iter().find(|way| way.holds(&key)).unwrap();
        assert_eq!(way.to.as_deref(), Some("twilio/api_key"));
        let token = theirs(serde_json::json!({"accountSid": "AC1", "authToken": "x"}));
        let way = table.n8n("twilioApi").unwrap().iter().find(|way| way.holds(&token)).unwrap();
        assert_eq!(way.to.as_deref(), Some("twilio/auth_token"), "n8n leaves defaults out");
        let cloud = theirs(
            serde_json::json!({"webDavUrl": "https://c.example.com/sub/remote.php/webdav", "user": "u", "password": "p"}),
        );
        let taken = table.n8n("nextCloudApi").unwrap()[0].take(&cloud);
        assert_eq!(taken.values["base_url"], "https://c.example.com/sub");
        let oauth = theirs(
            serde_json::json!({"grantType": "clientCredentials", "authentication": "body", "clientId": "c"}),
        );
        let taken =
            table.n8n("oAuth2Api").unwrap().iter().find(|way| way.holds(&oauth)).unwrap().take(&oauth);
        assert_eq!(taken.values["client_auth"], "post");
        let raw = table.openfn("*").unwrap()[0]
            .take(&theirs(serde_json::json!({"baseUrl": "https://a", "x": {"y": 1}})));
        assert_eq!(Value::from(raw.values), serde_json::json!({"baseUrl": "https://a", "x": {"y": 1}}));
    }
}
