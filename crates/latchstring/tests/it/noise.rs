//! What is somebody else's takes as long as what is not there: over the whole way, from a socket to the answer.
//!
//! That both take the same steps is tested elsewhere, statement by statement. This looks for what such a test cannot see,
//! and fails only on a gross difference: a machine that does other things meanwhile is no fault of the server's.

use std::time::{Duration, Instant};

use latchstring_testkit::app::PROJECT;
use latchstring_testkit::{figure, rounds};
use serde_json::{Value, json};

use crate::support::{median, setup};

/// Of each kind, in one attempt.
const FEW: usize = 400;
const FULL: usize = 1_000;
const ATTEMPTS: usize = 5;
/// Both have to be exceeded.
const FACTOR: f64 = 1.25;
const LEAST: Duration = Duration::from_micros(500);

/// The medians of two kinds of request. Interleaved, and each first every other time, so that what else the machine
/// does meets both alike.
fn medians(asks: usize, one: impl Fn(), other: impl Fn()) -> [Duration; 2] {
    let timed = |ask: &dyn Fn()| {
        let began = Instant::now();
        ask();
        began.elapsed()
    };
    let (mut ones, mut others) = (Vec::with_capacity(asks), Vec::with_capacity(asks));
    for ask in 0..asks {
        if ask % 2 == 0 {
            ones.push(timed(&one));
            others.push(timed(&other));
        } else {
            others.push(timed(&other));
            ones.push(timed(&one));
        }
    }
    [median(ones), median(others)]
}

fn gross([one, other]: [Duration; 2]) -> bool {
    let (less, more) = (one.min(other), one.max(other));
    more - less > LEAST && more.as_secs_f64() > less.as_secs_f64() * FACTOR
}

#[test]
fn what_is_anothers_takes_as_long_as_what_is_not_there() {
    let app = setup().start();
    let values = json!({"base_url": "http://127.0.0.1:9", "token": "the-token-5"});
    let foreign = app.credential("up", "bearer", &values)["id"].as_str().unwrap().to_owned();
    let missing = "crd_0000000001zzzzzzzzzzzzzzzz";
    let nowhere = "nowh";
    assert_eq!((foreign.len(), PROJECT.len()), (missing.len(), nowhere.len()));
    // Somebody with a key, who belongs to nothing any more.
    let eve = app.person("eve@example.com", "viewer");
    app.done("DELETE", &format!("/projects/{PROJECT}/members/eve@example.com"), &Value::Null, 204);
    let api = |path: String| {
        let answer = app.api_as(&eve, "GET", &path, &Value::Null);
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    };
    let proxy = |project: &str, credential: &str| {
        let place = [("latchstring-project", project), ("latchstring-environment", "production")];
        let answer = app.call_with(&eve, "GET", &format!("{credential}/x"), &place, b"");
        assert_eq!(answer.status, 404, "{}", answer.text());
    };
    let credential = |id: &str| api(format!("/credentials/{id}"));
    let usage = |id: &str| api(format!("/credentials/{id}/usage"));
    let project = |slug: &str| api(format!("/projects/{slug}"));
    type Ask<'a> = Box<dyn Fn() + 'a>;
    let kinds: [(&str, Ask<'_>, Ask<'_>); 4] = [
        ("a credential", Box::new(|| credential(&foreign)), Box::new(|| credential(missing))),
        ("a credential's usage", Box::new(|| usage(&foreign)), Box::new(|| usage(missing))),
        ("a project", Box::new(|| project(PROJECT)), Box::new(|| project(nowhere))),
        ("a call", Box::new(|| proxy(PROJECT, &foreign)), Box::new(|| proxy(nowhere, missing))),
    ];
    let asks = rounds(FEW, FULL);
    for (what, there, not_there) in &kinds {
        let mut seen = Vec::new();
        let quiet = (0..ATTEMPTS).map(|_| medians(asks, there, not_there)).find(|pair| {
            seen.push(*pair);
            !gross(*pair)
        });
        let Some([one, other]) = quiet else {
            panic!("{what}: foreign and missing differ every time: {seen:?}")
        };
        figure(
            &format!(
                "{what} that is somebody else's beside one that is not there, medians of {asks} answers each"
            ),
            format!("{:.2} and {:.2} ms", one.as_secs_f64() * 1e3, other.as_secs_f64() * 1e3),
        );
    }
    drop(kinds);
    app.stop();
}

/// The measure measures: what one request does more than the other shows.
#[test]
fn a_gross_difference_is_seen() {
    let pause = |millis| move || std::thread::sleep(Duration::from_millis(millis));
    assert!(gross(medians(9, pause(40), pause(2))));
    assert!(gross(medians(9, pause(2), pause(40))));
    let micros = |one, other| [one, other].map(Duration::from_micros);
    assert!(!gross(micros(400, 880)), "less than half a millisecond apart");
    assert!(!gross(micros(10_000, 12_000)), "less than a quarter as much again");
    assert!(gross(micros(10_000, 13_000)) && gross(micros(1_100, 500)));
}
