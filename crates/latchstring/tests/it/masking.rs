//! An upstream that repeats the credential does not hand it to the caller.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use latchstring_testkit::jwt::KeyPair;
use latchstring_testkit::{Httpbin, OidcProvider, TestApp};
use serde_json::json;

use crate::support::{RawServer, Seen, Upstream, app, reply};

const PASSWORD: &str = "pÄ Ss/\"wörd\"+=&ü~tail";

/// Every form in which an API commonly repeats a text, made here by other means than in the program.
fn forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let url = |keep: &str, space: &str| -> String {
        bytes
            .iter()
            .map(|byte| match char::from(*byte) {
                ' ' => space.to_owned(),
                c if c.is_ascii_alphanumeric() || keep.contains(c) => c.to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect()
    };
    // Only the digits of the escapes.
    let small = |text: String| -> String {
        let (first, rest) = text.split_once('%').unwrap_or((text.as_str(), ""));
        let escapes = rest.split('%').filter(|part| part.len() > 1);
        let escapes = escapes.map(|part| format!("%{}{}", part[..2].to_lowercase(), &part[2..]));
        format!("{first}{}", escapes.collect::<String>())
    };
    let json = |signs: &str, ascii: bool| -> String {
        let mut out = String::new();
        for sign in secret.chars() {
            match sign {
                _ if signs.contains(sign) || (ascii && !sign.is_ascii()) => {
                    out.push_str(&format!("\\u{:04x}", u32::from(sign)));
                }
                '"' | '\\' => out.extend(['\\', sign]),
                _ => out.push(sign),
            }
        }
        out
    };
    let large = |text: String| -> String {
        let mut parts = text.split("\\u");
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |out, part| format!("{out}\\u{}{}", part[..4].to_uppercase(), &part[4..]))
    };
    vec![
        secret.to_owned(),
        STANDARD.encode(bytes),
        STANDARD_NO_PAD.encode(bytes),
        URL_SAFE.encode(bytes),
        URL_SAFE_NO_PAD.encode(bytes),
        hex::encode(bytes),
        hex::encode_upper(bytes),
        url("-._~", "%20"),
        url("-._~", "+"),
        url("*-._", "+"),
        small(url("-._~", "%20")),
        small(url("-._~", "+")),
        small(url("", "%20")),
        json("", false),
        json("", false).replace('/', "\\/"),
        json("&<>", false),
        json("&<>='", false),
        json("", true),
        json("", true).replace('/', "\\/"),
        large(json("", true)),
        large(json("&<>+'`\"", true)),
    ]
}

#[test]
fn every_form_in_text_bodies_and_headers() {
    let upstream = Upstream::start(|seen| {
        let (kind, number) = seen.target.trim_start_matches('/').split_once('/').unwrap();
        let form = forms(PASSWORD).remove(number.parse().unwrap());
        let mut answer = reply(200, format!("before {form} and {form} after"));
        answer.headers_mut().insert("content-type", kind.replace('.', "/").parse().unwrap());
        // Header values are bytes: what is not ASCII may stand there, too.
        let value = http::HeaderValue::from_bytes(format!("x {form}").as_bytes()).unwrap();
        answer.headers_mut().insert("x-echo", value);
        answer
    });
    let app = app();
    app.credential(
        "up",
        "basic",
        &json!({"base_url": upstream.url(), "username": "ada", "password": PASSWORD}),
    );
    for (number, form) in forms(PASSWORD).iter().enumerate() {
        for kind in ["text.plain", "application.json", "text.html", "application.xml"] {
            let answer = app.get(&format!("up/{kind}/{number}"));
            let stars = "*".repeat(form.len());
            assert_eq!(answer.text(), format!("before {stars} and {stars} after"), "{form} in {kind}");
        }
        let answer = crate::support::exchange(
            &app,
            &crate::support::head(&app, "GET", &format!("up/text.plain/{number}"), "connection: close\r\n"),
        );
        let found = answer.windows(form.len()).any(|part| part == form.as_bytes());
        assert!(!found, "{form} in {}", String::from_utf8_lossy(&answer));
        // What is no text is passed as it is: a picture is not searched, and not changed.
        for kind in ["application.octet-stream", "image.png", "application.zip"] {
            let answer = app.get(&format!("up/{kind}/{number}"));
            assert_eq!(answer.text(), format!("before {form} and {form} after"), "{kind}");
        }
    }
    app.stop();
}

#[test]
fn a_secret_that_is_cut_into_chunks_is_found() {
    const TOKEN: &str = "the-token-that-is-cut-somewhere";
    let raw = RawServer::start(|head, stream| {
        let text = String::from_utf8_lossy(head).into_owned();
        let cuts: Vec<usize> =
            text.split(' ').nth(1).unwrap()[1..].split('-').map(|number| number.parse().unwrap()).collect();
        let body = format!("[{TOKEN}]");
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut from = 0;
        for to in cuts.into_iter().chain([body.len()]) {
            let part = &body[from..to];
            if !part.is_empty() {
                stream.write_all(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes()).unwrap();
                // The pieces shall not arrive as one.
                std::thread::sleep(std::time::Duration::from_millis(15));
            }
            from = to;
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let app = app();
    app.credential("up", "bearer", &json!({"base_url": raw.url(), "token": TOKEN}));
    let wanted = format!("[{}]", "*".repeat(TOKEN.len()));
    for cut in (1..=TOKEN.len()).step_by(3) {
        assert_eq!(app.get(&format!("up/{cut}")).text(), wanted, "cut at {cut}");
    }
    assert_eq!(app.get("up/2-3-4-5-20-32").text(), wanted);
}

/// What a call carries that no other does, as its header has it.
fn made_for_it(seen: &Seen) -> String {
    let header = ["x-signature", "authorization"].into_iter().find(|name| !seen.all(name).is_empty());
    let text = seen.header(header.expect("a signature"));
    match text.split_once("oauth_signature=\"") {
        Some((_, rest)) => {
            let written = rest.split('"').next().unwrap().as_bytes();
            percent_encoding::percent_decode(written).decode_utf8().unwrap().into_owned()
        }
        None => text.trim_start_matches("Bearer ").to_owned(),
    }
}

/// Credentials whose calls are signed: by a JWT, by HMAC in base64 and in hex, by OAuth 1.0a.
fn with_signatures(app: &TestApp, base: &str) -> [&'static str; 4] {
    let keys = KeyPair::generate("ES256");
    app.credential(
        "jwt",
        "jwt",
        &json!({"base_url": base, "private_key": keys.private_pem, "algorithm": "ES256", "claims": {"iss": "me"}}),
    );
    let hmac = json!({"base_url": base, "signing_key": "a shared signing key", "sign": ["{timestamp}", "{target}"], "output": "base64"});
    app.credential("hmac", "hmac", &hmac);
    let mut hex = hmac;
    hex["output"] = "hex".into();
    app.credential("hex", "hmac", &hex);
    app.credential(
        "oauth1",
        "oauth1",
        &json!({"base_url": base, "consumer_key": "robot", "consumer_secret": "the-consumers-secret"}),
    );
    ["jwt", "hmac", "hex", "oauth1"]
}

#[test]
fn what_is_made_for_a_call_is_masked_in_every_form() {
    let echo = Upstream::start(|seen| {
        let number = seen.target.trim_start_matches('/').split('?').next().unwrap().parse::<usize>().unwrap();
        let form = forms(&made_for_it(seen)).remove(number);
        let mut answer = reply(200, format!("before {form} and {form} after"));
        answer.headers_mut().insert("x-echo", format!("x {form}").parse().unwrap());
        answer
    });
    let app = app();
    for slug in with_signatures(&app, &echo.url()) {
        for number in 0..forms("").len() {
            // Another path each time signs something else: not all signatures have signs that are escaped.
            for query in 0..4 {
                let answer = app.get(&format!("{slug}/{number}?q={query}"));
                let form = forms(&made_for_it(&echo.last())).remove(number);
                let stars = "*".repeat(form.len());
                assert_eq!(answer.text(), format!("before {stars} and {stars} after"), "{slug}: {form}");
                assert_eq!(answer.header("x-echo"), Some(format!("x {stars}").as_str()), "{slug}: {form}");
            }
        }
    }
    app.stop();
}

/// A request that comes back whole, encoded: the signature stands anywhere in it.
#[test]
fn what_is_made_for_a_call_is_masked_within_an_encoded_request() {
    // Begins with bits that are not those of padding.
    const AFTER: &str = "~\r\naccept: */*\r\n\r\n";
    let echo = Upstream::start(|seen| {
        let (kind, before) = seen.target.trim_start_matches('/').split_once('/').unwrap();
        let text = format!("{before}{}{AFTER}", made_for_it(seen));
        reply(200, if kind == "hex" { hex::encode(text) } else { STANDARD.encode(text) })
    });
    let app = app();
    for slug in with_signatures(&app, &echo.url()) {
        for before in ["", "a", "ab", "abc", "authorization:Bearer"] {
            let answer = app.get(&format!("{slug}/base64/{before}")).text();
            let (made, sent) = (made_for_it(&echo.last()), before.len());
            // Signs that have bits of nothing else.
            let (from, to) = ((sent * 8).div_ceil(6), (sent + made.len()) * 8 / 6);
            let plain = STANDARD.encode(format!("{before}{made}{AFTER}"));
            let wanted = format!("{}{}{}", &plain[..from], "*".repeat(to - from), &plain[to..]);
            assert_eq!(answer, wanted, "{slug}: {before}");

            let answer = app.get(&format!("{slug}/hex/{before}")).text();
            let stars = "**".repeat(made_for_it(&echo.last()).len());
            assert_eq!(
                answer,
                format!("{}{stars}{}", hex::encode(before), hex::encode(AFTER)),
                "{slug}: {before}"
            );
        }
    }
    app.stop();
}

#[test]
fn what_was_obtained_or_made_for_the_call_is_masked() {
    let (httpbin, oidc) = (Httpbin::start(), OidcProvider::start());
    let echo = Upstream::start(|seen| reply(200, format!("{:?} {}", seen.headers, seen.target)));
    let app = app();
    let base = httpbin.url();
    app.credential(
        "basic",
        "basic",
        &json!({"base_url": base, "username": "ada", "password": "the-password-1"}),
    );
    app.credential("header", "api_key", &json!({"base_url": base, "key": "X-Key", "value": "the-api-key-1"}));
    app.credential(
        "query",
        "api_key",
        &json!({"base_url": base, "key": "key", "value": "the/api key&1", "in": "query"}),
    );
    app.credential(
        "cookie",
        "api_key",
        &json!({"base_url": base, "key": "sid", "value": "the-api-key-1", "in": "cookie"}),
    );
    for (slug, secrets) in [
        ("basic", vec!["the-password-1".to_owned(), STANDARD.encode("ada:the-password-1")]),
        ("header", vec!["the-api-key-1".into()]),
        ("query", vec!["the/api key&1".into(), "the%2Fapi%20key%261".into(), "the/api+key".into()]),
        ("cookie", vec!["the-api-key-1".into()]),
    ] {
        let answer = app.get(&format!("{slug}/anything"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        for secret in secrets {
            assert!(!answer.text().contains(&secret), "{slug}: {}", answer.text());
        }
        assert!(answer.text().contains("****"), "{slug}: {}", answer.text());
    }
    app.credential(
        "oauth",
        "oauth2_client_credentials",
        &json!({
            "base_url": echo.url(), "token_url": oidc.token_url(), "client_id": OidcProvider::CLIENT_ID,
            "client_secret": OidcProvider::CLIENT_SECRET,
        }),
    );
    let keys = KeyPair::generate("ES256");
    app.credential(
        "jwt",
        "jwt",
        &json!({"base_url": echo.url(), "private_key": keys.private_pem, "algorithm": "ES256", "claims": {"iss": "me"}}),
    );
    app.credential(
        "hmac",
        "hmac",
        &json!({"base_url": echo.url(), "signing_key": "a shared signing key", "sign": ["{timestamp}"]}),
    );
    for (slug, header) in [("oauth", "authorization"), ("jwt", "authorization"), ("hmac", "x-signature")] {
        let answer = app.get(&format!("{slug}/x"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let sent = echo.last().header(header).trim_start_matches("Bearer ").to_owned();
        assert!(sent.len() > 20 && !answer.text().contains(&sent), "{slug}: {}", answer.text());
        assert!(answer.text().contains("****"), "{slug}: {}", answer.text());
    }
}
