//! Whose session a login's is: two people, projects, secret values or certificates never share one.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::HeaderMap;
use latchstring_connectors::{Definition, StepsNext, StepsRun, Uses, check};
use latchstring_schemes::wire::WireAnswer;
use serde_json::{Value, json};

use crate::world::World;

fn definition(method: &str) -> Definition {
    check(&format!("id: demo\nname: Demo\nauth_methods:\n  m:\n{method}"), "demo.yaml")
        .unwrap_or_else(|problems| panic!("{}", problems[0]))
}

/// Reads everything where only rendering the requests would show it, some of it beside extracted values.
fn login() -> Definition {
    definition(
        r#"    fields: {who: text, password: {type: text, secret: true}, extra: {type: json, optional: true}, site: text}
    let: {greeting: "{{ who }}!"}
    base_url: "{{ site }}"
    headers: {X-Call: "{{ user.last_name }}"}
    scheme:
      type: steps
      steps:
        - name: ticket
          get: https://a.example.com/auth/ticket
          headers: {X-Who: "{{ greeting }}"}
          extract: {ticket: ticket}
        - name: login
          post: https://a.example.com/auth/login
          query: {t: "{{ token.ticket }}{{ project.slug }}"}
          body: {json: {p: "{{ token.ticket }}:{{ password }}", more: ["{{ extra }}"]}}
          error: [message]
          extract: {sid: sid}
      apply:
        headers: {X-Sid: "{{ token.sid }}", X-Name: "{{ user.first_name }}"}
"#,
    )
}

fn values() -> Value {
    json!({
        "who": "{{ user.email }}",
        "password": "{{ get_secret('s') }}",
        "extra": {"deep": ["{{ get_variable('v') }}"]},
        "site": "https://a.example.com/{{ environment }}",
    })
}

fn world() -> World {
    let mut world = World::new();
    world.store.secrets.insert("s".into(), ("one-password".into(), vec![]));
    world.store.variables.insert("v".into(), "x".into());
    world
}

fn uses(definition: &Definition, values: &Value, change: &dyn Fn(&mut World)) -> Uses {
    let mut world = world();
    change(&mut world);
    world.resolve(definition, "m", values.clone()).unwrap_or_else(|error| panic!("{error}")).token_uses
}

#[test]
fn what_the_requests_of_a_login_read_splits_its_sessions() {
    let (definition, values) = (login(), values());
    let print = |change: &dyn Fn(&mut World)| uses(&definition, &values, change).fingerprint(b"key");
    let same = print(&|_| {});
    assert_eq!(same, print(&|_| {}));
    let mut seen = BTreeSet::from([same]);
    assert!(seen.insert(print(&|world| world.user.as_mut().unwrap().email = "bob@example.org".into())));
    assert!(seen.insert(print(&|world| world.project.slug = "other".into())));
    assert!(seen.insert(print(&|world| {
        world.store.secrets.insert("s".into(), ("two-password".into(), vec![]));
    })));
    assert!(seen.insert(print(&|world| {
        world.store.secrets.clear();
    })));
    assert!(seen.insert(print(&|world| {
        world.store.variables.insert("v".into(), "y".into());
    })));
    // What only calls read makes no difference: fixed headers, and what is made of the session.
    assert!(!seen.insert(print(&|world| world.user.as_mut().unwrap().last_name = "Byron".into())));
    assert!(!seen.insert(print(&|world| world.user.as_mut().unwrap().first_name = "Bob".into())));
    let read = uses(&definition, &values, &|_| {});
    assert!(read.user && read.project && !read.environment);
}

#[test]
fn a_store_that_is_down_gives_no_key() {
    let mut world = world();
    world.store.down = true;
    assert!(world.resolve(&login(), "m", values()).is_err());
}

#[test]
fn the_hosts_of_a_secret_in_a_body_are_known_before_anything_is_sent() {
    let read = uses(&login(), &values(), &|world| {
        world.store.secrets.insert("s".into(), ("one-password".into(), vec!["b.example.com".into()]));
    });
    assert_eq!(read.restricted["s"], ["b.example.com"]);
    assert_eq!(read.secrets().collect::<Vec<_>>(), ["s"]);
}

#[test]
fn a_base_url_counts_when_a_step_is_relative_to_it() {
    let definition = definition(
        r#"    fields: {site: text}
    base_url: "{{ site }}"
    scheme:
      type: steps
      steps: [{name: login, post: /login, extract: {sid: sid}}]
      apply: {headers: {X-Sid: "{{ token.sid }}"}}
"#,
    );
    let values = json!({"site": "https://{{ project.slug }}.example.com"});
    let one = uses(&definition, &values, &|_| {});
    let other = uses(&definition, &values, &|world| world.project.slug = "other".into());
    assert_ne!(one.fingerprint(b"key"), other.fingerprint(b"key"));
}

#[test]
fn two_client_certificates_have_a_session_and_a_token_each() {
    for scheme in [
        "{type: steps, steps: [{name: login, post: 'https://a.example.com/login', extract: {sid: sid}}], apply: {headers: {X-Sid: '{{ token.sid }}'}}}",
        "{type: oauth2_client_credentials, token_url: 'https://a.example.com/t', client_id: c, client_auth: tls}",
    ] {
        let definition = definition(&format!(
            r#"    fields: {{cert: text, key: {{type: text, secret: true}}}}
    base_url: https://a.example.com
    tls: {{client_certificate: "{{{{ cert }}}}", client_key: "{{{{ key }}}}"}}
    scheme: {scheme}
"#
        ));
        let values = json!({"cert": "{{ get_secret('cert') }}", "key": "{{ get_secret('s') }}"});
        let print = |certificate: &str, key: &str| {
            uses(&definition, &values, &|world| {
                world.store.secrets.insert("cert".into(), (certificate.into(), vec![]));
                world.store.secrets.insert("s".into(), (key.into(), vec![]));
            })
            .fingerprint(b"key")
        };
        let prints = [print("cert-1", "key-1"), print("cert-2", "key-1"), print("cert-1", "key-2")];
        assert_eq!(BTreeSet::from(prints.clone()).len(), 3, "{scheme}");
        assert_eq!(prints[0], print("cert-1", "key-1"));
    }
}

#[test]
fn a_login_knows_what_must_not_be_shown_of_its_failure() {
    let definition = login();
    let method = &definition.auth_methods[0];
    let world = world();
    let values = definition.check_values(method, values().as_object().unwrap()).unwrap();
    let mut run = StepsRun::new(world.now);
    let mut answered = |status: u16, body: String| {
        assert!(matches!(run.next(&definition, method, &world.context(&values)), Ok(StepsNext::Send(_))));
        let answer =
            WireAnswer { status, headers: HeaderMap::new(), body: Bytes::from(body), truncated: false };
        run.answered(method, &answer)
    };
    assert!(answered(200, json!({"ticket": "ticket-1"}).to_string()).is_none());
    // Whole, so that a secret across the place of a cut is still found.
    let message = format!("{}one-password", "x".repeat(195));
    let failed = answered(401, json!({"message": message}).to_string()).unwrap();
    assert!(failed.detail.ends_with("one-password"));
    let mask = run.mask();
    for secret in ["one-password", "ticket-1"] {
        assert!(mask.iter().any(|known| known.expose() == secret), "{secret}");
    }
}
