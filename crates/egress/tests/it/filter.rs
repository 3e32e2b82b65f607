//! The address filter on real sockets: what is refused is never even connected to.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use http::Response;
use latchstring_egress::{Configured, EgressError, Refusal, Wire};
use latchstring_model::Problem;

use crate::support::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A listener at 127.0.0.1 that may be called, and one at 127.0.0.2, same port, that may not.
async fn pair() -> (Server, Server) {
    for _ in 0..50 {
        let good = listen("127.0.0.1:0").await;
        let port = good.local_addr().unwrap().port();
        if let Ok(bad) = tokio::net::TcpListener::bind(("127.0.0.2", port)).await {
            let answer = |_| async { Response::new(full("hello")) };
            return (serve_on(good, None, answer), serve_on(bad, None, answer));
        }
    }
    panic!("no port is free at both addresses");
}

#[tokio::test]
async fn a_thousand_flipping_answers_never_reach_the_refused_address() {
    let (good, bad) = pair().await;
    // Every second answer, and the order within an answer, tries another way in.
    let resolver = answers(|count| match count % 4 {
        0 => vec![ip("127.0.0.1")],
        1 => vec![ip("127.0.0.2")],
        2 => vec![ip("127.0.0.2"), ip("127.0.0.1")],
        _ => vec![ip("::ffff:127.0.0.2"), ip("169.254.169.254"), ip("127.0.0.2")],
    });
    let asked = resolver.asked.clone();
    let settings = latchstring_egress::Settings {
        allow: allow(&[&format!("127.0.0.1:{}", good.at.port())]),
        ..Default::default()
    };
    let pool = pool_with(settings, resolver);
    let origin = origin(&format!("http://rebind.example:{}", good.at.port()));
    let ticket = ticket(&origin);
    let (mut reached, mut refused) = (0, 0);
    for round in 0..1000u16 {
        match pool.send(&ticket, None, &origin, get("/")).await {
            Ok(answer) => {
                assert_eq!(text(answer.into_body()).await, "hello");
                reached += 1;
                // A change of the rules retires the warm connection: each request looks the name up anew.
                pool.egress().rules().set_own_listeners(vec![([127, 0, 0, 9], round + 1).into()]);
            }
            Err(EgressError::Unreachable(_)) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1000, "one look-up for each connection, no second");
    assert_eq!((reached, refused), (500, 500));
    assert_eq!(good.accepted(), 500);
    assert_eq!(bad.accepted(), 0, "a refused address was connected to");
}

#[tokio::test]
async fn a_refused_literal_is_not_connected_to() {
    let server = hello().await;
    let pool = pool(latchstring_egress::Settings::default());
    for url in [
        format!("http://{}", server.at),
        format!("https://{}", server.at),
        format!("https://[::ffff:127.0.0.1]:{}", server.at.port()),
        format!("https://0.0.0.0:{}", server.at.port()),
    ] {
        let origin = origin(&url);
        let ticket = ticket(&origin);
        let Err(EgressError::Unreachable(no)) = pool.send(&ticket, None, &origin, get("/")).await else {
            panic!("{url} was called")
        };
        assert!(no.refusal().is_some(), "{url}: {}", no.operator_reason());
        let raw = pool.egress().connect(&ticket, None, &origin, Wire::StartTls).await;
        assert!(matches!(raw, Err(EgressError::Unreachable(_))), "{url}");
    }
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn unresolved_refused_and_dead_look_alike() {
    let dead = listen("127.0.0.1:0").await.local_addr().unwrap();
    let mut settings = on_loopback();
    settings.allow = allow(&["127.0.0.1"]);
    let pool = pool_with(settings, Nobody);
    let mut problems = Vec::new();
    let mut reasons = Vec::new();
    for url in [format!("http://{dead}"), "https://10.0.0.1".to_owned(), "https://no.such.example".to_owned()]
    {
        let origin = origin(&url);
        let error = pool.send(&ticket(&origin), None, &origin, get("/")).await.map(|_| ()).unwrap_err();
        reasons.push(error.operator_reason());
        problems.push(Problem::from(error).to_json().to_string());
    }
    assert_eq!(problems[0], problems[1]);
    assert_eq!(problems[1], problems[2]);
    assert!(reasons[0].contains("connection failed"), "{reasons:?}");
    assert!(reasons[1].contains("LATCHSTRING_EGRESS_ALLOW"), "{reasons:?}");
    assert!(reasons[2].contains("not resolved"), "{reasons:?}");
}

#[tokio::test]
async fn own_listeners_are_not_called() {
    let authority = Authority::new();
    let http2 = serve(Some(authority.server(&["h2"])), |_| async { Response::new(full("hello")) }).await;
    let http1 = hello().await;
    let mut settings = on_loopback();
    settings.extra_ca_pem = Some(authority.pem.into_bytes());
    let pool = pool(settings);
    for (server, origin) in [(&http1, http1.origin()), (&http2, localhost(&http2))] {
        let ticket = ticket(&origin);
        assert_eq!(
            text(pool.send(&ticket, None, &origin, get("/")).await.unwrap().into_body()).await,
            "hello"
        );
        // The warm connection is not used again either.
        pool.egress().rules().set_own_listeners(vec![([0, 0, 0, 0], server.at.port()).into()]);
        let Err(EgressError::Unreachable(no)) = pool.send(&ticket, None, &origin, get("/")).await else {
            panic!("called itself")
        };
        assert_eq!(no.refusal(), Some(Refusal::OwnListener));
        let configured = Configured::new(origin.clone());
        assert!(pool.send(&configured, None, &origin, get("/")).await.is_err());
        pool.egress().rules().set_own_listeners(Vec::new());
    }
}

#[tokio::test]
async fn nothing_is_sent_without_a_pin() {
    let server = hello().await;
    let pool = pool(on_loopback());
    let pinned = origin("https://api.example.com");
    let here = server.origin();
    let error = pool.send(&ticket(&pinned), None, &here, get("/")).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, EgressError::NotPinned { .. }));
    assert_eq!(Problem::from(error).code.as_str(), "destination_not_allowed");
    let raw = pool.egress().connect(&ticket(&pinned), None, &here, Wire::Clear).await;
    assert!(matches!(raw, Err(EgressError::NotPinned { .. })));
    let elsewhere = Configured::new(pinned);
    assert!(matches!(pool.send(&elsewhere, None, &here, get("/")).await, Err(EgressError::NotPinned { .. })));
    // Same host, other scheme or port: another origin.
    let mut other = here.clone();
    other.https = true;
    assert!(matches!(
        pool.send(&ticket(&other), None, &here, get("/")).await,
        Err(EgressError::NotPinned { .. })
    ));
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn a_connection_of_one_project_serves_no_other() {
    let server = hello().await;
    let (me, you) = (project(1), project(2));
    let rule = format!("127.0.0.1:{}@{me}", server.at.port());
    let pool = pool(latchstring_egress::Settings { allow: allow(&[&rule]), ..Default::default() });
    let origin = server.origin();
    let mine = ticket_of(Some(me), &[&origin]);
    for _ in 0..2 {
        assert_eq!(text(pool.send(&mine, None, &origin, get("/")).await.unwrap().into_body()).await, "hello");
    }
    assert_eq!(pool.stats().reused, 1, "the first one's connection is warm");
    for other in [Some(you), None] {
        let theirs = ticket_of(other, &[&origin]);
        assert!(matches!(
            pool.send(&theirs, None, &origin, get("/")).await,
            Err(EgressError::Unreachable(_))
        ));
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_connection_of_the_operator_serves_no_tenant() {
    let server = hello().await;
    let pool = pool(latchstring_egress::Settings::default());
    let origin = server.origin();
    let configured = Configured::new(origin.clone());
    for _ in 0..2 {
        assert_eq!(
            text(pool.send(&configured, None, &origin, get("/")).await.unwrap().into_body()).await,
            "hello"
        );
    }
    assert_eq!(pool.stats().reused, 1);
    let refused = pool.send(&ticket(&origin), None, &origin, get("/")).await;
    assert!(matches!(refused, Err(EgressError::Unreachable(_))));
}

#[tokio::test]
async fn the_second_address_is_used_when_the_first_is_dead() {
    let server = hello().await;
    let pool = pool_with(on_loopback(), answers(|_| vec![ip("127.0.0.3"), ip("10.0.0.1"), ip("127.0.0.1")]));
    let origin = origin(&format!("http://two.example:{}", server.at.port()));
    let answer = pool.send(&ticket(&origin), None, &origin, get("/")).await.unwrap();
    assert_eq!(text(answer.into_body()).await, "hello");
}

#[test]
fn an_address_can_be_judged_while_it_is_typed() {
    let egress = latchstring_egress::Egress::new(on_loopback()).unwrap();
    for (url, refusal) in [
        ("https://10.0.0.1", Some(Refusal::Private)),
        ("https://[fd00:ec2::254]", Some(Refusal::Metadata)),
        ("http://8.8.8.8", Some(Refusal::Cleartext)),
        ("https://8.8.8.8", None),
        ("http://127.0.0.1:8080", None),
        ("https://name.example", None),
    ] {
        assert_eq!(egress.refuses(None, &origin(url)), refusal, "{url}");
    }
}
