//! From what a superuser sends to a client that holds together: looked up, discovered, merged, checked. Creating
//! and changing go the same way; everything that is wrong is told at once.

use std::collections::{BTreeMap, BTreeSet};

use latchstring_connectors::{AuthMethod, ClientAuthMethod, HostPattern, NamedEndpoint};
use latchstring_model::id::{ProjectId, UserId};
use latchstring_model::problem::Refused;
use latchstring_model::{Code, FieldError, Problem};
use latchstring_store::oauth_clients::{EndpointFrom, EndpointRow, OAuthClientRow};
use latchstring_store::{Tx, projects, users};

use super::elsewhere;
use super::endpoints::{self, Limits};
use super::input::ClientInput;
use super::usable::ANY_SERVER;
use super::{ENDPOINTS, Secrets, TOKEN, bound};
use crate::actor::Actor;
use crate::catalog::{BUILTIN, Found};
use crate::{Broker, refusals};

/// A client as it was, or an empty one.
pub(super) struct Before {
    pub row: OAuthClientRow,
    pub secrets: Secrets,
    pub projects: Vec<(ProjectId, String)>,
}

/// A client as it shall be.
pub(super) struct Settled {
    pub row: OAuthClientRow,
    pub secrets: Secrets,
    pub projects: Vec<(ProjectId, String)>,
    pub found: Option<Found>,
    /// What looks odd and is not refused.
    pub warnings: Vec<String>,
}

/// What had to be looked up.
struct LookedUp {
    owner: Option<UserId>,
    projects: Vec<(ProjectId, String)>,
    found: Option<Found>,
}

impl Broker {
    pub(super) async fn settle(
        &self,
        actor: &Actor,
        before: Before,
        input: ClientInput,
        new: bool,
    ) -> Refused<Settled> {
        let mut errors = input.check();
        if new && input.name.is_none() {
            errors.push(FieldError::new("/name", "is missing"));
        }
        let looked_up = {
            let mut tx = self.parts.store.begin_read().await.map_err(refusals::store)?;
            self.look_up(&mut tx, &before, &input, &mut errors).await?
        };
        let Before { mut row, mut secrets, .. } = before;
        let was = row.clone();
        let found = looked_up.found;
        if let Some(owner) = looked_up.owner {
            row.owner_id = owner;
        }
        if input.connector.is_some() {
            row.connector = found.as_ref().map(|found| found.uid.clone());
            row.connector_digest = found
                .as_ref()
                .filter(|found| found.row.is_some())
                .map(|found| found.definition.digest().to_owned());
        }
        plain_fields(&mut row, &mut secrets, &input, found.as_ref(), new);
        self.proof(&mut row, &mut secrets, &input, new, &mut errors).await?;
        self.dpop(&mut row, &mut secrets, &input);
        check_scopes(&row, &mut errors);
        let hosts: Vec<HostPattern> =
            row.hosts.iter().filter_map(|host| HostPattern::parse(host).ok()).collect();
        check_hosts(&row, found.as_ref(), &mut errors);
        let project_ids: Vec<ProjectId> = looked_up.projects.iter().map(|(id, _)| id.clone()).collect();
        let limits = Limits { found: found.as_ref(), hosts: &hosts, projects: &project_ids };

        let mut warnings = Vec::new();
        if let Some(issuer) = &input.issuer {
            row.issuer = issuer.as_deref().map(str::trim).map(str::to_owned);
            row.issuer_in_callback = false;
            row.endpoints.retain(|_, endpoint| endpoint.from != EndpointFrom::Issuer);
        }
        for (name, given) in &input.endpoints {
            match given {
                Some(url) => {
                    let url = url.trim().to_owned();
                    row.endpoints
                        .insert((*name).to_owned(), EndpointRow { url, from: EndpointFrom::Request });
                }
                None => {
                    row.endpoints.remove(*name);
                }
            }
        }
        // Nothing is asked of anybody for a request that is wrong already.
        if errors.is_empty()
            && let Some(Some(_)) = &input.issuer
        {
            self.read_issuer(actor, &mut row, &limits, &mut errors, &mut warnings).await?;
        }
        self.check_endpoints(&limits, &mut row.endpoints, &mut errors, &mut warnings);
        if row.client_id.is_some() && errors.is_empty() {
            errors.extend(endpoints::missing(found.as_ref(), &row.endpoints, row.issuer.is_some()));
        }
        if !new {
            elsewhere::check(&was, &row, &secrets, &input, &mut errors);
        }
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        row.secret_fields = secrets.names();
        row.digest = bound::digest(&row);
        Ok(Settled { row, secrets, projects: looked_up.projects, found, warnings })
    }

    async fn look_up(
        &self,
        tx: &mut impl Tx,
        before: &Before,
        input: &ClientInput,
        errors: &mut Vec<FieldError>,
    ) -> Refused<LookedUp> {
        let mut owner = None;
        if let Some(email) = &input.owner {
            let person = users::by_email(tx, email).await.map_err(refusals::store)?;
            match person.filter(|person| person.fields.active) {
                Some(person) => owner = Some(person.id),
                None => errors
                    .push(FieldError::new("/owner", "there is no active person with that e-mail address")),
            }
        }
        let mut named = before.projects.clone();
        if let Some(given) = &input.projects {
            named.clear();
            for (i, name) in given.iter().enumerate().take(super::input::MOST_PROJECTS) {
                let at = format!("/projects/{i}");
                match projects::by_slug_or_id(tx, name).await.map_err(refusals::store)? {
                    None => errors.push(FieldError::new(at, "there is no such project")),
                    Some(project) if named.iter().any(|(id, _)| *id == project.id) => {
                        errors.push(FieldError::new(at, "is there twice"));
                    }
                    Some(project) => named.push((project.id, project.slug)),
                }
            }
        }
        let ids: Vec<ProjectId> = named.iter().map(|(id, _)| id.clone()).collect();
        let found = match &input.connector {
            Some(None) => None,
            Some(Some(given)) => self.connector_for_client(tx, &ids, given, errors).await?,
            None => match &before.row.connector {
                None => None,
                Some(uid) => match self.definition_by_uid(tx, uid).await {
                    Ok(found) => Some(found),
                    Err(problem) if problem.code == Code::ConnectorChanged => {
                        let detail = format!(
                            "the connector {uid} of this client is gone or cannot be read; name another one, or delete the client"
                        );
                        errors.push(FieldError::new("/connector", detail));
                        None
                    }
                    Err(problem) => return Err(problem),
                },
            },
        };
        Ok(LookedUp { owner, projects: named, found })
    }

    async fn connector_for_client(
        &self,
        tx: &mut impl Tx,
        projects: &[ProjectId],
        named: &str,
        errors: &mut Vec<FieldError>,
    ) -> Refused<Option<Found>> {
        let mut wrong = |detail: String| errors.push(FieldError::new("/connector", detail));
        let found = match self.definition_named(tx, projects, named).await? {
            Some(found) => found,
            // A project's own may be named by its uid, whatever projects the client is for.
            None if named.starts_with(ProjectId::PREFIX) => match self.definition_by_uid(tx, named).await {
                Ok(found) => found,
                Err(_) => {
                    wrong("there is no such connector".into());
                    return Ok(None);
                }
            },
            None => {
                let told = self.catalog.no_connector(named);
                wrong(format!(
                    "{told} (a project's own is found when `projects` names the project, or by its uid)"
                ));
                return Ok(None);
            }
        };
        if found.uid.strip_prefix(BUILTIN) == Some(ANY_SERVER) {
            return Ok(None);
        }
        if endpoints::methods(&found).is_empty() {
            wrong(format!(
                "{} has no auth method with consent, so it needs no OAuth client",
                found.definition.name
            ));
        }
        Ok(Some(found))
    }

    async fn read_issuer(
        &self,
        actor: &Actor,
        row: &mut OAuthClientRow,
        limits: &Limits<'_>,
        errors: &mut Vec<FieldError>,
        warnings: &mut Vec<String>,
    ) -> Refused<()> {
        let Some(issuer) = row.issuer.clone() else { return Ok(()) };
        let origin = latchstring_model::address::Address::parse(&issuer).map(|address| address.origin);
        if let Ok(origin) = &origin
            && let Some(why) = self.unreachable(limits.projects, origin)
        {
            errors.push(FieldError::new("/issuer", why));
            return Ok(());
        }
        let project = match limits.projects {
            [only] if !row.global => Some(only),
            _ => None,
        };
        let document = match self.discover(actor, project, &issuer).await? {
            Ok(document) => document,
            Err(why) => {
                // With endpoints of its own the issuer is only a name: for `iss` and for assertions.
                let enough = ENDPOINTS.iter().any(|name| {
                    *name == TOKEN
                        && (row.endpoints.contains_key(*name)
                            || endpoints::named_by_connector(limits.found, name))
                });
                if enough {
                    warnings.push(format!("The issuer's discovery document was not used: {why}."));
                } else {
                    errors.push(FieldError::new(
                        "/issuer",
                        format!("{why}. Correct the issuer, or send the endpoints."),
                    ));
                }
                return Ok(());
            }
        };
        row.issuer_in_callback = document.issuer_in_callback;
        let mut found = document.endpoints;
        // RFC 8705 section 5: a client with a certificate uses the aliases where there are some.
        if ClientAuthMethod::parse(&row.client_auth).is_some_and(ClientAuthMethod::by_certificate) {
            found.extend(document.mtls_endpoints);
        }
        for (name, url) in found {
            if row.endpoints.contains_key(name) || endpoints::named_by_connector(limits.found, name) {
                continue;
            }
            row.endpoints.insert(name.to_owned(), EndpointRow { url, from: EndpointFrom::Issuer });
        }
        // RFC 8414 section 2: without a word it is client_secret_basic.
        let spoken = match row.client_auth.as_str() {
            "basic" => "client_secret_basic",
            "post" => "client_secret_post",
            other => other,
        };
        if let Some(known) = document.auth_methods
            && !known.iter().any(|method| method == spoken)
        {
            warnings.push(format!(
                "The issuer announces {} as ways for clients to prove themselves; client_auth `{}` is not among them.",
                known.join(", "),
                row.client_auth
            ));
        }
        if row.dpop_jkt.is_some()
            && !document
                .dpop_algorithms
                .is_some_and(|known| known.iter().any(|algorithm| algorithm == "ES256"))
        {
            warnings.push(
                "The issuer does not announce DPoP with ES256; if its tokens are not bound to the key, nobody can connect: then send `dpop: false`."
                    .into(),
            );
        }
        if row.pkce && document.pkce_methods.is_some_and(|known| !known.iter().any(|method| method == "S256"))
        {
            warnings.push(
                "The issuer does not announce PKCE with S256; if it refuses it, send `pkce: false`.".into(),
            );
        }
        Ok(())
    }
}

/// What needs no look-up.
fn plain_fields(
    row: &mut OAuthClientRow,
    secrets: &mut Secrets,
    input: &ClientInput,
    found: Option<&Found>,
    new: bool,
) {
    let methods = || found.into_iter().flat_map(endpoints::methods);
    if let Some(name) = &input.name {
        row.name = name.trim().to_owned();
    }
    if let Some(id) = &input.client_id {
        row.client_id = id.as_deref().map(str::trim).map(str::to_owned);
    }
    if let Some(auth) = &input.client_auth {
        row.client_auth.clone_from(auth);
    } else if new
        && let Some(usual) = methods().find_map(AuthMethod::client_auth)
        && ClientAuthMethod::parse(usual).is_some()
    {
        row.client_auth = usual.to_owned();
    }
    if let Some(secret) = &input.client_secret {
        secrets.client_secret.clone_from(secret);
    }
    // The connector's own words stand where nothing else was said.
    let usual = if new { methods().map(AuthMethod::default_scopes).next() } else { None };
    let (usual_scopes, usual_docs) = usual.unwrap_or_default();
    match &input.mandatory_scopes {
        Some(scopes) => row.mandatory_scopes.clone_from(scopes),
        None if new => {
            let optional = input.optional_scopes.as_deref().unwrap_or_default();
            row.mandatory_scopes =
                usual_scopes.into_iter().filter(|scope| !optional.contains(scope)).collect();
        }
        None => {}
    }
    if let Some(scopes) = &input.optional_scopes {
        row.optional_scopes.clone_from(scopes);
    }
    match &input.scopes_doc_url {
        Some(url) => row.scopes_doc_url.clone_from(url),
        None if new => row.scopes_doc_url = usual_docs,
        None => {}
    }
    if let Some(resource) = &input.resource {
        row.resource.clone_from(resource);
    }
    if let Some(params) = &input.authorize_params {
        row.authorize_params.clone_from(params);
    }
    for (name, value) in &input.token_params {
        match value {
            Some(value) => secrets.token_params.insert(name.clone(), value.clone()),
            None => secrets.token_params.remove(name),
        };
    }
    if let Some(hosts) = &input.hosts {
        row.hosts.clone_from(hosts);
    }
    match input.pkce {
        Some(pkce) => row.pkce = pkce,
        None if new && methods().count() > 0 => row.pkce = !methods().all(AuthMethod::without_pkce),
        None => {}
    }
    if let Some(global) = input.global {
        row.global = global;
    }
}

/// A scope is either always asked for or chosen.
fn check_scopes(row: &OAuthClientRow, errors: &mut Vec<FieldError>) {
    let mandatory: BTreeSet<&String> = row.mandatory_scopes.iter().collect();
    for (i, scope) in row.optional_scopes.iter().enumerate() {
        if mandatory.contains(scope) {
            let detail = "is among the mandatory scopes already, which are always asked for";
            errors.push(FieldError::new(format!("/optional_scopes/{i}"), detail));
        }
    }
}

/// A client's secret goes to named hosts only.
fn check_hosts(row: &OAuthClientRow, found: Option<&Found>, errors: &mut Vec<FieldError>) {
    if !row.hosts.is_empty() {
        return;
    }
    match found {
        None if row.connector.is_none() && !errors.iter().any(|error| error.pointer == "/connector") => {
            errors.push(FieldError::new(
                "/hosts",
                "a client without a connector names the hosts that it may be used with, those of its endpoints and of \
                 the APIs: [\"auth.example.com\", \"api.example.com:8443\"]",
            ));
        }
        Some(found)
            if found.definition.hosts.is_empty()
                && endpoints::methods(found).iter().any(|method| {
                    ENDPOINTS.iter().any(|name| method.endpoint(name) == NamedEndpoint::Depends)
                }) =>
        {
            errors.push(FieldError::new(
                "/hosts",
                format!(
                    "{} lets whoever makes a credential say where it is, so the client names the hosts that its secret \
                     may be sent to",
                    found.definition.name
                ),
            ));
        }
        _ => {}
    }
}

/// An empty client, to be changed into a new one.
pub(super) fn blank(
    id: latchstring_model::id::OAuthClientId,
    owner: &UserId,
    created_by: String,
    now: latchstring_model::Timestamp,
) -> OAuthClientRow {
    OAuthClientRow {
        id,
        name: String::new(),
        owner_id: owner.clone(),
        connector: None,
        connector_digest: None,
        client_id: None,
        client_auth: ClientAuthMethod::Basic.as_str().to_owned(),
        sealed: None,
        sealed_version: 0,
        secret_fields: Vec::new(),
        key_algorithm: None,
        key_id: None,
        public_key: None,
        certificate: None,
        dpop_jkt: None,
        resource: Vec::new(),
        issuer: None,
        issuer_in_callback: false,
        endpoints: BTreeMap::new(),
        mandatory_scopes: Vec::new(),
        optional_scopes: Vec::new(),
        scopes_doc_url: None,
        authorize_params: BTreeMap::new(),
        hosts: Vec::new(),
        pkce: true,
        global: false,
        digest: String::new(),
        version: 1,
        created_by,
        created_at: now,
        updated_at: now,
    }
}
