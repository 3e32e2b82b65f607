//! What an authorization server publishes about itself: OpenID Connect Discovery 1.0 section 4 and RFC 8414
//! section 3. Asked once, when a superuser names the issuer; never again behind their back.
//!
//! The address is chosen by a superuser, not by the configuration, so the tenant policy holds: public addresses
//! and the allow-list. Nothing secret is sent; redirects are not followed.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use latchstring_model::Problem;
use latchstring_model::address::Address;
use latchstring_model::id::ProjectId;
use latchstring_model::problem::Refused;
use serde_json::{Map, Value};

use super::{ENDPOINTS, REQUEST_TOKEN};
use crate::actor::Actor;
use crate::audit::Event;
use crate::road::record;
use crate::{Broker, refusals};

/// The largest document that is read, in bytes. Those of the great providers have some thousand.
const MOST_BYTES: usize = 256 * 1024;
/// How long one document may take, connection included.
const WITHIN: Duration = Duration::from_secs(10);

/// Of a document, what a client needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Document {
    pub endpoints: BTreeMap<&'static str, String>,
    /// RFC 8705 section 5: where the same are for clients that show a certificate.
    pub mtls_endpoints: BTreeMap<&'static str, String>,
    /// RFC 9207 section 3: callbacks carry `iss`.
    pub issuer_in_callback: bool,
    /// Words of RFC 8414; `None` where the document does not say.
    pub auth_methods: Option<Vec<String>>,
    pub pkce_methods: Option<Vec<String>>,
    /// RFC 9449 section 5.1.
    pub dpop_algorithms: Option<Vec<String>>,
}

/// Where a document may be: OpenID Connect appends, RFC 8414 section 3.1 inserts before the path.
fn places(issuer: &Address) -> [Address; 2] {
    let path = issuer.path.trim_end_matches('/');
    [
        format!("{path}/.well-known/openid-configuration"),
        format!("/.well-known/oauth-authorization-server{path}"),
    ]
    .map(|path| Address { origin: issuer.origin.clone(), path, query: None })
}

fn texts(document: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    let list = document.get(name)?.as_array()?;
    Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Reads a document. The refusal goes on after the address that was asked.
fn read(issuer: &str, status: u16, body: &[u8], truncated: bool) -> Result<Document, String> {
    match status {
        200 => {}
        301 | 302 | 303 | 307 | 308 => {
            return Err(format!(
                "answered {status}, a redirect, which is not followed; the issuer is probably another address"
            ));
        }
        404 => return Err("answered 404: there is no document".into()),
        _ => return Err(format!("answered {status}")),
    }
    if truncated {
        return Err(format!("sent more than {} KiB, which is no such document", MOST_BYTES / 1024));
    }
    let text = std::str::from_utf8(body).map_err(|_| "sent what is not text".to_owned())?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('<') {
        return Err("sent an HTML page instead of a JSON document".into());
    }
    let document: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| "sent what is not a JSON object".to_owned())?;
    let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
    match document.get("issuer").and_then(Value::as_str) {
        // RFC 8414 section 3.3: identical, or the document must not be used.
        Some(found) if found == issuer => {}
        Some(found) => {
            return Err(format!(
                "is the document of another issuer, `{}`; if that is the one that you mean, write it exactly so",
                short(found)
            ));
        }
        None => return Err("sent a document that names no issuer".into()),
    }
    let mut found = Document {
        issuer_in_callback: document.get("authorization_response_iss_parameter_supported")
            == Some(&Value::Bool(true)),
        auth_methods: texts(&document, "token_endpoint_auth_methods_supported"),
        pkce_methods: texts(&document, "code_challenge_methods_supported"),
        dpop_algorithms: texts(&document, "dpop_signing_alg_values_supported"),
        ..Document::default()
    };
    let endpoints = |of: &Map<String, Value>| -> Result<BTreeMap<&'static str, String>, String> {
        let mut found = BTreeMap::new();
        // Discovery is of OAuth 2.
        for name in ENDPOINTS.into_iter().filter(|name| *name != REQUEST_TOKEN) {
            if let Some(url) = of.get(name).and_then(Value::as_str) {
                Address::parse(url)
                    .map_err(|error| format!("names `{}` as its {name}: {error}", short(url)))?;
                found.insert(name, url.to_owned());
            }
        }
        Ok(found)
    };
    found.endpoints = endpoints(&document)?;
    if let Some(aliases) = document.get("mtls_endpoint_aliases").and_then(Value::as_object) {
        found.mtls_endpoints = endpoints(aliases)?;
    }
    Ok(found)
}

impl Broker {
    /// Finds and reads the document of an issuer. The text inside says why there is none that can be used.
    pub(super) async fn discover(
        &self,
        actor: &Actor,
        project: Option<&ProjectId>,
        issuer: &str,
    ) -> Refused<Result<Document, String>> {
        let address = match Address::parse(issuer) {
            Ok(address) => address,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let event = Event::new("oauth_client.discover").target(address.origin.to_string());
        let ticket = record::document(self, actor, event, &address.origin, project).await?;
        let way = self
            .own_way
            .get()
            .ok_or_else(|| refusals::internal(&"the control runtime's way out is not open"))?;
        let mut tried: Vec<String> = Vec::new();
        for place in places(&address) {
            let Ok(uri) = place.target().parse::<Uri>() else {
                return Ok(Err("its path cannot stand in a request".into()));
            };
            let mut request = Request::new(Bytes::new());
            *request.uri_mut() = uri;
            request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
            let answer = way.pool.fetch(&ticket, None, &place.origin, request, MOST_BYTES, WITHIN).await;
            let said = match answer {
                Ok(answer) => read(issuer, answer.status.as_u16(), &answer.body, answer.truncated),
                Err(error) => {
                    tracing::info!(reason = %error.operator_reason(), "a discovery document could not be read");
                    let problem = Problem::from(&error);
                    // The other document lies at the same host.
                    return Ok(Err(format!("{place} could not be read. {}", problem.detail)));
                }
            };
            match said {
                Ok(document) => return Ok(Ok(document)),
                Err(why) => tried.push(format!("{place} {why}")),
            }
        }
        Ok(Err(tried.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ISSUER: &str = "https://id.example.com/tenant";

    fn document(more: &str) -> String {
        format!("{{\"issuer\": \"{ISSUER}\", \"token_endpoint\": \"https://id.example.com/token\"{more}}}")
    }

    #[test]
    fn both_standards_say_where_it_lies() {
        let at = |issuer: &str| places(&Address::parse(issuer).unwrap()).map(|place| place.to_string());
        assert_eq!(
            at(ISSUER),
            [
                "https://id.example.com/tenant/.well-known/openid-configuration",
                "https://id.example.com/.well-known/oauth-authorization-server/tenant"
            ]
        );
        assert_eq!(
            at("https://id.example.com/"),
            [
                "https://id.example.com/.well-known/openid-configuration",
                "https://id.example.com/.well-known/oauth-authorization-server"
            ]
        );
    }

    #[test]
    fn a_document_gives_its_endpoints() {
        let text = document(
            ", \"revocation_endpoint\": \"https://id.example.com/revoke\", \"jwks_uri\": 7,
             \"authorization_response_iss_parameter_supported\": true, \"code_challenge_methods_supported\": [\"S256\"]",
        );
        let found = read(ISSUER, 200, format!("\u{feff}{text}").as_bytes(), false).unwrap();
        assert_eq!(found.endpoints.len(), 2);
        assert_eq!(found.endpoints["revocation_endpoint"], "https://id.example.com/revoke");
        assert!(found.issuer_in_callback);
        assert_eq!(found.pkce_methods.as_deref(), Some(&["S256".to_owned()][..]));
        assert_eq!(found.auth_methods, None);
        let text = document(
            ", \"mtls_endpoint_aliases\": {\"token_endpoint\": \"https://mtls.example.com/token\"},
             \"request_token_endpoint\": \"https://id.example.com/1\", \"dpop_signing_alg_values_supported\": [\"ES256\"]",
        );
        let found = read(ISSUER, 200, text.as_bytes(), false).unwrap();
        assert_eq!(found.mtls_endpoints["token_endpoint"], "https://mtls.example.com/token");
        assert_eq!((found.endpoints.len(), found.dpop_algorithms), (1, Some(vec!["ES256".to_owned()])));
    }

    #[test]
    fn what_cannot_be_used_is_told_in_plain_words() {
        let refused = |status, body: &str| read(ISSUER, status, body.as_bytes(), false).unwrap_err();
        assert!(refused(404, "").contains("no document"));
        assert!(refused(302, "").contains("redirect"));
        assert!(refused(500, "").contains("500"));
        assert!(refused(200, " <!doctype html><html>").contains("HTML"));
        assert!(refused(200, "[1]").contains("not a JSON object"));
        assert!(refused(200, "{}").contains("no issuer"));
        assert!(
            refused(200, "{\"issuer\": \"https://id.example.com/other\"}")
                .contains("`https://id.example.com/other`")
        );
        // Not even a slash may differ.
        assert!(refused(200, "{\"issuer\": \"https://id.example.com/tenant/\"}").contains("another issuer"));
        assert!(
            refused(200, &document(", \"userinfo_endpoint\": \"javascript:alert(1)\""))
                .contains("userinfo_endpoint")
        );
        assert!(read(ISSUER, 200, document("").as_bytes(), true).unwrap_err().contains("256 KiB"));
        assert!(read(ISSUER, 200, &[0xff], false).unwrap_err().contains("not text"));
    }
}
