//! OAuth 1.0a: judged by `oauthlib`, which shares no code with us.

use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use latchstring_model::SecretString;
use latchstring_model::address::Address;
use latchstring_schemes::oauth1::{
    Credentials, OAuth1, OAuth1Error, SignatureMethod, TemporaryCredentialsRequest, TokenRequest,
    authorize_url, read_callback,
};
use latchstring_schemes::wire::{WireAnswer, WireRequest};
use latchstring_schemes::{BodyNeed, Scheme, SchemeError};
use latchstring_testkit::oauth1::oauthlib;
use serde_json::{Value, json};

use crate::support::{Counting, NOW, Request, key_file, prepared, refused};

const FORM: &str = "application/x-www-form-urlencoded";

fn person(method: SignatureMethod) -> OAuth1 {
    OAuth1 {
        token: Some("a token/with+signs".into()),
        token_secret: "the person's secret &=%".into(),
        method,
        private_key: (method == SignatureMethod::RsaSha256).then(|| key_file("rsa2048.pkcs8.pem").into()),
        realm: Some("Photos \"of\" 2026".into()),
        ..OAuth1::new("the-consumer-key", "the application's secret")
    }
}

fn question(request: &Request, body: &str) -> Value {
    let mut headers = json!({"Authorization": request.header("authorization")});
    if request.headers.contains_key(CONTENT_TYPE) {
        headers["Content-Type"] = request.header("content-type").into();
    }
    json!({
        "endpoint": "resource", "method": request.method.as_str(),
        "url": format!("{}{}", request.origin, request.target), "headers": headers, "body": body,
        "consumer_secret": "the application's secret", "token_secret": "the person's secret &=%",
        "public_key": key_file("rsa2048.pub.pem"),
    })
}

#[test]
fn every_method_is_verified_by_another_library() {
    let mut cases = Vec::new();
    for method in SignatureMethod::ALL.iter().copied() {
        let scheme = prepared(Scheme::OAuth1(Box::new(person(method))));
        for (verb, url, body) in [
            (
                Method::GET,
                "https://api.example.com/photos?size=original&file=vacation.jpg&a=%E2%98%83+x&a=&b",
                "",
            ),
            (Method::POST, "http://127.0.0.1:8080/r%20v/X", "c2&a3=2+q&b=%3D%253D"),
            (Method::DELETE, "https://api.example.com:8443", ""),
            (Method::PUT, "https://api.example.com/json?x=~-._!*'()", "{\"a\": 1}"),
        ] {
            let mut request = Request::new(verb, url);
            let form = !body.is_empty() && !body.starts_with('{');
            if !body.is_empty() {
                let kind = if form { FORM } else { "application/json" };
                request = request.with("content-type", kind);
            }
            let held = if form { Some(body.as_bytes()) } else { None };
            request.sign(&scheme, held).unwrap_or_else(|error| panic!("{}: {error}", method.as_str()));
            assert!(request.headers[AUTHORIZATION].is_sensitive());
            cases.push((method, form, question(&request, body)));
        }
    }
    let questions: Vec<Value> = cases.iter().map(|(_, _, question)| question.clone()).collect();
    for ((method, _, question), answer) in cases.iter().zip(oauthlib(&questions)) {
        assert_eq!(answer["ok"], true, "{}: {question} {answer}", method.as_str());
    }
    // And the judge is awake: anything changed on the way is refused.
    let mut changed = Vec::new();
    for (method, form, question) in &cases {
        let mut other = question.clone();
        if *method == SignatureMethod::Plaintext {
            other["consumer_secret"] = "another".into();
        } else if *form {
            other["body"] = format!("{}1", question["body"].as_str().unwrap()).into();
        } else {
            other["url"] = question["url"].as_str().unwrap().replace("example.com", "example.org").into();
        }
        changed.push(other);
    }
    for (answer, question) in oauthlib(&changed).iter().zip(&changed) {
        assert_eq!(answer["ok"], false, "{question}");
    }
}

#[test]
fn what_the_caller_sent_under_our_names_is_replaced() {
    let scheme = prepared(Scheme::OAuth1(Box::new(person(SignatureMethod::HmacSha1))));
    let mut request = Request::get("https://api.example.com/x?oauth_token=mine&a=1&oauth%5Fsignature=forged")
        .with("authorization", "OAuth oauth_token=\"mine\"");
    let signature = request.sign(&scheme, None).unwrap().unwrap();
    assert_eq!(request.target, "/x?a=1");
    let line = request.header("authorization");
    assert!(
        line.starts_with("OAuth realm=\"Photos \\\"of\\\" 2026\", oauth_consumer_key=\"the-consumer-key\"")
    );
    assert!(!line.contains("mine") && line.contains("oauth_token=\"a%20token%2Fwith%2Bsigns\""), "{line}");
    assert_eq!(signature.len(), 28, "what is masked is the signature as it is: base64 of SHA-1");
    assert_eq!(oauthlib(&[question(&request, "")])[0]["ok"], true);
    let mut again = Request::get("https://api.example.com/x?a=1");
    again.sign_with_other_entropy(&scheme);
    assert_ne!(again.header("authorization"), line, "a nonce is used once");
}

#[test]
fn only_a_form_is_held() {
    let scheme = prepared(Scheme::OAuth1(Box::new(person(SignatureMethod::HmacSha256))));
    let plain = prepared(Scheme::OAuth1(Box::new(person(SignatureMethod::Plaintext))));
    for (kind, held) in [
        (FORM, true),
        ("Application/X-WWW-Form-Urlencoded ; charset=utf-8", true),
        ("application/json", false),
        ("multipart/form-data; boundary=application/x-www-form-urlencoded", false),
    ] {
        let mut request = Request::new(Method::POST, "https://api.example.com/x").with("content-type", kind);
        let need = scheme.body_need(&request.outgoing());
        assert_eq!(matches!(need, BodyNeed::Held { .. }), held, "{kind}");
        assert_eq!(plain.body_need(&request.outgoing()), BodyNeed::None, "PLAINTEXT covers nothing");
        let signed = request.sign(&scheme, None);
        assert_eq!(signed.err() == Some(SchemeError::BodyNotHeld), held, "{kind}");
    }
}

#[test]
fn values_that_cannot_sign_are_named() {
    let with = |change: fn(&mut OAuth1)| {
        let mut scheme = person(SignatureMethod::HmacSha1);
        change(&mut scheme);
        refused(Scheme::OAuth1(Box::new(scheme)))
    };
    assert_eq!(with(|s| s.consumer_key.clear()), SchemeError::Missing { field: "consumer_key" });
    assert_eq!(with(|s| s.realm = Some("a\r\nb".into())), SchemeError::ControlCharacter { field: "realm" });
    let missing = with(|s| s.method = SignatureMethod::RsaSha256);
    assert_eq!(missing, SchemeError::Missing { field: "private_key" });
    let scheme = prepared(Scheme::OAuth1(Box::new(person(SignatureMethod::Plaintext))));
    let masked = scheme.secrets_to_mask();
    for secret in ["the application's secret", "the person's secret &=%", "a token/with+signs"] {
        assert!(masked.iter().any(|known| known.expose() == secret), "{secret}");
    }
}

fn asked(endpoint: &str, request: &WireRequest, more: Value) -> Value {
    let line = request.headers[AUTHORIZATION].to_str().unwrap();
    let mut question = json!({
        "endpoint": endpoint, "method": request.method.as_str(), "url": request.address.to_string(),
        "headers": {"Authorization": line}, "consumer_secret": "the application's secret",
    });
    question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    oauthlib(&[question]).remove(0)
}

fn answer(status: u16, body: &str) -> WireAnswer {
    WireAnswer { status, headers: http::HeaderMap::new(), body: body.to_owned().into(), truncated: false }
}

/// The whole way of section 2 with a provider made of `oauthlib`.
#[test]
fn a_person_consents() {
    let url = |path: &str| Address::parse(&format!("https://provider.example{path}")).unwrap();
    let (initiate, token_url) = (url("/initiate?x=1"), url("/token"));
    let client =
        OAuth1 { token: None, token_secret: SecretString::default(), ..person(SignatureMethod::HmacSha1) };
    let callback = "https://latchstring.example/oauth/callback/oac_1?a=b&c";
    let first = TemporaryCredentialsRequest { url: &initiate, client: &client, callback };
    let request = first.request(NOW, &Counting::new()).unwrap();
    let said = asked("temporary", &request, json!({"callback": callback}));
    assert_eq!(said["ok"], true, "{said}");
    assert_eq!(asked("temporary", &request, json!({"callback": "https://elsewhere.example"}))["ok"], false);
    let temporary = first.read(&answer(200, said["body"].as_str().unwrap())).unwrap();

    let go = authorize_url(&url("/authorize?lang=en"), &temporary);
    let token = temporary.token.expose();
    assert_eq!(go.expose(), format!("https://provider.example/authorize?lang=en&oauth_token={token}"));
    let verifier = read_callback(&format!("oauth_token={token}&oauth_verifier=v%2B1"), &temporary).unwrap();
    assert_eq!(verifier.expose(), "v+1");
    let wrong = read_callback("oauth_token=another&oauth_verifier=v", &temporary).err();
    assert_eq!(wrong, Some(OAuth1Error::WrongToken));
    let twice = format!("oauth_token={token}&oauth_token={token}&oauth_verifier=v");
    assert_eq!(read_callback(&twice, &temporary).err(), Some(OAuth1Error::WrongToken));
    assert_eq!(read_callback(&format!("denied={token}"), &temporary).err(), Some(OAuth1Error::Denied));

    let last = TokenRequest { url: &token_url, client: &client, temporary: &temporary, verifier: &verifier };
    let request = last.request(NOW, &Counting::new()).unwrap();
    let secret = temporary.secret.expose();
    let said = asked("token", &request, json!({"token_secret": secret, "verifier": "v+1"}));
    assert_eq!(said["ok"], true, "{said}");
    assert_eq!(asked("token", &request, json!({"token_secret": "another", "verifier": "v+1"}))["ok"], false);
    let credentials = last.read(&answer(200, said["body"].as_str().unwrap())).unwrap();
    assert!(!credentials.token.is_empty() && !credentials.secret.is_empty());
}

#[test]
fn answers_without_credentials_are_told_apart() {
    let url = Address::parse("https://provider.example/initiate").unwrap();
    let client = OAuth1::new("k", "s");
    let first = TemporaryCredentialsRequest { url: &url, client: &client, callback: "oob" };
    let read = |status, body: &str| first.read(&answer(status, body)).err().unwrap();
    assert_eq!(read(401, "oauth_problem=consumer_key_unknown"), OAuth1Error::Refused { status: 401 });
    assert_eq!(read(503, ""), OAuth1Error::Trouble { status: 503 });
    assert_eq!(read(200, "<html>"), OAuth1Error::NoCredentials { missing: "oauth_token" });
    assert_eq!(read(200, "oauth_token=t"), OAuth1Error::NoCredentials { missing: "oauth_token_secret" });
    assert_eq!(read(200, "oauth_token=t&oauth_token_secret=s"), OAuth1Error::NotConfirmed);
    let temporary = Credentials { token: "t".into(), secret: "s".into(), more: Vec::new() };
    let verifier = "v".into();
    let last = TokenRequest { url: &url, client: &client, temporary: &temporary, verifier: &verifier };
    let more = last.read(&answer(200, "oauth_token=t&oauth_token_secret=&user_id=7")).unwrap().more;
    assert_eq!(more, [("user_id".to_owned(), "7".to_owned())]);
}
