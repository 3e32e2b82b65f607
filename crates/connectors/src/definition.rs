//! A checked definition: what a connector file says, with every template parsed.

use http::Method;
use latchstring_model::Origin;
use latchstring_schemes::oauth2::AnswerRules;
use serde_json::Value;

use crate::answer::{Path, Select, Shape};
use crate::field::{Field, schema};
use crate::table::{self, Key, SchemeType};
use crate::template::Template;

/// The description of one external API.
#[derive(Clone, Debug)]
pub struct Definition {
    pub id: String,
    pub name: String,
    pub version: String,
    pub description: Option<String>,
    pub docs_url: Option<String>,
    pub categories: Vec<String>,
    /// Where credentials may be pinned. Empty: anywhere that the person says.
    pub hosts: Vec<HostPattern>,
    /// Plain http may be pinned too (in private networks that the operator allows).
    pub allow_http: bool,
    pub base_url: Option<Template>,
    pub headers: FixedSet,
    pub query: FixedSet,
    /// In the order of the file.
    pub auth_methods: Vec<AuthMethod>,
    pub verify: Option<RequestSpec>,
    pub errors: Vec<ErrorRule>,
    pub metadata: Vec<Operation>,
    pub operations: Vec<Operation>,
    /// Present only when the server runs with its sandbox.
    pub sandbox: bool,
    /// Hints for callers: names of rate-limit headers, how pages follow each other.
    pub rate_limit: Option<Value>,
    pub pagination: Option<Value>,
    pub(crate) digest: String,
}

/// One way to be authenticated.
#[derive(Clone, Debug)]
pub struct AuthMethod {
    pub id: String,
    pub label: String,
    pub help: Option<String>,
    pub docs_url: Option<String>,
    pub fields: Vec<Field>,
    /// Fields that are not listed are taken too, as secrets.
    pub open_fields: bool,
    pub lets: Vec<(String, Template)>,
    pub scheme: SchemeDef,
    pub base_url: Option<Template>,
    pub headers: FixedSet,
    pub query: FixedSet,
    pub verify: Option<RequestSpec>,
    pub(crate) tls: Config,
    pub errors: Vec<ErrorRule>,
}

impl AuthMethod {
    /// Whether a person has to consent, in a browser or on another device.
    pub fn needs_consent(&self) -> bool {
        self.scheme.needs_consent()
    }

    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

#[derive(Clone, Debug)]
pub struct SchemeDef {
    pub ty: SchemeType,
    pub(crate) config: Config,
}

impl SchemeDef {
    /// Of its type, or because it says so: an `oauth1` method may have a token in its values instead.
    pub fn needs_consent(&self) -> bool {
        let says = |(key, conf): &(&Key, Conf)| {
            key.name == table::CONSENT_KEY
                && matches!(conf, Conf::Text(template) if template.as_literal() == Some("true"))
        };
        self.ty.needs_consent() || self.config.iter().any(says)
    }

    /// Whether a token has to be obtained before a call.
    pub fn has_token(&self) -> bool {
        self.ty.has_token() || self.needs_consent()
    }
}

/// Keys of a scheme, in the order of its table.
pub(crate) type Config = Vec<(&'static Key, Conf)>;

#[derive(Clone, Debug)]
pub(crate) enum Conf {
    Text(Template),
    Map(Entries),
    List(Vec<Template>),
    Json(JsonTemplate),
    Nested(Config),
    Answer(Box<AnswerRules>),
    Steps(Vec<Step>),
    Body(BodySpec),
}

/// Name → template, or one template that yields a map.
#[derive(Clone, Debug)]
pub(crate) enum Entries {
    Each(Vec<(String, Template)>),
    Whole(Template),
}

impl Default for Entries {
    fn default() -> Self {
        Entries::Each(Vec::new())
    }
}

/// JSON whose texts are templates.
#[derive(Clone, Debug)]
pub(crate) enum JsonTemplate {
    Value(Value),
    Text(Template),
    List(Vec<JsonTemplate>),
    Map(Vec<(String, JsonTemplate)>),
}

/// Headers or query parameters that every call gets.
#[derive(Clone, Debug, Default)]
pub struct FixedSet {
    pub(crate) each: Vec<(String, Template, bool)>,
    /// One template that yields them all, and whether callers may override them.
    pub(crate) whole: Option<(Template, bool)>,
}

/// `api.example.com`, `*.example.com`, `example.com:8443`; `*` for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    pub(crate) any: bool,
    pub(crate) subdomains: bool,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.any {
            return f.write_str("*");
        }
        if self.subdomains {
            f.write_str("*.")?;
        }
        f.write_str(&self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl HostPattern {
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            Err(format!(
                "`{}` is no host; write `api.example.com`, `*.example.com` or `example.com:8443`",
                text.chars().take(80).collect::<String>()
            ))
        };
        if text == "*" {
            return Ok(Self { any: true, subdomains: false, host: String::new(), port: None });
        }
        let (subdomains, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if rest.contains(['/', '*', '@', ' ']) {
            return wrong();
        }
        // The URL parser normalises, and knows IPv6 brackets and international names.
        let Ok(address) = latchstring_model::address::Address::parse(&format!("https://{rest}/")) else {
            return wrong();
        };
        // A whole top-level domain is no limit.
        if subdomains && !address.origin.host.contains('.') {
            return wrong();
        }
        let explicit =
            rest.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        Ok(Self {
            any: false,
            subdomains,
            host: address.origin.host,
            port: explicit.then_some(address.origin.port),
        })
    }

    /// As [`HostPattern::fits`], but without a port any is meant: for lists of hosts that people set for what is
    /// theirs (a secret, an OAuth client), rather than for all users of a connector.
    pub fn fits_host(&self, origin: &Origin) -> bool {
        let port = self.port.unwrap_or(origin.port);
        Self { port: Some(port), ..self.clone() }.fits(origin)
    }

    /// Whether everything that fits `other` fits this.
    pub fn covers(&self, other: &Self) -> bool {
        let host = match (self.subdomains, other.subdomains) {
            _ if self.any => return true,
            _ if other.any => return false,
            (true, _) => {
                let left = other.host.strip_suffix(self.host.as_str());
                left.is_some_and(|left| {
                    left.len() > 1 && left.ends_with('.') || left.is_empty() && other.subdomains
                })
            }
            (false, subdomains) => !subdomains && self.host == other.host,
        };
        host && (self.port.is_none() || self.port == other.port)
    }

    pub fn fits(&self, origin: &Origin) -> bool {
        if self.any {
            return true;
        }
        let host = if self.subdomains {
            origin
                .host
                .strip_suffix(self.host.as_str())
                .is_some_and(|left| left.len() > 1 && left.ends_with('.'))
        } else {
            origin.host == self.host
        };
        host && match self.port {
            Some(port) => origin.port == port,
            None => origin.port == if origin.https { 443 } else { 80 },
        }
    }
}

/// What a definition's `hosts` say about a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostVerdict {
    Allowed,
    /// The host is listed, but the connector wants https.
    NeedsHttps,
    NotListed,
}

/// A request that the definition describes.
#[derive(Clone, Debug)]
pub struct RequestSpec {
    pub method: Method,
    pub(crate) target: Target,
    pub(crate) query: Entries,
    pub(crate) headers: Entries,
    pub(crate) body: Option<BodySpec>,
    pub expect: Expect,
    /// Where the answer names who we are there, for display.
    pub account: Option<Path>,
}

#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Below the base URL.
    Path(Template),
    /// Elsewhere.
    Url(Template),
}

#[derive(Clone, Debug)]
pub(crate) enum BodySpec {
    Json(JsonTemplate),
    Form(Entries),
    Text { content_type: String, text: Template },
}

impl RequestSpec {
    /// The path below the base URL, where it is the same for every credential.
    pub fn literal_path(&self) -> Option<&str> {
        match &self.target {
            Target::Path(template) => template.as_literal(),
            Target::Url(_) => None,
        }
    }
}

/// What a good answer is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect {
    /// Empty: any 2xx.
    pub statuses: Vec<StatusRange>,
    /// All must hold.
    pub body: Vec<BodyRule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    pub from: u16,
    pub to: u16,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BodyRule {
    pub path: Path,
    /// Absent: something must be there (not null, false or empty).
    pub equals: Option<Value>,
}

impl Expect {
    pub fn status_fits(&self, status: u16) -> bool {
        if self.statuses.is_empty() {
            return (200..300).contains(&status);
        }
        self.statuses.iter().any(|range| (range.from..=range.to).contains(&status))
    }

    /// The first rule that an answer's body breaks.
    pub fn broken_rule(&self, body: &[u8]) -> Option<&BodyRule> {
        if self.body.is_empty() {
            return None;
        }
        let answer = serde_json::from_slice::<Value>(body).unwrap_or(Value::Null);
        self.body.iter().find(|rule| {
            let found = rule.path.get(&answer);
            match &rule.equals {
                Some(wanted) => found.as_ref() != Some(wanted),
                None => match found {
                    None | Some(Value::Null | Value::Bool(false)) => true,
                    Some(Value::String(text)) => text.is_empty(),
                    Some(Value::Array(items)) => items.is_empty(),
                    Some(_) => false,
                },
            }
        })
    }

    pub fn fits(&self, status: u16, body: &[u8]) -> bool {
        self.status_fits(status) && self.broken_rule(body).is_none()
    }
}

/// From what an API says to what its user should change.
#[derive(Clone, Debug)]
pub struct ErrorRule {
    pub(crate) when: ErrorWhen,
    pub(crate) explanation: String,
}

impl ErrorRule {
    pub fn explanation(&self) -> &str {
        &self.explanation
    }

    /// `404`, `500-599`, or the text that is looked for.
    pub fn when_text(&self) -> String {
        match &self.when {
            ErrorWhen::Status(range) if range.from == range.to => range.from.to_string(),
            ErrorWhen::Status(range) => format!("{}-{}", range.from, range.to),
            ErrorWhen::Text(text) => text.clone(),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum ErrorWhen {
    Status(StatusRange),
    /// Lower case; looked for in the body in any case.
    Text(String),
}

/// Something that can be asked by name: an operation, or a list of choices (metadata).
#[derive(Clone, Debug)]
pub struct Operation {
    pub name: String,
    pub label: Option<String>,
    pub help: Option<String>,
    pub request: RequestSpec,
    pub input: Vec<Field>,
    pub(crate) filter: Option<Filter>,
    pub(crate) shape: Option<Shape>,
    pub(crate) select: Option<Select>,
}

impl Operation {
    /// Whether a part of the answer is kept from the caller.
    pub fn keeps_back(&self) -> bool {
        self.filter.is_some() || self.shape.is_some()
    }

    /// Whether the answer is turned into a list of choices.
    pub fn selects(&self) -> bool {
        self.select.is_some()
    }
}

/// Which items of an answer the caller may see.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub items: Path,
    pub keep: Template,
}

/// One request of a login.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub name: String,
    pub request: RequestSpec,
    pub extract: Vec<Extract>,
    /// Where the answer's error text stands.
    pub error: Vec<Path>,
}

#[derive(Clone, Debug)]
pub(crate) struct Extract {
    pub name: String,
    pub from: Source,
    /// What stands before the value, and after it: cut away.
    pub after: Option<String>,
    pub before: Option<String>,
    pub optional: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Json(Path),
    Header(String),
    Cookie(String),
    /// All that the answer sets, as a map.
    Cookies,
    /// The whole body.
    Text,
    Status,
}

impl Definition {
    pub fn method(&self, id: &str) -> Option<&AuthMethod> {
        self.auth_methods.iter().find(|method| method.id == id)
    }

    /// A path that is good to try a credential with: what it is checked with, or something that can be read.
    pub fn sample_path<'d>(&'d self, method: &'d AuthMethod) -> Option<&'d str> {
        let check = method.verify.as_ref().or(self.verify.as_ref());
        let operations = self.operations.iter().map(|operation| &operation.request);
        check
            .into_iter()
            .chain(operations)
            .filter(|request| request.method == Method::GET)
            .find_map(RequestSpec::literal_path)
    }

    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.name == name)
    }

    pub fn metadata_named(&self, name: &str) -> Option<&Operation> {
        self.metadata.iter().find(|operation| operation.name == name)
    }

    /// Hex SHA-256 over all that decides where values go: hosts, base, token, step and verify URLs,
    /// schemes, secret flags, templates that see a value. Names, help texts and the like are not in it.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// JSON Schema of a method's fields.
    pub fn openapi_fields(&self, method: &AuthMethod) -> Value {
        schema(&method.fields, method.open_fields)
    }

    /// JSON Schema of an operation's input.
    pub fn openapi_input(&self, operation: &Operation) -> Value {
        schema(&operation.input, false)
    }

    /// Whether a credential may be pinned there, as far as the definition says.
    pub fn host_verdict(&self, origin: &Origin) -> HostVerdict {
        let listed = self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.fits(origin));
        if !listed {
            HostVerdict::NotListed
        } else if origin.https || self.allow_http {
            HostVerdict::Allowed
        } else {
            HostVerdict::NeedsHttps
        }
    }

    /// What an API's refusal means for its user, if the definition knows it. Texts are looked at
    /// before statuses, the method's rules before the connector's.
    pub fn explain(&self, method: Option<&AuthMethod>, status: u16, body_excerpt: &str) -> Option<String> {
        let of_status = |rule: &&ErrorRule| matches!(&rule.when, ErrorWhen::Status(range) if (range.from..=range.to).contains(&status));
        self.explain_words(method, body_excerpt)
            .or_else(|| self.rules(method).find(of_status).map(|rule| rule.explanation.clone()))
    }

    /// The same by its words alone: where somebody else than the API answers (an authorization server, to us as its
    /// client), a status means another thing.
    pub fn explain_words(&self, method: Option<&AuthMethod>, body_excerpt: &str) -> Option<String> {
        let body = body_excerpt.to_lowercase();
        let fits = |rule: &&ErrorRule| matches!(&rule.when, ErrorWhen::Text(text) if says(&body, text));
        self.rules(method).find(fits).map(|rule| rule.explanation.clone())
    }

    fn rules<'d>(&'d self, method: Option<&'d AuthMethod>) -> impl Iterator<Item = &'d ErrorRule> {
        method.map(|method| method.errors.as_slice()).unwrap_or_default().iter().chain(&self.errors)
    }
}

/// Whether an API's words hold this piece. A number counts as a whole only: `1005` is no part of `2100512`, of a date
/// or of an identifier.
fn says(body: &str, piece: &str) -> bool {
    let digits = piece.strip_prefix('-').unwrap_or(piece);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return body.contains(piece);
    }
    let joins = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    body.match_indices(piece).any(|(at, _)| {
        let before = body.get(..at).and_then(|text| text.chars().next_back());
        let mut after = body.get(at + piece.len()..).unwrap_or_default().chars();
        // A full stop ends a sentence, but not a number with decimals.
        let ends = match (after.next(), after.next()) {
            (Some('.'), next) => next.is_none_or(|next| !joins(next)),
            (Some(next), _) => !joins(next),
            (None, _) => true,
        };
        ends && !before.is_some_and(joins)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use latchstring_model::address::Address;

    #[test]
    fn a_number_is_found_as_a_whole_only() {
        for body in
            [r#"{"code":1005}"#, r#"{"code": "1005"}"#, "error 1005: no", "error 1005.", "(1005)", "1005"]
        {
            assert!(says(body, "1005"), "{body}");
        }
        for body in
            [r#"{"id":21005}"#, r#"{"id":10051}"#, "2026-1005", "v1.1005", "1005.25", "order_1005", "a1005"]
        {
            assert!(!says(body, "1005"), "{body}");
        }
        assert!(says("code: -40", "-40") && !says("2026-401", "-40"));
        assert!(says("the invalid_grants", "invalid_grant"), "words are found anywhere");
    }

    #[test]
    fn hosts_limit_where_a_pin_may_be() {
        let fits = |pattern: &str, url: &str| {
            HostPattern::parse(pattern).unwrap().fits(&Address::parse(url).unwrap().origin)
        };
        assert!(fits("api.example.com", "https://API.example.com./x"));
        assert!(fits("*.example.com", "https://a.b.example.com/"));
        assert!(!fits("*.example.com", "https://example.com/"));
        assert!(!fits("*.example.com", "https://evilexample.com/"));
        assert!(!fits("*.example.com", "https://.example.com.evil.org/"));
        assert!(!fits("api.example.com", "https://api.example.com:8443/"));
        assert!(fits("api.example.com:8443", "https://api.example.com:8443/"));
        assert!(fits("*", "http://anything:1/"));
        for wrong in ["*.com", "https://x.com", "a b", "*", "x/y", "a*b.com", ""] {
            assert_eq!(HostPattern::parse(wrong).is_ok(), wrong == "*", "{wrong}");
        }
    }
}
