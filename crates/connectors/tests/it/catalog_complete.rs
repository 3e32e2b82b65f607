//! What every built-in connector has to have, in one loop: whoever adds one is told here what it lacks.

use std::collections::BTreeSet;

use latchstring_connectors::{FILES, FieldType, builtin};
use serde_json::{Value, json};

use crate::dry_request::verification;
use crate::{catalog_requests, catalog_requests_b};

/// Described here and nowhere else: there is no provider whose page could be named.
const OURS: [&str; 3] = ["http", "raw", "sandbox"];

/// Connectors without a verification, and why.
const UNVERIFIED: [(&str, &str); 1] =
    [("raw", "it holds any object, so nobody but its owner knows what could be asked")];

/// Connector, method, values, what the token's answer brought, and the verification as the API's documentation
/// writes it: of connectors that the other lists do not have.
type Row = (&'static str, &'static str, Value, Option<Value>, &'static str);

fn rows() -> Vec<Row> {
    let dhis2 = "https://play.im.dhis2.org/stable-2-42";
    vec![
        (
            "github",
            "token",
            json!({"token": "ghp_1"}),
            None,
            "GET https://api.github.com/user\nauthorization: Bearer ghp_1\nx-github-api-version: 2022-11-28",
        ),
        (
            "dhis2",
            "token",
            json!({"base_url": dhis2, "token": "d2pat_1"}),
            None,
            "GET https://play.im.dhis2.org/stable-2-42/api/me?fields=id%2Cusername%2Cname\nauthorization: ApiToken d2pat_1",
        ),
        (
            "dhis2",
            "basic",
            json!({"base_url": format!("{dhis2}/"), "username": "admin", "password": "district"}),
            None,
            "GET https://play.im.dhis2.org/stable-2-42/api/me?fields=id%2Cusername%2Cname\nauthorization: Basic (admin:district)",
        ),
        (
            "http",
            "bearer",
            json!({"base_url": "https://api.example.com/v1/", "token": "t-1", "test_path": "/me", "headers": {"X-Tenant": "acme"}}),
            None,
            "GET https://api.example.com/v1/me\nauthorization: Bearer t-1\nx-tenant: acme",
        ),
        (
            "salesforce",
            "client_credentials",
            json!({"instance_url": "https://acme.my.salesforce.com", "client_id": "3MVG", "client_secret": "sec-1"}),
            Some(json!({"instance_url": "https://acme.my.salesforce.com"})),
            "GET https://acme.my.salesforce.com/services/oauth2/userinfo\nauthorization: Bearer TOKEN",
        ),
        (
            "quickbooks",
            "authorization_code",
            json!({"environment_type": "sandbox"}),
            Some(json!({"realm_id": "9130"})),
            "GET https://sandbox-quickbooks.api.intuit.com/v3/company/9130/companyinfo/9130\nauthorization: Bearer TOKEN",
        ),
    ]
}

#[test]
fn these_are_verified_by_the_right_request_too() {
    for (id, method, values, brought, expected) in rows() {
        assert_eq!(verification(id, method, &values, brought.as_ref()), expected, "{id}.{method}");
    }
}

#[test]
fn no_connector_lacks_what_people_and_the_road_need() {
    let mut verified: BTreeSet<&str> = rows().iter().map(|row| row.0).collect();
    verified.extend(
        catalog_requests::checked().into_iter().chain(catalog_requests_b::checked()).map(|row| row.0),
    );
    let mut wrong = Vec::new();
    let mut seen = 0;
    for definition in builtin() {
        seen += 1;
        let id = definition.id.as_str();
        let mut lacks = |what: String| wrong.push(format!("{id} {what}"));
        let empty = |text: &Option<String>| text.as_deref().unwrap_or_default().trim().is_empty();
        let docs = definition.docs_url.as_deref();
        match (docs, OURS.contains(&id)) {
            (Some(url), false) if url.starts_with("https://") => {}
            (None, true) => {}
            _ => lacks(format!("has the docs_url {docs:?}")),
        }
        if empty(&definition.description) || definition.categories.is_empty() {
            lacks("has no description or category".into());
        }
        let reason = UNVERIFIED.iter().find(|(known, _)| *known == id);
        for method in &definition.auth_methods {
            let name = &method.id;
            for field in &method.fields {
                if empty(&field.label) || empty(&field.help) {
                    lacks(format!("{name}: the field {} has no label or no help", field.name));
                }
            }
            if method.docs_url.as_deref().is_some_and(|url| !url.starts_with("https://")) {
                lacks(format!("{name}: docs_url is no https address"));
            }
            // Credentials are pinned to the hosts that are listed, or to the address that their owner gives.
            let given = method.fields.iter().any(|field| {
                field.ty == FieldType::Url && matches!(field.name.as_str(), "base_url" | "baseUrl")
            });
            if definition.hosts.is_empty() && !given {
                lacks(format!("{name}: nothing says where its credentials may go"));
            }
            let asks = method.verify.is_some() || definition.verify.is_some();
            if asks == reason.is_some() {
                lacks(format!("{name}: verifies: {asks}, and the reason for not doing so: {reason:?}"));
            }
        }
        if verified.contains(id) == reason.is_some() {
            lacks("has no verification that a test compares with the API's documentation".into());
        }
    }
    assert!(seen > 40, "{seen} connectors");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where a method's private keys stand, and where the passphrase of each.
const KEYS: [(&str, &str); 3] = [
    ("/scheme/private_key", "/scheme/passphrase"),
    ("/scheme/dpop_key", "/scheme/dpop_passphrase"),
    ("/tls/client_key", "/tls/passphrase"),
];

/// The field that this template is, and nothing else.
fn field_of<'m>(method: &'m Value, place: &str) -> Option<(&'m str, &'m Value)> {
    let template = method.pointer(place)?.as_str()?;
    let name = template.strip_prefix("{{")?.strip_suffix("}}")?.trim();
    Some((name, method["fields"].get(name)?))
}

/// Keys are pasted as they were given, and many were given with a passphrase.
#[test]
fn every_private_key_may_be_an_encrypted_one() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for (file, text) in FILES {
        let definition = latchstring_connectors::to_json(text).unwrap();
        for (name, method) in definition["auth_methods"].as_object().unwrap() {
            let opened: BTreeSet<&str> = KEYS
                .iter()
                .filter(|(_, passphrase)| {
                    field_of(method, passphrase).is_some_and(|(_, field)| {
                        field["type"] == "text"
                            && field["secret"] == true
                            && field["optional"] == true
                            && field["help"].is_string()
                    })
                })
                .filter_map(|(key, _)| field_of(method, key).map(|(name, _)| name))
                .collect();
            for (field, rules) in method["fields"].as_object().into_iter().flatten() {
                if rules["type"] != "pem" || rules["pem"] == "certificate" {
                    continue;
                }
                seen += 1;
                if !opened.contains(field.as_str()) {
                    wrong.push(format!("{file} {name}: {field} has no field for its passphrase"));
                }
            }
        }
    }
    assert!(seen >= 12, "{seen} keys");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
