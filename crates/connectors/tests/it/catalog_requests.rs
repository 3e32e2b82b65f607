//! What the catalog's connectors send: values in, the exact verification request and token request out,
//! so that a mistake in a template is seen. And what they make of answers.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use latchstring_connectors::{
    AuthMethod, Definition, HostVerdict, Operation, OwnRequest, RenderError, Resolved, To, Values,
};
use latchstring_model::Timestamp;
use latchstring_model::address::Address;
use latchstring_schemes::oauth2::Grant;
use latchstring_schemes::token::TokenSet;
use latchstring_schemes::wire::{Outgoing, WireRequest};
use serde_json::{Map, Value, json};

use crate::dry_request::{connector, input};
use crate::world::{World, oauth_client};

/// A method's values and what they lead to.
struct Row {
    connector: &'static str,
    method: &'static str,
    values: Value,
    /// Request line, then headers by name, then `body`; after `token` the same of the token request. A
    /// line that ends in `*` gives the beginning only.
    lines: &'static [&'static str],
}

fn row(connector: &'static str, method: &'static str, values: Value, lines: &'static [&'static str]) -> Row {
    Row { connector, method, values, lines }
}

const CLOUD: &str = "1a11d016-8984-4c3e-b9ab-142dd06acb1b";

fn google_key() -> Value {
    json!({
        "type": "service_account", "project_id": "demo", "private_key_id": "kid1",
        "private_key": include_str!("key.pem"), "client_email": "robot@demo.iam.gserviceaccount.com",
        "client_id": "1", "token_uri": "https://elsewhere.example.com/token",
    })
}

#[allow(clippy::too_many_lines)]
fn rows() -> Vec<Row> {
    let key = include_str!("key.pem");
    let account = format!("AC{}", "0".repeat(32));
    vec![
        row(
            "airtable",
            "token",
            json!({"token": "patAbc.def"}),
            &["GET https://api.airtable.com/v0/meta/whoami", "authorization: Bearer patAbc.def"],
        ),
        row(
            "anthropic",
            "api_key",
            json!({"api_key": "sk-ant-abc"}),
            &[
                "GET https://api.anthropic.com/v1/models?limit=1",
                "anthropic-version: 2023-06-01",
                "x-api-key: sk-ant-abc",
            ],
        ),
        row(
            "aws_s3",
            "access_key",
            json!({"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "secret", "region": "eu-central-1", "bucket": "my-bucket"}),
            &[
                "GET https://s3.eu-central-1.amazonaws.com/my-bucket?list-type=2&max-keys=1",
                "authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20231114/eu-central-1/s3/aws4_request, *",
                "x-amz-content-sha256: *",
                "x-amz-date: 20231114T221320Z",
            ],
        ),
        row(
            "aws_s3",
            "access_key",
            json!({"access_key_id": "ASIAIOSFODNN7EXAMPLE", "secret_access_key": "secret", "session_token": "temporary", "region": "cn-north-1"}),
            &[
                "GET https://s3.cn-north-1.amazonaws.com.cn/",
                "authorization: AWS4-HMAC-SHA256 Credential=ASIAIOSFODNN7EXAMPLE/20231114/cn-north-1/s3/aws4_request, *",
                "x-amz-content-sha256: *",
                "x-amz-date: 20231114T221320Z",
                "x-amz-security-token: temporary",
            ],
        ),
        row(
            "commcare",
            "api_key",
            json!({"server": "https://india.commcarehq.org", "domain": "my-project", "username": "ada@example.com", "api_key": "abc123"}),
            &[
                "GET https://india.commcarehq.org/api/user_domains/v1/",
                "authorization: ApiKey ada@example.com:abc123",
            ],
        ),
        row(
            "confluence",
            "api_token",
            json!({"site": "https://example.atlassian.net/", "email": "ada@example.com", "api_token": "tok"}),
            &[
                "GET https://example.atlassian.net/wiki/rest/api/user/current",
                "authorization: Basic ada@example.com:tok",
            ],
        ),
        row(
            "confluence",
            "scoped_api_token",
            json!({"cloud_id": CLOUD, "email": "ada@example.com", "api_token": "tok"}),
            &[
                "GET https://api.atlassian.com/ex/confluence/1a11d016-8984-4c3e-b9ab-142dd06acb1b/wiki/api/v2/spaces?limit=1",
                "authorization: Basic ada@example.com:tok",
            ],
        ),
        row(
            "google_drive",
            "service_account",
            json!({"service_account_key": google_key()}),
            &[
                "GET https://www.googleapis.com/drive/v3/about?fields=user",
                "authorization: Bearer token-1",
                "token POST https://oauth2.googleapis.com/token",
                "token content-type: application/x-www-form-urlencoded",
                "token grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer",
                r#"token jwt {"alg":"RS256","kid":"kid1","typ":"JWT"}"#,
                r#"token jwt {"aud":"https://oauth2.googleapis.com/token","exp":1700000180,"iat":1700000000,"iss":"robot@demo.iam.gserviceaccount.com","scope":"https://www.googleapis.com/auth/drive"}"#,
            ],
        ),
        row(
            "google_sheets",
            "service_account",
            // As the file is pasted, and for somebody else.
            json!({
                "service_account_key": google_key().to_string(), "subject": "ada@example.com",
                "access": "https://www.googleapis.com/auth/spreadsheets.readonly",
            }),
            &[
                "GET https://sheets.googleapis.com/v4/spreadsheets/0?fields=spreadsheetId",
                "authorization: Bearer token-1",
                "token POST https://oauth2.googleapis.com/token",
                "token content-type: application/x-www-form-urlencoded",
                "token grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer",
                r#"token jwt {"alg":"RS256","kid":"kid1","typ":"JWT"}"#,
                r#"token jwt {"aud":"https://oauth2.googleapis.com/token","exp":1700000180,"iat":1700000000,"iss":"robot@demo.iam.gserviceaccount.com","scope":"https://www.googleapis.com/auth/spreadsheets.readonly","sub":"ada@example.com"}"#,
            ],
        ),
        row(
            "hubspot",
            "token",
            json!({"token": "pat-na1-abc"}),
            &["GET https://api.hubapi.com/account-info/v3/details", "authorization: Bearer pat-na1-abc"],
        ),
        row(
            "jira",
            "api_token",
            json!({"site": "https://example.atlassian.net", "email": "ada@example.com", "api_token": "tok"}),
            &[
                "GET https://example.atlassian.net/rest/api/3/myself",
                "authorization: Basic ada@example.com:tok",
            ],
        ),
        row(
            "jira",
            "scoped_api_token",
            json!({"cloud_id": CLOUD, "email": "ada@example.com", "api_token": "tok"}),
            &[
                "GET https://api.atlassian.com/ex/jira/1a11d016-8984-4c3e-b9ab-142dd06acb1b/rest/api/3/myself",
                "authorization: Basic ada@example.com:tok",
            ],
        ),
        row(
            "kobotoolbox",
            "token",
            json!({"token": "abc"}),
            &["GET https://kf.kobotoolbox.org/me/?format=json", "authorization: Token abc"],
        ),
        row(
            "kobotoolbox",
            "basic",
            json!({"base_url": "https://eu.kobotoolbox.org/", "username": "ada", "password": "pass"}),
            &["GET https://eu.kobotoolbox.org/me/?format=json", "authorization: Basic ada:pass"],
        ),
        row(
            "mailchimp",
            "api_key",
            json!({"api_key": "0123456789abcdef-us21"}),
            &[
                "GET https://us21.api.mailchimp.com/3.0/?fields=account_id%2Caccount_name",
                "authorization: Basic latchstring:0123456789abcdef-us21",
            ],
        ),
        row(
            "microsoft_graph",
            "client_credentials",
            json!({"tenant": "contoso.example.com", "client_id": "app", "client_secret": "s~cret"}),
            &[
                "GET https://graph.microsoft.com/v1.0/organization?%24select=id%2CdisplayName",
                "authorization: Bearer token-1",
                "token POST https://login.microsoftonline.com/contoso.example.com/oauth2/v2.0/token",
                "token content-type: application/x-www-form-urlencoded",
                "token client_id=app",
                "token client_secret=s%7Ecret",
                "token grant_type=client_credentials",
                "token scope=https%3A%2F%2Fgraph.microsoft.com%2F.default",
            ],
        ),
        row(
            "microsoft_graph",
            "client_credentials",
            json!({"tenant": "t", "client_id": "app", "client_secret": "secret", "cloud": "us_dod"}),
            &[
                "GET https://dod-graph.microsoft.us/v1.0/organization?%24select=id%2CdisplayName",
                "authorization: Bearer token-1",
                "token POST https://login.microsoftonline.us/t/oauth2/v2.0/token",
                "token content-type: application/x-www-form-urlencoded",
                "token client_id=app",
                "token client_secret=secret",
                "token grant_type=client_credentials",
                "token scope=https%3A%2F%2Fdod-graph.microsoft.us%2F.default",
            ],
        ),
        row(
            "microsoft_graph",
            "client_credentials",
            json!({"tenant": "t", "client_id": "app", "client_secret": "secret", "cloud": "china"}),
            &[
                "GET https://microsoftgraph.chinacloudapi.cn/v1.0/organization?%24select=id%2CdisplayName",
                "authorization: Bearer token-1",
                "token POST https://login.chinacloudapi.cn/t/oauth2/v2.0/token",
                "token content-type: application/x-www-form-urlencoded",
                "token client_id=app",
                "token client_secret=secret",
                "token grant_type=client_credentials",
                "token scope=https%3A%2F%2Fmicrosoftgraph.chinacloudapi.cn%2F.default",
            ],
        ),
        row(
            "notion",
            "token",
            json!({"token": "ntn_abc"}),
            &[
                "GET https://api.notion.com/v1/users/me",
                "authorization: Bearer ntn_abc",
                "notion-version: 2025-09-03",
            ],
        ),
        row(
            "openai",
            "api_key",
            json!({"api_key": "sk-abc", "project_id": "proj_1"}),
            &[
                "GET https://api.openai.com/v1/models",
                "authorization: Bearer sk-abc",
                "openai-project: proj_1",
            ],
        ),
        row(
            "openmrs",
            "basic",
            json!({"base_url": "https://emr.example.org/openmrs/", "username": "robot", "password": "pass"}),
            &["GET https://emr.example.org/openmrs/ws/rest/v1/session", "authorization: Basic robot:pass"],
        ),
        row(
            "sandbox",
            "api_key",
            json!({"key": "sandbox-key-not-a-secret"}),
            &["GET http://127.0.0.1:5283/v1/me", "x-api-key: sandbox-key-not-a-secret"],
        ),
        row(
            "sandbox",
            "basic",
            json!({"base_url": "http://127.0.0.1:4000/", "password": "sandbox-password-not-a-secret"}),
            &[
                "GET http://127.0.0.1:4000/v1/me",
                "authorization: Basic sandbox:sandbox-password-not-a-secret",
            ],
        ),
        row(
            "sandbox",
            "oauth2_client_credentials",
            json!({"client_secret": "sandbox-client-secret-not-a-secret", "scope": "people:read"}),
            &[
                "GET http://127.0.0.1:5283/v1/me",
                "authorization: Bearer token-1",
                "token POST http://127.0.0.1:5283/oauth/token",
                "token authorization: Basic sandbox-client:sandbox-client-secret-not-a-secret",
                "token content-type: application/x-www-form-urlencoded",
                "token grant_type=client_credentials",
                "token scope=people%3Aread",
            ],
        ),
        row(
            "sandbox",
            "oauth2_jwt_bearer",
            json!({"private_key": key}),
            &[
                "GET http://127.0.0.1:5283/v1/me",
                "authorization: Bearer token-1",
                "token POST http://127.0.0.1:5283/oauth/token",
                "token content-type: application/x-www-form-urlencoded",
                "token grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer",
                r#"token jwt {"alg":"RS256","typ":"JWT"}"#,
                r#"token jwt {"aud":"http://127.0.0.1:5283/oauth/token","exp":1700000180,"iat":1700000000,"iss":"sandbox-robot","sub":"ada@example.com"}"#,
            ],
        ),
        row(
            "sandbox",
            "jwt",
            json!({"private_key": key, "subject": "{{ user.email }}"}),
            &[
                "GET http://127.0.0.1:5283/v1/me",
                "authorization: Bearer",
                r#"jwt {"alg":"RS256","typ":"JWT"}"#,
                r#"jwt {"aud":"http://127.0.0.1:5283","exp":1700000180,"iat":1700000000,"iss":"sandbox-robot","sub":"ada@example.org"}"#,
            ],
        ),
        row(
            "sandbox",
            "jwt",
            json!({"private_key": "sandbox-shared-secret-of-32-bytes-or-more-not-a-secret", "algorithm": "HS256"}),
            &[
                "GET http://127.0.0.1:5283/v1/me",
                "authorization: Bearer",
                r#"jwt {"alg":"HS256","typ":"JWT"}"#,
                r#"jwt {"aud":"http://127.0.0.1:5283","exp":1700000180,"iat":1700000000,"iss":"sandbox-robot"}"#,
            ],
        ),
        row(
            "sendgrid",
            "api_key",
            json!({"api_key": "SG.a.b"}),
            &["GET https://api.sendgrid.com/v3/scopes", "authorization: Bearer SG.a.b"],
        ),
        row(
            "sendgrid",
            "api_key",
            json!({"api_key": "SG.a.b", "region": "https://api.eu.sendgrid.com"}),
            &["GET https://api.eu.sendgrid.com/v3/scopes", "authorization: Bearer SG.a.b"],
        ),
        row(
            "shopify",
            "access_token",
            json!({"shop": "example", "access_token": "shpat_abc"}),
            &[
                "POST https://example.myshopify.com/admin/api/2026-10/graphql.json",
                "content-type: application/json",
                "x-shopify-access-token: shpat_abc",
                r#"body {"query":"query { shop { name myshopifyDomain } }"}"#,
            ],
        ),
        row(
            "shopify",
            "client_credentials",
            json!({"shop": "example.myshopify.com", "client_id": "id", "client_secret": "secret", "api_version": "unstable"}),
            &[
                "POST https://example.myshopify.com/admin/api/unstable/graphql.json",
                "content-type: application/json",
                "x-shopify-access-token: token-1",
                r#"body {"query":"query { shop { name myshopifyDomain } }"}"#,
                "token POST https://example.myshopify.com/admin/oauth/access_token",
                "token content-type: application/x-www-form-urlencoded",
                "token client_id=id",
                "token client_secret=secret",
                "token grant_type=client_credentials",
            ],
        ),
        row(
            "slack",
            "token",
            json!({"token": "xoxb-abc"}),
            &["POST https://slack.com/api/auth.test", "authorization: Bearer xoxb-abc"],
        ),
        row(
            "stripe",
            "api_key",
            json!({"api_key": "rk_test_abc", "account": "acct_1"}),
            &[
                "GET https://api.stripe.com/v1/balance",
                "authorization: Bearer rk_test_abc",
                "stripe-account: acct_1",
            ],
        ),
        row(
            "telegram",
            "bot_token",
            json!({"bot_token": "123:AA-b_c"}),
            &["GET https://api.telegram.org/bot123:AA-b_c/getMe"],
        ),
        row(
            "twilio",
            "api_key",
            json!({"account_sid": account, "api_key_sid": format!("SK{}", "1".repeat(32)), "api_key_secret": "secret"}),
            &[
                "GET https://api.twilio.com/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages.json?PageSize=1",
                "authorization: Basic SK11111111111111111111111111111111:secret",
            ],
        ),
        row(
            "twilio",
            "auth_token",
            json!({"account_sid": account, "auth_token": "secret"}),
            &[
                "GET https://api.twilio.com/2010-04-01/Accounts/AC00000000000000000000000000000000.json",
                "authorization: Basic AC00000000000000000000000000000000:secret",
            ],
        ),
        row(
            "weatherapi",
            "api_key",
            json!({"api_key": "abc"}),
            &["GET https://api.weatherapi.com/v1/current.json?q=London&key=abc"],
        ),
        row(
            "zendesk",
            "api_token",
            json!({"subdomain": "example", "email": "ada@example.com", "api_token": "tok"}),
            &[
                "GET https://example.zendesk.com/api/v2/users/me.json",
                "authorization: Basic ada@example.com/token:tok",
            ],
        ),
        row(
            "zendesk",
            "client_credentials",
            json!({"subdomain": "example", "client_id": "id", "client_secret": "secret"}),
            &[
                "GET https://example.zendesk.com/api/v2/users/me.json",
                "authorization: Bearer token-1",
                "token POST https://example.zendesk.com/oauth/tokens",
                "token content-type: application/json",
                r#"token body {"client_id":"id","client_secret":"secret","grant_type":"client_credentials","scope":"read write"}"#,
            ],
        ),
    ]
}

fn values(definition: &Definition, method: &AuthMethod, given: &Value) -> Values {
    definition.check_values(method, given.as_object().unwrap()).unwrap_or_else(|errors| {
        let all =
            errors.iter().map(|error| format!("{}: {}", error.pointer, error.detail)).collect::<Vec<_>>();
        panic!("{} {}: {}", definition.id, method.id, all.join("; "))
    })
}

/// A world in which a token has been obtained, where one is needed.
fn world(method: &AuthMethod) -> World {
    let mut world = World::new();
    if method.scheme.has_token() {
        world.token = Some(Map::new());
    }
    world
}

/// A client that names endpoints only where the method leaves them open.
fn silent_where_named(method: &AuthMethod) -> latchstring_connectors::OAuthClient {
    use latchstring_connectors::NamedEndpoint::Missing;
    let mut client = oauth_client();
    let named = |name: &str| method.endpoint(name) != Missing;
    let endpoints = &mut client.endpoints;
    for (name, place) in [
        ("authorization_endpoint", &mut endpoints.authorization),
        ("token_endpoint", &mut endpoints.token),
        ("revocation_endpoint", &mut endpoints.revocation),
        ("userinfo_endpoint", &mut endpoints.userinfo),
        ("device_authorization_endpoint", &mut endpoints.device_authorization),
    ] {
        if named(name) {
            *place = None;
        }
    }
    client
}

fn line(name: &HeaderName, value: &HeaderValue) -> String {
    let text = value.to_str().unwrap();
    let text = match text.strip_prefix("Basic ") {
        // Told apart by people only without base64.
        Some(coded) => {
            let plain = base64::engine::general_purpose::STANDARD.decode(coded).unwrap();
            format!("Basic {}", String::from_utf8(plain).unwrap())
        }
        None => text.to_owned(),
    };
    format!("{name}: {text}")
}

/// Header and claims, without what differs from time to time.
fn jwt(text: &str) -> Option<Vec<String>> {
    let parts = text.split('.').collect::<Vec<_>>();
    let [header, claims, _] = parts.as_slice() else { return None };
    let read = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let (mut header, mut claims) = (read(header)?, read(claims)?);
    claims.as_object_mut()?.remove("jti");
    header.sort_all_objects();
    claims.sort_all_objects();
    Some(vec![format!("jwt {header}"), format!("jwt {claims}")])
}

fn headers(map: &HeaderMap) -> Vec<String> {
    let mut lines = Vec::new();
    let mut signed = Vec::new();
    for (name, value) in map {
        match value.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")).and_then(jwt) {
            Some(parts) => {
                lines.push(format!("{name}: Bearer"));
                signed = parts;
            }
            None => lines.push(line(name, value)),
        }
    }
    lines.sort();
    lines.extend(signed);
    lines
}

fn token_lines(request: &WireRequest) -> Vec<String> {
    let mut lines = vec![format!("{} {}", request.method, request.address)];
    let mut sent = request.headers.clone();
    sent.remove(http::header::ACCEPT);
    lines.extend(headers(&sent));
    let body = String::from_utf8(request.body.expose().to_vec()).unwrap();
    if body.starts_with('{') {
        let mut sorted: Value = serde_json::from_str(&body).unwrap();
        sorted.sort_all_objects();
        lines.push(format!("body {sorted}"));
    } else {
        let mut pairs = body.split('&').map(str::to_owned).collect::<Vec<_>>();
        pairs.sort();
        for pair in pairs {
            match pair.strip_prefix("assertion=").and_then(jwt) {
                Some(parts) => lines.extend(parts),
                None => lines.push(pair),
            }
        }
        // The assertion's parts stand at the end.
        lines.sort_by_key(|line| line.starts_with("jwt "));
    }
    lines.into_iter().map(|line| format!("token {line}")).collect()
}

/// The verification as it would leave.
fn sent(
    definition: &Definition,
    method: &AuthMethod,
    resolved: Resolved,
    now: Timestamp,
    world: &World,
) -> Vec<String> {
    let Resolved { scheme, base_url, headers: fixed, query, verify, .. } = resolved;
    let verify: OwnRequest =
        verify.unwrap_or_else(|| panic!("{} {} verifies nothing", definition.id, method.id));
    let base = base_url.unwrap();
    let To::Path(path) = &verify.to else { panic!("a path") };
    let address = Address::parse(&format!("{}{}", base.expose(), path.expose())).unwrap();
    let mut pairs = query.sent.iter().map(|one| (one.name.clone(), one.value.clone())).collect::<Vec<_>>();
    pairs.extend(verify.query.iter().cloned());
    let asked = OwnRequest {
        method: verify.method.clone(),
        to: To::Path(path.clone()),
        query: pairs,
        headers: Vec::new(),
        body: None,
        expect: verify.expect.clone(),
        account: None,
    };
    let mut target = address.target();
    if let Some(query) = asked.encoded_query() {
        target = format!("{target}?{}", query.expose());
    }
    let mut map = HeaderMap::new();
    for (name, value) in fixed
        .sent
        .iter()
        .map(|one| (&one.name, &one.value))
        .chain(verify.headers.iter().map(|(name, value)| (name, value)))
    {
        map.insert(
            HeaderName::try_from(name.as_str()).unwrap(),
            HeaderValue::try_from(value.expose()).unwrap(),
        );
    }
    let body = verify.body.as_ref().map(|body| String::from_utf8(body.bytes.expose().to_vec()).unwrap());
    if let Some(body) = &verify.body {
        map.insert(CONTENT_TYPE, HeaderValue::try_from(body.content_type.as_str()).unwrap());
    }
    let prepared = scheme
        .prepare(&world.keys)
        .unwrap_or_else(|error| panic!("{} {}: {error}", definition.id, method.id));
    let token = prepared.needs_token().then(|| TokenSet::new("token-1", now));
    let mut out =
        Outgoing { method: &verify.method, origin: &address.origin, target: &mut target, headers: &mut map };
    prepared
        .sign(
            &mut out,
            Some(body.as_deref().unwrap_or_default().as_bytes()),
            token.as_ref(),
            now,
            &world.entropy,
        )
        .unwrap_or_else(|error| panic!("{} {}: {error}", definition.id, method.id));
    let mut lines = vec![format!("{} {}{target}", verify.method, address.origin)];
    lines.extend(headers(&map));
    lines.extend(body.map(|body| format!("body {body}")));
    if let Some(grant) = prepared.grant() {
        let request =
            Grant::token_request(grant, None, now, &world.entropy).unwrap_or_else(|error| panic!("{error}"));
        lines.extend(token_lines(&request));
    }
    lines
}

/// Connectors and methods whose verification is checked here.
pub fn checked() -> Vec<(&'static str, &'static str)> {
    rows().into_iter().map(|row| (row.connector, row.method)).collect()
}

#[test]
fn values_lead_to_exactly_these_requests() {
    for Row { connector: id, method, values: given, lines } in rows() {
        let definition = connector(id);
        let method = definition.method(method).unwrap_or_else(|| panic!("{id} has no method {method}"));
        let values = values(definition, method, &given);
        let world = world(method);
        let resolved = definition
            .resolve(method, &world.context(&values))
            .unwrap_or_else(|error| panic!("{id} {}: {error}", method.id));
        assert!(resolved.complete, "{id} {}", method.id);
        for destination in &resolved.destinations {
            let verdict = definition.host_verdict(&destination.pin.origin);
            assert_eq!(verdict, HostVerdict::Allowed, "{id} {}: {}", method.id, destination.pin.origin);
            // Pins are stored in the open.
            for secret in &resolved.mask {
                assert!(!destination.pin.prefix.contains(secret.expose()), "{id} {}", method.id);
            }
        }
        let found = sent(definition, method, resolved, world.now, &world);
        let same = found.len() == lines.len()
            && found.iter().zip(lines).all(|(found, wanted)| match wanted.strip_suffix('*') {
                Some(beginning) => found.starts_with(beginning),
                None => found == wanted,
            });
        assert!(
            same,
            "{id} {}\nfound:\n  {}\nwanted:\n  {}",
            method.id,
            found.join("\n  "),
            lines.join("\n  ")
        );
    }
}

#[test]
fn every_method_that_can_be_used_has_a_row() {
    let rows = rows();
    let known = rows.iter().map(|row| (row.connector, row.method)).collect::<BTreeSet<_>>();
    for id in known.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>() {
        let definition = connector(id);
        for method in &definition.auth_methods {
            if !method.needs_consent() {
                assert!(known.contains(&(id, method.id.as_str())), "{id} {} has no row", method.id);
            } else {
                let none = json!({});
                let given = rows.iter().find(|row| row.connector == id).map_or(&none, |row| &row.values);
                // Whatever of those values it has too.
                let given = given
                    .as_object()
                    .unwrap()
                    .iter()
                    .filter(|(name, _)| method.field(name).is_some())
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .chain([("cloud_id".to_owned(), json!(CLOUD)), ("data_center".to_owned(), json!("us21"))])
                    .filter(|(name, _)| method.field(name).is_some())
                    .collect::<Map<_, _>>();
                let values = values(definition, method, &Value::Object(given));
                let mut world = World::new();
                match definition.resolve(method, &world.context(&values)) {
                    Err(RenderError::NotUsable { .. }) => {}
                    Err(error) => panic!("{id} {}: {error}", method.id),
                    Ok(_) => panic!("{id} {} needs an OAuth client", method.id),
                }
                world.client = Some(silent_where_named(method));
                let resolved = definition
                    .resolve(method, &world.context(&values))
                    .unwrap_or_else(|error| panic!("{id} {}: {error}", method.id));
                assert!(resolved.needs_token && resolved.consent.is_some(), "{id} {}", method.id);
                for place in resolved.destinations.iter().filter(|place| !place.of_client) {
                    let verdict = definition.host_verdict(&place.pin.origin);
                    assert_eq!(verdict, HostVerdict::Allowed, "{id} {} {}", method.id, place.from);
                }
            }
        }
        for field in definition.auth_methods.iter().flat_map(|method| &method.fields) {
            assert!(field.label.is_some(), "{id}: the field {} has no label", field.name);
            let named = ["secret", "password", "token", "key", "passphrase"]
                .iter()
                .any(|word| field.name.ends_with(word));
            assert_eq!(field.secret, named, "{id}: is {} a secret?", field.name);
        }
        assert!(definition.docs_url.is_some() || definition.sandbox, "{id}");
        assert!(definition.description.is_some() && !definition.categories.is_empty(), "{id}");
    }
}

#[test]
fn operations_and_metadata_render_with_the_least_and_with_everything() {
    for Row { connector: id, method, values: given, .. } in rows() {
        let definition = connector(id);
        let method = definition.method(method).unwrap();
        let values = values(definition, method, &given);
        let render = |operation: &Operation, all: bool| {
            let fields =
                operation.input.iter().filter(|field| all || !field.optional && field.default.is_none());
            let given = fields.map(|field| (field.name.clone(), input(field))).collect::<Map<_, _>>();
            let mut world = world(method);
            let checked = definition.check_input(operation, &given).unwrap_or_else(|errors| {
                panic!("{id} {}: {}: {}", operation.name, errors[0].pointer, errors[0].detail)
            });
            world.input = Some(checked);
            let (request, ..) = definition
                .render_operation(operation, method, &world.context(&values))
                .unwrap_or_else(|error| panic!("{id} {} {}: {error}", method.id, operation.name));
            let To::Path(path) = &request.to else { panic!("{id} {}: a path", operation.name) };
            assert!(path.expose().starts_with('/'), "{id} {}: {}", operation.name, path.expose());
            assert!(!path.expose().contains([' ', '?', '{']), "{id} {}: {}", operation.name, path.expose());
            request
        };
        for operation in definition.operations.iter().chain(&definition.metadata) {
            let least = render(operation, false);
            let most = render(operation, true);
            assert!(least.query.len() <= most.query.len());
            assert!(operation.label.is_some(), "{id} {}", operation.name);
        }
    }
}

#[test]
fn answers_are_taken_for_what_they_are() {
    let judge = |id: &str, method: &str, status: u16, body: &str| {
        let definition = connector(id);
        let method = definition.method(method).unwrap();
        let spec = method.verify.as_ref().or(definition.verify.as_ref()).unwrap();
        let account = spec
            .account
            .as_ref()
            .and_then(|path| path.get(&serde_json::from_str::<Value>(body).ok()?))
            .map(|found| found.as_str().map_or_else(|| found.to_string(), str::to_owned));
        (spec.expect.fits(status, body.as_bytes()), account)
    };
    let good = [
        ("google_sheets", "service_account", 404, r#"{"error": {"code": 404, "status": "NOT_FOUND"}}"#, None),
        ("google_drive", "service_account", 200, r#"{"user": {"emailAddress": "a@b"}}"#, Some("a@b")),
        ("slack", "token", 200, r#"{"ok": true, "user": "bot", "team": "T"}"#, Some("bot")),
        ("openmrs", "basic", 200, r#"{"authenticated": true, "user": {"display": "ada"}}"#, Some("ada")),
        ("confluence", "api_token", 200, r#"{"type": "known", "displayName": "Ada"}"#, Some("Ada")),
        (
            "microsoft_graph",
            "client_credentials",
            200,
            r#"{"value": [{"displayName": "Contoso"}]}"#,
            Some("Contoso"),
        ),
        (
            "microsoft_graph",
            "client_credentials",
            403,
            r#"{"error": {"code": "Authorization_RequestDenied"}}"#,
            None,
        ),
        ("shopify", "access_token", 200, r#"{"data": {"shop": {"name": "Example"}}}"#, Some("Example")),
        ("zendesk", "api_token", 200, r#"{"user": {"id": 1, "email": "a@b"}}"#, Some("a@b")),
        ("telegram", "bot_token", 200, r#"{"ok": true, "result": {"username": "bot"}}"#, Some("bot")),
        ("hubspot", "token", 200, r#"{"portalId": 42}"#, Some("42")),
        ("kobotoolbox", "token", 200, r#"{"username": "ada"}"#, Some("ada")),
        ("aws_s3", "access_key", 200, "<ListAllMyBucketsResult/>", None),
        (
            "sandbox",
            "api_key",
            200,
            r#"{"signed_in_with": "api_key", "subject": "api-key"}"#,
            Some("api-key"),
        ),
    ];
    for (id, method, status, body, account) in good {
        assert_eq!(
            judge(id, method, status, body),
            (true, account.map(str::to_owned)),
            "{id} {status} {body}"
        );
    }
    // Refusals, some of which come with status 200, and what they mean for their reader.
    let bad = [
        (
            "google_sheets",
            "service_account",
            403,
            r#"{"error": {"message": "Google Sheets API has not been used in project 1 before or it is disabled.", "status": "PERMISSION_DENIED"}}"#,
            "Enable",
        ),
        ("slack", "token", 200, r#"{"ok": false, "error": "invalid_auth"}"#, "does not accept"),
        ("openmrs", "basic", 200, r#"{"sessionId":"1","authenticated":false}"#, "password is wrong"),
        (
            "confluence",
            "api_token",
            200,
            r#"{"type":"anonymous","displayName":"Anonymous"}"#,
            "do not belong together",
        ),
        (
            "microsoft_graph",
            "client_credentials",
            401,
            r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided."}"#,
            "not its Secret ID",
        ),
        (
            "shopify",
            "access_token",
            401,
            r#"{"errors":"[API] Invalid API key or access token (unrecognized login or wrong password)"}"#,
            "another store",
        ),
        ("zendesk", "api_token", 200, r#"{"user": {"id": null}}"#, ""),
        ("zendesk", "api_token", 401, r#"{"error": "Couldn't authenticate you"}"#, "token access"),
        (
            "twilio",
            "auth_token",
            401,
            r#"{"code": 20003, "message": "Authenticate", "status": 401}"#,
            "do not belong together",
        ),
        (
            "telegram",
            "bot_token",
            401,
            r#"{"ok": false, "error_code": 401, "description": "Unauthorized"}"#,
            "BotFather",
        ),
        ("aws_s3", "access_key", 403, "<Error><Code>SignatureDoesNotMatch</Code></Error>", "does not belong"),
        (
            "weatherapi",
            "api_key",
            401,
            r#"{"error": {"code": 2006, "message": "API key is invalid."}}"#,
            "not known",
        ),
        ("sandbox", "api_key", 401, r#"{"error": "wrong_api_key"}"#, "sandbox-key-not-a-secret"),
    ];
    for (id, method, status, body, meaning) in bad {
        assert!(!judge(id, method, status, body).0, "{id} {status} {body}");
        let definition = connector(id);
        let said = definition.explain(definition.method(method), status, body).unwrap_or_default();
        assert!(said.contains(meaning), "{id} {status} {body}: {said:?}");
    }
}
