//! What a scheme adds replaces what the caller sent under that name; all else stays byte for byte.

use std::sync::Arc;

use http::Method;
use latchstring_model::SecretString;
use latchstring_model::address::Address;
use latchstring_schemes::api_key::ApiKey;
use latchstring_schemes::basic::Basic;
use latchstring_schemes::bearer::Bearer;
use latchstring_schemes::custom::{Custom, OwnBody};
use latchstring_schemes::oauth2::{Client, ClientAuth, ClientCredentials, Grant, Scope, TokenEndpoint};
use latchstring_schemes::scheme::OAuth2;
use latchstring_schemes::token::TokenSet;
use latchstring_schemes::{BodyNeed, Placement, Prepared, Scheme, SchemeError};

use crate::support::{NOW, Request, prepared, refused};

fn api_key(value: &str, place: Placement) -> Scheme {
    Scheme::ApiKey(ApiKey { value: value.into(), place })
}

fn query(name: &str) -> Placement {
    Placement::Query { name: name.to_owned() }
}

fn header(name: &str, prefix: &str) -> Placement {
    Placement::Header { name: name.to_owned(), prefix: prefix.to_owned() }
}

fn masks(scheme: &Prepared) -> Vec<String> {
    scheme.secrets_to_mask().iter().map(|secret| secret.expose().to_owned()).collect()
}

#[test]
fn none_adds_nothing() {
    let scheme = prepared(Scheme::None);
    let mut request = Request::get("https://h/p?a=1&a=%32").with("x-api-key", "own");
    request.sign(&scheme, None).unwrap();
    assert_eq!((request.target.as_str(), request.headers.len()), ("/p?a=1&a=%32", 1));
    assert!(masks(&scheme).is_empty() && !scheme.needs_token() && scheme.tls_identity().is_none());
}

#[test]
fn a_key_in_a_header() {
    let scheme = prepared(api_key("s3cret", header("X-API-Key", "")));
    let mut request =
        Request::get("https://h/").with("x-api-key", "a").with("x-api-key", "b").with("x-other", "c");
    request.sign(&scheme, None).unwrap();
    assert_eq!(request.header("X-Api-KEY"), "s3cret");
    assert!(request.headers["x-api-key"].is_sensitive(), "no log may print it");
    assert_eq!(request.header("x-other"), "c");
    assert_eq!(masks(&scheme), ["s3cret"]);

    for (prefix, wanted) in [
        ("Token", "Token k"),
        ("Token ", "Token k"),
        ("key=", "key=k"),
        ("Token token=", "Token token=k"),
        ("", "k"),
    ] {
        let mut request = Request::get("https://h/").with("authorization", "Bearer mine");
        request.sign(&prepared(api_key("k", header("Authorization", prefix))), None).unwrap();
        assert_eq!(request.header("authorization"), wanted);
    }
}

#[test]
fn a_key_in_the_query() {
    let scheme = prepared(api_key("a b&c=d/é", query("api key")));
    let mut request = Request::get("https://h/p");
    request.target = "/p%2f?x=%7e&api+key=1&y&api%20key=2&%61pi%20key=3&z=a+b".to_owned();
    request.sign(&scheme, None).unwrap();
    assert_eq!(request.target, "/p%2f?x=%7e&y&z=a+b&api%20key=a%20b%26c%3Dd%2F%C3%A9");
    request.sign(&scheme, None).unwrap();
    assert_eq!(request.target.matches("api%20key").count(), 1, "signing again does not pile up");
}

#[test]
fn a_key_in_a_cookie() {
    let scheme = prepared(api_key("v=1", Placement::Cookie { name: "sid".to_owned() }));
    let mut request =
        Request::get("https://h/").with("cookie", "a=1; sid=x;sid=y").with("cookie", "SID=z; sid; b=\"2\"");
    request.sign(&scheme, None).unwrap();
    assert_eq!(request.header("cookie"), "a=1; SID=z; b=\"2\"; sid=v=1");
    for wrong in ["a;b", "a b", "a\r\nb", "a\0"] {
        let place = Placement::Cookie { name: "sid".to_owned() };
        assert_eq!(refused(api_key(wrong, place)), SchemeError::CookieValue { field: "value".to_owned() });
    }
}

/// RFC 7617 section 2 (`Aladdin`) and section 2.1 (UTF-8).
#[test]
fn basic_as_the_rfc_has_it() {
    let basic = |username: &str, password: &str| {
        Scheme::Basic(Basic { username: username.into(), password: password.into() })
    };
    let sent = |username: &str, password: &str| {
        let mut request = Request::get("https://h/").with("authorization", "Bearer mine");
        request.sign(&prepared(basic(username, password)), None).unwrap();
        request.header("authorization").to_owned()
    };
    assert_eq!(sent("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(sent("test", "123\u{a3}"), "Basic dGVzdDoxMjPCow==");
    assert_eq!(sent("key", ""), "Basic a2V5Og==");
    assert_eq!(masks(&prepared(basic("u", "pass"))), ["dTpwYXNz", "pass"]);
    assert_eq!(masks(&prepared(basic("key", ""))), ["a2V5Og==", "key"]);
    assert_eq!(refused(basic("a:b", "c")), SchemeError::UserNameColon);
    assert_eq!(refused(basic("a", "c\n")), SchemeError::ControlCharacter { field: "password" });
    assert_eq!(refused(basic("", "")), SchemeError::Missing { field: "username" });
}

#[test]
fn bearer_and_what_is_pasted_along() {
    let bearer = |token: &str| Scheme::Bearer(Bearer { token: token.into() });
    let mut request = Request::get("https://h/").with("authorization", "Basic mine");
    request.sign(&prepared(bearer("tok")), None).unwrap();
    assert_eq!(request.header("authorization"), "Bearer tok");
    assert_eq!(refused(bearer("")), SchemeError::Missing { field: "token" });
    assert!(matches!(refused(bearer("bearer x")), SchemeError::PrefixTwice { .. }));
    for wrong in ["a\nb", "a\r\nX-Evil: 1", "a\0b", "q7\n"] {
        let error = refused(bearer(wrong));
        assert_eq!(error, SchemeError::HeaderValue { field: "token".to_owned() });
        assert!(!error.to_string().contains(wrong.trim()), "the value is not quoted");
    }
}

#[test]
fn headers_of_the_connection_are_not_for_credentials() {
    for name in ["Host", "content-length", "Transfer-Encoding", "connection", "te", "Upgrade"] {
        assert!(
            matches!(refused(api_key("v", header(name, ""))), SchemeError::ReservedHeader { .. }),
            "{name}"
        );
    }
    for name in ["", "a b", "x:", "x\n", "é"] {
        let wanted = SchemeError::HeaderName { field: "key".to_owned() };
        // Blanks and line ends around a name are what copying leaves.
        if !name.trim().is_empty() && name.trim() != name {
            continue;
        }
        assert_eq!(refused(api_key("v", header(name, ""))), wanted, "{name:?}");
    }
}

#[test]
fn custom_replaces_all_of_a_name_with_all_of_its_own() {
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, SecretString)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
    };
    let scheme = prepared(Scheme::Custom(Custom {
        headers: pairs(&[("X-A", "Token one"), ("x-a", "two"), ("X-B", "three")]),
        query: pairs(&[("q", "1"), ("q", "2")]),
        cookies: pairs(&[("s", "c1"), ("t", "c2")]),
        body: Some(OwnBody {
            methods: vec![],
            content_type: "application/json".to_owned(),
            bytes: b"{\"key\":\"k\"}".to_vec().into(),
        }),
    }));
    let mut request =
        Request::get("https://h/?q=9&z=1").with("x-a", "mine").with("x-c", "kept").with("cookie", "s=0; u=1");
    request.sign(&scheme, None).unwrap();
    let values: Vec<&str> =
        request.headers.get_all("x-a").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(values, ["Token one", "two"]);
    assert_eq!((request.header("x-b"), request.header("x-c")), ("three", "kept"));
    assert_eq!(request.target, "/?z=1&q=1&q=2");
    assert_eq!(request.header("cookie"), "u=1; s=c1; t=c2");
    assert_eq!(masks(&scheme), ["one", "two", "three", "1", "2", "c1", "c2", "{\"key\":\"k\"}"]);
    let body = scheme.own_body().unwrap();
    assert!(body.goes_with(&Method::POST) && !body.goes_with(&Method::GET));
}

fn grant() -> Grant {
    Grant::ClientCredentials(Box::new(ClientCredentials {
        endpoint: TokenEndpoint::new(Address::parse("https://h/token").unwrap()),
        client: Client::new("id", ClientAuth::Post { secret: "client-secret".into() }),
        scope: Scope::default(),
    }))
}

#[test]
fn a_token_of_a_grant() {
    let scheme = prepared(Scheme::from(grant()));
    assert!(scheme.needs_token() && scheme.grant().is_some());
    assert_eq!(masks(&scheme), ["client-secret"]);
    let mut token = TokenSet::new("at", NOW);
    token.named.insert("user".to_owned(), TokenSet::new("ut", NOW));
    let mut request = Request::get("https://h/").with("authorization", "Basic mine");
    assert_eq!(request.sign(&scheme, None).err(), Some(SchemeError::TokenMissing));
    request.sign_with(&scheme, None, Some(&token)).unwrap();
    assert_eq!(request.header("authorization"), "Bearer at");
    assert!(request.headers["authorization"].is_sensitive());

    let named = |name: &str| {
        let place = Some(header("X-Token", ""));
        prepared(Scheme::OAuth2(OAuth2 { grant: grant(), place, token_name: Some(name.to_owned()) }))
    };
    let mut request = Request::get("https://h/");
    request.sign_with(&named("user"), None, Some(&token)).unwrap();
    assert_eq!(request.header("x-token"), "ut");
    assert_eq!(request.sign_with(&named("bot"), None, Some(&token)).err(), Some(SchemeError::TokenMissing));
    let broken = TokenSet::new("a\nb", NOW);
    assert_eq!(request.sign_with(&scheme, None, Some(&broken)).err(), Some(SchemeError::BadToken));
}

/// One prepared scheme serves all threads.
#[test]
fn prepared_schemes_are_shared() {
    fn shareable<T: Send + Sync + 'static>(_: &T) {}
    let scheme = Arc::new(prepared(api_key("v", query("k"))));
    shareable(&scheme);
    let mut request = Request::get("https://h/");
    assert_eq!(scheme.body_need(&request.outgoing()), BodyNeed::None);
    assert!(!scheme.challenge(401, &http::HeaderMap::new()));
}

fn signing_schemes() -> Vec<Scheme> {
    use latchstring_schemes::aws_sigv4::AwsSigV4;
    use latchstring_schemes::encoding::{KeyEncoding, OutputEncoding};
    use latchstring_schemes::hmac::{Field, Hmac, HmacAlgorithm, NonceFormat, TimestampFormat};
    let aws = |service: &str| {
        Scheme::AwsSigV4(AwsSigV4 {
            access_key_id: "a".to_owned(),
            secret_access_key: "s".into(),
            session_token: None,
            region: "r".to_owned(),
            service: service.to_owned(),
        })
    };
    let sign = "{target}{path}{query}{query_sorted}{query_lines}{headers:x}{header:x-a}{url}{body}";
    let hmac = Scheme::Hmac(Hmac {
        algorithm: HmacAlgorithm::Sha512,
        secret: "s".into(),
        secret_encoding: KeyEncoding::Raw,
        key_id: String::new(),
        sign: vec![sign.to_owned()],
        separator: String::new(),
        output: OutputEncoding::Base64,
        place: Field::Query { name: "sig".to_owned(), value: "{signature}".to_owned() },
        additions: vec![Field::Query { name: "t".to_owned(), value: "{timestamp}".to_owned() }],
        timestamp: TimestampFormat::Ms,
        nonce: NonceFormat::Uuid,
    });
    vec![aws("s3"), aws("sqs"), hmac, api_key("v", query("k"))]
}

proptest::proptest! {
    /// Whatever a target and a header hold: a signature, or a typed error; and signing twice is signing once.
    #[test]
    fn no_target_breaks_a_signature(target in "\\PC{0,40}", header in "[ -~]{0,20}", body in "\\PC{0,20}") {
        for scheme in signing_schemes() {
            let scheme = prepared(scheme);
            let mut request = Request::get("https://h/").with("x-a", header.trim());
            request.target = target.clone();
            // Replacing a parameter may drop an empty pair beside it, which is then signed without it.
            if target.split_once('?').is_some_and(|(_, query)| query.split('&').any(str::is_empty)) {
                continue;
            }
            if request.sign(&scheme, Some(body.as_bytes())).is_ok() {
                let (target, headers) = (request.target.clone(), request.headers.clone());
                request.sign(&scheme, Some(body.as_bytes())).unwrap();
                proptest::prop_assert_eq!(&request.target, &target);
                proptest::prop_assert_eq!(&request.headers, &headers);
            }
        }
    }

    /// However a caller spells the parameter, one value arrives, and it is ours; nothing else moves.
    #[test]
    fn no_spelling_of_a_parameter_survives(
        parts in proptest::collection::vec(("[a-z]{1,3}", "[ -%'-~]{0,4}"), 0..6),
        spelt in proptest::collection::vec(proptest::bool::ANY, 3),
        at in 0usize..6,
    ) {
        let mut pairs: Vec<String> = parts
            .iter()
            .filter(|(name, _)| name != "key")
            .map(|(name, value)| format!("{name}={}", value.replace(['#', '&'], "")))
            .collect();
        let others = pairs.clone();
        let name: String =
            "key".bytes().zip(&spelt).map(|(b, hex)| if *hex { format!("%{b:02X}") } else { char::from(b).into() }).collect();
        pairs.insert(at.min(pairs.len()), format!("{name}=evil"));
        let mut request = Request::get("https://h/");
        request.target = format!("/p?{}", pairs.join("&"));
        request.sign(&prepared(api_key("good", query("key"))), None).unwrap();
        let mut wanted = others;
        wanted.push("key=good".to_owned());
        proptest::prop_assert_eq!(&request.target, &format!("/p?{}", wanted.join("&")));
    }
}
