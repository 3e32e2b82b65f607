//! What a key is limited to, beyond its project and environment. Everything absent is no limit.

use std::net::IpAddr;

use http::Method;
use ipnet::IpNet;
use latchstring_model::id::CredentialId;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyLimits {
    /// Only these credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Vec<CredentialId>>,
    /// Only `call` and `metadata`, never `/proxy`: an operation's filter cannot be gone round.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub operations_only: bool,
    /// Only these HTTP methods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// Only paths at or below one of these, as the caller writes them after the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_prefixes: Option<Vec<String>>,
    /// Only from these networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<IpNet>>,
    /// E-mail addresses of the project's members that the key may name in `Latchstring-User`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub may_act_for: Option<Vec<String>>,
}

fn refuse(detail: String, hint: &'static str) -> Box<Problem> {
    Problem::new(Code::NotAllowed, detail).hint(hint).into()
}

impl KeyLimits {
    pub fn check_network(&self, address: IpAddr) -> Refused<()> {
        let address = address.to_canonical();
        match &self.networks {
            Some(networks) if !networks.iter().any(|network| network.contains(&address)) => Err(refuse(
                format!("This key may not be used from {address}."),
                "The key is limited to certain networks. A project admin can make one with other limits.",
            )),
            _ => Ok(()),
        }
    }

    pub fn check_credential(&self, credential: &CredentialId) -> Refused<()> {
        match &self.credentials {
            Some(list) if !list.contains(credential) => Err(refuse(
                "This key is limited to other credentials.".into(),
                "A project admin can make a key that includes this credential.",
            )),
            _ => Ok(()),
        }
    }

    /// For `/proxy`; `path` is the caller's, without its leading slash, already checked for dot segments.
    pub fn check_proxy(&self, method: &Method, path: &str) -> Refused<()> {
        if self.operations_only {
            return Err(refuse(
                "This key can only use the connector's operations, not /proxy.".into(),
                "Use POST …/credentials/{credential}/call/{operation}, or a key without that limit.",
            ));
        }
        self.check_method(method)?;
        let Some(prefixes) = &self.path_prefixes else { return Ok(()) };
        // What a server decodes is what counts: `%61dmin` is `admin`.
        let path: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
        let within = |prefix: &String| {
            let prefix = prefix.trim_matches('/').as_bytes();
            path.strip_prefix(prefix)
                .is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with(b"/"))
        };
        if prefixes.iter().any(within) {
            return Ok(());
        }
        Err(refuse(
            format!("This key is limited to paths below {}.", prefixes.join(", ")),
            "A project admin can make a key with other limits.",
        ))
    }

    pub fn check_method(&self, method: &Method) -> Refused<()> {
        match &self.methods {
            Some(methods) if !methods.iter().any(|allowed| allowed.eq_ignore_ascii_case(method.as_str())) => {
                Err(refuse(
                    format!("This key may not use {method}; it is limited to {}.", methods.join(", ")),
                    "A project admin can make a key with other limits.",
                ))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_are_compared_by_segment_and_decoded() {
        let limits = KeyLimits { path_prefixes: Some(vec!["/v1/people".into()]), ..KeyLimits::default() };
        for good in ["v1/people", "v1/people/7", "v1/%70eople"] {
            limits.check_proxy(&Method::GET, good).unwrap();
        }
        for bad in ["", "v1", "v1/peoples", "v2/people", "/v1/people"] {
            assert_eq!(limits.check_proxy(&Method::GET, bad).unwrap_err().code, Code::NotAllowed, "{bad}");
        }
    }

    #[test]
    fn every_limit_refuses() {
        let limits: KeyLimits = serde_json::from_str(
            r#"{"methods": ["GET"], "networks": ["10.0.0.0/8"], "operations_only": true}"#,
        )
        .unwrap();
        assert!(limits.check_method(&Method::POST).is_err());
        assert!(limits.check_method(&Method::GET).is_ok());
        assert!(limits.check_network("::ffff:10.1.1.1".parse().unwrap()).is_ok());
        assert!(limits.check_network("11.1.1.1".parse().unwrap()).is_err());
        assert!(limits.check_proxy(&Method::GET, "x").is_err());
        assert!(KeyLimits::default().check_proxy(&Method::DELETE, "x").is_ok());
    }
}
