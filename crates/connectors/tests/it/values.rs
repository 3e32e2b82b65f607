//! Values of credentials: what is taken, what is refused, all at once.

use latchstring_connectors::{AuthMethod, Definition, check};
use serde_json::{Value, json};

fn demo() -> Definition {
    check(
        r#"id: demo
name: Demo
auth_methods:
  m:
    fields:
      site: {type: url, prefix: "https://", label: Site}
      exact: {type: url, exact: true, optional: true}
      kind: {type: choice, options: [production, sandbox], default: production}
      key: {type: text, secret: true, pattern: "[a-z0-9]{4,}", pattern_message: Four or more letters and digits}
      note: {type: text, optional: true, max_length: 5}
      pem: {type: pem, secret: true, optional: true}
      cert: {type: pem, pem: certificate, optional: true}
      port: {type: integer, min: 1, max: 65535, default: 443}
      flag: {type: boolean, optional: true}
      extra: {type: map, optional: true}
      list: {type: list, optional: true}
      any: {type: json, optional: true}
      box: {type: text, visible_when: {kind: sandbox}}
    scheme: none
"#,
        "demo.yaml",
    )
    .unwrap()
}

fn method(definition: &Definition) -> &AuthMethod {
    &definition.auth_methods[0]
}

fn good(extra: Value) -> Value {
    let mut values = json!({"site": "https://a.example.com/", "key": "abcd1"});
    for (name, value) in extra.as_object().unwrap() {
        values[name] = value.clone();
    }
    values
}

fn stored(extra: Value) -> Value {
    let definition = demo();
    let values = definition.check_values(method(&definition), good(extra).as_object().unwrap()).unwrap();
    Value::Object(values.to_json())
}

fn errors(extra: Value) -> Vec<(String, String)> {
    let definition = demo();
    definition
        .check_values(method(&definition), good(extra).as_object().unwrap())
        .err()
        .unwrap_or_default()
        .into_iter()
        .map(|error| (error.pointer, error.detail))
        .collect()
}

#[test]
fn values_are_normalised() {
    for (given, field, wanted) in [
        (json!({"site": "https://a.example.com/x/"}), "site", json!("https://a.example.com/x")),
        (json!({"site": "https://a.example.com/x"}), "site", json!("https://a.example.com/x")),
        (json!({"site": " a.example.com "}), "site", json!("https://a.example.com")),
        (json!({"exact": "https://a.example.com/x/"}), "exact", json!("https://a.example.com/x/")),
        (json!({"port": "8080"}), "port", json!(8080)),
        (json!({"flag": "true"}), "flag", json!(true)),
        (json!({"list": "a b,c"}), "list", json!(["a", "b", "c"])),
        (json!({"list": "[\"a b\"]"}), "list", json!(["a b"])),
        (json!({"extra": "{\"a\": 1}"}), "extra", json!({"a": 1})),
        (json!({"any": "{\"a\": [1]}"}), "any", json!({"a": [1]})),
        (json!({"any": 5}), "any", json!(5)),
        (json!({"note": {"literal": "{{x}}"}}), "note", json!({"literal": "{{x}}"})),
        (json!({"note": "{{ user.email }}"}), "note", json!("{{ user.email }}")),
        (json!({"note": ""}), "note", Value::Null),
        (json!({"note": null}), "note", Value::Null),
    ] {
        assert_eq!(stored(given.clone())[field], wanted, "{given}");
    }
}

#[test]
fn what_was_stored_is_read_back_the_same() {
    let definition = demo();
    let given = good(
        json!({"note": {"literal": "{{x}}"}, "extra": {"a": "{{ environment }}"}, "port": 80, "any": {"b": [1]}}),
    );
    let values = definition.check_values(method(&definition), given.as_object().unwrap()).unwrap();
    let json = values.to_json();
    let again = definition.load_values(method(&definition), &json).unwrap();
    assert_eq!(again.to_json(), json);
    // A field that has gone since is kept.
    let mut older = json.clone();
    older.insert("gone".into(), json!("x"));
    assert_eq!(definition.load_values(method(&definition), &older).unwrap().to_json(), older);
}

#[test]
fn each_mistake_has_a_pointer_and_says_what_to_do() {
    let pem = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    for (given, pointer, says) in [
        (json!({"sitee": "x"}), "/sitee", "did you mean `site`?"),
        (json!({"zzz": 1}), "/zzz", "there are site, exact"),
        (json!({"site": null}), "/site", "Site is missing"),
        (json!({"site": "https://"}), "/site", "not a URL"),
        (json!({"site": "https://u:p@a.example.com"}), "/site", "user name and password"),
        (json!({"kind": "sandbx"}), "/kind", "did you mean `sandbox`?"),
        (json!({"kind": "sandbox"}), "/box", "missing"),
        (json!({"key": "ab"}), "/key", "Four or more"),
        (json!({"key": ["x"]}), "/key", "a text is needed, not a list"),
        (json!({"note": "123456"}), "/note", "at most 5"),
        (json!({"note": "a\nb"}), "/note", "single line"),
        (json!({"pem": "hello"}), "/pem", "not PEM"),
        (json!({"pem": pem("CERTIFICATE")}), "/pem", "this is a certificate; the private key is needed"),
        (json!({"pem": pem("PUBLIC KEY")}), "/pem", "this is a public key; the private key is needed"),
        (json!({"pem": pem("OPENSSH PRIVATE KEY")}), "/pem", "SSH key"),
        (json!({"pem": "{\"type\": \"service_account\"}"}), "/pem", "this is JSON"),
        (json!({"pem": "-----BEGIN PRIVATE KEY-----\nAAAA"}), "/pem", "cut off"),
        (json!({"cert": pem("PRIVATE KEY")}), "/cert", "this is a private key; the certificate is needed"),
        (json!({"port": 70000}), "/port", "at most 65535"),
        (json!({"port": "http"}), "/port", "whole number"),
        (json!({"flag": "maybe"}), "/flag", "true or false"),
        (json!({"extra": {"a": [1]}}), "/extra/a", "a text, a number"),
        (json!({"extra": "x"}), "/extra", "a map is needed"),
        (json!({"list": [[1]]}), "/list/0", "a text is needed"),
        (json!({"any": "{oops"}), "/any", "begins like JSON"),
        (json!({"key": "{{ user.email "}), "/key", "cannot be read"),
        (json!({"key": "{{ usr.email }}"}), "/key", "there is no `usr`"),
        (json!({"key": "{{ user.emial }}"}), "/key", "did you mean `user.email`?"),
        (json!({"key": "{{ input.x }}"}), "/key", "`input` cannot be read here"),
        (json!({"key": "{{ site }}"}), "/key", "there is no `site` here"),
        (json!({"key": "a{{b"}), "/key", "{\"literal\": \"…\"}"),
        (json!({"extra": {"a": "{{ nope }}"}}), "/extra/a", "there is no `nope`"),
        (json!({"key": "x".repeat(70_000)}), "/key", "too long"),
    ] {
        let found = errors(given.clone());
        assert!(
            found.iter().any(|(at, detail)| at == pointer && detail.contains(says)),
            "{}: {found:?}",
            given.to_string().chars().take(100).collect::<String>()
        );
    }
    assert_eq!(errors(json!({"site": null, "key": "!", "port": 0, "x": 1})).len(), 4, "all at once");
}

#[test]
fn no_mistake_repeats_the_value() {
    for given in [
        json!({"key": "T0pSecret!"}),
        json!({"pem": "T0pSecret!"}),
        json!({"port": "T0pSecret!"}),
        json!({"kind": "T0pSecret!"}),
        json!({"any": "{T0pSecret!"}),
        json!({"key": "{{ T0pSecret! "}),
        json!({"site": "ftp://T0pSecret!"}),
    ] {
        for (_, detail) in errors(given) {
            assert!(!detail.contains("T0pSecret"), "{detail}");
        }
    }
}

#[test]
fn fields_are_a_json_schema() {
    let definition = demo();
    let schema = definition.openapi_fields(method(&definition));
    assert_eq!(schema["properties"]["key"]["writeOnly"], true);
    assert_eq!(schema["properties"]["site"]["title"], "Site");
    assert_eq!(schema["properties"]["kind"]["enum"], json!(["production", "sandbox"]));
    assert_eq!(schema["properties"]["port"]["default"], 443);
    assert_eq!(schema["required"], json!(["site", "key"]));
    assert_eq!(schema["additionalProperties"], false);
}
