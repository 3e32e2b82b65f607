//! Logins in steps.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use latchstring_connectors::{Definition, StepsNext, StepsRun, builtin, check};
use latchstring_model::{PinPurpose, Timestamp};
use latchstring_schemes::Scheme;
use latchstring_schemes::wire::WireAnswer;
use serde_json::json;

use crate::world::World;

fn answer(status: u16, cookies: &[&str], body: &str) -> WireAnswer {
    let mut headers = HeaderMap::new();
    for cookie in cookies {
        headers.append("set-cookie", HeaderValue::from_str(cookie).unwrap());
    }
    headers.insert("x-session", HeaderValue::from_static("session=abc; path=/"));
    WireAnswer { status, headers, body: Bytes::copy_from_slice(body.as_bytes()), truncated: false }
}

fn demo() -> Definition {
    check(
        r#"id: demo
name: Demo
base_url: "{{ site }}/api"
auth_methods:
  m:
    fields: {site: url, user_name: text, password: {type: text, secret: true}}
    scheme:
      type: steps
      expiry: lives
      expiry_margin: 5
      steps:
        - name: ticket
          get: "{{ site }}/auth/ticket"
          extract:
            ticket: {header: x-session, after: "session=", before: ";"}
        - name: login
          post: "{{ site }}/auth/login"
          query: {t: "{{ token.ticket }}"}
          body: {form: {u: "{{ user_name }}", p: "{{ password }}"}}
          expect: [200, 201]
          expect_body: {path: ok, equals: true}
          error: [error.text, message]
          extract:
            sid: {cookie: SID}
            csrf: data.csrf
            lives: {json: data.lives, optional: true}
      apply:
        cookies: {SID: "{{ token.sid }}"}
        headers: {X-Csrf: "{{ token.csrf }}"}
"#,
        "demo.yaml",
    )
    .unwrap_or_else(|problems| panic!("{}", problems[0]))
}

#[test]
fn a_login_goes_through_its_steps() {
    let definition = demo();
    let method = &definition.auth_methods[0];
    let mut world = World::new();
    let given = json!({"site": "https://a.example.com/", "user_name": "ada", "password": "p&ss word"});
    let values = definition.check_values(method, given.as_object().unwrap()).unwrap();

    let resolved = definition.resolve(method, &world.context(&values)).ok().unwrap();
    assert!(resolved.needs_token && !resolved.complete);
    let pins =
        resolved.destinations.iter().map(|to| (to.pin.purpose, to.pin.prefix.as_str())).collect::<Vec<_>>();
    assert_eq!(
        pins,
        [(PinPurpose::Step, "/auth/"), (PinPurpose::Step, "/auth/"), (PinPurpose::Call, "/api/")]
    );
    assert_eq!(resolved.policy.expiry_margin_ms, Some(5000));

    let mut run = StepsRun::new(Timestamp(1000));
    let Ok(StepsNext::Send(first)) = run.next(&definition, method, &world.context(&values)) else {
        panic!("a request")
    };
    assert_eq!(first.address.to_string(), "https://a.example.com/auth/ticket");
    assert!(run.answered(method, &answer(200, &[], "")).is_none());
    let Ok(StepsNext::Send(second)) = run.next(&definition, method, &world.context(&values)) else {
        panic!("a request")
    };
    assert_eq!(
        (second.method.clone(), second.address.to_string()),
        (Method::POST, "https://a.example.com/auth/login?t=abc".into())
    );
    assert_eq!(second.body.expose(), b"u=ada&p=p%26ss%20word");
    assert_eq!(second.headers["content-type"], "application/x-www-form-urlencoded");
    let good = r#"{"ok": true, "data": {"csrf": "c-1", "lives": 60}}"#;
    assert!(run.answered(method, &answer(201, &["X=1", "SID=s-1; HttpOnly"], good)).is_none());
    let Ok(StepsNext::Done(token)) = run.next(&definition, method, &world.context(&values)) else {
        panic!("the end")
    };
    assert_eq!(token.expires_at, Some(Timestamp(61_000)));

    world.token = Some(token.metadata.expose().clone());
    let resolved = definition.resolve(method, &world.context(&values)).ok().unwrap();
    assert!(resolved.complete);
    let Scheme::Custom(custom) = &resolved.scheme else { panic!("custom") };
    assert_eq!((custom.cookies[0].0.as_str(), custom.cookies[0].1.expose()), ("SID", "s-1"));
    assert_eq!((custom.headers[0].0.as_str(), custom.headers[0].1.expose()), ("X-Csrf", "c-1"));
}

#[test]
fn the_end_of_a_login_is_read_as_apis_write_it() {
    let start = Timestamp::parse_rfc3339("2026-11-21T10:00:00Z").unwrap();
    let hour = Some(start.plus_secs(3600));
    let soon = Some(start.plus_secs(90));
    for (format, said, end) in [
        ("seconds", json!(90), soon),
        ("seconds", json!(90.0), soon),
        ("seconds", json!("90.0"), soon),
        ("seconds", json!(" 90s "), soon),
        ("minutes", json!(1.5), soon),
        ("milliseconds", json!("90000"), soon),
        ("epoch", json!(start.plus_secs(90).secs()), soon),
        ("epoch_ms", json!(start.plus_secs(90).0), soon),
        ("date", json!("2026-11-21T10:01:30Z"), soon),
        ("date", json!("2026-11-21T12:01:30+0200"), soon),
        ("date", json!("2026-11-21 10:01:30"), soon),
        ("date", json!("Sat, 21 Nov 2026 10:01:30 GMT"), soon),
        // What says nothing is an hour, as before.
        ("date", json!("soon"), hour),
        ("date", json!(90), hour),
        ("seconds", json!("soon"), hour),
        ("seconds", json!(-90), hour),
        ("seconds", json!("inf"), hour),
        ("epoch", json!(90), hour),
    ] {
        let definition = check(
            &format!(
                "id: demo\nname: Demo\nauth_methods:\n  m:\n    scheme:\n      type: steps\n      expiry: ends\n      expiry_format: {format}\n      steps: [{{name: login, post: 'https://a.example.com/login', extract: {{ends: ends}}}}]\n      apply: {{headers: {{X: '{{{{ token.ends }}}}'}}}}\n"
            ),
            "demo.yaml",
        )
        .unwrap_or_else(|problems| panic!("{}", problems[0]));
        let method = &definition.auth_methods[0];
        let (world, values) = (World::new(), latchstring_connectors::Values::default());
        let mut run = StepsRun::new(start);
        assert!(matches!(run.next(&definition, method, &world.context(&values)), Ok(StepsNext::Send(_))));
        assert!(run.answered(method, &answer(200, &[], &json!({"ends": said}).to_string())).is_none());
        let Ok(StepsNext::Done(token)) = run.next(&definition, method, &world.context(&values)) else {
            panic!("the end")
        };
        assert_eq!(token.expires_at, end, "{format} {said}");
    }
}

#[test]
fn a_login_that_fails_says_where() {
    let definition = demo();
    let method = &definition.auth_methods[0];
    let world = World::new();
    let given = json!({"site": "https://a.example.com", "user_name": "ada", "password": "pass"});
    let values = definition.check_values(method, given.as_object().unwrap()).unwrap();
    for (status, cookies, body, refused, says) in [
        (
            401,
            &[][..],
            r#"{"error": {"text": "wrong password"}}"#,
            true,
            "login: the API answered 401: wrong password",
        ),
        (200, &[][..], r#"{"ok": false, "message": "locked"}"#, true, "`ok` is not as expected: locked"),
        (200, &[][..], r#"{"ok": true, "data": {"csrf": "x"}}"#, true, "`sid` is not in the answer"),
        (200, &["SID="][..], r#"{"ok": true, "data": {"csrf": "x"}}"#, true, "`sid` is not in the answer"),
        (503, &[][..], "<html>", false, "answered 503"),
    ] {
        let mut run = StepsRun::new(Timestamp(0));
        assert!(matches!(run.next(&definition, method, &world.context(&values)), Ok(StepsNext::Send(_))));
        assert!(run.answered(method, &answer(200, &[], "")).is_none());
        assert!(matches!(run.next(&definition, method, &world.context(&values)), Ok(StepsNext::Send(_))));
        let failed = run.answered(method, &answer(status, cookies, body)).unwrap();
        assert!(failed.to_string().contains(says), "{failed}");
        assert_eq!(failed.refused, refused);
    }
}

#[test]
fn http_logs_in_with_a_token_or_with_cookies() {
    let definition = builtin().find(|definition| definition.id == "http").unwrap();
    let method = definition.method("steps").unwrap();
    for (own, content_type, body, reply, header, cookie) in [
        (
            json!({"token_path": "data.token"}),
            "application/json",
            r#"{"u":"ada","n":1}"#,
            r#"{"data": {"token": "t-1"}}"#,
            Some("Bearer t-1"),
            None,
        ),
        (
            json!({"login_format": "form"}),
            "application/x-www-form-urlencoded",
            "u=ada&n=1",
            "welcome",
            None,
            Some("s-1"),
        ),
    ] {
        let mut given = own.clone();
        given["base_url"] = json!("https://a.example.com");
        given["login_url"] = json!("https://a.example.com/login/");
        given["login_body"] = json!({"u": "ada", "n": 1});
        let values = definition.check_values(method, given.as_object().unwrap()).unwrap();
        let mut world = World::new();
        let mut run = StepsRun::new(world.now);
        let Ok(StepsNext::Send(request)) = run.next(definition, method, &world.context(&values)) else {
            panic!("a request")
        };
        assert_eq!(request.address.to_string(), "https://a.example.com/login/");
        assert_eq!(request.headers["content-type"], content_type);
        assert_eq!(request.body.expose(), body.as_bytes());
        assert!(run.answered(method, &answer(200, &["sid=s-1; Path=/"], reply)).is_none());
        let Ok(StepsNext::Done(token)) = run.next(definition, method, &world.context(&values)) else {
            panic!("the end")
        };
        world.token = Some(token.metadata.expose().clone());
        let resolved =
            definition.resolve(method, &world.context(&values)).unwrap_or_else(|error| panic!("{error}"));
        let Scheme::Custom(custom) = &resolved.scheme else { panic!("custom") };
        assert_eq!(custom.headers.first().map(|(_, value)| value.expose()), header);
        assert_eq!(custom.cookies.first().map(|(_, value)| value.expose()), cookie);
    }
}
