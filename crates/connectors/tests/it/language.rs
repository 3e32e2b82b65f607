//! What `check` says about definitions that are wrong.

use latchstring_connectors::{Diagnostic, check, load_stored};

const GOOD: &str = r#"id: demo
name: Demo
hosts: [api.example.com]
base_url: https://api.example.com/v1
auth_methods:
  key:
    fields:
      key: {type: text, secret: true}
    scheme: {type: api_key, key: X-Key, value: "{{ key }}"}
"#;

fn problems(source: &str) -> Vec<Diagnostic> {
    check(source, "demo.yaml").err().unwrap_or_default()
}

#[test]
fn the_smallest_definition_is_good() {
    let definition = check(GOOD, "demo.yaml").unwrap();
    assert_eq!(definition.auth_methods[0].scheme.ty.as_str(), "api_key");
    assert_eq!(definition.digest().len(), 64);
}

#[test]
fn a_misspelt_key_has_its_place_and_a_suggestion() {
    let found = problems(&GOOD.replace("base_url:", "base_ulr:"));
    assert_eq!(found[0].to_string(), "demo.yaml:4:1: unknown key `base_ulr` (did you mean `base_url`?)");
    assert_eq!(found[0].pointer, "/base_ulr");
    let found = problems(&GOOD.replace("secret: true", "secert: true"));
    assert_eq!(found[0].to_string(), "demo.yaml:8:25: unknown key `secert` (did you mean `secret`?)");
}

#[test]
fn all_mistakes_come_at_once() {
    let found = problems(
        r#"id: Demo!
nmae: x
hosts: ["https://x.com", "*.com"]
base_url: "{{ kee }}"
headers: {"bad header": x, X-Ok: "a\nb"}
auth_methods:
  key:
    fields:
      user: text
      key: {type: txt}
      pick: {type: choice}
      re: {type: text, pattern: "("}
    scheme: {type: api_kee}
  basic:
    fields: {key: text}
    scheme: {type: basic, username: "{{ k | uper }}", in: x}
"#,
    );
    let text = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for says in [
        "demo.yaml:1:5: an id has",
        "`name` is missing",
        "unknown key `nmae` (did you mean `name`?)",
        "`https://x.com` is no host",
        "`*.com` is no host",
        "there is no field or `let` name `kee` (did you mean `key`?)",
        "no name of a header",
        "no value of a header",
        "`user` means something else",
        "`txt` is none of",
        "needs `options`",
        "no regular expression",
        "`api_kee` is none of",
        "(did you mean `api_key`?)",
        "there is no filter `uper` in templates (did you mean `upper`?)",
        "unknown key `in`",
    ] {
        assert!(text.contains(says), "{says}\n---\n{text}");
    }
    assert!(found.is_sorted_by_key(|problem| problem.at));
}

#[test]
fn each_mistake_is_said() {
    for (from, to, says) in [
        ("value: \"{{ key }}\"", "value: \"{{ key \"", "cannot be read"),
        ("value: \"{{ key }}\"", "value: \"{{ get_secret(key) }}\"", "written in quotes"),
        ("value: \"{{ key }}\"", "value: \"{{ input.x }}\"", "`input` cannot be read here"),
        ("value: \"{{ key }}\"", "value: \"{{ token.x }}\"", "`token` cannot be read here"),
        ("https://api.example.com/v1", "ftp://x", "only https"),
        ("https://api.example.com/v1", "\"{{ user.email }}\"", "`user` cannot be read here"),
        ("https://api.example.com/v1", "\"{{ get_secret('x') }}\"", "`get_secret` cannot be used here"),
        ("https://api.example.com/v1", "\"https://{{ now() }}\"", "cannot be used here"),
        (
            "    scheme: {type: api_key, key: X-Key, value: \"{{ key }}\"}",
            "    label: x",
            "`scheme` is missing",
        ),
        (", key: X-Key", "", "`key` is missing"),
        ("type: api_key, ", "", "`type` is missing"),
        ("key: X-Key", "key: X-Key, in: heder", "(did you mean `header`?)"),
        ("secret: true}", "secret: maybe}", "true or false"),
        ("secret: true}", "secret: true, default: x}", "no place for secrets"),
        ("secret: true}", "visible_when: {nope: 1}}", "no field of this method"),
        ("type: text, secret: true", "type: integer, default: x", "does not fit"),
        ("id: demo", "id: demo\nverify: {get: me}", "begins with `/`"),
        ("id: demo", "id: demo\nverify: {get: /a, post: /b}", "one method"),
        ("id: demo", "id: demo\nverify: {expect: 200}", "request is missing"),
        ("id: demo", "id: demo\nverify: {get: /a, expect: ok}", "`expect` is a status"),
        ("id: demo", "id: demo\nerrors: {ab: x}", "three characters"),
        ("id: demo", "id: demo\noperations: {x: {get: 'https://else.where/'}}", "own base URL"),
        ("id: demo", "id: demo\noperations: {x: {get: /x, input: {k: {secret: true}}}}", "no secret"),
        ("id: demo", "id: demo\nmetadata: {x: {get: /x}}", "`select` is missing"),
        (
            "id: demo",
            "id: demo\noperations: {x: {get: /x, filter: {where: '{{ key }}'}}}",
            "there is no `key` here",
        ),
        ("id: demo", "id: demo\noperations: {x: {get: '/{{ get_secret(\"a\") }}'}}", "cannot be used here"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let found = problems(&GOOD.replacen(from, to, 1));
        let text = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(text.contains(says), "{to}: {says}\n---\n{text}");
    }
}

#[test]
fn a_field_must_be_there_for_every_method_that_needs_it() {
    let found = problems(
        r#"id: demo
name: Demo
base_url: "{{ host }}"
auth_methods:
  a: {fields: {host: url}, scheme: none}
  b: {scheme: none}
"#,
    );
    assert!(found[0].message.contains("the auth method `b` has no field `host`"), "{}", found[0]);
}

#[test]
fn a_stored_definition_may_come_from_a_newer_server() {
    let newer = GOOD.replace("name: Demo", "name: Demo\ncolour: blue");
    assert!(check(&newer, "demo.yaml").is_err());
    assert_eq!(load_stored(&newer).unwrap().name, "Demo");
}

#[test]
fn json_says_the_same_as_yaml() {
    let json = r#"{"id": "demo", "name": "Demo", "hosts": ["api.example.com"], "base_url": "https://api.example.com/v1",
        "auth_methods": {"key": {"fields": {"key": {"type": "text", "secret": true}},
        "scheme": {"type": "api_key", "key": "X-Key", "value": "{{ key }}"}}}}"#;
    assert_eq!(check(json, "x.json").unwrap().digest(), check(GOOD, "demo.yaml").unwrap().digest());
}

#[test]
fn the_digest_is_of_what_decides_where_values_go() {
    let digest = |source: &str| check(source, "demo.yaml").unwrap().digest().to_owned();
    let first = digest(GOOD);
    for (from, to) in [
        ("name: Demo", "name: Other\ndocs_url: https://example.com/docs\nversion: 2"),
        ("{type: text, secret: true}", "{type: text, secret: true, label: Key, help: Paste it here}"),
        ("id: demo", "id: demo\nerrors: {bad key: Make a new one}"),
        ("hosts: [api.example.com]\n", "hosts:\n  - api.example.com\n"),
    ] {
        assert_eq!(digest(&GOOD.replacen(from, to, 1)), first, "{to}");
    }
    for (from, to) in [
        ("hosts: [api.example.com]", "hosts: [api.example.com, evil.example.com]"),
        ("https://api.example.com/v1", "https://evil.example.com/v1"),
        (", secret: true", ""),
        ("key: X-Key", "key: X-Other"),
        ("id: demo", "id: demo\nheaders: {X-Copy: \"{{ key }}\"}"),
        ("id: demo", "id: demo\nverify: {get: \"/?k={{ key }}\"}"),
        ("id: demo", "id: demo\noperations: {x: {get: /x, query: {k: \"{{ key }}\"}}}"),
        ("    scheme:", "    let: {x: \"{{ key }}\"}\n    scheme:"),
        ("    scheme:", "    verify: {get: /else}\n    scheme:"),
        ("id: demo", "id: demo\nallow_http: true"),
    ] {
        assert_ne!(digest(&GOOD.replacen(from, to, 1)), first, "{to}");
    }
}

#[test]
fn every_type_parses_with_its_needed_keys() {
    for (ty, keys) in [
        ("none", ""),
        ("api_key", "key: X, value: v"),
        ("basic", "username: u, password: p"),
        ("bearer", "token: t"),
        ("oauth2_client_credentials", "token_url: 'https://x.example.com/t', client_id: c, client_secret: s"),
        (
            "oauth2_authorization_code",
            "authorize_url: 'https://x.example.com/a', token_url: 'https://x.example.com/t', pkce: false",
        ),
        ("oauth2_jwt_bearer", "token_url: 'https://x.example.com/t', issuer: i, audience: a, private_key: k"),
        (
            "oauth2_device_code",
            "device_authorization_url: 'https://x.example.com/d', token_url: 'https://x.example.com/t'",
        ),
        ("oauth2_token_exchange", "token_url: 'https://x.example.com/t', subject_token: s"),
        ("oauth2_password", "token_url: 'https://x.example.com/t', username: u, password: p"),
        ("jwt", "private_key: k, claims: {iss: me}"),
        ("oauth1", "consumer_key: k"),
        ("aws_sigv4", "access_key_id: a, secret_access_key: s, region: r, service: s3"),
        ("digest", "username: u, password: p"),
        ("hmac", "secret: s, sign: ['{method}'], place: {header: X-Sig}"),
        ("mutual_tls", "certificate: c, private_key: k"),
        (
            "steps",
            "steps: [{post: 'https://x.example.com/login', extract: {sid: id}}], apply: {headers: {X-Sid: '{{ token.sid }}'}}",
        ),
        ("database", "driver: mysql, host: h, database: d, username: u"),
        ("custom", "headers: {X: y}"),
    ] {
        let source =
            format!("id: demo\nname: Demo\nauth_methods: {{m: {{scheme: {{type: {ty}, {keys}}}}}}}\n");
        let definition =
            check(&source, "demo.yaml").unwrap_or_else(|problems| panic!("{ty}: {}", problems[0]));
        assert_eq!(definition.auth_methods[0].scheme.ty.as_str(), ty);
    }
}

#[test]
fn quirks_of_token_answers_are_keys() {
    let source = |answer: &str| {
        format!(
            "id: demo\nname: Demo\nauth_methods:\n  m:\n    scheme:\n      type: oauth2_client_credentials\n      token_url: https://x.example.com/t\n      client_id: a\n      token_answer: {answer}\n"
        )
    };
    check(
        &source("{access_token: data.token, expiry: [data.exp, exp], expiry_format: epoch_ms, success: [{path: ok, equals: true}], named: {user: {access_token: authed_user.access_token}}}"),
        "demo.yaml",
    )
    .unwrap();
    let wrong = problems(&source("{acces_token: x}"));
    assert!(
        wrong[0]
            .to_string()
            .contains("demo.yaml:9:22: unknown key `acces_token` (did you mean `access_token`?)"),
        "{}",
        wrong[0]
    );
    let wrong = problems(&source("{expiry_format: fortnights}"));
    assert!(wrong[0].to_string().contains("demo.yaml:9:37: `expiry_format` cannot be read"), "{}", wrong[0]);
}
