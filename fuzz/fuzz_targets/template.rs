//! Templates in a credential's values: parsed, and rendered on the way to a request. The result is bounded, and its
//! time is too (libFuzzer's `-timeout`).

#![no_main]

use std::sync::LazyLock;

use latchstring_connectors::{
    Context, Definition, Lookup, LookupUnavailable, ProjectContext, SecretValue, UserContext, builtin,
};
use latchstring_model::{Entropy, Timestamp};
use latchstring_schemes::keys::ParsedKeys;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

impl Lookup for Fixed {
    fn secret(&self, name: &str) -> Result<Option<SecretValue>, LookupUnavailable> {
        let value = (name == "s").then(|| SecretValue { value: "a secret".into(), hosts: Vec::new() });
        Ok(value)
    }

    fn variable(&self, name: &str) -> Result<Option<String>, LookupUnavailable> {
        Ok((name == "v").then(|| "a variable".to_owned()))
    }
}

static HTTP: LazyLock<&'static Definition> =
    LazyLock::new(|| builtin().find(|definition| definition.id == "http").expect("the connector http"));

/// What docs/connectors.md says about a result.
const LONGEST: usize = 1 << 20;

fuzz_target!(|source: &str| {
    let method = HTTP.method("custom").expect("its method custom");
    let given = json!({"base_url": "https://a.example.com", "auth_headers": {"X-A": source}});
    let Ok(values) = HTTP.check_values(method, given.as_object().expect("a map")) else { return };
    let text = || "Ada".to_owned();
    let user = UserContext {
        id: text(),
        email: "ada@example.com".into(),
        first_name: text(),
        last_name: text(),
        username: text(),
        name: text(),
    };
    let project = ProjectContext { id: text(), slug: "acme".into(), name: text() };
    let keys = ParsedKeys::default();
    let context = Context {
        values: &values,
        user: Some(&user),
        project: Some(&project),
        environment: Some("production"),
        lookup: &Fixed,
        client: None,
        token: None,
        input: None,
        keys: &keys,
        now: Timestamp(1_767_225_600_000),
        entropy: &Fixed,
    };
    if let Ok(resolved) = HTTP.resolve(method, &context) {
        assert!(resolved.mask.iter().all(|text| text.expose().len() <= LONGEST));
        let _ = resolved.scheme.prepare(&keys);
    }
});
