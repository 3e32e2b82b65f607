//! A fresh JWT on every request.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchstring_schemes::jws::{Algorithm, JwsError, KeyEncoding, KeyError};
use latchstring_schemes::jwt::{Jwt, JwtKey};
use latchstring_schemes::{BodyNeed, Placement, Prepared, Scheme, SchemeError};
use serde_json::{Map, Value, json};

use crate::support::{Counting, NOW, Request, key_file, prepared, refused};

fn text(key: &str) -> JwtKey {
    JwtKey { key: key.into(), passphrase: None, encoding: KeyEncoding::Raw }
}

fn hs256(claims: Value) -> Jwt {
    let mut jwt = Jwt::new(text("secret"));
    jwt.algorithm = Algorithm::Hs256;
    jwt.claims = claims.as_object().unwrap().clone();
    jwt
}

fn part(token: &str, index: usize) -> Map<String, Value> {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn token(scheme: &Prepared, entropy: &Counting) -> String {
    let mut request = Request::get("https://h/").with("authorization", "Basic mine");
    let mask = scheme.sign(&mut request.outgoing(), None, None, NOW, entropy).unwrap().unwrap();
    let token = request.header("authorization").strip_prefix("Bearer ").unwrap().to_owned();
    assert_eq!(mask.expose(), token, "what was sent is masked");
    token
}

#[test]
fn defaults_are_set_and_differ_from_request_to_request() {
    let mut jwt = Jwt::new(text(&key_file("rsa2048.pkcs8.pem")));
    jwt.claims = json!({"iss": "me", "aud": ["a"]}).as_object().unwrap().clone();
    jwt.headers = json!({"kid": "k"}).as_object().unwrap().clone();
    let scheme = prepared(Scheme::Jwt(jwt));
    let entropy = Counting::new();
    let (first, second) = (token(&scheme, &entropy), token(&scheme, &entropy));
    assert_eq!(Value::Object(part(&first, 0)), json!({"alg": "RS256", "kid": "k", "typ": "JWT"}));
    let claims = part(&first, 1);
    assert_eq!(claims["iat"], NOW.secs());
    assert_eq!(claims["exp"], NOW.secs() + 180);
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("me"), &json!(["a"])));
    assert_eq!(claims["jti"].as_str().unwrap().len(), 22);
    assert_ne!(claims["jti"], part(&second, 1)["jti"], "never the same token twice");
    assert_eq!(claims.len(), 5, "and nothing else");
}

#[test]
fn given_claims_win_and_null_leaves_one_out() {
    let scheme =
        prepared(Scheme::Jwt(hs256(json!({"exp": "1700000600", "iat": null, "jti": null, "sub": "x"}))));
    assert_eq!(
        Value::Object(part(&token(&scheme, &Counting::new()), 1)),
        json!({"exp": 1_700_000_600, "sub": "x"})
    );
    let scheme = prepared(Scheme::Jwt(hs256(json!({"iat": null, "exp": null, "jti": null}))));
    assert_eq!(part(&token(&scheme, &Counting::new()), 1).len(), 0);
    let mut backdated = hs256(json!({"jti": null}));
    backdated.backdate_secs = 60;
    backdated.lifetime_secs = 540;
    let claims = part(&token(&prepared(Scheme::Jwt(backdated)), &Counting::new()), 1);
    assert_eq!(Value::Object(claims), json!({"iat": NOW.secs() - 60, "exp": NOW.secs() + 540}));
    assert_eq!(
        refused(Scheme::Jwt(hs256(json!({"exp": "tomorrow"})))),
        SchemeError::Jws(JwsError::TimeClaim("exp"))
    );
    let mut endless = hs256(json!({}));
    endless.lifetime_secs = 0;
    assert!(matches!(refused(Scheme::Jwt(endless)), SchemeError::Range { field: "lifetime_secs", .. }));
}

#[test]
fn it_goes_where_the_api_wants_it() {
    let mut jwt = hs256(json!({}));
    jwt.place = Placement::Header { name: "Authorization".into(), prefix: "Ghost".into() };
    let mut request = Request::get("https://h/?jwt=mine");
    request.sign(&prepared(Scheme::Jwt(jwt)), None).unwrap();
    assert!(request.header("authorization").starts_with("Ghost eyJ"));
    let mut jwt = hs256(json!({}));
    jwt.place = Placement::Query { name: "jwt".into() };
    let scheme = prepared(Scheme::Jwt(jwt));
    let mask = request.sign(&scheme, None).unwrap().unwrap();
    assert_eq!(request.target, format!("/?jwt={}", mask.expose()));
    assert_eq!(scheme.body_need(&request.outgoing()), BodyNeed::None);
}

#[test]
fn the_key_is_checked_when_prepared() {
    let mut jwt = Jwt::new(text(&key_file("p256.pkcs8.pem")));
    let error = refused(Scheme::Jwt(Jwt { algorithm: Algorithm::Es384, ..jwt }));
    assert!(error.to_string().starts_with("`private_key`: The algorithm ES384 does not fit"), "{error}");
    jwt = Jwt::new(text(""));
    assert_eq!(refused(Scheme::Jwt(jwt)), SchemeError::Key { field: "private_key", source: KeyError::Empty });
    let mut hex = hs256(json!({}));
    hex.key = JwtKey { key: "zz".into(), passphrase: None, encoding: KeyEncoding::Hex };
    let source = KeyError::SecretEncoding { encoding: "hex" };
    assert_eq!(refused(Scheme::Jwt(hex)), SchemeError::Key { field: "private_key", source });
}
