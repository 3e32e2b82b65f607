//! What OAuth schemes say beside grant and endpoint: client certificates, DPoP, RFC 8707, older OAuth.

use std::sync::Arc;

use latchstring_connectors::{
    ClientAuthMethod, ClientCertificate, ClientKey, Definition, NamedEndpoint, RenderError, builtin, check,
};
use latchstring_schemes::Scheme;
use latchstring_schemes::dpop::DpopKey;
use latchstring_schemes::jws::{Algorithm, SigningKey};
use latchstring_schemes::keys::ParsedKeys;
use latchstring_schemes::mutual_tls::TlsIdentity;
use latchstring_schemes::oauth1::SignatureMethod;
use latchstring_schemes::oauth2::{ClientAuth, Grant};
use serde_json::{Value, json};

use crate::world::{World, oauth_client};

fn http() -> &'static Definition {
    builtin().find(|definition| definition.id == "http").unwrap()
}

fn resolved(definition: &Definition, method: &str, values: Value) -> Result<Scheme, RenderError> {
    World::new().resolve(definition, method, values).map(|resolved| resolved.scheme)
}

fn grant(scheme: &Scheme) -> &Grant {
    match scheme {
        Scheme::OAuth2(oauth) => &oauth.grant,
        Scheme::MutualTls(_, Some(inner)) => grant(inner),
        _ => panic!("a grant, not {}", scheme.type_name()),
    }
}

fn client(more: &Value) -> Value {
    let mut values = json!({"base_url": "https://a.example.com", "token_url": "https://a.example.com/t", "client_id": "c"});
    values.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    values
}

#[test]
fn a_client_that_proves_itself_by_certificate_has_one() {
    for name in ["tls", "tls_client_auth", "self_signed_tls_client_auth"] {
        let definition = check(
            &format!(
                "id: demo\nname: Demo\nbase_url: https://a.example.com\nauth_methods:\n  m:\n    fields: {{cert: {{type: pem, pem: certificate, optional: true}}, key: {{type: pem, secret: true, optional: true}}}}\n    scheme: {{type: oauth2_client_credentials, token_url: 'https://a.example.com/t', client_id: c, client_auth: {name}}}\n    tls: {{client_certificate: '{{{{ cert }}}}', client_key: '{{{{ key }}}}'}}\n"
            ),
            "demo.yaml",
        )
        .unwrap();
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
        let good = resolved(&definition, "m", json!({"cert": certificate, "key": include_str!("key.pem")}));
        let good = good.unwrap_or_else(|error| panic!("{error}"));
        assert!(matches!(good, Scheme::MutualTls(..)), "shown to the token URL and to the API");
        assert!(matches!(grant(&good).client().unwrap().auth, ClientAuth::Tls), "{name}");
        let none = resolved(&definition, "m", json!({})).err().unwrap();
        assert!(matches!(&none, RenderError::Value { at, .. } if at == "tls.client_certificate"), "{none}");
    }
}

#[test]
fn a_dpop_key_is_one_of_its_curve() {
    let p256 = include_str!("../../../schemes/tests/data/keys/p256.pkcs8.pem");
    let values = client(&json!({"client_secret": "s", "dpop_key": p256}));
    let good =
        resolved(http(), "oauth2_client_credentials", values).unwrap_or_else(|error| panic!("{error}"));
    assert!(grant(&good).dpop().is_some());
    let values = client(&json!({"client_secret": "s", "dpop_key": include_str!("key.pem")}));
    let error = resolved(http(), "oauth2_client_credentials", values).err().unwrap();
    assert!(matches!(&error, RenderError::Value { at, .. } if at == "scheme.dpop_key"), "{error}");
    let values = client(&json!({"client_secret": "s"}));
    let without = resolved(http(), "oauth2_client_credentials", values).ok().unwrap();
    assert!(grant(&without).dpop().is_none());
}

#[test]
fn the_fields_of_oauth1_arrive() {
    let values = json!({
        "base_url": "https://a.example.com", "consumer_key": "ck", "consumer_secret": "cs", "token": "t",
        "token_secret": "ts", "signature_method": "HMAC-SHA256", "realm": "r",
    });
    let scheme = resolved(http(), "oauth1", values).unwrap_or_else(|error| panic!("{error}"));
    let Scheme::OAuth1(oauth1) = scheme else { panic!("OAuth 1.0a") };
    assert_eq!((oauth1.consumer_key.as_str(), oauth1.consumer_secret.expose()), ("ck", "cs"));
    assert_eq!((oauth1.token.unwrap().expose(), oauth1.token_secret.expose()), ("t", "ts"));
    assert_eq!((oauth1.method, oauth1.realm.as_deref()), (SignatureMethod::HmacSha256, Some("r")));
}

#[test]
fn a_password_comes_with_a_warning_and_nothing_else_does() {
    let mut warned = Vec::new();
    for definition in builtin() {
        for method in &definition.auth_methods {
            if method.scheme.ty.warning().is_some() {
                warned.push((definition.id.as_str(), method.scheme.ty.as_str()));
            }
        }
    }
    assert!(warned.iter().all(|(_, ty)| *ty == "oauth2_password"), "{warned:?}");
    assert!(http().method("oauth2_password").is_none(), "only where a connector says so");
    let ty = latchstring_connectors::SchemeType::Oauth2Password;
    assert!(ty.usable() && ty.warning().unwrap().contains("RFC 9700"));
}

/// A superuser who corrects a path on the same server ends no grant, so no pin may stand in the way of it. What a
/// definition or a value names is pinned with its path.
#[test]
fn endpoints_of_a_client_are_pinned_by_their_server() {
    let mut world = World::new();
    world.client = Some(oauth_client());
    for method in ["oauth2_authorization_code", "oauth2_device_code"] {
        let values = json!({"base_url": "https://a.example.com/api"});
        let resolved = world.resolve(http(), method, values).unwrap_or_else(|error| panic!("{error}"));
        let of_client: Vec<_> = resolved.destinations.iter().filter(|place| place.of_client).collect();
        let names: Vec<&str> = of_client.iter().map(|place| place.from.as_str()).collect();
        assert!(names.contains(&"token_url") && names.contains(&"revocation_url"), "{names:?}");
        for place in of_client {
            assert_eq!(place.pin.origin.to_string(), "https://auth.example.net", "{}", place.from);
            assert_eq!(place.pin.prefix, "/", "{}", place.from);
        }
        let call = resolved.destinations.iter().find(|place| place.from == "base_url").unwrap();
        assert_eq!((call.of_client, call.pin.prefix.as_str()), (false, "/api/"));
    }
}

/// An `oauth1` method that says `consent: true` is consented to; its application is the OAuth client.
#[test]
fn oauth1_with_consent_comes_from_the_client() {
    let method = http().method("oauth1_consent").unwrap();
    assert!(method.needs_consent() && method.scheme.has_token());
    assert!(!http().method("oauth1").unwrap().needs_consent(), "a token in the values goes on working");
    assert_eq!(method.endpoint("request_token_endpoint"), NamedEndpoint::Missing);

    let values = json!({"base_url": "https://a.example.com"});
    let without = resolved(http(), "oauth1_consent", values.clone()).err().unwrap();
    assert!(
        matches!(&without, RenderError::NotUsable { detail } if detail.contains("OAuth client")),
        "{without}"
    );

    let mut world = World::new();
    world.client = Some(oauth_client());
    let resolved =
        world.resolve(http(), "oauth1_consent", values.clone()).unwrap_or_else(|error| panic!("{error}"));
    assert!(resolved.needs_token && resolved.consent.is_some());
    let scheme = resolved.scheme.three_legged().unwrap();
    assert_eq!(
        (scheme.client.consumer_key.as_str(), scheme.client.consumer_secret.expose()),
        ("our-client", "our secret")
    );
    assert_eq!(scheme.client.method, SignatureMethod::HmacSha1);
    assert_eq!(scheme.request_token_url.to_string(), "https://auth.example.net/temporary");
    assert_eq!(scheme.authorize_url.to_string(), "https://auth.example.net/authorize");
    assert_eq!(scheme.callback, oauth_client().redirect_uri);
    let of_client: Vec<&str> = resolved
        .destinations
        .iter()
        .filter(|place| place.of_client)
        .map(|place| place.from.as_str())
        .collect();
    assert_eq!(of_client, ["request_token_url", "token_url", "userinfo_url"]);

    let named = |method: &str, change: &dyn Fn(&mut latchstring_connectors::OAuthClient)| {
        let mut world = World::new();
        let mut client = oauth_client();
        change(&mut client);
        world.client = Some(client);
        let mut values = values.clone();
        if !method.is_empty() {
            values["signature_method"] = method.into();
        }
        world.resolve(http(), "oauth1_consent", values).map(|resolved| resolved.scheme)
    };
    let with_key = |client: &mut latchstring_connectors::OAuthClient| {
        let pem = include_str!("../../../schemes/tests/data/keys/rsa2048.pkcs8.pem");
        let signing = SigningKey::parse(Algorithm::Rs256, &pem.into(), None).unwrap();
        client.auth = ClientAuthMethod::PrivateKeyJwt;
        client.secret = None;
        client.private_key = Some(ClientKey { signing: Arc::new(signing), id: None });
    };
    let rsa = named("", &with_key).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(rsa.three_legged().unwrap().client.method, SignatureMethod::RsaSha256, "its key signs");
    assert!(rsa.prepare(&ParsedKeys::default()).is_ok());
    let plain = named("PLAINTEXT", &|_| ()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(plain.three_legged().unwrap().client.method, SignatureMethod::Plaintext);
    for (method, change) in [
        ("RSA-SHA256", &(|_: &mut latchstring_connectors::OAuthClient| ()) as &dyn Fn(&mut _)),
        ("HMAC-SHA256", &with_key),
        ("", &|client: &mut latchstring_connectors::OAuthClient| client.secret = None),
    ] {
        let error = named(method, change).err().unwrap();
        assert!(
            matches!(&error, RenderError::NotUsable { detail } if detail.contains("Ours has none")),
            "{error}"
        );
    }
    let lost = named("", &|client| client.endpoints.request_token = None).err().unwrap();
    assert!(matches!(&lost, RenderError::Value { at, .. } if at == "scheme.request_token_url"), "{lost}");
}

#[test]
fn an_oauth1_method_has_one_source_of_its_application() {
    let said = |scheme: &str| {
        let text = format!(
            "id: demo\nname: Demo\nbase_url: https://a.example.com\nauth_methods:\n  m:\n    fields: {{way: text}}\n    scheme: {{type: oauth1, {scheme}}}\n"
        );
        check(&text, "demo.yaml").err().map(|problems| problems[0].to_string()).unwrap_or_default()
    };
    assert_eq!(said("consumer_key: k"), "");
    assert_eq!(said("consent: true, request_token_url: 'https://a.example.com/r', grant_ttl: 5"), "");
    assert_eq!(said("consent: false, consumer_key: k"), "");
    for (scheme, word) in [
        ("realm: r", "`consumer_key` is missing"),
        ("consent: true, consumer_key: k", "leave `consumer_key` out"),
        ("consent: true, token: t", "leave `token` out"),
        (
            "consumer_key: k, authorize_url: 'https://a.example.com/a'",
            "belongs to a method with `consent: true`",
        ),
        ("consumer_key: k, consent: '{{ way }}'", "no value decides it"),
    ] {
        let text = said(scheme);
        assert!(text.contains(word), "{scheme}: {text}");
    }
    let short = check(
        "id: demo\nname: D\nbase_url: https://a.example.com\nauth_methods:\n  m:\n    scheme: oauth1\n",
        "demo.yaml",
    );
    assert!(short.err().unwrap()[0].to_string().contains("`consumer_key` is missing"));
    // What templates call `token` comes of the consent.
    let taken = check(
        "id: demo\nname: D\nbase_url: https://a.example.com\nauth_methods:\n  m:\n    fields: {token: text}\n    scheme: {type: oauth1, consent: true}\n",
        "demo.yaml",
    );
    assert!(taken.err().unwrap()[0].to_string().contains("`token`"));
}

/// Claims over the time are rendered for every call; the keys beside them are not parsed for every call.
#[test]
fn keys_that_were_rendered_before_are_not_parsed_again() {
    let file = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemes/tests/data/keys");
        std::fs::read_to_string(format!("{folder}/{name}")).unwrap()
    };
    let values = json!({
        "base_url": "https://a.example.com", "token_url": "https://a.example.com/token", "client_id": "robot",
        "client_auth": "private_key_jwt", "private_key": file("rsa2048.aes256.pem"),
        "passphrase": "correct horse", "dpop_key": file("p256.sec1.pem"),
        "client_certificate": file("rsa2048.cert.pem"), "client_key": file("rsa2048.pkcs8.pem"),
    });
    let (world, other) = (World::new(), World::new());
    let parts = |world: &World| {
        let resolved = world.resolve(http(), "oauth2_client_credentials", values.clone());
        let scheme = resolved.unwrap_or_else(|error| panic!("{error}")).scheme;
        let Grant::ClientCredentials(known) = grant(&scheme) else { panic!("client credentials") };
        let ClientAuth::PrivateKeyJwt(jwt) = &known.client.auth else { panic!("it signs") };
        let (signing, dpop) = (Arc::clone(&jwt.key), Arc::clone(known.endpoint.dpop.as_ref().unwrap()));
        let prepared = scheme.prepare(&world.keys).unwrap_or_else(|error| panic!("{error}"));
        (signing, dpop, prepared.tls_identity().unwrap().clone())
    };
    let (first, again, elsewhere) = (parts(&world), parts(&world), parts(&other));
    let at = |tls: &TlsIdentity| tls.key_pem().expose().as_ptr();
    assert!(Arc::ptr_eq(&first.0, &again.0) && !Arc::ptr_eq(&first.0, &elsewhere.0));
    assert!(Arc::ptr_eq(&first.1, &again.1) && !Arc::ptr_eq(&first.1, &elsewhere.1));
    assert!(at(&first.2) == at(&again.2) && at(&first.2) != at(&elsewhere.2));
}

/// What a superuser says of a client: certificate, DPoP, the APIs that tokens are for.
#[test]
fn a_clients_proofs_go_with_every_consent() {
    let entropy = World::new().entropy;
    let pem = DpopKey::generate(&entropy).unwrap_or_else(|error| panic!("{error}"));
    let key = DpopKey::parse(&pem, None).unwrap_or_else(|error| panic!("{error}"));
    let mut client = oauth_client();
    client.dpop = Some(Arc::new(key));
    client.resource = vec!["https://api.example.com/".into()];
    client.auth = ClientAuthMethod::SelfSignedTlsClientAuth;
    client.secret = None;
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemes/tests/data/keys");
    let file = |name: &str| std::fs::read_to_string(format!("{keys}/{name}")).unwrap();
    client.certificate =
        Some(ClientCertificate { chain: file("p256.cert.pem"), key: file("p256.pkcs8.pem").into() });
    let mut world = World::new();
    world.client = Some(client.clone());
    for method in ["oauth2_authorization_code", "oauth2_device_code"] {
        let values = json!({"base_url": "https://a.example.com/api"});
        let resolved = world.resolve(http(), method, values).unwrap_or_else(|error| panic!("{error}"));
        assert!(resolved.consent.as_ref().unwrap().bound_tokens, "{method}");
        assert!(matches!(resolved.scheme, Scheme::MutualTls(..)), "{method}");
        let grant = grant(&resolved.scheme);
        assert!(
            grant.dpop().is_some() && matches!(grant.client().unwrap().auth, ClientAuth::Tls),
            "{method}"
        );
        let request = match grant {
            Grant::AuthorizationCode(grant) => {
                let verifier = latchstring_schemes::oauth2::PkceVerifier::new(&entropy);
                let page = grant.authorize_url(&"s".into(), &verifier);
                assert!(
                    page.expose().contains("dpop_jkt=")
                        && page.expose().contains("resource=https%3A%2F%2Fapi.example.com%2F")
                );
                grant.code_request(&"c".into(), &verifier, world.now, &entropy)
            }
            Grant::DeviceCode(grant) => grant.device_request(world.now, &entropy),
            _ => unreachable!("consent"),
        };
        let request = request.unwrap_or_else(|error| panic!("{error}"));
        let body = String::from_utf8(request.body.expose().to_vec()).unwrap();
        assert!(
            body.contains("resource=https%3A%2F%2Fapi.example.com%2F")
                && body.contains("client_id=our-client"),
            "{body}"
        );
        let prepared = resolved.scheme.prepare(&world.keys).unwrap_or_else(|error| panic!("{error}"));
        assert!(prepared.tls_identity().is_some());
    }
    // One connection shows one certificate.
    let own = check(
        "id: demo\nname: Demo\nbase_url: https://a.example.com\nauth_methods:\n  m:\n    fields: {cert: {type: pem, pem: certificate}, key: {type: pem, secret: true}}\n    scheme: {type: oauth2_authorization_code}\n    tls: {client_certificate: '{{ cert }}', client_key: '{{ key }}'}\n",
        "demo.yaml",
    )
    .unwrap();
    let values = json!({"cert": file("p256.cert.pem"), "key": file("p256.pkcs8.pem")});
    let both = world.resolve(&own, "m", values).err().unwrap();
    assert!(matches!(&both, RenderError::Value { detail, .. } if detail.contains("shows one")), "{both}");
    // Without its certificate there is nothing to prove with.
    client.certificate = None;
    world.client = Some(client);
    let none = world
        .resolve(http(), "oauth2_authorization_code", json!({"base_url": "https://a.example.com"}))
        .err()
        .unwrap();
    assert!(matches!(&none, RenderError::NotUsable { detail } if detail.contains("certificate")), "{none}");
}

/// The first who names an endpoint: the superuser with the client, then the definition.
#[test]
fn what_a_client_names_stands_before_the_definition() {
    let zoom = builtin().find(|definition| definition.id == "zoom").unwrap();
    let mut world = World::new();
    let mut client = oauth_client();
    let token = |world: &World| {
        let resolved =
            world.resolve(zoom, "authorization_code", json!({})).unwrap_or_else(|error| panic!("{error}"));
        let Grant::AuthorizationCode(grant) = grant(&resolved.scheme).clone() else { panic!("a consent") };
        let of_client =
            resolved.destinations.iter().find(|place| place.from == "token_url").unwrap().of_client;
        (
            grant.endpoint.url.to_string(),
            grant.refresh.url,
            resolved.policy.revocation_url.unwrap().to_string(),
            of_client,
        )
    };
    world.client = Some(client.clone());
    let own = (
        "https://auth.example.net/token".to_owned(),
        None,
        "https://auth.example.net/revoke".to_owned(),
        true,
    );
    assert_eq!(token(&world), own);
    client.endpoints = Default::default();
    world.client = Some(client);
    let (url, _, revoke, of_client) = token(&world);
    assert!(
        url.starts_with("https://zoom.us/") && revoke.starts_with("https://zoom.us/") && !of_client,
        "{url} {revoke}"
    );
}
