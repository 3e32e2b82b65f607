//! What is sent to token endpoints, byte for byte, and what comes back through the browser.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderMap;
use latchstring_model::address::Address;
use latchstring_model::{Code, Entropy, SecretString, Timestamp};
use latchstring_schemes::jws::{Algorithm, SigningKey};
use latchstring_schemes::oauth2::*;
use latchstring_schemes::token::TokenSet;
use latchstring_schemes::wire::{WireAnswer, WireRequest};
use serde_json::{Map, Value, json};

use crate::refresh_sim::Rng;

const NOW: Timestamp = Timestamp(1_700_000_000_123);

struct Same;
impl Entropy for Same {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn endpoint() -> TokenEndpoint {
    TokenEndpoint::new(Address::parse("https://id.example.com/token").unwrap())
}

fn body(request: &WireRequest) -> &str {
    std::str::from_utf8(request.body.expose()).unwrap()
}

fn header<'r>(request: &'r WireRequest, name: &str) -> &'r str {
    request.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn credentials(auth: ClientAuth) -> ClientCredentials {
    ClientCredentials {
        endpoint: endpoint(),
        client: Client::new("my client:1", auth),
        scope: Scope::new(["read", "write"]),
    }
}

fn basic(raw: bool) -> ClientAuth {
    ClientAuth::Basic { secret: "s+e/c r%t".into(), raw }
}

fn decoded(text: &str) -> String {
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(text.strip_prefix("Basic ").unwrap()).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn client_credentials_with_basic_are_form_encoded_first() {
    let request = credentials(basic(false)).token_request(NOW, &Same).unwrap();
    assert_eq!(request.method, "POST");
    assert_eq!(request.address.to_string(), "https://id.example.com/token");
    assert_eq!(header(&request, "content-type"), "application/x-www-form-urlencoded");
    assert_eq!(header(&request, "accept"), "application/json");
    assert_eq!(decoded(header(&request, "authorization")), "my+client%3A1:s%2Be%2Fc+r%25t");
    assert!(request.headers["authorization"].is_sensitive());
    assert_eq!(body(&request), "grant_type=client_credentials&scope=read+write");
    let raw = credentials(basic(true)).token_request(NOW, &Same).unwrap();
    assert_eq!(decoded(header(&raw, "authorization")), "my client:1:s+e/c r%t");
}

#[test]
fn client_credentials_with_post_none_and_silent() {
    let post = credentials(ClientAuth::Post { secret: "s&t".into() }).token_request(NOW, &Same).unwrap();
    assert_eq!(header(&post, "authorization"), "");
    assert_eq!(
        body(&post),
        "grant_type=client_credentials&scope=read+write&client_id=my+client%3A1&client_secret=s%26t"
    );
    let none = credentials(ClientAuth::None).token_request(NOW, &Same).unwrap();
    assert!(body(&none).ends_with("&client_id=my+client%3A1"));
    let silent = credentials(ClientAuth::Silent).token_request(NOW, &Same).unwrap();
    assert!(!body(&silent).contains("client_id"));
}

#[test]
fn json_query_and_get_carry_the_same_parameters() {
    let mut grant = credentials(ClientAuth::Post { secret: "s".into() });
    grant.endpoint.body = BodyForm::Json;
    grant.endpoint.resource = vec!["https://a.example".into(), "https://b.example".into()];
    let request = grant.token_request(NOW, &Same).unwrap();
    assert_eq!(header(&request, "content-type"), "application/json");
    let sent: Value = serde_json::from_str(body(&request)).unwrap();
    assert_eq!(
        sent,
        json!({"grant_type": "client_credentials", "scope": "read write", "client_id": "my client:1",
               "client_secret": "s", "resource": ["https://a.example", "https://b.example"]})
    );
    grant.endpoint.url = Address::parse("https://id.example.com/token?v=2").unwrap();
    grant.endpoint.resource.clear();
    for (method, form) in [(TokenMethod::Get, BodyForm::Form), (TokenMethod::Post, BodyForm::Query)] {
        grant.endpoint.method = method;
        grant.endpoint.body = form;
        let request = grant.token_request(NOW, &Same).unwrap();
        assert!(request.body.is_empty());
        assert_eq!(header(&request, "content-type"), "");
        assert_eq!(
            request.address.query.as_deref(),
            Some(
                "v=2&grant_type=client_credentials&scope=read+write&client_id=my+client%3A1&client_secret=s"
            )
        );
    }
}

#[test]
fn connectors_add_replace_rename_and_leave_out() {
    let mut grant = credentials(ClientAuth::Post { secret: "s".into() });
    grant.scope.separator = Some(",".into());
    grant.endpoint.params = vec![
        ("audience".into(), "https://api.example".into()),
        ("grant_type".into(), "account_credentials".into()),
    ];
    grant.endpoint.renames.insert("client_id".into(), "app_id".into());
    grant.endpoint.renames.insert("client_secret".into(), String::new());
    grant.endpoint.headers = vec![
        (http::HeaderName::from_static("x-version"), "2".into()),
        (http::header::ACCEPT, "application/vnd.example+json".into()),
    ];
    let request = grant.token_request(NOW, &Same).unwrap();
    assert_eq!(
        body(&request),
        "scope=read%2Cwrite&app_id=my+client%3A1&audience=https%3A%2F%2Fapi.example&grant_type=account_credentials"
    );
    assert_eq!(header(&request, "x-version"), "2");
    assert_eq!(header(&request, "accept"), "application/vnd.example+json");
}

#[test]
fn a_line_break_in_a_header_is_refused_without_its_text() {
    let mut grant = credentials(ClientAuth::None);
    grant.endpoint.headers = vec![(http::HeaderName::from_static("x-key"), "s3cret\n".into())];
    let error = grant.token_request(NOW, &Same).err().unwrap();
    assert_eq!(error.class, ErrorClass::NotSent);
    assert!(error.to_string().contains("x-key") && !error.to_string().contains("s3cret"), "{error}");
}

fn signing_key() -> Arc<SigningKey> {
    Arc::new(
        SigningKey::parse(Algorithm::Hs256, &"a secret of enough length, 32 bytes".into(), None).unwrap(),
    )
}

fn claims(jwt: &str) -> (Value, Value) {
    let part = |at: usize| {
        let text = jwt.split('.').nth(at).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
    };
    (part(0), part(1))
}

fn parameter(request: &WireRequest, name: &str) -> String {
    let pair = body(request).split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    percent_encoding::percent_decode_str(pair.unwrap_or_default()).decode_utf8().unwrap().into_owned()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn jwt_bearer() -> JwtBearer {
    JwtBearer {
        endpoint: endpoint(),
        client: None,
        key: signing_key(),
        issuer: "3MVG9".into(),
        subject: Some("user@example.com".into()),
        audience: vec!["https://login.example.com".into()],
        claims: Map::new(),
        headers: Map::new(),
        assertion_life_secs: ASSERTION_LIFE_SECS,
        scope: Scope::default(),
    }
}

#[test]
fn a_jwt_bearer_assertion_is_short_lived_and_never_the_same() {
    let grant = jwt_bearer();
    let entropy = Rng::new(1);
    let request = grant.token_request(NOW, &entropy).unwrap();
    assert!(
        body(&request)
            .starts_with("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=")
    );
    let (header, first) = claims(&parameter(&request, "assertion"));
    assert_eq!(header, json!({"alg": "HS256", "typ": "JWT"}));
    assert_eq!(first["iss"], "3MVG9");
    assert_eq!(first["sub"], "user@example.com");
    assert_eq!(first["aud"], "https://login.example.com");
    assert_eq!(first["iat"], 1_700_000_000);
    assert_eq!(first["exp"], 1_700_000_180);
    let (_, second) = claims(&parameter(&grant.token_request(NOW, &entropy).unwrap(), "assertion"));
    assert_ne!(first["jti"], second["jti"]);
    assert!(first["jti"].as_str().unwrap().len() >= 22);
}

#[test]
fn claims_and_headers_are_the_connectors_to_set() {
    let mut grant = jwt_bearer();
    grant.audience = vec!["a".into(), "b".into()];
    grant.subject = None;
    grant.claims = object(json!({"scope": "x y", "exp": " 1700003600 ", "jti": null}));
    grant.headers = object(json!({"kid": "k1", "typ": null}));
    grant.client = Some(Client::new("cid", ClientAuth::Post { secret: "cs".into() }));
    let request = grant.token_request(NOW, &Same).unwrap();
    let (header, claims) = claims(&parameter(&request, "assertion"));
    assert_eq!(header, json!({"alg": "HS256", "kid": "k1"}));
    assert_eq!(
        claims,
        json!({"iss": "3MVG9", "aud": ["a", "b"], "iat": 1_700_000_000, "exp": 1_700_003_600, "scope": "x y"})
    );
    assert_eq!(parameter(&request, "client_secret"), "cs");
    grant.headers = object(json!({"alg": "none"}));
    assert_eq!(grant.token_request(NOW, &Same).err().unwrap().class, ErrorClass::NotSent);
}

#[test]
fn a_client_assertion_names_one_audience_and_the_client_twice() {
    let auth = ClientAuth::PrivateKeyJwt(PrivateKeyJwt {
        key: signing_key(),
        audience: "https://id.example.com".into(),
        life_secs: ASSERTION_LIFE_SECS,
        headers: object(json!({"kid": "k1"})),
        claims: Map::new(),
    });
    let request = credentials(auth).token_request(NOW, &Same).unwrap();
    assert_eq!(
        parameter(&request, "client_assertion_type"),
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    );
    let (header, claims) = claims(&parameter(&request, "client_assertion"));
    assert_eq!(header["kid"], "k1");
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!("my client:1"), &json!("my client:1")));
    assert_eq!(claims["aud"], "https://id.example.com", "the issuer alone, not a list");
    assert_eq!(claims["exp"], 1_700_000_180);
    assert!(!body(&request).contains("client_secret"));
}

fn answered(status: u16, body: &Value) -> WireAnswer {
    WireAnswer { status, headers: HeaderMap::new(), body: Bytes::from(body.to_string()), truncated: false }
}

#[test]
fn jwt_bearer_tokens_live_an_hour_unless_told() {
    let grant = Grant::JwtBearer(Box::new(jwt_bearer()));
    let token = grant.read_answer(&answered(200, &json!({"access_token": "at"})), None, NOW).ok().unwrap();
    assert_eq!(token.expires_at, Some(NOW.plus_secs(3600)));
    let mut own = jwt_bearer();
    own.endpoint.rules.ttl = Some(840);
    let grant = Grant::JwtBearer(Box::new(own));
    let token = grant.read_answer(&answered(200, &json!({"access_token": "at"})), None, NOW).ok().unwrap();
    assert_eq!(token.expires_at, Some(NOW.plus_secs(840)));
}

fn authorization_code() -> AuthorizationCode {
    AuthorizationCode {
        authorize_url: Address::parse("https://id.example.com/authorize?tenant=1").unwrap(),
        endpoint: endpoint(),
        client: Client::new("cid", ClientAuth::Post { secret: "cl-secret".into() }),
        redirect_uri: "https://ls.example.com/oauth/callback/oac_1".into(),
        scope: Scope::new(["a", "b"]),
        pkce: true,
        authorize_params: vec![("access_type".into(), "offline".into()), ("state".into(), "mine".into())],
        refresh: Refresh::default(),
    }
}

#[test]
fn the_authorization_url_has_pkce_and_a_state_that_no_parameter_replaces() {
    let mut grant = authorization_code();
    let verifier = PkceVerifier::restore("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into());
    let url = grant.authorize_url(&"st".into(), &verifier);
    assert_eq!(
        url.expose(),
        "https://id.example.com/authorize?tenant=1&response_type=code&client_id=cid\
         &redirect_uri=https%3A%2F%2Fls.example.com%2Foauth%2Fcallback%2Foac_1&scope=a+b&state=st\
         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256&access_type=offline"
    );
    let code = grant.code_request(&"c/1".into(), &verifier, NOW, &Same).unwrap();
    assert_eq!(
        body(&code),
        "grant_type=authorization_code&code=c%2F1\
         &redirect_uri=https%3A%2F%2Fls.example.com%2Foauth%2Fcallback%2Foac_1\
         &code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk&client_id=cid&client_secret=cl-secret"
    );
    grant.pkce = false;
    assert!(!grant.authorize_url(&"st".into(), &verifier).expose().contains("challenge"));
    assert!(!body(&grant.code_request(&"c".into(), &verifier, NOW, &Same).unwrap()).contains("verifier"));
    assert_ne!(PkceVerifier::new(&Rng::new(1)).expose(), PkceVerifier::new(&Rng::new(2)).expose());
    assert_eq!(PkceVerifier::new(&Rng::new(1)).expose().len(), 43);
}

#[test]
fn a_refresh_keeps_what_the_answer_leaves_out() {
    let mut code = authorization_code();
    code.endpoint.params = vec![("audience".into(), "only the first time".into())];
    code.endpoint.rules.grant_ttl = Some(90 * 86_400);
    let first =
        json!({"access_token": "a1", "refresh_token": "r1", "expires_in": 60, "instance_url": "https://i"});
    let token = code.read_code_answer(&answered(200, &first), NOW).ok().unwrap();
    assert_eq!(token.grant_expires_at, Some(NOW.plus_secs(90 * 86_400)));

    let grant = Grant::AuthorizationCode(Box::new(code));
    assert!(grant.spends_refresh_token());
    let request = grant.token_request(Some(&token), NOW, &Same).unwrap();
    assert_eq!(
        body(&request),
        "grant_type=refresh_token&refresh_token=r1&client_id=cid&client_secret=cl-secret"
    );
    let later = NOW.plus_secs(50);
    let next =
        grant.read_answer(&answered(200, &json!({"access_token": "a2"})), Some(&token), later).ok().unwrap();
    assert_eq!(next.access_token.expose(), "a2");
    assert_eq!(next.refresh_token.as_ref().unwrap().expose(), "r1");
    assert_eq!(next.metadata.expose()["instance_url"], "https://i");
    assert_eq!(next.grant_expires_at, token.grant_expires_at, "a refresh does not lengthen the grant");
    assert_eq!(next.obtained_at, later);

    assert_eq!(grant.token_request(None, NOW, &Same).err().unwrap().class, ErrorClass::NeedsConsent);
    let bare = TokenSet::new("a", NOW);
    let error = grant.token_request(Some(&bare), NOW, &Same).err().unwrap();
    assert_eq!(error.class, ErrorClass::DeadGrant);
    assert!(error.to_string().contains("no refresh token"), "{error}");
}

#[test]
fn an_echo_of_what_was_sent_is_masked_in_errors() {
    let grant = Grant::AuthorizationCode(Box::new(authorization_code()));
    let mut token = TokenSet::new("old-access", NOW);
    token.refresh_token = Some("the-refresh-token".into());
    let echo =
        json!({"error": "invalid_grant", "error_description": "the-refresh-token of cl-secret is spent"});
    let error = grant.read_answer(&answered(400, &echo), Some(&token), NOW).err().unwrap();
    assert!(!error.to_string().contains("is spent"), "no words before they are masked");
    let problem = error.mask(&grant.secrets(Some(&token))).to_problem();
    assert_eq!(problem.code, Code::NeedsReconnect);
    assert!(problem.detail.contains("***************** of ********* is spent"), "{}", problem.detail);
    assert!(!problem.to_json().to_string().contains("secret is"));
}

fn echoed(grant: &Grant, request: &WireRequest, echo: &str) -> String {
    let body = json!({"error": "invalid_request", "error_description": format!("bad: {echo}!")});
    let error = grant.read_answer(&answered(400, &body), None, NOW).err().unwrap();
    let mut secrets = grant.secrets(None);
    secrets.extend(secrets_in(request));
    error.mask(&secrets).provider_words().unwrap().description.unwrap()
}

/// What is made for one request is no field of the credential, and an echo like any other.
#[test]
fn an_echo_of_what_was_made_for_the_request_is_masked() {
    let grant = Grant::ClientCredentials(Box::new(credentials(basic(false))));
    let request = grant.token_request(None, NOW, &Same).unwrap();
    let line = header(&request, "authorization").to_owned();
    let stars = "*".repeat(line.len() - "Basic ".len());
    assert_eq!(echoed(&grant, &request, &line), format!("bad: Basic {stars}!"));
    assert_eq!(echoed(&grant, &request, "read write by my client:1"), "bad: read write by my client:1!");

    let mut bearer = jwt_bearer();
    bearer.client = Some(Client::new(
        "cid",
        ClientAuth::PrivateKeyJwt(PrivateKeyJwt {
            key: signing_key(),
            audience: "https://id.example.com".into(),
            life_secs: ASSERTION_LIFE_SECS,
            headers: Map::new(),
            claims: Map::new(),
        }),
    ));
    for (method, form) in [
        (TokenMethod::Post, BodyForm::Form),
        (TokenMethod::Post, BodyForm::Json),
        (TokenMethod::Get, BodyForm::Form),
        (TokenMethod::Post, BodyForm::Query),
    ] {
        (bearer.endpoint.method, bearer.endpoint.body) = (method, form);
        bearer.endpoint.renames = [("assertion".to_owned(), "jwt".to_owned())].into();
        let grant = Grant::JwtBearer(Box::new(bearer.clone()));
        let request = grant.token_request(None, NOW, &Rng::new(1)).unwrap();
        let sent = secrets_in(&request);
        assert_eq!(sent.len(), 2, "{method:?} {form:?}: the assertion and the client's");
        for jwt in sent {
            assert_eq!(jwt.expose().split('.').count(), 3);
            assert_eq!(echoed(&grant, &request, jwt.expose()), format!("bad: {}!", "*".repeat(jwt.len())));
        }
        assert_eq!(echoed(&grant, &request, "no such client: cid"), "bad: no such client: cid!");
    }
}

#[test]
fn a_refused_grant_without_a_person_is_not_told_as_a_dead_consent() {
    let password = Password {
        endpoint: endpoint(),
        client: None,
        username: "u".into(),
        password: "p".into(),
        scope: Scope::default(),
    };
    for (grant, word, says) in [
        (
            Grant::ClientCredentials(Box::new(credentials(basic(true)))),
            "access_denied",
            "allow this grant and this API",
        ),
        (Grant::JwtBearer(Box::new(jwt_bearer())), "invalid_grant", "this server's clock"),
        (Grant::Password(Box::new(password)), "invalid_grant", "name and password"),
    ] {
        let error = grant.read_answer(&answered(400, &json!({"error": word})), None, NOW).err().unwrap();
        assert_eq!(error.class, ErrorClass::Rejected);
        let problem = error.to_problem();
        assert_eq!(problem.code, Code::TokenEndpointError);
        assert!(problem.hint.as_deref().unwrap().contains(says), "{:?}", problem.hint);
    }
    let consented = Grant::AuthorizationCode(Box::new(authorization_code()));
    let error =
        consented.read_answer(&answered(400, &json!({"error": "invalid_grant"})), None, NOW).err().unwrap();
    assert_eq!((error.class, error.to_problem().code), (ErrorClass::DeadGrant, Code::NeedsReconnect));
}

#[test]
fn password_exchange_and_device_code_speak_their_rfcs() {
    let password = Password {
        endpoint: endpoint(),
        client: Some(Client::new("cid", ClientAuth::None)),
        username: "u@example.com".into(),
        password: "p w".into(),
        scope: Scope::default(),
    };
    assert_eq!(
        body(&password.token_request(NOW, &Same).unwrap()),
        "grant_type=password&username=u%40example.com&password=p+w&client_id=cid"
    );
    let exchange = TokenExchange {
        endpoint: endpoint(),
        client: None,
        subject_token: "subj".into(),
        subject_token_type: "urn:ietf:params:oauth:token-type:jwt".into(),
        actor: Some(("act".into(), "urn:ietf:params:oauth:token-type:access_token".into())),
        requested_token_type: None,
        audience: vec!["x".into(), "y".into()],
        scope: Scope::new(["s"]),
    };
    assert_eq!(
        body(&exchange.token_request(NOW, &Same).unwrap()),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=subj\
         &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt&actor_token=act\
         &actor_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&audience=x&audience=y&scope=s"
    );

    let device = DeviceCode {
        device_endpoint: TokenEndpoint::new(Address::parse("https://id.example.com/device").unwrap()),
        endpoint: endpoint(),
        client: Client::new("cid", ClientAuth::None),
        scope: Scope::new(["s"]),
        refresh: Refresh::default(),
    };
    let request = device.device_request(NOW, &Same).unwrap();
    assert_eq!((body(&request), request.address.path.as_str()), ("scope=s&client_id=cid", "/device"));
    let told = json!({"device_code": "GmRh", "user_code": "WDJB-MJHT", "verification_uri": "https://id.example.com/d",
                      "expires_in": 1800});
    let told = device.read_device_answer(&answered(200, &told), NOW).ok().unwrap();
    assert_eq!((told.user_code.as_str(), told.interval_secs), ("WDJB-MJHT", 5));
    assert_eq!(told.expires_at, NOW.plus_secs(1800));
    let poll = device.poll_request(&told.device_code, NOW, &Same).unwrap();
    assert_eq!(
        body(&poll),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=GmRh&client_id=cid"
    );
    let pending = device.read_poll_answer(&answered(400, &json!({"error": "authorization_pending"})), NOW);
    assert_eq!(pending.err().map(|e| e.class), Some(ErrorClass::Pending));
    let refused = device.read_device_answer(&answered(400, &json!({"error": "invalid_client"})), NOW);
    assert_eq!(refused.err().map(|e| e.class), Some(ErrorClass::WrongClient));
}

#[test]
fn revocation_takes_the_refresh_token_if_there_is_one() {
    let revocation = Revocation {
        endpoint: TokenEndpoint::new(Address::parse("https://id.example.com/revoke").unwrap()),
        client: Some(Client::new("cid", ClientAuth::None)),
    };
    let mut token = TokenSet::new("at", NOW);
    assert_eq!(
        body(&revocation.request(&token, NOW, &Same).unwrap()),
        "token=at&token_type_hint=access_token&client_id=cid"
    );
    token.refresh_token = Some("rt".into());
    assert_eq!(
        body(&revocation.request(&token, NOW, &Same).unwrap()),
        "token=rt&token_type_hint=refresh_token&client_id=cid"
    );
    assert!(revocation.read_answer(&answered(200, &json!({}))).is_ok());
    assert!(revocation.read_answer(&answered(400, &json!({"error": "invalid_grant"}))).is_ok());
    let error = revocation.read_answer(&answered(503, &json!({}))).err().unwrap();
    assert_eq!(error.class, ErrorClass::Transient);
}

#[test]
fn callbacks_are_checked_before_anything_is_sent() {
    let state: SecretString = "0123456789abcdef".into();
    let issuer = Some("https://id.example.com");
    let read = |query: &str, required: bool| read_callback(query, &state, issuer, required);
    let good = read("code=a%2Fb+c&state=0123456789abcdef&realm=7&iss=https%3A%2F%2Fid.example.com", true)
        .ok()
        .unwrap();
    assert_eq!(good.code.expose(), "a/b c");
    assert_eq!(good.params, [("realm".to_owned(), "7".to_owned())]);
    let refused = |query: &str, required: bool| read(query, required).err().unwrap();
    for query in
        ["code=a", "code=a&state=", "code=a&state=0123456789abcdeF", "code=a&state=0123456789abcdef0", ""]
    {
        assert_eq!(refused(query, false), CallbackRefused::State, "{query}");
    }
    let mix_up = "code=a&state=0123456789abcdef&iss=https%3A%2F%2Fevil.example";
    assert_eq!(refused(mix_up, false), CallbackRefused::Issuer);
    assert_eq!(refused("code=a&state=0123456789abcdef", true), CallbackRefused::Issuer);
    assert!(read("code=a&state=0123456789abcdef", false).is_ok());
    assert_eq!(refused("code=a&code=b&state=0123456789abcdef", false), CallbackRefused::Doubled);
    assert_eq!(refused("state=0123456789abcdef", false), CallbackRefused::NoCode);
    let denied = refused("error=access_denied&error_description=no%0Away&state=0123456789abcdef", false);
    assert!(
        denied.to_string().contains("consent was not given") && denied.to_string().contains("noway"),
        "{denied}"
    );
    // An error without the state of this sign-in is nobody's.
    assert_eq!(refused("error=access_denied", false), CallbackRefused::State);
    assert_eq!(read_callback("code=a&state=", &"".into(), None, false).err(), Some(CallbackRefused::State));
}
