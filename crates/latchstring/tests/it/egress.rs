//! Where calls may go: public addresses, and what the operator allows; nothing tells the rest apart.

use latchstring_testkit::app::PROJECT;
use serde_json::{Value, json};

use crate::support::{Upstream, setup};

#[test]
fn private_places_names_that_do_not_exist_and_our_own_port_answer_alike() {
    // Metadata addresses and our own port stay shut although the operator's rule covers them.
    let setup = setup().set("LATCHSTRING_EGRESS_ALLOW", "127.0.0.0/8,169.254.0.0/16");
    let app = setup.start();
    let own = app.url.clone();
    let mut texts = Vec::new();
    for (number, base) in [
        "http://10.0.0.1",
        "http://192.168.1.1:8080",
        "https://172.16.0.1",
        "http://[::1]",
        "http://[fd00::1]",
        "http://[::ffff:10.0.0.1]",
        "http://169.254.169.254/latest",
        "http://[fd00:ec2::254]",
        "http://0.0.0.0",
        "http://100.64.0.1",
        "http://nothing.invalid",
        &own,
    ]
    .into_iter()
    .enumerate()
    {
        let slug = format!("up-{number}");
        app.credential(&slug, "bearer", &json!({"base_url": base, "token": "the-token-5"}));
        let answer = app.get(&format!("{slug}/x"));
        assert_eq!(
            (answer.status, answer.header("latchstring-error")),
            (502, Some("upstream_unreachable")),
            "{base}: {}",
            answer.text()
        );
        let problem = answer.json();
        texts.push((problem["detail"].clone(), problem["hint"].clone(), problem["title"].clone()));
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "one text for all: {texts:#?}");

    // Verification is no port scanner either.
    let mut answers = Vec::new();
    for base in ["http://10.0.0.1", "http://nothing.invalid", "http://169.254.169.254", &own] {
        let answer = app.api(
            "POST",
            "/credentials",
            &json!({
                "name": "scan", "connector": "http", "auth_method": "bearer",
                "values": {"production": {"base_url": base, "token": "the-token-5", "test_path": "/"}},
            }),
        );
        let mut problem = answer.json();
        // The request as sent names the address that was typed; the rest must not differ.
        let text =
            problem.to_string().replace(base, "BASE").replace(base.trim_start_matches("http://"), "HOST");
        problem = serde_json::from_str(&text).unwrap();
        problem["upstream"]["request"] = Value::Null;
        problem["request"] = Value::Null;
        assert_eq!(
            (answer.status, &problem["code"]),
            (422, &json!("verification_inconclusive")),
            "{}",
            answer.text()
        );
        answers.push(problem["detail"].clone());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    app.stop();
}

#[test]
fn an_allow_listed_place_is_for_its_project_and_port() {
    let (allowed, other_port) = (Upstream::recording(), Upstream::recording());
    let app = setup()
        .set("LATCHSTRING_EGRESS_ALLOW", format!("127.0.0.1/32:{}@{PROJECT}", allowed.at.port()))
        .start();
    app.done(
        "POST",
        "/projects",
        &json!({"slug": "other", "name": "Other", "environments": ["production"]}),
        201,
    );
    for (slug, upstream) in [("here", &allowed), ("there", &other_port)] {
        app.done(
            "POST",
            "/credentials",
            &json!({
                "name": slug, "connector": "http", "auth_method": "bearer", "verify": "skip",
                "values": {"production": {"base_url": upstream.url(), "token": "the-token-5"}},
                "shares": [
                    {"project": PROJECT, "slug": slug, "grants": {"production": "production"}},
                    {"project": "other", "slug": slug, "grants": {"production": "production"}},
                ],
            }),
            201,
        );
    }
    let get = |project: &str, slug: &str| {
        let at = [("latchstring-project", project), ("latchstring-environment", "production")];
        app.call_with(app.manage_key(), "GET", &format!("{slug}/x"), &at, b"").status
    };
    // The rule names a slug; the server looks up now and then whose it is.
    latchstring_testkit::eventually("the rule of a new project", || {
        (get(PROJECT, "here") == 200).then_some(())
    });
    assert_eq!(get("other", "here"), 502, "a warm connection of another project is not used");
    assert_eq!(get(PROJECT, "there"), 502);
    assert_eq!(get(PROJECT, "here"), 200);
    assert_eq!((allowed.count(), other_port.count()), (2, 0));
}

#[test]
fn a_redirect_is_the_callers_to_follow() {
    let elsewhere = Upstream::recording();
    let target = elsewhere.url();
    let upstream = Upstream::start(move |_| {
        let mut answer = crate::support::reply(307, "");
        answer.headers_mut().insert("location", target.parse().unwrap());
        answer
    });
    let app = setup().start();
    app.credential("up", "bearer", &json!({"base_url": upstream.url(), "token": "the-token-5"}));
    let answer = app.call("POST", "up/x", &[], b"body");
    assert_eq!((answer.status, answer.header("location")), (307, Some(elsewhere.url().as_str())));
    assert_eq!((upstream.count(), elsewhere.count()), (1, 0));
}
