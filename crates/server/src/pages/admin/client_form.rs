//! The form of an OAuth client: what is there as fields, and what was typed as a change. What is secret is kept where
//! nothing is typed.

use std::collections::BTreeMap;

use latchstring_broker::definitions::{AuthMethod, Connector, Definition};
use latchstring_broker::oauth_clients::{
    AUTHORIZATION, ClientInput, DEVICE, ENDPOINTS, INTROSPECTION, REQUEST_TOKEN, REVOCATION, TOKEN, USERINFO,
    Whole,
};
use latchstring_model::{FieldError, SecretString};

use crate::pages::credentials::fields::Pairs;
use crate::pages::frame::Visitor;
use crate::pages::ui::field::Answer;
use crate::pages::ui::{Field, Wrong};
use crate::texts::Text;
use crate::texts::admin::Admin;

/// What stands in the form, wherever it comes from: what is stored, or what was typed.
pub struct Draft<'d> {
    pub pairs: &'d Pairs,
    pub name: &'d str,
    pub whole: Option<&'d Whole>,
    pub mandatory: &'d [String],
    pub optional: &'d [String],
    pub scopes_doc_url: Option<&'d str>,
    pub global: bool,
    /// Of a new one.
    pub connectors: &'d [Connector],
    pub connector: &'d str,
    /// Of a new one whose connector is settled: what it says is there before anything is typed.
    pub preset: Option<&'d Definition>,
    pub project: &'d str,
}

/// Groups of fields, as the page has them.
pub struct Groups {
    pub main: Vec<Field>,
    pub scopes: Vec<Field>,
    pub who: Vec<Field>,
    pub advanced: Vec<Field>,
    pub advanced_open: bool,
}

const GENERATED: &str = "RS256";

fn endpoint_label(a: &Admin, name: &str) -> Text {
    match name {
        REQUEST_TOKEN => a.endpoint_request_token,
        AUTHORIZATION => a.endpoint_authorization,
        TOKEN => a.endpoint_token,
        REVOCATION => a.endpoint_revocation,
        USERINFO => a.endpoint_userinfo,
        INTROSPECTION => a.endpoint_introspection,
        DEVICE => a.endpoint_device,
        _ => a.client_endpoints,
    }
}

impl Draft<'_> {
    fn text(&self, name: &str, stored: Option<&str>) -> String {
        let sent = self.pairs.sent().then(|| self.pairs.get(name).unwrap_or_default());
        sent.or(stored).unwrap_or_default().to_owned()
    }

    fn ticked(&self, name: &str, stored: bool) -> bool {
        if self.pairs.sent() { self.pairs.ticked(name) } else { stored }
    }

    fn lines(&self, name: &str, stored: &[String]) -> String {
        self.text(name, Some(&stored.join("\n")))
    }

    fn usual_hosts(&self) -> Vec<String> {
        self.preset.map(Definition::usual_hosts).unwrap_or_default()
    }

    fn main(&self, visitor: &Visitor) -> Vec<Field> {
        let (t, a) = (visitor.t, &visitor.t.admin);
        let whole = self.whole;
        let set =
            |name: &str| whole.is_some_and(|whole| whole.secret_fields.iter().any(|field| field == name));
        let mut fields =
            vec![Field::text(t, "name", a.client_name).most(200).value(self.text("name", Some(self.name)))];
        if whole.is_none() && self.preset.is_none() {
            let mut answers = vec![Answer::new("", a.client_connector_none)];
            let consents =
                self.connectors.iter().filter(|one| one.consent.is_some() && one.definition.id != "http");
            answers.extend(consents.map(|one| Answer::new(&one.definition.id, &one.definition.name)));
            let field = Field::choice(t, "connector", a.client_connector, answers);
            fields.push(field.value(self.text("connector", Some(self.connector))));
        }
        let issuer = Field::url(t, "issuer", a.client_issuer).help(a.client_issuer_help).optional();
        fields.push(issuer.value(self.text("issuer", whole.and_then(|whole| whole.issuer.as_deref()))));
        let id = Field::text(t, "client_id", a.client_id).mono().help(a.client_id_help).optional();
        let usual = self.preset.and_then(Definition::usual_client_id);
        let known = whole.and_then(|whole| whole.client_id.as_deref()).or(usual);
        fields.push(id.value(self.text("client_id", known)));
        let secret = Field::secret(t, "client_secret", a.client_secret).optional();
        fields.push(if set("client_secret") { secret.kept(a.client_secret_kept.rich()) } else { secret });
        let auth = vec![
            Answer::new("", t.making.default_is),
            Answer::new("basic", a.auth_basic),
            Answer::new("post", a.auth_post),
            Answer::new("none", a.auth_none),
            Answer::new("private_key_jwt", a.auth_key),
        ];
        let auth = Field::choice(t, "client_auth", a.client_auth, auth);
        fields.push(auth.value(self.text("client_auth", whole.map(|whole| whole.client_auth.as_str()))));
        let key = Field::file(t, "private_key", a.client_key, 4)
            .help_more(t.common.pem_help)
            .optional()
            .never_shown();
        let key = if set("private_key") { key.kept(a.client_secret_kept.rich()) } else { key };
        let when = (String::new(), r#"{"client_auth": ["private_key_jwt"]}"#.to_owned());
        let generate = self.pairs.ticked("generate_key");
        fields.push(
            key.tick_below("generate_key", a.client_generate, a.client_generate_help, generate)
                .when(when.0, when.1),
        );
        fields
    }

    fn scopes(&self, visitor: &Visitor) -> Vec<Field> {
        let (t, a) = (visitor.t, &visitor.t.admin);
        let area = |name: &'static str, label| {
            Field::area(t, name, label, 3).mono().tags().help(a.client_scopes_help).optional()
        };
        let method = self.preset.and_then(|definition| definition.consent_methods().next());
        let (scopes, docs) = method.map(AuthMethod::default_scopes).unwrap_or_default();
        let usual = |field: Field, what: &str| match what {
            "" => field,
            what => field.help_more(a.client_left_empty.with("what", what).0),
        };
        vec![
            usual(area("mandatory_scopes", a.client_mandatory), &scopes.join(" "))
                .value(self.lines("mandatory_scopes", self.mandatory)),
            area("optional_scopes", a.client_optional).value(self.lines("optional_scopes", self.optional)),
            usual(Field::url(t, "scopes_doc_url", a.client_scopes_doc), docs.as_deref().unwrap_or_default())
                .optional()
                .value(self.text("scopes_doc_url", self.scopes_doc_url)),
        ]
    }

    fn who(&self, visitor: &Visitor) -> Vec<Field> {
        let (t, a) = (visitor.t, &visitor.t.admin);
        let first = [self.project.to_owned()];
        let projects: &[String] = match self.whole {
            Some(whole) => &whole.projects,
            None if self.project.is_empty() => &[],
            None => &first,
        };
        vec![
            Field::tick(t, "global", a.client_global_tick, self.ticked("global", self.global)),
            Field::area(t, "projects", a.client_projects, 2)
                .mono()
                .help(a.client_projects_help)
                .optional()
                .value(self.lines("projects", projects)),
        ]
    }

    fn advanced(&self, visitor: &Visitor) -> Vec<Field> {
        let (t, a) = (visitor.t, &visitor.t.admin);
        let mut fields = Vec::new();
        for name in ENDPOINTS {
            let known = self.whole.and_then(|whole| whole.endpoints.get(name));
            let own = known.filter(|(_, from)| *from == "request").map(|(url, _)| url.as_str());
            let label = endpoint_label(a, name);
            let mut field = Field::url(t, name, label).optional().value(self.text(name, own));
            let fixed = self.preset.and_then(|definition| definition.fixed_endpoint(name));
            if let Some(url) = fixed {
                field = field.help(format!("`{url}` ({})", a.endpoint_from_connector));
            }
            if let Some((url, from)) = known.filter(|(_, from)| *from != "request") {
                let from = if *from == "issuer" { a.endpoint_from_issuer } else { a.endpoint_from_connector };
                field = field.help(format!("`{url}` ({from})"));
            }
            fields.push(field);
        }
        let none = BTreeMap::new();
        let params = self.whole.map_or(&none, |whole| &whole.authorize_params);
        let shown: Vec<String> = params.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        fields.push(
            Field::area(t, "authorize_params", a.client_authorize_params, 2)
                .mono()
                .help(t.common.map_help)
                .optional()
                .value(self.text("authorize_params", Some(&shown.join("\n")))),
        );
        let token = Field::area(t, "token_params", a.client_token_params, 2).mono().optional();
        let token = token.help(a.client_params_help).never_shown();
        let names =
            self.whole.map(|whole| whole.token_param_names.join(", ")).filter(|names| !names.is_empty());
        fields.push(match names {
            Some(names) => token.kept(a.client_token_params_set.rich().text("names", &names)),
            None => token,
        });
        let hosts = self.whole.map_or_else(|| self.usual_hosts(), |whole| whole.hosts.clone());
        fields.push(
            Field::area(t, "hosts", a.client_hosts, 2)
                .mono()
                .help(a.client_hosts_help)
                .optional()
                .value(self.lines("hosts", &hosts)),
        );
        let pkce = self.ticked("pkce", self.whole.is_none_or(|whole| whole.pkce));
        fields.push(Field::tick(t, "pkce", a.client_pkce, pkce).help(a.client_pkce_help));
        fields
    }

    pub fn draw(&self, visitor: &Visitor, wrong: &mut Wrong) -> Groups {
        let mut checked = |fields: Vec<Field>| -> Vec<Field> {
            fields.into_iter().map(|field| field.wrong(wrong)).collect()
        };
        let (main, scopes) = (checked(self.main(visitor)), checked(self.scopes(visitor)));
        let (who, advanced) = (checked(self.who(visitor)), checked(self.advanced(visitor)));
        // What is there already is looked at before it is sent.
        let advanced_open = advanced.iter().any(Field::wants_attention) || !self.usual_hosts().is_empty();
        Groups { main, scopes, who, advanced, advanced_open }
    }
}

fn lines(pairs: &Pairs, name: &str) -> Vec<String> {
    let text = pairs.get(name).unwrap_or_default();
    text.split(['\n', ' ', '\t', '\r']).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// `Name: value`, one per line.
fn params(pairs: &Pairs, name: &str, missing: &str) -> Result<Vec<(String, String)>, FieldError> {
    let mut found = Vec::new();
    for (at, line) in pairs.get(name).unwrap_or_default().lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let wrong = || FieldError::new(format!("/{name}"), missing.replace("{n}", &(at + 1).to_string()));
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        found.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(found)
}

/// What was typed. Nothing typed clears, but what is secret stays.
pub fn read(visitor: &Visitor, pairs: &Pairs, new: bool) -> Result<ClientInput, FieldError> {
    let secret = |name: &str| {
        let text =
            pairs.get(name).map(|text| text.replace("\r\n", "\n")).filter(|text| !text.trim().is_empty());
        text.map(|text| Some(SecretString::new(text)))
    };
    let bad = visitor.t.making.bad_map.0;
    let authorize = params(pairs, "authorize_params", bad)?;
    let token = params(pairs, "token_params", bad)?;
    let endpoints = ENDPOINTS.iter().map(|name| (*name, pairs.given(name)));
    // Of a new one nothing has to be cleared, and what is not said may come from connector and issuer.
    let endpoints = endpoints.filter(|(_, url)| !new || url.is_some());
    let generate = pairs.ticked("generate_key");
    Ok(ClientInput {
        name: Some(pairs.given("name").unwrap_or_default()),
        connector: if new { Some(pairs.given("connector")) } else { None },
        client_id: Some(pairs.given("client_id")),
        client_secret: secret("client_secret"),
        client_auth: pairs.given("client_auth"),
        private_key: if generate { None } else { secret("private_key") },
        generate_key: generate.then(|| GENERATED.to_owned()),
        issuer: Some(pairs.given("issuer")),
        endpoints: endpoints.collect(),
        mandatory_scopes: Some(lines(pairs, "mandatory_scopes")).filter(|list| !new || !list.is_empty()),
        optional_scopes: Some(lines(pairs, "optional_scopes")).filter(|list| !new || !list.is_empty()),
        scopes_doc_url: Some(pairs.given("scopes_doc_url")).filter(|url| !new || url.is_some()),
        authorize_params: Some(authorize.into_iter().collect()),
        token_params: token
            .into_iter()
            .map(|(name, value)| (name, Some(value).filter(|value| !value.is_empty()).map(SecretString::new)))
            .collect(),
        hosts: Some(lines(pairs, "hosts")),
        // Connectors know of providers that refuse it: a new one asks them unless it is switched off here.
        pkce: Some(pairs.ticked("pkce")).filter(|on| !new || !on),
        global: Some(pairs.ticked("global")),
        projects: Some(lines(pairs, "projects")),
        ..ClientInput::default()
    })
}
