//! What the connectors of the catalog send, row by row: forms, work, money, mail, monitoring, identity, data.

use latchstring_connectors::{RenderError, StepsNext, StepsRun, builtin};
use latchstring_model::Timestamp;
use latchstring_schemes::wire::WireAnswer;
use serde_json::{Value, json};

use crate::dry_request::{connector, input, operation, token_request, verification};
use crate::world::World;

const KEY: &str = include_str!("key.pem");

/// Connector, method, values, and the request as the API's documentation writes it.
type Row = (&'static str, &'static str, Value, &'static str);

/// Methods whose credential is the proof itself.
fn fixed() -> Vec<Row> {
    vec![
        (
            "gitlab",
            "token",
            json!({"token": "glpat-1"}),
            "GET https://gitlab.com/api/v4/personal_access_tokens/self\nprivate-token: glpat-1",
        ),
        (
            "gitlab",
            "token",
            json!({"base_url": "https://git.example.org/gitlab/", "token": "glpat-1"}),
            "GET https://git.example.org/gitlab/api/v4/personal_access_tokens/self\nprivate-token: glpat-1",
        ),
        (
            "bitbucket",
            "api_token",
            json!({"email": "ada@example.org", "api_token": "ATATT1"}),
            "GET https://api.bitbucket.org/2.0/user\nauthorization: Basic (ada@example.org:ATATT1)",
        ),
        (
            "bitbucket",
            "access_token",
            json!({"workspace": "acme", "token": "ATCTT1"}),
            "GET https://api.bitbucket.org/2.0/repositories/acme\nauthorization: Bearer ATCTT1",
        ),
        (
            "bitbucket",
            "access_token",
            json!({"workspace": "acme", "repository": "web", "token": "ATCTT1"}),
            "GET https://api.bitbucket.org/2.0/repositories/acme/web\nauthorization: Bearer ATCTT1",
        ),
        (
            "asana",
            "token",
            json!({"token": "2/1:a"}),
            "GET https://app.asana.com/api/1.0/users/me?opt_fields=name%2Cemail\nauthorization: Bearer 2/1:a",
        ),
        (
            "trello",
            "key_and_token",
            json!({"api_key": "0123456789abcdef0123456789abcdef", "api_token": "ATTA1"}),
            "GET https://api.trello.com/1/members/me?fields=username%2CfullName&key=0123456789abcdef0123456789abcdef&token=ATTA1",
        ),
        (
            "linear",
            "api_key",
            json!({"key": "lin_api_1"}),
            "POST https://api.linear.app/graphql\nauthorization: lin_api_1\ncontent-type: application/json\n{\"query\":\"query { viewer { id name email } }\"}",
        ),
        (
            "clickup",
            "token",
            json!({"token": "pk_1"}),
            "GET https://api.clickup.com/api/v2/user\nauthorization: pk_1",
        ),
        (
            "monday",
            "token",
            json!({"token": "mon-1"}),
            "POST https://api.monday.com/v2\nauthorization: mon-1\ncontent-type: application/json\n{\"query\":\"query { me { id name email } }\"}",
        ),
        (
            "intercom",
            "token",
            json!({"region": "api.eu.intercom.io", "token": "dG9r1"}),
            "GET https://api.eu.intercom.io/me\nauthorization: Bearer dG9r1\nintercom-version: 2.12",
        ),
        (
            "freshdesk",
            "api_key",
            json!({"domain": "acme", "key": "fd-1"}),
            "GET https://acme.freshdesk.com/api/v2/agents/me\nauthorization: Basic (fd-1:X)",
        ),
        (
            "pipedrive",
            "token",
            json!({"domain": "acme.pipedrive.com", "token": "pd-1"}),
            "GET https://acme.pipedrive.com/api/v1/users/me\nx-api-token: pd-1",
        ),
        (
            "square",
            "token",
            json!({"environment_type": "sandbox", "token": "EAAA1"}),
            "GET https://connect.squareupsandbox.com/v2/merchants/me\nauthorization: Bearer EAAA1\nsquare-version: 2025-01-23",
        ),
        (
            "square",
            "token",
            json!({"token": "EAAA1"}),
            "GET https://connect.squareup.com/v2/merchants/me\nauthorization: Bearer EAAA1\nsquare-version: 2025-01-23",
        ),
        (
            "mailgun",
            "api_key",
            json!({"region": "api.eu.mailgun.net", "key": "key-1"}),
            "GET https://api.eu.mailgun.net/v3/domains?limit=1\nauthorization: Basic (api:key-1)",
        ),
        (
            "postmark",
            "server_token",
            json!({"token": "pm-1"}),
            "GET https://api.postmarkapp.com/server\nx-postmark-server-token: pm-1",
        ),
        (
            "postmark",
            "account_token",
            json!({"token": "pm-2"}),
            "GET https://api.postmarkapp.com/servers?count=1&offset=0\nx-postmark-account-token: pm-2",
        ),
        (
            "brevo",
            "api_key",
            json!({"key": "xkeysib-1"}),
            "GET https://api.brevo.com/v3/account\napi-key: xkeysib-1",
        ),
        (
            "discord",
            "bot",
            json!({"token": "MTk1"}),
            "GET https://discord.com/api/v10/users/@me\nauthorization: Bot MTk1",
        ),
        (
            "dropbox",
            "token",
            json!({"token": "sl.1"}),
            "POST https://api.dropboxapi.com/2/check/user\nauthorization: Bearer sl.1\ncontent-type: application/json\n{\"query\":\"latchstring\"}",
        ),
        // Checked where it can be checked, used where the contents are.
        (
            "dropbox",
            "token",
            json!({"host": "content.dropboxapi.com", "token": "sl.1"}),
            "POST https://api.dropboxapi.com/2/check/user\nauthorization: Bearer sl.1\ncontent-type: application/json\n{\"query\":\"latchstring\"}",
        ),
        (
            "calendly",
            "token",
            json!({"token": "cal-1"}),
            "GET https://api.calendly.com/users/me\nauthorization: Bearer cal-1",
        ),
        (
            "typeform",
            "token",
            json!({"region": "api.eu.typeform.com", "token": "tfp_1"}),
            "GET https://api.eu.typeform.com/me\nauthorization: Bearer tfp_1",
        ),
        (
            "surveymonkey",
            "token",
            json!({"region": "api.surveymonkey.ca", "token": "sm-1"}),
            "GET https://api.surveymonkey.ca/v3/users/me\nauthorization: Bearer sm-1",
        ),
        (
            "odk_central",
            "bearer",
            json!({"base_url": "https://central.example.org/", "token": "odk-1"}),
            "GET https://central.example.org/v1/users/current\nauthorization: Bearer odk-1",
        ),
        (
            "fhir",
            "none",
            json!({"base_url": "https://hapi.fhir.org/baseR4"}),
            "GET https://hapi.fhir.org/baseR4/metadata",
        ),
        (
            "fhir",
            "bearer",
            json!({"base_url": "https://fhir.example.org/r4", "token": "fhir-1"}),
            "GET https://fhir.example.org/r4/Patient?_count=1\nauthorization: Bearer fhir-1",
        ),
        (
            "fhir",
            "basic",
            json!({"base_url": "https://emr.example.org/ws/fhir2/R4/", "username": "ada", "password": "p:w", "test_path": "/Location"}),
            "GET https://emr.example.org/ws/fhir2/R4/Location\nauthorization: Basic (ada:p:w)",
        ),
        (
            "datadog",
            "keys",
            json!({"site": "datadoghq.eu", "api_key": "dd-1", "application_key": "dd-2"}),
            "GET https://api.datadoghq.eu/api/v2/validate_keys\ndd-api-key: dd-1\ndd-application-key: dd-2",
        ),
        (
            "pagerduty",
            "api_key",
            json!({"region": "api.eu.pagerduty.com", "key": "u+1"}),
            "GET https://api.eu.pagerduty.com/abilities\nauthorization: Token token=u+1",
        ),
        (
            "sentry",
            "token",
            json!({"token": "sntryu_1"}),
            "GET https://sentry.io/api/0/organizations/\nauthorization: Bearer sntryu_1",
        ),
        (
            "cloudflare",
            "token",
            json!({"token": "cf-1"}),
            "GET https://api.cloudflare.com/client/v4/user/tokens/verify\nauthorization: Bearer cf-1",
        ),
        (
            "cloudflare",
            "token",
            json!({"token": "cf-1", "account_id": "0123456789abcdef0123456789abcdef"}),
            "GET https://api.cloudflare.com/client/v4/accounts/0123456789abcdef0123456789abcdef/tokens/verify\nauthorization: Bearer cf-1",
        ),
        (
            "cloudflare",
            "global_key",
            json!({"email": "ada@example.org", "key": "cf-2"}),
            "GET https://api.cloudflare.com/client/v4/user\nx-auth-email: ada@example.org\nx-auth-key: cf-2",
        ),
        (
            "digitalocean",
            "token",
            json!({"token": "dop_v1_1"}),
            "GET https://api.digitalocean.com/v2/account\nauthorization: Bearer dop_v1_1",
        ),
        (
            "elasticsearch",
            "api_key",
            json!({"base_url": "https://es.example.org:9243", "key": "VnVhQ2ZHY0JDZGJr"}),
            "GET https://es.example.org:9243/_security/_authenticate\nauthorization: ApiKey VnVhQ2ZHY0JDZGJr",
        ),
        (
            "elasticsearch",
            "basic",
            json!({"base_url": "https://es.example.org/", "username": "elastic", "password": "changeme"}),
            "GET https://es.example.org/_security/_authenticate\nauthorization: Basic (elastic:changeme)",
        ),
        (
            "grafana",
            "token",
            json!({"base_url": "https://acme.grafana.net", "token": "glsa_1"}),
            "GET https://acme.grafana.net/api/search?limit=1\nauthorization: Bearer glsa_1",
        ),
        (
            "grafana",
            "basic",
            json!({"base_url": "https://example.org/grafana", "username": "admin", "password": "pw-1"}),
            "GET https://example.org/grafana/api/search?limit=1\nauthorization: Basic (admin:pw-1)",
        ),
        (
            "nextcloud",
            "app_password",
            json!({"base_url": "https://cloud.example.org", "username": "ada", "app_password": "aaaaa-bbbbb"}),
            "GET https://cloud.example.org/ocs/v2.php/cloud/user?format=json\nauthorization: Basic (ada:aaaaa-bbbbb)\nocs-apirequest: true",
        ),
        (
            "wordpress",
            "application_password",
            json!({"base_url": "https://www.example.org/blog/", "username": "ada", "application_password": "abcd EFGH 1234"}),
            "GET https://www.example.org/blog/wp-json/wp/v2/users/me\nauthorization: Basic (ada:abcd EFGH 1234)",
        ),
        (
            "okta",
            "api_token",
            json!({"org_url": "https://acme.okta.com/", "api_token": "00QCjAl4"}),
            "GET https://acme.okta.com/api/v1/users/me\nauthorization: SSWS 00QCjAl4",
        ),
        (
            "snowflake",
            "token",
            json!({"host": "myorg-acct", "token": "pat-1"}),
            "POST https://myorg-acct.snowflakecomputing.com/api/v2/statements\nauthorization: Bearer pat-1\ncontent-type: application/json\nx-snowflake-authorization-token-type: PROGRAMMATIC_ACCESS_TOKEN\n{\"statement\":\"SELECT CURRENT_USER()\",\"timeout\":30}",
        ),
        (
            "snowflake",
            "key_pair",
            json!({"host": "myorg-acct.snowflakecomputing.com", "account": "myorg-acct", "username": "ada", "private_key": KEY, "fingerprint": "abc="}),
            "POST https://myorg-acct.snowflakecomputing.com/api/v2/statements\nauthorization: Bearer {\"alg\":\"RS256\",\"typ\":\"JWT\"}.{\"exp\":1700000300,\"iat\":1700000000,\"iss\":\"MYORG-ACCT.ADA.SHA256:abc=\",\"sub\":\"MYORG-ACCT.ADA\"}\ncontent-type: application/json\nx-snowflake-authorization-token-type: KEYPAIR_JWT\n{\"statement\":\"SELECT CURRENT_USER()\",\"timeout\":30}",
        ),
        (
            "mistral",
            "api_key",
            json!({"key": "mi-1"}),
            "GET https://api.mistral.ai/v1/models\nauthorization: Bearer mi-1",
        ),
        (
            "cohere",
            "api_key",
            json!({"key": "co-1"}),
            "GET https://api.cohere.com/v1/models?page_size=1\nauthorization: Bearer co-1",
        ),
        (
            "huggingface",
            "token",
            json!({"service": "router.huggingface.co", "token": "hf_1"}),
            "GET https://huggingface.co/api/whoami-v2\nauthorization: Bearer hf_1",
        ),
    ]
}

/// Connector, method, values, the token request, what its answer brings, and the verification with the token.
type TokenRow = (&'static str, &'static str, Value, &'static str, Value, &'static str);

fn grants() -> Vec<TokenRow> {
    vec![
        (
            "bitbucket",
            "client_credentials",
            json!({"workspace": "acme", "client_id": "id-1", "client_secret": "sec-1"}),
            "POST https://bitbucket.org/site/oauth2/access_token\nauthorization: Basic (id-1:sec-1)\ncontent-type: application/x-www-form-urlencoded\ngrant_type=client_credentials",
            json!({}),
            "GET https://api.bitbucket.org/2.0/repositories/acme\nauthorization: Bearer TOKEN",
        ),
        (
            "zoho_crm",
            "client_credentials",
            json!({"accounts_url": "https://accounts.zoho.eu", "org_id": "600", "client_id": "1000.A", "client_secret": "sec-1", "scope": "ZohoCRM.modules.ALL,ZohoCRM.users.READ"}),
            "POST https://accounts.zoho.eu/oauth/v2/token\ncontent-type: application/x-www-form-urlencoded\ngrant_type=client_credentials&scope=ZohoCRM.modules.ALL%2CZohoCRM.users.READ&client_id=1000.A&client_secret=sec-1&soid=ZohoCRM.600",
            json!({"api_domain": "https://www.zohoapis.eu"}),
            "GET https://www.zohoapis.eu/crm/v8/users?type=CurrentUser\nauthorization: Zoho-oauthtoken TOKEN",
        ),
        (
            "xero",
            "client_credentials",
            json!({"client_id": "id-1", "client_secret": "sec-1", "scope": "accounting.contacts accounting.settings"}),
            "POST https://identity.xero.com/connect/token\nauthorization: Basic (id-1:sec-1)\ncontent-type: application/x-www-form-urlencoded\ngrant_type=client_credentials&scope=accounting.contacts+accounting.settings",
            json!({}),
            "GET https://api.xero.com/connections\nauthorization: Bearer TOKEN",
        ),
        (
            "paypal",
            "client_credentials",
            json!({"client_id": "id-1", "client_secret": "sec-1"}),
            "POST https://api-m.paypal.com/v1/oauth2/token\nauthorization: Basic (id-1:sec-1)\ncontent-type: application/x-www-form-urlencoded\ngrant_type=client_credentials",
            json!({}),
            "GET https://api-m.paypal.com/v1/notifications/webhooks-event-types\nauthorization: Bearer TOKEN",
        ),
        (
            "paypal",
            "client_credentials",
            json!({"environment_type": "sandbox", "client_id": "id-1", "client_secret": "sec-1"}),
            "POST https://api-m.sandbox.paypal.com/v1/oauth2/token\nauthorization: Basic (id-1:sec-1)\ncontent-type: application/x-www-form-urlencoded\ngrant_type=client_credentials",
            json!({}),
            "GET https://api-m.sandbox.paypal.com/v1/notifications/webhooks-event-types\nauthorization: Bearer TOKEN",
        ),
        (
            "zoom",
            "server_to_server",
            json!({"account_id": "acc-1", "client_id": "id-1", "client_secret": "sec-1"}),
            "POST https://zoom.us/oauth/token\nauthorization: Basic (id-1:sec-1)\ncontent-type: application/x-www-form-urlencoded\ngrant_type=account_credentials&account_id=acc-1",
            json!({}),
            "GET https://api.zoom.us/v2/users/me\nauthorization: Bearer TOKEN",
        ),
        (
            "box",
            "client_credentials",
            json!({"client_id": "id-1", "client_secret": "sec-1", "subject_id": "42"}),
            "POST https://api.box.com/oauth2/token\ncontent-type: application/x-www-form-urlencoded\ngrant_type=client_credentials&client_id=id-1&client_secret=sec-1&box_subject_type=enterprise&box_subject_id=42",
            json!({}),
            "GET https://api.box.com/2.0/users/me\nauthorization: Bearer TOKEN",
        ),
        (
            "box",
            "jwt",
            json!({"client_id": "id-1", "client_secret": "sec-1", "public_key_id": "pk-1", "private_key": KEY, "subject_type": "user", "subject_id": "42"}),
            "POST https://api.box.com/oauth2/token\ncontent-type: application/x-www-form-urlencoded\ngrant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={\"alg\":\"RS512\",\"kid\":\"pk-1\",\"typ\":\"JWT\"}.{\"aud\":\"https://api.box.com/oauth2/token\",\"box_sub_type\":\"user\",\"exp\":1700000045,\"iat\":1700000000,\"iss\":\"id-1\",\"sub\":\"42\"}&client_id=id-1&client_secret=sec-1",
            json!({}),
            "GET https://api.box.com/2.0/users/me\nauthorization: Bearer TOKEN",
        ),
        (
            "fhir",
            "backend_services",
            json!({"base_url": "https://fhir.example.org/r4", "token_url": "https://auth.example.org/token/", "client_id": "id-1", "private_key": KEY, "key_id": "k-1"}),
            "POST https://auth.example.org/token/\ncontent-type: application/x-www-form-urlencoded\ngrant_type=client_credentials&scope=system%2F*.read&client_id=id-1&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={\"alg\":\"RS384\",\"kid\":\"k-1\",\"typ\":\"JWT\"}.{\"aud\":\"https://auth.example.org/token/\",\"exp\":1700000180,\"iat\":1700000000,\"iss\":\"id-1\",\"sub\":\"id-1\"}",
            json!({}),
            "GET https://fhir.example.org/r4/Patient?_count=1\nauthorization: Bearer TOKEN",
        ),
        (
            "fhir",
            "client_credentials",
            json!({"base_url": "https://fhir.example.org/r4", "token_url": "https://auth.example.org/token", "client_id": "id-1", "client_secret": "sec-1", "client_auth": "post", "token_params": {"resource": "r-1"}}),
            "POST https://auth.example.org/token\ncontent-type: application/x-www-form-urlencoded\ngrant_type=client_credentials&client_id=id-1&client_secret=sec-1&resource=r-1",
            json!({}),
            "GET https://fhir.example.org/r4/Patient?_count=1\nauthorization: Bearer TOKEN",
        ),
        (
            "pagerduty",
            "client_credentials",
            json!({"region": "api.eu.pagerduty.com", "subdomain": "acme", "client_id": "id-1", "client_secret": "sec-1", "scope": "incidents.read services.read"}),
            "POST https://identity.pagerduty.com/oauth/token\ncontent-type: application/x-www-form-urlencoded\ngrant_type=client_credentials&scope=as_account-eu.acme+incidents.read+services.read&client_id=id-1&client_secret=sec-1",
            json!({}),
            "GET https://api.eu.pagerduty.com/abilities\nauthorization: Bearer TOKEN",
        ),
        (
            "okta",
            "service_app",
            json!({"org_url": "https://acme.okta.com", "client_id": "0oa1", "private_key": KEY, "key_id": "k-1"}),
            "POST https://acme.okta.com/oauth2/v1/token\ncontent-type: application/x-www-form-urlencoded\ngrant_type=client_credentials&scope=okta.users.read&client_id=0oa1&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={\"alg\":\"RS256\",\"kid\":\"k-1\",\"typ\":\"JWT\"}.{\"aud\":\"https://acme.okta.com/oauth2/v1/token\",\"exp\":1700000180,\"iat\":1700000000,\"iss\":\"0oa1\",\"sub\":\"0oa1\"}",
            json!({}),
            "GET https://acme.okta.com/api/v1/users?limit=1\nauthorization: Bearer TOKEN",
        ),
        (
            "okta",
            "service_app",
            json!({"org_url": "https://acme.okta.com", "client_id": "0oa1", "private_key": KEY, "scope": "okta.groups.read", "test_path": "/api/v1/groups"}),
            "POST https://acme.okta.com/oauth2/v1/token\ncontent-type: application/x-www-form-urlencoded\ngrant_type=client_credentials&scope=okta.groups.read&client_id=0oa1&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={\"alg\":\"RS256\",\"typ\":\"JWT\"}.{\"aud\":\"https://acme.okta.com/oauth2/v1/token\",\"exp\":1700000180,\"iat\":1700000000,\"iss\":\"0oa1\",\"sub\":\"0oa1\"}",
            json!({}),
            "GET https://acme.okta.com/api/v1/groups\nauthorization: Bearer TOKEN",
        ),
        (
            "auth0",
            "client_credentials",
            json!({"domain": "acme.eu.auth0.com", "client_id": "id-1", "client_secret": "sec-1"}),
            "POST https://acme.eu.auth0.com/oauth/token\ncontent-type: application/x-www-form-urlencoded\ngrant_type=client_credentials&client_id=id-1&client_secret=sec-1&audience=https%3A%2F%2Facme.eu.auth0.com%2Fapi%2Fv2%2F",
            json!({}),
            "GET https://acme.eu.auth0.com/api/v2/clients?fields=client_id&per_page=1\nauthorization: Bearer TOKEN",
        ),
    ]
}

/// Connectors and methods whose verification is checked here.
pub fn checked() -> Vec<(&'static str, &'static str)> {
    let grants = grants().into_iter().map(|row| (row.0, row.1));
    fixed().into_iter().map(|row| (row.0, row.1)).chain(grants).collect()
}

#[test]
fn each_credential_is_verified_by_the_right_request() {
    let mut wrong = Vec::new();
    for (id, method, values, expected) in fixed() {
        let sent = verification(id, method, &values, None);
        if sent != expected {
            wrong.push(format!("{id}.{method}\n{sent}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_token_is_asked_for_and_used_in_the_right_way() {
    let mut wrong = Vec::new();
    for (id, method, values, asked, brought, expected) in grants() {
        for (sent, expected) in [
            (token_request(id, method, &values), asked),
            (verification(id, method, &values, Some(&brought)), expected),
        ] {
            if sent != expected {
                wrong.push(format!("{id}.{method}\n{sent}\n"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn odk_central_signs_in_and_uses_the_session() {
    let definition = connector("odk_central");
    let method = definition.method("session").unwrap();
    let given =
        json!({"base_url": "https://central.example.org", "email": "ada@example.org", "password": "pw-1"});
    let values = definition.check_values(method, given.as_object().unwrap()).unwrap();
    let world = World::new();
    let mut run = StepsRun::new(world.now);
    let Ok(StepsNext::Send(request)) = run.next(definition, method, &world.context(&values)) else {
        panic!("a request")
    };
    assert_eq!(request.method, http::Method::POST);
    assert_eq!(request.address.to_string(), "https://central.example.org/v1/sessions");
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.body.expose(), br#"{"email":"ada@example.org","password":"pw-1"}"#);
    let answer = |status, body: &str| WireAnswer {
        status,
        headers: http::HeaderMap::new(),
        body: bytes::Bytes::copy_from_slice(body.as_bytes()),
        truncated: false,
    };
    let good = r#"{"token": "odk-1", "csrf": "c", "expiresAt": "2023-11-15T22:13:20.000Z", "createdAt": "2023-11-14T22:13:20.000Z"}"#;
    assert!(run.answered(method, &answer(200, good)).is_none());
    let Ok(StepsNext::Done(token)) = run.next(definition, method, &world.context(&values)) else {
        panic!("the end")
    };
    // A day after the clock of these tests.
    assert_eq!(token.expires_at, Some(Timestamp(1_700_086_400_000)));
    let brought = Value::Object(token.metadata.expose().clone());
    assert_eq!(
        verification("odk_central", "session", &given, Some(&brought)),
        "GET https://central.example.org/v1/users/current\nauthorization: Bearer odk-1"
    );

    let mut run = StepsRun::new(world.now);
    assert!(matches!(run.next(definition, method, &world.context(&values)), Ok(StepsNext::Send(_))));
    let refused = r#"{"message": "Could not authenticate with the provided credentials.", "code": 401.2}"#;
    let failed = run.answered(method, &answer(401, refused)).unwrap();
    assert!(failed.refused && failed.to_string().contains("Could not authenticate"), "{failed}");
}

/// Every method of these connectors has a row above, or needs a person's consent.
#[test]
fn no_method_is_forgotten() {
    let fixed = fixed().into_iter().map(|row| (row.0, row.1));
    let rows = fixed
        .chain(grants().into_iter().map(|row| (row.0, row.1)))
        .collect::<std::collections::BTreeSet<_>>();
    let own = rows.iter().map(|(id, _)| *id).chain(["quickbooks"]).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(own.len(), 42);
    for definition in builtin().filter(|definition| own.contains(definition.id.as_str())) {
        for method in &definition.auth_methods {
            let known = rows.contains(&(definition.id.as_str(), method.id.as_str()));
            let name = format!("{}.{}", definition.id, method.id);
            assert!(known || method.needs_consent() || name == "odk_central.session", "{name}");
        }
    }
}

#[test]
fn every_operation_renders_with_the_least_and_with_everything() {
    let mut seen = 0;
    let fixed = fixed().into_iter().map(|row| (row.0, row.1, row.2));
    for (id, method, values) in fixed.chain(grants().into_iter().map(|row| (row.0, row.1, row.2))) {
        let definition = connector(id);
        for asked in definition.operations.iter().chain(&definition.metadata) {
            let with = |all: bool| {
                let fields = asked.input.iter().filter(|field| all || field.required());
                let input = fields.map(|field| (field.name.clone(), input(field))).collect();
                operation(id, method, &values, &asked.name, &Value::Object(input))
            };
            for text in [with(false), with(true)] {
                let target = text.lines().next().unwrap();
                let path = target.split(['?', ' ']).nth(1).unwrap();
                assert!(path.starts_with('/') && !path.contains("//"), "{id} {}: {target}", asked.name);
                assert!(!target.contains("{{") && !text.contains(":null"), "{id} {}: {text}", asked.name);
            }
            assert!(asked.label.is_some(), "{id} {}", asked.name);
            seen += 1;
        }
    }
    assert!(seen > 150, "{seen}");
}

#[test]
fn operations_ask_what_their_names_say() {
    let fhir = json!({"base_url": "https://fhir.example.org/r4", "token": "fhir-1"});
    let odk = json!({"base_url": "https://central.example.org", "token": "odk-1"});
    let flake = json!({"host": "myorg-acct", "token": "pat-1"});
    for (id, method, values, name, input, expected) in [
        // A path of its own stands in GitLab's path as one encoded segment.
        (
            "gitlab",
            "token",
            json!({"token": "glpat-1"}),
            "create_issue",
            json!({"project_id": "group/web", "title": "It breaks"}),
            "POST /projects/group%2Fweb/issues\n{\"title\":\"It breaks\"}",
        ),
        (
            "fhir",
            "bearer",
            fhir.clone(),
            "search",
            json!({"type": "Patient", "parameters": {"family": "Love lace"}}),
            "GET /Patient?family=Love%20lace",
        ),
        (
            "fhir",
            "bearer",
            fhir,
            "read",
            json!({"type": "Patient", "id": "a/../b"}),
            "GET /Patient/a%2F..%2Fb",
        ),
        (
            "odk_central",
            "bearer",
            odk,
            "submissions",
            json!({"project_id": 7, "form": "house hold"}),
            "GET /projects/7/forms/house%20hold.svc/Submissions?%24top=250&%24skip=0",
        ),
        (
            "mailgun",
            "api_key",
            json!({"key": "key-1"}),
            "send",
            json!({"domain": "mg.example.org", "from": "a@example.org", "to": "b@example.org", "subject": "S", "text": "T"}),
            "POST /v3/mg.example.org/messages\nfrom=a%40example.org&to=b%40example.org&subject=S&text=T",
        ),
        (
            "pagerduty",
            "api_key",
            json!({"key": "u+1"}),
            "create_incident",
            json!({"from": "ada@example.org", "service": "P1", "title": "Down"}),
            "POST /incidents\nfrom: ada@example.org\n{\"incident\":{\"type\":\"incident\",\"title\":\"Down\",\"service\":{\"id\":\"P1\",\"type\":\"service_reference\"}}}",
        ),
        (
            "snowflake",
            "token",
            flake,
            "query",
            json!({"statement": "select 1", "warehouse": "WH"}),
            "POST /api/v2/statements\n{\"statement\":\"select 1\",\"warehouse\":\"WH\",\"timeout\":60}",
        ),
        (
            "trello",
            "key_and_token",
            json!({"api_key": "0123456789abcdef0123456789abcdef", "api_token": "ATTA1"}),
            "lists",
            json!({"board": "b1"}),
            "GET /boards/b1/lists?fields=name",
        ),
    ] {
        let sent = operation(id, method, &values, name, &input);
        // Bodies are compared as what they say, not by the order of their members.
        let (sent_head, sent_body) = sent.rsplit_once('\n').unwrap_or((&sent, ""));
        let (head, body) = expected.rsplit_once('\n').unwrap_or((expected, ""));
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|_| json!(text));
        assert_eq!((sent_head, parsed(sent_body)), (head, parsed(body)), "{id} {name}");
    }
}

#[test]
fn methods_with_consent_say_that_they_need_an_oauth_client() {
    for (id, method) in [
        ("gitlab", "authorization_code"),
        ("quickbooks", "authorization_code"),
        ("box", "authorization_code"),
    ] {
        let world = World::new();
        let definition = connector(id);
        let known = definition.method(method).unwrap();
        let values = definition.check_values(known, &serde_json::Map::new()).unwrap();
        let refused = definition.resolve(known, &world.context(&values)).err();
        assert!(matches!(refused, Some(RenderError::NotUsable { .. })), "{id}");
    }
}

#[test]
fn what_an_api_says_is_explained() {
    for (id, status, says, part) in [
        (
            "gitlab",
            403,
            r#"{"error":"insufficient_scope","error_description":"The request requires higher privileges"}"#,
            "read_api",
        ),
        (
            "bitbucket",
            403,
            r#"{"type":"error","error":{"message":"Your credentials lack one or more required privilege scopes."}}"#,
            "under required",
        ),
        ("trello", 401, "invalid key", "Power-Up"),
        (
            "linear",
            400,
            r#"{"errors":[{"message":"It looks like you're trying to use an API key as a Bearer token."}]}"#,
            "alone",
        ),
        (
            "zoom",
            400,
            r#"{"code":4711,"message":"Invalid access token, does not contain scopes:[user:read:user:admin]."}"#,
            "lacks a scope",
        ),
        (
            "brevo",
            401,
            r#"{"message":"We have detected you are using an unrecognised IP address 192.0.2.1.","code":"unauthorized"}"#,
            "Authorised IPs",
        ),
        ("okta", 401, r#"{"errorCode":"E0000011","errorSummary":"Invalid token provided"}"#, "30 days"),
        (
            "wordpress",
            401,
            r#"{"code":"rest_not_logged_in","message":"You are not currently logged in."}"#,
            "Authorization header",
        ),
        (
            "postmark",
            401,
            r#"{"ErrorCode":10,"Message":"The Server Token you provided in the X-Postmark-Server-Token request header was invalid."}"#,
            "account token does not work",
        ),
        ("odk_central", 404, "<html>", "without /v1"),
    ] {
        let explained = connector(id).explain(None, status, says).unwrap_or_default();
        assert!(explained.contains(part), "{id}: {explained}");
    }
}
