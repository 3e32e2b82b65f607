//! Where a client may send its secret, its codes and its tokens: https, and within the hosts that it or its
//! connector names.

use std::collections::BTreeMap;

use latchstring_connectors::{AuthMethod, HostPattern, HostVerdict, NamedEndpoint, SchemeType};
use latchstring_model::address::Address;
use latchstring_model::id::ProjectId;
use latchstring_model::{FieldError, Origin};
use latchstring_store::oauth_clients::{EndpointFrom, EndpointRow};

use super::{AUTHORIZATION, DEVICE, ENDPOINTS, REQUEST_TOKEN, TOKEN};
use crate::Broker;
use crate::catalog::Found;

/// What decides where endpoints may be.
pub(super) struct Limits<'a> {
    /// `None`: the client has no connector.
    pub found: Option<&'a Found>,
    pub hosts: &'a [HostPattern],
    pub projects: &'a [ProjectId],
}

/// The connector's methods that the client is for.
pub(super) fn methods(found: &Found) -> Vec<&AuthMethod> {
    found.definition.consent_methods().collect()
}

/// Whether the connector names this endpoint itself, for each of its methods that wants it.
pub(super) fn named_by_connector(found: Option<&Found>, name: &str) -> bool {
    let Some(found) = found else { return false };
    let methods = methods(found);
    !methods.is_empty() && methods.iter().any(|method| method.endpoint(name) != NamedEndpoint::Missing)
}

impl Broker {
    /// Why an endpoint may not be there.
    fn endpoint_refused(&self, limits: &Limits<'_>, origin: &Origin) -> Option<String> {
        let host = origin.authority();
        if let Some(found) = limits.found
            && !found.definition.names_endpoint_at(origin)
        {
            let name = &found.definition.name;
            match self.may_pin(&found.definition, origin) {
                HostVerdict::Allowed => {}
                HostVerdict::NeedsHttps => return Some(format!("{name} is reached by https alone")),
                HostVerdict::NotListed => {
                    let listed: Vec<String> =
                        found.definition.hosts.iter().map(ToString::to_string).collect();
                    return Some(format!(
                        "{host} is not among the hosts of {name} ({}); LATCHSTRING_EXTRA_HOSTS can add some",
                        listed.join(", ")
                    ));
                }
            }
        }
        if !limits.hosts.is_empty() && !limits.hosts.iter().any(|pattern| pattern.fits_host(origin)) {
            return Some(format!("{host} is not among the client's `hosts`; name it there"));
        }
        self.unreachable(limits.projects, origin).map(str::to_owned)
    }

    /// What can be said without a look-up: http outside of the allow-list, addresses that are never called.
    pub(super) fn unreachable(&self, projects: &[ProjectId], origin: &Origin) -> Option<&'static str> {
        let egress = &self.parts.egress;
        if !origin.https && !egress.rules().allows_any() {
            return Some(
                "http is not encrypted: write https, unless LATCHSTRING_EGRESS_ALLOW lists the network",
            );
        }
        let refusal = egress.refuses(None, origin)?;
        // A rule of the allow-list may be for one of the client's projects.
        let reachable = projects.iter().any(|project| egress.refuses(Some(project), origin).is_none());
        if reachable { None } else { Some(refusal.explain()) }
    }

    /// All endpoints against the limits. Those that the issuer's document names and that nobody needs are left
    /// out where they lie elsewhere; the texts say so.
    pub(super) fn check_endpoints(
        &self,
        limits: &Limits<'_>,
        endpoints: &mut BTreeMap<String, EndpointRow>,
        errors: &mut Vec<FieldError>,
        warnings: &mut Vec<String>,
    ) {
        endpoints.retain(|name, endpoint| {
            let refused = match Address::parse(&endpoint.url) {
                Ok(address) => self.endpoint_refused(limits, &address.origin),
                Err(error) => Some(error.to_string()),
            };
            let Some(why) = refused else { return true };
            let needed = [REQUEST_TOKEN, AUTHORIZATION, TOKEN].contains(&name.as_str());
            match endpoint.from {
                EndpointFrom::Request => errors.push(FieldError::new(format!("/{name}"), why)),
                EndpointFrom::Issuer if needed => {
                    errors.push(FieldError::new("/issuer", format!("its {name} is {}: {why}", endpoint.url)))
                }
                EndpointFrom::Issuer => {
                    warnings.push(format!("The issuer's {name} ({}) is left out: {why}.", endpoint.url));
                    return false;
                }
            }
            true
        });
    }
}

/// What is missing before anybody could consent. Drafts may be incomplete.
pub(super) fn missing(
    found: Option<&Found>,
    endpoints: &BTreeMap<String, EndpointRow>,
    issuer: bool,
) -> Vec<FieldError> {
    let has = |name: &str| endpoints.contains_key(name);
    let hint = if issuer {
        "the issuer's document does not name it; send it"
    } else {
        "send it, or `issuer` to have it looked up"
    };
    let lacks = |name: &str| FieldError::new(format!("/{name}"), format!("is needed: {hint}"));
    let wanted = |ty: SchemeType| match ty {
        SchemeType::Oauth2DeviceCode => [DEVICE, TOKEN].as_slice(),
        SchemeType::Oauth1 => [REQUEST_TOKEN, AUTHORIZATION, TOKEN].as_slice(),
        _ => [AUTHORIZATION, TOKEN].as_slice(),
    };
    let Some(found) = found else {
        let mut errors = Vec::new();
        if !has(AUTHORIZATION) && !has(DEVICE) {
            errors.push(lacks(AUTHORIZATION));
        }
        if !has(TOKEN) {
            errors.push(lacks(TOKEN));
        }
        return errors;
    };
    // One method that works is enough.
    let mut least: Option<Vec<FieldError>> = None;
    for method in methods(found) {
        let lacking: Vec<FieldError> = wanted(method.scheme.ty)
            .iter()
            .copied()
            .filter(|name| !has(name) && method.endpoint(name) == NamedEndpoint::Missing)
            .map(lacks)
            .collect();
        if least.as_ref().is_none_or(|least| lacking.len() < least.len()) {
            least = Some(lacking);
        }
    }
    least.unwrap_or_default()
}

/// The endpoints as people are shown them, and where each comes from.
pub(super) fn shown(
    found: Option<&Found>,
    endpoints: &BTreeMap<String, EndpointRow>,
) -> BTreeMap<&'static str, (String, &'static str)> {
    let mut shown = BTreeMap::new();
    for name in ENDPOINTS {
        if let Some(own) = endpoints.get(name) {
            let from = match own.from {
                EndpointFrom::Request => "request",
                EndpointFrom::Issuer => "issuer",
            };
            shown.insert(name, (own.url.clone(), from));
            continue;
        }
        if let Some(url) = found.and_then(|found| found.definition.fixed_endpoint(name)) {
            shown.insert(name, (url, "connector"));
        }
    }
    shown
}
