//! What a superuser sends, checked as far as that goes without looking anything up. Creating one is changing
//! one that has nothing yet: both say the same things.

use std::collections::{BTreeMap, BTreeSet};

use latchstring_connectors::{ClientAuthMethod, HostPattern};
use latchstring_model::address::Address;
use latchstring_model::{FieldError, SecretString};
use latchstring_schemes::jws::Algorithm;

use super::keys::GENERATED;

/// What is not named stays as it is. `Some(None)` clears.
#[derive(Default)]
pub struct ClientInput {
    pub name: Option<String>,
    /// E-mail address of the person whom people ask about it; whoever makes it otherwise.
    pub owner: Option<String>,
    /// Id or uid; none: it serves `http`, within its own hosts.
    pub connector: Option<Option<String>>,
    /// None: a draft.
    pub client_id: Option<Option<String>>,
    pub client_secret: Option<Option<SecretString>>,
    pub client_auth: Option<String>,
    pub private_key: Option<Option<SecretString>>,
    /// Of an encrypted private key; used once, not kept.
    pub passphrase: Option<SecretString>,
    /// An algorithm: a new key pair is made for it.
    pub generate_key: Option<String>,
    /// PEM: by which it proves itself in mutual TLS, and its issuers.
    pub certificate: Option<Option<String>>,
    /// Tokens are bound to a key that is made here.
    pub dpop: Option<bool>,
    /// The APIs that tokens are for; the whole list.
    pub resource: Option<Vec<String>>,
    pub key_algorithm: Option<String>,
    pub key_id: Option<Option<String>>,
    /// Its discovery document is read anew whenever this is sent.
    pub issuer: Option<Option<String>>,
    /// By name ([`super::ENDPOINTS`]).
    pub endpoints: BTreeMap<&'static str, Option<String>>,
    pub mandatory_scopes: Option<Vec<String>>,
    pub optional_scopes: Option<Vec<String>>,
    pub scopes_doc_url: Option<Option<String>>,
    pub authorize_params: Option<BTreeMap<String, String>>,
    /// Merged per name, none clears: their values may be secret, so nobody can read them to send them back.
    pub token_params: BTreeMap<String, Option<SecretString>>,
    pub hosts: Option<Vec<String>>,
    pub pkce: Option<bool>,
    pub global: Option<bool>,
    /// Slugs or ids; the whole list.
    pub projects: Option<Vec<String>>,
}

const LONGEST_NAME: usize = 200;
const LONGEST_ID: usize = 1000;
const LONGEST_SECRET: usize = 8192;
const LONGEST_URL: usize = 2000;
const LONGEST_SCOPE: usize = 500;
const MOST_SCOPES: usize = 500;
const MOST_PARAMS: usize = 50;
const MOST_HOSTS: usize = 50;
const MOST_RESOURCES: usize = 20;
const LONGEST_CERTIFICATE: usize = 64 * 1024;
pub(super) const MOST_PROJECTS: usize = 200;

/// What the answer is checked by, and what consent itself decides.
const OWN_AUTHORIZE: [&str; 12] = [
    "client_id",
    "client_secret",
    "redirect_uri",
    "response_type",
    "response_mode",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "dpop_jkt",
    "oauth_token",
];
const OWN_TOKEN: [&str; 11] = [
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "code",
    "code_verifier",
    "device_code",
    "grant_type",
    "redirect_uri",
    "refresh_token",
    "scope",
];

fn line(text: &str, longest: usize, pointer: &str, errors: &mut Vec<FieldError>) {
    if text.trim().is_empty() {
        errors.push(FieldError::new(pointer, "is empty"));
    } else if text.chars().count() > longest || text.chars().any(char::is_control) {
        errors.push(FieldError::new(pointer, format!("is one line of at most {longest} characters")));
    }
}

fn word<T>(given: Option<&Option<T>>) -> Option<&T> {
    given.and_then(Option::as_ref)
}

/// An absolute URL; whether it may be used is asked later.
fn url(text: &str, pointer: &str, errors: &mut Vec<FieldError>) {
    if text.len() > LONGEST_URL {
        errors.push(FieldError::new(pointer, format!("has at most {LONGEST_URL} bytes")));
    } else if let Err(error) = Address::parse(text) {
        errors.push(FieldError::new(pointer, error.to_string()));
    }
}

pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// RFC 6749 section 3.3 allows visible ASCII without quotes and backslash; providers allow more, but never a
/// blank, which parts them.
fn scopes(list: &[String], pointer: &str, errors: &mut Vec<FieldError>) {
    if list.len() > MOST_SCOPES {
        errors.push(FieldError::new(pointer, format!("has at most {MOST_SCOPES} scopes")));
    }
    let mut seen = BTreeSet::new();
    for (i, scope) in list.iter().enumerate() {
        let at = format!("{pointer}/{i}");
        if scope.is_empty() {
            errors.push(FieldError::new(at, "is empty"));
        } else if scope.chars().any(|c| c.is_whitespace() || c.is_control()) {
            errors.push(FieldError::new(at, "is one scope: write each of several as an item of its own"));
        } else if scope.len() > LONGEST_SCOPE {
            errors.push(FieldError::new(at, format!("has at most {LONGEST_SCOPE} bytes")));
        } else if !seen.insert(scope) {
            errors.push(FieldError::new(at, "is there twice"));
        }
    }
}

fn params<'p>(
    list: impl ExactSizeIterator<Item = (&'p String, &'p str)>,
    own: &[&str],
    pointer: &str,
    errors: &mut Vec<FieldError>,
) {
    if list.len() > MOST_PARAMS {
        errors.push(FieldError::new(pointer, format!("has at most {MOST_PARAMS} parameters")));
    }
    for (name, value) in list {
        let at = format!("{pointer}/{}", escape(name));
        if name.is_empty() || name.len() > 200 || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            errors.push(FieldError::new(at, "the name of a parameter has 1 to 200 characters and no blank"));
        } else if own.contains(&name.as_str()) {
            errors.push(FieldError::new(
                at,
                "is set by Latchstring itself; scopes, client id and secret have fields of their own",
            ));
        } else if value.len() > LONGEST_URL {
            errors.push(FieldError::new(at, format!("has at most {LONGEST_URL} bytes")));
        }
    }
}

/// RFC 8707 section 2: absolute URIs without a fragment.
fn resources(list: &[String], errors: &mut Vec<FieldError>) {
    if list.len() > MOST_RESOURCES {
        errors.push(FieldError::new("/resource", format!("has at most {MOST_RESOURCES} items")));
    }
    for (i, one) in list.iter().enumerate() {
        let at = format!("/resource/{i}");
        if one.len() > LONGEST_URL || url::Url::parse(one).is_err() || one.contains(char::is_whitespace) {
            errors.push(FieldError::new(at, "is an absolute URI, such as https://api.example.com/"));
        } else if one.contains('#') {
            errors.push(FieldError::new(at, "has no fragment (the part after #)"));
        } else if list.iter().take(i).any(|other| other == one) {
            errors.push(FieldError::new(at, "is there twice"));
        }
    }
}

impl ClientInput {
    /// Everything that is wrong with it by itself.
    pub(super) fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let errors_of = &mut errors;
        if let Some(name) = &self.name {
            line(name, LONGEST_NAME, "/name", errors_of);
        }
        if let Some(id) = word(self.client_id.as_ref()) {
            line(id, LONGEST_ID, "/client_id", errors_of);
        }
        if let Some(id) = word(self.key_id.as_ref()) {
            line(id, LONGEST_ID, "/key_id", errors_of);
        }
        if let Some(secret) = word(self.client_secret.as_ref()) {
            if secret.is_empty() {
                errors_of.push(FieldError::new(
                    "/client_secret",
                    "is empty; leave it out, or send null to clear it",
                ));
            } else if secret.len() > LONGEST_SECRET {
                errors_of
                    .push(FieldError::new("/client_secret", format!("has at most {LONGEST_SECRET} bytes")));
            }
        }
        if let Some(auth) = &self.client_auth
            && ClientAuthMethod::parse(auth).is_none()
        {
            let known: Vec<&str> = ClientAuthMethod::ALL.iter().map(|known| known.as_str()).collect();
            errors_of.push(FieldError::new("/client_auth", format!("is one of {}", known.join(", "))));
        }
        self.check_key(errors_of);
        if word(self.certificate.as_ref()).is_some_and(|pem| pem.len() > LONGEST_CERTIFICATE) {
            let many = format!("has at most {} KiB", LONGEST_CERTIFICATE / 1024);
            errors_of.push(FieldError::new("/certificate", many));
        }
        if let Some(list) = &self.resource {
            resources(list, errors_of);
        }
        if let Some(issuer) = word(self.issuer.as_ref()) {
            check_issuer(issuer, errors_of);
        }
        for (name, given) in &self.endpoints {
            if let Some(text) = given {
                url(text, &format!("/{name}"), errors_of);
            }
        }
        if let Some(text) = word(self.scopes_doc_url.as_ref()) {
            // Shown as a link, so a fragment is welcome.
            url(text.split('#').next().unwrap_or(text), "/scopes_doc_url", errors_of);
        }
        for (list, pointer) in
            [(&self.mandatory_scopes, "/mandatory_scopes"), (&self.optional_scopes, "/optional_scopes")]
        {
            if let Some(list) = list {
                scopes(list, pointer, errors_of);
            }
        }
        if let Some(list) = &self.authorize_params {
            let list = list.iter().map(|(name, value)| (name, value.as_str()));
            params(list, &OWN_AUTHORIZE, "/authorize_params", errors_of);
        }
        let list = self.token_params.iter();
        let list = list.map(|(name, value)| (name, value.as_ref().map_or("", SecretString::expose)));
        params(list, &OWN_TOKEN, "/token_params", errors_of);
        self.check_hosts(errors_of);
        if let Some(projects) = &self.projects
            && projects.len() > MOST_PROJECTS
        {
            let many = format!("names at most {MOST_PROJECTS} projects; `global` is for all of them");
            errors_of.push(FieldError::new("/projects", many));
        }
        errors
    }

    fn check_key(&self, errors: &mut Vec<FieldError>) {
        if let Some(named) = &self.key_algorithm
            && Algorithm::parse(named).is_none_or(Algorithm::is_hmac)
        {
            errors.push(FieldError::new(
                "/key_algorithm",
                "is one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA",
            ));
        }
        if let Some(named) = &self.generate_key {
            if Algorithm::parse(named).is_none_or(|algorithm| !GENERATED.contains(&algorithm)) {
                let known: Vec<&str> = GENERATED.iter().map(|known| known.as_str()).collect();
                errors.push(FieldError::new("/generate_key", format!("is one of {}", known.join(", "))));
            }
            if word(self.private_key.as_ref()).is_some() {
                errors.push(FieldError::new(
                    "/generate_key",
                    "makes a new private key, and one is given; send one of the two",
                ));
            }
            if self.key_algorithm.is_some() {
                errors.push(FieldError::new("/key_algorithm", "is what `generate_key` says; leave it out"));
            }
            if word(self.certificate.as_ref()).is_some() {
                errors.push(FieldError::new(
                    "/certificate",
                    "comes with the key that `generate_key` makes; send one of the two",
                ));
            }
        }
    }

    fn check_hosts(&self, errors: &mut Vec<FieldError>) {
        let Some(hosts) = &self.hosts else { return };
        if hosts.len() > MOST_HOSTS {
            errors.push(FieldError::new("/hosts", format!("has at most {MOST_HOSTS} hosts")));
        }
        for (i, host) in hosts.iter().enumerate() {
            let at = format!("/hosts/{i}");
            if host == "*" {
                errors.push(FieldError::new(
                    at,
                    "a client's secret goes nowhere but to hosts that are named; write them out",
                ));
            } else if let Err(wrong) = HostPattern::parse(host) {
                errors.push(FieldError::new(at, wrong));
            }
        }
    }
}

/// RFC 8414 section 2: a URL without query and fragment.
fn check_issuer(issuer: &str, errors: &mut Vec<FieldError>) {
    let before = errors.len();
    url(issuer, "/issuer", errors);
    if errors.len() > before {
        return;
    }
    if issuer.contains('?') {
        errors.push(FieldError::new("/issuer", "an issuer has no query (the part after ?)"));
    } else if issuer.contains("/.well-known/") {
        errors.push(FieldError::new(
            "/issuer",
            "this is the address of the discovery document; write the issuer, which stands in it as `issuer`",
        ));
    }
}
