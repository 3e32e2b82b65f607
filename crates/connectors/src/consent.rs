//! What a method with consent says before anybody has filled in its fields: for registering OAuth clients.

use latchstring_model::Origin;
use latchstring_model::address::Address;
use serde_json::Value;

use crate::definition::{AuthMethod, Conf, Definition};
use crate::field::FieldType;
use crate::resolve::find;
use crate::template::Template;

/// An endpoint as a method names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedEndpoint {
    /// The same for everybody.
    Fixed(String),
    /// It depends on the credential's fields.
    Depends,
    /// The OAuth client names it.
    Missing,
}

/// Keys of the scheme and the endpoint's name in OAuth (RFC 8414 section 2; the first is OAuth 1.0a's).
const ENDPOINTS: &[(&str, &str)] = &[
    ("request_token_url", "request_token_endpoint"),
    ("authorize_url", "authorization_endpoint"),
    ("token_url", "token_endpoint"),
    ("revocation_url", "revocation_endpoint"),
    ("userinfo_url", "userinfo_endpoint"),
    ("introspection_url", "introspection_endpoint"),
    ("device_authorization_url", "device_authorization_endpoint"),
];

impl AuthMethod {
    /// What it says about an endpoint, by its name in OAuth.
    pub fn endpoint(&self, name: &str) -> NamedEndpoint {
        let Some((key, _)) = ENDPOINTS.iter().find(|(_, endpoint)| *endpoint == name) else {
            return NamedEndpoint::Missing;
        };
        match find(&self.scheme.config, key) {
            Some(Conf::Text(template)) => match template.as_literal() {
                Some(text) => NamedEndpoint::Fixed(text.to_owned()),
                None => NamedEndpoint::Depends,
            },
            _ => NamedEndpoint::Missing,
        }
    }

    /// Scopes that are asked for unless an OAuth client says otherwise, and where the provider describes them.
    pub fn default_scopes(&self) -> (Vec<String>, Option<String>) {
        let Some(Conf::Nested(scopes)) = find(&self.scheme.config, "scopes") else {
            return Default::default();
        };
        let default = match find(scopes, "default") {
            Some(Conf::List(list)) => list
                .iter()
                .filter_map(Template::as_literal)
                .flat_map(str::split_whitespace)
                .map(str::to_owned)
                .collect(),
            _ => Vec::new(),
        };
        let docs = match find(scopes, "docs_url") {
            Some(Conf::Text(template)) => template.as_literal().map(str::to_owned),
            _ => None,
        };
        (default, docs)
    }

    /// How its provider wants clients to prove themselves, where that is the same for all.
    pub fn client_auth(&self) -> Option<&str> {
        match find(&self.scheme.config, "client_auth") {
            Some(Conf::Text(template)) => template.as_literal(),
            _ => None,
        }
    }

    /// Whether PKCE is switched off for everybody.
    pub fn without_pkce(&self) -> bool {
        matches!(find(&self.scheme.config, "pkce"), Some(Conf::Text(template)) if template.as_literal() == Some("false"))
    }
}

impl Definition {
    /// Methods that an OAuth client is registered for.
    pub fn consent_methods(&self) -> impl Iterator<Item = &AuthMethod> {
        self.auth_methods.iter().filter(|method| method.needs_consent())
    }

    /// Whether the definition itself names this origin as one of its OAuth endpoints: people sign in at
    /// `accounts.example.com` for the API at `api.example.com`, which `hosts` need not list.
    pub fn names_endpoint_at(&self, origin: &Origin) -> bool {
        self.consent_methods().any(|method| {
            ENDPOINTS.iter().any(|(_, name)| match method.endpoint(name) {
                NamedEndpoint::Fixed(url) => {
                    Address::parse(&url).is_ok_and(|address| &address.origin == origin)
                }
                _ => false,
            })
        })
    }

    /// An endpoint that one of its methods names, the same for everybody.
    pub fn fixed_endpoint(&self, name: &str) -> Option<String> {
        self.consent_methods().find_map(|method| match method.endpoint(name) {
            NamedEndpoint::Fixed(url) => Some(url),
            _ => None,
        })
    }

    /// Where it usually is, if whoever makes a credential may say another place: hosts of the addresses that fields
    /// have before anything is typed.
    pub fn usual_hosts(&self) -> Vec<String> {
        let mut found = Vec::new();
        let fields = self.consent_methods().flat_map(|method| &method.fields);
        for field in fields.filter(|field| self.hosts.is_empty() && field.ty == FieldType::Url) {
            let address =
                field.default.as_ref().and_then(Value::as_str).and_then(|text| Address::parse(text).ok());
            found.extend(address.map(|address| address.origin.authority()));
        }
        found.sort();
        found.dedup();
        found
    }

    /// The one client that its provider has registered for everybody: what a method's field has for its id.
    pub fn usual_client_id(&self) -> Option<&str> {
        let fields = self.auth_methods.iter().filter_map(|method| method.field("client_id"));
        fields.filter_map(|field| field.default.as_ref()).find_map(Value::as_str)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_client_of_the_sandbox_needs_little_to_be_typed() {
        let sandbox = crate::sandbox_at("http://127.0.0.1:7001").unwrap();
        assert_eq!(sandbox.usual_hosts(), ["127.0.0.1:7001"]);
        assert_eq!(sandbox.usual_client_id(), Some("sandbox-client"));
        assert_eq!(sandbox.fixed_endpoint("token_endpoint"), None);
        let drive = crate::builtin().find(|definition| definition.id == "google_drive").unwrap();
        assert_eq!(
            drive.fixed_endpoint("token_endpoint").as_deref(),
            Some("https://oauth2.googleapis.com/token")
        );
        assert!(drive.usual_hosts().is_empty(), "it has hosts of its own");
        // Elsewhere each server is registered by itself.
        for definition in crate::builtin().filter(|definition| !definition.sandbox) {
            assert_eq!(definition.usual_client_id(), None, "{}", definition.id);
        }
    }

    #[test]
    fn the_catalogs_methods_say_where_people_sign_in() {
        let builtin = |id: &str| crate::builtin().find(|definition| definition.id == id).unwrap();
        let sheets = builtin("google_sheets");
        let method = sheets.consent_methods().next().unwrap();
        assert!(
            matches!(method.endpoint("token_endpoint"), NamedEndpoint::Fixed(url) if url.starts_with("https://oauth2.googleapis.com/"))
        );
        assert!(sheets.names_endpoint_at(&Address::parse("https://accounts.google.com/").unwrap().origin));
        assert!(!sheets.names_endpoint_at(&Address::parse("https://accounts.example.com/").unwrap().origin));
        let salesforce = builtin("salesforce");
        let method = salesforce.consent_methods().next().unwrap();
        assert_eq!(method.endpoint("token_endpoint"), NamedEndpoint::Depends);
        assert_eq!(method.default_scopes().0, ["api", "id", "refresh_token"]);
        assert!(builtin("shopify").consent_methods().all(AuthMethod::without_pkce));
        assert_eq!(builtin("shopify").consent_methods().next().unwrap().client_auth(), Some("post"));
        let http = builtin("http");
        assert_eq!(http.consent_methods().next().unwrap().endpoint("token_endpoint"), NamedEndpoint::Missing);
        assert_eq!(builtin("openai").consent_methods().count(), 0);
    }
}
