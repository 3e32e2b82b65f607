//! OAuth 1.0a: judged by `oauthlib`, which shares no code with us.

use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use latchstring_model::SecretString;
use latchstring_model::address::Address;
use latchstring_schemes::jws::{Algorithm, SigningKey};
use latchstring_schemes::oauth1::{
    Credentials, OAuth1, OAuth1Error, SignatureMethod, ThreeLegged, callback_token, read_callback,
};
use latchstring_schemes::oauth2::Scope;
use latchstring_schemes::token::TokenSet;
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

fn three_legged(client: OAuth1, callback: &str) -> ThreeLegged {
    let url = |path: &str| Address::parse(&format!("https://provider.example{path}")).unwrap();
    ThreeLegged {
        client: OAuth1 { token: None, token_secret: SecretString::default(), ..client },
        request_token_url: url("/initiate?x=1"),
        authorize_url: url("/authorize?lang=en"),
        token_url: url("/token"),
        authorize_params: vec![("perms".into(), "a b".into()), ("oauth_token".into(), "mine".into())],
        scope: Scope { scopes: vec!["read".into(), "write".into()], separator: Some(",".into()) },
        callback: callback.to_owned(),
        grant_ttl: Some(60),
    }
}

/// The whole way of section 2 with a provider made of `oauthlib`.
#[test]
fn a_person_consents() {
    let callback = "https://latchstring.example/oauth/callback/oac_1?a=b&c";
    let scheme = three_legged(person(SignatureMethod::HmacSha1), callback);
    let request = scheme.temporary_request(NOW, &Counting::new()).unwrap();
    let said = asked("temporary", &request, json!({"callback": callback}));
    assert_eq!(said["ok"], true, "{said}");
    assert_eq!(asked("temporary", &request, json!({"callback": "https://elsewhere.example"}))["ok"], false);
    let temporary = scheme.read_temporary(&answer(200, said["body"].as_str().unwrap())).unwrap();
    let temporary = Credentials::from_text(&temporary.to_text()).unwrap();

    let token = temporary.token.expose();
    let go = scheme.authorize_url(&temporary);
    assert_eq!(
        go.expose(),
        format!(
            "https://provider.example/authorize?lang=en&scope=read%2Cwrite&perms=a%20b&oauth_token={token}"
        )
    );
    let back = format!("oauth_token={token}&oauth_verifier=v%2B1");
    assert_eq!(callback_token(&back).unwrap().expose(), token);
    let verifier = read_callback(&back, &temporary).unwrap();
    assert_eq!(verifier.expose(), "v+1");
    let wrong = read_callback("oauth_token=another&oauth_verifier=v", &temporary).err();
    assert_eq!(wrong, Some(OAuth1Error::WrongToken));
    let twice = format!("oauth_token={token}&oauth_token={token}&oauth_verifier=v");
    assert_eq!(read_callback(&twice, &temporary).err(), Some(OAuth1Error::WrongToken));
    for doubled in [twice.as_str(), "oauth_token=&oauth_verifier=v", "oauth_verifier=v", ""] {
        assert!(callback_token(doubled).is_none(), "{doubled}");
    }
    for denied in [format!("denied={token}"), format!("oauth_token={token}&oauth_problem=permission_denied")]
    {
        assert_eq!(callback_token(&denied).unwrap().expose(), token);
        assert_eq!(read_callback(&denied, &temporary).err(), Some(OAuth1Error::Denied));
    }

    let request = scheme.token_request(&temporary, &verifier, NOW, &Counting::new()).unwrap();
    let secret = temporary.secret.expose();
    let said = asked("token", &request, json!({"token_secret": secret, "verifier": "v+1"}));
    assert_eq!(said["ok"], true, "{said}");
    assert_eq!(asked("token", &request, json!({"token_secret": "another", "verifier": "v+1"}))["ok"], false);
    let set = scheme.read_token(&answer(200, said["body"].as_str().unwrap()), NOW).unwrap();
    assert!(
        !set.access_token.is_empty() && set.token_secret.as_ref().is_some_and(|secret| !secret.is_empty())
    );
    assert_eq!((set.expires_at, set.grant_expires_at), (None, Some(NOW.plus_secs(60))));

    // What was sealed signs calls, in each of the ways.
    let set = TokenSet::from_bytes(&set.to_bytes()).unwrap();
    for method in SignatureMethod::ALL.iter().copied() {
        let scheme = prepared(Scheme::ThreeLegged(Box::new(three_legged(person(method), callback))));
        assert!(scheme.needs_token() && !scheme.renews());
        let mut request = Request::new(Method::GET, "https://api.example.com/photos?size=original");
        assert_eq!(request.sign(&scheme, None).err(), Some(SchemeError::TokenMissing));
        request.sign_with(&scheme, None, Some(&set)).unwrap();
        let mut question = question(&request, "");
        question["token_secret"] = set.token_secret.as_ref().unwrap().expose().into();
        let said = oauthlib(&[question.clone()]).remove(0);
        assert_eq!(said["ok"], true, "{}: {question} {said}", method.as_str());
        if method != SignatureMethod::RsaSha256 {
            question["token_secret"] = "another".into();
            assert_eq!(oauthlib(&[question]).remove(0)["ok"], false, "{}", method.as_str());
        }
    }
}

#[test]
fn answers_without_credentials_are_told_apart() {
    let scheme = three_legged(OAuth1::new("k", "s"), "oob");
    let read = |status, body: &str| scheme.read_temporary(&answer(status, body)).err().unwrap();
    let refused = |word: Option<&str>| OAuth1Error::Refused { status: 401, word: word.map(str::to_owned) };
    assert_eq!(read(401, "oauth_problem=consumer_key_unknown"), refused(Some("consumer_key_unknown")));
    assert_eq!(read(401, "error=invalid_client&x=y"), refused(Some("invalid_client")));
    assert_eq!(read(401, "oauth_problem=s3cret%20Text"), refused(None), "only a plain word is shown");
    assert_eq!(read(401, "no"), refused(None));
    let mut headed = answer(401, "<html>");
    let line = "OAuth realm=\"x\", oauth_problem=\"timestamp_refused\", oauth_acceptable=\"1-2\"";
    headed.headers.insert("www-authenticate", line.parse().unwrap());
    let error = scheme.read_temporary(&headed).err().unwrap();
    assert_eq!(error, refused(Some("timestamp_refused")));
    assert!(error.hint().contains("clock"), "{}", error.hint());
    assert_eq!(read(503, ""), OAuth1Error::Trouble { status: 503 });
    assert_eq!(read(200, "<html>"), OAuth1Error::NoCredentials { missing: "oauth_token" });
    assert_eq!(read(200, "oauth_token=t"), OAuth1Error::NoCredentials { missing: "oauth_token_secret" });
    assert_eq!(read(200, "oauth_token=t&oauth_token_secret=s"), OAuth1Error::NotConfirmed);
    let set = scheme.read_token(&answer(200, "oauth_token=t&oauth_token_secret=&user_id=7"), NOW).unwrap();
    assert_eq!(set.metadata.expose()["user_id"], "7");
}

/// A key that the OAuth client brings along, instead of one in the values.
#[test]
fn the_applications_own_key_signs() {
    let with = |algorithm: Algorithm, file: &str| {
        let mut client = person(SignatureMethod::RsaSha256);
        client.private_key = None;
        let key = SigningKey::parse(algorithm, &key_file(file).into(), None).unwrap();
        client.signing_key = Some(std::sync::Arc::new(key));
        Scheme::OAuth1(Box::new(client))
    };
    let mut request = Request::new(Method::GET, "https://api.example.com/x");
    request.sign(&prepared(with(Algorithm::Rs256, "rsa2048.pkcs8.pem")), None).unwrap();
    assert_eq!(oauthlib(&[question(&request, "")]).remove(0)["ok"], true);
    assert!(
        matches!(refused(with(Algorithm::Ps256, "rsa2048.pkcs8.pem")), SchemeError::OAuth(text) if text.contains("PS256"))
    );
}
