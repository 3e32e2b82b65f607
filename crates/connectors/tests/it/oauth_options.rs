//! What OAuth schemes say beside grant and endpoint: client certificates, DPoP, RFC 8707, older OAuth.

use latchstring_connectors::{Definition, RenderError, builtin, check};
use latchstring_schemes::Scheme;
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
