//! Step 3, resolve: what a call is rendered from — definition, opened values, and the context that templates see.

use std::collections::HashMap;
use std::sync::Arc;

use latchstring_connectors::{
    AuthMethod, Context, Definition, Lookup, LookupUnavailable, OAuthClient, ProjectContext, RenderError,
    Resolved, SecretValue, UserContext, Values,
};
use latchstring_egress::Identity;
use latchstring_model::id::{EnvironmentId, ProjectId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, Entropy, OpenTicket, Problem, Timestamp};
use latchstring_schemes::keys::{ParsedKeys, Remembered};
use latchstring_schemes::token::TokenSet;
use latchstring_schemes::{Prepared, Scheme, SchemeError};
use latchstring_store::Tx;
use latchstring_store::secrets::{self, SecretKind};
use serde_json::Value;

use super::authorise::{EnvironmentAt, ProjectAt};
use crate::actor::Person;
use crate::sealing::secret_aad;
use crate::{Broker, refusals};

/// A project's secrets and variables of one environment, opened.
#[derive(Default)]
pub struct Names {
    secrets: HashMap<String, SecretValue>,
    /// Who has set each.
    setters: HashMap<String, String>,
    variables: HashMap<String, String>,
}

impl Names {
    /// Who has set this secret, as rows say it ([`Actor::signature`](crate::Actor::signature)).
    pub(crate) fn setter(&self, secret: &str) -> Option<&str> {
        self.setters.get(secret).map(String::as_str)
    }
}

impl Lookup for Names {
    fn secret(&self, name: &str) -> Result<Option<SecretValue>, LookupUnavailable> {
        Ok(self.secrets.get(name).cloned())
    }

    fn variable(&self, name: &str) -> Result<Option<String>, LookupUnavailable> {
        Ok(self.variables.get(name).cloned())
    }
}

impl Broker {
    pub(crate) async fn names(
        &self,
        tx: &mut impl Tx,
        ticket: &OpenTicket,
        project: &ProjectId,
        environment: &EnvironmentId,
    ) -> Refused<Names> {
        let mut names = Names::default();
        for kind in [SecretKind::Secret, SecretKind::Variable] {
            for row in secrets::list(tx, project, environment, kind).await.map_err(refusals::store)? {
                self.ensure_data_key(&row.data_key).await?;
                let aad = secret_aad(project, environment, kind, &row.name, row.version);
                let bytes = self.open(ticket, &aad, &row.sealed)?;
                let text = std::str::from_utf8(bytes.expose())
                    .map_err(|_| refusals::internal(&"a secret is not text"))?;
                match kind {
                    SecretKind::Secret => {
                        names.setters.insert(row.name.clone(), row.set_by);
                        names.secrets.insert(row.name, SecretValue { value: text.into(), hosts: row.hosts });
                    }
                    SecretKind::Variable => {
                        names.variables.insert(row.name, text.to_owned());
                    }
                }
            }
        }
        Ok(names)
    }
}

/// Everything that rendering reads, for one caller's context.
pub struct Materials {
    pub definition: Arc<Definition>,
    pub method: String,
    pub values: Values,
    pub user: Option<UserContext>,
    pub project: Option<ProjectContext>,
    pub environment: Option<String>,
    pub names: Arc<Names>,
    /// Our registration with the provider, for methods that need consent.
    pub client: Option<Arc<OAuthClient>>,
    /// Parsed once, however often and on whatever core all this is rendered; wiped with it.
    keys: ParsedKeys,
    pub(super) identities: Remembered<Refused<Identity>>,
}

pub fn user_context(person: &Person) -> UserContext {
    UserContext {
        id: person.id.to_string(),
        email: person.email.clone(),
        first_name: person.first_name.clone(),
        last_name: person.last_name.clone(),
        username: person.username.clone().unwrap_or_default(),
        name: person.name.clone(),
    }
}

pub fn project_context(project: &ProjectAt) -> ProjectContext {
    ProjectContext { id: project.id.to_string(), slug: project.slug.clone(), name: project.name.clone() }
}

impl Materials {
    pub fn new(definition: Arc<Definition>, method: &str, values: Values, names: Arc<Names>) -> Self {
        Self {
            definition,
            method: method.to_owned(),
            values,
            user: None,
            project: None,
            environment: None,
            names,
            client: None,
            keys: ParsedKeys::default(),
            identities: Remembered::default(),
        }
    }

    #[must_use]
    pub fn with_client(mut self, client: Option<Arc<OAuthClient>>) -> Self {
        self.client = client;
        self
    }

    #[must_use]
    pub fn for_caller(
        mut self,
        user: Option<&Person>,
        project: &ProjectAt,
        environment: &EnvironmentAt,
    ) -> Self {
        self.user = user.map(user_context);
        self.project = Some(project_context(project));
        self.environment = Some(environment.name.clone());
        self
    }

    pub fn auth_method(&self) -> Refused<&AuthMethod> {
        self.definition.method(&self.method).ok_or_else(|| {
            Problem::new(
                Code::ConnectorChanged,
                format!(
                    "The connector {} has no auth method {} any more.",
                    self.definition.name, self.method
                ),
            )
            .hint("Make the credential anew with one of the methods that the connector has now.")
            .into()
        })
    }

    pub fn context<'a>(
        &'a self,
        token: Option<&'a TokenSet>,
        input: Option<&'a Value>,
        now: Timestamp,
        entropy: &'a dyn Entropy,
    ) -> Context<'a> {
        Context {
            values: &self.values,
            user: self.user.as_ref(),
            project: self.project.as_ref(),
            environment: self.environment.as_deref(),
            lookup: &*self.names,
            client: self.client.as_deref(),
            token: token.map(|token| token.metadata.expose()),
            input,
            keys: &self.keys,
            now,
            entropy,
        }
    }

    /// What was rendered of these materials, ready to sign.
    pub fn prepare(&self, scheme: Scheme) -> Result<Prepared, SchemeError> {
        scheme.prepare(&self.keys)
    }

    pub fn resolve(
        &self,
        token: Option<&TokenSet>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Refused<Resolved> {
        let method = self.auth_method()?;
        self.definition
            .resolve(method, &self.context(token, None, now, entropy))
            .map_err(|error| render_problem(&error))
    }
}

/// What could not be rendered: nothing was sent.
pub fn render_problem(error: &RenderError) -> Box<Problem> {
    match error {
        RenderError::SecretMissing { .. } => Problem::new(Code::SecretMissing, format!("{error}."))
            .hint("PUT /api/v1/projects/{project}/environments/{environment}/secrets/{name} sets a secret; variables are set the same way.")
            .into(),
        RenderError::LookupFailed { .. } => Problem::new(Code::Unavailable, format!("{error}.")).hint("Try again in a moment.").retry_after(2).into(),
        _ => Problem::new(Code::TemplateError, format!("{error}."))
            .hint("Nothing was sent. Check the value or template that is named, in the credential or in the connector's definition.")
            .into(),
    }
}
