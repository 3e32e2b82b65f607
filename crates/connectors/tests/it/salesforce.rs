//! The connector `salesforce` does what docs/salesforce.md says.

use latchstring_connectors::{Definition, RefreshReuse, Resolved, builtin};
use latchstring_model::Timestamp;
use latchstring_schemes::Scheme;
use latchstring_schemes::oauth2::{Grant, TokenEndpoint};
use latchstring_schemes::token::TokenSet;
use latchstring_schemes::wire::WireAnswer;
use serde_json::{Value, json};

use crate::world::{World, oauth_client};

const KEY: &str = include_str!("key.pem");
const GUIDE: &str = include_str!("../../../../docs/salesforce.md");

fn connector() -> &'static Definition {
    builtin().find(|definition| definition.id == "salesforce").unwrap()
}

fn grant(method: &str, values: Value) -> Grant {
    let resolved = World::new().resolve(connector(), method, values);
    let resolved = resolved.unwrap_or_else(|error| panic!("{method}: {error}"));
    match resolved.scheme {
        Scheme::OAuth2(oauth) => oauth.grant,
        _ => panic!("OAuth"),
    }
}

fn jwt(more: Value) -> Box<latchstring_schemes::oauth2::JwtBearer> {
    let mut values = json!({"client_id": "3MVG", "username": "ada@example.org", "private_key": KEY});
    values.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    match grant("jwt_bearer", values) {
        Grant::JwtBearer(grant) => grant,
        _ => panic!("a JWT bearer grant"),
    }
}

fn url(endpoint: &TokenEndpoint) -> String {
    endpoint.url.to_string()
}

#[test]
fn audience_and_token_host_may_differ() {
    let mine = json!({"login_url": "https://acme.my.salesforce.com/"});
    let grant = jwt(mine.clone());
    assert_eq!(url(&grant.endpoint), "https://acme.my.salesforce.com/services/oauth2/token");
    assert_eq!(grant.audience, ["https://login.salesforce.com"]);
    let mut sandbox = mine.clone();
    sandbox["environment_type"] = json!("sandbox");
    assert_eq!(jwt(sandbox).audience, ["https://test.salesforce.com"]);
    let mut site = mine;
    site["audience"] = json!("https://site.force.com/customers");
    let grant = jwt(site);
    assert_eq!(grant.audience, ["https://site.force.com/customers"]);
    assert_eq!(url(&grant.endpoint), "https://acme.my.salesforce.com/services/oauth2/token");
}

#[test]
fn the_users_own_life_of_a_token_counts() {
    assert_eq!(jwt(json!({})).endpoint.rules.ttl, Some(840));
    assert_eq!(jwt(json!({"token_ttl": 7000})).endpoint.rules.ttl, Some(7000));
    let too_short = json!({"client_id": "3MVG", "username": "a@b.c", "private_key": KEY, "token_ttl": 5});
    let method = connector().method("jwt_bearer").unwrap();
    assert!(connector().check_values(method, too_short.as_object().unwrap()).is_err());
}

#[test]
fn client_credentials_ask_the_organisations_own_instance() {
    let grant = grant(
        "client_credentials",
        json!({"instance_url": "https://acme.my.salesforce.com", "client_id": "3MVG", "client_secret": "the-secret"}),
    );
    let Grant::ClientCredentials(grant) = grant else { panic!("client credentials") };
    assert_eq!(url(&grant.endpoint), "https://acme.my.salesforce.com/services/oauth2/token");
    assert_eq!(grant.endpoint.rules.ttl, Some(840));
    let world = World::new();
    let request = grant.token_request(world.now, &world.entropy).unwrap();
    let body = String::from_utf8(request.body.expose().to_vec()).unwrap();
    assert_eq!(body, "grant_type=client_credentials&client_id=3MVG&client_secret=the-secret");
}

fn consent(values: Value) -> (Resolved, Box<latchstring_schemes::oauth2::AuthorizationCode>) {
    let mut world = World::new();
    // Without endpoints of its own: the connector's count.
    let mut client = oauth_client();
    client.endpoints.authorization = None;
    client.endpoints.token = None;
    world.client = Some(client);
    let resolved = world.resolve(connector(), "authorization_code", values);
    let mut resolved = resolved.unwrap_or_else(|error| panic!("{error}"));
    let scheme = std::mem::replace(&mut resolved.scheme, Scheme::None);
    match scheme {
        Scheme::OAuth2(oauth) => match oauth.grant {
            Grant::AuthorizationCode(grant) => (resolved, grant),
            _ => panic!("a consent"),
        },
        _ => panic!("OAuth"),
    }
}

#[test]
fn a_person_signs_in_where_the_credential_says() {
    for (values, host) in [
        (json!({}), "https://login.salesforce.com"),
        (json!({"environment_type": "sandbox"}), "https://test.salesforce.com"),
        (json!({"login_url": "https://acme.my.salesforce.com"}), "https://acme.my.salesforce.com"),
    ] {
        let (_, grant) = consent(values);
        assert_eq!(grant.authorize_url.to_string(), format!("{host}/services/oauth2/authorize"));
        assert_eq!(url(&grant.endpoint), format!("{host}/services/oauth2/token"));
        assert_eq!(grant.endpoint.rules.ttl, Some(840));
        assert!(grant.pkce);
    }
}

/// With rotation a refresh token that was spent must not be sent again; without it, it may.
#[test]
fn rotation_and_the_end_of_the_grant_are_as_the_user_says() {
    let (resolved, grant) = consent(json!({}));
    assert_eq!(resolved.policy.reuse, RefreshReuse::SingleUse);
    assert_eq!(grant.endpoint.rules.grant_ttl, None);
    let (resolved, grant) =
        consent(json!({"refresh_token_rotation": "off", "refresh_token_life": "7776000"}));
    assert_eq!(resolved.policy.reuse, RefreshReuse::Nonrotating);
    assert_eq!(grant.endpoint.rules.grant_ttl, Some(90 * 24 * 3600));
}

fn answer(body: Value) -> WireAnswer {
    WireAnswer {
        status: 200,
        headers: http::HeaderMap::new(),
        body: body.to_string().into_bytes().into(),
        truncated: false,
    }
}

/// An answer as Salesforce writes it: no `expires_in`, and where calls go beside the token.
#[test]
fn the_instance_survives_an_answer_that_does_not_repeat_it() {
    let grant = Grant::JwtBearer(jwt(json!({})));
    let now = Timestamp::from_secs(1_767_225_600);
    let first = json!({
        "access_token": "00D0000000000!AQEAQ", "scope": "api id", "instance_url": "https://acme.my.salesforce.com",
        "id": "https://login.salesforce.com/id/00D/005", "token_type": "Bearer",
    });
    let first = grant.read_answer(&answer(first), None, now).unwrap();
    assert_eq!(first.life_ms(), Some(840_000));
    let instance = |token: &TokenSet| token.metadata.expose().get("instance_url").cloned();
    assert_eq!(instance(&first), Some(json!("https://acme.my.salesforce.com")));
    for body in [
        json!({"access_token": "second", "token_type": "Bearer"}),
        json!({"access_token": "second", "instance_url": null}),
        json!({"access_token": "second", "instance_url": ""}),
    ] {
        let second = grant.read_answer(&answer(body), Some(&first), now.plus_secs(800)).unwrap();
        assert_eq!(instance(&second), Some(json!("https://acme.my.salesforce.com")));
    }
    let moved = json!({"access_token": "third", "instance_url": "https://acme2.my.salesforce.com"});
    let third = grant.read_answer(&answer(moved), Some(&first), now).unwrap();
    assert_eq!(instance(&third), Some(json!("https://acme2.my.salesforce.com")));
}

/// Each of Salesforce's own texts, as its endpoints write them, and the setting that the answer has to name.
#[test]
fn salesforces_words_lead_to_the_setting() {
    let token = |error: &str, description: &str| {
        json!({"error": error, "error_description": description}).to_string()
    };
    let cases = [
        (400, token("invalid_grant", "user hasn't approved this consumer"), "Permitted Users"),
        (400, token("invalid_app_access", "user is not admin approved to access this app"), "Permission Sets"),
        (400, token("invalid_grant", "invalid assertion"), "certificate"),
        (400, token("invalid_grant", "audience is invalid"), "Sandbox"),
        (400, token("invalid_grant", "Audience validation failed"), "Sandbox"),
        (400, token("invalid_client_id", "client identifier invalid"), "consumer key"),
        (400, token("invalid_client", "invalid client credentials"), "consumer secret"),
        (400, token("invalid_grant", "no client credentials user enabled"), "Run As"),
        (400, token("invalid_grant", "request not supported on this domain"), "My Domain"),
        (400, token("invalid_grant", "no valid scopes defined"), "api"),
        (400, token("invalid_grant", "expired access/refresh token"), "Connect again"),
        (400, token("redirect_uri_mismatch", "redirect_uri must match configuration"), "Callback URL"),
        (400, token("invalid_client", "app must be installed into org"), "Approve Uninstalled Connected Apps"),
        (400, token("inactive_user", "inactive user"), "deactivated"),
        (400, token("invalid_grant", "ip restricted"), "IP Relaxation"),
        (
            401,
            r#"[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]"#.into(),
            "Session Settings",
        ),
        (
            401,
            r#"[{"message":"This session is not valid for use with the REST API","errorCode":"INVALID_SESSION_ID"}]"#.into(),
            "(api)",
        ),
        (403, "Bad_OAuth_Token".into(), "(id)"),
        (403, r#"[{"errorCode":"API_DISABLED_FOR_ORG"}]"#.into(), "API Enabled"),
    ];
    for (status, body, names) in cases {
        let said = connector().explain(None, status, &body).unwrap_or_else(|| panic!("{body}"));
        assert!(said.contains(names), "{body}: {said}");
    }
}

/// The guide's table of errors and the connector's map tell the same, and every field is in the guide.
#[test]
fn the_guide_knows_what_the_connector_knows() {
    let table = GUIDE.split_once("## When it does not work").unwrap().1;
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() >= 15);
    for row in rows {
        for said in row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2) {
            assert!(connector().explain(None, 0, said).is_some(), "the connector does not know {said:?}");
        }
    }
    for method in &connector().auth_methods {
        for field in &method.fields {
            assert!(
                GUIDE.contains(&format!("`{}`", field.name)),
                "{}.{} is not in the guide",
                method.id,
                field.name
            );
        }
    }
}
