//! What a provider publishes about itself (OpenID Connect Discovery 1.0 section 3), of it what a sign-in needs.

use latchstring_model::address::Address;
use serde_json::{Map, Value};

/// Why a document cannot be used. The text goes on after the address that was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    #[error("sent what is not a JSON object")]
    NotJson,
    #[error(
        "is the document of another issuer, `{0}`; the setting has to be exactly that, if it is the one you mean"
    )]
    OtherIssuer(String),
    #[error("names no {0}")]
    Missing(&'static str),
    #[error("names an address as {0} that is not https")]
    NotSecure(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub authorization_endpoint: Address,
    pub token_endpoint: Address,
    pub jwks_uri: Address,
    pub userinfo_endpoint: Option<Address>,
    /// RFC 9207 section 3: answers carry `iss`.
    pub issuer_in_answer: bool,
    /// `None`: Basic alone (section 3).
    pub auth_methods: Option<Vec<String>>,
}

/// Where the document lies (section 4.1).
pub fn metadata_address(issuer: &Address) -> Address {
    let path = issuer.path.trim_end_matches('/');
    Address {
        origin: issuer.origin.clone(),
        path: format!("{path}/.well-known/openid-configuration"),
        query: None,
    }
}

impl Metadata {
    /// `good`: whether secrets may be sent to an address.
    pub fn read(
        json: &[u8],
        issuer: &str,
        good: impl Fn(&str) -> Option<Address>,
    ) -> Result<Self, DiscoveryError> {
        let document: Map<String, Value> =
            serde_json::from_slice(json).map_err(|_| DiscoveryError::NotJson)?;
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        match text("issuer") {
            // Section 4.3: exactly the same, or the document must not be used.
            Some(found) if found == issuer => {}
            Some(found) => {
                let shown = found.chars().filter(|c| !c.is_control()).take(200).collect();
                return Err(DiscoveryError::OtherIssuer(shown));
            }
            None => return Err(DiscoveryError::Missing("issuer")),
        }
        let endpoint = |name: &'static str| match text(name) {
            None => Err(DiscoveryError::Missing(name)),
            Some(url) => good(url).ok_or(DiscoveryError::NotSecure(name)),
        };
        let list = |name: &str| {
            let list = document.get(name)?.as_array()?;
            Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>())
        };
        Ok(Self {
            authorization_endpoint: endpoint("authorization_endpoint")?,
            token_endpoint: endpoint("token_endpoint")?,
            jwks_uri: endpoint("jwks_uri")?,
            userinfo_endpoint: match text("userinfo_endpoint") {
                None => None,
                Some(_) => Some(endpoint("userinfo_endpoint")?),
            },
            issuer_in_answer: document.get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
            auth_methods: list("token_endpoint_auth_methods_supported"),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ISSUER: &str = "https://id.example.com/realms/acme";

    fn document(change: impl FnOnce(&mut Map<String, Value>)) -> Vec<u8> {
        let mut document = serde_json::json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://id.example.com/auth",
            "token_endpoint": "https://tokens.example.com/token",
            "jwks_uri": "https://keys.example.com/jwks",
            "userinfo_endpoint": "https://id.example.com/me",
            "authorization_response_iss_parameter_supported": true,
        });
        change(document.as_object_mut().unwrap());
        serde_json::to_vec(&document).unwrap()
    }

    fn read(change: impl FnOnce(&mut Map<String, Value>)) -> Result<Metadata, DiscoveryError> {
        let good = |url: &str| Address::parse(url).ok().filter(|_| url.starts_with("https://"));
        Metadata::read(&document(change), ISSUER, good)
    }

    #[test]
    fn a_document_gives_what_a_sign_in_needs() {
        let found = read(|_| ()).unwrap();
        assert_eq!(found.token_endpoint.to_string(), "https://tokens.example.com/token");
        assert!(found.issuer_in_answer && found.auth_methods.is_none() && found.userinfo_endpoint.is_some());
        let address = metadata_address(&Address::parse(ISSUER).unwrap());
        assert_eq!(address.to_string(), format!("{ISSUER}/.well-known/openid-configuration"));
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let other = |document: &mut Map<String, Value>| {
            document.insert("issuer".into(), format!("{ISSUER}/").into());
        };
        assert!(matches!(read(other), Err(DiscoveryError::OtherIssuer(_))), "not even a slash may differ");
        for name in ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"] {
            let gone = read(|document| drop(document.remove(name)));
            assert_eq!(gone.unwrap_err().to_string(), format!("names no {name}"));
        }
        for name in ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"] {
            let clear = read(|document| drop(document.insert(name.into(), "http://id.example.com/x".into())));
            assert!(matches!(clear, Err(DiscoveryError::NotSecure(_))), "{name}");
        }
        assert_eq!(Metadata::read(b"[]", ISSUER, |_| None), Err(DiscoveryError::NotJson));
    }
}
