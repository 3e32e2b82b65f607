//! DPoP (RFC 9449): proofs judged by `jose`.

use http::header::HeaderMap;
use latchstring_model::address::Address;
use latchstring_schemes::Scheme;
use latchstring_schemes::dpop::DpopKey;
use latchstring_schemes::oauth2::{
    AuthorizationCode, Client, ClientAuth, ClientCredentials, Grant, PkceVerifier, Refresh, Scope,
    TokenEndpoint,
};
use latchstring_schemes::scheme::Prepared;
use latchstring_schemes::token::TokenSet;
use latchstring_schemes::wire::WireAnswer;
use latchstring_testkit::jwt::dpop;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::support::{Counting, NOW, Request, key_file, prepared};

const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";

fn endpoint() -> TokenEndpoint {
    let mut endpoint = TokenEndpoint::new(Address::parse("https://server.example.com/token?x=1").unwrap());
    endpoint.dpop = Some(Arc::new(DpopKey::parse(&key_file("p256.sec1.pem").into(), None).ok().unwrap()));
    endpoint
}

fn grant() -> Grant {
    Grant::ClientCredentials(Box::new(ClientCredentials {
        endpoint: endpoint(),
        client: Client::new("c", ClientAuth::None),
        scope: Scope::default(),
    }))
}

fn bound(word: &str) -> TokenSet {
    let mut token = TokenSet::new(TOKEN, NOW);
    token.token_type = Some(word.into());
    token
}

fn answer(status: u16, nonce: &str, body: &Value) -> WireAnswer {
    let mut headers = HeaderMap::new();
    headers.insert("dpop-nonce", nonce.parse().unwrap());
    WireAnswer { status, headers, body: body.to_string().into(), truncated: false }
}

fn claims(proof: &str) -> Value {
    dpop(&[proof.to_owned()]).remove(0).unwrap_or_else(|error| panic!("{error}: {proof}"))
}

#[test]
fn a_token_request_proves_the_key() {
    let grant = grant();
    let entropy = Counting::new();
    let first = grant.token_request(None, NOW, &entropy).unwrap();
    let read = claims(first.headers["dpop"].to_str().unwrap());
    assert_eq!(read["header"]["alg"], "ES256");
    assert!(read["header"]["jwk"].get("d").is_none(), "never the private half");
    let wanted = json!({"htm": "POST", "htu": "https://server.example.com/token", "iat": 1_700_000_000});
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(&read["claims"][name], value);
    }
    assert!(read["claims"].get("ath").is_none() && read["claims"].get("nonce").is_none());
    assert_eq!(read["thumbprint"], grant.dpop().unwrap().thumbprint());

    let wants = json!({"error": "use_dpop_nonce", "error_description": "…"});
    assert!(grant.learn_nonce(&answer(400, "n-1", &wants)), "asked once more");
    assert!(!grant.learn_nonce(&answer(400, "n-1", &wants)), "but not for ever");
    assert!(!grant.learn_nonce(&answer(400, "n-2", &json!({"error": "invalid_grant"}))), "another refusal");
    assert!(!grant.learn_nonce(&answer(200, "n-3", &json!({"access_token": "t"}))));
    let second = grant.token_request(None, NOW, &entropy).unwrap();
    let again = claims(second.headers["dpop"].to_str().unwrap());
    assert_eq!(again["claims"]["nonce"], "n-3", "the last one that came, with whatever answer");
    assert_ne!(again["claims"]["jti"], read["claims"]["jti"]);
}

#[test]
fn a_call_proves_key_and_token() {
    let scheme: Prepared = prepared(Scheme::from(grant()));
    assert!(scheme.learns());
    let mut request = Request::get("https://api.example.com/a/b%20c?q=1")
        .with("dpop", "forged")
        .with("dpop", "twice")
        .with("authorization", "Bearer mine");
    let fresh = request.sign_with(&scheme, None, Some(&bound("dpop"))).unwrap().unwrap();
    assert_eq!(request.header("authorization"), format!("DPoP {TOKEN}"));
    assert_eq!(request.header("dpop"), fresh.expose(), "one proof, and it is masked");
    let read = claims(request.header("dpop"));
    assert_eq!(read["claims"]["htu"], "https://api.example.com/a/b%20c");
    assert_eq!(read["claims"]["htm"], "GET");
    // RFC 9449 section 7.1 has this token's hash.
    assert_eq!(read["claims"]["ath"], "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");

    let mut headers = HeaderMap::new();
    headers.insert("dpop-nonce", "r-1".parse().unwrap());
    assert!(!scheme.challenge(200, &headers));
    headers.insert("dpop-nonce", "r-2".parse().unwrap());
    assert!(!scheme.challenge(401, &headers), "an expired token is renewed, not proven again");
    headers.insert("www-authenticate", "DPoP error=\"use_dpop_nonce\"".parse().unwrap());
    headers.insert("dpop-nonce", "r-3".parse().unwrap());
    assert!(scheme.challenge(401, &headers));
    assert!(!scheme.challenge(401, &headers), "the same nonce again helps nobody");
    let mut request = Request::get("https://api.example.com/");
    request.sign_with(&scheme, None, Some(&bound("DPoP"))).unwrap();
    assert_eq!(claims(request.header("dpop"))["claims"]["nonce"], "r-3");
}

#[test]
fn a_server_that_does_not_bind_gets_a_bearer_token() {
    let scheme = prepared(Scheme::from(grant()));
    let mut request = Request::get("https://api.example.com/");
    assert!(request.sign_with(&scheme, None, Some(&bound("Bearer"))).unwrap().is_none());
    assert_eq!(request.header("authorization"), format!("Bearer {TOKEN}"));
    assert!(!request.headers.contains_key("dpop"));
}

#[test]
fn a_made_key_is_good_and_its_code_is_bound() {
    let pem = DpopKey::generate(&Counting::new()).unwrap();
    let key = DpopKey::parse(&pem, None).unwrap_or_else(|error| panic!("{error}"));
    let thumbprint = key.thumbprint();
    let mut endpoint = endpoint();
    endpoint.dpop = Some(Arc::new(key));
    let grant = AuthorizationCode {
        authorize_url: Address::parse("https://server.example.com/auth").unwrap(),
        endpoint,
        client: Client::new("c", ClientAuth::None),
        redirect_uri: "https://latchstring.example/cb".into(),
        scope: Scope::default(),
        pkce: true,
        authorize_params: Vec::new(),
        refresh: Refresh::default(),
    };
    let verifier = PkceVerifier::new(&Counting::new());
    let url = grant.authorize_url(&"state".into(), &verifier);
    assert!(url.expose().contains(&format!("dpop_jkt={thumbprint}")), "{}", url.expose());
    let request = grant.code_request(&"code".into(), &verifier, NOW, &Counting::new()).unwrap();
    assert_eq!(claims(request.headers["dpop"].to_str().unwrap())["thumbprint"], thumbprint);
}
