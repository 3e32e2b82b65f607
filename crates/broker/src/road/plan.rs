//! A route made ready: the prepared scheme, where it goes, what every call of it carries. Built once for many calls.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use latchstring_connectors::Definition;
use latchstring_connectors::{Destination, Fixed, HostPattern, HostVerdict, Resolved, Uses};
use latchstring_egress::{Identity, IdentityParts};
use latchstring_model::address::Address;
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Pin, PinPurpose, Problem, SecretString};
use latchstring_schemes::scheme::Prepared;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::mask::MaskSet;
use super::materials::Materials;
use super::{bind, headers};
use crate::Broker;

/// The unreserved characters of RFC 3986.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

struct FixedHeader {
    name: HeaderName,
    value: HeaderValue,
    overridable: bool,
}

pub struct Plan {
    pub prepared: Prepared,
    pub base: Address,
    /// As records and the `Host` header have it.
    pub authority: String,
    pub pins: Arc<[Pin]>,
    pub mask: Arc<MaskSet>,
    pub identity: Option<Identity>,
    /// Whether an answer can teach the scheme something (a nonce of digest or DPoP), so that a replay of what was
    /// refused is worthwhile.
    pub learns: bool,
    /// The version of the token that rendering read, if it read one.
    pub token_version: Option<i64>,
    headers: Vec<FixedHeader>,
    query: Vec<Fixed>,
    /// Names that a caller may not send, and that have no value this time.
    dropped_headers: Vec<HeaderName>,
    dropped_query: Vec<String>,
}

/// Who we are on the connection, and whom we trust. Made once for the materials: it takes the key apart once more.
pub(crate) fn identity(
    broker: &Broker,
    materials: &Materials,
    prepared: &Prepared,
    ca_certificate: Option<&SecretString>,
) -> Refused<Option<Identity>> {
    let shown = prepared.tls_identity();
    if shown.is_none() && ca_certificate.is_none() {
        return Ok(None);
    }
    let parts = IdentityParts {
        certificate_chain_pem: shown.map(|identity| identity.cert_chain_pem().as_bytes()),
        private_key_pem: shown.map(|identity| identity.key_pem().expose().as_bytes()),
        extra_ca_pem: ca_certificate.map(|pem| pem.expose().as_bytes()),
    };
    let texts = [shown.map_or("", |identity| identity.id()), ca_certificate.map_or("", SecretString::expose)];
    let made = materials.identities.get(&texts, || {
        broker.metrics.identity_made();
        broker.parts.egress.identity(&parts).map_err(|error| {
            Problem::new(
                Code::TemplateError,
                format!("The TLS client certificate or authority of the credential cannot be used: {error}."),
            )
            .hint("Paste the whole PEM blocks, the client's own certificate first.")
            .into()
        })
    });
    made.map(Some)
}

/// Secrets that may go to certain hosts only: every place that the values go to must be one of them.
pub(crate) fn check_restricted(uses: &Uses, destinations: &[Pin]) -> Refused<()> {
    for (name, hosts) in &uses.restricted {
        let patterns: Vec<HostPattern> =
            hosts.iter().filter_map(|host| HostPattern::parse(host).ok()).collect();
        if let Some(pin) =
            destinations.iter().find(|pin| !patterns.iter().any(|pattern| pattern.fits_host(&pin.origin)))
        {
            return Err(Problem::new(
                Code::DestinationNotAllowed,
                format!(
                    "The secret `{name}` may only be sent to {}, and this credential goes to {}.",
                    hosts.join(", "),
                    pin.origin
                ),
            )
            .hint("A project owner, admin or editor sets where a secret may go (`hosts`).")
            .into());
        }
    }
    Ok(())
}

pub(crate) fn check_host(
    broker: &Broker,
    definition: &Definition,
    origin: &latchstring_model::Origin,
) -> Refused<()> {
    let (detail, hint) = match broker.may_pin(definition, origin) {
        HostVerdict::Allowed => return Ok(()),
        HostVerdict::NeedsHttps => (
            format!("The connector {} wants https, and the destination is {origin}.", definition.name),
            "Write the address with https://. An operator can allow a test server with LATCHSTRING_EXTRA_HOSTS.",
        ),
        HostVerdict::NotListed => (
            format!("{origin} is none of the hosts that the connector {} may go to.", definition.name),
            "Check the address for typing errors. An operator can add a host with LATCHSTRING_EXTRA_HOSTS; for any other API use the connector http.",
        ),
    };
    Err(Problem::new(Code::DestinationNotAllowed, detail).hint(hint).into())
}

/// Whether a place may be gone to at all: as the definition's `hosts` say, unless the OAuth client names it, and
/// as the client's own hosts say.
pub(crate) fn check_place(
    broker: &Broker,
    definition: &Definition,
    client_hosts: &[HostPattern],
    place: &Destination,
) -> Refused<()> {
    let origin = &place.pin.origin;
    if !place.of_client {
        check_host(broker, definition, origin)?;
    }
    if client_hosts.is_empty() || client_hosts.iter().any(|pattern| pattern.fits_host(origin)) {
        return Ok(());
    }
    let hosts: Vec<String> = client_hosts.iter().map(ToString::to_string).collect();
    Err(Problem::new(
        Code::DestinationNotAllowed,
        format!("{origin} is none of the hosts that the OAuth client may be used with: {}.", hosts.join(", ")),
    )
    .hint("Check the address for typing errors, choose another OAuth client, or ask a superuser to add the host to its `hosts`.")
    .into())
}

impl Plan {
    /// `stored` are the pins that were fixed when the values were verified. With `from_token` the base URL
    /// came out of a token answer of a pinned token host: that, and only that, may move the call's pin.
    pub fn build(
        broker: &Broker,
        materials: &Materials,
        resolved: Resolved,
        stored: &Arc<[Pin]>,
        token_version: Option<i64>,
        from_token: bool,
    ) -> Refused<Self> {
        let definition = &materials.definition;
        let Some(base) = &resolved.base_url else {
            return Err(Problem::new(Code::NoBaseUrl, format!("This credential of {} has no base URL, so there is nowhere to call.", definition.name))
                .hint("Set its `baseUrl` (raw) or `base_url`; without one it can be stored and granted, but not called.")
                .into());
        };
        let base = Address::parse(base.expose()).map_err(|error| {
            Problem::new(Code::TemplateError, format!("The base URL is not usable: {error}."))
                .hint("Write it whole, as in https://api.example.com/v1.")
        })?;
        let pins = if from_token {
            let calls = |place: &&Destination| place.pin.purpose == PinPurpose::Call;
            for place in resolved.destinations.iter().filter(calls) {
                check_place(broker, definition, &resolved.client_hosts, place)?;
            }
            let mut pins: Vec<Pin> =
                stored.iter().filter(|pin| pin.purpose != PinPurpose::Call).cloned().collect();
            pins.extend(resolved.destinations.iter().filter(calls).map(|place| place.pin.clone()));
            pins.into()
        } else {
            bind::check_pins(stored, PinPurpose::Call, &base.origin, &base.path)?;
            // Its own copy: most plans are one core's, and every call takes its pins along.
            Arc::from(&**stored)
        };
        check_restricted(&resolved.uses, &pins)?;
        let mut headers = Vec::with_capacity(resolved.headers.sent.len());
        for fixed in &resolved.headers.sent {
            headers.push(fixed_header(fixed)?);
        }
        // What is no name of a header cannot come from a caller.
        let dropped_headers = resolved.headers.dropped.iter().filter_map(|name| name.parse().ok()).collect();
        let prepared =
            materials.prepare(resolved.scheme).map_err(|error| crate::credentials::scheme_problem(&error))?;
        let learns = prepared.learns();
        let identity = identity(broker, materials, &prepared, resolved.ca_certificate.as_ref())?;
        let mut secrets = prepared.secrets_to_mask();
        secrets.extend(resolved.mask);
        Ok(Self {
            mask: Arc::new(MaskSet::new(&secrets)),
            prepared,
            authority: base.origin.authority(),
            base,
            pins,
            identity,
            learns,
            token_version,
            headers,
            query: resolved.query.sent,
            dropped_headers,
            dropped_query: resolved.query.dropped,
        })
    }

    /// The connector's own parameters. One that is not overridable drops the caller's of that name: that
    /// is what keeps `user_email={{ user.email }}` honest.
    pub fn place_query(&self, target: String) -> String {
        if self.query.is_empty() && self.dropped_query.is_empty() {
            return target;
        }
        let (path, query) =
            target.split_once('?').map_or((target.as_str(), ""), |(path, query)| (path, query));
        let written = |pair: &str| {
            let name = pair.split('=').next().unwrap_or_default().replace('+', " ");
            percent_decode_str(&name).decode_utf8_lossy().into_owned()
        };
        let named = |pair: &str, name: &str| written(pair) == name;
        // Some servers read names without their case.
        let taken_for = |pair: &str, name: &str| written(pair).eq_ignore_ascii_case(name);
        let mut pairs: Vec<String> =
            query.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
        let given = |name: &str| pairs.iter().any(|pair| named(pair, name));
        let placed: Vec<&Fixed> =
            self.query.iter().filter(|fixed| !(fixed.overridable && given(&fixed.name))).collect();
        pairs.retain(|pair| {
            !placed.iter().any(|fixed| !fixed.overridable && taken_for(pair, &fixed.name))
                && !self.dropped_query.iter().any(|name| taken_for(pair, name))
        });
        for fixed in placed {
            pairs.push(format!(
                "{}={}",
                utf8_percent_encode(&fixed.name, COMPONENT),
                utf8_percent_encode(fixed.value.expose(), COMPONENT)
            ));
        }
        if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
    }

    pub fn place_headers(&self, headers: &mut HeaderMap) {
        let fixed = self.headers.iter().filter(|fixed| !fixed.overridable).map(|fixed| &fixed.name);
        for name in fixed.chain(&self.dropped_headers) {
            headers::remove_those(headers, |known| is_taken_for(known, name.as_str()));
        }
        for fixed in &self.headers {
            if !(fixed.overridable && headers.contains_key(&fixed.name)) {
                headers.insert(fixed.name.clone(), fixed.value.clone());
            }
        }
    }
}

/// Whether a server may take one header's name for the other's: to those that keep headers as variables (CGI, WSGI) `-` and
/// `_` are the same.
fn is_taken_for(one: &str, other: &str) -> bool {
    let folded = |byte: u8| if byte == b'_' { b'-' } else { byte };
    one.len() == other.len() && one.bytes().map(folded).eq(other.bytes().map(folded))
}

fn fixed_header(fixed: &Fixed) -> Refused<FixedHeader> {
    let bad = |what: &str| {
        Problem::new(Code::TemplateError, format!("The connector's header {} cannot be sent: its {what} holds characters that headers may not have.", fixed.name))
            .hint("Check the value that goes into it for line breaks and signs that are not plain text.")
    };
    let name = HeaderName::from_bytes(fixed.name.as_bytes()).map_err(|_| bad("name"))?;
    let mut value = HeaderValue::from_bytes(fixed.value.expose().as_bytes()).map_err(|_| bad("value"))?;
    value.set_sensitive(true);
    Ok(FixedHeader { name, value, overridable: fixed.overridable })
}
