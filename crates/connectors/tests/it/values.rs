//! Values of credentials: what is taken, what is refused, all at once.

use latchstring_connectors::{AuthMethod, Definition, builtin, check};
use serde_json::{Value, json};

use crate::world::World;

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
      host: {type: text, suffix: .example.com, pattern: "[a-z]+[.]example[.]com", min_length: 14, optional: true}
    base_url: "{{ site }}"
    headers: {X-All: "{{ [extra, list, any] | tojson }}"}
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

const NAMES_A_SECRET: &str = "{{ get_secret('prod_key') }}";

#[test]
fn a_literal_is_still_one_when_it_is_read_back() {
    let text = NAMES_A_SECRET;
    let literal = json!({"literal": text});
    let as_text = format!(r#"{{"X-Leak": "{text}"}}"#);
    for (field, given, kept, sent) in [
        // A map has a literal in place of a text, or is one itself.
        ("extra", json!({"literal": as_text}), json!({"X-Leak": literal}), json!({"X-Leak": text})),
        ("extra", json!({"X": literal, "n": 1}), json!({"X": literal, "n": 1}), json!({"X": text, "n": 1})),
        (
            "extra",
            json!({"X": literal, "Y": "{{ environment }}"}),
            json!({"X": literal, "Y": "{{ environment }}"}),
            json!({"X": text, "Y": "production"}),
        ),
        // One that has a member of that name, and no other.
        (
            "extra",
            json!({"literal": r#"{"literal": "x"}"#}),
            json!({"literal": {"literal": "x"}}),
            json!({"literal": "x"}),
        ),
        ("extra", json!({"literal": literal}), json!({"literal": literal}), json!({"literal": text})),
        ("list", json!({"literal": format!("[\"{text}\"]")}), json!([literal]), json!([text])),
        ("list", json!([literal, "plain"]), json!([literal, "plain"]), json!([text, "plain"])),
        ("list", json!({"literal": "{{a b"}), json!([{"literal": "{{a"}, "b"]), json!(["{{a", "b"])),
        // JSON takes any text, so a literal is one, whatever it looks like.
        ("any", json!({"literal": as_text}), json!({"literal": as_text}), json!(as_text)),
        ("any", json!({"literal": "[s3cret"}), json!({"literal": "[s3cret"}), json!("[s3cret")),
        ("any", json!({"literal": "[1]"}), json!({"literal": "[1]"}), json!("[1]")),
        ("any", json!({"literal": "plain"}), json!("plain"), json!("plain")),
        ("any", json!({"a": [literal]}), json!({"a": [literal]}), json!({"a": [text]})),
        ("any", json!({"a": {"literal": "plain"}}), json!({"a": "plain"}), json!({"a": "plain"})),
        (
            "any",
            json!(r#"{"a": {"literal": "{{x}}"}}"#),
            json!({"a": {"literal": "{{x}}"}}),
            json!({"a": "{{x}}"}),
        ),
    ] {
        let definition = demo();
        let method = method(&definition);
        let mut world = World::new();
        world.store.secrets.insert("prod_key".into(), ("planted-secret".into(), Vec::new()));
        let mut values =
            definition.check_values(method, good(json!({field: given})).as_object().unwrap()).unwrap();
        let stored = values.to_json();
        assert_eq!(stored[field], kept, "{field} {given}");
        // As it was typed, as it is read for a call, and as it goes through an edit of something else.
        for _ in 0..3 {
            assert_eq!(values.to_json(), stored, "{field} {given}");
            assert_eq!(values.secrets_named(), Vec::<String>::new(), "{field} {given}");
            let resolved = definition.resolve(method, &world.context(&values)).ok().unwrap();
            let all: Value = serde_json::from_str(resolved.headers.sent[0].value.expose()).unwrap();
            assert!(all.as_array().unwrap().contains(&sent), "{field} {given}: {all}");
            values = definition.load_values(method, &values.to_json()).unwrap();
            values = definition.check_values(method, &values.to_json()).unwrap();
        }
    }
}

#[test]
fn a_template_that_was_stored_is_still_one() {
    let definition = demo();
    let stored = good(json!({
        "note": "{{ environment }}", "extra": {"X": NAMES_A_SECRET}, "list": [NAMES_A_SECRET], "any": {"a": [NAMES_A_SECRET]},
    }));
    let values = definition.load_values(method(&definition), stored.as_object().unwrap()).unwrap();
    assert_eq!(values.secrets_named(), ["prod_key"]);
    assert_eq!(values.to_json()["extra"], json!({"X": NAMES_A_SECRET}));
    let mut world = World::new();
    world.store.secrets.insert("prod_key".into(), ("planted-secret".into(), Vec::new()));
    let resolved = definition.resolve(method(&definition), &world.context(&values)).ok().unwrap();
    assert_eq!(
        resolved.headers.sent[0].value.expose(),
        r#"[{"X":"planted-secret"},["planted-secret"],{"a":["planted-secret"]}]"#
    );
}

#[test]
fn a_text_that_no_field_is_declared_for_stays_as_it_is() {
    let definition = builtin().find(|definition| definition.id == "raw").unwrap();
    let method = &definition.auth_methods[0];
    let given = json!({
        "baseUrl": "https://x.example", "password": "[s3cret", "list": "[1, 2]", "key_file": r#"{"a":1}"#,
        "who": r#"{"who": "{{ user.email }}"}"#, "deep": {"x": [1, {"y": "{z"}]}, "quoted": {"literal": "[{{s3cret"},
        "request": {"headers": {
            "X-A": "{{ password }}", "X-B": "{{ key_file }}", "X-C": "{{ (key_file | fromjson).a }}", "X-D": "{{ who }}",
            "X-E": "{{ quoted }}", "X-F": "{{ list }}", "X-G": "{{ deep.x[1].y }}",
        }},
    });
    let values = definition.check_values(method, given.as_object().unwrap()).unwrap();
    assert_eq!(Value::Object(values.to_json()), given);
    let values = definition.load_values(method, &values.to_json()).unwrap();
    assert_eq!(Value::Object(values.to_json()), given);
    let world = World::new();
    let resolved = definition.resolve(method, &world.context(&values)).ok().unwrap();
    let latchstring_schemes::Scheme::Custom(custom) = &resolved.scheme else { panic!("custom") };
    let sent: Vec<&str> = custom.headers.iter().map(|(_, value)| value.expose()).collect();
    assert_eq!(
        sent,
        ["[s3cret", r#"{"a":1}"#, "1", r#"{"who": "ada@example.org"}"#, "[{{s3cret", "[1, 2]", "{z"]
    );
}

#[test]
fn what_a_caller_gives_is_taken_as_it_is() {
    let definition = check(
        r#"id: demo
name: Demo
base_url: https://api.example.com
auth_methods: {m: {scheme: none}}
operations:
  embed:
    post: /embed
    body: {json: {texts: "{{ input.texts }}"}}
    input: {texts: json}
"#,
        "demo.yaml",
    )
    .unwrap();
    let operation = definition.operation("embed").unwrap();
    for (given, taken) in [
        (json!({"literal": "x"}), json!({"literal": "x"})),
        (json!({"a": {"literal": "{{x}}"}}), json!({"a": {"literal": "{{x}}"}})),
        (json!("[note] hello"), json!("[note] hello")),
        (json!("{{ hello"), json!("{{ hello")),
        (json!("[1, 2]"), json!([1, 2])),
        (json!("hello"), json!("hello")),
    ] {
        let input = json!({"texts": given});
        let input = definition.check_input(operation, input.as_object().unwrap()).unwrap();
        assert_eq!(input["texts"], taken, "{given}");
    }
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
        (json!({"extra": {"a": {"literal": 1}}}), "/extra/a", "a text, a number"),
        (json!({"extra": {"literal": r#"{"a": {"literal": "x"}}"#}}), "/extra/a", "a text, a number"),
        (json!({"list": [{"a": "x"}]}), "/list/0", "a text is needed"),
        (json!({"any": "{oops"}), "/any", "begins like JSON"),
        (json!({"any": "{oops"}), "/any", "to take it as a text, send {\"literal\": \"…\"}"),
        (json!({"any": {"a": {"literal": "x".repeat(70_000)}}}), "/any/a", "too long"),
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
    // As it is checked: the whole of it.
    assert_eq!(schema["properties"]["key"]["pattern"], "^(?:[a-z0-9]{4,})$");
    // What is checked has the suffix, what is typed may not have it.
    let host = &schema["properties"]["host"];
    assert_eq!(
        (host.get("pattern"), host.get("minLength"), &host["x-suffix"]),
        (None, None, &json!(".example.com"))
    );
    assert_eq!(stored(json!({"host": "acme"}))["host"], "acme.example.com");
    assert_eq!(schema["required"], json!(["site", "key"]));
    assert_eq!(schema["additionalProperties"], false);
}
