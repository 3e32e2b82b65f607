//! From values to a scheme, requests and destinations.

use latchstring_connectors::{
    Definition, HostVerdict, LookupKind, RenderError, Resolved, To, builtin, check,
};
use latchstring_model::address::Address;
use latchstring_model::{PinPurpose, SecretString};
use latchstring_schemes::Scheme;
use latchstring_schemes::oauth2::Grant;
use serde_json::{Value, json};

use crate::world::World;

fn connector(id: &str) -> &'static Definition {
    builtin().find(|definition| definition.id == id).unwrap()
}

fn demo(method: &str) -> Definition {
    check(
        &format!("id: demo\nname: Demo\nbase_url: https://api.example.com/v1\nauth_methods:\n  m:\n{method}"),
        "demo.yaml",
    )
    .unwrap_or_else(|problems| panic!("{}", problems[0]))
}

fn refusal<T>(result: Result<T, RenderError>) -> RenderError {
    match result {
        Ok(_) => panic!("must be refused"),
        Err(error) => error,
    }
}

const KEYED: &str =
    "    fields: {key: {type: text, secret: true}}\n    scheme: {type: bearer, token: \"{{ key }}\"}\n";

#[test]
fn a_missing_secret_stops_the_call_and_is_named() {
    let definition = demo(KEYED);
    let mut world = World::new();
    let error = refusal(world.resolve(&definition, "m", json!({"key": "{{ get_secret('api') }}"})));
    assert_eq!(
        error,
        RenderError::SecretMissing { name: "api".into(), kind: LookupKind::Secret, at: "key".into() }
    );
    let error = refusal(world.resolve(&definition, "m", json!({"key": "{{ get_variable('v') }}"})));
    assert!(matches!(error, RenderError::SecretMissing { kind: LookupKind::Variable, .. }));
    world.store.down = true;
    let error = refusal(world.resolve(&definition, "m", json!({"key": "{{ get_secret('api') }}"})));
    assert!(matches!(error, RenderError::LookupFailed { .. }));
}

#[test]
fn a_secret_reaches_the_scheme_and_what_was_read_is_known() {
    let definition = demo(KEYED);
    let mut world = World::new();
    world.store.secrets.insert("api".into(), ("s3cret-value".into(), vec!["api.example.com".into()]));
    let resolved = world
        .resolve(&definition, "m", json!({"key": "{{ get_secret('api') }}-{{ user.id }}"}))
        .ok()
        .unwrap();
    let Scheme::Bearer(bearer) = &resolved.scheme else { panic!("a bearer token") };
    assert_eq!(bearer.token.expose(), "s3cret-value-usr_1");
    assert_eq!(resolved.uses.secrets().collect::<Vec<_>>(), ["api"]);
    assert_eq!(resolved.uses.restricted["api"], ["api.example.com"]);
    assert!(resolved.token_uses.user);
    for masked in ["s3cret-value", "s3cret-value-usr_1"] {
        assert!(resolved.mask.iter().any(|secret| secret.expose() == masked), "{masked}");
    }
}

#[test]
fn two_people_two_projects_and_two_secrets_have_different_token_keys() {
    let definition = demo(
        "    fields: {id: text, key: {type: text, secret: true}}\n    scheme: {type: oauth2_client_credentials, token_url: 'https://auth.example.com/t', client_id: '{{ id }}', client_secret: '{{ key }}'}\n",
    );
    let values = json!({"id": "{{ user.email }}:{{ project.slug }}:{{ get_variable('v') }}", "key": "{{ get_secret('s') }}"});
    let print = |change: &dyn Fn(&mut World)| {
        let mut world = World::new();
        world.store.secrets.insert("s".into(), ("one".into(), vec![]));
        world.store.variables.insert("v".into(), "x".into());
        change(&mut world);
        world.resolve(&definition, "m", values.clone()).ok().unwrap().token_uses.fingerprint(b"key")
    };
    let same = print(&|_| {});
    assert_eq!(same, print(&|_| {}));
    let mut seen = std::collections::BTreeSet::from([same]);
    assert!(seen.insert(print(&|world| world.user.as_mut().unwrap().email = "bob@example.org".into())));
    assert!(seen.insert(print(&|world| world.project.slug = "other".into())));
    assert!(seen.insert(print(&|world| {
        world.store.secrets.insert("s".into(), ("two".into(), vec![]));
    })));
    assert!(seen.insert(print(&|world| {
        world.store.variables.insert("v".into(), "y".into());
    })));
    // What is not read makes no difference.
    assert!(!seen.insert(print(&|world| world.user.as_mut().unwrap().last_name = "Byron".into())));
}

#[test]
fn nobody_is_not_everybody() {
    let definition = demo(KEYED);
    let mut world = World::new();
    // Ada has no user name: an error, not an empty text.
    let error = refusal(world.resolve(&definition, "m", json!({"key": "x-{{ user.username }}"})));
    assert!(error.to_string().contains("`user.username` is empty"), "{error}");
    let error = refusal(world.resolve(&definition, "m", json!({"key": "{{ user.username }}"})));
    assert!(error.to_string().contains("`user.username` is empty"), "{error}");
    let error = refusal(world.resolve(&definition, "m", json!({"key": "{{ none }}"})));
    assert!(error.to_string().contains("gives nothing"), "{error}");
    assert!(world.resolve(&definition, "m", json!({"key": "{{ user.username | default('x') }}"})).is_ok());
    world.user = None;
    let error = refusal(world.resolve(&definition, "m", json!({"key": "{{ user.email }}"})));
    assert!(error.to_string().contains("may_act_for"), "{error}");
}

#[test]
fn a_template_must_give_what_its_field_takes() {
    let definition = demo(
        "    fields: {kind: {type: choice, options: [a, b]}, key: text}\n    scheme: {type: bearer, token: \"{{ key ~ kind }}\"}\n",
    );
    let mut world = World::new();
    world.store.variables.insert("k".into(), "c".into());
    let error =
        refusal(world.resolve(&definition, "m", json!({"kind": "{{ get_variable('k') }}", "key": "x"})));
    assert!(error.to_string().contains("one of a, b"), "{error}");
}

#[test]
fn what_a_template_makes_is_normalised_like_what_is_typed() {
    let mut world = World::new();
    world.store.variables.insert("site".into(), "https://play.example.org/demo/".into());
    let values = json!({"base_url": "{{ get_variable('site') }}", "username": "a", "password": "b"});
    let resolved = world.resolve(connector("dhis2"), "basic", values.clone()).ok().unwrap();
    assert_eq!(resolved.base_url.unwrap().expose(), "https://play.example.org/demo/api");
    for bad in ["not a url", "", "ftp://x.example.org"] {
        world.store.variables.insert("site".into(), bad.into());
        assert!(world.resolve(connector("dhis2"), "basic", values.clone()).is_err(), "{bad:?}");
    }
    // A header that a value could break in two is not sent.
    let definition = connector("http");
    world.store.variables.insert("h".into(), "a\r\nX-Evil: 1".into());
    let values = json!({"base_url": "https://a.example.com", "headers": {"X-A": "{{ get_variable('h') }}"}});
    let error = refusal(world.resolve(definition, "none", values));
    assert!(error.to_string().contains("headers.X-A"), "{error}");
}

#[test]
fn salesforce_finds_its_login_and_then_its_instance() {
    let definition = connector("salesforce");
    let key = include_str!("key.pem");
    let values = |kind: &str| json!({"environment_type": kind, "client_id": "3MVG", "username": "ada@example.org", "private_key": key});
    let mut world = World::new();
    for (kind, login) in
        [("production", "https://login.salesforce.com"), ("sandbox", "https://test.salesforce.com")]
    {
        let resolved =
            world.resolve(definition, "jwt_bearer", values(kind)).map_err(|error| error.to_string());
        let resolved = resolved.unwrap_or_else(|error| panic!("{error}"));
        let Scheme::OAuth2(oauth) = &resolved.scheme else { panic!("OAuth") };
        let Grant::JwtBearer(grant) = &oauth.grant else { panic!("a JWT bearer grant") };
        assert_eq!(grant.audience, [login]);
        assert_eq!(grant.endpoint.url.to_string(), format!("{login}/services/oauth2/token"));
        assert_eq!(grant.endpoint.rules.ttl, Some(840));
        // The instance is not known before the token is.
        assert!(resolved.needs_token && !resolved.complete && resolved.base_url.is_none());
        assert_eq!(resolved.destinations.len(), 1);
        assert_eq!(resolved.destinations[0].pin.purpose, PinPurpose::Token);
    }
    world.token = json!({"instance_url": "https://acme.my.salesforce.com"}).as_object().cloned();
    let resolved = world.resolve(definition, "jwt_bearer", values("production")).ok().unwrap();
    assert!(resolved.complete);
    assert_eq!(resolved.base_url.unwrap().expose(), "https://acme.my.salesforce.com");
    let call = &resolved.destinations[1].pin;
    assert_eq!(definition.host_verdict(&call.origin), HostVerdict::Allowed);
    for (url, verdict) in [
        ("https://evil.example.com/", HostVerdict::NotListed),
        ("http://acme.my.salesforce.com:443/", HostVerdict::NotListed),
        ("http://acme.my.salesforce.com/", HostVerdict::NeedsHttps),
    ] {
        assert_eq!(definition.host_verdict(&Address::parse(url).unwrap().origin), verdict, "{url}");
    }
    let error = refusal(world.resolve(definition, "authorization_code", json!({})));
    assert!(
        matches!(error, RenderError::NotUsable { .. }) && error.to_string().contains("OAuth client"),
        "{error}"
    );
    assert!(
        definition
            .explain(None, 400, "{\"error_description\":\"User hasn't approved this consumer\"}")
            .unwrap()
            .contains("Permitted Users")
    );
    assert_eq!(definition.explain(None, 418, "teapot"), None);
}

#[test]
fn a_key_that_does_not_fit_is_a_value_error() {
    let definition = connector("http");
    let values = json!({"base_url": "https://a.example.com", "private_key": include_str!("key.pem"), "algorithm": "ES256",
        "client_id": "c", "token_url": "https://a.example.com/token/", "subject": "s", "audience": "a"});
    let error = refusal(World::new().resolve(definition, "oauth2_jwt_bearer", values));
    assert!(matches!(&error, RenderError::Value { at, .. } if at == "scheme.private_key"), "{error}");
}

#[test]
fn every_method_of_http_renders() {
    let definition = connector("http");
    let key = include_str!("key.pem");
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
    for (method, own, name) in [
        ("none", json!({}), "none"),
        ("api_key", json!({"key": "k", "value": "v", "in": "query"}), "api_key"),
        ("api_key", json!({"key": "k", "value": "v", "in": "cookie"}), "api_key"),
        ("basic", json!({"username": "u", "password": "p"}), "basic"),
        ("bearer", json!({"token": "t"}), "bearer"),
        (
            "oauth2_client_credentials",
            json!({"client_id": "c", "client_secret": "s", "token_url": "https://a.example.com/t", "scope": "a b"}),
            "oauth2_client_credentials",
        ),
        (
            "oauth2_client_credentials",
            json!({"client_id": "c", "private_key": key, "token_url": "https://a.example.com/t"}),
            "oauth2_client_credentials",
        ),
        ("jwt", json!({"private_key": key, "claims": {"iss": "me", "exp": "{{ now(60) }}"}}), "jwt"),
        ("jwt", json!({"private_key": "shared", "algorithm": "HS256", "claims": "{\"iss\": \"me\"}"}), "jwt"),
        (
            "oauth2_jwt_bearer",
            json!({"client_id": "c", "private_key": key, "token_url": "https://a.example.com/t", "subject": "s", "audience": "a"}),
            "oauth2_jwt_bearer",
        ),
        (
            "oauth2_token_exchange",
            json!({"token_url": "https://a.example.com/t", "subject_token": "s", "audience": "a", "client_id": "c"}),
            "oauth2_token_exchange",
        ),
        ("oauth1", json!({"consumer_key": "k", "consumer_secret": "s", "token": "t"}), "oauth1"),
        ("digest", json!({"username": "u", "password": "p"}), "digest"),
        (
            "aws_sigv4",
            json!({"access_key_id": "a", "secret_access_key": "s", "region": "r", "service": "s3"}),
            "aws_sigv4",
        ),
        ("hmac", json!({"signing_key": "k", "sign": ["{timestamp}", "{body}"]}), "hmac"),
        (
            "mutual_tls",
            json!({"certificate": certificate, "private_key": key, "ca_certificate": certificate}),
            "mutual_tls",
        ),
        ("custom", json!({"auth_headers": {"X-A": "1"}, "auth_cookies": {"c": "2"}}), "custom"),
    ] {
        let mut values = own.clone();
        values["base_url"] = json!("https://a.example.com/api/");
        let world = World::new();
        let resolved =
            world.resolve(definition, method, values).unwrap_or_else(|error| panic!("{method}: {error}"));
        assert_eq!(resolved.scheme.type_name(), name);
        assert_eq!(
            resolved.base_url.as_ref().map(SecretString::expose),
            Some("https://a.example.com/api"),
            "{method}"
        );
        assert!(resolved.verify.is_none(), "no test_path, nothing to ask");
        if method != "mutual_tls" {
            resolved.scheme.prepare(&world.keys).map_err(|error| format!("{method}: {error}")).ok().unwrap();
        }
    }
}

#[test]
fn a_secret_in_the_base_url_is_not_in_the_pin() {
    let definition = check(
        "id: demo\nname: Demo\nhosts: [api.telegram.org]\nbase_url: \"https://api.telegram.org/bots/bot{{ key }}\"\nauth_methods:\n  m:\n    fields: {key: {type: text, secret: true}}\n    scheme: none\n",
        "demo.yaml",
    )
    .unwrap();
    let resolved = World::new().resolve(&definition, "m", json!({"key": "123:abcdef"})).ok().unwrap();
    assert_eq!(resolved.base_url.unwrap().expose(), "https://api.telegram.org/bots/bot123:abcdef");
    assert_eq!(resolved.destinations[0].pin.prefix, "/bots/");
}

#[test]
fn raw_sends_what_its_request_says() {
    let definition = connector("raw");
    let values = json!({"baseUrl": "https://a.example.com", "apiKey": "k-123456", "deep": {"pass": "p-123456"},
        "request": {"headers": {"X-Key": "{{ apiKey }}", "X-Pass": "{{ deep.pass }}"}, "query": {"v": "1"}}});
    let resolved =
        World::new().resolve(definition, "custom", values).unwrap_or_else(|error| panic!("{error}"));
    let Scheme::Custom(custom) = &resolved.scheme else { panic!("custom") };
    let sent = custom.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect::<Vec<_>>();
    assert_eq!(sent, [("X-Key", "k-123456"), ("X-Pass", "p-123456")]);
    assert!(resolved.mask.iter().any(|secret| secret.expose() == "p-123456"), "every leaf is secret");
    // Without a baseUrl it can be stored, but there is nowhere to call.
    let resolved =
        World::new().resolve(definition, "custom", json!({"anything": {"goes": [1, "x"]}})).ok().unwrap();
    assert!(resolved.base_url.is_none() && resolved.complete);
    let method = &definition.auth_methods[0];
    let wrong = json!({"baseUrl": "https://a.example.com", "request": {"headers": {"X": "{{ a"}}});
    let errors = definition.check_values(method, wrong.as_object().unwrap()).unwrap_err();
    assert_eq!(errors[0].pointer, "/request/headers/X");
    // A field that reads itself does not turn in circles.
    let error = refusal(World::new().resolve(
        definition,
        "custom",
        json!({"request": {"headers": {"X": "{{ request.headers.X }}"}}}),
    ));
    assert!(error.to_string().contains("defined by itself"), "{error}");
}

#[test]
fn fixed_headers_are_the_connectors_unless_it_says_otherwise() {
    let resolved =
        World::new().resolve(connector("github"), "token", json!({"token": "ghp_abcdefghij"})).ok().unwrap();
    let accept = resolved.headers.sent.iter().find(|fixed| fixed.name == "Accept").unwrap();
    assert!(accept.overridable);
    // GitHub's own, and somebody's server.
    let at = |resolved: &Resolved| {
        let pin = &resolved.destinations[0].pin;
        format!("{}{}", pin.origin, pin.prefix)
    };
    assert_eq!(at(&resolved), "https://api.github.com/");
    let own = json!({"token": "ghp_abcdefghij", "base_url": "https://git.example.com/api/v3/"});
    let own = World::new().resolve(connector("github"), "token", own).ok().unwrap();
    assert_eq!(at(&own), "https://git.example.com/api/v3/");
    let definition = check(
        "id: demo\nname: Demo\nbase_url: https://api.example.com\nheaders: {X-Who: \"{{ user.email }}\", X-Maybe: \"{{ note }}\", X-Yours: {value: \"{{ note }}\", overridable: true}}\nquery: {user_email: \"{{ user.email }}\", note: \"{{ note }}\"}\nauth_methods: {m: {fields: {note: {optional: true}}, scheme: none}}\n",
        "demo.yaml",
    )
    .unwrap();
    let resolved = World::new().resolve(&definition, "m", json!({})).ok().unwrap();
    assert_eq!(resolved.headers.sent.len(), 1, "a header of what was left out is left out");
    assert!(!resolved.headers.sent[0].overridable && !resolved.query.sent[0].overridable);
    assert_eq!(resolved.query.sent[0].value.expose(), "ada@example.org");
    assert_eq!(resolved.headers.dropped, ["X-Maybe"], "and is not the caller's either, unless it says so");
    assert_eq!(resolved.query.dropped, ["note"]);
    assert!(resolved.uses.user && !resolved.token_uses.user);
    let resolved = World::new().resolve(&definition, "m", json!({"note": "x-123456"})).ok().unwrap();
    assert_eq!((resolved.headers.sent.len(), resolved.query.sent.len()), (3, 2));
    assert!(resolved.headers.dropped.is_empty() && resolved.query.dropped.is_empty());
    // One template for all, and a method's own entry in place of the connector's.
    let definition = check(
        "id: demo\nname: Demo\nbase_url: https://api.example.com\nheaders: \"{{ {'X-A': none, 'X-B': 'b'} }}\"\nquery: {note: \"{{ note }}\"}\nauth_methods: {m: {fields: {note: {optional: true}}, query: {note: {value: mine, overridable: true}}, scheme: none}}\n",
        "demo.yaml",
    )
    .unwrap();
    let resolved = World::new().resolve(&definition, "m", json!({})).ok().unwrap();
    assert_eq!(resolved.headers.sent[0].name, "X-B");
    assert_eq!(resolved.headers.dropped, ["X-A"]);
    assert_eq!(resolved.query.sent[0].value.expose(), "mine");
    assert!(resolved.query.dropped.is_empty());
}

fn operations() -> Definition {
    check(
        r#"id: demo
name: Demo
base_url: https://api.example.com
auth_methods: {m: {scheme: none}}
operations:
  get:
    get: /items/{{ input.id }}/x
    query: {limit: "{{ input.limit }}", all: "{{ input.all }}"}
    input: {id: text, limit: {type: integer, default: 10}, all: {type: boolean, optional: true}}
  add:
    post: /items
    body: {json: {name: "{{ input.name }}", tags: "{{ input.tags }}", fixed: 1}}
    input: {name: text, tags: {type: list, optional: true}}
  mine:
    get: /items
    filter: {items: data, where: "{{ item.owner == user.email }}"}
    select: {items: data, fields: {id: id, who: owner}}
metadata:
  kinds: {get: /kinds, select: {items: kinds, value: id, label: name}}
"#,
        "demo.yaml",
    )
    .unwrap()
}

#[test]
fn operations_render_what_the_caller_gave_as_data() {
    let definition = operations();
    let method = &definition.auth_methods[0];
    let operation = definition.operation("get").unwrap();
    let mut world = World::new();
    let values = definition.check_values(method, &serde_json::Map::new()).unwrap();
    let mut path = |id: &str| {
        let input = definition.check_input(operation, json!({"id": id}).as_object().unwrap()).unwrap();
        world.input = Some(input);
        match definition.render_operation(operation, method, &world.context(&values)) {
            Ok((request, uses, _)) => {
                assert!(uses.input);
                let To::Path(path) = request.to else { panic!("a path") };
                let query = request
                    .query
                    .iter()
                    .map(|(name, value)| format!("{name}={}", value.expose()))
                    .collect::<Vec<_>>();
                assert_eq!(query, ["limit=10"], "what was left out is left out");
                path.expose().to_owned()
            }
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(path("7"), "/items/7/x");
    assert_eq!(path("a/../../b?c#d"), "/items/a%2F..%2F..%2Fb%3Fc%23d/x");
    assert_eq!(
        path("{{ get_secret('x') }}"),
        "/items/%7B%7B%20get_secret%28%27x%27%29%20%7D%7D/x",
        "never a template"
    );
    assert!(path("..").contains("dot segment"));
    let errors =
        definition.check_input(operation, json!({"limit": "x", "idd": 1}).as_object().unwrap()).unwrap_err();
    assert_eq!(errors.len(), 3);

    let operation = definition.operation("add").unwrap();
    world.input = Some(
        definition
            .check_input(operation, json!({"name": "{{ x }}", "tags": "a b"}).as_object().unwrap())
            .unwrap(),
    );
    let (request, ..) = definition.render_operation(operation, method, &world.context(&values)).ok().unwrap();
    let body: Value = serde_json::from_slice(request.body.unwrap().bytes.expose()).unwrap();
    assert_eq!(body, json!({"name": "{{ x }}", "tags": ["a", "b"], "fixed": 1}));
}

#[test]
fn a_filter_keeps_back_what_the_person_may_not_see() {
    let definition = operations();
    let method = &definition.auth_methods[0];
    let values = definition.check_values(method, &serde_json::Map::new()).unwrap();
    let world = World::new();
    let operation = definition.operation("mine").unwrap();
    let answer = json!({"data": [{"id": 1, "owner": "ada@example.org", "x": 1}, {"id": 2, "owner": "bob@example.org"}]});
    let seen = definition.apply_filter(operation, method, &world.context(&values), answer).unwrap();
    assert_eq!(seen, json!([{"id": 1, "who": "ada@example.org"}]));
    // An answer of another shape is not handed on, nor one whose items cannot be judged.
    for odd in
        [json!({"error": "x"}), json!({"data": [{"id": 3}]}), json!([{"id": 3, "owner": "bob@example.org"}])]
    {
        assert!(
            definition.apply_filter(operation, method, &world.context(&values), odd.clone()).is_err(),
            "{odd}"
        );
    }
    let kinds = definition.metadata_named("kinds").unwrap();
    let seen = definition
        .apply_filter(kinds, method, &world.context(&values), json!({"kinds": [{"id": 1, "name": "One"}]}))
        .unwrap();
    assert_eq!(seen, json!([{"value": 1, "label": "One"}]));
}
